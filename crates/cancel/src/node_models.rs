//! Every race of the tree, under every interleaving.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc as StdArc, Mutex as StdMutex};
use std::task::{Context, Poll, Wake, Waker};

use evenkeel_sync::atomic::{AtomicUsize, Ordering};
use evenkeel_sync::{Arc, UnsafeCell, block_on, model, thread};

use crate::sweep::BATCH;
use crate::word::DECIDED;
use crate::{Cause, Source, Token};

/// A child that is in its parent's list, so that it is told and does not ask.
fn settled(parent: &Token) -> Source {
    let child = parent.child();
    let _ = child.0.settle();
    child
}

/// What its own word says, without asking its parents.
fn told(token: &Token) -> bool {
    token.0.load().has(DECIDED)
}

/// An error whose content loom watches.
struct Watched(UnsafeCell<u32>);

// SAFETY: it is written before it is shared.
unsafe impl Sync for Watched {}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("watched")
    }
}

impl std::error::Error for Watched {}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: nobody reads it any more; loom checks it.
        self.0.with_mut(|content| unsafe { *content = 0 });
    }
}

fn content(cause: &Cause) -> u32 {
    let Cause::Custom(error) = cause else {
        panic!("not the custom cause");
    };
    let watched = error.downcast_ref::<Watched>().expect("a watched error");
    // SAFETY: written before it was shared; loom checks it.
    watched.0.with(|content| unsafe { *content })
}

/// Polls once with a waker that does nothing.
/// A waker that was woken, seen once the threads have ended.
struct Flag(StdMutex<bool>);

impl Flag {
    fn new() -> StdArc<Self> {
        StdArc::new(Self(StdMutex::new(false)))
    }

    fn is_set(&self) -> bool {
        *self.0.lock().unwrap()
    }
}

impl Wake for Flag {
    fn wake(self: StdArc<Self>) {
        *self.0.lock().unwrap() = true;
    }
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn word_publishes() {
    model("word_publishes", None, || {
        let source = Source::new();
        let child = source.child();
        let canceller = thread::spawn(move || {
            let watched = Watched(UnsafeCell::new(0));
            // SAFETY: not yet shared.
            watched.0.with_mut(|content| unsafe { *content = 7 });
            source.cancel(Cause::custom(watched));
        });
        thread::yield_now();
        if let Some(cause) = child.cause() {
            assert_eq!(content(&cause), 7);
            assert_eq!(child.cause(), Some(cause), "a cause never changes");
        }
        canceller.join().unwrap();
        assert_eq!(child.cause().as_ref().map(content), Some(7));
    });
}

#[test]
fn wait_cancel() {
    model("wait_cancel", None, || {
        let source = Source::new();
        let token = source.token();
        let waiter = thread::spawn(move || block_on(token.cancelled()));
        assert!(source.cancel(Cause::User));
        assert_eq!(waiter.join().unwrap(), Cause::User);
    });
}

#[test]
fn two_wait_cancel() {
    model("two_wait_cancel", Some(3), || {
        let source = Source::new();
        let waiters = [(); 2].map(|()| {
            let token = source.token();
            thread::spawn(move || block_on(token.cancelled()))
        });
        source.cancel(Cause::User);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Cause::User);
        }
    });
}

#[test]
fn child_cancel() {
    model("child_cancel", Some(3), || {
        let root = Source::new();
        let token = root.token();
        let waiter = thread::spawn(move || {
            // Two hops: the waiter takes both into the lists above them.
            let grandchild = token.child().child();
            let cause = block_on(grandchild.cancelled());
            assert!(grandchild.is_inherited() && token.is_cancelled());
            cause
        });
        root.cancel(Cause::Shutdown);
        assert_eq!(waiter.join().unwrap(), Cause::Shutdown);
    });
}

#[test]
fn child_own_cancel() {
    model("child_own_cancel", None, || {
        let root = Source::new();
        let child = root.child();
        let other = child.clone();
        let own = thread::spawn(move || {
            let won = other.cancel(Cause::User);
            (won, other.cause())
        });
        root.cancel(Cause::Shutdown);
        let seen = child.cause();
        let (won, after) = own.join().unwrap();
        assert_eq!(seen, after, "read once, it stays");
        assert_eq!(after, Some(if won { Cause::User } else { Cause::Shutdown }));
        assert_eq!(child.is_inherited(), !won);
    });
}

#[test]
fn settle_settle_cancel() {
    model("settle_settle_cancel", Some(3), || {
        let root = Source::new();
        let middle = root.child();
        let settlers = [(); 2].map(|()| {
            let child = middle.child();
            thread::spawn(move || {
                let _ = child.0.settle();
                child
            })
        });
        root.cancel(Cause::Shutdown);
        for settler in settlers {
            // In the list or not: when both have returned, it was told, or refused and told.
            assert!(told(&settler.join().unwrap()));
        }
    });
}

#[test]
fn settle_decided() {
    model("settle_decided", Some(3), || {
        let root = Source::new();
        let child = root.child();
        let (first, second) = (child.clone(), child.clone());
        // One takes it into the list and decides it there, the other finds it decided and in the list.
        let settler = thread::spawn(move || {
            let _ = first.0.settle();
            first.cancel(Cause::User);
        });
        let _ = second.0.settle();
        settler.join().unwrap();
        drop((second, child));
        // Whom a freed node was left in the list with would meet it here.
        let sibling = settled(&root);
        root.cancel(Cause::Shutdown);
        assert!(told(&sibling));
    });
}

#[test]
fn root_middle() {
    model("root_middle", Some(4), || {
        let root = Source::new();
        let middle = settled(&root);
        let child = settled(&middle);
        let grandchild = settled(&child);
        let below = [child.token(), grandchild.token()];
        let other = thread::spawn(move || {
            middle.cancel(Cause::User);
            assert!(below.iter().all(told), "middle returned");
        });
        root.cancel(Cause::Shutdown);
        assert!(told(&child) && told(&grandchild), "root returned");
        other.join().unwrap();
    });
}

#[test]
fn loser_helps() {
    model("loser_helps", None, || {
        let root = Source::new();
        let child = settled(&root);
        let grandchild = settled(&child);
        let (other, below) = (root.clone(), grandchild.token());
        let second = thread::spawn(move || {
            other.cancel(Cause::User);
            assert!(told(&below), "the second call returned");
        });
        root.cancel(Cause::Shutdown);
        assert!(told(&grandchild), "the first call returned");
        second.join().unwrap();
    });
}

#[test]
fn helpers_wake_all() {
    model("helpers_wake_all", Some(2), || {
        let root = Source::new();
        let middle = root.child();
        let leaf = middle.token();
        let waiter = thread::spawn(move || block_on(leaf.cancelled()));
        let helper = thread::spawn(move || middle.cancel(Cause::User));
        let first = root.cancel(Cause::Shutdown);
        let second = helper.join().unwrap();
        let cause = waiter.join().unwrap();
        assert!(first);
        assert_eq!(cause, if second { Cause::User } else { Cause::Shutdown });
    });
}

#[test]
fn batches_wake_all() {
    model("batches_wake_all", Some(2), || {
        let root = Source::new();
        let child = root.child();
        let mut waits: Vec<_> = (0..2 * BATCH + 1)
            .map(|_| Box::pin(child.cancelled_owned()))
            .collect();
        let told: Vec<_> = waits.iter().map(|_| Flag::new()).collect();
        for (wait, told) in waits.iter_mut().zip(&told) {
            let waker = Waker::from(StdArc::clone(told));
            let poll = wait.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(poll.is_pending());
        }
        let other = root.clone();
        let helper = thread::spawn(move || other.cancel(Cause::User));
        root.cancel(Cause::User);
        helper.join().unwrap();
        assert!(told.iter().all(|told| told.is_set()), "all were woken");
    });
}

#[test]
fn any_of_two() {
    model("any_of_two", Some(3), || {
        let (a, b) = (Source::new(), Source::new());
        let any = Token::any([a.token(), b.token()]);
        let waiter = thread::spawn(move || block_on(any.cancelled()));
        let other = thread::spawn(move || a.cancel(Cause::User));
        b.cancel(Cause::Failed);
        other.join().unwrap();
        let cause = waiter.join().unwrap();
        assert!([Cause::User, Cause::Failed].contains(&cause));
    });
}

#[test]
fn any_born_late() {
    model("any_born_late", None, || {
        let (a, b) = (Source::new(), Source::new());
        let tokens = [a.token(), b.token()];
        let maker = thread::spawn(move || Token::any(tokens));
        b.cancel(Cause::Failed);
        let any = maker.join().unwrap();
        assert!(told(&any));
        drop(a);
    });
}

#[test]
fn leave_wake() {
    model("leave_wake", None, || {
        let source = Source::new();
        let token = source.token();
        let leaver = thread::spawn(move || {
            let mut cancelled = Box::pin(token.cancelled());
            let first = poll_once(cancelled.as_mut());
            drop(cancelled);
            first.is_ready()
        });
        source.cancel(Cause::User);
        leaver.join().unwrap();
    });
}

#[test]
fn waker_replaced() {
    model("waker_replaced", None, || {
        let source = Source::new();
        let token = source.token();
        let waiter = thread::spawn(move || {
            let mut cancelled = pin!(token.cancelled());
            // Under one waker first, then under another: the second must be the one that is woken.
            let _ = poll_once(cancelled.as_mut());
            block_on(cancelled)
        });
        source.cancel(Cause::User);
        assert_eq!(waiter.join().unwrap(), Cause::User);
    });
}

#[test]
fn drop_cancel() {
    model("drop_cancel", None, || {
        let root = Source::new();
        let middle = settled(&root);
        let child = settled(&middle);
        drop(middle);
        let dropper = thread::spawn(move || drop(child));
        root.cancel(Cause::User);
        dropper.join().unwrap();
    });
}

#[test]
fn refs_last_drop() {
    model("refs_last_drop", None, || {
        let source = Source::new();
        source.cancel(Cause::custom(Watched(UnsafeCell::new(7))));
        let token = source.token();
        let reader = thread::spawn(move || {
            let cause = token.cause().unwrap();
            assert_eq!(content(&cause), 7);
            drop(cause);
            drop(token);
        });
        thread::yield_now();
        drop(source);
        reader.join().unwrap();
    });
}

#[test]
fn callback_stop() {
    model("callback_stop", None, || {
        let source = Source::new();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let registration = source.on_cancel(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let stopper = thread::spawn(move || registration.stop());
        source.cancel(Cause::User);
        let stopped = stopper.join().unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), usize::from(!stopped));
    });
}

#[test]
fn callback_late() {
    model("callback_late", None, || {
        let source = Source::new();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let token = source.token();
        let late = thread::spawn(move || {
            token
                .on_cancel(move |_| {
                    counted.fetch_add(1, Ordering::Relaxed);
                })
                .keep();
        });
        source.cancel(Cause::User);
        late.join().unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn any_drop_cancel() {
    model("any_drop_cancel", Some(2), || {
        let (a, b) = (Source::new(), Source::new());
        let child = settled(&Token::any([&a, &b]));
        let dropper = thread::spawn(move || drop(child));
        let other = thread::spawn(move || a.cancel(Cause::User));
        b.cancel(Cause::Failed);
        other.join().unwrap();
        dropper.join().unwrap();
    });
}

#[test]
fn settle_loser() {
    model("settle_loser", Some(2), || {
        let root = Source::new();
        let child = root.child().child();
        let (node, token, other) = (child.0.clone(), child.token(), root.clone());
        let settler = thread::spawn(move || drop(node.settle()));
        let second = thread::spawn(move || {
            other.cancel(Cause::User);
            assert!(token.is_cancelled(), "the second call returned");
        });
        root.cancel(Cause::Shutdown);
        assert!(child.is_cancelled(), "the first call returned");
        let cause = child.cause();
        second.join().unwrap();
        settler.join().unwrap();
        assert_eq!(child.cause(), cause);
    });
}

#[test]
fn callbacks_cancel_each_other() {
    model("callbacks_cancel_each_other", Some(3), || {
        let (a, b) = (Source::new(), Source::new());
        let calls = Arc::new(AtomicUsize::new(0));
        for (from, to) in [(&a, &b), (&b, &a)] {
            let (to, calls) = (to.clone(), Arc::clone(&calls));
            let call = move |_| {
                to.cancel(Cause::User);
                calls.fetch_add(1, Ordering::Relaxed);
            };
            from.on_cancel(call).keep();
        }
        let other = thread::spawn(move || b.cancel(Cause::User));
        a.cancel(Cause::User);
        other.join().unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    });
}
