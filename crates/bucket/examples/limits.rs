//! Two clients share one service's limit; each has its own besides. `cargo run -p evenkeel-bucket --example limits`

use std::time::{Duration, Instant};

use evenkeel_bucket::{All, Bucket, Rate};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let second = Duration::from_secs(1);
    let service = Bucket::new(Rate::per(8, second), 4).named("service");
    let start = Instant::now();
    let clients = ["anna", "ben"].map(|name| {
        let own = Bucket::new(Rate::per(5, second), 2).named(name);
        let limit = All::new([&own, &service]);
        tokio::spawn(async move {
            for call in 1..=6 {
                if let Err(denied) = limit.try_acquire(1) {
                    println!(
                        "{:>5} ms  {name} would be refused: {denied}",
                        start.elapsed().as_millis()
                    );
                }
                match limit.acquire(1, None).await {
                    Ok(grant) => println!(
                        "{:>5} ms  {name} makes call {call}, {} left",
                        start.elapsed().as_millis(),
                        grant.remaining()
                    ),
                    Err(denied) => println!("{name}: {denied}"),
                }
            }
        })
    });
    for client in clients {
        client.await.expect("no client panics");
    }
}
