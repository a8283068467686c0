//! `cargo xtask loom`: the models of the kernels, each in its own process under a watchdog.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Check, Checked, Outcome, ended, last_lines, shown, watched};
use crate::{mutants, pool, workspace};

/// A model has ended long before; one that has not is stuck.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Where the models are built.
pub(crate) struct Build<'a> {
    pub(crate) check: &'a Check,
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    /// Pays for itself when the same crate is built again and again with one line changed.
    pub(crate) incremental: bool,
}

/// A model in the executable that holds it.
pub(crate) struct Model {
    pub(crate) krate: String,
    pub(crate) name: String,
    executable: PathBuf,
}

pub(crate) fn run(check: &Check, asked: Option<&str>, mutated: bool) -> Checked {
    let root = &check.root;
    let crates = match asked {
        Some(asked) => vec![workspace::named(root, asked)?],
        None => workspace::crates(root)?,
    };
    if !mutated {
        let target = root.join("target/loom");
        let build = Build {
            check,
            root: root.clone(),
            target,
            incremental: false,
        };
        models(&build, &crates)?;
        return Ok(Outcome::Passed);
    }
    // The models and the mutants share one build in the copy, so that nothing is compiled twice.
    let copy = root.join("target/mutants");
    mutants::sync(root, &copy)?;
    let build = Build {
        check,
        target: copy.join("target"),
        root: copy,
        incremental: true,
    };
    let list = workspace::read(&root.join("xtask/mutants.toml"))?;
    let mutants = mutants::selected(&list, &crates)?;
    let models = models(&build, &crates)?;
    mutants::run(&build, &mutants, &models)?;
    Ok(Outcome::Passed)
}

/// Builds the crates and runs every model in them. Returns the models.
fn models(build: &Build<'_>, crates: &[String]) -> Result<Vec<Model>, String> {
    let mut models = Vec::new();
    let mut failures = Vec::new();
    for (krate, executable) in build.executables(crates)? {
        let names = listed(&executable)?;
        if names.is_empty() && must_have_models(&build.root, &krate)? {
            failures.push(format!("{krate}: no model was run"));
        }
        let found = names.into_iter();
        models.extend(found.map(|name| Model {
            krate: krate.clone(),
            name,
            executable: executable.clone(),
        }));
    }
    let results = pool::each(&models, |model| {
        let result = run_one(model);
        match &result {
            Ok(summary) => println!("{}: {summary}", model.krate),
            Err(_) => println!("{}: {} FAILED", model.krate, model.name),
        }
        result.err()
    });
    failures.extend(results.into_iter().flatten());
    println!("{} models run", models.len());
    if failures.is_empty() {
        Ok(models)
    } else {
        Err(failures.join("\n\n"))
    }
}

fn run_one(model: &Model) -> Result<String, String> {
    let Model {
        krate,
        name,
        executable,
    } = model;
    let run = watched(one(executable, name), LIMIT)?;
    let lines = last_lines(&run.output, 30);
    match run.status {
        None => Err(format!(
            "{krate}: {name} was stuck after {LIMIT:?}\n{lines}"
        )),
        Some(status) if !status.success() => {
            Err(format!("{krate}: {name} {}\n{lines}", ended(status)))
        }
        Some(_) => match counted(&run.output) {
            Some(counts) => Ok(format!("{counts}, {:.1} s", run.took.as_secs_f64())),
            None => Err(format!(
                "{krate}: {name} printed no count of executions: it is no model\n{lines}"
            )),
        },
    }
}

/// A kernel, and any crate with a file of models.
fn must_have_models(root: &Path, krate: &str) -> Result<bool, String> {
    let files = workspace::files(&root.join("crates").join(krate))?;
    let model_file = |path: &PathBuf| path.to_string_lossy().ends_with("_models.rs");
    Ok(workspace::KERNELS.contains(&krate) || files.iter().any(model_file))
}

impl Build<'_> {
    /// Builds the unit tests of the crates for loom. Returns the executable of each.
    pub(crate) fn executables(&self, crates: &[String]) -> Result<Vec<(String, PathBuf)>, String> {
        let mut command = self.command();
        for krate in crates {
            command.args(["-p", &workspace::package(krate)]);
        }
        let output = shown(command)?;
        let found = executables(&output);
        crates
            .iter()
            .map(|krate| {
                let stem = workspace::package(krate).replace('-', "_");
                let of_crate = |path: &&str| {
                    let name = Path::new(path)
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy();
                    name.rsplit_once('-')
                        .is_some_and(|(name, _hash)| name == stem)
                };
                let path = found.iter().find(|path| of_crate(path));
                let path =
                    path.ok_or_else(|| format!("cargo named no test executable of {krate}"))?;
                Ok((krate.clone(), self.root.join(path)))
            })
            .collect()
    }

    /// Builds the unit tests without running them; `-p` is still to be added.
    pub(crate) fn command(&self) -> Command {
        let mut command = self
            .check
            .cargo(["test", "--profile", "loom", "--lib", "--no-run"]);
        command
            .current_dir(&self.root)
            .env("RUSTFLAGS", "--cfg loom")
            .env("CARGO_TARGET_DIR", &self.target)
            .env(
                "CARGO_INCREMENTAL",
                if self.incremental { "1" } else { "0" },
            )
            // Its output is read.
            .env("CARGO_TERM_COLOR", "never");
        command
    }
}

/// One test of an executable, its output as it comes.
pub(crate) fn one(executable: &Path, name: &str) -> Command {
    let mut command = Command::new(executable);
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    command
}

/// The tests in an executable.
fn listed(executable: &Path) -> Result<Vec<String>, String> {
    let mut command = Command::new(executable);
    command.args(["--list", "--format=terse"]);
    let run = watched(command, LIMIT)?;
    let tests = run
        .output
        .lines()
        .filter_map(|line| line.strip_suffix(": test"));
    Ok(tests.map(str::to_owned).collect())
}

/// The paths that `cargo test --no-run` names.
pub(crate) fn executables(output: &str) -> Vec<&str> {
    let named = |line: &'_ str| line.trim_start().starts_with("Executable ");
    let inside = output.lines().filter(|line| named(line));
    inside
        .filter_map(|line| line.rsplit_once('(')?.1.strip_suffix(')'))
        .collect()
}

/// The `model NAME: N executions …` that a model prints at its end.
fn counted(output: &str) -> Option<&str> {
    output.lines().find_map(|line| {
        // libtest may have begun the line with the name of the test.
        let found = line.rsplit("... ").next()?;
        let found = &found[found.find("model ")?..];
        let (_, count) = found.split_once(": ")?;
        let (number, _) = count.split_once(" executions")?;
        number.parse::<u64>().ok().map(|_| found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_known_by_its_count() {
        let line = "test a - should panic ... model wait: 65 executions (all)";
        assert_eq!(counted(line), Some("model wait: 65 executions (all)"));
        let bounded = "model a b: 22 executions (at most 2 preemptions)";
        assert_eq!(
            counted(&format!("running 1 test\n{bounded}\nok")),
            Some(bounded)
        );
        assert_eq!(counted("test model_test ... ok"), None);
        assert_eq!(counted("model wait: many executions"), None);
    }

    #[test]
    fn executables_are_read_from_what_cargo_says() {
        let output = "    Finished `loom` profile [optimized] target(s) in 1s\n  Executable unittests src/lib.rs (target/loom/loom/deps/evenkeel_cancel-0a1b)\n";
        assert_eq!(
            executables(output),
            ["target/loom/loom/deps/evenkeel_cancel-0a1b"]
        );
    }

    #[test]
    fn a_kernel_must_have_models() {
        let root = workspace::root();
        assert_eq!(must_have_models(&root, "cancel"), Ok(true));
        assert_eq!(must_have_models(&root, "evenkeel"), Ok(false));
    }
}
