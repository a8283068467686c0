//! Beats from several threads, against listeners, scans and handles that come and go.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use evenkeel::heartbeat::{Expect, Heartbeat, Monitor, pulse};
use tokio::runtime::Builder;

/// One write a slot, published by a beat and not otherwise.
struct Slots(Vec<UnsafeCell<u64>>);

// SAFETY: a slot is written once, before the beat that publishes it, and read after that beat was heard.
unsafe impl Sync for Slots {}

#[test]
fn a_beat_publishes_what_was_written_before_it() {
    const UNITS: u64 = 20_000;
    let slots = Arc::new(Slots((0..UNITS).map(|_| UnsafeCell::new(0)).collect()));
    let (pulse, mut beats) = pulse();
    // Keeps the worker from running ahead to its end, which would publish everything; Relaxed publishes nothing.
    let heard = Arc::new(AtomicU64::new(0));
    let (written, so_far) = (Arc::clone(&slots), Arc::clone(&heard));
    let worker = thread::spawn(move || {
        for (unit, slot) in (1..).zip(&written.0) {
            while unit > so_far.load(Ordering::Relaxed) + 16 {
                thread::yield_now();
            }
            // SAFETY: nobody reads it before the beat.
            unsafe { *slot.get() = unit };
            pulse.beat();
        }
    });
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut read = 0;
        while beats.next().await.is_some() {
            for unit in read..beats.total() {
                // SAFETY: its beat was heard.
                assert_eq!(unsafe { *slots.0[unit as usize].get() }, unit + 1);
            }
            read = beats.total();
            heard.store(read, Ordering::Relaxed);
        }
        assert_eq!(read, UNITS);
    });
    worker.join().expect("the worker does not panic");
}

#[test]
fn pulses_beat_and_come_and_go_while_they_are_scanned() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let monitor = Monitor::new();
    let class = monitor
        .class(Expect::within(Duration::from_millis(40)))
        .expect("it is long enough");
    let shared = Arc::new(class.register("shared"));
    let over = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let (class, shared, over) = (class.clone(), Arc::clone(&shared), Arc::clone(&over));
            thread::spawn(move || {
                while !over.load(Ordering::Acquire) {
                    shared.beat();
                    let own = class.register("own");
                    own.beat();
                    drop(own.unit(Duration::from_secs(1)));
                }
            })
        })
        .collect();
    // Silent after it was live: the monitor scanned all the while. Its beats, from here, are what it waits for.
    let silent = class.register("silent");
    silent.beat();
    let mut changes = monitor.changes();
    runtime.block_on(async {
        while changes
            .next()
            .await
            .is_some_and(|change| change.pulse != silent.id() || !change.health.is_alarm())
        {
        }
    });
    over.store(true, Ordering::Release);
    for worker in workers {
        worker.join().expect("a worker does not panic");
    }
    assert!(!shared.health().is_alarm());
}
