//! The line: who is served, when, and what happens to those who leave it or never come back.
#![cfg(not(loom))]

mod support;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_bucket::{All, Bucket, Rate, Refusal};
use proptest::prelude::*;
use support::{MS, SECOND, acquire, empty, poll_once};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, advance};

/// Waits for `n` and notes `id` when served.
fn spawn(bucket: &Bucket, n: u64, id: usize, served: &Arc<Mutex<Vec<usize>>>) -> JoinHandle<()> {
    let (waiter, served) = (acquire(bucket, n), Arc::clone(served));
    tokio::spawn(async move {
        waiter.await.unwrap();
        served.lock().unwrap().push(id);
    })
}

async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_are_served_in_the_order_in_which_they_came() {
    let bucket = empty(Rate::per(300, SECOND), 7);
    let served = Arc::default();
    let waiters: Vec<_> = (0..100)
        .map(|id| spawn(&bucket, 1 + id as u64 % 7, id, &served))
        .collect();
    for waiter in waiters {
        waiter.await.unwrap();
    }
    assert!(served.lock().unwrap().iter().copied().eq(0..100));
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_little_does_not_starve_who_asks_for_much() {
    let bucket = empty(Rate::per(100, SECOND), 50);
    let start = Instant::now();
    let much = tokio::spawn(acquire(&bucket, 50));
    yield_now().await;
    let little = tokio::spawn({
        let bucket = bucket.clone();
        async move {
            loop {
                assert!(bucket.try_acquire(1).is_err() || start.elapsed() >= SECOND / 2);
                bucket.acquire(1, None).await.unwrap();
            }
        }
    });
    much.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), SECOND / 2);
    little.abort();
}

#[tokio::test(start_paused = true)]
async fn the_next_is_served_when_the_head_leaves_asked_to_come_or_not() {
    for polled_again in [false, true] {
        let bucket = empty(Rate::per(10, SECOND), 5);
        let start = Instant::now();
        let mut head = acquire(&bucket, 5);
        assert!(poll_once(&mut head).is_pending());
        let next = tokio::spawn(acquire(&bucket, 1));
        yield_now().await;
        // The head could be served now, and was told so.
        advance(if polled_again {
            SECOND / 2
        } else {
            SECOND / 10
        })
        .await;
        drop(head);
        next.await.unwrap().unwrap();
        let after = if polled_again {
            SECOND / 2
        } else {
            SECOND / 10
        };
        assert!(start.elapsed() <= after + MS);
        assert_eq!(bucket.peek().tokens, if polled_again { 4 } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn the_forgotten_waste_nothing_and_hold_up_nobody() {
    let bucket = empty(Rate::per(10, SECOND), 5);
    let start = Instant::now();
    for n in [1, 2, 5] {
        let mut forgotten = acquire(&bucket, n);
        assert!(poll_once(&mut forgotten).is_pending());
        std::mem::forget(forgotten);
    }
    let mut late = acquire(&bucket, 1);
    assert!(poll_once(&mut late).is_pending());
    let served: Arc<Mutex<Vec<usize>>> = Arc::default();
    let waiters: Vec<_> = (0..20).map(|id| spawn(&bucket, 1, id, &served)).collect();
    for waiter in waiters {
        waiter.await.unwrap();
    }
    assert!(served.lock().unwrap().iter().copied().eq(0..20));
    // As soon as the first of them had waited for those before it, the bucket was full: 5 at once, the rest at its rate.
    let first = 10 * SECOND / 10;
    assert!(
        start.elapsed() <= first + 15 * SECOND / 10 + 20 * MS,
        "{:?}",
        start.elapsed()
    );
    // Whoever comes back after all has kept its turn.
    assert!(
        tokio::time::timeout(SECOND / 10 + MS, late)
            .await
            .unwrap()
            .is_ok()
    );
}

/// Pitfall: the next comes only when its own tokens are due after those of the forgotten, which at this depth are lost by then.
#[tokio::test(start_paused = true)]
async fn a_forgotten_head_costs_the_next_milliseconds_and_no_token() {
    let bucket = empty(Rate::per(1, SECOND), 1);
    let served_before_it = tokio::spawn(acquire(&bucket, 1));
    yield_now().await;
    let start = Instant::now();
    let mut forgotten = acquire(&bucket, 1);
    assert!(poll_once(&mut forgotten).is_pending());
    std::mem::forget(forgotten);
    for turn in [2, 3, 4] {
        bucket.acquire(1, None).await.unwrap();
        let due = turn * SECOND;
        let took = start.elapsed();
        assert!(took >= due && took <= due + 7 * MS, "{took:?}");
    }
    assert!(served_before_it.is_finished());
}

/// Pitfall: after a stall whoever is polled first passes over those who are late for the same reason.
#[tokio::test(start_paused = true)]
async fn who_is_late_because_the_runtime_is_keeps_its_turn() {
    let bucket = empty(Rate::per(1, SECOND), 1);
    let mut head = acquire(&bucket, 1);
    assert!(poll_once(&mut head).is_pending());
    let mut next = acquire(&bucket, 1);
    assert!(poll_once(&mut next).is_pending());
    advance(SECOND + 50 * MS).await;
    assert!(poll_once(&mut next).is_pending());
    assert!(poll_once(&mut head).is_ready());
    next.await.unwrap();
}

/// Pitfall: a timer that fires early, or a waker that is woken for nothing, grants early or is not armed again.
#[tokio::test(start_paused = true)]
async fn who_is_polled_too_early_waits_on() {
    let bucket = empty(Rate::every(SECOND), 1);
    let start = Instant::now();
    let mut waiter = acquire(&bucket, 1);
    for _ in 0..9 {
        assert!(poll_once(&mut waiter).is_pending());
        advance(SECOND / 10).await;
    }
    waiter.await.unwrap();
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_nothing_stands_behind_nobody() {
    let bucket = empty(Rate::every(SECOND), 1);
    let waiter = tokio::spawn(acquire(&bucket, 1));
    yield_now().await;
    assert!(bucket.try_acquire(0).is_ok());
    assert!(bucket.acquire(0, None).await.is_ok());
    let start = Instant::now();
    waiter.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), SECOND, "it stood in line");
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_head_stores_up_no_burst() {
    let bucket = empty(Rate::per(1000, SECOND), 2);
    let mut forgotten = acquire(&bucket, 1);
    assert!(poll_once(&mut forgotten).is_pending());
    std::mem::forget(forgotten);
    advance(SECOND).await;
    bucket.acquire(1, None).await.unwrap();
    let mut granted = 1;
    while let Ok(Ok(_)) = tokio::time::timeout(Duration::ZERO, bucket.acquire(1, None)).await {
        granted += 1;
    }
    assert!((2..=2 + 3).contains(&granted), "{granted} at once");
}

#[tokio::test(start_paused = true)]
async fn one_waiter_gets_the_rate_and_never_more_at_any_rate_of_the_timer() {
    for rate in [700, 1000, 1500, 3000] {
        // The start lies between two ticks of the timer.
        advance(Duration::from_micros(137)).await;
        let bucket = empty(Rate::per(rate, SECOND), 1);
        let start = Instant::now();
        let mut granted = 0_u64;
        while start.elapsed() < 10 * SECOND {
            bucket.acquire(1, None).await.unwrap();
            granted += 1;
            let due = u128::from(granted) * 1_000_000_000 / u128::from(rate);
            assert!(start.elapsed().as_nanos() >= due, "early");
        }
        assert!(
            granted as f64 >= 0.999 * 10.0 * rate as f64,
            "{granted} at {rate}/s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_reached_with_ten_thousand_waiters() {
    let bucket = empty(Rate::per(1000, SECOND), 1);
    let start = Instant::now();
    let served = Arc::default();
    let waiters: Vec<_> = (0..10_000)
        .map(|id| spawn(&bucket, 1, id, &served))
        .collect();
    for waiter in waiters {
        waiter.await.unwrap();
    }
    let took = start.elapsed();
    assert!(
        took >= 10 * SECOND && took <= 10 * SECOND + 10 * MS,
        "{took:?}"
    );
    assert!(served.lock().unwrap().iter().copied().eq(0..10_000));
}

/// Who waits for two limits is not passed by an endless stream of those who need one of them.
#[tokio::test(start_paused = true)]
async fn who_waits_for_several_limits_does_not_starve() {
    let disk = empty(Rate::per(1, SECOND), 1);
    let api = empty(Rate::per(10, SECOND), 1);
    let hungry: Vec<_> = [&disk, &api]
        .map(|bucket| {
            let bucket = bucket.clone();
            tokio::spawn(async move {
                loop {
                    bucket.acquire(1, None).await.unwrap();
                }
            })
        })
        .into();
    let start = Instant::now();
    let both = All::new([&disk, &api]);
    for _ in 0..5 {
        both.acquire(1, None).await.unwrap();
    }
    assert!(start.elapsed() <= 11 * SECOND, "{:?}", start.elapsed());
    hungry.iter().for_each(JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_live_change_plans_the_line_anew() {
    let bucket = empty(Rate::per(1, SECOND), 1);
    let start = Instant::now();
    let served = Arc::default();
    let waiters: Vec<_> = (0..10).map(|id| spawn(&bucket, 1, id, &served)).collect();
    let hopeful = tokio::spawn({
        let bucket = bucket.clone();
        async move { bucket.acquire(1, Some(start + 12 * SECOND)).await }
    });
    tokio::time::sleep(2 * SECOND + SECOND / 2).await;
    assert_eq!(served.lock().unwrap().len(), 2);
    bucket.set_rate(Rate::per(1, 10 * SECOND));
    let denied = hopeful.await.unwrap().unwrap_err();
    assert_eq!(denied.refusal(), Refusal::DeadlineTooSoon);
    assert_eq!(start.elapsed(), 2 * SECOND + SECOND / 2);
    bucket.set_rate(Rate::per(100, SECOND));
    for waiter in waiters {
        waiter.await.unwrap();
    }
    let took = start.elapsed() - (2 * SECOND + SECOND / 2);
    assert!(
        took >= 75 * MS && took <= 77 * MS,
        "half a token was there: {took:?}"
    );
}

/// Each is due at a whole millisecond, so a plain queue on a plain counter says exactly who is served when.
#[derive(Clone, Copy, Debug)]
enum Do {
    Ask(u64),
    GiveUp(usize),
    Refund(u64),
    Try(u64),
    Pass(u64),
}

fn script() -> impl Strategy<Value = Vec<Do>> {
    let step = prop_oneof![
        4 => (1..=5_u64).prop_map(Do::Ask),
        2 => (0..8_usize).prop_map(Do::GiveUp),
        1 => (1..4_u64).prop_map(Do::Refund),
        2 => (1..=5_u64).prop_map(Do::Try),
        6 => (1..6_u64).prop_map(Do::Pass),
    ];
    prop::collection::vec(step, 1..60)
}

async fn against_a_plain_queue(script: Vec<Do>) -> Result<(), TestCaseError> {
    const DEPTH: u64 = 5;
    let bucket = Bucket::new(Rate::per(1000, SECOND), DEPTH as u32);
    let served = Arc::default();
    let mut waiters: VecDeque<(usize, u64, JoinHandle<()>)> = VecDeque::new();
    let (mut level, mut expected) = (DEPTH, Vec::new());
    for (id, step) in script.into_iter().enumerate() {
        let mut passing = 0;
        match step {
            Do::Ask(n) => waiters.push_back((id, n, spawn(&bucket, n, id, &served))),
            Do::GiveUp(at) if at < waiters.len() => waiters.remove(at).unwrap().2.abort(),
            Do::GiveUp(_) => {}
            Do::Refund(n) => {
                bucket.refund(n);
                level = (level + n).min(DEPTH);
            }
            Do::Try(n) => {
                let granted = waiters.is_empty() && n <= level;
                level -= if granted { n } else { 0 };
                prop_assert_eq!(bucket.try_acquire(n).is_ok(), granted);
            }
            Do::Pass(ms) => passing = ms,
        }
        for ms in 0..=passing {
            if ms > 0 {
                level = (level + 1).min(DEPTH);
                advance(MS).await;
            }
            while waiters.front().is_some_and(|(_, n, _)| *n <= level) {
                let (id, n, _) = waiters.pop_front().unwrap();
                level -= n;
                expected.push(id);
            }
            settle().await;
            prop_assert_eq!(&*served.lock().unwrap(), &expected);
            prop_assert_eq!(bucket.peek().tokens, level);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_line_is_a_plain_queue(script in script()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(against_a_plain_queue(script))?;
    }
}
