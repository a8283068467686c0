//! The wards of one steward and all that may happen to them: a state machine without clock, tasks or tokio.
//!
//! # Protocol
//!
//! The roster stands behind one lock. A ward's runner, its handles, the steward's loop and the sentinel's thread call it in
//! any order; `now` is the time since the steward's start. What there is to do outside (start, cancel, abort, fence, tell)
//! is written into a [`Todo`] and done once the lock is given back, since it may run foreign code. So an order can be
//! overtaken by events, and every report names the [`Key`] and the generation it is about:
//!
//! - `key` names a place and its tenant: a place used again has another `seq`, and what is said to the old one is void.
//! - an incarnation is *live* in `Running` and `Stopping`, as long as its generation is the ward's. It leaves them once, by
//!   its exit or by the fence, whichever comes first; only then can the next one start. The exit of one that is not live
//!   is that of a zombie, and touches nothing but the zombies' count.
//! - a failure is counted where an incarnation leaves, so silence, cancellation and exit together count once.

mod close;
mod entry;
mod group;
mod ladder;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Event, Reason, What};
use crate::rules::{Chance, Restart, Strategy, Window};

pub(crate) use close::{Ending, Stage};
pub(crate) use entry::{Do, Entry, Intent, Key, Phase, Port, Rules, Rung, Terms, Todo};
use group::Group;

/// Why a ward was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Closed,
    Full(usize),
    Duplicate,
}

pub(crate) struct Roster<P: Port> {
    pub(crate) rules: Rules,
    pub(crate) stage: Stage,
    /// Why the steward gave up.
    pub(crate) failure: Option<(Arc<str>, Reason)>,
    pub(crate) restarts: u64,
    pub(crate) zombies: Vec<(Key, u32, Arc<str>)>,
    pub(crate) ends: Vec<(Arc<str>, Ending)>,
    places: Vec<Option<Entry<P>>>,
    free: Vec<u32>,
    names: HashMap<Arc<str>, u32>,
    next_seq: u64,
    timers: BinaryHeap<Reverse<(Duration, Key)>>,
    window: Window,
    chance: Chance,
    group: Option<Group>,
    /// The life of an incarnation that just left, for the next one of its ward if that is started at once.
    spent: Option<(Key, P::Life)>,
    /// That one may run in the task of the one before.
    in_place: bool,
    /// It began to close before its first start was over.
    cut_short: bool,
    /// Those of the ward that was added last, since the next one often has the same.
    terms: Option<Arc<Terms>>,
}

impl<P: Port> Roster<P> {
    pub(crate) fn new(rules: Rules, seed: u64) -> Self {
        Self {
            rules,
            stage: Stage::Open,
            failure: None,
            restarts: 0,
            zombies: Vec::new(),
            ends: Vec::new(),
            places: Vec::new(),
            free: Vec::new(),
            names: HashMap::new(),
            next_seq: 0,
            timers: BinaryHeap::new(),
            window: Window::default(),
            chance: Chance::new(seed),
            group: None,
            spent: None,
            in_place: false,
            cut_short: false,
            terms: None,
        }
    }

    /// Takes a ward in and starts it.
    pub(crate) fn add(
        &mut self,
        name: Arc<str>,
        terms: Terms,
        port: P,
        now: Duration,
        todo: &mut Todo<P>,
    ) -> Result<Key, Refused> {
        if !matches!(self.stage, Stage::Open) {
            return Err(Refused::Closed);
        }
        if self.names.len() >= self.rules.max_wards {
            return Err(Refused::Full(self.rules.max_wards));
        }
        if self.names.contains_key(&name) {
            return Err(Refused::Duplicate);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 wards")
        });
        let seq = self.next_seq;
        self.next_seq += 1;
        self.names.insert(Arc::clone(&name), index);
        if !self.terms.as_ref().is_some_and(|last| **last == terms) {
            self.terms = None;
        }
        let terms = Arc::clone(self.terms.get_or_insert_with(|| Arc::new(terms)));
        self.places[index as usize] = Some(Entry {
            seq,
            name,
            generation: 0,
            failures: 0,
            restarts: 0,
            phase: Phase::Waiting,
            terms,
            last: None,
            port,
            life: None,
            task: None,
            doomed: false,
        });
        let key = Key { seq, index };
        if !self.joins_group(key) {
            self.start(key, now, todo);
        }
        Ok(key)
    }

    /// The task of an incarnation is known; given back if it is to be aborted at once.
    pub(crate) fn spawned(&mut self, key: Key, generation: u32, task: P::Task) -> Option<P::Task> {
        let entry = self
            .find_mut(key)
            .filter(|e| e.generation == generation && e.is_live())?;
        if entry.doomed {
            return Some(task);
        }
        entry.task = Some(task);
        None
    }

    /// An incarnation has ended. Called exactly once for each that was started; `goes_on` by its task, which may then run the next one
    /// in place: not if it is that of a zombie, or is to be aborted, nor within a group, where it would overtake the others.
    pub(crate) fn exited(
        &mut self,
        key: Key,
        generation: u32,
        reason: Reason,
        goes_on: bool,
        now: Duration,
        todo: &mut Todo<P>,
    ) {
        let alone = self.rules.strategy == Strategy::OneForOne && self.is_ready();
        let live = self
            .find_mut(key)
            .filter(|e| e.generation == generation && e.is_live());
        if let Some(entry) = live {
            self.in_place = goes_on && alone && !entry.doomed && entry.task.is_some();
            self.leave(key, reason, now, todo);
            self.in_place = false;
            return;
        }
        if let Some(at) = self
            .zombies
            .iter()
            .position(|z| z.0 == key && z.1 == generation)
        {
            let (_, _, ward) = self.zombies.swap_remove(at);
            if matches!(self.stage, Stage::Closing { .. } | Stage::Closed) {
                self.note_end(Arc::clone(&ward), &reason, true);
            }
            if todo.listened {
                todo.add(Do::Tell(Event {
                    ward,
                    generation,
                    what: What::ZombieGone,
                }));
            }
        }
    }

    /// An incarnation said that it is ready.
    pub(crate) fn ready(
        &mut self,
        key: Key,
        generation: u32,
        now: Duration,
        todo: &mut Todo<P>,
    ) -> bool {
        let Some(entry) = self.find_mut(key).filter(|e| e.generation == generation) else {
            return false;
        };
        let Phase::Running { unready, .. } = &mut entry.phase else {
            return false;
        };
        if unready.take().is_some() {
            entry.tell(What::Ready, todo);
            self.advance_group(now, todo);
        }
        true
    }

    /// The incarnation that was live is gone, by its exit or by the fence: what follows?
    fn leave(&mut self, key: Key, exit: Reason, now: Duration, todo: &mut Todo<P>) {
        let open = matches!(self.stage, Stage::Open);
        let entry = self.find_mut(key).expect("a live ward is in its place");
        let healthy = entry.healthy(now, &exit);
        entry.forget(healthy);
        let spent = entry.life.take();
        // One that was dropped unasked lost its runtime.
        let aborted = std::mem::take(&mut entry.doomed);
        let lost = matches!(exit, Reason::Runtime) && !aborted;
        let (intent, since) = match std::mem::replace(&mut entry.phase, Phase::Waiting) {
            Phase::Stopping { intent, since, .. } => (intent, since),
            _ => (Intent::Heal(exit.clone()), now),
        };
        self.spent = spent.map(|life| (key, life));
        match intent {
            Intent::Stop => self.remove(key, Reason::Stopped, todo),
            _ if !open => self.closed_one(key, &exit, aborted, todo),
            _ if lost => self.remove(key, exit, todo),
            Intent::Heal(reason) => self.failed(key, reason, now.saturating_sub(since), now, todo),
            Intent::Restart => {
                let entry = self.find_mut(key).expect("a live ward is in its place");
                entry.last = Some(Reason::Asked);
                if !self.joins_group(key) {
                    self.start(key, now, todo);
                }
            }
            Intent::Group | Intent::Close => {
                let entry = self.find_mut(key).expect("a live ward is in its place");
                entry.last = Some(Reason::Sibling);
            }
        }
        todo.add(self.spent.take().map(|(_, life)| Do::Drop(life)));
        self.advance_group(now, todo);
        self.advance_close(now, todo);
    }

    /// A ward failed, or ended though it should not: its rules, and then the steward's, say what follows.
    fn failed(
        &mut self,
        key: Key,
        reason: Reason,
        cost: Duration,
        now: Duration,
        todo: &mut Todo<P>,
    ) {
        let Rules {
            strategy,
            intensity,
            ..
        } = self.rules;
        let fails_start = reason.is_failure() && self.fails_first_start(key);
        let entry = self
            .find_mut(key)
            .expect("a ward that failed is in its place");
        let again = match entry.terms.restart {
            Restart::Permanent => true,
            Restart::Transient => reason.is_failure(),
            Restart::Temporary => false,
        };
        if !again && !fails_start {
            let keeps_place =
                strategy != Strategy::OneForOne && entry.terms.restart == Restart::Transient;
            self.ended(key, reason, keeps_place, now, todo);
            return;
        }
        if self.fails_first_start(key) || !self.window.admit(intensity, now) {
            self.escalate(key, reason, now, todo);
            return;
        }
        let chance = self.chance.draw();
        self.restarts += 1;
        let entry = self
            .find_mut(key)
            .expect("a ward that failed is in its place");
        entry.failures = entry.failures.saturating_add(1);
        entry.last = Some(reason.clone());
        let delay = entry.terms.backoff.delay(entry.failures, chance);
        let what = What::Restarting {
            reason,
            cost,
            delay,
        };
        entry.tell(what, todo);
        match strategy {
            Strategy::OneForOne => self.start_after(key, delay, now, todo),
            Strategy::OneForAll => self.regroup(0, delay, now),
            Strategy::RestForOne => self.regroup(key.seq, delay, now),
        }
    }

    fn start_after(&mut self, key: Key, delay: Duration, now: Duration, todo: &mut Todo<P>) {
        if delay.is_zero() {
            self.start(key, now, todo);
            return;
        }
        let at = now.saturating_add(delay);
        self.find_mut(key).expect("it is in its place").phase = Phase::Backoff(at);
        self.alarm(at, key, todo);
    }

    /// Starts the next incarnation of a ward that has none.
    fn start(&mut self, key: Key, now: Duration, todo: &mut Todo<P>) {
        let spent = self.spent.take_if(|(of, _)| *of == key);
        let mut spent = spent.map(|(_, life)| life);
        let in_place = self.in_place && spent.is_some();
        let entry = self.find_mut(key).expect("a ward to start is in its place");
        debug_assert!(!entry.is_live(), "two incarnations at once");
        entry.restarts += u32::from(entry.generation > 0);
        entry.generation += 1;
        let generation = entry.generation;
        let unready = entry
            .terms
            .ready_within
            .map(|limit| now.saturating_add(limit));
        entry.phase = Phase::Running {
            since: now,
            unready,
        };
        let life = entry.port.conceive(key, generation, &mut spent);
        todo.add(spent.map(Do::Drop));
        entry.life = Some(life.clone());
        let port = (!in_place).then(|| entry.port.clone());
        if !in_place {
            // That of an incarnation before, which has ended: an abort is not for it.
            entry.task = None;
        }
        entry.tell(What::Started, todo);
        todo.add(Do::Start(key, generation, port, life));
        if let Some(at) = unready {
            self.alarm(at, key, todo);
        }
    }

    /// A ward that is not live leaves the roster.
    fn remove(&mut self, key: Key, reason: Reason, todo: &mut Todo<P>) {
        let entry = self.places[key.index as usize]
            .take()
            .expect("a ward to remove is in its place");
        self.names.remove(&entry.name);
        self.free.push(key.index);
        entry.port.ended(&reason);
        entry.tell(What::Ended(reason), todo);
        todo.add(Do::Leave(entry.port));
    }

    fn ended(
        &mut self,
        key: Key,
        reason: Reason,
        keeps_place: bool,
        now: Duration,
        todo: &mut Todo<P>,
    ) {
        #[cfg(feature = "significant")]
        let significant = self.find_mut(key).is_some_and(|e| e.terms.significant);
        if keeps_place {
            let entry = self.find_mut(key).expect("it is in its place");
            entry.phase = Phase::Ended;
            entry.last = Some(reason.clone());
            entry.tell(What::Ended(reason), todo);
        } else {
            self.remove(key, reason, todo);
        }
        #[cfg(feature = "significant")]
        if significant {
            self.significant_ended(now, todo);
        }
        #[cfg(not(feature = "significant"))]
        let _ = now;
    }

    pub(crate) fn find(&self, key: Key) -> Option<&Entry<P>> {
        let entry = self.places.get(key.index as usize)?.as_ref()?;
        (entry.seq == key.seq).then_some(entry)
    }

    fn find_mut(&mut self, key: Key) -> Option<&mut Entry<P>> {
        let entry = self.places.get_mut(key.index as usize)?.as_mut()?;
        (entry.seq == key.seq).then_some(entry)
    }

    /// The incarnation of this name that there is now.
    pub(crate) fn by_name(&self, name: &str) -> Option<(Key, &Entry<P>)> {
        let index = *self.names.get(name)?;
        let entry = self.places[index as usize].as_ref()?;
        let seq = entry.seq;
        Some((Key { seq, index }, entry))
    }

    /// All wards, in no order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry<P>> {
        self.places.iter().flatten()
    }

    /// All wards, in the order of their start.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = (0u32..)
            .zip(&self.places)
            .filter_map(|(index, place)| {
                let seq = place.as_ref()?.seq;
                Some(Key { seq, index })
            })
            .collect();
        keys.sort_unstable();
        keys
    }
}
