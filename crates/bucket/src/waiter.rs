//! Somebody who waits in line: the protocol is that of `line.rs`.

use std::task::Waker;

use evenkeel_sync::{Arc, MutexGuard};

use crate::line::{After, GRACE, Gate, LATE, Line, after_head};
use crate::plan::{Ask, Granted, Short};
use crate::several::take_all;

/// What a waiter is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Granted(Granted),
    /// Come back when woken, or at this time. `None`: as things stand only a wake-up helps.
    Wait(Option<u64>),
    /// The gate at this place refuses for good.
    Refused(usize, Short),
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
            let held = lines[place].holds(self.ticket);
            if let Some(by) = by {
                let due = self.due(&lines, short);
                if now >= by || due.is_none_or(|due| due > by) {
                    break Step::Refused(place, due.map_or(Short::Queued, Short::Until));
                }
            }
            let until = self.stand((place, short), &mut lines, &waker, &mut after);
            // The first time round others could still take from this bucket or give back unnoticed.
            if held {
                break Step::Wait(until);
            }
        };
        // Only what its timer cost: who moves up since one before it gave up is not late.
        let expected = lines.iter().filter_map(|line| line.expected(self.ticket));
        let overdue = expected.max().map(|until| now.saturating_sub(until));
        if !matches!(step, Step::Wait(_)) {
            for (gate, line) in self.gates.iter().zip(&mut lines) {
                line.leave(self.ticket, &gate.counter, now, &mut after);
            }
            self.waited = false;
        }
        drop(lines);
        if let Step::Granted(granted) = step {
            for gate in self.gates {
                gate.note_late(granted.late.min(overdue.unwrap_or(granted.late)));
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
            let counter = &self.gates[place].counter;
            if line.is_behind(self.ticket, counter, self.now, after) {
                return Err((place, Short::Queued));
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
        self.latest(lines, short, |gate, line| {
            let due = gate.due_after(line.ahead_of(self.ticket), self.n, self.now)?;
            after_head(due, line.head_until(self.ticket))
        })
    }

    /// When to come back unasked to the lines in which it stands: where it is next, when there is enough; where others are
    /// before it, when these should have been served and have had time to say so. Not before a head that does not come may
    /// be called or passed over.
    fn timer(&self, lines: &[MutexGuard<'_, Line>], short: Short) -> Option<u64> {
        let turn = self.latest(lines, short, |gate, line| {
            if !line.holds(self.ticket) {
                return Some(self.now);
            }
            let ahead = line.ahead_of(self.ticket);
            if ahead == 0 {
                return gate.due_after(0, self.n, self.now);
            }
            let served = gate.due_after(ahead, 0, self.now)?;
            Some(served.saturating_add(GRACE))
        });
        let own = lines.iter().filter(|line| line.holds(self.ticket));
        let patience = own.filter_map(|line| line.patience(self.ticket));
        turn.max(patience.max()).filter(|&until| until != u64::MAX)
    }

    /// The latest of what `when` says of each gate and its line.
    fn latest(
        &self,
        lines: &[MutexGuard<'_, Line>],
        short: Short,
        when: impl Fn(&Gate, &Line) -> Option<u64>,
    ) -> Option<u64> {
        let mut latest = match short {
            Short::Until(due) => due,
            Short::Queued => self.now,
            Short::Never | Short::TooDeep => return None,
        };
        for (gate, line) in self.gates.iter().zip(lines) {
            latest = latest.max(when(gate, line)?);
        }
        Some(latest)
    }

    /// Takes a place in the line that holds it up, and tells all in which it stands when it will come.
    fn stand(
        &mut self,
        (place, short): (usize, Short),
        lines: &mut [MutexGuard<'_, Line>],
        waker: &Arc<Waker>,
        after: &mut After,
    ) -> Option<u64> {
        self.waited = true;
        lines[place].enter(self.ticket, self.n, &self.gates[place].counter, waker);
        let until = self.timer(lines, short);
        for line in lines {
            line.expect(self.ticket, until.unwrap_or(u64::MAX), waker, after);
        }
        until
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
