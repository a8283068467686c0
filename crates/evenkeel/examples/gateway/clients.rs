//! The limits of each client, for a bounded number of clients.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use evenkeel::bucket::{All, Bucket, Denied, Rate};

use crate::config::{Clients, Limit};

/// A bucket for the gateway, and one for each client.
///
/// Clients are kept in two generations: one that asks moves to the younger, and when that holds half of those remembered, the
/// older is forgotten whole. A forgotten client begins with a full bucket; it had not asked for as long as it took half the
/// number remembered of others to come.
pub(crate) struct Limits {
    gateway: Bucket,
    client: Limit,
    half: usize,
    generations: Mutex<[HashMap<Box<str>, Client>; 2]>,
}

/// The limits on one client.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) own: Bucket,
    pub(crate) gateway: Bucket,
    both: All,
}

impl Limits {
    pub(crate) fn new(gateway: Limit, client: Limit, clients: &Clients) -> Self {
        Self {
            gateway: bucket(gateway).named("gateway"),
            client,
            half: clients.remembered / 2,
            generations: Mutex::default(),
        }
    }

    /// The limits on the client of that name.
    pub(crate) fn of(&self, name: &str) -> Client {
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut *generations;
        if let Some(client) = young.get(name) {
            return client.clone();
        }
        let client = old.remove(name).unwrap_or_else(|| self.first_seen());
        if young.len() >= self.half {
            *old = std::mem::take(young);
        }
        young.insert(name.into(), client.clone());
        client
    }

    fn first_seen(&self) -> Client {
        let own = bucket(self.client).named("client");
        let gateway = self.gateway.clone();
        let both = All::new([&own, &gateway]);
        Client { own, gateway, both }
    }
}

impl Client {
    /// Takes a token of both limits, or of none.
    pub(crate) fn admit(&self) -> Result<(), Denied> {
        self.both.try_acquire(1).map(drop)
    }
}

fn bucket(limit: Limit) -> Bucket {
    Bucket::new(
        Rate::per(limit.per_second, Duration::from_secs(1)),
        limit.depth,
    )
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
            assert_eq!(limits.of("greedy").admit().is_ok(), admitted);
        }
        assert_eq!(limits.of("greedy").admit().unwrap_err().by(), "client");
        assert_eq!(limits.gateway.peek().tokens, 8);
        assert!(limits.of("modest").admit().is_ok());
    }

    #[test]
    fn a_gateway_at_its_limit_takes_nothing_of_a_client() {
        let limits = limits(1, 5, 10);
        assert!(limits.of("a").admit().is_ok());
        assert_eq!(limits.of("b").admit().unwrap_err().by(), "gateway");
        assert_eq!(limits.of("b").own.peek().tokens, 5);
    }

    #[test]
    fn so_many_are_remembered_and_those_that_ask_longest() {
        let limits = limits(1000, 1, 8);
        assert!(limits.of("regular").admit().is_ok());
        for n in 0..100 {
            assert!(limits.of("regular").admit().is_err(), "forgotten at {n}");
            limits.of(&n.to_string());
            let held: usize = limits
                .generations
                .lock()
                .unwrap()
                .iter()
                .map(HashMap::len)
                .sum();
            assert!(held <= 8, "{held} held");
        }
        assert!(limits.of("0").admit().is_ok());
    }
}
