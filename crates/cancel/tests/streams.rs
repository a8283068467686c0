//! Streams that end at a cancellation.

#![cfg(all(feature = "stream", not(loom)))]

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use evenkeel_cancel::{CancelStream, Cause, Source, Token};
use futures_core::Stream;
use futures_core::stream::FusedStream;

/// So many items at once, and then it ends or waits for ever.
struct Items {
    left: usize,
    ends: bool,
    /// Tells by its count when the stream is dropped.
    _alive: Arc<()>,
}

impl Items {
    fn new(left: usize, ends: bool) -> (Self, Arc<()>) {
        let alive = Arc::new(());
        let _alive = Arc::clone(&alive);
        (Self { left, ends, _alive }, alive)
    }
}

impl Stream for Items {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<()>> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(()))
            }
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_stream_is_woken_ended_and_dropped() {
    let source = Source::new();
    let (items, alive) = Items::new(2, false);
    let mut stream = pin!(items.until_cancelled(&source));
    assert_eq!(stream.size_hint(), (0, Some(2)));
    let canceller = source.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        canceller.cancel(Cause::User);
    });
    for item in [Some(()), Some(()), None, None] {
        assert_eq!(poll_fn(|cx| stream.as_mut().poll_next(cx)).await, item);
    }
    assert_eq!(Arc::strong_count(&alive), 1);
    assert!(stream.is_terminated());
    assert_eq!(stream.size_hint(), (0, Some(0)));
}

#[tokio::test]
async fn one_that_ends_by_itself_is_not_asked_again() {
    let (items, alive) = Items::new(1, true);
    let mut stream = pin!(items.until_cancelled(&Token::never()));
    for item in [Some(()), None, None] {
        assert_eq!(poll_fn(|cx| stream.as_mut().poll_next(cx)).await, item);
    }
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[tokio::test]
async fn what_was_cancelled_before_gives_nothing() {
    let source = Source::new();
    source.cancel(Cause::User);
    let mut stream = pin!(Items::new(1, true).0.until_cancelled(&source));
    assert_eq!(poll_fn(|cx| stream.as_mut().poll_next(cx)).await, None);
}
