//! Pitfall: what is short-lived leaves something behind in a parent that is not.

#![cfg(not(loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use evenkeel_cancel::{Source, Token};

thread_local! {
    /// Bytes that this thread has allocated and not freed, or freed for others.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(live.get())));
    });
}

struct Counting;

// SAFETY: every call goes on to `System` as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that were live at the most beyond those before, and that were left.
fn bytes(f: impl FnOnce()) -> (isize, isize) {
    let before = LIVE.get();
    MOST.set(before);
    f();
    (MOST.get() - before, LIVE.get() - before)
}

#[tokio::test(start_paused = true)]
async fn ten_million_short_lived_tokens_leave_nothing_behind() {
    let (most, left) = bytes(|| drop(vec![0_u8; 4096]));
    assert_eq!((most, left), (4096, 0), "the counter counts");
    let (parent, other) = (Source::new(), Source::new());
    let hour = Duration::from_secs(3600);
    // What a parent and its runtime keep for themselves.
    drop(parent.child_with_timeout(hour).unwrap());
    let make = |n: u32| match n % 10 {
        0 => drop(parent.child_with_timeout(hour).unwrap()),
        1 => drop(Token::any([&*parent, &*other])),
        2 => parent.child().on_cancel(drop).keep(),
        _ => drop(parent.child()),
    };
    let (most, left) = bytes(|| (0..10_000_000).for_each(make));
    assert!(most < 4096, "{most} bytes at the most");
    assert!(left <= 0, "{left} bytes were left");
}
