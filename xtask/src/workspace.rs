//! What is in the workspace.

use std::fs;
use std::path::{Path, PathBuf};

/// The crates whose kernels are modelled, by their directory below `crates/`.
pub(crate) const KERNELS: [&str; 5] = ["cancel", "heartbeat", "hedge", "bucket", "steward"];

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("xtask stands below the root")
        .to_owned()
}

/// The directories below `crates/`, in order.
pub(crate) fn crates(root: &Path) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for entry in entries(&root.join("crates"))? {
        if entry.join("Cargo.toml").is_file() {
            names.push(name(&entry));
        }
    }
    Ok(names)
}

/// The package of a directory below `crates/`.
pub(crate) fn package(directory: &str) -> String {
    match directory {
        "evenkeel" => directory.to_owned(),
        _ => format!("evenkeel-{directory}"),
    }
}

/// The crate that `-p` means: its directory or its package.
pub(crate) fn named(root: &Path, asked: &str) -> Result<String, String> {
    let all = crates(root)?;
    match all
        .iter()
        .find(|one| *one == asked || package(one) == asked)
    {
        Some(found) => Ok(found.clone()),
        None => Err(format!(
            "there is no crate `{asked}`: one of {}",
            all.join(", ")
        )),
    }
}

/// Every file below `root`, as paths relative to it and in order, without build output and dot directories, save the
/// few that belong to the project.
pub(crate) fn files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in entries(&directory)? {
            let name = name(&entry);
            let ours =
                !name.starts_with('.') || [".cargo", ".github", ".ci"].contains(&name.as_str());
            if entry.is_dir() && name != "target" && ours {
                left.push(entry);
            } else if entry.is_file() && name != ".git" {
                found.push(
                    entry
                        .strip_prefix(root)
                        .expect("it was found below")
                        .to_owned(),
                );
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a file as text.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("{}: {error}", directory.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_a_crate() {
        let all = crates(&root()).unwrap();
        for kernel in KERNELS {
            assert!(all.iter().any(|one| one == kernel), "{kernel}");
        }
    }

    #[test]
    fn a_crate_goes_by_directory_or_package() {
        assert_eq!(named(&root(), "cancel").as_deref(), Ok("cancel"));
        assert_eq!(named(&root(), "evenkeel-cancel").as_deref(), Ok("cancel"));
        assert_eq!(named(&root(), "evenkeel").as_deref(), Ok("evenkeel"));
        assert!(
            named(&root(), "cancle")
                .unwrap_err()
                .contains("one of bucket, cancel")
        );
    }

    #[test]
    fn files_are_the_project_without_build_output() {
        let all = files(&root()).unwrap();
        for there in ["Cargo.lock", ".cargo/config.toml", "xtask/src/workspace.rs"] {
            assert!(all.contains(&PathBuf::from(there)), "{there}");
        }
        assert!(
            !all.iter()
                .any(|path| path.starts_with("target") || path.starts_with(".git/"))
        );
    }
}
