//! The extra load of an adaptive hedge, on a paused clock.

#![cfg(not(loom))]

use std::cell::Cell;
use std::future::pending;
use std::time::Duration;

use evenkeel_hedge::{Adaptive, Hedge, Policy, Signal};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Latencies of 2 to 10 ms, one in twenty ten times as long, from a seed.
struct Latencies(u64);

impl Latencies {
    fn below(&mut self, n: u64) -> u64 {
        // Knuth's multiplier; the high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % n
    }

    fn next(&mut self) -> Duration {
        let micros = 2_000 + self.below(8_001);
        let slow = self.below(20) == 0;
        Duration::from_micros(if slow { 10 * micros } else { micros })
    }
}

/// The share of `calls` that were hedged, one call after another.
async fn hedged(hedge: &Hedge<Adaptive>, latencies: &mut Latencies, calls: u32) -> f64 {
    let extra = Cell::new(0_u32);
    for _ in 0..calls {
        let (first, second) = (latencies.next(), latencies.next());
        let call = hedge.run(|attempt| {
            extra.set(extra.get() + u32::from(attempt.is_extra()));
            async move {
                sleep(if attempt.is_extra() { second } else { first }).await;
                Ok::<_, ()>(())
            }
        });
        call.await.unwrap();
    }
    f64::from(extra.get()) / f64::from(calls)
}

#[tokio::test(start_paused = true)]
async fn the_share_hedged_is_the_share_asked_for() {
    const SEED: u64 = 7;
    for share in [0.05, 0.01] {
        let hedge = Hedge::new(Adaptive::rate(share).unwrap());
        let mut latencies = Latencies(SEED);
        hedged(&hedge, &mut latencies, 3_000).await;
        let realised = hedged(&hedge, &mut latencies, 12_000).await;
        assert!(
            (realised / share - 1.0).abs() < 0.15,
            "asked for {share}, hedged {realised} (seed {SEED})"
        );
    }
}

/// Pitfall: everything stalls, everything is hedged, and the stall is made worse by it.
#[tokio::test(start_paused = true)]
async fn a_stall_of_ten_thousand_calls_at_once_hedges_few_of_them() {
    let policy = Adaptive::rate(0.05)
        .unwrap()
        .bounds(ms(1), ms(1_000))
        .unwrap();
    let hedge = std::sync::Arc::new(Hedge::new(policy));
    let mut latencies = Latencies(7);
    hedged(&hedge, &mut latencies, 2_000).await;

    let extra = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let mut calls = JoinSet::new();
    for _ in 0..10_000 {
        let (hedge, extra) = (hedge.clone(), extra.clone());
        calls.spawn(async move {
            let call = hedge.run(|attempt| {
                let one = u32::from(attempt.is_extra());
                extra.fetch_add(one, std::sync::atomic::Ordering::Relaxed);
                pending::<Result<(), ()>>()
            });
            timeout(ms(5_000), call).await.is_err()
        });
    }
    while let Some(gave_up) = calls.join_next().await {
        assert!(gave_up.unwrap());
    }
    // ln(1000 / delay) / (step * (1 - share)) with the delay near 10 ms.
    let extra = extra.load(std::sync::atomic::Ordering::Relaxed);
    assert!((10..=60).contains(&extra), "{extra} hedges");
}

/// Pitfall: the delay winds up during a stall and takes as long again to come back.
#[test]
fn recovery_from_a_stall_is_bounded_however_long_it_was() {
    let recovery = |stalled: u32| {
        let policy = Adaptive::rate(0.05)
            .unwrap()
            .bounds(ms(10), ms(1_000))
            .unwrap();
        for _ in 0..stalled {
            policy.observe(Signal::Late);
        }
        assert_eq!(policy.delay(1), None, "a stall stops the hedging");
        (1..)
            .find(|_| {
                policy.observe(Signal::InTime);
                policy.delay(1).is_some_and(|delay| delay < ms(100))
            })
            .unwrap()
    };
    let short = recovery(100);
    assert_eq!(recovery(100_000), short);
    // ln(1000 / 100) / (step * share) and the one step overshot.
    assert!((460..=480).contains(&short), "{short} calls");
}

#[test]
fn the_delay_saturates_at_its_bounds() {
    let policy = Adaptive::rate(0.5)
        .unwrap()
        .bounds(ms(10), ms(1_000))
        .unwrap();
    assert!(policy.delay(1).unwrap().abs_diff(ms(100)) < Duration::from_micros(1));
    for _ in 0..1_000 {
        policy.observe(Signal::InTime);
    }
    assert_eq!(policy.delay(1), Some(ms(10)));
    policy.observe(Signal::Late);
    policy.observe(Signal::Late);
    assert!(
        policy.delay(1).unwrap() > ms(10),
        "nothing is to be worked off"
    );
}

/// Pitfall: bounds that differ are refused, since their logarithms do not.
#[test]
fn between_bounds_however_close_the_share_is_kept_by_hedging_or_not() {
    let day = Duration::from_secs(24 * 3_600);
    let max = day + Duration::from_nanos(1);
    let policy = Adaptive::rate(0.25).unwrap().bounds(day, max).unwrap();
    let mut hedged = 0;
    for _ in 0..1_000 {
        // Every call would outlive the delay, if there is one.
        if let Some(delay) = policy.delay(1) {
            assert!((day..=max).contains(&delay), "{delay:?}");
            policy.observe(Signal::Late);
            hedged += 1;
        } else {
            policy.observe(Signal::InTime);
        }
    }
    assert!((248..=252).contains(&hedged), "{hedged} hedges");
}

#[test]
fn what_cannot_be_kept_is_refused() {
    for share in [0.0, -0.1, 1.0, 1e-7, f64::NAN, f64::INFINITY] {
        let refused = Adaptive::rate(share).unwrap_err().to_string();
        assert!(refused.contains("must be at least"), "{refused}");
    }
    for (min, max) in [(0, 10), (10, 10), (10, 9)] {
        let policy = Adaptive::rate(0.1).unwrap();
        assert!(policy.bounds(ms(min), ms(max)).is_err());
    }
    let widest = Adaptive::rate(1e-6)
        .unwrap()
        .bounds(Duration::from_nanos(1), Duration::MAX)
        .unwrap();
    assert!(widest.delay(1).is_some());
}
