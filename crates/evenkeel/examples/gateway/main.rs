//! A small HTTP/1 reverse proxy, with all six crates at work; see its `README.md`.
//!
//! ```text
//! cargo run --release -p evenkeel --features full --example gateway -- serve --upstream http://127.0.0.1:9001
//! cargo run --release -p evenkeel --features full --example gateway -- demo
//! ```

mod answer;
mod clients;
mod config;
mod connection;
mod demo;
mod gateway;
mod headers;
mod health;
mod kept;
mod line;
mod patience;
mod proxy;
mod replicas;
mod upload;

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use config::Config;
use evenkeel::cancel::{Signals, Source};
use evenkeel::errors::{Origin, Report, ResultExt, sink};
use gateway::Gateway;

/// A small reverse proxy that keeps on an even keel.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Stand before real servers until SIGTERM or Ctrl-C.
    Serve(Serve),
    /// Stand before three replicas with faults, under load, and tell which pattern caught which.
    Demo(demo::Options),
    /// One of the demo's replicas alone, in a process that can be killed.
    #[command(hide = true)]
    Replica(demo::replica::Options),
}

#[derive(Args)]
struct Serve {
    /// A TOML file; the flags here go before what it says.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one. [default: 127.0.0.1:8080]
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// A replica, as http://HOST:PORT; once for each.
    #[arg(long = "upstream", value_name = "URL")]
    upstreams: Vec<String>,
    /// Milliseconds that a request may take. [default: 10000]
    #[arg(long, value_name = "MS")]
    deadline_ms: Option<u64>,
    /// Milliseconds that requests in flight get to end after SIGTERM or Ctrl-C. [default: 10000]
    #[arg(long, value_name = "MS")]
    drain_ms: Option<u64>,
}

impl Serve {
    fn config(self) -> Result<Config, config::Invalid> {
        let mut config = match self.config {
            Some(path) => Config::read(&path)?,
            None => Config::default(),
        };
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        if !self.upstreams.is_empty() {
            config.upstreams = self.upstreams;
        }
        if let Some(ms) = self.deadline_ms {
            config.deadline_ms = ms;
        }
        if let Some(ms) = self.drain_ms {
            config.drain_ms = ms;
        }
        config.checked()
    }
}

/// Whether or not anybody still reads it.
fn say(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{text}");
}

async fn serve(config: Config) -> Result<(), Report> {
    let gateway = Gateway::bind(config, Arc::new(sink::stderr)).await?;
    let mut health = gateway.health_events();
    tokio::spawn(async move {
        while let Some(event) = health.next().await {
            let _ = writeln!(io::stderr(), "health: {event}");
        }
    });
    let stop = Source::new();
    let signals = Signals::cancel(&stop).bug()?;
    let _told = stop.on_cancel(|_| say(format_args!("draining")));
    say(format_args!("listening on http://{}", gateway.address()));
    let shutdown = gateway.run(&stop, signals.hurry()).await?;
    say(format_args!("stopped: {shutdown}"));
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    // The first one stands; a second is no reason to stop.
    let _ = Origin::new("gateway", env!("CARGO_PKG_VERSION")).set();
    let done = match Cli::parse().command {
        Command::Serve(serve_options) => match serve_options.config() {
            Ok(config) => serve(config).await,
            Err(invalid) => {
                eprintln!("error: {invalid}");
                return ExitCode::from(2);
            }
        },
        Command::Demo(options) => demo::run(options).await,
        Command::Replica(options) => demo::replica::alone(options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => {
            eprintln!("error: {}", report.boundary(sink::stderr));
            ExitCode::FAILURE
        }
    }
}
