//! What a beat may not do: allocate, or wait for whoever holds the monitor.

#![cfg(not(loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evenkeel_heartbeat::{
    BeatFuture, BeatStream, Expect, Health, Heartbeat, Monitor, PulseId, pulse,
};
use futures_core::Stream;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes on to `System` as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
        let _ = BYTES.try_with(|bytes| bytes.set(bytes.get() + layout.size() as isize));
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = BYTES.try_with(|bytes| bytes.set(bytes.get() - layout.size() as isize));
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(f: impl FnOnce()) -> usize {
    let before = CALLS.get();
    f();
    CALLS.get() - before
}

struct Ones;

impl Stream for Ones {
    type Item = u32;

    fn poll_next(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
        Poll::Ready(Some(1))
    }
}

#[tokio::test(start_paused = true)]
async fn beats_allocate_nothing_and_wait_for_nobody() {
    assert!(allocations(|| drop(Box::new(1))) > 0, "the counter counts");
    let monitor = Monitor::new();
    let class = monitor
        .class(Expect::within(Duration::from_secs(1)))
        .unwrap();
    let watched = class.register("worker");
    let (pulse, mut beats) = pulse();
    let mut cx = Context::from_waker(Waker::noop());
    // The monitor's task does not run meanwhile, since nothing here yields.
    let count = allocations(|| {
        for _ in 0..1_000 {
            watched.beat();
            pulse.beat();
            assert!(pin!(beats.next()).poll(&mut cx).is_ready());
            assert!(pin!(beats.next()).poll(&mut cx).is_pending());
            pulse.beat();
        }
        let future = poll_fn(|_| Poll::<()>::Pending).beat_on_poll(&watched);
        assert!(pin!(future).poll(&mut cx).is_pending());
        let stream = Ones.beat_on_item(&watched);
        assert!(pin!(stream).poll_next(&mut cx).is_ready());
    });
    assert_eq!(count, 0);
}

/// A waker that takes the monitor's task with it.
struct Panics;

impl std::task::Wake for Panics {
    fn wake(self: std::sync::Arc<Self>) {
        panic!("on purpose");
    }
}

#[test]
fn beats_are_the_same_without_a_monitor() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let within = Duration::from_secs(1);
    let monitor = Monitor::new();
    let class = runtime.block_on(async { monitor.class(Expect::within(within)).unwrap() });
    let watched = class.register("worker");
    let beats = || {
        allocations(|| {
            for _ in 0..1_000 {
                watched.beat();
            }
            drop(watched.unit(within)); // grew once before
        })
    };
    drop(watched.unit(within));
    let mut changes = monitor.changes();
    let waker = std::sync::Arc::new(Panics).into();
    let mut next = pin!(changes.next());
    assert!(
        next.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    runtime.block_on(async { tokio::time::sleep(within * 2).await });
    assert_eq!(monitor.health(PulseId::MONITOR), Health::Closed);
    assert_eq!(beats(), 0, "its callback has panicked");
    drop(runtime);
    assert_eq!(beats(), 0, "its runtime is gone");
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_leaves_nothing_behind() {
    let within = Duration::from_secs(1);
    let monitor = Monitor::new();
    let class = monitor.class(Expect::within(within)).unwrap();
    let mut number = 0;
    let mut bytes = Vec::new();
    for _ in 0..8 {
        for _ in 0..10 {
            // More than one block has, each with a name of its own; some fall silent, and one is another for a while.
            let mut changes = monitor.changes();
            let mut pulses = Vec::new();
            for _ in 0..1_000 {
                number += 1;
                pulses.push(class.register(&format!("{number:08}")));
            }
            pulses.iter().skip(500).for_each(Heartbeat::beat);
            tokio::time::sleep(within * 2).await;
            pulses[0].renew();
            drop(pulses.swap_remove(7).unit(within));
            drop(pulses);
            while changes.try_next().is_some() {}
        }
        bytes.push(BYTES.get());
    }
    // Maps grow once or twice before they clean up after themselves; what is left behind is left in each round.
    let still = bytes.windows(2).any(|pair| pair[1] <= pair[0] + 256);
    assert!(still, "{bytes:?}");
}
