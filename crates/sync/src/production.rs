//! What a production build uses: the standard library, at no cost.

pub use std::hint;
pub use std::sync::{Arc, atomic};
pub use std::thread;

/// [`std::cell::UnsafeCell`] with loom's interface, which asks for the kind of access.
#[derive(Debug, Default)]
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Calls `f` with a pointer for reading.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Calls `f` with a pointer for writing.
    #[inline]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }

    /// The value back.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

pub(crate) use std::sync::{Mutex, MutexGuard};

/// A part of what is freed by hand, so that loom notices when it is not.
#[derive(Debug, Default)]
pub struct Tracked;

impl Tracked {
    /// One more to be dropped before the execution ends.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}
