use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use evenkeel_bucket::Limiter;
use tokio::time::Instant;

/// Whether `limiter` grants one token as it stands: polled once, with a deadline of now, so that nothing is queued for.
pub(crate) fn grants(limiter: &impl Limiter) -> bool {
    let asked = pin!(limiter.acquire(1, Some(Instant::now())));
    let mut cx = Context::from_waker(Waker::noop());
    matches!(asked.poll(&mut cx), Poll::Ready(Ok(_)))
}
