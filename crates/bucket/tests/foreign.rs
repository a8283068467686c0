//! Wakers that call back into the crate from wherever they are called: no lock may be held then.

#![cfg(not(loom))]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use std::time::Duration;

use evenkeel_bucket::{All, Bucket, Denied, Grant, Rate};

type Act = Arc<dyn Fn() + Send + Sync>;

/// A waker that acts whenever it is cloned, woken or dropped.
fn acting(act: Act) -> Waker {
    const TABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            // SAFETY: `data` is from `Arc::into_raw`, and this call leaves its count as it was.
            let act = std::mem::ManuallyDrop::new(unsafe { Arc::from_raw(data.cast::<Act>()) });
            act();
            RawWaker::new(Arc::into_raw(Arc::clone(&act)).cast(), &TABLE)
        },
        // SAFETY: the waker's own count.
        |data| unsafe { Arc::from_raw(data.cast::<Act>())() },
        // SAFETY: as above, and the count is kept.
        |data| unsafe { std::mem::ManuallyDrop::new(Arc::from_raw(data.cast::<Act>()))() },
        // SAFETY: the waker's own count.
        |data| unsafe { Arc::from_raw(data.cast::<Act>())() },
    );
    let raw = RawWaker::new(Arc::into_raw(Arc::new(act)).cast(), &TABLE);
    // SAFETY: the table keeps the contract of `RawWaker`, over an `Arc` of something that is `Send` and `Sync`.
    unsafe { Waker::from_raw(raw) }
}

/// A waker that looks at `buckets`, which takes the mutex of each line.
fn looking(buckets: &[&Bucket]) -> Waker {
    let buckets: Vec<Bucket> = buckets.iter().copied().cloned().collect();
    acting(Arc::new(move || {
        for bucket in &buckets {
            assert!(bucket.depth() > 0);
        }
    }))
}

type Acquiring<'a> = Pin<Box<dyn Future<Output = Result<Grant, Denied>> + 'a>>;

fn poll(waiter: &mut Acquiring<'_>, waker: &Waker) -> Poll<Result<Grant, Denied>> {
    waiter.as_mut().poll(&mut Context::from_waker(waker))
}

/// One token an hour, and none there.
fn empty() -> Bucket {
    let bucket = Bucket::new(Rate::every(Duration::from_secs(3_600)), 2);
    assert!(bucket.try_acquire(2).is_ok());
    bucket
}

#[tokio::test(start_paused = true)]
async fn who_takes_a_place_or_changes_its_waker_may_look_at_the_buckets_meanwhile() {
    let (api, disk) = (empty(), empty());
    let both = All::new([&api, &disk]);
    let mut waiter: Acquiring<'_> = Box::pin(both.acquire(1, None));
    for _ in 0..2 {
        assert!(poll(&mut waiter, &looking(&[&api, &disk])).is_pending());
        api.refund(1);
    }
    assert!(poll(&mut waiter, &looking(&[&api, &disk])).is_pending());
    disk.refund(1);
    let granted = poll(&mut waiter, &looking(&[&api, &disk]));
    assert!(matches!(granted, Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn who_is_called_by_a_refund_a_new_plan_or_one_that_leaves_may_look_at_the_bucket_meanwhile()
{
    let bucket = empty();
    let waker = looking(&[&bucket]);
    let mut head: Acquiring<'_> = Box::pin(bucket.acquire(2, None));
    let mut next: Acquiring<'_> = Box::pin(bucket.acquire(1, None));
    assert!(poll(&mut head, &waker).is_pending());
    assert!(poll(&mut next, &waker).is_pending());
    bucket.refund(1);
    bucket.set_rate(Rate::every(Duration::from_secs(1_800)));
    bucket.set_depth(3);
    assert!(poll(&mut head, &waker).is_pending());
    drop(head);
    assert!(matches!(poll(&mut next, &waker), Poll::Ready(Ok(_))));
}

/// One that refunds when it is cloned is not told by the refund, since it has no place yet; it finds the token all the same.
#[tokio::test(start_paused = true)]
async fn a_refund_by_the_clone_of_a_waker_is_not_overlooked() {
    let bucket = empty();
    let mut waiter: Acquiring<'_> = Box::pin(bucket.acquire(1, None));
    let waker = acting(Arc::new({
        let bucket = bucket.clone();
        move || bucket.refund(1)
    }));
    assert!(matches!(poll(&mut waiter, &waker), Poll::Ready(Ok(_))));
}
