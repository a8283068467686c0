use evenkeel_sync::atomic::Ordering;
use evenkeel_sync::{Arc, model, thread};

use crate::steer::Steer;

const UP: i64 = 95;
const DOWN: i64 = 5;

/// Threads move one level, each by its own list of bits (`true` is late), and the level after.
fn moved(start: i64, limits: (i64, i64), threads: &[&'static [bool]]) -> i64 {
    let steer = Arc::new(Steer::new(start, limits.0, limits.1, UP, DOWN));
    let apply = |steer: &Steer, bits: &[bool]| {
        for &late in bits {
            if late { steer.late() } else { steer.in_time() }
        }
    };
    let (mine, others) = threads.split_first().expect("a thread");
    let handles: Vec<_> = others
        .iter()
        .map(|&bits| {
            let steer = Arc::clone(&steer);
            thread::spawn(move || apply(&steer, bits))
        })
        .collect();
    apply(&steer, mine);
    for handle in handles {
        handle.join().unwrap();
    }
    // ORDERING: Relaxed: the threads were joined.
    steer.level.load(Ordering::Relaxed)
}

#[test]
fn moves_add_up() {
    model("moves_add_up", None, || {
        let level = moved(1_000, (0, 10_000), &[&[true, false], &[false, true]]);
        assert_eq!(level, 1_000 + 2 * UP - 2 * DOWN, "a move was lost");
    });
}

#[test]
fn moves_of_three_add_up() {
    model("moves_of_three_add_up", Some(3), || {
        let level = moved(1_000, (0, 10_000), &[&[true], &[false], &[true]]);
        assert_eq!(level, 1_000 + 2 * UP - DOWN, "a move was lost");
    });
}

/// However many late calls, the ceiling is overshot by one move a thread: the way back is bounded.
#[test]
fn ceiling_holds() {
    model("ceiling_holds", None, || {
        let level = moved(999, (0, 1_000), &[&[true, true], &[true, true]]);
        assert!(level >= 999 + UP, "the level did not rise");
        assert!(level <= 999 + 2 * UP, "wound up beyond the ceiling");
    });
}

#[test]
fn floor_holds() {
    model("floor_holds", None, || {
        let level = moved(1, (0, 1_000), &[&[false, false], &[false, false]]);
        assert!(level <= 1 - DOWN, "the level did not fall");
        assert!(level >= 1 - 2 * DOWN, "wound down below the floor");
    });
}

/// Who asks before being late is late once a thread at most when the ceiling is near, so hedges stay bounded.
#[test]
fn asking_first_bounds_the_late() {
    model("asking_first_bounds_the_late", None, || {
        let steer = Arc::new(Steer::new(999, 0, 1_000, UP, DOWN));
        let decide = |steer: &Steer| {
            let mut hedges = 0;
            for _ in 0..2 {
                if steer.level().is_some() {
                    steer.late();
                    hedges += 1;
                }
            }
            hedges
        };
        let theirs = {
            let steer = Arc::clone(&steer);
            thread::spawn(move || decide(&steer))
        };
        let mine = decide(&steer);
        let hedges = mine + theirs.join().unwrap();
        assert!(
            (1..=2).contains(&hedges),
            "{hedges} late calls at the ceiling"
        );
    });
}
