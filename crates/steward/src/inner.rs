//! What a steward, its wards and their handles share: the roster, and the doing of what it says.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_cancel::{Cause, Source};
use evenkeel_heartbeat::{Class, ClassError, Expect, Monitor};
use evenkeel_sync::Mutex;
use evenkeel_sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::runtime::Handle as Runtime;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cell::{Handle, Life};
use crate::error::StartError;
use crate::event::Reason;
use crate::events::Teller;
use crate::roster::{Do, Roster, Stage, Todo};
use crate::runner;

pub(crate) struct Inner {
    pub(crate) roster: Mutex<Roster<Handle>>,
    pub(crate) name: Arc<str>,
    pub(crate) root: Source,
    pub(crate) runtime: Runtime,
    pub(crate) monitor: Monitor,
    pub(crate) teller: Teller,
    /// The loop has to look at its timers.
    pub(crate) wake: Notify,
    /// Something changed that a handle may wait for.
    news: Notify,
    /// # Protocol
    ///
    /// How many calls wait for news. Counted before they look at the roster, and read after it was changed: the roster's lock is
    /// between, so who did not see the change is seen.
    waiting: AtomicUsize,
    epoch: Instant,
    /// # Protocol
    ///
    /// Set by the sentinel, cleared by the loop at its next turn.
    poked: AtomicBool,
    classes: Mutex<HashMap<(Duration, Duration), Class>>,
}

impl Inner {
    pub(crate) fn new(
        name: Arc<str>,
        roster: Roster<Handle>,
        root: Source,
        runtime: Runtime,
    ) -> Arc<Self> {
        Arc::new(Self {
            roster: Mutex::new(roster),
            name,
            root,
            runtime,
            monitor: Monitor::new(),
            teller: Teller::default(),
            wake: Notify::new(),
            news: Notify::new(),
            waiting: AtomicUsize::new(0),
            epoch: Instant::now(),
            poked: AtomicBool::new(false),
            classes: Mutex::default(),
        })
    }

    /// The class of pulses with this timeout and start limit.
    pub(crate) fn class(&self, timeout: Duration, start: Duration) -> Result<Class, StartError> {
        let mut classes = self.classes.lock();
        if let Some(class) = classes.get(&(timeout, start)) {
            return Ok(class.clone());
        }
        let _on = self.runtime.enter();
        let class = self
            .monitor
            .class(Expect::within(timeout).start_within(start))
            .map_err(|error| match error {
                ClassError::TooShort(timeout) => StartError::Timeout(timeout),
                _ => StartError::NoRuntime,
            })?;
        classes.insert((timeout, start), class.clone());
        Ok(class)
    }

    pub(crate) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// When `at` is; `None` if never.
    pub(crate) fn instant(&self, at: Duration) -> Option<Instant> {
        self.epoch.checked_add(at)
    }

    /// Since the steward's start, as the roster counts.
    pub(crate) fn since_epoch(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.epoch)
    }

    /// Calls the roster and does what it says.
    pub(crate) fn call<R>(
        self: &Arc<Self>,
        f: impl FnOnce(&mut Roster<Handle>, Duration, &mut Todo<Handle>) -> R,
    ) -> R {
        let mut todo = Todo::new(self.teller.is_heard());
        let now = self.now();
        let answer = f(&mut self.roster.lock(), now, &mut todo);
        self.perform(todo);
        answer
    }

    pub(crate) fn ready(self: &Arc<Self>, life: &Life) {
        self.call(|roster, now, todo| roster.ready(life.key, life.generation, now, todo));
    }

    pub(crate) fn unwell(self: &Arc<Self>, life: &Life, reason: Reason) {
        self.call(|roster, now, todo| {
            roster.unwell(life.key, life.generation, reason, now, todo);
        });
    }

    pub(crate) fn exited(self: &Arc<Self>, life: &Arc<Life>, reason: Reason) {
        life.over(&self.root, &reason);
        self.call(|roster, now, todo| {
            roster.exited(life.key, life.generation, reason, false, now, todo);
        });
    }

    /// As [`exited`](Self::exited), by the runner itself: the next incarnation to run in its task, if there is one.
    pub(crate) fn exited_in_place(
        self: &Arc<Self>,
        life: Arc<Life>,
        reason: Reason,
    ) -> Option<Arc<Life>> {
        life.over(&self.root, &reason);
        let (key, generation) = (life.key, life.generation);
        // The roster has one still, the only one perhaps.
        drop(life);
        let mut todo = Todo::new(self.teller.is_heard());
        let now = self.now();
        self.roster
            .lock()
            .exited(key, generation, reason, true, now, &mut todo);
        self.perform(todo)
    }

    /// Does it; the incarnation that is left to the caller to run, if there is one.
    fn perform(self: &Arc<Self>, todo: Todo<Handle>) -> Option<Arc<Life>> {
        let mut in_place = None;
        for this in todo {
            // A subscriber, or the destructor of what a ward has captured, is foreign: its panic keeps nothing else from being done.
            in_place = runner::contained(|| self.perform_one(this))
                .ok()
                .flatten()
                .or(in_place);
        }
        // ORDERING: Relaxed: the roster's lock orders it, see there.
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.news.notify_waiters();
        }
        in_place
    }

    fn perform_one(self: &Arc<Self>, this: Do<Handle>) -> Option<Arc<Life>> {
        match this {
            Do::Start(_, _, None, life) => return Some(life),
            Do::Start(key, generation, Some(ward), life) => {
                let task = ward.0.spawn(life);
                let doomed = self.roster.lock().spawned(key, generation, task);
                if let Some(task) = doomed {
                    task.abort();
                }
            }
            Do::Cancel(life, reason, gone_by) => {
                if let Some(at) = self.instant(gone_by) {
                    let _ = life.stop_by.set(at);
                }
                life.source(&self.root).cancel(match reason {
                    Reason::Silent | Reason::Late => Cause::Timeout,
                    Reason::Sibling | Reason::Closed | Reason::Hung => Cause::Failed,
                    Reason::Asked => Cause::Superseded,
                    _ => Cause::Shutdown,
                });
            }
            Do::Abort(task) => task.abort(),
            Do::Fence(ward, generation, life) => {
                ward.0.fence(generation);
                if let Some(nested) = life.and_then(|life| life.nested.get()?.upgrade()) {
                    nested.abandon();
                }
            }
            Do::Tell(event) => self.teller.tell(&self.name, event),
            Do::Leave(ward) => ward.0.end(),
            Do::Drop(life) => drop(life),
            Do::Wake => self.wake.notify_one(),
            Do::Closed => {
                self.root.cancel(Cause::Shutdown);
                self.wake.notify_one();
            }
        }
        None
    }

    /// Waits until `f` finds in the roster what it looks for.
    pub(crate) async fn until<R>(&self, mut f: impl FnMut(&Roster<Handle>) -> Option<R>) -> R {
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let mut news = pin!(self.news.notified());
            news.as_mut().enable();
            if let Some(found) = f(&self.roster.lock()) {
                return found;
            }
            news.await;
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.roster.lock().stage, Stage::Closed)
    }

    /// Asks the loop for an answer.
    pub(crate) fn poke(&self) {
        // ORDERING: Relaxed: the flag publishes nothing, and the wake-up brings it along.
        self.poked.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// The loop turns.
    pub(crate) fn answer(&self) {
        // ORDERING: Relaxed: as above; an answer seen late is an answer.
        self.poked.store(false, Ordering::Relaxed);
    }

    pub(crate) fn has_answered(&self) -> bool {
        // ORDERING: Relaxed: as above.
        !self.poked.load(Ordering::Relaxed)
    }

    /// The incarnations that are inside a poll at this instant.
    pub(crate) fn polled(&self) -> Vec<Arc<Life>> {
        let roster = self.roster.lock();
        let lives = roster.entries().filter_map(|entry| entry.life.as_ref());
        lives
            .filter(|life| life.poll().is_some())
            .cloned()
            .collect()
    }

    /// How long this incarnation may be silent.
    pub(crate) fn timeout(&self, life: &Life) -> Option<Duration> {
        self.roster.lock().find(life.key)?.terms.timeout
    }

    /// Nobody waits for the wards any more: they are cancelled at once, aborted and fenced.
    pub(crate) fn abandon(self: &Arc<Self>) {
        self.call(|roster, now, todo| {
            roster.close(now, now, todo);
            roster.tick(now, todo);
        });
        // Closed before, or who obeys at once were started again.
        self.root.cancel(Cause::Shutdown);
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        // ORDERING: Relaxed, as for the read.
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // ORDERING: Relaxed: one that is counted too long is told for nothing.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
