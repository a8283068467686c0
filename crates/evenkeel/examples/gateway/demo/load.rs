//! Clients: each asks for one thing after the other, and says how long it took.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evenkeel::errors::{Report, ResultExt};
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The header by which a client says who it is.
pub(crate) const NAME: &str = "x-client";

/// What came of a load.
pub(crate) struct Outcome {
    micros: Histogram<u64>,
    pub(crate) answered: u64,
    /// Answered by 429.
    pub(crate) limited: u64,
    /// One of these answers.
    pub(crate) refusal: Option<Response<Bytes>>,
    /// Not answered, or wrongly.
    pub(crate) failed: u64,
}

impl Outcome {
    pub(crate) fn new() -> Self {
        Self {
            // To a minute, with three digits.
            micros: Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds as allowed"),
            answered: 0,
            limited: 0,
            refusal: None,
            failed: 0,
        }
    }

    /// Milliseconds that this share of the requests took no longer than.
    pub(crate) fn ms(&self, share: f64) -> f64 {
        self.micros.value_at_quantile(share) as f64 / 1000.0
    }

    fn add(&mut self, answer: Answer, took: Duration) {
        match answer {
            Answer::Right => {
                self.answered += 1;
                self.micros.saturating_record(took.as_micros() as u64);
            }
            Answer::Limited(refusal) => {
                self.limited += 1;
                self.refusal = Some(refusal);
            }
            Answer::Wrong => self.failed += 1,
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.micros.add(&other.micros).expect("of one kind");
        self.answered += other.answered;
        self.limited += other.limited;
        self.failed += other.failed;
        self.refusal = other.refusal.or(self.refusal.take());
    }
}

enum Answer {
    Right,
    Limited(Response<Bytes>),
    Wrong,
}

/// Somebody who asks a server.
#[derive(Clone)]
pub(crate) struct Client {
    http: legacy::Client<HttpConnector, Empty<Bytes>>,
    server: SocketAddr,
}

impl Client {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Self { http, server }
    }

    /// Asks once, with these headers besides.
    pub(crate) async fn get(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response<Bytes>, Report> {
        let mut request = Request::get(format!("http://{}{path}", self.server));
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Empty::new()).bug()?;
        let (head, body) = self.http.request(request).await.bug()?.into_parts();
        let body = body.collect().await.bug()?.to_bytes();
        Ok(Response::from_parts(head, body))
    }

    async fn judged(&self, name: &str, number: u64) -> Answer {
        let path = format!("/{number}");
        match self.get(&path, &[(NAME, name)]).await {
            Ok(response) if response.status() == StatusCode::TOO_MANY_REQUESTS => {
                Answer::Limited(response)
            }
            Ok(response) if response.status() == StatusCode::OK && *response.body() == path => {
                Answer::Right
            }
            _ => Answer::Wrong,
        }
    }

    /// `requests` by so many clients, each of which waits for its answer before it asks again.
    pub(crate) async fn load(&self, names: &[String], requests: u64) -> Outcome {
        let left = Arc::new(AtomicU64::new(requests));
        let mut clients = JoinSet::new();
        for name in names {
            let (client, name, left) = (self.clone(), name.clone(), Arc::clone(&left));
            clients.spawn(async move {
                let mut outcome = Outcome::new();
                // ORDERING: Relaxed: a number for each, and nothing else.
                let take = |left: u64| left.checked_sub(1);
                while let Ok(number) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                {
                    let began = Instant::now();
                    let answer = client.judged(&name, number).await;
                    outcome.add(answer, began.elapsed());
                }
                outcome
            });
        }
        let mut outcome = Outcome::new();
        while let Some(one) = clients.join_next().await {
            outcome.merge(one.expect("a client does not panic"));
        }
        outcome
    }
}
