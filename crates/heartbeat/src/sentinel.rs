//! A thread that watches the monitor, for a task cannot report that its runtime is dead.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use evenkeel_sync::atomic::{AtomicBool, Ordering};

use crate::planes::TICKS;
use crate::{ClassError, Expect, Health, Monitor};

/// An operating system's thread that watches a monitor's own pulse, made by [`Monitor::sentinel`]. Dropping it ends the
/// thread.
#[must_use = "a sentinel ends when it is dropped"]
pub struct Sentinel {
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl Monitor {
    /// Starts a thread that calls `report` when the monitor did not run for `timeout`, though the thread did:
    /// [`Stalled`](Health::Stalled) once, and [`Live`](Health::Live) when it runs again; [`Closed`](Health::Closed), the
    /// last of all, when its task has ended.
    ///
    /// A runtime all of whose workers are blocked runs no task, and so no monitor either; what is to happen then happens
    /// here, in the thread. `report` may ask the monitor, and must not wait for the runtime. If it panics, the panic ends
    /// there. The sentinel goes by the real clock, and counts as the monitor does: a late turn of its own is held against
    /// nobody.
    ///
    /// # Errors
    ///
    /// As [`class`](Self::class), and [`ClassError::NoThread`] if the system gives no thread.
    pub fn sentinel(
        &self,
        timeout: Duration,
        mut report: impl FnMut(Health) + Send + 'static,
    ) -> Result<Sentinel, ClassError> {
        // A class of its own, without pulses, sets the pace of the monitor's pulse.
        let class = self.class(Expect::within(timeout))?;
        let period = class.state.timing.period;
        let own = Arc::clone(&self.keep.shared);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut report = move |health| {
            // The hook has told of it; the thread has more to watch.
            let _ = catch_unwind(AssertUnwindSafe(|| report(health)));
        };
        let watch = move || {
            let mut account = Account::new(own.turns());
            loop {
                let (stop, late) = wait(period, &stopped);
                if stop {
                    return;
                }
                if own.health() == Health::Closed {
                    report(Health::Closed);
                    return;
                }
                if let Some(health) = account.turn(own.turns(), late) {
                    report(health);
                }
            }
        };
        let thread = thread::Builder::new()
            .name("evenkeel-sentinel".into())
            .spawn(watch)
            .map_err(|_| ClassError::NoThread)?;
        Ok(Sentinel {
            stop,
            thread: thread.thread().clone(),
        })
    }
}

/// What the thread knows of the monitor.
struct Account {
    heard: u64,
    silent: usize,
    grace: bool,
}

impl Account {
    fn new(heard: u64) -> Self {
        Self {
            heard,
            silent: 0,
            grace: false,
        }
    }

    /// A turn of the thread, `late` if it was so itself, finds that the monitor has had `turns`. Returns what is to be
    /// told.
    fn turn(&mut self, turns: u64, late: bool) -> Option<Health> {
        let grace = std::mem::replace(&mut self.grace, late);
        if turns != self.heard {
            self.heard = turns;
            let silent = std::mem::take(&mut self.silent);
            return (silent == TICKS).then_some(Health::Live);
        }
        if late || grace || self.silent == TICKS {
            return None;
        }
        self.silent += 1;
        (self.silent == TICKS).then_some(Health::Stalled)
    }
}

/// Waits for a period; says whether to stop, and whether it was late by more than another.
fn wait(period: Duration, stop: &AtomicBool) -> (bool, bool) {
    let begun = Instant::now();
    loop {
        let passed = begun.elapsed();
        // ORDERING: Relaxed: it publishes nothing, and the unpark that follows it comes after.
        if stop.load(Ordering::Relaxed) {
            return (true, false);
        }
        if passed >= period {
            return (false, passed - period > period);
        }
        thread::park_timeout(period - passed);
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // ORDERING: Relaxed: it publishes nothing; `unpark` has its own ordering.
        self.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

impl fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinel").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_silence_that_the_thread_witnessed_counts() {
        let mut account = Account::new(7);
        let mut told = Vec::new();
        for turn in 1..=10 * TICKS {
            // Of turns 1 and 2 both count. Every third turn is late, and the one after it has grace: one in three counts.
            let health = account.turn(7, turn % 3 == 0);
            told.extend(health.map(|health| (turn, health)));
        }
        assert_eq!(told, [(3 * (TICKS - 2) + 2, Health::Stalled)], "once");
        assert_eq!(account.turn(8, true), Some(Health::Live), "late or not");
        assert_eq!(account.turn(9, false), None);
        for _ in 0..TICKS - 1 {
            assert_eq!(account.turn(9, false), None);
        }
        assert_eq!(account.turn(9, false), Some(Health::Stalled));
    }
}
