//! Where a [`boundary`](crate::Report::boundary) logs to.
//!
//! A sink is any function of a [`Record`]; these are the usual ones. A program with a log of its own passes a closure:
//!
//! ```
//! use std::io::Write;
//! use evenkeel_errors::Report;
//!
//! # fn main() -> std::io::Result<()> {
//! let mut log = Vec::new(); // say a file
//! let problem = Report::bug("no leader elected").boundary(|record| {
//!     // A log that cannot be written to must not keep the answer from the user.
//!     let _ = writeln!(log, "{record}");
//! });
//! # assert!(!log.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! A sink should not panic: the entry is then lost, for the report counts as logged, and so is the answer to the user.

use std::io::Write as _;

use crate::Record;

/// Writes the record to standard error, as one line of JSON by one write. If that fails, nothing can be done about it.
pub fn stderr(record: &Record<'_>) {
    let line = format!("{record}\n");
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Emits the record as a `tracing` event named `report` with the target `evenkeel.errors`, on the level that is the
/// record's severity.
///
/// Its fields are the members of the [`Record`], strings all of them but `process.pid`, without `time` and `severity`,
/// which subscribers have themselves; an error without a code has no `error.code` and no `error.status`. Nothing is
/// formatted if no subscriber wants the event.
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub fn tracing(record: &Record<'_>) {
    use crate::{Origin, Severity};

    let (report, problem) = (record.report(), record.problem());
    let code = problem.code();
    // The level of an event is a constant, and the values are computed only if somebody listens on it.
    macro_rules! emit {
        ($level:ident) => {
            ::tracing::event!(
                name: "report",
                target: "evenkeel.errors",
                ::tracing::Level::$level,
                error.id = report.id().to_string(),
                error.kind = report.kind().name(),
                error.origin_kind = report.origin_kind().name(),
                error.code = code.map(|code| code.to_string()),
                error.status = code.map(|code| code.status().name()),
                error.message = record.message(),
                error.told = problem.to_string(),
                error.story = record.story().to_string(),
                service.name = Origin::get().service(),
                service.version = Origin::get().version(),
                service.instance.id = Origin::get().instance(),
                host.name = Origin::get().host(),
                process.pid = Origin::get().pid(),
            )
        };
    }
    match record.severity() {
        Severity::Info => emit!(INFO),
        Severity::Warn => emit!(WARN),
        Severity::Error => emit!(ERROR),
    }
}
