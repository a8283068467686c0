//! What a user can see of a report.
#![cfg(not(loom))]

mod json;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use evenkeel_errors::{Code, Kind, Known, Problem, Report, ResultExt, Retry, Severity, Status};
use json::Json;

#[derive(Debug, thiserror::Error)]
#[error("job {0} cannot run")]
struct JobError(u32);

impl Known for JobError {
    fn code(&self) -> Code {
        Code::new("test.jobs", "unavailable", Status::Unavailable)
    }

    fn user_message(&self) -> Option<Cow<'static, str>> {
        Some(format!("Job {} is not available.", self.0).into())
    }

    fn retry(&self) -> Retry {
        Retry::Backoff
    }
}

#[derive(Debug, thiserror::Error)]
#[error("shard 3 is gone")]
struct Gone;

impl Known for Gone {
    fn code(&self) -> Code {
        Code::new("test.shards", "gone", Status::NotFound)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("asked to stop")]
struct Stopped;

impl Known for Stopped {
    fn code(&self) -> Code {
        Code::new("test", "stopped", Status::Cancelled)
    }
}

fn broken_pipe() -> Result<(), io::Error> {
    Err(io::Error::new(
        io::ErrorKind::BrokenPipe,
        "pipe to replica 7",
    ))
}

/// What a boundary logs and gives back.
fn cross(report: &Report) -> (Json, Problem) {
    let mut record = None;
    let problem = report.boundary(|r| record = Some(Json::parse(&r.to_string())));
    (record.expect("logged for the first time"), problem)
}

fn story(report: &Report) -> Vec<Json> {
    cross(report).0.items("error.story").to_vec()
}

#[test]
fn a_report_is_one_pointer_wide_and_may_go_anywhere() {
    fn anywhere<T: Send + Sync + 'static>() {}
    anywhere::<Report>();
    anywhere::<Problem>();
    assert_eq!(size_of::<Report>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), Report>>(), size_of::<usize>());
}

mod known_and_bug {
    use super::*;

    #[test]
    fn question_mark_makes_a_known_error_a_report() {
        fn job() -> Result<(), Report> {
            Err(JobError(1))?;
            Ok(())
        }
        let report = job().unwrap_err();
        assert_eq!(report.kind(), Kind::Known);
        assert_eq!(report.code(), Some(JobError(1).code()));
        assert_eq!(report.retry(), Retry::Backoff);
        assert_eq!(report.to_string(), "job 1 cannot run");
    }

    #[test]
    fn a_foreign_error_is_a_bug_by_word() {
        let report = broken_pipe().bug().unwrap_err();
        assert_eq!(
            (report.kind(), report.origin_kind()),
            (Kind::Bug, Kind::Bug)
        );
        assert_eq!((report.code(), report.retry()), (None, Retry::Never));
        assert!(report.downcast_ref::<io::Error>().is_some());
    }

    #[test]
    fn a_foreign_error_that_was_expected_is_none() {
        let report = broken_pipe().raise(JobError(2)).unwrap_err();
        assert_eq!(
            (report.kind(), report.origin_kind()),
            (Kind::Known, Kind::Known)
        );
        assert_eq!(format!("{report:#}"), "job 2 cannot run: pipe to replica 7");
    }

    #[test]
    fn raise_if_tells_the_expected_from_the_rest() {
        let expect = |kind| {
            broken_pipe()
                .raise_if(|e| (e.kind() == kind).then_some(Gone))
                .unwrap_err()
        };
        assert_eq!(expect(io::ErrorKind::BrokenPipe).kind(), Kind::Known);
        assert_eq!(expect(io::ErrorKind::NotFound).kind(), Kind::Bug);
    }

    #[test]
    fn raise_if_lets_a_report_go_on_that_it_does_not_recognise() {
        let raise = |report: Report| {
            let recognise = |r: &Report| r.downcast_ref::<Gone>().map(|_| JobError(8));
            Err::<(), _>(report).raise_if(recognise).unwrap_err()
        };
        assert_eq!(raise(Report::new(Gone)).code(), Some(JobError(8).code()));
        let other = raise(Report::new(Stopped));
        assert_eq!(other.code(), Some(Stopped.code()));
        assert_eq!(story(&other).len(), 2, "the place is noted");
        assert_eq!(raise(Report::bug("x")).kind(), Kind::Bug);
    }

    #[test]
    fn a_bug_stays_one_below_whatever_is_raised_over_it() {
        let report = broken_pipe().bug().raise(JobError(3)).unwrap_err();
        assert_eq!(
            (report.kind(), report.origin_kind()),
            (Kind::Known, Kind::Bug)
        );
        assert_eq!(report.severity(), Severity::Error);
    }

    #[test]
    fn a_report_that_is_raised_over_or_called_a_bug_keeps_its_id_time_and_story() {
        let ways: [fn(Report) -> Report; 4] = [
            |report| Err::<(), _>(report).bug().unwrap_err(),
            |report| Err::<(), _>(report).raise(Gone).unwrap_err(),
            |report| Report::bug(report),
            // A box of any error may hold a report.
            |report| {
                Err::<(), Box<dyn Error + Send + Sync>>(report.into())
                    .raise(Gone)
                    .unwrap_err()
            },
        ];
        for way in ways {
            let before = Report::new(JobError(4)).trail().note("kept");
            let (id, time, place) = (before.id(), before.time(), before.place());
            let after = way(before);
            assert_eq!((after.id(), after.time(), after.place()), (id, time, place));
            let story = story(&after);
            assert_eq!(story.len(), 4, "{story:?}");
            assert_eq!(story[1].text("note"), "kept");
            assert_eq!(story[3].text("code"), "test.jobs/unavailable");
        }
    }

    #[test]
    fn a_known_error_called_a_bug_is_one() {
        let report = Report::bug(Report::new(JobError(5)));
        assert_eq!(
            (report.kind(), report.code(), report.retry()),
            (Kind::Bug, None, Retry::Never)
        );
        assert_eq!(report.to_string(), "job 5 cannot run");
    }

    #[test]
    fn severity_follows_the_status_unless_there_is_a_bug() {
        assert_eq!(Report::new(JobError(6)).severity(), Severity::Warn);
        assert_eq!(Report::new(Gone).severity(), Severity::Info);
        assert_eq!(Report::new(Stopped).severity(), Severity::Info);
        assert_eq!(Report::bug("x").severity(), Severity::Error);
        assert_eq!(Report::bug("x").raise(Stopped).severity(), Severity::Error);
    }
}

mod chain {
    use super::*;

    #[test]
    fn the_sources_are_the_errors_below_then_those_of_the_innermost() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read the index")]
        struct Unreadable(#[source] io::Error);

        let report = Err::<(), _>(Unreadable(broken_pipe().unwrap_err()))
            .raise(Gone)
            .note("no error, so no source")
            .raise(JobError(1))
            .unwrap_err();
        let mut walked = Vec::new();
        let mut next: Option<&dyn Error> = Some(&report);
        while let Some(error) = next {
            walked.push(error.to_string());
            next = error.source();
        }
        let expected = [
            "job 1 cannot run",
            "shard 3 is gone",
            "cannot read the index",
            "pipe to replica 7",
        ];
        assert_eq!(walked, expected);
        assert_eq!(format!("{report:#}"), expected.join(": "));
        assert!(report.downcast_ref::<Gone>().is_some());
        assert!(report.downcast_ref::<Unreadable>().is_some());
        assert!(report.downcast_ref::<io::Error>().is_some());
        assert!(report.downcast_ref::<Stopped>().is_none());
    }

    #[test]
    fn debug_tells_the_whole_story() {
        let report = broken_pipe()
            .bug()
            .note("while flushing")
            .raise(JobError(9))
            .unwrap_err();
        let debug = format!("{report:?}");
        let id = report.id().to_string();
        let place = report.place().to_string();
        for part in [
            "known",
            &id,
            "job 9 cannot run [test.jobs/unavailable UNAVAILABLE]",
            "note: while flushing",
            "pipe to replica 7",
            &place,
        ] {
            assert!(debug.contains(part), "{part} is not in\n{debug}");
        }
    }

    #[test]
    fn sources_that_go_round_in_a_circle_are_followed_for_a_while() {
        #[derive(Debug)]
        struct Circle;
        impl fmt::Display for Circle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("round")
            }
        }
        impl Error for Circle {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(self)
            }
        }
        let report = Report::bug(Circle);
        assert!(report.downcast_ref::<Gone>().is_none());
        assert!(format!("{report:#}{report:?}").len() < 2_000);
        assert_eq!(story(&report)[0].items("sources").len(), 32);
    }
}

mod boundary {
    use super::*;

    #[test]
    fn the_user_gets_the_crafted_message_and_the_log_everything_under_the_same_id() {
        let report = broken_pipe().raise(JobError(1)).trail().unwrap_err();
        let (record, problem) = cross(&report);
        assert_eq!(problem.id(), report.id());
        assert_eq!(problem.detail(), Some("Job 1 is not available."));
        assert_eq!(
            problem.to_string(),
            format!("Job 1 is not available. (id {})", report.id())
        );
        assert_eq!(
            (problem.status(), problem.retry()),
            (Status::Unavailable, Retry::Backoff)
        );
        assert_eq!(record.text("error.id"), report.id().to_string());
        assert_eq!(record.text("error.code"), "test.jobs/unavailable");
        assert_eq!(record.text("severity"), "warn");
        assert_eq!(record.items("error.story").len(), 3);
        assert_eq!(record.text("error.told"), problem.to_string());
        assert_eq!(
            record.get("process.pid"),
            Some(&Json::Number(std::process::id().into()))
        );
        assert!(record.text("service.name").starts_with("contract"));
    }

    #[test]
    fn a_bug_says_nothing_but_its_id() {
        let (record, problem) = cross(&broken_pipe().bug().unwrap_err());
        let json = Json::parse(&problem.json().to_string());
        assert_eq!(
            json,
            Json::Object(vec![
                ("type".into(), Json::Text("about:blank".into())),
                ("title".into(), Json::Text("Internal Server Error".into())),
                ("status".into(), Json::Number(500)),
                (
                    "detail".into(),
                    Json::Text("Something unexpected happened. Please report it.".into())
                ),
                (
                    "instance".into(),
                    Json::Text(format!("urn:uuid:{}", problem.id()))
                ),
            ]),
        );
        assert_eq!(record.text("severity"), "error");
        assert_eq!(record.get("error.code"), None);
    }

    #[test]
    fn a_message_that_was_hidden_by_a_higher_layer_stays_hidden() {
        let (_, problem) = cross(&Report::new(JobError(1)).raise(Gone));
        assert_eq!(problem.detail(), None);
        assert_eq!(
            problem.to_string(),
            format!("Not found. (id {})", problem.id())
        );
        let (_, problem) = cross(&Report::bug(Report::new(JobError(1))));
        assert_eq!(problem.status(), Status::Internal);
        assert!(!problem.to_string().contains("Job 1"));
    }

    #[test]
    fn layers_that_each_have_a_boundary_log_once() {
        let report = Report::new(JobError(1));
        let (_, first) = cross(&report);
        let report = report.trail();
        assert_eq!(report.boundary(|_| panic!("logged twice")), first);
    }

    #[test]
    fn boundaries_that_race_over_a_shared_report_log_once() {
        for _ in 0..200 {
            let (report, logged) = (Arc::new(Report::new(Gone)), AtomicUsize::new(0));
            let start = Barrier::new(2);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        start.wait();
                        report.boundary(|_| {
                            logged.fetch_add(1, Ordering::Relaxed);
                        })
                    });
                }
            });
            assert_eq!(logged.into_inner(), 1);
        }
    }

    #[test]
    fn text_that_looks_like_a_format_or_a_second_entry_stays_text() {
        let text =
            "100%done %s {} {:?} \"quoted\" \\ \r\n{\"severity\":\"info\"} \u{1b}[31mred \u{0}";
        let report = Report::bug(text).note(text);
        let (record, _) = cross(&report);
        assert_eq!(record.text("error.message"), text);
        assert_eq!(record.items("error.story")[0].text("note"), text);
    }

    #[test]
    fn an_error_that_panics_when_it_is_asked_costs_neither_the_log_nor_the_id() {
        #[derive(Debug, Clone, Copy, PartialEq)]
        enum Panics {
            Display,
            Source,
            Code,
            UserMessage,
            Retry,
        }
        impl Panics {
            fn at(self, here: Self) {
                assert!(self != here, "on purpose, in {self:?}");
            }
        }
        impl fmt::Display for Panics {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.at(Self::Display);
                f.write_str("shown")
            }
        }
        impl Error for Panics {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                self.at(Self::Source);
                None
            }
        }
        impl Known for Panics {
            fn code(&self) -> Code {
                self.at(Self::Code);
                Gone.code()
            }
            fn user_message(&self) -> Option<Cow<'static, str>> {
                self.at(Self::UserMessage);
                None
            }
            fn retry(&self) -> Retry {
                self.at(Self::Retry);
                Retry::Never
            }
        }

        for panics in [Panics::Display, Panics::Source] {
            let (record, problem) = cross(&Report::new(panics).note("still told"));
            assert_eq!(record.text("error.id"), problem.id().to_string());
            assert_eq!(record.items("error.story")[0].text("note"), "still told");
            assert_eq!(problem.status(), Status::NotFound);
        }
        for panics in [Panics::Code, Panics::UserMessage, Panics::Retry] {
            let (record, problem) = cross(&Report::new(panics));
            assert_eq!(record.text("error.id"), problem.id().to_string());
            assert_eq!(record.text("error.message"), "shown");
            assert_eq!(record.text("severity"), "error");
            assert_eq!(problem.status(), Status::Internal);
        }
    }

    /// Pitfall: half an entry is followed by a whole one, or every boundary on the way panics again.
    #[test]
    fn a_sink_that_panics_leaves_the_report_logged() {
        let report = Report::new(Gone);
        catch_unwind(|| report.boundary(|_| panic!("disk full"))).expect_err("the sink panics");
        let problem = report.boundary(|_| panic!("logged twice"));
        assert_eq!(problem.id(), report.id());
    }

    #[test]
    fn a_blank_message_for_the_user_is_none() {
        #[derive(Debug, thiserror::Error)]
        #[error("no message file for this locale")]
        struct Says(&'static str);
        impl Known for Says {
            fn code(&self) -> Code {
                Gone.code()
            }
            fn user_message(&self) -> Option<Cow<'static, str>> {
                Some(self.0.into())
            }
        }

        for blank in ["", " \n"] {
            let (_, problem) = cross(&Report::new(Says(blank)));
            assert_eq!(problem.detail(), None);
            assert!(problem.to_string().starts_with("Not found. (id "));
            assert!(!problem.json().to_string().contains("detail"));
        }
    }
}

#[test]
fn every_status_has_its_own_grpc_number_and_an_http_status_of_an_error() {
    use Status::*;
    let all = [
        Cancelled,
        Unknown,
        InvalidArgument,
        DeadlineExceeded,
        NotFound,
        AlreadyExists,
        PermissionDenied,
        ResourceExhausted,
        FailedPrecondition,
        Aborted,
        OutOfRange,
        Unimplemented,
        Internal,
        Unavailable,
        DataLoss,
        Unauthenticated,
    ];
    for (number, status) in (1..).zip(all) {
        assert_eq!(status.grpc(), number);
        assert!((400..600).contains(&status.http()));
        // `DeadlineExceeded` and `DEADLINE_EXCEEDED` are the same word.
        let name = status.name().replace('_', "");
        assert!(name.eq_ignore_ascii_case(&format!("{status:?}")));
    }
}
