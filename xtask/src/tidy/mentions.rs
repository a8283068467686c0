//! What the documents mention is there: commands, examples, features.

use toml::{Table, Value};

use super::File;
use crate::flags::COMMANDS;

pub(super) fn complaints(files: &[File]) -> Result<Vec<String>, String> {
    let house = House::read(files)?;
    let mut found = Vec::new();
    for file in files {
        let document = file.path.ends_with(".md");
        if !document && !file.path.ends_with(".rs") {
            continue;
        }
        for (at, line) in file.lines() {
            if !document && !line.trim_start().starts_with("//") {
                continue;
            }
            let faults = [commands(line), house.examples(line), house.features(line)];
            found.extend(
                faults
                    .into_iter()
                    .flatten()
                    .map(|fault| file.at(at, &fault)),
            );
        }
    }
    Ok(found)
}

/// What there is to mention.
#[derive(Default)]
struct House {
    examples: Vec<String>,
    /// Of each package, its features.
    features: Vec<(String, Vec<String>)>,
}

impl House {
    fn read(files: &[File]) -> Result<Self, String> {
        let mut house = Self::default();
        for file in files {
            if let Some((_, example)) = file.path.split_once("/examples/") {
                // A file, or a directory with a `main.rs`.
                let name = example
                    .split('/')
                    .next()
                    .unwrap_or_default()
                    .trim_end_matches(".rs");
                house.examples.push(name.to_owned());
            }
            if file.path.starts_with("crates/") && file.path.ends_with("/Cargo.toml") {
                let table: Table = file
                    .text
                    .parse()
                    .map_err(|error| format!("{}: {error}", file.path))?;
                let name = table
                    .get("package")
                    .and_then(|package| package.get("name"))
                    .and_then(Value::as_str);
                let features = table.get("features").and_then(Value::as_table);
                let features = features
                    .map(|features| features.keys().cloned().collect())
                    .unwrap_or_default();
                house
                    .features
                    .push((name.unwrap_or_default().to_owned(), features));
            }
        }
        Ok(house)
    }

    /// `--example NAME`, where a name in capitals stands for any.
    fn examples(&self, line: &str) -> Vec<String> {
        let named = line.split("--example ").skip(1).map(first_word);
        let missing = named.filter(|name| {
            let stands_for_any = name.chars().all(char::is_uppercase);
            !stands_for_any && !self.examples.iter().any(|example| example == name)
        });
        missing
            .map(|name| format!("there is no example `{name}`"))
            .collect()
    }

    /// `evenkeel… = { …, features = […] }` and `-p evenkeel… --features …`.
    fn features(&self, line: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (package, features) in &self.features {
            let in_manifest = || {
                line.trim_start_matches(['/', '!', ' '])
                    .strip_prefix(&format!("{package} = {{"))?;
                let (_, list) = line.split_once("features = [")?;
                Some(list.split(']').next()?.to_owned())
            };
            let in_command = || {
                let (_, arguments) = line.split_once(&format!("-p {package} "))?;
                let (_, list) = arguments.split_once("--features ")?;
                Some(first_word(list).to_owned())
            };
            let list = in_manifest().or_else(in_command).unwrap_or_default();
            let named = list.split([',', ' ', '"']).filter(|name| !name.is_empty());
            let missing = named.filter(|name| !features.iter().any(|feature| feature == name));
            found.extend(missing.map(|name| format!("{package} has no feature `{name}`")));
        }
        found
    }
}

/// `cargo xtask COMMAND`, with flags that it knows.
fn commands(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for mention in line.split("cargo xtask ").skip(1) {
        let name = first_word(mention);
        if name.is_empty() || name.chars().all(char::is_uppercase) {
            continue;
        }
        let Some(usage) = COMMANDS.iter().find(|usage| usage.name == name) else {
            found.push(format!("there is no command `cargo xtask {name}`"));
            continue;
        };
        let arguments = mention
            .split(['`', ')', '#', ',', ';'])
            .next()
            .unwrap_or_default();
        let flags = arguments
            .split_whitespace()
            .filter(|word| word.starts_with("--"));
        let known = |flag: &str| {
            usage
                .arguments
                .split(['[', ']', ' '])
                .any(|known| known == flag)
        };
        let unknown =
            flags.filter(|flag| !known(flag.trim_end_matches(|c: char| !c.is_alphanumeric())));
        found.extend(unknown.map(|flag| format!("`cargo xtask {name}` has no `{flag}`")));
    }
    found
}

/// The letters, digits, `-`, `_` and `,` that a text begins with.
fn first_word(text: &str) -> &str {
    let end =
        text.find(|letter: char| !letter.is_alphanumeric() && !['-', '_', ','].contains(&letter));
    text[..end.unwrap_or(text.len())].trim_end_matches(',')
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn only_commands_that_exist_are_mentioned() {
        assert!(
            commands("run `cargo xtask loom -p cancel --mutants`, or `cargo xtask COMMAND`")
                .is_empty()
        );
        assert!(
            commands("`cargo xtask bench [AREA] [--json]`; cargo xtask test-all, then --what")
                .is_empty()
        );
        assert_eq!(
            commands("`cargo xtask fuzz`"),
            ["there is no command `cargo xtask fuzz`"]
        );
        assert_eq!(
            commands("`cargo xtask fmt --fast`"),
            ["`cargo xtask fmt` has no `--fast`"]
        );
    }

    #[test]
    fn only_examples_and_features_that_exist_are_mentioned() {
        let files = [
            file(
                "crates/evenkeel/Cargo.toml",
                "[package]\nname = \"evenkeel\"\n[features]\nfull = []\n",
            ),
            file("crates/evenkeel/examples/gateway/main.rs", ""),
            file("crates/evenkeel/examples/healing.rs", ""),
        ];
        let house = House::read(&files).unwrap();
        assert!(
            house
                .examples("--example gateway -- serve, --example healing and --example NAME")
                .is_empty()
        );
        assert_eq!(
            house.examples("`--example healed`"),
            ["there is no example `healed`"]
        );
        assert!(
            house
                .features("evenkeel = { version = \"0.1\", features = [\"full\"] }")
                .is_empty()
        );
        assert!(
            house
                .features("cargo run -p evenkeel --features full --example healing")
                .is_empty()
        );
        let missing = ["evenkeel has no feature `all`"];
        assert_eq!(
            house.features("evenkeel = { version = \"0.1\", features = [\"all\"] }"),
            missing
        );
        assert_eq!(
            house.features("`cargo run -p evenkeel --features full,all`"),
            missing
        );
    }

    #[test]
    fn documents_and_doc_comments_are_read() {
        let text = "//! `cargo xtask fuzz`\nlet text = \"cargo xtask fuzz\";\n";
        let files = [
            file("crates/x/src/lib.rs", text),
            file("README.md", "cargo xtask fuzz\n"),
        ];
        let places: Vec<String> = complaints(&files).unwrap();
        assert_eq!(places.len(), 2, "{places:?}");
    }
}
