//! The state of a steward and its wards, read without asking them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_heartbeat::Health;

use crate::cell::Handle;
use crate::event::Reason;
use crate::inner::Inner;
use crate::roster::{Entry, Phase, Rung, Stage};
use crate::rules::Strategy;

/// A steward and its wards at one instant. `Display` prints them as a tree.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StatusTree {
    /// The steward's name.
    pub name: Arc<str>,
    /// Whom it restarts.
    pub strategy: Strategy,
    /// Whether it takes no more wards, since it shuts down or has given up.
    pub closed: bool,
    /// How many restarts there were, a group counted once.
    pub restarts: u64,
    /// Incarnations left behind fenced and not gone yet, by ward and generation.
    pub zombies: Vec<(Arc<str>, u32)>,
    /// Its wards, in the order of their start.
    pub wards: Vec<WardStatus>,
}

/// A ward at one instant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WardStatus {
    /// The ward's id.
    pub id: Arc<str>,
    /// What it does.
    pub state: State,
    /// What its pulse says; `None` if it does not run or is not watched.
    pub health: Option<Health>,
    /// Its newest incarnation, counted from one; 0 if it never ran.
    pub generation: u32,
    /// How often it was started again.
    pub restarts: u32,
    /// How often it failed since it was last healthy for long enough.
    pub failures: u32,
    /// Why the last incarnation but this ended.
    pub last: Option<Reason>,
    /// If it is a steward itself.
    pub nested: Option<StatusTree>,
}

/// What a ward does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Waits for its turn while its group is restarted.
    Waiting,
    /// Waits this long until it is started again.
    Backoff(Duration),
    /// Runs, and has not said yet that it is ready.
    Starting,
    /// Runs.
    Running,
    /// Was told to go.
    Stopping,
    /// Was aborted, and is not gone yet.
    Aborted,
    /// Ended as it should; keeps its place in the group.
    Ended,
}

impl StatusTree {
    pub(crate) fn of(inner: &Arc<Inner>) -> Self {
        let now = inner.now();
        let roster = inner.roster.lock();
        let mut nested = Vec::new();
        let mut wards: Vec<WardStatus> = roster
            .keys()
            .into_iter()
            .filter_map(|key| roster.find(key))
            .map(|entry| {
                let life = entry.life.as_ref();
                nested.push(life.and_then(|life| life.nested.get()?.upgrade()));
                WardStatus::new(entry, now)
            })
            .collect();
        let status = Self {
            name: Arc::clone(&inner.name),
            strategy: roster.rules.strategy,
            closed: !matches!(roster.stage, Stage::Open),
            restarts: roster.restarts,
            zombies: roster.zombies.iter().map(|z| (z.2.clone(), z.1)).collect(),
            wards: Vec::new(),
        };
        // One lock at a time: a tree has no order of its own to take them in.
        drop(roster);
        for (ward, nested) in wards.iter_mut().zip(nested) {
            ward.nested = nested.map(|inner| Self::of(&inner));
        }
        Self { wards, ..status }
    }

    fn print(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        for (at, ward) in self.wards.iter().enumerate() {
            let last = at + 1 == self.wards.len();
            let (branch, below) = if last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            write!(f, "\n{indent}{branch}{ward}")?;
            if let Some(nested) = &ward.nested {
                nested.print_head(f)?;
                nested.print(f, &format!("{indent}{below}"))?;
            }
        }
        Ok(())
    }

    fn print_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " [{:?}, {} restarts", self.strategy, self.restarts)?;
        if !self.zombies.is_empty() {
            write!(f, ", {} zombies", self.zombies.len())?;
        }
        if self.closed {
            f.write_str(", closed")?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for StatusTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.print_head(f)?;
        self.print(f, "")
    }
}

impl WardStatus {
    pub(crate) fn new(entry: &Entry<Handle>, now: Duration) -> Self {
        let state = match &entry.phase {
            Phase::Waiting => State::Waiting,
            Phase::Backoff(until) => State::Backoff(until.saturating_sub(now)),
            Phase::Running { unready: None, .. } => State::Running,
            Phase::Running { .. } => State::Starting,
            Phase::Stopping { rung, .. } => match rung {
                Rung::Cancelled => State::Stopping,
                Rung::Aborted => State::Aborted,
            },
            Phase::Ended => State::Ended,
        };
        let watched = entry.life.as_ref().and_then(|life| life.watched.as_ref());
        Self {
            id: Arc::clone(&entry.name),
            state,
            health: watched.map(evenkeel_heartbeat::Watched::health),
            generation: entry.generation,
            restarts: entry.restarts,
            failures: entry.failures(now),
            last: entry.last.clone(),
            nested: None,
        }
    }
}

impl fmt::Display for WardStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{} {:?}", self.id, self.generation, self.state)?;
        if let Some(health) = self.health {
            write!(f, ", {health:?}")?;
        }
        if let Some(last) = &self.last {
            write!(f, " (last: {last})")?;
        }
        Ok(())
    }
}
