//! What a monitor tells those who listen.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use evenkeel_sync::Mutex;
use futures_core::Stream;

use crate::names::Names;
use crate::planes::Place;
use crate::{Health, Monitor};

/// Which pulse: unique in its monitor for the life of the process, short of 2³⁰ pulses in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PulseId {
    pub(crate) block: u32,
    pub(crate) place: Place,
}

impl PulseId {
    /// The monitor's own pulse, which is [`Health::Stalled`] when the monitor did not run in time.
    pub const MONITOR: Self = Self {
        block: u32::MAX,
        place: Place {
            slot: u32::MAX,
            generation: 0,
        },
    };
}

/// A pulse fares otherwise than before.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Change {
    /// Which pulse.
    pub pulse: PulseId,
    /// The name it was registered by.
    pub name: Arc<str>,
    /// How it fares now.
    pub health: Health,
}

/// Hands changes to the listeners.
#[derive(Default)]
pub(crate) struct Outbox {
    names: Mutex<Names>,
    queues: Mutex<Queues>,
}

#[derive(Default)]
struct Queues {
    all: Vec<Weak<Queue>>,
    /// No more changes will come, unless it is opened again.
    closed: bool,
}

/// What one listener has not read yet.
struct Queue {
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    changes: VecDeque<Change>,
    missed: u64,
    waker: Option<Waker>,
    closed: bool,
}

/// A listener that does not read keeps so many changes, and loses the oldest.
const BACKLOG: usize = 1 << 18;

/// What is to be done once no lock is held. Made before one is: whether anybody traces is asked of foreign code.
#[must_use]
pub(crate) struct After {
    wakers: Vec<Waker>,
    #[cfg(feature = "tracing")]
    traced: Option<Vec<Change>>,
}

impl After {
    pub(crate) fn new() -> Self {
        Self {
            wakers: Vec::new(),
            #[cfg(feature = "tracing")]
            traced: tracing::enabled!(target: "evenkeel.heartbeat", tracing::Level::WARN)
                .then(Vec::new),
        }
    }

    /// Whether changes are to be put together though nobody waits for them.
    fn traces(&self) -> bool {
        #[cfg(feature = "tracing")]
        return self.traced.is_some();
        #[cfg(not(feature = "tracing"))]
        false
    }

    pub(crate) fn run(self) {
        #[cfg(feature = "tracing")]
        self.traced.iter().flatten().for_each(trace);
        for waker in self.wakers {
            waker.wake();
        }
    }
}

#[cfg(feature = "tracing")]
fn trace(change: &Change) {
    use tracing::{debug, info, warn};
    let Change { name, health, .. } = change;
    match health {
        Health::Closed => {
            debug!(target: "evenkeel.heartbeat", pulse = %name, ?health, "pulse closed");
        }
        health if health.is_alarm() || *health == Health::Stalled => {
            warn!(target: "evenkeel.heartbeat", pulse = %name, ?health, "pulse lost");
        }
        health => info!(target: "evenkeel.heartbeat", pulse = %name, ?health, "pulse found"),
    }
}

impl Outbox {
    pub(crate) fn name(&self, name: &str) -> u32 {
        self.names.lock().add(name)
    }

    pub(crate) fn forget(&self, name: u32) {
        self.names.lock().remove(name);
    }

    pub(crate) fn name_of(&self, name: u32) -> Arc<str> {
        self.names.lock().get(name)
    }

    /// Queues a change, if somebody listens. A scan calls it with the lock of the planes held, so that the end of the
    /// pulse comes after.
    pub(crate) fn put(&self, change: impl FnOnce() -> Change, after: &mut After) {
        let queues = self.queues.lock();
        if queues.all.is_empty() && !after.traces() {
            return;
        }
        let change = change();
        for queue in queues.all.iter().filter_map(Weak::upgrade) {
            let mut state = queue.state.lock();
            if state.changes.len() >= BACKLOG {
                state.changes.pop_front();
                state.missed += 1;
            }
            state.changes.push_back(change.clone());
            after.wakers.extend(state.waker.take());
        }
        #[cfg(feature = "tracing")]
        after
            .traced
            .iter_mut()
            .for_each(|all| all.push(change.clone()));
    }

    pub(crate) fn put_own(&self, health: Health) {
        let own = || Change {
            pulse: PulseId::MONITOR,
            name: "monitor".into(),
            health,
        };
        let mut after = After::new();
        self.put(own, &mut after);
        after.run();
    }

    /// No more changes will come.
    pub(crate) fn close(&self) {
        let mut after = After::new();
        let mut queues = self.queues.lock();
        queues.closed = true;
        for queue in queues.all.iter().filter_map(Weak::upgrade) {
            let mut state = queue.state.lock();
            state.closed = true;
            after.wakers.extend(state.waker.take());
        }
        drop(queues);
        after.run();
    }

    /// There is a task again.
    pub(crate) fn open(&self) {
        self.queues.lock().closed = false;
    }

    fn listen(&self) -> Arc<Queue> {
        let mut queues = self.queues.lock();
        let state = QueueState {
            closed: queues.closed,
            ..QueueState::default()
        };
        let queue = Arc::new(Queue {
            state: Mutex::new(state),
        });
        queues.all.retain(|queue| queue.strong_count() > 0);
        queues.all.push(Arc::downgrade(&queue));
        queue
    }
}

/// The changes of all pulses of a monitor since [`Monitor::changes`] was called. Also a [`Stream`] of [`Change`].
///
/// One loop over it watches any number of pulses. What it hands out is what was so when it was found; ask
/// [`Monitor::health`] just before acting on it.
///
/// Keeps the monitor running.
#[must_use = "changes do nothing unless they are awaited"]
pub struct Changes {
    monitor: Monitor,
    queue: Arc<Queue>,
}

impl Changes {
    pub(crate) fn new(monitor: Monitor, outbox: &Outbox) -> Self {
        Self {
            queue: outbox.listen(),
            monitor,
        }
    }

    /// Waits for the next change; `None` once the monitor's runtime has shut down.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Change> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The next change if it is there already.
    pub fn try_next(&mut self) -> Option<Change> {
        self.queue.state.lock().changes.pop_front()
    }

    /// How many changes were dropped, oldest first, because more than 2¹⁸ were left unread. Go by
    /// [`Monitor::snapshot`] then.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.queue.state.lock().missed
    }

    /// The monitor that is listened to.
    #[must_use]
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        // Cloned with no lock held: a waker is foreign code.
        let waker = cx.waker().clone();
        let mut state = self.queue.state.lock();
        if let Some(change) = state.changes.pop_front() {
            return Poll::Ready(Some(change));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        let old = state.waker.replace(waker);
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Stream for Changes {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        self.poll(cx)
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("missed", &self.missed())
            .finish_non_exhaustive()
    }
}
