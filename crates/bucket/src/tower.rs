//! A limit before a service, as a [`tower_layer::Layer`].
//!
//! ```
//! use evenkeel_bucket::tower::LimiterLayer;
//! use evenkeel_bucket::{Bucket, Rate};
//! use std::time::Duration;
//!
//! let api = Bucket::new(Rate::per(100, Duration::from_secs(1)), 50).named("api");
//! // Who would have to wait for longer is refused at once.
//! let layer = LimiterLayer::new(api).within(Duration::from_millis(200));
//! ```

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use crate::Limiter;

/// What is called in a [`Limited`] service when it fails: a [`Denied`](crate::Denied), or the inner service's.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Makes services [`Limited`]: each request takes one token before it is passed on. All that a layer makes, and their
/// clones, share its limiter.
#[derive(Debug)]
pub struct LimiterLayer<L> {
    within: Option<Duration>,
    limiter: Arc<L>,
}

impl<L: Limiter> LimiterLayer<L> {
    /// A request waits for its token for as long as it takes.
    pub fn new(limiter: L) -> Self {
        Self {
            within: None,
            limiter: Arc::new(limiter),
        }
    }
}

impl<L> LimiterLayer<L> {
    /// A request waits for its token for so long at most, counted from its call, and is refused at once if it cannot be had by
    /// then. Zero refuses all that would have to wait.
    #[must_use]
    pub fn within(mut self, longest: Duration) -> Self {
        self.within = Some(longest);
        self
    }
}

impl<L> Clone for LimiterLayer<L> {
    fn clone(&self) -> Self {
        Self {
            within: self.within,
            limiter: Arc::clone(&self.limiter),
        }
    }
}

impl<S, L> Layer<S> for LimiterLayer<L> {
    type Service = Limited<S, L>;

    fn layer(&self, inner: S) -> Self::Service {
        Limited {
            inner,
            limit: self.clone(),
        }
    }
}

/// A service that passes a request on when a [`Limiter`] has granted a token for it.
///
/// The token is taken by the call, not by readiness: that is the inner service's alone. So a service that is polled until it is ready and then
/// not called, as those behind a balancer often are, wastes no token, and readiness holds up nobody.
///
/// The inner service is to be `Clone`, and its futures `Send`: each request takes the one that was made ready, and leaves a clone.
///
/// What the inner service has set aside for a request in its `poll_ready`, as the permit of a concurrency limit, is held while
/// the request waits for its token. Put this layer outside of such a one only if its waits are short, or there are none.
///
/// # Errors
///
/// A refusal is a [`Denied`](crate::Denied) in a box, and the request has not reached the inner service:
///
/// ```
/// # use evenkeel_bucket::{Denied, Refusal, tower::BoxError};
/// fn status(error: &BoxError) -> u16 {
///     match error.downcast_ref::<Denied>().map(Denied::refusal) {
///         Some(Refusal::Unavailable) => 503,
///         Some(_) => 429,
///         None => 500,
///     }
/// }
/// # assert_eq!(status(&Denied::by_limit("a", Refusal::DeadlineTooSoon).into()), 429);
/// # assert_eq!(status(&"b".into()), 500);
/// ```
///
/// With [`LimiterLayer::within`] it is [`DeadlineTooSoon`](crate::Refusal::DeadlineTooSoon), whose
/// [`retry_after`](crate::Denied::retry_after) says when the token could have been had. Without, a request is refused only if the limiter
/// will not grant it however long it waits, or cannot be asked.
///
/// # Cancel safety
///
/// A response future that is dropped while it waits has taken no token and leaves the line. Later the token is gone, and
/// what becomes of the request is the inner service's matter.
#[derive(Debug)]
pub struct Limited<S, L> {
    inner: S,
    limit: LimiterLayer<L>,
}

impl<S: Clone, L> Clone for Limited<S, L> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limit: self.limit.clone(),
        }
    }
}

impl<S, L, R> Service<R> for Limited<S, L>
where
    S: Service<R> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    L: Limiter + Send + Sync + 'static,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        // The one that was made ready is the one that is called; its clone has yet to be.
        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        let LimiterLayer { within, limiter } = self.limit.clone();
        // What no clock can name is never.
        let by = within.and_then(|within| Instant::now().checked_add(within));
        Box::pin(async move {
            limiter.acquire(1, by).await?;
            ready.call(request).await.map_err(Into::into)
        })
    }
}
