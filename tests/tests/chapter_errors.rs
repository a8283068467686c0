//! The chapter's program on error propagation: what its users see, and what its log has.
#![cfg(not(loom))]

#[path = "../../crates/evenkeel/examples/error_propagation.rs"]
#[allow(dead_code, reason = "its `main` is not ours")]
mod program;

use program::Job;

/// The line that was logged, and what the user was told.
fn fail(job: &Job) -> (String, String) {
    let mut lines = Vec::new();
    let problem = program::answer(job, |record| lines.push(record.to_string())).unwrap_err();
    let [line] = &lines[..] else {
        panic!("one line, not {lines:?}")
    };
    assert!(!line.contains('\n'));
    assert!(line.contains(&format!(r#""error.id":"{}""#, problem.id())));
    (line.clone(), problem.to_string())
}

/// How many places of the program a line of the log names.
fn places(line: &str) -> usize {
    line.matches("error_propagation.rs:").count()
}

#[test]
fn of_a_missing_binary_the_user_learns_that_the_job_is_not_installed_and_the_log_why() {
    let (line, told) = fail(&Job {
        id: 1,
        binary: "/nowhere/bin/job".into(),
    });
    let (sentence, id) = told.split_once(" (id ").unwrap();
    assert_eq!(sentence, "Job 1 is not installed on this machine.");
    assert!(line.contains(id.trim_end_matches(')')));

    // The whole chain, the last word first, each with its place, and the place that was passed.
    let chain = [
        "job 1 cannot start: its binary is not available",
        "runner.jobs/not-installed",
        "no file at /nowhere/bin/job",
        "runner.binary/missing",
        "os error 2",
    ];
    let story = line.split_once("error.story").unwrap().1;
    let at: Vec<_> = chain
        .iter()
        .map(|part| story.find(part).expect(part))
        .collect();
    assert!(at.is_sorted(), "{at:?} in {story}");
    assert_eq!(places(&line), 4);
}

#[cfg(unix)]
mod jobs_that_are_there {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;

    use super::*;

    const SCRIPT: &str = r#"#!/bin/sh
case "$1" in
--id=3) exit 3 ;;
--id=4) printf '100%%done "now"' ;;
--id=7) echo 42 ;;
esac
"#;

    fn write(name: &str, mode: u32) -> PathBuf {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, SCRIPT).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// A job that does something else for each id.
    ///
    /// It is written once, before the first of its runs. Were it written while another test forks, the child would
    /// hold it open for writing for a moment, and a run in that moment would be refused.
    fn job(id: u32) -> Job {
        static BINARY: OnceLock<PathBuf> = OnceLock::new();
        Job {
            id,
            binary: BINARY.get_or_init(|| write("executable", 0o755)).clone(),
        }
    }

    #[test]
    fn a_job_gets_its_id_and_its_answer_reaches_the_user() {
        let answer = program::answer(&job(7), |record| panic!("{record}")).unwrap();
        assert_eq!(answer, "Job 7 changed 42 rows.");
    }

    #[test]
    fn a_binary_that_is_not_executable_is_known_too() {
        let (line, told) = fail(&Job {
            id: 2,
            binary: write("not_executable", 0o644),
        });
        assert!(
            told.starts_with("Job 2 is installed, but may not run. (id "),
            "{told}"
        );
        assert!(line.contains(r#""error.kind":"known""#));
    }

    #[test]
    fn a_job_that_fails_is_known_too() {
        let (line, told) = fail(&job(3));
        assert!(told.starts_with("Job 3 ran, and failed. (id "), "{told}");
        assert!(line.contains("job 3 ended with exit status: 3"));
    }

    #[test]
    fn a_binary_that_cannot_be_looked_at_is_a_bug_and_not_called_missing() {
        // A path through a file that is no directory.
        let binary = write("no_directory", 0o644).join("job");
        let (line, told) = fail(&Job { id: 6, binary });
        assert!(told.starts_with("Something unexpected happened."), "{told}");
        assert!(line.contains(r#""error.kind":"bug""#));
        assert_eq!(places(&line), 3);
    }

    #[test]
    fn of_a_raw_error_the_user_learns_nothing_but_the_id_to_report() {
        let (line, told) = fail(&job(4));
        let (sentence, _) = told.split_once(" (id ").unwrap();
        assert_eq!(sentence, "Something unexpected happened. Please report it.");

        assert!(line.contains(r#""error.kind":"bug""#));
        assert!(line.contains("invalid digit found in string"));
        // What looks like a format is text, and what looks like the end of a string is not.
        assert!(
            line.contains(r#"the job printed \"100%done \\\"now\\\"\""#),
            "{line}"
        );
        assert_eq!(places(&line), 3);
    }
}
