use evenkeel_sync::{Arc, UnsafeCell, model, thread};

use crate::Tie;

/// Work that only who holds the tie may touch: loom reports a data race if two do, or if one does not see the other's.
struct Work {
    tie: Tie,
    done: UnsafeCell<u32>,
}

impl Work {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            tie: Tie::new(),
            done: UnsafeCell::new(0),
        })
    }

    /// Claims and works; keeps the tie or gives it back.
    fn attempt(&self, keep: bool) -> bool {
        let Some(hold) = self.tie.claim() else {
            return false;
        };
        // SAFETY: the hold excludes every other attempt, which is what the model is about.
        self.done.with_mut(|done| unsafe { *done += 1 });
        if keep {
            hold.keep();
        }
        true
    }

    fn done(&self) -> u32 {
        // SAFETY: called after the other threads were joined.
        self.done.with(|done| unsafe { *done })
    }
}

// SAFETY: `done` is touched under the tie only.
unsafe impl Sync for Work {}

fn race(threads: usize, keep: bool) -> (u32, u32) {
    let work = Work::new();
    let handles: Vec<_> = (1..threads)
        .map(|_| {
            let work = Arc::clone(&work);
            thread::spawn(move || work.attempt(keep))
        })
        .collect();
    let mut wins = u32::from(work.attempt(keep));
    for handle in handles {
        wins += u32::from(handle.join().unwrap());
    }
    (wins, work.done())
}

#[test]
fn one_of_two_wins() {
    model("one_of_two_wins", None, || {
        assert_eq!(race(2, true), (1, 1), "the work was not done once");
    });
}

#[test]
fn one_of_three_wins() {
    model("one_of_three_wins", Some(3), || {
        assert_eq!(race(3, true), (1, 1), "the work was not done once");
    });
}

/// A claim given back may be taken again, by one at a time, who sees what the first one left.
#[test]
fn given_back() {
    model("given_back", None, || {
        let (wins, done) = race(2, false);
        assert!((1..=2).contains(&wins), "{wins} claims");
        assert_eq!(wins, done);
    });
}
