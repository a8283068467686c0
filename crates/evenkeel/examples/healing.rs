//! Healing: a steward watches the pulse of its ward, and starts it again when it falls silent, when it ends, and when it lets
//! go of its pulse. The old one is always gone before the new one starts, and at the end the last one is waited for.
//!
//! `cargo run -p evenkeel --features full --example healing`

use std::time::Duration;

use evenkeel::cancel::Shutdown;
use evenkeel::steward::{Backoff, BoxError, Ctx, Intensity, Reason, StartError, Steward, What};
use tokio::time::{Instant, sleep, timeout_at};

/// What the ward does wrong after its first beat.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Keeps its pulse and does not use it.
    FallsSilent,
    /// Lets go of its pulse, and goes on without.
    ClosesItsPulse,
    /// Returns, though there is more to do.
    Ends,
}

/// What can be seen of it. The number is that of the incarnation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Hello(u32),
    Beat(u32),
    Unhealthy(u32, String),
    Healed(u32),
    Halting,
    Halted(Shutdown),
}

/// An irresponsible ward: it beats once.
async fn ward(ctx: Ctx, fault: Fault, see: impl Fn(Seen)) -> Result<(), BoxError> {
    let (generation, token) = (ctx.generation(), ctx.token().clone());
    see(Seen::Hello(generation));
    sleep(ctx.interval()).await;
    ctx.beat();
    see(Seen::Beat(generation));
    match fault {
        Fault::FallsSilent => {}
        Fault::ClosesItsPulse => drop(ctx),
        Fault::Ends => return Ok(()),
    }
    token.cancelled().await;
    // To put things in order takes a moment; the next one is not started before.
    sleep(Duration::from_millis(100)).await;
    see(Seen::Healed(generation));
    Ok(())
}

/// Lets a steward look after such a ward for a while.
pub(crate) async fn run<S>(
    fault: Fault,
    timeout: Duration,
    how_long: Duration,
    see: S,
) -> Result<(), StartError>
where
    S: Fn(Seen) + Clone + Send + Sync + 'static,
{
    let steward = Steward::builder()
        .timeout(timeout)
        // A real one would wait longer from failure to failure, and give up in the end: those are the defaults.
        .backoff(Backoff::NONE)
        .intensity(Intensity::UNLIMITED)
        .start()?;
    let mut events = steward.events();
    let saw = see.clone();
    steward
        .child("irresponsible", move |ctx: Ctx| {
            ward(ctx, fault, saw.clone())
        })
        .start()?;
    let end = Instant::now() + how_long;
    while let Ok(Some(event)) = timeout_at(end, events.next()).await {
        match event.what {
            What::Stopping(reason)
            | What::Restarting {
                reason: reason @ Reason::Finished,
                ..
            } => see(Seen::Unhealthy(event.generation, reason.to_string())),
            _ => {}
        }
    }
    see(Seen::Halting);
    let shutdown = steward.shutdown(Duration::from_secs(10)).await;
    see(Seen::Halted(shutdown));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    let timeout = Duration::from_secs(1);
    for fault in [Fault::FallsSilent, Fault::ClosesItsPulse, Fault::Ends] {
        println!("a ward that {fault:?}, with a timeout of {timeout:?}:");
        let start = Instant::now();
        run(fault, timeout, timeout * 4, move |seen| {
            let at = start.elapsed().as_secs_f64();
            match seen {
                Seen::Hello(n) => println!("{at:6.2} s  ward #{n}: hello"),
                Seen::Beat(n) => println!("{at:6.2} s  ward #{n}: beat"),
                Seen::Healed(n) => println!("{at:6.2} s  ward #{n}: healed"),
                Seen::Unhealthy(n, why) => {
                    println!("{at:6.2} s  steward: #{n} {why}; restarting");
                }
                Seen::Halting => println!("{at:6.2} s  main: halting"),
                Seen::Halted(shutdown) => println!("{at:6.2} s  main: halted, {shutdown}"),
            }
        })
        .await?;
    }
    Ok(())
}
