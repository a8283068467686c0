//! Reports, beside anyhow's errors.

use std::fmt;

use evenkeel::errors::{Code, Known, Report, Status};

use crate::harness::Bench;

/// An error without fields, as most are.
#[derive(Debug)]
struct Missing;

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the binary is missing")
    }
}

impl std::error::Error for Missing {}

impl Known for Missing {
    fn code(&self) -> Code {
        const CODE: Code = Code::new("costs", "missing", Status::NotFound);
        CODE
    }
}

pub(crate) fn run(bench: &mut Bench) {
    bench
        .case("new")
        .op("evenkeel", || Report::new(Missing))
        .op("anyhow", || anyhow::Error::new(Missing))
        .run();
}
