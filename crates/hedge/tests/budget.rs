//! What a budget allows, on a paused clock.

#![cfg(not(loom))]
#![cfg(feature = "bucket")]

mod support;

use std::cell::Cell;
use std::future::{pending, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_bucket::{AnyLimiter, Bucket, Denied, Grant, Limiter, Rate, Refusal};
use evenkeel_hedge::Hedge;
use support::{Log, ms};
use tokio::time::{Instant, sleep, timeout};

/// A limiter that gives the same answer to all, keeps what it was asked, and when.
#[derive(Clone)]
struct Recorder {
    answer: Answer,
    asked: Arc<Mutex<Vec<Asked>>>,
}

type Asked = (u64, Option<Instant>, Instant);

#[derive(Clone, Copy)]
enum Answer {
    Grants,
    Denies,
    /// Has to be waited for, as one that is remote.
    Waits,
}

impl Recorder {
    fn new(answer: Answer) -> Self {
        Self {
            answer,
            asked: Arc::default(),
        }
    }

    fn times_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Limiter for Recorder {
    async fn acquire(&self, n: u64, by: Option<Instant>) -> Result<Grant, Denied> {
        self.asked.lock().unwrap().push((n, by, Instant::now()));
        match self.answer {
            Answer::Grants => Ok(Grant::of(n, 0)),
            Answer::Denies => Err(Denied::by_limit("test", Refusal::Unavailable)),
            Answer::Waits => pending().await,
        }
    }
}

/// Pitfall: a denied budget fails the call, or holds it up.
#[tokio::test(start_paused = true)]
async fn a_denial_never_fails_a_call_and_is_asked_for_once() {
    for answer in [Answer::Denies, Answer::Waits] {
        let budget = Recorder::new(answer);
        let log = Log::new();
        let answer = Hedge::new(ms(10))
            .max_attempts(9)
            .budget(budget.clone())
            .run(|attempt| {
                log.add(attempt.index());
                async move {
                    sleep(ms(100)).await;
                    Ok::<_, ()>(attempt.index())
                }
            })
            .await;
        log.add("answered");
        assert_eq!(answer, Ok(0));
        assert_eq!(budget.times_asked(), 1);
        log.assert(&["0: 0", "100: answered"]);
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_have_failed_and_no_more_are_allowed_the_errors_are_those_of_the_attempts() {
    let budget = Recorder::new(Answer::Denies);
    let failed = Hedge::new(ms(10))
        .budget(budget.clone())
        .run(|_| ready(Err::<(), _>("down")))
        .await
        .unwrap_err();
    assert_eq!(failed.into_errors().collect::<Vec<_>>(), ["down"]);
    assert_eq!(budget.times_asked(), 1, "a failure asks as well");
}

#[tokio::test(start_paused = true)]
async fn each_further_attempt_asks_for_one_token_as_things_stand() {
    let budget = Recorder::new(Answer::Grants);
    let hedge = Hedge::new(ms(10)).max_attempts(3).budget(budget.clone());
    let start = Instant::now();
    // One is late, the second one fails at once.
    let call = hedge.run(|attempt| async move {
        match attempt.index() {
            1 => Err("down"),
            _ => pending::<Result<(), _>>().await,
        }
    });
    assert!(timeout(ms(100), call).await.is_err());
    let due = start + ms(10);
    assert_eq!(*budget.asked.lock().unwrap(), [(1, Some(due), due); 2]);

    let ready_at_once = hedge.run(|_| ready(Ok::<_, ()>(())));
    ready_at_once.await.unwrap();
    let no_replica_left = hedge.run_across("a", [], |_, _| ready(Err::<(), _>("down")));
    no_replica_left.await.unwrap_err();
    assert_eq!(budget.times_asked(), 2, "nothing was to be started");
}

/// Pitfall: each hedge has its own idea of what is left.
#[tokio::test(start_paused = true)]
async fn a_bucket_bounds_the_extra_attempts_of_all_who_share_it() {
    let bucket = Bucket::new(Rate::per(1, Duration::from_secs(1)), 3);
    let hedges = [
        Hedge::new(ms(0)).budget(bucket.clone()),
        Hedge::new(ms(10)).budget(AnyLimiter::new(bucket)),
    ];
    let extra = Cell::new(0);
    let call_all = async || {
        for hedge in hedges.iter().cycle().take(20) {
            let call = hedge.run(|attempt| {
                extra.set(extra.get() + u32::from(attempt.is_extra()));
                async {
                    sleep(ms(20)).await;
                    Ok::<_, ()>(())
                }
            });
            call.await.unwrap();
        }
    };
    call_all().await;
    assert_eq!(extra.take(), 3, "the depth, in 400 ms");
    sleep(Duration::from_secs(10)).await;
    call_all().await;
    assert_eq!(extra.take(), 3, "the depth again");
}
