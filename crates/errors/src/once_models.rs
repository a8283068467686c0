//! Boundaries that come to the same report at the same time. Nothing is published by a claim, so the answers are all there
//! is to judge.

use evenkeel_sync::{Arc, model, thread};

use crate::once::Once;

fn race(claimants: usize) {
    let once = Arc::new(Once::new());
    let others: Vec<_> = (1..claimants)
        .map(|_| {
            let once = Arc::clone(&once);
            thread::spawn(move || once.claim())
        })
        .collect();
    let mut claims = vec![once.claim()];
    claims.extend(others.into_iter().map(|other| other.join().unwrap()));
    let winners = claims.iter().filter(|claimed| **claimed).count();
    assert_eq!(winners, 1, "one claims it, not {winners}");
}

#[test]
fn two_claims() {
    model("two_claims", None, || race(2));
}

#[test]
fn three_claims() {
    model("three_claims", Some(3), || race(3));
}
