//! The chapter on concurrency at scale, replicated requests: ten replicas, one answer, and nobody left running.

#![cfg(not(loom))]

use std::sync::Mutex;
use std::time::Duration;

use evenkeel::cancel::Cause;
use evenkeel::hedge::replicate;
use tokio::time::{Instant, sleep};

/// Seconds that each replica takes; the fastest is neither the first nor the last.
const LOADS: [u64; 10] = [3, 5, 2, 4, 5, 3, 1, 2, 4, 5];

#[derive(Debug, PartialEq)]
enum End {
    Answered,
    Stopped,
}

#[tokio::test(start_paused = true)]
async fn ten_replicas_give_one_answer_in_the_time_of_the_fastest_and_all_others_have_ended() {
    let ends = Mutex::new(Vec::new());
    let start = Instant::now();
    let answer = replicate(10, |attempt| {
        let (ends, id) = (&ends, attempt.index());
        async move {
            let load = sleep(Duration::from_secs(LOADS[id as usize]));
            let end = match attempt.token().run(load).await {
                Ok(()) => End::Answered,
                Err(Cause::Superseded) => End::Stopped,
                Err(cause) => panic!("stopped by {cause}"),
            };
            ends.lock().unwrap().push((id, end));
            Ok::<_, ()>(id)
        }
    })
    .await;

    assert_eq!(answer, Ok(6));
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    let mut ends = ends.into_inner().unwrap();
    assert_eq!(ends.remove(0), (6, End::Answered));
    ends.sort_by_key(|&(id, _)| id);
    let others: Vec<_> = (0..10)
        .filter(|&id| id != 6)
        .map(|id| (id, End::Stopped))
        .collect();
    assert_eq!(ends, others, "each other replica has ended, once");
}

/// A loser that does not listen cannot hold the answer back for longer than the grace.
#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_heed_its_token_is_dropped_after_the_grace() {
    struct Running<'a>(&'a Mutex<u32>);
    impl Drop for Running<'_> {
        fn drop(&mut self) {
            *self.0.lock().unwrap() -= 1;
        }
    }
    let running = Mutex::new(0);
    let start = Instant::now();
    let answer = replicate(10, |attempt| {
        *running.lock().unwrap() += 1;
        let running = Running(&running);
        async move {
            let _running = running;
            sleep(Duration::from_secs(10 * LOADS[attempt.index() as usize])).await;
            Ok::<_, ()>(attempt.index())
        }
    })
    .await;
    assert_eq!(answer, Ok(6));
    assert_eq!(start.elapsed(), Duration::from_secs(11));
    assert_eq!(*running.lock().unwrap(), 0);
}
