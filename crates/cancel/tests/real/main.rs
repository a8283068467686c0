//! Signals, in a process of their own: every wait is for a line, under a watchdog, and what is asserted is order.

#![cfg(all(unix, feature = "signal", not(loom)))]

use std::future::{pending, ready};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use evenkeel_cancel::{Cause, Scope, Signals, Source, Token};

const WATCHDOG: Duration = Duration::from_secs(60);

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "child: {line}").unwrap();
    out.flush().unwrap();
}

/// What the child does: it waits for a signal, and then for a task that does not end, unless there is a hurry.
#[tokio::test]
#[ignore = "the child of the tests below"]
async fn child() {
    let source = Source::new();
    let signals = Signals::cancel(&source).unwrap();
    let scope = Scope::new(&source).unwrap();
    scope.spawn("deaf", pending()).unwrap();
    say("ready");
    assert_eq!(source.cancelled().await, Cause::Shutdown);
    say("first");
    let long = scope.shutdown(WATCHDOG * 2);
    assert_eq!(signals.hurry().run(long).await, Err(Cause::Shutdown));
    say(&scope.shutdown(Duration::ZERO).await.to_string());
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signalled(signals: [&str; 2]) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .map(Killed)
        .unwrap();
    let out = BufReader::new(child.0.stdout.take().unwrap());
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            // The harness writes before the first line of ours.
            if let Some((_, line)) = line.split_once("child: ") {
                let _ = tell.send(line.to_owned());
            }
        }
    });
    let next = || told.recv_timeout(WATCHDOG).expect("the watchdog barks");
    let pid = child.0.id().to_string();
    let send = |signal: &str| {
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
    };
    assert_eq!(next(), "ready");
    send(signals[0]);
    assert_eq!(next(), "first");
    send(signals[1]);
    assert_eq!(next(), "0 finished, 1 aborted (deaf)");
    assert!(child.0.wait().unwrap().success());
}

#[test]
fn the_first_signal_cancels_and_the_second_cuts_the_grace_short() {
    signalled(["-TERM", "-TERM"]);
    signalled(["-INT", "-TERM"]);
    signalled(["-TERM", "-INT"]);
}

#[test]
fn outside_a_runtime_it_is_an_error() {
    let error = Signals::cancel(&Source::new()).unwrap_err();
    assert!(error.to_string().contains("no tokio runtime"), "{error}");
}

/// Computes until `done`, on a worker that it does not give back.
fn compute_until(done: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !done() {
        assert!(begin.elapsed() < WATCHDOG, "the deadline never came");
        std::hint::spin_loop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_computes_holds_up_no_deadline() {
    let task = tokio::spawn(async {
        let never = Token::never();
        let short = Duration::from_millis(20);
        // The first of the runtime, and one that is earlier than what the driver waits for.
        let later = never.child_with_timeout(WATCHDOG * 2).unwrap();
        let first = never.child_with_timeout(short * 2).unwrap();
        compute_until(|| first.is_cancelled());
        let earlier = never.child_with_timeout(short).unwrap();
        compute_until(|| earlier.is_cancelled());
        assert!(!later.is_cancelled());
    });
    task.await.unwrap();
}

#[tokio::test]
async fn what_is_always_ready_is_cut_by_its_own_deadline() {
    let short = Duration::from_millis(5);
    let token = Token::never().child_with_timeout(short).unwrap();
    let begin = std::time::Instant::now();
    while token.run(ready(())).await.is_ok() {
        assert!(begin.elapsed() < WATCHDOG, "never cut");
    }
    assert_eq!(token.cause(), Some(Cause::Timeout));
}

#[test]
fn a_thread_waits_for_a_deadline_that_nobody_drives() {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().unwrap();
    let token = runtime.block_on(async {
        let short = Duration::from_millis(5);
        Token::never().child_with_timeout(short).unwrap()
    });
    assert_eq!(token.blocking_wait_timeout(WATCHDOG), Some(Cause::Timeout));
}

/// A paused clock advances when nothing else is to be done, so a timer that is far away is one that it advances to.
#[test]
fn with_no_deadline_left_a_paused_clock_stands() {
    let (idle, is_idle) = mpsc::channel();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    builder.on_thread_park(move || {
        let _ = idle.send(());
    });
    builder.build().unwrap().block_on(async {
        let short = Duration::from_millis(5);
        let first = Token::never().child_with_timeout(short).unwrap();
        assert_eq!(first.cancelled().await, Cause::Timeout);
        let before = tokio::time::Instant::now();
        let (tell, told) = tokio::sync::oneshot::channel();
        // What it was idle for until now does not count.
        is_idle.try_iter().for_each(drop);
        let other = thread::spawn(move || {
            is_idle.recv_timeout(WATCHDOG).unwrap();
            tell.send(()).unwrap();
        });
        told.await.unwrap();
        other.join().unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
        let next = Token::never().child_with_timeout(short).unwrap();
        assert_eq!(next.cancelled().await, Cause::Timeout);
    });
}

#[test]
fn deadlines_need_no_blocking_thread() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (stop, stopped) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    runtime.spawn_blocking(move || {
        begin.send(()).unwrap();
        let _ = stopped.recv();
    });
    begun.recv().unwrap();
    let short = Duration::from_millis(5);
    let wait = async {
        Token::never()
            .child_with_timeout(short)
            .unwrap()
            .cancelled()
            .await
    };
    let ended = runtime.block_on(async { tokio::time::timeout(WATCHDOG, wait).await });
    assert_eq!(ended, Ok(Cause::Timeout));
    drop(stop);
}
