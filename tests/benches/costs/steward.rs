//! Wards, beside tasks in a `JoinSet` that are spawned again and actors under a supervisor.

use std::future::{Future, pending};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use evenkeel::steward::{Backoff, BoxError, Builder, Ctx, Intensity, Steward};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::runtime::{self, Runtime};
use tokio::task::{JoinSet, yield_now};

use crate::allocations;
use crate::harness::{Bench, Unit, nanoseconds};

pub(crate) fn run(bench: &mut Bench) {
    restart(bench);
    start(bench);
    heap_ward(bench);
    watch_100k(bench);
    wards_1m(bench);
}

fn new_runtime(paused: bool) -> Runtime {
    let mut builder = runtime::Builder::new_current_thread();
    builder
        .enable_all()
        .start_paused(paused)
        .build()
        .expect("a runtime")
}

/// Restarts at once, however often.
fn rules() -> Builder {
    Steward::builder()
        .backoff(Backoff::NONE)
        .intensity(Intensity::UNLIMITED)
}

/// Takes the times between two events of which the first ends in one place and the second begins in another.
#[derive(Clone)]
struct Gaps {
    from: Arc<Mutex<Option<Instant>>>,
    told: mpsc::Sender<f64>,
}

impl Gaps {
    fn new() -> (Self, mpsc::Receiver<f64>) {
        let (told, all) = mpsc::channel();
        (
            Self {
                from: Arc::default(),
                told,
            },
            all,
        )
    }

    fn open(&self) {
        *self.from.lock().expect("nobody panics") = Some(Instant::now());
    }

    fn close(&self) {
        let now = Instant::now();
        if let Some(from) = self.from.lock().expect("nobody panics").take() {
            self.told
                .send(nanoseconds(now - from))
                .expect("they are read in the end");
        }
    }
}

/// The median of `n` gaps, for each of them.
fn gap<F: Future<Output = ()>>(runtime: &Runtime, n: u64, case: impl Fn(u64, Gaps) -> F) -> f64 {
    let (gaps, all) = Gaps::new();
    runtime.block_on(case(n, gaps));
    median(all.iter().take(n as usize)) * n as f64
}

fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The median time from the last statement of an incarnation to the first of the next.
fn restart(bench: &Bench) {
    const RESTARTS: u64 = 2_000;
    let runtime = new_runtime(false);
    bench
        .case("restart")
        .rounds(15)
        .measured("evenkeel", RESTARTS, |n| gap(&runtime, n, restarted))
        .measured("joinset", RESTARTS, |n| gap(&runtime, n, respawned))
        .measured("ractor", RESTARTS, |n| gap(&runtime, n, supervised))
        .run();
}

async fn restarted(restarts: u64, gaps: Gaps) {
    let steward = rules().start().expect("inside a runtime");
    let left = Arc::new(AtomicU64::new(restarts));
    let done = Arc::new(tokio::sync::Notify::new());
    let (ward_left, ward_done) = (Arc::clone(&left), Arc::clone(&done));
    let ward = move |ctx: Ctx| {
        let (gaps, left, done) = (gaps.clone(), Arc::clone(&ward_left), Arc::clone(&ward_done));
        async move {
            gaps.close();
            ctx.beat();
            if left.fetch_sub(1, Ordering::Relaxed) == 0 {
                done.notify_one();
                pending::<()>().await;
            }
            gaps.open();
            Ok::<_, BoxError>(())
        }
    };
    steward
        .child("ward", ward)
        .start()
        .expect("it is the only one");
    done.notified().await;
    drop(steward.shutdown(Duration::ZERO).await);
}

async fn respawned(restarts: u64, gaps: Gaps) {
    let mut set = JoinSet::new();
    for _ in 0..=restarts {
        let gaps = gaps.clone();
        set.spawn(async move {
            gaps.close();
            gaps.open();
        });
        set.join_next()
            .await
            .expect("one is running")
            .expect("it does not panic");
    }
}

/// Ends when it is told to, and a supervisor starts it again.
struct Child(Gaps);

impl Actor for Child {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn post_start(
        &self,
        myself: ActorRef<()>,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        self.0.close();
        // As the wards do: it ends as soon as it runs.
        myself.stop(None);
        self.0.open();
        Ok(())
    }
}

struct Supervisor {
    gaps: Gaps,
    restarts: u64,
}

impl Actor for Supervisor {
    type Msg = ();
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<()>, (): ()) -> Result<u64, ActorProcessingErr> {
        Actor::spawn_linked(None, Child(self.gaps.clone()), (), myself.get_cell()).await?;
        Ok(0)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        restarts: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorTerminated(..) = event {
            if *restarts == self.restarts {
                myself.stop(None);
            } else {
                *restarts += 1;
                Actor::spawn_linked(None, Child(self.gaps.clone()), (), myself.get_cell()).await?;
            }
        }
        Ok(())
    }
}

async fn supervised(restarts: u64, gaps: Gaps) {
    let (_, ended) = Actor::spawn(None, Supervisor { gaps, restarts }, ())
        .await
        .expect("it starts");
    ended.await.expect("it does not panic");
}

/// From the call that starts a ward until it runs and waits, one after the other.
fn start(bench: &Bench) {
    const WARDS: u64 = 1_000;
    let runtime = new_runtime(false);
    bench
        .case("start")
        .timed_fixed("evenkeel", WARDS, |n| runtime.block_on(started(n)))
        .timed_fixed("ractor", WARDS, |n| runtime.block_on(spawned(n)))
        .run();
}

async fn started(wards: u64) -> Duration {
    let steward = rules().start().expect("inside a runtime");
    let running = Arc::new(AtomicU64::new(0));
    let ids: Vec<String> = (0..wards).map(|number| number.to_string()).collect();
    let begun = Instant::now();
    for (id, number) in ids.into_iter().zip(1..) {
        let count = Arc::clone(&running);
        let ward = move |ctx: Ctx| {
            let count = Arc::clone(&count);
            async move {
                count.fetch_add(1, Ordering::Relaxed);
                ctx.token().cancelled().await;
                Ok::<_, BoxError>(())
            }
        };
        steward.child(id, ward).start().expect("its id is its own");
        all_started(&running, number).await;
    }
    let took = begun.elapsed();
    drop(steward.shutdown(Duration::from_secs(10)).await);
    took
}

/// Counts that it runs.
struct Running(Arc<AtomicU64>);

impl Actor for Running {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn post_start(&self, _: ActorRef<()>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

async fn spawned(actors: u64) -> Duration {
    let running = Arc::new(AtomicU64::new(0));
    let mut all = Vec::with_capacity(actors as usize);
    let begun = Instant::now();
    for number in 1..=actors {
        let actor = Running(Arc::clone(&running));
        all.push(Actor::spawn(None, actor, ()).await.expect("it starts"));
        all_started(&running, number).await;
    }
    let took = begun.elapsed();
    for (actor, ended) in all {
        actor.stop(None);
        ended.await.expect("it does not panic");
    }
    took
}

/// Bytes of the future in every row.
const FUTURE: usize = 64;

/// Runs until it is dropped; keeps `handle`, and enough to be of [`FUTURE`] bytes.
fn idle<H>(
    started: &Arc<AtomicU64>,
    handle: H,
) -> impl Future<Output = Result<(), BoxError>> + use<H> {
    let started = Arc::clone(started);
    let state = [black_box(0_u64); 3];
    let future = async move {
        started.fetch_add(1, Ordering::Relaxed);
        pending::<()>().await;
        drop((state, handle, started));
        Ok(())
    };
    assert_eq!(size_of_val(&future), FUTURE);
    future
}

/// Yields until all of them run: a few turns would leave most of them unpolled.
async fn all_started(started: &AtomicU64, n: u64) {
    while started.load(Ordering::Relaxed) < n {
        yield_now().await;
    }
}

/// The bytes that a running ward takes, its name with it.
fn heap_ward(bench: &Bench) {
    const WARDS: u64 = 100_000;
    bench
        .case("heap_ward")
        .unit(Unit::Bytes)
        .rounds(1)
        .measured("evenkeel", WARDS, |n| {
            let started = Arc::new(AtomicU64::new(0));
            // A runtime of its own, so that no task of an earlier row is freed meanwhile.
            new_runtime(true).block_on(async {
                let steward = rules().start().expect("inside a runtime");
                allocations::begin();
                for number in 0..n {
                    let started = Arc::clone(&started);
                    let ward = move |ctx: Ctx| idle(&started, ctx);
                    steward
                        .child(number.to_string(), ward)
                        .start()
                        .expect("its id is its own");
                }
                all_started(&started, n).await;
                let (_, bytes) = allocations::end();
                drop(steward.shutdown(Duration::ZERO).await);
                bytes as f64
            })
        })
        .measured("joinset", WARDS, |n| {
            let started = Arc::new(AtomicU64::new(0));
            new_runtime(true).block_on(async {
                let mut set = JoinSet::new();
                allocations::begin();
                for _ in 0..n {
                    set.spawn(idle(&started, [0_u64; 3]));
                }
                all_started(&started, n).await;
                let (_, bytes) = allocations::end();
                set.shutdown().await;
                bytes as f64
            })
        })
        .run();
}

/// Keeps the contexts of wards that do nothing, so that their pulses can be beaten for them.
async fn kept(steward: &Steward, n: usize) -> Arc<Mutex<Vec<Ctx>>> {
    let kept: Arc<Mutex<Vec<Ctx>>> = Arc::default();
    for number in 0..n {
        let kept = Arc::clone(&kept);
        let ward = move |ctx: Ctx| {
            let token = ctx.token().clone();
            kept.lock().expect("nobody panics").push(ctx);
            async move {
                token.cancelled().await;
                Ok::<_, BoxError>(())
            }
        };
        steward
            .child(number.to_string(), ward)
            .start()
            .expect("its id is its own");
    }
    while kept.lock().expect("nobody panics").len() < n {
        yield_now().await;
    }
    kept
}

/// The share of a core that watching takes, all wards beating twice a timeout. The clock is paused: what it takes to let
/// a second pass is what the watching costs.
fn watch_100k(bench: &Bench) {
    const WARDS: usize = 100_000;
    const BEATS: u32 = 20;
    bench
        .case("watch_100k")
        .unit(Unit::Share)
        .rounds(5)
        .measured("evenkeel", 1, |_| {
            new_runtime(true).block_on(async {
                let second = Duration::from_secs(1);
                let steward = rules().timeout(second).start().expect("inside a runtime");
                let wards = kept(&steward, WARDS).await;
                let mut took = Duration::ZERO;
                for _ in 0..BEATS {
                    wards
                        .lock()
                        .expect("nobody panics")
                        .iter()
                        .for_each(Ctx::beat);
                    let begun = Instant::now();
                    tokio::time::sleep(second / 2).await;
                    took += begun.elapsed();
                }
                assert_eq!(
                    wards.lock().expect("nobody panics").len(),
                    WARDS,
                    "none was healed"
                );
                drop(steward.shutdown(Duration::ZERO).await);
                took.as_secs_f64() / (second / 2 * BEATS).as_secs_f64()
            })
        })
        .run();
}

/// A million wards are started, fall silent, are healed, and are stopped.
fn wards_1m(bench: &Bench) {
    const WARDS: usize = 1_000_000;
    let life = || {
        new_runtime(true).block_on(async {
            let steward = rules()
                .timeout(Duration::from_secs(10))
                .start()
                .expect("inside a runtime");
            allocations::begin();
            let wards = kept(&steward, WARDS).await;
            let (_, bytes) = allocations::end();
            // Nobody beats: each falls silent, ends when it is told to, and is started again.
            while wards.lock().expect("nobody panics").len() < 2 * WARDS {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let shutdown = steward.shutdown(Duration::from_secs(10)).await;
            assert_eq!(shutdown.finished.len(), WARDS);
            bytes
        })
    };
    bench
        .case("wards_1m_s")
        .unit(Unit::S)
        .rounds(1)
        .measured("evenkeel", 1, |_| {
            let begun = Instant::now();
            life();
            begun.elapsed().as_secs_f64()
        })
        .run();
    bench
        .case("wards_1m_bytes")
        .unit(Unit::Bytes)
        .rounds(1)
        .measured("evenkeel", WARDS as u64, |_| life() as f64)
        .run();
}
