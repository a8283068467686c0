//! What a ward is given.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use evenkeel_cancel::Token;
use evenkeel_heartbeat::{Heartbeat, Unit, Watched};
use tokio::time::Instant;

use crate::cell::{AnyCell, Life};
use crate::error::Unpublished;
use crate::inner::Inner;
use crate::outlet::Refusal;

/// What one incarnation of a ward is given: its pulse, its token, and the queue it publishes `T` into.
///
/// Cheap to clone. When the last clone is dropped while the ward still runs, the pulse is closed, and the ward is healed.
pub struct Ctx<T = ()> {
    cell: Arc<AnyCell<T>>,
    life: Arc<Life>,
}

impl<T> Ctx<T> {
    pub(crate) fn new(cell: Arc<AnyCell<T>>, life: Arc<Life>) -> Self {
        Self { cell, life }
    }

    /// Says that the ward is alive. Costs about an atomic load; never waits.
    #[inline]
    pub fn beat(&self) {
        if let Some(watched) = &self.life.watched {
            watched.beat();
        }
    }

    /// The pulse itself, with all that it offers; `None` for a ward that is not watched.
    #[must_use]
    pub fn pulse(&self) -> Option<&Watched> {
        self.life.watched.as_ref()
    }

    /// The interval that a beat is expected in: half the timeout. Without a timeout it is as long as can be.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.cell
            .desk
            .timeout
            .map_or(Duration::MAX, |timeout| timeout / 2)
    }

    /// Cancelled when this incarnation is to end. The time it then has is its grace: see [`stop_by`](Self::stop_by).
    #[must_use]
    pub fn token(&self) -> &Token {
        self.life.source(&self.cell.desk.inner.root)
    }

    /// Until when it has to be gone, once its token is cancelled; it is aborted then.
    #[must_use]
    pub fn stop_by(&self) -> Option<Instant> {
        self.life.stop_by.get().copied()
    }

    /// Which incarnation this is, counted from one. A later one is always greater.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.life.generation
    }

    /// The ward's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.cell.desk.name
    }

    /// Says that the ward has started. Only a ward with [`ready_within`](crate::Child::ready_within) is waited for; for
    /// any other this is a beat.
    pub fn ready(&self) {
        self.beat();
        self.cell.desk.inner.ready(&self.life);
    }

    /// Begins a unit of work that takes up to `limit`: until the guard is dropped no beat is expected within it. Counts as
    /// a beat.
    pub fn working(&self, limit: Duration) -> Working<'_> {
        Working(
            self.life
                .watched
                .as_ref()
                .map(|watched| watched.unit(limit)),
        )
    }

    /// Waits on purpose: no beat is expected until the guard is dropped. Counts as a beat.
    pub fn parked(&self) -> Working<'_> {
        Working(self.life.watched.as_ref().map(Watched::parked))
    }

    /// Puts a value into the ward's queue, and waits for room if it is full; it is [parked](Self::parked) meanwhile.
    ///
    /// # Errors
    ///
    /// [`Unpublished::Fenced`] with the value if this incarnation no longer speaks for the ward. The check and the
    /// publication are one step: a value is received or comes back, never both. [`Unpublished::NoReader`] if the last
    /// [`WardHandle`](crate::WardHandle) has gone.
    ///
    /// # Cancel safety
    ///
    /// A dropped call has published nothing, and the value is dropped with it.
    pub async fn publish(&self, value: T) -> Result<(), Unpublished<T>> {
        let value = match self.try_publish(value) {
            Err(Unpublished::Full(value)) => value,
            other => return other,
        };
        let _parked = self.parked();
        let mut value = Some(value);
        let mut ticket = self.cell.desk.outlet.ticket();
        poll_fn(|cx| {
            let Some(it) = value.take() else {
                return Poll::Pending;
            };
            match ticket.poll_push(self.generation(), it, cx) {
                Ok(()) => Poll::Ready(Ok(())),
                Err((it, Refusal::Full)) => {
                    value = Some(it);
                    Poll::Pending
                }
                Err(refused) => Poll::Ready(Err(refused.into())),
            }
        })
        .await
    }

    /// Puts a value into the ward's queue if there is room.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), and [`Unpublished::Full`] with the value if the queue is full.
    pub fn try_publish(&self, value: T) -> Result<(), Unpublished<T>> {
        let pushed = self.cell.desk.outlet.push(self.generation(), value);
        pushed.map_err(Unpublished::from)
    }

    /// The steward that this incarnation is stops, is fenced and is seen with it.
    pub(crate) fn adopt(&self, nested: &Arc<Inner>) {
        let _ = self.life.nested.set(Arc::downgrade(nested));
    }
}

impl<T> Heartbeat for Ctx<T> {
    #[inline]
    fn beat(&self) {
        Ctx::beat(self);
    }
}

impl<T> Clone for Ctx<T> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.cell), Arc::clone(&self.life))
    }
}

impl<T> fmt::Debug for Ctx<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx")
            .field("id", &self.id())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

/// Until it is dropped, the ward is known to be at work, or to wait.
#[must_use = "it ends when it is dropped"]
#[derive(Debug)]
pub struct Working<'a>(#[expect(dead_code, reason = "held for its drop")] Option<Unit<'a>>);
