//! Tokens, beside tokio-util's.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use evenkeel::cancel::{Cause, Source, Token};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::allocations::counted;
use crate::harness::{Bench, Unit, nanoseconds};
use crate::threads::{preemptions, two};

const MILLION: u64 = 1_000_000;

pub(crate) fn run(bench: &mut Bench) {
    is_cancelled(bench);
    child(bench);
    fanout(bench);
    stall(bench);
    heap_child(bench);
    alone(bench);
}

fn is_cancelled(bench: &Bench) {
    let source = Source::new();
    let ours = source.token();
    let peer = CancellationToken::new();
    let floor = AtomicU64::new(0);
    bench
        .case("is_cancelled")
        .op("evenkeel", || black_box(&ours).is_cancelled())
        .op("tokio_util", || black_box(&peer).is_cancelled())
        .op("floor", || black_box(&floor).load(Ordering::Acquire))
        .run();
    bench
        .case("is_cancelled_2t")
        .threads(2)
        .timed("evenkeel", |n| {
            two(n, || || black_box(&ours).is_cancelled())
        })
        .timed("tokio_util", |n| {
            two(n, || || black_box(&peer).is_cancelled())
        })
        .timed("floor", |n| {
            two(n, || || black_box(&floor).load(Ordering::Acquire))
        })
        .run();
}

fn child(bench: &Bench) {
    let source = Source::new();
    let ours = source.token();
    let peer = CancellationToken::new();
    bench
        .case("child")
        .op("evenkeel", || ours.child())
        .op("tokio_util", || peer.child_token())
        .run();
    bench
        .case("child_2t")
        .threads(2)
        .timed("evenkeel", |n| two(n, || || ours.child()))
        .timed("tokio_util", |n| two(n, || || peer.child_token()))
        .run();
}

fn fanout(bench: &Bench) {
    bench
        .case("fanout_1m")
        .rounds(11)
        .timed_fixed("evenkeel", MILLION, |n| {
            let root = Source::new();
            let parent = root.token();
            let children: Vec<_> = (0..n).map(|_| parent.child()).collect();
            let took = timed(|| root.cancel(Cause::User));
            drop(children);
            took
        })
        .timed_fixed("tokio_util", MILLION, |n| {
            let root = CancellationToken::new();
            let children: Vec<_> = (0..n).map(|_| root.child_token()).collect();
            let took = timed(|| root.cancel());
            drop(children);
            took
        })
        .run();
    bench
        .case("fanout_waiters_1m")
        .rounds(11)
        .timed_fixed("evenkeel", MILLION, |n| {
            let root = Source::new();
            let parent = root.token();
            fanout_waiters(
                n,
                || Box::pin(parent.child().token().cancelled_owned()),
                || assert!(root.cancel(Cause::User)),
            )
        })
        .timed_fixed("tokio_util", MILLION, |n| {
            let root = CancellationToken::new();
            fanout_waiters(
                n,
                || Box::pin(root.child_token().cancelled_owned()),
                || root.cancel(),
            )
        })
        .run();
}

/// From the call of `cancel` to the last wake.
fn fanout_waiters<F: Future>(
    n: u64,
    wait: impl Fn() -> Pin<Box<F>>,
    cancel: impl FnOnce(),
) -> Duration {
    struct Woken(AtomicU64);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }
        fn wake_by_ref(self: &Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let woken = Arc::new(Woken(AtomicU64::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut waiters: Vec<_> = (0..n).map(|_| wait()).collect();
    for waiter in &mut waiters {
        assert!(waiter.as_mut().poll(&mut context).is_pending());
    }
    let took = timed(cancel);
    assert_eq!(
        woken.0.load(Ordering::Relaxed),
        n,
        "every waiter is woken when the call returns"
    );
    took
}

/// How long one read of the root is held up while its million children are cancelled.
fn stall(bench: &Bench) {
    bench
        .case("stall_1m")
        .rounds(11)
        .measured("evenkeel", 1, |_| {
            undisturbed(|| {
                let root = Source::new();
                let parent = root.token();
                let children: Vec<_> = (0..MILLION).map(|_| parent.child()).collect();
                let cancel = || assert!(root.cancel(Cause::User));
                let longest = longest_read(|| parent.is_cancelled(), cancel);
                drop(children);
                longest
            })
        })
        .measured("tokio_util", 1, |_| {
            undisturbed(|| {
                let root = CancellationToken::new();
                let children: Vec<_> = (0..MILLION).map(|_| root.child_token()).collect();
                let longest = longest_read(|| root.is_cancelled(), || root.cancel());
                drop(children);
                longest
            })
        })
        .run();
}

/// The first round in which no read was left out, in nanoseconds; or else, of a few, the longest read that was not.
fn undisturbed(round: impl Fn() -> (bool, Duration)) -> f64 {
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let (whole, read) = round();
        if whole {
            return nanoseconds(read);
        }
        longest = longest.max(read);
    }
    nanoseconds(longest)
}

/// The longest `read` while `cancel` runs on another thread, and whether none was left out. A read in which the kernel
/// took the core away is; one that waits for a lock is what is looked for.
fn longest_read(read: impl Fn() -> bool, cancel: impl FnOnce() + Send) -> (bool, Duration) {
    let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut longest, mut whole) = (Duration::ZERO, true);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !begun.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            cancel();
            over.store(true, Ordering::Release);
        });
        while !over.load(Ordering::Acquire) {
            let before = preemptions();
            let at = Instant::now();
            black_box(read());
            let took = at.elapsed();
            match preemptions() == before {
                true => longest = longest.max(took),
                false => whole = false,
            }
            begun.store(true, Ordering::Release);
        }
    });
    (whole, longest)
}

/// With the handle, which is what a user holds.
fn heap_child(bench: &Bench) {
    bench
        .case("heap_child")
        .unit(Unit::Bytes)
        .rounds(1)
        .measured("evenkeel", 100_000, |n| {
            let root = Source::new().token();
            heap(n, || root.child())
        })
        .measured("tokio_util", 100_000, |n| {
            let root = CancellationToken::new();
            heap(n, || root.child_token())
        })
        .run();
}

/// What tokio-util's token does not have: made and dropped.
fn alone(bench: &Bench) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let (one, other) = (Source::new(), Source::new());
    let (one, other) = (one.token(), other.token());
    let minute = Duration::from_secs(60);
    bench
        .case("deadline")
        .op("evenkeel", || {
            one.child_with_timeout(minute).expect("inside a runtime")
        })
        .run();
    bench
        .case("any2")
        .op("evenkeel", || Token::any([&one, &other]))
        .run();
    bench
        .case("on_cancel")
        .op("evenkeel", || one.on_cancel(drop))
        .run();
    let source = Source::new();
    bench.case("claim").op("evenkeel", || source.claim()).run();
}

fn timed<R>(f: impl FnOnce() -> R) -> Duration {
    let begun = Instant::now();
    black_box(f());
    begun.elapsed()
}

/// The bytes that `n` of these take, each with its handle.
fn heap<T>(n: u64, mut make: impl FnMut() -> T) -> f64 {
    let (all, _, bytes) = counted(|| (0..n).map(|_| make()).collect::<Vec<_>>());
    drop(all);
    bytes as f64
}
