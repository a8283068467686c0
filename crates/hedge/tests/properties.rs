//! Calls against a plain simulation of them, and the bound on the extra load against calls counted one by one.

#![cfg(not(loom))]

use std::time::Duration;

use evenkeel_hedge::{Adaptive, Hedge, Policy, Signal};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

const MIN: Duration = Duration::from_millis(2);
const MAX: Duration = Duration::from_secs(2);

/// Latencies in µs, in stretches of one kind each, as load and stalls come.
fn latencies() -> impl Strategy<Value = Vec<u64>> {
    let stretch = (1_u64..10_000_000, 1_usize..400)
        .prop_flat_map(|(most, calls)| prop::collection::vec(0..most, calls));
    prop::collection::vec(stretch, 1..20).prop_map(|stretches| stretches.concat())
}

/// What an attempt does: after so many milliseconds, succeed or fail.
type Plan = (u64, bool);

/// How a call went: when each attempt was started, when the call ended, and whether it succeeded.
#[derive(Debug, PartialEq)]
struct Story {
    started: Vec<u64>,
    ended: u64,
    succeeded: bool,
}

/// The rules, one millisecond at a time.
fn simulated(delay: u64, plans: &[Plan]) -> Story {
    let mut started = vec![0];
    let mut due = delay;
    let mut running = 1;
    for now in 1.. {
        let ends: Vec<_> = started
            .iter()
            .zip(plans)
            .filter(|(start, (latency, _))| **start + latency == now)
            .map(|(_, &(_, succeeds))| succeeds)
            .collect();
        let succeeded = ends.contains(&true);
        running -= ends.len();
        let spare = plans.len() - started.len();
        let replaced = ends.len().min(spare);
        if succeeded || running + replaced == 0 {
            return Story {
                started,
                ended: now,
                succeeded,
            };
        }
        let late = usize::from(replaced == 0 && spare > 0 && now == due);
        for _ in 0..replaced + late {
            started.push(now);
            running += 1;
            due = now + delay;
        }
    }
    unreachable!("each attempt ends")
}

fn called(delay: u64, plans: &[Plan]) -> Story {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let start = Instant::now();
        let now = || start.elapsed().as_millis() as u64;
        let mut started = Vec::new();
        let hedge = Hedge::new(Duration::from_millis(delay)).max_attempts(plans.len() as u32);
        let answer = hedge
            .run(|attempt| {
                started.push(now());
                let (latency, succeeds) = plans[attempt.index() as usize];
                async move {
                    sleep(Duration::from_millis(latency)).await;
                    if succeeds {
                        Ok(())
                    } else {
                        Err(attempt.index())
                    }
                }
            })
            .await;
        let ended = now();
        if let Err(failed) = &answer {
            let kept: Vec<_> = failed.errors().copied().collect();
            assert_eq!(kept, (0..started.len() as u32).collect::<Vec<_>>());
        }
        Story {
            started,
            ended,
            succeeded: answer.is_ok(),
        }
    })
}

proptest! {
    #[test]
    fn a_call_goes_as_the_rules_say(
        delay in 1_u64..30,
        plans in prop::collection::vec((1_u64..60, prop::bool::weighted(0.3)), 1..7),
    ) {
        prop_assert_eq!(called(delay, &plans), simulated(delay, &plans));
    }

    #[test]
    fn no_latencies_cost_more_than_the_share_and_a_constant(
        share in 0.001_f64..0.5,
        latencies in latencies(),
    ) {
        let policy = Adaptive::rate(share).unwrap().bounds(MIN, MAX).unwrap();
        let constant = 5.0 * (MAX.as_secs_f64() / MIN.as_secs_f64()).ln();
        let mut hedged = 0_u32;
        for (call, latency) in latencies.into_iter().enumerate() {
            let late = policy
                .delay(1)
                .is_some_and(|delay| delay < Duration::from_micros(latency));
            policy.observe(if late { Signal::Late } else { Signal::InTime });
            hedged += u32::from(late);
            let most = share * (call as f64 + 1.0) + constant + 1.0;
            prop_assert!(f64::from(hedged) <= most, "{hedged} hedges, at most {most}");
        }
    }

    /// Nothing drifts however long it runs: up and down in the asked proportion end where they began.
    #[test]
    fn late_calls_in_the_share_asked_for_leave_the_delay_where_it_was(one_in in 2_u32..200) {
        let share = 1.0 / f64::from(one_in);
        let policy = Adaptive::rate(share).unwrap().bounds(MIN, MAX).unwrap();
        let before = policy.delay(1).unwrap();
        for _ in 0..1_000 {
            policy.observe(Signal::Late);
            for _ in 1..one_in {
                policy.observe(Signal::InTime);
            }
        }
        let after = policy.delay(1).unwrap();
        prop_assert!(before.abs_diff(after) < Duration::from_micros(1), "{before:?} became {after:?}");
    }
}
