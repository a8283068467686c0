//! `cargo xtask package`: every published crate is packaged, and built from its package.

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
    shown(check.cargo(published.iter().chain(&["--allow-dirty"])))?;
    Ok(Outcome::Passed)
}
