//! Events as a stream.

use std::sync::OnceLock;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::event::Event;

/// How many events a listener may be behind.
const BACKLOG: usize = 1024;

/// Hands events to those who listen; made with the first of them.
#[derive(Default)]
pub(crate) struct Teller(OnceLock<broadcast::Sender<Event>>);

impl Teller {
    /// Whether an event is worth making.
    pub(crate) fn is_heard(&self) -> bool {
        cfg!(feature = "tracing") || self.0.get().is_some()
    }

    pub(crate) fn tell(&self, steward: &str, event: Event) {
        #[cfg(feature = "tracing")]
        trace(steward, &event);
        #[cfg(not(feature = "tracing"))]
        let _ = steward;
        if let Some(sender) = self.0.get() {
            // Fails if nobody listens any more: no loss.
            let _ = sender.send(event);
        }
    }

    pub(crate) fn listen(&self) -> Events {
        let sender = self.0.get_or_init(|| broadcast::Sender::new(BACKLOG));
        Events {
            receiver: sender.subscribe(),
            missed: 0,
        }
    }
}

/// What happens to the wards of a steward, from [`Steward::events`](crate::Steward::events) on. Those of a ward come in their order, unless
/// two happen at the same instant on two threads; each names its generation.
#[derive(Debug)]
#[must_use = "events do nothing unless they are awaited"]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
    missed: u64,
}

impl Events {
    /// Waits for the next event; `None` once the steward and all handles of its wards are gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(missed)) => self.missed += missed,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// As [`next`](Self::next), for a thread outside of any runtime.
    ///
    /// # Panics
    ///
    /// Within a runtime.
    pub fn blocking_next(&mut self) -> Option<Event> {
        loop {
            match self.receiver.blocking_recv() {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(missed)) => self.missed += missed,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The next event if it is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            match self.receiver.try_recv() {
                Ok(event) => return Some(event),
                Err(TryRecvError::Lagged(missed)) => self.missed += missed,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }

    /// How many events were lost, oldest first, because more than 1,024 were left unread.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(feature = "tracing")]
fn trace(steward: &str, event: &Event) {
    use crate::event::What;

    macro_rules! told {
        ($level:ident, $name:literal $(, $($field:tt)+)?) => {
            tracing::$level!(
                target: "evenkeel.steward",
                steward,
                ward = &*event.ward,
                generation = event.generation,
                $($($field)+,)?
                $name
            )
        };
    }
    match &event.what {
        What::Started => told!(debug, "started"),
        What::Ready => told!(debug, "ready"),
        What::Stopping(reason) => told!(debug, "stopping", reason = %reason),
        What::Aborted => told!(warn, "aborted"),
        What::Leaked => told!(error, "leaked"),
        What::ZombieGone => told!(info, "zombie gone"),
        What::Restarting {
            reason,
            cost,
            delay,
        } => told!(warn, "restarting", reason = %reason, cost = ?cost, delay = ?delay),
        What::Ended(reason) => told!(info, "ended", reason = %reason),
        What::Escalated(reason) => told!(error, "escalated", reason = %reason),
    }
}
