//! A backend that is slow one time in twenty, called plainly and hedged. On a paused clock, so it is over at once:
//! `cargo run -p evenkeel-hedge --example tail`.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use evenkeel_hedge::{Adaptive, Hedge, Policy};
use tokio::time::{Instant, sleep};

/// Answers in 5 to 15 ms; one time in twenty it takes ten times as long.
struct Backend {
    calls: Cell<u32>,
}

impl Backend {
    async fn answer(&self) -> Result<u32, Infallible> {
        let call = self.calls.get();
        self.calls.set(call + 1);
        // A fixed pattern that looks like chance: the high bits of multiples of the golden ratio.
        let lot = call.wrapping_mul(2_654_435_769) >> 16;
        let latency = Duration::from_micros(5_000 + u64::from(lot % 10_000));
        let slow = lot % 20 == 7;
        sleep(if slow { 10 * latency } else { latency }).await;
        Ok(call)
    }
}

async fn percentiles<P: Policy>(name: &str, hedge: &Hedge<P>) {
    const CALLS: u32 = 10_000;
    let backend = Backend {
        calls: Cell::new(0),
    };
    let mut latencies = Vec::new();
    for _ in 0..CALLS {
        let start = Instant::now();
        let Ok(_) = hedge.run(|_| backend.answer()).await else {
            unreachable!("this backend is slow, but it never fails")
        };
        latencies.push(start.elapsed());
    }
    latencies.sort();
    let at = |share: f64| latencies[(f64::from(CALLS) * share) as usize].as_millis();
    println!(
        "{name:<22} p50 {:>3} ms   p99 {:>3} ms   extra calls {:>4.1} %",
        at(0.50),
        at(0.99),
        100.0 * f64::from(backend.calls.get() - CALLS) / f64::from(CALLS),
    );
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), evenkeel_hedge::InvalidPolicy> {
    percentiles("not hedged", &Hedge::new(Duration::MAX)).await;
    percentiles("hedged after 20 ms", &Hedge::new(Duration::from_millis(20))).await;
    percentiles("hedged at 6 %", &Hedge::new(Adaptive::rate(0.06)?)).await;
    Ok(())
}
