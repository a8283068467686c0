//! The names and fields of the events, which are part of the contract.

#![cfg(all(feature = "tracing", not(loom)))]

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_bucket::{All, Bucket, Rate};
use tokio::time::Instant;
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
        metadata.target() == "evenkeel.bucket"
    }
    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line(format!("{} {}", metadata.level(), metadata.name()));
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
async fn each_refusal_is_told_with_its_limit() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let second = Duration::from_secs(1);
    let api = Bucket::new(Rate::per(1, second), 1).named("api");
    let disk = Bucket::new(Rate::per(1, second), 5).named("disk");
    let both = All::new([&api, &disk]);
    both.try_acquire(1).unwrap();
    both.try_acquire(1).unwrap_err();
    disk.try_acquire(6).unwrap_err();
    let soon = Instant::now() + second / 2;
    api.acquire(1, Some(soon)).await.unwrap_err();
    assert_eq!(
        *lines.0.lock().unwrap(),
        [
            "DEBUG denied limit=\"api\" refusal=not before 1s from now",
            "DEBUG denied limit=\"disk\" refusal=never as many",
            "DEBUG denied limit=\"api\" refusal=not before the deadline",
        ]
    );
}
