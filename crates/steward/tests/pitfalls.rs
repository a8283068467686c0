//! What bites those who restart things, one test each; those about races are models (`src/*_models.rs`), and those about blocked
//! threads are in `tests/real`.
#![cfg(not(loom))]

mod support;

use std::future::{Future, pending};
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use evenkeel_steward::{
    Backoff, BoxError, Builder, Ctx, Escalated, Intensity, Reason, Restart, State, Steward, What,
};
use support::{Bomb, Log, MS, S, beat_on, steward, told};
use tokio::time::{sleep, timeout};

/// It is silent, is told to go for that, fails as it goes, and is asked for a restart meanwhile.
#[tokio::test(start_paused = true)]
async fn silence_cancellation_and_exit_together_are_one_failure() {
    let steward = Steward::builder()
        .intensity(Intensity::new(1, 1000 * S))
        .backoff(Backoff::NONE)
        .timeout(4 * S)
        .start()
        .unwrap();
    let mut events = steward.events();
    let ward = steward.child("w", |ctx: Ctx| async move {
        if ctx.generation() > 1 {
            beat_on(&ctx).await;
        }
        ctx.token().cancelled().await;
        Err::<(), BoxError>("told to go".into())
    });
    let ward = ward.start().unwrap();
    sleep(100 * S).await;
    let status = ward.status().unwrap();
    assert_eq!((status.generation, status.restarts), (2, 1));
    assert!(matches!(status.last, Some(Reason::Silent)));
    let told = told(&mut events, "w");
    let restarts = told
        .iter()
        .filter(|what| matches!(what, What::Restarting { .. }));
    assert_eq!(restarts.count(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn dropped_in_the_middle_of_its_shutdown_a_steward_takes_its_wards_along() {
    let steward = steward();
    let nested = Steward::builder().setup(|steward| {
        let leaf = steward.child("leaf", |_: Ctx| async {
            pending::<()>().await;
            Ok::<_, BoxError>(())
        });
        leaf.unwatched().start().map(drop)
    });
    let branch = steward.child("branch", nested).start().unwrap();
    let deaf = steward.child("deaf", |_: Ctx| async {
        pending::<()>().await;
        Ok::<_, BoxError>(())
    });
    let deaf = deaf.unwatched().start().unwrap();
    sleep(S).await;
    assert!(timeout(S, steward.shutdown(1000 * S)).await.is_err());
    drop(steward);
    let gone = async { (branch.ended().await, deaf.ended().await) };
    timeout(20 * S, gone).await.expect("both have gone");
}

#[test]
fn a_runtime_that_shuts_down_is_no_failure() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    };
    let first = runtime();
    let starts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&starts);
    let (steward, ward, mut events) = {
        let _inside = first.enter();
        let steward = steward();
        let events = steward.events();
        let ward = steward.child("w", move |ctx: Ctx| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move {
                beat_on(&ctx).await;
                Ok::<_, BoxError>(())
            }
        });
        let ward = ward.start().unwrap();
        (steward, ward, events)
    };
    first.block_on(tokio::task::yield_now());
    drop(first);
    let restarted = told(&mut events, "w")
        .iter()
        .any(|what| matches!(what, What::Restarting { .. }));
    assert!(!restarted);
    assert_eq!(starts.load(Ordering::Relaxed), 1);
    assert!(ward.end().is_some());
    let shutdown = runtime().block_on(steward.shutdown(S));
    assert!(shutdown.running.is_empty(), "{shutdown}");
}

/// Done at the very poll at which it would be dropped.
#[tokio::test(start_paused = true)]
async fn one_that_is_aborted_may_have_finished() {
    let steward = steward();
    let ward = steward.child("w", |ctx: Ctx| async move {
        ctx.token().cancelled().await;
        sleep(2 * S).await;
        Ok::<_, BoxError>(())
    });
    let ward = ward
        .restart(Restart::Transient)
        .grace(2 * S)
        .unwatched()
        .start()
        .unwrap();
    sleep(S).await;
    let shutdown = steward.shutdown(100 * S).await;
    assert_eq!(
        shutdown.finished.len() + shutdown.aborted.len(),
        1,
        "{shutdown}"
    );
    assert!(shutdown.panicked.is_empty() && shutdown.running.is_empty());
    assert!(matches!(ward.end(), Some(Reason::Stopped)));
}

struct Held {
    _bomb: Option<Bomb>,
}

impl Future for Held {
    type Output = Result<(), BoxError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn panics_in_start_poll_drop_and_payload_are_contained() {
    let steward = steward();
    let sibling = steward.child("sibling", |ctx: Ctx| async move {
        beat_on(&ctx).await;
        Ok::<_, BoxError>(())
    });
    let sibling = sibling.start().unwrap();
    let count = |reasons: Vec<What>| {
        let panicked = |what: &What| {
            matches!(
                what,
                What::Restarting {
                    reason: Reason::Panicked(_),
                    ..
                }
            )
        };
        reasons.iter().filter(|what| panicked(what)).count()
    };
    let mut events = steward.events();
    let start = steward.child("start", |ctx: Ctx| {
        assert!(ctx.generation() > 1, "expected in this test");
        async move {
            beat_on(&ctx).await;
            Ok::<_, BoxError>(())
        }
    });
    let _start = start.start().unwrap();
    let dropped = steward.child("drop", |ctx: Ctx| Held {
        _bomb: (ctx.generation() == 1).then(|| Bomb),
    });
    let _dropped = dropped
        .restart(Restart::Transient)
        .unwatched()
        .start()
        .unwrap();
    let payload = steward.child("payload", |ctx: Ctx| async move {
        if ctx.generation() == 1 {
            panic_any(Bomb);
        }
        beat_on(&ctx).await;
        Ok::<_, BoxError>(())
    });
    let _payload = payload.start().unwrap();
    sleep(S).await;
    let all: Vec<_> = std::iter::from_fn(|| events.try_next()).collect();
    for ward in ["start", "drop", "payload"] {
        let of = all
            .iter()
            .filter(|event| &*event.ward == ward)
            .map(|event| event.what.clone());
        assert_eq!(count(of.collect()), 1, "{ward}: {all:?}");
    }
    assert_eq!(sibling.status().unwrap().generation, 1);
    assert!(steward.shutdown(10 * S).await.running.is_empty());
}

#[tokio::test(start_paused = true)]
async fn health_resets_the_backoff_while_the_ward_runs() {
    let steward = Steward::builder()
        .intensity(Intensity::UNLIMITED)
        .backoff(
            Backoff::exponential(S, 100 * S)
                .jitter(0.0)
                .reset_after(60 * S),
        )
        .start()
        .unwrap();
    let ward = steward.child("w", |ctx: Ctx| async move {
        if ctx.generation() < 5 {
            return Err("again".into());
        }
        beat_on(&ctx).await;
        Ok::<_, BoxError>(())
    });
    let ward = ward.start().unwrap();
    sleep(20 * S).await;
    let early = ward.status().unwrap();
    assert_eq!((early.generation, early.failures), (5, 4));
    sleep(60 * S).await;
    assert_eq!(ward.status().unwrap().failures, 0, "while it runs");
}

#[tokio::test(start_paused = true)]
async fn one_that_flaps_holds_up_no_sibling() {
    let steward = Steward::builder()
        .intensity(Intensity::UNLIMITED)
        .backoff(Backoff::NONE)
        .start()
        .unwrap();
    let flapper = steward.child("flapper", |_: Ctx| async {
        Err::<(), BoxError>("at once".into())
    });
    let _flapper = flapper.start().unwrap();
    let log = Log::new();
    let noted = log.clone();
    let sibling = steward.child("sibling", move |ctx: Ctx| {
        let log = noted.clone();
        async move {
            ctx.beat();
            log.note(ctx.generation());
            Err::<(), BoxError>("later".into())
        }
    });
    let sibling = sibling.backoff(
        Backoff::exponential(S, S)
            .jitter(0.0)
            .reset_after(Duration::MAX),
    );
    let _sibling = sibling.start().unwrap();
    // The flapper never lets the clock advance by itself.
    for _ in 0..50 {
        tokio::time::advance(100 * MS).await;
    }
    let starts: Vec<_> = log.all();
    assert!(starts.len() >= 5, "{starts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_setup_that_fails_stops_what_it_had_started() {
    let log = Log::new();
    let noted = log.clone();
    let steward = Steward::builder()
        .backoff(Backoff::NONE)
        .setup(move |steward| {
            for (id, fails) in [("first", false), ("second", true), ("third", false)] {
                let log = noted.clone();
                let ward = steward.child(id, move |ctx: Ctx| {
                    let log = log.clone();
                    async move {
                        log.note((id, "starts"));
                        if fails {
                            return Err("expected in this test".into());
                        }
                        ctx.ready();
                        ctx.token().cancelled().await;
                        log.note((id, "stops"));
                        Ok::<_, BoxError>(())
                    }
                });
                ward.ready_within(10 * S).start()?;
            }
            Ok(())
        })
        .start()
        .unwrap();
    let Escalated { ward, .. } = steward.ready().await.unwrap_err();
    assert_eq!(&*ward, "second");
    assert!(steward.ended().await.is_err());
    let all: Vec<_> = log.all().into_iter().map(|(_, what)| what).collect();
    assert_eq!(
        all,
        [
            ("first", "starts"),
            ("second", "starts"),
            ("first", "stops")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_beat_has_a_limit_of_its_own() {
    let steward = steward();
    let mut events = steward.events();
    let slow = |ctx: Ctx| async move {
        sleep(10 * S).await;
        beat_on(&ctx).await;
        Ok::<_, BoxError>(())
    };
    let patient = steward.child("patient", slow).first_beat_within(20 * S);
    let patient = patient.start().unwrap();
    let hasty = steward.child("hasty", slow).start().unwrap();
    sleep(15 * S).await;
    assert_eq!(patient.status().unwrap().generation, 1);
    assert!(hasty.status().unwrap().generation > 1);
    assert!(
        told(&mut events, "patient")
            .iter()
            .all(|what| matches!(what, What::Started))
    );
}

/// The parent has four seconds, so its ward, a steward with all the time in the world for a ward with as much, has no more.
#[tokio::test(start_paused = true)]
async fn a_parents_deadline_covers_its_children() {
    let log = Log::new();
    let noted = log.clone();
    let deaf = move |_: Ctx| {
        let log = noted.clone();
        async move {
            let _gone = Noted(log);
            pending::<()>().await;
            Ok::<_, BoxError>(())
        }
    };
    struct Noted(Log<&'static str>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.note("gone");
        }
    }
    let nested: Builder =
        Steward::builder()
            .grace(1000 * S)
            .deadline(1000 * S)
            .setup(move |steward| {
                let deaf = steward.child("deaf", deaf.clone()).unwatched();
                deaf.start().map(drop)
            });
    let root = Steward::builder().grace(1000 * S).start().unwrap();
    let branch = root
        .child("branch", nested)
        .grace(1000 * S)
        .start()
        .unwrap();
    sleep(S).await;
    assert_eq!(branch.status().unwrap().state, State::Running);
    let begun = tokio::time::Instant::now();
    let shutdown = root.shutdown(4 * S).await;
    assert!(begun.elapsed() <= 4 * S, "{:?}", begun.elapsed());
    assert_eq!(log.all().len(), 1, "{shutdown}");
    assert!(shutdown.running.is_empty(), "{shutdown}");
}
