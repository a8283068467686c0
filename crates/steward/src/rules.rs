//! The rules of supervision, by OTP's names and with OTP's meaning.

use std::collections::VecDeque;
use std::time::Duration;

/// Whom a steward restarts when one of its wards fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Only the ward that failed.
    #[default]
    OneForOne,
    /// All wards: they are stopped in reverse order of their start, then started in that order, each when the one
    /// before it is ready.
    OneForAll,
    /// The ward that failed and those started after it, in the manner of [`OneForAll`](Self::OneForAll).
    RestForOne,
}

/// When a ward is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Whenever it ends, by `Ok(())` too.
    #[default]
    Permanent,
    /// When it fails: by `Err`, a panic, silence or a late start. `Ok(())` ends it for good.
    Transient,
    /// Never.
    Temporary,
}

/// How many restarts within which time a steward takes before it gives up and fails itself.
///
/// The restart of a group counts once. The default is 5 within 30 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    restarts: u32,
    within: Duration,
}

impl Intensity {
    /// At most `restarts` within any span of `within`; zero restarts means that the first failure is one too many.
    #[must_use]
    pub const fn new(restarts: u32, within: Duration) -> Self {
        Self { restarts, within }
    }

    /// Never gives up.
    pub const UNLIMITED: Self = Self::new(u32::MAX, Duration::MAX);
}

impl Default for Intensity {
    fn default() -> Self {
        Self::new(5, Duration::from_secs(30))
    }
}

/// The restarts that an [`Intensity`] still remembers.
#[derive(Debug, Default)]
pub(crate) struct Window(VecDeque<Duration>);

impl Window {
    /// Counts a restart at `now`; false if it is one too many.
    ///
    /// As in OTP, a restart exactly `within` ago still counts.
    pub(crate) fn admit(&mut self, rule: Intensity, now: Duration) -> bool {
        if rule.restarts == u32::MAX {
            return true;
        }
        let since = now.saturating_sub(rule.within);
        while self.0.front().is_some_and(|&at| at < since) {
            self.0.pop_front();
        }
        if self.0.len() >= rule.restarts as usize {
            return false;
        }
        self.0.push_back(now);
        true
    }
}

/// How long a steward waits before it starts a failed ward again.
///
/// The first restart is immediate. The next waits `base`, and each further one twice as long up to `max`, less a random
/// part of at most `jitter`, so that wards that failed together do not come back together. A ward that stayed healthy for
/// `reset` begins anew, even while it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    jitter: f64,
    reset: Duration,
}

impl Backoff {
    /// Restarts without any delay.
    pub const NONE: Self = Self {
        base: Duration::ZERO,
        max: Duration::ZERO,
        jitter: 0.0,
        reset: Duration::ZERO,
    };

    /// Doubles from `base` to `max`, with a jitter of a fifth, and is reset by a minute of health.
    #[must_use]
    pub const fn exponential(base: Duration, max: Duration) -> Self {
        Self {
            base,
            max,
            jitter: 0.2,
            reset: Duration::from_secs(60),
        }
    }

    /// The share of each delay that is left to chance, clamped to 0 ..= 1.
    #[must_use]
    pub const fn jitter(mut self, share: f64) -> Self {
        self.jitter = share.clamp(0.0, 1.0);
        self
    }

    /// How long a ward must have been healthy for its failures to be forgotten.
    #[must_use]
    pub const fn reset_after(mut self, health: Duration) -> Self {
        self.reset = health;
        self
    }

    pub(crate) fn forgives(&self, healthy: Duration) -> bool {
        healthy >= self.reset
    }

    /// The wait before the restart after the `failures`-th failure in a row; `chance` is in 0 .. 1.
    pub(crate) fn delay(&self, failures: u32, chance: f64) -> Duration {
        if failures < 2 || self.base.is_zero() {
            return Duration::ZERO;
        }
        let doublings = (failures - 2).min(31);
        let full = self.base.saturating_mul(1 << doublings).min(self.max);
        let less = full.as_secs_f64() * (1.0 - self.jitter * chance);
        Duration::try_from_secs_f64(less).map_or(full, |less| less.min(full))
    }
}

impl Default for Backoff {
    /// From 100 milliseconds to 30 seconds.
    fn default() -> Self {
        Self::exponential(Duration::from_millis(100), Duration::from_secs(30))
    }
}

/// A xorshift generator: jitter must differ between processes, not withstand an adversary.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The next number in 0 .. 1.
    pub(crate) fn draw(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        #[expect(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds")]
        let share = (self.0 >> 11) as f64 / (1u64 << 53) as f64;
        share
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_and_saturate() {
        let backoff = Backoff::exponential(S, 60 * S).jitter(0.0);
        let delays: Vec<u64> = (0..10).map(|n| backoff.delay(n, 0.5).as_secs()).collect();
        assert_eq!(delays, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        let vast = Backoff::exponential(Duration::MAX, Duration::MAX);
        assert_eq!(vast.delay(u32::MAX, 0.0), Duration::MAX);
        assert!(vast.delay(u32::MAX, 1.0) < Duration::MAX);
    }

    #[test]
    fn jitter_takes_away_at_most_its_share() {
        let backoff = Backoff::exponential(S, S).jitter(0.25);
        let mut chance = Chance::new(7);
        let delays: Vec<Duration> = (0..1000).map(|_| backoff.delay(9, chance.draw())).collect();
        let (low, high) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
        assert!(*low >= S.mul_f64(0.75) && *low < S.mul_f64(0.76), "{low:?}");
        assert!(*high <= S && *high > S.mul_f64(0.99), "{high:?}");
    }

    #[test]
    fn the_window_slides() {
        let rule = Intensity::new(2, 10 * S);
        let mut window = Window::default();
        assert!(window.admit(rule, S));
        assert!(window.admit(rule, 2 * S));
        assert!(!window.admit(rule, 11 * S), "the first is exactly 10 s old");
        assert!(window.admit(rule, 11 * S + Duration::from_nanos(1)));
        assert!(!Window::default().admit(Intensity::new(0, S), S));
    }
}
