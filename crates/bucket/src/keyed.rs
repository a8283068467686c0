use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::marker::PhantomData;
use std::sync::Arc;

use tokio::time::Instant;

use crate::bucket::id;
use crate::denied::Name;
use crate::line::Limit;
use crate::rows::Rows;
use crate::set::{later, refuse};
use crate::table::{Refused, Table};
use crate::{Bucket, Denied, Grant, Level, Limiter, Rate, Refusal, time};

/// One bucket a key, all of one rate and depth, in memory that never grows. Clones share it.
///
/// Each key's bucket starts full and keeps what [`Bucket`] promises. A full bucket is as good as none: a key that has not
/// asked for as long as its bucket takes to fill gives its place to one that needs it, and loses nothing. So only keys
/// that are short of a token take room; nothing is swept or resized, and no call pauses for the others.
///
/// # Capacity
///
/// The table is laid out once, for `capacity` keys that are short of a token at the same time, and takes 64 bytes for each three
/// of them. Choose as many as may ask within depth / rate, the time in which a bucket fills. Up to that none of them is displaced;
/// when the quarter of its places that is left has been used up too, a key that comes new finds none. What happens then is chosen by
/// [`when_full`](Self::when_full), and [`overflowed`](Self::overflowed) counts it.
///
/// That is so where the standard library's mutex is a futex, as on Linux and Windows. Elsewhere it takes twice as much.
///
/// # Keys
///
/// Of a key nothing is kept but its hash, so it may be of any length. Two keys with one hash have one bucket; that there are two among
/// ten million has a chance of 1 in 300,000.
///
/// Were the hash known, somebody could choose keys that meet in the same few places. So it is by default the standard library's, with
/// random keys for each table; [another](Self::with_hasher) may be faster.
///
/// # Lifetime
///
/// A table counts its time for nine years at the least, at most rates for 146; after that nothing refills.
///
/// ```
/// use evenkeel_bucket::{All, Bucket, Keyed, Rate};
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let clients = Keyed::<str>::new(Rate::per(1, second), 2, 100_000).named("client");
/// assert!(clients.try_acquire("ann", 2).is_ok());
/// assert_eq!(clients.try_acquire("ann", 1).unwrap_err().by(), "client");
/// assert!(clients.try_acquire("bob", 1).is_ok());
///
/// // Of a client's tokens and of those of the whole service, or of neither.
/// let service = Bucket::new(Rate::per(100, second), 100).named("service");
/// let both = |client| clients.key(client).map(|key| All::new([key]).and(&service));
/// assert!(both("bob")?.try_acquire(1).is_ok());
/// assert_eq!(both("ann")?.try_acquire(1).unwrap_err().by(), "client");
/// assert_eq!(service.peek().tokens, 99);
/// # Ok::<(), evenkeel_bucket::Denied>(())
/// ```
pub struct Keyed<K: ?Sized, S = RandomState> {
    pub(crate) table: Arc<Table>,
    hasher: S,
    overflow: Overflow,
    pub(crate) name: Name,
    keys: PhantomData<fn(&K)>,
}

/// What happens to a key that finds no place in a full [`Keyed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It is refused. No key exceeds its limit; whoever has enough keys keeps new ones out.
    Deny,
    /// It gets the place of a bucket that is fullest of those in its way, and which is then forgotten: its key starts full
    /// again when it comes back, and so may exceed its limit by what its bucket lacked.
    #[default]
    Evict,
    /// It takes from one bucket of the same rate and depth that all such keys have in common. No key exceeds its limit, but for
    /// a depth when it gets a place of its own. A [`Key`] that was made meanwhile stays with the common bucket as long as it
    /// lives, so it is not to be kept.
    Share,
}

/// The bucket of one key in a [`Keyed`], to wait for it, or to acquire it with others as an [`All`](crate::All). Clones
/// share it.
///
/// While it or a clone is alive, or an `All` that was made of it, the key keeps its place, full or not; a forgotten one for
/// good. It takes some 400 bytes besides.
#[derive(Clone)]
pub struct Key(Arc<Pin>);

struct Pin {
    bucket: Bucket,
    /// The table in which the place of this hash is pinned.
    pinned: Option<(Arc<Table>, u64)>,
}

impl<K: Hash + ?Sized> Keyed<K> {
    /// Buckets of `depth` tokens that refill at `rate`, for `capacity` keys at once that are not full.
    ///
    /// All memory is taken here: 64 bytes for three keys.
    ///
    /// # Panics
    ///
    /// If `capacity` is above twelve billion.
    #[must_use]
    pub fn new(rate: Rate, depth: u32, capacity: usize) -> Self {
        Self::with_hasher(rate, depth, capacity, RandomState::new())
    }
}

impl<K: Hash + ?Sized, S: BuildHasher> Keyed<K, S> {
    /// The same, with a hash of one's own. If others choose the keys, it is to be one that they cannot foresee.
    ///
    /// # Panics
    ///
    /// As [`new`](Keyed::new).
    #[must_use]
    pub fn with_hasher(rate: Rate, depth: u32, capacity: usize, hasher: S) -> Self {
        let rows = Rows::new(capacity);
        let table = Table::new(Limit { rate, depth }, rows, id(), time::now());
        Self {
            table: Arc::new(table),
            hasher,
            overflow: Overflow::default(),
            name: Name::Static("keyed"),
            keys: PhantomData,
        }
    }

    /// The name by which refusals call this handle of the table, and the keys and clones that are made of it. It is
    /// called "keyed" until then.
    #[must_use]
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into().into();
        self
    }

    /// What this handle of the table, and clones made of it, do with a key that finds no place. It is [`Overflow::Evict`] until
    /// then.
    #[must_use]
    pub fn when_full(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Takes `n` tokens of `key` now, or none.
    ///
    /// It takes the time of one or two cache misses, and that of fifty for a key that finds no place.
    ///
    /// # Errors
    ///
    /// As [`Bucket::try_acquire`]. If there is no place for the key, [`Later`](Refusal::Later) with the time until there is one, or
    /// [`Unavailable`](Refusal::Unavailable) if nobody knows, since all have [handles](Key) or nothing refills: under
    /// [`Overflow::Deny`], and under [`Overflow::Evict`] if all in the way have handles.
    #[inline]
    pub fn try_acquire(&self, key: &K, n: u64) -> Result<Grant, Denied> {
        let taken = self.table.take(self.hash(key), n, self.overflow, time::now);
        taken
            .map(|granted| Grant::new(n, granted.left, granted.cost))
            .map_err(|(refused, now)| self.denied(&refused, n, now))
    }

    /// Gives `n` tokens back to `key`; what exceeds the depth is lost. For what was taken and not used: that is not checked.
    /// If the key took them from the bucket that is [shared](Overflow::Share), they are lost too.
    pub fn refund(&self, key: &K, n: u64) {
        if let Some(gate) = self.table.refund(self.hash(key), n, time::now) {
            gate.tell_refund(time::now());
        }
    }

    /// What the bucket of `key` holds now; takes nothing, and needs no place.
    ///
    /// A key without a place has a full bucket, and that is what is told of it, also while the table is so full that the key
    /// would find no place: then a take goes by the [`Overflow`], and may be refused.
    #[must_use]
    pub fn peek(&self, key: &K) -> Level {
        self.table.level(self.hash(key), time::now)
    }

    /// The bucket of `key`, to wait for it or to put it into an [`All`](crate::All).
    ///
    /// # Errors
    ///
    /// If there is no place for the key, as [`try_acquire`](Self::try_acquire).
    pub fn key(&self, key: &K) -> Result<Key, Denied> {
        let hash = self.hash(key);
        let pinned = self.table.pin(hash, id(), self.overflow, time::now);
        let (gate, own) = pinned.map_err(|(refused, now)| self.denied(&refused, 0, now))?;
        let name = self.name.clone();
        Ok(Key(Arc::new(Pin {
            bucket: Bucket { gate, name },
            pinned: own.then(|| (Arc::clone(&self.table), hash)),
        })))
    }

    pub(crate) fn hash(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    #[cold]
    fn denied(&self, refused: &Refused, n: u64, now: u64) -> Denied {
        let due = match refused {
            Refused::Short(short) => short.due(),
            Refused::Queued(gate) => gate.estimate(n, now),
            Refused::Full(None) => return refuse(&self.name, Refusal::Unavailable),
            Refused::Full(due) => *due,
        };
        later(&self.name, due, now)
    }
}

impl<K: ?Sized, S> Keyed<K, S> {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The rate at which each bucket refills.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.table.limit().rate
    }

    /// How many tokens each bucket holds when it is full.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.table.limit().depth
    }

    /// How many keys there may be at once that are not full: what was asked for, or a little more.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.table.rows.capacity()
    }

    /// How often a key has found no place since the table was made, and was refused, took another's or shared: by any handle. For
    /// a metric: if it rises, the table is too small for the keys that come, or somebody is making them up.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.table.overflowed()
    }
}

impl<K: ?Sized, S: Clone> Clone for Keyed<K, S> {
    fn clone(&self) -> Self {
        Self {
            table: Arc::clone(&self.table),
            hasher: self.hasher.clone(),
            overflow: self.overflow,
            name: self.name.clone(),
            keys: PhantomData,
        }
    }
}

impl<K: ?Sized, S> fmt::Debug for Keyed<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("name", &self.name())
            .field("rate", &self.rate())
            .field("depth", &self.depth())
            .field("capacity", &self.capacity())
            .field("when_full", &self.overflow)
            .finish_non_exhaustive()
    }
}

impl Key {
    pub(crate) fn bucket(&self) -> &Bucket {
        &self.0.bucket
    }

    /// The table in which the key has a place of its own, and its hash.
    #[cfg(feature = "headers")]
    pub(crate) fn place(&self) -> Option<(u64, u64)> {
        let pinned = self.0.pinned.as_ref();
        pinned.map(|(table, hash)| (table.id(), *hash))
    }
}

/// As [`Bucket::acquire`].
impl Limiter for Key {
    fn acquire(
        &self,
        n: u64,
        by: Option<Instant>,
    ) -> impl Future<Output = Result<Grant, Denied>> + Send {
        self.bucket().acquire(n, by)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bucket = self.bucket();
        f.debug_tuple("Key").field(&bucket.name()).finish()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some((table, hash)) = &self.pinned {
            table.unpin(*hash, time::now);
        }
    }
}
