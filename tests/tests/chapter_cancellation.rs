//! The chapter on concurrency at scale, cancellation: what it leaves behind, and no message twice, on a paused clock.

#![cfg(not(loom))]

#[path = "../../crates/evenkeel/examples/cancellation.rs"]
#[allow(dead_code, reason = "its main is not run here")]
mod cancellation;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cancellation::{Seen, add_up, by_first, by_heartbeat, by_latest, by_permission, careless};
use evenkeel::cancel::{Cause, Refused, Source, Verdict};
use tokio::time::{Instant, sleep};

/// Seconds, and what was seen then.
type Story = Vec<(u64, Seen)>;

/// Somebody to tell, and what was told.
fn story() -> (impl Fn(Seen) + Clone + Send + 'static, Arc<Mutex<Story>>) {
    let start = Instant::now();
    let story = Arc::new(Mutex::new(Story::new()));
    let told = Arc::clone(&story);
    let tell = move |seen| {
        // A timer is up to a millisecond late.
        let at = start.elapsed().as_secs();
        told.lock().unwrap().push((at, seen));
    };
    (tell, story)
}

/// Adds 1 + 2 + 3, a second each, and cancels after so long; what became of it, its verdict, and the tally.
async fn cancelled_after(ms: u64) -> (Result<(), Refused>, Verdict, u32) {
    let user = Source::new();
    let claim = user.claim();
    let tally = Mutex::new(10);
    let (added, ()) = tokio::join!(add_up(&claim, &user, &[1, 2, 3], &tally), async {
        sleep(Duration::from_millis(ms)).await;
        user.cancel(Cause::User);
    });
    let verdict = claim.try_verdict().expect("done or cancelled");
    (added, verdict, tally.into_inner().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_tally_is_written_whole_or_not_at_all_and_both_sides_know_which() {
    for ms in [0, 500, 1500, 2999] {
        let refused = Refused::Cancelled(Cause::User);
        let verdict = Verdict::Cancelled(Cause::User);
        assert_eq!(cancelled_after(ms).await, (Err(refused), verdict, 10));
    }
    assert_eq!(
        cancelled_after(3100).await,
        (Ok(()), Verdict::Delivered, 16)
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_between_the_sum_and_the_write_wins() {
    let user = Source::new();
    let claim = user.claim();
    let tally = Mutex::new(10);
    // The token of the work does not know of it: the claim alone stands between.
    user.cancel(Cause::User);
    let added = add_up(&claim, &Source::new(), &[1, 2, 3], &tally).await;
    assert_eq!(added, Err(Refused::Cancelled(Cause::User)));
    assert_eq!(tally.into_inner().unwrap(), 10);
}

#[tokio::test(start_paused = true)]
async fn without_an_agreement_the_receiver_has_it_twice() {
    let (tell, story) = story();
    assert_eq!(careless(tell).await, Ok(vec![1, 2]));
    let seen = [
        (2, Seen::Sent(1)),
        (3, Seen::TooSlow(1)),
        (5, Seen::Sent(2)),
        (6, Seen::TooSlow(2)),
    ];
    assert_eq!(*story.lock().unwrap(), seen);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_permission_is_not_started_again_once_it_has_sent() {
    let (tell, story) = story();
    assert_eq!(by_permission(tell).await, Ok(vec![1]));
    let seen = [(2, Seen::Sent(1)), (3, Seen::TooSlow(1))];
    assert_eq!(*story.lock().unwrap(), seen);
}

#[tokio::test(start_paused = true)]
async fn of_two_results_the_first_is_accepted_and_the_other_comes_back() {
    let (tell, story) = story();
    assert_eq!(by_first(tell).await, Ok(vec![1]));
    let story = story.lock().unwrap();
    assert_eq!(story[2], (5, Seen::Refused(2)), "{story:?}");
}

#[tokio::test(start_paused = true)]
async fn of_two_results_the_latest_is_accepted_and_the_stale_one_comes_back() {
    let (tell, story) = story();
    assert_eq!(by_latest(tell).await, [2]);
    let seen = [
        (3, Seen::TooSlow(1)),
        (4, Seen::Refused(1)),
        (5, Seen::Sent(2)),
    ];
    assert_eq!(*story.lock().unwrap(), seen);
}

#[tokio::test(start_paused = true)]
async fn who_is_heard_is_not_cancelled() {
    let (tell, story) = story();
    let start = Instant::now();
    assert_eq!(by_heartbeat(tell).await, [1]);
    assert_eq!(*story.lock().unwrap(), [(2, Seen::Sent(1))]);
    assert_eq!(start.elapsed().as_secs(), 4);
}
