//! The README's table of what each crate pulls in, and how often it says `unsafe`, agrees with the truth.

use std::collections::BTreeSet;

use super::File;
use crate::process::{Check, watched};
use crate::workspace;

pub(super) fn complaints(check: &Check, files: &[File]) -> Result<Vec<String>, String> {
    let readme = files.iter().find(|file| file.path == "README.md");
    let readme = readme.ok_or("README.md is missing")?;
    let mut found = Vec::new();
    for krate in workspace::crates(&check.root)? {
        let row = row(
            &krate,
            packages(check, &krate)?,
            unsafe_blocks(files, &krate),
        );
        found.extend(missing(readme, &row));
    }
    Ok(found)
}

fn row(krate: &str, packages: usize, blocks: usize) -> String {
    format!("| `{krate}` | {packages} | {blocks} |")
}

fn missing(readme: &File, row: &str) -> Option<String> {
    let there = readme.lines().any(|(_, line)| line == row);
    (!there).then(|| format!("README.md: the table of counts must say `{row}`"))
}

/// The packages that a crate with its default features pulls in, itself left out.
fn packages(check: &Check, krate: &str) -> Result<usize, String> {
    let package = workspace::package(krate);
    // One platform, so that the count is the same everywhere.
    let mut command = check.cargo(["tree", "--edges", "normal", "--prefix", "none"]);
    command.args(["--target", "x86_64-unknown-linux-gnu", "-p", &package]);
    command.env("CARGO_TERM_COLOR", "never");
    let ended = watched(command, std::time::Duration::from_secs(120))?;
    match ended.status {
        Some(status) if status.success() => Ok(listed(&ended.output) - 1),
        _ => Err(format!("`cargo tree -p {package}`\n{}", ended.output)),
    }
}

/// The packages in what `cargo tree` prints: a line is `NAME vVERSION`, and perhaps more.
fn listed(tree: &str) -> usize {
    let package = |line: &'_ str| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let version = words.next().filter(|word| word.starts_with('v'))?;
        Some(format!("{name} {version}"))
    };
    tree.lines()
        .filter_map(package)
        .collect::<BTreeSet<_>>()
        .len()
}

/// Blocks and `impl`s in what is shipped; models and tests are not.
fn unsafe_blocks(files: &[File], krate: &str) -> usize {
    let source = format!("crates/{krate}/src/");
    let shipped = files.iter().filter(|file| {
        file.path.starts_with(&source)
            && file.path.ends_with(".rs")
            && !file.path.ends_with("_models.rs")
            && !file.path.contains("tests")
    });
    shipped
        .map(|file| {
            let code = file
                .lines()
                .filter(|(_, line)| !line.trim_start().starts_with("//"));
            code.map(|(_, line)| {
                line.matches("unsafe {").count() + line.matches("unsafe impl").count()
            })
            .sum::<usize>()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_package_is_counted_once() {
        let tree = "evenkeel-a v0.1.0 (/here)\ntokio v1.0.0\nlog v0.4.0\ntokio v1.0.0 (*)\n\nwarning: stale\n";
        assert_eq!(listed(tree), 3);
    }

    #[test]
    fn what_is_shipped_is_counted() {
        let code = "// unsafe { no }\nlet a = unsafe { b() };\nunsafe impl Send for C {}\nunsafe fn d() {}\n";
        let files = [
            file("crates/a/src/lib.rs", code),
            file("crates/a/src/a_models.rs", code),
            file("crates/a/src/deep/tests.rs", code),
            file("crates/b/src/lib.rs", code),
        ];
        assert_eq!(unsafe_blocks(&files, "a"), 2);
    }

    #[test]
    fn a_stale_row_is_named_with_the_line_to_paste() {
        let readme = file("README.md", "| `a` | 3 | 2 |\n");
        assert_eq!(missing(&readme, &row("a", 3, 2)), None);
        let complaint = missing(&readme, &row("a", 4, 2)).unwrap();
        assert!(complaint.ends_with("`| `a` | 4 | 2 |`"), "{complaint}");
    }
}
