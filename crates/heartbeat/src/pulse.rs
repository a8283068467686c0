//! The awaited pulse: the worker's end and the listener's end.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use evenkeel_sync::Arc;
use futures_core::Stream;

use crate::word::Word;
use crate::{Every, Heartbeat};

/// Makes an awaited pulse: the worker keeps the [`Pulse`], the listener the [`Beats`].
///
/// Beats are counted, not queued: a listener that comes late, or rarely, gets one [`Beat`] that says how many there
/// were. So a beat never waits for a listener, and at least one is kept for a listener that is not there yet.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use evenkeel_heartbeat::{Heartbeat, pulse};
///
/// let (pulse, mut beats) = pulse();
/// tokio::spawn(async move {
///     for _unit in 0..3 {
///         pulse.beat();
///     }
/// });
/// assert_eq!(beats.next().await.unwrap().count, 3);
/// assert!(beats.next().await.is_none(), "the worker has returned");
/// # }
/// ```
pub fn pulse() -> (Pulse, Beats) {
    let word = Arc::new(Word::new(0));
    let beats = Beats {
        word: Arc::clone(&word),
        seen: 0,
        total: 0,
    };
    (Pulse { word }, beats)
}

/// The worker's end of an awaited pulse, made by [`pulse`].
///
/// Dropping it, on return, on cancellation or in a panic, closes the pulse. To beat from several tasks share it in an
/// `Arc`: it closes with the last of them.
#[must_use = "a pulse closes when it is dropped"]
pub struct Pulse {
    word: Arc<Word>,
}

impl Pulse {
    /// Beats once every `period` while something else is awaited; see [`Every`].
    pub fn every(&self, period: Duration) -> Every<&Self> {
        Every::new(self, period)
    }
}

impl Heartbeat for Pulse {
    /// One atomic addition while nobody waits; otherwise it also wakes the listener. What was written before the beat
    /// is seen by the listener after it.
    #[inline]
    fn beat(&self) {
        self.word.beat();
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.word.close();
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulse")
            .field("count", &self.word.read().count)
            .finish()
    }
}

/// What a listener hears: at least one beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Beat {
    /// How many beats there were since the last one that was heard; at least one.
    pub count: u64,
}

/// The listener's end of an awaited pulse, made by [`pulse`]. Also a [`Stream`] of [`Beat`].
#[must_use = "beats do nothing unless they are awaited"]
pub struct Beats {
    word: Arc<Word>,
    /// The count in the word that was last heard.
    seen: u64,
    total: u64,
}

impl Beats {
    /// Waits for the next beat; `None` once the worker's end is gone and every beat has been heard.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped call loses no beat, since a beat counts as heard only when it is returned.
    pub async fn next(&mut self) -> Option<Beat> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Waits until there were `n` beats in all since the pulse was made, and says how many there were; `None` if the
    /// worker's end is gone before that. Returns at once if they have been heard already.
    ///
    /// This is how a test waits for a worker instead of sleeping: it is ready when the worker is, however slow the
    /// machine, and no sooner.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: beats heard on the way stay counted in [`total`](Self::total).
    pub async fn reach(&mut self, n: u64) -> Option<u64> {
        while self.total < n {
            self.next().await?;
        }
        Some(self.total)
    }

    /// How many beats were heard so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether the worker's end is gone. Beats that were not heard yet can still be.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.word.read().closed
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Beat>> {
        let now = ready!(self.word.poll(self.seen, cx));
        let count = now.since(self.seen);
        self.seen = now.count;
        self.total += count;
        Poll::Ready((count > 0).then_some(Beat { count }))
    }
}

impl Stream for Beats {
    type Item = Beat;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Beat>> {
        self.poll(cx)
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.word.forget();
    }
}

impl fmt::Debug for Beats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beats")
            .field("total", &self.total)
            .field("closed", &self.is_closed())
            .finish()
    }
}
