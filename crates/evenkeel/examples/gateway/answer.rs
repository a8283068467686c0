//! What a client gets: a replica's answer, or a problem with an id that stands in the log.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use evenkeel::cancel::{CancelledOwned, Cause, DropGuard, Token};
use evenkeel::errors::{Code, Known, Problem, Record, Report, Retry, Status};
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::Instant;

use crate::headers;
use crate::kept;
use crate::line::Answering;
use crate::replicas::Busy;

/// Where reports go.
pub(crate) type Log = Arc<dyn Fn(&Record<'_>) + Send + Sync>;

/// What can go wrong between a client and its answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    #[error("the client took longer than {0:?} for a part of its request")]
    SlowClient(Duration),
    #[error("the request ended before it was complete")]
    Cut,
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    #[error("client `{client}` is at limit `{limit}`")]
    Limited {
        client: String,
        limit: String,
        wait: Option<Duration>,
    },
    #[error("no replica answered")]
    NoReplica,
    /// Its head had been passed on, so that the client cannot be told.
    #[error("an answer broke off")]
    BrokenOff,
    #[error("no answer in {0:?}")]
    Deadline(Duration),
    #[error("shutting down")]
    Shutdown,
}

impl Known for Fault {
    fn code(&self) -> Code {
        let (reason, status) = match self {
            Self::Malformed(_) => ("malformed", Status::InvalidArgument),
            Self::SlowClient(_) => ("slow-client", Status::InvalidArgument),
            Self::Cut => ("cut", Status::InvalidArgument),
            Self::Unsupported(_) => ("unsupported", Status::Unimplemented),
            Self::Limited { .. } => ("limited", Status::ResourceExhausted),
            Self::NoReplica => ("no-replica", Status::Unavailable),
            Self::BrokenOff => ("broken-off", Status::Unavailable),
            Self::Deadline(_) => ("deadline", Status::DeadlineExceeded),
            Self::Shutdown => ("shutdown", Status::Unavailable),
        };
        Code::new("gateway", reason, status)
    }

    fn user_message(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Malformed(what) => format!("The request is malformed: {what}.").into(),
            Self::SlowClient(_) => "The request came too slowly.".into(),
            Self::Cut => "The request ended before it was complete.".into(),
            Self::Unsupported(what) => format!("This gateway does not support {what}.").into(),
            Self::Limited { .. } => "Too many requests.".into(),
            Self::NoReplica | Self::BrokenOff => "The service does not answer.".into(),
            Self::Deadline(_) => "The service did not answer in time.".into(),
            Self::Shutdown => "The service is shutting down.".into(),
        })
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Limited { wait, .. } => wait.map_or(Retry::Never, Retry::After),
            Self::NoReplica | Self::Shutdown => Retry::After(Duration::from_secs(1)),
            Self::Deadline(_) => Retry::Backoff,
            _ => Retry::Never,
        }
    }
}

/// Logs the report, and makes it an answer.
pub(crate) fn problem(report: &Report, log: &Log) -> Response<Bytes> {
    let problem = report.boundary(|record| log(record));
    let mut response = Response::new(Bytes::from(problem.json().to_string()));
    *response.status_mut() = StatusCode::from_u16(problem.status().http())
        // Cancelled is none of HTTP's own, and nobody is left to read it.
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(Problem::CONTENT_TYPE),
    );
    if let Retry::After(wait) = problem.retry() {
        headers::set_retry_after(headers, wait);
    }
    response
}

/// The body of an answer.
pub(crate) struct Body {
    part: Part,
    request: Option<Request>,
    _answering: Option<Answering>,
}

enum Part {
    Whole(Option<Bytes>),
    Passing {
        /// What has come of it before.
        kept: Bytes,
        body: Incoming,
        _busy: Busy,
    },
}

/// What the body is part of: over when that is cancelled, and cancelled with all that is done for it when the body is dropped.
struct Request {
    cancelled: Pin<Box<CancelledOwned>>,
    until: Option<Instant>,
    _guard: DropGuard,
}

/// Why a body ends before it is complete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the request is over: {0}")]
    Over(Cause),
    #[error("the replica broke off")]
    Replica(#[from] hyper::Error),
}

impl Body {
    fn new(part: Part) -> Self {
        Self {
            part,
            request: None,
            _answering: None,
        }
    }

    /// Passes on what a replica has sent, and sends.
    pub(crate) fn passing(kept: Bytes, body: Incoming, busy: Busy) -> Self {
        let _busy = busy;
        Self::new(Part::Passing { kept, body, _busy })
    }

    /// The same, no longer than the request of `token`, which `guard` ends.
    pub(crate) fn of_request(mut self, token: &Token, guard: DropGuard) -> Self {
        self.request = Some(Request {
            cancelled: Box::pin(token.cancelled_owned()),
            until: token.deadline(),
            _guard: guard,
        });
        self
    }

    /// The same, as the end of `answering`.
    pub(crate) fn ends(mut self, answering: Answering) -> Self {
        answering.until(self.request.as_ref().and_then(|request| request.until));
        self._answering = Some(answering);
        self
    }
}

impl<B: Into<Bytes>> From<B> for Body {
    fn from(bytes: B) -> Self {
        let bytes = Some(bytes.into()).filter(|bytes| !bytes.is_empty());
        Self::new(Part::Whole(bytes))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        match &mut this.part {
            Part::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Part::Passing { kept, body, .. } => {
                if let Some(request) = &mut this.request
                    && let Poll::Ready(cause) = request.cancelled.as_mut().poll(cx)
                {
                    return Poll::Ready(Some(Err(Broken::Over(cause))));
                }
                if !kept.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(kept)))));
                }
                Pin::new(body).poll_frame(cx).map_err(Broken::Replica)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.part {
            Part::Whole(bytes) => bytes.is_none(),
            Part::Passing { kept, body, .. } => kept.is_empty() && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.part {
            Part::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Part::Passing { kept, body, .. } => kept::after(kept.len(), body.size_hint()),
        }
    }
}
