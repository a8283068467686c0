//! What each crate has: its papers, its tests, its models.

use toml::{Table, Value};

use super::File;
use crate::mutants::{self, Mutant};
use crate::workspace;

pub(super) fn complaints(files: &[File]) -> Result<Vec<String>, String> {
    let list = files.iter().find(|file| file.path == "xtask/mutants.toml");
    let mutants = mutants::parsed(list.map_or("", |file| &file.text))?;
    let mut found = Vec::new();
    for manifest in files
        .iter()
        .filter(|file| file.path.ends_with("Cargo.toml") && file.path != "Cargo.toml")
    {
        let directory = manifest.path.trim_end_matches("/Cargo.toml");
        found.extend(manifest_rules(manifest));
        let Some(krate) = directory.strip_prefix("crates/") else {
            continue;
        };
        found.extend(parts(files, krate));
        if workspace::KERNELS.contains(&krate) {
            let listed = mutants.iter().any(|mutant| mutant.krate == krate);
            found.extend(kernel(files, krate, listed));
        }
    }
    let unmodelled = mutants.iter().filter(|mutant| !has_model(files, mutant));
    found.extend(unmodelled.map(|mutant| {
        format!(
            "xtask/mutants.toml: crates/{} has no model `{}`",
            mutant.krate, mutant.model
        )
    }));
    Ok(found)
}

/// The lints of the workspace, and for a published crate what docs.rs needs.
fn manifest_rules(manifest: &File) -> Vec<String> {
    let table: Table = match manifest.text.parse() {
        Ok(table) => table,
        Err(error) => return vec![format!("{}: {error}", manifest.path)],
    };
    let at = |keys: &[&str]| {
        let first = table.get(keys[0]);
        keys[1..]
            .iter()
            .fold(first, |value, key| value.and_then(|value| value.get(key)))
            .cloned()
    };
    let mut found = Vec::new();
    let mut wants = |there: bool, what: &str| {
        if !there {
            found.push(format!("{}: {what}", manifest.path));
        }
    };
    wants(
        at(&["lints", "workspace"]) == Some(Value::Boolean(true)),
        "`[lints]` must say `workspace = true`",
    );
    if at(&["package", "publish"]) != Some(Value::Boolean(false)) {
        let docs = ["package", "metadata", "docs", "rs"];
        wants(
            at(&[&docs[..], &["all-features"]].concat()).is_some(),
            "docs.rs needs `all-features`",
        );
        let arguments = at(&[&docs[..], &["rustdoc-args"]].concat());
        let cfg = arguments.is_some_and(|arguments| format!("{arguments:?}").contains("docsrs"));
        wants(cfg, "docs.rs needs `rustdoc-args` with `--cfg docsrs`");
        wants(
            at(&["package", "description"]).is_some(),
            "a published crate needs a description",
        );
        for (feature, documented) in features(&manifest.text, &table) {
            wants(
                documented,
                &format!("feature `{feature}` needs a `##` line above it"),
            );
        }
    }
    found
}

/// Each feature but `default`, and whether a `##` comment stands above it.
fn features(text: &str, table: &Table) -> Vec<(String, bool)> {
    let Some(features) = table.get("features").and_then(Value::as_table) else {
        return Vec::new();
    };
    let lines: Vec<&str> = text.lines().collect();
    let documented = |feature: &String| {
        let defines = |line: &&str| line.split('=').next().unwrap_or_default().trim() == feature;
        let at = lines.iter().position(defines);
        at.is_some_and(|at| at > 0 && lines[at - 1].starts_with("##"))
    };
    let named = features.keys().filter(|feature| *feature != "default");
    named
        .map(|feature| (feature.clone(), documented(feature)))
        .collect()
}

/// Every crate has a front page, an example and a contract test.
fn parts(files: &[File], krate: &str) -> Vec<String> {
    let root = format!("crates/{krate}");
    let there = |path: &str| {
        files
            .iter()
            .any(|file| file.path == format!("{root}/{path}"))
    };
    let example = files.iter().any(|file| {
        file.path.starts_with(&format!("{root}/examples/")) && file.path.ends_with(".rs")
    });
    // The facade only re-exports: what it does as a whole is tested in `tests/`.
    let contract = krate == "evenkeel" || there("tests/contract.rs");
    let wanted = [
        (there("README.md"), "README.md"),
        (example, "examples/"),
        (contract, "tests/contract.rs"),
    ];
    let missing = wanted.iter().filter(|(there, _)| !there);
    missing
        .map(|(_, what)| format!("{root}: {what} is missing"))
        .collect()
}

/// A kernel is modelled, and its models are shown to notice something.
fn kernel(files: &[File], krate: &str, listed: bool) -> Vec<String> {
    let source = format!("crates/{krate}/src/");
    let modelled = files.iter().any(|file| {
        let model_file = file.path.starts_with(&source) && file.path.ends_with("_models.rs");
        model_file && file.text.contains("model(")
    });
    let mut found = Vec::new();
    if !modelled {
        found.push(format!("crates/{krate}: no loom model in src/*_models.rs"));
    }
    if !listed {
        found.push(format!("crates/{krate}: no mutant in xtask/mutants.toml"));
    }
    found
}

/// Whether the model that a mutant names is in the file that its path means.
fn has_model(files: &[File], mutant: &Mutant) -> bool {
    let Some((module, name)) = mutant.model.rsplit_once("::") else {
        return false;
    };
    let path = format!(
        "crates/{}/src/{}.rs",
        mutant.krate,
        module.replace("::", "/")
    );
    let definition = format!("fn {name}() {{");
    files
        .iter()
        .find(|file| file.path == path)
        .is_some_and(|file| file.lines().any(|(_, line)| line.trim() == definition))
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    const GOOD: &str = "
[package]
name = \"evenkeel-x\"
description = \"X.\"

[features]
default = []
## What it adds.
tracing = []

[lints]
workspace = true

[package.metadata.docs.rs]
all-features = true
rustdoc-args = [\"--cfg\", \"docsrs\"]
";

    fn ruled(text: &str) -> Vec<String> {
        manifest_rules(&file("crates/x/Cargo.toml", text))
    }

    #[test]
    fn a_good_manifest_passes() {
        assert!(ruled(GOOD).is_empty());
        let private = "[package]\nname = \"tests\"\npublish = false\n[lints]\nworkspace = true\n";
        assert!(ruled(private).is_empty());
    }

    #[test]
    fn each_fault_of_a_manifest_is_found() {
        for (from, to, complaint) in [
            ("workspace = true", "workspace = false", "[lints]"),
            ("all-features = true\n", "", "all-features"),
            ("docsrs", "docs", "--cfg docsrs"),
            ("description = \"X.\"\n", "", "description"),
            ("## What it adds.\n", "", "feature `tracing`"),
        ] {
            let found = ruled(&GOOD.replace(from, to));
            assert!(
                found.len() == 1 && found[0].contains(complaint),
                "{found:?}"
            );
        }
    }

    #[test]
    fn missing_parts_are_named() {
        let whole = [
            "crates/x/README.md",
            "crates/x/examples/a.rs",
            "crates/x/tests/contract.rs",
        ];
        let files: Vec<File> = whole.iter().map(|path| file(path, "")).collect();
        assert!(parts(&files, "x").is_empty());
        for (at, what) in ["README.md", "examples/", "tests/contract.rs"]
            .iter()
            .enumerate()
        {
            let mut files: Vec<File> = whole.iter().map(|path| file(path, "")).collect();
            files.remove(at);
            assert_eq!(parts(&files, "x"), [format!("crates/x: {what} is missing")]);
        }
    }

    #[test]
    fn a_kernel_needs_a_model_and_a_mutant() {
        let model = [file(
            "crates/x/src/node_models.rs",
            "model(\"wait\", None, || {});",
        )];
        assert!(kernel(&model, "x", true).is_empty());
        assert_eq!(kernel(&model, "x", false).len(), 1);
        assert_eq!(
            kernel(&[file("crates/x/src/node_models.rs", "")], "x", true).len(),
            1
        );
        assert_eq!(kernel(&[], "x", false).len(), 2);
    }

    #[test]
    fn a_mutant_names_a_model_that_is_there() {
        let list = "[[mutant]]
crate = \"x\"
file = \"src/node.rs\"
line = \"a\"
with = \"b\"
model = \"node_models::wait\"
expect = \"deadlock\"
";
        let known = |source: &str| {
            let mutant = mutants::parsed(list).unwrap().remove(0);
            has_model(&[file("crates/x/src/node_models.rs", source)], &mutant)
        };
        assert!(known("#[test]\nfn wait() {\n}\n"));
        assert!(!known("#[test]\nfn waits() {\n}\n"));
        assert!(!known("// fn wait() {\n"));
    }
}
