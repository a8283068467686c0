use std::sync::PoisonError;

use crate::imp;

/// A lock held; given back when dropped.
pub type MutexGuard<'a, T> = imp::MutexGuard<'a, T>;

/// A mutex that is not poisoned by a panic.
///
/// No code of ours leaves a value half changed across a call that may panic, so poisoning would only turn one panic
/// into many.
#[derive(Debug, Default)]
pub struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    /// An unlocked mutex around `value`.
    pub fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    /// Waits for the lock.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        // Where a thread has to wait, the standard library takes the lock in code that ThreadSanitizer cannot see
        // into; a try is compiled here.
        #[cfg(tsan)]
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            imp::thread::yield_now();
        }
        #[cfg(not(tsan))]
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock if nobody holds it.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }

    /// The value, which the exclusive borrow proves unlocked.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}
