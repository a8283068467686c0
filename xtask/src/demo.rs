//! `cargo xtask demo`: the gateway before three faulty replicas, under load.

use crate::process::{Check, Checked, Outcome, ended};

pub(crate) fn run(check: &Check) -> Checked {
    let gateway = [
        "run",
        "--release",
        "-p",
        "evenkeel",
        "--features",
        "full",
        "--example",
        "gateway",
    ];
    let status = check.cargo(gateway.iter().chain(&["--", "demo"])).status();
    match status.map_err(|error| format!("the gateway did not start: {error}"))? {
        status if status.success() => Ok(Outcome::Passed),
        status => Err(format!("the demo {}", ended(status))),
    }
}
