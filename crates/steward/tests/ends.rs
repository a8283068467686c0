//! How stewards end: by shutdown, by drop, by giving up; and under a steward of their own. On a paused clock.
#![cfg(not(loom))]

mod support;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use evenkeel_steward::{Backoff, BoxError, Ctx, Escalated, Intensity, Reason, Steward};
use support::{Log, S, beat_on, steward};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn a_shutdown_stops_in_reverse_and_names_what_became_of_each() {
    let steward = steward();
    let log = Log::new();
    for name in ["polite", "panics", "deaf", "last"] {
        let log = log.clone();
        let _ward = steward
            .child(name, move |ctx: Ctx| {
                let log = log.clone();
                async move {
                    let _wait = ctx.parked();
                    ctx.token().cancelled().await;
                    log.note(name);
                    match name {
                        "deaf" => pending().await,
                        "panics" => panic!("at the end"),
                        _ => Ok::<_, BoxError>(()),
                    }
                }
            })
            .start()
            .unwrap();
    }
    sleep(S).await;
    let begun = Instant::now();
    let shutdown = steward.shutdown(60 * S).await;
    assert_eq!(begun.elapsed().as_secs(), 2, "the grace of one");
    let order: Vec<&str> = log.all().into_iter().map(|(_, name)| name).collect();
    assert_eq!(order, ["last", "deaf", "panics", "polite"]);
    assert_eq!(shutdown.finished, ["last", "polite"]);
    assert_eq!(shutdown.aborted, ["deaf"]);
    assert_eq!(shutdown.panicked, ["panics"]);
    assert!(shutdown.running.is_empty());
    assert!(steward.ended().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn dropping_a_steward_cancels_its_wards() {
    let steward = steward();
    let token = steward.token();
    let ward = steward
        .child("w", |ctx: Ctx| async move {
            let _wait = ctx.parked();
            ctx.token().cancelled().await;
            Ok::<_, BoxError>(())
        })
        .start()
        .unwrap();
    sleep(S).await;
    drop(steward);
    assert!(token.is_cancelled());
    assert!(matches!(ward.ended().await, Reason::Stopped));
}

#[tokio::test(start_paused = true)]
async fn one_restart_too_many_is_handed_up() {
    let steward = Steward::builder()
        .intensity(Intensity::new(3, S))
        .backoff(Backoff::NONE)
        .start()
        .unwrap();
    let sibling = steward.child("sibling", |ctx: Ctx| async move {
        beat_on(&ctx).await;
        Ok::<_, BoxError>(())
    });
    let sibling = sibling.start().unwrap();
    let starts = Arc::new(AtomicU32::new(0));
    let counted = starts.clone();
    let _ward = steward
        .child("w", move |_: Ctx| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Err::<(), BoxError>("again".into()) }
        })
        .start()
        .unwrap();
    let Escalated { ward, reason, .. } = steward.ended().await.unwrap_err();
    assert_eq!(
        (&*ward, reason.to_string().as_str()),
        ("w", "failed: again")
    );
    assert_eq!(
        starts.load(Ordering::Relaxed),
        4,
        "the first and three more"
    );
    assert!(matches!(sibling.ended().await, Reason::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_steward_is_a_ward() {
    let log = Log::new();
    let noted = log.clone();
    let nested = Steward::builder()
        .intensity(Intensity::new(0, S))
        .setup(move |steward| {
            let log = noted.clone();
            steward
                .child("leaf", move |ctx: Ctx| {
                    let log = log.clone();
                    async move {
                        log.note(ctx.id().to_owned());
                        ctx.beat();
                        sleep(3 * S).await;
                        Err::<(), BoxError>("leaf".into())
                    }
                })
                .start()?;
            Ok(())
        });
    let root = steward();
    let ward = root.child("branch", nested).start().unwrap();
    sleep(10 * S).await;
    assert_eq!(
        log.all().len(),
        4,
        "the branch gave up each time, and was started again"
    );
    let status = ward.status().unwrap();
    assert_eq!(status.generation, 4);
    assert_eq!(
        status.last.unwrap().to_string(),
        "failed: gave up on ward `leaf`: failed: leaf"
    );
    let tree = root.status();
    assert_eq!(&*tree.wards[0].nested.as_ref().unwrap().wards[0].id, "leaf");
    let printed = tree.to_string();
    assert!(printed.contains("└─ branch #4"), "{printed}");
    assert!(printed.contains("\n   └─ leaf #1"), "{printed}");
    let shutdown = root.shutdown(10 * S).await;
    assert_eq!(shutdown.finished, ["branch"]);
}
