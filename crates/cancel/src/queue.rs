//! The queue of deadlines of one runtime. It knows ticks, not time: that is the [`Alarm`]'s.
//!
//! # Protocol
//!
//! A node with a deadline of its own is in the list of its tick. The entry counts for nothing: it is found under the
//! queue's lock, where the node cannot be freed, and cancelled only if it still has a count.
//!
//! *Why no deadline is slept over*: `next` is what the alarm is to be set to. Whoever changes it, under the queue's lock, sets the
//! alarm afterwards, and reads `next` anew while holding that; so whoever sets it last sets what stands. The driver reads no
//! `next` of its own: it waits for the alarm, wherever that is set to.
//!
//! Who puts in the earliest deadline sets the alarm and does not wake the driver for it: what a task wakes is run by its worker
//! after that task, so a task that computes would hold up the deadlines of all.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::task::{Context, Poll, ready};

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
    fn set(&mut self, to: Tick);
    /// Ready when the tick that it is set to is over; else the task is woken then, or when a tick is that it was set to meanwhile.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
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

    fn rearm(&self) {
        let mut alarm = self.alarm.lock();
        let next = self.state.lock().next;
        alarm.set(next);
    }

    /// Cancels what is due, whenever the alarm goes off. Never ready.
    pub(crate) fn drive(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = self.alarm.lock().now();
            self.turn(now);
            self.rearm();
            ready!(self.alarm.lock().poll(cx));
        }
    }

    /// Cancels what is due at `now`; of more than a batch the rest is for the next turn, so that the driver can let others have theirs.
    fn turn(&self, now: Tick) {
        let mut due = Vec::with_capacity(BATCH);
        let mut state = self.state.lock();
        state.take_due(now, &mut due);
        state.next = state.slots.keys().next().copied().unwrap_or(Tick::MAX);
        drop(state);
        for node in due {
            sweep::cancel(&node, Packed::new(Cause::Timeout));
        }
    }

    /// Cancels all that is in the queue, since nobody will drive it any more. What comes later is refused.
    pub(crate) fn close(&self) {
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
