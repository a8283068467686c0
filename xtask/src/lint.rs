//! `cargo xtask lint`: clippy with the lints of the workspace, warnings denied.

use crate::process::{Check, Checked, Outcome, shown};

pub(crate) fn run(check: &Check) -> Checked {
    let house = [
        "clippy",
        "--workspace",
        "--exclude",
        "evenkeel-tests",
        "--all-features",
        "--all-targets",
    ];
    // Without features, since one of them is the peers, which only `bench` builds.
    let tests = ["clippy", "-p", "evenkeel-tests", "--all-targets"];
    for selection in [&house[..], &tests] {
        shown(check.cargo(selection.iter().chain(&["--", "-D", "warnings"])))?;
    }
    Ok(Outcome::Passed)
}
