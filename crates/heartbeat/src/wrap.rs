//! Futures and streams that beat by themselves.

use std::borrow::Borrow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use evenkeel_sync::Mutex;
use evenkeel_sync::atomic::{AtomicBool, Ordering};
use futures_core::Stream;
use pin_project::pin_project;

use crate::monitor::Block;
use crate::planes::{Phase, Place};
use crate::{Heartbeat, Watched};

/// Beats for any future.
pub trait BeatFuture: Future + Sized {
    /// Beats whenever it is polled: the pulse says that the future is scheduled, not that it gets anywhere. For that,
    /// give the work inside a second pulse, of a class with a timeout of its own.
    ///
    /// A future that is silent inside one poll is [`Hung`](crate::Health::Hung). One that waits for long without being
    /// polled is silent too; if its wait is no fault, let it beat [meanwhile](crate::Every::during).
    ///
    /// Takes the [`Watched`] itself, a reference to it, or an `Arc`. Allocates nothing.
    fn beat_on_poll<W: Borrow<Watched>>(self, pulse: W) -> BeatOnPoll<Self, W> {
        BeatOnPoll {
            pulse,
            woken: None,
            future: self,
        }
    }
}

impl<F: Future> BeatFuture for F {}

/// Beats for any stream.
pub trait BeatStream: Stream + Sized {
    /// Beats whenever it yields an item: the pulse says that work gets done, not merely that somebody asks for it.
    fn beat_on_item<H: Heartbeat>(self, pulse: H) -> BeatOnItem<Self, H> {
        BeatOnItem {
            pulse,
            stream: self,
        }
    }
}

impl<S: Stream> BeatStream for S {}

/// The future that [`BeatFuture::beat_on_poll`] returns.
///
/// As cancel safe as the future inside.
#[pin_project]
#[must_use = "futures do nothing unless they are awaited"]
pub struct BeatOnPoll<F, W> {
    pulse: W,
    woken: Option<Arc<Woken>>,
    #[pin]
    future: F,
}

impl<F, W: Borrow<Watched>> BeatOnPoll<F, W> {
    /// Looks at wake-ups too: a future that was woken and is not polled is [`Starved`](crate::Health::Starved) and not
    /// silent. Allocates once, and each wake-up costs a lock more.
    pub fn telling_starved(mut self) -> Self {
        let (block, place) = self.pulse.borrow().block();
        self.woken = Some(Arc::new(Woken {
            block: Arc::clone(block),
            place,
            woken: AtomicBool::new(false),
            task: Mutex::new(None),
        }));
        self
    }
}

/// Ends a poll, in a panic too.
struct Polling<'a> {
    pulse: &'a Watched,
    woken: Option<&'a Woken>,
    before: Phase,
}

impl Drop for Polling<'_> {
    #[inline]
    fn drop(&mut self) {
        let after = match (self.before, self.woken) {
            // The poll of another future that this one is part of.
            (Phase::Polling, _) => Phase::Polling,
            // ORDERING: Relaxed: a hint, which publishes nothing.
            (_, Some(woken)) if woken.woken.load(Ordering::Relaxed) => Phase::Woken,
            _ => Phase::Idle,
        };
        self.pulse.turn(after, self.woken.is_some());
    }
}

impl<F: Future, W: Borrow<Watched>> Future for BeatOnPoll<F, W> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let pulse = (*this.pulse).borrow();
        let _polling = Polling {
            pulse,
            woken: this.woken.as_deref(),
            before: pulse.turn(Phase::Polling, this.woken.is_some()),
        };
        pulse.beat();
        match &*this.woken {
            None => this.future.poll(cx),
            Some(woken) => {
                woken.rearm(cx.waker());
                let waker = Waker::from(Arc::clone(woken));
                this.future.poll(&mut Context::from_waker(&waker))
            }
        }
    }
}

impl<F, W> fmt::Debug for BeatOnPoll<F, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeatOnPoll").finish_non_exhaustive()
    }
}

/// A waker that marks the pulse on its way to the task.
///
/// # Protocol
///
/// `woken` is set by whoever wakes and cleared before each poll; both are hints by which an alarm is named. The wake-up
/// itself is the task's waker's, kept in `task` from before the poll that hands this one out.
struct Woken {
    block: Arc<Block>,
    place: Place,
    woken: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Woken {
    fn rearm(&self, task: &Waker) {
        // ORDERING: Relaxed: a hint, which publishes nothing.
        self.woken.store(false, Ordering::Relaxed);
        let mut kept = self.task.lock();
        if kept.as_ref().is_none_or(|kept| !kept.will_wake(task)) {
            let old = kept.replace(task.clone());
            drop(kept);
            drop(old);
        }
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // ORDERING: Relaxed: a hint, which publishes nothing.
        self.woken.store(true, Ordering::Relaxed);
        self.block.planes.woken(self.place);
        let task = self.task.lock().clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// The stream that [`BeatStream::beat_on_item`] returns.
#[pin_project]
#[must_use = "streams do nothing unless they are polled"]
pub struct BeatOnItem<S, H> {
    pulse: H,
    #[pin]
    stream: S,
}

impl<S: Stream, H: Heartbeat> Stream for BeatOnItem<S, H> {
    type Item = S::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let polled = this.stream.poll_next(cx);
        if let Poll::Ready(Some(_)) = polled {
            this.pulse.beat();
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

impl<S, H> fmt::Debug for BeatOnItem<S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeatOnItem").finish_non_exhaustive()
    }
}
