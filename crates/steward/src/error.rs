//! What can be refused, and why.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::Reason;
use crate::outlet::Refusal;

/// A ward or a steward was not started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no tokio runtime here.
    #[error("no tokio runtime to start on")]
    NoRuntime,
    /// The steward is shutting down, or has given up.
    #[error("the steward is shutting down")]
    ShuttingDown,
    /// The steward has as many wards as it may.
    #[error("the steward has its maximum of {0} wards")]
    Full(usize),
    /// Another ward of the steward has this id.
    #[error("a ward `{0}` exists already")]
    Duplicate(Arc<str>),
    /// The timeout is too short to be watched.
    #[error("a timeout of {0:?} is too short to be watched")]
    Timeout(Duration),
}

/// A steward gave up: one restart too many, or one zombie.
#[derive(Clone, Debug, Error)]
#[error("gave up on ward `{ward}`: {reason}")]
#[non_exhaustive]
pub struct Escalated {
    /// The ward that failed last.
    pub ward: Arc<str>,
    /// How it failed.
    pub reason: Reason,
}

/// The ward has ended for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the ward has ended")]
pub struct Gone;

/// A value was not published; it comes back.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unpublished<T> {
    /// This incarnation is fenced: another one speaks for the ward now, or none ever will.
    #[error("this incarnation is fenced")]
    Fenced(T),
    /// The queue is full; only [`Ctx::try_publish`](crate::Ctx::try_publish) says so.
    #[error("the queue is full")]
    Full(T),
    /// The last [`WardHandle`](crate::WardHandle) has gone, by which it could have been read.
    #[error("nobody has a handle to read it by")]
    NoReader(T),
}

impl<T> From<(T, Refusal)> for Unpublished<T> {
    fn from((value, refusal): (T, Refusal)) -> Self {
        match refusal {
            Refusal::Fenced => Self::Fenced(value),
            Refusal::Full => Self::Full(value),
            Refusal::NoReader => Self::NoReader(value),
        }
    }
}

impl<T> Unpublished<T> {
    /// The value.
    pub fn into_inner(self) -> T {
        match self {
            Self::Fenced(value) | Self::Full(value) | Self::NoReader(value) => value,
        }
    }

    /// Whether another incarnation speaks for the ward now, or none ever will.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced(_))
    }
}

/// Without the value, which need not be `Debug`.
impl<T> fmt::Debug for Unpublished<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fenced(_) => "Fenced(..)",
            Self::Full(_) => "Full(..)",
            Self::NoReader(_) => "NoReader(..)",
        })
    }
}

#[cfg(feature = "errors")]
mod known {
    use std::borrow::Cow;
    use std::time::Duration;

    use evenkeel_errors::{Code, Known, Retry, Status};

    use super::{Escalated, Gone, StartError, Unpublished};

    const DOMAIN: &str = "evenkeel.steward";

    impl Known for StartError {
        fn code(&self) -> Code {
            match self {
                Self::NoRuntime => Code::new(DOMAIN, "no-runtime", Status::FailedPrecondition),
                Self::ShuttingDown => Code::new(DOMAIN, "shutting-down", Status::Unavailable),
                Self::Full(_) => Code::new(DOMAIN, "full", Status::ResourceExhausted),
                Self::Duplicate(_) => Code::new(DOMAIN, "duplicate", Status::AlreadyExists),
                Self::Timeout(_) => Code::new(DOMAIN, "too-short", Status::InvalidArgument),
            }
        }

        fn retry(&self) -> Retry {
            match self {
                Self::Full(_) => Retry::Backoff,
                _ => Retry::Never,
            }
        }
    }

    impl Known for Escalated {
        fn code(&self) -> Code {
            Code::new(DOMAIN, "escalated", Status::Unavailable)
        }

        fn user_message(&self) -> Option<Cow<'static, str>> {
            Some("a part of the service keeps failing".into())
        }

        /// The parent, or whoever restarts the process, needs a moment.
        fn retry(&self) -> Retry {
            Retry::After(Duration::from_secs(1))
        }
    }

    impl Known for Gone {
        fn code(&self) -> Code {
            Code::new(DOMAIN, "gone", Status::NotFound)
        }
    }

    impl<T: Send + Sync + 'static> Known for Unpublished<T> {
        fn code(&self) -> Code {
            match self {
                Self::Fenced(_) => Code::new(DOMAIN, "fenced", Status::Aborted),
                Self::Full(_) => Code::new(DOMAIN, "queue-full", Status::ResourceExhausted),
                Self::NoReader(_) => Code::new(DOMAIN, "no-reader", Status::FailedPrecondition),
            }
        }

        fn retry(&self) -> Retry {
            match self {
                Self::Fenced(_) | Self::NoReader(_) => Retry::Never,
                Self::Full(_) => Retry::Backoff,
            }
        }
    }
}
