//! What a Rust file may hold: its length, its orderings, its mentions of loom.

use super::File;

pub(super) fn complaints(file: &File) -> Vec<String> {
    let rules = [too_long, unfinished, orderings, loom_gates];
    rules.iter().flat_map(|rule| rule(file)).collect()
}

/// No file passes 500 lines.
fn too_long(file: &File) -> Vec<String> {
    let lines = file.lines().count();
    if lines > 500 {
        vec![file.at(lines, "over 500 lines: give each subject its own file")]
    } else {
        Vec::new()
    }
}

/// Nothing is left for later in silence.
fn unfinished(file: &File) -> Vec<String> {
    // Put together, so that this file does not hold them.
    let marks = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("db", "g!("),
    ];
    let mut found = Vec::new();
    for (at, line) in file.lines() {
        for mark in marks.iter().filter(|mark| code(line).contains(**mark)) {
            found.push(file.at(at, &format!("`{mark}…)` is left")));
        }
    }
    found
}

/// Each ordering in a crate is argued: an `ORDERING:` comment on its line, or above it with at most six lines of code
/// between. Tests and models are exempt.
fn orderings(file: &File) -> Vec<String> {
    const NEAR: usize = 6;
    let source = file.path.starts_with("crates/") && file.path.contains("/src/");
    let tests = file.path.ends_with("/tests.rs") || is_models(&file.path);
    if !source || tests {
        return Vec::new();
    }
    let lines: Vec<&str> = before_tests(&file.text);
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if !names_ordering(code(line)) {
            continue;
        }
        let above = lines[..at].iter().rev();
        let mut code_between = 0;
        let near = above.take_while(|line| {
            code_between += usize::from(!code(line).trim().is_empty());
            code_between <= NEAR
        });
        let argued = std::iter::once(line)
            .chain(near)
            .any(|line| line.contains("ORDERING:"));
        if !argued {
            found.push(file.at(at + 1, "an ordering without `// ORDERING:` nearby"));
        }
    }
    found
}

/// Only `crates/sync` names loom, but for the gates that CONTRIBUTING lists.
fn loom_gates(file: &File) -> Vec<String> {
    let exempt = file.path.starts_with("crates/sync/")
        || file.path.starts_with("xtask/")
        || is_models(&file.path);
    if exempt {
        return Vec::new();
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = code(line).trim();
        let next = lines[at + 1..]
            .iter()
            .map(|line| line.trim())
            .find(|line| !line.starts_with("#["))
            .unwrap_or("");
        let gate = code.contains("cfg") && word(code, "loom");
        let allowed = match code {
            "#[cfg(all(test, loom))]" => next.starts_with("mod ") && next.ends_with("_models;"),
            "#[cfg(all(test, not(loom)))]" => next.starts_with("mod ") && next.contains("tests"),
            // Beside a feature or a system, if need be.
            head if head.starts_with("#![cfg(") && head.contains("not(loom)") => {
                ["/tests/", "/examples/"]
                    .iter()
                    .any(|place| file.path.contains(place))
            }
            "#[cfg(not(loom))]" => stands_on_the_system(&file.text),
            _ => !gate,
        };
        if !allowed {
            found.push(file.at(at + 1, "a gate on loom that CONTRIBUTING does not list"));
        } else if !gate && code.contains("loom::") {
            found.push(file.at(at + 1, "only crates/sync and the models name loom"));
        }
    }
    found
}

/// tokio's modules that it leaves out under loom.
fn stands_on_the_system(text: &str) -> bool {
    ["net", "process", "signal"]
        .iter()
        .any(|module| text.contains(&format!("tokio::{module}")))
        || ["mod signal", "mod systemd"]
            .iter()
            .any(|module| text.contains(module))
}

fn is_models(path: &str) -> bool {
    path.ends_with("_models.rs")
}

/// The lines above the unit tests, which stand last.
fn before_tests(text: &str) -> Vec<&str> {
    let is_gate =
        |line: &&str| ["#[cfg(all(test, not(loom)))]", "#[cfg(test)]"].contains(&line.trim());
    let lines: Vec<&str> = text.lines().collect();
    let opens = |line: &str| line.starts_with("mod ") && line.ends_with('{');
    let gated =
        |at: &usize| is_gate(&lines[*at]) && lines.get(at + 1).is_some_and(|line| opens(line));
    let end = (0..lines.len()).find(gated).unwrap_or(lines.len());
    lines[..end].to_vec()
}

/// The line without its comment. A `//` in a text ends it too early, which hides no code that we would write.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn names_ordering(code: &str) -> bool {
    let code = code.trim_start();
    let names = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
    let import = code.starts_with("use ") || code.starts_with("pub use ");
    !import && names.iter().any(|name| word(code, name))
}

/// Whether `text` holds `wanted` with no letter of a longer name around it.
fn word(text: &str, wanted: &str) -> bool {
    let part_of_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(wanted).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + wanted.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn in_crate(text: &str) -> File {
        file("crates/cancel/src/node.rs", text)
    }

    #[test]
    fn a_long_file_is_found() {
        assert!(too_long(&in_crate(&"\n".repeat(500))).is_empty());
        assert_eq!(too_long(&in_crate(&"\n".repeat(501))).len(), 1);
    }

    #[test]
    fn what_is_unfinished_is_found() {
        let text = format!(
            "fn f() {{\n    {}x)\n}} // {}x)\n",
            concat!("db", "g!("),
            concat!("to", "do!(")
        );
        assert_eq!(unfinished(&in_crate(&text)).len(), 1);
    }

    #[test]
    fn an_ordering_must_be_argued_nearby() {
        let argued = "// ORDERING: Release pairs with the load in `seen`; model `seen`.\na.store(1, Release);\n";
        assert!(orderings(&in_crate(argued)).is_empty());
        assert!(
            orderings(&in_crate(
                "a.load(Acquire); // ORDERING: pairs with `set`.\n"
            ))
            .is_empty()
        );
        assert_eq!(
            orderings(&in_crate("a.store(1, Ordering::Release);\n")).len(),
            1
        );
        // The comment's own lines do not count as distance, code does.
        let comment = "// ORDERING: why,\n// at length.\n//\n//\n//\n//\n//\n//\n";
        assert!(orderings(&in_crate(&format!("{comment}a.load(Acquire);\n"))).is_empty());
        let far = "// ORDERING: why.\n".to_owned() + &"f();\n".repeat(7) + "a.load(Acquire);\n";
        assert_eq!(orderings(&in_crate(&far)).len(), 1);
    }

    #[test]
    fn imports_tests_and_models_need_no_argument() {
        assert!(
            orderings(&in_crate(
                "use std::sync::atomic::Ordering::{Acquire, Release};\n"
            ))
            .is_empty()
        );
        let tests = "#[cfg(all(test, not(loom)))]\nmod tests {\n    a.load(Relaxed);\n}\n";
        assert!(orderings(&in_crate(tests)).is_empty());
        for exempt in ["node_models.rs", "node/tests.rs"] {
            let exempt = file(&format!("crates/cancel/src/{exempt}"), "a.load(Relaxed);\n");
            assert!(orderings(&exempt).is_empty());
        }
        assert!(orderings(&in_crate("fn released() -> AcquireGuard;\n")).is_empty());
    }

    #[test]
    fn the_listed_gates_on_loom_pass() {
        let text = "#[cfg(all(test, loom))]\nmod node_models;\n#[cfg(all(test, not(loom)))]\nmod tests {}\n";
        assert!(loom_gates(&in_crate(text)).is_empty());
        assert!(
            loom_gates(&file(
                "crates/cancel/tests/contract.rs",
                "#![cfg(not(loom))]\n"
            ))
            .is_empty()
        );
        assert!(
            loom_gates(&in_crate("#[cfg(not(loom))]\nuse tokio::signal::ctrl_c;\n")).is_empty()
        );
        assert!(
            loom_gates(&in_crate(
                "//! Compiles under `--cfg loom` too, see cfg(loom).\n"
            ))
            .is_empty()
        );
        let sync = file(
            "crates/sync/src/lib.rs",
            "#[cfg(loom)]\npub use loom::model;\n",
        );
        assert!(loom_gates(&sync).is_empty());
    }

    #[test]
    fn other_mentions_of_loom_are_found() {
        for bad in [
            "#[cfg(loom)]\nuse x;\n",
            "#[cfg(not(loom))]\nfn spin() {}\n",
            "#![cfg(not(loom))]\n",
            "#![cfg(loom)]\n",
            "#[cfg(all(test, loom))]\nmod tests;\n",
            "if cfg!(loom) {}\n",
            "let cell = loom::cell::UnsafeCell::new(1);\n",
        ] {
            assert_eq!(loom_gates(&in_crate(bad)).len(), 1, "{bad}");
        }
    }
}
