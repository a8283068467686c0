//! No deadline is slept over, and none outlives its queue.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use evenkeel_sync::{Arc, Mutex, block_on, model, thread};

use crate::Cause;
use crate::counted::NodeRef;
use crate::deadline::Deadline;
use crate::node::Node;
use crate::queue::{Alarm, Queue, Tick, Timed};
use crate::sweep::{BATCH, cancel};
use crate::up::{Ext, Up};
use crate::word::{DECIDED, Packed};

/// Two times that come, one after the other, when they are [told](Bell::pass) to; later ones never do.
const SOON: Tick = 5;
const LATER: Tick = 9;
const NEVER: Tick = Tick::MAX;

struct Bell(Mutex<State>);

struct State {
    /// It goes off once, and is set to nothing then.
    at: Tick,
    now: Tick,
    /// It went off since it was last looked at.
    rung: bool,
    waker: Option<Waker>,
}

impl State {
    fn ring_if_due(&mut self) {
        if self.at <= self.now {
            self.at = NEVER;
            self.rung = true;
            self.waker.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Bell {
    fn pass(&self, to: Tick) {
        let mut state = self.0.lock();
        state.now = to;
        state.ring_if_due();
    }
}

struct Modelled(Arc<Bell>);

impl Alarm for Modelled {
    fn now(&self) -> Tick {
        self.0.0.lock().now
    }

    fn set(&mut self, to: Tick) {
        let mut state = self.0.0.lock();
        state.at = to;
        state.ring_if_due();
    }

    fn stop(&mut self) {}
}

fn queue() -> (Arc<Queue>, Arc<Bell>) {
    let bell = Arc::new(Bell(Mutex::new(State {
        at: NEVER,
        now: 0,
        rung: false,
        waker: None,
    })));
    let alarm = Modelled(Arc::clone(&bell));
    (Queue::new(Box::new(alarm)), bell)
}

/// A node with a deadline at `tick`, not yet in the queue.
fn timed(queue: &Arc<Queue>, tick: Tick) -> NodeRef {
    let timed = Timed::new(Node::root(), Arc::clone(queue), tick);
    Node::hang(Up::ext(Ext::Timed(timed)), Deadline::NEVER)
}

/// Rings whenever the alarm goes off, until all of `nodes` are cancelled.
fn drive(queue: &Queue, bell: &Bell, nodes: &[NodeRef]) {
    block_on(poll_fn(|cx| {
        loop {
            if nodes.iter().all(|node| node.load().has(DECIDED)) {
                return Poll::Ready(());
            }
            let mut state = bell.0.lock();
            if !std::mem::take(&mut state.rung) {
                state.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            drop(state);
            while queue.ring() {}
        }
    }));
}

#[test]
fn enqueue_drive() {
    model("enqueue_drive", Some(3), || {
        let (queue, bell) = queue();
        let node = timed(&queue, SOON);
        let (driven, due, hears) = (Arc::clone(&queue), [node.clone()], Arc::clone(&bell));
        let driver = thread::spawn(move || drive(&driven, &hears, &due));
        let time = thread::spawn(move || bell.pass(SOON));
        assert!(node.enqueue());
        time.join().unwrap();
        driver.join().unwrap();
    });
}

#[test]
fn earlier_drive() {
    model("earlier_drive", Some(3), || {
        let (queue, bell) = queue();
        let earlier = timed(&queue, SOON);
        let (driven, due, hears) = (Arc::clone(&queue), [earlier.clone()], Arc::clone(&bell));
        let driver = thread::spawn(move || drive(&driven, &hears, &due));
        let later = timed(&queue, LATER);
        let other = thread::spawn(move || {
            assert!(later.enqueue());
            later
        });
        assert!(earlier.enqueue());
        bell.pass(SOON);
        driver.join().unwrap();
        assert!(!other.join().unwrap().load().has(DECIDED));
    });
}

#[test]
fn one_after_the_other() {
    model("one_after_the_other", Some(3), || {
        let (queue, bell) = queue();
        let (first, second) = (timed(&queue, SOON), timed(&queue, LATER));
        assert!(first.enqueue());
        let (driven, due, hears) = (
            Arc::clone(&queue),
            [first, second.clone()],
            Arc::clone(&bell),
        );
        let driver = thread::spawn(move || drive(&driven, &hears, &due));
        bell.pass(SOON);
        assert!(second.enqueue());
        bell.pass(LATER);
        driver.join().unwrap();
    });
}

#[test]
fn enqueue_close() {
    model("enqueue_close", None, || {
        let (queue, _) = queue();
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
        let (queue, bell) = queue();
        let (gone, kept) = (timed(&queue, SOON), timed(&queue, SOON));
        assert!(gone.enqueue() && kept.enqueue());
        bell.pass(SOON);
        let driven = Arc::clone(&queue);
        let driver = thread::spawn(move || drive(&driven, &bell, &[kept]));
        drop(gone);
        driver.join().unwrap();
    });
}

#[test]
fn batches_drive() {
    model("batches_drive", Some(2), || {
        let (queue, bell) = queue();
        let mut nodes: Vec<_> = (0..=BATCH).map(|_| timed(&queue, SOON)).collect();
        assert!(nodes.iter().all(|node| node.enqueue()));
        let late = timed(&queue, SOON);
        nodes.push(late.clone());
        bell.pass(SOON);
        let driven = Arc::clone(&queue);
        let driver = thread::spawn(move || drive(&driven, &bell, &nodes));
        assert!(late.enqueue());
        driver.join().unwrap();
    });
}

#[test]
fn parent_drop_close() {
    model("parent_drop_close", Some(2), || {
        let (queue, _) = queue();
        let node = timed(&queue, SOON);
        assert!(node.enqueue());
        let _ = node.settle();
        let parent = node.up.timed().unwrap().parent.clone();
        let closer = thread::spawn(move || queue.close());
        let dropper = thread::spawn(move || drop(node));
        cancel(&parent, Packed::new(Cause::User));
        closer.join().unwrap();
        dropper.join().unwrap();
    });
}
