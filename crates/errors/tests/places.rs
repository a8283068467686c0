//! Which places a report names, and in which order.
#![cfg(not(loom))]

mod json;

use std::io;
use std::panic::Location;

use evenkeel_errors::{Code, Known, Report, ResultExt, Status};
use json::Json;

#[derive(Debug, thiserror::Error)]
#[error("shard 3 is gone")]
struct Gone;

impl Known for Gone {
    fn code(&self) -> Code {
        Code::new("test.shards", "gone", Status::NotFound)
    }
}

fn broken_pipe() -> Result<(), io::Error> {
    Err(io::Error::new(
        io::ErrorKind::BrokenPipe,
        "pipe to replica 7",
    ))
}

fn story(report: &Report) -> Vec<Json> {
    let mut story = Vec::new();
    report.boundary(|record| {
        story.extend_from_slice(Json::parse(&record.to_string()).items("error.story"));
    });
    story
}

/// The line on which this is called.
#[track_caller]
fn line() -> u32 {
    Location::caller().line()
}

#[test]
fn every_way_to_make_a_report_names_the_line_of_its_caller() {
    let known = || Err::<(), _>(Gone);
    let of_error: [(u32, Result<(), Report>); 12] = [
        (line(), Err(Report::new(Gone))),
        (line(), Err(Report::from(Gone))),
        (line(), Err(Gone.into())),
        (line(), Err(Report::bug("text"))),
        (line(), known().trail()),
        (line(), known().note("n")),
        (line(), known().note_with(|| String::from("n"))),
        (line(), broken_pipe().raise(Gone)),
        (line(), broken_pipe().raise_with(|_| Gone)),
        (line(), broken_pipe().raise_if(|_| Some(Gone))),
        (line(), broken_pipe().raise_if(|_| None::<Gone>)),
        (line(), broken_pipe().bug()),
    ];
    let of_option: [(u32, Result<(), Report>); 2] =
        [(line(), None.raise(Gone)), (line(), None.bug())];
    for (line, result) in of_error.into_iter().chain(of_option) {
        let report = result.unwrap_err();
        assert_eq!(
            (report.place().file(), report.place().line()),
            (file!(), line)
        );
        let place = format!("{}:{line}:", file!());
        for step in story(&report) {
            assert!(
                step.text("at").starts_with(&place),
                "{step:?} is not on line {line}"
            );
        }
    }
}

#[test]
fn question_mark_on_a_known_error_names_its_line() {
    let mut at = 0;
    let mut job = || -> Result<(), Report> {
        at = line() + 1;
        Err(Gone)?;
        Ok(())
    };
    assert_eq!(job().unwrap_err().place().line(), at);
}

#[tokio::test]
async fn a_place_inside_an_async_function_is_that_line() {
    async fn fails() -> Result<(), Gone> {
        tokio::task::yield_now().await;
        Err(Gone)
    }
    const IN_JOB: u32 = line!() + 2;
    async fn job() -> Result<(), Report> {
        fails().await?;
        Ok(())
    }
    assert_eq!(job().await.unwrap_err().place().line(), IN_JOB);
    let (at, report) = (line(), fails().await.trail().unwrap_err());
    assert_eq!(report.place().line(), at);
}

#[test]
fn a_place_inside_a_macro_is_where_the_macro_is_used() {
    macro_rules! fail {
        () => {
            Report::bug("made by a macro")
        };
    }
    let (at, report) = (line(), fail!());
    assert_eq!(report.place().line(), at);
}

#[test]
fn hops_and_remarks_stand_in_the_order_in_which_they_were_made() {
    let report = broken_pipe().bug();
    let report = report
        .trail()
        .note("first")
        .trail()
        .raise(Gone)
        .trail()
        .unwrap_err();
    let kinds: Vec<_> = story(&report)
        .into_iter()
        .map(|step| match step {
            Json::Object(members) => members[0].0.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["by", "error", "by", "note", "by", "error"]);
}

#[test]
fn a_known_error_that_becomes_a_report_at_its_first_hop_names_the_place_once() {
    let report = Err::<(), _>(Gone).trail().unwrap_err();
    assert_eq!(story(&report).len(), 1);
}

#[test]
fn ten_thousand_hops_keep_six_and_count_the_rest() {
    let mut report = Report::bug("lost");
    for _ in 0..10_000 {
        report = report.trail();
    }
    let story = story(&report);
    assert_eq!(story.len(), 8);
    assert_eq!(
        story[3],
        Json::Object(vec![("elided".into(), Json::Number(9_994))])
    );
}
