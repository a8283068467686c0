//! The attempts in flight.

use std::future::Future;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use evenkeel_cancel::Cause;
use pin_project::pin_project;

use crate::attempt::Ticket;

/// An attempt, or room for one.
///
/// The ticket stands first so that a slot that is dropped tells its attempt before dropping it.
#[pin_project]
struct Slot<F> {
    ticket: Ticket,
    index: u32,
    #[pin]
    future: Option<F>,
}

impl<F, T, E> Slot<F>
where
    F: Future<Output = Result<T, E>>,
{
    const fn empty() -> Self {
        Self {
            ticket: Ticket::blank(),
            index: 0,
            future: None,
        }
    }

    /// Puts an attempt into an empty slot.
    #[inline]
    fn fill(self: Pin<&mut Self>, index: u32, ticket: Ticket, future: F) {
        let mut this = self.project();
        *this.ticket = ticket;
        *this.index = index;
        this.future.set(Some(future));
    }

    /// Polls the attempt if there is one; an ended one leaves the slot empty.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(u32, Result<T, E>)> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let Poll::Ready(result) = future.poll(cx) else {
            return Poll::Pending;
        };
        match &result {
            Ok(_) => this.ticket.release(),
            Err(_) => this.ticket.cancel(Cause::Failed),
        }
        this.future.set(None);
        Poll::Ready((*this.index, result))
    }

    /// Polls an attempt that has lost. True if there is none any more.
    fn drain(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let lives = contained(|| self.as_mut().poll(cx).is_pending());
        if lives.is_none() {
            self.as_mut().end();
        }
        self.future.is_none()
    }

    /// Drops an attempt that has lost, if there is one, after telling it so.
    fn end(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.ticket.cancel(Cause::Superseded);
        if this.future.is_some() {
            // It is gone though its drop panics: an assignment is carried out on that way too.
            contained(|| this.future.set(None));
        }
    }
}

/// What `f` gives, or nothing if it panics: the panic of an attempt that has lost must not cost the answer of the one that
/// has won. The panic hook has told of it by then.
fn contained<T>(f: impl FnOnce() -> T) -> Option<T> {
    // Safe to unwind from: what a panic left half done is an attempt, and that is only dropped.
    catch_unwind(AssertUnwindSafe(f)).ok()
}

/// The first attempt lies in the call itself and each further one in a box of its own, so that a call which is not
/// hedged allocates nothing and no attempt has to be `Unpin`.
#[pin_project]
pub(crate) struct Flight<F> {
    #[pin]
    inline: Slot<F>,
    second: Option<Pin<Box<Slot<F>>>>,
    more: Vec<Pin<Box<Slot<F>>>>,
}

impl<F, T, E> Flight<F>
where
    F: Future<Output = Result<T, E>>,
{
    pub(crate) const fn new() -> Self {
        Self {
            inline: Slot::empty(),
            second: None,
            more: Vec::new(),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        let inline = self.inline.future.is_some();
        usize::from(inline) + usize::from(self.second.is_some()) + self.more.len()
    }

    /// Takes in the first attempt of a call and polls it.
    #[inline]
    pub(crate) fn start_first(
        self: Pin<&mut Self>,
        ticket: Ticket,
        future: F,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, E>> {
        let mut inline = self.project().inline;
        inline.as_mut().fill(0, ticket, future);
        inline.poll(cx).map(|(_, result)| result)
    }

    /// Takes in a further attempt and polls it; those already in flight are left alone.
    pub(crate) fn start(
        self: Pin<&mut Self>,
        index: u32,
        ticket: Ticket,
        future: F,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, E>> {
        let mut this = self.project();
        let polled = if this.inline.future.is_none() {
            this.inline.as_mut().fill(index, ticket, future);
            this.inline.poll(cx)
        } else {
            let mut slot = Box::pin(Slot {
                ticket,
                index,
                future: Some(future),
            });
            let polled = slot.as_mut().poll(cx);
            if polled.is_pending() {
                if this.second.is_none() {
                    *this.second = Some(slot);
                } else {
                    this.more.push(slot);
                }
            }
            polled
        };
        polled.map(|(_, result)| result)
    }

    /// Polls every attempt, the oldest slots first, and hands on those that have ended until told to break.
    pub(crate) fn poll_each(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut ended: impl FnMut(u32, Result<T, E>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let this = self.project();
        if let Poll::Ready((index, result)) = this.inline.poll(cx) {
            ended(index, result)?;
        }
        if let Some(slot) = this.second
            && let Poll::Ready((index, result)) = slot.as_mut().poll(cx)
        {
            *this.second = None;
            ended(index, result)?;
        }
        let mut next = 0;
        while let Some(slot) = this.more.get_mut(next) {
            match slot.as_mut().poll(cx) {
                Poll::Pending => next += 1,
                Poll::Ready((index, result)) => {
                    this.more.remove(next);
                    ended(index, result)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Tells every attempt that it has lost; they stay in flight.
    pub(crate) fn cancel_all(self: Pin<&mut Self>) {
        let this = self.project();
        this.inline.project().ticket.cancel(Cause::Superseded);
        for slot in this.second.iter_mut().chain(this.more) {
            slot.as_mut().project().ticket.cancel(Cause::Superseded);
        }
    }

    /// Polls every attempt, all of which have lost: what they end with is dropped, and so is one that panics.
    pub(crate) fn drain(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let this = self.project();
        this.inline.drain(cx);
        this.second.take_if(|slot| slot.as_mut().drain(cx));
        this.more.retain_mut(|slot| !slot.as_mut().drain(cx));
    }

    /// Drops every attempt, all of which have lost.
    #[inline]
    pub(crate) fn drop_all(self: Pin<&mut Self>) {
        let this = self.project();
        this.inline.end();
        for slot in this.second.iter_mut().chain(this.more.iter_mut()) {
            slot.as_mut().end();
        }
        *this.second = None;
        this.more.clear();
    }
}
