//! What a class of pulses is expected to do.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_sync::Mutex;
use evenkeel_sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

use crate::planes::NEVER;
use crate::quality::Record;

/// Tokio's timers fire up to a millisecond late.
const GRAIN: Duration = Duration::from_millis(1);

/// What a monitor expects of the pulses of a class: a beat within a timeout, and a limit on what is exempt from it.
///
/// Choose the timeout first, by how long a hang may go unseen; let the worker beat twice in it or more.
///
/// ```
/// use std::time::Duration;
/// use evenkeel_heartbeat::Expect;
///
/// let expect = Expect::within(Duration::from_secs(2))
///     .start_within(Duration::from_secs(30))
///     .unit_within(Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Expect {
    pub(crate) within: Duration,
    pub(crate) start: Duration,
    pub(crate) unit: Duration,
}

impl Expect {
    /// A beat at least every `timeout`, of 40 ms or more.
    ///
    /// A pulse falls silent no sooner than a `timeout` after its last beat, and no later than 1.25 of it as long as the
    /// monitor runs in time: never later than by a twelfth, the millisecond included that tokio's timers take. A turn
    /// that is later adds what it is late by and two twelfths, and is told as [`Stalled`](crate::Health::Stalled).
    pub const fn within(timeout: Duration) -> Self {
        Self {
            within: timeout,
            start: timeout,
            unit: timeout,
        }
    }

    /// The first beat within `limit` of registration; otherwise the timeout holds for it too.
    pub const fn start_within(mut self, limit: Duration) -> Self {
        self.start = limit;
        self
    }

    /// The limit of a [`unit`](crate::Watched::unit) that names none; otherwise the timeout.
    pub const fn unit_within(mut self, limit: Duration) -> Self {
        self.unit = limit;
        self
    }
}

/// A monitor cannot watch what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClassError {
    /// The timeout is below 40 ms, too short to be told from the grain of the timer.
    #[error("timeout of {0:?} is below 40 ms")]
    TooShort(Duration),
    /// There is no tokio runtime here that the monitor could run on.
    #[error("no tokio runtime to run the monitor on")]
    NoRuntime,
    /// The system gives no thread for a [sentinel](crate::Sentinel).
    #[error("no thread for the sentinel")]
    NoThread,
}

#[cfg(feature = "errors")]
impl evenkeel_errors::Known for ClassError {
    fn code(&self) -> evenkeel_errors::Code {
        use evenkeel_errors::{Code, Status};
        let (reason, status) = match self {
            Self::TooShort(_) => ("too-short", Status::InvalidArgument),
            Self::NoRuntime => ("no-runtime", Status::FailedPrecondition),
            Self::NoThread => ("no-thread", Status::ResourceExhausted),
        };
        Code::new("evenkeel.heartbeat", reason, status)
    }
}

/// The time of a class, shared by its scans and its handles.
///
/// # Protocol
///
/// `witnessed` is written by the monitor's task alone, at the start of each scan, and read by handles that set a limit.
/// What it publishes is itself only: a stale value makes a limit come sooner by what the reader missed, which is the
/// time between two scans at most and has been added to each limit.
pub(crate) struct Timing {
    pub(crate) expect: Expect,
    /// From scan to scan: a twelfth of the timeout.
    pub(crate) period: Duration,
    /// What a scan may add to the witnessed time at most, and so what a handle may not know of yet: two periods, the
    /// second for a scan that is late, less what its timer takes.
    allowance: Duration,
    /// Nanoseconds.
    witnessed: AtomicU64,
    /// Which blocks of the class have a free slot. Locked while a slot is taken or given back.
    pub(crate) open: Mutex<BTreeSet<u32>>,
    pub(crate) record: Mutex<Record>,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

impl Timing {
    pub(crate) fn new(expect: Expect) -> Result<Self, ClassError> {
        if expect.within < Duration::from_millis(40) {
            return Err(ClassError::TooShort(expect.within));
        }
        let period = expect.within / 12;
        Ok(Self {
            expect,
            period,
            allowance: period.saturating_mul(2) - GRAIN,
            witnessed: AtomicU64::new(0),
            open: Mutex::default(),
            record: Mutex::default(),
        })
    }

    /// The time that the monitor has seen pass.
    pub(crate) fn now(&self) -> u64 {
        // ORDERING: Relaxed: it publishes nothing but itself.
        self.witnessed.load(Ordering::Relaxed)
    }

    pub(crate) fn witness(&self, passed: Duration) -> u64 {
        let now = self
            .now()
            .saturating_add(nanos(passed.min(self.allowance)))
            .min(NEVER - 1);
        // ORDERING: Relaxed: it publishes nothing but itself, and only this task writes it.
        self.witnessed.store(now, Ordering::Relaxed);
        now
    }

    /// When something that begins now and may take `limit` is over it. Never sooner: the time since the last scan is
    /// not known here, and counts in favour of the worker.
    pub(crate) fn limit(&self, limit: Duration) -> u64 {
        self.now()
            .saturating_add(nanos(limit))
            .saturating_add(nanos(self.allowance))
    }
}
