//! Token buckets, beside governor's.

use std::num::NonZeroU32;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use evenkeel::bucket::{All, Bucket, Rate};
use governor::clock::MonotonicClock;
use governor::{Quota, RateLimiter};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::harness::{Bench, Unit};

pub(crate) fn run(bench: &mut Bench) {
    one(bench);
    all2(bench);
    waiter_rate(bench);
    overtaking(bench);
}

/// Refills faster than anybody here takes, so that every take is granted.
fn fast() -> Bucket {
    Bucket::new(Rate::per(1_000_000_000, Duration::from_secs(1)), u32::MAX)
}

/// Drained, and refills once a day.
fn drained() -> Bucket {
    let bucket = Bucket::new(Rate::every(Duration::from_secs(86_400)), 1);
    assert!(bucket.try_acquire(1).is_ok());
    bucket
}

/// The default clock on both sides.
fn one(bench: &Bench) {
    let ours = fast();
    let second = NonZeroU32::new(1_000_000_000).expect("it is not zero");
    let quota = Quota::per_second(second).allow_burst(NonZeroU32::MAX);
    let peer = RateLimiter::direct_with_clock(quota, MonotonicClock);
    bench
        .case("granted_std")
        .op("evenkeel", || assert!(ours.try_acquire(1).is_ok()))
        .op("governor_std", || assert!(peer.check().is_ok()))
        .op("floor", Instant::now)
        .run();
    let ours = drained();
    let quota = Quota::with_period(Duration::from_secs(86_400)).expect("it is not zero");
    let peer = RateLimiter::direct_with_clock(quota, MonotonicClock);
    assert!(peer.check().is_ok());
    bench
        .case("refused_std")
        .op("evenkeel", || assert!(ours.try_acquire(1).is_err()))
        .op("governor_std", || assert!(peer.check().is_err()))
        .op("floor", Instant::now)
        .run();
}

/// Two buckets acquired as one; the floor is a take from one alone.
fn all2(bench: &Bench) {
    let (both, alone) = (All::new([fast(), fast()]), fast());
    bench
        .case("all2_granted")
        .op("evenkeel", || assert!(both.try_acquire(1).is_ok()))
        .op("floor", || assert!(alone.try_acquire(1).is_ok()))
        .run();
    // The most restrictive is asked first, so that the other one is the last, and the one that refuses.
    let open = Bucket::new(Rate::every(Duration::from_secs(2 * 86_400)), 1);
    let (both, alone) = (All::new([open, drained()]), drained());
    bench
        .case("all2_refused")
        .op("evenkeel", || assert!(both.try_acquire(1).is_err()))
        .op("floor", || assert!(alone.try_acquire(1).is_err()))
        .run();
}

fn paused() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// The share of 1,000/s that one waiter gets from a bucket of depth 1, on a paused clock.
fn waiter_rate(bench: &Bench) {
    const GRANTS: u32 = 10_000;
    bench
        .case("waiter_rate")
        .unit(Unit::Share)
        .rounds(1)
        .measured("evenkeel", GRANTS.into(), |n| {
            let share = paused().block_on(async {
                let bucket = Bucket::new(Rate::per(1_000, Duration::from_secs(1)), 1);
                bucket
                    .acquire(1, None)
                    .await
                    .expect("it is granted in the end");
                let begun = tokio::time::Instant::now();
                for _ in 0..GRANTS {
                    bucket
                        .acquire(1, None)
                        .await
                        .expect("it is granted in the end");
                }
                f64::from(GRANTS) / 1_000.0 / begun.elapsed().as_secs_f64()
            });
            // Of the whole, not of each grant.
            share * n as f64
        })
        .run();
}

/// Of 100 waiters, the most places that one lost to later ones, as a share of all.
fn overtaking(bench: &Bench) {
    const WAITERS: usize = 100;
    bench
        .case("overtaking")
        .unit(Unit::Share)
        .rounds(1)
        .measured("evenkeel", 1, |_| {
            let (told, granted) = mpsc::channel();
            paused().block_on(async {
                let bucket = Bucket::new(Rate::per(1_000, Duration::from_secs(1)), 1);
                let mut waiters = JoinSet::new();
                for number in 0..WAITERS {
                    let (bucket, told) = (bucket.clone(), told.clone());
                    waiters.spawn(async move {
                        bucket
                            .acquire(1, None)
                            .await
                            .expect("it is granted in the end");
                        told.send(number).expect("it is read below");
                    });
                }
                waiters.join_all().await;
            });
            drop(told);
            let granted: Vec<usize> = granted.iter().collect();
            let lost = granted
                .iter()
                .enumerate()
                .map(|(place, number)| place.saturating_sub(*number));
            lost.max().unwrap_or_default() as f64 / WAITERS as f64
        })
        .run();
}
