//! What drives the deadlines of a runtime: one timer, made with the first of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

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

fn drivers() -> MutexGuard<'static, HashMap<Id, Arc<Driver>>> {
    DRIVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

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
        let id = handle.id();
        if let Some(known) = drivers().get(&id) {
            return Arc::clone(known);
        }
        // A runtime without a clock panics here, at who asks for the deadline.
        let timer = Timer::new(handle);
        let start = timer.start;
        let queue = Queue::new(Box::new(timer));
        let driver = Arc::new(Self { queue, start });
        let close = Close {
            id,
            driver: Arc::clone(&driver),
        };
        // Before anybody else can find it. A runtime that is ending drops the task here and now, or before there is no time any
        // more, and with it the alarm, which would panic there.
        let closer = handle.spawn(async {
            let _close = close;
            pending::<()>().await;
        });
        let mut drivers = drivers();
        if let Some(faster) = drivers.get(&id).map(Arc::clone) {
            drop(drivers);
            closer.abort();
            return faster;
        }
        drivers.insert(id, Arc::clone(&driver));
        drop(drivers);
        if driver.queue.is_closed() {
            driver.forget(id);
        }
        driver
    }

    /// Takes it out of the table.
    fn forget(self: &Arc<Self>, id: Id) {
        let mut drivers = drivers();
        if drivers
            .get(&id)
            .is_some_and(|known| Arc::ptr_eq(known, self))
        {
            drivers.remove(&id);
        }
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
    /// Rings when it is over. None while it is set to nothing, or a paused clock would advance to that.
    sleep: Option<Pin<Box<Sleep>>>,
    /// None once it is stopped, so that it does not keep the runtime's parts.
    bell: Option<Arc<Bell>>,
}

impl Timer {
    fn new(handle: &Handle) -> Self {
        let start = Instant::now();
        drop(sleep_until(start));
        let bell = Arc::new(Bell(handle.clone()));
        Self {
            start,
            sleep: None,
            bell: Some(bell),
        }
    }
}

impl Alarm for Timer {
    fn now(&self) -> Tick {
        Tick::try_from(self.start.elapsed().as_millis()).unwrap_or(Tick::MAX)
    }

    fn set(&mut self, to: Tick) {
        let at = self.start.checked_add(Duration::from_millis(to));
        let (Some(bell), Some(at), true) = (&self.bell, at, to < Tick::MAX) else {
            self.sleep = None;
            return;
        };
        let sleep = self.sleep.get_or_insert_with(|| {
            let _inside = bell.0.enter();
            Box::pin(sleep_until(at))
        });
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        let waker = Waker::from(Arc::clone(bell));
        // Whatever budget is left to the task that we may be in.
        let mut poll = pin!(unconstrained(poll_fn(|cx| sleep.as_mut().poll(cx))));
        if poll
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            waker.wake();
            // What a task spawns last is run by its worker, after it; what it spawned before is for any of them.
            bell.0.spawn(async {});
        }
    }

    fn stop(&mut self) {
        self.sleep = None;
        self.bell = None;
    }
}

/// Spawns what cancels the due, on the thread that drives the time: its worker is free.
struct Bell(Handle);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // The alarm may be locked here; whoever locks the table locks nothing else.
        let driver = drivers().get(&self.0.id()).map(Arc::clone);
        if let Some(driver) = driver {
            self.0.spawn(async move {
                while driver.queue.ring() {
                    tokio::task::yield_now().await;
                }
            });
        }
    }
}

/// Dropped with a task that does nothing, that is when the runtime ends.
struct Close {
    id: Id,
    driver: Arc<Driver>,
}

impl Drop for Close {
    fn drop(&mut self) {
        // In this order: who puts it into the table looks afterwards whether it is closed.
        self.driver.queue.close();
        self.driver.forget(self.id);
    }
}
