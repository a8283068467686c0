//! What has happened so far, and when on the paused clock.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[derive(Clone)]
pub(crate) struct Log {
    start: Instant,
    lines: Rc<RefCell<Vec<String>>>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            lines: Rc::default(),
        }
    }

    pub(crate) fn add(&self, what: impl std::fmt::Display) {
        let at = self.start.elapsed().as_millis();
        self.lines.borrow_mut().push(format!("{at}: {what}"));
    }

    #[track_caller]
    pub(crate) fn assert(&self, expected: &[&str]) {
        assert_eq!(*self.lines.borrow(), expected);
    }
}
