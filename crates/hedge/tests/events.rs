//! The events that a subscriber sees. One test, since a process has one global subscriber.

#![cfg(not(loom))]
#![cfg(feature = "tracing")]

use std::fmt::{Debug, Write};
use std::future::pending;
use std::sync::Mutex;
use std::time::Duration;

use evenkeel_hedge::{Hedge, Losers};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keeping;

impl Subscriber for Keeping {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "evenkeel.hedge"
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().name().into());
        event.record(&mut line);
        SEEN.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("a call opens no span")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn extra_attempts_and_abandoned_losers_are_told() {
    tracing::dispatcher::set_global_default(tracing::Dispatch::new(Keeping)).unwrap();
    let hedge = Hedge::new(Duration::from_millis(10))
        .max_attempts(3)
        .losers(Losers::Drain(Duration::from_millis(5)));
    let answer = hedge.run(|attempt| async move {
        match attempt.index() {
            0 => pending().await,
            1 => Err(()),
            _ => Ok(()),
        }
    });
    answer.await.unwrap();
    let not_hedged = hedge.run(|_| async { Ok::<_, ()>(()) });
    not_hedged.await.unwrap();
    let seen = SEEN.lock().unwrap();
    let expected = [
        r#"extra_attempt attempt=1 reason="late""#,
        r#"extra_attempt attempt=2 reason="failed""#,
        "abandoned losers=1",
    ];
    assert_eq!(*seen, expected);
}
