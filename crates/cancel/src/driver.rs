//! What drives the deadlines of a runtime: one task with one timer, started with the first deadline.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Handle, Id, RuntimeFlavor};
use tokio::time::{Instant, Sleep};

use crate::counted::NodeRef;
use crate::deadline::Deadline;
use crate::node::Node;
use crate::queue::{Alarm, Queue, Tick, Timed};
use crate::up::{Ext, Up};
use crate::word::Packed;
use crate::{Cause, sweep};

/// There is no tokio runtime here, or it is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no tokio runtime to keep the deadline")]
pub struct NoRuntime(());

impl NoRuntime {
    pub(crate) fn here() -> Self {
        Self(())
    }
}

struct Driver {
    queue: evenkeel_sync::Arc<Queue>,
    start: Instant,
}

static DRIVERS: LazyLock<Mutex<HashMap<Id, Arc<Driver>>>> = LazyLock::new(Mutex::default);

thread_local! {
    /// The one last used on this thread, so that the table above is seldom asked.
    static RECENT: RefCell<Option<(Id, Arc<Driver>)>> = const { RefCell::new(None) };
}

/// A child of `parent` that is cancelled at `at`, if its parent is not before.
pub(crate) fn child(parent: &NodeRef, at: Option<Instant>) -> Result<NodeRef, NoRuntime> {
    let handle = Handle::try_current().map_err(|_| NoRuntime(()))?;
    let deadline = at.map_or(Deadline::NEVER, Deadline::at);
    let (Some(at), true) = (at, deadline < parent.deadline) else {
        return Ok(Node::child(parent));
    };
    if parent.is_decided() {
        return Ok(Node::child(parent));
    }
    if at <= Instant::now() {
        let node = Node::hang(Up::parent_of(parent.clone()), deadline);
        sweep::cancel(&node, Packed::new(Cause::Timeout));
        return Ok(node);
    }
    let driver = Driver::of(&handle);
    let queue = evenkeel_sync::Arc::clone(&driver.queue);
    let timed = Timed::new(parent.clone(), queue, driver.tick_at(at));
    let node = Node::hang(Up::ext(Ext::Timed(timed)), deadline);
    if node.enqueue() {
        Ok(node)
    } else {
        Err(NoRuntime(()))
    }
}

impl Driver {
    fn of(handle: &Handle) -> Arc<Self> {
        let id = handle.id();
        let recent = RECENT.with_borrow(|recent| match recent {
            Some((known, driver)) if *known == id => Some(Arc::clone(driver)),
            _ => None,
        });
        recent.unwrap_or_else(|| {
            let driver = Self::known_or_started(handle);
            RECENT.set(Some((id, Arc::clone(&driver))));
            driver
        })
    }

    fn known_or_started(handle: &Handle) -> Arc<Self> {
        // Made before all else, so that a runtime without a clock panics at who asks for the deadline.
        let start = Instant::now();
        let sleep = Box::pin(tokio::time::sleep_until(start));
        let mut drivers = DRIVERS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut started = None;
        let driver = drivers.entry(handle.id()).or_insert_with(|| {
            let queue = Queue::new(Box::new(Timer { start, sleep }));
            Arc::clone(started.insert(Arc::new(Self { queue, start })))
        });
        let driver = Arc::clone(driver);
        // A runtime that is ending drops the task here and now, and `Close` with it, which takes the lock.
        drop(drivers);
        if let Some(driver) = started {
            let id = handle.id();
            let drive = drive(Close { id, driver });
            if handle.runtime_flavor() == RuntimeFlavor::CurrentThread {
                handle.spawn(drive);
            } else {
                // What a task spawns may have to wait for its worker; what comes from elsewhere is for any of them.
                let to = handle.clone();
                handle.spawn_blocking(move || drop(to.spawn(drive)));
            }
        }
        driver
    }

    /// The first tick that is not before `at`.
    fn tick_at(&self, at: Instant) -> Tick {
        let nanos = at.saturating_duration_since(self.start).as_nanos();
        Tick::try_from(nanos.div_ceil(1_000_000)).unwrap_or(Tick::MAX)
    }
}

/// Ticks are milliseconds from `start`.
struct Timer {
    start: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Alarm for Timer {
    fn now(&self) -> Tick {
        Tick::try_from(self.start.elapsed().as_millis()).unwrap_or(Tick::MAX)
    }

    fn set(&mut self, to: Tick) {
        let at = self.start.checked_add(Duration::from_millis(to));
        if let Some(at) = at.filter(|at| *at != self.sleep.deadline()) {
            self.sleep.as_mut().reset(at);
        }
    }

    /// With many due at once it is ready, until tokio's budget for one poll is used up.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(cx)
    }
}

async fn drive(close: Close) {
    poll_fn(|cx| close.driver.queue.drive(cx)).await;
}

/// Dropped with the driver's task, that is when the runtime ends.
struct Close {
    id: Id,
    driver: Arc<Driver>,
}

impl Drop for Close {
    fn drop(&mut self) {
        let mut drivers = DRIVERS.lock().unwrap_or_else(PoisonError::into_inner);
        drivers.remove(&self.id);
        drop(drivers);
        self.driver.queue.close();
    }
}
