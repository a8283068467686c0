//! An hour of faults of every kind, on a paused clock and from a seed that is printed: in the end every ward runs, or has ended as its
//! rule says.
#![cfg(not(loom))]

mod support;

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_steward::{
    Backoff, BoxError, Builder, Ctx, Intensity, Reason, Restart, StartError, Steward, Strategy,
    What,
};
use support::S;
use tokio::time::{Instant, sleep, sleep_until};

const WARDS: usize = 1_000;
const STEWARDS: usize = 40;
const HOUR: Duration = Duration::from_secs(3600);

/// A generator that is the same everywhere.
#[derive(Clone)]
struct Dice(Arc<Mutex<u64>>);

impl Dice {
    fn roll(&self, sides: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What the test knows of a ward.
#[derive(Clone, Default)]
struct Known {
    /// Incarnations that run, and the most there ever were at once.
    live: u32,
    most: u32,
    last: Option<&'static str>,
}

type Book = Arc<Mutex<HashMap<String, Known>>>;

struct Alive(Book, String);

impl Alive {
    fn new(book: &Book, id: &str) -> Self {
        let mut all = book.lock().unwrap();
        let known = all.entry(id.to_owned()).or_default();
        known.live += 1;
        known.most = known.most.max(known.live);
        Self(Arc::clone(book), id.to_owned())
    }

    fn ends(&self, how: &'static str) {
        self.0.lock().unwrap().get_mut(&self.1).unwrap().last = Some(how);
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.lock().unwrap().get_mut(&self.1).unwrap().live -= 1;
    }
}

/// Runs for a while, and then does what the dice say; from `calm` on it stays.
async fn live(ctx: Ctx, dice: Dice, book: Book, calm: Instant) -> Result<(), BoxError> {
    let alive = Alive::new(&book, ctx.id());
    ctx.ready();
    loop {
        ctx.beat();
        if ctx.token().run(sleep(ctx.interval())).await.is_err() {
            // One in four takes its time to go, or does not hear at all.
            match dice.roll(8) {
                0 => pending().await,
                1 => sleep(S).await,
                _ => {}
            }
            return Ok(());
        }
        if Instant::now() > calm || dice.roll(60) != 0 {
            continue;
        }
        match dice.roll(8) {
            0 => {
                alive.ends("finished");
                return Ok(());
            }
            1 => {
                alive.ends("failed");
                return Err("a fault (expected)".into());
            }
            2 => {
                alive.ends("panicked");
                std::panic::resume_unwind(Box::new("a fault (expected)"));
            }
            3 => {
                alive.ends("silent");
                pending::<()>().await;
            }
            4 => {
                alive.ends("closed");
                drop(ctx);
                return pending().await;
            }
            5 => {
                let _work = ctx.working(10 * S);
                sleep(5 * S).await;
            }
            6 => {
                alive.ends("overdue");
                let _work = ctx.working(2 * S);
                pending::<()>().await;
            }
            _ => {
                let _wait = ctx.parked();
                sleep(100 * S).await;
            }
        }
    }
}

fn kind(at: usize) -> Restart {
    [
        Restart::Permanent,
        Restart::Permanent,
        Restart::Transient,
        Restart::Temporary,
    ][at % 4]
}

fn branch(at: usize, dice: &Dice, book: &Book, calm: Instant) -> Builder {
    let (dice, book) = (dice.clone(), Arc::clone(book));
    let strategy = [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
    ][at % 3];
    let wards = WARDS / STEWARDS;
    Steward::builder()
        .strategy(strategy)
        .intensity(Intensity::new(20, 60 * S))
        .backoff(Backoff::exponential(S, 10 * S))
        .timeout(4 * S)
        .grace(2 * S)
        .abort_grace(S)
        .setup(move |steward| {
            (0..wards).try_for_each(|n| {
                let (dice, book) = (dice.clone(), Arc::clone(&book));
                let ward = move |ctx: Ctx| live(ctx, dice.clone(), Arc::clone(&book), calm);
                let child = steward.child(format!("{at}.{n}"), ward).restart(kind(n));
                child.ready_within(10 * S).start().map(drop)
            })
        })
}

async fn chaos(seed: u64) -> Result<(), StartError> {
    println!("seed {seed}");
    let dice = Dice(Arc::new(Mutex::new(seed)));
    let book = Book::default();
    let calm = Instant::now() + HOUR;
    let root = Steward::builder()
        .intensity(Intensity::UNLIMITED)
        .backoff(Backoff::exponential(S, 10 * S))
        .timeout(10 * S)
        .start()?;
    let mut events = root.events();
    for at in 0..STEWARDS {
        root.child(format!("{at}"), branch(at, &dice, &book, calm))
            .start()?;
    }
    // From outside, too: restarts are asked for, and stops of dynamic wards.
    while Instant::now() < calm {
        let (dice, id) = (dice.clone(), format!("dynamic {}", dice.roll(u64::MAX)));
        let book = Arc::clone(&book);
        let ward = root.child(id, move |ctx: Ctx| {
            live(ctx, dice.clone(), Arc::clone(&book), calm)
        });
        let ward = ward.timeout(4 * S).grace(2 * S).abort_grace(S).start()?;
        sleep(20 * S).await;
        let _ = ward.restart();
        sleep(20 * S).await;
        assert!(matches!(ward.stop().await, Reason::Stopped));
    }
    sleep_until(calm + 400 * S).await;

    // What was calm for so long runs, once, and is healthy; what is gone had a rule that says so.
    let tree = root.status();
    assert_eq!(tree.wards.len(), STEWARDS, "{tree}");
    assert!(tree.zombies.is_empty());
    let known: HashMap<String, Known> = book.lock().unwrap().clone();
    let mut restarts = 0;
    for branch in &tree.wards {
        let nested = branch.nested.as_ref().expect("it is a steward");
        assert!(nested.zombies.is_empty() && !nested.closed, "{tree}");
        restarts += nested.restarts;
        for n in 0..WARDS / STEWARDS {
            let id = format!("{}.{n}", branch.id);
            let known = &known[&id];
            assert_eq!(known.most, 1, "{id}: two incarnations at once");
            let status = nested.wards.iter().find(|ward| *ward.id == *id);
            let runs = status.is_some_and(|ward| ward.state == evenkeel_steward::State::Running);
            assert_eq!(known.live, u32::from(runs), "{id}: {status:?}");
            let may_be_gone = match kind(n) {
                Restart::Permanent => false,
                Restart::Transient => known.last == Some("finished"),
                Restart::Temporary => {
                    known.last.is_some() || nested.strategy != Strategy::OneForOne
                }
            };
            assert!(
                runs || may_be_gone,
                "{id} is gone after {:?}: {status:?}",
                known.last
            );
        }
    }
    assert!(restarts > 1_000, "{restarts} restarts");
    let faults: HashSet<&str> = known.values().filter_map(|known| known.last).collect();
    assert_eq!(faults.len(), 6, "every kind: {faults:?}");
    while let Some(event) = events.try_next() {
        if let What::Restarting { reason, .. } = event.what {
            assert!(
                !matches!(reason, Reason::Hung | Reason::Runtime),
                "{}",
                event.ward
            );
        }
    }
    let shutdown = root.shutdown(60 * S).await;
    assert!(
        shutdown.running.is_empty() && shutdown.panicked.is_empty(),
        "{shutdown}"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_faults() {
    chaos(1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_hour_of_faults() {
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    chaos(seed).await.unwrap();
}
