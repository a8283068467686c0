//! The kernel of the awaited pulse: a count of beats, and one waiting task.

use std::task::{Context, Poll, Waker};

use evenkeel_sync::atomic::{AtomicU64, Ordering};
use evenkeel_sync::{UnsafeCell, hint};

/// No more beats will come.
const CLOSED: u64 = 0b001;
/// A waker stands in the cell, for whoever takes it.
const WAIT: u64 = 0b010;
/// A beat is taking the waker out of the cell.
const TAKE: u64 = 0b100;
const SHIFT: u32 = 3;
const ONE: u64 = 1 << SHIFT;

/// One word and one waker; any number of threads beat, one waits.
///
/// # Protocol
///
/// `word` holds the count of beats above three flags, and the flags say who may touch `waker`:
///
/// | flags | the cell belongs to |
/// |-|-|
/// | neither | the waiter |
/// | `WAIT` | nobody: the waiter has left a waker there, for the first who sets `TAKE` |
/// | `TAKE` | the beat, or the close, that turned `WAIT` into `TAKE` |
///
/// The waiter writes the cell, sets `WAIT` and looks at the count that the same read-modify-write returned; a beat
/// raises the count and looks at the flags that its read-modify-write returned. Of the two one comes second in the
/// order of the word, and sees the other: no wake-up is lost. To replace its waker the waiter takes `WAIT` back first.
/// If it finds `TAKE` instead, it wakes itself and comes again: the beat in question has been counted already, so that
/// happens only to a waiter which saw that beat before it was woken for it.
///
/// The count wraps after 2⁶¹ beats and is compared for inequality alone.
pub(crate) struct Word {
    word: AtomicU64,
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: `waker` is touched only by the one whom the flags of `word` name (see the protocol), and a `Waker` is `Send`.
unsafe impl Send for Word {}
// SAFETY: as above; two threads never hold the cell at a time, which the models check.
unsafe impl Sync for Word {}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The count of beats, modulo 2⁶¹.
    pub(crate) count: u64,
    pub(crate) closed: bool,
}

impl Seen {
    /// How many beats there were after `earlier`.
    pub(crate) fn since(self, earlier: u64) -> u64 {
        (self.count.wrapping_sub(earlier) << SHIFT) >> SHIFT
    }

    fn of(word: u64) -> Self {
        Self {
            count: word >> SHIFT,
            closed: word & CLOSED != 0,
        }
    }

    fn news(word: u64, seen: u64) -> Option<Self> {
        let now = Self::of(word);
        (now.count != seen || now.closed).then_some(now)
    }
}

impl Word {
    /// A word whose count starts at `count`: zero but for tests of the wrap.
    pub(crate) fn new(count: u64) -> Self {
        Self {
            word: AtomicU64::new(count << SHIFT),
            waker: UnsafeCell::new(None),
        }
    }

    /// Counts one beat, and wakes the waiter if there is one.
    #[inline]
    pub(crate) fn beat(&self) {
        // ORDERING: Relaxed, a guess that the exchange confirms. It counts and claims in one.
        let word = self.word.load(Ordering::Relaxed);
        if word & WAIT != 0 && self.claim(word, word.wrapping_add(ONE)) {
            return self.wake();
        }
        // ORDERING: Release pairs with the Acquire of `poll`, so that what was written before the beat is seen after
        // it (model `publish_beat`). A wrapping add leaves the flags alone.
        if self.word.fetch_add(ONE, Ordering::Release) & WAIT != 0 {
            self.claim_and_wake();
        }
    }

    /// Says that no more beats will come, and wakes the waiter if there is one.
    pub(crate) fn close(&self) {
        // ORDERING: Release pairs with the Acquire of `poll`, as in `beat` (model `publish_close`).
        if self.word.fetch_or(CLOSED, Ordering::Release) & WAIT != 0 {
            self.claim_and_wake();
        }
    }

    /// Claims the waker of a word that has `WAIT`, and makes it `next` otherwise; false if it is another by now.
    fn claim(&self, word: u64, next: u64) -> bool {
        // ORDERING: Release as in `beat` (model `publish_beat`). Acquire pairs with the Release of `WAIT` in `poll`: the
        // waker in the cell is whole (model `two_workers`).
        let (old, new) = (Ordering::Relaxed, Ordering::AcqRel);
        let next = next ^ (WAIT | TAKE);
        self.word.compare_exchange(word, next, new, old).is_ok()
    }

    #[cold]
    fn claim_and_wake(&self) {
        // ORDERING: Relaxed, a guess that the exchange confirms.
        let mut word = self.word.load(Ordering::Relaxed);
        // Without `WAIT` another beat took it, or the waiter took it back and will see our count.
        while word & WAIT != 0 {
            if self.claim(word, word) {
                return self.wake();
            }
            // ORDERING: as above.
            word = self.word.load(Ordering::Relaxed);
        }
    }

    /// Wakes the waiter. The waker has been claimed.
    fn wake(&self) {
        // SAFETY: we turned `WAIT` into `TAKE`, so the cell is ours until we clear `TAKE`.
        let waker = self.waker.with_mut(|cell| unsafe { (*cell).take() });
        // ORDERING: Release pairs with the Acquire of `poll`, which writes the cell after us (model `register_again`).
        self.word.fetch_and(!TAKE, Ordering::Release);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What there is now.
    pub(crate) fn read(&self) -> Seen {
        // ORDERING: Acquire pairs with the Release of `beat` and `close` (model `publish_read`).
        Seen::of(self.word.load(Ordering::Acquire))
    }

    /// Ready when the count is no longer `seen`, or closed. One task polls at a time.
    pub(crate) fn poll(&self, seen: u64, cx: &mut Context<'_>) -> Poll<Seen> {
        // ORDERING: Acquire pairs with the Release of `beat` and `close` (models `publish_beat`, `publish_close`), and with the one that
        // gives the cell back in `wake` (model `register_again`).
        let word = self.word.load(Ordering::Acquire);
        if let Some(news) = Seen::news(word, seen) {
            return Poll::Ready(news);
        }
        if word & TAKE != 0 || (word & WAIT != 0 && !self.take_back()) {
            // The beat has a few instructions to go; loom needs to be told that it must.
            hint::spin_loop();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // SAFETY: neither flag is set, or we took `WAIT` back, so the cell is ours.
        let old = self.waker.with_mut(|cell| unsafe {
            match &mut *cell {
                Some(old) if old.will_wake(cx.waker()) => None,
                cell => cell.replace(cx.waker().clone()),
            }
        });
        // ORDERING: Release hands the cell over (model `two_workers`); Acquire because a count that changed meanwhile
        // is returned at once (model `publish_beat`).
        let word = self.word.fetch_or(WAIT, Ordering::AcqRel);
        drop(old);
        Seen::news(word, seen).map_or(Poll::Pending, Poll::Ready)
    }

    /// Takes back the waker left in the cell; false if a beat was faster.
    fn take_back(&self) -> bool {
        // ORDERING: Relaxed: the flag is set by us alone. If it still is, nobody has touched the cell since we wrote it; if
        // not, we keep off the cell (model `register_again`).
        self.word.fetch_and(!WAIT, Ordering::Relaxed) & WAIT != 0
    }

    /// Drops the waker of a waiter that is gone, so that the beating side does not keep its task alive.
    pub(crate) fn forget(&self) {
        // ORDERING: Relaxed, a hint: only the waiter sets `WAIT`, and it is the caller.
        if self.word.load(Ordering::Relaxed) & WAIT != 0 && self.take_back() {
            // SAFETY: we took `WAIT` back, so the cell is ours.
            drop(self.waker.with_mut(|cell| unsafe { (*cell).take() }));
        }
    }
}
