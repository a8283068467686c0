//! Running the tools that the checks are made of.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How a check ended, if nothing failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// Why, and what would install what is missing.
    Skipped(String),
}

/// `Err` holds what failed, with the last lines that say why.
pub(crate) type Checked = Result<Outcome, String>;

/// Whether tools print in colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Always,
    Never,
}

impl Colour {
    pub(crate) fn of_terminal() -> Self {
        if std::io::stdout().is_terminal() {
            Self::Always
        } else {
            Self::Never
        }
    }
}

/// What every check needs to know.
pub(crate) struct Check {
    pub(crate) root: PathBuf,
    colour: Colour,
}

impl Check {
    pub(crate) fn new(root: PathBuf, colour: Colour) -> Self {
        Self { root, colour }
    }

    pub(crate) fn with(mut self, colour: Colour) -> Self {
        self.colour = colour;
        self
    }

    /// `cargo` with these arguments, at the root of the workspace.
    pub(crate) fn cargo<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        // Not `$CARGO`: `cargo +nightly` needs the proxy.
        let mut command = Command::new("cargo");
        command.args(arguments).current_dir(&self.root);
        // Each check sets the flags it is about, and no other may change what it proves.
        for inherited in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTDOCFLAGS"] {
            command.env_remove(inherited);
        }
        command.env(
            "CARGO_TERM_COLOR",
            if self.colour == Colour::Always {
                "always"
            } else {
                "never"
            },
        );
        command
    }
}

/// Runs to the end, showing the output as it comes. Returns it, or the failure with its last lines.
pub(crate) fn shown(mut command: Command) -> Result<String, String> {
    println!("$ {}", line(&command));
    let (reader, writer) = std::io::pipe().map_err(|error| format!("no pipe: {error}"))?;
    let twin = writer
        .try_clone()
        .map_err(|error| format!("no pipe: {error}"))?;
    command.stdin(Stdio::null()).stdout(writer).stderr(twin);
    let mut child = command
        .spawn()
        .map_err(|error| format!("`{}`: {error}", line(&command)))?;
    let failing = line(&command);
    // The command holds our ends of the pipe: while it lives, the reader sees no end.
    drop(command);
    let mut output = String::new();
    let mut lines = BufReader::new(reader);
    let mut bytes = Vec::new();
    while lines
        .read_until(b'\n', &mut bytes)
        .is_ok_and(|read| read > 0)
    {
        let text = String::from_utf8_lossy(&bytes);
        print!("{text}");
        output.push_str(&text);
        bytes.clear();
    }
    // A terminal that went away must not hide the verdict.
    let _ = std::io::stdout().flush();
    let status = child
        .wait()
        .map_err(|error| format!("`{failing}`: {error}"))?;
    if status.success() {
        Ok(output)
    } else {
        Err(format!(
            "`{failing}` {}\n{}",
            ended(status),
            last_lines(&output, 40)
        ))
    }
}

/// What a watched process did.
pub(crate) struct Ended {
    /// `None` if it was killed at the limit.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) output: String,
    pub(crate) took: Duration,
}

/// Runs to the end in silence, or kills at the limit.
pub(crate) fn watched(mut command: Command, limit: Duration) -> Result<Ended, String> {
    let failing = line(&command);
    let (mut reader, writer) = std::io::pipe().map_err(|error| format!("no pipe: {error}"))?;
    let twin = writer
        .try_clone()
        .map_err(|error| format!("no pipe: {error}"))?;
    command.stdin(Stdio::null()).stdout(writer).stderr(twin);
    let begun = Instant::now();
    let mut child = command
        .spawn()
        .map_err(|error| format!("`{failing}`: {error}"))?;
    drop(command);
    let drain = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        let _ = reader.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                // It may end by itself just now, which is as good.
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            Err(error) => return Err(format!("`{failing}`: {error}")),
        }
    };
    let took = begun.elapsed();
    let output = drain.join().unwrap_or_default();
    Ok(Ended {
        status,
        output,
        took,
    })
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}

pub(crate) fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("ended with exit code {code}"),
        None => format!("was ended: {status}"),
    }
}

/// The last `count` lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rustc(arguments: &[&str]) -> Command {
        let mut command = Command::new("rustc");
        command.args(arguments);
        command
    }

    #[test]
    fn a_failure_carries_its_last_lines() {
        assert!(shown(rustc(&["--version"])).unwrap().starts_with("rustc "));
        let failure = shown(rustc(&["--no-such-flag"])).unwrap_err();
        assert!(
            failure.starts_with("`rustc --no-such-flag` ended with exit code 1"),
            "{failure}"
        );
        assert!(failure.contains("no-such-flag'"), "{failure}");
    }

    #[test]
    fn a_missing_tool_is_a_failure() {
        let failure = shown(Command::new("no-such-tool-here")).unwrap_err();
        assert!(failure.starts_with("`no-such-tool-here`:"), "{failure}");
    }

    #[test]
    fn a_watched_process_is_killed_at_its_limit() {
        // rustc reads the crate from its standard input only if asked; a pipe that nobody closes would hang.
        let ended = watched(rustc(&["--version"]), Duration::from_secs(60)).unwrap();
        assert!(ended.status.is_some_and(|status| status.success()));
        assert!(ended.output.starts_with("rustc "));
        let killed = watched(rustc(&["--version"]), Duration::ZERO).unwrap();
        assert!(killed.status.is_none());
    }

    #[test]
    fn last_lines_are_the_last() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a\n", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }
}
