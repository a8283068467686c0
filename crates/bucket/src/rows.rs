//! Where the keys of a table are: each in one of four places in one of two rows.
//!
//! # Protocol
//!
//! The hash of a key gives it two rows; from the print that is kept of it and either row the other one follows. All that is
//! in a row is read and written under the row's mutex.
//!
//! - A key gets a place, and changes it, with both its rows locked, so it has one at most. Who does not find it at home
//!   looks again with both rows locked: it may have been put there or moved meanwhile.
//! - The two rows of a key are locked in the order of their numbers. Further rows, into which others are moved to make
//!   room, are tried and passed over if somebody has them. So there is no cycle.
//! - Who finds a key without a place reads the clock again, with its rows locked: later than whoever saw that its bucket was
//!   full and gave the place away. By an earlier clock it might not have been full yet, and a token would be minted.

use evenkeel_sync::{Mutex, MutexGuard};

/// Places in a row: with their mutex they fill a cache line.
const WAYS: usize = 4;

/// Of these a key may have three at once; the fourth is for the luck of the draw.
const USED: usize = 3;

/// So many rows at least: with few, luck counts.
const FEWEST: usize = 32;

/// As many keys are moved at most to make room for one.
const MOVES: u32 = 2;

/// What is kept of a key: so many bits of its hash.
const PRINT: u32 = 48;

pub(crate) struct Rows(Box<[Padded]>);

#[repr(align(64))]
#[derive(Default)]
struct Padded(Mutex<Row>);

/// A place that was never given has print 0, which no key has, and word 0.
#[derive(Default)]
struct Row {
    words: [u64; WAYS],
    high: [u32; WAYS],
    low: [u16; WAYS],
}

/// Where a key belongs.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    /// Its home and its other row.
    pub(crate) rows: [usize; 2],
    print: u64,
}

/// A place: in which of a key's two rows, and where in it.
pub(crate) type Place = (usize, usize);

/// A key's rows, locked; the other one only if it was not found at home.
pub(crate) struct Found<'a> {
    locked: [Option<MutexGuard<'a, Row>>; 2],
    spot: Spot,
    /// Where it was found.
    at: Option<Place>,
    pub(crate) now: u64,
}

impl Row {
    #[inline]
    fn find(&self, print: u64) -> Option<usize> {
        let (high, low) = split(print);
        (0..WAYS).find(|&way| self.high[way] == high && self.low[way] == low)
    }

    fn put(&mut self, way: usize, print: u64, word: u64) {
        (self.high[way], self.low[way]) = split(print);
        self.words[way] = word;
    }

    fn print(&self, way: usize) -> u64 {
        u64::from(self.high[way]) << 16 | u64::from(self.low[way])
    }
}

#[inline]
fn split(print: u64) -> (u32, u16) {
    ((print >> 16) as u32, print as u16)
}

/// One of `n`, as the upper half of `bits` says.
#[inline]
fn one_of(n: usize, bits: u64) -> usize {
    (((bits >> 32) * n as u64) >> 32) as usize
}

/// Begins to load what is used soon: where the table does not fit the caches, a take waits for hardly anything else.
#[inline]
fn prefetch(row: &Padded) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch may be given any address, and does nothing that a program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(row).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = row;
}

impl Found<'_> {
    /// The word of the key, if it has a place.
    #[inline]
    pub(crate) fn word(&mut self) -> Option<&mut u64> {
        let (which, way) = self.at?;
        Some(&mut self.row(which).words[way])
    }

    #[inline]
    fn row(&mut self, which: usize) -> &mut Row {
        let row = self.locked[which].as_mut();
        row.expect("both are locked, unless the key was found at home")
    }

    /// The places in the way of a key that has none, and their words.
    pub(crate) fn places(&mut self) -> impl Iterator<Item = (u64, Place)> {
        let words = [0, 1].map(|which| self.row(which).words);
        (0..2).flat_map(move |which| (0..WAYS).map(move |way| (words[which][way], (which, way))))
    }

    /// Gives the key this place, whoever has it.
    pub(crate) fn put(&mut self, (which, way): Place, word: u64) {
        let print = self.spot.print;
        self.row(which).put(way, print, word);
    }
}

impl Rows {
    pub(crate) fn new(capacity: usize) -> Self {
        // An even number, as `other` needs it.
        Self::exactly(capacity.div_ceil(USED).next_multiple_of(2).max(FEWEST))
    }

    pub(crate) fn exactly(rows: usize) -> Self {
        assert!(rows <= 1 << 32, "more rows than a hash tells apart");
        Self((0..rows).map(|_| Padded::default()).collect())
    }

    pub(crate) fn capacity(&self) -> usize {
        self.0.len() * USED
    }

    #[inline]
    pub(crate) fn spot(&self, hash: u64) -> Spot {
        // A hasher of one's own may leave half of the bits as they were.
        let hash = (hash ^ hash >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let hash = hash ^ hash >> 32;
        let print = (hash & ((1 << PRINT) - 1)).max(1);
        let home = one_of(self.0.len(), hash);
        let rows = [home, self.other(home, print)];
        Spot { rows, print }
    }

    /// The other row of a key with this print that may be in `row`. The two add up to an odd number, so they differ.
    #[inline]
    fn other(&self, row: usize, print: u64) -> usize {
        let bits = print.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let sum = 2 * one_of(self.0.len() / 2, bits) + 1;
        if sum >= row {
            sum - row
        } else {
            sum + self.0.len() - row
        }
    }

    /// Locks the rows of a key and finds it in them.
    #[inline]
    pub(crate) fn find(&self, hash: u64, clock: impl Fn() -> u64) -> Found<'_> {
        let spot = self.spot(hash);
        // While the clock is read they are on their way.
        for row in spot.rows {
            prefetch(&self.0[row]);
        }
        let now = clock();
        let home = self.0[spot.rows[0]].0.lock();
        let at = home.find(spot.print).map(|way| (0, way));
        let locked = [Some(home), None];
        let mut found = Found {
            locked,
            spot,
            at,
            now,
        };
        if at.is_none() {
            self.find_in_both(&mut found);
            if found.at.is_none() {
                found.now = clock();
            }
        }
        found
    }

    fn find_in_both<'a>(&'a self, found: &mut Found<'a>) {
        let Spot { rows, print } = found.spot;
        let [home, other] = rows.map(|row| &self.0[row].0);
        let home_first = rows[0] < rows[1];
        if home_first {
            found.locked[1] = Some(other.lock());
        } else {
            found.locked[0] = None;
            found.locked[1] = Some(other.lock());
            found.locked[0] = Some(home.lock());
        }
        let mut both = [0, 1].into_iter();
        found.at = both.find_map(|which| Some((which, found.row(which).find(print)?)));
    }

    /// A place for a key that has none: a free one, or one that becomes so when others move to their other rows.
    pub(crate) fn room(&self, found: &mut Found<'_>, free: &impl Fn(u64) -> bool) -> Option<Place> {
        let rows = found.spot.rows;
        (0..=MOVES).find_map(|moves| {
            [0, 1].into_iter().find_map(|which| {
                let way = self.vacate(found.row(which), rows[which], moves, free)?;
                Some((which, way))
            })
        })
    }

    /// A place in this row that is free after so many moves.
    fn vacate(
        &self,
        row: &mut Row,
        number: usize,
        moves: u32,
        free: &impl Fn(u64) -> bool,
    ) -> Option<usize> {
        if moves == 0 {
            return (0..WAYS).find(|&way| free(row.words[way]));
        }
        (0..WAYS).find(|&way| {
            let (print, word) = (row.print(way), row.words[way]);
            let number = self.other(number, print);
            let Some(mut next) = self.0[number].0.try_lock() else {
                return false;
            };
            let room = self.vacate(&mut next, number, moves - 1, free);
            if let Some(to) = room {
                next.put(to, print, word);
            }
            room.is_some()
        })
    }
}
