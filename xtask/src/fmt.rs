//! `cargo xtask fmt`: every file stands as rustfmt would write it.

use crate::process::{Check, Checked, Outcome, shown};

pub(crate) fn run(check: &Check) -> Checked {
    shown(check.cargo(["fmt", "--all", "--check"]))
        .map_err(|failure| format!("{failure}\n`cargo fmt` mends it"))?;
    Ok(Outcome::Passed)
}
