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
    readers: Vec<Waker>,
    writers: Vec<Waker>,
}

impl<T> Queue<T> {
    fn more(&mut self) -> &mut More<T> {
        self.more.get_or_insert_with(|| {
            Box::new(More {
                values: VecDeque::new(),
                readers: Vec::new(),
                writers: Vec::new(),
            })
        })
    }

    fn take_writers(&mut self) -> Vec<Waker> {
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

    /// As [`push`](Self::push), and leaves the waker of `cx` to be called when there is room.
    pub(crate) fn poll_push(
        &self,
        generation: u32,
        value: T,
        cx: &Context<'_>,
    ) -> Result<(), (T, Refusal)> {
        self.push_or(generation, value, |writers| note(writers, cx.waker()))
    }

    fn push_or(
        &self,
        generation: u32,
        value: T,
        full: impl FnOnce(&mut Vec<Waker>),
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
            full(&mut more.writers);
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

    /// The oldest value, or `None` when the ward has ended and nothing is left.
    pub(crate) fn poll_pop(&self, cx: &Context<'_>) -> Poll<Option<T>> {
        let mut queue = self.0.lock();
        let value = queue.more.as_mut().and_then(|more| more.values.pop_front());
        let Some(value) = value else {
            if queue.ended {
                return Poll::Ready(None);
            }
            note(&mut queue.more().readers, cx.waker());
            return Poll::Pending;
        };
        let writers = queue.take_writers();
        drop(queue);
        wake(writers);
        Poll::Ready(Some(value))
    }
}

/// Leaves a waker once, so that a task that polls again and again does not pile up.
fn note(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|known| known.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}

fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}
