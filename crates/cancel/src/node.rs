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

use std::ptr::NonNull;

use evenkeel_sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use evenkeel_sync::{Mutex, Tracked};

use crate::Cause;
use crate::counted::NodeRef;
use crate::deadline::Deadline;
use crate::foreign;
use crate::list::{Entry, Kind, Link, List};
use crate::up::{Ext, Input, Up};
use crate::wait::{Callback, Waiter};
use crate::word::{Custom, DECIDED, HOPS, LINKED, Packed, REGS, RESERVED, Word};

/// A node is at most this far from the nearest ancestor that answers for all above it.
const MOST_HOPS: usize = 2;

#[repr(C)]
pub(crate) struct Node {
    /// In the parent's list; first, so that a pointer to it is one to the node.
    link: Link,
    word: AtomicPtr<Custom>,
    pub(crate) refs: AtomicUsize,
    pub(crate) up: Up,
    pub(crate) list: Mutex<List>,
    /// The earliest of the own and all inherited ones.
    pub(crate) deadline: Deadline,
    _tracked: Tracked,
}

// SAFETY: the links are touched under the locks that guard them, the way up never changes, the rest is `Sync`.
unsafe impl Sync for Node {}

/// It is decided: nothing is registered with it any more.
pub(crate) struct TooLate;

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
        let node = NodeRef::new(Self {
            link: Link::new(),
            word: AtomicPtr::new(Word::live(hops.min(MOST_HOPS + 1)).0),
            refs: AtomicUsize::new(1),
            up,
            list: Mutex::new(List::new()),
            deadline,
            _tracked: Tracked::new(),
        });
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
            input.adopt(node.as_raw());
            let entry = Entry::new(std::ptr::from_ref(input), Kind::Input);
            // SAFETY: the input lives as long as the node, which takes it out of the list when it is freed.
            if unsafe { input.parent.register(entry) }.is_err() {
                node.inherit(&input.parent);
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
        if self.is_decided() {
            return self.own_cause();
        }
        None
    }

    /// The cause in its own word; none if it is live, or a claim that was committed.
    pub(crate) fn own_cause(&self) -> Option<Cause> {
        let word = self.load();
        if !word.has(DECIDED) {
            return None;
        }
        // SAFETY: decided, so the payload stays while the node is alive.
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
                return self.inherit(node);
            }
            if seen.hops() == 0 {
                break;
            }
            above = node.up.parent();
        }
        word
    }

    /// The highest ancestor whose deadline is this node's.
    pub(crate) fn timed_out(&self) -> &Self {
        let mut owner = self;
        loop {
            let same = |above: &&Self| above.deadline == self.deadline;
            let several = owner.up.inputs().iter().map(|input| &*input.parent);
            let Some(above) = owner.up.parent().into_iter().chain(several).find(same) else {
                return owner;
            };
            owner = above;
        }
    }

    /// Decides it with the cause of `from`, which is decided; the word that stands then.
    pub(crate) fn inherit(&self, from: &Self) -> Word {
        let word = self.load();
        if word.has(DECIDED) {
            return word;
        }
        // SAFETY: decided, so the payload stays while the node is alive.
        let cause = unsafe { Packed::copied(from.load().payload()) };
        match self.decide(cause, true) {
            Outcome::Won(word) | Outcome::Lost(word) => word,
            Outcome::Pending => self.load(),
        }
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

    /// Sets REGS. The list's lock is held.
    pub(crate) fn open(&self) -> Result<(), TooLate> {
        let mut seen = self.load();
        loop {
            if seen.has(DECIDED) {
                return Err(TooLate);
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

    /// [`NodeRef::settle`].
    ///
    /// # Safety
    ///
    /// The caller has a count of the node, and `raw` is its pointer as it was born: the list keeps it, for whoever may have to free it.
    pub(crate) unsafe fn settle(raw: NonNull<Self>) -> Result<(), TooLate> {
        // SAFETY: the caller's count keeps it alive.
        let this = unsafe { raw.as_ref() };
        let word = this.load();
        if word.has(DECIDED) {
            return Err(TooLate);
        }
        let (false, Some(above)) = (word.hops() == 0, this.up.parent_raw()) else {
            return Ok(());
        };
        // As deep as there are hops: the parent is one nearer to a node that is settled.
        // SAFETY: the node has a count of its parent.
        let (parent, settled) = unsafe { (above.as_ref(), Self::settle(above)) };
        if settled.is_err() {
            this.inherit(parent);
            return Err(TooLate);
        }
        let mut list = parent.list.lock();
        if parent.open().is_err() {
            drop(list);
            this.inherit(parent);
            return Err(TooLate);
        }
        let mut seen = this.load();
        // By another call meanwhile; if it was then decided, it may still be in the list (model settle_decided).
        let settled = seen.hops() == 0;
        if settled {
            return if seen.has(DECIDED) {
                Err(TooLate)
            } else {
                Ok(())
            };
        }
        let entry = Entry::new(raw.as_ptr(), Kind::Child);
        // SAFETY: the node is in no list, and leaves this one before it is freed.
        unsafe { list.push(entry) };
        loop {
            if seen.has(DECIDED) {
                // SAFETY: it was put in under this same lock.
                unsafe { list.unlink(entry) };
                return Err(TooLate);
            }
            match this.exchange(seen, seen.without(HOPS)) {
                Ok(()) => return Ok(()),
                Err(now) => seen = now,
            }
        }
    }

    /// Whether something without a count may reach it: a list that it is in.
    pub(crate) fn is_reachable(&self) -> bool {
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

    /// Whether code of others runs when it is freed. What is left in its list are callbacks, and waiters whose futures were
    /// forgotten.
    pub(crate) fn owns_foreign(&mut self) -> bool {
        !self.list.get_mut().is_empty() || self.load().is_custom()
    }

    /// Takes it out of every list that it may be in. Nobody holds a count.
    pub(crate) fn leave(&self) {
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
        // A destructor that panics stops neither the next one nor whoever has dropped the last handle.
        while let Some(entry) = self.list.get_mut().first() {
            // SAFETY: it is in the list, which is ours alone.
            unsafe { self.list.get_mut().unlink(entry) };
            match entry.kind() {
                Kind::Callback => {
                    // SAFETY: it is out of the list.
                    let callback = unsafe { Callback::from_entry(entry) };
                    foreign::shielded(move || drop(callback));
                }
                Kind::Waiter => {
                    // SAFETY: it was pinned, so it still lives though its future was forgotten; `&mut self` is the list's lock.
                    let waker = unsafe { (*entry.owner::<Waiter>()).take() };
                    foreign::shielded(move || drop(waker));
                }
                Kind::Child | Kind::Input => unreachable!("children hold a count"),
            }
        }
        // SAFETY: the word owned it, and is read no more.
        let cause = unsafe { Packed::from_word(self.load().payload()) };
        foreign::shielded(move || drop(cause));
    }
}
