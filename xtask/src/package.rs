//! `cargo xtask package`: every published crate is packaged, and built from its package.

use std::time::UNIX_EPOCH;

use crate::process::{Check, Checked, Outcome, shown};

pub(crate) fn run(check: &Check) -> Checked {
    // All at once: a crate alone finds its siblings in no registry before they are published. Dirty, so that it can
    // run before a commit.
    let published = [
        "package",
        "--workspace",
        "--exclude",
        "evenkeel-tests",
        "--exclude",
        "xtask",
    ];
    // Cargo keeps what it unpacks by the path of the packages and their version, for ever: where another state of the workspace was
    // packaged before, that would be built again. So the path is a new one each time.
    let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    let target = check.root.join(format!("target/package-{now}"));
    let mut command = check.cargo(published.iter().chain(&["--allow-dirty"]));
    command.arg("--target-dir").arg(&target);
    let packaged = shown(command);
    let _ = std::fs::remove_dir_all(&target);
    packaged?;
    Ok(Outcome::Passed)
}
