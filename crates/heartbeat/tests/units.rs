//! Units of work and waits on purpose, on a paused clock.

#![cfg(not(loom))]

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use evenkeel_heartbeat::{Change, Changes, Expect, Health, Heartbeat, Monitor, Watched};
use tokio::task::yield_now;
use tokio::time::{Instant, advance, sleep, timeout};

const T: Duration = Duration::from_secs(2);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn of(expect: Expect) -> (Monitor, Changes, Watched) {
    let monitor = Monitor::new();
    let changes = monitor.changes();
    let pulse = monitor.class(expect).unwrap().register("worker");
    (monitor, changes, pulse)
}

fn watched(within: Duration) -> (Monitor, Changes, Watched) {
    of(Expect::within(within))
}

/// The next change, or the end of the test: the clock is paused, and goes on for as long as somebody waits.
async fn next(changes: &mut Changes) -> Change {
    let heard = timeout(T * 1_000, changes.next()).await;
    heard.expect("nothing is told").unwrap()
}

async fn nothing(changes: &mut Changes, during: Duration) {
    let heard = timeout(during, changes.next()).await;
    assert!(heard.is_err(), "unexpected {heard:?}");
}

/// The next change is a silence, `limit` after `since`, give or take what a limit is exact to.
async fn silent_after(changes: &mut Changes, since: Instant, limit: Duration) {
    assert_eq!(next(changes).await.health, Health::Silent);
    let after = since.elapsed();
    assert!(after >= limit, "{after:?} is early for {limit:?}");
    assert!(after <= limit + T / 4, "{after:?} is late for {limit:?}");
}

#[tokio::test(start_paused = true)]
async fn a_unit_is_busy_within_its_limit_and_silent_past_it() {
    for limit in [40, 100, 2_000, 7_000].map(ms) {
        let (_monitor, mut changes, pulse) = watched(limit.min(T));
        pulse.beat();
        sleep(ms(333)).await;
        while changes.try_next().is_some() {}
        let entered = Instant::now();
        let unit = pulse.unit(limit);
        sleep(limit - ms(1)).await;
        assert_eq!(pulse.health(), Health::Busy);
        loop {
            let change = next(&mut changes).await;
            if change.health == Health::Silent {
                break;
            }
        }
        let after = entered.elapsed();
        assert!(
            after >= limit && after <= limit * 5 / 4,
            "{after:?} for {limit:?}"
        );
        pulse.beat();
        assert_eq!(pulse.health(), Health::Silent, "a beat grants no time");
        drop(unit);
        assert_eq!(pulse.health(), Health::Live, "leaving is a beat");
    }
}

#[tokio::test(start_paused = true)]
async fn an_inner_unit_grants_the_outer_no_time() {
    let (_monitor, mut changes, pulse) = watched(T);
    let entered = Instant::now();
    let _outer = pulse.unit(T * 4);
    for _ in 0..3 {
        let _inner = pulse.unit(T * 100);
        sleep(T).await;
    }
    assert_eq!(pulse.health(), Health::Busy);
    assert_eq!(next(&mut changes).await.health, Health::Silent);
    assert!(entered.elapsed() >= T * 4 && entered.elapsed() <= T * 5);
}

#[tokio::test(start_paused = true)]
async fn units_may_end_in_any_order() {
    let (_monitor, mut changes, pulse) = watched(T);
    let outer = pulse.unit(T * 2);
    let inner = pulse.unit(T * 50);
    drop(outer);
    nothing(&mut changes, T * 20).await;
    assert_eq!(pulse.health(), Health::Busy);
    drop(inner);
    assert_eq!(next(&mut changes).await.health, Health::Silent);
}

#[tokio::test(start_paused = true)]
async fn a_parked_worker_may_be_silent() {
    let (_monitor, mut changes, pulse) = watched(T);
    let parked = pulse.parked();
    nothing(&mut changes, T * 1_000).await;
    assert_eq!(pulse.health(), Health::Live);
    drop(parked);
    assert_eq!(next(&mut changes).await.health, Health::Silent);
}

#[tokio::test(start_paused = true)]
async fn silence_counts_from_the_end_of_the_unit() {
    for phase in 0..12 {
        let (_monitor, mut changes, pulse) = watched(T);
        let unit = pulse.unit(T * 10);
        sleep(T * 2 + T / 288 + T * phase / 144).await;
        // Left just before a scan that is late, by up to a period.
        let mut jump = pin!(advance(T / 12 - T * phase / 144 + T / 15));
        let jumped = poll_fn(|cx| Poll::Ready(jump.as_mut().poll(cx).is_pending()));
        assert!(jumped.await);
        drop(unit);
        let left = Instant::now();
        assert_eq!(next(&mut changes).await.health, Health::Silent);
        let after = left.elapsed();
        assert!(after >= T && after <= T * 5 / 4, "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewed_pulse_is_in_no_unit_of_its_predecessor() {
    let (_monitor, _changes, mut pulse) = watched(T);
    std::mem::forget(pulse.unit(ms(1)));
    sleep(T).await;
    assert_eq!(pulse.health(), Health::Silent);
    pulse.renew();
    let _unit = pulse.unit(T * 4);
    sleep(T * 3).await;
    assert_eq!(pulse.health(), Health::Busy);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_names_no_limit_has_that_of_its_class() {
    let (_monitor, mut changes, pulse) = of(Expect::within(T).unit_within(T * 5));
    for limit in [T * 5, T * 3] {
        let entered = Instant::now();
        let unit = pulse.unit((limit == T * 3).then_some(limit));
        silent_after(&mut changes, entered, limit).await;
        drop(unit);
        assert_eq!(next(&mut changes).await.health, Health::Live);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_inside_a_unit_and_a_unit_inside_a_wait_have_the_limit_of_the_unit() {
    let (_monitor, mut changes, pulse) = watched(T);
    let entered = Instant::now();
    let unit = pulse.unit(T * 3);
    let parked = pulse.parked();
    silent_after(&mut changes, entered, T * 3).await;
    drop(unit);
    assert_eq!(next(&mut changes).await.health, Health::Live);
    nothing(&mut changes, T * 100).await;
    let entered = Instant::now();
    let unit = pulse.unit(T * 2);
    silent_after(&mut changes, entered, T * 2).await;
    drop(unit);
    assert_eq!(next(&mut changes).await.health, Health::Live);
    nothing(&mut changes, T * 100).await;
    drop(parked);
    assert_eq!(next(&mut changes).await.health, Health::Silent);
}

/// However late each scan is within a period, a limit is neither short nor, be it ever so long, further off than a third of
/// the timeout.
#[tokio::test(start_paused = true)]
async fn a_limit_holds_however_late_the_scans_are_within_a_period() {
    for within in [ms(40), ms(100), T] {
        let limit = within * 50;
        for phase in 0..24 {
            let (_monitor, mut changes, pulse) = watched(within);
            sleep(within / 2 + within * phase / 144).await;
            pulse.beat();
            let entered = Instant::now();
            let _unit = pulse.unit(limit);
            // Each scan waits for the next step of the clock, of half a period to one.
            let step = within / 24 + within * phase / 24 / 24;
            while changes.try_next().is_none() {
                advance(step - ms(1)).await;
                yield_now().await;
                yield_now().await;
            }
            assert_eq!(pulse.health(), Health::Silent);
            let after = entered.elapsed();
            assert!(after >= limit, "{after:?} is early for {limit:?}");
            let bound = limit + within / 3 + ms(2);
            assert!(after <= bound, "{after:?} is late for {limit:?}");
        }
    }
}
