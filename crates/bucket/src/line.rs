//! The line of waiters at a bucket: who is next, and how everybody else learns it. What a waiter does is in `waiter.rs`.
//!
//! # Protocol
//!
//! A waiter holds nothing but a place, in the line of each bucket that has held it up so far. It has one ticket for all
//! of them, so whoever has the lowest ticket stands at the head of every line it is in: there is no cycle, and it is
//! served as soon as its buckets have enough. It takes for itself, when it is polled and stands at the head.
//!
//! - A line is changed under its mutex. A waiter that stands in several takes their mutexes in the order of ids.
//! - While somebody is in line, the counter's `QUEUED` bit sends newcomers to the end of it; it is set before the waiter
//!   that set it looks at the counter for the last time, so a refund comes before that look or sees the bit and wakes.
//! - Whoever leaves the head, granted or not, wakes the next. Everybody also has a timer, `GRACE` after the moment by
//!   which all before it should have been served; so a chain of wake-ups that ends at a waiter nobody polls any more
//!   goes on. The one whose timer fires calls a head that has been due for `GRACE`, since that one's timer may not have
//!   been kept up, and passes over a head that has not come for so long after it was called. Who was passed over finds
//!   itself without a place when it is polled again, and takes it again by its old ticket. A try that is refused because
//!   of the line does the same, since it may be that nobody else comes any more.
//! - Where the line moves up earlier than those timers say, by a refund or since somebody gave up, the second is woken
//!   besides the head, and sets its own by the head's. If both are forgotten, the rest comes by its old timers.
//! - The timer is that of the lines in which the waiter stands, no other: what happens at a gate in whose line it does not
//!   stand does not wake it, so it must not wait for that gate.

use std::collections::BTreeMap;
use std::task::Waker;

use evenkeel_sync::atomic::{AtomicU64, Ordering::Relaxed};
use evenkeel_sync::{Arc, Mutex};

use crate::counter::Counter;
use crate::scale::Scale;
use crate::several::Counted;
use crate::{Level, Rate};

/// A waiter's lateness up to this is made good, in nanoseconds: tokio's timer ticks in milliseconds.
pub(crate) const LATE: u64 = 3_000_000;

/// A head that has been due for so long without taking is called, and passed over if it does not come for as long again.
pub(crate) const GRACE: u64 = 3_000_000;

/// Behind every ticket.
const END: u64 = u64::MAX;

/// A counter and its line.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) id: u64,
    pub(crate) counter: Counter,
    pub(crate) line: Mutex<Line>,
    /// How late the last waiter was served: a hint, each use of which is bounded by [`LATE`] and by the moment at which
    /// the counter has enough.
    late: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Line {
    waiting: BTreeMap<u64, Place>,
    /// Tokens that all in line ask for.
    total: u128,
    /// When tokens were last given back to those in line, or their price changed: nothing fell due before that.
    pub(crate) refunded: u64,
    limit: Limit,
}

/// What a bucket was asked to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) rate: Rate,
    pub(crate) depth: u32,
}

/// What must not happen under a line's mutex, since a waker is foreign code: waking, and dropping wakers. Nor is one cloned
/// there: a waiter clones its own before it takes a mutex, and the lines share that.
#[derive(Default)]
pub(crate) struct After {
    wake: Vec<Arc<Waker>>,
    gone: Vec<Arc<Waker>>,
}

impl After {
    pub(crate) fn run(self) {
        self.wake.iter().for_each(|waker| waker.wake_by_ref());
        drop(self.gone);
    }
}

#[derive(Debug)]
struct Place {
    n: u64,
    waker: Arc<Waker>,
    /// When it will come by itself, or was called to come.
    until: u64,
    called: bool,
}

/// What is due then is not had before the head has come; `None` if only a wake-up brings that one.
pub(crate) fn after_head(due: u64, head: Option<u64>) -> Option<u64> {
    let due = due.max(head.unwrap_or(0));
    (due != u64::MAX).then_some(due)
}

impl Counted for Arc<Gate> {
    fn counter(&self) -> &Counter {
        &self.counter
    }
}

impl Gate {
    /// A full bucket.
    pub(crate) fn new(id: u64, limit: Limit, now: u64) -> Self {
        let scale = Scale::new(limit.rate, limit.depth);
        Self::with(id, limit, Counter::new(scale, now))
    }

    pub(crate) fn with(id: u64, limit: Limit, counter: Counter) -> Self {
        Self {
            id,
            counter,
            line: Mutex::new(Line {
                waiting: BTreeMap::new(),
                total: 0,
                refunded: 0,
                limit,
            }),
            late: AtomicU64::new(0),
        }
    }

    pub(crate) fn limit(&self) -> Limit {
        self.line.lock().limit
    }

    /// Another rate or depth; everybody in line plans anew.
    pub(crate) fn replan(&self, change: impl FnOnce(&mut Limit), now: u64) {
        let mut after = After::default();
        let mut line = self.line.lock();
        change(&mut line.limit);
        let Limit { rate, depth } = line.limit;
        self.counter.replan(Scale::new(rate, depth), now);
        line.refunded = line.refunded.max(now);
        for place in line.waiting.values_mut() {
            (place.until, place.called) = (now, true);
            after.wake.push(Arc::clone(&place.waker));
        }
        drop(line);
        after.run();
    }

    /// When `n` tokens would be had from the end of the line, without those whose time was up; `None`: never.
    pub(crate) fn estimate(&self, n: u64, now: u64) -> Option<u64> {
        let mut after = After::default();
        let mut line = self.line.lock();
        line.is_behind(END, &self.counter, now, &mut after);
        let (total, head) = (line.total, line.head_until(END));
        drop(line);
        after.run();
        let due = self.due_after(total, n, now)?;
        after_head(due, head)
    }

    pub(crate) fn due_after(&self, ahead: u128, n: u64, now: u64) -> Option<u64> {
        let (spent, plan) = self.counter.look(now);
        let price = (ahead + u128::from(n)).saturating_mul(plan.scale.cost.into());
        plan.due(spent, price).map(|due| due.max(now))
    }

    /// What the counter holds.
    pub(crate) fn level(&self, now: u64) -> Level {
        let (spent, plan) = self.counter.look(now);
        Level::of(&plan, spent, now)
    }

    /// Gives tokens back and tells the head of the line.
    pub(crate) fn refund(&self, n: u64, now: u64) {
        if self.counter.refund(n) {
            self.tell_refund(now);
        }
    }

    /// Tells the head of the line that tokens were given back.
    pub(crate) fn tell_refund(&self, now: u64) {
        let mut after = After::default();
        let mut line = self.line.lock();
        line.refunded = line.refunded.max(now);
        line.call(true, now, &mut after);
        drop(line);
        after.run();
    }

    pub(crate) fn late(&self) -> u64 {
        // ORDERING: Relaxed; a hint that publishes nothing.
        self.late.load(Relaxed)
    }

    pub(crate) fn note_late(&self, late: u64) {
        if self.late() != late {
            // ORDERING: Relaxed; a hint that publishes nothing.
            self.late.store(late, Relaxed);
        }
    }
}

impl Line {
    /// The head, which is expected to come from now on.
    fn call_head(&mut self, now: u64) -> Option<Arc<Waker>> {
        let mut head = self.waiting.first_entry()?;
        let place = head.get_mut();
        (place.until, place.called) = (now, true);
        Some(Arc::clone(&place.waker))
    }

    /// Calls the head. If the line has moved up early, the second is woken too: its timer is later than it now need be, and
    /// the head may be forgotten.
    fn call(&mut self, early: bool, now: u64, after: &mut After) {
        after.wake.extend(self.call_head(now));
        let second = self.waiting.values().nth(1).filter(|_| early);
        after.wake.extend(second.map(|at| Arc::clone(&at.waker)));
    }

    pub(crate) fn ahead_of(&self, ticket: u64) -> u128 {
        match self.waiting.last_key_value() {
            Some((&last, _)) if last < ticket => self.total,
            Some((&last, place)) if last == ticket => self.total - u128::from(place.n),
            _ => {
                let before = self.waiting.range(..ticket);
                before.map(|(_, place)| u128::from(place.n)).sum()
            }
        }
    }

    fn head_before(&self, ticket: u64) -> Option<(u64, &Place)> {
        let (&head, place) = self.waiting.first_key_value()?;
        (head < ticket).then_some((head, place))
    }

    /// When `ticket` was to come, if it stands here.
    pub(crate) fn expected(&self, ticket: u64) -> Option<u64> {
        self.waiting.get(&ticket).map(|place| place.until)
    }

    /// If there is a head before `ticket`: when it will come.
    pub(crate) fn head_until(&self, ticket: u64) -> Option<u64> {
        self.head_before(ticket).map(|(_, head)| head.until)
    }

    /// If there is a head before `ticket`: when its time is up.
    pub(crate) fn patience(&self, ticket: u64) -> Option<u64> {
        let until = self.head_until(ticket)?;
        Some(until.saturating_add(GRACE))
    }

    /// Whether somebody stands before `ticket`, after those whose time is up have been called, or passed over.
    pub(crate) fn is_behind(
        &mut self,
        ticket: u64,
        counter: &Counter,
        now: u64,
        after: &mut After,
    ) -> bool {
        while let Some((head, at)) = self.head_before(ticket) {
            if at.until.saturating_add(GRACE) > now {
                return true;
            }
            if at.called {
                self.leave(head, counter, now, after);
            } else {
                let head = self.call_head(now);
                after.wake.extend(head);
            }
        }
        false
    }

    pub(crate) fn holds(&self, ticket: u64) -> bool {
        self.waiting.contains_key(&ticket)
    }

    /// Gives `ticket` the place it belongs to, unless it is there.
    pub(crate) fn enter(&mut self, ticket: u64, n: u64, counter: &Counter, waker: &Arc<Waker>) {
        if self.holds(ticket) {
            return;
        }
        if self.waiting.is_empty() {
            counter.set_queued(true);
        }
        self.total += u128::from(n);
        let place = Place {
            n,
            waker: Arc::clone(waker),
            until: u64::MAX,
            called: false,
        };
        self.waiting.insert(ticket, place);
    }

    /// Notes when `ticket` will come by itself, if it stands here, and how to call it before.
    pub(crate) fn expect(
        &mut self,
        ticket: u64,
        until: u64,
        waker: &Arc<Waker>,
        after: &mut After,
    ) {
        let Some(at) = self.waiting.get_mut(&ticket) else {
            return;
        };
        (at.until, at.called) = (until, false);
        if !Arc::ptr_eq(&at.waker, waker) {
            let old = std::mem::replace(&mut at.waker, Arc::clone(waker));
            after.gone.push(old);
        }
    }

    /// Takes `ticket` out and calls the next if it was the head.
    pub(crate) fn leave(&mut self, ticket: u64, counter: &Counter, now: u64, after: &mut After) {
        let Some(place) = self.waiting.remove(&ticket) else {
            return;
        };
        after.gone.push(place.waker);
        self.total -= u128::from(place.n);
        if self.waiting.is_empty() {
            counter.set_queued(false);
        } else if self.head_before(ticket).is_none() {
            let early = place.called || place.until > now;
            self.call(early, now, after);
        }
    }
}
