//! The end of a steward: all wards stopped in reverse order, by one deadline.

use std::sync::Arc;
use std::time::Duration;

use super::{Do, Intent, Key, Phase, Port, Roster, Todo};
use crate::event::{Reason, What};

/// Where the steward itself is.
#[derive(Debug)]
pub(crate) enum Stage {
    Open,
    Closing {
        /// Still to be stopped, the last one first.
        left: Vec<Key>,
        /// All that is left is aborted.
        cut: Duration,
        is_cut: bool,
        /// All that is left is fenced.
        deadline: Duration,
    },
    Closed,
}

/// How a ward ended when its steward closed, if it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Finished,
    Aborted,
    Panicked,
}

impl<P: Port> Roster<P> {
    /// Stops all wards, in reverse order of their start, by `deadline`. The last stretch of the time, a quarter and at most
    /// a second, is left to those that have to be aborted. A second call can only bring the deadline forward.
    pub(crate) fn close(&mut self, deadline: Duration, now: Duration, todo: &mut Todo<P>) {
        let deadline = deadline.max(now);
        let stretch = (deadline.saturating_sub(now) / 4).min(Duration::from_secs(1));
        match &mut self.stage {
            Stage::Closed => return,
            Stage::Closing {
                cut, deadline: d, ..
            } => {
                *d = deadline.min(*d);
                *cut = (*d).saturating_sub(stretch).min(*cut);
            }
            Stage::Open => {
                self.cut_short = !self.is_ready();
                self.group = None;
                self.stage = Stage::Closing {
                    left: self.keys(),
                    cut: deadline.saturating_sub(stretch),
                    is_cut: false,
                    deadline,
                };
            }
        }
        todo.add(Do::Wake);
        self.advance_close(now, todo);
    }

    /// One restart too many: the steward gives up, and says why.
    pub(super) fn escalate(&mut self, key: Key, reason: Reason, now: Duration, todo: &mut Todo<P>) {
        let entry = self
            .find(key)
            .expect("the ward that failed is in its place");
        let name = Arc::clone(&entry.name);
        entry.tell(What::Escalated(reason.clone()), todo);
        self.remove(key, reason.clone(), todo);
        self.failure.get_or_insert((name, reason));
        let deadline = now.saturating_add(self.rules.deadline);
        self.close(deadline, now, todo);
    }

    /// A ward that was stopped since the steward closes has gone.
    pub(super) fn closed_one(
        &mut self,
        key: Key,
        exit: &Reason,
        aborted: bool,
        todo: &mut Todo<P>,
    ) {
        let name = Arc::clone(&self.find(key).expect("it is in its place").name);
        // A fenced one is among the zombies, as long as it runs.
        if !matches!(exit, Reason::Hung) {
            self.note_end(name, exit, aborted);
        }
        self.remove(key, Reason::Stopped, todo);
    }

    /// What the shutdown will say of an incarnation that has ended since it began.
    pub(super) fn note_end(&mut self, name: Arc<str>, exit: &Reason, aborted: bool) {
        let ending = match exit {
            Reason::Panicked(_) => Ending::Panicked,
            Reason::Runtime if aborted => Ending::Aborted,
            _ => Ending::Finished,
        };
        self.ends.push((name, ending));
    }

    /// When all that is left is aborted.
    pub(super) fn cut(&self) -> Option<Duration> {
        match self.stage {
            Stage::Closing { cut, .. } => Some(cut),
            Stage::Open | Stage::Closed => None,
        }
    }

    /// A significant ward ended and is not started again: so does the steward.
    #[cfg(feature = "significant")]
    pub(super) fn significant_ended(&mut self, now: Duration, todo: &mut Todo<P>) {
        let deadline = now.saturating_add(self.rules.deadline);
        self.close(deadline, now, todo);
    }

    pub(super) fn close_due(&self) -> Option<Duration> {
        match self.stage {
            Stage::Closing {
                cut, is_cut: false, ..
            } => Some(cut),
            Stage::Closing { deadline, .. } => Some(deadline),
            Stage::Open | Stage::Closed => None,
        }
    }

    /// Goes on with the closing as far as it can.
    pub(super) fn advance_close(&mut self, now: Duration, todo: &mut Todo<P>) {
        loop {
            let Stage::Closing { left, .. } = &self.stage else {
                return;
            };
            let Some(&key) = left.last() else {
                self.stage = Stage::Closed;
                todo.add(Do::Closed);
                return;
            };
            let Some(phase) = self.find_mut(key).map(|entry| &mut entry.phase) else {
                self.forget_last();
                continue;
            };
            match phase {
                Phase::Running { .. } => return self.halt(key, Intent::Close, now, todo),
                Phase::Stopping { intent, .. } => return *intent = Intent::Close,
                Phase::Waiting | Phase::Backoff(_) | Phase::Ended => {
                    self.remove(key, Reason::Stopped, todo);
                    self.forget_last();
                }
            }
        }
    }

    fn forget_last(&mut self) {
        if let Stage::Closing { left, .. } = &mut self.stage {
            left.pop();
        }
    }

    pub(super) fn tick_close(&mut self, now: Duration, todo: &mut Todo<P>) {
        let Stage::Closing {
            cut,
            is_cut,
            deadline,
            ..
        } = &mut self.stage
        else {
            return;
        };
        let deadline = *deadline;
        if !*is_cut && now >= *cut {
            *is_cut = true;
            // Who was not told before has half of the rest.
            let half = now.saturating_add(deadline.saturating_sub(now) / 2);
            for key in self.keys().into_iter().rev() {
                match &mut self.find_mut(key).expect("its key was read just now").phase {
                    Phase::Running { .. } => self.halt_until(key, half, now, todo),
                    Phase::Stopping { intent, .. } => {
                        *intent = Intent::Close;
                        self.abort(key, deadline, todo);
                    }
                    _ => {}
                }
            }
        }
        if now >= deadline {
            for key in self.keys().into_iter().rev() {
                let live = self.find(key).is_some_and(super::Entry::is_live);
                if live {
                    self.fence(key, now, todo);
                }
            }
        }
        self.advance_close(now, todo);
    }
}
