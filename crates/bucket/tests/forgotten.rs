//! Who waits and is never polled again, and who waits for several buckets: nobody else waits longer for it than they must.
#![cfg(not(loom))]

mod support;

use std::time::Duration;

use evenkeel_bucket::{All, Bucket, Keyed, Limiter, Rate, Refusal};
use support::{Acquiring, MS, SECOND, acquire, empty, poll_once};
use tokio::time::{Instant, advance, sleep};

const HOUR: Duration = Duration::from_secs(3600);

fn forget(mut waiter: Acquiring) {
    assert!(poll_once(&mut waiter).is_pending());
    std::mem::forget(waiter);
}

/// How long it takes until an attempt succeeds, each 4 ms after the last.
async fn tried(mut attempt: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !attempt() {
        assert!(start.elapsed() < SECOND, "refused for good");
        advance(4 * MS).await;
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn tries_pass_over_the_forgotten() {
    let bucket = empty(Rate::every(SECOND), 1);
    forget(acquire(&bucket, 1));
    forget(acquire(&bucket, 1));
    advance(HOUR).await;
    assert!(tried(|| bucket.try_acquire(1).is_ok()).await <= 12 * MS);
    forget(acquire(&bucket, 1));
    advance(HOUR).await;
    assert!(tried(|| bucket.take_up_to(1).is_ok()).await <= 12 * MS);
}

#[tokio::test(start_paused = true)]
async fn tries_pass_over_a_forgotten_key_and_a_forgotten_all() {
    let keyed = Keyed::<u8>::new(Rate::every(SECOND), 1, 1);
    keyed.try_acquire(&1, 1).unwrap();
    let key = keyed.key(&1).unwrap();
    forget(Box::pin(async move { key.acquire(1, None).await }));
    let buckets = [(); 2].map(|()| empty(Rate::every(SECOND), 1));
    let all = All::new(&buckets);
    forget(Box::pin({
        let all = all.clone();
        async move { all.acquire(1, None).await }
    }));
    advance(HOUR).await;
    assert!(tried(|| keyed.try_acquire(&1, 1).is_ok()).await <= 12 * MS);
    assert!(tried(|| all.try_acquire(1).is_ok()).await <= 12 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_refund_reaches_who_waits_behind_a_forgotten_head() {
    let bucket = empty(Rate::every(HOUR), 2);
    forget(acquire(&bucket, 1));
    let start = Instant::now();
    let waiter = tokio::spawn({
        let bucket = bucket.clone();
        async move { bucket.acquire(1, None).await }
    });
    sleep(SECOND).await;
    bucket.refund(2);
    waiter.await.unwrap().unwrap();
    assert!(start.elapsed() <= SECOND + 10 * MS);
    assert_eq!(bucket.peek().tokens, 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_gives_up_lets_pass_also_who_waits_behind_a_forgotten_one() {
    let bucket = empty(Rate::every(SECOND), 100);
    let mut head = acquire(&bucket, 100);
    assert!(poll_once(&mut head).is_pending());
    forget(acquire(&bucket, 1));
    let start = Instant::now();
    let waiter = tokio::spawn({
        let bucket = bucket.clone();
        async move { bucket.acquire(1, None).await }
    });
    sleep(5 * SECOND).await;
    drop(head);
    waiter.await.unwrap().unwrap();
    assert!(start.elapsed() <= 5 * SECOND + 10 * MS);
}

/// Two buckets that 100 tokens are short of for one second and for fifty, and both of them.
fn for_a_second_and_for_fifty() -> (Bucket, Bucket, All) {
    let soon = Bucket::new(Rate::every(SECOND), 100).named("soon");
    let later = Bucket::new(Rate::per(2, SECOND), 100).named("later");
    assert!(soon.try_acquire(1).is_ok());
    assert!(later.try_acquire(100).is_ok());
    let all = All::new([&soon, &later]);
    (soon, later, all)
}

#[tokio::test(start_paused = true)]
async fn an_all_looks_at_the_next_bucket_as_soon_as_the_first_has_enough() {
    type Change = (fn(&Bucket), Option<Duration>, Option<Refusal>);
    let changes: [Change; 4] = [
        (|later| later.refund(100), None, None),
        (|later| later.set_rate(Rate::UNLIMITED), None, None),
        (|later| later.set_depth(10), None, Some(Refusal::Never)),
        (
            |later| later.set_rate(Rate::ZERO),
            Some(60 * SECOND),
            Some(Refusal::DeadlineTooSoon),
        ),
    ];
    for (change, by, refused) in changes {
        let (_soon, later, all) = for_a_second_and_for_fifty();
        let start = Instant::now();
        let by = by.map(|by| start + by);
        let waiter = tokio::spawn(async move { all.acquire(100, by).await });
        sleep(SECOND / 2).await;
        change(&later);
        let ended = waiter.await.unwrap().map_err(|denied| denied.refusal());
        assert_eq!(ended.err(), refused);
        assert!(start.elapsed() <= SECOND + MS, "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_all_is_told_when_all_have_enough() {
    let (_soon, _later, all) = for_a_second_and_for_fifty();
    let denied = all.try_acquire(100).unwrap_err();
    assert_eq!(denied.by(), "soon");
    assert_eq!(denied.refusal(), Refusal::Later(50 * SECOND));
    advance(50 * SECOND).await;
    assert!(all.try_acquire(100).is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_stands_behind_an_all_is_told_when_that_is_expected() {
    let api = empty(Rate::per(10, SECOND), 1).named("api");
    let hourly = Bucket::new(Rate::every(HOUR), 1).named("hourly");
    let both = All::new([&api, &hourly]);
    let waiter = tokio::spawn(async move { both.acquire(1, None).await });
    sleep(SECOND / 20).await;
    assert!(hourly.try_acquire(1).is_ok(), "nobody waits for it yet");
    sleep(SECOND).await;
    let at = Instant::now();
    let hour = HOUR - SECOND;
    let denied = api.try_acquire(1).unwrap_err();
    assert!(denied.retry_after().unwrap() >= hour, "{denied:?}");
    let denied = api.acquire(1, Some(at + SECOND)).await.unwrap_err();
    assert_eq!(denied.refusal(), Refusal::DeadlineTooSoon);
    assert!(denied.retry_after().unwrap() >= hour, "{denied:?}");
    assert_eq!(at, Instant::now());
    hourly.set_rate(Rate::ZERO);
    sleep(MS).await;
    assert_eq!(api.try_acquire(1).unwrap_err().refusal(), Refusal::Never);
    waiter.abort();
    assert!(waiter.await.unwrap_err().is_cancelled());
    assert!(api.try_acquire(1).is_ok());
}
