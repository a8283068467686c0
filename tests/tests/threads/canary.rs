//! A race made on purpose. While `cargo xtask tsan` catches it, its silence about the rest means something.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A hand-off whose edge is missing: Relaxed where Release and Acquire belong.
struct Slot {
    ready: AtomicBool,
    value: UnsafeCell<u64>,
}

// SAFETY: there is none: this is the fault to be found. Only the sanitizer's build has it, and no other test uses it.
unsafe impl Sync for Slot {}

#[test]
#[ignore = "a race on purpose: `cargo xtask tsan` asks for it and expects a report"]
fn caught() {
    let slot = Arc::new(Slot {
        ready: AtomicBool::new(false),
        value: UnsafeCell::new(0),
    });
    let setter = Arc::clone(&slot);
    let setter = thread::spawn(move || {
        // SAFETY: as above.
        unsafe { *setter.value.get() = 7 };
        setter.ready.store(true, Ordering::Relaxed);
    });
    while !slot.ready.load(Ordering::Relaxed) {
        thread::yield_now();
    }
    // SAFETY: as above.
    assert_eq!(unsafe { *slot.value.get() }, 7);
    setter.join().expect("the setter does not panic");
}
