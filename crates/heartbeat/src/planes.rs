//! The kernel of the scanned pulse: pulses as bits in planes, 64 to a word.

use std::array;

use evenkeel_sync::Mutex;
use evenkeel_sync::atomic::{AtomicU64, Ordering};

use crate::Health;

/// In how many witnessed scans without a beat a pulse falls silent: a timeout is as many periods.
pub(crate) const TICKS: usize = 12;

/// A limit that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// `W` words of up to 64 pulses; `N` of the pulses of a word are used (64, fewer in a model).
///
/// # Protocol
///
/// `beats` has a bit a pulse. A worker that finds its bit set returns: the scan has yet to come, and will take it. Else it
/// sets the bit. The scan takes the whole word with a swap. All that change the word are read-modify-writes, so none
/// undoes another: a beat is taken by the scan that follows it. Nothing is published by a beat, so all of it is relaxed.
///
/// `busy` has a bit a pulse too: set while the pulse is judged by the entry of `limits` and not by its beats. The holder
/// of the handle writes the limit, then sets the bit with Release; the scan reads the bit with Acquire, then the limit.
/// So a scan that sees a unit sees its limit, or that of a later one.
///
/// Everything else is `tally`'s: the scan holds it for a word's worth of work, register and close for a few
/// instructions, a beat never. A slot is cleared when it is given away, under the lock, by the thread that had the last
/// handle or was handed it: nobody beats in it then, so what it finds next is its own.
pub(crate) struct Planes<const W: usize, const N: usize> {
    beats: [AtomicU64; W],
    busy: [AtomicU64; W],
    /// In witnessed nanoseconds.
    limits: [[AtomicU64; N]; W],
    tally: Mutex<Tally<W, N>>,
}

struct Tally<const W: usize, const N: usize> {
    rows: [Row; W],
    slots: [[Slot; N]; W],
}

/// What is known of the pulses of one word; a bit is a pulse.
#[derive(Clone, Copy, Default)]
struct Row {
    used: u64,
    /// Not heard yet.
    starting: u64,
    /// Reported as silent.
    silent: u64,
    /// Scans without a beat, least significant plane first.
    count: [u64; 4],
}

#[derive(Clone, Copy, Default)]
struct Slot {
    generation: u32,
    name: u32,
}

/// One pulse in its planes, and which of those that had the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// What changed for a pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) place: Place,
    pub(crate) name: u32,
    pub(crate) health: Health,
}

impl Row {
    fn full(&self) -> u64 {
        // TICKS is 0b1100, and no pulse counts further.
        self.count[3] & self.count[2]
    }

    /// Adds one for each pulse of `more`, and starts again for those that are not in `quiet`.
    fn count(&mut self, quiet: u64, more: u64) {
        let mut carry = more;
        for plane in &mut self.count {
            let kept = *plane & quiet;
            *plane = kept ^ carry;
            carry &= kept;
        }
    }

    fn clear(&mut self, bit: u64) {
        for plane in [&mut self.used, &mut self.starting, &mut self.silent] {
            *plane &= !bit;
        }
        self.count(!bit, 0);
    }
}

/// The pulses of a word, one at a time.
fn each(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let i = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (i < 64).then_some(i)
    })
}

impl<const W: usize, const N: usize> Planes<W, N> {
    pub(crate) fn new() -> Self {
        Self {
            beats: array::from_fn(|_| AtomicU64::new(0)),
            busy: array::from_fn(|_| AtomicU64::new(0)),
            limits: array::from_fn(|_| array::from_fn(|_| AtomicU64::new(NEVER))),
            tally: Mutex::new(Tally {
                rows: [Row::default(); W],
                slots: [[Slot::default(); N]; W],
            }),
        }
    }

    fn at(slot: u32) -> (usize, usize) {
        let slot = slot as usize;
        // `% W` costs nothing where W is a power of two, and spares the bounds check of each beat.
        (slot / N % W, slot % N)
    }

    /// Says that the pulse is alive.
    #[inline]
    pub(crate) fn beat(&self, slot: u32) {
        let (w, i) = Self::at(slot);
        // ORDERING: Relaxed: a beat publishes nothing. What is read is the last value that the scan or a worker left
        // in the order of the word, or an older one in which the bit was clear; a bit seen set but taken since was
        // taken after the beat began, so that scan has heard this beat too.
        if self.beats[w].load(Ordering::Relaxed) & (1 << i) == 0 {
            // ORDERING: Relaxed, as above; an RMW, for a store could undo another worker's bit (model `two_workers`).
            self.beats[w].fetch_or(1 << i, Ordering::Relaxed);
        }
    }

    /// From now on the pulse is judged by `limit`; counts as a beat.
    pub(crate) fn enter(&self, slot: u32, limit: u64) {
        let (w, i) = Self::at(slot);
        // ORDERING: Relaxed; published by the Release below.
        self.limits[w][i].store(limit, Ordering::Relaxed);
        // ORDERING: Release pairs with the Acquire of `judge` (model `enter_scan`).
        self.busy[w].fetch_or(1 << i, Ordering::Release);
        self.beat(slot);
    }

    /// From now on the pulse is judged by its beats again; counts as a beat.
    pub(crate) fn leave(&self, slot: u32) {
        let (w, i) = Self::at(slot);
        self.beat(slot);
        // ORDERING: Relaxed: nothing is published. The scan that sees the bit still set judges by the limit as before.
        self.busy[w].fetch_and(!(1 << i), Ordering::Relaxed);
    }

    /// Takes a free slot. The pulse is starting, until its first beat, at most until `limit`.
    pub(crate) fn insert(&self, name: u32, limit: u64) -> Option<Place> {
        let mut tally = self.tally.lock();
        let tally = &mut *tally;
        for (w, row) in tally.rows.iter_mut().enumerate() {
            let i = (!row.used).trailing_zeros() as usize;
            if i < N {
                tally.slots[w][i].name = name;
                row.used |= 1 << i;
                row.starting |= 1 << i;
                // ORDERING: Relaxed; the scan reads it under the lock that we hold.
                self.limits[w][i].store(limit, Ordering::Relaxed);
                return Some(Place {
                    slot: (w * N + i) as u32,
                    generation: tally.slots[w][i].generation,
                });
            }
        }
        None
    }

    /// Gives a slot back. The caller had the only handle. Says whether every slot was taken until now, and `report`s
    /// the end.
    pub(crate) fn remove(&self, place: Place, report: impl FnOnce(News)) -> bool {
        let (w, i) = Self::at(place.slot);
        let mut tally = self.tally.lock();
        let full = tally
            .rows
            .iter()
            .all(|row| row.used.count_ones() as usize == N);
        self.wipe(&mut tally, w, i);
        let slot = &mut tally.slots[w][i];
        slot.generation = slot.generation.wrapping_add(1);
        report(News {
            place,
            name: slot.name,
            health: Health::Closed,
        });
        full
    }

    /// Starts the slot anew, as another pulse of the same name. The caller has the only handle.
    pub(crate) fn renew(&self, place: Place, limit: u64) -> Place {
        let (w, i) = Self::at(place.slot);
        let mut tally = self.tally.lock();
        self.wipe(&mut tally, w, i);
        // ORDERING: Relaxed; the scan reads it under the lock that we hold.
        self.limits[w][i].store(limit, Ordering::Relaxed);
        tally.rows[w].used |= 1 << i;
        tally.rows[w].starting |= 1 << i;
        let slot = &mut tally.slots[w][i];
        slot.generation = slot.generation.wrapping_add(1);
        Place {
            slot: place.slot,
            generation: slot.generation,
        }
    }

    fn wipe(&self, tally: &mut Tally<W, N>, w: usize, i: usize) {
        // ORDERING: Relaxed: all beats of the old handle happened before this, since the caller holds it alone, and
        // the next handle is made under the lock that we hold (model `reuse`).
        self.beats[w].fetch_and(!(1 << i), Ordering::Relaxed);
        self.busy[w].fetch_and(!(1 << i), Ordering::Relaxed);
        tally.rows[w].clear(1 << i);
    }

    /// Takes the beats since the last scan, and reports who fell silent and who is back. `now` is the witnessed time;
    /// a scan that was late is not `counted`: it hears beats, and holds no silence against anybody.
    pub(crate) fn scan(&self, now: u64, counted: bool, mut report: impl FnMut(News)) {
        let mut tally = self.tally.lock();
        let tally = &mut *tally;
        for (w, row) in tally.rows.iter_mut().enumerate() {
            if row.used == 0 {
                continue;
            }
            // ORDERING: Relaxed: beats publish nothing. The load spares the line where nobody has beaten; it may miss
            // a beat that the next scan then takes. A swap, for a store could undo a bit set since (model `beat_scan`).
            let beat = match self.beats[w].load(Ordering::Relaxed) {
                0 => 0,
                _ => self.beats[w].swap(0, Ordering::Relaxed),
            };
            row.starting &= !beat;
            // ORDERING: Acquire pairs with the Release of `enter` (model `enter_scan`).
            let limited = row.used & (self.busy[w].load(Ordering::Acquire) | row.starting);
            let quiet = row.used & !limited & !beat;
            row.count(quiet, if counted { quiet & !row.full() } else { 0 });
            let mut bad = quiet & row.full();
            for i in each(limited) {
                // ORDERING: Relaxed; `busy` published it, or the lock did.
                bad |= u64::from(now >= self.limits[w][i].load(Ordering::Relaxed)) << i;
            }
            for i in each(bad & !row.silent) {
                // Just before the alarm, once more: the worker may have come meanwhile.
                if self.judge(row, w, i, now) == Health::Silent {
                    row.silent |= 1 << i;
                    report(tally.slots[w][i].news::<N>(w, i, Health::Silent));
                }
            }
            for i in each(row.silent & !bad) {
                let health = self.judge(row, w, i, now);
                if health != Health::Silent {
                    row.silent &= !(1 << i);
                    report(tally.slots[w][i].news::<N>(w, i, health));
                }
            }
        }
    }

    /// How the pulse fares at this instant, beats since the last scan included.
    fn judge(&self, row: &Row, w: usize, i: usize, now: u64) -> Health {
        let bit = 1 << i;
        // ORDERING: Acquire pairs with the Release of `enter` (model `enter_scan`).
        let busy = self.busy[w].load(Ordering::Acquire) & bit != 0;
        // ORDERING: Relaxed: a beat publishes nothing.
        let beat = self.beats[w].load(Ordering::Relaxed) & bit != 0;
        // ORDERING: Relaxed; `busy` published it, or the lock did.
        let limit = self.limits[w][i].load(Ordering::Relaxed);
        let starting = row.starting & bit != 0 && !beat;
        match (busy || starting, beat) {
            (true, _) if now >= limit => Health::Silent,
            (true, _) if starting => Health::Starting,
            (true, _) if limit == NEVER => Health::Live,
            (true, _) => Health::Busy,
            (false, false) if row.full() & bit != 0 => Health::Silent,
            (false, _) => Health::Live,
        }
    }

    /// How the pulse fares at this instant; closed if the slot is another's by now.
    pub(crate) fn health(&self, place: Place, now: u64) -> Health {
        let (w, i) = Self::at(place.slot);
        let tally = self.tally.lock();
        let row = &tally.rows[w];
        if row.used & (1 << i) == 0 || tally.slots[w][i].generation != place.generation {
            return Health::Closed;
        }
        self.judge(row, w, i, now)
    }

    /// Every pulse in use, with its name, as it fares at this instant.
    pub(crate) fn each(&self, now: u64, mut f: impl FnMut(News)) {
        let tally = self.tally.lock();
        for (w, row) in tally.rows.iter().enumerate() {
            for i in each(row.used) {
                f(tally.slots[w][i].news::<N>(w, i, self.judge(row, w, i, now)));
            }
        }
    }
}

impl Slot {
    fn news<const N: usize>(self, w: usize, i: usize, health: Health) -> News {
        News {
            place: Place {
                slot: (w * N + i) as u32,
                generation: self.generation,
            },
            name: self.name,
            health,
        }
    }
}
