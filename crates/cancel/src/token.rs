use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::time::Duration;

use tokio::time::Instant;

use crate::callback::Registration;
use crate::counted::NodeRef;
use crate::driver::{self, NoRuntime};
use crate::future::{Cancelled, CancelledOwned, Run};
use crate::node::Node;
use crate::sweep;
use crate::word::{DECIDED, INHERITED, Packed};
use crate::{Cancel, Cause};

/// Observes a cancellation; cheap to clone.
///
/// A token cannot cancel what it observes. It can be the parent of others ([`Token::child`]), which are cancelled when it is.
/// A node of the tree lives as long as a handle to it, or a descendant, does; dropping handles cancels nothing.
#[derive(Clone)]
pub struct Token(pub(crate) NodeRef);

/// Can cancel, and is a [`Token`] besides (by `Deref`); cheap to clone.
///
/// Dropping the last source cancels nothing; for that see [`Source::drop_guard`].
///
/// ```
/// use evenkeel_cancel::{Cause, Source};
///
/// let source = Source::new();
/// let token = source.token();
/// assert!(!token.is_cancelled());
/// assert!(source.cancel(Cause::User));
/// assert_eq!(token.cause(), Some(Cause::User));
/// assert!(!source.cancel(Cause::Failed), "the first one stands");
/// ```
#[derive(Clone)]
pub struct Source {
    token: Token,
}

impl Source {
    /// A source of its own, under no parent.
    #[must_use]
    pub fn new() -> Self {
        Self::from_node(Node::root())
    }

    pub(crate) fn from_node(node: NodeRef) -> Self {
        Self { token: Token(node) }
    }

    /// A token that observes this source.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token.clone()
    }

    /// Cancels it and all its descendants; true for the one call that did it, whose cause stays.
    ///
    /// When it returns, with true or false, everything derived from this source before the call reads cancelled, and what
    /// this call found waiting was woken; only a [`Claim`](crate::Claim) with a [`Permit`](crate::Permit) out is decided when that is used or dropped, for which this does not wait. Callbacks run on this thread, last; if this call is made by a callback, they run when that
    /// one has returned, so that a chain of callbacks needs no stack. A waker or callback that panics stops no other;
    /// the panic goes no further than the panic hook. Takes time linear in what is registered below: waiters, callbacks, claims,
    /// and the children that have some.
    #[allow(
        clippy::must_use_candidate,
        reason = "one may cancel and not ask who was first"
    )]
    pub fn cancel(&self, cause: Cause) -> bool {
        sweep::cancel(&self.token.0, Packed::new(cause))
    }

    /// Cancels with `cause` when the guard is dropped.
    #[must_use = "dropping the guard cancels"]
    pub fn drop_guard(&self, cause: Cause) -> DropGuard {
        DropGuard {
            armed: Some((self.clone(), cause)),
        }
    }
}

impl Default for Source {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Source {
    type Target = Token;

    #[inline]
    fn deref(&self) -> &Token {
        &self.token
    }
}

impl Token {
    /// A token that is never cancelled.
    #[must_use]
    pub fn never() -> Self {
        Self(Node::root())
    }

    /// A token that is cancelled as soon as one of `tokens` is, with its cause.
    ///
    /// Of none, it is never cancelled; of one, it is that one; if several are cancelled already, the first of them gives the cause.
    /// Its deadline is the earliest of theirs. It costs one allocation and a place in the list of each,
    /// which it leaves when it is dropped; no task.
    #[must_use]
    pub fn any<T: AsRef<Self>>(tokens: impl IntoIterator<Item = T>) -> Self {
        let parents: Vec<_> = tokens
            .into_iter()
            .map(|token| token.as_ref().0.clone())
            .collect();
        match <[NodeRef; 1]>::try_from(parents) {
            Ok([one]) => Self(one),
            Err(parents) => Self(Node::any(parents)),
        }
    }

    /// A source that is cancelled when this token is, and can be cancelled alone.
    ///
    /// One allocation; no lock is taken, however many children there are.
    #[must_use]
    pub fn child(&self) -> Source {
        Source::from_node(Node::child(&self.0))
    }

    /// A child that is cancelled with [`Cause::Timeout`] when `timeout` is over.
    ///
    /// See [`Token::child_with_deadline`]; a timeout that overflows the clock means no deadline.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] outside a tokio runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has no clock (`enable_time`).
    pub fn child_with_timeout(&self, timeout: Duration) -> Result<Source, NoRuntime> {
        let at = Instant::now().checked_add(timeout);
        driver::child(&self.0, at).map(Source::from_node)
    }

    /// A child that is cancelled with [`Cause::Timeout`] at `at`.
    ///
    /// Its effective deadline is the earlier of `at` and this token's own; if that is this token's, the child costs no timer.
    /// A deadline is never early, and at most two milliseconds late as long as the runtime has time for it; for the rest see
    /// [`Token::check`]. One that is over makes a child that is born cancelled. All deadlines of a runtime share one
    /// timer; when the runtime ends, what is left is cancelled with [`Cause::Shutdown`].
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] outside a tokio runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has no clock (`enable_time`).
    pub fn child_with_deadline(&self, at: Instant) -> Result<Source, NoRuntime> {
        driver::child(&self.0, Some(at)).map(Source::from_node)
    }

    /// A source that outlives the cancellation of this token, and its deadline.
    ///
    /// For work that must be finished whatever happens to who asked for it, such as rolling back.
    #[must_use]
    pub fn detach(&self) -> Source {
        Source::new()
    }

    /// [`Token::detach`], but with the deadline of this token.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] outside a tokio runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has no clock (`enable_time`).
    pub fn detach_with_deadline(&self) -> Result<Source, NoRuntime> {
        driver::child(&Node::root(), self.deadline()).map(Source::from_node)
    }

    /// When it will be cancelled, if by nothing else: the earliest deadline of its own and its ancestors'.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline.instant()
    }

    /// Whether it is cancelled: one to three loads, no lock, nothing written while it is not.
    ///
    /// Of a deadline it learns when the runtime has come to it; a loop that gives the runtime no chance to do so should [`Token::check`].
    #[inline]
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_decided()
    }

    /// The cause, if it is cancelled. Once it is there it never changes. It lags as [`Token::is_cancelled`] may.
    #[inline]
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.0.cause()
    }

    /// Whether it was cancelled by an ancestor, and not by a source or a deadline of its own.
    #[must_use]
    pub fn is_inherited(&self) -> bool {
        let word = self.0.look();
        word.has(DECIDED) && word.has(INHERITED)
    }

    /// For loops that compute: the cause as an error, also when the deadline is over and a starved runtime has not yet noticed.
    ///
    /// Costs a load, and the reading of the clock if there is a deadline. If it is the first to see that, it cancels the token whose
    /// deadline it is, and wakes and calls what is registered below. The clock is the one of the runtime around it: on a thread
    /// outside, a paused clock is not seen.
    ///
    /// # Errors
    ///
    /// The cause, if it is cancelled or its deadline is over.
    pub fn check(&self) -> Result<(), Cause> {
        if let Some(cause) = self.cause() {
            return Err(cause);
        }
        match self.deadline() {
            Some(at) if at <= Instant::now() => {
                sweep::cancel(self.0.timed_out(), Packed::new(Cause::Timeout));
                self.cause().map_or(Ok(()), Err)
            }
            _ => Ok(()),
        }
    }

    /// Waits for the cancellation; the output is its cause.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropped, it leaves nothing behind, and a new one sees a cancellation that came meanwhile.
    pub fn cancelled(&self) -> Cancelled<'_> {
        Cancelled::new(&self.0)
    }

    /// [`Token::cancelled`], as a future that borrows nothing.
    pub fn cancelled_owned(&self) -> CancelledOwned {
        CancelledOwned::new(self.0.clone())
    }

    /// Runs `future` until it ends or this token is cancelled.
    ///
    /// At every poll the token is asked first, as by [`Token::check`], so that work whose pieces are always ready is cut between two of
    /// them; inside a poll nothing can cut. A future that is ready in a poll that began before the cancellation has its result
    /// returned. To spawn it, move the token in: `async move { token.run(work).await }`.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use evenkeel_cancel::{Cause, Source};
    ///
    /// let source = Source::new();
    /// assert_eq!(source.run(async { 7 }).await, Ok(7));
    /// source.cancel(Cause::User);
    /// assert_eq!(source.run(async { 7 }).await, Err(Cause::User));
    /// # });
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As safe as `future`, which is dropped with this one, at the point where it was waiting: after a cancellation, when the `await` of
    /// this has ended.
    pub fn run<F: Future>(&self, future: F) -> Run<'_, F> {
        Run::new(self, self.cancelled(), future)
    }

    /// Calls `f` with the cause when this token is cancelled, on the thread of the canceller; at once if it is.
    ///
    /// Dropping the registration stops it; [`Registration::keep`] leaves it for as long as the token lives, so an `f` that holds this
    /// very source keeps itself alive until it is cancelled.
    ///
    /// Let `f` be short and not block: what cancels waits for it, and for a deadline that is the task which cancels all deadlines of
    /// the runtime. The canceller may be a thread outside the runtime, where `tokio::spawn` panics; take a `Handle` along. A
    /// canceller that is itself a callback is let return first: `f` must not be waited for there. A panic of `f` goes no
    /// further than the panic hook.
    pub fn on_cancel(&self, f: impl FnOnce(Cause) + Send + 'static) -> Registration {
        Registration::new(&self.0, Box::new(f))
    }
}

impl Cancel for Token {
    fn cause(&self) -> Option<Cause> {
        self.check().err()
    }

    fn cancelled(&self) -> impl Future<Output = Cause> + Send {
        Self::cancelled(self)
    }
}

impl Cancel for Source {
    fn cause(&self) -> Option<Cause> {
        Cancel::cause(&self.token)
    }

    fn cancelled(&self) -> impl Future<Output = Cause> + Send {
        self.token.cancelled()
    }
}

/// Equal when they observe the same node.
impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

impl Eq for Token {}

/// By the node, as it is equal.
impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_raw().hash(state);
    }
}

/// [`Token::never`].
impl Default for Token {
    fn default() -> Self {
        Self::never()
    }
}

impl AsRef<Self> for Token {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl AsRef<Token> for Source {
    fn as_ref(&self) -> &Token {
        &self.token
    }
}

impl From<Source> for Token {
    fn from(source: Source) -> Self {
        source.token
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("cause", &self.cause())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("cause", &self.cause())
            .finish_non_exhaustive()
    }
}

/// Cancels its source when it is dropped.
#[derive(Debug)]
pub struct DropGuard {
    armed: Option<(Source, Cause)>,
}

impl DropGuard {
    /// Gives the source back, and cancels nothing.
    #[must_use]
    pub fn disarm(mut self) -> Source {
        self.armed
            .take()
            .map_or_else(Source::new, |(source, _)| source)
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some((source, cause)) = self.armed.take() {
            source.cancel(cause);
        }
    }
}
