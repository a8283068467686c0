//! Models of the awaited pulse.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use evenkeel_sync::{Arc, UnsafeCell, block_on, model, thread};

use crate::word::{Seen, Word};

async fn next(word: &Word, seen: u64) -> Seen {
    poll_fn(|cx| word.poll(seen, cx)).await
}

/// A beat that races with the registration wakes or is seen: the waiter never sleeps for ever.
#[test]
fn register_beat() {
    model("register_beat", None, || {
        let word = Arc::new(Word::new(0));
        let worker = thread::spawn({
            let word = Arc::clone(&word);
            move || word.beat()
        });
        assert_eq!(block_on(next(&word, 0)).since(0), 1);
        worker.join().unwrap();
    });
}

/// Beats before the close are delivered, then the close.
#[test]
fn beat_close() {
    model("beat_close", Some(3), || {
        let word = Arc::new(Word::new(0));
        let worker = thread::spawn({
            let word = Arc::clone(&word);
            move || {
                word.beat();
                word.close();
            }
        });
        let first = block_on(next(&word, 0));
        assert_eq!(first.since(0), 1);
        let last = if first.closed {
            first
        } else {
            block_on(next(&word, 1))
        };
        assert!(last.closed && last.count == 1);
        worker.join().unwrap();
    });
}

/// Two workers: the waker is taken once, and both beats are counted.
#[test]
fn two_workers() {
    model("two_workers", Some(3), || {
        let word = Arc::new(Word::new(0));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let word = Arc::clone(&word);
                thread::spawn(move || word.beat())
            })
            .collect();
        let mut seen = 0;
        while seen < 2 {
            seen = block_on(next(&word, seen)).count;
        }
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(word.read().count, 2);
    });
}

/// Runs `last`, a beat or a close, against a listener that waits for it and reads what was written before.
fn publish(name: &str, last: fn(&Word), wait: fn(&Word)) {
    model(name, None, move || {
        let shared = Arc::new((Word::new(0), UnsafeCell::new(0)));
        let worker = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                // SAFETY: written before the beat, read after it.
                shared.1.with_mut(|cell| unsafe { *cell = 1 });
                last(&shared.0);
            }
        });
        wait(&shared.0);
        // SAFETY: the beat was seen.
        assert_eq!(shared.1.with(|cell| unsafe { *cell }), 1);
        worker.join().unwrap();
    });
}

/// What was written before a beat is seen after it.
#[test]
fn publish_beat() {
    publish("publish_beat", Word::beat, |word| {
        block_on(next(word, 0));
    });
}

/// What was written before the close is seen after it.
#[test]
fn publish_close() {
    publish("publish_close", Word::close, |word| {
        block_on(next(word, 0));
    });
}

/// The same for one who only looks.
#[test]
fn publish_read() {
    publish("publish_read", Word::close, |word| {
        while !word.read().closed {
            thread::yield_now();
        }
    });
}

/// A waiter that polls again while a beat is taking its old waker keeps off the cell, and is still woken.
#[test]
fn register_again() {
    model("register_again", Some(3), || {
        let word = Arc::new(Word::new(0));
        // Registered with a waker that wakes nobody, then waited for in earnest.
        let mut idle = Context::from_waker(Waker::noop());
        assert!(word.poll(0, &mut idle).is_pending());
        let worker = thread::spawn({
            let word = Arc::clone(&word);
            move || {
                word.beat();
                word.beat();
            }
        });
        let mut seen = 0;
        while seen < 2 {
            seen = block_on(next(&word, seen)).count;
        }
        worker.join().unwrap();
    });
}

/// A listener that goes away while a beat comes leaves neither a race nor a waker behind.
#[test]
fn forget() {
    model("forget", None, || {
        let word = Arc::new(Word::new(0));
        let worker = thread::spawn({
            let word = Arc::clone(&word);
            move || word.beat()
        });
        let mut idle = Context::from_waker(Waker::noop());
        let polled = pin!(next(&word, 0)).as_mut().poll(&mut idle);
        if let Poll::Ready(seen) = polled {
            assert_eq!(seen.count, 1);
        }
        word.forget();
        worker.join().unwrap();
        assert_eq!(word.read().count, 1);
    });
}
