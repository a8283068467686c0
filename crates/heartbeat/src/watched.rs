//! The worker's end of a scanned pulse.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_sync::Mutex;

use crate::changes::After;
use crate::monitor::Block;
use crate::planes::{Cell, NEVER, Place};
use crate::{Every, Health, Heartbeat, PulseId};

/// A pulse that a [`Monitor`](crate::Monitor) watches, made by [`Class::register`](crate::Class::register).
///
/// Dropping it, on return, on cancellation or in a panic, closes the pulse at once. To beat from several tasks share it
/// in an `Arc`: it closes with the last of them. It does not keep its monitor: without that nobody looks, and it is what it was.
#[must_use = "a pulse closes when it is dropped"]
pub struct Watched {
    cell: Cell,
    block: Arc<Block>,
    place: Place,
    name: u32,
    /// The limits of the units entered and not left.
    units: Mutex<Units>,
}

#[derive(Default)]
struct Units {
    next: u64,
    open: Vec<(u64, u64)>,
}

impl Units {
    /// The limit that holds: none outlasts the units it is in.
    fn limit(&self) -> Option<u64> {
        self.open.iter().map(|&(_, limit)| limit).min()
    }
}

impl Watched {
    pub(crate) fn new(block: Arc<Block>, place: Place, name: u32) -> Self {
        Self {
            cell: block.planes.cell(place.slot),
            block,
            place,
            name,
            units: Mutex::default(),
        }
    }

    /// Which pulse it is, as a [`Change`](crate::Change) names it.
    #[must_use]
    pub fn id(&self) -> PulseId {
        self.block.id(self.place)
    }

    /// How it fares at this instant, as the monitor sees it.
    #[must_use]
    pub fn health(&self) -> Health {
        self.block
            .planes
            .health(self.place, self.block.timing.now())
    }

    /// Begins a unit of work that is to be done within `limit`, or within that of the class if it is `None`. Counts as a
    /// beat.
    ///
    /// Until the guard is dropped no beats are expected, nor do they help: the pulse is [busy](Health::Busy) within the
    /// limit and [silent](Health::Silent) past it. Dropping the guard counts as a beat.
    ///
    /// Units nest. A unit within a unit may be shorter than what is left of the outer one, not longer, and when it ends
    /// the outer limit stands where it stood.
    ///
    /// A limit is never short, and exact to a quarter of the class's timeout; to a third where the monitor is at the end of
    /// what is still in time.
    pub fn unit(&self, limit: impl Into<Option<Duration>>) -> Unit<'_> {
        let timing = &self.block.timing;
        self.enter(timing.limit(limit.into().unwrap_or(timing.expect.unit)))
    }

    /// Waits on purpose: until the guard is dropped nothing is expected, unless a [`unit`](Self::unit) is open. Counts as
    /// a beat.
    pub fn parked(&self) -> Unit<'_> {
        self.enter(NEVER)
    }

    /// Beats once every `period` while something else is awaited; see [`Every`].
    pub fn every(&self, period: Duration) -> Every<&Self> {
        Every::new(self, period)
    }

    /// Makes it another pulse of the same name in the same slot: with an id of its own, starting, and with nothing
    /// inherited. The old one is gone without a word.
    ///
    /// That nobody else holds the handle is why no straggler can beat for its successor.
    pub fn renew(&mut self) {
        self.units.get_mut().open.clear();
        let timing = &self.block.timing;
        let limit = timing.limit(timing.expect.start);
        let old = self.place;
        let silent;
        (self.place, silent) = self.block.planes.renew(old, limit);
        if silent {
            timing.record.lock().end(self.block.id(old));
        }
    }

    #[inline]
    pub(crate) fn place(&self) -> (&Arc<Block>, Place) {
        (&self.block, self.place)
    }

    fn enter(&self, limit: u64) -> Unit<'_> {
        let mut units = self.units.lock();
        let id = units.next;
        units.next += 1;
        units.open.push((id, limit));
        let limit = units.limit().unwrap_or(limit);
        self.block.planes.enter(self.place.slot, limit);
        drop(units);
        Unit { watched: self, id }
    }
}

impl Heartbeat for Watched {
    /// One atomic load once it has beaten since the last scan, one atomic or the first time. Never waits, whatever the
    /// monitor does.
    #[inline]
    fn beat(&self) {
        // SAFETY: the cell is of our block, and the block is with us.
        unsafe { self.cell.beat() };
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let block = &self.block;
        let (closed, full) = block.planes.remove(self.place);
        if full {
            block.open();
        }
        block.timing.record.lock().end(self.id());
        let mut after = After::new();
        block.outbox.put(|| block.change(closed), &mut after);
        block.outbox.forget(self.name);
        after.run();
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("name", &self.block.outbox.name_of(self.name))
            .field("health", &self.health())
            .finish()
    }
}

/// A unit of work that a [`Watched`] is in, made by [`Watched::unit`]; or a wait, by [`Watched::parked`].
#[must_use = "a unit ends when it is dropped"]
pub struct Unit<'a> {
    watched: &'a Watched,
    id: u64,
}

impl Drop for Unit<'_> {
    fn drop(&mut self) {
        let Watched { block, place, .. } = self.watched;
        let mut units = self.watched.units.lock();
        units.open.retain(|&(id, _)| id != self.id);
        match units.limit() {
            Some(limit) => block.planes.enter(place.slot, limit),
            None => block.planes.leave(place.slot),
        }
    }
}

impl fmt::Debug for Unit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unit").field(self.watched).finish()
    }
}
