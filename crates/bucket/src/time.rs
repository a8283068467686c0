//! Tokio's clock in nanoseconds.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

/// Where the nanoseconds start: before any clock of this process, those of paused runtimes included.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(|| {
        let now = Instant::now();
        let ago = |hours: u64| now.checked_sub(Duration::from_secs(3600 * hours));
        ago(24).or_else(|| ago(1)).unwrap_or(now)
    })
}

#[inline]
pub(crate) fn now() -> u64 {
    nanos(Instant::now())
}

#[inline]
pub(crate) fn nanos(at: Instant) -> u64 {
    let since = at.saturating_duration_since(epoch());
    let seconds = since.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(since.subsec_nanos().into())
}

/// `None` if tokio cannot name that moment.
pub(crate) fn instant(ns: u64) -> Option<Instant> {
    epoch().checked_add(Duration::from_nanos(ns))
}
