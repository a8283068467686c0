//! The layer before a service, on a paused clock.
#![cfg(all(feature = "tower", not(loom)))]

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evenkeel_bucket::tower::{BoxError, Limited, LimiterLayer};
use evenkeel_bucket::{All, AnyLimiter, Bucket, Denied, Limiter, Rate, Refusal};
use tokio::task::yield_now;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

const SECOND: Duration = Duration::from_secs(1);

/// Answers with the number of the request. As some services do, it may be called only when it has been made ready, and a
/// clone of it is not.
#[derive(Default)]
struct Counting {
    ready: bool,
    served: Arc<Mutex<Vec<u32>>>,
}

impl Clone for Counting {
    fn clone(&self) -> Self {
        Self {
            ready: false,
            served: Arc::clone(&self.served),
        }
    }
}

impl Service<u32> for Counting {
    type Response = u32;
    type Error = Infallible;
    type Future = std::future::Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "it was not made ready");
        self.served.lock().unwrap().push(request);
        std::future::ready(Ok(request))
    }
}

async fn ready<L>(service: &mut Limited<Counting, L>)
where
    L: Limiter + Send + Sync + 'static,
{
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
}

async fn call<L>(service: &mut Limited<Counting, L>, request: u32) -> Result<u32, BoxError>
where
    L: Limiter + Send + Sync + 'static,
{
    ready(service).await;
    service.call(request).await
}

fn denied(result: Result<u32, BoxError>) -> Denied {
    *result.unwrap_err().downcast().expect("a refusal")
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_its_token_and_those_before_it() {
    let api = Bucket::new(Rate::every(SECOND), 1);
    let mut service = LimiterLayer::new(api).layer(Counting::default());
    let start = Instant::now();
    let mut answers = Vec::new();
    for request in 0..4 {
        ready(&mut service).await;
        answers.push(tokio::spawn(service.call(request)));
        yield_now().await;
    }
    for (request, answer) in (0..).zip(answers) {
        assert_eq!(answer.await.unwrap().unwrap(), request);
        assert_eq!(start.elapsed(), request * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn what_would_have_to_wait_for_longer_is_refused_at_once() {
    let inner = Counting::default();
    let api = Bucket::new(Rate::every(SECOND), 1).named("api");
    let layer = LimiterLayer::new(api.clone());
    let mut patient = layer.clone().within(3 * SECOND / 2).layer(inner.clone());
    let mut hasty = layer.within(Duration::ZERO).layer(inner.clone());
    let start = Instant::now();
    assert_eq!(call(&mut hasty, 0).await.unwrap(), 0);
    let refused = denied(call(&mut hasty, 1).await);
    assert_eq!(refused.by(), "api");
    assert_eq!(refused.refusal(), Refusal::DeadlineTooSoon);
    assert_eq!(refused.retry_after(), Some(SECOND));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(call(&mut patient, 2).await.unwrap(), 2);
    assert_eq!(start.elapsed(), SECOND);
    // Counted from the call: whoever waits in line already counts.
    let mut waiting = Vec::new();
    for request in [3, 4] {
        ready(&mut patient).await;
        waiting.push(tokio::spawn(patient.call(request)));
        yield_now().await;
    }
    let [third, fourth] = waiting.try_into().unwrap();
    assert_eq!(
        denied(fourth.await.unwrap()).retry_after(),
        Some(2 * SECOND)
    );
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(third.await.unwrap().unwrap(), 3);
    assert_eq!(*inner.served.lock().unwrap(), [0, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn readiness_takes_no_token() {
    let api = Bucket::new(Rate::ZERO, 2);
    let mut service = LimiterLayer::new(api.clone()).layer(Counting::default());
    for _ in 0..10 {
        ready(&mut service).await;
        ready(&mut service.clone()).await;
    }
    assert_eq!(api.peek().tokens, 2);
    assert_eq!(call(&mut service, 0).await.unwrap(), 0);
    assert_eq!(api.peek().tokens, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_takes_its_token_when_it_is_polled_and_a_dropped_one_none() {
    let api = Bucket::new(Rate::every(SECOND), 1);
    let inner = Counting::default();
    let mut service = LimiterLayer::new(api.clone()).layer(inner.clone());
    ready(&mut service).await;
    drop(service.call(0));
    assert_eq!(api.peek().tokens, 1);
    api.try_acquire(1).unwrap();
    ready(&mut service).await;
    let mut waiting = service.call(1);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    drop(waiting);
    tokio::time::advance(SECOND).await;
    assert_eq!(api.peek().tokens, 1);
    assert!(api.try_acquire(1).is_ok(), "nobody is in line");
    assert!(inner.served.lock().unwrap().is_empty());
}

/// Counts what it is asked; its clones would not share the count.
#[derive(Default)]
struct Own(AtomicUsize);

impl Limiter for Own {
    async fn acquire(&self, n: u64, _: Option<Instant>) -> Result<evenkeel_bucket::Grant, Denied> {
        match self.0.fetch_add(1, Relaxed) {
            0 | 1 => Ok(evenkeel_bucket::Grant::of(n, 0)),
            _ => Err(Denied::by_limit("own", Refusal::Unavailable)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_layer_makes_shares_one_limit_of_any_kind() {
    let layer = LimiterLayer::new(Own::default());
    let mut one = layer.layer(Counting::default());
    let mut other = layer.clone().layer(Counting::default());
    assert!(call(&mut one, 0).await.is_ok());
    assert!(call(&mut other, 1).await.is_ok());
    let refused = denied(call(&mut one.clone(), 2).await);
    assert_eq!((refused.by(), refused.retry_after()), ("own", None));

    let bucket = Bucket::new(Rate::ZERO, 1);
    let all = All::new([&bucket]);
    let mut all = LimiterLayer::new(AnyLimiter::new(all)).layer(Counting::default());
    assert!(call(&mut all, 0).await.is_ok());
    assert_eq!(denied(call(&mut all, 1).await).refusal(), Refusal::Never);
}

/// A wait that no clock can name has no end.
#[tokio::test(start_paused = true)]
async fn the_longest_patience_waits_for_as_long_as_it_takes() {
    let api = Bucket::new(Rate::every(SECOND), 1);
    let layer = LimiterLayer::new(api).within(Duration::MAX);
    let mut service = layer.layer(Counting::default());
    assert!(call(&mut service, 0).await.is_ok());
    assert!(call(&mut service, 1).await.is_ok());
}
