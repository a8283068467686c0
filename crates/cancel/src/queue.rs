//! The queue of deadlines of one runtime. It knows ticks, not time: that is the [`Alarm`]'s.
//!
//! # Protocol
//!
//! A node with a deadline of its own is in the list of its tick. The entry counts for nothing: it is found under the
//! queue's lock, where the node cannot be freed, and cancelled only if it still has a count.
//!
//! *Why no deadline is slept over*: `next` is what the alarm is to be set to. Whoever changes it, under the queue's lock, sets the
//! alarm afterwards, and reads `next` anew while holding that; so whoever sets it last sets what stands. When the alarm goes off,
//! [`Queue::ring`] is called once, which takes what is due and sets the alarm to what is next.
//!
//! Who puts in the earliest deadline sets the alarm itself. A task woken to do so would be run by the same worker, after the task
//! that woke it, and one that computes would hold up the deadlines of all.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ptr::NonNull;

use evenkeel_sync::{Arc, Mutex};

use crate::Cause;
use crate::counted::NodeRef;
use crate::list::{Entry, Kind, Link, List};
use crate::node::Node;
use crate::sweep::{self, BATCH};
use crate::word::Packed;

pub(crate) type Tick = u64;

/// The time of the runtime: one timer.
pub(crate) trait Alarm: Send {
    /// The last tick that is over.
    fn now(&self) -> Tick;
    /// Goes off when `to` is over, unless it is set anew before; never, for [`Tick::MAX`].
    fn set(&mut self, to: Tick);
    /// Goes off no more, whatever it is set to.
    fn stop(&mut self);
}

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

    /// Puts it in the queue, and sets the alarm if it is the earliest; false if the queue is closed.
    pub(crate) fn enqueue(&self, owner: NonNull<Node>) -> bool {
        self.owner.set(Some(owner));
        let mut state = self.queue.state.lock();
        if state.closed {
            return false;
        }
        let list = state.slots.entry(self.tick).or_insert_with(List::new);
        // SAFETY: it lives in its node, which calls `forget` before it is freed.
        unsafe { list.push(self.entry()) };
        let earliest = self.tick < state.next;
        if earliest {
            state.next = self.tick;
        }
        drop(state);
        if earliest {
            self.queue.rearm();
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
    /// Locked before the state.
    alarm: Mutex<Box<dyn Alarm>>,
}

struct State {
    slots: BTreeMap<Tick, List>,
    /// What the alarm is, or is about to be, set to.
    next: Tick,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(alarm: Box<dyn Alarm>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                slots: BTreeMap::new(),
                next: Tick::MAX,
                closed: false,
            }),
            alarm: Mutex::new(alarm),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    fn rearm(&self) {
        let mut alarm = self.alarm.lock();
        let next = self.state.lock().next;
        alarm.set(next);
    }

    /// Cancels a batch of what is due. True if there may be more, for which this is to be called again, when others have had their
    /// turn.
    pub(crate) fn ring(&self) -> bool {
        let now = self.alarm.lock().now();
        let mut due = Vec::with_capacity(BATCH);
        let mut state = self.state.lock();
        state.take_due(now, &mut due);
        state.next = state.slots.keys().next().copied().unwrap_or(Tick::MAX);
        drop(state);
        let full = due.len() == BATCH;
        for node in due {
            sweep::cancel(&node, Packed::new(Cause::Timeout));
        }
        if !full {
            self.rearm();
        }
        full
    }

    /// Cancels all that is in the queue, since nobody will drive it any more. What comes later is refused.
    pub(crate) fn close(&self) {
        self.alarm.lock().stop();
        let mut due = Vec::with_capacity(BATCH);
        loop {
            let mut state = self.state.lock();
            state.closed = true;
            state.take_due(Tick::MAX, &mut due);
            drop(state);
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
