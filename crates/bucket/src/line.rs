//! The line of waiters at a bucket: who is next, and how everybody else learns it.
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
//! - Whoever leaves the head, granted or not, wakes the next. Everybody also has a timer, at the latest at the moment
//!   by which all before it should have been served; so a chain of wake-ups that ends at a waiter nobody polls any more
//!   goes on: the one whose timer fires passes over a head that has been due for `GRACE`. Who was passed over finds
//!   itself without a place when it is polled again, and takes it again by its old ticket.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use evenkeel_sync::atomic::{AtomicU64, Ordering::Relaxed};
use evenkeel_sync::{Arc, Mutex, MutexGuard};

use crate::counter::{Ask, Counter, Granted, Short};
use crate::scale::Scale;
use crate::several::{Counted, take_all};
use crate::{Level, Rate};

/// A waiter's lateness up to this is made good, in nanoseconds: tokio's timer ticks in milliseconds.
pub(crate) const LATE: u64 = 3_000_000;

/// A head that has been due for so long without taking is passed over.
const GRACE: u64 = 3_000_000;

/// A counter and its line.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) id: u64,
    pub(crate) counter: Counter,
    line: Mutex<Line>,
    /// How late the last waiter was served: a hint, each use of which is bounded by [`LATE`] and by the moment at which
    /// the counter has enough.
    late: AtomicU64,
}

#[derive(Debug)]
struct Line {
    waiting: BTreeMap<u64, Place>,
    /// Tokens that all in line ask for.
    total: u128,
    /// When tokens were last given back to those in line, or their price changed: nothing fell due before that.
    refunded: u64,
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
struct After {
    wake: Vec<Arc<Waker>>,
    gone: Vec<Arc<Waker>>,
}

impl After {
    fn run(self) {
        self.wake.iter().for_each(|waker| waker.wake_by_ref());
        drop(self.gone);
    }
}

#[derive(Debug)]
struct Place {
    n: u64,
    waker: Arc<Waker>,
    /// When it will come by itself, or was woken to come.
    until: u64,
}

impl Counted for Arc<Gate> {
    fn counter(&self) -> &Counter {
        &self.counter
    }
}

/// What a waiter is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Granted(Granted),
    /// Come back when woken, or at this time. `None`: as things stand only a wake-up helps.
    Wait(Option<u64>),
    /// The gate at this place refuses for good.
    Refused(usize, Short),
}

impl Gate {
    /// A full bucket.
    pub(crate) fn new(id: u64, limit: Limit, now: u64) -> Self {
        Self {
            id,
            counter: Counter::new(Scale::new(limit.rate, limit.depth), now),
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
            place.until = now;
            after.wake.push(Arc::clone(&place.waker));
        }
        drop(line);
        after.run();
    }

    /// When `n` tokens would be had from the end of the line; `None`: never.
    pub(crate) fn estimate(&self, n: u64, now: u64) -> Option<u64> {
        let total = self.line.lock().total;
        self.due_after(total, n, now)
    }

    fn due_after(&self, ahead: u128, n: u64, now: u64) -> Option<u64> {
        let (spent, plan) = self.counter.look(now);
        let price = (ahead + u128::from(n)).saturating_mul(plan.scale.cost.into());
        plan.due(spent, price).map(|due| due.max(now))
    }

    /// What the counter holds.
    pub(crate) fn level(&self, now: u64) -> Level {
        let (spent, plan) = self.counter.look(now);
        let Scale { cost, cap, .. } = plan.scale;
        if cost == 0 {
            let (next, full) = (Some(Duration::ZERO), Some(Duration::ZERO));
            let tokens = u64::MAX;
            return Level { tokens, next, full };
        }
        let level = plan.level(spent, now);
        let until = |ticks: u64| {
            if level >= ticks {
                return Some(Duration::ZERO);
            }
            // From the moment at which the bucket would have been empty.
            let due = plan.due(spent, ticks.into())?;
            Some(Duration::from_nanos(due.saturating_sub(now)))
        };
        Level {
            tokens: level / cost,
            next: until((level / cost + 1).saturating_mul(cost).min(cap)),
            full: until(cap),
        }
    }

    /// Gives tokens back and tells the head of the line.
    pub(crate) fn refund(&self, n: u64, now: u64) {
        if self.counter.refund(n) {
            let mut line = self.line.lock();
            line.refunded = line.refunded.max(now);
            let head = line.call_head(now);
            drop(line);
            if let Some(head) = head {
                head.wake_by_ref();
            }
        }
    }

    fn late(&self) -> u64 {
        // ORDERING: Relaxed; a hint that publishes nothing.
        self.late.load(Relaxed)
    }

    fn note_late(&self, late: u64) {
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
        head.get_mut().until = now;
        Some(Arc::clone(&head.get().waker))
    }

    fn ahead_of(&self, ticket: u64) -> u128 {
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

    /// Takes `ticket` out and calls the next if it was the head.
    fn leave(&mut self, ticket: u64, counter: &Counter, now: u64, after: &mut After) {
        let Some(place) = self.waiting.remove(&ticket) else {
            return;
        };
        after.gone.push(place.waker);
        self.total -= u128::from(place.n);
        if self.waiting.is_empty() {
            counter.set_queued(false);
        } else if self.head_before(ticket).is_none() {
            after.wake.extend(self.call_head(now));
        }
    }
}

/// Takes at once, without a place in line; `late` makes good what the timer of an earlier waiter cost.
pub(crate) fn take_now(
    gates: &[Arc<Gate>],
    strict: &[u32],
    n: u64,
    now: u64,
) -> Result<Granted, (usize, Short)> {
    let late = lateness(gates);
    let ask = Ask {
        n,
        now,
        late,
        waited: false,
        head: false,
    };
    let granted = take_all(gates, strict, &ask)?;
    if late != 0 {
        for gate in gates {
            gate.note_late(granted.late);
        }
    }
    Ok(granted)
}

fn lateness(gates: &[Arc<Gate>]) -> u64 {
    gates.iter().map(|gate| gate.late()).min().unwrap_or(0)
}

/// Somebody who waits for all of `gates`; leaves all lines when dropped.
#[derive(Debug)]
pub(crate) struct Waiter<'a> {
    gates: &'a [Arc<Gate>],
    strict: &'a [u32],
    ticket: u64,
    n: u64,
    /// Whether it has stood in a line yet.
    waited: bool,
    /// What the lines share.
    waker: Option<Arc<Waker>>,
    now: u64,
}

impl<'a> Waiter<'a> {
    /// `gates` has each once, in the order of ids.
    pub(crate) fn new(gates: &'a [Arc<Gate>], strict: &'a [u32], ticket: u64, n: u64) -> Self {
        Self {
            gates,
            strict,
            ticket,
            n,
            waited: false,
            waker: None,
            now: 0,
        }
    }

    /// Takes if it is this waiter's turn and there is enough, else says when to come back.
    pub(crate) fn poll(&mut self, now: u64, by: Option<u64>, waker: &Waker) -> Step {
        self.now = now;
        let known = self.waker.take().filter(|known| known.will_wake(waker));
        let waker = known.unwrap_or_else(|| Arc::new(waker.clone()));
        let mut after = After::default();
        let mut lines: Vec<_> = self.gates.iter().map(|gate| gate.line.lock()).collect();
        let newcomer = !self.waited;
        let step = loop {
            if let Some((place, short)) = self.hopeless(newcomer) {
                break Step::Refused(place, short);
            }
            let (place, short) = match self.attempt(&mut lines, &mut after) {
                Ok(granted) => break Step::Granted(granted),
                Err(refused) => refused,
            };
            let held = lines[place].waiting.contains_key(&self.ticket);
            let due = self.due(&lines, short);
            if by.is_some_and(|by| due.is_none_or(|due| due > by)) {
                break Step::Refused(place, due.map_or(Short::Queued, Short::Until));
            }
            let until = self.timer(&lines, due);
            self.stand(place, &mut lines, until, &waker, &mut after);
            // The first time round others could still take from this bucket or give back unnoticed.
            if held {
                break Step::Wait(until);
            }
        };
        if !matches!(step, Step::Wait(_)) {
            for (gate, line) in self.gates.iter().zip(&mut lines) {
                line.leave(self.ticket, &gate.counter, now, &mut after);
            }
            self.waited = false;
        }
        drop(lines);
        if let Step::Granted(granted) = step {
            for gate in self.gates {
                gate.note_late(granted.late);
            }
        }
        self.waker = Some(waker);
        after.run();
        step
    }

    /// The gate that refuses for good. Not so for want of a rate once the waiter stands in line: that may be raised again.
    fn hopeless(&self, newcomer: bool) -> Option<(usize, Short)> {
        let places = self.strict.iter().map(|&place| place as usize);
        let mut refusals = places.filter_map(|place| {
            let short = self.gates[place].counter.hopeless(self.n, self.now)?;
            Some((place, short))
        });
        refusals.find(|&(_, short)| newcomer || short == Short::TooDeep)
    }

    /// One attempt: a grant, or the place that holds the waiter up.
    fn attempt(
        &self,
        lines: &mut [MutexGuard<'_, Line>],
        after: &mut After,
    ) -> Result<Granted, (usize, Short)> {
        for (place, line) in lines.iter_mut().enumerate() {
            while let Some((head, at)) = line.head_before(self.ticket) {
                if at.until.saturating_add(GRACE) > self.now {
                    return Err((place, Short::Queued));
                }
                line.leave(head, &self.gates[place].counter, self.now, after);
            }
        }
        let refunded = lines.iter().map(|line| line.refunded).max().unwrap_or(0);
        let late = if self.waited {
            LATE
        } else {
            lateness(self.gates)
        };
        let ask = Ask {
            n: self.n,
            now: self.now,
            late: late.min(self.now.saturating_sub(refunded)),
            waited: self.waited,
            head: true,
        };
        take_all(self.gates, self.strict, &ask)
    }

    /// The moment at which all lines have come to this waiter, if nobody leaves and nothing is given back.
    fn due(&self, lines: &[MutexGuard<'_, Line>], short: Short) -> Option<u64> {
        let mut latest = match short {
            Short::Until(due) => due,
            Short::Queued => self.now,
            Short::Never | Short::TooDeep => return None,
        };
        for (gate, line) in self.gates.iter().zip(lines) {
            let ahead = line.ahead_of(self.ticket);
            latest = latest.max(gate.due_after(ahead, self.n, self.now)?);
        }
        Some(latest)
    }

    /// When to come back unasked: when it is due, but not before a head that does not come may be passed over.
    fn timer(&self, lines: &[MutexGuard<'_, Line>], due: Option<u64>) -> Option<u64> {
        let heads = lines
            .iter()
            .filter_map(|line| line.head_before(self.ticket));
        let patience = heads.map(|(_, head)| head.until.saturating_add(GRACE));
        due.max(patience.max()).filter(|&until| until != u64::MAX)
    }

    /// Takes a place in one more line, and tells all in which it stands when it will come.
    fn stand(
        &mut self,
        place: usize,
        lines: &mut [MutexGuard<'_, Line>],
        until: Option<u64>,
        waker: &Arc<Waker>,
        after: &mut After,
    ) {
        self.waited = true;
        let until = until.unwrap_or(u64::MAX);
        if !lines[place].waiting.contains_key(&self.ticket) {
            let line = &mut lines[place];
            if line.waiting.is_empty() {
                self.gates[place].counter.set_queued(true);
            }
            line.total += u128::from(self.n);
            let (n, waker) = (self.n, Arc::clone(waker));
            line.waiting.insert(self.ticket, Place { n, waker, until });
        }
        for line in lines {
            if let Some(at) = line.waiting.get_mut(&self.ticket) {
                at.until = until;
                if !Arc::ptr_eq(&at.waker, waker) {
                    let old = std::mem::replace(&mut at.waker, Arc::clone(waker));
                    after.gone.push(old);
                }
            }
        }
    }

    /// The time, for those whom the leaving of this waiter calls.
    pub(crate) fn set_now(&mut self, now: u64) {
        self.now = now;
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if !self.waited {
            return;
        }
        let mut after = After::default();
        for gate in self.gates {
            let mut line = gate.line.lock();
            line.leave(self.ticket, &gate.counter, self.now, &mut after);
        }
        after.run();
    }
}
