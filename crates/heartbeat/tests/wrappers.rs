//! Futures and streams that beat by themselves.

#![cfg(not(loom))]

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use evenkeel_heartbeat::{
    BeatFuture, BeatStream, Expect, Health, Heartbeat, Monitor, Watched, pulse,
};
use futures_core::Stream;
use tokio::time::sleep;

const T: Duration = Duration::from_secs(2);

fn watched() -> (Monitor, Watched) {
    let monitor = Monitor::new();
    let pulse = monitor.class(Expect::within(T)).unwrap().register("worker");
    (monitor, pulse)
}

/// Polls once.
async fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Items and pending polls, in turn.
struct Items(VecDeque<Option<u32>>);

impl Stream for Items {
    type Item = u32;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        match self.0.pop_front() {
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(item) => Poll::Ready(item),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let items = self.0.iter().flatten().count();
        (items, Some(items))
    }
}

#[tokio::test(start_paused = true)]
async fn each_poll_is_a_beat() {
    let (_monitor, pulse) = watched();
    let pulse = Arc::new(pulse);
    let work = async {
        for _ in 0..100 {
            sleep(T - Duration::from_millis(1)).await;
            assert_eq!(pulse.health(), Health::Live);
        }
    };
    work.beat_on_poll(Arc::clone(&pulse)).await;
    sleep(T * 2).await;
    assert_eq!(
        pulse.health(),
        Health::Silent,
        "a future that is done is not polled"
    );
}

#[tokio::test(start_paused = true)]
async fn an_item_is_a_beat_and_a_pending_poll_is_none() {
    let (pulse, mut beats) = pulse();
    let items = [Some(1), None, None, Some(2), None, Some(3)];
    let mut stream = Items(items.into()).beat_on_item(pulse);
    assert_eq!(stream.size_hint(), (3, Some(3)));
    let mut got = Vec::new();
    while let Some(item) = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
        got.push(item);
        assert_eq!(beats.next().await.unwrap().count, 1);
    }
    drop(stream);
    assert_eq!(got, [1, 2, 3]);
    assert_eq!(beats.next().await, None, "the end is no beat");
}

#[tokio::test(start_paused = true)]
async fn alive_and_progress_are_two_clocks() {
    let monitor = Monitor::new();
    let alive = monitor.class(Expect::within(T)).unwrap().register("alive");
    let progress = monitor
        .class(Expect::within(T * 5))
        .unwrap()
        .register("progress");
    // Scheduled all the time, and getting nowhere after a while.
    let work = async {
        for turn in 0..12 {
            if turn < 3 {
                progress.beat();
            }
            sleep(T / 2).await;
        }
        assert_eq!(alive.health(), Health::Live);
        assert_eq!(progress.health(), Health::Live);
        for _ in 0..6 {
            sleep(T / 2).await;
        }
        assert_eq!(alive.health(), Health::Live);
        assert_eq!(progress.health(), Health::Silent);
    };
    work.beat_on_poll(&alive).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_inside_a_poll_ends_the_poll() {
    let (_monitor, pulse) = watched();
    let pulse = Arc::new(pulse);
    let panics = async { panic!("on purpose") }.beat_on_poll(Arc::clone(&pulse));
    assert!(tokio::spawn(panics).await.unwrap_err().is_panic());
    sleep(T * 2).await;
    assert_eq!(pulse.health(), Health::Silent, "and is not taken for hung");
}

#[tokio::test(start_paused = true)]
async fn woken_and_not_polled_is_starved() {
    for told in [true, false] {
        let (_monitor, pulse) = watched();
        let waker = Mutex::new(None::<Waker>);
        let mut future = Box::pin(poll_fn(|cx| {
            *waker.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        }));
        let mut future = future.as_mut().beat_on_poll(&pulse);
        if told {
            future = future.telling_starved();
        }
        let mut future = Box::pin(future);
        assert!(once(&mut future).await.is_pending());
        let kept = waker.lock().unwrap().take().unwrap();
        kept.wake_by_ref();
        // Nobody polls it, however loudly it was woken.
        sleep(T * 2).await;
        assert_eq!(
            pulse.health(),
            if told {
                Health::Starved
            } else {
                Health::Silent
            }
        );
        assert!(once(&mut future).await.is_pending());
        assert_eq!(pulse.health(), Health::Live);
        // Polled, waiting, and not woken.
        sleep(T * 2).await;
        assert_eq!(pulse.health(), Health::Silent);
        // A waker that outlives the pulse hurts nobody.
        drop(future);
        drop(pulse);
        kept.wake();
    }
}

#[tokio::test(start_paused = true)]
async fn a_future_that_tells_of_starvation_is_woken_all_the_same() {
    let (_monitor, pulse) = watched();
    let (tell, told) = tokio::sync::oneshot::channel();
    let waits = tokio::spawn(async move { told.beat_on_poll(pulse).telling_starved().await });
    sleep(T).await;
    tell.send(7).unwrap();
    assert_eq!(waits.await.unwrap(), Ok(7));
}

/// A future that was woken and then dropped is starved no more; nor is the pulse that goes on without it.
#[tokio::test(start_paused = true)]
async fn a_wake_up_of_a_future_that_is_gone_says_nothing() {
    let (_monitor, pulse) = watched();
    let waker = Mutex::new(None::<Waker>);
    let future = poll_fn(|cx| {
        *waker.lock().unwrap() = Some(cx.waker().clone());
        Poll::<()>::Pending
    });
    let mut future = Box::pin(future.beat_on_poll(&pulse).telling_starved());
    assert!(once(&mut future).await.is_pending());
    let kept = waker.lock().unwrap().take().unwrap();
    kept.wake_by_ref();
    sleep(T * 2).await;
    assert_eq!(pulse.health(), Health::Starved);
    drop(future);
    assert_eq!(pulse.health(), Health::Silent);
    kept.wake();
    assert_eq!(pulse.health(), Health::Silent);
}

/// A future that wakes itself in its poll asks for another.
#[tokio::test(start_paused = true)]
async fn woken_in_its_own_poll_is_woken() {
    let (_monitor, pulse) = watched();
    let greedy = poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    let mut greedy = Box::pin(greedy.beat_on_poll(&pulse).telling_starved());
    assert!(once(&mut greedy).await.is_pending());
    sleep(T * 2).await;
    assert_eq!(pulse.health(), Health::Starved);
}

#[tokio::test(start_paused = true)]
async fn a_poll_inside_another_leaves_the_other_its_name() {
    let (_monitor, pulse) = watched();
    // Over its limit, whatever beats.
    let _unit = pulse.unit(Duration::ZERO);
    sleep(T).await;
    assert_eq!(pulse.health(), Health::Silent);
    for told in [false, true] {
        let outer = async {
            assert_eq!(pulse.health(), Health::Hung);
            let inner = std::future::ready(()).beat_on_poll(&pulse);
            if told {
                inner.telling_starved().await;
            } else {
                inner.await;
            }
            assert_eq!(pulse.health(), Health::Hung, "the outer poll goes on");
        };
        outer.beat_on_poll(&pulse).await;
        assert_eq!(pulse.health(), Health::Silent);
    }
}

/// The next item of a stream.
async fn item<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

#[tokio::test(start_paused = true)]
async fn beats_and_changes_are_streams() {
    let (monitor, watched) = watched();
    let mut changes = monitor.changes();
    let (pulse, beats) = pulse();
    // A stream like any other: who hears the beats beats in turn.
    let mut beats = beats.beat_on_item(&watched);
    tokio::spawn(async move {
        for _ in 0..3 {
            pulse.beat();
            sleep(T / 2).await;
        }
    });
    for _ in 0..3 {
        assert_eq!(item(&mut beats).await.unwrap().count, 1);
    }
    assert_eq!(item(&mut beats).await, None);
    assert_eq!(item(&mut changes).await.unwrap().health, Health::Silent);
    drop(beats);
    drop(watched);
    assert_eq!(item(&mut changes).await.unwrap().health, Health::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_has_not_yielded() {
    struct Panics;
    impl Stream for Panics {
        type Item = ();

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<()>> {
            panic!("on purpose");
        }
    }
    let (pulse, mut beats) = pulse();
    let mut stream = Panics.beat_on_item(pulse);
    let panics = tokio::spawn(async move { item(&mut stream).await });
    assert!(panics.await.unwrap_err().is_panic());
    assert_eq!(beats.next().await, None, "closed without a beat");
}

struct Counted(std::sync::atomic::AtomicU32);

impl std::task::Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// A future that has moved to another task wakes that one, through whatever waker it handed out.
#[tokio::test(start_paused = true)]
async fn the_task_that_polled_last_is_woken() {
    let (_monitor, pulse) = watched();
    let waker = Mutex::new(None::<Waker>);
    let future = poll_fn(|cx| {
        waker.lock().unwrap().get_or_insert(cx.waker().clone());
        Poll::<()>::Pending
    });
    let mut future = Box::pin(future.beat_on_poll(&pulse).telling_starved());
    let tasks = [0, 0].map(|none| Arc::new(Counted(none.into())));
    for task in &tasks {
        let task = Arc::clone(task).into();
        assert!(
            future
                .as_mut()
                .poll(&mut Context::from_waker(&task))
                .is_pending()
        );
    }
    waker.lock().unwrap().as_ref().unwrap().wake_by_ref();
    let woken = tasks.map(|task| task.0.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(woken, [0, 1]);
}
