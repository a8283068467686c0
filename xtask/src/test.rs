//! `cargo xtask test`: the tests and doctests of everything, and of each crate alone with no features.

use crate::process::{Check, Checked, Outcome, shown};
use crate::workspace;

pub(crate) fn run(check: &Check) -> Checked {
    shown(check.cargo([
        "test",
        "--workspace",
        "--exclude",
        "evenkeel-tests",
        "--all-features",
    ]))?;
    // Without features, since one of them is the peers, which only `bench` builds.
    shown(check.cargo(["test", "-p", "evenkeel-tests"]))?;
    for directory in workspace::crates(&check.root)? {
        let package = workspace::package(&directory);
        shown(check.cargo(["test", "-p", &package, "--no-default-features"]))?;
    }
    Ok(Outcome::Passed)
}
