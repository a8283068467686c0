//! To and from tokio-util's token.

#![cfg(all(feature = "tokio-util", not(loom)))]

use std::thread;

use evenkeel_cancel::{Cancel, Cause, Following, Leading, Source, run};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn theirs_is_a_cancel() {
    let theirs = CancellationToken::new();
    assert_eq!(Cancel::cause(&theirs), None);
    assert_eq!(run(&theirs, async { 1 }).await, Ok(1));
    theirs.cancel();
    assert_eq!(Cancel::cause(&theirs), Some(Cause::User));
    assert_eq!(Cancel::cancelled(&theirs).await, Cause::User);
    assert_eq!(run(&theirs, async { 1 }).await, Err(Cause::User));
}

#[test]
fn ours_follows_theirs_until_it_is_dropped() {
    let theirs = CancellationToken::new();
    let (following, dropped) = (Following::new(&theirs), Following::new(&theirs));
    let (child, orphan) = (following.child(), dropped.child());
    drop(dropped);
    assert!(!child.is_cancelled());
    theirs.cancel();
    assert_eq!(child.cause(), Some(Cause::User));
    assert!(child.is_inherited());
    assert!(!orphan.is_cancelled());
    assert!(Following::new(&theirs).is_cancelled(), "too late to wait");
}

#[test]
fn theirs_follows_ours_until_it_is_dropped() {
    let source = Source::new();
    let (leading, dropped) = (Leading::new(&source), Leading::new(&source));
    let (child, orphan) = (leading.child_token(), dropped.child_token());
    drop(dropped);
    assert!(!child.is_cancelled());
    source.cancel(Cause::Shutdown);
    assert!(child.is_cancelled());
    assert!(!orphan.is_cancelled());
    assert!(Leading::new(&source).is_cancelled(), "too late to wait");
}

#[test]
fn a_cancellation_meanwhile_is_not_missed() {
    for _ in 0..1000 {
        let theirs = CancellationToken::new();
        let canceller = theirs.clone();
        let thread = thread::spawn(move || canceller.cancel());
        let following = Following::new(&theirs);
        thread.join().unwrap();
        assert!(following.is_cancelled());
    }
}
