use std::future::poll_fn;
use std::task::Poll;

use evenkeel_sync::{Arc, block_on, model, thread};

use crate::outlet::{Outlet, Refusal};

/// A push that races the fence is received once or comes back, never both and never neither; after the fence has
/// returned, nothing of the old generation gets in.
#[test]
fn push_fence() {
    model("push_fence", None, || {
        let outlet = Arc::new(Outlet::new(4));
        assert!(outlet.open(1));
        let old = {
            let outlet = Arc::clone(&outlet);
            thread::spawn(move || outlet.push(1, 'a').is_err())
        };
        outlet.fence(1);
        let before = outlet.pop();
        let came_back = old.join().unwrap();
        assert_eq!(outlet.pop(), None, "a ghost spoke after the fence");
        assert_ne!(before.is_some(), came_back, "received and refused, or lost");
    });
}

/// At most one generation is let in: an old start that comes late is shut out, and so is what it publishes.
#[test]
fn one_unfenced() {
    model("one_unfenced", None, || {
        let outlet = Arc::new(Outlet::new(4));
        let late = {
            let outlet = Arc::clone(&outlet);
            thread::spawn(move || {
                let let_in = outlet.open(1);
                let pushed = outlet.push(1, 1).is_ok();
                assert!(let_in || !pushed, "a start that was overtaken published");
            })
        };
        outlet.fence(1);
        assert!(outlet.open(2));
        assert!(outlet.push(2, 2).is_ok(), "the new one is shut out");
        late.join().unwrap();
        assert!(outlet.push(1, 1).is_err(), "two are let in");
        let mut last = 0;
        while let Some(value) = outlet.pop() {
            assert!(value > last, "a ghost spoke after its successor");
            last = value;
        }
    });
}

/// A reader that waits is woken by the value, and by the end.
#[test]
fn pop_wakes() {
    model("pop_wakes", None, || {
        let outlet = Arc::new(Outlet::new(1));
        assert!(outlet.open(1));
        let ward = {
            let outlet = Arc::clone(&outlet);
            thread::spawn(move || {
                outlet.push(1, 7).unwrap();
                outlet.end();
            })
        };
        let next = || {
            let mut ticket = outlet.ticket();
            block_on(poll_fn(|cx| ticket.poll_pop(cx)))
        };
        assert_eq!(next(), Some(7));
        assert_eq!(next(), None);
        ward.join().unwrap();
    });
}

/// A writer that waits for room is woken by room, or told that it is fenced.
#[test]
fn push_waits() {
    model("push_waits", Some(3), || {
        let outlet = Arc::new(Outlet::new(1));
        assert!(outlet.open(1));
        outlet.push(1, 1).unwrap();
        let writer = {
            let outlet = Arc::clone(&outlet);
            thread::spawn(move || {
                let mut ticket = outlet.ticket();
                block_on(poll_fn(|cx| match ticket.poll_push(1, 2, cx) {
                    Err((_, Refusal::Full)) => Poll::Pending,
                    other => Poll::Ready(other.is_ok()),
                }))
            })
        };
        let reader = {
            let outlet = Arc::clone(&outlet);
            thread::spawn(move || outlet.pop())
        };
        outlet.fence(1);
        let first = reader.join().unwrap();
        assert_eq!(first, Some(1));
        let pushed = writer.join().unwrap();
        assert_eq!(outlet.pop().is_some(), pushed);
    });
}

/// A writer that waits for room is told when the last handle goes.
#[test]
fn push_abandoned() {
    model("push_abandoned", None, || {
        let outlet = Arc::new(Outlet::new(1));
        assert!(outlet.open(1));
        outlet.push(1, 1).unwrap();
        let reader = {
            let outlet = Arc::clone(&outlet);
            thread::spawn(move || outlet.detach())
        };
        let mut ticket = outlet.ticket();
        let refused = block_on(poll_fn(|cx| match ticket.poll_push(1, 2, cx) {
            Err((_, Refusal::Full)) => Poll::Pending,
            other => Poll::Ready(other),
        }));
        assert_eq!(refused, Err((2, Refusal::NoReader)));
        reader.join().unwrap();
    });
}
