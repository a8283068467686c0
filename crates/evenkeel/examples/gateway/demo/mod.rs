//! The gateway before three replicas, under load, with faults.

mod load;
pub(crate) mod replica;
mod verdict;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use evenkeel::cancel::{Cause, Source, Token};
use evenkeel::errors::{Code, Known, Record, Report, ResultExt, Status};
use evenkeel::steward::{Event, Events, Reason, What};
use hyper::StatusCode;
use tokio::time::{Instant, sleep, timeout};

use crate::config::{Clients, Config, Health, Hedging, Limit};
use crate::gateway::Gateway;
use crate::headers;
use load::{Client, NAME};
use replica::{HEALTH, Mood, Replica};
use verdict::Verdict;

/// What the demo is asked for.
#[derive(Args)]
pub(crate) struct Options {
    /// The seed of the replicas' latencies.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests, first straight to one replica and then through the gateway.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1000..=10_000_000))]
    requests: u64,
}

/// How long a replica hangs.
const HANG: Duration = Duration::from_secs(3);

/// How long a fault may take to be caught.
const CAUGHT_WITHIN: Duration = Duration::from_secs(20);

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The verdict was not as it must be.
#[derive(Debug, thiserror::Error)]
#[error("the demo has missed {0} of its marks")]
struct Missed(usize);

impl Known for Missed {
    fn code(&self) -> Code {
        Code::new("gateway.demo", "missed", Status::FailedPrecondition)
    }

    fn user_message(&self) -> Option<std::borrow::Cow<'static, str>> {
        Some(format!("The demo has missed {} of its marks.", self.0).into())
    }
}

/// What the log has been given, a line each.
type Lines = Arc<Mutex<Vec<String>>>;

/// Runs it, and fails if a mark is missed.
pub(crate) async fn run(options: Options) -> Result<(), Report> {
    let mut replicas = Vec::new();
    for n in 0..3 {
        replicas.push(Replica::start(LOOPBACK, options.seed + n).await?);
    }
    let [steady, hangs, mute] = &replicas[..] else {
        unreachable!("three were started");
    };
    println!(
        "seed {}: three replicas, mean 5 ms, one answer in twenty ten times slower",
        options.seed
    );

    let names: Vec<_> = (1..=16).map(|n| format!("client-{n}")).collect();
    println!("{} requests straight to one replica ...", options.requests);
    let direct = Client::new(steady.address)
        .load(&names, options.requests)
        .await;

    let lines = Lines::default();
    let logged = Arc::clone(&lines);
    let log = move |record: &Record<'_>| locked(&logged).push(record.to_string());
    let urls = replicas.iter().map(Replica::url).collect();
    let gateway = Gateway::bind(config(urls), Arc::new(log)).await?;
    let mut health = gateway.health_events();
    let client = Client::new(gateway.address());
    let stop = Source::new();
    let token = stop.token();
    let running = tokio::spawn(async move { gateway.run(&token, &Token::never()).await });

    println!("{} requests through the gateway ...", options.requests);
    let before: u64 = replicas.iter().map(Replica::asked).sum();
    let part = options.requests / 10;
    let mut through = client.load(&names, part * 3).await;

    println!("  {} hangs for {HANG:?}", hangs.address);
    hangs.set(Mood::Hangs);
    let began = Instant::now();
    let healed = async {
        let is_silent = |what: &What| matches!(what, What::Stopping(Reason::Silent));
        let noticed = next(&mut health, hangs, is_silent).await;
        let noticed = noticed.then(|| began.elapsed());
        sleep(HANG.saturating_sub(began.elapsed())).await;
        hangs.set(Mood::Well);
        noticed
    };
    let (under_hang, noticed) = tokio::join!(client.load(&names, part * 4), healed);
    through.merge(under_hang);

    println!("  {} breaks off when it is asked how it is", mute.address);
    mute.set(Mood::Mute);
    let died = async {
        let has_failed = |what: &What| {
            matches!(
                what,
                What::Restarting {
                    reason: Reason::Failed(_),
                    ..
                }
            )
        };
        let died = next(&mut health, mute, has_failed).await;
        mute.set(Mood::Well);
        died && next(&mut health, mute, |what| matches!(what, What::Started)).await
    };
    let rest = options.requests - part * 7;
    let (under_mute, restarted) = tokio::join!(client.load(&names, rest), died);
    through.merge(under_mute);
    let asked = replicas.iter().map(Replica::asked).sum::<u64>() - before;

    println!("  a greedy client, and one in a hurry");
    let greedy = vec!["greedy".to_owned(); 64];
    let greedy = client.load(&greedy, 1000).await;
    let given_up = || replicas.iter().map(Replica::given_up).sum::<u64>();
    let given_up_before = given_up();
    let timeout_header = headers::TIMEOUT;
    let hurried = [(NAME, "hurried"), (timeout_header.as_str(), "1")];
    let mut failure = client.get("/hurry", &hurried).await?;
    // The odd answer comes within a millisecond.
    while failure.status() == StatusCode::OK {
        failure = client.get("/hurry", &hurried).await?;
    }
    let stopped_work = given_up() > given_up_before;

    stop.cancel(Cause::Shutdown);
    let shutdown = running.await.bug()??;
    let lines = locked(&lines).clone();
    let verdict = Verdict {
        direct,
        through,
        asked,
        noticed,
        restarted,
        greedy,
        failure,
        stopped_work,
        lines,
        shutdown,
        hangs: hangs.address,
        mute: mute.address,
    };
    match verdict.print() {
        0 => Ok(()),
        missed => Err(Report::new(Missed(missed))),
    }
}

fn config(upstreams: Vec<String>) -> Config {
    Config {
        listen: LOOPBACK,
        upstreams,
        client: Limit {
            per_second: 400,
            depth: 100,
        },
        gateway: Limit {
            per_second: 20_000,
            depth: 20_000,
        },
        clients: Clients {
            header: Some(NAME.to_owned()),
            ..Clients::default()
        },
        hedge: Hedging {
            share: 0.08,
            ..Hedging::default()
        },
        health: Health {
            path: HEALTH.to_owned(),
            timeout_ms: 400,
        },
        ..Config::default()
    }
}

/// Waits for an event of the ward of that replica; false if it does not come.
async fn next(events: &mut Events, of: &Replica, is: impl Fn(&What) -> bool) -> bool {
    let ward = of.address.to_string();
    let found = async {
        while let Some(Event { ward: id, what, .. }) = events.next().await {
            if *id == *ward && is(&what) {
                return true;
            }
        }
        false
    };
    timeout(CAUGHT_WITHIN, found).await.unwrap_or(false)
}

fn locked(lines: &Lines) -> std::sync::MutexGuard<'_, Vec<String>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}
