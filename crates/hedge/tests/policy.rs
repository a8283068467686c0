//! What a call asks of its policy and tells it, on a paused clock.

#![cfg(not(loom))]

mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evenkeel_hedge::{Hedge, Policy, Signal};
use support::{Log, ms};
use tokio::time::{Instant, sleep, timeout};

/// A policy that waits as it is told and keeps the signals it gets.
#[derive(Clone, Default)]
struct Recorder {
    delay: Rc<Cell<Option<Duration>>>,
    signals: Rc<RefCell<Vec<Signal>>>,
}

impl Recorder {
    fn waits(delay: Duration) -> Self {
        let recorder = Self::default();
        recorder.delay.set(Some(delay));
        recorder
    }
}

impl Policy for Recorder {
    fn delay(&self, _attempt: u32) -> Option<Duration> {
        self.delay.get()
    }

    fn observe(&self, signal: Signal) {
        self.signals.borrow_mut().push(signal);
    }
}

#[test]
fn an_answer_at_the_first_poll_needs_no_runtime_and_no_policy() {
    struct Unasked;
    impl Policy for Unasked {
        fn delay(&self, _attempt: u32) -> Option<Duration> {
            panic!("asked for a delay that nobody waits for");
        }
    }
    let hedge = Hedge::new(Unasked);
    let call = pin!(hedge.run(|_| ready(Ok::<_, ()>(7))));
    let polled = call.poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(Ok(7)));
}

#[tokio::test(start_paused = true)]
async fn fast_failures_and_callers_that_give_up_tell_the_policy_nothing() {
    let policy = Recorder::waits(ms(10));
    let hedge = Hedge::new(&policy);
    let failing = hedge.run(|attempt| async move {
        sleep(ms(1)).await;
        if attempt.is_extra() { Ok(()) } else { Err(()) }
    });
    failing.await.unwrap();
    let abandoned = hedge.run(|_| pending::<Result<(), ()>>());
    assert!(timeout(ms(5), abandoned).await.is_err());
    let alone = Hedge::new(&policy).max_attempts(1);
    let alone = alone.run(|_| async {
        sleep(ms(500)).await;
        Ok::<_, ()>(())
    });
    alone.await.unwrap();
    assert_eq!(*policy.signals.borrow(), []);
}

#[tokio::test(start_paused = true)]
async fn a_call_tells_its_policy_one_bit() {
    let policy = Recorder::waits(ms(10));
    let hedge = Hedge::new(&policy).max_attempts(4);
    for latency in [0, 9, 11, 35] {
        let call = hedge.run(|_| async move {
            if latency > 0 {
                sleep(ms(latency)).await;
            }
            Ok::<_, ()>(())
        });
        call.await.unwrap();
    }
    use Signal::{InTime, Late};
    assert_eq!(*policy.signals.borrow(), [InTime, InTime, Late, Late]);
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_grew_meanwhile_is_waited_for() {
    let log = Log::new();
    let policy = Recorder::waits(ms(10));
    let hedge = Hedge::new(&policy);
    let call = hedge.run(|attempt| {
        log.add(attempt.index());
        pending::<Result<(), ()>>()
    });
    let mut call = pin!(call);
    assert!(timeout(ms(5), call.as_mut()).await.is_err());
    policy.delay.set(Some(ms(30)));
    assert!(timeout(ms(20), call.as_mut()).await.is_err());
    assert_eq!(*policy.signals.borrow(), []);
    policy.delay.set(Some(ms(20)));
    assert!(timeout(ms(20), call.as_mut()).await.is_err());
    log.assert(&["0: 0", "30: 1"]);
    assert_eq!(*policy.signals.borrow(), [Signal::Late]);
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_is_withdrawn_meanwhile_hedges_no_more() {
    for withdrawn in [None, Some(Duration::MAX)] {
        let policy = Recorder::waits(ms(10));
        let hedge = Hedge::new(&policy);
        let started = Cell::new(0);
        let call = hedge.run(|attempt| {
            started.set(attempt.index() + 1);
            pending::<Result<(), ()>>()
        });
        let mut call = pin!(call);
        assert!(timeout(ms(5), call.as_mut()).await.is_err());
        policy.delay.set(withdrawn);
        assert!(timeout(ms(500), call.as_mut()).await.is_err());
        assert_eq!(started.get(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn no_delay_races_and_an_endless_one_hedges_against_failures_only() {
    let started = Cell::new(0);
    let hedge = Hedge::new(Duration::ZERO).max_attempts(5);
    {
        let call = pin!(hedge.run(|attempt| {
            started.set(attempt.index() + 1);
            pending::<Result<(), ()>>()
        }));
        assert!(
            call.poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        assert_eq!(started.get(), 5);
    }
    for endless in [Duration::MAX, Duration::MAX - ms(1)] {
        let start = Instant::now();
        let answer = Hedge::new(endless)
            .run(|attempt| async move {
                sleep(ms(1000)).await;
                if attempt.is_extra() { Ok(()) } else { Err(()) }
            })
            .await;
        assert_eq!((answer, start.elapsed()), (Ok(()), ms(2000)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_precedes_a_timer_that_ends_in_the_same_poll() {
    let policy = Recorder::waits(ms(10));
    let started = Cell::new(0);
    let answer = Hedge::new(&policy)
        .run(|attempt| {
            started.set(attempt.index() + 1);
            async {
                sleep(ms(10)).await;
                Ok::<_, ()>(())
            }
        })
        .await;
    assert_eq!((answer, started.get()), (Ok(()), 1));
    assert_eq!(*policy.signals.borrow(), [Signal::InTime]);
}

#[tokio::test(start_paused = true)]
async fn a_policy_may_be_chosen_at_run_time_and_calls_may_be_spawned() {
    let policy: Box<dyn Policy + Send + Sync> = Box::new(ms(10));
    let hedge = std::sync::Arc::new(Hedge::new(policy));
    let task = tokio::spawn(async move {
        let call = hedge.run(|attempt| async move {
            sleep(ms(30 - 20 * u64::from(attempt.index()))).await;
            Ok::<_, ()>(attempt.index())
        });
        call.await
    });
    assert_eq!(task.await.unwrap(), Ok(1));
}
