//! Signals, in a process of their own: every wait is for a line, under a watchdog, and what is asserted is order.

#![cfg(all(unix, feature = "signal", not(loom)))]

use std::future::pending;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use evenkeel_cancel::{Cause, Scope, Signals, Source};

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
