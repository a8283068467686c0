//! The event that a subscriber sees. One test, since a process has one global subscriber.
#![cfg(not(loom))]
#![cfg(feature = "tracing")]

mod json;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use evenkeel_errors::{Code, Known, Report, Status, sink};
use json::Json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

#[derive(Debug, thiserror::Error)]
#[error("no row\nfor id 7")]
struct NoOrder;

impl Known for NoOrder {
    fn code(&self) -> Code {
        Code::new("shop.orders", "not-found", Status::NotFound)
    }
}

type Seen = (String, String, Level, BTreeMap<String, String>);

static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

/// Keeps the events down to warnings.
struct Keeping;

impl Subscriber for Keeping {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        let metadata = event.metadata();
        SEEN.lock().unwrap().push((
            metadata.name().into(),
            metadata.target().into(),
            *metadata.level(),
            fields.0,
        ));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("a boundary opens no span")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }
}

#[test]
fn a_boundary_is_one_event_with_the_members_of_the_record() {
    tracing::subscriber::set_global_default(Keeping).unwrap();

    let quiet = Report::new(NoOrder);
    quiet.boundary(sink::tracing);
    assert!(
        SEEN.lock().unwrap().is_empty(),
        "nobody listens to information"
    );

    let report = Report::bug("row is locked").raise(NoOrder);
    let mut record = None;
    let problem = report.boundary(|r| {
        record = Some(Json::parse(&r.to_string()));
        sink::tracing(r);
    });
    report.boundary(sink::tracing);

    let seen = SEEN.lock().unwrap();
    let [(name, target, level, fields)] = &seen[..] else {
        panic!("one event, not {seen:?}")
    };
    assert_eq!(
        (name.as_str(), target.as_str()),
        ("report", "evenkeel.errors")
    );
    assert_eq!(*level, Level::ERROR);
    assert_eq!(fields["error.id"], problem.id().to_string());
    assert_eq!(fields["error.message"], "no row\nfor id 7");

    let Some(Json::Object(members)) = record else {
        panic!("a record")
    };
    let members = members
        .iter()
        .filter(|(name, _)| name != "time" && name != "severity");
    let mut names: Vec<_> = members.map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(fields.keys().collect::<Vec<_>>(), names);
    assert!(
        Json::parse(&format!("{{\"s\":{}}}", fields["error.story"]))
            .items("s")
            .len()
            == 2
    );
}
