//! `cargo xtask bench`: our costs beside the peers', in one run.

use crate::process::{Check, Checked, Outcome, ended};

pub(crate) fn run(check: &Check, area: Option<&str>, json: bool) -> Checked {
    let costs = [
        "bench",
        "--profile",
        "bench",
        "-p",
        "evenkeel-tests",
        "--features",
        "peers",
        "--bench",
        "costs",
    ];
    let mut command = check.cargo(costs);
    command.arg("--").args(area).args(json.then_some("--json"));
    // With it, a peer that takes backtraces would be measured by them.
    command
        .env_remove("RUST_BACKTRACE")
        .env_remove("RUST_LIB_BACKTRACE");
    match command
        .status()
        .map_err(|error| format!("the benchmark did not start: {error}"))?
    {
        status if status.success() => Ok(Outcome::Passed),
        status => Err(format!("the benchmark {}", ended(status))),
    }
}
