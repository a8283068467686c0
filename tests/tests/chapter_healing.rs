//! The chapter's steward, as the example has it, on a paused clock.

#![cfg(not(loom))]

#[path = "../../crates/evenkeel/examples/healing.rs"]
#[allow(dead_code, reason = "its main is not run here")]
mod healing;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use healing::{Fault, Seen, run};
use tokio::time::Instant;

const TIMEOUT: Duration = Duration::from_secs(4);

/// Everything seen, with the time since the start.
async fn seen(fault: Fault) -> Vec<(Duration, Seen)> {
    let start = Instant::now();
    let all = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&all);
    run(fault, TIMEOUT, TIMEOUT * 10, move |seen| {
        noted.lock().unwrap().push((start.elapsed(), seen));
    })
    .await
    .unwrap();
    all.lock().unwrap().clone()
}

/// Whatever happened, no incarnation began before the one before it was gone, and at the end the last one was waited for.
fn assert_one_at_a_time(all: &[(Duration, Seen)]) {
    let mut last = 0;
    for (_, seen) in all {
        match seen {
            Seen::Hello(n) => {
                assert_eq!(*n, last + 1, "{all:?}");
                last = *n;
            }
            Seen::Beat(n) | Seen::Healed(n) => assert_eq!(*n, last, "{all:?}"),
            _ => {}
        }
    }
    assert!(all.iter().any(|(_, seen)| *seen == Seen::Halting));
    let [.., (_, Seen::Healed(n)), (_, Seen::Halted(shutdown))] = all else {
        panic!("the last ward was not awaited: {all:?}")
    };
    assert_eq!(*n, last);
    assert_eq!(shutdown.finished, ["irresponsible"]);
    assert!(shutdown.is_clean());
}

fn reasons(all: &[(Duration, Seen)]) -> Vec<&str> {
    all.iter()
        .filter_map(|(_, seen)| match seen {
            Seen::Unhealthy(_, why) => Some(why.as_str()),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_silent_ward_is_healed_one_to_a_quarter_more_timeouts_after_each_last_beat() {
    let all = seen(Fault::FallsSilent).await;
    assert_one_at_a_time(&all);
    assert_eq!(reasons(&all), ["silent"; 6]);
    let mut beat = Duration::ZERO;
    for (at, seen) in &all {
        match seen {
            Seen::Beat(_) => beat = *at,
            Seen::Unhealthy(..) => {
                let silence = *at - beat;
                assert!(
                    silence >= TIMEOUT && silence <= TIMEOUT * 5 / 4,
                    "{silence:?}"
                );
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_ward_that_closes_its_pulse_is_never_taken_for_healthy() {
    let all = seen(Fault::ClosesItsPulse).await;
    assert_one_at_a_time(&all);
    let reasons = reasons(&all);
    // After the beat, it takes the moment that the ward needs to go: no timeout has to pass.
    assert!(reasons.len() >= 18, "{all:?}");
    assert!(reasons.iter().all(|why| *why == "closed its pulse"));
}

#[tokio::test(start_paused = true)]
async fn a_ward_that_ends_is_started_again_at_once() {
    let all = seen(Fault::Ends).await;
    let (beats, reasons) = (
        all.iter()
            .filter(|(_, s)| matches!(s, Seen::Beat(_)))
            .count(),
        reasons(&all),
    );
    assert!(reasons.len() >= 19, "{all:?}");
    assert!(reasons.iter().all(|why| *why == "finished"));
    assert!(beats >= reasons.len());
    assert!(matches!(all.last(), Some((_, Seen::Halted(_)))));
}
