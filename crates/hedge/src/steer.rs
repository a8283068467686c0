//! The controller behind [`Adaptive`](crate::Adaptive): one number, moved by one bit a call.

use evenkeel_sync::atomic::{AtomicI64, Ordering};

/// The logarithm of a delay, in units of the caller's choosing, steered so that a given share of calls outlives it.
///
/// # Protocol
///
/// `level` is the whole state. Every call that learns whether it outlived the delay moves it once: up by `up` if it did,
/// down by `down` if it did not. The moves are additions, so they commute and none is lost, in whatever order threads make
/// them: after `e` late calls of `n` the level has moved by `e * up - (n - e) * down`. With `up = step * (1 - share)` and
/// `down = step * share` that is `step * (e - share * n)`, so a level kept within its limits keeps `e / n` at `share`.
///
/// A level at the ceiling is moved up no further and one at the floor down no further: a stall leaves nothing to work off
/// but what the last moves overshot, at most one for each thread that moved at that instant. Skipping at the floor only
/// makes late calls rarer than asked. At the ceiling nothing is skipped by callers who ask [`level`](Self::level) first,
/// since they cannot be late against a level that is not there.
#[derive(Debug)]
pub(crate) struct Steer {
    /// Open to the models, which look at what was overshot.
    pub(crate) level: AtomicI64,
    floor: i64,
    ceiling: i64,
    up: i64,
    down: i64,
}

impl Steer {
    pub(crate) fn new(start: i64, floor: i64, ceiling: i64, up: i64, down: i64) -> Self {
        debug_assert!(floor <= start && start < ceiling && up > 0 && down > 0);
        Self {
            level: AtomicI64::new(start),
            floor,
            ceiling,
            up,
            down,
        }
    }

    /// The level as it stands, or `None` at the ceiling.
    #[inline]
    pub(crate) fn level(&self) -> Option<i64> {
        // ORDERING: Relaxed: a number that publishes nothing but itself.
        let level = self.level.load(Ordering::Relaxed);
        (level < self.ceiling).then_some(level.max(self.floor))
    }

    /// A call outlived the delay.
    #[inline]
    pub(crate) fn late(&self) {
        // ORDERING: Relaxed, both: the addition is atomic whatever the order (`steer_models::moves_add_up`), and the load
        // may be stale, which costs one overshoot a thread (`steer_models::ceiling_holds`).
        if self.level.load(Ordering::Relaxed) < self.ceiling {
            self.level.fetch_add(self.up, Ordering::Relaxed);
        }
    }

    /// A call was answered within the delay.
    #[inline]
    pub(crate) fn in_time(&self) {
        // ORDERING: Relaxed, both: as in `late` (`steer_models::moves_add_up`, `steer_models::floor_holds`).
        if self.level.load(Ordering::Relaxed) > self.floor {
            self.level.fetch_sub(self.down, Ordering::Relaxed);
        }
    }
}
