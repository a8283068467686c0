//! Code of others that is run here: callbacks, and the destructors of what they and custom causes own.
//!
//! It may panic, and it may come back: a callback that cancels the next source, a closure that owns the last handle of the next
//! one, a million in a row. So what comes back does not run inside, but waits for the outermost on the thread to have done: the
//! stack stays as flat as for a chain of children.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use evenkeel_sync::Arc;

use crate::list::List;
use crate::node::Node;
use crate::wait::Callback;

pub(crate) enum Job {
    /// Calls callbacks that were taken out of the lists of their nodes, and claimed.
    Call(List),
    /// Frees a node whose parents were taken.
    Free(Box<Node>),
    /// Drops a callback that was stopped, with all that it owns.
    Drop(Arc<Callback>),
}

evenkeel_sync::thread_local! {
    /// What waits, while a job runs on this thread.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom has no const ones")]
    static WAITING: RefCell<Option<VecDeque<Job>>> = RefCell::new(None);
}

/// Runs `job` now, or when the job that runs on this thread has ended. No lock is held.
pub(crate) fn run(job: Job) {
    let mut job = Some(job);
    let noted = WAITING.try_with(|waiting| {
        let mut waiting = waiting.borrow_mut();
        if let Some(waiting) = &mut *waiting {
            waiting.extend(job.take());
            return false;
        }
        *waiting = Some(VecDeque::new());
        true
    });
    // If not, the thread is ending, and has nothing left to note a job in.
    let outermost = noted.unwrap_or(false);
    while let Some(now) = job.take() {
        now.run();
        if outermost {
            WAITING.with(|waiting| {
                let mut waiting = waiting.borrow_mut();
                job = waiting.as_mut().and_then(VecDeque::pop_front);
                if job.is_none() {
                    *waiting = None;
                }
            });
        }
    }
}

impl Job {
    /// Never unwinds.
    fn run(self) {
        match self {
            Self::Call(mut callbacks) => {
                while let Some(entry) = callbacks.first() {
                    // SAFETY: it is ours since it was claimed, with the list's count of it.
                    let callback = unsafe {
                        callbacks.unlink(entry);
                        Callback::from_entry(entry)
                    };
                    shielded(move || callback.run());
                }
            }
            Self::Free(node) => drop(node),
            Self::Drop(callback) => shielded(move || drop(callback)),
        }
    }
}

/// Runs `f`, whose panic goes no further than the panic hook.
pub(crate) fn shielded(f: impl FnOnce()) {
    if evenkeel_sync::MODELLED {
        // Here a panic is how a model fails.
        return f();
    }
    let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else {
        return;
    };
    // Dropping what it panicked with is foreign code once more. What that panics with is given up, or there were no end.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}
