//! What a call allocates; a binary of its own, since it counts for the whole process.

#![cfg(not(loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::{Future, ready};
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use evenkeel_hedge::{Adaptive, Hedge, Policy};

thread_local! {
    static ALLOCATIONS: Cell<u32> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: hands on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// An answer that cannot be cloned, after some polls.
struct Answer;

async fn after(polls: u32) -> Result<Answer, ()> {
    for _ in 0..polls {
        tokio::task::yield_now().await;
    }
    Ok(Answer)
}

/// Polls the call until it answers, and counts the allocations from its making to its end.
fn allocations<P: Policy>(hedge: &Hedge<P>, first: u32, second: u32) -> u32 {
    let before = ALLOCATIONS.get();
    let mut cx = Context::from_waker(Waker::noop());
    {
        let mut call =
            pin!(hedge.run(|attempt| after(if attempt.is_extra() { second } else { first })));
        while call.as_mut().poll(&mut cx).is_pending() {}
    }
    ALLOCATIONS.get() - before
}

/// Pitfall: requests are cloned up front, and calls that need no hedge pay for one.
#[test]
fn only_a_hedge_allocates_and_nothing_need_be_clone() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let _guard = runtime.enter();
    let fixed = Hedge::new(Duration::from_secs(1));
    let adaptive = Hedge::new(Adaptive::rate(0.05).unwrap());
    let racing = Hedge::new(Duration::ZERO);
    assert_eq!(allocations(&fixed, 0, 0), 0, "ready at once");
    assert_eq!(allocations(&fixed, 3, 0), 0, "awaited with a timer");
    assert_eq!(allocations(&adaptive, 0, 0), 0, "ready at once");
    assert_eq!(allocations(&adaptive, 3, 0), 0, "awaited with a timer");
    assert_eq!(allocations(&racing, 0, 0), 0, "ready at once");
    assert_eq!(
        allocations(&racing, 3, 1),
        1,
        "a box for the second attempt"
    );
}

#[test]
fn a_single_failure_allocates_nothing() {
    let hedge = Hedge::new(Duration::from_secs(1)).max_attempts(1);
    let before = ALLOCATIONS.get();
    let call = pin!(hedge.run(|_| ready(Err::<(), _>(()))));
    assert!(
        call.poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    );
    assert_eq!(ALLOCATIONS.get(), before);
}
