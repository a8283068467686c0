//! What needs real threads that really block. Each test waits for events under a watchdog, and asserts order, never a duration.
#![cfg(not(loom))]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use evenkeel_steward::{Backoff, BoxError, Ctx, Intensity, Reason, Steward, Unpublished, What};

/// Longer than anything here takes on a machine that runs at all.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Ends the process if the test hangs.
fn watchdog() -> impl Drop {
    struct Done(mpsc::Sender<()>);
    impl Drop for Done {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        if is_done.recv_timeout(WATCHDOG) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("the watchdog ends a test that hangs");
            std::process::abort();
        }
    });
    Done(done)
}

/// A door that wards block their threads at.
#[derive(Default)]
struct Door(Mutex<bool>, Condvar);

impl Door {
    fn block(&self) {
        let mut open = self.0.lock().unwrap();
        while !*open {
            open = self.1.wait(open).unwrap();
        }
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

/// Every worker of the runtime is blocked by a ward, at a door that opens only when all of them are fenced and reported: no
/// task of the runtime can do that.
#[test]
fn with_every_worker_blocked_the_blockers_are_fenced_and_the_others_forgiven() {
    const WORKERS: usize = 2;
    let _watchdog = watchdog();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_time()
        .build()
        .unwrap();
    let door = Arc::new(Door::default());
    let published_late = Arc::new(Mutex::new(Vec::new()));
    let (steward, innocent) = {
        let _on = runtime.enter();
        let steward = Steward::builder()
            .timeout(Duration::from_millis(400))
            .grace(Duration::from_millis(100))
            .abort_grace(Duration::from_millis(100))
            .backoff(Backoff::NONE)
            .intensity(Intensity::UNLIMITED)
            .start()
            .unwrap();
        let innocent = steward
            .child("innocent", |ctx: Ctx| async move {
                loop {
                    ctx.beat();
                    ctx.token()
                        .run(tokio::time::sleep(ctx.interval() / 2))
                        .await?;
                }
                #[expect(unreachable_code)]
                Ok::<_, BoxError>(())
            })
            .start()
            .unwrap();
        (steward, innocent)
    };
    let mut told = steward.events();
    let all_in = Arc::new(std::sync::Barrier::new(WORKERS));
    for n in 0..WORKERS {
        let (door, late, all_in) = (door.clone(), published_late.clone(), all_in.clone());
        steward
            .child(format!("blocker {n}"), move |ctx: Ctx<u32>| {
                let (door, late, all_in) = (door.clone(), late.clone(), all_in.clone());
                async move {
                    ctx.beat();
                    if ctx.generation() == 1 {
                        all_in.wait();
                        door.block();
                        late.lock().unwrap().push(ctx.try_publish(1));
                        return Ok(());
                    }
                    let _wait = ctx.parked();
                    ctx.token().cancelled().await;
                    Ok::<_, BoxError>(())
                }
            })
            .start()
            .unwrap();
    }
    // This thread is none of the runtime's.
    let mut fenced = 0;
    let mut why = Vec::new();
    while fenced < WORKERS {
        let event = told.blocking_next().unwrap();
        assert_ne!(&*event.ward, "innocent", "{event}");
        match event.what {
            What::Stopping(reason) => why.push(reason),
            What::Leaked => fenced += 1,
            _ => {}
        }
    }
    assert!(
        why.iter().all(|reason| matches!(reason, Reason::Hung)),
        "{why:?}"
    );
    assert_eq!(steward.status().zombies.len(), WORKERS);
    assert!(
        published_late.lock().unwrap().is_empty(),
        "they are blocked still"
    );
    door.open();
    let mut gone = 0;
    while gone < WORKERS {
        let event = told.blocking_next().unwrap();
        assert_ne!(&*event.ward, "innocent", "{event}");
        gone += usize::from(matches!(event.what, What::ZombieGone));
    }
    let late = std::mem::take(&mut *published_late.lock().unwrap());
    assert_eq!(
        late,
        [Err(Unpublished::Fenced(1)), Err(Unpublished::Fenced(1))]
    );
    assert_eq!(innocent.status().unwrap().generation, 1);
    let shutdown = runtime.block_on(steward.shutdown(WATCHDOG));
    assert!(shutdown.running.is_empty(), "{shutdown}");
}

/// One worker of two is blocked: the loop climbs the ladder itself, and the next incarnation runs beside the zombie.
#[test]
fn a_ward_that_blocks_its_thread_is_fenced_and_replaced() {
    let _watchdog = watchdog();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let door = Arc::new(Door::default());
    let spoke = Arc::new(AtomicBool::new(false));
    runtime.block_on(async {
        let steward = Steward::builder()
            .timeout(Duration::from_millis(200))
            .grace(Duration::from_millis(50))
            .abort_grace(Duration::from_millis(50))
            .backoff(Backoff::NONE)
            .start()
            .unwrap();
        let mut events = steward.events();
        let (shut, ghost) = (door.clone(), spoke.clone());
        let ward = steward
            .child("w", move |ctx: Ctx<u32>| {
                let (door, spoke) = (shut.clone(), ghost.clone());
                async move {
                    ctx.beat();
                    if ctx.generation() == 1 {
                        door.block();
                        spoke.store(ctx.publish(1).await.is_ok(), Ordering::Relaxed);
                        return Ok(());
                    }
                    ctx.publish(ctx.generation()).await?;
                    let _wait = ctx.parked();
                    ctx.token().cancelled().await;
                    Ok::<_, BoxError>(())
                }
            })
            .start()
            .unwrap();
        assert_eq!(
            ward.next().await,
            Some(2),
            "while the first one is blocked still"
        );
        assert_eq!(steward.status().zombies, [("w".into(), 1)]);
        // With a zombie at large, a shutdown says so.
        door.open();
        while !matches!(events.next().await.unwrap().what, What::ZombieGone) {}
        assert!(!spoke.load(Ordering::Relaxed), "a ghost spoke");
        assert!(steward.status().zombies.is_empty());
        let shutdown = steward.shutdown(WATCHDOG).await;
        assert_eq!(shutdown.finished, ["w"]);
        assert_eq!(ward.next().await, None);
    });
}

/// A blocked ward outlasts the deadline: the shutdown returns all the same and names it.
#[test]
fn a_shutdown_names_who_still_runs() {
    let _watchdog = watchdog();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let door = Arc::new(Door::default());
    let (entered, has_entered) = mpsc::channel();
    runtime.block_on(async {
        let steward = Steward::builder().start().unwrap();
        let shut = door.clone();
        let ward = steward
            .child("stuck", move |_: Ctx| {
                let (door, entered) = (shut.clone(), entered.clone());
                async move {
                    entered.send(()).unwrap();
                    door.block();
                    Ok::<_, BoxError>(())
                }
            })
            .start()
            .unwrap();
        tokio::task::block_in_place(|| has_entered.recv().unwrap());
        let shutdown = steward.shutdown(Duration::from_millis(200)).await;
        assert_eq!(shutdown.running, ["stuck"]);
        assert!(!shutdown.is_clean());
        assert!(matches!(ward.end(), Some(Reason::Stopped)));
    });
    door.open();
}
