//! A thread of the process that sees what no task can: that all workers of a runtime are blocked.
//!
//! It pokes the loop of each steward now and then. One that does not answer for half its timeout is blind; then the thread
//! looks at its wards itself. A ward that stays inside one poll for half its timeout more is hung: it is told to go, and the
//! thread climbs the ladder for it, up to the fence and the report. Nobody else is touched: wards that cannot run since
//! another one blocks their worker are not to blame.
//!
//! Time counts for as much of it as the thread witnessed: if it was late itself, the whole process was stopped or starved,
//! and it begins to count anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_heartbeat::Health;

use crate::cell::Life;
use crate::event::Reason;
use crate::inner::Inner;
use crate::roster::Key;

/// How often the thread looks, at the least and at the most.
const PERIODS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

struct Watch {
    inner: Weak<Inner>,
    timeout: Duration,
    /// For how long the loop has not answered.
    unanswered: Duration,
    /// Until it is poked again.
    rest: Duration,
    /// Wards inside a poll: which, and for how long.
    suspects: HashMap<Key, (u32, u32, Duration)>,
}

/// The stewards to watch, and whether there is a thread that does.
#[derive(Default)]
struct Watched {
    new: Vec<Watch>,
    runs: bool,
}

static WATCHED: Mutex<Option<Watched>> = Mutex::new(None);

/// From now on the steward is watched, until it is dropped.
pub(crate) fn watch(inner: &Arc<Inner>, timeout: Duration) {
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    let watched = watched.get_or_insert_default();
    watched.new.push(Watch {
        inner: Arc::downgrade(inner),
        timeout,
        unanswered: Duration::ZERO,
        rest: Duration::ZERO,
        suspects: HashMap::new(),
    });
    if !watched.runs {
        let thread = thread::Builder::new().name("evenkeel-sentinel".into());
        // Without a thread there is no sentinel, and the stewards are none the worse for it.
        watched.runs = thread.spawn(run).is_ok();
    }
}

/// Ends when there is nothing left to watch.
fn run() {
    let mut watches: Vec<Watch> = Vec::new();
    loop {
        {
            let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
            let watched = watched.get_or_insert_default();
            watches.append(&mut watched.new);
            watches.retain(|watch| watch.inner.strong_count() > 0);
            if watches.is_empty() {
                watched.runs = false;
                return;
            }
        }
        let shortest = watches.iter().map(|watch| watch.timeout).min();
        let period = shortest.unwrap_or(PERIODS.1) / 16;
        let period = period.clamp(PERIODS.0, PERIODS.1);
        let slept = Instant::now();
        thread::sleep(period);
        let witnessed = slept.elapsed() < period * 3;
        for watch in &mut watches {
            watch.look(period, witnessed);
        }
    }
}

impl Watch {
    fn look(&mut self, period: Duration, witnessed: bool) {
        let Some(inner) = self.inner.upgrade() else {
            return;
        };
        if inner.has_answered() {
            self.unanswered = Duration::ZERO;
            self.suspects.clear();
            self.rest = self.rest.saturating_sub(period);
            if self.rest.is_zero() {
                self.rest = self.timeout / 8;
                inner.poke();
            }
            return;
        }
        if !witnessed {
            self.unanswered = Duration::ZERO;
            self.suspects.clear();
            return;
        }
        self.unanswered = self.unanswered.saturating_add(period);
        if self.unanswered < self.timeout / 2 {
            return;
        }
        let polled = inner.polled();
        self.suspects
            .retain(|key, _| polled.iter().any(|life| life.key == *key));
        for life in polled {
            self.suspect(&inner, &life, period);
        }
    }

    fn suspect(&mut self, inner: &Arc<Inner>, life: &Arc<Life>, period: Duration) {
        let (Some(poll), Some(watched)) = (life.poll(), &life.watched) else {
            return;
        };
        let Some(timeout) = inner.timeout(life) else {
            return;
        };
        // Its limit cannot be checked while the monitor is blind, too.
        if watched.health() == Health::Busy {
            return;
        }
        let seen = self
            .suspects
            .entry(life.key)
            .and_modify(|seen| {
                if (seen.0, seen.1) != (life.generation, poll) {
                    *seen = (life.generation, poll, Duration::ZERO);
                }
                seen.2 = seen.2.saturating_add(period);
            })
            .or_insert((life.generation, poll, Duration::ZERO));
        if seen.2 >= timeout / 2 {
            inner.unwell(life, Reason::Hung);
            inner.call(|roster, now, todo| roster.climb(life.key, life.generation, now, todo));
        }
    }
}
