//! The monitor: classes of pulses, and the one task that scans them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_sync::Mutex;
use evenkeel_sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::changes::Outbox;
use crate::drive::{End, watch};
use crate::expect::Timing;
use crate::planes::{News, Place, Planes};
use crate::{Change, Changes, ClassError, Expect, Health, Heartbeat, PulseId, Quality, Watched};

/// Pulses of one class in one allocation: a line of 512 bits, and what goes with them.
pub(crate) struct Block {
    /// Which block of the monitor, and of its class.
    number: u32,
    index: u32,
    pub(crate) planes: Planes<8, 64>,
    pub(crate) timing: Arc<Timing>,
    pub(crate) outbox: Arc<Outbox>,
}

impl Block {
    /// The slot has a place again.
    pub(crate) fn open(&self) {
        self.timing.open.lock().insert(self.index);
    }

    pub(crate) fn id(&self, place: Place) -> PulseId {
        PulseId {
            block: self.number,
            place,
        }
    }

    pub(crate) fn change(&self, news: News) -> Change {
        Change {
            pulse: self.id(news.place),
            name: self.outbox.name_of(news.name),
            health: news.health,
        }
    }
}

pub(crate) type Blocks = Mutex<Vec<Arc<Block>>>;

pub(crate) fn block(blocks: &Blocks, at: u32) -> Option<Arc<Block>> {
    blocks.lock().get(at as usize).cloned()
}

pub(crate) struct ClassState {
    pub(crate) timing: Arc<Timing>,
    pub(crate) blocks: Blocks,
    /// Set by a task on the runtime of the pulses, if that is another than ours: while it is not, nobody there is heard,
    /// and nobody is to blame.
    pub(crate) canary: Option<Arc<Canary>>,
}

/// Whether a runtime has time for anybody.
///
/// # Protocol
///
/// Its task sets `heard`, the scan takes it; `gone` is set once, when the runtime has dropped the task. Neither publishes anything.
#[derive(Default)]
pub(crate) struct Canary {
    heard: AtomicBool,
    gone: AtomicBool,
}

impl Canary {
    /// Whether it was heard since the last call. A runtime that has ended is not starved: who holds a pulse still is to blame.
    pub(crate) fn is_heard(&self) -> bool {
        // ORDERING: Relaxed: a beat publishes nothing.
        self.heard.swap(false, Ordering::Relaxed) || self.gone.load(Ordering::Relaxed)
    }
}

/// Dropped with the canary's task.
struct Gone(Arc<Canary>);

impl Drop for Gone {
    fn drop(&mut self) {
        // ORDERING: Relaxed: it publishes nothing.
        self.0.gone.store(true, Ordering::Relaxed);
    }
}

/// What the monitor's task shares with the handles.
///
/// # Protocol
///
/// `turns`, the monitor's own pulse, is raised by the task alone and publishes nothing.
pub(crate) struct Shared {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) classes: Mutex<Vec<Arc<ClassState>>>,
    /// Those of all classes.
    blocks: Blocks,
    /// There is a class that the task does not know.
    pub(crate) fresh: Notify,
    turns: AtomicU64,
    own: Mutex<Own>,
}

/// How the monitor's task fares.
struct Own {
    health: Health,
    /// Until when it turns again, if it is in time.
    until: Option<Instant>,
}

impl Shared {
    /// A turn of the task, the next of which comes `until` then; `late` if it cannot keep its word to some class.
    pub(crate) fn turn(&self, late: bool, until: Option<Instant>) {
        // ORDERING: Relaxed: it publishes nothing.
        self.turns.fetch_add(1, Ordering::Relaxed);
        let health = if late { Health::Stalled } else { Health::Live };
        let before = std::mem::replace(&mut *self.own.lock(), Own { health, until });
        if (before.health == Health::Stalled) != late {
            self.outbox.put_own(health);
        }
    }

    pub(crate) fn turns(&self) -> u64 {
        // ORDERING: Relaxed: it publishes nothing.
        self.turns.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.own.lock().health = Health::Closed;
        self.outbox.close();
    }

    pub(crate) fn health(&self) -> Health {
        let own = self.own.lock();
        // Whoever asks may be the only one that is not blocked.
        let overdue = own.until.is_some_and(|until| until < Instant::now());
        if overdue && own.health == Health::Live {
            return Health::Stalled;
        }
        own.health
    }
}

/// Ends the tasks with the last handle.
pub(crate) struct Keep {
    pub(crate) shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
    canaries: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Keep {
    fn drop(&mut self) {
        let canaries = self.canaries.get_mut().drain(..);
        for task in canaries.chain(self.task.get_mut().take()) {
            task.abort();
        }
    }
}

/// Watches any number of pulses from one task with one timer.
///
/// The time of a silence is what the monitor has witnessed: it looks twelve times a timeout, and each look counts once,
/// however long ago the last one was. One that comes late by more than a twelfth counts for nothing, nor does the one
/// after it. So a stopped process, a suspended machine or a starved runtime holds no silence against the workers, and a hang is
/// found all the same, once the monitor runs in time again. While it is as late as that it says so, as [`Stalled`](Health::Stalled) under
/// [`PulseId::MONITOR`].
///
/// Cheap to clone. The task ends when the last [`Monitor`], [`Class`] and [`Changes`] of it are gone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), evenkeel_heartbeat::ClassError> {
/// use std::time::Duration;
/// use evenkeel_heartbeat::{Expect, Health, Heartbeat, Monitor};
///
/// let monitor = Monitor::new();
/// let mut changes = monitor.changes();
/// let class = monitor.class(Expect::within(Duration::from_secs(2)))?;
/// let pulse = class.register("ingest");
/// pulse.beat();
/// // The worker hangs here, with its pulse in hand.
/// let change = changes.next().await.unwrap();
/// assert_eq!((&*change.name, change.health), ("ingest", Health::Silent));
/// assert_eq!(monitor.health(change.pulse), Health::Silent);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Monitor {
    pub(crate) keep: Arc<Keep>,
}

impl Default for Monitor {
    fn default() -> Self {
        Self::new()
    }
}

impl Monitor {
    /// A monitor without classes. Its task starts with the first class.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keep: Arc::new(Keep {
                shared: Arc::new(Shared {
                    outbox: Arc::default(),
                    classes: Mutex::default(),
                    blocks: Blocks::default(),
                    fresh: Notify::new(),
                    turns: AtomicU64::new(0),
                    own: Mutex::new(Own {
                        health: Health::Starting,
                        until: None,
                    }),
                }),
                task: Mutex::default(),
                canaries: Mutex::default(),
            }),
        }
    }

    /// A class of pulses of which the same is expected.
    ///
    /// The monitor's task runs on the runtime that the first class was made on; once that has shut down, on that of the
    /// next.
    ///
    /// # Errors
    ///
    /// If the timeout is below 40 ms, and outside a tokio runtime.
    pub fn class(&self, expect: Expect) -> Result<Class, ClassError> {
        self.new_class(expect, None)
    }

    /// A class of pulses whose workers run on another runtime than the monitor.
    ///
    /// A task of the monitor beats on that runtime. While it is not heard, the runtime has no time for anybody, and
    /// nobody of the class is accused of it: the one alarm is for the pulse named `runtime`, and says
    /// [`Starved`](Health::Starved). One that is late again and again by more than a twelfth of the timeout is not starved yet, and a
    /// silence there takes longer to be found. With a monitor on the same runtime none of this is needed, for it is late then
    /// itself.
    ///
    /// # Errors
    ///
    /// As [`class`](Self::class).
    ///
    /// # Panics
    ///
    /// If `runtime` has no clock (`enable_time`).
    pub fn class_on(&self, runtime: &Handle, expect: Expect) -> Result<Class, ClassError> {
        {
            let _inside = runtime.enter();
            // Panics here, rather than in the task.
            drop(sleep(Duration::ZERO));
        }
        let canary = Arc::new(Canary::default());
        let class = self.new_class(expect, Some(Arc::clone(&canary)))?;
        let pulse = self.new_class(expect, None)?.register("runtime");
        // What its silence is called.
        let (block, place) = pulse.place();
        block.planes.wake(place, true);
        let period = class.state.timing.period / 2;
        let gone = Gone(canary);
        let canary = runtime.spawn(async move {
            loop {
                pulse.beat();
                // ORDERING: Relaxed: a beat publishes nothing.
                gone.0.heard.store(true, Ordering::Relaxed);
                sleep(period).await;
            }
        });
        self.keep.canaries.lock().push(canary);
        Ok(class)
    }

    fn new_class(&self, expect: Expect, canary: Option<Arc<Canary>>) -> Result<Class, ClassError> {
        let runtime = Handle::try_current().map_err(|_| ClassError::NoRuntime)?;
        let state = Arc::new(ClassState {
            timing: Arc::new(Timing::new(expect)?),
            blocks: Blocks::default(),
            canary,
        });
        let shared = &self.keep.shared;
        shared.classes.lock().push(Arc::clone(&state));
        shared.fresh.notify_one();
        let mut task = self.keep.task.lock();
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            shared.own.lock().health = Health::Starting;
            shared.outbox.open();
            *task = Some(runtime.spawn(watch(End(Arc::clone(shared)))));
        }
        drop(task);
        Ok(Class {
            monitor: self.clone(),
            state,
        })
    }

    /// All changes from now on. Any number of listeners; each gets them all.
    pub fn changes(&self) -> Changes {
        Changes::new(self.clone(), &self.keep.shared.outbox)
    }

    /// How a pulse fares at this instant, beats since the last scan included: what to ask just before acting on a
    /// [`Change`]. [`Health::Closed`] if its handle is gone, or its slot another's by now.
    #[must_use]
    pub fn health(&self, pulse: PulseId) -> Health {
        if pulse == PulseId::MONITOR {
            return self.keep.shared.health();
        }
        match block(&self.keep.shared.blocks, pulse.block) {
            Some(block) => block.planes.health(pulse.place, block.timing.now()),
            None => Health::Closed,
        }
    }

    /// Whether the pulse has beaten since it was registered.
    #[cfg(feature = "health")]
    pub(crate) fn has_started(&self, pulse: PulseId) -> bool {
        block(&self.keep.shared.blocks, pulse.block)
            .is_some_and(|block| block.planes.has_started(pulse.place))
    }

    /// Every registered pulse as it fares at this instant. Takes time in proportion to their number.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Change> {
        let mut all = Vec::new();
        for at in 0.. {
            let Some(block) = block(&self.keep.shared.blocks, at) else {
                break;
            };
            let now = block.timing.now();
            block.planes.each(now, |news| all.push(block.change(news)));
        }
        all
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("classes", &self.keep.shared.classes.lock().len())
            .finish_non_exhaustive()
    }
}

/// Pulses of which a [`Monitor`] expects the same, made by [`Monitor::class`].
///
/// A handful of classes is cheap; a class for each pulse is not, since each is scanned apart, for as long as there is the
/// monitor.
#[derive(Clone)]
pub struct Class {
    monitor: Monitor,
    pub(crate) state: Arc<ClassState>,
}

impl Class {
    /// A new pulse. It is [starting](Health::Starting) until its first beat.
    ///
    /// Names need not be unique; a name that many share is kept once. The monitor keeps about 17 bytes a pulse.
    pub fn register(&self, name: &str) -> Watched {
        let timing = &self.state.timing;
        let outbox = &self.monitor.keep.shared.outbox;
        let name = outbox.name(name);
        let mut open = timing.open.lock();
        loop {
            let block = match open.first().copied() {
                Some(at) => block(&self.state.blocks, at),
                None => None,
            };
            let block = block.unwrap_or_else(|| {
                let block = self.add_block();
                open.insert(block.index);
                block
            });
            let limit = timing.limit(timing.expect.start);
            if let Some(place) = block.planes.insert(name, limit) {
                drop(open);
                return Watched::new(block, place, name);
            }
            open.remove(&block.index);
        }
    }

    /// What is expected of its pulses.
    pub fn expect(&self) -> Expect {
        self.state.timing.expect
    }

    /// How good the monitoring of its pulses was so far.
    #[must_use]
    pub fn quality(&self) -> Quality {
        self.state.timing.record.lock().quality()
    }

    /// The monitor that watches it.
    #[must_use]
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    fn add_block(&self) -> Arc<Block> {
        let shared = &self.monitor.keep.shared;
        let mut all = shared.blocks.lock();
        let mut own = self.state.blocks.lock();
        let block = Arc::new(Block {
            number: all.len() as u32,
            index: own.len() as u32,
            planes: Planes::new(),
            timing: Arc::clone(&self.state.timing),
            outbox: Arc::clone(&shared.outbox),
        });
        all.push(Arc::clone(&block));
        own.push(Arc::clone(&block));
        block
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Class")
            .field("expect", &self.expect())
            .finish_non_exhaustive()
    }
}
