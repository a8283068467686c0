//! Takes from several threads, of one bucket, of several as one, and in line.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use evenkeel::bucket::{All, Bucket, Keyed, Overflow, Rate};
use tokio::runtime::Builder;

#[test]
fn all_are_charged_or_none_in_whatever_order() {
    const DEPTH: u32 = 3_000;
    let (a, b) = (
        Bucket::new(Rate::ZERO, DEPTH),
        Bucket::new(Rate::ZERO, DEPTH),
    );
    let (ab, ba) = (All::new([&a, &b]), All::new([&b, &a]));
    let start = Barrier::new(3);
    // Takes until there is nothing left; returns how often it was granted.
    let drain = |take: &dyn Fn() -> bool| {
        start.wait();
        (0_u64..).find(|_| !take()).expect("the depth is finite")
    };
    let (both, alone) = thread::scope(|scope| {
        let there = scope.spawn(|| drain(&|| ba.try_acquire(1).is_ok()));
        let alone = scope.spawn(|| drain(&|| a.try_acquire(1).is_ok()));
        let here = drain(&|| ab.try_acquire(1).is_ok());
        let both = here + there.join().expect("nobody panics");
        (both, alone.join().expect("nobody panics"))
    });
    assert_eq!(both + alone, u64::from(DEPTH), "a is drained");
    assert_eq!(
        b.peek().tokens,
        u64::from(DEPTH) - both,
        "b gave as often as it was asked with a, and no token more"
    );
}

#[test]
fn waiters_come_and_go_and_who_stays_is_granted() {
    const TASKS: u64 = 4;
    const EACH: u64 = 50;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let bucket = Bucket::new(Rate::per(20_000, Duration::from_secs(1)), 1);
    let granted: u64 = runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let bucket = bucket.clone();
                tokio::spawn(async move {
                    let mut granted = 0;
                    for _ in 0..EACH {
                        // Gives up at once, unless it need not wait.
                        let given_up =
                            tokio::time::timeout(Duration::ZERO, bucket.acquire(1, None)).await;
                        granted += u64::from(given_up.is_ok());
                        bucket.acquire(1, None).await.expect("it comes in the end");
                        granted += 1;
                    }
                    granted
                })
            })
            .collect();
        let mut granted = 0;
        for task in tasks {
            granted += task.await.expect("nobody panics");
        }
        granted
    });
    assert!(
        (TASKS * EACH..=2 * TASKS * EACH).contains(&granted),
        "{granted}"
    );
}

/// Keys get places, are moved, held and let go, and more come than there are places: none is charged for another, and none twice.
#[test]
fn each_key_is_charged_for_what_was_granted_to_it() {
    const KEYS: usize = 160;
    const DEPTH: u32 = 40;
    const TURNS: u64 = 6_000;
    let clients = Keyed::<usize>::new(Rate::ZERO, DEPTH, 0).when_full(Overflow::Deny);
    let service = Bucket::new(Rate::ZERO, u32::MAX);
    let granted: Vec<_> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let start = Barrier::new(3);
    let takes = &|seed: u64| {
        start.wait();
        let mut state = seed;
        let mut both = 0;
        for turn in 0..TURNS {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // More and more of them.
            let key = (state >> 33) as usize % KEYS.min(8 + turn as usize / 16);
            let alone = state >> 63 == 0;
            let take = || {
                if alone {
                    return clients.try_acquire(&key, 1);
                }
                All::new([clients.key(&key)?]).and(&service).try_acquire(1)
            };
            if take().is_ok() {
                granted[key].fetch_add(1, Relaxed);
                both += u64::from(!alone);
            }
        }
        both
    };
    let both: u64 = thread::scope(|scope| {
        let takers = [1, 2, 3].map(|seed| scope.spawn(move || takes(seed)));
        let taken = takers.map(|taker| taker.join().expect("nobody panics"));
        taken.iter().sum()
    });
    for (key, granted) in granted.iter().enumerate() {
        let left = clients.peek(&key).tokens;
        assert_eq!(left + granted.load(Relaxed), u64::from(DEPTH), "{key}");
    }
    assert_eq!(u64::from(u32::MAX) - service.peek().tokens, both);
    assert!(clients.overflowed() > 0, "too few keys came");
}
