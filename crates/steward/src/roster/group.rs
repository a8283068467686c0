//! The restart of a group: stopped in reverse order, started in order, each when the one before it is ready.

use std::time::Duration;

use super::{Do, Intent, Key, Phase, Port, Roster, Stage, Todo};
use crate::rules::Restart;

/// A group restart under way. A second failure meanwhile begins it again, from the earlier of the two.
#[derive(Debug)]
pub(crate) struct Group {
    /// All wards with this `seq` or a later one belong to it.
    from: u64,
    /// No start before this time.
    not_before: Duration,
    /// The first start of the steward's own wards: one that fails before it is ready fails the steward.
    first: bool,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// These are still to be stopped, the last one first.
    Stopping(Vec<Key>),
    /// These are still to be started, the last one first; the one named must be ready before.
    Starting(Vec<Key>, Option<Key>),
}

impl<P: Port> Roster<P> {
    /// Restarts all wards from `from` on.
    pub(super) fn regroup(&mut self, from: u64, delay: Duration, now: Duration) {
        let not_before = now.saturating_add(delay);
        let (from, not_before) = match &self.group {
            Some(group) => (from.min(group.from), not_before.max(group.not_before)),
            None => (from, not_before),
        };
        let members = self.members(from);
        // The first start is not over before all have been ready once.
        let first = self.group.as_ref().is_some_and(|group| group.first);
        self.group = Some(Group {
            from,
            not_before,
            first,
            step: Step::Stopping(members),
        });
    }

    /// From now on wards that are added wait until [`open`](Self::open), and are then started in order.
    pub(crate) fn hold(&mut self) {
        self.group = Some(Group {
            from: 0,
            not_before: Duration::MAX,
            first: true,
            step: Step::Starting(Vec::new(), None),
        });
    }

    /// Starts the wards that were held.
    pub(crate) fn open(&mut self, now: Duration, todo: &mut Todo<P>) {
        if let Some(group) = &mut self.group {
            group.not_before = now;
        }
        self.advance_group(now, todo);
    }

    /// Whether the steward's first start is over, and was not cut short.
    pub(crate) fn is_ready(&self) -> bool {
        !self.cut_short && !self.group.as_ref().is_some_and(|group| group.first)
    }

    /// Whether the ward was waited for in the steward's first start.
    pub(super) fn fails_first_start(&self, key: Key) -> bool {
        matches!(&self.group, Some(Group { first: true, step: Step::Starting(_, before), .. }) if *before == Some(key))
    }

    /// Whether the ward, which is not live, is to wait for its turn in a group.
    pub(super) fn joins_group(&mut self, key: Key) -> bool {
        let Some(group) = self.group.as_mut().filter(|g| key.seq >= g.from) else {
            return false;
        };
        if let Step::Starting(left, _) = &mut group.step {
            let at = left.partition_point(|other| *other > key);
            left.insert(at, key);
        }
        true
    }

    pub(super) fn group_due(&self) -> Option<Duration> {
        match &self.group {
            Some(Group {
                not_before,
                step: Step::Starting(left, None),
                ..
            }) if !left.is_empty() => Some(*not_before),
            _ => None,
        }
    }

    /// Goes on with the group as far as it can.
    pub(super) fn advance_group(&mut self, now: Duration, todo: &mut Todo<P>) {
        if !matches!(self.stage, Stage::Open) {
            self.group = None;
        }
        while let Some(mut group) = self.group.take() {
            let goes_on = match &mut group.step {
                Step::Stopping(left) => self.stop_next(left, now, todo),
                Step::Starting(left, before) => {
                    now >= group.not_before && self.start_next(left, before, now, todo)
                }
            };
            // Nothing above begins another group: a failure is told by an exit, and never from within a start.
            let held = group.not_before == Duration::MAX;
            let done = !held
                && match &group.step {
                    Step::Stopping(left) if left.is_empty() => {
                        let members = self.members(group.from).into_iter().rev().collect();
                        group.step = Step::Starting(members, None);
                        if now < group.not_before {
                            todo.add(Do::Wake);
                        }
                        false
                    }
                    Step::Starting(left, before) => left.is_empty() && before.is_none(),
                    Step::Stopping(_) => false,
                };
            if !done {
                self.group = Some(group);
            }
            if !goes_on {
                return;
            }
        }
    }

    /// Stops the last of `left`; false if it has to be waited for.
    fn stop_next(&mut self, left: &mut Vec<Key>, now: Duration, todo: &mut Todo<P>) -> bool {
        while let Some(&key) = left.last() {
            let Some(entry) = self.find_mut(key) else {
                left.pop();
                continue;
            };
            // As in OTP, a group that comes back leaves its temporary wards behind.
            let follows = match entry.terms.restart {
                Restart::Permanent | Restart::Transient => Intent::Group,
                Restart::Temporary => Intent::Stop,
            };
            match &mut entry.phase {
                Phase::Running { .. } => {
                    self.halt(key, follows, now, todo);
                    return false;
                }
                Phase::Stopping { intent, .. } => {
                    if matches!(intent, Intent::Heal(_) | Intent::Restart) {
                        *intent = follows;
                    }
                    return false;
                }
                Phase::Waiting | Phase::Backoff(_) | Phase::Ended => {
                    entry.phase = Phase::Waiting;
                    left.pop();
                }
            }
        }
        true
    }

    /// Starts the next of `left` if the one before it is ready; false if that has to be waited for.
    fn start_next(
        &mut self,
        left: &mut Vec<Key>,
        before: &mut Option<Key>,
        now: Duration,
        todo: &mut Todo<P>,
    ) -> bool {
        loop {
            if let Some(entry) = before.and_then(|key| self.find(key)) {
                match entry.phase {
                    Phase::Running {
                        unready: Some(_), ..
                    }
                    | Phase::Stopping { .. } => return false,
                    _ => {}
                }
            }
            *before = None;
            let Some(key) = left.pop() else {
                return true;
            };
            if self
                .find(key)
                .is_some_and(|e| matches!(e.phase, Phase::Waiting))
            {
                self.start(key, now, todo);
                *before = Some(key);
            }
        }
    }

    /// The wards from `from` on, in the order of their start.
    fn members(&self, from: u64) -> Vec<Key> {
        let mut keys = self.keys();
        keys.retain(|key| key.seq >= from);
        keys
    }
}
