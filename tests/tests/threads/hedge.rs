//! Hedged calls from many tasks at once, through one hedge, with attempts that are woken from other threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use evenkeel::hedge::{Hedge, Losers};
use tokio::task::{JoinSet, yield_now};

/// One attempt, counted as long as it is not dropped.
struct Running(Arc<AtomicU32>);

impl Running {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_call_gets_its_answer_and_leaves_no_attempt_behind() {
    const CALLS: u32 = 500;
    let hedge = Arc::new(
        Hedge::new(Duration::ZERO)
            .max_attempts(3)
            .losers(Losers::Drain(Duration::from_secs(60))),
    );
    let mut calls = JoinSet::new();
    for call in 0..CALLS {
        let hedge = Arc::clone(&hedge);
        calls.spawn(async move {
            let running = Arc::new(AtomicU32::new(0));
            let answer = hedge
                .run(|attempt| {
                    let running = Running::new(&running);
                    async move {
                        let _running = running;
                        if attempt.index() != call % 3 {
                            // Told by the call, from the thread that runs it.
                            attempt.token().cancelled().await;
                            return Err(attempt.index());
                        }
                        // Answers from another task, which wakes the call from its own thread.
                        let work = tokio::spawn(async move {
                            for _ in 0..call % 7 {
                                yield_now().await;
                            }
                            call
                        });
                        work.await.map_err(|_| attempt.index())
                    }
                })
                .await;
            assert_eq!(running.load(Ordering::SeqCst), 0);
            answer
        });
    }
    let mut answers: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
    answers.sort_unstable();
    assert_eq!(answers, (0..CALLS).collect::<Vec<_>>());
}
