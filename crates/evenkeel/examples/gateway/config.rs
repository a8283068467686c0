//! What the gateway is told, by flags or in a file.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

/// Every key has a default but `upstreams`; a key that is none of these is refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The address to listen on; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// The replicas, all alike, as `http://HOST:PORT`.
    pub(crate) upstreams: Vec<String>,
    /// Milliseconds that a request may take; a client may ask for less by the header `x-request-timeout-ms`.
    pub(crate) deadline_ms: u64,
    /// Milliseconds that requests in flight get to end at a shutdown.
    pub(crate) drain_ms: u64,
    pub(crate) client: Limit,
    pub(crate) gateway: Limit,
    pub(crate) clients: Clients,
    pub(crate) hedge: Hedging,
    pub(crate) health: Health,
    pub(crate) input: Input,
}

/// A token bucket: so many requests a second in the long run, so many at once.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limit {
    pub(crate) per_second: u64,
    pub(crate) depth: u32,
}

/// Who is a client, and how many of them are remembered: as many as may be short of a token at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Clients {
    /// The header that names the client; without one it is the address.
    pub(crate) header: Option<String>,
    pub(crate) remembered: usize,
}

/// What is sent to a second replica when the first is late.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Hedging {
    /// The share of requests that may be sent twice because they are late.
    pub(crate) share: f64,
    /// How many replicas a request is sent to at the most.
    pub(crate) attempts: u32,
    /// Bodies up to so many bytes are kept, so that they can be sent again; longer ones pass through, once.
    pub(crate) buffer_bytes: usize,
}

/// How replicas are asked whether they are well.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Health {
    pub(crate) path: String,
    /// A replica that has not answered for so many milliseconds is avoided, and its ward is healed.
    pub(crate) timeout_ms: u64,
}

/// What is taken from a client.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Input {
    /// The head of a request, all headers together.
    pub(crate) head_bytes: usize,
    /// The number of headers.
    pub(crate) headers: usize,
    /// Milliseconds for the head of a request, and again between two parts of its body.
    pub(crate) timeout_ms: u64,
    /// Connections at a time; more wait to be accepted.
    pub(crate) connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            upstreams: Vec::new(),
            deadline_ms: 10_000,
            drain_ms: 10_000,
            client: Limit {
                per_second: 100,
                depth: 200,
            },
            gateway: Limit {
                per_second: 10_000,
                depth: 10_000,
            },
            clients: Clients::default(),
            hedge: Hedging::default(),
            health: Health::default(),
            input: Input::default(),
        }
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            per_second: 1000,
            depth: 1000,
        }
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            header: None,
            remembered: 100_000,
        }
    }
}

impl Default for Hedging {
    fn default() -> Self {
        Self {
            share: 0.05,
            attempts: 3,
            buffer_bytes: 64 * 1024,
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            timeout_ms: 1000,
        }
    }
}

impl Default for Input {
    fn default() -> Self {
        Self {
            head_bytes: 16 * 1024,
            headers: 100,
            timeout_ms: 10_000,
            connections: 10_000,
        }
    }
}

/// What is wrong with a configuration, where, and what would be right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("{path}: {error}")]
    Unreadable { path: String, error: std::io::Error },
    #[error("{path}:{line}: {message}")]
    Malformed {
        path: String,
        line: usize,
        message: String,
    },
    #[error("`{key}` is {found}: {allowed}")]
    OutOfRange {
        key: &'static str,
        found: String,
        allowed: &'static str,
    },
    #[error(
        "no replica to stand before: give --upstream http://HOST:PORT, or `upstreams` in the file"
    )]
    NoUpstream,
}

impl Config {
    pub(crate) fn read(path: &Path) -> Result<Self, Invalid> {
        let shown = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&shown, &text),
            Err(error) => Err(Invalid::Unreadable { path: shown, error }),
        }
    }

    fn parse(path: &str, text: &str) -> Result<Self, Invalid> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text[..start].matches('\n').count();
            Invalid::Malformed {
                path: path.to_owned(),
                line,
                message: error.message().to_owned(),
            }
        })
    }

    /// The same, if every value is one that can be kept.
    pub(crate) fn checked(self) -> Result<Self, Invalid> {
        fn range(
            within: bool,
            key: &'static str,
            found: &dyn std::fmt::Display,
            allowed: &'static str,
        ) -> Result<(), Invalid> {
            let found = found.to_string();
            within.then_some(()).ok_or(Invalid::OutOfRange {
                key,
                found,
                allowed,
            })
        }
        const HOUR: u64 = 3_600_000;
        let ms = "from 1 to 3600000 milliseconds";
        range(
            (1..=HOUR).contains(&self.deadline_ms),
            "deadline_ms",
            &self.deadline_ms,
            ms,
        )?;
        range(
            (1..=HOUR).contains(&self.drain_ms),
            "drain_ms",
            &self.drain_ms,
            ms,
        )?;
        let input = self.input;
        range(
            (1..=HOUR).contains(&input.timeout_ms),
            "input.timeout_ms",
            &input.timeout_ms,
            ms,
        )?;
        let head = (8192..=1 << 20).contains(&input.head_bytes);
        range(
            head,
            "input.head_bytes",
            &input.head_bytes,
            "from 8192 to 1048576",
        )?;
        range(
            (1..=1000).contains(&input.headers),
            "input.headers",
            &input.headers,
            "from 1 to 1000",
        )?;
        let connections = (1..=1_000_000).contains(&input.connections);
        range(
            connections,
            "input.connections",
            &input.connections,
            "from 1 to 1000000",
        )?;
        let health = &self.health;
        let timeout = (40..=HOUR).contains(&health.timeout_ms);
        range(
            timeout,
            "health.timeout_ms",
            &health.timeout_ms,
            "from 40 to 3600000 milliseconds",
        )?;
        let path = health.path.starts_with('/') && health.path.parse::<hyper::Uri>().is_ok();
        range(
            path,
            "health.path",
            &health.path,
            "a path that begins with `/`",
        )?;
        let share = (1e-6..1.0).contains(&self.hedge.share);
        range(
            share,
            "hedge.share",
            &self.hedge.share,
            "at least 0.000001 and less than 1",
        )?;
        let attempts = (1..=100).contains(&self.hedge.attempts);
        range(
            attempts,
            "hedge.attempts",
            &self.hedge.attempts,
            "from 1 to 100",
        )?;
        for (key, limit) in [
            ("client.depth", self.client),
            ("gateway.depth", self.gateway),
        ] {
            range(
                limit.depth > 0,
                key,
                &limit.depth,
                "at least 1, or nobody is ever let through",
            )?;
        }
        let remembered = (2..=100_000_000).contains(&self.clients.remembered);
        let key = "clients.remembered";
        range(
            remembered,
            key,
            &self.clients.remembered,
            "from 2 to 100000000",
        )?;
        if let Some(header) = &self.clients.header {
            let named = hyper::header::HeaderName::try_from(header.as_str()).is_ok();
            range(named, "clients.header", header, "the name of a header")?;
        }
        if self.upstreams.is_empty() {
            return Err(Invalid::NoUpstream);
        }
        let mut seen = HashSet::new();
        for upstream in &self.upstreams {
            let replica = authority(upstream);
            range(
                replica.is_some(),
                "upstreams",
                upstream,
                "http://HOST or http://HOST:PORT",
            )?;
            range(
                seen.insert(replica),
                "upstreams",
                upstream,
                "each replica once",
            )?;
        }
        Ok(self)
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

impl Health {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

impl Input {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// The `HOST:PORT` of a replica.
pub(crate) fn authority(url: &str) -> Option<hyper::http::uri::Authority> {
    let parts = url.parse::<hyper::Uri>().ok()?.into_parts();
    let bare = parts.path_and_query.is_none_or(|path| path == "/");
    let http = parts.scheme == Some(hyper::http::uri::Scheme::HTTP);
    let plain = |authority: &hyper::http::uri::Authority| {
        let named = authority.as_str().len() == authority.host().len();
        !authority.as_str().contains('@') && (named || authority.port().is_some())
    };
    parts.authority.filter(plain).filter(|_| http && bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<Config, String> {
        let text = format!("upstreams = [\"http://127.0.0.1:1\"]\n{text}");
        Config::parse("gateway.toml", &text)
            .and_then(Config::checked)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let config = with("[client]\nper_second = 5\n").unwrap();
        assert_eq!(config.client.per_second, 5);
        assert_eq!(config.deadline(), Duration::from_secs(10));
    }

    #[test]
    fn a_wrong_key_is_named_with_its_line_and_what_is_allowed() {
        let error = with("[hedge]\nshares = 0.1\n").unwrap_err();
        assert!(
            error.starts_with("gateway.toml:3: unknown field `shares`"),
            "{error}"
        );
        assert!(
            error.contains("`share`, `attempts`, `buffer_bytes`"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_value_is_named_with_what_is_allowed() {
        for (text, said) in [
            (
                "deadline_ms = 0",
                "`deadline_ms` is 0: from 1 to 3600000 milliseconds",
            ),
            (
                "[hedge]\nshare = 1.0",
                "`hedge.share` is 1: at least 0.000001 and less than 1",
            ),
            (
                "[health]\ntimeout_ms = 39",
                "`health.timeout_ms` is 39: from 40",
            ),
            (
                "[health]\npath = 'x'",
                "`health.path` is x: a path that begins with `/`",
            ),
            ("[client]\ndepth = 0", "`client.depth` is 0: at least 1"),
            (
                "[clients]\nheader = 'a b'",
                "`clients.header` is a b: the name of a header",
            ),
            (
                "[input]\nheaders = 0",
                "`input.headers` is 0: from 1 to 1000",
            ),
            ("deadline_ms = -1", "gateway.toml:2: "),
            ("deadline_ms", "gateway.toml:2: "),
        ] {
            let error = with(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_replica_is_an_http_origin() {
        for right in [
            "http://localhost",
            "http://localhost:9001/",
            "http://[::1]:80",
        ] {
            assert!(authority(right).is_some(), "{right}");
        }
        for wrong in [
            "",
            "localhost:9001",
            "https://a",
            "http://a/b",
            "http://u@a",
            "http://",
        ] {
            assert!(authority(wrong).is_none(), "{wrong}");
        }
        let twice = |a: &str, b: &str| {
            let upstreams = vec![a.to_owned(), b.to_owned()];
            Config {
                upstreams,
                ..Config::default()
            }
            .checked()
            .is_err()
        };
        assert!(twice("http://a:1", "http://a:1/"));
        assert!(!twice("http://a:1", "http://a:2"));
        assert!(Config::default().checked().is_err(), "none at all");
    }
}
