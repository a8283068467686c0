use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a limiter granted: a record of it, no guard. Dropping it gives nothing back; what turns out not to be needed goes back by
/// [`refund`](crate::Bucket::refund).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// A refusal: nothing was taken anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit {by}: {refusal}")]
pub struct Denied {
    by: Name,
    refusal: Refusal,
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
        Self { by, refusal }
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
        self.refusal
    }

    /// How long to wait before it can be had; `None` unless [`Refusal::Later`].
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.refusal {
            Refusal::Later(wait) => Some(wait),
            _ => None,
        }
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
