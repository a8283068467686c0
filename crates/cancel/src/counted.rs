//! A counted reference to a node, and the end of a node whose last one goes.

use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;

use evenkeel_sync::atomic::Ordering;

use crate::foreign::{self, Job};
use crate::list::Entry;
use crate::node::{Node, TooLate};

/// A counted reference.
pub(crate) struct NodeRef(NonNull<Node>);

// SAFETY: what a node holds is `Send` and `Sync`, or touched under its locks only.
unsafe impl Send for NodeRef {}
// SAFETY: as above.
unsafe impl Sync for NodeRef {}

impl NodeRef {
    /// The first count of `node`.
    pub(crate) fn new(node: Node) -> Self {
        Self(NonNull::from(Box::leak(Box::new(node))))
    }

    /// A count of a node found in a list whose lock is held, if it still has one.
    ///
    /// # Safety
    ///
    /// `node` is in a list whose lock is held, so that it is not freed meanwhile.
    pub(crate) unsafe fn upgrade(node: NonNull<Node>) -> Option<Self> {
        // SAFETY: the caller's promise.
        let refs = unsafe { &node.as_ref().refs };
        // ORDERING: Relaxed: nothing is published by a count going up.
        let mut seen = refs.load(Ordering::Relaxed);
        while seen != 0 {
            match refs.compare_exchange(seen, seen + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(Self(node)),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Puts `entry` in the list.
    ///
    /// # Safety
    ///
    /// `entry` lives and is in no list, and does not die before it is taken out.
    pub(crate) unsafe fn register(&self, entry: Entry) -> Result<(), TooLate> {
        self.settle()?;
        let mut list = self.list.lock();
        self.open()?;
        // SAFETY: the caller's promise.
        unsafe { list.push(entry) };
        Ok(())
    }

    /// Takes a lazy node into its parent's list, and the parents above it first.
    pub(crate) fn settle(&self) -> Result<(), TooLate> {
        // SAFETY: the count is ours, and the pointer is the one that it was born with.
        unsafe { Node::settle(self.0) }
    }

    pub(crate) fn as_raw(&self) -> NonNull<Node> {
        self.0
    }

    /// Puts a node with a deadline of its own in its queue; false if the queue is closed.
    pub(crate) fn enqueue(&self) -> bool {
        self.up.timed().is_some_and(|timed| timed.enqueue(self.0))
    }

    /// The pointer, which stands for the count from here on.
    pub(crate) fn into_raw(self) -> NonNull<Node> {
        std::mem::ManuallyDrop::new(self).0
    }

    /// # Safety
    ///
    /// `node` came from [`NodeRef::into_raw`], once.
    pub(crate) unsafe fn from_raw(node: NonNull<Node>) -> Self {
        Self(node)
    }

    pub(crate) fn ptr_eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Gives one count back; whether it was the last.
    ///
    /// # Safety
    ///
    /// The count is the caller's, who does not use it afterwards.
    unsafe fn release(node: NonNull<Node>) -> bool {
        // SAFETY: the count keeps it alive.
        let this = unsafe { node.as_ref() };
        // ORDERING: Acquire pairs with the Release below, so that whoever frees sees all that others did with it (model
        // refs_last_drop). A lone holder of a node that no list leads to needs no write: nobody can get a count from him.
        if this.refs.load(Ordering::Acquire) == 1 && !this.is_reachable() {
            return true;
        }
        // ORDERING: AcqRel: Release for the uses before, Acquire for the one who frees (model refs_last_drop).
        this.refs.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

// A panic leaves no node half changed: nothing foreign runs inside.
impl UnwindSafe for NodeRef {}
impl RefUnwindSafe for NodeRef {}

impl Clone for NodeRef {
    #[inline]
    fn clone(&self) -> Self {
        // ORDERING: Relaxed: nothing is published by a count going up.
        let before = self.refs.fetch_add(1, Ordering::Relaxed);
        if before > isize::MAX as usize {
            // So many can only be handles that were forgotten; going on would end in a use after free.
            std::process::abort();
        }
        Self(self.0)
    }
}

impl Deref for NodeRef {
    type Target = Node;

    #[inline]
    fn deref(&self) -> &Node {
        // SAFETY: the count keeps it alive.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for NodeRef {
    fn drop(&mut self) {
        // A loop, since a chain may be a million long.
        let mut rest = Vec::new();
        let mut next = Some(self.0);
        while let Some(node) = next {
            next = None;
            // SAFETY: each pointer here stands for a count that was taken over.
            if unsafe { Self::release(node) } {
                // SAFETY: it was the last; `leave` cuts the ways by which it could be found without a count.
                let mut node = unsafe {
                    node.as_ref().leave();
                    Box::from_raw(node.as_ptr())
                };
                node.up.take_parents(|parent| {
                    let parent = parent.into_raw();
                    if next.is_none() {
                        next = Some(parent);
                    } else {
                        rest.push(parent);
                    }
                });
                if node.owns_foreign() {
                    foreign::run(Job::Free(node));
                }
            }
            next = next.or_else(|| rest.pop());
        }
    }
}
