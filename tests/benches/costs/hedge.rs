//! A hedged call that needs no hedge, beside tower's.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tower::Service;
use tower::hedge::{Hedge, Policy};

use crate::harness::Bench;

/// Every request may be hedged.
#[derive(Clone)]
struct Always;

impl Policy<u64> for Always {
    fn clone_request(&self, request: &u64) -> Option<u64> {
        Some(*request)
    }

    fn can_retry(&self, _request: &u64) -> bool {
        true
    }
}

/// Answers at once.
#[derive(Clone)]
struct Echo;

impl Service<u64> for Echo {
    type Response = u64;
    type Error = Infallible;
    type Future = Ready<Result<u64, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

pub(crate) fn run(bench: &mut Bench) {
    let mut context = Context::from_waker(Waker::noop());
    let mut again = Context::from_waker(Waker::noop());
    let ours = evenkeel::hedge::Hedge::new(Duration::from_millis(10));
    let mut peer = Hedge::new(Echo, Always, 10, 0.95, Duration::from_secs(10));
    bench
        .case("ready")
        .op("evenkeel", || {
            let call = pin!(ours.run(|_| ready(Ok::<_, Infallible>(7_u64))));
            assert!(call.poll(&mut again).is_ready());
        })
        .op("tower", || {
            assert!(peer.poll_ready(&mut context).is_ready());
            let call = pin!(peer.call(7));
            assert!(call.poll(&mut context).is_ready());
        })
        .op("floor", || {
            let call = pin!(ready(Ok::<_, Infallible>(7_u64)));
            assert!(
                call.poll(&mut Context::from_waker(Waker::noop()))
                    .is_ready()
            );
        })
        .run();
}
