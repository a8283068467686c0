//! What the crates cost beside what their users have today: `cargo xtask bench [AREA] [--json]`.
//!
//! Ours and the peers run interleaved in one process, so that a neighbour's noise meets all of them. Hold ratios between
//! the minima, absolute bars against the medians.

mod allocations;
mod bucket;
mod cancel;
mod errors;
mod harness;
mod heartbeat;
mod hedge;
mod report;
mod steward;
mod threads;

use std::process::ExitCode;

use harness::Bench;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// An area and what runs its cases.
type Area = (&'static str, fn(&mut Bench));

const AREAS: [Area; 6] = [
    ("errors", errors::run),
    ("cancel", cancel::run),
    ("heartbeat", heartbeat::run),
    ("hedge", hedge::run),
    ("bucket", bucket::run),
    ("steward", steward::run),
];

fn main() -> ExitCode {
    let mut json = false;
    let mut asked = None;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--json" => json = true,
            area if AREAS.iter().any(|(name, _)| *name == area) => asked = Some(argument),
            _ => {
                let areas = AREAS.map(|(name, _)| name).join(", ");
                eprintln!(
                    "error: `{argument}` is not allowed: [AREA] [--json], where AREA is one of {areas}"
                );
                return ExitCode::from(2);
            }
        }
    }
    let mut bench = Bench::new(json);
    for (name, run) in AREAS {
        if asked.as_deref().is_none_or(|asked| asked == name) {
            bench.area(name);
            run(&mut bench);
        }
    }
    ExitCode::SUCCESS
}
