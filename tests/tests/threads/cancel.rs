//! A tree of tokens under several threads: what is derived, waited for, claimed and timed while another thread cancels.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use evenkeel::cancel::{Cause, Permit, Source, Token, Verdict};
use tokio::runtime::Builder;

const ROUNDS: usize = 300;

/// Written by one thread and read by another, which something else has to order.
#[derive(Default)]
struct Slot(UnsafeCell<u64>);

// SAFETY: each test says what orders the write before the reads.
unsafe impl Sync for Slot {}

impl Slot {
    fn write(&self, value: u64) {
        // SAFETY: as at `Sync`.
        unsafe { *self.0.get() = value }
    }

    fn read(&self) -> u64 {
        // SAFETY: as at `Sync`.
        unsafe { *self.0.get() }
    }
}

#[test]
fn all_that_is_derived_while_it_is_cancelled_reads_cancelled_and_what_was_written_before() {
    for _ in 0..ROUNDS {
        let root = Source::new();
        // Written before the cancellation, read by who has seen it.
        let written = Slot::default();
        let observe = || {
            while !root.is_cancelled() {
                let middle = root.child();
                let children = [middle.child(), middle.child()];
                let any = Token::any([children[0].token(), root.token()]);
                drop(middle);
                assert!(!any.is_cancelled() || root.is_cancelled());
            }
            assert_eq!(written.read(), 7);
            assert_eq!(root.child().cause(), Some(Cause::User));
        };
        thread::scope(|scope| {
            let observers = [scope.spawn(observe), scope.spawn(observe)];
            written.write(7);
            root.cancel(Cause::User);
            // By hand: ThreadSanitizer sees a join, but not how a scope waits.
            for observer in observers {
                observer.join().expect("nobody panics");
            }
        });
    }
}

#[test]
fn every_waiter_is_woken_and_every_callback_called_or_stopped() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    for _ in 0..ROUNDS / 3 {
        let root = Source::new();
        let called = Arc::new(AtomicU64::new(0));
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let (token, called) = (root.token(), Arc::clone(&called));
                runtime.spawn(async move {
                    let child = token.child();
                    let counted = Arc::clone(&called);
                    let stopped = token.on_cancel(move |_| {
                        counted.fetch_add(1, Ordering::Relaxed);
                    });
                    let kept = token.on_cancel(move |_| {
                        called.fetch_add(1, Ordering::Relaxed);
                    });
                    kept.keep();
                    let stopped = stopped.stop();
                    assert_eq!(child.cancelled().await, Cause::Shutdown);
                    u64::from(!stopped) + 1
                })
            })
            .collect();
        root.cancel(Cause::Shutdown);
        let mut due = 0;
        for waiter in waiters {
            due += runtime.block_on(waiter).expect("nobody panics");
        }
        // `cancel` has returned, so what was registered before was called; what came later was called where it came.
        assert_eq!(called.load(Ordering::Relaxed), due);
    }
}

#[test]
fn a_claim_is_committed_or_cancelled_and_both_sides_know() {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    for round in 0..ROUNDS {
        let source = Source::new();
        let claim = source.claim();
        // Written before the commit, read by who has the verdict.
        let result = Slot::default();
        thread::scope(|scope| {
            let delivered = scope.spawn(|| {
                result.write(7);
                match round % 2 {
                    0 => claim.commit().is_ok(),
                    _ => claim.reserve().map(Permit::commit).is_ok(),
                }
            });
            source.cancel(Cause::User);
            let verdict = runtime.block_on(claim.verdict());
            if verdict == Verdict::Delivered {
                assert_eq!(result.read(), 7);
            }
            let delivered = delivered.join().expect("nobody panics");
            assert_eq!(delivered, verdict == Verdict::Delivered);
        });
    }
}

#[test]
fn deadlines_of_many_threads_pass_on_one_timer() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let root = Source::new();
    // The first one sets up what all of them share, once; ThreadSanitizer does not see how the others wait for that.
    drop(runtime.block_on(async { root.child_with_timeout(Duration::from_secs(60)) }));
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let parent = root.token();
            runtime.spawn(async move {
                for _ in 0..ROUNDS / 3 {
                    let minute = Duration::from_secs(60);
                    drop(parent.child_with_timeout(minute).expect("inside a runtime"));
                    let soon = parent
                        .child_with_timeout(Duration::from_micros(200))
                        .expect("inside a runtime");
                    assert_eq!(soon.child().cancelled().await, Cause::Timeout);
                }
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task).expect("nobody panics");
    }
}
