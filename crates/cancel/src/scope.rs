use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project::pin_project;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::sleep;

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
/// Dropping a scope cancels its token with [`Cause::Shutdown`] and aborts its tasks, without waiting for them. A task that panics is
/// named at the end; it cancels nothing. If it should, let it hold a [`drop_guard`](Source::drop_guard) of the source above.
#[must_use = "dropping the scope aborts its tasks"]
pub struct Scope {
    handle: Handle,
    shared: Arc<Shared>,
}

struct Shared {
    source: Source,
    state: Mutex<State>,
    /// Notified when the last task has ended.
    idle: Notify,
}

#[derive(Default)]
struct State {
    /// What is spawned at this moment is aborted, too.
    aborting: bool,
    next: u64,
    running: BTreeMap<u64, Task>,
    shutdown: Shutdown,
}

struct Task {
    name: Name,
    abort: Option<AbortHandle>,
}

/// How a scope ended: the names of its tasks, by what became of them. Tasks that had finished before its token was cancelled are not
/// named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// Ended by themselves after the cancellation.
    pub finished: Vec<Name>,
    /// Were aborted when the grace was over, or went with their runtime.
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

/// The scope is shutting down, or its token is cancelled: nothing new is started in it. Its source is the cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scope takes no more tasks")]
pub struct ScopeClosed(#[source] Cause);

impl ScopeClosed {
    /// Why its token was cancelled.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.0
    }
}

impl Scope {
    /// How long an aborted task is waited for before it is reported as still running.
    pub const ABORT_BOUND: Duration = Duration::from_secs(1);

    /// A scope on the current runtime, under a child of `parent`.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] outside a tokio runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has no clock (`enable_time`).
    pub fn new(parent: &Token) -> Result<Self, NoRuntime> {
        let handle = Handle::try_current().map_err(|_| NoRuntime::here())?;
        // Panics here, rather than in the shutdown.
        drop(sleep(Duration::ZERO));
        Ok(Self {
            handle,
            shared: Arc::new(Shared {
                source: parent.child(),
                state: Mutex::default(),
                idle: Notify::new(),
            }),
        })
    }

    /// The token that the tasks should heed.
    #[must_use]
    pub fn token(&self) -> Token {
        self.shared.source.token()
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

    /// Starts a task. On a runtime that has ended it is dropped unpolled, and named among the aborted.
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
        let task = self.handle.spawn(Named { future, ended });
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
            ended.ran = Ran::Inside;
            f(token);
            ended.ran = Ran::ByItself;
        });
        self.shared.can_abort(id, task.abort_handle());
        Ok(())
    }

    fn enter(&self, name: Name) -> Result<Ended, ScopeClosed> {
        let mut state = self.shared.lock();
        // Under the lock: a task is either refused, or seen by who has cancelled and then looks what runs.
        if let Some(cause) = self.shared.source.cause() {
            return Err(ScopeClosed(cause));
        }
        let id = state.next;
        state.next += 1;
        state.running.insert(id, Task { name, abort: None });
        Ok(Ended {
            shared: Arc::clone(&self.shared),
            id,
            ran: Ran::Outside,
        })
    }

    /// Waits until no task runs, without telling them to end. It does not keep new ones from being started.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropped, it leaves nothing behind.
    pub async fn wait(&self) {
        self.shared.idle().await;
    }

    /// Ends the scope: refuses new tasks, cancels the token with [`Cause::Shutdown`], waits up to `grace` for the tasks, aborts those
    /// that are left, and waits for them up to [`Scope::ABORT_BOUND`].
    ///
    /// The time is that of the runtime it is awaited in, and of the scope's own outside of any; once that has ended, it is over. A task of the scope that awaits this waits for itself, and is aborted after `grace`. Of several calls at the same time the shortest
    /// grace holds.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropped, it leaves the scope closed and the token cancelled, and can be called again with a new grace.
    pub async fn shutdown(&self, grace: Duration) -> Shutdown {
        self.shared.source.cancel(Cause::Shutdown);
        if !self.idle_within(grace).await {
            self.shared.abort_all();
            self.idle_within(Self::ABORT_BOUND).await;
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

    async fn idle_within(&self, bound: Duration) -> bool {
        if self.is_empty() {
            return true;
        }
        let runtime = Handle::try_current().unwrap_or_else(|_| self.handle.clone());
        // In a task, since a timer panics where there is no time, or none any more; so the task ends, and the time is over.
        let mut bound = Bound(runtime.spawn(async move { sleep(bound).await }));
        let mut idle = pin!(self.shared.idle());
        poll_fn(|cx| {
            if idle.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            Pin::new(&mut bound.0).poll(cx).map(|_| false)
        })
        .await
    }
}

struct Bound(JoinHandle<()>);

impl Drop for Bound {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.shared.source.cancel(Cause::Shutdown);
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

    async fn idle(&self) {
        loop {
            // Made before the look: a task that ends in between is not missed.
            let idle = self.idle.notified();
            if self.lock().running.is_empty() {
                return;
            }
            idle.await;
        }
    }
}

#[pin_project]
struct Named<F> {
    #[pin]
    future: F,
    /// Dropped after the future.
    ended: Ended,
}

impl<F: Future<Output = ()>> Future for Named<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.ended.ran = Ran::Inside;
        let poll = this.future.poll(cx);
        this.ended.ran = match poll {
            Poll::Ready(()) => Ran::ByItself,
            Poll::Pending => Ran::Outside,
        };
        poll
    }
}

/// Where the code of a task is. Whether the thread unwinds would not do to know who panicked: a runtime may be dropped by a panic.
enum Ran {
    /// Not begun, or between two polls.
    Outside,
    /// Within its own code: gone from here, it panicked.
    Inside,
    ByItself,
}

/// Dropped with its task, however that ends.
struct Ended {
    shared: Arc<Shared>,
    id: u64,
    ran: Ran,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let Some(task) = state.running.remove(&self.id) else {
            return;
        };
        let closed = self.shared.source.is_cancelled();
        let shutdown = &mut state.shutdown;
        match self.ran {
            Ran::ByItself if closed => shutdown.finished.push(task.name),
            Ran::Inside if shutdown.panicked.len() < PANICS_NAMED => {
                shutdown.panicked.push(task.name);
            }
            Ran::Outside => shutdown.aborted.push(task.name),
            Ran::ByItself | Ran::Inside => {}
        }
        if state.running.is_empty() {
            drop(state);
            self.shared.idle.notify_waiters();
        }
    }
}
