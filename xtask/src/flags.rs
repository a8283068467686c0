//! The grammar of the command line: what may follow `cargo xtask`.

use std::fmt::Write;

/// A command with its arguments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    TestAll {
        quick: bool,
    },
    Fmt,
    Lint,
    Test,
    Loom {
        package: Option<String>,
        mutants: bool,
    },
    Tsan,
    Docs,
    Tidy,
    Package,
    Demo,
    Bench {
        area: Option<String>,
        json: bool,
    },
    Ci,
}

/// How a command is written, for the help, the errors and `tidy`.
pub(crate) struct Usage {
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static str,
    about: &'static str,
}

/// Every command there is.
pub(crate) const COMMANDS: [Usage; 12] = [
    usage(
        "test-all",
        "[--quick]",
        "every check, then one table; --quick leaves out mutants, tsan and package",
    ),
    usage("fmt", "", "check the formatting (`cargo fmt` mends it)"),
    usage("lint", "", "clippy, warnings denied"),
    usage(
        "test",
        "",
        "tests and doctests, each crate alone with no features too",
    ),
    usage(
        "loom",
        "[-p CRATE] [--mutants]",
        "the models of the kernels; --mutants: each listed weakening must be noticed",
    ),
    usage("tsan", "", "real threads under ThreadSanitizer (nightly)"),
    usage("docs", "", "rustdoc, warnings denied"),
    usage("tidy", "", "the rules of the house that no compiler checks"),
    usage(
        "package",
        "",
        "package every published crate and build it from its package",
    ),
    usage(
        "demo",
        "",
        "the gateway before three faulty replicas, under load",
    ),
    usage(
        "bench",
        "[AREA] [--json]",
        "our costs beside the peers', in one run",
    ),
    usage("ci", "", "test-all without colour"),
];

const fn usage(name: &'static str, arguments: &'static str, about: &'static str) -> Usage {
    Usage {
        name,
        arguments,
        about,
    }
}

/// What `help` prints, and every error about a command.
pub(crate) fn help() -> String {
    let mut text = String::from("cargo xtask COMMAND\n\n");
    for Usage {
        name,
        arguments,
        about,
    } in &COMMANDS
    {
        let form = format!("{name} {arguments}");
        writeln!(text, "  {form:<28}{about}").expect("a string takes any text");
    }
    text
}

/// Reads the arguments that follow `cargo xtask`. The error says what is allowed.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter();
    let Some(name) = arguments.next() else {
        return Err(format!("a command is missing\n\n{}", help()));
    };
    if ["help", "--help", "-h"].contains(&name.as_str()) {
        return Ok(Command::Help);
    }
    let Some(usage) = COMMANDS.iter().find(|usage| usage.name == name) else {
        return Err(format!("there is no command `{name}`\n\n{}", help()));
    };
    let mut rest = Arguments {
        usage,
        left: arguments.collect(),
    };
    let command = match usage.name {
        "test-all" => Command::TestAll {
            quick: rest.switch("--quick"),
        },
        "fmt" => Command::Fmt,
        "lint" => Command::Lint,
        "test" => Command::Test,
        "loom" => Command::Loom {
            package: rest.value("-p")?,
            mutants: rest.switch("--mutants"),
        },
        "tsan" => Command::Tsan,
        "docs" => Command::Docs,
        "tidy" => Command::Tidy,
        "package" => Command::Package,
        "demo" => Command::Demo,
        "bench" => Command::Bench {
            json: rest.switch("--json"),
            area: rest.positional(),
        },
        _ => Command::Ci,
    };
    rest.finish()?;
    Ok(command)
}

/// The arguments of one command that nobody has taken yet.
struct Arguments {
    usage: &'static Usage,
    left: Vec<String>,
}

impl Arguments {
    fn switch(&mut self, name: &str) -> bool {
        let before = self.left.len();
        self.left.retain(|argument| argument != name);
        self.left.len() < before
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(at) = self.left.iter().position(|argument| argument == name) else {
            return Ok(None);
        };
        self.left.remove(at);
        if self.left.get(at).is_none_or(|value| value.starts_with('-')) {
            return Err(self.refuse(&format!("`{name}` needs a value")));
        }
        Ok(Some(self.left.remove(at)))
    }

    fn positional(&mut self) -> Option<String> {
        let at = self
            .left
            .iter()
            .position(|argument| !argument.starts_with('-'))?;
        Some(self.left.remove(at))
    }

    fn finish(self) -> Result<(), String> {
        match self.left.first() {
            None => Ok(()),
            Some(extra) => Err(self.refuse(&format!("`{extra}` is not allowed"))),
        }
    }

    fn refuse(&self, what: &str) -> String {
        let Usage {
            name, arguments, ..
        } = self.usage;
        format!("{what}: cargo xtask {name} {arguments}")
            .trim_end()
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn every_command_listed_is_understood_alone() {
        for usage in &COMMANDS {
            let command = parsed(usage.name).unwrap();
            assert_eq!(command == Command::Ci, usage.name == "ci", "{}", usage.name);
        }
    }

    #[test]
    fn flags_stand_in_any_order() {
        let loom = Command::Loom {
            package: Some("cancel".into()),
            mutants: true,
        };
        assert_eq!(parsed("loom -p cancel --mutants").as_ref(), Ok(&loom));
        assert_eq!(parsed("loom --mutants -p cancel").as_ref(), Ok(&loom));
        let bench = Command::Bench {
            area: Some("bucket".into()),
            json: true,
        };
        assert_eq!(parsed("bench --json bucket"), Ok(bench));
        assert_eq!(
            parsed("test-all --quick"),
            Ok(Command::TestAll { quick: true })
        );
    }

    #[test]
    fn an_error_names_what_is_allowed() {
        let unknown = parsed("tests").unwrap_err();
        assert!(
            unknown.contains("`tests`") && unknown.contains("test-all [--quick]"),
            "{unknown}"
        );
        assert_eq!(
            parsed("loom --mutant").unwrap_err(),
            "`--mutant` is not allowed: cargo xtask loom [-p CRATE] [--mutants]"
        );
        assert_eq!(
            parsed("loom -p --mutants").unwrap_err(),
            "`-p` needs a value: cargo xtask loom [-p CRATE] [--mutants]"
        );
        assert_eq!(
            parsed("bench a b").unwrap_err(),
            "`b` is not allowed: cargo xtask bench [AREA] [--json]"
        );
        assert_eq!(
            parsed("fmt --check").unwrap_err(),
            "`--check` is not allowed: cargo xtask fmt"
        );
        assert!(parsed("").unwrap_err().contains("missing"));
    }
}
