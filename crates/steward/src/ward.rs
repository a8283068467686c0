//! What a steward starts.

use std::error::Error;
use std::future::Future;

use crate::Ctx;

/// The error of a ward, whatever it was.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Something that a [`Steward`](crate::Steward) starts, watches and starts again.
///
/// A closure that takes a [`Ctx`] and returns a future is one; a [`Builder`](crate::Builder) is one too, so that stewards
/// nest. `T` is what it [publishes](Ctx::publish).
///
/// # Contract
///
/// - `start` may be called again at any time after an incarnation has ended, and also while an old one, fenced, still runs:
///   hence `&self`, and hence no incarnation may count on being the only one outside of what it publishes.
/// - The future beats at least every [`interval`](Ctx::interval), or says that it is [`working`](Ctx::working) or
///   [`parked`](Ctx::parked).
/// - It ends soon after its [token](Ctx::token) is cancelled; it is aborted after the grace otherwise.
/// - `Ok(())` means that it is done, `Err` that it failed. It may panic; that too is a failure, and goes no further.
///
/// It is written as below: an `async fn start` would borrow `self`, and an `Arc<W>` is no ward. In a closure whose body never ends say
/// what it would: `Ok::<_, BoxError>(())`. `?` on a publication needs a `T` that is `Sync`.
///
/// ```
/// use evenkeel_steward::{BoxError, Ctx, Ward};
///
/// struct Poller {
///     url: String,
/// }
///
/// impl Ward<String> for Poller {
///     type Error = BoxError;
///
///     fn start(&self, ctx: Ctx<String>) -> impl Future<Output = Result<(), BoxError>> + Send + 'static {
///         let url = self.url.clone();
///         async move {
///             ctx.beat();
///             ctx.publish(url).await?;
///             Ok(())
///         }
///     }
/// }
/// ```
pub trait Ward<T = ()>: Send + Sync + 'static {
    /// Why it failed.
    type Error: Into<BoxError>;

    /// Begins an incarnation.
    fn start(&self, ctx: Ctx<T>) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static;
}

/// The closure owns what its wards share, and clones it for each: `move |ctx: Ctx| { let db = db.clone(); async move { … } }`.
/// An async closure, which borrows what it captures, cannot be one: its future would not be `'static`.
impl<T, F, Fut, E> Ward<T> for F
where
    F: Fn(Ctx<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError>,
{
    type Error = E;

    fn start(&self, ctx: Ctx<T>) -> impl Future<Output = Result<(), E>> + Send + 'static {
        self(ctx)
    }
}
