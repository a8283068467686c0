//! A heartbeat on an interval: a worker beats while it waits for work and while it waits to hand over a result, so its
//! silence means that it is stuck, not that it has nothing to say.
//!
//! This one gets stuck after two results, with its pulse in hand. The listener is told, one to 1.25 timeouts after the
//! last beat. A worker that returns or panics is told of at once, as closed, and never taken for healthy.
//!
//! `cargo run -p evenkeel --features full --example heartbeat_interval`

use std::time::Duration;

use evenkeel::heartbeat::{
    Beats, Every, Expect, Health, Heartbeat, Monitor, Pulse, Watched, pulse,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How the worker comes to its end after the last unit of work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    Stalls,
    Returns,
    Panics,
}

/// Beats for a listener that wants to see each beat, and for the monitor that watches for silence.
struct Told {
    pulse: Pulse,
    watched: Watched,
}

impl Heartbeat for Told {
    fn beat(&self) {
        self.pulse.beat();
        self.watched.beat();
    }
}

/// Squares what comes in, and beats once an `interval` whatever it waits for.
async fn work(
    told: Told,
    interval: Duration,
    mut jobs: mpsc::Receiver<u64>,
    results: mpsc::Sender<u64>,
    ending: Ending,
) {
    let mut every = Every::new(&told, interval);
    for _ in 0..2 {
        let Some(job) = every.during(jobs.recv()).await else {
            return;
        };
        if every.during(results.send(job * job)).await.is_err() {
            return;
        }
    }
    match ending {
        Ending::Stalls => std::future::pending().await,
        Ending::Returns => {}
        Ending::Panics => panic!("the worker panics on purpose"),
    }
}

/// What the listener saw, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Pulse,
    Result(u64),
    Health(Health),
}

/// Runs the worker with a job every two intervals until it is unhealthy, and tells all that is seen.
pub(crate) async fn run(
    timeout: Duration,
    ending: Ending,
    mut tell: impl FnMut(Seen),
) -> Result<(), Box<dyn std::error::Error>> {
    let interval = timeout / 2;
    let monitor = Monitor::new();
    let mut changes = monitor.changes();
    let class = monitor.class(Expect::within(timeout))?;
    let (pulse, mut beats): (Pulse, Beats) = pulse();
    let told = Told {
        pulse,
        watched: class.register("worker"),
    };

    let (jobs, jobs_in) = mpsc::channel(1);
    let (results_out, mut results) = mpsc::channel(1);
    let maker = tokio::spawn(async move {
        let mut ticks = interval_at(Instant::now() + 2 * interval, 2 * interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for job in 1.. {
            ticks.tick().await;
            if jobs.send(job).await.is_err() {
                return;
            }
        }
    });
    let worker = tokio::spawn(work(told, interval, jobs_in, results_out, ending));

    loop {
        // Results first: one that was sent before the worker fell silent or ended is not lost.
        tokio::select! {
            biased;
            Some(result) = results.recv() => tell(Seen::Result(result)),
            Some(_) = beats.next() => tell(Seen::Pulse),
            Some(change) = changes.next() => {
                tell(Seen::Health(change.health));
                if matches!(change.health, Health::Silent | Health::Closed) {
                    break;
                }
            }
        }
    }
    maker.abort();
    worker.abort();
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for ending in [Ending::Stalls, Ending::Returns, Ending::Panics] {
        println!("a worker that {}", format!("{ending:?}").to_lowercase());
        let start = Instant::now();
        let tell = |seen: Seen| {
            let at = start.elapsed().as_secs_f64();
            match seen {
                Seen::Pulse => println!("{at:5.2} s  pulse"),
                Seen::Result(result) => println!("{at:5.2} s  result {result}"),
                Seen::Health(health) => println!("{at:5.2} s  the worker is {health:?}"),
            }
        };
        run(Duration::from_millis(500), ending, tell).await?;
    }
    Ok(())
}
