//! The handle of a ward.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use crate::cell::AnyCell;
use crate::error::Gone;
use crate::event::Reason;
use crate::roster::{Key, Phase};
use crate::status::WardStatus;

/// A ward, as seen by who started it: its status, its end, and what it publishes.
///
/// Cheap to clone. Dropping it leaves the ward alone, but with the last one nobody can read what the ward publishes any more, and
/// [`Ctx::publish`](crate::Ctx::publish) is refused.
pub struct WardHandle<T = ()> {
    cell: Arc<AnyCell<T>>,
    key: Key,
}

impl<T> WardHandle<T> {
    /// It takes the place that the outlet has counted for it.
    pub(crate) fn new(cell: Arc<AnyCell<T>>, key: Key) -> Self {
        Self { cell, key }
    }

    /// The ward's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.cell.desk.name
    }

    /// How the ward fares at this instant, read without asking anyone.
    ///
    /// # Errors
    ///
    /// [`Gone`] if it has ended for good.
    pub fn status(&self) -> Result<WardStatus, Gone> {
        let inner = &self.cell.desk.inner;
        let now = inner.now();
        let roster = inner.roster.lock();
        let entry = roster.find(self.key).ok_or(Gone)?;
        Ok(WardStatus::new(entry, now))
    }

    /// Why the ward ended for good, if it has.
    #[must_use]
    pub fn end(&self) -> Option<Reason> {
        self.cell.desk.end.get().cloned()
    }

    /// Waits until the ward has ended for good, and says why. Does not stop it. A transient ward that has ended as it should keeps its
    /// place in a group, which may start it again: it has not ended for good.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ended(&self) -> Reason {
        self.cell.desk.inner.until(|_| self.end()).await
    }

    /// Waits until an incarnation of the ward is ready.
    ///
    /// # Errors
    ///
    /// [`Gone`] if the ward ended for good.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ready(&self) -> Result<(), Gone> {
        let inner = &self.cell.desk.inner;
        inner
            .until(|roster| match roster.find(self.key).map(|e| &e.phase) {
                None => Some(Err(Gone)),
                Some(Phase::Running { unready: None, .. }) => Some(Ok(())),
                Some(_) => None,
            })
            .await
    }

    /// Stops the ward for good, up the ladder: cancel, grace, abort, second grace, fence. Returns when it has left; a ward
    /// that waits to be restarted is not started again.
    ///
    /// Awaited by the ward itself it waits for itself, and the ward is aborted after its grace.
    ///
    /// # Cancel safety
    ///
    /// The ward is told at the first poll, and goes also if the call is dropped then.
    pub async fn stop(&self) -> Reason {
        let inner = &self.cell.desk.inner;
        inner.call(|roster, now, todo| roster.stop(self.key, now, todo));
        self.ended().await
    }

    /// Tells the ward to begin anew: the incarnation that runs is stopped up the ladder, and one that waits for its backoff
    /// starts now. Not a failure, so it counts for nothing. Returns at once.
    ///
    /// # Errors
    ///
    /// [`Gone`] if the ward has ended or is being stopped.
    pub fn restart(&self) -> Result<(), Gone> {
        let inner = &self.cell.desk.inner;
        let told = inner.call(|roster, now, todo| roster.restart(self.key, now, todo));
        if told { Ok(()) } else { Err(Gone) }
    }

    /// Waits for the next value that the ward publishes; `None` once it has ended for good and all was read. Each value goes
    /// to one reader.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped call loses nothing.
    pub async fn next(&self) -> Option<T> {
        let mut ticket = self.cell.desk.outlet.ticket();
        poll_fn(|cx| ticket.poll_pop(cx)).await
    }

    /// The next value if it is there already.
    #[must_use]
    pub fn try_next(&self) -> Option<T> {
        self.cell.desk.outlet.pop()
    }
}

impl<T> Clone for WardHandle<T> {
    fn clone(&self) -> Self {
        self.cell.desk.outlet.attach();
        Self::new(Arc::clone(&self.cell), self.key)
    }
}

impl<T> Drop for WardHandle<T> {
    fn drop(&mut self) {
        self.cell.desk.outlet.detach();
    }
}

impl<T> fmt::Debug for WardHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WardHandle")
            .field("id", &self.id())
            .field("status", &self.status())
            .finish()
    }
}
