//! What a user can see, on a paused clock.
#![cfg(not(loom))]

use std::future::{Future, pending, poll_fn, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use evenkeel_cancel::{Cause, NoRuntime, Scope, Source, Token, Verdict, run};
use tokio::time::{Instant, advance, sleep};

const MS: Duration = Duration::from_millis(1);

#[test]
fn the_first_cause_stays() {
    let source = Source::new();
    let token = source.token();
    assert_eq!((token.is_cancelled(), token.cause()), (false, None));
    assert!(source.cancel(Cause::Superseded));
    assert!(!source.cancel(Cause::User));
    assert_eq!(token.cause(), Some(Cause::Superseded));
    assert!(!token.is_inherited());
}

#[test]
fn a_custom_cause_is_the_same_error_everywhere() {
    let source = Source::new();
    let deep = source.child().child().child().child();
    let cause = Cause::custom("out of cheese");
    source.cancel(cause.clone());
    assert_eq!(deep.cause(), Some(cause));
    assert_eq!(deep.cause().unwrap().to_string(), "out of cheese");
}

#[test]
fn cancellation_goes_down_and_not_up() {
    let root = Source::new();
    let middle = root.child();
    let leaf = middle.child();
    let sibling = root.child();
    middle.cancel(Cause::User);
    assert_eq!(leaf.cause(), Some(Cause::User));
    assert!(leaf.is_inherited() && !middle.is_inherited());
    assert!(!root.is_cancelled() && !sibling.is_cancelled());
    root.cancel(Cause::Shutdown);
    assert_eq!(
        leaf.cause(),
        Some(Cause::User),
        "the cause that was there stays"
    );
    assert_eq!(sibling.cause(), Some(Cause::Shutdown));
}

#[test]
fn what_was_read_is_not_overtaken() {
    let root = Source::new();
    let child = root.child();
    root.cancel(Cause::Shutdown);
    assert!(child.is_cancelled());
    assert!(!child.cancel(Cause::User), "it was cancelled already");
    assert_eq!(child.cause(), Some(Cause::Shutdown));
}

#[test]
fn a_dropped_middle_still_leads_down() {
    let root = Source::new();
    let grandchild = root.child().child().child().child();
    root.cancel(Cause::User);
    assert!(grandchild.is_cancelled());
}

#[test]
fn any_is_cancelled_by_each() {
    assert!(!Token::any(Vec::<Token>::new()).is_cancelled());
    for fires in 0..3 {
        let sources = [Source::new(), Source::new(), Source::new()];
        let any = Token::any(sources.iter().map(Source::token));
        let below = any.child();
        assert!(!any.is_cancelled());
        sources[fires].cancel(Cause::Failed);
        assert_eq!(any.cause(), Some(Cause::Failed));
        assert!(any.is_inherited());
        assert!(below.is_cancelled());
        assert!(
            Token::any([&*sources[fires], &Token::never()]).is_cancelled(),
            "at birth"
        );
    }
}

#[test]
fn detached_outlives_its_origin() {
    let source = Source::new();
    let detached = source.detach();
    source.cancel(Cause::User);
    assert!(!detached.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn an_always_ready_future_is_cut() {
    let source = Source::new();
    let mut polls = 0;
    let busy = poll_fn(|cx| {
        polls += 1;
        if polls == 100 {
            source.cancel(Cause::User);
        }
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    assert_eq!(source.run(busy).await, Err(Cause::User));
    assert_eq!(polls, 100);
    assert_eq!(
        source.run(ready(1)).await,
        Err(Cause::User),
        "not even polled"
    );
    assert_eq!(run(&Token::never(), ready(1)).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_woken_with_the_cause() {
    let source = Source::new();
    let child = source.child();
    let owned = tokio::spawn(child.cancelled_owned());
    sleep(MS).await;
    source.cancel(Cause::Failed);
    assert_eq!(owned.await.unwrap(), Cause::Failed);
    assert_eq!(
        child.cancelled().await,
        Cause::Failed,
        "late ones need no waking"
    );
}

#[test]
fn a_thread_can_wait() {
    let source = Source::new();
    let token = source.token();
    let thread = std::thread::spawn(move || token.blocking_wait());
    source.cancel(Cause::Shutdown);
    assert_eq!(thread.join().unwrap(), Cause::Shutdown);
    assert_eq!(Token::never().blocking_wait_timeout(Duration::ZERO), None);
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics (expected in this test)");
    }
}

#[test]
fn a_panic_stops_no_other() {
    let source = Source::new();
    let called = Arc::new(AtomicUsize::new(0));
    let panics = Waker::from(Arc::new(Panics));
    let mut waits: Vec<_> = (0..100).map(|_| Box::pin(source.cancelled())).collect();
    let mut callbacks = Vec::new();
    for wait in &mut waits {
        assert!(
            wait.as_mut()
                .poll(&mut Context::from_waker(&panics))
                .is_pending()
        );
        let counted = Arc::clone(&called);
        callbacks.push(source.on_cancel(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            panic!("a callback that panics (expected in this test)");
        }));
    }
    let child = source.child();
    assert!(source.cancel(Cause::User));
    assert_eq!(called.load(Ordering::Relaxed), 100);
    assert!(child.is_cancelled());
}

#[test]
fn callbacks_run_in_order_once_and_may_do_anything() {
    let source = Source::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    for i in 0..3 {
        let (order, source_again) = (Arc::clone(&order), source.clone());
        source
            .on_cancel(move |cause| {
                // Touches the very node that is being cancelled.
                assert!(!source_again.cancel(Cause::User));
                drop(source_again.child());
                order.lock().unwrap().push((i, cause));
            })
            .keep();
    }
    let stopped = source.on_cancel(|_| panic!("was stopped"));
    assert!(stopped.stop());
    drop(source.on_cancel(|_| panic!("was dropped")));
    source.cancel(Cause::Superseded);
    let expected: Vec<_> = (0..3).map(|i| (i, Cause::Superseded)).collect();
    assert_eq!(*order.lock().unwrap(), expected);
    let late = Arc::clone(&order);
    let spent = source.on_cancel(move |_| late.lock().unwrap().clear());
    assert!(order.lock().unwrap().is_empty(), "called at once");
    assert!(!spent.stop());
}

#[test]
fn a_kept_callback_dies_with_its_token() {
    let alive = Arc::new(());
    let source = Source::new();
    let inside = Arc::clone(&alive);
    source.on_cancel(move |_| drop(inside)).keep();
    drop(source);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn a_dropped_wait_leaves_nothing() {
    let source = Source::new();
    let waker = Arc::new(Panics);
    let mut wait = Box::pin(source.cancelled());
    let registered = Waker::from(Arc::clone(&waker));
    assert!(
        wait.as_mut()
            .poll(&mut Context::from_waker(&registered))
            .is_pending()
    );
    drop((wait, registered));
    assert_eq!(Arc::strong_count(&waker), 1);
    source.cancel(Cause::User);
}

#[test]
fn a_forgotten_wait_is_left_alone() {
    let source = Source::new();
    let waker = Arc::new(Panics);
    let registered = Waker::from(Arc::clone(&waker));
    let mut cx = Context::from_waker(&registered);
    for _ in 0..3 {
        let mut wait = Box::pin(source.cancelled());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        std::mem::forget(wait);
        let mut run = Box::pin(source.run(pending::<()>()));
        assert!(run.as_mut().poll(&mut cx).is_pending());
        std::mem::forget(run);
    }
    drop((source, registered));
    assert_eq!(Arc::strong_count(&waker), 1);
}

#[test]
fn a_guard_cancels_unless_disarmed() {
    let source = Source::new();
    drop(source.drop_guard(Cause::User).disarm());
    assert!(!source.is_cancelled());
    drop(source.drop_guard(Cause::Failed));
    assert_eq!(source.cause(), Some(Cause::Failed));
}

#[test]
fn a_deadline_needs_a_runtime() {
    let never = Token::never();
    let error: NoRuntime = never.child_with_timeout(MS).unwrap_err();
    assert_eq!(error.to_string(), "no tokio runtime to keep the deadline");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_neither_early_nor_late() {
    let start = Instant::now();
    for micros in [1, 999, 1_000, 1_001, 12_345, 3_600_000_000] {
        let asked = Duration::from_micros(micros);
        let begin = Instant::now();
        let token = Token::never().child_with_timeout(asked).unwrap();
        assert_eq!(token.cancelled().await, Cause::Timeout);
        let late = begin.elapsed().checked_sub(asked).expect("not early");
        assert!(late <= 2 * MS, "{late:?} late");
        assert!(!token.is_inherited());
    }
    assert!(start.elapsed() > Duration::from_secs(3600));
}

#[tokio::test(start_paused = true)]
async fn the_earlier_deadline_holds() {
    let parent = Token::never().child_with_timeout(100 * MS).unwrap();
    let later = parent.child_with_timeout(200 * MS).unwrap();
    let earlier = parent.child_with_timeout(50 * MS).unwrap();
    assert_eq!(later.deadline(), parent.deadline());
    assert!(earlier.deadline() < parent.deadline());
    advance(60 * MS).await;
    sleep(MS).await;
    assert!(earlier.is_cancelled() && !later.is_cancelled());
    sleep(50 * MS).await;
    assert!(later.is_cancelled() && later.is_inherited());
    let kept = parent.detach_with_deadline().unwrap();
    assert_eq!(kept.deadline(), parent.deadline());
    assert_eq!(kept.cause(), Some(Cause::Timeout), "that deadline is over");
}

#[tokio::test(start_paused = true)]
async fn past_and_overflowing_deadlines() {
    let never = Token::never();
    let past = never.child_with_deadline(Instant::now() - MS).unwrap();
    assert_eq!(past.cause(), Some(Cause::Timeout), "born cancelled");
    assert!(
        never
            .child_with_timeout(Duration::ZERO)
            .unwrap()
            .is_cancelled()
    );
    let endless = never.child_with_timeout(Duration::MAX).unwrap();
    assert_eq!(endless.deadline(), None);
}

#[tokio::test(start_paused = true)]
async fn many_deadlines_at_once_leave_others_their_turn() {
    let never = Token::never();
    let at = Instant::now() + MS;
    let due: Vec<_> = (0..50_000)
        .map(|_| never.child_with_deadline(at).unwrap())
        .collect();
    let other = tokio::spawn(async move {
        sleep(MS).await;
        let mut counts = Vec::new();
        while counts.last() != Some(&due.len()) {
            counts.push(due.iter().filter(|token| token.is_cancelled()).count());
            tokio::task::yield_now().await;
        }
        counts
    });
    let counts = other.await.unwrap();
    assert!(counts.len() > 5, "{counts:?}");
}

#[test]
fn check_does_not_wait_for_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let token = Token::never().child_with_timeout(10 * MS).unwrap();
        let below = token.child();
        advance(20 * MS).await;
        // No await since the time has passed: the driver had no turn.
        let loops = [token.check(), below.check()];
        assert_eq!(loops, [Err(Cause::Timeout), Err(Cause::Timeout)]);
        assert!(Token::never().check().is_ok());
    });
}

#[test]
fn deadlines_end_with_their_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let token =
        runtime.block_on(async { Token::never().child_with_timeout(Duration::from_secs(3600)) });
    let token = token.unwrap();
    assert!(!token.is_cancelled());
    drop(runtime);
    assert_eq!(token.cause(), Some(Cause::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn a_claim_has_one_verdict() {
    let source = Source::new();
    let (delivered, refused) = (source.claim(), source.claim());
    let permit = delivered.reserve().unwrap();
    assert!(delivered.commit().is_err(), "another has the permit");
    assert_eq!(permit.pending(), None);
    source.cancel(Cause::User);
    assert_eq!(permit.pending(), Some(Cause::User));
    assert_eq!(delivered.try_verdict(), None, "the permit decides");
    permit.commit();
    assert_eq!(delivered.verdict().await, Verdict::Delivered);
    assert_eq!(refused.verdict().await, Verdict::Cancelled(Cause::User));
    assert!(refused.commit().is_err() && refused.reserve().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_returned_permit_yields_to_the_cancellation() {
    let source = Source::new();
    let claim = source.claim();
    drop(claim.reserve().unwrap());
    let permit = claim.reserve().expect("it was given back");
    source.cancel(Cause::custom("enough"));
    drop(permit);
    assert!(matches!(
        claim.verdict().await,
        Verdict::Cancelled(Cause::Custom(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_scope_names_what_became_of_its_tasks() {
    let scope = Scope::new(&Token::never()).unwrap();
    let token = scope.token();
    scope.spawn("before", async {}).unwrap();
    scope
        .spawn("panics", async { panic!("expected in this test") })
        .unwrap();
    sleep(MS).await;
    scope
        .spawn("polite", async move {
            token.cancelled().await;
            sleep(MS).await;
        })
        .unwrap();
    scope.spawn("deaf", pending()).unwrap();
    let shutdown = scope.shutdown(10 * MS).await;
    assert_eq!(shutdown.finished, ["polite"]);
    assert_eq!(shutdown.aborted, ["deaf"]);
    assert_eq!(shutdown.panicked, ["panics"]);
    assert!(shutdown.running.is_empty() && !shutdown.is_clean());
    assert!(scope.spawn("late", async {}).is_err());
    assert_eq!(
        shutdown.to_string(),
        "1 finished, 1 aborted (deaf), 1 panicked (panics)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_is_bounded_while_tasks_spawn_tasks() {
    let scope = Arc::new(Scope::new(&Token::never()).unwrap());
    let spawner = Arc::clone(&scope);
    tokio::spawn(async move {
        let mut i = 0;
        while spawner.spawn(format!("task {i}"), pending()).is_ok() {
            i += 1;
            sleep(MS).await;
        }
    });
    sleep(20 * MS).await;
    let begin = Instant::now();
    let shutdown = scope.shutdown(5 * MS).await;
    assert!(begin.elapsed() <= 5 * MS + Scope::ABORT_BOUND);
    assert!(shutdown.aborted.len() >= 20 && shutdown.running.is_empty());
}

#[tokio::test(start_paused = true)]
async fn dropping_a_scope_ends_its_tasks() {
    let scope = Scope::new(&Token::never()).unwrap();
    let alive = Arc::new(());
    let inside = Arc::clone(&alive);
    scope
        .spawn("task", async move {
            pending::<()>().await;
            drop(inside);
        })
        .unwrap();
    let token = scope.token();
    sleep(MS).await;
    drop(scope);
    sleep(MS).await;
    assert_eq!(token.cause(), Some(Cause::Shutdown));
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn a_million_deep_on_a_small_stack() {
    let work = || {
        let root = Source::new();
        let mut deepest = root.child();
        for _ in 0..1_000_000 {
            deepest = deepest.child();
        }
        let mut wait = pin!(deepest.cancelled());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        root.cancel(Cause::User);
        assert!(wait.as_mut().poll(&mut cx).is_ready());
    };
    let thread = std::thread::Builder::new()
        .stack_size(64 * 1024)
        .spawn(work);
    thread.unwrap().join().unwrap();
}
