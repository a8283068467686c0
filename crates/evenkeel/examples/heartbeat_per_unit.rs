//! A heartbeat at the beginning of each unit of work: whoever waits for the worker waits for its beat, not for a time that
//! is hoped to be long enough. However slow the worker is to start, nothing here sleeps.
//!
//! `cargo run -p evenkeel --features full --example heartbeat_per_unit`

use std::time::Duration;

use evenkeel::heartbeat::{Beats, Heartbeat, pulse};
use tokio::sync::mpsc;

/// Hands out `numbers` one by one, after a start that takes `delay`; a beat comes before each.
///
/// The beat is not part of the wait for the listener: nobody may be listening, and a result must not be lost to a beat.
pub(crate) fn do_work(delay: Duration, numbers: Vec<u32>) -> (Beats, mpsc::Receiver<u32>) {
    let (pulse, beats) = pulse();
    let (out, results) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        for number in numbers {
            pulse.beat();
            if out.send(number).await.is_err() {
                return;
            }
        }
    });
    (beats, results)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (mut beats, mut results) = do_work(Duration::from_secs(1), vec![1, 2, 3]);
    loop {
        // A beat comes before its result, so it is looked for first.
        tokio::select! {
            biased;
            Some(beat) = beats.next() => println!("pulse, {} unit(s) begun", beat.count),
            Some(result) = results.recv() => println!("result {result}"),
            else => break,
        }
    }
    println!("the worker has returned after {} units", beats.total());
}
