//! What a model uses: loom's types, whose every access is a point where threads may be switched.

pub use loom::cell::UnsafeCell;
pub use loom::hint;
pub use loom::sync::{Arc, atomic};
pub use loom::thread;

pub(crate) use loom::sync::{Mutex, MutexGuard};

/// A part of what is freed by hand, so that loom notices when it is not.
#[derive(Debug)]
pub struct Tracked {
    _track: loom::alloc::Track<()>,
}

impl Tracked {
    /// One more to be dropped before the execution ends.
    #[must_use]
    pub fn new() -> Self {
        Self {
            _track: loom::alloc::Track::new(()),
        }
    }
}

impl Default for Tracked {
    fn default() -> Self {
        Self::new()
    }
}
