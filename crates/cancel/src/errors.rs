use evenkeel_errors::{Code, Known, Retry, Status};

use crate::{Cause, NoRuntime, Refused, ScopeClosed};

const DOMAIN: &str = "evenkeel.cancel";

impl Known for Cause {
    fn code(&self) -> Code {
        match self {
            Self::Timeout => Code::new(DOMAIN, "timeout", Status::DeadlineExceeded),
            Self::User => Code::new(DOMAIN, "user", Status::Cancelled),
            Self::Superseded => Code::new(DOMAIN, "superseded", Status::Aborted),
            Self::Shutdown => Code::new(DOMAIN, "shutdown", Status::Unavailable),
            Self::Failed => Code::new(DOMAIN, "failed", Status::Aborted),
            Self::Custom(_) => Code::new(DOMAIN, "custom", Status::Cancelled),
        }
    }

    fn retry(&self) -> Retry {
        match self {
            // Another instance, or this one after its restart, may answer; whatever failed may have been repaired.
            Self::Timeout | Self::Shutdown | Self::Failed => Retry::Backoff,
            _ => Retry::Never,
        }
    }
}

impl Known for Refused {
    fn code(&self) -> Code {
        match self {
            Self::Cancelled(cause) => cause.code(),
            Self::Delivered => Code::new(DOMAIN, "delivered", Status::AlreadyExists),
            Self::Reserved => Code::new(DOMAIN, "reserved", Status::Aborted),
        }
    }
}

impl Known for NoRuntime {
    fn code(&self) -> Code {
        Code::new(DOMAIN, "no-runtime", Status::FailedPrecondition)
    }
}

impl Known for ScopeClosed {
    fn code(&self) -> Code {
        Code::new(DOMAIN, "scope-closed", Status::Unavailable)
    }

    fn retry(&self) -> Retry {
        Retry::Backoff
    }
}
