//! Receivers that accept one of several results: the first, or the latest.

use std::fmt;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use evenkeel_sync::{Arc, Mutex};

/// Receives the first result that is offered; every later one goes back to its sender.
///
/// For stages of which several may answer: duplicates are refused where they arise.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use evenkeel_cancel::First;
///
/// let (offer, first) = First::new();
/// assert_eq!(offer.send("a"), Ok(()));
/// assert_eq!(offer.send("b"), Err("b"));
/// assert_eq!(first.accept().await, Some("a"));
/// # });
/// ```
pub struct First<T> {
    slot: Arc<Mutex<FirstSlot<T>>>,
}

/// Offers a result to a [`First`]; cheap to clone.
pub struct Offer<T> {
    slot: Arc<Mutex<FirstSlot<T>>>,
}

/// # Protocol
///
/// All fields under one lock. A sender fills the slot and takes the waker in one hold; the receiver looks for a result and
/// leaves its waker in one hold. So one of them sees the other.
struct FirstSlot<T> {
    value: Option<T>,
    taken: bool,
    closed: bool,
    offers: usize,
    waker: Option<Waker>,
}

impl<T> First<T> {
    /// A receiver, and the first of the senders to it.
    #[allow(
        clippy::new_ret_no_self,
        reason = "a receiver without a sender is of no use"
    )]
    #[must_use]
    pub fn new() -> (Offer<T>, Self) {
        let slot = Arc::new(Mutex::new(FirstSlot {
            value: None,
            taken: false,
            closed: false,
            offers: 1,
            waker: None,
        }));
        let offer = Offer {
            slot: Arc::clone(&slot),
        };
        (offer, Self { slot })
    }

    /// Waits for the first result; `None` when all senders are gone without one.
    ///
    /// # Cancel safety
    ///
    /// Not safe: with the future goes the receiver, and offers are refused from then on.
    pub async fn accept(self) -> Option<T> {
        poll_fn(|cx| {
            // Cloned, and the replaced one dropped, with no lock held: a waker is foreign code.
            let waker = cx.waker().clone();
            let mut slot = self.slot.lock();
            if let Some(value) = slot.value.take() {
                return Poll::Ready(Some(value));
            }
            if slot.offers == 0 {
                return Poll::Ready(None);
            }
            let replaced = slot.waker.replace(waker);
            drop(slot);
            drop(replaced);
            Poll::Pending
        })
        .await
    }
}

impl<T> Drop for First<T> {
    fn drop(&mut self) {
        let mut slot = self.slot.lock();
        slot.closed = true;
        let rest = (slot.value.take(), slot.waker.take());
        drop(slot);
        drop(rest);
    }
}

impl<T> Offer<T> {
    /// Offers a result.
    ///
    /// # Errors
    ///
    /// The value, if another came first or the receiver is gone.
    pub fn send(&self, value: T) -> Result<(), T> {
        let mut slot = self.slot.lock();
        if slot.taken || slot.closed {
            return Err(value);
        }
        slot.taken = true;
        slot.value = Some(value);
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl<T> Clone for Offer<T> {
    fn clone(&self) -> Self {
        self.slot.lock().offers += 1;
        Self {
            slot: Arc::clone(&self.slot),
        }
    }
}

impl<T> Drop for Offer<T> {
    fn drop(&mut self) {
        let mut slot = self.slot.lock();
        slot.offers -= 1;
        let waker = if slot.offers == 0 {
            slot.waker.take()
        } else {
            None
        };
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Receives results of the latest attempt only: what an older attempt sends goes back to it.
///
/// For work that is started again before its predecessor has ended: a ward that was replaced, a query that was typed over.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use evenkeel_cancel::Latest;
///
/// let mut latest = Latest::new();
/// let stale = latest.attempt();
/// let fresh = latest.attempt();
/// assert_eq!(stale.send(1), Err(1));
/// assert_eq!(fresh.send(2), Ok(()));
/// assert_eq!(latest.next().await, 2);
/// # });
/// ```
pub struct Latest<T> {
    slot: Arc<Mutex<LatestSlot<T>>>,
}

/// One attempt, which may send results to its [`Latest`] until the next attempt begins.
pub struct LatestAttempt<T> {
    slot: Arc<Mutex<LatestSlot<T>>>,
    epoch: u64,
}

/// # Protocol
///
/// As `FirstSlot`: a sender compares its epoch, fills the slot and takes the waker in one hold of the lock.
struct LatestSlot<T> {
    epoch: u64,
    value: Option<T>,
    waker: Option<Waker>,
    closed: bool,
}

impl<T> Latest<T> {
    /// A receiver without an attempt.
    #[must_use]
    pub fn new() -> Self {
        let slot = LatestSlot {
            epoch: 0,
            value: None,
            waker: None,
            closed: false,
        };
        Self {
            slot: Arc::new(Mutex::new(slot)),
        }
    }

    /// Begins a new attempt; all earlier ones are superseded, and so is a result of theirs that was not yet received. Who wants that
    /// one still takes it by [`Latest::try_next`] before.
    #[must_use]
    pub fn attempt(&self) -> LatestAttempt<T> {
        let mut slot = self.slot.lock();
        slot.epoch += 1;
        let epoch = slot.epoch;
        let superseded = slot.value.take();
        drop(slot);
        drop(superseded);
        LatestAttempt {
            slot: Arc::clone(&self.slot),
            epoch,
        }
    }

    /// Waits for a result not yet received; for ever, if no attempt sends one.
    ///
    /// # Cancel safety
    ///
    /// Safe: a result is taken only when it is returned.
    pub async fn next(&mut self) -> T {
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut slot = self.slot.lock();
            if let Some(value) = slot.value.take() {
                return Poll::Ready(value);
            }
            let replaced = slot.waker.replace(waker);
            drop(slot);
            drop(replaced);
            Poll::Pending
        })
        .await
    }

    /// A result not yet received, if there is one.
    #[must_use]
    pub fn try_next(&self) -> Option<T> {
        self.slot.lock().value.take()
    }
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Latest<T> {
    fn drop(&mut self) {
        let mut slot = self.slot.lock();
        slot.closed = true;
        let rest = (slot.value.take(), slot.waker.take());
        drop(slot);
        drop(rest);
    }
}

impl<T> LatestAttempt<T> {
    /// Sends a result; one that was not yet received gives way to it. `Ok` says that it is the latest, not that it was received.
    ///
    /// # Errors
    ///
    /// The value, if a later attempt has begun or the receiver is gone.
    pub fn send(&self, value: T) -> Result<(), T> {
        let mut slot = self.slot.lock();
        if slot.epoch != self.epoch || slot.closed {
            return Err(value);
        }
        let replaced = slot.value.replace(value);
        let waker = slot.waker.take();
        drop(slot);
        drop(replaced);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Which attempt this is, counted from one.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether a later attempt has begun.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.slot.lock().epoch != self.epoch
    }
}

impl<T> fmt::Debug for First<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("First").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Offer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Latest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latest").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for LatestAttempt<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatestAttempt")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
