use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a limiter granted: a record of it, no guard. Dropping it gives nothing back; what turns out not to be needed goes back by
/// [`refund`](crate::Bucket::refund).
///
/// Two are equal if they tell the same.
#[derive(Clone, Copy)]
pub struct Grant {
    n: u64,
    left: u64,
    cost: u64,
}

impl Grant {
    pub(crate) const fn new(n: u64, left: u64, cost: u64) -> Self {
        Self { n, left, cost }
    }

    /// A grant of `n` tokens by a limiter of one's own that has `remaining` left.
    #[must_use]
    pub const fn of(n: u64, remaining: u64) -> Self {
        Self::new(n, remaining, 1)
    }

    /// The tokens granted.
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.n
    }

    /// Whole tokens that were left at once after the grant, in the bucket that had fewest; `u64::MAX` if nothing limits.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.left.checked_div(self.cost).unwrap_or(u64::MAX)
    }
}

impl PartialEq for Grant {
    fn eq(&self, other: &Self) -> bool {
        (self.n, self.remaining()) == (other.n, other.remaining())
    }
}

impl Eq for Grant {}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("tokens", &self.n)
            .field("remaining", &self.remaining())
            .finish()
    }
}

/// A refusal: nothing was taken anywhere.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("limit {by}: {}", self.refusal())]
pub struct Denied {
    by: Name,
    refusal: Kind,
    /// In nanoseconds, when it could be had; [`UNKNOWN`].
    wait: u64,
}

const UNKNOWN: u64 = u64::MAX;

/// A [`Refusal`] without its wait: small, since it is on the way of every take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Later,
    Never,
    DeadlineTooSoon,
    Unavailable,
}

/// Why a limiter refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// There would be enough after so long, if nobody else took from it; at most 584 years, though it were more.
    Later(Duration),
    /// No wait brings enough, as things stand: more than the depth was asked, or the rate is zero and what is there, or
    /// what those in line leave of it, is less. Another rate or depth, tokens given back or somebody who leaves the line
    /// may change that.
    Never,
    /// There will not be enough by the deadline that was given, unless the rate is raised or tokens are given back.
    DeadlineTooSoon,
    /// The limiter could not be asked, as may happen to a remote one, or [`Keyed`](crate::Keyed) has no place for the key.
    Unavailable,
}

impl Denied {
    pub(crate) const fn new(by: Name, refusal: Refusal) -> Self {
        let (refusal, wait) = match refusal {
            Refusal::Later(wait) => (Kind::Later, nanos(wait)),
            Refusal::Never => (Kind::Never, UNKNOWN),
            Refusal::DeadlineTooSoon => (Kind::DeadlineTooSoon, UNKNOWN),
            Refusal::Unavailable => (Kind::Unavailable, UNKNOWN),
        };
        Self { by, refusal, wait }
    }

    /// There in so many nanoseconds.
    #[inline]
    pub(crate) fn later(by: Name, wait: u64) -> Self {
        let (refusal, wait) = (Kind::Later, wait.min(UNKNOWN - 1));
        Self { by, refusal, wait }
    }

    /// Too late for a deadline, but there in so many nanoseconds.
    pub(crate) fn too_late(by: Name, wait: Option<u64>) -> Self {
        let wait = wait.map_or(UNKNOWN, |wait| wait.min(UNKNOWN - 1));
        let refusal = Kind::DeadlineTooSoon;
        Self { by, refusal, wait }
    }

    /// A refusal by a limiter of one's own, called `by`.
    #[must_use]
    pub fn by_limit(by: &'static str, refusal: Refusal) -> Self {
        Self::new(Name::Static(by), refusal)
    }

    /// The name of the limit that refused; see [`Bucket::named`](crate::Bucket::named).
    #[must_use]
    pub fn by(&self) -> &str {
        self.by.as_str()
    }

    /// Why.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match self.refusal {
            Kind::Later => Refusal::Later(Duration::from_nanos(self.wait)),
            Kind::Never => Refusal::Never,
            Kind::DeadlineTooSoon => Refusal::DeadlineTooSoon,
            Kind::Unavailable => Refusal::Unavailable,
        }
    }

    /// How long to wait before it can be had, if nobody else takes of it: for [`Refusal::Later`], and, where the limiter knows,
    /// for [`Refusal::DeadlineTooSoon`]. Else `None`.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.refusal {
            Kind::Later | Kind::DeadlineTooSoon if self.wait != UNKNOWN => {
                Some(Duration::from_nanos(self.wait))
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denied")
            .field("by", &self.by())
            .field("refusal", &self.refusal())
            .field("retry_after", &self.retry_after())
            .finish()
    }
}

const fn nanos(wait: Duration) -> u64 {
    let nanos = wait.as_nanos();
    if nanos < UNKNOWN as u128 {
        nanos as u64
    } else {
        UNKNOWN - 1
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later(wait) => write!(f, "not before {wait:?} from now"),
            Self::Never => f.write_str("never as many"),
            Self::DeadlineTooSoon => f.write_str("not before the deadline"),
            Self::Unavailable => f.write_str("unavailable"),
        }
    }
}

/// A name that costs nothing to pass on if it is static.
#[derive(Clone, Debug)]
pub(crate) enum Name {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Static(name) => name,
            Self::Shared(name) => name,
        }
    }
}

impl From<Cow<'static, str>> for Name {
    fn from(name: Cow<'static, str>) -> Self {
        match name {
            Cow::Borrowed(name) => Self::Static(name),
            Cow::Owned(name) => Self::Shared(name.into()),
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
