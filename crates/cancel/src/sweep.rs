//! Cancelling: a node is decided first, and then all that is registered below it is told.
//!
//! # Protocol
//!
//! A *sweep* of a node goes depth first through the lists below it. Under the lock of a list, a batch at a time:
//!
//! - a waiter or a callback is taken out, to be woken or run when the lock is given back;
//! - a child is decided. One in whose own list no further child is left is finished: its waiters are taken, and it is
//!   taken out too. One with children stays in until the sweep comes back from it.
//!
//! So **what is no longer in a list has its whole subtree decided**. This is what makes the promise hold that when
//! `cancel` returns, all earlier descendants read cancelled, for the call that lost the race as well: it sweeps the same
//! lists, and what it does not find there any more is done. Several sweeps share the work, since each takes what it tells out
//! of the list. (Lazy nodes are in no list: they read the cancellation through their parents.)
//!
//! Callbacks run last, so that a slow one delays no cancellation, and one after the other ([`crate::foreign`]).

use std::ptr::NonNull;
use std::task::Waker;

use crate::counted::NodeRef;
use crate::foreign::{self, Job};
use crate::list::{Entry, Kind, List};
use crate::node::{Node, Outcome};
use crate::telemetry;
use crate::up::Input;
use crate::wait::{Callback, Waiter};
use crate::word::{DECIDED, Packed, REGS, Word};

/// So many entries are told in one hold of a lock. The models have room for what takes several.
pub(crate) const BATCH: usize = if evenkeel_sync::MODELLED { 2 } else { 32 };

/// Decides `node`, and tells all below it. Whether this call was the one that did it.
pub(crate) fn cancel(node: &Node, cause: Packed) -> bool {
    let word = node.look();
    let outcome = if word.has(DECIDED) {
        drop(cause);
        Outcome::Lost(word)
    } else {
        node.decide(cause, false)
    };
    match outcome {
        Outcome::Won(word) => {
            tell(node, word);
            foreign::shielded(|| telemetry::cancelled(node));
            true
        }
        Outcome::Pending => false,
        Outcome::Lost(word) => {
            tell(node, word);
            false
        }
    }
}

/// Tells all that is registered below `node`, which was decided as `word`.
pub(crate) fn tell(node: &Node, word: Word) {
    if word.has(REGS) {
        sweep(node);
    }
}

fn sweep(root: &Node) {
    let mut path: Vec<NodeRef> = Vec::new();
    let mut batch = Batch::new();
    loop {
        let node = path.last().map_or(root, |node| &**node);
        let step = step(node, &mut batch);
        batch.wake();
        match step {
            Step::More => {}
            Step::Down(child) => path.push(child),
            Step::Done => {
                // The next step at its parent finds it empty and takes it out.
                if path.pop().is_none() {
                    break;
                }
            }
        }
    }
    batch.run();
}

enum Step {
    More,
    Down(NodeRef),
    Done,
}

fn step(node: &Node, batch: &mut Batch) -> Step {
    let mut list = node.list.lock();
    for _ in 0..BATCH {
        let Some(entry) = list.first() else {
            return Step::Done;
        };
        let child = match entry.kind() {
            Kind::Waiter | Kind::Callback => {
                if !batch.take(&mut list, entry, node) {
                    return Step::More;
                }
                continue;
            }
            Kind::Child => NonNull::new(entry.owner::<Node>().cast_mut()),
            // SAFETY: an input in the list is alive, since its node takes it out before it is freed.
            Kind::Input => unsafe { (*entry.owner::<Input>()).owner() },
        };
        let Some(child) = child else {
            unreachable!("an input has its owner before it is in a list");
        };
        // SAFETY: as above, it is in the list and we hold the lock.
        match mark(unsafe { child.as_ref() }, node, batch) {
            Marked::Finished => {}
            Marked::Full => return Step::More,
            Marked::Deeper => {
                // SAFETY: as above.
                if let Some(child) = unsafe { NodeRef::upgrade(child) } {
                    return Step::Down(child);
                }
                // It is being freed: nothing is below it.
            }
        }
        // SAFETY: it is the first of this list.
        unsafe { list.unlink(entry) };
    }
    Step::More
}

enum Marked {
    Finished,
    Deeper,
    Full,
}

/// Decides a child with its parent's cause, and takes its waiters if nothing hangs deeper. The parent's lock is held.
fn mark(child: &Node, parent: &Node, batch: &mut Batch) -> Marked {
    let word = child.inherit(parent);
    // With neither, the permit has the cause now.
    if !word.has(DECIDED) || !word.has(REGS) {
        return Marked::Finished;
    }
    let mut list = child.list.lock();
    while let Some(entry) = list.first() {
        match entry.kind() {
            Kind::Child | Kind::Input => return Marked::Deeper,
            Kind::Waiter | Kind::Callback => {
                if !batch.take(&mut list, entry, child) {
                    return Marked::Full;
                }
            }
        }
    }
    Marked::Finished
}

/// What was taken out of the lists and is still to be told.
struct Batch {
    /// None for a callback.
    wakers: [Option<Waker>; BATCH],
    taken: usize,
    /// Callbacks, which nobody else finds any more: this list has no lock.
    callbacks: List,
}

impl Batch {
    fn new() -> Self {
        Self {
            wakers: [const { None }; BATCH],
            taken: 0,
            callbacks: List::new(),
        }
    }

    /// Takes `entry`, a waiter or a callback of `node`, which is decided, out of `list`; false if there is no room.
    fn take(&mut self, list: &mut List, entry: Entry, node: &Node) -> bool {
        if self.taken == BATCH {
            return false;
        }
        // SAFETY: it is in the list, so it lives, and the lock is held; `claim` makes a callback ours, so that it may be in our
        // list.
        self.wakers[self.taken] = unsafe {
            list.unlink(entry);
            if entry.kind() == Kind::Waiter {
                (*entry.owner::<Waiter>()).take()
            } else {
                (*entry.owner::<Callback>()).claim(node.own_cause());
                self.callbacks.push(entry);
                None
            }
        };
        self.taken += 1;
        true
    }

    /// Wakes what was taken. No lock is held.
    fn wake(&mut self) {
        while self.taken > 0 {
            // A waker that panics has had its turn.
            foreign::shielded(|| {
                while self.taken > 0 {
                    self.taken -= 1;
                    if let Some(waker) = self.wakers[self.taken].take() {
                        waker.wake();
                    }
                }
            });
        }
    }

    /// Runs the callbacks, those of one node in the order in which they were registered. No lock is held.
    fn run(self) {
        if !self.callbacks.is_empty() {
            foreign::run(Job::Call(self.callbacks));
        }
    }
}
