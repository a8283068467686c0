use std::borrow::Cow;

use evenkeel_errors::{Code, Known, Retry, Status};

use crate::{Denied, Refusal};

impl Known for Denied {
    fn code(&self) -> Code {
        let (reason, status) = match self.refusal() {
            Refusal::Later(_) => ("later", Status::ResourceExhausted),
            Refusal::Never => ("never", Status::FailedPrecondition),
            // The limit refused it: the deadline has not passed.
            Refusal::DeadlineTooSoon => ("deadline-too-soon", Status::ResourceExhausted),
            Refusal::Unavailable => ("unavailable", Status::Unavailable),
        };
        Code::new("evenkeel.bucket", reason, status)
    }

    fn user_message(&self) -> Option<Cow<'static, str>> {
        let message = match self.refusal() {
            // Whole seconds, rounded up: come back no earlier.
            Refusal::Later(wait) => {
                let seconds = wait.as_nanos().div_ceil(1_000_000_000);
                return Some(format!("Too many requests: try again in {seconds} s.").into());
            }
            Refusal::Never => "This is more than is allowed.",
            Refusal::DeadlineTooSoon => "Too many requests to answer this one in time.",
            Refusal::Unavailable => "This cannot be allowed just now.",
        };
        Some(message.into())
    }

    fn retry(&self) -> Retry {
        match (self.refusal(), self.retry_after()) {
            (_, Some(wait)) => Retry::After(wait),
            (Refusal::Never, None) => Retry::Never,
            (_, None) => Retry::Backoff,
        }
    }
}
