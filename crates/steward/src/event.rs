//! What a steward tells about its wards.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why an incarnation of a ward came to its end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// It returned `Ok(())`.
    Finished,
    /// It returned an error.
    Failed(Arc<dyn Error + Send + Sync>),
    /// It panicked, with this message.
    Panicked(Arc<str>),
    /// No beat within its timeout.
    Silent,
    /// It did not return from one poll: it blocks its thread.
    Hung,
    /// It let go of its context, and with it of its pulse, while it still ran.
    Closed,
    /// It was not ready, or gave no first beat, within its start limit.
    Late,
    /// Its handle asked for a restart.
    Asked,
    /// It was stopped with its group, when a sibling failed.
    Sibling,
    /// It was stopped for good.
    Stopped,
    /// Its runtime shut down: no failure.
    Runtime,
}

impl Reason {
    /// Whether it counts as a failure: a [`Transient`](crate::Restart::Transient) ward is then started again.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Failed(_)
            | Self::Panicked(_)
            | Self::Silent
            | Self::Hung
            | Self::Closed
            | Self::Late => true,
            Self::Finished | Self::Asked | Self::Sibling | Self::Stopped | Self::Runtime => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::Silent => f.write_str("silent"),
            Self::Hung => f.write_str("hung"),
            Self::Closed => f.write_str("closed its pulse"),
            Self::Late => f.write_str("late to start"),
            Self::Asked => f.write_str("restart asked for"),
            Self::Sibling => f.write_str("a sibling failed"),
            Self::Stopped => f.write_str("stopped"),
            Self::Runtime => f.write_str("runtime shut down"),
        }
    }
}

/// Something that happened to a ward.
#[derive(Clone, Debug)]
pub struct Event {
    /// The ward.
    pub ward: Arc<str>,
    /// Which of its incarnations, counted from one.
    pub generation: u32,
    /// What happened.
    pub what: What,
}

/// What happened to a ward.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum What {
    /// An incarnation was started.
    Started,
    /// It is ready.
    Ready,
    /// It was told to stop, for this reason.
    Stopping(Reason),
    /// It did not stop within its grace and was aborted.
    Aborted,
    /// It did not go even when aborted: it is fenced, and left behind as a zombie.
    Leaked,
    /// A zombie has gone after all.
    ZombieGone,
    /// It has gone, and another will be started.
    Restarting {
        /// Why it had to go.
        reason: Reason,
        /// From the first sign of failure to its end: what the failure cost, without the delay.
        cost: Duration,
        /// How long the next start waits.
        delay: Duration,
    },
    /// The ward has ended for good.
    Ended(Reason),
    /// One restart too many: the steward gives up.
    Escalated(Reason),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}: ", self.ward, self.generation)?;
        match &self.what {
            What::Started => f.write_str("started"),
            What::Ready => f.write_str("ready"),
            What::Stopping(reason) => write!(f, "stopping ({reason})"),
            What::Aborted => f.write_str("aborted"),
            What::Leaked => f.write_str("leaked, fenced"),
            What::ZombieGone => f.write_str("zombie gone"),
            What::Restarting {
                reason,
                cost,
                delay,
            } => {
                write!(f, "restarting in {delay:?} ({reason}, {cost:?} lost)")
            }
            What::Ended(reason) => write!(f, "ended ({reason})"),
            What::Escalated(reason) => write!(f, "escalated ({reason})"),
        }
    }
}
