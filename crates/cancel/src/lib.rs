#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

use std::future::Future;

mod accept;
mod blocking;
mod callback;
mod cause;
mod claim;
mod counted;
mod deadline;
mod driver;
#[cfg(feature = "errors")]
mod errors;
mod foreign;
mod future;
#[cfg(feature = "tokio-util")]
mod interop;
mod list;
mod node;
mod queue;
mod scope;
#[cfg(feature = "signal")]
#[cfg(not(loom))]
mod signal;
#[cfg(feature = "stream")]
mod stream;
mod sweep;
mod telemetry;
mod token;
mod up;
mod wait;
mod word;

#[cfg(all(test, loom))]
mod claim_models;
#[cfg(all(test, loom))]
mod node_models;
#[cfg(all(test, loom))]
mod queue_models;

pub use accept::{First, Latest, LatestAttempt, Offer};
pub use callback::Registration;
pub use cause::Cause;
pub use claim::{Claim, Permit, Refused, Verdict};
pub use driver::NoRuntime;
pub use future::{Cancelled, CancelledOwned, Run};
#[cfg(feature = "tokio-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio-util")))]
pub use interop::{Following, Leading};
pub use scope::{Scope, ScopeClosed, Shutdown};
#[cfg(feature = "signal")]
#[cfg(not(loom))]
#[cfg_attr(docsrs, doc(cfg(feature = "signal")))]
pub use signal::Signals;
#[cfg(feature = "stream")]
#[cfg_attr(docsrs, doc(cfg(feature = "stream")))]
pub use stream::{CancelStream, UntilCancelled};
pub use token::{DropGuard, Source, Token};

/// What can be cancelled, as seen by who observes it.
///
/// # Contract
///
/// - Once `cause` is `Some`, it is the same `Some` for ever; `cancelled` is ready then, with the same cause.
/// - `cause` neither blocks nor waits, and sees a deadline that is over though nobody had the time to notice.
/// - A `cancelled` that is pending wakes its task when the cancellation comes, however late it was first polled; dropped, it leaves
///   nothing behind.
///
/// For generic code; since `cancelled` returns a future of its own type, there is no `dyn Cancel`.
pub trait Cancel {
    /// The cause, if it is cancelled.
    fn cause(&self) -> Option<Cause>;

    /// Waits for the cancellation.
    fn cancelled(&self) -> impl Future<Output = Cause> + Send;
}

/// Runs `future` until it ends or `cancel` is cancelled; [`Token::run`] for anything that is [`Cancel`].
///
/// # Errors
///
/// The cause, if it was cancelled before `future` ended. At every poll `cancel` is asked first, so that work whose pieces are always
/// ready is cut between two of them.
///
/// # Cancel safety
///
/// As safe as `future`, which is dropped with this one.
pub async fn run<C: Cancel + ?Sized, F: Future>(cancel: &C, future: F) -> Result<F::Output, Cause> {
    Run::new(cancel, cancel.cancelled(), future).await
}
