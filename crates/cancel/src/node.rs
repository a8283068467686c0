//! A node of the tree: one word that says all, a count, the way up, and the list of what is registered with it.
//!
//! # Protocol
//!
//! **`word`** ([`crate::word`]). Anyone may move it from live to decided, once, by compare-exchange; from then on its
//! payload stays. Only the holder of the own list's lock sets REGS; only the holder of the *parent's* list lock takes
//! HOPS to zero, after it has put the node in that list. So a decided word says truly whether the node was in the list
//! (LINKED), and a live one says whether it is.
//!
//! A node is born outside its parent's list (*lazy*) and answers "am I cancelled?" by asking up to two parents more. It goes
//! into the list when something must be told to it: a waiter, a callback, a child in its own list; or at birth, where the way
//! up would become longer than two.
//!
//! *Why no wake-up is lost*: who registers holds the list's lock, finds the word live and sets REGS in the same step (or
//! finds it set). A canceller decides first and locks afterwards. If the registrant's read came before the decision, the
//! canceller sees REGS and finds the entry under the lock; if it came after, the registrant sees the decision.
//!
//! **`refs`**. One for each handle and one for each child, so a parent outlives its children. The entry in the parent's list
//! counts for nothing: whoever finds it there holds the parent's lock, under which the node cannot be freed, and takes a
//! count only if there still is one ([`NodeRef::upgrade`]).
//!
//! **Locks** are taken from the root downwards. No count is given back and no foreign code runs while one is held.

use std::ops::Deref;
use std::ptr::NonNull;

use evenkeel_sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use evenkeel_sync::{Mutex, Tracked};

use crate::Cause;
use crate::deadline::Deadline;
use crate::list::{Entry, Kind, Link, List};
use crate::up::{Ext, Input, Up};
use crate::wait::Callback;
use crate::word::{Custom, DECIDED, HOPS, LINKED, Packed, REGS, RESERVED, Word};

/// A node is at most this far from the nearest ancestor that answers for all above it.
const MOST_HOPS: usize = 2;

#[repr(C)]
pub(crate) struct Node {
    /// In the parent's list; first, so that a pointer to it is one to the node.
    link: Link,
    word: AtomicPtr<Custom>,
    refs: AtomicUsize,
    pub(crate) up: Up,
    pub(crate) list: Mutex<List>,
    /// The earliest of the own and all inherited ones.
    pub(crate) deadline: Deadline,
    _tracked: Tracked,
}

// SAFETY: the links are touched under the locks that guard them, the way up never changes, the rest is `Sync`.
unsafe impl Sync for Node {}

/// What became of an attempt to decide a node.
pub(crate) enum Outcome {
    /// This call did it.
    Won(Word),
    /// A permit is out: the cause waits for it.
    Pending,
    /// It was decided before.
    Lost(Word),
}

impl Node {
    /// Puts a node that hangs on `up` on the heap.
    pub(crate) fn hang(up: Up, deadline: Deadline) -> NodeRef {
        let hops = up.parent().map_or(0, |parent| parent.load().hops() + 1);
        let node = Box::new(Self {
            link: Link::new(),
            word: AtomicPtr::new(Word::live(hops.min(MOST_HOPS + 1)).0),
            refs: AtomicUsize::new(1),
            up,
            list: Mutex::new(List::new()),
            deadline,
            _tracked: Tracked::new(),
        });
        // SAFETY: a box is never null.
        let node = NodeRef(unsafe { NonNull::new_unchecked(Box::into_raw(node)) });
        if hops > MOST_HOPS {
            // If it fails, then because an ancestor is cancelled, and so is this node now.
            let _ = node.settle();
        }
        node
    }

    pub(crate) fn root() -> NodeRef {
        Self::hang(Up::root(), Deadline::NEVER)
    }

    /// A child of `parent`.
    pub(crate) fn child(parent: &NodeRef) -> NodeRef {
        Self::hang(Up::parent_of(parent.clone()), parent.deadline)
    }

    /// A child of all of `parents`, in their lists from the start.
    pub(crate) fn any(parents: Vec<NodeRef>) -> NodeRef {
        let deadline = parents.iter().map(|parent| parent.deadline).min();
        let deadline = deadline.unwrap_or(Deadline::NEVER);
        let inputs = parents.into_iter().map(Input::new).collect();
        let node = Self::hang(Up::ext(Ext::Any(inputs)), deadline);
        for input in node.up.inputs() {
            input.adopt(node.0);
            let entry = Entry::new(std::ptr::from_ref(input), Kind::Input);
            // SAFETY: the input lives as long as the node, which takes it out of the list when it is freed.
            if let Err(word) = unsafe { input.parent.register(entry) } {
                node.inherit(word);
                break;
            }
        }
        node
    }

    #[inline]
    pub(crate) fn load(&self) -> Word {
        // ORDERING: Acquire pairs with the Release of `decide`, so that who sees a custom cause sees its content
        // (model word_publishes).
        Word(self.word.load(Ordering::Acquire))
    }

    pub(crate) fn exchange(&self, from: Word, to: Word) -> Result<(), Word> {
        // ORDERING: Release publishes the cause's content, and what the canceller did before, to `load`; Acquire
        // on failure since the caller may read the payload it lost to (model word_publishes).
        self.word
            .compare_exchange(from.0, to.0, Ordering::Release, Ordering::Acquire)
            .map(drop)
            .map_err(Word)
    }

    /// Whether it reads cancelled. Takes no lock, and writes nothing as long as it does not.
    #[inline]
    pub(crate) fn is_decided(&self) -> bool {
        let word = self.load();
        if !word.has(DECIDED | HOPS) {
            return false;
        }
        self.look().has(DECIDED)
    }

    /// Why it was cancelled, if it was.
    #[inline]
    pub(crate) fn cause(&self) -> Option<Cause> {
        if !self.is_decided() {
            return None;
        }
        let word = self.look();
        // SAFETY: the node is decided and alive, so its payload stays.
        unsafe { Packed::cause(word.payload()) }
    }

    /// The word, after the ancestors that it depends on were asked.
    pub(crate) fn look(&self) -> Word {
        let word = self.load();
        if word.has(DECIDED) || word.hops() == 0 {
            return word;
        }
        let mut above = self.up.parent();
        while let Some(node) = above {
            let seen = node.load();
            if seen.has(DECIDED) {
                // What was once read must not change: a later `cancel` of this node finds it decided.
                return self.inherit(seen);
            }
            if seen.hops() == 0 {
                break;
            }
            above = node.up.parent();
        }
        word
    }

    /// Decides it with the cause of an ancestor's decided word; the word that stands then.
    pub(crate) fn inherit(&self, from: Word) -> Word {
        if !self.load().has(DECIDED) {
            // SAFETY: the ancestor is alive, since it is ours, and its payload stays.
            let cause = unsafe { Packed::copied(from.payload()) };
            let _ = self.decide(cause, true);
        }
        self.load()
    }

    /// Decides it, or leaves the cause with the permit that is out.
    pub(crate) fn decide(&self, cause: Packed, inherited: bool) -> Outcome {
        let mut seen = self.load();
        loop {
            if seen.has(DECIDED) {
                return Outcome::Lost(seen);
            }
            let pending = seen.has(RESERVED);
            if pending && !seen.payload().is_null() {
                return Outcome::Pending;
            }
            let to = if pending {
                seen.pending(cause.raw())
            } else {
                seen.decided(cause.raw(), inherited)
            };
            match self.exchange(seen, to) {
                Ok(()) => {
                    cause.into_raw();
                    return if pending {
                        Outcome::Pending
                    } else {
                        Outcome::Won(to)
                    };
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Puts `entry` in the list; the decided word if it is too late.
    ///
    /// # Safety
    ///
    /// `entry` lives and is in no list, and does not die before it is taken out.
    pub(crate) unsafe fn register(&self, entry: Entry) -> Result<(), Word> {
        self.settle()?;
        let mut list = self.list.lock();
        self.open()?;
        // SAFETY: the caller's promise.
        unsafe { list.push(entry) };
        Ok(())
    }

    /// Sets REGS. The list's lock is held.
    fn open(&self) -> Result<(), Word> {
        let mut seen = self.load();
        loop {
            if seen.has(DECIDED) {
                return Err(seen);
            }
            if seen.has(REGS) {
                return Ok(());
            }
            match self.exchange(seen, seen.with(REGS)) {
                Ok(()) => return Ok(()),
                Err(now) => seen = now,
            }
        }
    }

    /// Takes a lazy node into its parent's list, and the parents above it first.
    pub(crate) fn settle(&self) -> Result<(), Word> {
        let word = self.load();
        if word.has(DECIDED) {
            return Err(word);
        }
        let (false, Some(parent)) = (word.hops() == 0, self.up.parent()) else {
            return Ok(());
        };
        // As deep as there are hops: the parent is one nearer to a node that is settled.
        if let Err(above) = parent.settle() {
            return Err(self.inherit(above));
        }
        let mut list = parent.list.lock();
        if let Err(above) = parent.open() {
            drop(list);
            return Err(self.inherit(above));
        }
        let mut seen = self.load();
        // By another call meanwhile; if it was then decided, it may still be in the list (model settle_decided).
        let settled = seen.hops() == 0;
        if settled {
            return if seen.has(DECIDED) { Err(seen) } else { Ok(()) };
        }
        let entry = Entry::new(std::ptr::from_ref(self), Kind::Child);
        // SAFETY: the node is in no list, and leaves this one before it is freed.
        unsafe { list.push(entry) };
        loop {
            if seen.has(DECIDED) {
                // SAFETY: it was put in under this same lock.
                unsafe { list.unlink(entry) };
                return Err(seen);
            }
            match self.exchange(seen, seen.without(HOPS)) {
                Ok(()) => return Ok(()),
                Err(now) => seen = now,
            }
        }
    }

    /// Whether something without a count may reach it: a list that it is in.
    fn is_reachable(&self) -> bool {
        if self.up.is_ext() {
            return true;
        }
        let word = self.load();
        let linked = if word.has(DECIDED) {
            word.has(LINKED)
        } else {
            word.hops() == 0
        };
        linked && self.up.parent().is_some()
    }

    /// Takes it out of every list that it may be in. Nobody holds a count.
    fn leave(&self) {
        if self.is_reachable() {
            if let Some(parent) = self.up.parent() {
                let entry = Entry::new(std::ptr::from_ref(self), Kind::Child);
                // SAFETY: it is alive, and in this list or in none.
                unsafe { parent.list.lock().unlink(entry) };
            }
            for input in self.up.inputs() {
                let entry = Entry::new(std::ptr::from_ref(input), Kind::Input);
                // SAFETY: as above.
                unsafe { input.parent.list.lock().unlink(entry) };
            }
            if let Some(timed) = self.up.timed() {
                timed.forget();
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What is left are callbacks that were to be kept: waiters and children hold a count.
        while let Some(entry) = self.list.get_mut().first() {
            debug_assert_eq!(entry.kind(), Kind::Callback);
            // SAFETY: it is in the list, which is ours alone.
            unsafe {
                self.list.get_mut().unlink(entry);
                drop(Callback::from_entry(entry));
            }
        }
        // SAFETY: the word owned it, and is read no more.
        drop(unsafe { Packed::from_word(self.load().payload()) });
    }
}

/// A counted reference.
pub(crate) struct NodeRef(NonNull<Node>);

// SAFETY: what a node holds is `Send` and `Sync`, or touched under its locks only.
unsafe impl Send for NodeRef {}
// SAFETY: as above.
unsafe impl Sync for NodeRef {}

impl NodeRef {
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
            }
            next = next.or_else(|| rest.pop());
        }
    }
}
