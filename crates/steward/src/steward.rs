//! The steward that runs.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_cancel::{Cause, Shutdown, Token};

use crate::builder::Builder;
use crate::child::Child;
use crate::error::Escalated;
use crate::event::Reason;
use crate::events::Events;
use crate::inner::Inner;
use crate::roster::{Ending, Stage};
use crate::rules::Backoff;
use crate::status::StatusTree;
use crate::ward::Ward;

/// Starts wards, watches their pulse, and heals them by its rules.
///
/// It is a task that other tasks may share by `&`; what it does it does in a loop of its own, and what is asked of it here
/// is answered without that loop. Dropping it cancels all its wards, and those of its wards that are stewards; its loop goes
/// on until they have gone, up the ladder.
#[must_use = "dropping a steward stops its wards"]
pub struct Steward {
    pub(crate) inner: Arc<Inner>,
    pub(crate) defaults: Defaults,
}

/// What a ward has unless it says otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) abort_grace: Duration,
    pub(crate) backoff: Backoff,
}

impl Steward {
    /// Rules for a steward.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A ward to be started under this id, which no other ward of the steward has.
    pub fn child<T, W>(&self, id: impl Into<Arc<str>>, ward: W) -> Child<'_, T, W>
    where
        T: Send + 'static,
        W: Ward<T>,
    {
        Child::new(self, id.into(), ward)
    }

    /// A token that is cancelled when the steward has ended: all its wards have gone, or are fenced. A dropped one cancels it at once.
    #[must_use]
    pub fn token(&self) -> Token {
        self.inner.root.token()
    }

    /// The steward and its wards at this instant, as a tree; read without asking any of them, so it answers also when they
    /// hang. Takes time in proportion to their number.
    #[must_use]
    pub fn status(&self) -> StatusTree {
        StatusTree::of(&self.inner)
    }

    /// What happens to the wards from now on. Events of stewards that are wards are not among them, save that they fail.
    pub fn events(&self) -> Events {
        self.inner.teller.listen()
    }

    /// Waits until the wards that the builder's [`setup`](Builder::setup) started are ready.
    ///
    /// # Errors
    ///
    /// [`Escalated`] if one of them failed before it was, and with [`Reason::Stopped`] and the steward's own name if it was told to end
    /// before they were.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ready(&self) -> Result<(), Escalated> {
        self.inner
            .until(|roster| match &roster.failure {
                Some((ward, reason)) => Some(Err(Escalated {
                    ward: Arc::clone(ward),
                    reason: reason.clone(),
                })),
                None if roster.is_ready() => Some(Ok(())),
                None if matches!(roster.stage, Stage::Open) => None,
                None => Some(Err(Escalated {
                    ward: Arc::clone(&self.inner.name),
                    reason: Reason::Stopped,
                })),
            })
            .await
    }

    /// Waits until the steward has ended and all its wards have gone or are fenced. Does not stop it.
    ///
    /// # Errors
    ///
    /// [`Escalated`] if it gave up: one restart, or one zombie, too many.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ended(&self) -> Result<(), Escalated> {
        self.inner
            .until(|roster| {
                if !matches!(roster.stage, Stage::Closed) {
                    return None;
                }
                Some(match &roster.failure {
                    Some((ward, reason)) => Err(Escalated {
                        ward: Arc::clone(ward),
                        reason: reason.clone(),
                    }),
                    None => Ok(()),
                })
            })
            .await
    }

    /// Stops all wards in reverse order of their start, each with its grace, and all of them within `within`: when a quarter
    /// of the time (at most a second) is left, who was told and remains is aborted, and the others are told, and have half of that
    /// quarter; at its end who remains is fenced, and reported as still running. One that does not go keeps those before it from
    /// being told for as long as its grace, so let the graces be short beside `within`.
    ///
    /// Awaited by one of its wards it waits for that ward, which is aborted after its grace.
    ///
    /// # Cancel safety
    ///
    /// The wards are told at the first poll. Dropped after that, it goes on; called again, it can only shorten the time.
    pub async fn shutdown(&self, within: Duration) -> Shutdown {
        self.inner.call(|roster, now, todo| {
            roster.close(now.saturating_add(within), now, todo);
        });
        self.inner
            .until(|roster| {
                if !matches!(roster.stage, Stage::Closed) {
                    return None;
                }
                let mut shutdown = Shutdown::default();
                for (name, ending) in &roster.ends {
                    let name = Cow::Owned(name.to_string());
                    match ending {
                        Ending::Finished => shutdown.finished.push(name),
                        Ending::Aborted => shutdown.aborted.push(name),
                        Ending::Panicked => shutdown.panicked.push(name),
                    }
                }
                for (_, _, name) in &roster.zombies {
                    shutdown.running.push(Cow::Owned(name.to_string()));
                }
                Some(shutdown)
            })
            .await
    }
}

impl Drop for Steward {
    fn drop(&mut self) {
        if self.inner.is_closed() {
            return;
        }
        self.inner.call(|roster, now, todo| {
            let deadline = now.saturating_add(roster.rules.deadline);
            roster.close(deadline, now, todo);
        });
        // Closed before, or who obeys at once were started again.
        self.inner.root.cancel(Cause::Shutdown);
    }
}

impl fmt::Debug for Steward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steward")
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}
