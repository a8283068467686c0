//! What a table of keys allocates; a binary of its own, since it counts for the whole process.

#![cfg(not(loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use evenkeel_bucket::{Keyed, Overflow, Rate};

thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: hands on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.with(|bytes| bytes.set(bytes.get() + layout.size()));
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

fn bytes<R>(f: impl FnOnce() -> R) -> (R, usize) {
    let before = BYTES.get();
    let result = f();
    (result, BYTES.get() - before)
}

/// Pitfall: keys that come once stay for ever, or until somebody sweeps.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "other mutexes take more")]
fn a_table_takes_its_memory_when_it_is_made_and_none_whoever_comes() {
    const CAPACITY: usize = 30_000;
    let rate = Rate::every(Duration::from_secs(3_600));
    let (table, made) = bytes(|| Keyed::<usize>::new(rate, 9, CAPACITY));
    assert!(made <= 22 * CAPACITY, "{made}");
    for overflow in [Overflow::Deny, Overflow::Evict, Overflow::Share] {
        let table = table.clone().when_full(overflow);
        let take = |key: usize| table.try_acquire(&key, 1).is_ok();
        let (granted, more) = bytes(|| (0..2 * CAPACITY).filter(|&key| take(key)).count());
        assert!(granted >= CAPACITY, "{granted}");
        assert_eq!(more, 0);
    }
    let (_, held) = bytes(|| drop((0..1_000).map(|key| table.key(&key)).collect::<Vec<_>>()));
    assert!(held <= 1_000 * 1_000, "{held}");
    let (_, more) = bytes(|| table.try_acquire(&0, 1));
    assert_eq!(more, 0);
}
