//! Buckets on a clock of one's own: a simulation's, one that is set by hand, or the processor's (feature `quanta`).
//!
//! A clock can be read but not waited on. So what stands on another than tokio's is tried, never waited for: a [`Clocked`] has no
//! `acquire`, is no [`Limiter`](crate::Limiter) and does not go into an [`All`](crate::All), whose buckets are judged at one moment of
//! one clock. For tests that wait there is tokio's paused clock, which drives everything else in this crate.
//!
//! ```
//! use evenkeel_bucket::Rate;
//! use evenkeel_bucket::clock::{Clocked, Manual};
//! use std::time::Duration;
//!
//! let (clock, second) = (Manual::default(), Duration::from_secs(1));
//! let api = Clocked::new(Rate::every(second), 1, clock.clone()).named("api");
//! assert!(api.try_acquire(1).is_ok());
//! let wait = api.try_acquire(1).unwrap_err().retry_after();
//! assert_eq!(wait, Some(second));
//! clock.advance(second);
//! assert!(api.try_acquire(1).is_ok());
//! ```

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::line::Limit;
use crate::{Bucket, Denied, Grant, Level, Rate};

/// Tells the time.
///
/// A clock may stand, be behind on some threads, and go backward: a bucket mints nothing by that. Where it jumps forward the
/// time that it jumped over counts as passed.
pub trait Clock {
    /// Nanoseconds since a moment that is the same for all clones of it, on all threads.
    fn now(&self) -> u64;
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> u64 {
        C::now(self)
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> u64 {
        C::now(self)
    }
}

/// A clock that stands until it is set. Clones share it.
///
/// # Protocol
///
/// The time is one word, and nothing else is published by it. Who sees another time may not yet see what was done before
/// it was set.
#[derive(Clone, Debug, Default)]
pub struct Manual(Arc<AtomicU64>);

impl Manual {
    /// So much later than it is; at the end of its 584 years it stops.
    pub fn advance(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let later = |now: u64| Some(now.saturating_add(nanos));
        // ORDERING: Relaxed; nothing is published by it.
        let _ = self.0.fetch_update(Relaxed, Relaxed, later);
    }

    /// So many nanoseconds since its start, be that later or earlier than it is.
    pub fn set(&self, nanos: u64) {
        // ORDERING: Relaxed; nothing is published by it.
        self.0.store(nanos, Relaxed);
    }
}

impl Clock for Manual {
    fn now(&self) -> u64 {
        // ORDERING: Relaxed; nothing is published by it.
        self.0.load(Relaxed)
    }
}

/// The processor's time stamp counter. Where there is none that runs evenly, the system's clock.
///
/// It takes a few nanoseconds to read, where the system's clock takes some twenty.
///
/// # Drift
///
/// Its speed is measured once in a process, against the system's clock, and is off by what that measurement was; nothing puts
/// it right later, nor does it follow the corrections that the system's clock gets. Tens of millionths are common, as those 83
/// that a user of quanta saw: 0.3 seconds an hour. A bucket is off by the same part: at 83 millionths 1,000 a second are 1,000.083, or
/// that much less. A quota that a contract counts by the day, of which the last token matters, is to be on the default clock.
///
/// Counters of several sockets may differ, and a virtual machine that moves may get another. What is behind mints
/// nothing. What is ahead counts as time that has passed, once.
///
/// ```
/// use evenkeel_bucket::Rate;
/// use evenkeel_bucket::clock::{Clocked, Tsc};
///
/// let api = Clocked::new(Rate::ZERO, 1, Tsc::new());
/// assert!(api.try_acquire(1).is_ok());
/// assert!(api.try_acquire(1).is_err());
/// ```
#[cfg(feature = "quanta")]
#[cfg_attr(docsrs, doc(cfg(feature = "quanta")))]
#[derive(Clone, Debug)]
pub struct Tsc(quanta::Clock);

#[cfg(feature = "quanta")]
impl Tsc {
    /// The first one in a process measures the counter's speed, which takes up to 0.2 seconds of a processor.
    #[must_use]
    pub fn new() -> Self {
        Self(quanta::Clock::new())
    }
}

#[cfg(feature = "quanta")]
impl Default for Tsc {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "quanta")]
impl Clock for Tsc {
    #[inline]
    fn now(&self) -> u64 {
        self.0.delta_as_nanos(0, self.0.raw())
    }
}

/// A [`Bucket`] on a clock of one's own: exact as any, by that clock. Clones share the bucket.
///
/// It is tried and never waited for, see the [module](self).
#[derive(Clone)]
pub struct Clocked<C> {
    bucket: Bucket,
    clock: C,
}

impl<C: Clock> Clocked<C> {
    /// As [`Bucket::new`], full at the present of `clock`.
    #[must_use]
    pub fn new(rate: Rate, depth: u32, clock: C) -> Self {
        let bucket = Bucket::new_at(Limit { rate, depth }, clock.now());
        Self { bucket, clock }
    }

    /// As [`Bucket::named`].
    #[must_use]
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.bucket = self.bucket.named(name);
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.bucket.name()
    }

    /// The rate at which it refills.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.bucket.rate()
    }

    /// How many tokens it holds when it is full.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.bucket.depth()
    }

    /// As [`Bucket::try_acquire`].
    ///
    /// # Errors
    ///
    /// As [`Bucket::try_acquire`].
    #[inline]
    pub fn try_acquire(&self, n: u64) -> Result<Grant, Denied> {
        self.bucket.try_acquire_at(n, self.clock.now())
    }

    /// As [`Bucket::take_up_to`].
    ///
    /// # Errors
    ///
    /// As [`Bucket::take_up_to`].
    pub fn take_up_to(&self, n: u64) -> Result<Grant, Denied> {
        self.bucket.take_up_to_at(n, self.clock.now())
    }

    /// As [`Bucket::refund`].
    pub fn refund(&self, n: u64) {
        self.bucket.gate.refund(n, self.clock.now());
    }

    /// As [`Bucket::set_rate`].
    pub fn set_rate(&self, rate: Rate) {
        let gate = &self.bucket.gate;
        gate.replan(|limit| limit.rate = rate, self.clock.now());
    }

    /// As [`Bucket::set_depth`].
    pub fn set_depth(&self, depth: u32) {
        let gate = &self.bucket.gate;
        gate.replan(|limit| limit.depth = depth, self.clock.now());
    }

    /// As [`Bucket::peek`].
    #[must_use]
    pub fn peek(&self) -> Level {
        self.bucket.gate.level(self.clock.now())
    }
}

impl<C> fmt::Debug for Clocked<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bucket.fmt(f)
    }
}
