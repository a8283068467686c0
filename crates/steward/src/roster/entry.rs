//! What a roster is made of: a ward's place, its phase and its rules, and what is to be done for it.

use std::iter::Chain;
use std::sync::Arc;
use std::time::Duration;
use std::{option, vec};

use crate::event::{Event, Reason, What};
use crate::rules::{Backoff, Intensity, Restart, Strategy};

/// What the roster needs of a ward, without knowing tokio.
pub(crate) trait Port: Clone {
    /// What lasts as long as one incarnation: its token and its pulse.
    type Life: Clone;
    /// What can be aborted.
    type Task;

    /// Prepares an incarnation; it may take the life of the one before, that is `spent`, to make it over. Called under the roster's
    /// lock: runs no foreign code.
    fn conceive(&self, key: Key, generation: u32, spent: &mut Option<Self::Life>) -> Self::Life;

    /// It has ended for good, which its handles may read from now on. Called under the roster's lock: runs no foreign code.
    fn ended(&self, reason: &Reason);

    /// Whether its pulse is silent now. Called under the roster's lock: runs no foreign code.
    fn is_silent(life: &Self::Life) -> bool;
}

/// What is to be done once the lock is given back.
pub(crate) enum Do<P: Port> {
    /// In a task of its own; or in place, by the runner that has just ended.
    Start(Key, u32, Option<P>, P::Life),
    /// With the time by which it has to be gone.
    Cancel(P::Life, Reason, Duration),
    Abort(P::Task),
    Fence(P, u32, Option<P::Life>),
    Tell(Event),
    /// The ward has left the roster: its queue ends, its handles are told.
    Leave(P),
    /// To be dropped outside, since it may hold foreign values.
    Drop(P::Life),
    /// The loop must look at its timers again.
    Wake,
    /// The steward has ended.
    Closed,
}

/// What there is to do, in order.
pub(crate) struct Todo<P: Port> {
    /// Often the only one; so that a restart in place allocates no list.
    first: Option<Do<P>>,
    rest: Vec<Do<P>>,
    /// Whether anyone listens to what is told.
    pub(super) listened: bool,
}

impl<P: Port> Todo<P> {
    pub(crate) fn new(listened: bool) -> Self {
        Self {
            first: None,
            rest: Vec::new(),
            listened,
        }
    }

    pub(super) fn add(&mut self, this: impl Into<Option<Do<P>>>) {
        match (this.into(), &self.first) {
            (Some(this), None) => self.first = Some(this),
            (this, _) => self.rest.extend(this),
        }
    }
}

impl<P: Port> IntoIterator for Todo<P> {
    type Item = Do<P>;
    type IntoIter = Chain<option::IntoIter<Do<P>>, vec::IntoIter<Do<P>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

/// A place in the roster and its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) seq: u64,
    pub(crate) index: u32,
}

/// The rules of one steward.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) max_wards: usize,
    pub(crate) max_zombies: usize,
    /// How long a steward that gives up takes to stop its wards.
    pub(crate) deadline: Duration,
}

/// The rules of one ward, mostly the same for many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Terms {
    pub(crate) restart: Restart,
    pub(crate) backoff: Backoff,
    /// From cancel to abort.
    pub(crate) grace: Duration,
    /// From abort to fence.
    pub(crate) abort_grace: Duration,
    /// How long it may take to call `ready`; without it, a ward is ready when it starts.
    pub(crate) ready_within: Option<Duration>,
    /// How long a ward is silent before it is noticed; that time was not healthy.
    pub(crate) timeout: Option<Duration>,
    #[cfg(feature = "significant")]
    pub(crate) significant: bool,
}

/// Where a ward is.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// In a group that is being restarted; its turn will come.
    Waiting,
    /// Will be started at this time.
    Backoff(Duration),
    Running {
        since: Duration,
        /// Until when it must be ready; `None` if it is.
        unready: Option<Duration>,
    },
    Stopping {
        since: Duration,
        intent: Intent,
        rung: Rung,
        /// When the next rung comes.
        until: Duration,
    },
    /// Ended as it should, and keeps its place since its group may be restarted.
    Ended,
}

/// What comes after the incarnation that is being stopped.
#[derive(Clone, Debug)]
pub(crate) enum Intent {
    /// It failed in this way; its rules say what follows.
    Heal(Reason),
    /// Another one, at once.
    Restart,
    /// Another one, when the turn of its group comes.
    Group,
    /// Nothing: it leaves.
    Stop,
    /// Nothing: the steward closes.
    Close,
}

/// How far the ladder has been climbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    Cancelled,
    Aborted,
}

pub(crate) struct Entry<P: Port> {
    pub(crate) seq: u64,
    pub(crate) name: Arc<str>,
    pub(crate) generation: u32,
    pub(crate) failures: u32,
    pub(crate) restarts: u32,
    pub(crate) phase: Phase,
    pub(crate) terms: Arc<Terms>,
    pub(crate) last: Option<Reason>,
    pub(crate) port: P,
    pub(crate) life: Option<P::Life>,
    /// That of the incarnation, or of the one before, whose task may go on with it.
    pub(super) task: Option<P::Task>,
    /// To be aborted as soon as its task is known.
    pub(super) doomed: bool,
}

impl<P: Port> Entry<P> {
    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Running { .. } | Phase::Stopping { .. })
    }

    /// How long it has been healthy, if it is noticed now that it is not, for `reason`.
    pub(super) fn healthy(&self, now: Duration, reason: &Reason) -> Duration {
        let Phase::Running {
            since,
            unready: None,
        } = self.phase
        else {
            return Duration::ZERO;
        };
        let silent = match (reason, self.terms.timeout) {
            (Reason::Silent, Some(timeout)) => timeout.saturating_mul(5) / 4,
            _ => Duration::ZERO,
        };
        now.saturating_sub(since).saturating_sub(silent)
    }
}

impl<P: Port> Entry<P> {
    pub(super) fn tell(&self, what: What, todo: &mut Todo<P>) {
        if todo.listened {
            todo.add(Do::Tell(Event {
                ward: Arc::clone(&self.name),
                generation: self.generation,
                what,
            }));
        }
    }

    /// How often it failed since it was last healthy for long enough.
    pub(crate) fn failures(&self, now: Duration) -> u32 {
        let healthy = self.healthy(now, &Reason::Finished);
        if self.terms.backoff.forgives(healthy) {
            0
        } else {
            self.failures
        }
    }

    pub(super) fn forget(&mut self, healthy: Duration) {
        if self.terms.backoff.forgives(healthy) {
            self.failures = 0;
        }
    }
}
