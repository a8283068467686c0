//! Counts allocations and bytes, when asked to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

static COUNTING: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicI64 = AtomicI64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

/// The system's allocator. While nothing is counted it adds one load to each call.
pub(crate) struct Counting;

// SAFETY: every call goes on to `System` as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size());
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        uncount(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        uncount(layout.size());
        count(1, size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count(calls: i64, bytes: usize) {
    // Relaxed: sums, read after the threads that add to them were joined.
    if COUNTING.load(Ordering::Relaxed) {
        CALLS.fetch_add(calls, Ordering::Relaxed);
        BYTES.fetch_add(bytes as i64, Ordering::Relaxed);
    }
}

fn uncount(bytes: usize) {
    if COUNTING.load(Ordering::Relaxed) {
        BYTES.fetch_sub(bytes as i64, Ordering::Relaxed);
    }
}

/// Whether this is the run that is counted, which must not be repeated.
pub(crate) fn counting() -> bool {
    COUNTING.load(Ordering::Relaxed)
}

/// Counts from here on.
pub(crate) fn begin() {
    CALLS.store(0, Ordering::Relaxed);
    BYTES.store(0, Ordering::Relaxed);
    COUNTING.store(true, Ordering::Relaxed);
}

/// Counts no more. How many allocations there were, and how many more bytes are taken.
pub(crate) fn end() -> (i64, i64) {
    COUNTING.store(false, Ordering::Relaxed);
    (CALLS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed))
}

/// What `f` returned, how often it allocated, and how many more bytes are taken after it.
pub(crate) fn counted<R>(f: impl FnOnce() -> R) -> (R, i64, i64) {
    begin();
    let result = f();
    let (calls, bytes) = end();
    (result, calls, bytes)
}
