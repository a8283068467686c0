//! Wakers that call back into the crate from wherever they are called: no lock may be held then.

#![cfg(not(loom))]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use evenkeel_cancel::{Cause, First, Latest, Source};

type Act = Arc<dyn Fn() + Send + Sync>;

/// A waker that acts whenever it is cloned, woken or dropped.
fn acting(act: Act) -> Waker {
    const TABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            // SAFETY: `data` is from `Arc::into_raw`, and this call leaves its count as it was.
            let act = std::mem::ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<Act>()) });
            act();
            RawWaker::new(Arc::into_raw(Arc::clone(&act)).cast(), &TABLE)
        },
        // SAFETY: the waker's own count.
        |data| unsafe { Arc::from_raw(data.cast::<Act>())() },
        // SAFETY: as above, and the count is kept.
        |data| unsafe { std::mem::ManuallyDrop::new(Arc::from_raw(data.cast::<Act>()))() },
        // SAFETY: the waker's own count.
        |data| unsafe { Arc::from_raw(data.cast::<Act>())() },
    );
    let raw = RawWaker::new(Arc::into_raw(Arc::new(act)).cast(), &TABLE);
    // SAFETY: the table keeps the contract of `RawWaker`, over an `Arc` of something that is `Send` and `Sync`.
    unsafe { Waker::from_raw(raw) }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

#[test]
fn a_receiver_of_the_first_may_be_polled_by_a_waker_that_offers() {
    let (offer, first) = First::new();
    let act: Act = Arc::new(move || {
        let _ = offer.clone().send(1);
    });
    let waker = acting(act);
    let mut accept = pin!(first.accept());
    // The clone of the waker has offered before the receiver looked.
    assert_eq!(poll(accept.as_mut(), &waker), Poll::Ready(Some(1)));
}

#[test]
fn a_receiver_of_the_latest_may_be_polled_by_a_waker_that_looks() {
    let mut latest = Latest::new();
    let attempt = Arc::new(latest.attempt());
    let seen = Arc::clone(&attempt);
    let waker = acting(Arc::new(move || {
        let _ = seen.is_superseded();
    }));
    {
        let mut next = pin!(latest.next());
        assert_eq!(poll(next.as_mut(), &waker), Poll::Pending);
        // Again, so that a waker is replaced and dropped.
        assert_eq!(poll(next.as_mut(), &waker), Poll::Pending);
        assert_eq!(attempt.send(1), Ok(()));
        assert_eq!(poll(next.as_mut(), &waker), Poll::Ready(1));
    }
    assert_eq!(latest.try_next(), None);
}

#[test]
fn who_waits_for_a_token_may_be_woken_by_what_cancels_it() {
    let source = Source::new();
    let token = source.token();
    let waker = acting(Arc::new({
        let source = source.clone();
        move || drop((source.cause(), source.child().cause()))
    }));
    let mut cancelled = Box::pin(token.cancelled());
    assert_eq!(poll(cancelled.as_mut(), &waker), Poll::Pending);
    let other = acting(Arc::new({
        let source = source.clone();
        move || {
            source.cancel(Cause::User);
        }
    }));
    // The clone of the second waker cancels while the first is registered.
    let now = poll(cancelled.as_mut(), &other);
    assert_eq!(now, Poll::Ready(Cause::User));
    assert!(!source.cancel(Cause::Shutdown));
}
