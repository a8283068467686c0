//! `cargo xtask loom --mutants`: each listed weakening of a kernel must make the model named with it fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use toml::{Table, Value};

use crate::loom::{Build, LIMIT, Model, executables, one};
use crate::process::{Ended, last_lines, line, watched};
use crate::workspace;

/// One weakening, as `mutants.toml` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mutant {
    pub(crate) krate: String,
    file: String,
    line: String,
    with: String,
    pub(crate) model: String,
    expect: String,
}

/// The mutants of these crates. A kernel among them that has none is an error.
pub(crate) fn selected(list: &str, crates: &[String]) -> Result<Vec<Mutant>, String> {
    let mutants = parsed(list)?;
    for kernel in workspace::KERNELS {
        let asked = crates.iter().any(|krate| krate == kernel);
        if asked && !mutants.iter().any(|mutant| mutant.krate == kernel) {
            return Err(format!("xtask/mutants.toml lists no mutant of {kernel}"));
        }
    }
    Ok(mutants
        .into_iter()
        .filter(|mutant| crates.contains(&mutant.krate))
        .collect())
}

/// Reads `mutants.toml`.
pub(crate) fn parsed(list: &str) -> Result<Vec<Mutant>, String> {
    const KEYS: [&str; 6] = ["crate", "file", "line", "with", "model", "expect"];
    let list: Table = list
        .parse()
        .map_err(|error| format!("xtask/mutants.toml: {error}"))?;
    let Some(mutants) = list.get("mutant") else {
        return Ok(Vec::new());
    };
    let mutants = mutants
        .as_array()
        .ok_or("xtask/mutants.toml: write [[mutant]]")?;
    mutants
        .iter()
        .enumerate()
        .map(|(at, mutant)| {
            let place = format!("xtask/mutants.toml, mutant {}", at + 1);
            let mutant = mutant
                .as_table()
                .ok_or_else(|| format!("{place}: write [[mutant]]"))?;
            if let Some(key) = mutant.keys().find(|key| !KEYS.contains(&key.as_str())) {
                return Err(format!("{place}: `{key}` is none of {}", KEYS.join(", ")));
            }
            let value = |key: &str| match mutant.get(key).and_then(Value::as_str) {
                Some(value) if !value.is_empty() || key == "with" => Ok(value.to_owned()),
                _ => Err(format!("{place}: `{key}` is missing or no text")),
            };
            Ok(Mutant {
                krate: value("crate")?,
                file: value("file")?,
                line: value("line")?,
                with: value("with")?,
                model: value("model")?,
                expect: value("expect")?,
            })
        })
        .collect()
}

/// Brings the copy up to date. Writes only what differs, so that cargo rebuilds only that.
pub(crate) fn sync(root: &Path, copy: &Path) -> Result<(), String> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| format!("{}: {error}", path.display())
    };
    fs::create_dir_all(copy).map_err(failed(copy))?;
    let wanted = workspace::files(root)?;
    for path in workspace::files(copy)? {
        if !wanted.contains(&path) {
            fs::remove_file(copy.join(&path)).map_err(failed(&path))?;
        }
    }
    for path in wanted {
        let there = copy.join(&path);
        let bytes = fs::read(root.join(&path)).map_err(failed(&path))?;
        if fs::read(&there).is_ok_and(|old| old == bytes) {
            continue;
        }
        let parent = there.parent().expect("it stands below the copy");
        fs::create_dir_all(parent).map_err(failed(parent))?;
        fs::write(&there, bytes).map_err(failed(&there))?;
    }
    Ok(())
}

/// Runs every mutant. While one is run, the next one is built.
pub(crate) fn run(build: &Build<'_>, mutants: &[Mutant], models: &[Model]) -> Result<(), String> {
    let (built, to_run) = mpsc::channel::<(&Mutant, PathBuf)>();
    let mut failures = Vec::new();
    thread::scope(|scope| {
        let runner = scope.spawn(move || {
            let mut failures = Vec::new();
            for (mutant, executable) in to_run {
                let ended = watched(one(&executable, &mutant.model), LIMIT);
                // Kept, it would only take room.
                let _ = fs::remove_file(&executable);
                match ended.and_then(|ended| verdict(mutant, &ended)) {
                    Ok(()) => println!("killed    {}", mutant.told()),
                    Err(failure) => {
                        println!("NOT KILLED {}", mutant.told());
                        failures.push(failure);
                    }
                }
            }
            failures
        });
        for (number, mutant) in mutants.iter().enumerate() {
            let known = models
                .iter()
                .any(|model| model.krate == mutant.krate && model.name == mutant.model);
            let executable = match known {
                true => mutant.built(build, number),
                false => Err(format!("{}: there is no such model", mutant.told())),
            };
            match executable {
                Ok(executable) => built
                    .send((mutant, executable))
                    .expect("the runner takes all"),
                Err(failure) => {
                    println!("NOT RUN   {}", mutant.told());
                    failures.push(failure);
                }
            }
        }
        drop(built);
        failures.extend(runner.join().expect("the runner does not panic"));
    });
    println!(
        "{} of {} mutants killed",
        mutants.len() - failures.len(),
        mutants.len()
    );
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n\n"))
    }
}

/// Killed is: ended by itself, failed, and for the reason that was foretold.
fn verdict(mutant: &Mutant, ended: &Ended) -> Result<(), String> {
    let told = mutant.told();
    let lines = last_lines(&ended.output, 20);
    match ended.status {
        None => Err(format!("{told}: stuck after {LIMIT:?}\n{lines}")),
        Some(status) if status.success() => Err(format!(
            "{told}: SURVIVED, so a model is missing or the line is needlessly strong"
        )),
        Some(_) if ended.output.contains(&mutant.expect) => Ok(()),
        Some(_) => Err(format!(
            "{told}: failed without saying `{}`\n{lines}",
            mutant.expect
        )),
    }
}

impl Mutant {
    fn told(&self) -> String {
        let Self {
            krate,
            file,
            line,
            with,
            model,
            ..
        } = self;
        format!("{krate}/{file}: `{line}` -> `{with}` ({model})")
    }

    /// The source with the line weakened.
    pub(crate) fn applied(&self, source: &str) -> Result<String, String> {
        let wanted = self.line.trim();
        let occurs = source.lines().filter(|line| line.trim() == wanted).count();
        if occurs != 1 {
            return Err(format!(
                "{}: the line occurs {occurs} times, not once",
                self.told()
            ));
        }
        let mut mutated = String::with_capacity(source.len());
        for line in source.lines() {
            let text = line.trim_start();
            if text.trim_end() == wanted {
                mutated.push_str(&line[..line.len() - text.len()]);
                mutated.push_str(self.with.trim());
            } else {
                mutated.push_str(line);
            }
            mutated.push('\n');
        }
        Ok(mutated)
    }

    /// The file that the mutant weakens, in this workspace.
    pub(crate) fn path(&self, root: &Path) -> PathBuf {
        root.join("crates").join(&self.krate).join(&self.file)
    }

    /// Builds the crate with the line weakened, and puts the line back.
    fn built(&self, build: &Build<'_>, number: usize) -> Result<PathBuf, String> {
        let path = self.path(&build.root);
        let source = workspace::read(&path)?;
        let mutated = self.applied(&source)?;
        let failed = |error: std::io::Error| format!("{}: {error}", self.told());
        fs::write(&path, mutated).map_err(failed)?;
        let mut command = build.command();
        command.args(["-p", &workspace::package(&self.krate)]);
        let output = succeeded(command);
        fs::write(&path, source).map_err(failed)?;
        let output = output.map_err(|why| format!("{}: does not compile\n{why}", self.told()))?;
        let [executable] = executables(&output)[..] else {
            return Err(format!(
                "{}: cargo named not one executable\n{output}",
                self.told()
            ));
        };
        // The next build takes the same name.
        let kept = build.target.join(format!("mutant-{number}"));
        fs::copy(build.root.join(executable), &kept).map_err(failed)?;
        Ok(kept)
    }
}

/// The output of a build, which is shown only if it fails.
fn succeeded(command: Command) -> Result<String, String> {
    let told = line(&command);
    let ended = watched(command, LIMIT * 5)?;
    match ended.status {
        Some(status) if status.success() => Ok(ended.output),
        _ => Err(format!("`{told}`\n{}", last_lines(&ended.output, 30))),
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;
    use std::time::Duration;

    use super::*;

    const LIST: &str = r#"
        [[mutant]]
        crate = "cancel"
        file = "src/node.rs"
        line = "word.store(1, Release);"
        with = "word.store(1, Relaxed);"
        model = "node_models::seen"
        expect = "Causality violation"
    "#;

    fn mutant() -> Mutant {
        parsed(LIST).unwrap().remove(0)
    }

    #[test]
    fn the_list_is_read_and_its_faults_are_named() {
        assert_eq!(mutant().krate, "cancel");
        assert_eq!(parsed("# none yet"), Ok(Vec::new()));
        let missing = parsed(&LIST.replace("model =", "modell =")).unwrap_err();
        assert!(
            missing.contains("mutant 1: `modell` is none of crate, file"),
            "{missing}"
        );
        let empty = parsed(&LIST.replace("\"Causality violation\"", "\"\"")).unwrap_err();
        assert!(empty.contains("`expect` is missing"), "{empty}");
        assert!(parsed("mutant = 1").unwrap_err().contains("[[mutant]]"));
    }

    #[test]
    fn a_kernel_without_mutants_is_refused() {
        let crates = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            selected(LIST, &crates(&["cancel", "sync"])).map(|found| found.len()),
            Ok(1)
        );
        assert_eq!(
            selected(LIST, &crates(&["sync"])).map(|found| found.len()),
            Ok(0)
        );
        assert!(
            selected(LIST, &crates(&["cancel", "hedge"]))
                .unwrap_err()
                .contains("no mutant of hedge")
        );
    }

    #[test]
    fn the_line_must_occur_once() {
        let mutant = mutant();
        let once = "fn f() {\n    word.store(1, Release);\n}\n";
        assert_eq!(
            mutant.applied(once).unwrap(),
            "fn f() {\n    word.store(1, Relaxed);\n}\n"
        );
        assert!(
            mutant
                .applied(&once.repeat(2))
                .unwrap_err()
                .contains("occurs 2 times")
        );
        assert!(
            mutant
                .applied("word.store(1, Release); // why\n")
                .unwrap_err()
                .contains("occurs 0 times")
        );
    }

    #[test]
    fn only_the_failure_foretold_is_a_kill() {
        let ended = |status: Option<ExitStatus>, output: &str| Ended {
            status,
            output: output.to_owned(),
            took: Duration::ZERO,
        };
        // What `rustc` says to a wrong flag is a failure on every platform.
        let failed = Command::new("rustc")
            .arg("--no-such-flag")
            .output()
            .unwrap()
            .status;
        let passed = Command::new("rustc")
            .arg("--version")
            .output()
            .unwrap()
            .status;
        let mutant = mutant();
        assert_eq!(
            verdict(
                &mutant,
                &ended(Some(failed), "thread panicked: Causality violation: …")
            ),
            Ok(())
        );
        assert!(
            verdict(&mutant, &ended(Some(failed), "deadlock"))
                .unwrap_err()
                .contains("without saying")
        );
        assert!(
            verdict(&mutant, &ended(Some(passed), "Causality violation"))
                .unwrap_err()
                .contains("SURVIVED")
        );
        assert!(
            verdict(&mutant, &ended(None, "Causality violation"))
                .unwrap_err()
                .contains("stuck")
        );
    }

    #[test]
    fn every_listed_line_occurs_once() {
        let root = workspace::root();
        for mutant in parsed(&workspace::read(&root.join("xtask/mutants.toml")).unwrap()).unwrap() {
            let source = workspace::read(&mutant.path(&root)).unwrap();
            mutant.applied(&source).unwrap();
        }
    }
}
