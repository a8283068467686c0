//! The limits of each client, for a bounded number of clients.

use std::time::Duration;

use evenkeel::bucket::headers::Quotas;
use evenkeel::bucket::{All, Bucket, Denied, Keyed, Rate};

use crate::config::{Clients, Limit};

/// A bucket for the gateway, and one for each client.
///
/// So many clients are remembered as may be short of a token at once. When more come, the one among a few that lacks least is
/// forgotten, and begins with a full bucket.
pub(crate) struct Limits {
    gateway: Bucket,
    clients: Keyed<str>,
}

impl Limits {
    pub(crate) fn new(gateway: Limit, client: Limit, clients: &Clients) -> Self {
        Self {
            gateway: Bucket::new(rate(gateway), gateway.depth).named("gateway"),
            clients: Keyed::new(rate(client), client.depth, clients.remembered).named("client"),
        }
    }

    /// Takes a token of the client of that name and one of the gateway's, or neither.
    pub(crate) fn admit(&self, client: &str) -> Result<(), Denied> {
        let both = All::new([self.clients.key(client)?]).and(&self.gateway);
        both.try_acquire(1).map(drop)
    }

    /// How both stand for the client of that name.
    pub(crate) fn told(&self, client: &str) -> Quotas {
        Quotas::of_key(&self.clients, client).and(Quotas::of(&self.gateway))
    }
}

fn rate(limit: Limit) -> Rate {
    Rate::per(limit.per_second, Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(gateway: u32, client: u32, remembered: usize) -> Limits {
        let limit = |depth| Limit {
            per_second: 0,
            depth,
        };
        let clients = Clients {
            header: None,
            remembered,
        };
        Limits::new(limit(gateway), limit(client), &clients)
    }

    #[test]
    fn a_client_at_its_limit_takes_nothing_of_the_gateways() {
        let limits = limits(10, 2, 10);
        for admitted in [true, true, false, false, false] {
            assert_eq!(limits.admit("greedy").is_ok(), admitted);
        }
        assert_eq!(limits.admit("greedy").unwrap_err().by(), "client");
        assert_eq!(limits.gateway.peek().tokens, 8);
        assert!(limits.admit("modest").is_ok());
    }

    #[test]
    fn a_gateway_at_its_limit_takes_nothing_of_a_client() {
        let limits = limits(1, 5, 10);
        assert!(limits.admit("a").is_ok());
        assert_eq!(limits.admit("b").unwrap_err().by(), "gateway");
        let told = limits.told("b").rate_limit().unwrap();
        assert_eq!(told, "\"client\";r=5, \"gateway\";r=0");
    }

    #[test]
    fn a_crowd_of_clients_does_not_wash_away_one_that_is_at_its_limit() {
        let limits = limits(10_000, 2, 8);
        assert!((0..2).all(|_| limits.admit("greedy").is_ok()));
        assert!((0..1_000).all(|n: u32| limits.admit(&n.to_string()).is_ok()));
        assert!(limits.clients.overflowed() > 800);
        assert!(limits.admit("greedy").is_err());
    }
}
