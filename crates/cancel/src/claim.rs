//! Of "the result was delivered" and "it was cancelled" exactly one is true, and both sides learn which.
//!
//! # Protocol
//!
//! A claim is a node of the tree that is in its parent's list from birth, so a canceller decides it before `cancel` returns.
//! Its word has one more end, COMMITTED, and one more live state, RESERVED, in which a cancellation is kept as a pending payload:
//!
//! ```text
//!            commit                         Permit::commit (a pending cause is dropped)
//!   live ───────────────► committed ◄──────────────────────┐
//!    │ ▲                                                    │
//!    │ └──────────────── Permit dropped ◄──────── reserved ─┤
//!    │        reserve ──────────────────────────────► │     │
//!    │ cancel                                   cancel ▼    │
//!    └───────────► cancelled ◄── Permit dropped ── reserved, pending
//! ```
//!
//! Each arrow is one compare-exchange of the same word, so no two ends are reached.

use std::fmt;
use std::future::Future;

use crate::counted::NodeRef;
use crate::future::Decided;
use crate::node::Node;
use crate::sweep;
use crate::word::{DECIDED, Packed, RESERVED, Word};
use crate::{Cause, Token};

/// The right to deliver one result, unless it is cancelled before; cheap to clone.
///
/// The side that has the result commits ([`Claim::commit`]) right before a send that cannot fail, or reserves a [`Permit`] for one
/// that can. The side that cancels asks for the [`Claim::verdict`], which is the same for all.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use evenkeel_cancel::{Cause, Source, Verdict};
///
/// let source = Source::new();
/// let claim = source.claim();
/// claim.commit().expect("nobody has cancelled");
/// // The result is out: too late to cancel it, and the canceller learns so.
/// source.cancel(Cause::User);
/// assert_eq!(claim.verdict().await, Verdict::Delivered);
/// # });
/// ```
#[derive(Clone)]
pub struct Claim(NodeRef);

/// How a claim ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The result was delivered, and was not cancelled.
    Delivered,
    /// It was cancelled, and nothing was or will be delivered.
    Cancelled(Cause),
}

/// Why a claim was refused to who wants to deliver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It was cancelled: the result must not be sent.
    #[error("cancelled before delivery")]
    Cancelled(#[source] Cause),
    /// Another has delivered it.
    #[error("delivered already")]
    Delivered,
    /// Another has a permit, and may deliver it or not.
    #[error("reserved by another")]
    Reserved,
}

impl Token {
    /// A claim that is cancelled when this token is, unless it is committed before.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let node = Node::child(&self.0);
        // If it fails, then because an ancestor is cancelled, and so is the claim now.
        let _ = node.settle();
        Claim(node)
    }
}

impl Claim {
    /// Takes the right to deliver: after `Ok`, the result is to be sent, and can no longer be cancelled.
    ///
    /// # Errors
    ///
    /// [`Refused`], and the result is not to be sent.
    pub fn commit(&self) -> Result<(), Refused> {
        let word = self.advance(|word| word.decided(Packed::committed().into_raw(), false))?;
        sweep::tell(&self.0, word);
        Ok(())
    }

    /// Asks for permission to deliver, for a delivery that may fail.
    ///
    /// While the permit is out, a cancellation is kept, and whoever cancelled does not wait for it: committing the permit wins,
    /// dropping it gives the right back, to the cancellation if there was one. A permit that is forgotten leaves the claim without a
    /// verdict for ever.
    ///
    /// # Errors
    ///
    /// [`Refused`], and the result is not to be sent.
    pub fn reserve(&self) -> Result<Permit, Refused> {
        self.advance(|word| word.with(RESERVED))?;
        Ok(Permit {
            node: Some(self.0.clone()),
        })
    }

    fn advance(&self, to: impl Fn(Word) -> Word) -> Result<Word, Refused> {
        if let Some(parent) = self.0.up.parent() {
            // A sweep may be on its way to the claim: who has seen its token cancelled must not see it committed afterwards.
            if parent.is_decided() && !self.0.load().has(RESERVED) {
                self.0.inherit(parent);
            }
        }
        let mut seen = self.0.load();
        loop {
            if seen.has(DECIDED) {
                return Err(self
                    .0
                    .own_cause()
                    .map_or(Refused::Delivered, Refused::Cancelled));
            }
            if seen.has(RESERVED) {
                return Err(Refused::Reserved);
            }
            let next = to(seen);
            match self.0.exchange(seen, next) {
                Ok(()) => return Ok(next),
                Err(now) => seen = now,
            }
        }
    }

    /// The end of the claim, if it has ended.
    #[must_use]
    pub fn try_verdict(&self) -> Option<Verdict> {
        let decided = self.0.load().has(DECIDED);
        decided.then(|| verdict(self.0.own_cause()))
    }

    /// Waits for the end of the claim. A claim that is neither committed nor cancelled has none, even if all who could commit it are
    /// gone.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropped, it leaves nothing behind.
    pub fn verdict(&self) -> impl Future<Output = Verdict> + Send + 'static {
        let decided = Decided::new(self.0.clone());
        async { verdict(decided.await) }
    }
}

fn verdict(cause: Option<Cause>) -> Verdict {
    cause.map_or(Verdict::Delivered, Verdict::Cancelled)
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("verdict", &self.try_verdict())
            .finish_non_exhaustive()
    }
}

/// Permission to deliver; dropped without [`Permit::commit`], it is given back.
#[must_use = "dropping the permit gives it back"]
pub struct Permit {
    node: Option<NodeRef>,
}

impl Permit {
    /// The result was delivered. A cancellation that came meanwhile has no effect.
    pub fn commit(mut self) {
        if let Some(node) = self.node.take() {
            settle(&node, |_| Packed::committed().into_raw());
        }
    }

    /// The cause of a cancellation that waits for this permit: a reason to drop it, if that can still be done.
    #[must_use]
    pub fn pending(&self) -> Option<Cause> {
        let word = self.node.as_ref()?.load();
        // SAFETY: only this permit lets go of the payload.
        unsafe { Packed::cause(word.payload()) }
    }
}

/// Leaves RESERVED with what `payload` makes of the pending one; null is live again.
fn settle(node: &Node, payload: impl Fn(Word) -> *mut crate::word::Custom) {
    let mut seen = node.load();
    loop {
        let end = payload(seen);
        let to = if end.is_null() {
            seen.without(RESERVED)
        } else {
            seen.decided(end, end == seen.payload())
        };
        match node.exchange(seen, to) {
            Ok(()) => {
                if !end.is_null() && end != seen.payload() {
                    // SAFETY: the pending cause was the word's, which no longer has it.
                    drop(unsafe { Packed::from_word(seen.payload()) });
                }
                if to.has(DECIDED) {
                    sweep::tell(node, to);
                }
                return;
            }
            Err(now) => seen = now,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            settle(&node, Word::payload);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("pending", &self.pending())
            .finish()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered => f.pad("delivered"),
            Self::Cancelled(cause) => fmt::Display::fmt(cause, f),
        }
    }
}
