use std::sync::Arc;
use std::time::Duration;

/// Says how long to wait for an attempt before another is started beside it.
///
/// # Contract
///
/// - `delay` is asked when a call begins to wait, and again when that wait is over: if it says more by then, the call waits
///   for the rest. A policy that is being overrun can thus hold back the calls that are already waiting. It has to answer the
///   same for every call until something is observed; it must not draw lots.
/// - `observe` is told at most one [`Signal`] a call, and none by a call whose attempt failed or whose caller gave up while
///   the first wait ran: neither says anything about how long an answer takes.
/// - Both are called from within a poll, so neither may block.
///
/// Implemented for [`Duration`] (always that long; zero starts all attempts at once, [`Duration::MAX`] only hedges against
/// failures) and for [`Adaptive`](crate::Adaptive).
pub trait Policy {
    /// How long after the start of the previous attempt number `attempt` is due, counted from 0 for the first one, for
    /// which nobody asks. `None` starts it only if another fails.
    fn delay(&self, attempt: u32) -> Option<Duration>;

    /// Learns how a call went.
    fn observe(&self, signal: Signal) {
        let _ = signal;
    }
}

/// What a call tells its [`Policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// The first attempt was answered before the second was due.
    InTime,
    /// The second attempt became due, whether or not a budget then allowed it.
    Late,
}

impl Policy for Duration {
    #[inline]
    fn delay(&self, _attempt: u32) -> Option<Duration> {
        Some(*self)
    }
}

impl<P: Policy + ?Sized> Policy for &P {
    #[inline]
    fn delay(&self, attempt: u32) -> Option<Duration> {
        (**self).delay(attempt)
    }

    #[inline]
    fn observe(&self, signal: Signal) {
        (**self).observe(signal);
    }
}

impl<P: Policy + ?Sized> Policy for Box<P> {
    #[inline]
    fn delay(&self, attempt: u32) -> Option<Duration> {
        (**self).delay(attempt)
    }

    #[inline]
    fn observe(&self, signal: Signal) {
        (**self).observe(signal);
    }
}

impl<P: Policy + ?Sized> Policy for Arc<P> {
    #[inline]
    fn delay(&self, attempt: u32) -> Option<Duration> {
        (**self).delay(attempt)
    }

    #[inline]
    fn observe(&self, signal: Signal) {
        (**self).observe(signal);
    }
}
