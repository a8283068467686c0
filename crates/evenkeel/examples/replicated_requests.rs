//! Replicated requests: ten handlers get the same request, the fastest one's answer is returned at once, and the others
//! are told to stop. They have all stopped before the answer is used.
//!
//! `cargo run -p evenkeel --features full --example replicated_requests`

use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use evenkeel::cancel::Token;
use evenkeel::hedge::{Failed, replicate};

/// Takes 1 to 5 seconds, unless it is told before that nobody wants the answer any more.
async fn handle(id: u32, token: Token) -> Result<u32, Infallible> {
    let start = Instant::now();
    let load = Duration::from_millis(1_000 + RandomState::new().hash_one(id) % 4_000);
    match token.run(tokio::time::sleep(load)).await {
        Ok(()) => println!("{id} answers after {:.1?}", start.elapsed()),
        Err(cause) => println!(
            "{id} stops after {:.1?} of {load:.1?}: {cause}",
            start.elapsed()
        ),
    }
    Ok(id)
}

#[tokio::main]
async fn main() -> Result<(), Failed<Infallible>> {
    let start = Instant::now();
    let fastest = replicate(10, |attempt| handle(attempt.index(), attempt.token())).await?;
    println!("an answer from #{fastest} after {:.1?}", start.elapsed());
    Ok(())
}
