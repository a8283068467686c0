//! No deadline is slept over, and none outlives its queue.

use std::future::poll_fn;
use std::task::Poll;

use evenkeel_sync::{Arc, block_on, model, thread};

use crate::deadline::Deadline;
use crate::node::{Node, NodeRef};
use crate::queue::{Queue, Tick, Timed};
use crate::up::{Ext, Up};
use crate::word::DECIDED;

/// A node with a deadline at `tick`, not yet in the queue.
fn timed(queue: &Arc<Queue>, tick: Tick) -> NodeRef {
    let timed = Timed::new(Node::root(), Arc::clone(queue), tick);
    Node::hang(Up::ext(Ext::Timed(timed)), Deadline::NEVER)
}

/// Drives the queue at tick 0, where nothing is due, until it would sleep no longer than `until`.
fn sleeps_until(queue: &Queue, until: Tick) {
    block_on(poll_fn(|cx| match queue.turn(0, cx.waker()) {
        Some(next) if next <= until => Poll::Ready(()),
        _ => Poll::Pending,
    }));
}

#[test]
fn enqueue_turn() {
    model("enqueue_turn", None, || {
        let queue = Queue::new();
        let driven = Arc::clone(&queue);
        let driver = thread::spawn(move || sleeps_until(&driven, 5));
        let node = timed(&queue, 5);
        assert!(node.enqueue());
        driver.join().unwrap();
    });
}

#[test]
fn earlier_turn() {
    model("earlier_turn", Some(3), || {
        let queue = Queue::new();
        let driven = Arc::clone(&queue);
        let driver = thread::spawn(move || sleeps_until(&driven, 5));
        let later = timed(&queue, 9);
        let other = thread::spawn(move || {
            assert!(later.enqueue());
            later
        });
        let earlier = timed(&queue, 5);
        assert!(earlier.enqueue());
        driver.join().unwrap();
        drop(other.join().unwrap());
    });
}

#[test]
fn enqueue_close() {
    model("enqueue_close", None, || {
        let queue = Queue::new();
        let closed = Arc::clone(&queue);
        let closer = thread::spawn(move || closed.close());
        let node = timed(&queue, 5);
        let kept = node.enqueue();
        closer.join().unwrap();
        assert_eq!(node.load().has(DECIDED), kept, "refused, or cancelled");
    });
}

#[test]
fn drop_turn() {
    model("drop_turn", None, || {
        let queue = Queue::new();
        let node = timed(&queue, 5);
        assert!(node.enqueue());
        let driven = Arc::clone(&queue);
        let driver = thread::spawn(move || driven.turn(5, std::task::Waker::noop()));
        drop(node);
        assert_eq!(driver.join().unwrap(), None);
    });
}
