//! A small service under a steward: a database connection and a worker that needs it restart together; a reporter by itself.
//!
//! `cargo run -p evenkeel-steward --example supervised`

use std::time::Duration;

use evenkeel_steward::{BoxError, Ctx, StartError, Steward, Strategy, What};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

async fn connection(ctx: Ctx) -> Result<(), BoxError> {
    sleep(SECOND / 5).await;
    ctx.ready();
    let lasts = SECOND * ctx.generation();
    let serve = async {
        sleep(lasts).await;
        Err("connection reset".into())
    };
    // Beats while it waits, and ends when it is told to.
    let mut every = evenkeel_heartbeat::Every::new(&ctx, ctx.interval());
    ctx.token().run(every.during(serve)).await?
}

async fn worker(ctx: Ctx) -> Result<(), BoxError> {
    loop {
        ctx.beat();
        ctx.token().run(sleep(ctx.interval())).await?;
    }
}

fn database() -> evenkeel_steward::Builder {
    Steward::builder()
        .strategy(Strategy::OneForAll)
        .setup(|steward| {
            let connection = steward.child("connection", connection);
            connection.ready_within(SECOND).start()?;
            steward.child("worker", worker).start()?;
            Ok(())
        })
}

#[tokio::main]
async fn main() -> Result<(), StartError> {
    let root = Steward::builder()
        .named("service")
        .timeout(SECOND)
        .start()?;
    root.child("database", database())
        .timeout(2 * SECOND)
        .start()?;
    let reporter = root
        .child("reporter", |ctx: Ctx<u32>| async move {
            for report in 1..=3 {
                ctx.beat();
                ctx.publish(report).await?;
                sleep(ctx.interval()).await;
            }
            if ctx.generation() == 1 {
                // Hangs: found in a second and a quarter at most.
                std::future::pending::<()>().await;
            }
            let _wait = ctx.parked();
            ctx.token().cancelled().await;
            Ok::<_, BoxError>(())
        })
        .grace(SECOND / 10)
        .start()?;
    let mut events = root.events();
    let told = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            println!("{event}");
            if matches!(event.what, What::Ended(_)) {
                return;
            }
        }
    });
    for _ in 0..6 {
        println!("report {:?}", reporter.next().await);
    }
    println!("{}", root.status());
    println!("{}", root.shutdown(5 * SECOND).await);
    told.await.ok();
    Ok(())
}
