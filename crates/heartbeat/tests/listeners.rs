//! Who listens to a monitor: nothing is lost, nobody is kept, on a paused clock.

#![cfg(not(loom))]

mod support;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Wake};
use std::time::Duration;

use evenkeel_heartbeat::{Changes, Expect, Health, Heartbeat, Monitor, PulseId, Watched};
use support::runtime;
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

#[tokio::test(start_paused = true)]
async fn a_scan_of_many_pulses_lets_others_run() {
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let class = monitor.class(Expect::within(T)).unwrap();
    let pulses: Vec<Watched> = (0..100_000).map(|_| class.register("worker")).collect();
    // All fall silent in one scan, and the first are heard of before it is over.
    let mut turns = Vec::new();
    while turns.iter().sum::<usize>() < pulses.len() {
        changes.next().await.unwrap();
        turns.push(1 + std::iter::from_fn(|| changes.try_next()).count());
    }
    assert!(turns.iter().all(|turn| *turn <= 1 << 15), "{turns:?}");
    assert_eq!(pulses[99_999].health(), Health::Silent);
}

#[test]
fn a_monitor_on_a_runtime_that_is_gone_is_closed() {
    let monitor = Monitor::new();
    let gone = runtime();
    let handle = gone.handle().clone();
    drop(gone);
    let mut changes = monitor.changes();
    let class = {
        let _inside = handle.enter();
        monitor.class(Expect::within(T)).unwrap()
    };
    assert_eq!(monitor.health(PulseId::MONITOR), Health::Closed);
    let next = runtime();
    next.block_on(async {
        assert!(changes.next().await.is_none());
        // The next class brings it to life again, the old one too.
        let _other = monitor.class(Expect::within(T)).unwrap();
        assert_eq!(monitor.health(PulseId::MONITOR), Health::Starting);
        let mut changes = monitor.changes();
        let pulse = class.register("worker");
        drop(pulse);
        assert_eq!(changes.next().await.unwrap().health, Health::Closed);
    });
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_does_not_read_loses_the_oldest_and_is_told_how_many() {
    let (_monitor, mut changes, pulse) = watched();
    let class = changes
        .monitor()
        .class(Expect::within(T))
        .expect("it is long enough");
    drop(pulse);
    for _ in 0..1 << 18 {
        drop(class.register("brief"));
    }
    assert_eq!(changes.missed(), 1);
    assert_eq!(&*changes.next().await.unwrap().name, "brief");
    assert_eq!(
        std::iter::from_fn(|| changes.try_next()).count(),
        (1 << 18) - 1
    );
}

#[tokio::test(start_paused = true)]
async fn the_tasks_end_with_the_last_handle() {
    let runtime = tokio::runtime::Handle::current();
    let monitor = Monitor::new();
    let changes = monitor.changes();
    let class = monitor.class_on(&runtime, Expect::within(T)).unwrap();
    let pulse = class.register("worker");
    drop(monitor);
    drop(class);
    sleep(T).await;
    let tasks = || runtime.metrics().num_alive_tasks();
    assert_eq!(tasks(), 2, "the monitor's, and that of the class");
    drop(changes);
    tokio::task::yield_now().await;
    assert_eq!(tasks(), 0);
    pulse.beat();
}
