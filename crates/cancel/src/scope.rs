use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::{Cause, NoRuntime, Source, Token, telemetry};

type Name = Cow<'static, str>;

/// So many names of tasks that panicked before the shutdown are kept.
const PANICS_NAMED: usize = 100;

/// Named tasks under one token, ended together.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use std::time::Duration;
/// use evenkeel_cancel::{Scope, Token};
///
/// let scope = Scope::new(&Token::never()).expect("in a runtime");
/// let token = scope.token();
/// scope.spawn("polite", async move { drop(token.cancelled().await) }).expect("open");
/// scope.spawn("deaf", std::future::pending()).expect("open");
///
/// let shutdown = scope.shutdown(Duration::from_secs(5)).await;
/// assert_eq!(shutdown.finished, ["polite"]);
/// assert_eq!(shutdown.aborted, ["deaf"]);
/// # });
/// ```
///
/// Dropping a scope cancels its token with [`Cause::Shutdown`] and aborts its tasks, without waiting for them.
pub struct Scope {
    source: Source,
    handle: Handle,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Notified when the last task has ended.
    idle: Notify,
}

#[derive(Default)]
struct State {
    /// No more spawns.
    closed: bool,
    /// What is spawned at this moment is aborted, too.
    aborting: bool,
    next: u64,
    running: HashMap<u64, Task>,
    shutdown: Shutdown,
}

struct Task {
    name: Name,
    abort: Option<AbortHandle>,
}

/// How a scope ended: the names of its tasks, by what became of them. Tasks that had finished before are not named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// Ended by themselves during the shutdown.
    pub finished: Vec<Name>,
    /// Were aborted when the grace was over.
    pub aborted: Vec<Name>,
    /// Panicked, at any time in the life of the scope (the first hundred).
    pub panicked: Vec<Name>,
    /// Still run, since they can be neither cancelled nor aborted: blocking threads, and tasks that do not yield.
    pub running: Vec<Name>,
}

impl Shutdown {
    /// Whether all tasks ended by themselves and none panicked.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.aborted.is_empty() && self.panicked.is_empty() && self.running.is_empty()
    }
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} finished", self.finished.len())?;
        for (names, what) in [
            (&self.aborted, "aborted"),
            (&self.panicked, "panicked"),
            (&self.running, "still running"),
        ] {
            if !names.is_empty() {
                write!(f, ", {} {what} ({})", names.len(), names.join(", "))?;
            }
        }
        Ok(())
    }
}

/// The scope is shutting down, or its token is cancelled: nothing new is started in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scope takes no more tasks")]
pub struct ScopeClosed(());

impl Scope {
    /// How long an aborted task is waited for before it is reported as still running.
    pub const ABORT_BOUND: Duration = Duration::from_secs(1);

    /// A scope on the current runtime, under a child of `parent`.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] outside a tokio runtime.
    pub fn new(parent: &Token) -> Result<Self, NoRuntime> {
        Ok(Self {
            source: parent.child(),
            handle: Handle::try_current().map_err(|_| NoRuntime::here())?,
            shared: Arc::new(Shared {
                state: Mutex::default(),
                idle: Notify::new(),
            }),
        })
    }

    /// The token that the tasks should heed.
    #[must_use]
    pub fn token(&self) -> Token {
        self.source.token()
    }

    /// How many tasks run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().running.len()
    }

    /// Whether no task runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts a task.
    ///
    /// # Errors
    ///
    /// [`ScopeClosed`] once the shutdown has begun or the token is cancelled; `future` is dropped unpolled.
    pub fn spawn<F>(&self, name: impl Into<Name>, future: F) -> Result<(), ScopeClosed>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let ended = self.enter(name.into())?;
        let id = ended.id;
        let task = self.handle.spawn(async move {
            let mut ended = ended;
            future.await;
            ended.by_itself = true;
        });
        self.shared.can_abort(id, task.abort_handle());
        Ok(())
    }

    /// Starts a blocking function on a thread of the runtime. It cannot be aborted: it should heed the token it is given.
    ///
    /// # Errors
    ///
    /// [`ScopeClosed`] once the shutdown has begun or the token is cancelled.
    pub fn spawn_blocking<F>(&self, name: impl Into<Name>, f: F) -> Result<(), ScopeClosed>
    where
        F: FnOnce(Token) + Send + 'static,
    {
        let ended = self.enter(name.into())?;
        let id = ended.id;
        let token = self.token();
        let task = self.handle.spawn_blocking(move || {
            let mut ended = ended;
            f(token);
            ended.by_itself = true;
        });
        self.shared.can_abort(id, task.abort_handle());
        Ok(())
    }

    fn enter(&self, name: Name) -> Result<Ended, ScopeClosed> {
        let mut state = self.shared.lock();
        if state.closed || self.source.is_cancelled() {
            return Err(ScopeClosed(()));
        }
        let id = state.next;
        state.next += 1;
        state.running.insert(id, Task { name, abort: None });
        Ok(Ended {
            shared: Arc::clone(&self.shared),
            id,
            by_itself: false,
        })
    }

    /// Ends the scope: refuses new tasks, cancels the token with [`Cause::Shutdown`], waits up to `grace` for the tasks, aborts those
    /// that are left, and waits for them up to [`Scope::ABORT_BOUND`].
    ///
    /// # Cancel safety
    ///
    /// Safe: dropped, it leaves the scope closed and the token cancelled, and can be called again with a new grace.
    pub async fn shutdown(&self, grace: Duration) -> Shutdown {
        self.shared.lock().closed = true;
        self.source.cancel(Cause::Shutdown);
        if !self.shared.idle_within(grace).await {
            self.shared.abort_all();
            self.shared.idle_within(Self::ABORT_BOUND).await;
        }
        let state = self.shared.lock();
        let mut shutdown = state.shutdown.clone();
        shutdown.running = state
            .running
            .values()
            .map(|task| task.name.clone())
            .collect();
        drop(state);
        telemetry::shut_down(&shutdown);
        shutdown
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.source.cancel(Cause::Shutdown);
        self.shared.abort_all();
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("running", &self.len())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how to abort a task that was just started, if it still runs.
    fn can_abort(&self, id: u64, abort: AbortHandle) {
        let mut state = self.lock();
        if state.aborting {
            drop(state);
            abort.abort();
        } else if let Some(task) = state.running.get_mut(&id) {
            task.abort = Some(abort);
        }
    }

    fn abort_all(&self) {
        let mut state = self.lock();
        state.aborting = true;
        let aborts: Vec<_> = state
            .running
            .values_mut()
            .filter_map(|task| task.abort.take())
            .collect();
        drop(state);
        // Unlocked: aborting may drop a task right here, and with it the guard that takes the lock.
        aborts.iter().for_each(AbortHandle::abort);
    }

    async fn idle_within(&self, bound: Duration) -> bool {
        let idle = async {
            loop {
                // Made before the look: a task that ends in between is not missed.
                let idle = self.idle.notified();
                if self.lock().running.is_empty() {
                    return;
                }
                idle.await;
            }
        };
        match Instant::now().checked_add(bound) {
            Some(end) => timeout_at(end, idle).await.is_ok(),
            None => {
                idle.await;
                true
            }
        }
    }
}

/// Dropped with its task, however that ends.
struct Ended {
    shared: Arc<Shared>,
    id: u64,
    by_itself: bool,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let Some(task) = state.running.remove(&self.id) else {
            return;
        };
        let closed = state.closed;
        let shutdown = &mut state.shutdown;
        if self.by_itself {
            if closed {
                shutdown.finished.push(task.name);
            }
        } else if std::thread::panicking() {
            if shutdown.panicked.len() < PANICS_NAMED {
                shutdown.panicked.push(task.name);
            }
        } else {
            shutdown.aborted.push(task.name);
        }
        if state.running.is_empty() {
            drop(state);
            self.shared.idle.notify_waiters();
        }
    }
}
