//! Buckets on a clock of one's own, beside those on tokio's.
#![cfg(all(feature = "clock", not(loom)))]

mod support;

use std::time::Duration;

use evenkeel_bucket::clock::{Clock, Clocked, Manual};
use evenkeel_bucket::{Bucket, Rate, Refusal};
use proptest::prelude::*;
use support::{SECOND, paused};
use tokio::time::advance;

#[test]
fn it_refills_by_its_own_clock_and_needs_no_runtime() {
    let clock = Manual::default();
    let bucket = Clocked::new(Rate::every(SECOND), 2, clock.clone()).named("own");
    assert!(bucket.try_acquire(2).is_ok());
    let denied = bucket.clone().try_acquire(1).unwrap_err();
    assert_eq!(
        (denied.by(), denied.refusal()),
        ("own", Refusal::Later(SECOND))
    );
    clock.advance(SECOND);
    assert_eq!(bucket.take_up_to(7).unwrap().tokens(), 1);
    bucket.refund(1);
    assert_eq!(bucket.peek().tokens, 1);
    bucket.set_depth(1);
    bucket.set_rate(Rate::ZERO);
    assert_eq!((bucket.rate(), bucket.depth()), (Rate::ZERO, 1));
    assert_eq!(bucket.try_acquire(2).unwrap_err().refusal(), Refusal::Never);
}

/// Pitfall: a stale or backward clock mints.
#[test]
fn a_clock_that_goes_backward_mints_nothing_and_what_it_says_again_counts_once() {
    let clock = Manual::default();
    clock.set(1 << 40);
    let bucket = Clocked::new(Rate::every(SECOND), 10, &clock);
    assert!(bucket.try_acquire(10).is_ok());
    for _ in 0..1_000 {
        clock.advance(SECOND / 2);
        assert!(bucket.try_acquire(1).is_err());
        clock.set(0);
        assert!(bucket.try_acquire(1).is_err());
        bucket.set_rate(Rate::every(SECOND));
        clock.set(1 << 40);
    }
    clock.advance(SECOND);
    assert!(bucket.try_acquire(1).is_ok());
    assert!(bucket.try_acquire(1).is_err());
}

#[test]
fn the_manual_clock_stops_at_its_end() {
    let clock = Manual::default();
    let bucket = Clocked::new(Rate::MAX, u32::MAX, clock.clone());
    clock.set(u64::MAX - 1);
    assert!(bucket.try_acquire(u32::MAX.into()).is_ok());
    clock.advance(Duration::MAX);
    assert_eq!(clock.now(), u64::MAX);
    assert_eq!(bucket.peek().tokens, 16);
}

#[cfg(feature = "quanta")]
#[test]
fn clones_of_the_processors_clock_agree_and_go_on() {
    use evenkeel_bucket::clock::Tsc;
    let clock = Tsc::new();
    let (first, second) = (clock.now(), clock.clone().now());
    assert!(first.abs_diff(second) < 60 * SECOND.as_nanos() as u64);
    while clock.now() <= first {}
}

/// Pitfall: a remainder lost or gained by each take adds up. Takes of all sizes, in millions, against whole fractions.
#[test]
fn millions_of_takes_are_those_of_an_exact_bucket() {
    const TAKES: u64 = 400_000;
    const DAY: Duration = Duration::from_secs(86_400);
    for (tokens, time, depth, exactly) in [
        (10, 60 * SECOND, 10, true),
        (600_000_000, SECOND, 1000, true),
        (700_000_000, SECOND, 3, true),
        (10_000_000_000, SECOND, u32::MAX, true),
        (12_300_000_000, SECOND, 40, true),
        (1, DAY, 800, true),
        (1, DAY, u32::MAX, false),
        (999_999_937, SECOND, 5, false),
    ] {
        let clock = Manual::default();
        let bucket = Clocked::new(Rate::per(tokens, time), depth, clock.clone());
        let (tokens, price) = (u128::from(tokens), time.as_nanos());
        let full = u128::from(depth) * price;
        let (mut level, mut taken, mut random) = (full, 0, 1_u64);
        let most = 3 * (price / tokens) as u64 + 2;
        // The clock ends after 584 years.
        let takes = TAKES.min(u64::MAX / most);
        for _ in 0..takes {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let pause = random % most;
            clock.advance(Duration::from_nanos(pause));
            level = full.min(level + u128::from(pause) * tokens);
            let n = random >> 61;
            let exact = u128::from(n) * price <= level;
            let granted = bucket.try_acquire(n).is_ok();
            assert!(exact || !granted, "early: {n} at {tokens} per {time:?}");
            assert!(
                granted || !exact || !exactly,
                "late: {n} at {tokens} per {time:?}"
            );
            level -= if granted { u128::from(n) * price } else { 0 };
            taken += u64::from(granted) * n;
        }
        assert!(taken > takes / 4, "many are granted: {taken}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Do {
    Take(u64),
    UpTo(u64),
    Refund(u64),
    Rate(u64),
    Depth(u32),
    Pass(u64),
}

fn script() -> impl Strategy<Value = Vec<Do>> {
    let step = prop_oneof![
        6 => (0..6_u64).prop_map(Do::Take),
        2 => (0..6_u64).prop_map(Do::UpTo),
        1 => (0..4_u64).prop_map(Do::Refund),
        1 => (0..2_000_000_000_u64).prop_map(Do::Rate),
        1 => (0..6_u32).prop_map(Do::Depth),
        6 => (0..3_000_000_000_u64).prop_map(Do::Pass),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// The clock is all that differs.
    #[test]
    fn it_is_the_bucket_that_it_would_be_on_tokios_clock(script in script(), start: u64) {
        paused(async {
            let clock = Manual::default();
            clock.set(start >> 1);
            let theirs = Bucket::new(Rate::every(SECOND), 5);
            let ours = Clocked::new(Rate::every(SECOND), 5, clock.clone());
            for step in script {
                match step {
                    Do::Take(n) => prop_assert_eq!(ours.try_acquire(n), theirs.try_acquire(n)),
                    Do::UpTo(n) => prop_assert_eq!(ours.take_up_to(n), theirs.take_up_to(n)),
                    Do::Refund(n) => {
                        ours.refund(n);
                        theirs.refund(n);
                    }
                    Do::Rate(nanos) => {
                        let rate = Rate::every(Duration::from_nanos(nanos));
                        ours.set_rate(rate);
                        theirs.set_rate(rate);
                    }
                    Do::Depth(depth) => {
                        ours.set_depth(depth);
                        theirs.set_depth(depth);
                    }
                    Do::Pass(nanos) => {
                        let time = Duration::from_nanos(nanos);
                        clock.advance(time);
                        advance(time).await;
                    }
                }
                prop_assert_eq!(ours.peek(), theirs.peek());
            }
            Ok(())
        })?;
    }

    /// Whatever the clock says, and in whatever order: the depth and what the time between its first and its greatest word brings.
    #[test]
    fn no_order_of_readings_mints(
        readings in prop::collection::vec(prop_oneof![0..10_000_000_000_u64, any::<u64>()], 1..50),
        (nanos, depth) in (1..5_000_000_000_u64, 1..20_u32),
    ) {
        let clock = Manual::default();
        clock.set(readings[0]);
        let bucket = Clocked::new(Rate::every(Duration::from_nanos(nanos)), depth, clock.clone());
        let (mut granted, mut greatest) = (0_u128, readings[0]);
        for reading in &readings {
            clock.set(*reading);
            greatest = greatest.max(*reading);
            while bucket.try_acquire(1).is_ok() {
                granted += 1;
            }
            let passed = u128::from(greatest - readings[0]);
            prop_assert!(granted <= u128::from(depth) + passed / u128::from(nanos));
        }
    }

    /// Pitfall: an extreme rate, depth, number or time wraps or panics (tests are built with overflow checks).
    #[test]
    fn no_input_wraps_or_panics(
        limits in prop::collection::vec((any::<u64>(), any::<Duration>(), any::<u32>()), 1..4),
        steps in prop::collection::vec((any::<u64>(), any::<u64>(), 0..4_u8), 1..50),
    ) {
        let clock = Manual::default();
        let (tokens, time, depth) = limits[0];
        let bucket = Clocked::new(Rate::per(tokens, time), depth, clock.clone());
        for (step, (n, now, what)) in steps.into_iter().enumerate() {
            // Sometimes the clock stands.
            if n % 3 != 0 {
                clock.set(now);
            }
            let (tokens, time, depth) = limits[step % limits.len()];
            match what {
                0 => bucket.refund(n),
                1 => bucket.set_rate(Rate::per(tokens, time)),
                2 => bucket.set_depth(depth),
                _ => {
                    let held = bucket.peek().tokens;
                    let granted = bucket.take_up_to(n).map_or(0, |grant| grant.tokens());
                    prop_assert_eq!(granted, n.min(held));
                    prop_assert!(n <= bucket.depth().into() || bucket.try_acquire(n).is_err());
                }
            }
            prop_assert!(bucket.peek().tokens <= bucket.depth().into());
        }
    }
}
