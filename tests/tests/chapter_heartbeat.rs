//! The chapter's two heartbeats, as the examples have them, on a paused clock.

#![cfg(not(loom))]

#[path = "../../crates/evenkeel/examples/heartbeat_interval.rs"]
#[allow(dead_code, reason = "its main is not run here")]
mod heartbeat_interval;
#[path = "../../crates/evenkeel/examples/heartbeat_per_unit.rs"]
#[allow(dead_code, reason = "its main is not run here")]
mod heartbeat_per_unit;

use std::time::Duration;

use evenkeel::heartbeat::Health;
use heartbeat_interval::{Ending, Seen, run};
use heartbeat_per_unit::do_work;
use tokio::time::Instant;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Everything seen, with the time since the start.
async fn seen(ending: Ending) -> Vec<(Duration, Seen)> {
    let start = Instant::now();
    let mut all = Vec::new();
    run(TIMEOUT, ending, |seen| all.push((start.elapsed(), seen)))
        .await
        .unwrap();
    all
}

fn results(all: &[(Duration, Seen)]) -> Vec<u64> {
    all.iter()
        .filter_map(|&(_, seen)| match seen {
            Seen::Result(result) => Some(result),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_stalled_worker_that_keeps_its_pulse_is_silent_within_a_quarter_of_its_timeout() {
    let all = seen(Ending::Stalls).await;
    let pulses: Vec<Duration> = all
        .iter()
        .filter(|(_, seen)| *seen == Seen::Pulse)
        .map(|&(at, _)| at)
        .collect();
    let second = Duration::from_secs(1);
    assert!(pulses.len() >= 3, "{all:?}");
    for (n, at) in pulses.iter().enumerate() {
        let due = second * (n as u32 + 1);
        assert!(
            *at >= due && *at <= due + Duration::from_millis(2),
            "{all:?}"
        );
    }
    let &(at, last) = all.last().unwrap();
    assert_eq!(last, Seen::Health(Health::Silent));
    let silence = at - *pulses.last().unwrap();
    assert!(silence >= TIMEOUT && silence <= TIMEOUT * 5 / 4, "{all:?}");
    assert_eq!(results(&all), [1, 4], "none lost, none invented");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_ends_is_closed_at_once_and_never_taken_for_healthy() {
    for ending in [Ending::Returns, Ending::Panics] {
        let all = seen(ending).await;
        assert_eq!(results(&all), [1, 4], "none lost, none invented");
        let healths: Vec<Health> = all
            .iter()
            .filter_map(|&(_, seen)| match seen {
                Seen::Health(health) => Some(health),
                _ => None,
            })
            .collect();
        assert_eq!(healths, [Health::Closed]);
        let result = all
            .iter()
            .rfind(|(_, seen)| matches!(seen, Seen::Result(_)));
        assert_eq!(all.last().unwrap().0, result.unwrap().0, "at once: {all:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn three_units_beat_to_three_and_results_come_in_order() {
    let (mut beats, mut results) = do_work(Duration::from_secs(3_600), vec![7, 8, 9]);
    // However long the worker takes to start, the test goes on with its first beat.
    assert!(beats.reach(1).await.is_some());
    for (n, expected) in [7, 8, 9].into_iter().enumerate() {
        assert_eq!(results.recv().await, Some(expected));
        let n = n as u64 + 1;
        assert!(
            beats.reach(n).await >= Some(n),
            "a beat came later than its result"
        );
    }
    assert_eq!(beats.reach(3).await, Some(3));
    assert_eq!(beats.next().await, None);
    assert_eq!(results.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_beat_is_never_later_than_its_result() {
    let numbers: Vec<u32> = (0..500).collect();
    let (mut beats, mut results) = do_work(Duration::ZERO, numbers.clone());
    let mut got = Vec::new();
    while let Some(number) = results.recv().await {
        got.push(number);
        // What is there already: no waiting.
        let now = std::future::poll_fn(|cx| {
            let mut next = std::pin::pin!(beats.next());
            std::task::Poll::Ready(next.as_mut().poll(cx).is_ready())
        });
        now.await;
        assert!(beats.total() >= got.len() as u64);
    }
    assert_eq!(got, numbers);
    assert_eq!(beats.total(), 500);
}
