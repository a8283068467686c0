//! What the tests of this package share.
#![allow(dead_code, reason = "not every test uses everything")]

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evenkeel_bucket::{Bucket, Denied, Grant, Rate};
use tokio::runtime::Builder;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MS: Duration = Duration::from_millis(1);

pub(crate) type Acquiring = Pin<Box<dyn Future<Output = Result<Grant, Denied>> + Send>>;

pub(crate) fn acquire(bucket: &Bucket, n: u64) -> Acquiring {
    let bucket = bucket.clone();
    Box::pin(async move { bucket.acquire(n, None).await })
}

/// Polled once, as by somebody who never comes back.
pub(crate) fn poll_once(waiter: &mut Acquiring) -> Poll<Result<Grant, Denied>> {
    waiter
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

pub(crate) fn empty(rate: Rate, depth: u32) -> Bucket {
    let bucket = Bucket::new(rate, depth);
    assert!(bucket.try_acquire(depth.into()).is_ok());
    bucket
}

/// On a paused clock.
pub(crate) fn paused<R>(test: impl Future<Output = R>) -> R {
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(test)
}
