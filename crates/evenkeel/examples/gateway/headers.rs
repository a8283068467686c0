//! Headers that a proxy reads, writes and takes away.

use std::net::IpAddr;
use std::time::Duration;

use evenkeel::bucket::headers as limits;
use evenkeel::bucket::headers::{Quotas, delay_seconds};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The time left for a request, in whole milliseconds: taken from the client, passed on to the replica.
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// This proxy, as `Via` has it.
pub(crate) const HERE: HeaderValue = HeaderValue::from_static("1.1 evenkeel");

/// The last answer on a connection.
pub(crate) const CLOSE: HeaderValue = HeaderValue::from_static("close");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const RATE_LIMIT: HeaderName = HeaderName::from_static(limits::RATE_LIMIT);
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static(limits::RATE_LIMIT_POLICY);

/// Those that speak of one connection and not of the message (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Takes away what speaks of the connection it came by, and what `Connection` names besides.
pub(crate) fn end_of_hop(headers: &mut HeaderMap) {
    let connection: Vec<_> = headers
        .get_all(header::CONNECTION)
        .iter()
        .cloned()
        .collect();
    let named = connection.iter().filter_map(|value| value.to_str().ok());
    for name in named.flat_map(|value| value.split(',')) {
        headers.remove(name.trim());
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Makes the headers of a client's request those of the request to a replica.
pub(crate) fn forward(headers: &mut HeaderMap, client: IpAddr) {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    end_of_hop(headers);
    // The gateway has said that it reads the body.
    headers.remove(header::EXPECT);
    let mut through: Vec<_> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect();
    through.push(client.to_string());
    if let Ok(value) = HeaderValue::try_from(through.join(", ")) {
        headers.insert(FORWARDED_FOR, value);
    }
    headers.append(header::VIA, HERE);
}

/// Whether the body is a stream of events, each of which is wanted when it comes.
pub(crate) fn are_events(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// What the client leaves for the request; `None` if it does not say, or not in a number.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let ms = headers.get(TIMEOUT)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_millis(ms))
}

/// Tells a replica what is left.
pub(crate) fn set_timeout(headers: &mut HeaderMap, left: Duration) {
    let ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    headers.insert(TIMEOUT, ms.into());
}

/// `Retry-After` in whole seconds, at least one.
pub(crate) fn set_retry_after(headers: &mut HeaderMap, wait: Duration) {
    headers.insert(header::RETRY_AFTER, delay_seconds(wait).max(1).into());
}

/// The fields `RateLimit` and `RateLimit-Policy` of the IETF draft, for these limits.
pub(crate) fn set_rate_limit(headers: &mut HeaderMap, quotas: &Quotas) {
    let fields = [
        (RATE_LIMIT, quotas.rate_limit()),
        (RATE_LIMIT_POLICY, quotas.policy()),
    ];
    for (name, value) in fields {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use evenkeel::bucket::{Bucket, Rate};

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&str, &str)| {
            let name = HeaderName::try_from(name).unwrap();
            (name, HeaderValue::try_from(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_speaks_of_the_connection_ends_with_it() {
        let mut headers = map(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        end_of_hop(&mut headers);
        assert_eq!(headers, map(&[("accept", "*/*")]));
    }

    #[test]
    fn the_client_is_added_to_those_before_it() {
        let mut headers = map(&[("x-forwarded-for", "10.0.0.1"), ("expect", "100-continue")]);
        forward(&mut headers, IpAddr::from([127, 0, 0, 1]));
        let expected = [
            ("x-forwarded-for", "10.0.0.1, 127.0.0.1"),
            ("via", "1.1 evenkeel"),
        ];
        assert_eq!(headers, map(&expected));
    }

    #[test]
    fn a_timeout_is_a_number_of_milliseconds() {
        assert_eq!(
            timeout(&map(&[("x-request-timeout-ms", " 250")])),
            Some(Duration::from_millis(250))
        );
        for wrong in ["", "-1", "1.5", "soon", "99999999999999999999"] {
            assert_eq!(timeout(&map(&[("x-request-timeout-ms", wrong)])), None);
        }
    }

    #[test]
    fn limits_are_told_as_the_draft_has_them() {
        let client = Bucket::new(Rate::per(2, Duration::from_secs(1)), 10).named("client");
        client.try_acquire(10).unwrap();
        let mut headers = HeaderMap::new();
        set_rate_limit(&mut headers, &Quotas::of(&client));
        assert_eq!(headers[RATE_LIMIT], "\"client\";r=0;t=1");
        assert_eq!(headers[RATE_LIMIT_POLICY], "\"client\";q=10;w=5");
        set_retry_after(&mut headers, Duration::from_millis(1001));
        assert_eq!(headers[header::RETRY_AFTER], "2");
    }
}
