//! A deadline that is asked for while its runtime ends: refused, or cancelled with it, but never waited for.

#![cfg(not(loom))]

use std::sync::mpsc;
use std::thread;
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

/// What a runtime of which a token is left keeps open.
#[cfg(target_os = "linux")]
#[test]
fn tokens_do_not_keep_what_their_runtime_had_open() {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let kept: Vec<_> = (0..100)
        .map(|_| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let limit = Duration::from_secs(60);
            runtime.block_on(async { Source::new().child_with_timeout(limit).unwrap() })
        })
        .collect();
    assert!(
        kept.iter()
            .all(|token| token.cause() == Some(Cause::Shutdown))
    );
    // Each runtime has two and more, and other tests have some.
    assert!(open() < before + 100);
}

#[test]
fn deadlines_asked_for_on_many_threads_while_their_runtime_ends_do_not_stay_live() {
    for round in 0..100 {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let asks = (0..2).map(|more| {
            let handle = runtime.handle().clone();
            thread::spawn(move || {
                let _inside = handle.enter();
                // Each is the earliest, so that the timer is set again and again.
                let limits = (0..60).map(|less| Duration::from_secs(100 + more - less));
                let asked: Vec<_> = limits
                    .map(|limit| Source::new().child_with_timeout(limit))
                    .collect();
                asked
            })
        });
        let asks: Vec<_> = asks.collect();
        for _ in 0..round * 100 {
            std::hint::spin_loop();
        }
        drop(runtime);
        for token in asks
            .into_iter()
            .flat_map(|asked| asked.join().unwrap())
            .flatten()
        {
            assert_eq!(token.cause(), Some(Cause::Shutdown));
        }
    }
}
