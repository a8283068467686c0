use std::fmt;
use std::time::Duration;

/// How fast a bucket refills: so many tokens in so much time, kept as a fraction, not as a float or a rounded interval.
///
/// ```
/// use evenkeel_bucket::Rate;
/// use std::time::Duration;
///
/// const API: Rate = Rate::per(10, Duration::from_secs(60));
/// assert_eq!(API, Rate::every(Duration::from_secs(6)));
/// assert!(API < Rate::per(2, Duration::from_secs(1)));
/// assert!(Rate::ZERO < API && API < Rate::UNLIMITED);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Tokens, and the nanoseconds in which they come; in lowest terms. Zero is 0/1, unlimited is 1/0.
    pub(crate) tokens: u64,
    pub(crate) nanos: u64,
}

impl Rate {
    /// Nothing comes: a bucket grants what it holds at first, then never.
    pub const ZERO: Self = Self {
        tokens: 0,
        nanos: 1,
    };

    /// No limit: a bucket grants whatever it is asked, whatever its depth.
    pub const UNLIMITED: Self = Self {
        tokens: 1,
        nanos: 0,
    };

    /// The highest finite rate: 16 tokens a nanosecond, 16 billion a second.
    pub const MAX: Self = Self {
        tokens: 16,
        nanos: 1,
    };

    /// `tokens` in each `time`.
    ///
    /// No token in any time is [`Rate::ZERO`]. What exceeds [`Rate::MAX`] counts as `MAX`, so also any number of tokens
    /// in no time at all: a wrong duration never lifts the limit altogether. Where such a duration can come from a
    /// configuration, refuse it there.
    #[must_use]
    pub const fn per(tokens: u64, time: Duration) -> Self {
        let nanos = time.as_nanos();
        if tokens == 0 {
            return Self::ZERO;
        }
        if tokens as u128 > nanos * Self::MAX.tokens as u128 {
            return Self::MAX;
        }
        let common = gcd(tokens as u128, nanos);
        let (mut tokens, mut nanos) = (tokens as u128 / common, nanos / common);
        // Beyond 584 years for one token the fraction is rounded down.
        while nanos > u64::MAX as u128 {
            nanos = nanos.div_ceil(2);
            tokens /= 2;
        }
        if tokens == 0 {
            return Self::ZERO;
        }
        // In lowest terms again: equal rates are equal field by field.
        let common = gcd(tokens, nanos);
        Self {
            tokens: (tokens / common) as u64,
            nanos: (nanos / common) as u64,
        }
    }

    /// One token each `interval`. What exceeds [`Rate::MAX`] counts as `MAX`.
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        Self::per(1, interval)
    }

    /// Whether nothing comes.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.tokens == 0
    }

    /// Whether there is no limit.
    #[must_use]
    pub const fn is_unlimited(self) -> bool {
        self.nanos == 0
    }
}

const fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Ord for Rate {
    /// The slower rate is the lesser.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let mine = u128::from(self.tokens) * u128::from(other.nanos);
        let theirs = u128::from(other.tokens) * u128::from(self.nanos);
        mine.cmp(&theirs)
    }
}

impl PartialOrd for Rate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unlimited() {
            return f.write_str("unlimited");
        }
        write!(
            f,
            "{} per {:?}",
            self.tokens,
            Duration::from_nanos(self.nanos)
        )
    }
}
