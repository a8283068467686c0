use std::fmt;
use std::sync::Arc;

use evenkeel_sync as sync;
use tokio::time::Instant;

use crate::denied::Name;
use crate::line::Gate;
use crate::set::Set;
use sealed::{Part, Sealed as _};

use crate::{Bucket, Denied, Grant, Key, Limiter};

/// Several buckets acquired as one: from each of them, or from none.
///
/// It may hold any number of [`Bucket`]s, [`Key`]s and other `All`s, which it takes apart; a bucket that occurs twice is charged once.
/// Buckets may be shared between several `All`s and used alone as well; acquiring is linearizable, whatever the order in
/// which they were listed, and a refusal writes nothing. An empty one grants everything.
///
/// The most restrictive bucket is asked first, by the rates at the time of [`All::new`] and, between equal rates, the depths; it
/// is the one a refusal names if several refuse.
///
/// ```
/// use evenkeel_bucket::{All, Bucket, Rate};
/// use std::time::Duration;
///
/// let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
/// let api = All::new([
///     Bucket::new(Rate::per(2, second), 1).named("api/s"),
///     Bucket::new(Rate::per(10, minute), 10).named("api/min"),
/// ]);
/// let disk = Bucket::new(Rate::per(1, second), 1).named("disk");
/// let read = All::new([&api]).and(&disk);
///
/// assert!(read.try_acquire(1).is_ok());
/// assert_eq!(read.try_acquire(1).unwrap_err().by(), "disk");
/// assert_eq!(disk.peek().tokens, 0);
/// ```
///
/// A limiter of another kind does not go in, since nobody could keep the promise for it:
///
/// ```compile_fail,E0277
/// use evenkeel_bucket::{All, AnyLimiter, Bucket, Rate};
/// let remote = AnyLimiter::new(Bucket::new(Rate::ZERO, 1));
/// All::new([remote]);
/// ```
#[derive(Clone)]
pub struct All(Arc<Parts>);

struct Parts {
    /// Each once, in the order of ids.
    gates: Vec<sync::Arc<Gate>>,
    names: Vec<Name>,
    /// Of those that are a key's bucket: what keeps it that.
    keys: Vec<Option<Key>>,
    /// Places in these, most restrictive first.
    strict: Vec<u32>,
}

/// What goes into an [`All`]: a [`Bucket`], a [`Key`] or another `All`, or a reference to one. Sealed.
pub trait Member: sealed::Sealed {}

impl<M: sealed::Sealed> Member for M {}

mod sealed {
    use super::{All, Bucket, Gate, Key, Name, Parts, sync};

    pub struct Part(
        pub(in super::super) sync::Arc<Gate>,
        pub(in super::super) Name,
        pub(in super::super) Option<Key>,
    );

    pub trait Sealed {
        fn parts(&self, into: &mut Vec<Part>);
    }

    impl Sealed for Bucket {
        fn parts(&self, into: &mut Vec<Part>) {
            into.push(Part(self.gate.clone(), self.name.clone(), None));
        }
    }

    impl Sealed for Key {
        fn parts(&self, into: &mut Vec<Part>) {
            let Bucket { gate, name } = self.bucket();
            into.push(Part(gate.clone(), name.clone(), Some(self.clone())));
        }
    }

    impl Sealed for All {
        fn parts(&self, into: &mut Vec<Part>) {
            let Parts {
                gates, names, keys, ..
            } = &*self.0;
            let parts = gates.iter().zip(names).zip(keys);
            into.extend(
                parts.map(|((gate, name), key)| Part(gate.clone(), name.clone(), key.clone())),
            );
        }
    }

    impl<M: Sealed> Sealed for &M {
        fn parts(&self, into: &mut Vec<Part>) {
            M::parts(self, into);
        }
    }
}

impl All {
    /// All of `members`. The list itself is not touched. Of none, it limits nothing and grants always: a list that is read from
    /// a configuration should be looked at before.
    pub fn new<M: Member>(members: impl IntoIterator<Item = M>) -> Self {
        let mut parts = Vec::new();
        for member in members {
            member.parts(&mut parts);
        }
        Self::of(parts)
    }

    /// All of these and `member`: for what is not of one type.
    #[must_use]
    pub fn and(&self, member: impl Member) -> Self {
        let mut parts = Vec::new();
        self.parts(&mut parts);
        member.parts(&mut parts);
        Self::of(parts)
    }

    fn of(mut parts: Vec<Part>) -> Self {
        // Stable: of the names of one bucket the first stays.
        parts.sort_by_key(|Part(gate, ..)| gate.id);
        parts.dedup_by_key(|Part(gate, ..)| gate.id);
        let mut strict: Vec<u32> = (0..).take(parts.len()).collect();
        strict.sort_by_cached_key(|&place| {
            let limit = parts[place as usize].0.limit();
            (limit.rate, limit.depth)
        });
        let parts = parts.into_iter();
        let (gates, (names, keys)) = parts.map(|part| (part.0, (part.1, part.2))).unzip();
        Self(Arc::new(Parts {
            gates,
            names,
            keys,
            strict,
        }))
    }

    /// The names of the buckets, most restrictive first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let Parts { strict, names, .. } = &*self.0;
        strict.iter().map(|&place| names[place as usize].as_str())
    }

    /// Takes `n` tokens from each bucket now, or none from any.
    ///
    /// # Errors
    ///
    /// As [`Bucket::try_acquire`], for the most restrictive of the buckets that refuse; the time is that until all have enough.
    pub fn try_acquire(&self, n: u64) -> Result<Grant, Denied> {
        self.set().try_acquire(n)
    }

    /// Takes `n` tokens from each bucket at once, waiting in line for them, until `by` at the latest.
    ///
    /// It waits at the buckets that hold it up, by one order of arrival for all of them; the others stay open to
    /// everybody meanwhile. One that has held it up stays closed to later ones until it is served or gives up, even if it has
    /// enough long before another has: else those who take from the one alone could keep it waiting for ever. Where that is
    /// too long, give it a deadline.
    ///
    /// # Errors
    ///
    /// As [`Bucket::acquire`].
    ///
    /// # Cancel safety
    ///
    /// As [`Bucket::acquire`].
    ///
    /// # Panics
    ///
    /// As [`Bucket::acquire`].
    pub async fn acquire(&self, n: u64, by: Option<Instant>) -> Result<Grant, Denied> {
        self.set().acquire(n, by).await
    }

    /// Gives `n` tokens back to each bucket, one after the other. For what was taken by this `All`: that is not checked, and each
    /// bucket takes what it is given, up to its depth.
    pub fn refund(&self, n: u64) {
        for gate in &self.0.gates {
            gate.refund(n, crate::time::now());
        }
    }

    fn set(&self) -> Set<'_> {
        Set {
            gates: &self.0.gates,
            strict: &self.0.strict,
            names: &self.0.names,
        }
    }
}

impl Limiter for All {
    fn acquire(
        &self,
        n: u64,
        by: Option<Instant>,
    ) -> impl Future<Output = Result<Grant, Denied>> + Send {
        self.acquire(n, by)
    }
}

impl fmt::Debug for All {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("All")?;
        f.debug_list().entries(self.names()).finish()
    }
}
