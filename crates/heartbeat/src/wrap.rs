//! Futures and streams that beat by themselves.

use std::borrow::Borrow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use evenkeel_sync::Mutex;
use futures_core::Stream;
use pin_project::{pin_project, pinned_drop};

use crate::monitor::Block;
use crate::planes::Place;
use crate::{Heartbeat, Watched};

/// Beats for any future.
pub trait BeatFuture: Future + Sized {
    /// Beats whenever it is polled: the pulse says that the future is scheduled, not that it gets anywhere. For that,
    /// give the work inside a second pulse, of a class with a timeout of its own.
    ///
    /// A future that is silent inside one poll is [`Hung`](crate::Health::Hung). One that waits for long without being
    /// polled is silent too; if its wait is no fault, let it beat [meanwhile](crate::Every::during).
    ///
    /// Takes the [`Watched`] itself, a reference to it, or an `Arc`; an awaited [`Pulse`](crate::Pulse) is none. Give each of several
    /// futures that run at once a pulse of its own, or a hang in one may be called a silence. Allocates nothing.
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
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct BeatOnPoll<F, W> {
    /// Dropped first: the pulse is not closed while the future still ends.
    #[pin]
    future: F,
    pulse: W,
    woken: Option<Arc<Woken>>,
}

impl<F, W: Borrow<Watched>> BeatOnPoll<F, W> {
    /// Looks at wake-ups too: a future that was woken and is not polled is [`Starved`](crate::Health::Starved) and not
    /// silent. Allocates once, and each wake-up costs a lock more.
    pub fn telling_starved(mut self) -> Self {
        let (block, place) = self.pulse.borrow().place();
        self.woken = Some(Arc::new(Woken {
            block: Arc::clone(block),
            place,
            task: Mutex::new(None),
        }));
        self
    }
}

/// Ends a poll, in a panic too.
struct Polling<'a> {
    pulse: &'a Watched,
    wakers: bool,
    /// Part of the poll of another future, which goes on.
    inner: bool,
}

impl Drop for Polling<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.inner {
            let (block, place) = self.pulse.place();
            block.planes.polled(place, self.wakers);
        }
    }
}

impl<F: Future, W: Borrow<Watched>> Future for BeatOnPoll<F, W> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let pulse = (*this.pulse).borrow();
        let wakers = this.woken.is_some();
        let (block, place) = pulse.place();
        let inner = block.planes.poll(place, wakers);
        let _polling = Polling {
            pulse,
            wakers,
            inner,
        };
        pulse.beat();
        match &*this.woken {
            None => this.future.poll(cx),
            Some(woken) => {
                woken.rearm(cx.waker());
                let waker = Waker::from(Arc::clone(woken));
                let polled = this.future.poll(&mut Context::from_waker(&waker));
                if polled.is_ready() {
                    // It is not to be polled again, whoever wakes it late.
                    woken.disarm();
                }
                polled
            }
        }
    }
}

#[pinned_drop]
impl<F, W> PinnedDrop for BeatOnPoll<F, W> {
    fn drop(self: Pin<&mut Self>) {
        if let Some(woken) = &self.woken {
            woken.disarm();
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
/// It may be kept by anybody, beyond the future and beyond the pulse. The task's own waker is in `task`, from before the
/// poll that hands this one out until the future is dropped; without it there is nobody to wake, and nothing to mark.
struct Woken {
    block: Arc<Block>,
    place: Place,
    task: Mutex<Option<Waker>>,
}

impl Woken {
    fn rearm(&self, task: &Waker) {
        let mut kept = self.task.lock();
        if kept.as_ref().is_none_or(|kept| !kept.will_wake(task)) {
            let old = kept.replace(task.clone());
            drop(kept);
            drop(old);
        }
    }

    fn disarm(&self) {
        let mut kept = self.task.lock();
        let old = kept.take();
        self.block.planes.wake(self.place, false);
        drop(kept);
        drop(old);
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let kept = self.task.lock();
        let Some(task) = kept.clone() else {
            return;
        };
        self.block.planes.wake(self.place, true);
        drop(kept);
        task.wake();
    }
}

/// The stream that [`BeatStream::beat_on_item`] returns.
#[pin_project]
#[must_use = "streams do nothing unless they are polled"]
pub struct BeatOnItem<S, H> {
    /// Dropped first, as there.
    #[pin]
    stream: S,
    pulse: H,
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
