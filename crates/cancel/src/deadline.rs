//! Deadlines as one number in a node.

use std::sync::OnceLock;

use tokio::time::Instant;

/// Nanoseconds from an origin that all share; the greatest means none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(i64);

impl Deadline {
    pub(crate) const NEVER: Self = Self(i64::MAX);

    /// What lies further away than 292 years is none.
    pub(crate) fn at(at: Instant) -> Self {
        let (at, origin) = (at.into_std(), origin());
        let nanos = |d: std::time::Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        match at.checked_duration_since(origin) {
            Some(later) => Self(nanos(later)),
            None => Self(-nanos(origin.duration_since(at))),
        }
    }

    pub(crate) fn instant(self) -> Option<Instant> {
        if self == Self::NEVER {
            return None;
        }
        let distance = std::time::Duration::from_nanos(self.0.unsigned_abs());
        let at = if self.0 < 0 {
            origin().checked_sub(distance)
        } else {
            origin().checked_add(distance)
        };
        at.map(Instant::from_std)
    }
}

fn origin() -> std::time::Instant {
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    *ORIGIN.get_or_init(std::time::Instant::now)
}
