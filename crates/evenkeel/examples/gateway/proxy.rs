//! A request, from its arrival to the head of its answer.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::bucket::Denied;
use evenkeel::cancel::{Cause, Source, Token};
use evenkeel::errors::{Report, ResultExt};
use evenkeel::hedge::{Adaptive, Failed, Hedge};
use evenkeel::steward::Steward;
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::{request, uri};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::Instant;

use crate::answer::{self, Body, Fault, Log};
use crate::clients::Limits;
use crate::config::Config;
use crate::headers;
use crate::health::Pulses;
use crate::kept::Kept;
use crate::replicas::{Replica, Replicas};
use crate::upload::{Sent, Upload};

/// What requests go to replicas by.
pub(crate) type Upstream = Client<HttpConnector, Sent>;

/// A longer name of a client is none: it would be long in the log, too.
const NAME: usize = 256;

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) log: Log,
    pub(crate) limits: Limits,
    pub(crate) replicas: Replicas,
    pub(crate) hedge: Hedge<Adaptive>,
    pub(crate) upstream: Upstream,
    pub(crate) pulses: Arc<Pulses>,
    pub(crate) health: Steward,
    /// Every request runs under this one. It is cancelled when the time to drain is over.
    pub(crate) work: Source,
}

/// Why an attempt failed.
enum Failure {
    /// There is no connection: nothing was sent.
    Unreachable(Report),
    /// There was none, or half an answer.
    Broken(Report),
    /// 502, 503 or 504: passed on if no other replica does better.
    Refused(Box<Response<Body>>),
}

impl Shared {
    /// Answers a request, whatever becomes of it.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Body> {
        if let Some(own) = self.own(&request) {
            return own;
        }
        let name = self.client(&request, peer);
        if let Err(denied) = self.limits.admit(&name) {
            return self.limited(&name, &denied);
        }
        match self.within_deadline(request, peer).await {
            Ok(response) => response,
            Err(report) => answer::problem(&report, &self.log).map(Body::from),
        }
    }

    /// The probes, which no limit holds back.
    fn own(&self, request: &Request<Incoming>) -> Option<Response<Body>> {
        let probes = &self.pulses.probes;
        let probe = match request.uri().path() {
            "/livez" => probes.livez(),
            "/readyz" => probes.readyz(),
            _ => return None,
        };
        let verbose = request.uri().query() == Some("verbose");
        let mut text = probe.body(verbose);
        if verbose {
            text += &format!("{}\n", self.health.status());
        }
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = StatusCode::from_u16(probe.status()).ok()?;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        Some(response)
    }

    /// Whose limits count.
    fn client<'a>(&self, request: &'a Request<Incoming>, peer: SocketAddr) -> Cow<'a, str> {
        let header = self.config.clients.header.as_deref();
        header
            .and_then(|name| request.headers().get(name)?.to_str().ok())
            .filter(|name| name.len() <= NAME)
            .map_or_else(|| peer.ip().to_string().into(), Cow::Borrowed)
    }

    fn limited(&self, name: &str, denied: &Denied) -> Response<Body> {
        let report = Report::new(Fault::Limited {
            client: name.to_owned(),
            limit: denied.by().to_owned(),
            wait: denied.retry_after(),
        });
        let mut response = answer::problem(&report, &self.log).map(Body::from);
        headers::set_rate_limit(response.headers_mut(), &self.limits.told(name));
        response
    }

    /// The answer, under a token that ends with the client, the deadline, or the gateway.
    async fn within_deadline(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Body>, Report> {
        let asked = headers::timeout(request.headers()).unwrap_or(Duration::MAX);
        let limit = self.config.deadline().min(asked);
        let source = self.work.token().child_with_timeout(limit)?;
        let token = source.token();
        // Dropped by hyper when the client has gone, else with the body.
        let guard = source.drop_guard(Cause::User);
        match token.run(self.pass(request, peer, &token)).await {
            Ok(answered) => Ok(answered?.map(|body| body.of_request(&token, guard))),
            Err(Cause::Timeout) => Err(Report::new(Fault::Deadline(limit))),
            Err(_) => Err(Report::new(Fault::Shutdown)),
        }
    }

    async fn pass(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        token: &Token,
    ) -> Result<Response<Body>, Report> {
        let (mut head, body) = request.into_parts();
        check(&head)?;
        if let Some(host) = head.uri.authority() {
            let host = HeaderValue::from_str(host.as_str()).bug()?;
            head.headers.insert(header::HOST, host);
        }
        headers::forward(&mut head.headers, peer.ip());
        let (bound, pause) = (self.config.hedge.buffer_bytes, self.config.input.timeout());
        let upload = Upload::read(body, bound, pause).await?;
        // Not before: the client may have taken its time.
        let mut replicas = self.replicas.by_burden().into_iter();
        let first = replicas.next().raise(Fault::NoReplica)?;
        let answered = match upload {
            Upload::Whole(bytes) => {
                let attempt = |replica, _| {
                    let body = Either::Left(Full::new(bytes.clone()));
                    self.attempt(replica, &head, body, token)
                };
                if head.method.is_idempotent() {
                    self.hedge
                        .run_across(first, replicas, attempt)
                        .await
                        .map_err(all)
                } else {
                    // Sent once: only where it was not is there a next one.
                    let once = Hedge::new(Duration::MAX).max_attempts(self.config.hedge.attempts);
                    let sent = |failure: &_| !matches!(failure, Failure::Unreachable(_));
                    once.run_across(first, replicas, attempt)
                        .fatal(sent)
                        .await
                        .map_err(all)
                }
            }
            Upload::Longer(rest) => {
                let passage = rest.passage();
                let answered = self.attempt(first, &head, Either::Right(rest), token).await;
                match (answered, passage.fault()) {
                    (Err(_), Some(fault)) => return Err(Report::new(fault)),
                    (Ok(mut response), _) if !passage.has_ended() => {
                        // Answered early: what the client still sends must not be taken for a request.
                        response
                            .headers_mut()
                            .insert(header::CONNECTION, headers::CLOSE);
                        Ok(response)
                    }
                    (answered, _) => answered.map_err(|failure| vec![failure]),
                }
            }
        };
        answered.or_else(no_answer)
    }

    /// One request to one replica.
    async fn attempt(
        &self,
        replica: Arc<Replica>,
        head: &request::Parts,
        body: Sent,
        token: &Token,
    ) -> Result<Response<Body>, Failure> {
        let mut busy = replica.busy();
        let request = addressed(&replica, head, body, token).map_err(Failure::Broken)?;
        let from = || format!("asking {}", replica.authority);
        let (mut head, mut body) = match self.upstream.request(request).await {
            Ok(response) => response.into_parts(),
            Err(error) => {
                let unreachable = error.is_connect();
                let report = Err::<(), _>(error).bug().note_with(from).unwrap_err();
                return Err(if unreachable {
                    Failure::Unreachable(report)
                } else {
                    Failure::Broken(report)
                });
            }
        };
        headers::end_of_hop(&mut head.headers);
        head.headers.append(header::VIA, headers::HERE);
        if head.status.is_informational() {
            let unasked = Report::bug(format!("{} that nobody asked for", head.status));
            return Err(Failure::Broken(unasked.note(from())));
        }
        // Short answers have to come whole: half of one is none. Events are not waited for.
        let kept = if headers::are_events(&head.headers) {
            Kept::Part(Bytes::new())
        } else {
            let kept = Kept::read(&mut body, self.config.hedge.buffer_bytes).await;
            kept.bug().note_with(from).map_err(Failure::Broken)?
        };
        busy.answered();
        let body = match kept {
            Kept::Whole(bytes) => Body::from(bytes),
            Kept::Part(kept) => Body::passing(kept, body, busy),
        };
        // The replica's is that of its connection.
        head.version = Version::HTTP_11;
        let response = Response::from_parts(head, body);
        match response.status() {
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(Failure::Refused(Box::new(response))),
            _ => Ok(response),
        }
    }
}

fn all(failed: Failed<Failure>) -> Vec<Failure> {
    failed.into_errors().collect()
}

/// What is said when every attempt has failed: what a replica said, or else that none did, and in the log why not.
fn no_answer(failures: Vec<Failure>) -> Result<Response<Body>, Report> {
    let mut said = None::<Report>;
    for failure in failures {
        match failure {
            Failure::Refused(response) => return Ok(*response),
            Failure::Unreachable(report) | Failure::Broken(report) => {
                said = Some(match said {
                    None => report,
                    Some(first) => first.note(format!("{report:#}")),
                });
            }
        }
    }
    Err(match said {
        Some(report) => report.raise(Fault::NoReplica),
        None => Report::new(Fault::NoReplica),
    })
}

/// Refuses what no replica should see.
fn check(head: &request::Parts) -> Result<(), Fault> {
    if head.method == Method::CONNECT {
        return Err(Fault::Unsupported("CONNECT"));
    }
    if !head.uri.path().starts_with('/') {
        return Err(Fault::Unsupported("a request that is for no path"));
    }
    match head.headers.get_all(header::HOST).iter().count() {
        1 => {}
        0 if head.version < Version::HTTP_11 => {}
        _ => return Err(Fault::Malformed("it has not exactly one Host")),
    }
    Ok(())
}

/// The request as it goes to `replica`.
fn addressed(
    replica: &Replica,
    head: &request::Parts,
    body: Sent,
    token: &Token,
) -> Result<Request<Sent>, Report> {
    let target = head
        .uri
        .path_and_query()
        .map_or("/", uri::PathAndQuery::as_str);
    let uri = Uri::builder()
        .scheme("http")
        .authority(replica.authority.clone())
        .path_and_query(target)
        .build()
        .bug()?;
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = head.headers.clone();
    if let Some(at) = token.deadline() {
        let left = at.saturating_duration_since(Instant::now());
        headers::set_timeout(request.headers_mut(), left);
    }
    Ok(request)
}
