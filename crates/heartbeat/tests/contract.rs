//! What a user can see, on a paused clock.

#![cfg(not(loom))]

use std::sync::Arc;
use std::time::Duration;

use evenkeel_heartbeat::{
    Change, Changes, ClassError, Expect, Health, Heartbeat, Monitor, PulseId, Watched, pulse,
};
use tokio::time::{Instant, advance, sleep, timeout};

const T: Duration = Duration::from_secs(2);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn watched(within: Duration) -> (Monitor, Changes, Watched) {
    let monitor = Monitor::new();
    let changes = monitor.changes();
    let pulse = monitor
        .class(Expect::within(within))
        .unwrap()
        .register("worker");
    (monitor, changes, pulse)
}

async fn nothing(changes: &mut Changes, during: Duration) {
    let heard = timeout(during, changes.next()).await;
    assert!(heard.is_err(), "unexpected {heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_beat_before_the_first_poll_is_kept() {
    let (pulse, mut beats) = pulse();
    pulse.beat();
    assert_eq!(beats.next().await.unwrap().count, 1);
}

#[tokio::test(start_paused = true)]
async fn many_beats_are_one_item_with_their_count() {
    let (pulse, mut beats) = pulse();
    for _ in 0..1_000 {
        pulse.beat();
    }
    assert_eq!(beats.next().await.unwrap().count, 1_000);
    assert!(timeout(ms(1), beats.next()).await.is_err());
    pulse.beat();
    assert_eq!(beats.next().await.unwrap().count, 1);
    assert_eq!(beats.total(), 1_001);
}

#[tokio::test(start_paused = true)]
async fn the_last_beat_is_heard_before_the_close() {
    let (pulse, mut beats) = pulse();
    pulse.beat();
    drop(pulse);
    assert!(beats.is_closed());
    assert_eq!(beats.next().await.unwrap().count, 1);
    assert_eq!(beats.next().await, None);
    assert_eq!(beats.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_panic_closes_the_pulse() {
    let (pulse, mut beats) = pulse();
    let worker = tokio::spawn(async move {
        pulse.beat();
        sleep(ms(5)).await;
        panic!("on purpose");
    });
    assert_eq!(beats.next().await.unwrap().count, 1);
    assert_eq!(beats.next().await, None);
    assert!(worker.await.unwrap_err().is_panic());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_next_loses_no_beat() {
    let (pulse, mut beats) = pulse();
    for n in 1..100 {
        let next = timeout(ms(1), beats.next());
        assert!(next.await.is_err());
        pulse.beat();
        assert_eq!(beats.reach(n).await, Some(n));
    }
}

#[tokio::test(start_paused = true)]
async fn the_nth_beat_can_be_waited_for() {
    let (pulse, mut beats) = pulse();
    let worker = tokio::spawn(async move {
        sleep(Duration::from_secs(3_600)).await; // slow to start
        for _ in 0..3 {
            pulse.beat();
            sleep(ms(1)).await;
        }
    });
    assert_eq!(beats.reach(3).await, Some(3));
    assert_eq!(beats.reach(2).await, Some(3), "heard already");
    assert_eq!(beats.reach(4).await, None, "the worker has returned");
    worker.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn silence_is_found_in_one_to_one_and_a_quarter_timeouts() {
    for within in [40, 41, 47, 100, 333, 2_000, 60_000].map(ms) {
        let (_monitor, mut changes, pulse) = watched(within);
        // At every phase of the scan.
        for phase in 0..40 {
            pulse.beat();
            sleep(within / 2 + within * phase / 500).await;
            pulse.beat();
            let beaten = Instant::now();
            let change = changes.next().await.unwrap();
            assert_eq!(change.health, Health::Silent);
            let after = beaten.elapsed();
            assert!(after >= within, "{after:?} is early for {within:?}");
            assert!(after <= within * 5 / 4, "{after:?} is late for {within:?}");
            pulse.beat();
            assert_eq!(changes.next().await.unwrap().health, Health::Live);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pulse_that_beats_in_time_is_never_silent() {
    let (_monitor, mut changes, pulse) = watched(T);
    let worker = tokio::spawn(async move {
        for _ in 0..1_000 {
            pulse.beat();
            sleep(T - ms(1)).await;
        }
    });
    let change = changes.next().await.unwrap();
    assert_eq!(change.health, Health::Closed);
    worker.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_hang_is_one_alarm_and_one_recovery() {
    let (monitor, mut changes, pulse) = watched(T);
    pulse.beat();
    let change = changes.next().await.unwrap();
    assert_eq!(change.pulse, pulse.id());
    assert_eq!(&*change.name, "worker");
    assert_eq!(change.health, Health::Silent);
    assert_eq!(monitor.health(change.pulse), Health::Silent);
    nothing(&mut changes, T * 100).await;
    pulse.beat();
    assert_eq!(
        monitor.health(change.pulse),
        Health::Live,
        "read before the scan"
    );
    assert_eq!(changes.next().await.unwrap().health, Health::Live);
    nothing(&mut changes, T / 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_handle_is_closed_at_once() {
    let (monitor, mut changes, pulse) = watched(T);
    let id = pulse.id();
    let worker = tokio::spawn(async move {
        pulse.beat();
        panic!("on purpose");
    });
    assert!(worker.await.unwrap_err().is_panic());
    assert_eq!(monitor.health(id), Health::Closed);
    assert_eq!(changes.try_next().unwrap().health, Health::Closed);
    nothing(&mut changes, T * 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_used_again_inherits_nothing() {
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let class = monitor.class(Expect::within(T)).unwrap();
    let first = class.register("first");
    first.beat();
    sleep(T * 2).await;
    assert_eq!(first.health(), Health::Silent);
    let old = first.id();
    drop(first);
    let second = class.register("second");
    assert_ne!(second.id(), old);
    assert_eq!(second.health(), Health::Starting);
    assert_eq!(monitor.health(old), Health::Closed);
    let heard: Vec<Health> = std::iter::from_fn(|| changes.try_next())
        .map(|change| change.health)
        .collect();
    assert_eq!(heard, [Health::Silent, Health::Closed]);
    nothing(&mut changes, T - ms(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_renewed_pulse_starts_afresh_in_its_slot() {
    let (monitor, mut changes, mut pulse) = watched(T);
    let _ = pulse.unit(ms(1));
    sleep(T * 2).await;
    let old = pulse.id();
    assert_eq!(changes.try_next().unwrap().health, Health::Silent);
    pulse.renew();
    assert_ne!(pulse.id(), old);
    assert_eq!(pulse.health(), Health::Starting);
    assert_eq!(monitor.health(old), Health::Closed);
    pulse.beat();
    assert_eq!(pulse.health(), Health::Live);
    assert_eq!(changes.next().await.unwrap().pulse, pulse.id());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_never_starts_has_a_limit_of_its_own() {
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let expect = Expect::within(T).start_within(T * 10);
    let pulse = monitor.class(expect).unwrap().register("slow to start");
    let made = Instant::now();
    sleep(T * 9).await;
    assert_eq!(pulse.health(), Health::Starting);
    assert_eq!(changes.next().await.unwrap().health, Health::Silent);
    assert!(made.elapsed() >= T * 10 && made.elapsed() <= T * 11);
    pulse.beat();
    assert_eq!(changes.next().await.unwrap().health, Health::Live);
}

#[tokio::test(start_paused = true)]
async fn a_jump_of_the_clock_is_held_against_nobody() {
    let (monitor, mut changes, pulse) = watched(T);
    let unit = monitor.class(Expect::within(T)).unwrap();
    let unit = unit.register("in a unit");
    let _unit = unit.unit(T);
    pulse.beat();
    sleep(T / 2).await;
    advance(Duration::from_secs(3_600)).await;
    let woken = Instant::now();
    let change = changes.next().await.unwrap();
    assert_eq!(
        (change.pulse, change.health),
        (PulseId::MONITOR, Health::Stalled)
    );
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.push(changes.next().await.unwrap());
    }
    assert_eq!(
        (heard[0].pulse, heard[0].health),
        (PulseId::MONITOR, Health::Live)
    );
    // What was witnessed before the jump still counts; a real hang is found soon after.
    assert!(
        heard[1..]
            .iter()
            .all(|change| change.health == Health::Silent)
    );
    assert!(woken.elapsed() >= T / 2 && woken.elapsed() <= T * 5 / 4);
}

#[tokio::test(start_paused = true)]
async fn however_often_the_monitor_stalls_a_beating_worker_is_not_silent() {
    let (_monitor, mut changes, pulse) = watched(T);
    let worker = async {
        loop {
            pulse.beat();
            sleep(T / 3).await;
        }
    };
    let clock = async {
        for n in 0..200_u32 {
            sleep(ms(u64::from(n) * 7)).await;
            advance(T * (n % 5)).await;
        }
    };
    tokio::select! {
        () = worker => unreachable!(),
        () = clock => {}
    }
    while let Some(change) = changes.try_next() {
        assert_eq!(change.pulse, PulseId::MONITOR, "false alarm: {change:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn beats_while_something_is_awaited() {
    let (_monitor, mut changes, pulse) = watched(T);
    let mut every = pulse.every(T / 2);
    let nothing_said = nothing(&mut changes, T * 10);
    every.during(nothing_said).await;
    assert_eq!(
        changes.next().await.unwrap().health,
        Health::Silent,
        "nothing beats outside"
    );
}

#[tokio::test(start_paused = true)]
async fn the_schedule_runs_on_from_wait_to_wait() {
    let (pulse, mut beats) = pulse();
    let mut every = pulse.every(ms(1_000));
    for _ in 0..35 {
        every.during(sleep(ms(100))).await;
    }
    assert_eq!(beats.next().await.unwrap().count, 3);
}

#[tokio::test(start_paused = true)]
async fn beats_that_were_missed_are_one_and_the_schedule_stands() {
    let (pulse, mut beats) = pulse();
    let mut every = pulse.every(ms(1_000));
    sleep(ms(10_300)).await; // nobody polls
    every.during(sleep(ms(500))).await;
    assert_eq!(beats.next().await.unwrap().count, 1);
    every.during(sleep(ms(500))).await;
    assert_eq!(beats.next().await.unwrap().count, 1, "at 11 s");
}

#[tokio::test(start_paused = true)]
async fn extremes_neither_panic_nor_alarm() {
    for period in [Duration::ZERO, Duration::MAX] {
        let (pulse, _beats) = pulse();
        pulse.every(period).during(sleep(ms(10))).await;
    }
    let forever = Expect::within(Duration::MAX)
        .start_within(Duration::MAX)
        .unit_within(Duration::MAX);
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let class = monitor.class(forever).unwrap();
    let _never_starts = class.register("never starts");
    let pulse = class.register("worker");
    pulse.beat();
    let unit = pulse.unit(Duration::MAX);
    nothing(&mut changes, Duration::from_secs(86_400 * 365)).await;
    drop(unit);
    let _unit = pulse.unit(None);
    drop(pulse.unit(Duration::ZERO));
    let at_once = Expect::within(T).start_within(Duration::ZERO);
    let _late = monitor.class(at_once).unwrap().register("late");
    assert_eq!(changes.next().await.unwrap().health, Health::Silent);
}

#[tokio::test(start_paused = true)]
async fn a_class_of_short_timeout_need_not_wait_for_one_of_long_timeout() {
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let _long = monitor.class(Expect::within(T * 1_000)).unwrap();
    sleep(T).await; // the monitor's task waits for the long one
    let pulse = monitor.class(Expect::within(T)).unwrap().register("worker");
    pulse.beat();
    let beaten = Instant::now();
    assert_eq!(changes.next().await.unwrap().health, Health::Silent);
    assert!(beaten.elapsed() <= T * 5 / 4, "{:?}", beaten.elapsed());
}

/// A waker that is counted.
struct Counted;

impl std::task::Wake for Counted {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_listener_that_leaves_is_not_kept_by_the_worker() {
    let (_pulse, mut beats) = pulse();
    let counted = Arc::new(Counted);
    let waker = Arc::clone(&counted).into();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(std::pin::pin!(beats.next()).poll(&mut cx).is_pending());
    drop(waker);
    assert_eq!(Arc::strong_count(&counted), 2);
    drop(beats);
    assert_eq!(Arc::strong_count(&counted), 1);
}

#[tokio::test(start_paused = true)]
async fn a_class_is_refused_at_construction() {
    let monitor = Monitor::new();
    for within in [Duration::ZERO, ms(39)] {
        let refused = monitor.class(Expect::within(within));
        assert_eq!(refused.unwrap_err(), ClassError::TooShort(within));
    }
    let refused = std::thread::spawn(move || monitor.class(Expect::within(T)).unwrap_err());
    assert_eq!(refused.join().unwrap(), ClassError::NoRuntime);
}

#[tokio::test(start_paused = true)]
async fn one_loop_watches_a_hundred_thousand_pulses() {
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let class = monitor.class(Expect::within(T)).unwrap();
    let pulses: Vec<Watched> = (0..100_000).map(|_| class.register("ward")).collect();
    for pulse in &pulses {
        pulse.beat();
    }
    sleep(T / 2).await;
    for (n, pulse) in pulses.iter().enumerate() {
        if n % 1_000 != 7 {
            pulse.beat();
        }
    }
    sleep(T * 3 / 4).await;
    let mut silent = Vec::new();
    while let Some(Change { pulse, health, .. }) = changes.try_next() {
        assert_eq!(health, Health::Silent);
        silent.push(pulse);
    }
    silent.sort();
    let mut expected: Vec<PulseId> = pulses
        .iter()
        .skip(7)
        .step_by(1_000)
        .map(Watched::id)
        .collect();
    expected.sort();
    assert_eq!(silent, expected);
}

#[tokio::test(start_paused = true)]
async fn a_shared_handle_closes_with_the_last() {
    let (monitor, _events, pulse) = watched(T);
    let id = pulse.id();
    let pulse = Arc::new(pulse);
    let other = Arc::clone(&pulse);
    drop(pulse);
    other.beat();
    assert_eq!(monitor.health(id), Health::Live);
    drop(other);
    assert_eq!(monitor.health(id), Health::Closed);
}

#[cfg(feature = "errors")]
#[test]
fn an_error_has_a_code() {
    use evenkeel_errors::Known;
    for (error, code) in [
        (ClassError::TooShort(ms(1)), "evenkeel.heartbeat/too-short"),
        (ClassError::NoRuntime, "evenkeel.heartbeat/no-runtime"),
        (ClassError::NoThread, "evenkeel.heartbeat/no-thread"),
    ] {
        assert_eq!(error.code().to_string(), code);
    }
}
