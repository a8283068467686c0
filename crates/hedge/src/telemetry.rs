//! Events under `evenkeel.hedge`, at debug level; nothing without the feature `tracing`.

/// Attempt `attempt` was started, since the others are late or since one failed.
#[inline]
pub(crate) fn started(attempt: u32, late: bool) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        target: "evenkeel.hedge",
        attempt,
        reason = if late { "late" } else { "failed" },
        "attempt started",
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (attempt, late);
}

/// The budget did not allow attempt `attempt`.
#[inline]
pub(crate) fn denied(attempt: u32) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "evenkeel.hedge", attempt, "attempt denied by the budget");
    #[cfg(not(feature = "tracing"))]
    let _ = attempt;
}

/// Losers outlived their grace and are dropped.
#[inline]
pub(crate) fn abandoned() {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "evenkeel.hedge", "losers dropped after their grace");
}
