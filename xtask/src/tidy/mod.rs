//! `cargo xtask tidy`: the rules of the house that no compiler checks.

mod counts;
mod crates;
mod mentions;
mod names;
mod rust;

use std::path::PathBuf;

use crate::process::{Check, Checked, Outcome};
use crate::workspace;

/// A file of the workspace, read.
pub(crate) struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl File {
    /// The lines with their numbers, from one.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
    }

    /// A complaint about one line.
    fn at(&self, line: usize, complaint: &str) -> String {
        format!("{}:{line}: {complaint}", self.path)
    }
}

pub(crate) fn run(check: &Check) -> Checked {
    let files = files(check)?;
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        complaints.extend(rust::complaints(file));
    }
    complaints.extend(counts::complaints(check, &files)?);
    complaints.extend(crates::complaints(&files)?);
    complaints.extend(mentions::complaints(&files)?);
    complaints.extend(names::complaints(&files));
    complaints.extend(files.iter().flat_map(trailing_space));
    complaints.sort();
    for complaint in &complaints {
        println!("{complaint}");
    }
    match complaints.len() {
        0 => Ok(Outcome::Passed),
        _ => Err(complaints.join("\n")),
    }
}

/// The files that are text by their ending.
fn files(check: &Check) -> Result<Vec<File>, String> {
    let text = |path: &PathBuf| {
        let ending = path
            .extension()
            .map(|ending| ending.to_string_lossy().into_owned());
        ending.is_some_and(|ending| ["rs", "toml", "md", "yml", "supp"].contains(&ending.as_str()))
    };
    workspace::files(&check.root)?
        .into_iter()
        .filter(text)
        .map(|path| {
            let text = workspace::read(&check.root.join(&path))?;
            Ok(File {
                path: path.to_string_lossy().replace('\\', "/"),
                text,
            })
        })
        .collect()
}

/// No line ends with white space.
fn trailing_space(file: &File) -> Vec<String> {
    let ends_with_space = |line: &str| line.ends_with(|last: char| last.is_whitespace());
    let found = file.lines().filter(|(_, line)| ends_with_space(line));
    found
        .map(|(at, _)| file.at(at, "white space at the end of the line"))
        .collect()
}

#[cfg(test)]
pub(crate) fn file(path: &str, text: &str) -> File {
    File {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_space_is_found() {
        let complaints = trailing_space(&file("a.rs", "fn f() {}\nlet a; \n\n\tb\t\n"));
        let lines: Vec<_> = complaints
            .iter()
            .map(|text| text.split(": ").next().unwrap())
            .collect();
        assert_eq!(lines, ["a.rs:2", "a.rs:4"]);
    }
}
