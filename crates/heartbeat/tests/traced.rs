//! The names and fields of the events, which are part of the contract.

#![cfg(all(feature = "tracing", not(loom)))]

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_heartbeat::{Expect, Heartbeat, Monitor};
use tokio::time::{advance, sleep};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {field}={value:?}");
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "evenkeel.heartbeat"
    }
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn changes_are_traced_though_nobody_listens() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let t = Duration::from_secs(1);
    let monitor = Monitor::new();
    let pulse = monitor.class(Expect::within(t)).unwrap().register("worker");
    pulse.beat();
    sleep(t * 2).await;
    pulse.beat();
    sleep(t / 4).await;
    advance(t * 10).await;
    sleep(t / 4).await;
    drop(pulse);
    assert_eq!(
        *lines.0.lock().unwrap(),
        [
            "WARN message=pulse lost pulse=worker health=Silent",
            "INFO message=pulse found pulse=worker health=Live",
            "WARN message=pulse lost pulse=monitor health=Stalled",
            "INFO message=pulse found pulse=monitor health=Live",
            "DEBUG message=pulse closed pulse=worker health=Closed",
        ]
    );
}
