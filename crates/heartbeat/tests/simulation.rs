//! A hundred thousand pulses for virtual time: jitter, hangs, ends and successors, stops of the whole process and of the
//! monitor.

#![cfg(not(loom))]

mod support;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use evenkeel_heartbeat::{Changes, Class, Expect, Health, Heartbeat, Monitor, PulseId, Watched};
use support::Random;
use tokio::time::{Instant, advance, sleep_until};

const T: Duration = Duration::from_secs(2);
/// Of the clock.
const STEP: Duration = Duration::from_millis(10);
/// Steps in which workers hang and the clock jumps; and more, in which all that hang are found.
const STEPS: u32 = 1_500;
const AFTER: u32 = 350;

struct Simulation {
    random: Random,
    class: Class,
    changes: Changes,
    pulses: Vec<Watched>,
    /// When a worker does something next, in its process's time.
    due: BinaryHeap<Reverse<(Duration, usize)>>,
    /// How long the whole process was stopped: its workers' clocks stood still.
    stopped: Duration,
    start: Instant,
    /// The times in which nothing was witnessed.
    stalls: Vec<(Instant, Duration)>,
    /// The last beats of those that hang and are to be found.
    hung: HashMap<PulseId, Instant>,
    /// Those that were found, and have not beaten since.
    silent: HashSet<PulseId>,
    /// Those that were, and have; and those that ended: as much is to be told.
    back: HashSet<PulseId>,
    ended: HashSet<PulseId>,
    found: usize,
    recovered: usize,
    /// One beat in so many is the last, or the last for long.
    hangs: u64,
    quiet: bool,
}

impl Simulation {
    fn new(seed: u64, pulses: usize, hangs: u64) -> Self {
        let mut random = Random(seed.max(1));
        let monitor = Monitor::new();
        let changes = monitor.changes();
        let class = monitor.class(Expect::within(T)).unwrap();
        let due = (0..pulses).map(|n| Reverse((random.millis(0, 1_500), n)));
        Self {
            due: due.collect(),
            pulses: (0..pulses).map(|_| class.register("worker")).collect(),
            random,
            class,
            changes,
            stopped: Duration::ZERO,
            start: Instant::now(),
            stalls: Vec::new(),
            hung: HashMap::new(),
            silent: HashSet::new(),
            back: HashSet::new(),
            ended: HashSet::new(),
            found: 0,
            recovered: 0,
            hangs,
            quiet: false,
        }
    }

    /// Lets the workers do what is due by now, each beating at every half to nine tenths of its timeout.
    fn work(&mut self) {
        let now = self.start.elapsed() - self.stopped;
        while let Some(&Reverse((at, n))) = self.due.peek() {
            if at > now {
                return;
            }
            self.due.pop();
            let id = self.pulses[n].id();
            self.pulses[n].beat();
            self.hung.remove(&id);
            if self.silent.remove(&id) {
                self.back.insert(id);
            }
            let mut pause = self.random.millis(1_000, 1_800);
            match self.random.below(self.hangs) {
                0 | 1 if self.quiet => {}
                0 => {
                    self.hung.insert(id, Instant::now());
                    continue; // for ever
                }
                1 => {
                    self.hung.insert(id, Instant::now());
                    pause = self.random.millis(3_000, 6_000);
                }
                2 | 3 => {
                    // Another in its slot, perhaps, while a change is still to be told.
                    self.ended.insert(id);
                    let old = std::mem::replace(&mut self.pulses[n], self.class.register("next"));
                    drop(old);
                }
                4 => {
                    self.ended.insert(id);
                    self.pulses.push(self.class.register("in its slot"));
                    drop(self.pulses.swap_remove(n));
                }
                _ => {}
            }
            // After a stall of the monitor the beats of the meantime are one.
            self.due.push(Reverse(((at + pause).max(now), n)));
        }
    }

    /// Each change that is told is so, in time, and told once.
    fn listen(&mut self) {
        while let Some(change) = self.changes.try_next() {
            let id = change.pulse;
            match change.health {
                Health::Stalled | Health::Live if id == PulseId::MONITOR => {}
                Health::Silent => {
                    let last = self.hung.remove(&id);
                    let last = last.unwrap_or_else(|| panic!("false alarm: {change:?}"));
                    let silence = last.elapsed();
                    // Each stall since adds itself, the scan that was late and the one after it.
                    let stalls = self.stalls.iter().filter(|(at, _)| *at >= last);
                    let forgiven: Duration = stalls.map(|(_, jump)| *jump + T / 6).sum();
                    assert!(silence >= T, "{silence:?} is early");
                    let bound = T * 5 / 4 + forgiven + STEP;
                    assert!(silence <= bound, "{silence:?} is late, {bound:?} allowed");
                    self.silent.insert(id);
                    self.found += 1;
                }
                Health::Live => {
                    assert!(self.back.remove(&id), "no recovery: {change:?}");
                    self.recovered += 1;
                }
                Health::Closed => {
                    assert!(self.ended.remove(&id), "has not ended: {change:?}");
                    // It ended before its recovery was told, which then is not.
                    self.back.remove(&id);
                }
                _ => panic!("{change:?}"),
            }
        }
    }

    async fn run(&mut self) {
        let mut step = self.start;
        for n in 0..STEPS + AFTER {
            self.quiet = n >= STEPS;
            step += STEP;
            sleep_until(step).await;
            match self.random.below(150) {
                0 if !self.quiet => {
                    let jump = self.random.millis(500, 20_000);
                    self.stalls.push((Instant::now(), jump));
                    advance(jump).await;
                    if self.random.below(2) == 0 {
                        // Nobody ran; whoever was to beat meanwhile does so once it runs again.
                        self.stopped += jump;
                    }
                }
                // The next scan is late, but by less than a period: nothing is forgiven for that.
                1..30 => advance(self.random.millis(1, 150)).await,
                _ => {}
            }
            step = step.max(Instant::now());
            for _ in 0..10 {
                // The monitor's turn, in slices.
                tokio::task::yield_now().await;
            }
            // What has been told by now, then what is done now.
            self.listen();
            self.work();
        }
        sleep_until(Instant::now() + T / 6).await;
        self.listen();
        assert_eq!(self.hung.len(), 0, "hangs not found");
        assert_eq!((self.back.len(), self.ended.len()), (0, 0), "not told");
    }
}

#[tokio::test(start_paused = true)]
async fn no_false_alarm_and_every_hang_found_in_bounds() {
    let seed = std::env::var("EVENKEEL_SEED").map_or(0x5eed, |seed| seed.parse().unwrap());
    println!("EVENKEEL_SEED={seed}");
    let mut sim = Simulation::new(seed, 100_000, 15_000);
    sim.run().await;
    let (found, recovered) = (sim.found, sim.recovered);
    println!(
        "{found} hangs found, {recovered} back, {} stalls",
        sim.stalls.len()
    );
    assert!(found > 50 && recovered > 10);
    let quality = sim.class.quality();
    assert_eq!(quality.alarms, found as u64);
}

#[tokio::test(start_paused = true)]
async fn the_same_of_many_seeds() {
    for seed in 1..=10 {
        println!("seed {seed}");
        Simulation::new(seed, 1_000, 200).run().await;
    }
}

/// Workers that take longer than they said are mistakes, and the monitor says how many, how long and how often.
#[tokio::test(start_paused = true)]
async fn mistakes_are_measured() {
    let monitor = Monitor::new();
    let class = monitor.class(Expect::within(T)).unwrap();
    let pulse = class.register("worker");
    let start = Instant::now();
    let mut changes = monitor.changes();
    let mut told = Duration::ZERO;
    for _ in 0..10 {
        pulse.beat();
        let beaten = Instant::now();
        assert_eq!(changes.next().await.unwrap().health, Health::Silent);
        told += beaten.elapsed();
        sleep_until(beaten + T * 2).await;
        for _ in 0..8 {
            pulse.beat();
            sleep_until(Instant::now() + T / 2).await;
        }
        assert_eq!(changes.try_next().unwrap().health, Health::Live);
    }
    let quality = class.quality();
    assert_eq!((quality.alarms, quality.mistakes), (10, 10));
    // From the alarm, at 1 to 1.25 timeouts, to the scan after the beat, at 2 and up to a twelfth.
    let mistake = quality.mistake_duration();
    assert!(
        mistake >= T * 3 / 4 && mistake <= T * 13 / 12,
        "{mistake:?}"
    );
    let recurrence = quality.mistake_recurrence().unwrap();
    let expected = start.elapsed() / 10;
    assert!(
        recurrence >= expected * 9 / 10 && recurrence <= expected,
        "{recurrence:?}"
    );
    assert!((quality.mistake_rate() * recurrence.as_secs_f64() - 1.0).abs() < 1e-9);
    assert_eq!(quality.good_period().unwrap(), recurrence - mistake);
    let share = mistake.as_secs_f64() / recurrence.as_secs_f64();
    assert!((quality.accuracy() - (1.0 - share)).abs() < 1e-6);
    let detection = quality.detection_time();
    assert!(detection >= T && detection <= quality.detection_max);
    assert!(quality.detection_max <= T * 5 / 4);
    // To a twelfth: from the last beat to what was told.
    let told = told / 10;
    assert!(detection >= told && detection <= told + T / 12, "{told:?}");
    assert_eq!(quality.overruns, 0);
    // A worker that ends while it is silent was found, not mistaken.
    sleep_until(Instant::now() + T * 2).await;
    drop(pulse);
    sleep_until(Instant::now() + T).await;
    let quality = class.quality();
    assert_eq!((quality.alarms, quality.mistakes), (11, 10));
    // One over its limit has no last beat to count from.
    let over = class.register("over its limit");
    let unit = over.unit(T);
    sleep_until(Instant::now() + T * 2).await;
    drop(unit);
    let now = class.quality();
    assert_eq!((now.alarms, now.overruns), (12, 1));
    assert_eq!(now.detection_time(), quality.detection_time());
}
