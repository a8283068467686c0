//! Errors on their way up: from the disk through the runner of jobs to the user.
//!
//! Four jobs fail, each in its own way. Three of these ways somebody thought of; the fourth is a bug. Whatever happens, the user gets
//! a sentence and an id, and the log (standard error) the whole story under that id.
//!
//! `cargo run -p evenkeel --features full --example error_propagation`

use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use evenkeel::errors::{
    Code, Known, Origin, Problem, Record, Report, ResultExt, Retry, Status, sink,
};

/// The lowest layer knows files, and nothing of jobs.
mod binary {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no file at {0}")]
    pub(super) struct Missing(PathBuf);

    impl Known for Missing {
        fn code(&self) -> Code {
            Code::new("runner.binary", "missing", Status::NotFound)
        }
    }

    pub(super) fn is_executable(path: &Path) -> Result<bool, Report> {
        // That a file is missing is an everyday thing. Whatever else keeps us from looking at it is not.
        let metadata = path.metadata().raise_if(|error| {
            (error.kind() == ErrorKind::NotFound).then(|| Missing(path.into()))
        })?;
        Ok(has_execute_bit(&metadata))
    }

    #[cfg(unix)]
    fn has_execute_bit(metadata: &std::fs::Metadata) -> bool {
        use std::os::unix::fs::PermissionsExt;
        metadata.permissions().mode() & 0o111 != 0
    }

    #[cfg(not(unix))]
    fn has_execute_bit(_: &std::fs::Metadata) -> bool {
        true
    }
}

/// The middle layer knows jobs, and says what went wrong in terms of them.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: u32,
    pub(crate) binary: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error("job {0} cannot start: its binary is not available")]
    NotInstalled(u32),
    #[error("job {0} cannot start: its binary is not executable")]
    NotExecutable(u32),
    #[error("job {id} ended with {status}")]
    Failed {
        id: u32,
        status: std::process::ExitStatus,
    },
}

impl Known for JobError {
    fn code(&self) -> Code {
        let (reason, status) = match self {
            Self::NotInstalled(_) => ("not-installed", Status::FailedPrecondition),
            Self::NotExecutable(_) => ("not-executable", Status::FailedPrecondition),
            Self::Failed { .. } => ("failed", Status::Aborted),
        };
        Code::new("runner.jobs", reason, status)
    }

    fn user_message(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::NotInstalled(id) => format!("Job {id} is not installed on this machine.").into(),
            Self::NotExecutable(id) => format!("Job {id} is installed, but may not run.").into(),
            Self::Failed { id, .. } => format!("Job {id} ran, and failed.").into(),
        })
    }

    fn retry(&self) -> Retry {
        match self {
            Self::NotInstalled(_) | Self::NotExecutable(_) => Retry::Never,
            Self::Failed { .. } => Retry::Backoff,
        }
    }
}

impl Job {
    /// Runs the job, which prints how many rows it changed.
    fn run(&self) -> Result<u64, Report> {
        // Users know jobs, not paths: a missing file means to them that the job is. The log keeps both.
        let ready = binary::is_executable(&self.binary).raise_if(|report| {
            report
                .downcast_ref::<binary::Missing>()
                .map(|_| JobError::NotInstalled(self.id))
        })?;
        if !ready {
            Err(JobError::NotExecutable(self.id))?;
        }
        let output = Command::new(&self.binary)
            .arg(format!("--id={}", self.id))
            .output()
            .bug()?;
        if !output.status.success() {
            Err(JobError::Failed {
                id: self.id,
                status: output.status,
            })?;
        }
        let rows = String::from_utf8(output.stdout).bug()?;
        rows.trim()
            .parse()
            .bug()
            .note_with(|| format!("the job printed {rows:?}"))
    }
}

/// The top layer answers the user. Here is the boundary: no report goes further up.
pub(crate) fn answer(job: &Job, log: impl FnOnce(&Record<'_>)) -> Result<String, Problem> {
    match job.run().trail() {
        Ok(rows) => Ok(format!("Job {} changed {rows} rows.", job.id)),
        Err(report) => Err(report.boundary(log)),
    }
}

/// This program is its own jobs, so that it needs nothing else on the machine.
fn be_job(id: &str) -> ExitCode {
    match id {
        "3" => return ExitCode::from(3),
        "4" => println!("100%done"),
        _ => println!("{id}00"),
    }
    ExitCode::SUCCESS
}

#[allow(
    dead_code,
    reason = "the tests include this file for what stands above"
)]
fn main() -> Result<ExitCode, Report> {
    if let Some(id) = std::env::args()
        .nth(1)
        .as_deref()
        .and_then(|arg| arg.strip_prefix("--id="))
    {
        return Ok(be_job(id));
    }
    Origin::new("runner", env!("CARGO_PKG_VERSION"))
        .set()
        .bug()?;

    let this = std::env::current_exe().bug()?;
    let not_executable = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let jobs = [
        Job {
            id: 1,
            binary: "/nowhere/bin/job".into(),
        },
        Job {
            id: 2,
            binary: not_executable,
        },
        Job {
            id: 3,
            binary: this.clone(),
        },
        Job {
            id: 4,
            binary: this.clone(),
        },
        Job {
            id: 5,
            binary: this,
        },
    ];
    for job in jobs {
        match answer(&job, sink::stderr) {
            Ok(answer) => println!("{answer}\n"),
            Err(problem) => println!("{problem}\n"),
        }
    }
    Ok(ExitCode::SUCCESS)
}
