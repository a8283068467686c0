use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The name of one occurrence of an error: the same in the log, in the message to the user and in every layer between.
///
/// It is a UUID of version 7 (RFC 9562, section 5.7), so ids sort by the millisecond in which their reports were made.
/// Within a process ids differ whatever the clock does, since they come from a counter. Between processes they differ
/// by a seed drawn at random when a process makes its first.
///
/// An id is not a secret: from one of them the next can be computed. Let it find a log entry, never grant access to one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u128);

/// How many numbers a thread takes from the shared counter at once. What a thread leaves unused is lost, which costs
/// nothing: 2^64 numbers last longer than any process.
const LEASE: u64 = 256;

/// # Protocol
///
/// The next number that no thread has leased. It only grows, by the read-modify-write in [`Lease::renew`]; who adds to
/// it owns the numbers from the value it read up to the sum.
static UNLEASED: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy)]
struct Lease {
    next: u64,
    end: u64,
    seed: Seed,
}

#[derive(Clone, Copy)]
struct Seed {
    start: u64,
    constant: u64,
}

thread_local! {
    static MINE: Cell<Lease> = const {
        Cell::new(Lease { next: 0, end: 0, seed: Seed { start: 0, constant: 0 } })
    };
}

impl Lease {
    #[cold]
    fn renew() -> Self {
        static SEED: OnceLock<Seed> = OnceLock::new();
        // ORDERING: Relaxed, for the number alone matters: a read-modify-write hands out each once, and nothing is
        // published by it. No model: the counter is a static, which loom's atomics cannot be.
        let next = UNLEASED.fetch_add(LEASE, Ordering::Relaxed);
        Self {
            next,
            end: next + LEASE,
            seed: *SEED.get_or_init(|| Seed {
                start: random(),
                constant: random(),
            }),
        }
    }
}

/// Sixty-four bits from the operating system's entropy, by the only way the standard library offers.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

impl Id {
    pub(crate) const NIL: Self = Self(0);

    pub(crate) fn new(at: SystemTime) -> Self {
        MINE.with(|mine| {
            let mut lease = mine.get();
            if lease.next == lease.end {
                lease = Lease::renew();
            }
            let id = Self::assemble(at, lease.next, lease.seed);
            lease.next += 1;
            mine.set(lease);
            id
        })
    }

    fn assemble(at: SystemTime, number: u64, seed: Seed) -> Self {
        // A clock before 1970 counts as 1970; after the year 10889 the field wraps.
        let millis = at.duration_since(UNIX_EPOCH).map_or(0, |since| {
            since
                .as_secs()
                .wrapping_mul(1_000)
                .wrapping_add(u64::from(since.subsec_millis()))
        });
        let millis = u128::from(millis & ((1 << 48) - 1));
        let mixed = u128::from(mix(seed.start.wrapping_add(number)));
        let constant = u128::from(seed.constant & 0x3ff);
        Self(
            millis << 80
                | 7 << 76
                | constant << 66
                | (mixed >> 62) << 64
                | 0b10 << 62
                | mixed & ((1 << 62) - 1),
        )
    }

    /// The 128 bits, the first digit of the text being the most significant.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). A
/// bijection, so different numbers stay different; and neighbours look unrelated, so that an id does not tell how many
/// errors there were before it.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Thirty-two lower-case hexadecimal digits and four hyphens, as a UUID is written.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            id >> 96,
            id >> 80 & 0xffff,
            id >> 64 & 0xffff,
            id >> 48 & 0xffff,
            id & 0xffff_ffff_ffff,
        )
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn threads_never_share_an_id_though_the_clock_stands_still() {
        let ids: Vec<Id> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..3 * LEASE)
                            .map(|_| Id::new(UNIX_EPOCH))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap())
                .collect()
        });
        let distinct: HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }

    #[test]
    fn a_clock_that_steps_back_repeats_no_id() {
        let later = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let clock = [later, later - Duration::from_secs(3_600), later, later];
        let ids: HashSet<_> = clock.into_iter().map(Id::new).collect();
        assert_eq!(ids.len(), clock.len());
    }

    #[test]
    fn a_clock_before_1970_counts_as_1970() {
        let id = Id::new(UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(id.as_u128() >> 80, 0);
    }

    #[test]
    fn an_id_reads_as_a_version_7_uuid() {
        let at = UNIX_EPOCH + Duration::from_millis(0x0192_3456_789a);
        let seed = Seed {
            start: 0,
            constant: u64::MAX,
        };
        // The first output of the reference SplitMix64 seeded with 0 is mix(0x9e3779b97f4a7c15) = 0xe220a8397b1dcdaf.
        let id = Id::assemble(at, 0x9e37_79b9_7f4a_7c15, seed);
        assert_eq!(id.to_string(), "01923456-789a-7fff-a220-a8397b1dcdaf");
    }

    #[test]
    fn ids_sort_by_the_time_of_their_reports() {
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert!(Id::new(at) < Id::new(at + Duration::from_millis(1)));
    }
}
