//! The client's end of a connection, and whose turn it is on it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Whose turn it is on a connection.
pub(crate) struct Turn(AtomicU8);

/// Nothing heard so far.
pub(crate) const IDLE: u8 = 0;
/// A part of a head.
pub(crate) const HEARD: u8 = 1;
/// A request is being answered.
const ANSWERING: u8 = 2;
/// hyper has the last of the answer.
const ANSWERED: u8 = 3;

impl Turn {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU8::new(IDLE)))
    }

    pub(crate) fn get(&self) -> u8 {
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
    pub(crate) fn begin(turn: &Arc<Turn>) -> Self {
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
pub(crate) struct Line<'a> {
    stream: &'a mut TcpStream,
    turn: Arc<Turn>,
    /// A part of an answer was not taken by the socket.
    owed: bool,
}

impl<'a> Line<'a> {
    pub(crate) fn new(stream: &'a mut TcpStream, turn: &Arc<Turn>) -> Self {
        Self {
            stream,
            turn: Arc::clone(turn),
            owed: false,
        }
    }

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
