//! What a bucket has produced by when, and what may be taken of it: no clock, no atomics.

use crate::scale::Scale;

/// By what a bucket's `spent` is judged: it has produced `base` ticks by `origin`, and holds `scale.cap` of them at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) scale: Scale,
    pub(crate) base: u64,
    pub(crate) origin: u64,
    /// For so many nanoseconds after the origin it says what is produced, and then no more.
    pub(crate) horizon: u64,
}

/// What is asked of counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) n: u64,
    /// Nanoseconds on the buckets' clock.
    pub(crate) now: u64,
    /// A grant that fell due up to so long ago counts at the moment it fell due.
    pub(crate) late: u64,
    /// Whether a grant that fell due still longer ago counts `late` ago; else it counts now, since nobody waited for it.
    pub(crate) waited: bool,
    /// Whether the line of waiters is no obstacle: the one who asks stands at its head.
    pub(crate) head: bool,
}

impl Ask {
    /// A try: what is there now, behind those who wait.
    #[inline]
    pub(crate) const fn now(n: u64, now: u64) -> Self {
        Self {
            n,
            now,
            late: 0,
            waited: false,
            head: false,
        }
    }
}

/// What may be granted: the moment at which it counts, and the ticks that are then spent and, as of now, left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) moment: u64,
    pub(crate) spent: u64,
    pub(crate) left: u64,
}

/// Granted: what is left, and how late the grant was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) left: u64,
    pub(crate) cost: u64,
    pub(crate) late: u64,
}

/// Refused by one counter; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Short {
    /// There will be enough at this time.
    Until(u64),
    /// As things stand there never will.
    Never,
    /// The bucket is too shallow for so many.
    TooDeep,
    /// Others wait in line.
    Queued,
}

impl Short {
    /// When there will be enough, as far as the counter alone can tell.
    pub(crate) fn due(self) -> Option<u64> {
        match self {
            Self::Until(due) => Some(due),
            Self::Never | Self::TooDeep | Self::Queued => None,
        }
    }
}

impl Plan {
    /// The plan of buckets that are full as long as they have spent nothing, from `now` on and for good.
    pub(crate) fn lasting(scale: Scale, now: u64) -> Self {
        Self {
            scale,
            base: scale.cap,
            origin: now,
            horizon: scale.lifetime(),
        }
    }

    /// Whether a bucket that spent so much is as one that has spent nothing.
    #[inline]
    pub(crate) fn is_full(&self, spent: u64, now: u64) -> bool {
        spent <= self.produced(now).0.saturating_sub(self.scale.cap)
    }

    /// What was spent by this plan, as spent by `to`, which has the same scale; never less.
    pub(crate) fn carry(&self, spent: u64, to: &Self, now: u64) -> u64 {
        let (here, _) = self.produced(now);
        let (there, cut) = to.produced(now);
        (there + cut + spent).saturating_sub(here)
    }

    /// Ticks produced by `now`, and 1 if a part of a tick was cut off.
    #[inline]
    pub(crate) fn produced(&self, now: u64) -> (u64, u64) {
        let (made, cut) = self
            .scale
            .made(now.saturating_sub(self.origin).min(self.horizon));
        (self.base + made, cut)
    }

    #[inline]
    pub(crate) fn over(&self, now: u64) -> bool {
        now.saturating_sub(self.origin) > self.horizon && self.scale.num != 0
    }

    /// `spent` after `price` is taken at `now`; `None` if there is too little.
    #[inline]
    pub(crate) fn charge(&self, spent: u64, price: u64, now: u64) -> Option<u64> {
        self.charge_of(spent, price, self.produced(now))
    }

    /// The same, of what is [produced](Self::produced) by then.
    ///
    /// What flowed over a full bucket is gone, so `spent` first catches up; a part of a tick is then counted as spent.
    #[inline]
    pub(crate) fn charge_of(&self, spent: u64, price: u64, produced: (u64, u64)) -> Option<u64> {
        let (made, cut) = produced;
        let floor = made.saturating_sub(self.scale.cap);
        if spent.max(floor) + price > made {
            return None;
        }
        Some(spent.max((made + cut).saturating_sub(self.scale.cap)) + price)
    }

    /// The moment at which `price` more than `spent` has been produced.
    pub(crate) fn due(&self, spent: u64, price: u128) -> Option<u64> {
        let missing = (u128::from(spent) + price).saturating_sub(self.base.into());
        let wait = self.scale.time_for(missing)?;
        Some(self.origin.saturating_add(wait))
    }

    pub(crate) fn level(&self, spent: u64, now: u64) -> u64 {
        self.left(spent, self.produced(now))
    }

    #[inline]
    pub(crate) fn left(&self, spent: u64, (made, _): (u64, u64)) -> u64 {
        made.saturating_sub(spent).min(self.scale.cap)
    }

    pub(crate) fn short(&self, spent: u64, price: u64) -> Short {
        self.due(spent, price.into())
            .map_or(Short::Never, Short::Until)
    }

    /// The moment at which a grant counts: when it fell due, but at most `late` ago.
    #[inline]
    pub(crate) fn moment(&self, spent: u64, price: u64, ask: &Ask) -> u64 {
        if ask.late == 0 {
            return ask.now;
        }
        let due = self.due(spent, price.into()).unwrap_or(ask.now);
        let earliest = ask.now.saturating_sub(ask.late);
        if due < earliest && !ask.waited {
            return ask.now;
        }
        due.max(earliest).min(ask.now)
    }
}

impl Verdict {
    #[inline]
    pub(crate) fn granted(&self, plan: &Plan, ask: &Ask) -> Granted {
        Granted {
            left: self.left,
            cost: plan.scale.cost,
            late: ask.now - self.moment,
        }
    }
}

impl Granted {
    /// From no bucket at all: nothing limits, nothing is late.
    pub(crate) const NOTHING: Self = Self {
        left: 0,
        cost: 0,
        late: 0,
    };

    /// Whole tokens left; without a limit as many as there are numbers.
    pub(crate) fn tokens(&self) -> u64 {
        self.left.checked_div(self.cost).unwrap_or(u64::MAX)
    }
}
