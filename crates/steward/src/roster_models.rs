//! What is atomic here belongs to the models; Relaxed, as the roster's lock is what they are about.

use std::time::Duration;

use evenkeel_sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use evenkeel_sync::{Arc, Mutex, model, thread};

use crate::event::Reason;
use crate::outlet::Outlet;
use crate::roster::{Do, Key, Port, Refused, Roster, Rules, Stage, Terms, Todo};
use crate::rules::{Backoff, Intensity, Restart, Strategy};

const GRACE: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(100);

/// A ward as the models see it.
struct Ward {
    started: AtomicUsize,
    /// The newest generation that has ended or is fenced.
    gone: AtomicUsize,
    beaten: AtomicBool,
    outlet: Outlet<u32>,
}

#[derive(Clone)]
struct Fake(Arc<Ward>);

struct Life {
    ward: Fake,
    cancelled: AtomicBool,
}

impl Port for Fake {
    type Life = Arc<Life>;
    /// The generation that it was spawned for.
    type Task = u32;

    fn conceive(&self, _key: Key, _generation: u32, _spent: &mut Option<Arc<Life>>) -> Arc<Life> {
        Arc::new(Life {
            ward: self.clone(),
            cancelled: AtomicBool::new(false),
        })
    }

    fn ended(&self, _reason: &Reason) {}

    fn is_silent(life: &Arc<Life>) -> bool {
        !life.ward.0.beaten.load(Ordering::Relaxed)
    }
}

struct House {
    roster: Mutex<Roster<Fake>>,
    lives: Mutex<Vec<Arc<Life>>>,
    /// Whether the last start was in place.
    in_place: AtomicBool,
    /// What was aborted last.
    aborted: AtomicUsize,
}

impl House {
    fn new() -> Arc<Self> {
        let rules = Rules {
            strategy: Strategy::OneForOne,
            intensity: Intensity::UNLIMITED,
            max_wards: 2,
            max_zombies: 1,
            deadline: GRACE,
        };
        Arc::new(Self {
            roster: Mutex::new(Roster::new(rules, 1)),
            lives: Mutex::new(Vec::new()),
            in_place: AtomicBool::new(false),
            aborted: AtomicUsize::new(0),
        })
    }

    /// Takes a call to the roster and does what there is to do, as the shell does.
    fn call<R>(&self, f: impl FnOnce(&mut Roster<Fake>, &mut Todo<Fake>) -> R) -> R {
        let mut todo = Todo::new(false);
        let answer = f(&mut self.roster.lock(), &mut todo);
        for this in todo {
            match this {
                Do::Start(_, generation, port, life) => {
                    self.in_place.store(port.is_none(), Ordering::Relaxed);
                    let port = port.unwrap_or_else(|| life.ward.clone());
                    let gone = port.0.gone.load(Ordering::Relaxed);
                    assert_eq!(gone + 1, generation as usize, "two incarnations at once");
                    port.0.outlet.open(generation);
                    port.0.started.fetch_add(1, Ordering::Relaxed);
                    self.lives.lock().push(life);
                }
                Do::Abort(task) => self.aborted.store(task as usize, Ordering::Relaxed),
                Do::Cancel(life, ..) => life.cancelled.store(true, Ordering::Relaxed),
                Do::Fence(port, generation, _) => {
                    port.0.outlet.fence(generation);
                    port.0
                        .gone
                        .fetch_max(generation as usize, Ordering::Relaxed);
                }
                _ => {}
            }
        }
        answer
    }

    /// The runner of an incarnation that ends.
    fn exit(&self, ward: &Fake, key: Key, generation: u32) {
        ward.0
            .gone
            .fetch_max(generation as usize, Ordering::Relaxed);
        self.call(|roster, todo| {
            roster.exited(
                key,
                generation,
                Reason::Finished,
                true,
                Duration::ZERO,
                todo,
            );
        });
    }
}

fn terms(restart: Restart) -> Terms {
    Terms {
        restart,
        backoff: Backoff::NONE,
        grace: GRACE,
        abort_grace: GRACE,
        ready_within: None,
        timeout: None,
        #[cfg(feature = "significant")]
        significant: false,
    }
}

fn ward() -> Fake {
    Fake(Arc::new(Ward {
        started: AtomicUsize::new(0),
        gone: AtomicUsize::new(0),
        beaten: AtomicBool::new(false),
        outlet: Outlet::new(1),
    }))
}

fn add(house: &House, ward: &Fake, restart: Restart) -> Result<Key, Refused> {
    house.call(|r, todo| {
        r.add(
            "w".into(),
            terms(restart),
            ward.clone(),
            Duration::ZERO,
            todo,
        )
    })
}

/// The exit of an incarnation races its fence: whichever comes first lets the next one start, once, and the other does not
/// touch it.
#[test]
fn stale_exit() {
    model("stale_exit", None, || {
        let (house, ward) = (House::new(), ward());
        let key = add(&house, &ward, Restart::Permanent).unwrap();
        house.call(|r, todo| assert!(r.restart(key, Duration::ZERO, todo)));
        house.call(|r, todo| r.tick(GRACE, todo));
        let runner = {
            let (house, ward) = (Arc::clone(&house), ward.clone());
            thread::spawn(move || house.exit(&ward, key, 1))
        };
        house.call(|r, todo| r.tick(3 * GRACE, todo));
        runner.join().unwrap();
        let roster = house.roster.lock();
        assert_eq!(
            roster.find(key).unwrap().generation,
            2,
            "a stale exit was taken for a new one"
        );
        assert_eq!(ward.0.started.load(Ordering::Relaxed), 2);
        assert!(
            roster.zombies.is_empty(),
            "a zombie that went is still counted"
        );
        assert!(ward.0.outlet.push(2, 2).is_ok());
    });
}

/// A handle's restart, the word of silence and the exit itself meet: one incarnation follows, never beside another.
#[test]
fn one_incarnation() {
    model("one_incarnation", Some(3), || {
        let (house, ward) = (House::new(), ward());
        let key = add(&house, &ward, Restart::Permanent).unwrap();
        let runner = {
            let (house, ward) = (Arc::clone(&house), ward.clone());
            thread::spawn(move || house.exit(&ward, key, 1))
        };
        let monitor = {
            let house = Arc::clone(&house);
            thread::spawn(move || {
                house.call(|r, todo| r.unwell(key, 1, Reason::Silent, Duration::ZERO, todo));
            })
        };
        house.call(|r, todo| assert!(r.restart(key, Duration::ZERO, todo)));
        runner.join().unwrap();
        monitor.join().unwrap();
        let started = ward.0.started.load(Ordering::Relaxed);
        assert_eq!(
            started, 2,
            "the next incarnation was started {started} times"
        );
    });
}

/// The word that an incarnation is unwell comes late: its successor is not told to go for it.
#[test]
fn stale_word() {
    model("stale_word", None, || {
        let (house, ward) = (House::new(), ward());
        let key = add(&house, &ward, Restart::Permanent).unwrap();
        let runner = {
            let (house, ward) = (Arc::clone(&house), ward.clone());
            thread::spawn(move || house.exit(&ward, key, 1))
        };
        house.call(|r, todo| r.unwell(key, 1, Reason::Closed, Duration::ZERO, todo));
        runner.join().unwrap();
        let lives = house.lives.lock();
        assert_eq!(lives.len(), 2);
        let cancelled = lives[1].cancelled.load(Ordering::Relaxed);
        assert!(!cancelled, "told to go for what its predecessor did");
    });
}

/// A beat that came before the verdict is never followed by a restart for silence, however old the word for it is.
#[test]
fn beat_verdict() {
    model("beat_verdict", None, || {
        let (house, ward) = (House::new(), ward());
        let key = add(&house, &ward, Restart::Permanent).unwrap();
        let beaten = Arc::new(AtomicBool::new(false));
        let worker = {
            let (beaten, ward) = (Arc::clone(&beaten), ward.clone());
            thread::spawn(move || {
                ward.0.beaten.store(true, Ordering::Relaxed);
                // ORDERING: Release, with the Acquire below: so the model knows that the beat came first.
                beaten.store(true, Ordering::Release);
            })
        };
        let in_time = beaten.load(Ordering::Acquire);
        house.call(|r, todo| r.unwell(key, 1, Reason::Silent, Duration::ZERO, todo));
        let cancelled = house.lives.lock()[0].cancelled.load(Ordering::Relaxed);
        assert!(!(in_time && cancelled), "healed although it beat in time");
        worker.join().unwrap();
    });
}

/// A start that races the shutdown is refused or stopped, never leaked.
#[test]
fn start_shutdown() {
    model("start_shutdown", None, || {
        let (house, ward) = (House::new(), ward());
        let starter = {
            let (house, ward) = (Arc::clone(&house), ward.clone());
            thread::spawn(move || add(&house, &ward, Restart::Permanent))
        };
        house.call(|r, todo| r.close(LONG, Duration::ZERO, todo));
        match starter.join().unwrap() {
            Ok(key) => {
                let cancelled = house.lives.lock()[0].cancelled.load(Ordering::Relaxed);
                assert!(cancelled, "a ward outlives its steward");
                house.exit(&ward, key, 1);
            }
            Err(refused) => assert_eq!(refused, Refused::Closed),
        }
        assert!(matches!(house.roster.lock().stage, Stage::Closed));
    });
}

/// The end of a backoff meets a handle's stop and another's restart: stopped is stopped, and a restart happens once.
#[test]
fn backoff_stop_restart() {
    model("backoff_stop_restart", Some(3), || {
        let (house, ward) = (House::new(), ward());
        let mut slow = terms(Restart::Permanent);
        slow.backoff = Backoff::exponential(GRACE, GRACE).jitter(0.0);
        let key = house
            .call(|r, todo| r.add("w".into(), slow, ward.clone(), Duration::ZERO, todo))
            .unwrap();
        house.exit(&ward, key, 1);
        house.exit(&ward, key, 2);
        assert_eq!(ward.0.started.load(Ordering::Relaxed), 2, "no backoff");
        let timer = {
            let house = Arc::clone(&house);
            thread::spawn(move || house.call(|r, todo| r.tick(GRACE, todo)))
        };
        let restarter = {
            let house = Arc::clone(&house);
            thread::spawn(move || house.call(|r, todo| r.restart(key, GRACE, todo)))
        };
        let stopped = house.call(|r, todo| r.stop(key, GRACE, todo));
        assert!(stopped);
        timer.join().unwrap();
        let restarted = restarter.join().unwrap();
        let started = ward.0.started.load(Ordering::Relaxed);
        assert!(started <= 4, "{started} starts");
        let alive = house.roster.lock().find(key).is_some();
        let cancelled = house
            .lives
            .lock()
            .last()
            .unwrap()
            .cancelled
            .load(Ordering::Relaxed);
        assert!(!alive || cancelled, "stopped, and alive ({restarted})");
    });
}

/// A ward that is fenced at the end of the shutdown ends meanwhile: it is in the answer, and once.
#[test]
fn fence_exit_close() {
    model("fence_exit_close", None, || {
        let (house, ward) = (House::new(), ward());
        let key = add(&house, &ward, Restart::Permanent).unwrap();
        house.call(|r, todo| r.close(GRACE, Duration::ZERO, todo));
        let runner = {
            let (house, ward) = (Arc::clone(&house), ward.clone());
            thread::spawn(move || house.exit(&ward, key, 1))
        };
        house.call(|r, todo| r.tick(LONG, todo));
        let named = |house: &House| {
            let roster = house.roster.lock();
            assert!(matches!(roster.stage, Stage::Closed));
            roster.ends.len() + roster.zombies.len()
        };
        assert_eq!(named(&house), 1, "a ward is missing from the shutdown");
        runner.join().unwrap();
        assert_eq!(named(&house), 1, "a ward is missing from the shutdown");
    });
}

/// An incarnation in a task of its own ends before that task is known, or after: what runs then is aborted by its own task, and not by
/// that of one before.
#[test]
fn abort_own() {
    model("abort_own", None, || {
        let (house, ward) = (House::new(), ward());
        let key = add(&house, &ward, Restart::Permanent).unwrap();
        let spawned = |house: &House, task| {
            house.call(|r, _| r.spawned(key, task, task).map(drop));
        };
        spawned(&house, 1);
        house.call(|r, todo| r.restart(key, Duration::ZERO, todo));
        ward.0.gone.fetch_max(1, Ordering::Relaxed);
        house.call(|r, todo| r.exited(key, 1, Reason::Finished, false, Duration::ZERO, todo));
        let starter = {
            let house = Arc::clone(&house);
            thread::spawn(move || {
                house.call(|r, _| r.spawned(key, 2, 2).map(drop));
            })
        };
        house.exit(&ward, key, 2);
        let in_place = house.in_place.load(Ordering::Relaxed);
        starter.join().unwrap();
        if !in_place {
            spawned(&house, 3);
        }
        house.call(|r, todo| r.stop(key, Duration::ZERO, todo));
        house.call(|r, todo| r.climb(key, 3, LONG, todo));
        let own = if in_place { 2 } else { 3 };
        assert_eq!(
            house.aborted.load(Ordering::Relaxed),
            own,
            "another was aborted"
        );
    });
}
