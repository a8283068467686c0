//! How a kernel is written, and how its model is.
//!
//! ```text
//! cargo run -p evenkeel-sync --example model
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo run -p evenkeel-sync --profile loom --example model
//! ```

use evenkeel_sync::atomic::{AtomicBool, Ordering};
use evenkeel_sync::{Arc, UnsafeCell, thread};

/// A value that one thread sets and another takes up, once it is there.
struct Slot {
    ready: AtomicBool,
    value: UnsafeCell<u32>,
}

// SAFETY: `value` is written before `ready` is set and only read after it was seen set.
unsafe impl Sync for Slot {}

impl Slot {
    fn new() -> Self {
        Self {
            ready: AtomicBool::new(false),
            value: UnsafeCell::new(0),
        }
    }

    /// To be called once.
    fn set(&self, value: u32) {
        // SAFETY: nobody reads before `ready` is set, and there is one setter.
        self.value.with_mut(|slot| unsafe { *slot = value });
        // ORDERING: Release pairs with the load in `get`; with Relaxed the model reports a causality violation.
        self.ready.store(true, Ordering::Release);
    }

    fn get(&self) -> Option<u32> {
        // ORDERING: Acquire pairs with the store in `set`.
        let ready = self.ready.load(Ordering::Acquire);
        // SAFETY: `ready` was seen set, so the write is over and none follows.
        ready.then(|| self.value.with(|slot| unsafe { *slot }))
    }
}

fn set_against_get() {
    let slot = Arc::new(Slot::new());
    let setter = Arc::clone(&slot);
    let setter = thread::spawn(move || setter.set(7));
    assert!(matches!(slot.get(), None | Some(7)));
    setter.join().expect("the setter does not panic");
    assert_eq!(slot.get(), Some(7));
}

#[cfg(loom)]
fn main() {
    evenkeel_sync::model("set against get", None, set_against_get);
}

#[cfg(not(loom))]
fn main() {
    set_against_get();
    println!("the value was handed over; under `--cfg loom` every interleaving is tried");
}
