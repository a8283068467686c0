//! Three workers under one monitor: two end after their work, one hangs with its pulse in hand, and is found.
//!
//! `cargo run -p evenkeel-heartbeat --example watched_workers`

use std::time::Duration;

use evenkeel_heartbeat::{Expect, Health, Heartbeat, Monitor, Watched};
use tokio::time::{Instant, sleep};

async fn work(pulse: Watched, units: u32) {
    for _ in 0..units {
        pulse.beat();
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let class = monitor.class(Expect::within(Duration::from_millis(200)))?;
    let start = Instant::now();

    tokio::spawn(work(class.register("steady"), 20));
    tokio::spawn(work(class.register("brief"), 5));
    let pulse = class.register("stuck");
    tokio::spawn(async move {
        pulse.beat();
        std::future::pending::<()>().await;
    });

    let mut closed = 0;
    while closed < 2 {
        let Some(change) = changes.next().await else {
            break;
        };
        println!(
            "{:>4} ms  {}: {:?}",
            start.elapsed().as_millis(),
            change.name,
            change.health
        );
        closed += u32::from(change.health == Health::Closed);
    }
    Ok(())
}
