//! Callbacks, and what they own, may come back into the crate, as deep as they like, and may panic with what panics again.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_cancel::{Cause, Scope, Source, Token};

const DEEP: usize = 100_000;

fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(64 * 1024);
    thread.spawn(work).unwrap().join().unwrap();
}

#[test]
fn callbacks_that_cancel_the_next_source_need_no_stack() {
    on_a_small_stack(|| {
        let sources: Vec<_> = (0..DEEP).map(|_| Source::new()).collect();
        for pair in sources.windows(2) {
            let next = pair[1].clone();
            pair[0]
                .on_cancel(move |cause| {
                    assert!(next.cancel(cause));
                })
                .keep();
        }
        sources[0].cancel(Cause::Superseded);
        let last = sources.last().unwrap();
        assert_eq!(last.cause(), Some(Cause::Superseded));
    });
}

#[test]
fn callbacks_that_own_the_next_source_need_no_stack() {
    on_a_small_stack(|| {
        let alive = Arc::new(());
        let inside = Arc::clone(&alive);
        let mut head = Source::new();
        head.on_cancel(move |_| drop(inside)).keep();
        for _ in 0..DEEP {
            let next = std::mem::take(&mut head);
            head.on_cancel(move |_| drop(next)).keep();
        }
        drop(head);
        assert_eq!(Arc::strong_count(&alive), 1, "all of them are gone");
    });
}

#[test]
fn callbacks_that_own_the_next_registration_need_no_stack() {
    on_a_small_stack(|| {
        let source = Source::new();
        let mut registration = source.on_cancel(drop);
        for _ in 0..DEEP {
            let next = registration;
            registration = source.on_cancel(move |_| drop(next));
        }
        drop(registration);
        assert!(
            source.cancel(Cause::User),
            "nothing is left that could panic"
        );
    });
}

#[test]
fn guards_in_callbacks_need_no_stack() {
    on_a_small_stack(|| {
        let last = Source::new();
        let mut guard = last.drop_guard(Cause::Failed);
        for _ in 0..DEEP {
            let source = Source::new();
            source.on_cancel(move |_| drop(guard)).keep();
            guard = source.drop_guard(Cause::Failed);
        }
        drop(guard);
        assert_eq!(last.cause(), Some(Cause::Failed));
    });
}

#[test]
fn a_nested_cancellation_is_read_at_once_and_told_when_the_callback_has_returned() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (outer, inner) = (Source::new(), Source::new());
    let note = |number| {
        let told = Arc::clone(&told);
        move |_| told.lock().unwrap().push(number)
    };
    inner.on_cancel(note(3)).keep();
    let child = inner.child();
    let first = note(1);
    outer
        .on_cancel(move |cause| {
            inner.cancel(cause.clone());
            assert!(child.is_cancelled(), "before `cancel` returns");
            first(cause);
        })
        .keep();
    outer.on_cancel(note(2)).keep();
    outer.cancel(Cause::User);
    assert_eq!(*told.lock().unwrap(), [1, 2, 3]);
}

/// Panics when it is dropped, so many times.
struct Bomb(usize, Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
        if self.0 > 0 {
            panic_any(Self(self.0 - 1, Arc::clone(&self.1)));
        }
    }
}

#[test]
fn a_panic_whose_payload_panics_stops_no_other() {
    let source = Source::new();
    let dropped = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let dropped = Arc::clone(&dropped);
        source
            .on_cancel(move |_| panic_any(Bomb(1, dropped)))
            .keep();
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| source.cancel(Cause::User)));
    assert!(outcome.is_ok_and(|first| first), "nothing unwinds");
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
}

#[test]
fn a_destructor_that_panics_stops_no_other() {
    let source = Source::new();
    let dropped = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let bomb = Bomb(1, Arc::clone(&dropped));
        source.on_cancel(move |_| drop(bomb)).keep();
    }
    assert!(catch_unwind(AssertUnwindSafe(|| drop(source))).is_ok());
    assert_eq!(
        dropped.load(Ordering::Relaxed),
        6,
        "each, and what it panicked with"
    );
}

#[test]
fn tasks_that_go_with_their_runtime_did_not_panic() {
    let other = tokio::runtime::Builder::new_current_thread();
    let build = |mut builder: tokio::runtime::Builder| builder.enable_time().build().unwrap();
    let scope = Mutex::new(None);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let runtime = build(tokio::runtime::Builder::new_current_thread());
        let made = runtime.block_on(async {
            let scope = Scope::new(&Token::never()).unwrap();
            scope.spawn("idle", pending()).unwrap();
            tokio::task::yield_now().await;
            scope
        });
        *scope.lock().unwrap() = Some(made);
        panic!("the runtime goes while this unwinds (expected in this test)");
    }));
    assert!(outcome.is_err());
    let scope = scope.into_inner().unwrap().unwrap();
    let shutdown = build(other).block_on(scope.shutdown(Duration::ZERO));
    assert_eq!(shutdown.aborted, ["idle"]);
    assert!(shutdown.panicked.is_empty());
}
