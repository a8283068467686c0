//! One meaning a name: no two crates export the same name at their root for different things.

use std::collections::BTreeMap;

use super::File;

pub(super) fn complaints(files: &[File]) -> Vec<String> {
    let mut exports: BTreeMap<String, Vec<(&str, String)>> = BTreeMap::new();
    for file in files {
        let root = file.path.strip_prefix("crates/");
        let Some(krate) = root.and_then(|path| path.strip_suffix("/src/lib.rs")) else {
            continue;
        };
        for Export { name, from } in exported(&file.text) {
            let from = from.unwrap_or_else(|| krate.to_owned());
            exports.entry(name).or_default().push((krate, from));
        }
    }
    let mut found = Vec::new();
    for (name, places) in exports {
        let Some((first, rest)) = places.split_first() else {
            continue;
        };
        for (krate, from) in rest {
            if from != &first.1 {
                found.push(format!(
                    "crates/{krate}/src/lib.rs: `{name}` means something else in {}",
                    first.0
                ));
            }
        }
    }
    found
}

/// A name at the root of a crate.
#[derive(Debug, PartialEq, Eq)]
struct Export {
    name: String,
    /// The directory of the sibling that it comes from, if it is a re-export.
    from: Option<String>,
}

/// What a `lib.rs` in the house's style exports: items and `pub use` that begin a line.
fn exported(source: &str) -> Vec<Export> {
    const ITEMS: [&str; 9] = [
        "struct", "enum", "union", "trait", "type", "fn", "mod", "const", "static",
    ];
    let mut found = Vec::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let Some(item) = line.strip_prefix("pub ") else {
            continue;
        };
        if let Some(tree) = item.strip_prefix("use ") {
            let mut tree = tree.to_owned();
            while !tree.contains(';') {
                let Some(more) = lines.next() else { break };
                tree.push(' ');
                tree.push_str(more.trim());
            }
            found.extend(imported(tree.split(';').next().unwrap_or_default()));
            continue;
        }
        // `async` and `unsafe`, and `const` before `fn`, say how, not what.
        let mut words = item.split_whitespace().peekable();
        while let Some(word) = words.next() {
            let how = word == "const" && words.peek() == Some(&"fn");
            if ITEMS.contains(&word) && !how {
                found.extend(words.next().map(|name| Export {
                    name: identifier(name).to_owned(),
                    from: None,
                }));
                break;
            }
        }
    }
    found
}

/// The names that `use a::{B, C as D}` brings. Nested braces and globs are not the house's style.
fn imported(tree: &str) -> Vec<Export> {
    let (path, names) = match tree.split_once('{') {
        Some((path, names)) => (path, names.trim_end().trim_end_matches('}')),
        None => match tree.rsplit_once("::") {
            Some((path, name)) => (path, name),
            None => (tree, tree),
        },
    };
    let first = identifier(path.trim());
    let from = first
        .strip_prefix("evenkeel_")
        .map(|sibling| sibling.replace('_', "-"));
    let names = names.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(|name| {
            let last = name.rsplit(" as ").next().unwrap_or(name);
            Export {
                name: identifier(last.trim()).to_owned(),
                from: from.clone(),
            }
        })
        .collect()
}

fn identifier(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn names(source: &str) -> Vec<String> {
        exported(source).into_iter().map(|one| one.name).collect()
    }

    #[test]
    fn exports_are_read() {
        let source = "
pub use a::{B, C as D};
pub use e::{
    F,
    G,
};
pub use evenkeel_bucket as bucket;
mod private;
pub mod open;
pub(crate) use hidden::H;
pub struct I<T>(T);
pub async fn j<T>() {}
pub const fn k() {}
pub const L: u8 = 0;
pub unsafe trait M: Send {}
impl I { pub fn method() {} }
    pub fn inner() {}
";
        let expected = "B D F G bucket open I j k L M";
        assert_eq!(names(source).join(" "), expected);
    }

    #[test]
    fn a_name_for_two_things_is_found() {
        let complaints = complaints(&[
            file("crates/a/src/lib.rs", "pub use status::Status;\n"),
            file("crates/b/src/lib.rs", "pub enum Status {}\n"),
            file("crates/b/src/deep.rs", "pub enum Other {}\n"),
            file("crates/c/src/lib.rs", "pub struct Other;\n"),
        ]);
        assert_eq!(
            complaints,
            ["crates/b/src/lib.rs: `Status` means something else in a"]
        );
    }

    #[test]
    fn the_same_thing_may_be_exported_again() {
        let complaints = complaints(&[
            file("crates/cancel/src/lib.rs", "pub use scope::Shutdown;\n"),
            file(
                "crates/steward/src/lib.rs",
                "pub use evenkeel_cancel::{Shutdown};\n",
            ),
        ]);
        assert_eq!(complaints, [""; 0]);
    }
}
