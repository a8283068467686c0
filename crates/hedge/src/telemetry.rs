//! Events under `evenkeel.hedge`, at debug level; nothing without the feature `tracing`. Their names and fields are stable.

/// Attempt `attempt` was started, since the others are late or since one failed.
#[inline]
pub(crate) fn started(attempt: u32, late: bool) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        name: "extra_attempt",
        target: "evenkeel.hedge",
        attempt,
        reason = if late { "late" } else { "failed" },
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (attempt, late);
}

/// The budget did not allow attempt `attempt`.
#[inline]
pub(crate) fn denied(attempt: u32) {
    #[cfg(feature = "tracing")]
    tracing::debug!(name: "denied", target: "evenkeel.hedge", attempt);
    #[cfg(not(feature = "tracing"))]
    let _ = attempt;
}

/// So many losers outlived their grace and are dropped.
#[inline]
pub(crate) fn abandoned(losers: usize) {
    #[cfg(feature = "tracing")]
    tracing::debug!(name: "abandoned", target: "evenkeel.hedge", losers);
    #[cfg(not(feature = "tracing"))]
    let _ = losers;
}
