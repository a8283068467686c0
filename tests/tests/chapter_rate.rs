//! The chapter's limits in tiers, as the example has them, on a paused clock.

#![cfg(not(loom))]

#[path = "../../crates/evenkeel/examples/rate_limiting.rs"]
#[allow(dead_code, reason = "its main is not run here")]
mod rate_limiting;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::bucket::{All, Bucket, Rate, Refusal};
use rate_limiting::{Call, Connection, run};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn twenty_calls_are_done_after_a_minute_and_never_more_than_the_limits_allow() {
    let start = Instant::now();
    let done = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&done);
    run(move |call, result| {
        result.expect("nothing refuses a call that has no deadline");
        told.lock().unwrap().push((start.elapsed(), call));
    })
    .await;

    let done = done.lock().unwrap();
    let reads = done.iter().filter(|(_, call)| *call == Call::Read).count();
    assert_eq!((reads, done.len()), (10, 20));
    let last = done.last().unwrap().0;
    let late = last - Duration::from_secs(60);
    assert!(late <= Duration::from_millis(1), "the last at {last:?}");
    for (n, (at, _)) in (1_u128..).zip(done.iter()) {
        // No more than 10 + t/6 s.
        assert!(
            6_000_000_000 * n <= 60_000_000_000 + at.as_nanos(),
            "{done:?}"
        );
    }
    // No read within a second of another, no call within half a second.
    let gaps = |of: &[Duration]| {
        let pairs = of.windows(2).map(|pair| pair[1] - pair[0]);
        pairs.min().unwrap()
    };
    // A timer's lateness is made good, so up to 1 ms closer as seen on the clock.
    let close = Duration::from_millis(1);
    let all: Vec<_> = done.iter().map(|(at, _)| *at).collect();
    assert!(gaps(&all) + close >= Duration::from_millis(500), "{done:?}");
    let reads = done.iter().filter(|(_, call)| *call == Call::Read);
    let reads: Vec<_> = reads.map(|(at, _)| *at).collect();
    assert!(gaps(&reads) + close >= Duration::from_secs(1), "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_one_limit_refuses_takes_no_token_of_another() {
    let connection = Connection::open();
    let [second, minute] = &connection.api;
    connection.call(Call::Read, None).await.unwrap();
    tokio::time::advance(Duration::from_millis(500)).await;
    let tokens = || [second, minute, &connection.network].map(|bucket| bucket.peek().tokens);
    assert_eq!(tokens(), [1, 9, 3]);
    let start = Instant::now();
    for _ in 0..5 {
        let soon = Some(start + Duration::from_millis(400));
        let denied = connection.call(Call::Read, soon).await.unwrap_err();
        assert_eq!(
            (denied.by(), denied.refusal()),
            ("disk", Refusal::DeadlineTooSoon)
        );
    }
    assert_eq!((tokens(), start.elapsed()), ([1, 9, 3], Duration::ZERO));
    connection.call(Call::Resolve, Some(start)).await.unwrap();
    assert_eq!(tokens(), [0, 8, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_original_programs_faults_are_not_repeated() {
    let second = Duration::from_secs(1);
    // It sorted the caller's list.
    let mine = [
        Bucket::new(Rate::per(3, second), 1).named("fast"),
        Bucket::new(Rate::per(1, second), 1).named("slow"),
    ];
    let all = All::new(&mine);
    assert_eq!(mine.each_ref().map(Bucket::name), ["fast", "slow"]);
    assert_eq!(all.names().collect::<Vec<_>>(), ["slow", "fast"]);
    // An empty one panicked.
    assert!(All::new::<Bucket>([]).try_acquire(1).is_ok());
    // No events divided by zero, and a short time made the rate infinite.
    assert_eq!(Rate::per(0, second), Rate::ZERO);
    assert!(Rate::per(3, Duration::from_nanos(2)) < Rate::UNLIMITED);
    assert!(Rate::per(3, Duration::from_nanos(2)) > Rate::per(1, Duration::from_nanos(1)));
    // Two empty limiters are waited for at the same time, not one after the other.
    assert!(all.try_acquire(1).is_ok());
    let start = Instant::now();
    all.acquire(1, None).await.unwrap();
    assert_eq!(start.elapsed(), second);
}
