//! What registers with a node to be told: wakers of futures, and callbacks.

use std::cell::Cell;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll, RawWakerVTable, Waker};

use evenkeel_sync::{Arc, UnsafeCell};

use crate::Cause;
use crate::counted::NodeRef;
use crate::foreign::{self, Job};
use crate::list::{Entry, Kind, Link};

/// The entry of a future; a part of the future itself.
#[repr(C)]
pub(crate) struct Waiter {
    link: Link,
    /// Guarded by the lock of the node's list while the entry is in it.
    waker: UnsafeCell<Option<Waker>>,
    _pinned: PhantomPinned,
}

impl Waiter {
    /// Takes its waker, under the lock of the list that it was in.
    ///
    /// # Safety
    ///
    /// The lock of the list is held.
    pub(crate) unsafe fn take(&self) -> Option<Waker> {
        // SAFETY: the lock makes the access exclusive.
        self.waker.with_mut(|waker| unsafe { (*waker).take() })
    }
}

/// What a future that waits for a node keeps between its polls.
pub(crate) struct Wait {
    waiter: Waiter,
    /// Which waker is registered, to know it again without the lock.
    known: Cell<Option<(*const (), &'static RawWakerVTable)>>,
}

// SAFETY: the pointer in `known` is compared, never followed; the waiter is touched under the list's lock.
unsafe impl Send for Wait {}
// SAFETY: as above; `known` changes only through `Pin<&mut _>` of the future that it is in.
unsafe impl Sync for Wait {}

impl Wait {
    pub(crate) fn new() -> Self {
        Self {
            waiter: Waiter {
                link: Link::new(),
                waker: UnsafeCell::new(None),
                _pinned: PhantomPinned,
            },
            known: Cell::new(None),
        }
    }

    fn entry(&self) -> Entry {
        Entry::new(std::ptr::from_ref(&self.waiter), Kind::Waiter)
    }

    /// The node is decided, or the waker is registered.
    ///
    /// # Safety
    ///
    /// Called by one thread at a time, always with the same `node`, and [`Wait::leave`] is called before `self` dies.
    pub(crate) unsafe fn poll(self: Pin<&Self>, node: &NodeRef, cx: &Context<'_>) -> Poll<()> {
        if node.is_decided() {
            return Poll::Ready(());
        }
        let waker = cx.waker();
        let identity = Some((waker.data(), waker.vtable()));
        if self.known.get() == identity {
            return Poll::Pending;
        }
        let mut waker = Some(waker.clone());
        if self.known.get().is_some() {
            let list = node.list.lock();
            // SAFETY: the lock makes the access exclusive.
            let registered = self.waiter.waker.with_mut(|place| unsafe {
                let registered = (*place).is_some();
                if registered {
                    waker = std::mem::replace(&mut *place, waker.take());
                }
                registered
            });
            drop(list);
            if !registered {
                // Taken by a canceller, who has decided the node before.
                return Poll::Ready(());
            }
        } else {
            // SAFETY: the entry is in no list, so this is the only access; it leaves the list before it dies.
            unsafe {
                self.waiter.waker.with_mut(|place| *place = waker.take());
                if node.register(self.entry()).is_err() {
                    return Poll::Ready(());
                }
            }
        }
        self.known.set(identity);
        Poll::Pending
    }

    /// Takes the entry out of the node's list, if it is in.
    ///
    /// # Safety
    ///
    /// `node` is the one that it was polled with.
    pub(crate) unsafe fn leave(&self, node: &NodeRef) {
        if self.known.get().is_some() {
            let mut list = node.list.lock();
            // SAFETY: it is in this list or in none; the lock makes the access exclusive.
            let waker = unsafe {
                list.unlink(self.entry());
                self.waiter.take()
            };
            drop(list);
            // Dropping a waker is foreign code.
            drop(waker);
        }
    }
}

type Call = Box<dyn FnOnce(Cause) + Send>;

/// A function to be called with the cause. The list has a count of it, and so has the registration.
#[repr(C)]
pub(crate) struct Callback {
    link: Link,
    /// The cause, from when a canceller has taken it out of the node's list. Written under the lock of that list.
    claimed: UnsafeCell<Option<Cause>>,
    /// Touched by who took it out of the node's list.
    call: UnsafeCell<Option<Call>>,
}

// SAFETY: `call` is `Send`, and all fields are touched by one thread at a time, as their comments say.
unsafe impl Send for Callback {}
// SAFETY: as above.
unsafe impl Sync for Callback {}

impl Callback {
    pub(crate) fn new(call: Call) -> Arc<Self> {
        Arc::new(Self {
            link: Link::new(),
            claimed: UnsafeCell::new(None),
            call: UnsafeCell::new(Some(call)),
        })
    }

    /// Registers it, or calls it at once if it is too late; whether it was registered.
    pub(crate) fn register(this: &Arc<Self>, node: &NodeRef) -> bool {
        let entry = Entry::new(Arc::into_raw(Arc::clone(this)), Kind::Callback);
        // SAFETY: the list's count keeps it alive.
        if unsafe { node.register(entry) }.is_err() {
            // SAFETY: it is in no list, so it is ours, with the count just made.
            let callback = unsafe {
                this.claim(node.own_cause());
                Self::from_entry(entry)
            };
            foreign::shielded(move || callback.run());
            return false;
        }
        true
    }

    /// Takes over the list's count of it.
    ///
    /// # Safety
    ///
    /// `entry` is a callback that the caller has taken out of the node's list.
    pub(crate) unsafe fn from_entry(entry: Entry) -> Arc<Self> {
        // SAFETY: `register` made the entry from `Arc::into_raw`.
        unsafe { Arc::from_raw(entry.owner()) }
    }

    /// Makes it the caller's, with the cause of its node.
    ///
    /// # Safety
    ///
    /// The caller has taken it out of the list of its node, under the lock.
    pub(crate) unsafe fn claim(&self, cause: Option<Cause>) {
        // SAFETY: under the lock.
        self.claimed.with_mut(|claimed| unsafe { *claimed = cause });
    }

    /// Calls it. Whoever has claimed it does so, once.
    pub(crate) fn run(&self) {
        // SAFETY: only who claimed it touches `call`, and `claimed` is not written again.
        let (call, cause) = unsafe {
            (
                self.call.with_mut(|call| (*call).take()),
                self.claimed.with(|claimed| (*claimed).clone()),
            )
        };
        if let (Some(call), Some(cause)) = (call, cause) {
            call(cause);
        }
    }

    /// Takes it out of the node's list; false if a canceller has done so before.
    pub(crate) fn stop(this: Arc<Self>, node: &NodeRef) -> bool {
        let entry = Entry::new(Arc::as_ptr(&this), Kind::Callback);
        let mut list = node.list.lock();
        // SAFETY: under the lock.
        let claimed = this.claimed.with(|claimed| unsafe { (*claimed).is_some() });
        if claimed {
            return false;
        }
        // SAFETY: not claimed, so it is in this list, or was stopped before.
        let linked = unsafe { list.unlink(entry) };
        drop(list);
        if linked {
            // SAFETY: it was in the list, and the list's count is ours now.
            drop(unsafe { Self::from_entry(entry) });
            foreign::run(Job::Drop(this));
        }
        linked
    }
}
