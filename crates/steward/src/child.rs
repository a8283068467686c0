//! The rules of a ward, before it runs.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::cell::{AnyCell, Cell, Desk, Handle};
use crate::error::StartError;
use crate::handle::WardHandle;
use crate::outlet::Outlet;
use crate::roster::{Refused, Terms};
use crate::rules::{Backoff, Restart};
use crate::steward::Steward;
use crate::ward::Ward;

/// How many values a ward's queue holds, unless it says otherwise.
const DEPTH: usize = 64;

/// A ward that is to be started, made by [`Steward::child`]. What is not said here is as the steward's
/// [`Builder`](crate::Builder) says.
#[must_use = "a ward does nothing until it is started"]
pub struct Child<'a, T, W> {
    steward: &'a Steward,
    id: Arc<str>,
    ward: W,
    timeout: Option<Duration>,
    start_within: Option<Duration>,
    depth: usize,
    terms: Terms,
    publishes: PhantomData<fn(T)>,
}

impl<'a, T: Send + 'static, W: Ward<T>> Child<'a, T, W> {
    pub(crate) fn new(steward: &'a Steward, id: Arc<str>, ward: W) -> Self {
        let defaults = steward.defaults;
        Self {
            steward,
            id,
            ward,
            timeout: Some(defaults.timeout),
            start_within: None,
            depth: DEPTH,
            terms: Terms {
                restart: Restart::default(),
                backoff: defaults.backoff,
                grace: defaults.grace,
                abort_grace: defaults.abort_grace,
                ready_within: None,
                timeout: None,
                #[cfg(feature = "significant")]
                significant: false,
            },
            publishes: PhantomData,
        }
    }

    /// When it is started again: [`Restart::Permanent`], unless said otherwise.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.terms.restart = restart;
        self
    }

    /// How long it may be silent: it is found silent no sooner than that after its last beat, and no later than 1.25 times
    /// that. At least 40 milliseconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// It has no pulse: it is restarted when it ends or panics, but not when it hangs.
    pub fn unwatched(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// How long its first beat may take: as long as any other, unless said otherwise.
    pub fn first_beat_within(mut self, limit: Duration) -> Self {
        self.start_within = Some(limit);
        self
    }

    /// It says when it has started, by [`Ctx::ready`](crate::Ctx::ready), and has failed if it does not within `limit`. Those
    /// that are started after it, in a setup or a group, wait for that. Without this a ward is ready as soon as it runs.
    pub fn ready_within(mut self, limit: Duration) -> Self {
        self.terms.ready_within = Some(limit);
        self
    }

    /// How long it waits to be restarted.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.terms.backoff = backoff;
        self
    }

    /// From its cancellation to its abort.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.terms.grace = grace;
        self
    }

    /// From its abort to its fence.
    pub fn abort_grace(mut self, grace: Duration) -> Self {
        self.terms.abort_grace = grace;
        self
    }

    /// How many values its queue holds, at least one: 64, unless said otherwise.
    pub fn depth(mut self, values: usize) -> Self {
        self.depth = values;
        self
    }

    /// When it ends by itself and is not started again, the steward ends too, as it should. One that is told to, by
    /// [`WardHandle::stop`], takes nobody along.
    #[cfg(feature = "significant")]
    #[cfg_attr(docsrs, doc(cfg(feature = "significant")))]
    pub fn significant(mut self) -> Self {
        self.terms.significant = true;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// If the steward shuts down or is full, if another of its wards has this id, or if the timeout is too short to be
    /// watched. Nothing is changed then.
    pub fn start(mut self) -> Result<WardHandle<T>, StartError> {
        let inner = &self.steward.inner;
        self.terms.timeout = self.timeout;
        let class = match self.timeout {
            Some(timeout) => {
                let start = self.start_within.unwrap_or(timeout);
                Some(inner.class(timeout, start)?)
            }
            None => None,
        };
        let cell = Arc::new(Cell {
            desk: Desk {
                inner: Arc::clone(inner),
                name: Arc::clone(&self.id),
                class,
                timeout: self.timeout,
                // With the handle that is returned: a ward may publish before it is.
                outlet: Outlet::new(self.depth),
                end: OnceLock::new(),
            },
            ward: self.ward,
        });
        let ward = Handle(Arc::clone(&cell) as _);
        let key = inner
            .call(|roster, now, todo| roster.add(Arc::clone(&self.id), self.terms, ward, now, todo))
            .map_err(|refused| match refused {
                Refused::Closed => StartError::ShuttingDown,
                Refused::Full(most) => StartError::Full(most),
                Refused::Duplicate => StartError::Duplicate(self.id),
            })?;
        let cell: Arc<AnyCell<T>> = cell;
        Ok(WardHandle::new(cell, key))
    }
}

impl<T, W> fmt::Debug for Child<'_, T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("id", &self.id)
            .field("timeout", &self.timeout)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}
