//! The names and fields of the events, which are part of the contract.

#![cfg(all(feature = "tracing", not(loom)))]

use std::fmt::Debug;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_cancel::{Cause, Scope, Source, Token};
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
        metadata.target() == "evenkeel.cancel"
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
async fn a_cancellation_is_told_once_where_it_began() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let source = Source::new();
    let _children = [source.child(), source.child()];
    assert!(source.cancel(Cause::User));
    assert!(!source.cancel(Cause::Failed));
    let late = Token::never()
        .child_with_timeout(Duration::from_secs(1))
        .unwrap();
    late.cancelled().await;
    let scope = Scope::new(&Token::never()).unwrap();
    scope.spawn("deaf", pending()).unwrap();
    scope.shutdown(Duration::from_secs(1)).await;
    assert_eq!(
        *lines.0.lock().unwrap(),
        [
            "DEBUG cancelled cause=cancelled by the user",
            "DEBUG cancelled cause=timed out",
            "DEBUG cancelled cause=shutting down",
            "DEBUG shutdown finished=0 aborted=1 panicked=0 running=0",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_holds_up_no_deadline() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    // Poisoned, it panics at each event.
    let poison = std::panic::catch_unwind(|| {
        let _lines = lines.0.lock();
        panic!("expected in this test");
    });
    assert!(poison.is_err());
    let limits = [1, 2, 3].map(Duration::from_secs);
    let tokens = limits.map(|limit| Token::never().child_with_timeout(limit).unwrap());
    for token in tokens {
        assert_eq!(token.cancelled().await, Cause::Timeout);
    }
}
