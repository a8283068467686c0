//! The one word of a node: whether it is live or decided, with what cause, and how it hangs in the tree.
//!
//! ```text
//! live      payload = null, or a pending cause        | RESERVED | HOPS (2 bits) | REGS
//! decided   payload = a cause, or COMMITTED | DECIDED | INHERITED | LINKED        | REGS
//! ```
//!
//! A payload is a small number for the causes without content, else a pointer to a [`Custom`], whose alignment leaves
//! the low bits free. The pointer owns one count of an `Arc`.

use std::error::Error;
use std::sync::Arc;

use crate::Cause;

/// The list of registrations may have entries. Set under the list's lock, never cleared.
pub(crate) const REGS: usize = 1;
/// Live: how many parents must be asked too, until one that is in its own parent's list (or has no parent) answers.
pub(crate) const HOPS: usize = 0b110;
/// One hop.
pub(crate) const HOP: usize = 0b010;
/// Decided: the node may be in the list of its parent.
pub(crate) const LINKED: usize = 0b010;
/// Decided: by an ancestor.
pub(crate) const INHERITED: usize = 0b100;
/// Cancelled or committed; nothing but REGS matters from here on, and the payload stays.
pub(crate) const DECIDED: usize = 0b1000;
/// Live, and a permit is out: a cancellation is kept as the payload until the permit is used or dropped.
pub(crate) const RESERVED: usize = 0b1_0000;

const TAGS: usize = 0b1_1111;
const SHIFT: u32 = 5;
const KINDS: usize = 16;
const COMMITTED: usize = 15;

/// A custom cause as one thin pointer with five free low bits.
#[repr(align(32))]
pub(crate) struct Custom(Arc<dyn Error + Send + Sync>);

/// The value of the word as read at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) *mut Custom);

// SAFETY: a value; whoever follows the payload argues for it.
unsafe impl Send for Word {}

impl Word {
    pub(crate) fn live(hops: usize) -> Self {
        Self(std::ptr::without_provenance_mut(hops * HOP))
    }

    #[inline]
    pub(crate) fn has(self, bits: usize) -> bool {
        self.0.addr() & bits != 0
    }

    /// How many parents a live node depends on; none when it is decided.
    #[inline]
    pub(crate) fn hops(self) -> usize {
        if self.has(DECIDED) {
            return 0;
        }
        (self.0.addr() & HOPS) / HOP
    }

    pub(crate) fn with(self, bits: usize) -> Self {
        Self(self.0.map_addr(|addr| addr | bits))
    }

    pub(crate) fn without(self, bits: usize) -> Self {
        Self(self.0.map_addr(|addr| addr & !bits))
    }

    /// The payload as raw bits, without a claim to own it.
    pub(crate) fn payload(self) -> *mut Custom {
        self.without(TAGS).0
    }

    /// Whether the payload is foreign: a custom cause.
    pub(crate) fn is_custom(self) -> bool {
        is_custom(self.payload())
    }

    /// This live word, decided: where the node hangs and whether it has registrations is kept.
    pub(crate) fn decided(self, payload: *mut Custom, inherited: bool) -> Self {
        let regs = self.0.addr() & REGS;
        let linked = if self.hops() == 0 { LINKED } else { 0 };
        let inherited = if inherited { INHERITED } else { 0 };
        Self(payload.map_addr(|addr| addr | DECIDED | regs | linked | inherited))
    }
}

impl Word {
    /// This reserved word, with a cancellation that waits for the permit.
    pub(crate) fn pending(self, payload: *mut Custom) -> Self {
        Self(payload.map_addr(|addr| addr | (self.0.addr() & TAGS)))
    }
}

/// A cause in the form that a word holds, owned.
pub(crate) struct Packed(*mut Custom);

// SAFETY: it is a number, or owns a count of an `Arc` of something that is `Send + Sync`.
unsafe impl Send for Packed {}

impl Packed {
    pub(crate) fn new(cause: Cause) -> Self {
        let kind = match cause {
            Cause::Timeout => 1,
            Cause::User => 2,
            Cause::Superseded => 3,
            Cause::Shutdown => 4,
            Cause::Failed => 5,
            Cause::Custom(error) => return Self(Arc::into_raw(Arc::new(Custom(error))).cast_mut()),
        };
        Self::kind(kind)
    }

    /// What a claim is decided with when its result was delivered: no cause at all.
    pub(crate) fn committed() -> Self {
        Self::kind(COMMITTED)
    }

    fn kind(kind: usize) -> Self {
        Self(std::ptr::without_provenance_mut(kind << SHIFT))
    }

    pub(crate) fn raw(&self) -> *mut Custom {
        self.0
    }

    /// Gives the ownership to the word that it has been, or will be, written to.
    pub(crate) fn into_raw(self) -> *mut Custom {
        std::mem::ManuallyDrop::new(self).0
    }

    /// Takes over what a word owned.
    ///
    /// # Safety
    ///
    /// `payload` was made by [`Packed::into_raw`], and nobody else takes it over.
    pub(crate) unsafe fn from_word(payload: *mut Custom) -> Self {
        Self(payload)
    }

    /// A copy of what a word owns.
    ///
    /// # Safety
    ///
    /// `payload` is owned by a word that keeps it for the length of this call.
    pub(crate) unsafe fn copied(payload: *mut Custom) -> Self {
        if is_custom(payload) {
            // SAFETY: it came from `Arc::into_raw`, and the word keeps its count meanwhile.
            unsafe { Arc::increment_strong_count(payload.cast_const()) };
        }
        Self(payload)
    }

    /// The cause that a word owns; `None` for a committed claim.
    ///
    /// # Safety
    ///
    /// As for [`Packed::copied`].
    pub(crate) unsafe fn cause(payload: *mut Custom) -> Option<Cause> {
        Some(match payload.addr() >> SHIFT {
            1 => Cause::Timeout,
            2 => Cause::User,
            3 => Cause::Superseded,
            4 => Cause::Shutdown,
            5 => Cause::Failed,
            n if n >= KINDS => {
                // SAFETY: such an address came from `Arc::into_raw`, and the word keeps its count meanwhile.
                let custom = unsafe { &*payload };
                Cause::Custom(Arc::clone(&custom.0))
            }
            _ => return None,
        })
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        if is_custom(self.0) {
            // SAFETY: it came from `Arc::into_raw`, and this count is ours.
            unsafe { Arc::decrement_strong_count(self.0.cast_const()) };
        }
    }
}

fn is_custom(payload: *mut Custom) -> bool {
    payload.addr() >> SHIFT >= KINDS
}
