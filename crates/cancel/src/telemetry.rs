//! Events under `evenkeel.cancel`, at debug level; nothing without the feature `tracing`. Their names and fields are stable.

use crate::Shutdown;
use crate::node::Node;

/// `node` was cancelled, not inheriting it. Emitted when all below it have been told.
#[inline]
pub(crate) fn cancelled(node: &Node) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        name: "cancelled",
        target: "evenkeel.cancel",
        cause = node.cause().map(tracing::field::display),
    );
    #[cfg(not(feature = "tracing"))]
    let _ = node;
}

/// A scope has shut down, with so many tasks each.
#[inline]
pub(crate) fn shut_down(shutdown: &Shutdown) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        name: "shutdown",
        target: "evenkeel.cancel",
        finished = shutdown.finished.len(),
        aborted = shutdown.aborted.len(),
        panicked = shutdown.panicked.len(),
        running = shutdown.running.len(),
    );
    #[cfg(not(feature = "tracing"))]
    let _ = shutdown;
}
