//! One bucket a key: what a user can count on, on a paused clock.
#![cfg(not(loom))]

mod support;

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use evenkeel_bucket::{All, Bucket, Key, Keyed, Limiter, Overflow, Rate, Refusal};
use proptest::prelude::*;
use support::{SECOND, paused};
use tokio::task::yield_now;
use tokio::time::{Instant, advance};

/// A hash that everybody knows: it makes a test the same each time, and a table of one's own vulnerable.
type Known = BuildHasherDefault<DefaultHasher>;

fn known(depth: u32, capacity: usize) -> Keyed<u64, Known> {
    Keyed::with_hasher(Rate::every(SECOND), depth, capacity, Known::default())
}

fn tokens<S: BuildHasher>(table: &Keyed<u64, S>, key: u64) -> u64 {
    table.peek(&key).tokens
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_bucket_of_its_own() {
    let table = Keyed::<str>::new(Rate::per(2, SECOND), 2, 1_000).named("client");
    assert_eq!(table.try_acquire("ann", 2).unwrap().remaining(), 0);
    let denied = table.try_acquire("ann", 1).unwrap_err();
    let half = SECOND / 2;
    assert_eq!(
        (denied.by(), denied.refusal()),
        ("client", Refusal::Later(half))
    );
    assert_eq!(table.try_acquire("bob", 1).unwrap().remaining(), 1);
    let left = table.peek("ann");
    assert_eq!(
        (left.tokens, left.next, left.full),
        (0, Some(half), Some(SECOND))
    );
    table.refund("ann", 1);
    table.refund("bob", u64::MAX);
    assert_eq!((table.peek("ann").tokens, table.peek("bob").tokens), (1, 2));
    advance(half).await;
    assert_eq!(table.peek("ann").tokens, 2);
    for n in [3, u64::MAX] {
        let denied = table.clone().try_acquire("cid", n).unwrap_err();
        assert_eq!(denied.refusal(), Refusal::Never);
    }
    assert_eq!(table.try_acquire("cid", 0).unwrap().remaining(), 2);
    assert_eq!((table.rate(), table.depth()), (Rate::per(2, SECOND), 2));
    assert!(table.capacity() >= 1_000);
}

#[tokio::test(start_paused = true)]
async fn without_limit_everything_is_granted_and_at_rate_zero_what_was_there() {
    let open = Keyed::<u64>::new(Rate::UNLIMITED, 0, 0);
    assert!(open.try_acquire(&1, u64::MAX).is_ok());
    assert_eq!(open.peek(&1).tokens, u64::MAX);
    let closed = Keyed::<u64>::new(Rate::ZERO, 2, 10);
    assert!(closed.try_acquire(&1, 2).is_ok());
    advance(SECOND * (1 << 30)).await;
    let denied = closed.try_acquire(&1, 1).unwrap_err();
    assert_eq!(denied.refusal(), Refusal::Never);
}

/// They ask one after the other; only those of the last two seconds are short of a token.
#[tokio::test(start_paused = true)]
async fn a_key_that_is_full_again_gives_its_place_away_and_loses_nothing() {
    let table = known(2, 96).when_full(Overflow::Deny);
    for key in 0..100_000 {
        assert!(table.try_acquire(&key, 2).is_ok());
        advance(SECOND / 48).await;
        assert_eq!(table.try_acquire(&key, 2).unwrap_err().by(), "keyed");
    }
    assert_eq!(table.overflowed(), 0);
}

#[tokio::test(start_paused = true)]
async fn of_as_many_keys_as_it_is_made_for_none_is_displaced() {
    for (seed, capacity) in [(1, 96), (2, 1_000), (3, 1_000), (4, 30_000), (5, 100_000)] {
        let table = known(8, capacity);
        let keys = table.capacity() as u64;
        let key = |number| number + (seed << 32);
        assert!((0..keys).all(|number| table.try_acquire(&key(number), 1).is_ok()));
        assert_eq!(table.overflowed(), 0, "{capacity}");
        assert!((0..keys).all(|number| tokens(&table, key(number)) == 7));
        // Twice over: one comes for each that is full again.
        for number in 0..2 * keys {
            table.refund(&key(number), 1);
            assert!(table.try_acquire(&key(keys + number), 1).is_ok());
        }
        assert_eq!(table.overflowed(), 0, "{capacity}");
        assert!((2 * keys..3 * keys).all(|number| tokens(&table, key(number)) == 7));
    }
}

/// Takes a token of each of so many keys, and says how often that was refused.
fn flood<S: BuildHasher>(table: &Keyed<u64, S>, keys: impl Iterator<Item = u64>) -> usize {
    keys.filter(|key| table.try_acquire(key, 1).is_err())
        .count()
}

#[tokio::test(start_paused = true)]
async fn a_full_table_may_refuse() {
    let table = known(2, 96).when_full(Overflow::Deny);
    let refused = flood(&table, 0..1_000);
    assert_eq!(refused as u64, table.overflowed());
    assert!((1_000 - 128..1_000 - 96).contains(&refused), "{refused}");
    let denied = (0..1_000).find_map(|key| {
        table
            .try_acquire(&key, 2)
            .err()
            .filter(|_| tokens(&table, key) == 2)
    });
    let denied = denied.expect("most have no place");
    assert_eq!(
        denied.refusal(),
        Refusal::Later(SECOND),
        "till one is full again"
    );
    assert!(table.key(&999).is_err());
    advance(SECOND).await;
    assert_eq!(flood(&table, 1_000..1_096), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_table_may_evict_the_fullest() {
    let table = known(3, 96);
    let greedy = 1 << 40;
    assert!(table.try_acquire(&greedy, 3).is_ok());
    assert_eq!(flood(&table, 0..10_000), 0);
    assert!((10_000 - 128..10_000 - 96).contains(&table.overflowed()));
    assert!(table.try_acquire(&greedy, 1).is_err(), "it is the emptiest");
    let short = (0..10_000).filter(|&key| tokens(&table, key) == 2).count();
    assert!((96..128).contains(&short), "{short}");
}

#[tokio::test(start_paused = true)]
async fn a_full_table_may_have_new_keys_share_one_bucket() {
    let table = known(2, 96).when_full(Overflow::Share);
    let refused = flood(&table, 0..1_000) as u64;
    assert_eq!(table.overflowed(), refused + 2);
    let late: Vec<Key> = (0..1_000)
        .filter(|&key| tokens(&table, key) == 2)
        .take(2)
        .map(|key| table.key(&key).unwrap())
        .collect();
    // One bucket, which is charged once.
    let late = All::new(late);
    assert_eq!(late.names().count(), 1);
    advance(SECOND).await;
    assert!(late.try_acquire(1).is_ok());
    assert!(late.try_acquire(1).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_key_and_other_limits_are_acquired_as_one() {
    let table = known(2, 100).named("client");
    let service = Bucket::new(Rate::every(SECOND), 3).named("service");
    let key = table.key(&1).unwrap();
    let both = All::new([&key, &table.key(&1).unwrap()]).and(&service);
    let both = both.and(All::new([&key]));
    assert_eq!(both.names().collect::<Vec<_>>(), ["client", "service"]);
    assert_eq!(both.try_acquire(1).unwrap().remaining(), 1);
    assert!(table.try_acquire(&1, 1).is_ok(), "the same bucket");
    let denied = both.try_acquire(1).unwrap_err();
    assert_eq!(
        (denied.by(), denied.refusal()),
        ("client", Refusal::Later(SECOND))
    );
    assert_eq!((tokens(&table, 1), service.peek().tokens), (0, 2));
    drop(key);
    assert!(table.try_acquire(&1, 1).is_err());
    both.refund(1);
    drop(both);
    assert_eq!((tokens(&table, 1), service.peek().tokens), (1, 3));
    assert!(service.try_acquire(3).is_ok());
    let both = All::new([table.key(&1).unwrap()]).and(&service);
    assert_eq!(both.try_acquire(1).unwrap_err().by(), "service");
    drop(both);
    assert_eq!(tokens(&table, 1), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_waited_for_in_line() {
    let table = known(1, 100);
    assert!(table.try_acquire(&1, 1).is_ok());
    let start = Instant::now();
    let waiters: Vec<_> = (1..=2)
        .map(|_| {
            let key = table.key(&1).unwrap();
            tokio::spawn(async move { key.acquire(1, None).await.map(|_| Instant::now()) })
        })
        .collect();
    yield_now().await;
    let denied = table.try_acquire(&1, 1).unwrap_err();
    assert_eq!(
        denied.refusal(),
        Refusal::Later(3 * SECOND),
        "behind the line"
    );
    table.refund(&1, 1);
    for (waiter, seconds) in waiters.into_iter().zip(0..) {
        assert_eq!(waiter.await.unwrap().unwrap(), start + seconds * SECOND);
    }
    assert_eq!(tokens(&table, 1), 0);
    let by = Some(Instant::now() + SECOND / 2);
    let late = table.key(&1).unwrap().acquire(1, by).await.unwrap_err();
    assert_eq!(late.refusal(), Refusal::DeadlineTooSoon);
}

#[tokio::test(start_paused = true)]
async fn a_key_with_a_handle_keeps_its_place() {
    let table = known(1, 96);
    let held: Vec<Key> = (0..32).map(|key| table.key(&key).unwrap()).collect();
    assert!((0..32).all(|key| table.try_acquire(&key, 1).is_ok()));
    assert_eq!(flood(&table, 1_000..2_000), 0);
    assert!((0..32).all(|key| tokens(&table, key) == 0));
    // The others go, until there are none in the way of one that comes.
    let more: Vec<Key> = (2_000..4_000)
        .map_while(|key| table.key(&key).ok())
        .collect();
    assert!((32..=96).contains(&more.len()), "{}", more.len());
    let refused = (4_000..4_100).find_map(|key| table.try_acquire(&key, 1).err());
    assert_eq!(refused.unwrap().refusal(), Refusal::Unavailable);
    drop((held, more));
    assert_eq!(flood(&table, 5_000..5_100), 0);
}

/// Ticks have one origin for as long as the table lives, and another while a key is held.
#[tokio::test(start_paused = true)]
async fn nothing_changes_after_weeks() {
    let (table, day) = (known(100_000, 100), 24 * 3600 * SECOND);
    assert!(table.try_acquire(&1, 100_000).is_ok());
    let held = table.key(&1).unwrap();
    for _ in 0..20 {
        advance(SECOND).await;
        assert!(table.try_acquire(&1, 1).is_ok());
        advance(day - SECOND).await;
        assert!(table.try_acquire(&1, 24 * 3600 - 1).is_ok());
        assert!(table.try_acquire(&1, 1).is_err());
    }
    drop(held);
    assert!(table.try_acquire(&1, 1).is_err());
    advance(400 * day).await;
    assert_eq!(tokens(&table, 1), 100_000);
    assert!(table.try_acquire(&1, 100_000).is_ok());
    advance(SECOND).await;
    assert!(table.try_acquire(&1, 1).is_ok());
    assert!(table.try_acquire(&1, 1).is_err());
}

/// What is done to one of a few keys.
#[derive(Clone, Copy, Debug)]
enum Act {
    Take(u64),
    Refund(u64),
    /// Of the key and of a bucket that all have in common.
    TakeBoth(u64),
    Hold,
    LetGo,
}

/// Pauses in nanoseconds, keys, and what is done to them.
fn acts(keys: u64, most: usize, pause: u64) -> impl Strategy<Value = Vec<(u64, u64, Act)>> {
    let act = prop_oneof![
        4 => (0..4_u64).prop_map(Act::Take),
        1 => (0..4_u64).prop_map(Act::Refund),
        2 => (0..4_u64).prop_map(Act::TakeBoth),
        1 => Just(Act::Hold),
        1 => Just(Act::LetGo),
    ];
    prop::collection::vec((0..pause, 0..keys, act), 1..most)
}

/// Does the same to a table of 128 places that refuses when it is full, and to as many buckets as there are keys. A key that finds no
/// place must be one whose bucket is full.
async fn compare(acts: Vec<(u64, u64, Act)>) -> Result<u64, TestCaseError> {
    let (rate, depth) = (Rate::per(3, SECOND), 4);
    let table = Keyed::<u64>::new(rate, depth, 0).when_full(Overflow::Deny);
    let mut buckets = HashMap::new();
    let all = [(); 2].map(|()| Bucket::new(Rate::per(50, SECOND), 50));
    let mut held = Vec::new();
    for (pause, key, act) in acts {
        advance(Duration::from_nanos(pause)).await;
        let bucket = buckets
            .entry(key)
            .or_insert_with(|| Bucket::new(rate, depth));
        let before = table.overflowed();
        let answers = match act {
            Act::Take(n) => {
                let ours = table.try_acquire(&key, n);
                (table.overflowed() == before).then(|| (ours, bucket.try_acquire(n)))
            }
            Act::TakeBoth(n) => table.key(&key).ok().map(|key| {
                let ours = All::new([key]).and(&all[0]).try_acquire(n);
                (ours, All::new([&*bucket]).and(&all[1]).try_acquire(n))
            }),
            Act::Refund(n) => {
                table.refund(&key, n);
                bucket.refund(n);
                None
            }
            Act::Hold => {
                held.extend(table.key(&key));
                None
            }
            Act::LetGo => {
                held.pop();
                None
            }
        };
        if let Some((ours, theirs)) = answers {
            prop_assert_eq!(ours.as_ref().ok(), theirs.as_ref().ok());
            let refusals = [ours, theirs].map(|one| one.err().map(|denied| denied.refusal()));
            prop_assert_eq!(refusals[0], refusals[1]);
        }
        if table.overflowed() > before {
            prop_assert_eq!(bucket.peek().full, Some(Duration::ZERO));
        }
        prop_assert_eq!(table.peek(&key), bucket.peek());
    }
    Ok(table.overflowed())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn a_table_with_room_is_as_many_buckets(acts in acts(40, 300, 400_000_000)) {
        prop_assert_eq!(paused(compare(acts))?, 0);
    }

    #[test]
    fn a_full_table_that_refuses_forgets_nobody(acts in acts(1_000, 2_000, 2_000_000)) {
        paused(compare(acts))?;
    }
}
