//! The gateway as its users run it: processes, signals and sockets. Every wait is for an event, under a watchdog.

#![cfg(all(unix, feature = "full", not(loom)))]

mod house;
mod misuse;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use house::{Answer, File, Process, WATCHDOG, connect, get, reply, say, upstream};

/// Limits and checks that are in nobody's way.
pub(crate) const CALM: &str = "[client]\nper_second = 100000\ndepth = 100000\n[gateway]\nper_second = 100000\ndepth = 100000\n";

fn post(length: usize) -> Vec<u8> {
    let mut text = format!(
        "POST /echo HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes();
    text.extend((0..length).map(|n| (n * 7 + n / 251) as u8));
    text
}

#[test]
fn the_bytes_are_the_same_with_it_and_without() {
    let (_replica, replica) = Process::replica();
    let (_gateway, gateway) = Process::serve(&[replica], CALM);
    for length in [1, 1000, 65_536, 65_537, 1_000_000] {
        let (direct, through) = (say(replica, post(length)), say(gateway, post(length)));
        assert_eq!((through.status, direct.body.len()), (200, length));
        assert!(through.body == direct.body, "{length} bytes differ");
    }
    assert_eq!(say(gateway, get("/some/path")).body, b"/some/path");
}

#[test]
fn a_replica_that_is_killed_takes_no_idempotent_request_with_it() {
    let (victim, first) = Process::replica();
    let (_survivor, second) = Process::replica();
    let (_gateway, gateway) = Process::serve(&[first, second], CALM);
    let done = Arc::new(AtomicUsize::new(0));
    let (tell, told) = mpsc::channel();
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (done, tell) = (Arc::clone(&done), tell.clone());
            thread::spawn(move || {
                for n in 0..100 {
                    let path = format!("/{client}/{n}");
                    let answer = say(gateway, get(&path));
                    assert_eq!((answer.status, answer.body), (200, path.into_bytes()));
                    if done.fetch_add(1, Ordering::Relaxed) == 200 {
                        tell.send(()).unwrap();
                    }
                }
            })
        })
        .collect();
    told.recv_timeout(WATCHDOG).expect("the load runs");
    victim.signal("-KILL");
    for client in clients {
        client.join().expect("no request is lost");
    }
}

/// An upstream whose requests wait for the gate, and say when they have come. The health path is not gated.
pub(crate) fn gated() -> (std::net::SocketAddr, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (came, coming) = mpsc::channel();
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let came = Mutex::new(came);
    let address = upstream(move |stream, head| {
        if !head.starts_with("GET /health") {
            came.lock().unwrap().send(()).unwrap();
            let _ = gate.lock().unwrap().recv();
        }
        reply(stream, "at last");
    });
    (address, coming, open)
}

pub(crate) const GATED: &str = "[health]\npath = '/health'\n[hedge]\nattempts = 1\n";

/// So many requests that have come to the upstream.
pub(crate) fn in_flight(
    gateway: std::net::SocketAddr,
    coming: &mpsc::Receiver<()>,
    n: usize,
) -> Vec<TcpStream> {
    let ask = |_| {
        let mut stream = connect(gateway);
        // Not `close`: that the gateway closes is its own doing.
        stream
            .write_all(b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n")
            .unwrap();
        coming
            .recv_timeout(WATCHDOG)
            .expect("it comes to the upstream");
        stream
    };
    (0..n).map(ask).collect()
}

#[test]
fn told_to_end_it_answers_what_has_come_and_ends_well() {
    let (address, coming, gate) = gated();
    let (mut gateway, at) = Process::serve(&[address], GATED);
    let clients = in_flight(at, &coming, 8);
    // Connected and silent until the drain has begun: its request was on its way.
    let mut late = connect(at);
    late.write_all(b"GET /la").unwrap();
    // And one that never asks, which nobody waits for.
    let _unused = connect(at);
    gateway.signal("-TERM");
    gateway.says("draining");
    late.write_all(b"te HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    coming
        .recv_timeout(WATCHDOG)
        .expect("the late one is taken");
    // Open for good.
    drop(gate);
    for client in clients.into_iter().chain([late]) {
        let answer = Answer::read(client);
        assert_eq!((answer.status, &answer.body[..]), (200, &b"at last"[..]));
        assert!(answer.head.contains("connection: close"), "{}", answer.head);
    }
    assert_eq!(gateway.ended().code(), Some(0));
    gateway.says("stopped: ");
    assert!(TcpStream::connect(at).is_err());
}

#[test]
fn when_the_time_to_drain_is_over_the_rest_is_told_so() {
    let (address, coming, _gate) = gated();
    let (mut gateway, at) = Process::serve(&[address], &format!("drain_ms = 100\n{GATED}"));
    let clients = in_flight(at, &coming, 3);
    gateway.signal("-INT");
    for client in clients {
        let answer = Answer::read(client);
        assert_eq!(
            (answer.status, answer.problem().1),
            (503, "gateway/shutdown".into())
        );
    }
    assert_eq!(gateway.ended().code(), Some(0));
}

#[test]
fn a_second_signal_cuts_the_drain_short() {
    let (address, coming, _gate) = gated();
    let (mut gateway, at) = Process::serve(
        &[address],
        &format!("drain_ms = 3600000\ndeadline_ms = 3600000\n{GATED}"),
    );
    let clients = in_flight(at, &coming, 3);
    gateway.signal("-TERM");
    gateway.says("draining");
    gateway.signal("-TERM");
    for client in clients {
        assert_eq!(Answer::read(client).problem().1, "gateway/shutdown");
    }
    assert_eq!(gateway.ended().code(), Some(0));
}

#[test]
fn a_deadline_is_passed_on_and_ends_the_work() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let address = upstream(move |mut stream, head| {
        if head.starts_with("GET /health") {
            return reply(stream, "");
        }
        tell.lock().unwrap().send(head.to_owned()).unwrap();
        // Until the other side closes.
        let _ = stream.read(&mut [0]);
        tell.lock().unwrap().send("closed".to_owned()).unwrap();
    });
    let (gateway, at) = Process::serve(&[address], GATED);
    let asked =
        "GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-request-timeout-ms: 150\r\n\r\n";
    let answer = say(at, asked);
    let (id, code) = answer.problem();
    assert_eq!((answer.status, &code[..]), (504, "gateway/deadline"));
    assert!(gateway.logs(&id).contains("no answer in 150ms"));
    let head = told.recv_timeout(WATCHDOG).unwrap();
    let left = head.split_once("x-request-timeout-ms: ").unwrap().1;
    let left: u64 = left.split("\r\n").next().unwrap().parse().unwrap();
    assert!(left <= 150, "{left}");
    assert_eq!(told.recv_timeout(WATCHDOG).unwrap(), "closed");

    // The same when the client goes.
    let mut client = connect(at);
    client.write_all(get("/").as_bytes()).unwrap();
    assert!(told.recv_timeout(WATCHDOG).unwrap().starts_with("GET /"));
    drop(client);
    assert_eq!(told.recv_timeout(WATCHDOG).unwrap(), "closed");
}

#[test]
fn a_failed_attempt_goes_on_to_the_next_replica_if_that_is_safe() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let broken = upstream(move |stream, head| {
        if head.starts_with("GET /health") {
            return reply(stream, "");
        }
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let (_replica, replica) = Process::replica();
    let (_gateway, at) = Process::serve(&[broken, replica], "[health]\npath = '/health'\n");
    // Equals take turns, so that one of two goes to the broken one first.
    for n in 0..4 {
        let path = format!("/{n}");
        let answer = say(at, get(&path));
        assert_eq!((answer.status, answer.body), (200, path.into_bytes()));
    }
    let before = tries.load(Ordering::SeqCst);
    assert!(before > 0, "the broken one was asked");

    let (_gateway, at) = Process::serve(&[broken], "[health]\npath = '/health'\n");
    let answer = say(at, post(10));
    assert_eq!(
        (answer.status, answer.problem().1),
        (503, "gateway/no-replica".into())
    );
    assert_eq!(
        tries.load(Ordering::SeqCst),
        before + 1,
        "it was not sent twice"
    );
}

#[test]
fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    let half = |length| {
        upstream(move |mut stream, head| {
            if head.starts_with("GET /health") {
                return reply(stream, "");
            }
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nhalf");
            let _ = stream.write_all(text.as_bytes());
        })
    };
    let config = "[health]\npath = '/health'\n";
    let (_gateway, at) = Process::serve(&[half(100)], config);
    assert_eq!(say(at, get("/")).problem().1, "gateway/no-replica");
    // Too long to be kept: it has begun when it breaks off.
    let (gateway, at) = Process::serve(&[half(100_000)], config);
    let answer = say(at, get("/"));
    assert!(
        answer.head.contains("content-length: 100000"),
        "{}",
        answer.head
    );
    assert_eq!(answer.body, b"half");
    gateway.logs("gateway/broken-off");
}

#[test]
fn bad_input_gets_an_answer_with_an_id_that_stands_in_the_log() {
    let (_replica, replica) = Process::replica();
    let (gateway, at) = Process::serve(&[replica], "[input]\ntimeout_ms = 200\n");
    let long = "a".repeat(40_000);
    let many = "x: 1\r\n".repeat(200);
    let half_close = |text: &str| {
        let mut stream = connect(at);
        stream.write_all(text.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        Answer::read(stream)
    };
    for (answer, status, expected) in [
        (say(at, "GARBAGE\r\n\r\n"), 400, "gateway/malformed"),
        (
            say(
                at,
                format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"),
            ),
            400,
            "gateway/malformed",
        ),
        (
            say(at, format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n")),
            400,
            "gateway/malformed",
        ),
        (
            say(at, "GET / HTTP/1.1\r\nconnection: close\r\n\r\n"),
            400,
            "gateway/malformed",
        ),
        (
            say(at, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            400,
            "gateway/malformed",
        ),
        (
            say(
                at,
                "CONNECT a:1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            ),
            501,
            "gateway/unsupported",
        ),
        // Slow in its head, and in its body.
        (say(at, "GET / HT"), 400, "gateway/slow-client"),
        (
            say(
                at,
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc",
            ),
            400,
            "gateway/slow-client",
        ),
        (
            say(
                at,
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 999999\r\n\r\nabc",
            ),
            400,
            "gateway/slow-client",
        ),
        (half_close("GET / HT"), 400, "gateway/cut"),
        (
            half_close("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc"),
            400,
            "gateway/cut",
        ),
        (
            half_close("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 999999\r\n\r\nabc"),
            400,
            "gateway/cut",
        ),
    ] {
        let (id, code) = answer.problem();
        assert_eq!((answer.status, &code[..]), (status, expected));
        assert!(gateway.logs(&id).contains(expected));
    }
    // And it is as well as before.
    assert_eq!(say(at, get("/well")).body, b"/well");

    // A port of which nobody listens any more.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (gateway, at) = Process::serve(&[nobody], "");
    let answer = say(at, get("/"));
    let (id, code) = answer.problem();
    assert_eq!((answer.status, &code[..]), (503, "gateway/no-replica"));
    assert!(gateway.logs(&id).contains(&nobody.to_string()));
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place_and_what_is_allowed() {
    let file = File::new("upstreams = ['http://127.0.0.1:1']\n[hedge]\nshares = 0.1\n");
    let path = file.0.display().to_string();
    let mut gateway = Process::start(&["serve", "--config", &path]);
    let said = gateway.logs("shares");
    assert!(
        said.contains(&format!("{path}:3: unknown field `shares`")),
        "{said}"
    );
    assert!(
        said.contains("`share`, `attempts`, `buffer_bytes`"),
        "{said}"
    );
    assert_eq!(gateway.ended().code(), Some(2));
}

#[test]
fn a_client_at_its_limit_is_told_so_and_when_to_come_back() {
    let (_replica, replica) = Process::replica();
    let (_gateway, at) = Process::serve(
        &[replica],
        "[clients]\nheader = 'x-client'\n[client]\nper_second = 1\ndepth = 2\n",
    );
    let ask = |client: &str| {
        say(
            at,
            format!("GET / HTTP/1.1\r\nhost: a\r\nx-client: {client}\r\nconnection: close\r\n\r\n"),
        )
    };
    let refused = (0..1000)
        .map(|_| ask("greedy"))
        .find(|answer| answer.status != 200)
        .unwrap();
    assert_eq!(
        (refused.status, refused.problem().1),
        (429, "gateway/limited".into())
    );
    for header in [
        "retry-after: 1\r\n",
        "ratelimit: \"client\";r=0;t=",
        "ratelimit-policy: \"client\";q=2;w=2, \"gateway\";q=10000;w=1\r\n",
    ] {
        assert!(
            refused.head.contains(header),
            "{header} in {}",
            refused.head
        );
    }
    assert_eq!(ask("modest").status, 200);
}

#[test]
fn a_replica_that_hangs_has_its_ward_healed_and_is_not_ready() {
    let hangs = Arc::new(Mutex::new(Vec::new()));
    let address = upstream(move |stream, _| hangs.lock().unwrap().push(stream));
    let (gateway, at) = Process::serve(&[address], "[health]\ntimeout_ms = 100\n");
    gateway.logs(&format!("health: {address} #1: stopping (silent)"));
    gateway.logs(&format!("health: {address} #2: started"));
    let ready = say(at, get("/readyz?verbose"));
    let text = String::from_utf8(ready.body).unwrap();
    assert_eq!(ready.status, 503, "{text}");
    assert!(text.contains("[-]upstreams"), "{text}");
    assert!(text.contains("(last: silent)"), "{text}");
    assert_eq!(say(at, get("/livez")).status, 200);
}
