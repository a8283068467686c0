//! The queue a ward publishes into, and the fence around it.
//!
//! # Protocol
//!
//! One lock guards the generation that is let in and the queue itself, so that checking the one and pushing into the other
//! is a single step: a push either happens before the fence, and is received, or after it, and gets its value back.
//!
//! - [`open`](Outlet::open) lets a generation in and, in the same step, shuts every older one out. It refuses a generation
//!   that is not newer than all it has seen: a start that was overtaken by a fence stays outside.
//! - [`fence`](Outlet::fence) shuts a generation out, for ever.
//!
//! So at any time at most one generation is let in. Wakers are called after the lock is given back: one may run foreign code.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use evenkeel_sync::Mutex;

/// No generation: they count from one.
const NOBODY: u32 = 0;

#[derive(Debug)]
pub(crate) struct Outlet<T>(Mutex<Queue<T>>);

#[derive(Debug)]
struct Queue<T> {
    /// The generation let in, or [`NOBODY`].
    within: u32,
    /// The newest generation that was ever let in or shut out.
    newest: u32,
    depth: u32,
    /// By how many handles it may be read; none comes back when the last has gone.
    handles: u32,
    ended: bool,
    /// Few wards publish, and all of them have a queue.
    more: Option<Box<More<T>>>,
}

#[derive(Debug)]
struct More<T> {
    values: VecDeque<T>,
    /// So many were given out.
    tickets: u64,
    readers: Wakers,
    writers: Wakers,
}

/// By the tickets of those who wait.
type Wakers = Vec<(u64, Waker)>;

/// Waits at an outlet, to read or to write; dropped, it leaves nothing there.
#[derive(Debug)]
pub(crate) struct Ticket<'a, T> {
    outlet: &'a Outlet<T>,
    /// None as long as it never waited.
    number: Option<u64>,
}

impl<T> Ticket<'_, T> {
    /// The oldest value, or `None` when the ward has ended and nothing is left.
    pub(crate) fn poll_pop(&mut self, cx: &Context<'_>) -> Poll<Option<T>> {
        // Cloned, and the one before dropped, with no lock held: a waker is foreign code.
        let waker = cx.waker().clone();
        let mut queue = self.outlet.0.lock();
        let value = queue.more.as_mut().and_then(|more| more.values.pop_front());
        if value.is_none() && !queue.ended {
            let more = queue.more();
            let before = note(
                &mut self.number,
                &mut more.tickets,
                &mut more.readers,
                waker,
            );
            drop(queue);
            drop(before);
            return Poll::Pending;
        }
        let writers = queue.take_writers();
        drop(queue);
        wake(writers);
        Poll::Ready(value)
    }

    /// As [`Outlet::push`], and leaves the waker of `cx` to be called when there is room.
    pub(crate) fn poll_push(
        &mut self,
        generation: u32,
        value: T,
        cx: &Context<'_>,
    ) -> Result<(), (T, Refusal)> {
        let waker = cx.waker().clone();
        let mut before = None;
        let number = &mut self.number;
        self.outlet.push_or(generation, value, |more| {
            before = note(number, &mut more.tickets, &mut more.writers, waker);
        })
    }
}

/// Leaves a waker once for a ticket, so that a task that polls again and again does not pile up; the one that was there.
fn note(
    number: &mut Option<u64>,
    tickets: &mut u64,
    wakers: &mut Wakers,
    waker: Waker,
) -> Option<Waker> {
    let number = *number.get_or_insert_with(|| {
        *tickets += 1;
        *tickets
    });
    if let Some((_, known)) = wakers.iter_mut().find(|(known, _)| *known == number) {
        return Some(std::mem::replace(known, waker));
    }
    wakers.push((number, waker));
    None
}

impl<T> Drop for Ticket<'_, T> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut queue = self.outlet.0.lock();
        let Some(more) = &mut queue.more else { return };
        let mut left = None;
        for wakers in [&mut more.readers, &mut more.writers] {
            if let Some(at) = wakers.iter().position(|(known, _)| *known == number) {
                left = Some(wakers.swap_remove(at));
            }
        }
        drop(queue);
        drop(left);
    }
}

impl<T> Queue<T> {
    fn more(&mut self) -> &mut More<T> {
        self.more.get_or_insert_with(|| {
            Box::new(More {
                values: VecDeque::new(),
                tickets: 0,
                readers: Vec::new(),
                writers: Vec::new(),
            })
        })
    }

    fn take_writers(&mut self) -> Wakers {
        let more = self.more.as_mut();
        more.map_or_else(Vec::new, |more| std::mem::take(&mut more.writers))
    }
}

/// Why a value came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Fenced,
    Full,
    NoReader,
}

impl<T> Outlet<T> {
    /// A queue of at most `depth` values, at least one, with one handle; none is let in yet.
    pub(crate) fn new(depth: usize) -> Self {
        Self(Mutex::new(Queue {
            within: NOBODY,
            newest: NOBODY,
            depth: u32::try_from(depth.max(1)).unwrap_or(u32::MAX),
            handles: 1,
            ended: false,
            more: None,
        }))
    }

    /// Lets `generation` in and all older ones out; false if it is overtaken.
    pub(crate) fn open(&self, generation: u32) -> bool {
        let mut queue = self.0.lock();
        if generation <= queue.newest {
            return false;
        }
        queue.newest = generation;
        queue.within = generation;
        let shut_out = queue.take_writers();
        drop(queue);
        wake(shut_out);
        true
    }

    /// Shuts `generation` and all older ones out.
    pub(crate) fn fence(&self, generation: u32) {
        let mut queue = self.0.lock();
        queue.newest = queue.newest.max(generation);
        if queue.within > generation {
            return;
        }
        queue.within = NOBODY;
        let shut_out = queue.take_writers();
        drop(queue);
        wake(shut_out);
    }

    /// Another handle.
    pub(crate) fn attach(&self) {
        self.0.lock().handles += 1;
    }

    /// A handle less. With the last one go the values that nobody will read, and who waits for room is told.
    pub(crate) fn detach(&self) {
        let mut queue = self.0.lock();
        queue.handles -= 1;
        if queue.handles == 0 {
            let more = queue.more.take();
            drop(queue);
            if let Some(more) = more {
                drop(more.values);
                wake(more.writers);
            }
        }
    }

    /// No value will come any more: readers get what is left, then `None`.
    pub(crate) fn end(&self) {
        let mut queue = self.0.lock();
        queue.ended = true;
        queue.within = NOBODY;
        queue.newest = u32::MAX;
        let more = queue.more.as_mut();
        let readers = more.map_or_else(Vec::new, |more| std::mem::take(&mut more.readers));
        let writers = queue.take_writers();
        drop(queue);
        wake(readers);
        wake(writers);
    }

    /// Puts `value` in, if `generation` is let in and there is room.
    pub(crate) fn push(&self, generation: u32, value: T) -> Result<(), (T, Refusal)> {
        self.push_or(generation, value, |_| ())
    }

    /// To wait at it.
    pub(crate) fn ticket(&self) -> Ticket<'_, T> {
        Ticket {
            outlet: self,
            number: None,
        }
    }

    fn push_or(
        &self,
        generation: u32,
        value: T,
        full: impl FnOnce(&mut More<T>),
    ) -> Result<(), (T, Refusal)> {
        let mut queue = self.0.lock();
        if queue.within != generation {
            return Err((value, Refusal::Fenced));
        }
        if queue.handles == 0 {
            return Err((value, Refusal::NoReader));
        }
        let depth = queue.depth as usize;
        let more = queue.more();
        if more.values.len() >= depth {
            full(more);
            return Err((value, Refusal::Full));
        }
        more.values.push_back(value);
        let readers = std::mem::take(&mut more.readers);
        drop(queue);
        wake(readers);
        Ok(())
    }

    /// The oldest value that is there now.
    pub(crate) fn pop(&self) -> Option<T> {
        let mut queue = self.0.lock();
        let value = queue.more.as_mut()?.values.pop_front()?;
        let writers = queue.take_writers();
        drop(queue);
        wake(writers);
        Some(value)
    }
}

fn wake(wakers: Wakers) {
    for (_, waker) in wakers {
        waker.wake();
    }
}
