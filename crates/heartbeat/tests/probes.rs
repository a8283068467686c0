//! What an orchestrator is told.

#![cfg(all(feature = "health", not(loom)))]

use std::time::Duration;

use evenkeel_heartbeat::{BeatFuture, Expect, Health, Heartbeat, Monitor, Probes, Watched};
use tokio::time::sleep;

const T: Duration = Duration::from_secs(2);

fn probes() -> (Probes, Watched, Watched) {
    let monitor = Monitor::new();
    let class = monitor.class(Expect::within(T)).unwrap();
    let (critical, required) = (class.register("critical"), class.register("required"));
    let probes = Probes::new(&monitor);
    probes.critical("critical", critical.id());
    probes.required("required", required.id());
    (probes, critical, required)
}

fn statuses(probes: &Probes) -> [u16; 3] {
    [probes.startupz(), probes.livez(), probes.readyz()].map(|answer| answer.status())
}

#[tokio::test(start_paused = true)]
async fn each_probe_fails_for_its_own_reasons() {
    let (probes, critical, required) = probes();
    assert_eq!(statuses(&probes), [503, 200, 503], "starting");
    critical.beat();
    assert_eq!(statuses(&probes), [503, 200, 503], "one of two");
    required.beat();
    assert_eq!(statuses(&probes), [200, 200, 200]);
    sleep(T * 2).await;
    assert_eq!(
        statuses(&probes),
        [200, 200, 503],
        "silent: no requests, and no death"
    );
    critical.beat();
    required.beat();
    let unit = critical.unit(T * 10);
    assert_eq!(statuses(&probes), [200, 200, 200], "busy is well");
    drop(unit);
    drop(required);
    assert_eq!(
        statuses(&probes),
        [503, 200, 503],
        "it may be done without for a while"
    );
    drop(critical);
    assert_eq!(statuses(&probes), [503, 503, 503]);
    probes.remove("critical");
    assert_eq!(probes.livez().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_successor_takes_the_name() {
    let (probes, mut critical, required) = probes();
    critical.beat();
    required.beat();
    critical.renew();
    assert_eq!(probes.livez().status(), 503, "the old one is closed");
    probes.critical("critical", critical.id());
    assert_eq!(statuses(&probes), [503, 200, 503]);
    critical.beat();
    assert_eq!(statuses(&probes), [200, 200, 200]);
}

/// A future that was woken and is not polled, for so long that it is noticed.
async fn starved(pulse: &Watched) -> impl Future<Output = ()> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut future = Box::pin(told.beat_on_poll(pulse).telling_starved());
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx)));
    assert!(polled.await.is_pending());
    tell.send(()).unwrap();
    sleep(T * 2).await;
    async { future.await.unwrap() }
}

#[tokio::test(start_paused = true)]
async fn starvation_fails_readiness_at_once_and_liveness_after_its_limit() {
    let monitor = Monitor::new();
    let pulse = monitor
        .class(Expect::within(T))
        .unwrap()
        .register("starved");
    let probes = Probes::new(&monitor).starved_limit(T * 5);
    probes.critical("starved", pulse.id());
    let future = starved(&pulse).await;
    assert_eq!(pulse.health(), Health::Starved);
    assert_eq!(statuses(&probes), [200, 200, 503]);
    sleep(T * 5).await;
    assert_eq!(statuses(&probes), [200, 503, 503]);
    future.await;
    pulse.beat();
    assert_eq!(statuses(&probes), [200, 200, 200], "and is forgiven");
    let _future = starved(&pulse).await;
    assert_eq!(statuses(&probes), [200, 200, 503], "its time begins anew");
}

#[tokio::test(start_paused = true)]
async fn draining_is_not_taken_back_and_kills_nobody() {
    let (probes, critical, required) = probes();
    critical.beat();
    required.beat();
    probes.drain();
    assert_eq!(statuses(&probes), [200, 200, 503]);
}

#[tokio::test(start_paused = true)]
async fn the_body_is_short_unless_it_fails_or_is_asked() {
    let (probes, critical, required) = probes();
    critical.beat();
    assert_eq!(probes.livez().body(false), "ok\n");
    let body = "[+]critical Live\n[-]required Starting\nstartupz failed\n";
    assert_eq!(probes.startupz().body(false), body);
    required.beat();
    let body = "[+]monitor Starting\n[+]critical Live\n[+]required Live\nreadyz passed\n";
    assert_eq!(probes.readyz().body(true), body);
    let checks: Vec<_> = probes
        .livez()
        .checks()
        .map(|(name, ..)| name.to_owned())
        .collect();
    assert_eq!(checks, ["critical", "required"]);
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_is_stalled_is_not_ready_and_not_dead() {
    let (probes, critical, required) = probes();
    sleep(T / 2).await;
    tokio::time::advance(T * 100).await;
    tokio::task::yield_now().await;
    critical.beat();
    required.beat();
    assert_eq!(statuses(&probes), [200, 200, 503]);
    let body = probes.readyz().body(false);
    assert!(body.starts_with("[-]monitor Stalled\n"), "{body}");
    sleep(T / 6).await;
    assert_eq!(statuses(&probes), [200, 200, 200]);
}

#[tokio::test(start_paused = true)]
async fn a_critical_pulse_that_is_hung_fails_liveness() {
    let (probes, critical, required) = probes();
    // Over their limits, whatever beats; looked at from inside a poll of each.
    let _over = [&critical, &required].map(|pulse| pulse.unit(Duration::ZERO));
    sleep(T).await;
    assert_eq!(statuses(&probes), [200, 200, 503]);
    let look = async { probes.livez().status() };
    assert_eq!(look.beat_on_poll(&required).await, 200);
    let look = async { probes.livez().status() };
    assert_eq!(look.beat_on_poll(&critical).await, 503);
}
