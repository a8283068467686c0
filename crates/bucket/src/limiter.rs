use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Instant;

use crate::{Denied, Grant};

/// Something that grants tokens, near or remote.
///
/// The contract:
///
/// - all `n` tokens are granted or none; a refusal leaves everything as it was;
/// - `by` is the latest moment at which the grant is of use. What cannot be had by then is refused at once, as far as
///   the limiter can know. `Some(now)`, polled once, is a try. `None` waits for as long as it takes;
/// - asking for 0 tokens succeeds;
/// - a future that is dropped before it is ready has taken nothing, or gives it back.
pub trait Limiter {
    /// Takes `n` tokens, waiting for them until `by` if need be.
    fn acquire(
        &self,
        n: u64,
        by: Option<Instant>,
    ) -> impl Future<Output = Result<Grant, Denied>> + Send;
}

impl<L: Limiter + ?Sized> Limiter for &L {
    fn acquire(
        &self,
        n: u64,
        by: Option<Instant>,
    ) -> impl Future<Output = Result<Grant, Denied>> + Send {
        L::acquire(self, n, by)
    }
}

impl<L: Limiter + ?Sized> Limiter for Arc<L> {
    fn acquire(
        &self,
        n: u64,
        by: Option<Instant>,
    ) -> impl Future<Output = Result<Grant, Denied>> + Send {
        L::acquire(self, n, by)
    }
}

/// Any limiter behind one type, at the price of an allocation a call. Clones share it.
///
/// ```
/// use evenkeel_bucket::{AnyLimiter, Bucket, Limiter, Rate};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let limits: Vec<AnyLimiter> = vec![AnyLimiter::new(Bucket::new(Rate::UNLIMITED, 0))];
/// assert!(limits[0].acquire(7, None).await.is_ok());
/// # }
/// ```
#[derive(Clone)]
pub struct AnyLimiter(Arc<dyn Erased>);

type Acquiring<'a> = Pin<Box<dyn Future<Output = Result<Grant, Denied>> + Send + 'a>>;

trait Erased: Send + Sync {
    fn acquire_boxed(&self, n: u64, by: Option<Instant>) -> Acquiring<'_>;
}

impl<L: Limiter + Send + Sync> Erased for L {
    fn acquire_boxed(&self, n: u64, by: Option<Instant>) -> Acquiring<'_> {
        Box::pin(self.acquire(n, by))
    }
}

impl AnyLimiter {
    /// Hides the type of `limiter`.
    pub fn new(limiter: impl Limiter + Send + Sync + 'static) -> Self {
        Self(Arc::new(limiter))
    }
}

impl Limiter for AnyLimiter {
    fn acquire(
        &self,
        n: u64,
        by: Option<Instant>,
    ) -> impl Future<Output = Result<Grant, Denied>> + Send {
        self.0.acquire_boxed(n, by)
    }
}

impl fmt::Debug for AnyLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyLimiter")
    }
}
