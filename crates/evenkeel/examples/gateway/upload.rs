//! The body of a client's request: kept up to a bound, so that it can be sent again, or passed through once.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use crate::answer::Fault;
use crate::kept::{self, Kept};
use crate::patience::Patience;

/// What goes to a replica.
pub(crate) type Sent = Either<Full<Bytes>, Rest>;

/// What has come of a body.
pub(crate) enum Upload {
    /// All of it.
    Whole(Bytes),
    /// More than is kept.
    Longer(Rest),
}

/// How a body that is passed through ended, for who waits for the answer.
#[derive(Clone, Default)]
pub(crate) struct Passage(Arc<Mutex<End>>);

#[derive(Default)]
struct End {
    fault: Option<Fault>,
    ended: bool,
}

impl Passage {
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.lock().fault.take()
    }

    /// Whether the client has sent all of it.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    fn lock(&self) -> MutexGuard<'_, End> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    /// Reads up to `bound` bytes and what comes with them. A client gets `pause` for each part.
    pub(crate) async fn read(body: Incoming, bound: usize, pause: Duration) -> Result<Self, Fault> {
        let mut rest = Rest {
            kept: Bytes::new(),
            body,
            patience: Patience::new(pause),
            passage: Passage::default(),
        };
        match Kept::read(&mut rest, bound).await {
            Ok(Kept::Whole(bytes)) => Ok(Self::Whole(bytes)),
            Ok(Kept::Part(kept)) => {
                rest.kept = kept;
                // The next wait is for the replica to ask.
                rest.patience.renew();
                Ok(Self::Longer(rest))
            }
            Err(Unsent) => Err(rest.passage.fault().unwrap_or(Fault::Cut)),
        }
    }
}

/// The body from here on.
pub(crate) struct Rest {
    kept: Bytes,
    body: Incoming,
    patience: Patience,
    passage: Passage,
}

/// The client did not send the rest.
#[derive(Debug, thiserror::Error)]
#[error("the client did not send the rest of its body")]
pub(crate) struct Unsent;

impl Rest {
    pub(crate) fn passage(&self) -> Passage {
        self.passage.clone()
    }

    fn spoil(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Unsent>>> {
        self.passage.lock().fault = Some(fault);
        Poll::Ready(Some(Err(Unsent)))
    }
}

impl Body for Rest {
    type Data = Bytes;
    type Error = Unsent;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unsent>>> {
        if !self.kept.is_empty() {
            let kept = std::mem::take(&mut self.kept);
            return Poll::Ready(Some(Ok(Frame::data(kept))));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Err(_))) => self.spoil(Fault::Cut),
            Poll::Ready(part) => {
                self.patience.renew();
                if part.is_none() || self.body.is_end_stream() {
                    self.passage.lock().ended = true;
                }
                Poll::Ready(part.map(|part| part.map_err(|_| Unsent)))
            }
            Poll::Pending => {
                ready!(self.patience.poll(None, cx));
                self.spoil(Fault::SlowClient(self.patience.pause()))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.kept.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        kept::after(self.kept.len(), self.body.size_hint())
    }
}
