//! What a hurried newcomer does.

use std::collections::HashSet;
use std::future::{Future, pending, ready};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use evenkeel_cancel::{Cancel, Cause, Claim, Latest, Permit, Scope, Source, Token};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{advance, sleep};

const MS: Duration = Duration::from_millis(1);

/// Waits outside of any runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

#[test]
fn a_callback_that_is_too_late_may_panic() {
    let source = Source::new();
    source.cancel(Cause::User);
    let spent = source.on_cancel(|_| panic!("a callback that panics (expected in this test)"));
    assert!(!spent.stop());
}

#[tokio::test(start_paused = true)]
async fn check_finds_whose_deadline_it_is() {
    let parent = Token::never().child_with_timeout(10 * MS).unwrap();
    let other = Source::new();
    let child = Token::any([&parent, &other]).child();
    // Nobody has the time to notice: between the two there is no await.
    advance(10 * MS).await;
    let noticed = parent.is_cancelled();
    assert_eq!(child.check(), Err(Cause::Timeout));
    assert!(child.is_inherited() && !parent.is_inherited());
    assert_eq!(parent.cause(), Some(Cause::Timeout), "noticed: {noticed}");
    assert!(!other.is_cancelled());
}

#[test]
#[should_panic(expected = "timers are disabled")]
fn a_scope_needs_a_clock() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let _scope = Scope::new(&Token::never());
}

#[test]
fn a_shutdown_may_be_awaited_anywhere() {
    let (first, no_clock) = (runtime(), Builder::new_current_thread().build().unwrap());
    let scope = {
        let _inside = first.enter();
        Scope::new(&Token::never()).unwrap()
    };
    assert!(no_clock.block_on(scope.shutdown(MS)).is_clean());
    let scope = {
        let _inside = first.enter();
        Scope::new(&Token::never()).unwrap()
    };
    scope.spawn("stuck", pending()).unwrap();
    let shutdown = no_clock.block_on(scope.shutdown(MS));
    assert_eq!(
        shutdown.running,
        ["stuck"],
        "nobody drives the first runtime"
    );
    // Now the runtime is gone.
    let second = runtime();
    let scope = {
        let _inside = first.enter();
        Scope::new(&Token::never()).unwrap()
    };
    let (tell, told) = channel::<()>();
    let (begin, begun) = channel();
    scope
        .spawn_blocking("deaf", move |_| {
            begin.send(()).unwrap();
            let _ = told.recv();
        })
        .unwrap();
    begun.recv().unwrap();
    first.shutdown_background();
    scope.spawn("late", pending()).unwrap();
    let outside = block_on(scope.shutdown(MS));
    let shutdown = second.block_on(scope.shutdown(MS));
    assert_eq!(shutdown, outside);
    assert_eq!(
        (shutdown.aborted, shutdown.running),
        (vec!["late".into()], vec!["deaf".into()])
    );
    drop(tell);
}

#[tokio::test(start_paused = true)]
async fn what_ends_after_the_cancellation_is_named_though_the_shutdown_comes_later() {
    let source = Source::new();
    let scope = Scope::new(&source).unwrap();
    let token = scope.token();
    scope
        .spawn("polite", async move { drop(token.cancelled().await) })
        .unwrap();
    sleep(MS).await;
    source.cancel(Cause::User);
    sleep(MS).await;
    let closed = scope.spawn("late", ready(())).unwrap_err();
    assert_eq!(*closed.cause(), Cause::User);
    assert_eq!(scope.shutdown(MS).await.finished, ["polite"]);
}

#[tokio::test(start_paused = true)]
async fn waiting_tells_nobody_to_end() {
    let scope = Scope::new(&Token::never()).unwrap();
    scope.wait().await;
    scope.spawn("work", sleep(10 * MS)).unwrap();
    assert!(tokio::time::timeout(5 * MS, scope.wait()).await.is_err());
    scope.wait().await;
    assert!(scope.is_empty() && !scope.token().is_cancelled());
}

#[test]
fn an_attempt_supersedes_what_was_not_received() {
    let latest = Latest::new();
    let stale = latest.attempt();
    assert_eq!(stale.send(1), Ok(()));
    let fresh = latest.attempt();
    assert_eq!(latest.try_next(), None);
    assert_eq!(fresh.send(2), Ok(()));
    assert_eq!(latest.try_next(), Some(2));
}

#[test]
fn sources_are_taken_where_tokens_are() {
    let (a, b) = (Source::new(), Source::new());
    let any = Token::any([&a, &b]);
    let (same, other): (Token, Token) = (a.clone().into(), b.clone().into());
    let known: HashSet<_> = [a.token(), same, other].into();
    assert_eq!(known.len(), 2);
    b.cancel(Cause::Failed);
    assert_eq!(any.cause(), Some(Cause::Failed));
    assert!(!Token::default().is_cancelled());
}

#[test]
fn tokens_may_be_caught_with_a_panic() {
    fn caught<T: UnwindSafe + RefUnwindSafe + Send + Sync + Cancel>() {}
    fn held<T: UnwindSafe + RefUnwindSafe + Send + Sync>() {}
    caught::<Token>();
    caught::<Source>();
    held::<Claim>();
    held::<Permit>();
}
