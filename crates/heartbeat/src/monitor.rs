//! The monitor: classes of pulses, and the one task that scans them.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use evenkeel_sync::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::events::{Outbox, Wakers};
use crate::expect::Timing;
use crate::planes::{News, Planes, TICKS};
use crate::{Change, ClassError, Events, Expect, Health, PulseId, Watched};

/// Pulses of one class in one allocation: a line of 512 bits, and what goes with them.
pub(crate) struct Block {
    /// Which block of the monitor, and of its class.
    pub(crate) number: u32,
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

    fn change(&self, news: News) -> Change {
        Change {
            pulse: PulseId {
                block: self.number,
                place: news.place,
            },
            name: self.outbox.name_of(news.name),
            health: news.health,
        }
    }
}

type Blocks = RwLock<Vec<Arc<Block>>>;

fn block(blocks: &Blocks, at: u32) -> Option<Arc<Block>> {
    let blocks = blocks.read().unwrap_or_else(PoisonError::into_inner);
    blocks.get(at as usize).cloned()
}

struct ClassState {
    timing: Arc<Timing>,
    blocks: Blocks,
}

struct Shared {
    outbox: Arc<Outbox>,
    classes: Mutex<Vec<Arc<ClassState>>>,
    /// Those of all classes.
    blocks: Blocks,
    /// There is a class that the task does not know.
    fresh: Notify,
}

/// Ends the task with the last handle.
struct Keep {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Keep {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

/// Watches any number of pulses from one task with one timer.
///
/// The time of a silence is what the monitor has witnessed: a scan adds at most a period of it, however long ago the
/// last one was, and one that comes late by more than that adds none, nor does the one after it. So a stopped process, a
/// suspended machine or a starved runtime holds no silence against the workers, and a hang is found all the same.
///
/// Cheap to clone. The task ends when the last [`Monitor`], [`Class`] and [`Events`] of it are gone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), evenkeel_heartbeat::ClassError> {
/// use std::time::Duration;
/// use evenkeel_heartbeat::{Expect, Health, Heartbeat, Monitor};
///
/// let monitor = Monitor::new();
/// let mut events = monitor.events();
/// let class = monitor.class(Expect::within(Duration::from_secs(2)))?;
/// let pulse = class.register("ingest");
/// pulse.beat();
/// // The worker hangs here, with its pulse in hand.
/// let change = events.next().await.unwrap();
/// assert_eq!((&*change.name, change.health), ("ingest", Health::Silent));
/// assert_eq!(monitor.health(change.pulse), Health::Silent);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Monitor {
    keep: Arc<Keep>,
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
                }),
                task: Mutex::default(),
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
        let runtime = Handle::try_current().map_err(|_| ClassError::NoRuntime)?;
        let state = Arc::new(ClassState {
            timing: Arc::new(Timing::new(expect)?),
            blocks: Blocks::default(),
        });
        let shared = &self.keep.shared;
        shared.classes.lock().push(Arc::clone(&state));
        shared.fresh.notify_one();
        let mut task = self.keep.task.lock();
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(runtime.spawn(watch(Arc::clone(shared))));
        }
        drop(task);
        Ok(Class {
            monitor: self.clone(),
            state,
        })
    }

    /// All changes from now on. Any number of listeners; each gets them all.
    pub fn events(&self) -> Events {
        Events::new(self.clone(), &self.keep.shared.outbox)
    }

    /// How a pulse fares at this instant, beats since the last scan included: what to ask just before acting on a
    /// [`Change`]. [`Health::Closed`] if its handle is gone, or its slot another's by now.
    #[must_use]
    pub fn health(&self, pulse: PulseId) -> Health {
        match block(&self.keep.shared.blocks, pulse.block) {
            Some(block) => block.planes.health(pulse.place, block.timing.now()),
            None => Health::Closed,
        }
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
/// A handful of classes is cheap; a class for each pulse is not, since each is scanned apart.
#[derive(Clone)]
pub struct Class {
    monitor: Monitor,
    state: Arc<ClassState>,
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

    /// The monitor that watches it.
    #[must_use]
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    fn add_block(&self) -> Arc<Block> {
        let shared = &self.monitor.keep.shared;
        let mut all = shared
            .blocks
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut own = self
            .state
            .blocks
            .write()
            .unwrap_or_else(PoisonError::into_inner);
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

/// About thirty years.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

fn after(at: Instant, duration: Duration) -> Instant {
    at.checked_add(duration.min(FAR)).unwrap_or(at)
}

/// So many blocks are scanned between two yields: 32k pulses.
const SLICE: u32 = 64;

/// When a class was scanned, and will be.
struct Drive {
    class: Arc<ClassState>,
    /// On a grid of periods, which starts anew when a scan comes late.
    planned: Instant,
    next: Instant,
    /// The ends of the last scans.
    ends: [Option<Instant>; TICKS],
    last: usize,
    /// The scan before was late.
    grace: bool,
}

impl Drive {
    fn new(class: Arc<ClassState>, now: Instant) -> Self {
        let planned = after(now, class.timing.period);
        Self {
            class,
            planned,
            next: planned,
            ends: [None; TICKS],
            last: 0,
            grace: false,
        }
    }

    /// Scans the class; false if it came so late that 1.25 timeouts cannot be held.
    async fn scan(&mut self, outbox: &Outbox, now: Instant) -> bool {
        let timing = &self.class.timing;
        let lateness = now.duration_since(self.next);
        let late = lateness > timing.period;
        let counted = !late && !self.grace;
        self.grace = late;
        // From the end of the last scan, so that what a handle read during it counts in its favour.
        let witnessed = match self.ends[self.last] {
            Some(end) if counted => timing.witness(now.duration_since(end)),
            None if counted => timing.witness(timing.period),
            _ => timing.now(),
        };
        for at in 0.. {
            let Some(block) = block(&self.class.blocks, at) else {
                break;
            };
            let mut wakers = Wakers::default();
            block.planes.scan(witnessed, counted, |news| {
                outbox.put(block.number, news, &mut wakers);
            });
            wakers.wake();
            if at % SLICE == SLICE - 1 {
                tokio::task::yield_now().await;
            }
        }
        self.last = (self.last + 1) % TICKS;
        self.ends[self.last] = Some(Instant::now());
        self.planned = match after(self.planned, timing.period) {
            planned if late || planned <= now => after(now, timing.period),
            planned => planned,
        };
        // Never short of a timeout after the scan that took the last beat of whoever is found silent by then.
        let oldest = self.ends[(self.last + 1) % TICKS];
        self.next = match oldest {
            Some(end) => self.planned.max(after(end, timing.expect.within)),
            None => self.planned,
        };
        lateness <= timing.expect.within / 4
    }
}

async fn watch(shared: Arc<Shared>) {
    /// Tells the listeners when the task ends, however it ends.
    struct End<'a>(&'a Outbox);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let _end = End(&shared.outbox);
    let mut drives: Vec<Drive> = Vec::new();
    let mut stalled = false;
    loop {
        for class in &shared.classes.lock()[drives.len()..] {
            drives.push(Drive::new(Arc::clone(class), Instant::now()));
        }
        let fresh = shared.fresh.notified();
        match drives.iter().map(|drive| drive.next).min() {
            None => fresh.await,
            Some(next) => drop(tokio::time::timeout_at(next, fresh).await),
        }
        let mut in_time = true;
        for drive in &mut drives {
            let now = Instant::now();
            if drive.next <= now {
                in_time &= drive.scan(&shared.outbox, now).await;
            }
        }
        if stalled == in_time {
            stalled = !in_time;
            let health = if stalled {
                Health::Stalled
            } else {
                Health::Live
            };
            shared.outbox.put_own(health);
        }
    }
}
