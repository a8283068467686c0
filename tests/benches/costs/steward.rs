//! Wards, beside tasks in a `JoinSet` that are spawned again.

use std::sync::mpsc;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::harness::{Bench, nanoseconds};

/// Restarts a round.
const RESTARTS: u64 = 2_000;

pub(crate) fn run(bench: &mut Bench) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    bench
        .case("restart")
        .rounds(15)
        .measured("joinset", RESTARTS, |n| {
            runtime.block_on(respawned(n)) * n as f64
        })
        .run();
}

/// The median time from a task's last statement to its successor's first.
async fn respawned(restarts: u64) -> f64 {
    let (gaps, all) = mpsc::channel();
    let mut set = JoinSet::new();
    let ward = |ended: Option<Instant>, gaps: mpsc::Sender<f64>| async move {
        if let Some(ended) = ended {
            gaps.send(nanoseconds(ended.elapsed()))
                .expect("it is read in the end");
        }
        Instant::now()
    };
    set.spawn(ward(None, gaps.clone()));
    for _ in 0..restarts {
        let ended = set
            .join_next()
            .await
            .expect("one is running")
            .expect("it does not panic");
        set.spawn(ward(Some(ended), gaps.clone()));
    }
    set.shutdown().await;
    drop(gaps);
    median(all.iter().collect())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
