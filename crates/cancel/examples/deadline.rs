//! A request with a deadline, of which each stage gets what is left; a loop that computes heeds it too.
//!
//! `cargo run -p evenkeel-cancel --example deadline`

use std::time::Duration;

use evenkeel_cancel::{Cause, Source, Token};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = Source::new();
    let request = server
        .child_with_timeout(Duration::from_millis(50))
        .expect("in a runtime");

    match request.run(fetch(Duration::from_millis(10))).await {
        Ok(rows) => println!("fetched {rows} rows in time"),
        Err(cause) => println!("not fetched: {cause}"),
    }
    // The second stage asks for a second, but the request has less left.
    let stage = request
        .child_with_timeout(Duration::from_secs(1))
        .expect("in a runtime");
    match stage.run(fetch(Duration::from_secs(5))).await {
        Ok(rows) => println!("fetched {rows} rows in time"),
        Err(cause) => println!("second stage {cause}, inherited: {}", stage.is_inherited()),
    }

    let compute = server
        .child_with_timeout(Duration::from_millis(20))
        .expect("in a runtime");
    match primes(&compute) {
        Ok(()) => println!("all primes found"),
        Err((found, cause)) => println!("{cause} after {found} primes"),
    }
}

async fn fetch(takes: Duration) -> usize {
    tokio::time::sleep(takes).await;
    42
}

/// Never yields: the runtime's timer has no turn, but `check` reads the clock itself.
fn primes(token: &Token) -> Result<(), (usize, Cause)> {
    let mut found = Vec::new();
    for n in 2_u64.. {
        if n % 1024 == 0 {
            token.check().map_err(|cause| (found.len(), cause))?;
        }
        if found
            .iter()
            .take_while(|p| *p * *p <= n)
            .all(|p| n % p != 0)
        {
            found.push(n);
        }
    }
    Ok(())
}
