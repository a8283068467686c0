//! No deadline is slept over, and none outlives its queue.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use evenkeel_sync::{Arc, block_on, model, thread};

use crate::counted::NodeRef;
use crate::deadline::Deadline;
use crate::node::Node;
use crate::queue::{Alarm, Queue, Tick, Timed};
use crate::sweep::BATCH;
use crate::up::{Ext, Up};
use crate::word::DECIDED;

/// It is time for this as soon as the alarm is set to it, and never for what is later.
const SOON: Tick = 5;

struct Modelled {
    at: Tick,
    waker: Option<Waker>,
}

impl Alarm for Modelled {
    fn now(&self) -> Tick {
        if self.at <= SOON { SOON } else { 0 }
    }

    fn set(&mut self, to: Tick) {
        self.at = to;
        if to <= SOON {
            self.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.at <= SOON {
            return Poll::Ready(());
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn queue() -> Arc<Queue> {
    Queue::new(Box::new(Modelled {
        at: Tick::MAX,
        waker: None,
    }))
}

/// A node with a deadline at `tick`, not yet in the queue.
fn timed(queue: &Arc<Queue>, tick: Tick) -> NodeRef {
    let timed = Timed::new(Node::root(), Arc::clone(queue), tick);
    Node::hang(Up::ext(Ext::Timed(timed)), Deadline::NEVER)
}

/// Drives the queue until all of `nodes` are cancelled.
fn drive(queue: &Queue, nodes: &[NodeRef]) {
    block_on(poll_fn(|cx| {
        let poll = queue.drive(cx);
        if nodes.iter().all(|node| node.load().has(DECIDED)) {
            return Poll::Ready(());
        }
        poll
    }));
}

#[test]
fn enqueue_drive() {
    model("enqueue_drive", Some(3), || {
        let queue = queue();
        let node = timed(&queue, SOON);
        let (driven, due) = (Arc::clone(&queue), [node.clone()]);
        let driver = thread::spawn(move || drive(&driven, &due));
        assert!(node.enqueue());
        driver.join().unwrap();
    });
}

#[test]
fn earlier_drive() {
    model("earlier_drive", Some(2), || {
        let queue = queue();
        let earlier = timed(&queue, SOON);
        let (driven, due) = (Arc::clone(&queue), [earlier.clone()]);
        let driver = thread::spawn(move || drive(&driven, &due));
        let later = timed(&queue, SOON + 4);
        let other = thread::spawn(move || {
            assert!(later.enqueue());
            later
        });
        assert!(earlier.enqueue());
        driver.join().unwrap();
        assert!(!other.join().unwrap().load().has(DECIDED));
    });
}

#[test]
fn enqueue_close() {
    model("enqueue_close", None, || {
        let queue = queue();
        let closed = Arc::clone(&queue);
        let closer = thread::spawn(move || closed.close());
        let node = timed(&queue, SOON);
        let kept = node.enqueue();
        closer.join().unwrap();
        assert_eq!(node.load().has(DECIDED), kept, "refused, or cancelled");
    });
}

#[test]
fn drop_drive() {
    model("drop_drive", Some(3), || {
        let queue = queue();
        let (gone, kept) = (timed(&queue, SOON), timed(&queue, SOON));
        assert!(gone.enqueue() && kept.enqueue());
        let driven = Arc::clone(&queue);
        let driver = thread::spawn(move || drive(&driven, &[kept]));
        drop(gone);
        driver.join().unwrap();
    });
}

#[test]
fn batches_drive() {
    model("batches_drive", Some(2), || {
        let queue = queue();
        let mut nodes: Vec<_> = (0..=BATCH).map(|_| timed(&queue, SOON)).collect();
        assert!(nodes.iter().all(|node| node.enqueue()));
        let late = timed(&queue, SOON);
        nodes.push(late.clone());
        let driven = Arc::clone(&queue);
        let driver = thread::spawn(move || drive(&driven, &nodes));
        assert!(late.enqueue());
        driver.join().unwrap();
    });
}
