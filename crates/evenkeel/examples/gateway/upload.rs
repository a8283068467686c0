//! The body of a client's request: kept up to a bound, so that it can be sent again, or passed through once.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::answer::Fault;

/// What goes to a replica.
pub(crate) type Sent = Either<Full<Bytes>, Rest>;

/// What has come of a body.
pub(crate) enum Upload {
    /// All of it.
    Whole(Bytes),
    /// More than is kept.
    Longer(Rest),
}

/// What went wrong with a body that is passed through, for who waits for the answer.
#[derive(Clone, Default)]
pub(crate) struct Spoilt(Arc<Mutex<Option<Fault>>>);

impl Spoilt {
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Upload {
    /// Reads up to `bound` bytes and what comes with them. A client gets `pause` for each part.
    pub(crate) async fn read(body: Incoming, bound: usize, pause: Duration) -> Result<Self, Fault> {
        let mut rest = Rest {
            kept: Bytes::new(),
            body,
            pause,
            late: Box::pin(sleep(pause)),
            spoilt: Spoilt::default(),
        };
        let mut kept = Vec::new();
        while rest.body.size_hint().lower() <= (bound - kept.len().min(bound)) as u64 {
            match rest.frame().await {
                None => return Ok(Self::Whole(kept.into())),
                Some(Ok(frame)) => kept.extend(frame.into_data().unwrap_or_default()),
                Some(Err(_)) => return Err(rest.spoilt.fault().unwrap_or(Fault::Cut)),
            }
            if kept.len() > bound {
                break;
            }
        }
        rest.kept = kept.into();
        Ok(Self::Longer(rest))
    }
}

/// The body from here on.
pub(crate) struct Rest {
    kept: Bytes,
    body: Incoming,
    pause: Duration,
    late: Pin<Box<Sleep>>,
    spoilt: Spoilt,
}

/// The client did not send the rest.
#[derive(Debug, thiserror::Error)]
#[error("the client did not send the rest of its body")]
pub(crate) struct Unsent;

impl Rest {
    pub(crate) fn spoilt(&self) -> Spoilt {
        self.spoilt.clone()
    }

    fn spoil(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Unsent>>> {
        *self.spoilt.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
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
                let next = Instant::now() + self.pause;
                self.late.as_mut().reset(next);
                Poll::Ready(part.map(|part| part.map_err(|_| Unsent)))
            }
            Poll::Pending => {
                ready!(self.late.as_mut().poll(cx));
                self.spoil(Fault::SlowClient(self.pause))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.kept.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, kept) = (self.body.size_hint(), self.kept.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint
    }
}
