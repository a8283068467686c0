//! Scans that come late, each by no more than a period: the bounds of a timeout hold, on a paused clock.

#![cfg(not(loom))]

mod support;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use evenkeel_heartbeat::{Expect, Health, Heartbeat, Monitor, PulseId};
use support::Random;
use tokio::time::{Instant, advance, sleep};

#[tokio::test(start_paused = true)]
async fn silence_is_found_in_bounds_however_late_the_scans_are_within_a_period() {
    for within in [40, 100, 2_000].map(Duration::from_millis) {
        let mut random = Random(0x5eed);
        let monitor = Monitor::new();
        let mut changes = monitor.changes();
        let class = monitor.class(Expect::within(within)).unwrap();
        let pulses: Vec<_> = (0..50).map(|_| class.register("worker")).collect();
        let mut last = vec![None; pulses.len()];
        let (mut soonest, mut latest) = (Duration::MAX, Duration::ZERO);
        let mut found = 0;
        while found < 5_000 {
            // So that no scan is later than a period: a timer may be late by a millisecond, and the jump comes on top.
            let most = within.as_micros() as u64 / 12 - 1_000;
            let jump = match random.below(3) {
                0 => random.below(most / 8),
                1 => most - random.below(most / 8),
                _ => random.below(most),
            };
            advance(Duration::from_micros(jump)).await;

            for _ in 0..2 {
                tokio::task::yield_now().await;
            }
            while let Some(change) = changes.try_next() {
                assert_ne!(change.pulse, PulseId::MONITOR, "{change:?}");
                if change.health != Health::Silent {
                    continue;
                }
                let n = pulses
                    .iter()
                    .position(|pulse| pulse.id() == change.pulse)
                    .unwrap();
                let last: Instant = last[n].take().expect("it has beaten");
                let after = last.elapsed();
                soonest = soonest.min(after);
                latest = latest.max(after);
                found += 1;
            }
            for (pulse, last) in pulses.iter().zip(&mut last) {
                if last.is_none() && random.below(3) == 0 {
                    pulse.beat();
                    *last = Some(Instant::now());
                }
            }
        }
        assert!(soonest >= within, "{soonest:?} is early for {within:?}");
        assert!(
            latest <= within * 5 / 4,
            "{latest:?} is late for {within:?}"
        );
    }
}

/// While it cannot keep its word the monitor says so, and says nothing of anybody else.
#[tokio::test(start_paused = true)]
async fn a_monitor_that_is_always_late_is_stalled_and_accuses_nobody() {
    let within = Duration::from_secs(2);
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let class = monitor.class(Expect::within(within)).unwrap();
    let often = monitor.class(Expect::within(within * 10)).unwrap();
    let pulses = [class.register("hangs"), often.register("steady")];
    pulses.iter().for_each(Heartbeat::beat);
    for _ in 0..100 {
        advance(within / 12 * 5 / 2).await;
        tokio::task::yield_now().await;
        pulses[1].beat();
    }
    let change = changes.try_next().unwrap();
    let stalled = (PulseId::MONITOR, Health::Stalled);
    assert_eq!((change.pulse, change.health), stalled);
    assert!(changes.try_next().is_none(), "told once");
    assert_eq!(monitor.health(PulseId::MONITOR), Health::Stalled);
    // In time again: it is live, and finds who hangs.
    let since = Instant::now();
    let change = changes.next().await.unwrap();
    let live = (PulseId::MONITOR, Health::Live);
    assert_eq!((change.pulse, change.health), live);
    let change = changes.next().await.unwrap();
    assert_eq!((&*change.name, change.health), ("hangs", Health::Silent));
    assert!(since.elapsed() <= within * 5 / 4 + within / 6);
}

/// However many scans are late, what is in time counts: a hang is found.
#[tokio::test(start_paused = true)]
async fn a_hang_is_found_though_every_other_scan_is_late() {
    let within = Duration::from_secs(2);
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let class = monitor.class(Expect::within(within)).unwrap();
    let pulse = class.register("hangs");
    pulse.beat();
    let mut stalled = 0;
    for _ in 0..60 {
        for jump in [
            within / 6 + within / 24,
            within / 12 + Duration::from_millis(2),
        ] {
            advance(jump).await;
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        while let Some(change) = changes.try_next() {
            stalled += u32::from(change.health == Health::Stalled);
        }
    }
    assert!(stalled >= 50, "every other scan was late, {stalled}");
    assert_eq!(pulse.health(), Health::Silent);
}

/// After a stop many scans are overdue. One is made up for, and it counts for nothing.
#[tokio::test(start_paused = true)]
async fn overdue_scans_are_one_scan() {
    let within = Duration::from_secs(2);
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let class = monitor.class(Expect::within(within)).unwrap();
    let pulse = class.register("worker");
    sleep(within / 2).await;
    pulse.beat();
    sleep(within / 6).await; // heard
    advance(within * 1_000).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pulse.health(), Health::Live);
    let stalled = changes.try_next().unwrap();
    assert_eq!(stalled.health, Health::Stalled);
    assert!(changes.try_next().is_none());
    // All of its time but what was witnessed before.
    sleep(within * 4 / 5).await;
    assert_eq!(pulse.health(), Health::Live);
}

/// Whoever was stopped with the monitor has a period to get going again, on top of what it had.
#[tokio::test(start_paused = true)]
async fn after_a_stop_everybody_has_a_period_of_grace() {
    let within = Duration::from_secs(2);
    let period = within / 12;
    for phase in 1..20 {
        let monitor = Monitor::new();
        let mut changes = monitor.changes();
        let class = monitor.class(Expect::within(within)).unwrap();
        let pulse = class.register("worker");
        sleep(within / 2 + period * phase / 10).await;
        pulse.beat();
        let beaten = Instant::now();
        sleep(period * phase / 2).await;
        let stop = within * 100;
        advance(stop).await;
        while changes.next().await.unwrap().health != Health::Silent {}
        assert!(class.quality().watched <= within * 3, "nor was it watched");
        let silence = beaten.elapsed() - stop;
        assert!(silence >= within + period * 2, "{silence:?}");
        assert!(silence <= within * 5 / 4 + period * 2, "{silence:?}");
    }
}

/// Who is heard late in a scan that takes long has all of its time from there.
#[tokio::test(start_paused = true)]
async fn a_scan_that_takes_long_makes_no_alarm_early() {
    let within = Duration::from_secs(2);
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let class = monitor.class(Expect::within(within)).unwrap();
    // More than a scan looks at in one go.
    let pulses: Vec<_> = (0..40_000).map(|_| class.register("worker")).collect();
    for pulse in &pulses[1..] {
        pulse.beat();
    }
    sleep(within / 2).await;
    let last = &pulses[39_999];
    for pulse in &pulses[1..] {
        pulse.beat();
    }
    // The first, which never started, is told of while the last is still to be looked at.
    assert_eq!(changes.next().await.unwrap().pulse, pulses[0].id());
    let mut jump = pin!(advance(within / 12 * 19 / 10));
    // Once: what it does then is to let others run.
    let jumped = poll_fn(|cx| Poll::Ready(jump.as_mut().poll(cx).is_pending()));
    assert!(jumped.await);
    last.beat();
    let beaten = Instant::now();
    while changes.next().await.unwrap().pulse != last.id() {}
    assert_eq!(last.health(), Health::Silent);
    assert!(beaten.elapsed() >= within, "{:?}", beaten.elapsed());
}
