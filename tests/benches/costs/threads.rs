//! The same operation on two threads at once.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::allocations::counting;

/// A run in which the threads did not meet, since the kernel took a core away, is repeated so often at most.
const TRIES: usize = 50;

/// Each of two threads makes `operations` with what `make` gives it. Returns the longer time, which is an operation's on
/// each thread while the other makes its own.
pub(crate) fn two<F, R>(operations: u64, make: impl Fn() -> F + Sync) -> Duration
where
    F: FnMut() -> R,
{
    let mut longest = Duration::ZERO;
    for _ in 0..TRIES {
        let (met, took) = once(operations, &make);
        if met || counting() {
            return took;
        }
        longest = longest.max(took);
    }
    // They never met. The shortest would be the cost without the other thread.
    longest
}

fn once<F, R>(operations: u64, make: &(impl Fn() -> F + Sync)) -> (bool, Duration)
where
    F: FnMut() -> R,
{
    let arrived = AtomicUsize::new(0);
    let run = || {
        let mut operation = make();
        // Before the barrier: a thread that loses its core there lets the other one run alone.
        let before = preemptions();
        arrived.fetch_add(1, Ordering::AcqRel);
        // A barrier that wakes nobody: who spins is running already.
        while arrived.load(Ordering::Acquire) < 2 {
            std::hint::spin_loop();
        }
        let begun = Instant::now();
        for _ in 0..operations {
            black_box(operation());
        }
        let ended = Instant::now();
        (preemptions() == before, begun, ended)
    };
    thread::scope(|scope| {
        let other = scope.spawn(run);
        let here = run();
        let there = other.join().expect("an operation does not panic");
        let took = (here.2 - here.1).max(there.2 - there.1);
        let apart = here.1.max(there.1) - here.1.min(there.1);
        (here.0 && there.0 && apart < took / 20, took)
    })
}

/// How often the kernel took this thread's core away. A wait of its own is not counted: that is what a lock costs.
#[cfg(target_os = "linux")]
pub(crate) fn preemptions() -> i64 {
    let mut usage = std::mem::MaybeUninit::uninit();
    // SAFETY: the pointer is valid for writes of a `rusage`.
    let status = unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
    assert_eq!(status, 0, "the arguments are valid");
    // SAFETY: the call succeeded, so it is filled in.
    unsafe { usage.assume_init() }.ru_nivcsw
}

/// Elsewhere nobody tells, and the disturbed runs stay in.
#[cfg(not(target_os = "linux"))]
pub(crate) fn preemptions() -> i64 {
    0
}
