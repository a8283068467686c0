//! `cargo xtask tsan`: the stress tests of `tests/tests/threads` under ThreadSanitizer.
//!
//! The standard library is not instrumented, so its own synchronisation is partly invisible; `tsan.supp` names, one by
//! one, what is reported falsely for that reason. A race made on purpose must be caught in the same run, since
//! suppressions that are too broad would hide it too.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::loom::executables;
use crate::process::{Check, Checked, Outcome, last_lines, shown, watched};

/// What ThreadSanitizer exits with after a report; libtest says `ok` all the same.
const REPORTED: i32 = 66;

const LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn run(check: &Check) -> Checked {
    let Some(host) = nightly_host() else {
        return Ok(Outcome::Skipped(
            "no nightly: `rustup toolchain install nightly`".into(),
        ));
    };
    if !host.ends_with("-unknown-linux-gnu") {
        return Ok(Outcome::Skipped(format!(
            "set up for Linux with glibc, this is {host}"
        )));
    }
    let executable = built(check, &host)?;
    caught(check, &executable)?;
    clean(check, &executable)?;
    Ok(Outcome::Passed)
}

/// The target that nightly builds for here, if there is a nightly.
fn nightly_host() -> Option<String> {
    let output = Command::new("cargo")
        .args(["+nightly", "-vV"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
}

fn built(check: &Check, host: &str) -> Result<PathBuf, String> {
    // With the target named, build scripts and macros stay free of the sanitizer.
    let threads = [
        "+nightly",
        "test",
        "-p",
        "evenkeel-tests",
        "--features",
        "tsan",
        "--test",
        "threads",
    ];
    let mut command = check.cargo(threads.iter().chain(&["--no-run", "--target", host]));
    command
        .env(
            "RUSTFLAGS",
            "--cfg tsan -Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer",
        )
        .env("CARGO_TARGET_DIR", check.root.join("target/tsan"))
        // Its output is read.
        .env("CARGO_TERM_COLOR", "never");
    let output = shown(command)?;
    match executables(&output)[..] {
        [executable] => Ok(check.root.join(executable)),
        _ => Err("cargo named not one executable".into()),
    }
}

/// The race made on purpose is reported.
fn caught(check: &Check, executable: &Path) -> Result<(), String> {
    let mut command = sanitized(check, executable);
    command.args(["canary::caught", "--exact", "--ignored"]);
    let run = watched(command, LIMIT)?;
    let reported = run.status.and_then(|status| status.code()) == Some(REPORTED);
    if reported && run.output.contains("data race") {
        println!("the canary was caught");
        Ok(())
    } else {
        Err(format!(
            "the canary was NOT caught\n{}",
            last_lines(&run.output, 30)
        ))
    }
}

/// Nothing else is.
fn clean(check: &Check, executable: &Path) -> Result<(), String> {
    let output = shown(sanitized(check, executable))?;
    if output.contains("test result: ok. 0 passed") {
        Err("no stress test was run".into())
    } else {
        Ok(())
    }
}

fn sanitized(check: &Check, executable: &Path) -> Command {
    let mut command = Command::new(executable);
    let suppressions = check.root.join("xtask/tsan.supp");
    let options = format!(
        "suppressions={} exitcode={REPORTED}",
        suppressions.display()
    );
    command
        .arg("--test-threads=1")
        .current_dir(&check.root)
        .env("TSAN_OPTIONS", options);
    command
}

#[cfg(test)]
mod tests {
    use crate::workspace;

    #[test]
    fn every_suppression_is_narrow_and_explained() {
        let text = workspace::read(&workspace::root().join("xtask/tsan.supp")).unwrap();
        let mut explained = false;
        for line in text.lines() {
            if line.starts_with('#') {
                explained = true;
            } else if let Some(symbol) = line.strip_prefix("race:") {
                assert!(explained, "say why above `{line}`");
                assert!(
                    symbol.matches("::").count() >= 2,
                    "`{line}` would hide too much"
                );
                assert!(
                    !symbol.contains("evenkeel") && !symbol.contains("threads::"),
                    "`{line}` would hide too much"
                );
            } else {
                assert!(line.is_empty(), "`{line}`: only races are suppressed");
                explained = false;
            }
        }
    }
}
