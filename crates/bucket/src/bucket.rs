use std::borrow::Cow;
use std::fmt;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use evenkeel_sync::Arc;
use tokio::time::Instant;

use crate::denied::Name;
use crate::line::{Gate, Limit};
use crate::plan::{Ask, Plan};
use crate::scale::Scale;
use crate::set::{Set, deny};
use crate::{Denied, Grant, Limiter, Rate, time};

/// A token bucket: it holds at most `depth` tokens and refills at `rate`. Clones share it.
///
/// It starts full. Over any time W it grants no more than `depth` + `rate` x W tokens, at every rate and depth, and whatever
/// the rhythm in which it is asked; a grant to somebody who waited counts at the moment it fell due, which the timer makes
/// up to three milliseconds earlier than it is seen.
///
/// ```
/// use evenkeel_bucket::{Bucket, Rate, Refusal};
/// use std::time::Duration;
///
/// let api = Bucket::new(Rate::per(10, Duration::from_secs(60)), 2).named("api");
/// assert_eq!(api.try_acquire(1).unwrap().remaining(), 1);
/// assert!(api.try_acquire(1).is_ok());
/// let denied = api.try_acquire(1).unwrap_err();
/// assert_eq!(denied.by(), "api");
/// assert!(denied.retry_after().unwrap() <= Duration::from_secs(6));
/// assert_eq!(api.try_acquire(3).unwrap_err().refusal(), Refusal::Never);
/// ```
#[derive(Clone)]
pub struct Bucket {
    pub(crate) gate: Arc<Gate>,
    pub(crate) name: Name,
}

/// What a bucket holds, see [`Bucket::peek`].
///
/// The clock counts nanoseconds for 584 years: what takes longer is told as what is left of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Whole tokens that could be taken now.
    pub tokens: u64,
    /// The time until the next whole token; zero if full, `None` if none will come.
    pub next: Option<Duration>,
    /// The time until the bucket is full; zero if full, `None` if it never will be.
    pub full: Option<Duration>,
}

impl Level {
    pub(crate) fn of(plan: &Plan, spent: u64, now: u64) -> Self {
        let Scale { cost, cap, .. } = plan.scale;
        if cost == 0 {
            let (next, full) = (Some(Duration::ZERO), Some(Duration::ZERO));
            let tokens = u64::MAX;
            return Self { tokens, next, full };
        }
        let level = plan.level(spent, now);
        let until = |ticks: u64| {
            if level >= ticks {
                return Some(Duration::ZERO);
            }
            // From the moment at which the bucket would have been empty.
            let due = plan.due(spent, ticks.into())?;
            Some(Duration::from_nanos(due.saturating_sub(now)))
        };
        Self {
            tokens: level / cost,
            next: until((level / cost + 1).saturating_mul(cost).min(cap)),
            full: until(cap),
        }
    }
}

/// Each is given once.
pub(crate) fn id() -> u64 {
    static IDS: AtomicU64 = AtomicU64::new(0);
    // ORDERING: Relaxed; only that each is given once matters.
    IDS.fetch_add(1, Relaxed)
}

impl Bucket {
    /// A full bucket of `depth` tokens that refills at `rate`. It is called "bucket" until it is [named](Self::named).
    ///
    /// A bucket of depth 0 grants nothing, unless its rate is unlimited: then nothing limits, whatever the depth.
    #[must_use]
    pub fn new(rate: Rate, depth: u32) -> Self {
        Self::new_at(Limit { rate, depth }, time::now())
    }

    pub(crate) fn new_at(limit: Limit, now: u64) -> Self {
        Self {
            gate: Arc::new(Gate::new(id(), limit, now)),
            name: Name::Static("bucket"),
        }
    }

    /// The name by which refusals call this handle of the bucket and the clones made of it.
    #[must_use]
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into().into();
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The rate at which it refills.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.gate.limit().rate
    }

    /// How many tokens it holds when it is full.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.gate.limit().depth
    }

    /// Takes `n` tokens now, or none.
    ///
    /// # Errors
    ///
    /// [`Later`](crate::Refusal::Later) if there are too few or others wait in line, [`Never`](crate::Refusal::Never) if
    /// `n` is above the depth or, at rate zero, above what those in line would leave.
    #[inline]
    pub fn try_acquire(&self, n: u64) -> Result<Grant, Denied> {
        self.try_acquire_at(n, time::now())
    }

    #[inline]
    pub(crate) fn try_acquire_at(&self, n: u64, now: u64) -> Result<Grant, Denied> {
        match self.gate.counter.take(&Ask::now(n, now)) {
            Ok(granted) => Ok(Grant::new(n, granted.left, granted.cost)),
            Err(short) => Err(deny(&self.gate, &self.name, short, n, now)),
        }
    }

    /// Takes as many tokens as there are now, at most `n`; the grant says how many. For a lease, or a batch that may be
    /// smaller.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire) of one token, if there is not even one.
    pub fn take_up_to(&self, n: u64) -> Result<Grant, Denied> {
        self.take_up_to_at(n, time::now())
    }

    pub(crate) fn take_up_to_at(&self, n: u64, now: u64) -> Result<Grant, Denied> {
        match self.gate.counter.take_up_to(&Ask::now(n, now)) {
            Ok((n, granted)) => Ok(Grant::new(n, granted.left, granted.cost)),
            Err(short) => Err(deny(&self.gate, &self.name, short, 1, now)),
        }
    }

    /// Takes `n` tokens, waiting in line for them, until `by` at the latest. A `by` that is over makes it a try.
    ///
    /// First come, first served, however much each asks for. Who waits holds nothing until it is granted, so who gives up
    /// or is forgotten wastes nothing and holds up nobody for longer than a few milliseconds after it would have been its
    /// turn: whoever waits behind it, or is refused by a try because of it, passes over it. The same goes for a future that
    /// is kept and not polled; polled again it finds its turn.
    ///
    /// Only where the line moves up early, by a refund or since somebody gave up, and the first two in it are forgotten, the
    /// rest may come as late as it would have without that.
    ///
    /// # Errors
    ///
    /// At once, and without taking anything: [`DeadlineTooSoon`](crate::Refusal::DeadlineTooSoon) if `n` tokens
    /// cannot be had by then, [`Never`](crate::Refusal::Never) if `n` is above the depth, or the rate is zero and fewer are left.
    /// Who waits already is refused when [`set_depth`](Self::set_depth) or [`set_rate`](Self::set_rate) says so.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it has taken nothing, and the next in line moves up.
    ///
    /// # Panics
    ///
    /// If it has to wait outside a tokio runtime with time enabled.
    pub async fn acquire(&self, n: u64, by: Option<Instant>) -> Result<Grant, Denied> {
        self.set().acquire(n, by).await
    }

    /// Gives `n` tokens back that were taken and not used. Exact; what exceeds the depth is lost. That they were taken is not
    /// checked.
    pub fn refund(&self, n: u64) {
        self.gate.refund(n, time::now());
    }

    /// Another rate from now on, for all handles of this bucket. What it holds stays; everybody in line plans anew. One that
    /// was unlimited is full. Each in line looks at those before it, so in a line of n that is n²/2 glances: with tens of
    /// thousands it takes seconds.
    ///
    /// At rate zero those in line stay there and are served when the rate is raised; but whoever has a deadline is refused
    /// as [`DeadlineTooSoon`](crate::Refusal::DeadlineTooSoon), as at any rate that has become too low for it.
    pub fn set_rate(&self, rate: Rate) {
        self.gate.replan(|limit| limit.rate = rate, time::now());
    }

    /// Another depth from now on, for all handles of this bucket. What it holds stays as far as it fits; everybody in line
    /// plans anew, and who asked for more than the depth is refused as [`Never`](crate::Refusal::Never).
    pub fn set_depth(&self, depth: u32) {
        self.gate.replan(|limit| limit.depth = depth, time::now());
    }

    /// What the bucket holds now; takes nothing.
    #[must_use]
    pub fn peek(&self) -> Level {
        self.gate.level(time::now())
    }

    pub(crate) fn set(&self) -> Set<'_> {
        Set {
            gates: slice::from_ref(&self.gate),
            strict: &[0],
            names: slice::from_ref(&self.name),
        }
    }
}

impl Limiter for Bucket {
    fn acquire(
        &self,
        n: u64,
        by: Option<Instant>,
    ) -> impl Future<Output = Result<Grant, Denied>> + Send {
        self.acquire(n, by)
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit { rate, depth } = self.gate.limit();
        f.debug_struct("Bucket")
            .field("name", &self.name())
            .field("rate", &rate)
            .field("depth", &depth)
            .finish_non_exhaustive()
    }
}
