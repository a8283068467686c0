//! How an incarnation is made to go: cancel, grace, abort, second grace, fence.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Do, Intent, Key, Phase, Port, Roster, Rung, Stage, Todo};
use crate::event::{Reason, What};

impl<P: Port> Roster<P> {
    /// The next rung for an incarnation that is still there, if its time has come.
    pub(crate) fn climb(&mut self, key: Key, generation: u32, now: Duration, todo: &mut Todo<P>) {
        let Some(entry) = self.find_mut(key) else {
            return;
        };
        let Phase::Stopping { until, rung, .. } = entry.phase else {
            return;
        };
        if entry.generation != generation || until > now {
            return;
        }
        let again = now.saturating_add(entry.terms.abort_grace);
        match rung {
            Rung::Cancelled => self.abort(key, again, todo),
            Rung::Aborted => self.fence(key, now, todo),
        }
    }

    /// The steward was kept from running for `late`: so were its wards, and the time does not count against them.
    pub(crate) fn forgive(&mut self, late: Duration) {
        for key in self.keys() {
            let entry = self.find_mut(key).expect("its key was read just now");
            let (Phase::Running {
                unready: Some(until),
                ..
            }
            | Phase::Stopping { until, .. }) = &mut entry.phase
            else {
                continue;
            };
            *until = until.saturating_add(late);
            let at = *until;
            self.timers.push(Reverse((at, key)));
        }
    }

    /// Someone saw a sign of failure in a live incarnation. Silence is believed only if the pulse is silent still: the
    /// word for it may be old by now.
    pub(crate) fn unwell(
        &mut self,
        key: Key,
        generation: u32,
        reason: Reason,
        now: Duration,
        todo: &mut Todo<P>,
    ) {
        let Some(entry) = self.find_mut(key).filter(|e| e.generation == generation) else {
            return;
        };
        if !matches!(entry.phase, Phase::Running { .. }) {
            return;
        }
        let silent_still = entry.life.as_ref().is_some_and(P::is_silent);
        if matches!(reason, Reason::Silent) && !silent_still {
            return;
        }
        self.halt(key, Intent::Heal(reason), now, todo);
    }

    /// A handle asks its ward to go for good. False if it has gone already.
    pub(crate) fn stop(&mut self, key: Key, now: Duration, todo: &mut Todo<P>) -> bool {
        let Some(entry) = self.find_mut(key) else {
            return false;
        };
        match &mut entry.phase {
            Phase::Running { .. } => self.halt(key, Intent::Stop, now, todo),
            Phase::Stopping { intent, .. } => {
                if !matches!(intent, Intent::Close) {
                    *intent = Intent::Stop;
                }
            }
            Phase::Waiting | Phase::Backoff(_) | Phase::Ended => {
                self.remove(key, Reason::Stopped, todo);
                self.advance_group(now, todo);
                self.advance_close(now, todo);
            }
        }
        true
    }

    /// A handle asks for a new incarnation. False if the ward has gone, or is told to.
    pub(crate) fn restart(&mut self, key: Key, now: Duration, todo: &mut Todo<P>) -> bool {
        if !matches!(self.stage, Stage::Open) {
            return false;
        }
        let Some(entry) = self.find_mut(key) else {
            return false;
        };
        match &mut entry.phase {
            Phase::Running { .. } => self.halt(key, Intent::Restart, now, todo),
            Phase::Stopping { intent, .. } => match intent {
                Intent::Heal(_) => *intent = Intent::Restart,
                Intent::Restart | Intent::Group => {}
                Intent::Stop | Intent::Close => return false,
            },
            Phase::Backoff(_) | Phase::Ended => self.start(key, now, todo),
            Phase::Waiting => {}
        }
        true
    }

    /// Sets an incarnation on the first rung.
    pub(super) fn halt(&mut self, key: Key, intent: Intent, now: Duration, todo: &mut Todo<P>) {
        let cut = self.cut();
        let entry = self.find_mut(key).expect("a ward to halt is in its place");
        let reason = match &intent {
            Intent::Heal(reason) => reason.clone(),
            Intent::Restart => Reason::Asked,
            Intent::Group => Reason::Sibling,
            Intent::Stop | Intent::Close => Reason::Stopped,
        };
        let healthy = entry.healthy(now, &reason);
        entry.forget(healthy);
        let until = now.saturating_add(entry.terms.grace);
        let gone_by = cut.map_or(until, |cut| cut.min(until));
        entry.phase = Phase::Stopping {
            since: now,
            intent,
            rung: Rung::Cancelled,
            until,
        };
        let life = entry.life.clone();
        entry.tell(What::Stopping(reason.clone()), todo);
        todo.add(life.map(|life| Do::Cancel(life, reason, gone_by)));
        self.alarm(until, key, todo);
    }

    /// As [`halt`](Self::halt), since the steward closes, with `until` as the end of the grace if that is earlier.
    pub(super) fn halt_until(
        &mut self,
        key: Key,
        until: Duration,
        now: Duration,
        todo: &mut Todo<P>,
    ) {
        self.halt(key, Intent::Close, now, todo);
        let phase = self.find_mut(key).map(|entry| &mut entry.phase);
        if let Some(Phase::Stopping { until: u, .. }) = phase {
            *u = until.min(*u);
            let at = *u;
            self.alarm(at, key, todo);
        }
    }

    /// The second rung: the task is dropped at its next await.
    pub(super) fn abort(&mut self, key: Key, until: Duration, todo: &mut Todo<P>) {
        let Some(entry) = self.find_mut(key) else {
            return;
        };
        let Phase::Stopping { rung, until: u, .. } = &mut entry.phase else {
            return;
        };
        if *rung == Rung::Aborted {
            *u = until.min(*u);
        } else {
            *rung = Rung::Aborted;
            *u = until;
            entry.doomed = true;
            let task = entry.task.take();
            entry.tell(What::Aborted, todo);
            todo.add(task.map(Do::Abort));
        }
        self.alarm(until, key, todo);
    }

    /// The last rung: it stays behind, fenced, and counts as gone.
    pub(super) fn fence(&mut self, key: Key, now: Duration, todo: &mut Todo<P>) {
        let entry = self.find_mut(key).expect("a ward to fence is in its place");
        let zombie = (key, entry.generation, entry.name.clone());
        todo.add(Do::Fence(
            entry.port.clone(),
            entry.generation,
            entry.life.clone(),
        ));
        entry.tell(What::Leaked, todo);
        self.zombies.push(zombie);
        if self.zombies.len() > self.rules.max_zombies && matches!(self.stage, Stage::Open) {
            let entry = self.find_mut(key).expect("a ward to fence is in its place");
            let reason = match &entry.phase {
                Phase::Stopping {
                    intent: Intent::Heal(reason),
                    ..
                } => reason.clone(),
                _ => Reason::Hung,
            };
            todo.add(entry.life.take().map(Do::Drop));
            entry.phase = Phase::Waiting;
            self.escalate(key, reason, now, todo);
            return;
        }
        self.leave(key, Reason::Hung, now, todo);
    }

    /// Something is to happen to this ward at `at`.
    pub(super) fn alarm(&mut self, at: Duration, key: Key, todo: &mut Todo<P>) {
        if at == Duration::MAX {
            return;
        }
        let sooner = self.next().is_none_or(|next| at < next);
        self.timers.push(Reverse((at, key)));
        if sooner {
            todo.add(Do::Wake);
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn next(&self) -> Option<Duration> {
        let ward = self.timers.peek().map(|Reverse((at, _))| *at);
        [ward, self.group_due(), self.close_due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due. A timer that its ward has left behind is void: the phase names the time it waits for.
    pub(crate) fn tick(&mut self, now: Duration, todo: &mut Todo<P>) {
        self.tick_close(now, todo);
        while let Some(&Reverse((at, key))) = self.timers.peek() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(entry) = self.find_mut(key) else {
                continue;
            };
            match entry.phase {
                Phase::Backoff(until) if until == at => self.start(key, now, todo),
                Phase::Running {
                    unready: Some(until),
                    ..
                } if until == at => self.halt(key, Intent::Heal(Reason::Late), now, todo),
                Phase::Stopping { until, .. } if until == at => {
                    let generation = entry.generation;
                    self.climb(key, generation, now, todo);
                }
                _ => {}
            }
        }
        self.advance_group(now, todo);
    }
}
