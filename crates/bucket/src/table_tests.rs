//! What takes a look inside: which rows a key has, and clocks that differ.

use std::cell::Cell;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, RandomState};
use std::time::Duration;

use crate::line::Limit;
use crate::rows::Rows;
use crate::table::Table;
use crate::{Overflow, Rate};

/// A token each 10 ns.
fn table(depth: u32) -> Table {
    let rate = Rate::every(Duration::from_nanos(10));
    Table::new(Limit { rate, depth }, Rows::new(0), 0, 0)
}

fn take(table: &Table, hash: u64, n: u64, now: u64) -> bool {
    table.take(hash, n, Overflow::Deny, || now).is_ok()
}

fn meets(table: &Table, hash: u64) -> bool {
    table.rows.spot(hash).rows == [0, 1]
}

/// Keys whose hash is known can be chosen to meet in eight places; where it is not they are like any others.
#[test]
fn keys_chosen_to_meet_do_not_meet_by_random_hashes() {
    type Known = BuildHasherDefault<DefaultHasher>;
    let known = |key: u64| Known::default().hash_one(key);
    let meeting = (0..).filter(|&key| meets(&table(1), known(key)));
    let chosen: Vec<u64> = meeting.take(24).collect();
    let granted = |hash: &dyn Fn(u64) -> u64| {
        let table = table(1);
        let granted = chosen.iter().filter(|&&key| take(&table, hash(key), 1, 0));
        granted.count()
    };
    assert_eq!(granted(&known), 8);
    let random = RandomState::new();
    assert_eq!(granted(&|key| random.hash_one(key)), 24);
}

/// Somebody reads the clock and comes late: its bucket has become full, and another key has got its place.
#[test]
fn a_key_that_lost_its_place_is_not_judged_by_an_earlier_clock() {
    let table = table(2);
    let mut meeting = (1..).filter(|&hash| meets(&table, hash));
    let [late, next] = [(); 2].map(|()| meeting.next().unwrap());
    // Full at 10.
    assert!(take(&table, late, 1, 0));
    assert!(meeting.take(6).all(|other| take(&table, other, 2, 5)));
    let reads = Cell::new(0);
    let clock = || match reads.replace(reads.get() + 1) {
        0 => {
            assert!(take(&table, next, 2, 12));
            8
        }
        _ => 12,
    };
    assert!(table.take(late, 2, Overflow::Deny, clock).is_ok());
    let level = |now| table.level(late, || now).tokens;
    assert_eq!(
        [level(21), level(22)],
        [0, 1],
        "the rest of a token was minted"
    );
}
