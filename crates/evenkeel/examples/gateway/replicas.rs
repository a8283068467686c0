//! The replicas, and which of them to ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::http::uri::Authority;

/// All of them, alike for the client.
pub(crate) struct Replicas {
    all: Vec<Arc<Replica>>,
    /// Where the next look begins, so that equals take turns.
    turn: AtomicUsize,
}

/// One replica, as the gateway sees it.
pub(crate) struct Replica {
    pub(crate) authority: Authority,
    healthy: AtomicBool,
    /// Requests that it has not answered yet.
    outstanding: AtomicUsize,
    /// Requests in a row that were given up, since it was late or broke off.
    lost: AtomicUsize,
}

// ORDERING: Relaxed throughout. Each of these is a hint which replica to ask, and publishes nothing.
impl Replica {
    pub(crate) fn new(authority: Authority) -> Arc<Self> {
        Arc::new(Self {
            authority,
            healthy: AtomicBool::new(true),
            outstanding: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
        })
    }

    /// What its health ward has found.
    pub(crate) fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
        if healthy {
            self.lost.store(0, Ordering::Relaxed);
        }
    }

    /// A request goes to it.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        Busy {
            replica: Arc::clone(self),
            answered: false,
        }
    }

    /// The less, the better: one that does not answer seems to be idle, but for what it has lost.
    fn burden(&self) -> (bool, usize) {
        let unhealthy = !self.healthy.load(Ordering::Relaxed);
        let outstanding = self.outstanding.load(Ordering::Relaxed);
        (unhealthy, outstanding + self.lost.load(Ordering::Relaxed))
    }
}

impl Replicas {
    pub(crate) fn new(all: Vec<Arc<Replica>>) -> Self {
        Self {
            all,
            turn: AtomicUsize::new(0),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Replica>> {
        self.all.iter()
    }

    /// All of them, the one to ask first in front. The ill are last: one of them is better than none.
    pub(crate) fn by_burden(&self) -> Vec<Arc<Replica>> {
        let mut replicas = self.all.clone();
        // ORDERING: Relaxed: two calls that begin at the same one do no harm.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % replicas.len().max(1);
        replicas.rotate_left(turn);
        replicas.sort_by_cached_key(|replica| replica.burden());
        replicas
    }
}

/// A request at a replica. Dropped before it was [answered](Self::answered), it counts as lost.
pub(crate) struct Busy {
    replica: Arc<Replica>,
    answered: bool,
}

impl Busy {
    pub(crate) fn answered(&mut self) {
        self.answered = true;
        // ORDERING: Relaxed, as above.
        self.replica.lost.store(0, Ordering::Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // ORDERING: Relaxed, as above.
        self.replica.outstanding.fetch_sub(1, Ordering::Relaxed);
        if !self.answered {
            self.replica.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Replicas {
        let replica = |name| Replica::new(Authority::from_static(name));
        Replicas::new(["a", "b", "c"].map(replica).into())
    }

    fn first(replicas: &Replicas) -> String {
        replicas.by_burden()[0].authority.to_string()
    }

    #[test]
    fn equals_take_turns() {
        let replicas = three();
        let firsts: Vec<_> = (0..6).map(|_| first(&replicas)).collect();
        assert_eq!(firsts, ["a", "b", "c", "a", "b", "c"]);
    }

    #[test]
    fn the_idle_go_before_the_busy_and_the_ill_come_last() {
        let replicas = three();
        let mut busy = [&replicas.all[0], &replicas.all[1]].map(Replica::busy);
        replicas.all[2].set_healthy(false);
        busy[0].answered();
        let [a, _b] = busy;
        drop(a);
        for _ in 0..3 {
            let order = replicas.by_burden();
            let names: Vec<_> = order
                .iter()
                .map(|replica| replica.authority.as_str())
                .collect();
            assert_eq!(names, ["a", "b", "c"]);
        }
    }

    #[test]
    fn one_that_loses_requests_is_not_idle() {
        let replicas = three();
        for replica in &replicas.all[..2] {
            drop(replica.busy());
        }
        assert_eq!([first(&replicas), first(&replicas)], ["c", "c"]);
        let mut again = replicas.all[1].busy();
        again.answered();
        drop(again);
        let firsts: Vec<_> = (0..6).map(|_| first(&replicas)).collect();
        assert!(!firsts.contains(&"a".to_owned()), "{firsts:?}");
        assert!(firsts.contains(&"b".to_owned()), "{firsts:?}");
    }
}
