//! What a hedged call does with its attempts, on a paused clock.

#![cfg(not(loom))]

mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evenkeel_cancel::{Cause, Token};
use evenkeel_hedge::{Attempt, Hedge, Losers, replicate};
use support::{Log, ms};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

/// Notes that an attempt has started, and when it is dropped.
fn noted(log: &Log, attempt: &Attempt) -> Noted {
    let index = attempt.index();
    log.add(format_args!("{index} starts"));
    Noted(log.clone(), index)
}

struct Noted(Log, u32);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.add(format_args!("{} ends", self.1));
    }
}

/// Panics as it is dropped, unless it is a panic that drops it.
struct Noisy;

impl Drop for Noisy {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "an attempt's, as it is dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_attempt_is_hedged_and_the_first_success_wins() {
    let log = Log::new();
    let hedge = Hedge::new(ms(20)).max_attempts(3);
    let answer = hedge
        .run(|attempt| {
            let noted = noted(&log, &attempt);
            async move {
                let _noted = noted;
                sleep(ms([100, 50, 200][attempt.index() as usize])).await;
                Ok::<_, ()>(attempt.index())
            }
        })
        .await;
    assert_eq!(answer, Ok(1));
    log.assert(&[
        "0: 0 starts",
        "20: 1 starts",
        "40: 2 starts",
        "70: 1 ends",
        "70: 0 ends",
        "70: 2 ends",
    ]);
}

/// Pitfall: a failing hedge beats a primary that would have succeeded.
#[tokio::test(start_paused = true)]
async fn a_failing_hedge_never_beats_a_pending_attempt() {
    let start = Instant::now();
    let answer = Hedge::new(ms(10))
        .run(|attempt| async move {
            if attempt.is_extra() {
                return Err("refused");
            }
            sleep(ms(100)).await;
            Ok(attempt.index())
        })
        .await;
    assert_eq!(answer, Ok(0));
    assert_eq!(start.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_starts_the_next_at_once() {
    let log = Log::new();
    let answer = Hedge::new(ms(50))
        .max_attempts(4)
        .run(|attempt| {
            log.add(attempt.index());
            async move {
                match attempt.index() {
                    0 => {
                        sleep(ms(5)).await;
                        Err("0")
                    }
                    1 => Err("1"),
                    // Neither: the wait for the next begins with the start of this one.
                    2 => pending().await,
                    index => Ok(index),
                }
            }
        })
        .await;
    assert_eq!(answer, Ok(3));
    log.assert(&["0: 0", "5: 1", "5: 2", "55: 3"]);
}

/// Pitfall: the errors of some attempts are lost, or one stands for the others that is not the primary's.
#[tokio::test(start_paused = true)]
async fn when_all_fail_all_errors_are_kept_and_that_of_the_first_attempt_decides() {
    let failed = Hedge::new(ms(10))
        .max_attempts(3)
        .run(|attempt| async move {
            sleep(ms([100, 80, 20][attempt.index() as usize])).await;
            Err::<(), _>(attempt.index())
        })
        .await
        .unwrap_err();
    assert_eq!(*failed.error(), 0);
    assert_eq!(failed.others(), [1, 2]);
    assert_eq!(failed.to_string(), "3 attempts failed");
    assert_eq!(failed.into_errors().collect::<Vec<_>>(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_single_attempt_fails_with_its_error() {
    let failed = Hedge::new(ms(10))
        .max_attempts(0)
        .run(|_| ready(Err::<(), _>(std::fmt::Error)))
        .await
        .unwrap_err();
    assert_eq!(failed.to_string(), "the attempt failed");
    let source = std::error::Error::source(&failed).unwrap();
    assert!(source.is::<std::fmt::Error>());
}

/// Pitfall: what no other attempt can do better is tried again.
#[tokio::test(start_paused = true)]
async fn a_fatal_error_returns_at_once() {
    let log = Log::new();
    let failed = Hedge::new(ms(10))
        .max_attempts(4)
        .run(|attempt| {
            let noted = noted(&log, &attempt);
            async move {
                let _noted = noted;
                match attempt.index() {
                    0 => pending().await,
                    1 => Err::<(), _>("busy"),
                    _ => {
                        sleep(ms(5)).await;
                        Err("not found")
                    }
                }
            }
        })
        .fatal(|error| *error == "not found")
        .await
        .unwrap_err();
    assert_eq!(failed.errors().collect::<Vec<_>>(), [&"not found", &"busy"]);
    log.assert(&[
        "0: 0 starts",
        "10: 1 starts",
        "10: 1 ends",
        "10: 2 starts",
        "15: 2 ends",
        "15: 0 ends",
    ]);
}

/// Pitfall: an attempt starts though nobody waits any more.
#[tokio::test(start_paused = true)]
async fn nothing_starts_and_nothing_runs_on_once_the_caller_is_gone() {
    let log = Log::new();
    let hedge = Hedge::new(ms(10)).max_attempts(9);
    let call = hedge.run(|attempt| {
        let noted = noted(&log, &attempt);
        async move {
            let _noted = noted;
            pending::<Result<(), ()>>().await
        }
    });
    assert!(timeout(ms(25), call).await.is_err());
    sleep(ms(100)).await;
    log.assert(&[
        "0: 0 starts",
        "10: 1 starts",
        "20: 2 starts",
        "25: 0 ends",
        "25: 1 ends",
        "25: 2 ends",
    ]);
}

/// Pitfall: the winner is cancelled too, and with it the body of its answer.
#[tokio::test(start_paused = true)]
async fn only_the_tokens_of_those_that_did_not_win_are_cancelled() {
    let tokens = RefCell::new(Vec::<Token>::new());
    let answer = Hedge::new(ms(10))
        .max_attempts(3)
        .losers(Losers::Drain(Duration::ZERO))
        .run(|attempt| {
            tokens.borrow_mut().push(attempt.token());
            async move {
                match attempt.index() {
                    0 => pending().await,
                    1 => Err("refused"),
                    _ => Ok(attempt.token()),
                }
            }
        })
        .await
        .unwrap();
    sleep(ms(100)).await;
    assert!(answer.cause().is_none());
    let tokens = tokens.take();
    assert!(matches!(tokens[0].cause(), Some(Cause::Superseded)));
    assert!(matches!(tokens[1].cause(), Some(Cause::Failed)));
    assert!(tokens[2].cause().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_cancels_the_tokens() {
    let tokens = RefCell::new(Vec::<Token>::new());
    let hedge = Hedge::new(ms(10)).losers(Losers::Drain(ms(100)));
    let call = hedge.run(|attempt| {
        tokens.borrow_mut().push(attempt.token());
        pending::<Result<(), ()>>()
    });
    assert!(timeout(ms(20), call).await.is_err());
    let tokens = tokens.take();
    assert_eq!(tokens.len(), 2);
    for token in tokens {
        assert!(matches!(token.cause(), Some(Cause::User)));
    }
}

/// Pitfall: losers outlive the call that started them.
#[tokio::test(start_paused = true)]
async fn losers_that_are_drained_end_or_are_dropped_before_the_call_returns() {
    let log = Log::new();
    let answer = Hedge::new(ms(0))
        .max_attempts(4)
        .losers(Losers::Drain(ms(50)))
        .run(|attempt| {
            let noted = noted(&log, &attempt);
            let log = log.clone();
            async move {
                let _noted = noted;
                match attempt.index() {
                    // Heeds its token at once, takes a while to tidy up, does not heed it.
                    0 => _ = attempt.token().cancelled().await,
                    1 => {
                        attempt.token().cancelled().await;
                        sleep(ms(20)).await;
                        log.add("1 has tidied up");
                    }
                    2 => pending().await,
                    _ => sleep(ms(10)).await,
                }
                Ok::<_, ()>(attempt.index())
            }
        })
        .await;
    assert_eq!(answer, Ok(3));
    log.assert(&[
        "0: 0 starts",
        "0: 1 starts",
        "0: 2 starts",
        "0: 3 starts",
        "10: 3 ends",
        "10: 0 ends",
        "30: 1 has tidied up",
        "30: 1 ends",
        "60: 2 ends",
    ]);
}

/// Pitfall: a panic is swallowed, or leaves the other attempts running.
#[tokio::test(start_paused = true)]
async fn a_panic_passes_through_and_drops_the_other_attempts() {
    let (dropped, was_dropped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let mut dropped = Some(dropped);
        Hedge::new(ms(10))
            .run(|attempt| {
                let dropped = dropped.take();
                async move {
                    if attempt.is_extra() {
                        panic!("the second attempt's own");
                    }
                    let _dropped = dropped;
                    pending::<Result<(), ()>>().await
                }
            })
            .await
    });
    let panic = task.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref(), Some(&"the second attempt's own"));
    assert!(was_dropped.await.is_err(), "the first was dropped");
}

/// Pitfall: a call that has panicked starts another attempt when it is polled again, or polls the one that panicked.
#[tokio::test(start_paused = true)]
async fn a_call_that_has_panicked_is_over() {
    for start_panics in [false, true] {
        let started = Cell::new(0);
        let hedge = Hedge::new(ms(0)).max_attempts(3);
        let mut call = Box::pin(hedge.run(|attempt| {
            started.set(attempt.index() + 1);
            assert!(!start_panics, "as it is started");
            async { panic!("as it is polled") as Result<(), ()> }
        }));
        let mut poll = || {
            let cx = &mut Context::from_waker(Waker::noop());
            let panic = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))).unwrap_err();
            *panic.downcast::<&str>().unwrap()
        };
        assert!(poll().starts_with("as it is"));
        assert_eq!(poll(), "a hedged call was polled after it had ended");
        assert_eq!(started.get(), 1);
    }
}

/// Pitfall: a loser that panics takes the answer of the winner with it.
#[tokio::test(start_paused = true)]
async fn a_loser_that_panics_costs_neither_the_answer_nor_the_other_losers_their_grace() {
    for winner in 0..4 {
        let log = Log::new();
        let tokens = RefCell::new(Vec::<Token>::new());
        let answer = Hedge::new(ms(0))
            .max_attempts(4)
            .losers(Losers::Drain(ms(50)))
            .run(|attempt| {
                let noted = noted(&log, &attempt);
                tokens.borrow_mut().push(attempt.token());
                async move {
                    let _noted = noted;
                    if attempt.index() == winner {
                        sleep(ms(10)).await;
                        return Ok::<_, ()>(attempt.index());
                    }
                    let turn = (attempt.index() + 4 - winner) % 4;
                    let _noisy = (turn == 3).then(|| Noisy);
                    attempt.token().cancelled().await;
                    match turn {
                        1 => panic!("a loser's"),
                        2 => sleep(ms(20)).await,
                        _ => pending().await,
                    }
                    Ok(attempt.index())
                }
            })
            .await;
        assert_eq!(answer, Ok(winner));
        for (index, token) in (0..).zip(tokens.take()) {
            let lost = matches!(token.cause(), Some(Cause::Superseded));
            assert_eq!(lost, index != winner);
        }
        let lines = ["10", "10", "30", "60"];
        let ends = lines.iter().enumerate().map(|(turn, at)| {
            let index = (winner + turn as u32) % 4;
            format!("{at}: {index} ends")
        });
        let starts = (0..4).map(|index| format!("0: {index} starts"));
        let expected: Vec<_> = starts.chain(ends).collect();
        log.assert(&expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// Pitfall: the same, of losers that are dropped at once.
#[tokio::test(start_paused = true)]
async fn a_loser_whose_drop_panics_costs_neither_the_answer_nor_the_drop_of_the_others() {
    let log = Log::new();
    let answer = Hedge::new(ms(0))
        .max_attempts(4)
        .run(|attempt| {
            let noted = noted(&log, &attempt);
            async move {
                let _noted = noted;
                if attempt.index() == 3 {
                    sleep(ms(10)).await;
                    return Ok::<_, ()>(());
                }
                let _panics = Noisy;
                pending().await
            }
        })
        .await;
    assert_eq!(answer, Ok(()));
    log.assert(&[
        "0: 0 starts",
        "0: 1 starts",
        "0: 2 starts",
        "0: 3 starts",
        "10: 3 ends",
        "10: 0 ends",
        "10: 1 ends",
        "10: 2 ends",
    ]);
}

/// Pitfall: each attempt has its own deadline, and the call outlives its caller's patience.
#[tokio::test(start_paused = true)]
async fn one_deadline_bounds_the_whole_call() {
    let start = Instant::now();
    let hedge = Hedge::new(ms(10))
        .max_attempts(100)
        .losers(Losers::Drain(ms(500)));
    // Fails over and over, then waits for losers that do not heed their tokens.
    let call = hedge.run(|attempt| async move {
        sleep(ms(7)).await;
        match attempt.index() {
            20 => Ok(()),
            index if index % 5 == 0 => pending().await,
            _ => Err(()),
        }
    });
    assert!(timeout(ms(300), call).await.is_err());
    assert_eq!(start.elapsed(), ms(300));
}

/// Pitfall: replicas repeat, or a hedge is sent though there is none left.
#[tokio::test(start_paused = true)]
async fn each_replica_is_asked_once_and_when_none_is_left_no_more_are_started() {
    let log = Log::new();
    let hedge = Hedge::new(ms(10)).max_attempts(9);
    let call = hedge.run_across("a", ["b", "c"], |replica, attempt| {
        log.add(format_args!("{} {replica}", attempt.index()));
        pending::<Result<(), ()>>()
    });
    assert!(timeout(ms(500), call).await.is_err());
    log.assert(&["0: 0 a", "10: 1 b", "20: 2 c"]);

    let failed = hedge
        .run_across("a", ["b"], |replica, _| ready(Err::<(), _>(replica)))
        .await
        .unwrap_err();
    assert_eq!(failed.into_errors().collect::<Vec<_>>(), ["a", "b"]);
}

/// Pitfall: only the attempt polled last wakes the caller.
#[tokio::test(start_paused = true)]
async fn a_wake_from_any_attempt_reaches_the_caller() {
    for winner in 0..4 {
        let (mut senders, mut receivers): (Vec<_>, Vec<_>) =
            (0..4).map(|_| oneshot::channel::<usize>()).unzip();
        let mut sent = None;
        receivers.reverse();
        let hedge = Hedge::new(Duration::ZERO).max_attempts(4);
        let call = hedge.run(|_| receivers.pop().unwrap());
        let mut call = pin!(call);
        poll_fn(|cx| {
            // Sent once the call has gone to sleep; only its wake-up gets it polled again.
            match call.as_mut().poll(cx) {
                Poll::Pending if sent.is_none() => {
                    sent = Some(senders.remove(winner).send(winner));
                    Poll::Pending
                }
                polled => polled.map(|answer| assert_eq!(answer, Ok(winner))),
            }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_that_fail_leave_it_to_the_others() {
    let start = Instant::now();
    let answer = replicate(3, |attempt| async move {
        sleep(ms(10 * (1 + u64::from(attempt.index())))).await;
        if attempt.index() < 2 { Err(()) } else { Ok(2) }
    });
    assert_eq!(answer.await, Ok(2));
    assert_eq!(start.elapsed(), ms(30));
}
