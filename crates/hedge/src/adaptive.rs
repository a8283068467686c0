use std::time::Duration;

use crate::policy::{Policy, Signal};
use crate::steer::Steer;

/// Units of [`Steer`]'s level in one unit of the natural logarithm of a delay in nanoseconds.
const SCALE: f64 = (1_u64 << 40) as f64;

/// How far one call moves the logarithm of the delay: a late one by `STEP * (1 - share)` up, another by `STEP * share` down.
const STEP: f64 = 0.1;

const MIN: Duration = Duration::from_millis(1);
const MAX: Duration = Duration::from_secs(10);

/// Hedges a given share of calls, whatever their latencies are: the slowest ones.
///
/// Asked for 0.05 it finds the delay that one call in twenty outlives, follows it as it moves, and spends one extra attempt on
/// those calls. Each call tells it one bit (did the first attempt outlive the delay?), which is known when the delay ends,
/// so hedging does not hide the latencies it is steered by; no latency is measured, no clock read, no lock taken.
///
/// # The bound on the extra load
///
/// Of `n` calls at most `share * n + 10 * ln(max / start)` are hedged because they are late, for any latencies in any order
/// and however many at once, plus one for each thread that decides at the same instant. `start` is the geometric mean of the
/// bounds, so the second term is `5 * ln(max / min)`: 46 with the bounds it has unless told otherwise. With `m` attempts a
/// call, each of them may start up to `m - 1`. Attempts started because one failed are not counted: limit those with a budget.
///
/// ```
/// use std::time::Duration;
/// use evenkeel_hedge::Adaptive;
///
/// # fn main() -> Result<(), evenkeel_hedge::InvalidPolicy> {
/// let policy = Adaptive::rate(0.05)?.bounds(Duration::from_millis(2), Duration::from_secs(1))?;
/// # Ok(()) }
/// ```
///
/// To share one between several hedges, put it into an [`Arc`](std::sync::Arc).
#[derive(Debug)]
pub struct Adaptive {
    steer: Steer,
    share: f64,
    min: Duration,
    max: Duration,
}

impl Adaptive {
    /// A policy that hedges `share` of the calls, with delays between 1 ms and 10 s.
    ///
    /// # Errors
    ///
    /// If `share` is not at least 0.000 001 and less than 1.
    pub fn rate(share: f64) -> Result<Self, InvalidPolicy> {
        if !(1e-6..1.0).contains(&share) {
            return Err(InvalidPolicy::Rate(share));
        }
        Ok(Self::build(share, MIN, MAX))
    }

    /// With delays from `min` to `max`, beginning at their geometric mean. While the delay would have to exceed `max`, the
    /// calls that may still be hedged are spread out; those between only hedge against failures.
    ///
    /// # Errors
    ///
    /// If `min` is zero or `max` is not greater.
    pub fn bounds(self, min: Duration, max: Duration) -> Result<Self, InvalidPolicy> {
        if min.is_zero() || min >= max {
            return Err(InvalidPolicy::Bounds { min, max });
        }
        Ok(Self::build(self.share, min, max))
    }

    fn build(share: f64, min: Duration, max: Duration) -> Self {
        let floor = ln(min);
        // Bounds that lie as close as their logarithms can tell still have a unit between them.
        let ceiling = ln(max).max(floor + 1);
        let unit = STEP * SCALE;
        Self {
            steer: Steer::new(
                floor + (ceiling - floor) / 2,
                floor,
                ceiling,
                (unit * (1.0 - share)) as i64,
                (unit * share) as i64,
            ),
            share,
            min,
            max,
        }
    }
}

impl Policy for Adaptive {
    fn delay(&self, _attempt: u32) -> Option<Duration> {
        let level = self.steer.level()?;
        let nanos = (level as f64 / SCALE).exp();
        Some(Duration::from_nanos(nanos as u64).clamp(self.min, self.max))
    }

    #[inline]
    fn observe(&self, signal: Signal) {
        match signal {
            Signal::InTime => self.steer.in_time(),
            Signal::Late => self.steer.late(),
        }
    }
}

fn ln(delay: Duration) -> i64 {
    ((delay.as_nanos() as f64).ln() * SCALE) as i64
}

/// Numbers that no [`Adaptive`] policy can keep.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPolicy {
    /// The share of calls to hedge is out of range.
    #[error("a share of {0} cannot be hedged: it must be at least 0.000001 and less than 1")]
    Rate(f64),
    /// The shortest delay is zero or not shorter than the longest.
    #[error("delays from {min:?} to {max:?} leave no room to adapt")]
    Bounds {
        /// The shortest delay asked for.
        min: Duration,
        /// The longest delay asked for.
        max: Duration,
    },
}
