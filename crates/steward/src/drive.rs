//! The steward's loop: timers, the word of the monitor, and a pulse of its own.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use evenkeel_cancel::Token;
use evenkeel_heartbeat::{Change, Changes, Health};
use tokio::time::{Instant, sleep_until};

use crate::ctx::Ctx;
use crate::event::Reason;
use crate::inner::Inner;
use crate::roster::Roster;

/// A timer that is later than this was kept from running, by a blocked worker or a stopped process.
const LATE: Duration = Duration::from_millis(50);

/// What woke the loop.
enum Turn {
    Timer,
    Cancelled,
    Word(Option<Change>),
}

/// Stops the wards when the loop goes away with its runtime.
struct Abandon(Arc<Inner>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if !self.0.is_closed() {
            self.0.abandon();
        }
    }
}

/// Runs until the steward is closed. `parent` is the context of a steward that is a ward; `token` closes it.
pub(crate) async fn drive(
    inner: Arc<Inner>,
    mut changes: Changes,
    parent: Option<Ctx>,
    token: Token,
) {
    let abandon = Abandon(inner);
    let inner = &abandon.0;
    let mut cancelled = false;
    loop {
        let due = inner.roster.lock().next().and_then(|at| inner.instant(at));
        let beat = parent
            .as_ref()
            .and_then(|ctx| Instant::now().checked_add(ctx.interval()));
        let turn = {
            let mut timer = pin!(wait(due));
            let mut pulse = pin!(wait(beat));
            let mut woken = pin!(inner.wake.notified());
            let mut told = pin!(token.cancelled());
            let mut word = pin!(changes.next());
            poll_fn(|cx| {
                if !cancelled && told.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Turn::Cancelled);
                }
                if let Poll::Ready(change) = word.as_mut().poll(cx) {
                    return Poll::Ready(Turn::Word(change));
                }
                let due = timer.as_mut().poll(cx).is_ready();
                let beat = pulse.as_mut().poll(cx).is_ready();
                if woken.as_mut().poll(cx).is_ready() || due || beat {
                    return Poll::Ready(Turn::Timer);
                }
                Poll::Pending
            })
            .await
        };
        if let Some(ctx) = &parent {
            ctx.beat();
        }
        inner.answer();
        let late = due.map_or(Duration::ZERO, |at| at.elapsed());
        if late > LATE {
            inner.call(|roster, _, _| roster.forgive(late));
        }
        match turn {
            Turn::Cancelled => {
                cancelled = true;
                close(inner, parent.as_ref());
            }
            Turn::Word(Some(change)) if change.health == Health::Silent => silent(inner, &change),
            Turn::Word(_) | Turn::Timer => {}
        }
        inner.call(Roster::tick);
        if inner.is_closed() {
            return;
        }
    }
}

async fn wait(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The steward is told to go: its wards have what its parent leaves it, less a tenth to tell how it went.
fn close(inner: &Arc<Inner>, parent: Option<&Ctx>) {
    let by = parent.and_then(Ctx::stop_by);
    inner.call(|roster, now, todo| {
        let own = now.saturating_add(roster.rules.deadline);
        let deadline = match by.map(|at| inner.since_epoch(at)) {
            Some(by) => {
                let left = by.saturating_sub(now);
                own.min(now.saturating_add(left - left / 10))
            }
            None => own,
        };
        roster.close(deadline, now, todo);
    });
}

fn silent(inner: &Arc<Inner>, change: &Change) {
    inner.call(|roster, now, todo| {
        let Some((key, entry)) = roster.by_name(&change.name) else {
            return;
        };
        let is_meant = entry
            .life
            .as_ref()
            .and_then(|life| life.watched.as_ref())
            .is_some_and(|watched| watched.id() == change.pulse);
        if is_meant {
            let generation = entry.generation;
            roster.unwell(key, generation, Reason::Silent, now, todo);
        }
    });
}
