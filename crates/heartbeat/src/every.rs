//! A beat on an interval, while something else is awaited.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project::pin_project;
use tokio::time::{Instant, Sleep};

use crate::Heartbeat;

/// Beats once every period while a worker waits for something else.
///
/// The schedule runs on from one [`during`](Self::during) to the next, so a worker that waits often and briefly beats as
/// regularly as one that waits long. Between two calls nothing beats: a worker that is stuck there falls silent, as it
/// should.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use std::time::Duration;
/// use evenkeel_heartbeat::pulse;
///
/// let (pulse, mut beats) = pulse();
/// let mut every = pulse.every(Duration::from_secs(1));
/// every.during(tokio::time::sleep(Duration::from_millis(3_500))).await;
/// assert_eq!(beats.next().await.unwrap().count, 3);
/// # }
/// ```
#[must_use = "nothing beats outside `during`"]
pub struct Every<H> {
    pulse: H,
    period: Duration,
    next: Instant,
}

impl<H: Heartbeat> Every<H> {
    /// Beats `pulse` once every `period`, first one period from now. A period below a millisecond, zero too, counts as
    /// one.
    pub fn new(pulse: H, period: Duration) -> Self {
        let period = period.max(Duration::from_millis(1));
        Self {
            next: after(Instant::now(), period),
            pulse,
            period,
        }
    }

    /// Awaits `future`, and beats whenever a period has passed.
    ///
    /// Each beat polls `future` once more. Beats missed because nobody polled are one beat.
    ///
    /// # Panics
    ///
    /// When polled outside a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// As cancel safe as `future`; the schedule is kept.
    pub fn during<F: Future>(&mut self, future: F) -> During<'_, H, F> {
        During {
            every: self,
            sleep: None,
            future,
        }
    }

    fn beat_if_due(&mut self) {
        let now = Instant::now();
        if now >= self.next {
            self.pulse.beat();
            // On the grid of the schedule; what was missed is skipped.
            let next = after(self.next, self.period);
            self.next = if next > now {
                next
            } else {
                after(now, self.period)
            };
        }
    }
}

/// Thirty years later, if it is more: a period too long for the clock never comes.
pub(crate) fn after(at: Instant, period: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
    at.checked_add(period.min(FAR)).unwrap_or(at)
}

impl<H> fmt::Debug for Every<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Every")
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

/// The future that [`Every::during`] returns.
#[pin_project]
#[must_use = "futures do nothing unless they are awaited"]
pub struct During<'a, H, F> {
    every: &'a mut Every<H>,
    /// Made at the first pending poll: what is ready at once costs no timer.
    #[pin]
    sleep: Option<Sleep>,
    #[pin]
    future: F,
}

impl<H: Heartbeat, F: Future> Future for During<'_, H, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let polled = this.future.poll(cx);
        this.every.beat_if_due();
        if polled.is_ready() {
            return polled;
        }
        loop {
            match this.sleep.as_mut().as_pin_mut() {
                None => this
                    .sleep
                    .set(Some(tokio::time::sleep_until(this.every.next))),
                Some(sleep) if sleep.deadline() != this.every.next => sleep.reset(this.every.next),
                Some(sleep) => {
                    if sleep.poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    this.every.beat_if_due();
                }
            }
        }
    }
}

impl<H, F> fmt::Debug for During<'_, H, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("During").finish_non_exhaustive()
    }
}
