//! What holds for any text.
#![cfg(not(loom))]

mod json;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use evenkeel_errors::{Code, Kind, Known, Problem, Report, ResultExt, Retry, Status};
use json::Json;
use proptest::prelude::*;

/// Texts for the developer and for the user, in a known error that has a source.
#[derive(Debug)]
struct Spoken {
    developer: String,
    source: Plain,
    user: Option<String>,
    retry: Retry,
}

#[derive(Debug)]
struct Plain(String);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Plain {}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.developer)
    }
}

impl Error for Spoken {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl Known for Spoken {
    fn code(&self) -> Code {
        Code::new("test", "spoken", Status::Unavailable)
    }

    fn user_message(&self) -> Option<Cow<'static, str>> {
        self.user.clone().map(Cow::Owned)
    }

    fn retry(&self) -> Retry {
        self.retry
    }
}

fn spoken(developer: &str, user: Option<&str>) -> Spoken {
    let source = Plain(format!("source of {developer}"));
    Spoken {
        developer: developer.into(),
        source,
        user: user.map(Into::into),
        retry: Retry::Never,
    }
}

fn cross(report: &Report) -> (Vec<String>, Problem) {
    let mut log = Vec::new();
    let problem = report.boundary(|record| log.push(record.to_string()));
    (log, problem)
}

proptest! {
    #[test]
    fn a_record_is_one_line_of_json_that_gives_back_every_text(
        head in any::<String>(), note in any::<String>(), known in any::<String>(), user in any::<String>(),
    ) {
        let report = Report::bug(head.clone()).note(note.clone()).raise(spoken(&known, Some(&user)));
        let (log, problem) = cross(&report);
        let record = Json::parse(&log[0]);
        prop_assert_eq!(record.text("error.id"), problem.id().to_string());
        prop_assert_eq!(record.text("error.message"), &known);
        prop_assert_eq!(record.text("error.told"), problem.to_string());
        let story = record.items("error.story");
        prop_assert_eq!(story[0].text("error"), &known);
        prop_assert_eq!(story[0].items("sources"), &[Json::Text(format!("source of {known}"))]);
        prop_assert_eq!(story[1].text("note"), &note);
        prop_assert_eq!(story[2].text("error"), &head);
    }

    #[test]
    fn a_problem_is_one_line_of_json_that_gives_back_the_users_text(
        user in any::<String>(), pause in any::<Duration>(),
    ) {
        let error = Spoken { retry: Retry::After(pause), ..spoken("x", Some(&user)) };
        let (_, problem) = cross(&Report::new(error));
        let json = Json::parse(&problem.json().to_string());
        let detail = (!user.trim().is_empty()).then_some(Json::Text(user));
        prop_assert_eq!(json.get("detail"), detail.as_ref());
        prop_assert_eq!(json.text("instance"), format!("urn:uuid:{}", problem.id()));
        prop_assert_eq!(json.text("code"), "test/spoken");
        prop_assert_eq!(json.get("status"), Some(&Json::Number(503)));
        let Some(Json::Number(millis)) = json.get("retry_after_ms") else { panic!("{json:?}") };
        prop_assert_eq!(u128::from(*millis), pause.as_nanos().div_ceil(1_000_000).min((1 << 53) - 1));
    }

    /// Every text that the developer sees holds the secret, and no part of what the user gets does.
    #[test]
    fn no_secret_reaches_the_user(
        secret in "[A-Z0-9]{12}", user in proptest::option::of("[a-z ]{0,20}"), steps in proptest::collection::vec(0..4_u8, 0..12),
    ) {
        let mut report = Report::bug(format!("password {secret}"));
        for step in steps {
            report = match step {
                0 => report.note(format!("note {secret}")),
                1 => report.raise(spoken(&format!("known {secret}"), user.as_deref())),
                2 => report.trail(),
                _ => Report::bug(report),
            };
        }
        let (log, problem) = cross(&report);
        prop_assert!(log[0].contains(&secret));
        for shown in [problem.to_string(), problem.json().to_string(), format!("{problem:?}")] {
            prop_assert!(!shown.contains(&secret), "{}", shown);
            prop_assert!(shown.contains(&problem.id().to_string()));
        }
    }

    /// Against the rules said plainly, over a list of what happened.
    #[test]
    fn kinds_follow_the_steps(head_is_bug: bool, steps in proptest::collection::vec(0..3_u8, 0..12)) {
        let (mut kind, mut origin) = (Kind::Known, Kind::Known);
        let mut report = Report::new(spoken("head", None));
        if head_is_bug {
            (kind, origin) = (Kind::Bug, Kind::Bug);
            report = Report::bug("head");
        }
        for step in steps {
            report = match step {
                0 => report.note("n"),
                1 => {
                    kind = Kind::Known;
                    Err::<(), _>(report).raise(spoken("k", None)).unwrap_err()
                }
                _ => {
                    (kind, origin) = (Kind::Bug, Kind::Bug);
                    Err::<(), _>(report).bug().unwrap_err()
                }
            };
        }
        prop_assert_eq!((report.kind(), report.origin_kind()), (kind, origin));
        prop_assert_eq!(report.code().is_some(), kind == Kind::Known);
    }
}
