//! How long one waits for the other side to go on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// A time that begins when something has to be waited for, and ends when it comes.
pub(crate) struct Patience {
    pause: Duration,
    timer: Pin<Box<Sleep>>,
    waits: bool,
}

impl Patience {
    pub(crate) fn new(pause: Duration) -> Self {
        Self {
            pause,
            timer: Box::pin(sleep(pause)),
            waits: false,
        }
    }

    /// It came: the next wait begins anew.
    pub(crate) fn renew(&mut self) {
        self.waits = false;
    }

    /// It has not come. Ready when the time is over, or `until` is there.
    pub(crate) fn poll(&mut self, until: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waits {
            let over = Instant::now() + self.pause;
            let at = until.map_or(over, |until| until.min(over));
            self.timer.as_mut().reset(at);
            self.waits = true;
        }
        self.timer.as_mut().poll(cx)
    }

    pub(crate) fn pause(&self) -> Duration {
        self.pause
    }
}
