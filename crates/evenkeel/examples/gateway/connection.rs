//! One connection of a client.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use evenkeel::cancel::Token;
use evenkeel::errors::{Report, ResultExt};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::answer::{self, Fault};
use crate::gateway::Shared;

/// A request may be on its way when a shutdown begins; a connection without one is closed after this.
const LINGER: Duration = Duration::from_millis(250);

/// How much is read, and for how long, of a client that has been refused: closed at once, it might not see why.
const REST: (u64, Duration) = (1 << 20, Duration::from_secs(1));

/// Serves it until the client is done, or `drain` is cancelled and the requests that have come are answered.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    mut stream: TcpStream,
    peer: SocketAddr,
    drain: Token,
) {
    // Without it, a small answer may wait for the next one.
    let _ = stream.set_nodelay(true);
    let turn = Arc::new(Turn(AtomicU8::new(IDLE)));
    let input = shared.config.input;
    let service = service_fn(|request| {
        let answering = Answering::begin(&turn);
        let (shared, drain) = (&shared, &drain);
        async move {
            let mut response = shared.answer(request, peer).await;
            if drain.is_cancelled() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, Infallible>(response.map(|body| body.ends(answering)))
        }
    });
    let line = Line {
        stream: &mut stream,
        turn: Arc::clone(&turn),
        owed: false,
    };
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(input.timeout())
            .max_headers(input.headers)
            .max_buf_size(input.head_bytes)
            .serve_connection(TokioIo::new(line), service)
    );
    let ended = match drain.run(connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) => match timeout(LINGER, connection.as_mut()).await {
            Ok(ended) => ended,
            // Connected in advance, as browsers do, and never used.
            Err(_) if turn.get() == IDLE => return,
            Err(_) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        },
    };
    if let Err(error) = ended
        && turn.get() == HEARD
    {
        let fault = if error.is_timeout() {
            Fault::SlowClient(input.timeout())
        } else if error.is_parse_too_large() {
            Fault::Malformed("its head is too large, or has too many headers")
        } else if error.is_parse() {
            Fault::Malformed("it is not HTTP/1")
        } else {
            Fault::Cut
        };
        let report = Err::<(), _>(error).raise(fault).unwrap_err();
        let _ = timeout(REST.1, refuse(&shared, stream, &report)).await;
    }
}

/// Answers what hyper would not make a request of.
async fn refuse(shared: &Shared, mut stream: TcpStream, report: &Report) -> io::Result<()> {
    let response = answer::problem(report, &shared.log);
    let mut text = format!("HTTP/1.1 {}\r\nconnection: close\r\n", response.status());
    for (name, value) in response.headers() {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    text += &format!("content-length: {}\r\n\r\n", response.body().len());
    stream.write_all(text.as_bytes()).await?;
    stream.write_all(response.body()).await?;
    stream.shutdown().await?;
    let mut rest = stream.take(REST.0);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}

/// Whose turn it is on a connection.
struct Turn(AtomicU8);

/// Nothing heard since the last answer.
const IDLE: u8 = 0;
/// A part of a head.
const HEARD: u8 = 1;
/// A request is being answered.
const ANSWERING: u8 = 2;
/// hyper has the last of the answer.
const ANSWERED: u8 = 3;

impl Turn {
    fn get(&self) -> u8 {
        // ORDERING: Relaxed, since one task reads and writes it.
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, turn: u8) {
        // ORDERING: Relaxed, since one task reads and writes it.
        self.0.store(turn, Ordering::Relaxed);
    }
}

/// A request that is being answered, until this is dropped with the body of its answer.
pub(crate) struct Answering(Arc<Turn>);

impl Answering {
    fn begin(turn: &Arc<Turn>) -> Self {
        turn.set(ANSWERING);
        Self(Arc::clone(turn))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.set(ANSWERED);
    }
}

/// The client's end of a connection. It withholds what hyper says of itself to a head that it cannot read, an answer without a
/// body: the client is to get a problem with an id.
///
/// Garbage that comes with a request before it, in one packet, still has hyper's answer.
struct Line<'a> {
    stream: &'a mut TcpStream,
    turn: Arc<Turn>,
    /// A part of an answer was not taken by the socket.
    owed: bool,
}

impl Line<'_> {
    fn withholds(&self) -> bool {
        self.turn.get() < ANSWERING
    }

    fn wrote(&mut self, all: usize, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.owed = !matches!(written, Poll::Ready(Ok(n)) if n == all);
        written
    }
}

impl AsyncRead for Line<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut *self.stream).poll_read(cx, buf);
        if buf.filled().len() > before && self.turn.get() != ANSWERING && !self.owed {
            self.turn.set(HEARD);
        }
        read
    }
}

impl AsyncWrite for Line<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.withholds() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut *self.stream).poll_write(cx, buf);
        self.wrote(buf.len(), written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if self.withholds() {
            return Poll::Ready(Ok(all));
        }
        let written = Pin::new(&mut *self.stream).poll_write_vectored(cx, bufs);
        self.wrote(all, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.withholds() && self.turn.get() == HEARD {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
