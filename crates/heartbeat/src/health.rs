//! What a monitor says of a pulse.

/// How a pulse fares, as its monitor sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// Registered and not heard yet, within the start limit of its class.
    Starting,
    /// Beats in time, or [parked](crate::Watched::parked) on purpose.
    Live,
    /// In a [unit](crate::Watched::unit) of work, within its limit.
    Busy,
    /// Not heard for a timeout, or over the limit of a unit or of the start.
    Silent,
    /// The same, inside one poll of a future that [beats on each](crate::BeatFuture::beat_on_poll): something in it
    /// blocks the thread.
    Hung,
    /// The same, woken and not polled: its runtime has no thread for it.
    Starved,
    /// The monitor itself runs later than a twelfth of the timeout of some class. It witnessed nothing meanwhile, so it
    /// holds no silence against anybody, and what it is late by comes on top of the time in which a silence is found.
    Stalled,
    /// The handle is gone: the worker returned, was cancelled, or panicked.
    Closed,
}

impl Health {
    /// Whether it is [`Silent`](Self::Silent), [`Hung`](Self::Hung) or [`Starved`](Self::Starved): the worker is there,
    /// and has not been heard in time.
    #[must_use]
    pub fn is_alarm(self) -> bool {
        matches!(self, Self::Silent | Self::Hung | Self::Starved)
    }
}
