//! `cargo xtask docs`: rustdoc with warnings denied, with all features and with none.

use crate::process::{Check, Checked, Outcome, shown};

pub(crate) fn run(check: &Check) -> Checked {
    let published = [
        "doc",
        "--workspace",
        "--exclude",
        "evenkeel-tests",
        "--exclude",
        "xtask",
        "--no-deps",
    ];
    // Without features first, so that what is left below `target/doc` has everything.
    for features in ["--no-default-features", "--all-features"] {
        let mut rustdoc = check.cargo(published);
        rustdoc.arg(features).env("RUSTDOCFLAGS", "-Dwarnings");
        shown(rustdoc)?;
    }
    Ok(Outcome::Passed)
}
