//! What a hurried newcomer does.
#![cfg(not(loom))]

mod support;

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, RawWaker, RawWakerVTable, Waker};
use std::time::Duration;

use evenkeel_heartbeat::{BeatFuture, Expect, Health, Heartbeat, Monitor, PulseId, Watched};
use support::runtime;
use tokio::runtime::Builder;
use tokio::time::{advance, sleep};

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn accuracy_is_a_probability() {
    let monitor = Monitor::new();
    let class = monitor.class(Expect::within(1200 * MS)).unwrap();
    let pulse = class.register("late");
    pulse.beat();
    sleep(2000 * MS).await;
    assert_eq!(pulse.health(), Health::Silent);
    // An hour that the monitor does not witness, and the alarm lasts that long.
    advance(Duration::from_secs(3600)).await;
    pulse.beat();
    sleep(500 * MS).await;
    let quality = class.quality();
    assert_eq!(quality.mistakes, 1);
    assert!((0.0..=1.0).contains(&quality.accuracy()), "{quality:?}");
}

#[test]
fn who_listens_after_the_end_hears_of_it() {
    let monitor = Monitor::new();
    let first = runtime();
    let class = first.block_on(async { monitor.class(Expect::within(100 * MS)).unwrap() });
    drop(first);
    let second = runtime();
    assert!(second.block_on(monitor.changes().next()).is_none());
    // Another runtime goes on, and so do those that listen from now on.
    let _other = second.block_on(async { monitor.class(Expect::within(100 * MS)).unwrap() });
    let mut changes = monitor.changes();
    let pulse = class.register("silent");
    let found = second.block_on(async move {
        pulse.beat();
        let change = changes.next().await.unwrap();
        (change.health, pulse.health())
    });
    assert_eq!(found, (Health::Silent, Health::Silent));
}

#[test]
#[should_panic(expected = "timers are disabled")]
fn a_class_on_a_runtime_without_a_clock() {
    let (own, other) = (runtime(), Builder::new_current_thread().build().unwrap());
    let _inside = own.enter();
    let _class = Monitor::new().class_on(other.handle(), Expect::within(100 * MS));
}

/// What is left of a runtime that has ended may still hold a pulse, and is not excused by it.
#[test]
fn a_runtime_that_has_ended_is_not_starved() {
    let (own, other) = (runtime(), runtime());
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let pulse = {
        let _inside = own.enter();
        let class = monitor.class_on(other.handle(), Expect::within(40 * MS));
        class.unwrap().register("left behind")
    };
    pulse.beat();
    drop(other);
    let found = own.block_on(async {
        loop {
            let change = changes.next().await.unwrap();
            if change.pulse == pulse.id() {
                return change.health;
            }
        }
    });
    assert_eq!(found, Health::Silent);
}

/// A waker whose clone closes a pulse, of which the listener is told.
#[test]
fn a_listener_may_be_polled_by_a_waker_that_closes_a_pulse() {
    static HELD: Mutex<Option<Watched>> = Mutex::new(None);
    static TABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            let held = HELD.lock().unwrap().take();
            drop(held);
            RawWaker::new(data, &TABLE)
        },
        |_| (),
        |_| (),
        |_| (),
    );
    let runtime = runtime();
    let _inside = runtime.enter();
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let class = monitor.class(Expect::within(100 * MS)).unwrap();
    *HELD.lock().unwrap() = Some(class.register("held"));
    // SAFETY: the table keeps the contract of `RawWaker`; there is no data.
    let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) };
    let mut next = pin!(changes.next());
    let poll = next.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(poll.is_ready(), "the clone came before the look");
}

/// It is heard as long as what it runs is there: also while that is dropped.
#[tokio::test(start_paused = true)]
async fn a_pulse_is_not_closed_while_its_future_still_ends() {
    struct Asks(PulseId, Monitor, Arc<Mutex<Option<Health>>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            *self.2.lock().unwrap() = Some(self.1.health(self.0));
        }
    }
    let monitor = Monitor::new();
    let pulse = monitor
        .class(Expect::within(100 * MS))
        .unwrap()
        .register("ends");
    let seen = Arc::default();
    let asks = Asks(pulse.id(), monitor.clone(), Arc::clone(&seen));
    let future = async move {
        let _asks = asks;
        std::future::pending::<()>().await;
    };
    let task = tokio::spawn(future.beat_on_poll(pulse));
    tokio::task::yield_now().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(*seen.lock().unwrap(), Some(Health::Live));
}
