//! Acquiring from one bucket or several: time and tasks around the kernel.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Poll, ready};

use evenkeel_sync::Arc;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::denied::Name;
use crate::line::Gate;
use crate::plan::{Ask, Granted, Short};
use crate::several::take_all;
use crate::waiter::{Step, Waiter, take_now};
use crate::{Denied, Grant, Refusal, telemetry, time};

/// Buckets in the order of their ids, each once, with the order in which they are asked.
#[derive(Clone, Copy)]
pub(crate) struct Set<'a> {
    pub(crate) gates: &'a [Arc<Gate>],
    pub(crate) strict: &'a [u32],
    pub(crate) names: &'a [Name],
}

/// A refusal in words. Nothing but a deadline makes `Later` of a wait.
#[inline]
pub(crate) fn deny(gate: &Gate, name: &Name, short: Short, n: u64, now: u64) -> Denied {
    later(name, due(gate, short, n, now), now)
}

fn due(gate: &Gate, short: Short, n: u64, now: u64) -> Option<u64> {
    match short {
        Short::Queued => gate.estimate(n, now),
        short => short.due(),
    }
}

/// Not before `due`; `None`: never.
#[inline]
pub(crate) fn later(name: &Name, due: Option<u64>, now: u64) -> Denied {
    let Some(due) = due else {
        return refuse(name, Refusal::Never);
    };
    let denied = Denied::later(name.clone(), due.saturating_sub(now));
    telemetry::denied(&denied);
    denied
}

pub(crate) fn refuse(name: &Name, refusal: Refusal) -> Denied {
    let denied = Denied::new(name.clone(), refusal);
    telemetry::denied(&denied);
    denied
}

impl<'a> Set<'a> {
    pub(crate) fn try_acquire(self, n: u64) -> Result<Grant, Denied> {
        let now = time::now();
        take_all(self.gates, self.strict, &Ask::now(n, now))
            .map(|granted| grant(n, granted))
            .map_err(|(at, short)| {
                let due = due(&self.gates[at], short, n, now);
                // Those before it have enough; those after it were not asked, and may have it later still.
                let rest = self.strict.iter().map(|&place| place as usize);
                let rest = rest.skip_while(|&place| place != at).skip(1);
                let rest = rest.filter_map(|place| self.gates[place].due_after(0, n, now));
                let due = due.map(|due| rest.fold(due, u64::max));
                later(&self.names[at], due, now)
            })
    }

    pub(crate) async fn acquire(self, n: u64, by: Option<Instant>) -> Result<Grant, Denied> {
        let now = time::now();
        match take_now(self.gates, self.strict, n, now) {
            Ok(granted) => return Ok(grant(n, granted)),
            Err((at, Short::TooDeep)) => {
                return Err(refuse(&self.names[at], Refusal::Never));
            }
            Err(_) => {}
        }
        let by = by.map(time::nanos);
        let mut place = InLine(Waiter::new(self.gates, self.strict, ticket(), n));
        let mut timer = pin!(None::<Sleep>);
        poll_fn(|cx| {
            loop {
                let until = match place.0.poll(time::now(), by, cx.waker()) {
                    Step::Wait(until) => until,
                    step => return Poll::Ready(self.result(n, step)),
                };
                let Some(at) = earlier(until, by).and_then(time::instant) else {
                    // Only a change of the rate helps, and that wakes.
                    timer.set(None);
                    return Poll::Pending;
                };
                match timer.as_mut().as_pin_mut() {
                    Some(timer) => timer.reset(at),
                    None => timer.set(Some(sleep_until(at))),
                }
                let armed = timer.as_mut().as_pin_mut();
                ready!(armed.map_or(Poll::Pending, |timer| timer.poll(cx)));
            }
        })
        .await
    }

    fn result(self, n: u64, step: Step) -> Result<Grant, Denied> {
        match step {
            Step::Granted(granted) => Ok(grant(n, granted)),
            Step::Refused(at, short @ (Short::Until(_) | Short::Queued)) => {
                let due = short.due();
                let wait = due.map(|due| due.saturating_sub(time::now()));
                let name = self.names[at].clone();
                let denied = Denied::too_late(name, wait);
                telemetry::denied(&denied);
                Err(denied)
            }
            Step::Refused(at, _) => Err(refuse(&self.names[at], Refusal::Never)),
            Step::Wait(_) => unreachable!("a waiter that waits has no result"),
        }
    }
}

/// A place in line that is left in time: the next is told from when it is expected.
struct InLine<'a>(Waiter<'a>);

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.set_now(time::now());
    }
}

fn grant(n: u64, granted: Granted) -> Grant {
    Grant::new(n, granted.left, granted.cost)
}

/// One order of arrival for all lines.
fn ticket() -> u64 {
    static TICKETS: AtomicU64 = AtomicU64::new(0);
    // ORDERING: Relaxed; only that each is given once, and later ones are greater, matters.
    TICKETS.fetch_add(1, Relaxed)
}

fn earlier(until: Option<u64>, by: Option<u64>) -> Option<u64> {
    match (until, by) {
        (Some(until), Some(by)) => Some(until.min(by)),
        (until, by) => until.or(by),
    }
}
