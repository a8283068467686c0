//! The kernel of the scanned pulse: pulses as bits in planes, 64 to a word.

use std::array;
use std::ptr::NonNull;

use evenkeel_sync::Mutex;
use evenkeel_sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::Health;

/// In how many witnessed scans without a beat a pulse falls silent.
pub(crate) const TICKS: usize = 13;

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
/// `marks` has a generation a pulse, above two flags by which an alarm is named: `POLLING`, which the holder sets for a poll,
/// and `WOKEN`, which a waker sets and the next poll clears. The generation changes under the lock, with the slot in one
/// hand; a waker may outlive its pulse and exchanges the whole, so that it finds the generation changed and leaves the
/// successor's flags alone. The flags publish nothing.
///
/// Everything else is `tally`'s: the scan holds it for a word's worth of work, register and close for a few
/// instructions, a beat never. A slot is cleared when it is given away, under the lock, by the thread that had the last
/// handle or was handed it: nobody beats in it then, so what it finds next is its own.
pub(crate) struct Planes<const W: usize, const N: usize> {
    beats: [AtomicU64; W],
    busy: [AtomicU64; W],
    /// In witnessed nanoseconds.
    limits: [[AtomicU64; N]; W],
    marks: [[AtomicU32; N]; W],
    tally: Mutex<Tally<W, N>>,
}

/// The future that the pulse watches was woken, and is to be polled.
const WOKEN: u32 = 0b01;
/// It is being polled.
const POLLING: u32 = 0b10;
const FLAGS: u32 = 2;

/// What to call a silence.
fn alarm(mark: u32) -> Health {
    match mark & (POLLING | WOKEN) {
        0 => Health::Silent,
        WOKEN => Health::Starved,
        _ => Health::Hung,
    }
}

/// The bit of one pulse, found without the way through its planes.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    word: NonNull<AtomicU64>,
    bit: u64,
}

// SAFETY: a reference to an atomic; whoever beats in it vouches for its life.
unsafe impl Send for Cell {}
// SAFETY: as above.
unsafe impl Sync for Cell {}

impl Cell {
    /// Says that the pulse is alive.
    ///
    /// # Safety
    ///
    /// The planes that made it must still be there.
    #[inline]
    pub(crate) unsafe fn beat(self) {
        // SAFETY: the caller keeps the planes.
        beat(unsafe { self.word.as_ref() }, self.bit);
    }
}

#[inline]
fn beat(word: &AtomicU64, bit: u64) {
    // ORDERING: Relaxed: a beat publishes nothing. What is read is the last value that the scan or a worker left in the
    // order of the word, or an older one; a bit seen set but taken since was taken just now, so that scan has heard this
    // beat too.
    if word.load(Ordering::Relaxed) & bit == 0 {
        // ORDERING: Relaxed, as above; an RMW, for a store could undo another worker's bit (model `two_workers`).
        word.fetch_or(bit, Ordering::Relaxed);
    }
}

struct Tally<const W: usize, const N: usize> {
    rows: [Row; W],
    names: [[u32; N]; W],
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

/// One pulse in its planes, and which of those that had the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl Place {
    fn mark(self, flags: u32) -> u32 {
        self.generation << FLAGS | flags
    }
}

/// What changed for a pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) place: Place,
    pub(crate) name: u32,
    pub(crate) health: Health,
    /// It is judged by a limit, not by its beats.
    pub(crate) limited: bool,
}

impl Row {
    fn full(&self) -> u64 {
        // TICKS is 0b1101, and no pulse counts further.
        self.count[3] & self.count[2] & self.count[0]
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
            marks: array::from_fn(|_| array::from_fn(|_| AtomicU32::new(0))),
            tally: Mutex::new(Tally {
                rows: [Row::default(); W],
                names: [[0; N]; W],
            }),
        }
    }

    fn at(slot: u32) -> (usize, usize) {
        let slot = slot as usize;
        // `% W` costs nothing where W is a power of two, and spares the bounds check.
        (slot / N % W, slot % N)
    }

    /// Says that the pulse is alive.
    pub(crate) fn beat(&self, slot: u32) {
        let (w, i) = Self::at(slot);
        beat(&self.beats[w], 1 << i);
    }

    /// Where the pulse beats, for as long as the planes are there.
    pub(crate) fn cell(&self, slot: u32) -> Cell {
        let (w, i) = Self::at(slot);
        Cell {
            word: NonNull::from(&self.beats[w]),
            bit: 1 << i,
        }
    }

    /// A poll begins. Says whether it is part of another. `wakers` if there are some that tell of wake-ups.
    #[inline]
    pub(crate) fn poll(&self, place: Place, wakers: bool) -> bool {
        let (w, i) = Self::at(place.slot);
        let (mark, polling) = (&self.marks[w][i], place.mark(POLLING));
        // ORDERING: Relaxed: it publishes nothing. Within a poll the mark is left alone: the wake-up in it is the outer one's (model
        // `nested_poll`).
        if mark.load(Ordering::Relaxed) & POLLING != 0 {
            return true;
        }
        // ORDERING: Relaxed: it publishes nothing. Where wakers exchange, a swap, since loom cannot order their exchange
        // with a store; the holder alone changes the mark otherwise.
        let before = if wakers {
            mark.swap(polling, Ordering::Relaxed)
        } else {
            let before = mark.load(Ordering::Relaxed);
            mark.store(polling, Ordering::Relaxed);
            before
        };
        before & POLLING != 0
    }

    /// The poll ends.
    #[inline]
    pub(crate) fn polled(&self, place: Place, wakers: bool) {
        let (w, i) = Self::at(place.slot);
        let mark = &self.marks[w][i];
        // ORDERING: Relaxed, as in `poll`. A wake-up that came meanwhile stays (model `woken_polled`).
        if wakers {
            mark.fetch_and(!POLLING, Ordering::Relaxed);
        } else {
            mark.store(place.mark(0), Ordering::Relaxed);
        }
    }

    /// The pulse was woken, or `woken` is false and it is not to be polled any more. Nothing if it is another by now.
    pub(crate) fn wake(&self, place: Place, woken: bool) {
        let (w, i) = Self::at(place.slot);
        let change = |mark: u32| {
            let flags = if woken { mark | WOKEN } else { mark & !WOKEN };
            (mark >> FLAGS == place.generation).then_some(flags)
        };
        // ORDERING: Relaxed: it publishes nothing; an exchange, for the slot may be another's by now (model `stale_waker`).
        let _ = self.marks[w][i].fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
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
                tally.names[w][i] = name;
                row.used |= 1 << i;
                row.starting |= 1 << i;
                // ORDERING: Relaxed; the scan reads it under the lock that we hold.
                self.limits[w][i].store(limit, Ordering::Relaxed);
                return Some(self.place(w, i));
            }
        }
        None
    }

    /// Gives a slot back. The caller had the only handle. Returns the end to be told, and whether every slot was taken
    /// until now. What a scan says of the pulse it has said by then, since it holds the lock meanwhile.
    pub(crate) fn remove(&self, place: Place) -> (News, bool) {
        let (w, i) = Self::at(place.slot);
        let mut tally = self.tally.lock();
        let full = tally
            .rows
            .iter()
            .all(|row| row.used.count_ones() as usize == N);
        let closed = self.news(w, i, tally.names[w][i], Health::Closed, false);
        self.wipe(&mut tally, w, i);
        (closed, full)
    }

    /// Starts the slot anew, as another pulse of the same name; and whether the one before was silent. The caller has the only handle.
    pub(crate) fn renew(&self, place: Place, limit: u64) -> (Place, bool) {
        let (w, i) = Self::at(place.slot);
        let mut tally = self.tally.lock();
        let silent = tally.rows[w].silent & 1 << i != 0;
        self.wipe(&mut tally, w, i);
        // ORDERING: Relaxed; the scan reads it under the lock that we hold.
        self.limits[w][i].store(limit, Ordering::Relaxed);
        tally.rows[w].used |= 1 << i;
        tally.rows[w].starting |= 1 << i;
        (self.place(w, i), silent)
    }

    /// The place of the pulse that has the slot. The caller holds the lock.
    fn place(&self, w: usize, i: usize) -> Place {
        Place {
            slot: (w * N + i) as u32,
            // ORDERING: Relaxed; the generation changes under the lock that is held.
            generation: self.marks[w][i].load(Ordering::Relaxed) >> FLAGS,
        }
    }

    fn wipe(&self, tally: &mut Tally<W, N>, w: usize, i: usize) {
        // ORDERING: Relaxed: all beats of the old handle happened before this, since the caller holds it alone, and
        // the next handle is made under the lock that we hold (model `reuse`).
        for plane in [&self.beats[w], &self.busy[w]] {
            if plane.load(Ordering::Relaxed) & 1 << i != 0 {
                plane.fetch_and(!(1 << i), Ordering::Relaxed);
            }
        }
        let mark = &self.marks[w][i];
        let next = (mark.load(Ordering::Relaxed) >> FLAGS).wrapping_add(1);
        // ORDERING: Relaxed, as above. A swap, so that a stale waker's exchange comes before it or fails (model `stale_waker`).
        mark.swap(next << FLAGS, Ordering::Relaxed);
        tally.rows[w].clear(1 << i);
    }

    /// Takes the beats since the last scan, reports who fell silent and who is back, and counts the pulses. `now` is the witnessed time;
    /// a scan that was late is not `counted`: it hears beats, and holds no silence against anybody.
    pub(crate) fn scan(&self, now: u64, counted: bool, mut report: impl FnMut(News)) -> u32 {
        let mut tally = self.tally.lock();
        let tally = &mut *tally;
        let mut watched = 0;
        for (w, row) in tally.rows.iter_mut().enumerate() {
            if row.used == 0 {
                continue;
            }
            watched += row.used.count_ones();
            // ORDERING: Relaxed: beats publish nothing. The load spares the line where nobody has beaten; it may miss
            // a beat that the next scan then takes. A swap, for a store could undo a bit set since (model `beat_scan`).
            let beat = match self.beats[w].load(Ordering::Relaxed) {
                0 => 0,
                _ => self.beats[w].swap(0, Ordering::Relaxed),
            };
            row.starting &= !beat;
            // ORDERING: Relaxed: a limit that is out of date is found out by `judge`.
            let limited = row.used & (self.busy[w].load(Ordering::Relaxed) | row.starting);
            let quiet = row.used & !limited & !beat;
            row.count(quiet, if counted { quiet & !row.full() } else { 0 });
            let mut bad = quiet & row.full();
            for i in each(limited) {
                // ORDERING: Relaxed, as above.
                bad |= u64::from(now >= self.limits[w][i].load(Ordering::Relaxed)) << i;
            }
            for i in each(bad & !row.silent) {
                // Just before the alarm, once more: the worker may have come meanwhile.
                let health = self.judge(row, w, i, now);
                if health.is_alarm() {
                    row.silent |= 1 << i;
                    let limited = limited & (1 << i) != 0;
                    report(self.news(w, i, tally.names[w][i], health, limited));
                }
            }
            for i in each(row.silent & !bad) {
                let health = self.judge(row, w, i, now);
                if !health.is_alarm() {
                    row.silent &= !(1 << i);
                    report(self.news(w, i, tally.names[w][i], health, false));
                }
            }
        }
        watched
    }

    /// How the pulse fares at this instant, beats since the last scan included.
    fn judge(&self, row: &Row, w: usize, i: usize, now: u64) -> Health {
        let bit = 1 << i;
        // ORDERING: Acquire pairs with the Release of `enter` (models `enter_scan` and `enter_judge`).
        let busy = self.busy[w].load(Ordering::Acquire) & bit != 0;
        // ORDERING: Relaxed: a beat publishes nothing.
        let beat = self.beats[w].load(Ordering::Relaxed) & bit != 0;
        // ORDERING: Relaxed; `busy` published it, or the lock did.
        let limit = self.limits[w][i].load(Ordering::Relaxed);
        let starting = row.starting & bit != 0 && !beat;
        // ORDERING: Relaxed: a hint, which publishes nothing.
        let alarm = || alarm(self.marks[w][i].load(Ordering::Relaxed));
        match (busy || starting, beat) {
            (true, _) if now >= limit => alarm(),
            (true, _) if starting => Health::Starting,
            (true, _) if limit == NEVER => Health::Live,
            (true, _) => Health::Busy,
            (false, false) if row.full() & bit != 0 => alarm(),
            (false, _) => Health::Live,
        }
    }

    /// How the pulse fares at this instant; closed if the slot is another's by now.
    pub(crate) fn health(&self, place: Place, now: u64) -> Health {
        let (w, i) = Self::at(place.slot);
        let tally = self.tally.lock();
        let row = &tally.rows[w];
        if self.place(w, i) != place {
            return Health::Closed;
        }
        self.judge(row, w, i, now)
    }

    /// Whether the pulse is there and has beaten.
    #[cfg(feature = "health")]
    pub(crate) fn has_started(&self, place: Place) -> bool {
        let (w, i) = Self::at(place.slot);
        let tally = self.tally.lock();
        // ORDERING: Relaxed: a beat publishes nothing.
        let starting = tally.rows[w].starting & !self.beats[w].load(Ordering::Relaxed);
        self.place(w, i) == place && tally.rows[w].used & !starting & (1 << i) != 0
    }

    /// Every pulse in use, with its name, as it fares at this instant.
    pub(crate) fn each(&self, now: u64, mut f: impl FnMut(News)) {
        let tally = self.tally.lock();
        for (w, row) in tally.rows.iter().enumerate() {
            for i in each(row.used) {
                let health = self.judge(row, w, i, now);
                f(self.news(w, i, tally.names[w][i], health, false));
            }
        }
    }

    fn news(&self, w: usize, i: usize, name: u32, health: Health, limited: bool) -> News {
        News {
            place: self.place(w, i),
            name,
            health,
            limited,
        }
    }
}
