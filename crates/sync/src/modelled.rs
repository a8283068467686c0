//! What a model uses: loom's types, whose every access is a point where threads may be switched.

pub use loom::cell::UnsafeCell;
pub use loom::hint;
pub use loom::sync::{Arc, atomic};
pub use loom::thread;

pub(crate) use loom::sync::{Mutex, MutexGuard};
