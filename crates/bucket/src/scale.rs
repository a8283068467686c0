//! The arithmetic of a bucket: whole ticks, no clock, no atomics.

use crate::Rate;

/// A bucket holds at most so many ticks; a token is as fine as fits below it.
const MAX_CAP: u64 = 1 << 56;

/// A nanosecond makes at most so many ticks.
const MAX_PACE: u64 = 1 << 10;

/// The same, where time has one origin for good.
const LASTING_PACE: u64 = 1 << 4;

/// How long one origin of time serves, in nanoseconds (13 days): `HORIZON` x `MAX_PACE` ticks fit a word four times.
pub(crate) const HORIZON: u64 = 1 << 50;

/// How tokens and time become ticks.
///
/// A token costs `cost` ticks and `den` nanoseconds make `num` of them. Where they fit, `den` is 1 and a tick is a
/// whole share of both the token and the nanosecond, so that nothing is ever rounded. Else a token is a power of two
/// ticks, and production is rounded down, never up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    pub(crate) num: u64,
    pub(crate) den: u64,
    pub(crate) cost: u64,
    pub(crate) cap: u64,
}

impl Scale {
    pub(crate) fn new(rate: Rate, depth: u32) -> Self {
        Self::at_most(MAX_PACE, rate, depth)
    }

    /// Ticks so coarse that 2^62 of them last nine years at the least.
    pub(crate) fn lasting(rate: Rate, depth: u32) -> Self {
        Self::at_most(LASTING_PACE, rate, depth)
    }

    fn at_most(pace: u64, rate: Rate, depth: u32) -> Self {
        let depth = u64::from(depth);
        if rate.is_unlimited() {
            return Self {
                num: 0,
                den: 1,
                cost: 0,
                cap: 0,
            };
        }
        let (tokens, nanos) = (rate.tokens, rate.nanos);
        let whole = depth
            .checked_mul(nanos)
            .is_some_and(|cap| cap <= MAX_CAP && nanos <= MAX_CAP);
        if !rate.is_zero() && tokens <= pace && whole {
            return Self {
                num: tokens,
                den: 1,
                cost: nanos,
                cap: depth * nanos,
            };
        }
        let mut bits = (MAX_CAP / depth.max(1)).ilog2();
        let pace = u128::from(nanos) * u128::from(pace);
        while bits > 0
            && (u128::from(tokens) << bits > pace || u128::from(tokens) << bits > u64::MAX.into())
        {
            bits -= 1;
        }
        Self {
            num: tokens << bits,
            den: nanos,
            cost: 1 << bits,
            cap: depth << bits,
        }
    }

    /// How many nanoseconds make 2^62 ticks, rounded down.
    pub(crate) fn lifetime(&self) -> u64 {
        (1 << 62) / self.num.div_ceil(self.den).max(1)
    }

    /// The ticks that `ns` nanoseconds make, and 1 if a part of a tick was cut off. `ns` is at most [`HORIZON`], or the
    /// [lifetime](Self::lifetime) of a lasting scale.
    #[inline]
    pub(crate) fn made(&self, ns: u64) -> (u64, u64) {
        if self.den == 1 {
            return (ns * self.num, 0);
        }
        made_rounded(ns, self.num, self.den)
    }

    /// What `ns` nanoseconds make, however many, at most `cap`.
    pub(crate) fn made_at_most(&self, ns: u64, cap: u64) -> u64 {
        let made = u128::from(ns) * u128::from(self.num) / u128::from(self.den);
        u64::try_from(made).map_or(cap, |made| made.min(cap))
    }

    /// The fewest nanoseconds that make `ticks`; `None` if nothing does.
    #[inline]
    pub(crate) fn time_for(&self, ticks: u128) -> Option<u64> {
        if ticks == 0 {
            return Some(0);
        }
        match u64::try_from(ticks) {
            // Most rates are one token in some time, and a division takes longer than all the rest of a refusal.
            Ok(ticks) if self.num == 1 && self.den == 1 => Some(ticks),
            _ => time_rounded(ticks, self.num, self.den),
        }
    }

    /// What `n` tokens cost; `None` if the bucket never holds so many.
    #[inline]
    pub(crate) fn price(&self, n: u64) -> Option<u64> {
        n.checked_mul(self.cost).filter(|&price| price <= self.cap)
    }

    /// Ticks of another scale that is limited in ticks of this one, rounded down, at most this one's `cap`.
    pub(crate) fn convert(&self, ticks: u64, from: &Self) -> u64 {
        let same = u128::from(ticks) * u128::from(self.cost) / u128::from(from.cost);
        u64::try_from(same).map_or(self.cap, |same| same.min(self.cap))
    }
}

// These are not inlined: their divisions would cost registers also where there is nothing to divide.

#[inline(never)]
fn made_rounded(ns: u64, num: u64, den: u64) -> (u64, u64) {
    let (num, den) = (u128::from(num), u128::from(den));
    let product = u128::from(ns) * num;
    let ticks = product / den;
    (ticks as u64, u64::from(ticks * den != product))
}

#[inline(never)]
fn time_rounded(ticks: u128, num: u64, den: u64) -> Option<u64> {
    if num == 0 {
        return None;
    }
    let ns = match u64::try_from(ticks) {
        Ok(ticks) if den == 1 => return Some(ticks.div_ceil(num)),
        _ => ticks.saturating_mul(den.into()).div_ceil(num.into()),
    };
    Some(u64::try_from(ns).unwrap_or(u64::MAX))
}
