//! Token buckets, beside governor's, ratelimit's and leaky-bucket's.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use evenkeel::bucket::clock::{Clock as _, Clocked, Tsc};
use evenkeel::bucket::{All, Bucket, Keyed, Rate};
use foldhash::fast::RandomState as Cheap;
use governor::clock::{Clock, DefaultClock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use ratelimit::Ratelimiter;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::allocations::counted;
use crate::harness::{Bench, Unit};
use crate::threads::two;

pub(crate) fn run(bench: &mut Bench) {
    one(bench);
    one_tsc(bench);
    all2(bench);
    keyed(bench);
    heap_key(bench);
    displaced(bench);
    waiter_rate(bench);
    overtaking(bench);
}

/// Refills faster than anybody here takes, so that every take is granted.
const FAST: Rate = Rate::per(1_000_000_000, Duration::from_secs(1));

/// Once drained it stays so.
const SLOW: Rate = Rate::every(Duration::from_secs(86_400));

fn fast() -> Bucket {
    Bucket::new(FAST, u32::MAX)
}

fn drained() -> Bucket {
    let bucket = Bucket::new(SLOW, 1);
    assert!(bucket.try_acquire(1).is_ok());
    bucket
}

fn fast_quota() -> Quota {
    let second = NonZeroU32::new(1_000_000_000).expect("it is not zero");
    Quota::per_second(second).allow_burst(NonZeroU32::MAX)
}

fn slow_quota() -> Quota {
    Quota::with_period(Duration::from_secs(86_400)).expect("it is not zero")
}

/// A limiter of ratelimit's, full.
fn ratelimit(rate: u64, period: Duration, depth: u64) -> Ratelimiter {
    let limiter = Ratelimiter::builder(rate).period(period).max_tokens(depth);
    let limiter = limiter.initial_available(depth).build();
    limiter.expect("a limit that it knows")
}

/// One of leaky-bucket's, full.
fn leaky(refill: usize, interval: Duration, depth: usize) -> leaky_bucket::RateLimiter {
    let mut limiter = leaky_bucket::RateLimiter::builder();
    limiter.refill(refill).interval(interval);
    limiter.max(depth).initial(depth).build()
}

/// The default clock on all sides.
fn one(bench: &Bench) {
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    let ours = fast();
    let peer = RateLimiter::direct_with_clock(fast_quota(), MonotonicClock);
    let ratelimit_peer = ratelimit(1_000_000_000, second, u32::MAX.into());
    let leaky_peer = leaky(1_000_000_000, second, u32::MAX as usize);
    bench
        .case("granted_std")
        .op("evenkeel", || assert!(ours.try_acquire(1).is_ok()))
        .op("governor_std", || assert!(peer.check().is_ok()))
        .op("ratelimit", || assert!(ratelimit_peer.try_wait().is_ok()))
        .op("leaky_bucket", || assert!(leaky_peer.try_acquire(1)))
        .op("floor", Instant::now)
        .run();
    let ours = drained();
    let peer = RateLimiter::direct_with_clock(slow_quota(), MonotonicClock);
    assert!(peer.check().is_ok());
    let ratelimit_peer = ratelimit(1, day, 1);
    assert!(ratelimit_peer.try_wait().is_ok());
    let leaky_peer = leaky(1, day, 1);
    assert!(leaky_peer.try_acquire(1));
    bench
        .case("refused_std")
        .op("evenkeel", || assert!(ours.try_acquire(1).is_err()))
        .op("governor_std", || assert!(peer.check().is_err()))
        .op("ratelimit", || assert!(ratelimit_peer.try_wait().is_err()))
        .op("leaky_bucket", || assert!(!leaky_peer.try_acquire(1)))
        .op("floor", Instant::now)
        .run();
}

/// The processor's counter on both sides.
fn one_tsc(bench: &Bench) {
    let clock = Tsc::new();
    let ours = &Clocked::new(FAST, u32::MAX, clock.clone());
    let peer = &RateLimiter::direct(fast_quota());
    bench
        .case("granted")
        .op("evenkeel", || assert!(ours.try_acquire(1).is_ok()))
        .op("governor_quanta", || assert!(peer.check().is_ok()))
        .op("floor", || clock.now())
        .run();
    bench
        .case("granted_2t")
        .threads(2)
        .timed("evenkeel", |n| {
            two(n, || || assert!(ours.try_acquire(1).is_ok()))
        })
        .timed("governor_quanta", |n| {
            two(n, || || assert!(peer.check().is_ok()))
        })
        .run();
    let ours = Clocked::new(SLOW, 1, clock.clone());
    assert!(ours.try_acquire(1).is_ok());
    let peer = RateLimiter::direct(slow_quota());
    assert!(peer.check().is_ok());
    bench
        .case("refused")
        .op("evenkeel", || assert!(ours.try_acquire(1).is_err()))
        .op("governor_quanta", || assert!(peer.check().is_err()))
        .op("floor", || clock.now())
        .run();
}

/// Two buckets acquired as one; the floor is a take from one alone.
fn all2(bench: &Bench) {
    let (both, alone) = (All::new([fast(), fast()]), fast());
    bench
        .case("all2_granted")
        .op("evenkeel", || assert!(both.try_acquire(1).is_ok()))
        .op("floor", || assert!(alone.try_acquire(1).is_ok()))
        .run();
    // The most restrictive is asked first, so that the other one is the last, and the one that refuses.
    let open = Bucket::new(Rate::every(Duration::from_secs(2 * 86_400)), 1);
    let (both, alone) = (All::new([open, drained()]), drained());
    bench
        .case("all2_refused")
        .op("evenkeel", || assert!(both.try_acquire(1).is_err()))
        .op("floor", || assert!(alone.try_acquire(1).is_err()))
        .run();
}

const KEYS: u32 = 1_000_000;

/// Whatever is taken is granted, and leaves a key short for longer than a case takes.
const KEY_RATE: Rate = Rate::every(Duration::from_secs(1));

fn key_quota() -> Quota {
    let deep = NonZeroU32::new(KEYS).expect("it is not zero");
    Quota::per_second(NonZeroU32::MIN).allow_burst(deep)
}

/// A table of ours with all keys in it.
fn keyed_full<S: BuildHasher + Default>() -> Keyed<u32, S> {
    let table = Keyed::with_hasher(KEY_RATE, KEYS, KEYS as usize, S::default());
    assert!((0..KEYS).all(|key| table.try_acquire(&key, 1).is_ok()));
    table
}

type Peer<S, C> =
    RateLimiter<u32, DashMapStateStore<u32, S>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The same of governor's.
fn peer_full<S: BuildHasher + Clone + Default, C: Clock + Default>() -> Peer<S, C> {
    let table = RateLimiter::dashmap_with_clock_and_hasher(key_quota(), C::default(), S::default());
    assert!((0..KEYS).all(|key| table.check_key(&key).is_ok()));
    table
}

/// Keys at random; each thread has others.
fn keys() -> impl FnMut() -> u32 {
    let mut state = RandomState::new().hash_one(0) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (((state >> 32) * u64::from(KEYS)) >> 32) as u32
    }
}

/// A take from one of a million keys, none of which is full: by the default hash, which is the same on both sides, and by a
/// cheap one; the peer by its own clock, which lets the processor run ahead to the next take, and by the default one of ours.
fn keyed(bench: &Bench) {
    let ours = &keyed_full::<RandomState>();
    let ours_cheap = &keyed_full::<Cheap>();
    let peer = &peer_full::<RandomState, DefaultClock>();
    let peer_cheap = &peer_full::<Cheap, DefaultClock>();
    let peer_std = &peer_full::<RandomState, MonotonicClock>();
    let peer_cheap_std = &peer_full::<Cheap, MonotonicClock>();
    bench
        .case("keyed_1m")
        .op("evenkeel", take(ours))
        .op("evenkeel_cheap", take(ours_cheap))
        .op("governor_dashmap", check(peer))
        .op("governor_cheap", check(peer_cheap))
        .op("governor_dashmap_std", check(peer_std))
        .op("governor_cheap_std", check(peer_cheap_std))
        .run();
    bench
        .case("keyed_1m_2t")
        .threads(2)
        .timed("evenkeel", |n| two(n, || take(ours)))
        .timed("evenkeel_cheap", |n| two(n, || take(ours_cheap)))
        .timed("governor_dashmap", |n| two(n, || check(peer)))
        .timed("governor_cheap", |n| two(n, || check(peer_cheap)))
        .timed("governor_dashmap_std", |n| two(n, || check(peer_std)))
        .timed("governor_cheap_std", |n| two(n, || check(peer_cheap_std)))
        .run();
}

fn take<S: BuildHasher>(table: &Keyed<u32, S>) -> impl FnMut() {
    let mut key = keys();
    move || assert!(table.try_acquire(&key(), 1).is_ok())
}

fn check<S: BuildHasher + Clone, C: Clock>(table: &Peer<S, C>) -> impl FnMut() {
    let mut key = keys();
    move || assert!(table.check_key(&key()).is_ok())
}

/// Bytes a key that is not full, of as many as the table is made for.
fn heap_key(bench: &Bench) {
    bench
        .case("heap_key")
        .unit(Unit::Bytes)
        .rounds(1)
        .measured("evenkeel", KEYS.into(), |_| {
            counted(keyed_full::<RandomState>).2 as f64
        })
        .measured("governor_dashmap", KEYS.into(), |_| {
            counted(peer_full::<RandomState, DefaultClock>).2 as f64
        })
        .run();
}

/// The share of keys that lost their places to others, in a table that has as many as it is made for.
fn displaced(bench: &Bench) {
    bench
        .case("displaced")
        .unit(Unit::Share)
        .rounds(1)
        .measured("evenkeel", KEYS.into(), |_| {
            keyed_full::<RandomState>().overflowed() as f64
        })
        .run();
}

fn paused() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// The share of 1,000/s that one waiter gets from a bucket of depth 1, on a paused clock.
fn waiter_rate(bench: &Bench) {
    const GRANTS: u32 = 10_000;
    bench
        .case("waiter_rate")
        .unit(Unit::Share)
        .rounds(1)
        .measured("evenkeel", GRANTS.into(), |n| {
            let share = paused().block_on(async {
                let bucket = Bucket::new(Rate::per(1_000, Duration::from_secs(1)), 1);
                bucket
                    .acquire(1, None)
                    .await
                    .expect("it is granted in the end");
                let begun = tokio::time::Instant::now();
                for _ in 0..GRANTS {
                    bucket
                        .acquire(1, None)
                        .await
                        .expect("it is granted in the end");
                }
                f64::from(GRANTS) / 1_000.0 / begun.elapsed().as_secs_f64()
            });
            // Of the whole, not of each grant.
            share * n as f64
        })
        .run();
}

/// Of 100 waiters, the most places that one lost to later ones, as a share of all.
fn overtaking(bench: &Bench) {
    const WAITERS: usize = 100;
    bench
        .case("overtaking")
        .unit(Unit::Share)
        .rounds(1)
        .measured("evenkeel", 1, |_| {
            let (told, granted) = mpsc::channel();
            paused().block_on(async {
                let bucket = Bucket::new(Rate::per(1_000, Duration::from_secs(1)), 1);
                let mut waiters = JoinSet::new();
                for number in 0..WAITERS {
                    let (bucket, told) = (bucket.clone(), told.clone());
                    waiters.spawn(async move {
                        bucket
                            .acquire(1, None)
                            .await
                            .expect("it is granted in the end");
                        told.send(number).expect("it is read below");
                    });
                }
                waiters.join_all().await;
            });
            drop(told);
            let granted: Vec<usize> = granted.iter().collect();
            let lost = granted
                .iter()
                .enumerate()
                .map(|(place, number)| place.saturating_sub(*number));
            lost.max().unwrap_or_default() as f64 / WAITERS as f64
        })
        .run();
}
