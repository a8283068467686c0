//! A replica: an HTTP server that takes its time, and has the faults that it is told to have.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use evenkeel::errors::{Report, ResultExt};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Bernoulli, Distribution, LogNormal};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

/// Where it is asked how it is.
pub(crate) const HEALTH: &str = "/health";

/// A replica as a process of its own.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Serves until the process is killed.
pub(crate) async fn alone(options: Options) -> Result<(), Report> {
    let replica = Replica::start(options.listen, options.seed).await?;
    println!("listening on http://{}", replica.address);
    pending().await
}

/// A replica in this process.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    latency: Mutex<Latency>,
    mood: watch::Sender<Mood>,
    asked: AtomicU64,
    answered: AtomicU64,
}

/// What is wrong with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Takes connections and requests, and answers none.
    Hangs,
    /// Breaks off when it is asked how it is.
    Mute,
}

/// Lognormal, mean 5 ms, deviation 2 ms; one in twenty ten times slower.
struct Latency {
    usual: LogNormal<f64>,
    slow: Bernoulli,
    random: StdRng,
}

impl Latency {
    fn next(&mut self) -> Duration {
        let ms = self.usual.sample(&mut self.random);
        let slow = self.slow.sample(&mut self.random);
        Duration::from_secs_f64(ms * if slow { 10.0 } else { 1.0 } / 1000.0)
    }
}

impl Replica {
    pub(crate) async fn start(listen: SocketAddr, seed: u64) -> Result<Self, Report> {
        let listener = TcpListener::bind(listen).await.bug()?;
        let address = listener.local_addr().bug()?;
        let latency = Latency {
            usual: LogNormal::from_mean_cv(5.0, 2.0 / 5.0).bug()?,
            slow: Bernoulli::new(0.05).bug()?,
            random: StdRng::seed_from_u64(seed),
        };
        let inner = Arc::new(Inner {
            latency: Mutex::new(latency),
            mood: watch::Sender::new(Mood::Well),
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        });
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&serving);
                let _ = stream.set_nodelay(true);
                tokio::spawn(async move {
                    let service = service_fn(|request| inner.answer(request));
                    // A client that goes is no fault of the replica.
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(Self { address, inner })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.inner.mood.send_replace(mood);
    }

    /// Requests that came; questions how it is are not among them.
    pub(crate) fn asked(&self) -> u64 {
        // ORDERING: Relaxed: it is read when nothing is asked.
        self.inner.asked.load(Ordering::Relaxed)
    }

    /// Requests that were given up before it had answered.
    pub(crate) fn given_up(&self) -> u64 {
        // ORDERING: Relaxed, as above.
        self.asked() - self.inner.answered.load(Ordering::Relaxed)
    }
}

/// It breaks off.
#[derive(Debug, thiserror::Error)]
#[error("mute")]
struct Muted;

impl Inner {
    /// Says what it was sent, or else its path, after a while.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Muted> {
        let health = request.uri().path() == HEALTH;
        if !health {
            // ORDERING: Relaxed: a count, read when nothing is asked.
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        let mut mood = self.mood.subscribe();
        // The sender lives as long as `self`.
        let _ = mood.wait_for(|mood| *mood != Mood::Hangs).await;
        if health {
            let mute = *mood.borrow() == Mood::Mute;
            return if mute {
                Err(Muted)
            } else {
                Ok(Response::default())
            };
        }
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.map_err(|_| Muted)?;
        let latency = self.latency.lock().await.next();
        sleep(latency).await;
        let body = match body.to_bytes() {
            bytes if bytes.is_empty() => path.into(),
            bytes => bytes,
        };
        // ORDERING: Relaxed, as above.
        self.answered.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(Full::new(body)))
    }
}
