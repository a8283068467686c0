//! A hundred thousand pulses for minutes of virtual time: jitter, hangs, stops of the whole process and of the monitor.

#![cfg(not(loom))]

use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use evenkeel_heartbeat::{Expect, Health, Heartbeat, Monitor, PulseId, Watched};
use tokio::time::{Instant, advance, sleep_until};

const T: Duration = Duration::from_secs(2);
const PULSES: usize = 100_000;
/// Steps of 10 ms in which workers hang and the clock jumps; and more, in which what is left is found.
const STEPS: u32 = 1_500;
const AFTER: u32 = 400;

/// xorshift64*, after Vigna.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// When a pulse beats next, or hangs, in milliseconds of its own process's time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due(std::cmp::Reverse<(Duration, usize)>);

struct Simulation {
    random: Random,
    pulses: Vec<Watched>,
    due: BinaryHeap<Due>,
    /// How long the whole process was stopped: its workers' clocks stood still.
    stopped: Duration,
    start: Instant,
    /// Last beats of those that hang, and of those that have been found.
    hung: HashMap<PulseId, Instant>,
    found: usize,
    quiet: bool,
}

impl Simulation {
    /// Lets the workers do what is due by now, each beating at every half to nine tenths of its timeout.
    fn work(&mut self) {
        let now = self.start.elapsed() - self.stopped;
        while let Some(Due(std::cmp::Reverse((at, n)))) = self.due.pop() {
            if at > now {
                self.due.push(Due(std::cmp::Reverse((at, n))));
                return;
            }
            self.pulses[n].beat();
            if self.random.below(15_000) == 0 && !self.quiet {
                self.hung.insert(self.pulses[n].id(), Instant::now());
            } else {
                let next = at + self.random.millis(1_000, 1_800);
                // After a stall of the monitor the beats of the meantime are one.
                self.due.push(Due(std::cmp::Reverse((next.max(now), n))));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_false_alarm_and_every_hang_found_in_bounds() {
    let seed = std::env::var("EVENKEEL_SEED").map_or(0x5eed, |seed| seed.parse().unwrap());
    println!("EVENKEEL_SEED={seed}");
    let mut random = Random(seed);
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let class = monitor.class(Expect::within(T)).unwrap();
    let pulses: Vec<Watched> = (0..PULSES).map(|_| class.register("worker")).collect();
    let due = (0..PULSES).map(|n| Due(std::cmp::Reverse((random.millis(0, 1_500), n))));
    let mut sim = Simulation {
        due: due.collect(),
        random,
        pulses,
        stopped: Duration::ZERO,
        start: Instant::now(),
        hung: HashMap::new(),
        found: 0,
        quiet: false,
    };
    let mut step = sim.start;
    // The time in which nothing was witnessed, of late.
    let mut stalls: Vec<(Instant, Duration)> = Vec::new();
    for n in 0..STEPS + AFTER {
        sim.quiet = n >= STEPS;
        step += Duration::from_millis(10);
        sleep_until(step).await;
        if sim.random.below(150) == 0 && !sim.quiet {
            let jump = sim.random.millis(500, 20_000);
            let process = sim.random.below(2) == 0;
            stalls.push((Instant::now(), jump));
            advance(jump).await;
            step = Instant::now();
            if process {
                // Nobody ran; whoever was to beat meanwhile does so once it runs again.
                sim.stopped += jump;
            }
        }
        sim.work();
        while let Some(change) = changes.try_next() {
            if change.pulse == PulseId::MONITOR {
                continue;
            }
            assert_eq!(change.health, Health::Silent, "{change:?}");
            let Some(last) = sim.hung.remove(&change.pulse) else {
                panic!("false alarm for {change:?}, seed {seed}");
            };
            let silence = last.elapsed();
            // Each stall since adds itself, the scan that was late and the one after it.
            let forgiven: Duration = stalls
                .iter()
                .filter(|(at, _)| *at >= last)
                .map(|(_, jump)| *jump + T / 6)
                .sum();
            assert!(silence >= T, "{silence:?} is early");
            let bound = T * 5 / 4 + forgiven + Duration::from_millis(10);
            assert!(silence <= bound, "{silence:?} is late, {bound:?} allowed");
            sim.found += 1;
        }
    }
    let unfound = sim
        .hung
        .values()
        .filter(|last| last.elapsed() > T * 30)
        .count();
    assert_eq!(unfound, 0, "hangs not found");
    assert!(sim.found > 20, "only {} hangs", sim.found);
    println!(
        "{} hangs found, {} stalls, no false alarm",
        sim.found,
        stalls.len()
    );
    let quality = class.quality();
    assert_eq!((quality.alarms, quality.mistakes), (sim.found as u64, 0));
    assert!((quality.accuracy() - 1.0).abs() < f64::EPSILON);
}

/// Workers that take longer than they said are mistakes, and the monitor says how many, how long and how often.
#[tokio::test(start_paused = true)]
async fn mistakes_are_measured() {
    let monitor = Monitor::new();
    let class = monitor.class(Expect::within(T)).unwrap();
    let pulse = class.register("worker");
    let start = Instant::now();
    for _ in 0..10 {
        pulse.beat();
        sleep_until(Instant::now() + T * 2).await;
        for _ in 0..8 {
            pulse.beat();
            sleep_until(Instant::now() + T / 2).await;
        }
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
    assert!(quality.detection_max >= T && quality.detection_max <= T * 5 / 4);
    // A worker that ends while it is silent was found, not mistaken.
    sleep_until(Instant::now() + T * 2).await;
    drop(pulse);
    sleep_until(Instant::now() + T).await;
    let quality = class.quality();
    assert_eq!((quality.alarms, quality.mistakes), (11, 10));
}
