use std::borrow::Cow;

use evenkeel_errors::{Code, Known, Retry, Status};

use crate::{Failed, InvalidPolicy};

/// What the error that decided is: its code, its word for the user, its retry.
impl<E: Known> Known for Failed<E> {
    fn code(&self) -> Code {
        self.error().code()
    }

    fn user_message(&self) -> Option<Cow<'static, str>> {
        self.error().user_message()
    }

    fn retry(&self) -> Retry {
        self.error().retry()
    }
}

impl Known for InvalidPolicy {
    fn code(&self) -> Code {
        Code::new("evenkeel.hedge", "invalid-policy", Status::InvalidArgument)
    }
}
