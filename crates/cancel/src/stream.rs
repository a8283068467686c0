//! Streams that end at a cancellation.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use pin_project::pin_project;

use crate::{CancelledOwned, Token};

/// Any stream, until a token is cancelled.
pub trait CancelStream: Stream + Sized {
    /// The same items, until `token` is cancelled: then the stream is dropped, and this one has ended.
    ///
    /// At every poll the token is asked first, as by [`Token::check`], so that a stream that is always ready is cut as well. Whether it
    /// ended by itself, `token.cause()` tells. It is not [`Unpin`]: pin it, by `pin!` or `Box::pin`, to ask for its next item. An item costs a look at the token more than that of the stream; only a poll that has to wait
    /// also waits for the token.
    ///
    /// # Cancel safety
    ///
    /// As safe as the stream: what it has not given yet is dropped with it.
    ///
    /// ```
    /// # use std::{pin::{Pin, pin}, task::{Context, Poll}, future::poll_fn};
    /// # use futures_core::Stream;
    /// use evenkeel_cancel::{CancelStream, Cause, Source};
    ///
    /// # struct Ones;
    /// # impl Stream for Ones {
    /// #     type Item = u32;
    /// #     fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> { Poll::Ready(Some(1)) }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let source = Source::new();
    /// let mut ones = pin!(Ones.until_cancelled(&source)); // without it, they would never end
    /// let mut sum = 0;
    /// while let Some(one) = poll_fn(|cx| ones.as_mut().poll_next(cx)).await {
    ///     sum += one;
    ///     if sum == 3 {
    ///         source.cancel(Cause::User);
    ///     }
    /// }
    /// assert_eq!(sum, 3);
    /// # }
    /// ```
    fn until_cancelled(self, token: &Token) -> UntilCancelled<Self> {
        UntilCancelled {
            token: token.clone(),
            cancelled: token.cancelled_owned(),
            stream: Some(self),
        }
    }
}

impl<S: Stream> CancelStream for S {}

/// The stream that [`CancelStream::until_cancelled`] returns. Polled after its end, it says again that it has ended.
#[pin_project]
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct UntilCancelled<S> {
    token: Token,
    #[pin]
    cancelled: CancelledOwned,
    /// `None` after the end.
    #[pin]
    stream: Option<S>,
}

impl<S: Stream> Stream for UntilCancelled<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        let Some(stream) = this.stream.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let mut next = Poll::Ready(None);
        if this.token.check().is_ok() {
            next = stream.poll_next(cx);
            if next.is_pending() && this.cancelled.poll(cx).is_ready() {
                next = Poll::Ready(None);
            }
        }
        if matches!(next, Poll::Ready(None)) {
            this.stream.set(None);
        }
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.stream {
            Some(stream) => (0, stream.size_hint().1),
            None => (0, Some(0)),
        }
    }
}

impl<S: Stream> FusedStream for UntilCancelled<S> {
    fn is_terminated(&self) -> bool {
        self.stream.is_none()
    }
}
