//! The gateway and its replicas as processes, upstreams as threads, and a client that says just what it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);

/// The gateway, built as its users do. Cargo builds an example for these tests only as a test of its own.
pub(crate) fn gateway() -> &'static Path {
    static GATEWAY: OnceLock<PathBuf> = OnceLock::new();
    GATEWAY.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        // target/PROFILE/deps/TEST
        let profile = test.ancestors().nth(2).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args([
                "build",
                "--quiet",
                "-p",
                "evenkeel",
                "--features",
                "full",
                "--example",
                "gateway",
            ])
            .arg("--target-dir")
            .arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success());
        let name = format!("gateway{}", std::env::consts::EXE_SUFFIX);
        profile.join("examples").join(name)
    })
}

/// A process, killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Process {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = Command::new(gateway())
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    /// The gateway with these upstreams and this configuration, and where it listens.
    pub(crate) fn serve(upstreams: &[SocketAddr], config: &str) -> (Self, SocketAddr) {
        let urls: Vec<_> = upstreams.iter().map(|at| format!("http://{at}")).collect();
        let text = format!("listen = \"127.0.0.1:0\"\nupstreams = {urls:?}\n{config}");
        let file = File::new(&text);
        let gateway = Self::start(&["serve", "--config", &file.0.display().to_string()]);
        let address = gateway.listening();
        (gateway, address)
    }

    /// A replica as a process, and where it listens.
    pub(crate) fn replica() -> (Self, SocketAddr) {
        let replica = Self::start(&["replica"]);
        let address = replica.listening();
        (replica, address)
    }

    fn listening(&self) -> SocketAddr {
        let line = self.says("listening on http://");
        line.rsplit_once('/').unwrap().1.parse().unwrap()
    }

    /// Waits for a line with this text on standard output.
    pub(crate) fn says(&self, text: &str) -> String {
        find(&self.out, text)
    }

    /// Waits for a line with this text on standard error.
    pub(crate) fn logs(&self, text: &str) -> String {
        find(&self.err, text)
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < WATCHDOG, "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    told
}

fn find(told: &Receiver<String>, text: &str) -> String {
    loop {
        let line = told.recv_timeout(WATCHDOG);
        let line = line.unwrap_or_else(|_| panic!("waited for `{text}`"));
        if line.contains(text) {
            return line;
        }
    }
}

/// A file that goes with this.
pub(crate) struct File(pub(crate) PathBuf);

impl File {
    pub(crate) fn new(text: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // ORDERING: Relaxed: a number for each, and nothing else.
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gateway-{}-{n}.toml", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A server in this process: `serve` gets each connection and the head of its first request.
pub(crate) fn upstream(serve: impl Fn(TcpStream, &str) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            thread::spawn(move || {
                let mut stream = stream;
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    match stream.read(&mut byte) {
                        Ok(1) => head.push(byte[0]),
                        _ => return,
                    }
                }
                serve(stream, &String::from_utf8(head).unwrap());
            });
        }
    });
    address
}

/// An answer of an upstream, after which it closes.
pub(crate) fn reply(mut stream: TcpStream, body: &str) {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    // Who asked may be gone.
    let _ = stream.write_all((head + body).as_bytes());
}

/// A connection of a client.
pub(crate) fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(WATCHDOG)).unwrap();
    stream
}

/// What a client is told.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The only one on a connection, to its end.
    pub(crate) fn read(mut stream: TcpStream) -> Self {
        let mut all = Vec::new();
        // A reset after the answer is no matter.
        if let Err(error) = stream.read_to_end(&mut all) {
            assert!(!all.is_empty(), "no answer: {error}");
        }
        let end = all.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&all)));
        let body = all.split_off(end + 4);
        let head = String::from_utf8(all).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body }
    }

    /// The id and the code of a problem.
    pub(crate) fn problem(&self) -> (String, String) {
        assert!(
            self.head.contains("content-type: application/problem+json"),
            "{self:?}"
        );
        let text = String::from_utf8(self.body.clone()).unwrap();
        let after = |key: &str| {
            text.split_once(key)
                .unwrap()
                .1
                .split('"')
                .next()
                .unwrap()
                .to_owned()
        };
        (after("urn:uuid:"), after("\"code\":\""))
    }
}

/// Says `text` on a connection of its own, and reads the answer.
pub(crate) fn say(server: SocketAddr, text: impl AsRef<[u8]>) -> Answer {
    let mut stream = connect(server);
    stream.write_all(text.as_ref()).unwrap();
    Answer::read(stream)
}

/// The request for `path`, alone on its connection.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
}
