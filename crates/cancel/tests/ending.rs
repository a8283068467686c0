//! A deadline that is asked for while its runtime ends: refused, or cancelled with it, but never waited for.

#![cfg(not(loom))]

use std::sync::mpsc;
use std::time::Duration;

use evenkeel_cancel::{Cause, NoRuntime, Source};
use tokio::runtime::{Builder, Handle};

/// Asks for a deadline when it is dropped.
struct AsksWhenDropped(Source, mpsc::Sender<Result<Source, NoRuntime>>);

impl Drop for AsksWhenDropped {
    fn drop(&mut self) {
        let asked = self.0.child_with_timeout(Duration::from_secs(60));
        self.1.send(asked).unwrap();
    }
}

fn ask_while_it_ends(first_before: bool) -> Result<Source, NoRuntime> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let source = Source::new();
    let (tell, told) = mpsc::channel();
    let guard = AsksWhenDropped(source.clone(), tell);
    runtime.block_on(async {
        if first_before {
            let _driver = source.child_with_timeout(Duration::from_secs(60));
        }
        Handle::current().spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
    });
    drop(runtime);
    told.recv().unwrap()
}

#[test]
fn the_first_deadline_of_a_runtime_that_ends_is_refused_or_over() {
    if let Ok(child) = ask_while_it_ends(false) {
        assert_eq!(child.cause(), Some(Cause::Shutdown));
    }
}

#[test]
fn a_later_deadline_of_a_runtime_that_ends_is_refused_or_over() {
    if let Ok(child) = ask_while_it_ends(true) {
        assert_eq!(child.cause(), Some(Cause::Shutdown));
    }
}
