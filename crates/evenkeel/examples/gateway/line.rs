//! The client's end of a connection, and whose turn it is on it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::patience::Patience;

/// Whose turn it is on a connection. One task asks and tells.
#[derive(Default)]
pub(crate) struct Turn(Mutex<State>);

#[derive(Clone, Copy, Default)]
struct State {
    stage: Stage,
    /// When the request that is answered is over.
    until: Option<Instant>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Nothing heard so far.
    #[default]
    Idle,
    /// A part of a head.
    Heard,
    /// A request is being answered.
    Answering,
    /// hyper has the last of the answer.
    Answered,
    /// The same, and it was the last on this connection: what still comes is no head.
    Last,
}

impl Turn {
    pub(crate) fn stage(&self) -> Stage {
        self.state().stage
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered, until this is dropped with the body of its answer.
pub(crate) struct Answering {
    turn: Arc<Turn>,
    is_last: bool,
}

impl Answering {
    pub(crate) fn begin(turn: &Arc<Turn>) -> Self {
        *turn.state() = State {
            stage: Stage::Answering,
            until: None,
        };
        Self {
            turn: Arc::clone(turn),
            is_last: false,
        }
    }

    /// The answer may be sent until then.
    pub(crate) fn until(&self, until: Option<Instant>) {
        self.turn.state().until = until;
    }

    /// The connection is closed after the answer.
    pub(crate) fn is_last(&mut self) {
        self.is_last = true;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let last = if self.is_last {
            Stage::Last
        } else {
            Stage::Answered
        };
        self.turn.state().stage = last;
    }
}

/// The client's end of a connection. It withholds what hyper says of itself to a head that it cannot read, an answer without a
/// body: the client is to get a problem with an id.
///
/// What comes with a request before it, in one packet, is not seen to have begun: garbage still has hyper's answer.
pub(crate) struct Line<'a> {
    stream: &'a mut TcpStream,
    turn: Arc<Turn>,
    /// A part of an answer was not taken by the socket.
    owed: bool,
    /// With a client that does not take it.
    patience: Patience,
}

impl<'a> Line<'a> {
    pub(crate) fn new(stream: &'a mut TcpStream, turn: &Arc<Turn>, pause: Duration) -> Self {
        Self {
            stream,
            turn: Arc::clone(turn),
            owed: false,
            patience: Patience::new(pause),
        }
    }

    fn withholds(&self) -> bool {
        self.turn.stage() < Stage::Answering
    }

    fn wrote(
        &mut self,
        all: usize,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.owed = !matches!(written, Poll::Ready(Ok(n)) if n == all);
        if written.is_pending() {
            let until = self.turn.state().until;
            ready!(self.patience.poll(until, cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.patience.renew();
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
        let mut state = self.turn.state();
        let asks = matches!(state.stage, Stage::Idle | Stage::Answered);
        if buf.filled().len() > before && asks && !self.owed {
            state.stage = Stage::Heard;
        }
        drop(state);
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
        self.wrote(buf.len(), written, cx)
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
        self.wrote(all, written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.turn.stage() == Stage::Heard {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
