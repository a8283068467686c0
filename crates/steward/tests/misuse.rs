//! What a hurried newcomer does, and what is to become of it.
#![cfg(not(loom))]

mod support;

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use evenkeel_cancel::Cause;
use evenkeel_steward::{
    Backoff, BoxError, Ctx, Escalated, Intensity, Reason, Restart, StartError, Steward,
    Unpublished, What,
};
use support::{Bomb, Log, MS, S, beat_on, steward, told};
use tokio::time::{sleep, timeout};

/// A value that nobody can read comes back; who waits for room does not wait for ever.
#[tokio::test(start_paused = true)]
async fn without_a_reader_nothing_is_published() {
    let steward = steward();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let ward = steward.child("w", move |ctx: Ctx<u32>| {
        let tell = tell.clone();
        async move {
            ctx.publish(1).await?;
            let waited = ctx.publish(2).await;
            tell.send(waited).unwrap();
            tell.send(ctx.try_publish(3)).unwrap();
            pending::<()>().await;
            Ok::<_, BoxError>(())
        }
    });
    let ward = ward.depth(1).unwatched().start().unwrap();
    sleep(S).await;
    let other = ward.clone();
    drop(ward);
    sleep(S).await;
    assert!(told.try_recv().is_err(), "there is a handle still");
    drop(other);
    assert_eq!(told.recv().await, Some(Err(Unpublished::NoReader(2))));
    assert_eq!(told.recv().await, Some(Err(Unpublished::NoReader(3))));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_that_cannot_be_watched_is_refused_at_the_start() {
    let refused = Steward::builder().timeout(39 * MS).start().unwrap_err();
    assert_eq!(refused, StartError::Timeout(39 * MS));
}

/// What an incarnation has spawned, and given its token or its context to, is told when it ends.
#[tokio::test(start_paused = true)]
async fn what_an_incarnation_leaves_behind_is_told_to_go() {
    let steward = steward();
    let log = Log::new();
    let noted = log.clone();
    let ward = steward.child("w", move |ctx: Ctx| {
        let log = noted.clone();
        async move {
            if ctx.generation() == 3 {
                beat_on(&ctx).await;
            }
            let asks_early = ctx.generation() == 1;
            let early = asks_early.then(|| ctx.token().clone());
            tokio::spawn(async move {
                sleep(S).await;
                let late = ctx.token().clone();
                let cause = early.unwrap_or(late).cancelled().await;
                log.note((ctx.generation(), cause));
            });
            Err::<(), BoxError>("leaves a task behind".into())
        }
    });
    let _ward = ward.start().unwrap();
    sleep(10 * S).await;
    let told: Vec<_> = log.all().into_iter().map(|(_, told)| told).collect();
    assert_eq!(told, [(1, Cause::Failed), (2, Cause::Failed)]);
}

#[tokio::test(start_paused = true)]
async fn who_obeys_a_dropped_steward_is_not_started_again() {
    let log = Log::new();
    for _ in 0..20 {
        let steward = Steward::builder()
            .intensity(Intensity::new(1, S))
            .start()
            .unwrap();
        let mut events = steward.events();
        let noted = log.clone();
        let obeys = steward.child("obeys", move |ctx: Ctx| {
            noted.note(ctx.generation());
            async move {
                ctx.token().cancelled().await;
                Err::<(), BoxError>("told to go".into())
            }
        });
        let obeys = obeys.unwatched().start().unwrap();
        sleep(S).await;
        drop(steward);
        obeys.ended().await;
        assert!(
            !told(&mut events, "obeys")
                .iter()
                .any(|what| matches!(what, What::Escalated(_)))
        );
    }
    assert!(log.all().iter().all(|(_, generation)| *generation == 1));
}

/// In OTP too, a temporary child that fails in its start fails the start.
#[tokio::test(start_paused = true)]
async fn a_temporary_ward_that_fails_in_the_setup_fails_the_setup() {
    let build = |restart| {
        Steward::builder().setup(move |steward| {
            let ward = steward.child("fails", |_: Ctx| async {
                Err::<(), BoxError>("at once".into())
            });
            ward.restart(restart).ready_within(S).start().map(drop)
        })
    };
    for restart in [Restart::Temporary, Restart::Transient, Restart::Permanent] {
        let steward = build(restart).start().unwrap();
        assert_eq!(
            &*steward.ready().await.unwrap_err().ward,
            "fails",
            "{restart:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_steward_that_ends_before_it_is_ready_never_was() {
    let steward = Steward::builder().setup(|steward| {
        let ward = steward.child("slow", |ctx: Ctx| async move {
            ctx.token().cancelled().await;
            Ok::<_, BoxError>(())
        });
        ward.ready_within(100 * S).unwatched().start().map(drop)
    });
    let steward = steward.named("early").start().unwrap();
    assert!(timeout(S, steward.ready()).await.is_err());
    steward.shutdown(S).await;
    let Escalated { ward, reason, .. } = steward.ready().await.unwrap_err();
    assert_eq!(&*ward, "early");
    assert!(matches!(reason, Reason::Stopped));
}

#[tokio::test(start_paused = true)]
async fn no_deadline_is_too_long() {
    let nested = Steward::builder().deadline(Duration::MAX).setup(|steward| {
        let ward = steward.child("leaf", |ctx: Ctx| async move {
            ctx.token().cancelled().await;
            Ok::<_, BoxError>(())
        });
        ward.grace(Duration::MAX).unwatched().start().map(drop)
    });
    let root = Steward::builder().start().unwrap();
    let branch = root
        .child("branch", nested)
        .grace(Duration::from_secs(u64::MAX / 4));
    let branch = branch.start().unwrap();
    sleep(S).await;
    branch.stop().await;
    assert_eq!(root.shutdown(S).await.panicked, Vec::<&str>::new());
}

/// A task that an incarnation left behind speaks no more, also while no other has taken its place.
#[tokio::test(start_paused = true)]
async fn a_ghost_of_one_that_has_ended_does_not_speak() {
    let steward = Steward::builder()
        .intensity(Intensity::UNLIMITED)
        .backoff(
            Backoff::exponential(100 * S, 100 * S)
                .jitter(0.0)
                .reset_after(Duration::MAX),
        )
        .start()
        .unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let ward = steward.child("w", move |ctx: Ctx<u32>| {
        let tell = tell.clone();
        async move {
            tokio::spawn(async move {
                sleep(S).await;
                tell.send(ctx.try_publish(ctx.generation())).unwrap();
            });
            Err::<(), BoxError>("leaves a ghost behind".into())
        }
    });
    let ward = ward.start().unwrap();
    // The first restart is at once, the second only after a while.
    for _ in 0..2 {
        assert!(told.recv().await.unwrap().unwrap_err().is_fenced());
    }
    assert_eq!(ward.try_next(), None);
}

/// Two that do not go use up the time; who was not told before is told then, and goes.
#[tokio::test(start_paused = true)]
async fn who_would_go_is_told_though_others_do_not() {
    let steward = Steward::builder().start().unwrap();
    let polite = steward.child("polite", |ctx: Ctx| async move {
        ctx.token().cancelled().await;
        sleep(10 * MS).await;
        Ok::<_, BoxError>(())
    });
    let _polite = polite.unwatched().start().unwrap();
    for id in ["deaf", "deaf too"] {
        let deaf = steward.child(id, |_: Ctx| pending::<Result<(), BoxError>>());
        deaf.unwatched().grace(5 * S).start().unwrap();
    }
    sleep(S).await;
    let shutdown = steward.shutdown(8 * S).await;
    assert_eq!(shutdown.finished, ["polite"], "{shutdown}");
    assert_eq!(shutdown.aborted.len(), 2);
}

/// What a ward has captured panics as it is dropped; those that are stopped after it are told all the same.
#[tokio::test(start_paused = true)]
async fn a_capture_that_panics_keeps_nobody_from_being_told() {
    let steward = steward();
    let polite = steward.child("polite", |ctx: Ctx| async move {
        ctx.token().cancelled().await;
        Ok::<_, BoxError>(())
    });
    let polite = polite.unwatched().start().unwrap();
    let bomb = Bomb;
    let captures = steward.child("captures", move |ctx: Ctx| {
        let _ = &bomb;
        async move {
            ctx.token().cancelled().await;
            Ok::<_, BoxError>(())
        }
    });
    drop(captures.unwatched().start().unwrap());
    sleep(S).await;
    let shutdown = steward.shutdown(10 * S).await;
    assert_eq!(shutdown.finished.len(), 2, "{shutdown}");
    assert!(matches!(polite.ended().await, Reason::Stopped));
}

/// Ten thousand readers that gave up have left nothing behind: the one that stays is woken, and no other.
#[tokio::test(start_paused = true)]
async fn readers_that_gave_up_are_forgotten() {
    struct Counts(AtomicU32);
    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let steward = steward();
    let ward = steward.child("w", |ctx: Ctx<u32>| async move {
        sleep(S).await;
        ctx.publish(7).await?;
        pending::<()>().await;
        Ok::<_, BoxError>(())
    });
    let ward = ward.unwatched().start().unwrap();
    let woken = Arc::new(Counts(AtomicU32::new(0)));
    for _ in 0..10_000 {
        // Each a task of its own, as far as the queue can tell.
        let waker = Waker::from(Arc::clone(&woken));
        let mut next = Box::pin(ward.next());
        assert!(
            next.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    assert_eq!(Arc::strong_count(&woken), 1, "no waker is left");
    assert_eq!(ward.next().await, Some(7));
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
}
