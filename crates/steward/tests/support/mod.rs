//! What the tests of this package share.
#![allow(dead_code, reason = "not every test uses everything")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_steward::{Backoff, Ctx, Events, Intensity, Steward, What};
use tokio::time::{Instant, sleep};

pub(crate) const S: Duration = Duration::from_secs(1);
pub(crate) const MS: Duration = Duration::from_millis(1);

/// A steward that never gives up and never waits, so that a test sees only what it is about.
pub(crate) fn steward() -> Steward {
    Steward::builder()
        .backoff(Backoff::NONE)
        .intensity(Intensity::UNLIMITED)
        .timeout(4 * S)
        .grace(2 * S)
        .abort_grace(S)
        .start()
        .unwrap()
}

/// When something happened, since the test began.
#[derive(Clone)]
pub(crate) struct Log<E>(Instant, Arc<Mutex<Vec<(Duration, E)>>>);

impl<E: Clone> Log<E> {
    pub(crate) fn new() -> Self {
        Self(Instant::now(), Arc::default())
    }

    pub(crate) fn note(&self, what: E) {
        self.1.lock().unwrap().push((self.0.elapsed(), what));
    }

    pub(crate) fn all(&self) -> Vec<(Duration, E)> {
        self.1.lock().unwrap().clone()
    }
}

/// Beats in time, for ever.
pub(crate) async fn beat_on(ctx: &Ctx) {
    loop {
        ctx.beat();
        sleep(ctx.interval()).await;
    }
}

/// What the events say of a ward, as long as there are any.
pub(crate) fn told(events: &mut Events, ward: &str) -> Vec<What> {
    std::iter::from_fn(|| events.try_next())
        .filter(|event| &*event.ward == ward)
        .map(|event| event.what)
        .collect()
}

/// Panics when it is dropped.
pub(crate) struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a destructor that panics (expected in this test)");
    }
}
