use evenkeel_sync::atomic::{AtomicBool, Ordering};

/// Something that one of many does.
///
/// # Protocol
///
/// False until somebody claims it, then true for ever. Who turns it is the one; everybody else finds it turned.
#[derive(Debug)]
pub(crate) struct Once(AtomicBool);

impl Once {
    #[inline]
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Whether the caller is the one.
    pub(crate) fn claim(&self) -> bool {
        // ORDERING: Relaxed, for a read-modify-write lets one caller alone see false, and nothing is published by it. The
        // model `two_claims` fails if it is a load and a store.
        !self.0.swap(true, Ordering::Relaxed)
    }
}
