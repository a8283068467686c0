//! Whether the replicas are well: one ward each, which asks and is healed when it gets no answer.

use std::sync::Arc;
use std::time::Duration;

use evenkeel::errors::{Report, ResultExt};
use evenkeel::heartbeat::{Expect, Heartbeat, Monitor, Probes, Watched};
use evenkeel::steward::{Backoff, BoxError, Ctx, Intensity, Steward};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::config::Config;
use crate::replicas::{Replica, Replicas};

/// How often the gateway says that it accepts connections, and how long it may be silent.
pub(crate) const LISTENER: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(2));

/// The pulses of the gateway, and what `/livez` and `/readyz` make of them.
pub(crate) struct Pulses {
    pub(crate) probes: Probes,
    /// Beats as long as connections are accepted.
    pub(crate) listener: Watched,
    /// Beats with every good answer of any replica.
    upstreams: Watched,
}

impl Pulses {
    pub(crate) fn new(config: &Config) -> Result<Self, Report> {
        let monitor = Monitor::new();
        let pulse = |name, timeout| {
            let class = monitor.class(Expect::within(timeout))?;
            Ok::<_, Report>(class.register(name))
        };
        let listener = pulse("listener", LISTENER.1).trail()?;
        // Two rounds of questions.
        let upstreams = pulse("upstreams", config.health.timeout() * 2).trail()?;
        let probes = Probes::new(&monitor);
        probes.critical("listener", listener.id());
        probes.required("upstreams", upstreams.id());
        Ok(Self {
            probes,
            listener,
            upstreams,
        })
    }
}

/// Starts a ward for each replica.
pub(crate) fn watch(
    config: &Config,
    replicas: &Replicas,
    pulses: &Arc<Pulses>,
) -> Result<Steward, Report> {
    let timeout = config.health.timeout();
    let steward = Steward::builder()
        .named("health")
        .timeout(timeout)
        // A replica may be away for as long as it likes: the gateway waits for it.
        .intensity(Intensity::UNLIMITED)
        .backoff(Backoff::exponential(timeout / 10, timeout).reset_after(timeout))
        .start()?;
    // A question has no timeout of its own: a replica that does not answer leaves its ward silent.
    let client: Asker = Client::builder(TokioExecutor::new()).build_http();
    for replica in replicas.iter() {
        let uri = Uri::builder()
            .scheme("http")
            .authority(replica.authority.clone())
            .path_and_query(config.health.path.as_str())
            .build()
            .bug()?;
        let id = replica.authority.to_string();
        let (replica, pulses, client) = (Arc::clone(replica), Arc::clone(pulses), client.clone());
        steward
            .child(id, move |ctx: Ctx| {
                ask(
                    ctx,
                    Arc::clone(&replica),
                    Arc::clone(&pulses),
                    client.clone(),
                    uri.clone(),
                )
            })
            .start()?;
    }
    Ok(steward)
}

type Asker = Client<HttpConnector, Empty<Bytes>>;

/// Asks a replica how it is, twice in each timeout. Ends when there is no answer, or one that is not HTTP.
async fn ask(
    ctx: Ctx,
    replica: Arc<Replica>,
    pulses: Arc<Pulses>,
    client: Asker,
    uri: Uri,
) -> Result<(), BoxError> {
    // Avoided from when this ward ends, however it does, until the next one has an answer.
    let replica = Ill(replica);
    let asking = async {
        loop {
            // Its causes say why; a reason has room for one text.
            let answer = client.get(uri.clone()).await.bug();
            let answer = answer.map_err(|report| format!("{report:#}"))?;
            ctx.beat();
            // Anything but its own failure shows that it is there: the path may be missing, or forbidden.
            let well = answer.status() < StatusCode::INTERNAL_SERVER_ERROR;
            drop(answer);
            replica.0.set_healthy(well);
            if well {
                pulses.upstreams.beat();
            }
            tokio::time::sleep(ctx.interval()).await;
        }
    };
    // A question can be dropped at any time.
    ctx.token().run(asking).await.unwrap_or(Ok(()))
}

/// Dropped, it makes the replica one to be avoided.
struct Ill(Arc<Replica>);

impl Drop for Ill {
    fn drop(&mut self) {
        self.0.set_healthy(false);
    }
}
