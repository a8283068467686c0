//! What a user can count on, on a paused clock.
#![cfg(not(loom))]

use std::time::Duration;

use evenkeel_bucket::{All, AnyLimiter, Bucket, Grant, Limiter, Rate, Refusal};
use tokio::task::yield_now;
use tokio::time::{Instant, advance, timeout};

const SECOND: Duration = Duration::from_secs(1);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[tokio::test(start_paused = true)]
async fn starts_full_and_refills_at_its_rate() {
    let bucket = Bucket::new(Rate::per(2, SECOND), 2).named("api");
    assert_eq!(bucket.try_acquire(2).unwrap().remaining(), 0);
    let denied = bucket.try_acquire(1).unwrap_err();
    assert_eq!(denied.by(), "api");
    assert_eq!(denied.refusal(), Refusal::Later(ms(500)));
    advance(ms(499)).await;
    assert!(bucket.try_acquire(1).is_err());
    advance(ms(1)).await;
    assert!(bucket.try_acquire(1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_always_granted_and_too_much_never() {
    let bucket = Bucket::new(Rate::every(SECOND), 2);
    assert!(bucket.try_acquire(2).is_ok());
    assert_eq!(bucket.try_acquire(0).unwrap().tokens(), 0);
    assert!(bucket.acquire(0, None).await.is_ok());
    for n in [3, u64::MAX] {
        let refusals = [bucket.try_acquire(n), bucket.acquire(n, None).await];
        assert!(
            refusals
                .iter()
                .all(|r| r.as_ref().unwrap_err().refusal() == Refusal::Never)
        );
    }
    let nothing = Bucket::new(Rate::MAX, 0);
    assert_eq!(
        nothing.try_acquire(1).unwrap_err().refusal(),
        Refusal::Never
    );
}

#[tokio::test(start_paused = true)]
async fn without_limit_everything_is_granted_and_at_rate_zero_what_was_there() {
    let open = Bucket::new(Rate::UNLIMITED, 0);
    assert!(open.try_acquire(u64::MAX).is_ok());
    assert_eq!(open.peek().tokens, u64::MAX);
    let closed = Bucket::new(Rate::ZERO, 2);
    assert!(closed.try_acquire(2).is_ok());
    advance(Duration::from_secs(1 << 30)).await;
    assert_eq!(closed.try_acquire(1).unwrap_err().refusal(), Refusal::Never);
    assert_eq!(
        closed.acquire(1, None).await.unwrap_err().refusal(),
        Refusal::Never
    );
    assert_eq!((closed.peek().tokens, closed.peek().next), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_served_when_it_is_due() {
    let start = Instant::now();
    let bucket = Bucket::new(Rate::per(2, SECOND), 1);
    for _ in 0..5 {
        bucket.acquire(1, None).await.unwrap();
    }
    assert_eq!(start.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_in_time_is_refused_at_once_and_takes_nothing() {
    let start = Instant::now();
    let bucket = Bucket::new(Rate::every(SECOND), 3).named("slow");
    assert!(bucket.try_acquire(2).is_ok());
    let denied = bucket.acquire(3, Some(start + ms(1999))).await.unwrap_err();
    assert_eq!(
        (denied.by(), denied.refusal()),
        ("slow", Refusal::DeadlineTooSoon)
    );
    assert_eq!(denied.retry_after(), Some(2 * SECOND), "it is known");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(bucket.peek().tokens, 1);
    assert!(bucket.acquire(3, Some(start + 2 * SECOND)).await.is_ok());
    assert_eq!(start.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_line_counts_for_a_deadline_and_for_a_try() {
    let bucket = Bucket::new(Rate::every(SECOND), 1);
    assert!(bucket.try_acquire(1).is_ok());
    let waiting = tokio::spawn({
        let bucket = bucket.clone();
        async move { bucket.acquire(1, None).await }
    });
    tokio::task::yield_now().await;
    let by = Instant::now() + ms(1999);
    let late = bucket.acquire(1, Some(by)).await.unwrap_err();
    assert_eq!(late.refusal(), Refusal::DeadlineTooSoon);
    assert_eq!(late.retry_after(), Some(2 * SECOND));
    let later = bucket.try_acquire(1).unwrap_err();
    assert_eq!(later.refusal(), Refusal::Later(2 * SECOND));
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refund_is_exact_never_above_the_depth_and_serves_the_line() {
    let bucket = Bucket::new(Rate::every(SECOND), 3);
    bucket.refund(2);
    assert_eq!(bucket.peek().tokens, 3);
    assert!(bucket.try_acquire(3).is_ok());
    bucket.refund(1);
    assert_eq!(bucket.peek().tokens, 1);
    bucket.refund(u64::MAX);
    assert_eq!(bucket.peek().tokens, 3);
    assert!(bucket.try_acquire(4).is_err());
    assert!(bucket.try_acquire(3).is_ok());
    let start = Instant::now();
    let (served, ()) = tokio::join!(bucket.acquire(2, None), async { bucket.refund(2) });
    assert!(served.is_ok());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_waiter_takes_nothing_and_the_next_moves_up() {
    let bucket = Bucket::new(Rate::every(SECOND), 5);
    assert!(bucket.try_acquire(5).is_ok());
    let start = Instant::now();
    let next = tokio::spawn({
        let bucket = bucket.clone();
        async move {
            tokio::task::yield_now().await;
            bucket.acquire(1, None).await
        }
    });
    assert!(timeout(ms(500), bucket.acquire(5, None)).await.is_err());
    next.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(bucket.peek().tokens, 0);
}

#[tokio::test(start_paused = true)]
async fn all_or_nothing_also_when_buckets_are_shared() {
    let second = Bucket::new(Rate::per(2, SECOND), 1).named("second");
    let minute = Bucket::new(Rate::per(10, 60 * SECOND), 10).named("minute");
    let disk = Bucket::new(Rate::every(10 * SECOND), 1).named("disk");
    let api = All::new([&second, &minute]);
    let read = All::new([&api, &All::new([&minute])]).and(&disk);
    assert_eq!(
        read.names().collect::<Vec<_>>(),
        ["disk", "minute", "second"]
    );

    assert_eq!(read.try_acquire(1).unwrap().remaining(), 0);
    assert_eq!(minute.peek().tokens, 9, "charged once");
    advance(SECOND).await;
    let levels = || {
        [
            second.peek().tokens,
            minute.peek().tokens,
            disk.peek().tokens,
        ]
    };
    let before = levels();
    assert_eq!(read.try_acquire(1).unwrap_err().by(), "disk");
    let by = Some(Instant::now() + SECOND);
    assert_eq!(
        read.acquire(1, by).await.unwrap_err().refusal(),
        Refusal::DeadlineTooSoon
    );
    assert_eq!(levels(), before);
    assert!(api.try_acquire(1).is_ok());
    read.refund(1);
    assert_eq!(levels(), [1, 9, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_all_waits_where_it_is_held_up_and_leaves_the_rest_open() {
    let api = Bucket::new(Rate::per(4, SECOND), 4).named("api");
    let disk = Bucket::new(Rate::every(SECOND), 1).named("disk");
    let read = All::new([&api, &disk]);
    assert!(disk.try_acquire(1).is_ok());
    let start = Instant::now();
    let waiting = tokio::spawn({
        let read = read.clone();
        async move { read.acquire(1, None).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(
        disk.try_acquire(1).unwrap_err().refusal(),
        Refusal::Later(2 * SECOND)
    );
    assert!(api.try_acquire(4).is_ok(), "nobody waits for the api");
    waiting.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(api.peek().tokens, 3);
}

#[tokio::test(start_paused = true)]
async fn an_empty_all_grants_everything() {
    let none = All::new::<Bucket>([]);
    assert!(none.try_acquire(u64::MAX).is_ok());
    assert!(none.acquire(1, None).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn limiters_of_any_kind_behind_one_type() {
    let bucket = Bucket::new(Rate::every(SECOND), 1);
    let limits = [
        AnyLimiter::new(bucket.clone()),
        AnyLimiter::new(All::new([bucket])),
    ];
    let now = Some(Instant::now());
    assert!(limits[0].acquire(1, now).await.is_ok());
    let denied = limits[1].acquire(1, now).await.unwrap_err();
    assert_eq!(denied.refusal(), Refusal::DeadlineTooSoon);
}

#[tokio::test(start_paused = true)]
async fn at_rate_zero_the_line_stays_and_a_raise_serves_it() {
    let bucket = Bucket::new(Rate::every(SECOND), 1);
    assert!(bucket.try_acquire(1).is_ok());
    let start = Instant::now();
    let waiting = tokio::spawn({
        let bucket = bucket.clone();
        async move { bucket.acquire(1, None).await }
    });
    advance(ms(500)).await;
    bucket.set_rate(Rate::ZERO);
    advance(9 * SECOND).await;
    assert!(!waiting.is_finished());
    bucket.set_rate(Rate::per(4, SECOND));
    waiting.await.unwrap().unwrap();
    assert_eq!(
        start.elapsed(),
        9 * SECOND + ms(625),
        "half a token was there"
    );
    assert_eq!((bucket.rate(), bucket.depth()), (Rate::per(4, SECOND), 1));
}

/// Pitfall: a line hides that there is nothing to wait for, or a pause passes for a refusal for good.
#[tokio::test(start_paused = true)]
async fn at_rate_zero_a_line_is_joined_by_those_for_whom_there_is_enough() {
    let bucket = Bucket::new(Rate::every(SECOND), 5);
    assert!(bucket.try_acquire(2).is_ok());
    let start = Instant::now();
    let by = Some(start + 9 * SECOND);
    let wait = |n, by| {
        let bucket = bucket.clone();
        tokio::spawn(async move { bucket.acquire(n, by).await })
    };
    let (head, hurried) = (wait(5, None), wait(1, by));
    yield_now().await;
    bucket.set_rate(Rate::ZERO);
    let refusal = |denied: Result<_, evenkeel_bucket::Denied>| denied.unwrap_err().refusal();
    let hurried = hurried.await.unwrap();
    assert_eq!(refusal(hurried), Refusal::DeadlineTooSoon, "had waited");
    // Three are left, which the head wants for itself.
    assert_eq!(bucket.peek().tokens, 3);
    assert_eq!(refusal(bucket.try_acquire(1)), Refusal::Never);
    assert_eq!(refusal(bucket.acquire(4, None).await), Refusal::Never);
    let hurried = bucket.acquire(3, by).await;
    assert_eq!(refusal(hurried), Refusal::DeadlineTooSoon);
    let next = wait(3, None);
    advance(SECOND).await;
    assert!(!next.is_finished());
    head.abort();
    assert!(next.await.unwrap().is_ok());
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_takes_longer_than_the_clock_counts_is_told_as_what_is_left_of_it() {
    let years = |n: u32| n * Duration::from_secs(365 * 24 * 3_600);
    let bucket = Bucket::new(Rate::every(years(300)), 4);
    assert!(bucket.try_acquire(4).is_ok());
    let level = bucket.peek();
    assert_eq!(
        level.next.map(|next| next.abs_diff(years(300)) < SECOND),
        Some(true)
    );
    let most = years(583)..years(585);
    assert!(most.contains(&level.full.unwrap()), "{level:?}");
    let denied = bucket.try_acquire(4).unwrap_err();
    assert!(most.contains(&denied.retry_after().unwrap()), "{denied}");
}

#[tokio::test(start_paused = true)]
async fn a_lower_depth_refuses_also_those_behind_the_head() {
    let bucket = Bucket::new(Rate::every(SECOND), 5);
    assert!(bucket.try_acquire(5).is_ok());
    let [head, next] = [1, 5].map(|n| {
        let bucket = bucket.clone();
        tokio::spawn(async move { bucket.acquire(n, None).await })
    });
    advance(ms(500)).await;
    bucket.set_depth(4);
    let denied = next.await.unwrap().unwrap_err();
    assert_eq!(denied.refusal(), Refusal::Never);
    assert!(!head.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_lower_depth_refuses_who_asked_for_more() {
    let bucket = Bucket::new(Rate::every(SECOND), 5);
    assert!(bucket.try_acquire(5).is_ok());
    let waiting = tokio::spawn({
        let bucket = bucket.clone();
        async move { bucket.acquire(5, None).await }
    });
    advance(SECOND).await;
    bucket.set_depth(4);
    let denied = waiting.await.unwrap().unwrap_err();
    assert_eq!(denied.refusal(), Refusal::Never);
    assert_eq!(bucket.peek().tokens, 1);
}

#[tokio::test(start_paused = true)]
async fn takes_what_there_is_up_to_what_was_asked() {
    let bucket = Bucket::new(Rate::every(SECOND), 5);
    assert_eq!(bucket.take_up_to(3).unwrap().tokens(), 3);
    assert_eq!(bucket.take_up_to(u64::MAX).unwrap().tokens(), 2);
    assert_eq!(
        bucket.take_up_to(7).unwrap_err().refusal(),
        Refusal::Later(SECOND)
    );
    assert_eq!(bucket.take_up_to(0).unwrap().tokens(), 0);
    let open = Bucket::new(Rate::UNLIMITED, 1);
    assert_eq!(open.take_up_to(9).unwrap().tokens(), 9);
    let none = Bucket::new(Rate::MAX, 0);
    assert_eq!(none.take_up_to(9).unwrap_err().refusal(), Refusal::Never);
}

/// The ticks' origin moves every 13 days; what was spent before can still be given back.
#[tokio::test(start_paused = true)]
async fn a_refund_fills_the_bucket_also_after_weeks() {
    let bucket = Bucket::new(Rate::every(24 * 3600 * SECOND), 800);
    assert!(bucket.try_acquire(800).is_ok());
    for _ in 0..20 {
        advance(24 * 3600 * SECOND).await;
        let _ = bucket.try_acquire(0);
    }
    assert_eq!(bucket.peek().tokens, 20);
    bucket.refund(779);
    assert_eq!(bucket.peek().tokens, 799);
    bucket.refund(2);
    assert_eq!(bucket.peek().tokens, 800);
}

#[tokio::test(start_paused = true)]
async fn what_was_unlimited_is_full_when_it_gets_a_limit() {
    let bucket = Bucket::new(Rate::UNLIMITED, 10);
    bucket.try_acquire(1_000_000).unwrap();
    bucket.set_rate(Rate::every(SECOND));
    assert_eq!(bucket.peek().tokens, 10);
    bucket.try_acquire(3).unwrap();
    bucket.set_rate(Rate::UNLIMITED);
    bucket.set_rate(Rate::per(2, SECOND));
    assert_eq!(bucket.peek().tokens, 10);
    assert!(bucket.try_acquire(10).is_ok());
    assert!(bucket.try_acquire(1).is_err());
}

#[test]
fn what_tells_the_same_is_equal_and_shows_what_it_tells() {
    let bucket = Bucket::new(Rate::every(SECOND), 2);
    let grant = bucket.try_acquire(1).unwrap();
    assert_eq!(grant, Grant::of(1, 1));
    assert_ne!(grant, Grant::of(1, 2));
    assert_eq!(format!("{grant:?}"), "Grant { tokens: 1, remaining: 1 }");
    let denied = bucket.try_acquire(3).unwrap_err();
    assert_eq!(
        format!("{denied:?}"),
        r#"Denied { by: "bucket", refusal: Never, retry_after: None }"#
    );
}

#[test]
fn rates_that_compare_equal_are_equal_also_beyond_584_years() {
    let nanos = |n: u128| Duration::new((n / 1_000_000_000) as u64, (n % 1_000_000_000) as u32);
    let rates = [
        Rate::per(4, nanos((1 << 64) + 3)),
        Rate::per(1, nanos((1 << 62) + 1)),
    ];
    assert!(rates[0].cmp(&rates[1]).is_eq());
    assert_eq!(rates[0], rates[1]);
}
