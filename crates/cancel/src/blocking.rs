use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::{Cause, Token};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Token {
    /// Blocks this thread until the token is cancelled. For threads of one's own: in a task it would block the runtime.
    #[allow(clippy::must_use_candidate, reason = "one may wait and not ask why")]
    pub fn blocking_wait(&self) -> Cause {
        loop {
            if let Some(cause) = self.blocking_wait_timeout(Duration::MAX) {
                return cause;
            }
        }
    }

    /// Blocks this thread until the token is cancelled, or `timeout` of real time is over.
    #[must_use]
    pub fn blocking_wait_timeout(&self, timeout: Duration) -> Option<Cause> {
        let end = Instant::now().checked_add(timeout);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cancelled = pin!(self.cancelled());
        loop {
            if let Poll::Ready(cause) = cancelled.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Some(cause);
            }
            // Perhaps nobody drives the runtime whose deadline it is.
            if let Err(cause) = self.check() {
                return Some(cause);
            }
            let left = end.map_or(Duration::MAX, |end| {
                end.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return None;
            }
            let due = self.deadline();
            let due = due.map_or(Duration::MAX, |at| {
                at.saturating_duration_since(tokio::time::Instant::now())
            });
            thread::park_timeout(left.min(due));
        }
    }
}
