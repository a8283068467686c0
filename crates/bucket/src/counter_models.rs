//! Every interleaving of takes, refunds and live changes, judged by what a bucket behind a mutex could have done.

use evenkeel_sync::{Arc, model, thread};

use crate::Rate;
use crate::counter::Counter;
use crate::plan::Ask;
use crate::scale::Scale;
use crate::several::take_all;
use std::time::Duration;

fn counter(nanos: u64, depth: u32) -> Counter {
    Counter::new(scale(nanos, depth), 0)
}

fn scale(nanos: u64, depth: u32) -> Scale {
    Scale::new(Rate::every(Duration::from_nanos(nanos)), depth)
}

fn take(counter: &Counter, n: u64) -> bool {
    counter.take(&Ask::now(n, 0)).is_ok()
}

fn both(set: [&Counter; 2], strict: [u32; 2]) -> bool {
    all(set, strict, 1)
}

fn all(set: [&Counter; 2], strict: [u32; 2], n: u64) -> bool {
    take_all(&set, &strict, &Ask::now(n, 0)).is_ok()
}

/// What comes of two takes from both buckets, in this order, behind a mutex: who is granted, and what is left.
fn in_turn(depths: [u32; 2], asks: [u64; 2], order: [usize; 2]) -> ([bool; 2], [u64; 2]) {
    let (mut granted, mut left) = ([false; 2], depths.map(u64::from));
    for who in order {
        granted[who] = left.iter().all(|&left| left >= asks[who]);
        if granted[who] {
            left = left.map(|left| left - asks[who]);
        }
    }
    (granted, left)
}

fn tokens(counter: &Counter) -> u64 {
    let (spent, plan) = counter.look(0);
    plan.level(spent, 0) / plan.scale.cost
}

#[test]
fn take_take() {
    model("take_take", None, || {
        let bucket = Arc::new(counter(1, 1));
        let other = Arc::clone(&bucket);
        let other = thread::spawn(move || take(&other, 1));
        let mine = take(&bucket, 1);
        let other = other.join().unwrap();
        assert!(mine != other, "one token, granted to {mine} and {other}");
    });
}

#[test]
fn take_refund() {
    model("take_refund", None, || {
        let bucket = Arc::new(counter(1, 2));
        assert!(take(&bucket, 1));
        let other = Arc::clone(&bucket);
        let other = thread::spawn(move || [take(&other, 1), take(&other, 1)]);
        bucket.refund(1);
        let [first, second] = other.join().unwrap();
        assert!(first, "it was there before the refund");
        assert_eq!(
            tokens(&bucket),
            u64::from(!second),
            "a token was lost or made"
        );
    });
}

#[test]
fn replan_take() {
    model("replan_take", None, || {
        let bucket = Arc::new(counter(1, 4));
        let other = Arc::clone(&bucket);
        let other = thread::spawn(move || take(&other, 2));
        bucket.replan(scale(8, 3), 0);
        assert!(other.join().unwrap(), "enough before and after");
        let left = tokens(&bucket);
        assert!(
            left == 2 || left == 1,
            "a take by a mixed plan left {left} tokens"
        );
    });
}

/// The refund and the new plan bring the word back to what the taker may have read, unless the plan avoids it.
#[test]
fn refund_replan() {
    model("refund_replan", None, || {
        let bucket = Arc::new(counter(3, 4));
        assert!(take(&bucket, 1));
        let other = Arc::clone(&bucket);
        let other = thread::spawn(move || take(&other, 1));
        bucket.refund(1);
        bucket.replan(scale(1, 3), 0);
        assert!(other.join().unwrap(), "enough all the time");
        let left = tokens(&bucket);
        assert!(
            left == 2 || left == 3,
            "a take by a plan that was gone left {left} tokens"
        );
    });
}

#[test]
fn all_all() {
    model("all_all", None, || {
        let set = Arc::new([counter(1, 1), counter(1, 1)]);
        let other = Arc::clone(&set);
        let other = thread::spawn(move || both([&other[0], &other[1]], [1, 0]));
        let mine = both([&set[0], &set[1]], [0, 1]);
        let other = other.join().unwrap();
        assert!(
            mine != other,
            "one token each, granted to {mine} and {other}"
        );
        assert_eq!([tokens(&set[0]), tokens(&set[1])], [0, 0]);
    });
}

/// They look at the buckets in opposite orders, and ask for different numbers of tokens.
#[test]
fn all_all_in_turn() {
    const ASKS: [u64; 2] = [1, 2];
    for depths in [[1, 2], [2, 2], [3, 2], [3, 3]] {
        model("all_all_in_turn", None, move || {
            let set = Arc::new(depths.map(|depth| counter(1, depth)));
            let other = Arc::clone(&set);
            let other = thread::spawn(move || all([&other[0], &other[1]], [1, 0], ASKS[1]));
            let mine = all([&set[0], &set[1]], [0, 1], ASKS[0]);
            let granted = [mine, other.join().unwrap()];
            let left = [tokens(&set[0]), tokens(&set[1])];
            let orders = [[0, 1], [1, 0]].map(|order| in_turn(depths, ASKS, order));
            assert!(
                orders.contains(&(granted, left)),
                "no order leads to {granted:?} and {left:?}"
            );
        });
    }
}

#[test]
fn all_take() {
    model("all_take", None, || {
        let set = Arc::new([counter(1, 2), counter(1, 1)]);
        let other = Arc::clone(&set);
        let other = thread::spawn(move || take(&other[1], 1));
        let mine = both([&set[0], &set[1]], [0, 1]);
        let other = other.join().unwrap();
        assert!(mine != other, "one token, granted to {mine} and {other}");
        assert_eq!(
            [tokens(&set[0]), tokens(&set[1])],
            [2 - u64::from(mine), 0],
            "a refusal took from the other bucket"
        );
    });
}

/// The second bucket has enough for two of three, so which two depends on the order alone.
#[test]
fn all_all_take() {
    model("all_all_take", None, || {
        let set = Arc::new([counter(1, 1), counter(1, 2)]);
        let other = Arc::clone(&set);
        let other = thread::spawn(move || {
            let both = both([&other[0], &other[1]], [1, 0]);
            (both, take(&other[1], 1))
        });
        let mine = both([&set[0], &set[1]], [0, 1]);
        let (other, alone) = other.join().unwrap();
        assert!(mine != other, "the first bucket has one token");
        assert!(alone, "a refused one took from the second bucket");
        assert_eq!([tokens(&set[0]), tokens(&set[1])], [0, 0]);
    });
}

/// A plan of both, of whole ticks and of powers of two, would overflow.
#[test]
fn replan_scales() {
    const NOW: u64 = 1 << 30;
    model("replan_scales", None, || {
        let bucket = Arc::new(counter(1_000_000_000, 4));
        let other = Arc::clone(&bucket);
        let other = thread::spawn(move || other.take(&Ask::now(1, NOW)).is_ok());
        let rate = Rate::per(999_999_999, Duration::from_secs(1));
        bucket.replan(Scale::new(rate, 4), NOW);
        assert!(other.join().unwrap(), "enough before and after");
    });
}

#[test]
fn replan_take_up_to() {
    model("replan_take_up_to", None, || {
        let bucket = Arc::new(counter(1, 4));
        let other = Arc::clone(&bucket);
        let other = thread::spawn(move || other.take_up_to(&Ask::now(4, 0)).map(|(n, _)| n));
        bucket.replan(scale(1, 2), 0);
        let taken = other.join().unwrap();
        assert!(taken.is_ok(), "there were two all the time: {taken:?}");
    });
}
