//! What a user of a steward can count on, on a paused clock.
#![cfg(not(loom))]

mod support;

use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_heartbeat::Heartbeat;
use evenkeel_steward::{
    BoxError, Ctx, Gone, Reason, Restart, StartError, State, Steward, Unpublished, Ward, What,
};
use support::{Log, MS, S, beat_on, steward};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_ward_that_beats_is_left_alone() {
    let steward = steward();
    let ward = steward
        .child("w", |ctx: Ctx| async move {
            beat_on(&ctx).await;
            Ok::<_, BoxError>(())
        })
        .start()
        .unwrap();
    sleep(1000 * S).await;
    assert_eq!(ward.status().unwrap().generation, 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_ward_is_healed_between_one_and_a_quarter_timeouts() {
    let steward = steward();
    let log = Log::new();
    let noted = log.clone();
    let _ward = steward
        .child("w", move |ctx: Ctx| {
            let log = noted.clone();
            async move {
                for _ in 0..ctx.generation() {
                    sleep(1500 * MS).await;
                    ctx.beat();
                }
                log.note("beat");
                ctx.token().cancelled().await;
                log.note("told");
                Ok::<_, BoxError>(())
            }
        })
        .start()
        .unwrap();
    sleep(100 * S).await;
    let log = log.all();
    assert_eq!(log.len(), 16, "{log:?}");
    for pair in log.chunks_exact(2) {
        let [(beat, "beat"), (told, "told")] = pair else {
            panic!("{pair:?}")
        };
        let silent = *told - *beat;
        assert!(silent >= 4 * S && silent <= 5 * S, "{silent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_a_permanent_ward_it_is_started_again() {
    let steward = steward();
    let mut events = steward.events();
    let _ward = steward
        .child("w", |ctx: Ctx| async move {
            match ctx.generation() {
                1 => Ok(()),
                2 => Err("no luck".into()),
                3 => panic!("on {}", "purpose"),
                4 => {
                    drop(ctx);
                    pending().await
                }
                _ => {
                    beat_on(&ctx).await;
                    Ok::<_, BoxError>(())
                }
            }
        })
        .start()
        .unwrap();
    let mut why = Vec::new();
    while why.len() < 4 {
        if let What::Restarting {
            reason,
            cost,
            delay,
        } = events.next().await.unwrap().what
        {
            assert_eq!(delay, Duration::ZERO);
            // The one that let go of its context is deaf, too.
            let expected = if why.len() == 3 {
                2 * S
            } else {
                Duration::ZERO
            };
            assert!(cost >= expected && cost < expected + 10 * MS, "{cost:?}");
            why.push(reason.to_string());
        }
    }
    assert_eq!(
        why,
        [
            "finished",
            "failed: no luck",
            "panicked: on purpose",
            "closed its pulse"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn transient_and_temporary_end_as_otp_says() {
    for (restart, fails, again) in [
        (Restart::Permanent, false, true),
        (Restart::Permanent, true, true),
        (Restart::Transient, false, false),
        (Restart::Transient, true, true),
        (Restart::Temporary, false, false),
        (Restart::Temporary, true, false),
    ] {
        let steward = steward();
        let ward = steward
            .child("w", move |ctx: Ctx| async move {
                if ctx.generation() > 1 {
                    beat_on(&ctx).await;
                }
                if fails {
                    Err(BoxError::from("failed"))
                } else {
                    Ok(())
                }
            })
            .restart(restart)
            .start()
            .unwrap();
        sleep(S).await;
        assert_eq!(ward.status().is_ok(), again, "{restart:?}, fails: {fails}");
        if !again {
            assert_eq!(ward.end().unwrap().is_failure(), fails);
            assert_eq!(ward.restart(), Err(Gone));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_old_incarnation_is_awaited_then_aborted_before_the_next() {
    struct Alive(Arc<AtomicU32>, Log<&'static str>);
    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
            self.1.note("gone");
        }
    }
    let steward = steward();
    let log = Log::new();
    let (alive, noted) = (Arc::new(AtomicU32::new(0)), log.clone());
    let _ward = steward
        .child("w", move |ctx: Ctx| {
            let (alive, log) = (alive.clone(), noted.clone());
            async move {
                assert_eq!(alive.fetch_add(1, Ordering::Relaxed), 0, "two at once");
                let _alive = Alive(alive, log.clone());
                log.note("started");
                ctx.beat();
                let cause = ctx.token().cancelled().await;
                assert_eq!(cause, evenkeel_cancel::Cause::Timeout);
                log.note("told");
                if ctx.generation() % 2 == 0 {
                    pending::<()>().await;
                }
                sleep(S).await;
                Ok::<_, BoxError>(())
            }
        })
        .start()
        .unwrap();
    sleep(30 * S).await;
    for (at, round) in log.all().chunks_exact(3).enumerate() {
        let [(_, "started"), (told, "told"), (gone, "gone")] = round else {
            panic!("{round:?}")
        };
        let took = *gone - *told;
        // Every second one does not go by itself, and is aborted after its grace.
        let expected = if at % 2 == 0 { S } else { 2 * S };
        assert!(
            took >= expected && took <= expected + 2 * MS,
            "{at}: {took:?}"
        );
    }
    assert!(log.all().len() >= 12);
}

#[tokio::test(start_paused = true)]
async fn working_and_parked_wards_are_not_silent() {
    let steward = steward();
    let ward = steward
        .child("w", |ctx: Ctx| async move {
            let work = ctx.working(20 * S);
            sleep(19 * S).await;
            drop(work);
            let wait = ctx.parked();
            sleep(1000 * S).await;
            drop(wait);
            let _work = ctx.working(6 * S);
            pending::<Result<(), BoxError>>().await
        })
        .start()
        .unwrap();
    sleep(1024 * S).await;
    assert_eq!(ward.status().unwrap().generation, 1);
    sleep(2500 * MS).await;
    let status = ward.status().unwrap();
    assert_eq!(status.state, State::Stopping, "past its limit it is silent");
}

#[tokio::test(start_paused = true)]
async fn a_ward_publishes_and_a_ghost_does_not() {
    let steward = steward();
    let ghost = Arc::new(Mutex::new(None));
    let kept = ghost.clone();
    let ward = steward
        .child("w", move |ctx: Ctx<u32>| {
            let kept = kept.clone();
            async move {
                ctx.publish(ctx.generation()).await?;
                if ctx.generation() == 1 {
                    *kept.lock().unwrap() = Some(ctx.clone());
                    ctx.token().cancelled().await;
                    return Ok(());
                }
                loop {
                    ctx.beat();
                    sleep(ctx.interval()).await;
                    ctx.publish(10).await?;
                }
                #[expect(unreachable_code)]
                Ok::<_, BoxError>(())
            }
        })
        .depth(2)
        .start()
        .unwrap();
    assert_eq!(ward.next().await, Some(1));
    assert_eq!(ward.next().await, Some(2));
    let ghost: Ctx<u32> = ghost.lock().unwrap().take().unwrap();
    assert_eq!(ghost.generation(), 1);
    assert_eq!(ghost.publish(7).await, Err(Unpublished::Fenced(7)));
    assert_eq!(ghost.try_publish(8).unwrap_err().into_inner(), 8);
    // It waits for room meanwhile, and that is no silence.
    sleep(100 * S).await;
    assert_eq!(ward.next().await, Some(10));
    assert_eq!(ward.status().unwrap().generation, 2);
    ward.stop().await;
    let rest: Vec<u32> = std::iter::from_fn(|| ward.try_next()).collect();
    assert!(rest.iter().all(|&v| v == 10) && rest.len() <= 2, "{rest:?}");
    assert_eq!(ward.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn handles_stop_and_restart() {
    let steward = steward();
    let ward = steward
        .child("w", |ctx: Ctx| async move {
            let _wait = ctx.parked();
            ctx.token().cancelled().await;
            Ok::<_, BoxError>(())
        })
        .start()
        .unwrap();
    assert_eq!(ward.ready().await, Ok(()));
    ward.restart().unwrap();
    ward.restart().unwrap();
    sleep(S).await;
    let status = ward.status().unwrap();
    assert_eq!(
        (status.generation, status.restarts, status.failures),
        (2, 1, 0)
    );
    assert!(matches!(status.last, Some(Reason::Asked)));
    assert!(matches!(ward.stop().await, Reason::Stopped));
    assert_eq!(ward.restart(), Err(Gone));
    assert!(steward.status().wards.is_empty());
    // The id is free again.
    let _again = steward
        .child("w", |_: Ctx| async { Ok::<_, BoxError>(()) })
        .start()
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_is_refused_and_nothing_changed() {
    let steward = Steward::builder().max_wards(2).start().unwrap();
    let idle = |_: Ctx| pending::<Result<(), BoxError>>();
    let _a = steward.child("a", idle).start().unwrap();
    let refused = steward.child("a", idle).start().unwrap_err();
    assert_eq!(refused, StartError::Duplicate("a".into()));
    let refused = steward.child("b", idle).timeout(MS).start().unwrap_err();
    assert_eq!(refused, StartError::Timeout(MS));
    let _b = steward.child("b", idle).start().unwrap();
    let refused = steward.child("c", idle).start().unwrap_err();
    assert_eq!(refused, StartError::Full(2));
    assert_eq!(steward.status().wards.len(), 2);
    steward.shutdown(S).await;
    let refused = steward.child("d", idle).start().unwrap_err();
    assert_eq!(refused, StartError::ShuttingDown);
}

#[test]
fn outside_a_runtime_nothing_starts() {
    assert_eq!(
        Steward::builder().start().unwrap_err(),
        StartError::NoRuntime
    );
}

#[tokio::test(start_paused = true)]
async fn a_ward_may_be_a_type_of_its_own() {
    struct Counter(u32);
    impl Ward<u32> for Counter {
        type Error = Unpublished<u32>;

        fn start(
            &self,
            ctx: Ctx<u32>,
        ) -> impl Future<Output = Result<(), Unpublished<u32>>> + Send + 'static {
            let n = self.0;
            async move {
                let pulse: &dyn Heartbeat = &ctx;
                pulse.beat();
                ctx.publish(n).await
            }
        }
    }
    let steward = steward();
    let ward = steward
        .child("counter", Counter(5))
        .restart(Restart::Temporary)
        .start()
        .unwrap();
    assert!(matches!(ward.ended().await, Reason::Finished));
    assert_eq!((ward.next().await, ward.next().await), (Some(5), None));
}

/// Pitfall: a ward that is fenced, and ends before anybody has asked, is in no list.
#[tokio::test(start_paused = true)]
async fn a_shutdown_without_time_names_every_ward() {
    for within in [Duration::ZERO, MS, S] {
        let steward = steward();
        let deaf = |_ctx: Ctx| async {
            pending::<()>().await;
            Ok::<_, BoxError>(())
        };
        steward.child("deaf", deaf).unwatched().start().unwrap();
        tokio::task::yield_now().await;
        let shutdown = steward.shutdown(within).await;
        assert!(!shutdown.is_clean(), "{within:?}: {shutdown}");
        let named = [
            &shutdown.finished,
            &shutdown.aborted,
            &shutdown.panicked,
            &shutdown.running,
        ];
        let named: Vec<_> = named.into_iter().flatten().collect();
        assert_eq!(named, ["deaf"], "{within:?}: {shutdown}");
    }
}
