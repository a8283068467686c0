//! Every interleaving of those who take from a key, hold it, move it and take its place.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use evenkeel_sync::{Arc, block_on, model, thread};

use crate::line::{Gate, Limit};
use crate::plan::Ask;
use crate::rows::Rows;
use crate::several::take_all;
use crate::table::Table;
use crate::waiter::{Step, Waiter};
use crate::{Overflow, Rate};

const EVICT: Overflow = Overflow::Evict;

/// Nothing refills while a model runs: it is always at the beginning of time.
fn table(rows: usize, depth: u32) -> Arc<Table> {
    let rate = Rate::every(Duration::from_secs(1));
    Arc::new(Table::new(Limit { rate, depth }, Rows::exactly(rows), 0, 0))
}

/// Hashes of keys that belong into these two rows.
fn keys<const N: usize>(table: &Table, home: usize, other: usize) -> [u64; N] {
    let mut fitting = (1..).filter(|&hash| table.rows.spot(hash).rows == [home, other]);
    [(); N].map(|()| fitting.next().unwrap())
}

fn take(table: &Table, hash: u64, n: u64) -> bool {
    table.take(hash, n, EVICT, || 0).is_ok()
}

fn tokens(table: &Table, hash: u64) -> u64 {
    table.level(hash, || 0).tokens
}

/// Takes a token of a key and of another bucket, or of neither.
fn take_both(table: &Table, hash: u64, id: u64, bucket: &Arc<Gate>) -> bool {
    let Ok((gate, true)) = table.pin(hash, id, EVICT, || 0) else {
        panic!("there is always something to evict");
    };
    let taken = take_all(&[Arc::clone(bucket), gate], &[0, 1], &Ask::now(1, 0)).is_ok();
    table.unpin(hash, || 0);
    taken
}

fn bucket(depth: u32) -> Arc<Gate> {
    let rate = Rate::every(Duration::from_secs(1));
    Arc::new(Gate::new(1, Limit { rate, depth }, 0))
}

/// The home is the row that is locked last, so it is given back meanwhile.
#[test]
fn keyed_take_take() {
    model("keyed_take_take", None, || {
        let table = table(2, 1);
        let [key] = keys(&table, 1, 0);
        let other = Arc::clone(&table);
        let other = thread::spawn(move || take(&other, key, 1));
        let mine = take(&table, key, 1);
        let other = other.join().unwrap();
        assert!(mine != other, "one token, granted to {mine} and {other}");
    });
}

#[test]
fn keyed_crossed() {
    model("keyed_crossed", None, || {
        let table = table(2, 1);
        let [[here], [there]] = [keys(&table, 0, 1), keys(&table, 1, 0)];
        let other = Arc::clone(&table);
        let other = thread::spawn(move || take(&other, there, 1));
        assert!(take(&table, here, 1));
        assert!(other.join().unwrap());
        assert_eq!([tokens(&table, here), tokens(&table, there)], [0, 0]);
    });
}

/// One key is moved to its home, to make room for another, while somebody looks for it there.
#[test]
fn keyed_move_take() {
    model("keyed_move_take", None, || {
        let table = table(4, 2);
        let at_its_home = keys::<4>(&table, 3, 2);
        let [moved] = keys(&table, 3, 0);
        let [new, below @ ..] = keys::<4>(&table, 0, 1);
        let beside = keys::<4>(&table, 1, 0);
        let all = (at_its_home.iter().chain([&moved]).chain(&below)).chain(&beside);
        assert!(all.into_iter().all(|&key| take(&table, key, 1)));
        assert!(table.refund(at_its_home[0], 1, || 0).is_none());
        let other = Arc::clone(&table);
        let other = thread::spawn(move || take(&other, moved, 1));
        assert!(take(&table, new, 1));
        assert!(other.join().unwrap());
        assert_eq!(table.overflowed(), 0);
        assert_eq!(
            [tokens(&table, moved), tokens(&table, new)],
            [0, 1],
            "a charge was lost"
        );
    });
}

/// One of eight keys has more tokens than the others, and so has to go when a ninth comes, unless somebody holds it.
#[test]
fn keyed_all_evict() {
    model("keyed_all_evict", None, || {
        let (table, disk) = (table(2, 3), bucket(1));
        let [key, new, below @ ..] = keys::<5>(&table, 0, 1);
        let beside = keys::<4>(&table, 1, 0);
        assert!(take(&table, key, 1));
        assert!(below.iter().chain(&beside).all(|&key| take(&table, key, 3)));
        let other = (Arc::clone(&table), Arc::clone(&disk));
        let other = thread::spawn(move || take_both(&other.0, key, 2, &other.1));
        assert!(take(&table, new, 1));
        assert!(other.join().unwrap());
        assert_eq!(disk.level(0).tokens, 0);
        // Full, less what was taken since it was last evicted; and nobody was evicted who was held.
        let found = (table.overflowed(), tokens(&table, key), tokens(&table, new));
        let (before, after, during) = ((2, 2, 3), (1, 3, 2), (1, 1, 2));
        assert!(
            [before, after, during].contains(&found),
            "evicted, left of the key and of the new one: {found:?}"
        );
    });
}

/// Handles of one key, of which the last folds its gate.
#[test]
fn keyed_hold_hold() {
    let hold = |table: &Table, hash, id| {
        let Ok((gate, true)) = table.pin(hash, id, EVICT, || 0) else {
            panic!("there is room");
        };
        assert!(gate.counter.take(&Ask::now(1, 0)).is_ok());
        table.unpin(hash, || 0);
    };
    model("keyed_hold_hold", None, move || {
        let table = table(2, 2);
        let [key] = keys(&table, 0, 1);
        let other = Arc::clone(&table);
        let other = thread::spawn(move || hold(&other, key, 1));
        hold(&table, key, 2);
        other.join().unwrap();
        assert_eq!(tokens(&table, key), 0, "a charge was lost");
    });
}

/// Some take from the place, others from the gate that it names meanwhile.
#[test]
fn keyed_all_take() {
    model("keyed_all_take", None, || {
        let (table, disk) = (table(2, 3), bucket(1));
        let [key] = keys(&table, 0, 1);
        assert!(take(&table, key, 1));
        let other = Arc::clone(&table);
        let other = thread::spawn(move || take(&other, key, 1));
        assert!(take_both(&table, key, 2, &disk));
        assert!(other.join().unwrap());
        assert_eq!(tokens(&table, key), 0, "a charge was lost");
    });
}

/// Without a timer, so that a lost wake-up is a deadlock.
#[test]
fn keyed_wait_refund() {
    model("keyed_wait_refund", None, || {
        let table = table(2, 1);
        let [key] = keys(&table, 0, 1);
        assert!(take(&table, key, 1));
        let other = Arc::clone(&table);
        let other = thread::spawn(move || {
            let Ok((gate, true)) = other.pin(key, 1, EVICT, || 0) else {
                panic!("it has a place");
            };
            let gates = [gate];
            let mut waiter = Waiter::new(&gates, &[0], 0, 1);
            block_on(poll_fn(|cx| match waiter.poll(0, None, cx.waker()) {
                Step::Granted(_) => Poll::Ready(()),
                Step::Wait(_) => Poll::Pending,
                refused => panic!("{refused:?}"),
            }));
            other.unpin(key, || 0);
        });
        if let Some(gate) = table.refund(key, 1, || 0) {
            gate.tell_refund(0);
        }
        other.join().unwrap();
        assert_eq!(tokens(&table, key), 0);
    });
}
