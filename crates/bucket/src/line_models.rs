//! Waiters against whatever makes their turn come: no wake-up may be lost.

use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use evenkeel_sync::{Arc, block_on, model, thread};

use crate::Rate;
use crate::line::{GRACE, Gate, Limit};
use crate::plan::Ask;
use crate::several::take_all;
use crate::waiter::{Step, Waiter};

/// An empty bucket that refills so slowly that only a refund helps.
fn empty(id: u64, depth: u32) -> Arc<Gate> {
    empty_for(id, depth, Duration::from_secs(1))
}

fn empty_for(id: u64, depth: u32, interval: Duration) -> Arc<Gate> {
    let rate = Rate::every(interval);
    let gate = Arc::new(Gate::new(id, Limit { rate, depth }, 0));
    assert!(gate.counter.take(&Ask::now(depth.into(), 0)).is_ok());
    gate
}

/// Waits without a timer, so that a lost wake-up is a deadlock.
fn wait(gates: &[Arc<Gate>], ticket: u64) {
    wait_at(gates, ticket, 0);
}

fn wait_at(gates: &[Arc<Gate>], ticket: u64, now: u64) {
    let strict: Vec<u32> = (0..).take(gates.len()).collect();
    let mut waiter = Waiter::new(gates, &strict, ticket, 1);
    block_on(poll_fn(|cx| match waiter.poll(now, None, cx.waker()) {
        Step::Granted(_) => Poll::Ready(()),
        Step::Wait(_) => Poll::Pending,
        refused => panic!("{refused:?}"),
    }));
}

/// Waits with a timer that fires at once if it is set for soon, and never if it is set for later.
fn wait_for_soon(gates: &[Arc<Gate>], ticket: u64) {
    let strict: Vec<u32> = (0..).take(gates.len()).collect();
    let mut waiter = Waiter::new(gates, &strict, ticket, 1);
    let mut now = 0;
    block_on(poll_fn(|cx| {
        loop {
            match waiter.poll(now, None, cx.waker()) {
                Step::Granted(_) => return Poll::Ready(()),
                Step::Wait(Some(until)) if until <= 8 * GRACE => now = until,
                Step::Wait(_) => return Poll::Pending,
                refused => panic!("{refused:?}"),
            }
        }
    }));
}

fn give_up(gates: &[Arc<Gate>], ticket: u64) {
    let mut waiter = Waiter::new(gates, &[0], ticket, 1);
    block_on(poll_fn(|cx| {
        let _ = waiter.poll(0, None, cx.waker());
        Poll::Ready(())
    }));
}

#[test]
fn wait_refund() {
    model("wait_refund", None, || {
        let gate = empty(0, 1);
        let other = Arc::clone(&gate);
        let other = thread::spawn(move || wait(&[other], 0));
        gate.refund(1, 0);
        other.join().unwrap();
    });
}

/// A token falls due while somebody stands in line for it: who comes new at that moment does not get it.
#[test]
fn wait_refill() {
    const DUE: u64 = 1_000_000_000;
    model("wait_refill", None, || {
        let gates = [empty(0, 1)];
        let mut waiter = Waiter::new(&gates, &[0], 0, 1);
        let mut poll = |now| {
            block_on(poll_fn(|cx| {
                Poll::Ready(waiter.poll(now, None, cx.waker()))
            }))
        };
        assert_eq!(poll(0), Step::Wait(Some(DUE)));
        let gate = Arc::clone(&gates[0]);
        let newcomer = thread::spawn(move || gate.counter.take(&Ask::now(1, DUE)).is_ok());
        let step = poll(DUE);
        assert!(!newcomer.join().unwrap(), "a newcomer overtook the waiter");
        assert!(matches!(step, Step::Granted(_)), "{step:?}");
    });
}

/// Whether the head takes the token or gives up, nobody is left behind with a token in the bucket.
#[test]
fn cancel_head() {
    model("cancel_head", Some(3), || {
        let gate = empty(0, 2);
        let head = Arc::clone(&gate);
        let head = thread::spawn(move || give_up(&[head], 0));
        let next = Arc::clone(&gate);
        let next = thread::spawn(move || wait(&[next], 1));
        gate.refund(2, 0);
        head.join().unwrap();
        next.join().unwrap();
    });
}

/// The head's timer is not kept up: it is called by whoever finds it overdue before it is passed over, and keeps its turn.
#[test]
fn call_overdue_head() {
    const LATER: u64 = 3_000_000_000;
    model("call_overdue_head", None, || {
        let gates = [empty(0, 2)];
        let mut head = Waiter::new(&gates, &[0], 0, 1);
        let mut next = None;
        block_on(poll_fn(|cx| {
            let now = if next.is_some() { LATER } else { 0 };
            let step = head.poll(now, None, cx.waker());
            next.get_or_insert_with(|| {
                let gate = Arc::clone(&gates[0]);
                thread::spawn(move || wait_at(&[gate], 1, LATER))
            });
            match step {
                Step::Granted(_) => Poll::Ready(()),
                Step::Wait(_) => Poll::Pending,
                refused => panic!("{refused:?}"),
            }
        }));
        next.unwrap().join().unwrap();
    });
}

#[test]
fn wait_wait_refund() {
    model("wait_wait_refund", Some(3), || {
        let gate = empty(0, 2);
        let waiters = [0, 1].map(|ticket| {
            let gate = Arc::clone(&gate);
            thread::spawn(move || wait(&[gate], ticket))
        });
        gate.refund(1, 0);
        gate.refund(1, 0);
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn wait_all_refund() {
    model("wait_all_refund", Some(3), || {
        let gates = [empty(0, 1), empty(1, 1)];
        let both = gates.clone();
        let waiter = thread::spawn(move || wait(&both, 0));
        let second = Arc::clone(&gates[1]);
        let second = thread::spawn(move || second.refund(1, 0));
        gates[0].refund(1, 0);
        second.join().unwrap();
        waiter.join().unwrap();
        let ask = Ask::now(1, 0);
        assert!(
            take_all(&gates, &[0, 1], &ask).is_err(),
            "both were charged"
        );
    });
}

/// Nobody polls the head any more, and the refund wakes it: the one behind it comes nevertheless.
#[test]
fn refund_forgotten_head() {
    model("refund_forgotten_head", None, || {
        let gates = [empty(0, 2)];
        let mut forgotten = Waiter::new(&gates, &[0], 0, 1);
        let step = forgotten.poll(0, None, Waker::noop());
        assert!(matches!(step, Step::Wait(_)));
        let next = Arc::clone(&gates[0]);
        let next = thread::spawn(move || wait_for_soon(&[next], 1));
        gates[0].refund(2, 0);
        next.join().unwrap();
    });
}

/// The same where the head gives up and the one behind it is forgotten.
#[test]
fn cancel_before_forgotten() {
    model("cancel_before_forgotten", None, || {
        let soon = Duration::from_nanos(GRACE);
        let gates = [empty_for(0, 9, soon)];
        let mut head = Waiter::new(&gates, &[0], 0, 9);
        let mut forgotten = Waiter::new(&gates, &[0], 1, 1);
        for waiter in [&mut head, &mut forgotten] {
            let step = waiter.poll(0, None, Waker::noop());
            assert!(matches!(step, Step::Wait(_)));
        }
        let next = Arc::clone(&gates[0]);
        let next = thread::spawn(move || wait_for_soon(&[next], 2));
        drop(head);
        next.join().unwrap();
    });
}

/// It stands at the first gate only, so what happens at the second does not wake it: its timer must be for the first.
#[test]
fn wait_first_refund_second() {
    model("wait_first_refund_second", None, || {
        let gates = [empty_for(0, 1, Duration::from_nanos(GRACE)), empty(1, 1)];
        let both = gates.clone();
        let waiter = thread::spawn(move || wait_for_soon(&both, 0));
        gates[1].refund(1, 0);
        waiter.join().unwrap();
    });
}

/// Nobody polls the head any more, and nobody waits: tries alone open the bucket again.
#[test]
fn try_behind_forgotten() {
    const LATER: u64 = 3_000_000_000;
    model("try_behind_forgotten", None, || {
        let gates = [empty(0, 1)];
        let mut forgotten = Waiter::new(&gates, &[0], 0, 1);
        let step = forgotten.poll(0, None, Waker::noop());
        assert!(matches!(step, Step::Wait(_)));
        let tries = [LATER, LATER + GRACE].map(|now| {
            let gate = Arc::clone(&gates[0]);
            thread::spawn(move || gate.estimate(1, now))
        });
        for other in tries {
            other.join().unwrap();
        }
        assert!(gates[0].estimate(1, LATER + 2 * GRACE).is_some());
        let taken = gates[0].counter.take(&Ask::now(1, LATER + 2 * GRACE));
        assert!(taken.is_ok(), "the forgotten one keeps the bucket closed");
    });
}
