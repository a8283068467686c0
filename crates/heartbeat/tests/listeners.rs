//! Who listens to a monitor: nothing is lost, nobody is kept, on a paused clock.

#![cfg(not(loom))]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Wake};
use std::time::Duration;

use evenkeel_heartbeat::{Changes, Expect, Health, Heartbeat, Monitor, Watched};
use tokio::time::sleep;

const T: Duration = Duration::from_secs(2);

fn watched() -> (Monitor, Changes, Watched) {
    let monitor = Monitor::new();
    let changes = monitor.changes();
    let class = monitor.class(Expect::within(T)).unwrap();
    (monitor, changes, class.register("worker"))
}

#[test]
fn a_runtime_that_shuts_down_ends_the_events() {
    let monitor = Monitor::new();
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    };
    let first = runtime();
    let mut changes = monitor.changes();
    let class = first.block_on(async { monitor.class(Expect::within(T)).unwrap() });
    let pulse = class.register("worker");
    first.block_on(tokio::task::yield_now());
    drop(first);
    pulse.beat();
    runtime().block_on(async {
        assert!(changes.next().await.is_none());
    });
}

/// A waker that asks the monitor as soon as it is woken: it would wait for ever if a lock were held.
struct Asks {
    monitor: Monitor,
    woken: AtomicU32,
}

impl Wake for Asks {
    fn wake(self: Arc<Self>) {
        assert!(self.monitor.snapshot().len() < 2);
        drop(self.monitor.changes());
        self.woken.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn listeners_are_woken_with_no_lock_held() {
    let (monitor, mut changes, pulse) = watched();
    let asks = Arc::new(Asks {
        monitor: monitor.clone(),
        woken: 0.into(),
    });
    let waker = Arc::clone(&asks).into();
    let mut cx = Context::from_waker(&waker);
    let mut woken = 0;
    let mut wait = |changes: &mut Changes| {
        let now = asks.woken.load(Ordering::Relaxed);
        assert_eq!(std::mem::replace(&mut woken, now + 1), now);
        while changes.try_next().is_some() {}
        assert!(pin!(changes.next()).poll(&mut cx).is_pending());
    };
    wait(&mut changes);
    pulse.beat();
    sleep(T * 2).await; // silent
    wait(&mut changes);
    pulse.beat();
    sleep(T / 2).await; // live
    wait(&mut changes);
    drop(pulse); // closed
    wait(&mut changes);
}

#[tokio::test(start_paused = true)]
async fn every_listener_hears_every_change() {
    let (monitor, mut first, pulse) = watched();
    let mut second = monitor.changes();
    pulse.beat();
    for changes in [&mut first, &mut second] {
        assert_eq!(changes.next().await.unwrap().health, Health::Silent);
    }
    drop(first);
    drop(pulse);
    assert_eq!(second.next().await.unwrap().health, Health::Closed);
    assert_eq!(second.missed(), 0);
    assert!(monitor.snapshot().is_empty());
}
