//! The queue of deadlines of one runtime. It knows ticks, not time: the shell reads the clock.
//!
//! # Protocol
//!
//! A node with a deadline of its own is in the list of its tick. The entry counts for nothing: it is found under the
//! queue's lock, where the node cannot be freed, and cancelled only if it still has a count. *Why no deadline is slept
//! over*: the driver leaves its waker and reads the next tick in one hold of the lock, and who puts in an earlier one
//! takes that waker in the same hold.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::task::Waker;

use evenkeel_sync::{Arc, Mutex};

use crate::Cause;
use crate::list::{Entry, Kind, Link, List};
use crate::node::{Node, NodeRef};
use crate::sweep;
use crate::word::Packed;

/// So many deadlines are taken in one hold of the lock.
const BATCH: usize = 32;

pub(crate) type Tick = u64;

/// What a node with a deadline of its own has besides.
#[repr(C)]
pub(crate) struct Timed {
    link: Link,
    /// Written once, before it is in the queue.
    owner: Cell<Option<NonNull<Node>>>,
    tick: Tick,
    queue: Arc<Queue>,
    pub(crate) parent: NodeRef,
}

impl Timed {
    pub(crate) fn new(parent: NodeRef, queue: Arc<Queue>, tick: Tick) -> Self {
        Self {
            link: Link::new(),
            owner: Cell::new(None),
            tick,
            queue,
            parent,
        }
    }

    fn entry(&self) -> Entry {
        Entry::new(std::ptr::from_ref(self), Kind::Input)
    }

    /// Puts it in the queue, and wakes the driver if it is the earliest; false if the queue is closed.
    pub(crate) fn enqueue(&self, owner: NonNull<Node>) -> bool {
        self.owner.set(Some(owner));
        let mut state = self.queue.state.lock();
        if state.closed {
            return false;
        }
        let list = state.slots.entry(self.tick).or_insert_with(List::new);
        // SAFETY: it lives in its node, which calls `forget` before it is freed.
        unsafe { list.push(self.entry()) };
        let waker = (self.tick < state.next).then(|| {
            state.next = self.tick;
            state.driver.take()
        });
        drop(state);
        if let Some(Some(waker)) = waker {
            waker.wake();
        }
        true
    }

    /// Takes it out of the queue, if it is in.
    pub(crate) fn forget(&self) {
        let mut state = self.queue.state.lock();
        if let Some(list) = state.slots.get_mut(&self.tick) {
            // SAFETY: it is alive, and in the list of its tick or in none.
            unsafe { list.unlink(self.entry()) };
            if list.first().is_none() {
                state.slots.remove(&self.tick);
            }
        }
    }
}

pub(crate) struct Queue {
    state: Mutex<State>,
}

struct State {
    slots: BTreeMap<Tick, List>,
    /// The driver, while it sleeps.
    driver: Option<Waker>,
    /// What the driver sleeps until.
    next: Tick,
    closed: bool,
}

impl Queue {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                slots: BTreeMap::new(),
                driver: None,
                next: Tick::MAX,
                closed: false,
            }),
        })
    }

    /// Cancels all that is due at `now`, and leaves `driver` to be woken for what comes before the returned tick.
    pub(crate) fn turn(&self, now: Tick, driver: &Waker) -> Option<Tick> {
        let mut replaced = None;
        let mut due = Vec::with_capacity(BATCH);
        loop {
            let mut state = self.state.lock();
            state.take_due(now, &mut due);
            if due.is_empty() {
                let next = state.slots.keys().next().copied();
                state.next = next.unwrap_or(Tick::MAX);
                if !state
                    .driver
                    .as_ref()
                    .is_some_and(|known| known.will_wake(driver))
                {
                    replaced = state.driver.replace(driver.clone());
                }
                drop(state);
                drop(replaced);
                return next;
            }
            drop(state);
            for node in due.drain(..) {
                sweep::cancel(&node, Packed::new(Cause::Timeout));
            }
        }
    }

    /// Cancels all that is in the queue, since nobody will drive it any more. What comes later is refused.
    pub(crate) fn close(&self) {
        let mut due = Vec::with_capacity(BATCH);
        loop {
            let mut state = self.state.lock();
            state.closed = true;
            let driver = state.driver.take();
            state.take_due(Tick::MAX, &mut due);
            drop(state);
            drop(driver);
            if due.is_empty() {
                return;
            }
            for node in due.drain(..) {
                sweep::cancel(&node, Packed::new(Cause::Shutdown));
            }
        }
    }
}

impl State {
    fn take_due(&mut self, now: Tick, due: &mut Vec<NodeRef>) {
        while due.len() < BATCH {
            let Some(mut slot) = self.slots.first_entry().filter(|slot| *slot.key() <= now) else {
                return;
            };
            let Some(entry) = slot.get().first() else {
                slot.remove();
                continue;
            };
            // SAFETY: it is in the queue, so it is alive while the lock is held, and had its owner before.
            let node = unsafe {
                slot.get_mut().unlink(entry);
                (*entry.owner::<Timed>())
                    .owner
                    .get()
                    .and_then(|node| NodeRef::upgrade(node))
            };
            due.extend(node);
        }
    }
}
