//! The kernel of a keyed table: a place for every bucket that is not full.
//!
//! A full bucket is as good as none. So there is nothing to sweep: a place whose bucket has become full is free to the next
//! key that needs one, and a key without a place has a full bucket.
//!
//! # Protocol
//!
//! How a key gets a place, and one only, is in `rows.rs`. What is in it is read and written with its row locked.
//!
//! - A place is pinned as long as somebody has a handle of its key: its word names a gate that is the bucket meanwhile.
//!   It may be moved like any other, but it is not given away, so whoever takes from the gate takes from that key. The
//!   handles are counted, and the gate is folded into the place again after the last, with its row locked.
//! - With a row locked nothing is waited for but the mutex of the pins and the bit of a counter, which are held for a few
//!   instructions, and no row is locked with one of those held.

use std::collections::BTreeMap;

use evenkeel_sync::atomic::{AtomicU64, Ordering::Relaxed};
use evenkeel_sync::{Arc, Mutex, MutexGuard};

use crate::counter::Counter;
use crate::line::{Gate, Limit};
use crate::plan::{Ask, Granted, Plan, Short};
use crate::rows::{Found, Rows};
use crate::scale::Scale;
use crate::{Level, Overflow};

/// The word of a place is `spent << 1`, or with this bit the id of a gate.
const PINNED: u64 = 1;

/// Pins are under so many mutexes.
const SHARDS: u64 = 16;

pub(crate) struct Table {
    pub(crate) rows: Rows,
    plan: Plan,
    limit: Limit,
    pins: [Mutex<BTreeMap<u64, Pin>>; SHARDS as usize],
    /// What all keys without a place have in common, if they share.
    shared: Arc<Gate>,
    /// How often a key found no place.
    overflowed: AtomicU64,
}

/// A pinned bucket.
struct Pin {
    gate: Arc<Gate>,
    handles: usize,
}

/// Refused; nothing was written.
pub(crate) enum Refused {
    Short(Short),
    /// Others wait in line at this gate.
    Queued(Arc<Gate>),
    /// No place, but there will be one at this time if nobody gets it before; `None`: nobody knows.
    Full(Option<u64>),
}

impl Table {
    /// Full buckets; `shared` is the id of the one that keys may share.
    pub(crate) fn new(limit: Limit, rows: Rows, shared: u64, now: u64) -> Self {
        Self {
            rows,
            plan: Plan::lasting(Scale::lasting(limit.rate, limit.depth), now),
            limit,
            pins: std::array::from_fn(|_| Mutex::default()),
            shared: Arc::new(Gate::new(shared, limit, now)),
            overflowed: AtomicU64::new(0),
        }
    }

    /// No other table has it.
    #[cfg(feature = "headers")]
    pub(crate) fn id(&self) -> u64 {
        self.shared.id
    }

    pub(crate) fn limit(&self) -> Limit {
        self.limit
    }

    pub(crate) fn overflowed(&self) -> u64 {
        // ORDERING: Relaxed; a count that publishes nothing.
        self.overflowed.load(Relaxed)
    }

    fn note_overflow(&self) {
        // ORDERING: Relaxed; a count that publishes nothing.
        self.overflowed.fetch_add(1, Relaxed);
    }

    /// Takes `n` tokens of a key, or none.
    pub(crate) fn take(
        &self,
        hash: u64,
        n: u64,
        overflow: Overflow,
        clock: impl Fn() -> u64,
    ) -> Result<Granted, (Refused, u64)> {
        let mut found = self.rows.find(hash, clock);
        let now = found.now;
        let refused = |short| (Refused::Short(short), now);
        match found.word() {
            Some(&mut word) if word & PINNED != 0 => self.take_pinned(&self.gate(word), n, now),
            Some(word) => {
                let (spent, granted) = self.charge(*word >> 1, n, now).map_err(refused)?;
                *word = spent << 1;
                Ok(granted)
            }
            None => {
                let (spent, granted) = self.charge(0, n, now).map_err(refused)?;
                if spent == 0 {
                    return Ok(granted);
                }
                match self.place(&mut found, spent << 1, overflow) {
                    Ok(()) => Ok(granted),
                    Err(None) => self.take_pinned(&self.shared, n, now),
                    Err(Some(full)) => Err((full, now)),
                }
            }
        }
    }

    fn take_pinned(&self, gate: &Arc<Gate>, n: u64, now: u64) -> Result<Granted, (Refused, u64)> {
        let taken = gate.counter.take(&Ask::now(n, now));
        taken.map_err(|short| match short {
            Short::Queued => (Refused::Queued(Arc::clone(gate)), now),
            short => (Refused::Short(short), now),
        })
    }

    /// What is spent after `n` more tokens; 0 only if they cost nothing.
    #[inline]
    fn charge(&self, spent: u64, n: u64, now: u64) -> Result<(u64, Granted), Short> {
        let scale = &self.plan.scale;
        let spent = match scale.price(n).ok_or(Short::TooDeep)? {
            0 => spent,
            price => {
                let charged = self.plan.charge(spent, price, now);
                charged.ok_or_else(|| self.plan.short(spent, price))?
            }
        };
        let granted = Granted {
            left: self.plan.level(spent, now),
            cost: scale.cost,
            late: 0,
        };
        Ok((spent, granted))
    }

    /// Gives `n` tokens of a key back. Returns the gate whose line is to be told.
    pub(crate) fn refund(&self, hash: u64, n: u64, clock: impl Fn() -> u64) -> Option<Arc<Gate>> {
        let mut found = self.rows.find(hash, clock);
        let word = found.word()?;
        if *word & PINNED != 0 {
            let gate = self.gate(*word);
            return gate.counter.refund(n).then_some(gate);
        }
        let price = n.saturating_mul(self.plan.scale.cost);
        *word = (*word >> 1).saturating_sub(price) << 1;
        None
    }

    pub(crate) fn level(&self, hash: u64, clock: impl Fn() -> u64) -> Level {
        let mut found = self.rows.find(hash, clock);
        let now = found.now;
        match found.word() {
            Some(&mut word) if word & PINNED != 0 => self.gate(word).level(now),
            Some(&mut word) => Level::of(&self.plan, word >> 1, now),
            None => Level::of(&self.plan, 0, now),
        }
    }

    /// The bucket of a key as a gate, called `id` unless it has a gate already, until [`unpin`](Self::unpin) is called as
    /// often; or the shared gate, with `false`, which nobody unpins.
    pub(crate) fn pin(
        &self,
        hash: u64,
        id: u64,
        overflow: Overflow,
        clock: impl Fn() -> u64,
    ) -> Result<(Arc<Gate>, bool), (Refused, u64)> {
        let mut found = self.rows.find(hash, clock);
        let now = found.now;
        let pinned = id << 1 | PINNED;
        let spent = match found.word() {
            Some(&mut word) if word & PINNED != 0 => {
                let mut pins = self.pins(word);
                let pin = pins.get_mut(&(word >> 1)).expect("it is pinned");
                pin.handles += 1;
                return Ok((Arc::clone(&pin.gate), true));
            }
            Some(word) => std::mem::replace(word, pinned) >> 1,
            None => match self.place(&mut found, pinned, overflow) {
                Ok(()) => 0,
                Err(None) => return Ok((Arc::clone(&self.shared), false)),
                Err(Some(full)) => return Err((full, now)),
            },
        };
        let scale = self.plan.scale;
        let spent = self.plan.carry(spent, &Plan::lasting(scale, now), now);
        let counter = Counter::with(scale, now, spent);
        let gate = Arc::new(Gate::with(id, self.limit, counter));
        let pin = Pin {
            gate: Arc::clone(&gate),
            handles: 1,
        };
        self.pins(pinned).insert(id, pin);
        Ok((gate, true))
    }

    /// One handle less of a pinned key; after the last the bucket is in its place again.
    pub(crate) fn unpin(&self, hash: u64, clock: impl Fn() -> u64) {
        let mut found = self.rows.find(hash, clock);
        let now = found.now;
        let word = found.word().expect("a pinned place is not given away");
        let mut pins = self.pins(*word);
        let id = *word >> 1;
        let pin = pins.get_mut(&id).expect("it is pinned");
        pin.handles -= 1;
        if pin.handles > 0 {
            return;
        }
        let gate = pins.remove(&id).map(|pin| pin.gate).expect("it is pinned");
        drop(pins);
        let (spent, plan) = gate.counter.look(now);
        *word = plan.carry(spent, &self.plan, now) << 1;
        drop(found);
    }

    fn pins(&self, word: u64) -> MutexGuard<'_, BTreeMap<u64, Pin>> {
        self.pins[((word >> 1) % SHARDS) as usize].lock()
    }

    fn gate(&self, word: u64) -> Arc<Gate> {
        let pins = self.pins(word);
        let pin = pins.get(&(word >> 1)).expect("it is pinned");
        Arc::clone(&pin.gate)
    }

    /// Gives a key that has none a place; if there is none, `None` says that it shares.
    fn place(
        &self,
        found: &mut Found<'_>,
        word: u64,
        overflow: Overflow,
    ) -> Result<(), Option<Refused>> {
        let now = found.now;
        let free = |word| word & PINNED == 0 && self.plan.is_full(word >> 1, now);
        let mut room = self.rows.room(found, &free);
        if room.is_none() {
            self.note_overflow();
            let unpinned = found.places().filter(|(word, _)| word & PINNED == 0);
            match overflow {
                Overflow::Share => return Err(None),
                Overflow::Evict => room = unpinned.min().map(|(_, fullest)| fullest),
                Overflow::Deny => {
                    let full = |(word, _)| self.plan.due(word >> 1, self.plan.scale.cap.into());
                    return Err(Some(Refused::Full(unpinned.filter_map(full).min())));
                }
            }
        }
        let room = room.ok_or(Some(Refused::Full(None)))?;
        found.put(room, word);
        Ok(())
    }
}
