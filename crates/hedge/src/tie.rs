//! Tied requests: of several attempts at one piece of work, one does it.

use std::fmt;

use evenkeel_sync::Arc;
use evenkeel_sync::atomic::{AtomicBool, Ordering};

/// Ties attempts together: whichever starts first does the work, the others step aside.
///
/// A hedged request costs twice when both copies wait in queues and both are worked on in the end. Tied, each copy claims
/// the tie as it leaves its queue; the one that comes second finds it held and ends at once. Clones are the same tie.
///
/// ```
/// use evenkeel_hedge::Tie;
///
/// let tie = Tie::new();
/// let copy = tie.clone(); // goes with the second attempt
/// let hold = tie.claim().expect("nobody was faster");
/// assert!(copy.claim().is_none());
/// drop(hold); // the work failed: another attempt may try
/// copy.claim().expect("given back").keep(); // the work is done
/// assert!(tie.claim().is_none());
/// ```
///
/// # Protocol
///
/// `held` is false while the work is to be had. [`claim`](Self::claim) moves it to true in one exchange, so that one of any
/// number of claimants succeeds. Only a [`Hold`] moves it back, when it is dropped; one that is kept never does. Nobody waits
/// on a tie, so there is no wake-up to lose.
#[derive(Clone)]
pub struct Tie {
    held: Arc<AtomicBool>,
}

impl Tie {
    /// A tie that nobody holds.
    #[must_use]
    pub fn new() -> Self {
        Self {
            held: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Claims the work, or says that another attempt has it or has done it.
    #[inline]
    #[must_use]
    pub fn claim(&self) -> Option<Hold<'_>> {
        // ORDERING: Acquire pairs with the Release in `Hold::drop`: who claims after a failed attempt sees what it left
        // (`tie_models::given_back`). Relaxed on failure: nothing is read.
        self.held
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .ok()
            .map(|_| Hold { tie: self })
    }

    /// Whether an attempt holds or has kept it; it may change at any time.
    #[inline]
    #[must_use]
    pub fn is_held(&self) -> bool {
        // ORDERING: Relaxed: a hint, nothing is read on the strength of it.
        self.held.load(Ordering::Relaxed)
    }
}

impl Default for Tie {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Tie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tie")
            .field("held", &self.is_held())
            .finish()
    }
}

/// The right to do the work of a [`Tie`], given back when dropped.
#[derive(Debug)]
#[must_use = "dropped at once it is given back at once"]
pub struct Hold<'a> {
    tie: &'a Tie,
}

impl Hold<'_> {
    /// The work is done: no other attempt shall claim it.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        // ORDERING: Release pairs with the Acquire in `Tie::claim`; without it `tie_models::given_back` finds a data race.
        self.tie.held.store(false, Ordering::Release);
    }
}
