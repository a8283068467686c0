//! Clients and replicas that do what nobody should: each of these was once a hang, a lost request or a wrong answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use crate::house::{Answer, Process, WATCHDOG, connect, gateway, get, reply, say, upstream};
use crate::{CALM, GATED, gated, in_flight};

#[test]
fn who_does_not_read_is_let_go_after_the_timeout_and_at_the_deadline() {
    // More than all the buffers on the way.
    let flood = upstream(|mut stream, head| {
        if head.starts_with("GET /health") {
            return reply(stream, "");
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        while stream.write_all(&[0; 65_536]).is_ok() {}
    });
    for (deadline, timeout) in [(3_600_000, 200), (300, 3_600_000)] {
        let config = format!(
            "deadline_ms = {deadline}\n[health]\npath = '/health'\n[input]\ntimeout_ms = {timeout}\nconnections = 1\n"
        );
        let (_gateway, at) = Process::serve(&[flood], &config);
        let mut deaf = connect(at);
        deaf.write_all(get("/").as_bytes()).unwrap();
        deaf.read_exact(&mut [0]).unwrap();
        // The only place is its.
        assert_eq!(say(at, get("/livez")).status, 200);
    }
}

#[test]
fn an_early_answer_to_a_long_upload_is_the_only_one() {
    let hasty = upstream(|mut stream, head| {
        if head.starts_with("GET /health") {
            return reply(stream, "");
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nDone");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let (_gateway, at) = Process::serve(
        &[hasty],
        "[health]\npath = '/health'\n[input]\ntimeout_ms = 200\n",
    );
    let mut client = connect(at);
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(&[b'x'; 66_000]).unwrap();
    let mut all = Vec::new();
    while !all.ends_with(b"Done") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        all.push(byte[0]);
    }
    // It may have closed already.
    let _ = client.write_all(&[b'x'; 34_000]);
    let mut more = Vec::new();
    let _ = client.read_to_end(&mut more);
    assert!(more.is_empty(), "{}", String::from_utf8_lossy(&more));
}

#[test]
fn all_that_wait_to_be_accepted_are_answered_at_a_shutdown() {
    let (address, coming, gate) = gated();
    let config = format!("{CALM}{GATED}[input]\nconnections = 1\n");
    let (mut gateway, at) = Process::serve(&[address], &config);
    let mut clients = in_flight(at, &coming, 1);
    // As many as the queue of a listener holds, and more than a task may accept in a turn.
    clients.extend((0..129).map(|n| {
        let mut stream = connect(at);
        stream.write_all(get(&format!("/{n}")).as_bytes()).unwrap();
        stream
    }));
    gateway.signal("-TERM");
    gateway.says("draining");
    drop(gate);
    for client in clients {
        assert_eq!(Answer::read(client).body, b"at last");
    }
    assert_eq!(gateway.ended().code(), Some(0));
}

#[test]
fn the_replica_is_chosen_when_the_request_is_complete() {
    let hanging = Arc::new(AtomicBool::new(false));
    let hangs = Arc::clone(&hanging);
    let held = Mutex::new(Vec::new());
    let moody = upstream(move |stream, _| {
        if hangs.load(Ordering::SeqCst) {
            held.lock().unwrap().push(stream);
        } else {
            reply(stream, "well");
        }
    });
    let steady = upstream(|stream, _| reply(stream, "well"));
    let config = "deadline_ms = 20000\n[health]\ntimeout_ms = 100\n";
    let (gateway, at) = Process::serve(&[moody, steady], config);
    // Equals take turns, so that one of two would be meant for each.
    let mut clients = [connect(at), connect(at)];
    for client in &mut clients {
        let half = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\n1";
        client.write_all(half.as_bytes()).unwrap();
    }
    hanging.store(true, Ordering::SeqCst);
    gateway.logs(&format!("health: {moody} #1: stopping (silent)"));
    gateway.logs(&format!("health: {moody} #2: started"));
    for mut client in clients {
        client.write_all(b"2").unwrap();
        assert_eq!(Answer::read(client).status, 200);
    }
}

#[test]
fn nobody_has_to_read_what_it_prints() {
    let mut child = Command::new(gateway())
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--upstream",
            "http://127.0.0.1:1",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("listening on"), "{line}");
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(child.wait().unwrap().code()));
    assert_eq!(told.recv_timeout(WATCHDOG), Ok(Some(0)));
}

#[test]
fn a_request_is_for_one_host_and_the_target_names_it() {
    let mirror = upstream(|stream, head| reply(stream, &head.to_lowercase()));
    let (_gateway, at) = Process::serve(&[mirror], "");
    for version in ["1.0", "1.1"] {
        let two =
            format!("GET / HTTP/{version}\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n");
        assert_eq!(say(at, two).problem().1, "gateway/malformed", "{version}");
    }
    let absolute = "GET http://target/x HTTP/1.1\r\nhost: other\r\nconnection: close\r\n\r\n";
    let seen = String::from_utf8(say(at, absolute).body).unwrap();
    assert!(seen.starts_with("get /x http/1.1\r\n"), "{seen}");
    assert!(
        seen.contains("host: target\r\n") && !seen.contains("other"),
        "{seen}"
    );
}

#[test]
fn a_second_request_that_is_on_its_way_at_a_shutdown_is_answered() {
    let (_replica, replica) = Process::replica();
    let (mut gateway, at) = Process::serve(&[replica], CALM);
    let mut client = connect(at);
    client
        .write_all(b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let mut first = Vec::new();
    while !first.ends_with(b"\r\n\r\n/1") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        first.push(byte[0]);
    }
    let mut idle = connect(at);
    idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    client.write_all(b"GET /2 HT").unwrap();
    gateway.signal("-TERM");
    gateway.says("draining");
    // Until the other one, on which no request is on its way, is closed: for so long one is kept.
    idle.read_to_end(&mut Vec::new()).unwrap();
    client.write_all(b"TP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let second = Answer::read(client);
    assert_eq!((second.status, &second.body[..]), (200, &b"/2"[..]));
    assert_eq!(gateway.ended().code(), Some(0));
}

#[test]
fn half_of_a_chunked_answer_is_none() {
    let half = upstream(|mut stream, head| {
        if head.starts_with("GET /health") {
            return reply(stream, "");
        }
        let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
        let _ = stream.write_all(text.as_bytes());
    });
    let whole = upstream(|mut stream, head| {
        if head.starts_with("GET /health") {
            return reply(stream, "");
        }
        let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n";
        let _ = stream.write_all(text.as_bytes());
    });
    let (_gateway, at) = Process::serve(&[half, whole], "[health]\npath = '/health'\n");
    // At first perhaps only the half one is known to be well; then there is no answer, but never half of one.
    let answers = std::iter::repeat_with(|| say(at, get("/")));
    let whole = answers.filter(|answer| {
        assert!(answer.body == b"whole" || answer.status == 503);
        answer.status == 200
    });
    assert_eq!(whole.take(4).count(), 4);
}

#[test]
fn events_are_passed_on_as_they_come() {
    let (tell, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let events = upstream(move |mut stream, head| {
        if head.starts_with("GET /health") {
            return reply(stream, "");
        }
        let text = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n";
        let _ = stream.write_all(text.as_bytes());
        let _ = told.lock().unwrap().recv();
    });
    let (_gateway, at) = Process::serve(&[events], "[health]\npath = '/health'\n");
    let mut client: TcpStream = connect(at);
    client.write_all(get("/").as_bytes()).unwrap();
    let mut all = String::new();
    while !all.contains("data: 1") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        all.push(byte[0] as char);
    }
    drop(tell);
}
