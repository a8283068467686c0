//! Stopped processes and blocked threads, in real time: every wait is for an event, under a watchdog, and what is asserted
//! is order.

#![cfg(all(unix, not(loom)))]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use evenkeel_heartbeat::{BeatFuture, ClassError, Expect, Health, Heartbeat, Monitor, PulseId};
use tokio::runtime::{Builder, Runtime};

const T: Duration = Duration::from_millis(300);
const WATCHDOG: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// The next of what is told, or the end of the test.
fn next<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(WATCHDOG).expect("the watchdog barks")
}

/// Runs a runtime on a thread of its own until `stop` is dropped.
fn own_thread<R: Send + 'static>(
    build: impl FnOnce() -> R + Send + 'static,
) -> (
    tokio::runtime::Handle,
    tokio::sync::oneshot::Sender<()>,
    thread::JoinHandle<R>,
) {
    let (tell, told) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        let runtime = runtime();
        tell.send(runtime.handle().clone()).unwrap();
        runtime.block_on(async {
            let _ = stopped.await;
        });
        build()
    });
    (next(&told), stop, thread)
}

/// What the child does: a steady worker, one that hangs when told to, and each change on a line.
#[test]
#[ignore = "the child of a test below"]
fn child() {
    let runtime = runtime();
    runtime.block_on(async {
        let monitor = Monitor::new();
        let mut changes = monitor.changes();
        let class = monitor.class(Expect::within(T)).unwrap();
        let steady = class.register("steady");
        let hangs = class.register("hangs");
        let (hang, mut told) = tokio::sync::mpsc::channel(1);
        thread::spawn(move || {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
            hang.blocking_send(()).unwrap();
        });
        tokio::spawn(async move {
            steady
                .every(T / 4)
                .during(std::future::pending::<()>())
                .await;
        });
        tokio::spawn(async move {
            hangs.every(T / 4).during(told.recv()).await;
            std::future::pending::<()>().await;
        });
        let _sentinel = monitor.sentinel(T, |health| say(&format!("sentinel {health:?}")));
        say("ready");
        while let Some(change) = changes.next().await {
            say(&format!("{} {:?}", change.name, change.health));
        }
    });
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "child: {line}").unwrap();
    out.flush().unwrap();
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(child: &Killed, signal: &str) {
    let pid = child.0.id().to_string();
    let status = Command::new("kill").args([signal, &pid]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_stopped_process_accuses_nobody_and_finds_a_hang_all_the_same() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map(Killed)
        .unwrap();
    let (tell, lines) = mpsc::channel();
    let out = BufReader::new(child.0.stdout.take().unwrap());
    thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            // The harness writes before the first line of ours.
            if let Some((_, line)) = line.split_once("child: ") {
                let _ = tell.send(line.to_owned());
            }
        }
    });
    assert_eq!(next(&lines), "ready");
    let mut heard = Vec::new();
    for _ in 0..3 {
        signal(&child, "-STOP");
        // Several timeouts go by in which nobody there can beat.
        thread::sleep(T * 4);
        signal(&child, "-CONT");
        while heard.last().is_none_or(|line| line != "monitor Live") {
            heard.push(next(&lines));
        }
        heard.push("stopped".into());
    }
    writeln!(child.0.stdin.take().unwrap(), "hang").unwrap();
    while heard.last().unwrap() != "hangs Silent" {
        heard.push(next(&lines));
    }
    let alarms: Vec<&String> = heard
        .iter()
        .filter(|line| line.contains("Silent"))
        .collect();
    assert_eq!(alarms, ["hangs Silent"], "{heard:?}");
    assert!(
        !heard.iter().any(|line| line.starts_with("sentinel")),
        "{heard:?}"
    );
    assert!(
        heard
            .iter()
            .filter(|line| *line == "monitor Stalled")
            .count()
            >= 3,
        "{heard:?}"
    );
}

#[test]
fn a_poll_that_blocks_is_hung_and_what_waits_behind_it_is_starved() {
    let monitors = runtime();
    let (workers, stop, thread) = own_thread(|| ());
    monitors.block_on(async {
        let monitor = Monitor::new();
        let mut changes = monitor.changes();
        let class = monitor.class(Expect::within(T)).unwrap();
        let (blocking, waiting) = (class.register("blocks"), class.register("waits"));
        let (release, released) = mpsc::channel::<()>();
        let (wake, woken) = tokio::sync::oneshot::channel();
        let (polled, is_polled) = tokio::sync::oneshot::channel();
        workers.spawn(
            async move {
                polled.send(()).unwrap();
                woken.await.unwrap();
                std::future::pending::<()>().await;
            }
            .beat_on_poll(waiting)
            .telling_starved(),
        );
        is_polled.await.unwrap();
        workers.spawn(
            async move {
                wake.send(()).unwrap();
                released.recv().unwrap();
                std::future::pending::<()>().await;
            }
            .beat_on_poll(blocking),
        );
        let mut alarms = Vec::new();
        while alarms.len() < 2 {
            let change = changes.next().await.unwrap();
            if change.pulse != PulseId::MONITOR {
                alarms.push((change.name.to_string(), change.health));
            }
        }
        alarms.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(
            alarms,
            [
                ("blocks".to_owned(), Health::Hung),
                ("waits".to_owned(), Health::Starved)
            ]
        );
        release.send(()).unwrap();
        loop {
            let change = changes.next().await.unwrap();
            if &*change.name == "waits" && change.health == Health::Live {
                break; // polled at last
            }
        }
    });
    drop(stop);
    thread.join().unwrap();
}

#[test]
fn a_starved_runtime_is_one_alarm_and_none_for_its_workers() {
    let monitors = runtime();
    let (workers, stop, thread) = own_thread(|| ());
    monitors.block_on(async {
        let monitor = Monitor::new();
        let mut changes = monitor.changes();
        let class = monitor.class_on(&workers, Expect::within(T)).unwrap();
        let pulses: Vec<_> = (0..50).map(|_| class.register("worker")).collect();
        for pulse in pulses {
            workers.spawn(async move {
                pulse
                    .every(T / 4)
                    .during(std::future::pending::<()>())
                    .await;
            });
        }
        let (release, released) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        workers.spawn(async move {
            tell.send(()).unwrap();
            released.recv().unwrap();
        });
        next(&told);
        let mut heard = Vec::new();
        let mut quiet = 0;
        // Alone, for as long as the workers are not heard.
        while quiet < 3 {
            match tokio::time::timeout(T, changes.next()).await {
                Ok(change) => heard.push(change.unwrap()),
                Err(_) => quiet += usize::from(heard.iter().any(|c| &*c.name == "runtime")),
            }
        }
        heard.retain(|change| change.pulse != PulseId::MONITOR);
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert_eq!(
            (&*heard[0].name, heard[0].health),
            ("runtime", Health::Starved)
        );
        release.send(()).unwrap();
        loop {
            let change = changes.next().await.unwrap();
            assert_ne!(&*change.name, "worker", "{change:?}");
            if &*change.name == "runtime" && change.health == Health::Live {
                break;
            }
        }
        assert!(
            tokio::time::timeout(T * 3, async {
                while let Some(change) = changes.next().await {
                    assert_eq!(change.pulse, PulseId::MONITOR, "{change:?}");
                }
            })
            .await
            .is_err()
        );
    });
    drop(stop);
    thread.join().unwrap();
}

#[test]
fn the_sentinel_tells_of_a_blocked_runtime_while_it_is_blocked() {
    let runtime = runtime();
    let (tell, told): (Sender<Health>, _) = mpsc::channel();
    let (monitor, _sentinel) = runtime.block_on(async {
        let monitor = Monitor::new();
        let mut first = true;
        let sentinel = monitor
            .sentinel(T, move |health| {
                tell.send(health).unwrap();
                // A panic of the first report does not end the thread.
                assert!(!std::mem::take(&mut first), "on purpose");
            })
            .unwrap();
        let pulse = monitor.class(Expect::within(T)).unwrap().register("worker");
        // The only worker is blocked from here on.
        assert_eq!(next(&told), Health::Stalled);
        pulse.beat();
        assert_eq!(
            pulse.health(),
            Health::Live,
            "and a beat does not wait for anybody"
        );
        (monitor, sentinel)
    });
    // It runs again.
    let live = thread::spawn(move || (next(&told), told));
    let (health, told) = runtime.block_on(async {
        while !live.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        live.join().unwrap()
    });
    assert_eq!(health, Health::Live);
    drop(runtime);
    assert_eq!(next(&told), Health::Closed);
    assert_eq!(monitor.health(PulseId::MONITOR), Health::Closed);
    assert!(told.recv_timeout(WATCHDOG).is_err(), "the thread has ended");
    assert_eq!(
        monitor.sentinel(T, |_| ()).unwrap_err(),
        ClassError::NoRuntime
    );
}

#[test]
fn a_sentinel_that_is_dropped_ends_its_thread() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let monitor = Monitor::new();
    // Far from its next turn, or from any.
    for timeout in [Duration::from_secs(3_600), Duration::MAX] {
        let (tell, told) = mpsc::channel::<()>();
        let sentinel = monitor.sentinel(timeout, move |_| tell.send(()).unwrap());
        drop(sentinel.unwrap());
        let ended = told.recv_timeout(WATCHDOG).unwrap_err();
        assert_eq!(ended, mpsc::RecvTimeoutError::Disconnected);
    }
}

/// All else of the runtime is blocked, the monitor's task too: only who asks from elsewhere can say so.
#[test]
fn a_monitor_that_is_blocked_is_called_stalled_from_outside() {
    let monitor = Monitor::new();
    let (tell, told) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    let asked = monitor.clone();
    let blocked = thread::spawn(move || {
        runtime().block_on(async {
            let _class = monitor
                .class(Expect::within(Duration::from_millis(40)))
                .unwrap();
            while monitor.health(PulseId::MONITOR) != Health::Live {
                tokio::task::yield_now().await;
            }
            tell.send(()).unwrap();
            let _ = stopped.recv();
        });
    });
    told.recv().unwrap();
    while asked.health(PulseId::MONITOR) != Health::Stalled {
        thread::yield_now();
    }
    drop(stop);
    blocked.join().unwrap();
}
