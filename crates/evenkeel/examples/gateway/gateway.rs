//! The gateway: what it is made of, and how it begins and ends.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use evenkeel::cancel::{Cause, Scope, Shutdown, Source, Token};
use evenkeel::errors::{Code, Known, Report, ResultExt, Status};
use evenkeel::hedge::{Adaptive, Hedge};
use evenkeel::steward::Events;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::unconstrained;
use tokio::time::timeout;

use crate::answer::Log;
use crate::clients::Limits;
use crate::config::{self, Config};
use crate::connection;
use crate::health::{self, LISTENER, Pulses};
use crate::proxy::Shared;
use crate::replicas::{Replica, Replicas};

/// What requests get to say that they were cut, when the time to drain is over.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Connecting takes a loopback or a rack no more; a replica that takes longer has failed.
const CONNECT: Duration = Duration::from_secs(1);

/// The gateway, listening, but not accepting yet.
pub(crate) struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// The address to listen on cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {0}")]
struct Unusable(SocketAddr);

impl Known for Unusable {
    fn code(&self) -> Code {
        Code::new("gateway", "cannot-listen", Status::FailedPrecondition)
    }

    fn user_message(&self) -> Option<Cow<'static, str>> {
        Some(
            format!(
                "The gateway cannot listen on {}: another program may do so.",
                self.0
            )
            .into(),
        )
    }
}

impl Gateway {
    /// Listens, and begins to watch the replicas.
    pub(crate) async fn bind(config: Config, log: Log) -> Result<Self, Report> {
        let listener = TcpListener::bind(config.listen)
            .await
            .raise_with(|_| Unusable(config.listen))?;
        let address = listener.local_addr().bug()?;
        let authorities = config
            .upstreams
            .iter()
            .filter_map(|url| config::authority(url));
        let replicas = Replicas::new(authorities.map(Replica::new).collect());
        let pulses = Arc::new(Pulses::new(&config)?);
        let health = health::watch(&config, &replicas, &pulses)?;
        let hedge = Hedge::new(Adaptive::rate(config.hedge.share).bug()?)
            .max_attempts(config.hedge.attempts);
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let shared = Arc::new(Shared {
            limits: Limits::new(config.gateway, config.client, &config.clients),
            config,
            log,
            replicas,
            hedge,
            upstream: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .build(connector),
            pulses,
            health,
            work: Source::new(),
        });
        Ok(Self {
            listener,
            address,
            shared,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What becomes of the wards that watch the replicas.
    pub(crate) fn health_events(&self) -> Events {
        self.shared.health.events()
    }

    /// Serves until `stop` is cancelled. Then no connection is accepted any more, and the requests that have come are answered:
    /// within the time to drain as ever; after it, or when `hurry` is cancelled, by saying that it is over. Tells what became of
    /// the connections.
    pub(crate) async fn run(self, stop: &Token, hurry: &Token) -> Result<Shutdown, Report> {
        let Self {
            listener, shared, ..
        } = self;
        let connections = Scope::new(&Token::never())?;
        let slots = Arc::new(Semaphore::new(shared.config.input.connections));
        let serve = |(stream, peer): (TcpStream, SocketAddr),
                     slot: Option<OwnedSemaphorePermit>| {
            let served = connection::serve(Arc::clone(&shared), stream, peer, connections.token());
            // Open until the shutdown below.
            let _ = connections.spawn(format!("connection of {peer}"), async move {
                served.await;
                drop(slot);
            });
        };

        let accepting = async {
            let mut every = shared.pulses.listener.every(LISTENER.0);
            loop {
                // Without a slot nothing is accepted, and the pulse says that this is on purpose.
                let slot = every.during(Arc::clone(&slots).acquire_owned()).await.ok();
                match every.during(listener.accept()).await {
                    Ok(accepted) => serve(accepted, slot),
                    Err(error) => {
                        let report = Report::bug(error).note("while accepting");
                        report.boundary(|record| (shared.log)(record));
                        // Most often there are no file descriptors left. Let some connections end.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        };
        let stopped = stop.run::<_>(accepting).await;
        let _: Result<Infallible, Cause> = stopped;

        shared.pulses.probes.drain();
        // The clients that wait to be accepted have sent their requests, for all they know.
        loop {
            // A task may accept so many in a turn; these have to be accepted in one.
            let waiting = poll_fn(|cx| Poll::Ready(listener.poll_accept(cx)));
            match unconstrained(waiting).await {
                Poll::Ready(Ok(accepted)) => serve(accepted, None),
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::ConnectionAborted => {}
                _ => break,
            }
        }
        drop(listener);
        let drain = timeout(shared.config.drain(), connections.shutdown(Duration::MAX));
        let shutdown = match hurry.run(drain).await {
            Ok(Ok(shutdown)) => shutdown,
            _ => {
                shared.work.cancel(Cause::Shutdown);
                connections.shutdown(LAST_WORDS).await
            }
        };
        shared.health.shutdown(LAST_WORDS).await;
        Ok(shutdown)
    }
}
