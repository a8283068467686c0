use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;

use crate::counted::NodeRef;
use crate::wait::Wait;
use crate::{Cancel, Cause, Token};

/// Waits for a node to be decided.
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Decided<N: Borrow<NodeRef>> {
    node: N,
    wait: Wait,
}

impl<N: Borrow<NodeRef>> Decided<N> {
    pub(crate) fn new(node: N) -> Self {
        Self {
            node,
            wait: Wait::new(),
        }
    }
}

impl<N: Borrow<NodeRef>> Future for Decided<N> {
    type Output = Option<Cause>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Cause>> {
        let this = self.as_ref();
        // SAFETY: `wait` is pinned with the whole.
        let wait = unsafe { this.map_unchecked(|this| &this.wait) };
        // SAFETY: `&mut` means one thread at a time, the node never changes, and `drop` leaves.
        ready!(unsafe { wait.poll(this.get_ref().node.borrow(), cx) });
        Poll::Ready(self.node.borrow().own_cause())
    }
}

impl<N: Borrow<NodeRef>> Drop for Decided<N> {
    fn drop(&mut self) {
        // SAFETY: the node that it was polled with.
        unsafe { self.wait.leave(self.node.borrow()) };
    }
}

/// The future of [`Token::cancelled`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct Cancelled<'a>(#[pin] Decided<&'a NodeRef>);

impl<'a> Cancelled<'a> {
    pub(crate) fn new(node: &'a NodeRef) -> Self {
        Self(Decided::new(node))
    }
}

impl Future for Cancelled<'_> {
    type Output = Cause;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cause> {
        // Only a claim is decided without a cause, and no token leads to a claim.
        ready!(self.project().0.poll(cx)).map_or(Poll::Pending, Poll::Ready)
    }
}

impl fmt::Debug for Cancelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelled").finish_non_exhaustive()
    }
}

/// The future of [`Token::cancelled_owned`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct CancelledOwned(#[pin] Decided<NodeRef>);

impl CancelledOwned {
    pub(crate) fn new(node: NodeRef) -> Self {
        Self(Decided::new(node))
    }
}

impl Future for CancelledOwned {
    type Output = Cause;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cause> {
        ready!(self.project().0.poll(cx)).map_or(Poll::Pending, Poll::Ready)
    }
}

impl fmt::Debug for CancelledOwned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelledOwned").finish_non_exhaustive()
    }
}

/// The future of [`Token::run`], and of [`run`](crate::run) with another `W` and `C`.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct Run<'a, F, W = Cancelled<'a>, C: ?Sized = Token> {
    cancel: &'a C,
    #[pin]
    wait: W,
    #[pin]
    future: F,
}

impl<'a, F, W, C: ?Sized> Run<'a, F, W, C> {
    pub(crate) fn new(cancel: &'a C, wait: W, future: F) -> Self {
        Self {
            cancel,
            wait,
            future,
        }
    }
}

impl<F, W, C> Future for Run<'_, F, W, C>
where
    F: Future,
    W: Future<Output = Cause>,
    C: Cancel + ?Sized,
{
    type Output = Result<F::Output, Cause>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // First, so that a future that is always ready is cut as well.
        if let Some(cause) = this.cancel.cause() {
            return Poll::Ready(Err(cause));
        }
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        // Last, so that a future that is ready at once never registers.
        this.wait.poll(cx).map(Err)
    }
}

impl<F, W, C: ?Sized> fmt::Debug for Run<'_, F, W, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}
