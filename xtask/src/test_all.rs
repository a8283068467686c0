//! `cargo xtask test-all`: every check, then one table.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::process::{Check, Checked, Outcome};
use crate::{docs, fmt, lint, loom, package, test, tidy, tsan};

/// A check that has run.
struct Row {
    name: &'static str,
    result: Checked,
    took: Duration,
}

/// Goes on after a failure, so that the table is whole.
pub(crate) fn run(check: &Check, quick: bool) -> ExitCode {
    type Run = fn(&Check) -> Checked;
    // What fails soonest stands first; the order of the rest lets later builds use earlier ones.
    let mut checks: Vec<(&'static str, Run)> = vec![
        ("fmt", fmt::run),
        ("tidy", tidy::run),
        ("lint", lint::run),
        ("test", test::run),
        ("docs", docs::run),
    ];
    if quick {
        checks.push(("loom", |check| loom::run(check, None, false)));
    } else {
        checks.push(("loom --mutants", |check| loom::run(check, None, true)));
        checks.push(("tsan", tsan::run));
        checks.push(("package", package::run));
    }
    let mut rows = Vec::new();
    for (name, run) in checks {
        println!("\n==== {name} ====");
        let begun = Instant::now();
        let result = run(check);
        rows.push(Row {
            name,
            result,
            took: begun.elapsed(),
        });
    }
    print!("{}", report(&rows));
    if rows.iter().any(|row| row.result.is_err()) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// The failures with their last lines, the table, and the line of counts that closes it.
fn report(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        if let Err(failure) = &row.result {
            text += &format!("\n---- {} failed ----\n{failure}\n", row.name);
        }
    }
    text += &format!("\n{:<16}{:<9}{:>8}  why\n", "check", "result", "seconds");
    let mut counts = [0; 3];
    for Row { name, result, took } in rows {
        let (at, word, why) = match result {
            Ok(Outcome::Passed) => (0, "passed", ""),
            Err(failure) => (1, "failed", reason(failure)),
            Ok(Outcome::Skipped(why)) => (2, "skipped", why.as_str()),
        };
        counts[at] += 1;
        let line = format!("{name:<16}{word:<9}{:>8.1}  {why}", took.as_secs_f64());
        text += &format!("{}\n", line.trim_end());
    }
    let [passed, failed, skipped] = counts;
    text + &format!("checks: {passed} passed, {failed} failed, {skipped} skipped\n")
}

/// The line of a failure that says most: what a tool calls an error, or else how it begins.
fn reason(failure: &str) -> &str {
    let names_it = |line: &&str| line.starts_with("error") || line.contains("panicked at");
    let named = failure.lines().find(names_it);
    named.or(failure.lines().next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_tools_error_or_the_first_line() {
        assert_eq!(reason("`a` ended\nerror: b\nerror: c"), "error: b");
        assert_eq!(
            reason("crates/x: README.md is missing\nmore"),
            "crates/x: README.md is missing"
        );
        assert_eq!(reason(""), "");
    }

    #[test]
    fn the_report_shows_failures_and_closes_with_counts() {
        let row = |name, result| Row {
            name,
            result,
            took: Duration::from_millis(1_250),
        };
        let text = report(&[
            row("fmt", Ok(Outcome::Passed)),
            row(
                "lint",
                Err("`cargo clippy` ended with exit code 101\nerror: unused".into()),
            ),
            row(
                "tsan",
                Ok(Outcome::Skipped(
                    "no nightly: `rustup toolchain install nightly`".into(),
                )),
            ),
        ]);
        let expected = "
---- lint failed ----
`cargo clippy` ended with exit code 101
error: unused

check           result    seconds  why
fmt             passed        1.2
lint            failed        1.2  error: unused
tsan            skipped       1.2  no nightly: `rustup toolchain install nightly`
checks: 1 passed, 1 failed, 1 skipped
";
        assert_eq!(text, expected);
    }
}
