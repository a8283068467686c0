//! Events under `evenkeel.bucket`, at debug level; nothing without the feature `tracing`. Their names and fields are stable.

use crate::Denied;

/// A bucket has refused.
#[inline]
pub(crate) fn denied(denied: &Denied) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        name: "denied",
        target: "evenkeel.bucket",
        limit = denied.by(),
        refusal = %denied.refusal(),
    );
    #[cfg(not(feature = "tracing"))]
    let _ = denied;
}
