use std::borrow::Cow;
use std::fmt;

use crate::json::Text;
use crate::render::guarded;
use crate::{Code, Id, Report, Retry, Status};

/// What the user gets to know: an answer in words, a status, a code, and the id under which the log has the rest.
///
/// It is made by [`Report::boundary`], from what the outermost known error has for the user and nothing else: no
/// `Display` text, note, place or host can get into it. A bug says that something unexpected happened, and asks to report
/// it.
///
/// `Display` is for people: one sentence and the id. [`json`](Self::json) is for programs.
///
/// # Examples
///
/// ```
/// use evenkeel_errors::{Report, sink};
///
/// let problem = Report::bug("index 9 out of bounds in shard 2").boundary(sink::stderr);
/// assert_eq!(problem.status().http(), 500);
/// assert_eq!(
///     problem.to_string(),
///     format!("Something unexpected happened. Please report it. (id {})", problem.id()),
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    id: Id,
    code: Option<Code>,
    detail: Option<Cow<'static, str>>,
    retry: Retry,
}

const UNEXPECTED: Cow<'static, str> =
    Cow::Borrowed("Something unexpected happened. Please report it.");

impl Problem {
    /// The media type of [`json`](Self::json), as RFC 9457 registers it.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    pub(crate) fn of(report: &Report) -> Self {
        let known = report.known().and_then(|known| {
            guarded(|| Self {
                id: report.id(),
                code: Some(known.code()),
                // A blank one tells nobody anything; the title does.
                detail: known.user_message().filter(|text| !text.trim().is_empty()),
                retry: known.retry(),
            })
        });
        // A known error that panics when it is asked who it is has a bug.
        known.unwrap_or(Self {
            id: report.id(),
            code: None,
            detail: Some(UNEXPECTED),
            retry: Retry::Never,
        })
    }

    /// The id of the report, under which the log has the rest.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// The code of the known error; none for a bug.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.code
    }

    /// The class of failure; `Internal` for a bug.
    #[must_use]
    pub fn status(&self) -> Status {
        self.code.map_or(Status::Internal, |code| code.status())
    }

    /// What the known error has for the user, if anything, and never blank; for a bug, that something unexpected happened.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// Whether trying again can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// A JSON object as RFC 9457 has it, on one line.
    ///
    /// Its members are `type`, which is `about:blank`; `title` and `status`, the phrase and the number of the HTTP status;
    /// `detail`, if there is one; and `instance`, the id as a URN. As extensions it has `code`, if the error is known, and
    /// `retry_after_ms`, if it says how long to wait, rounded up and at most 2^53 - 1.
    ///
    /// ```
    /// use evenkeel_errors::{Code, Known, Report, Status, sink};
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// #[error("no row in orders_2024 for id 7")]
    /// struct NoOrder;
    ///
    /// impl Known for NoOrder {
    ///     fn code(&self) -> Code {
    ///         Code::new("shop.orders", "not-found", Status::NotFound)
    ///     }
    ///     fn user_message(&self) -> Option<std::borrow::Cow<'static, str>> {
    ///         Some("There is no such order.".into())
    ///     }
    /// }
    ///
    /// let problem = Report::new(NoOrder).boundary(sink::stderr);
    /// assert_eq!(
    ///     problem.json().to_string(),
    ///     format!(
    ///         concat!(
    ///             r#"{{"type":"about:blank","title":"Not Found","status":404,"#,
    ///             r#""detail":"There is no such order.","instance":"urn:uuid:{}","#,
    ///             r#""code":"shop.orders/not-found"}}"#,
    ///         ),
    ///         problem.id(),
    ///     ),
    /// );
    /// ```
    #[must_use]
    pub fn json(&self) -> impl fmt::Display + '_ {
        Json(self)
    }
}

/// A sentence for people and the id.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{detail} (id {})", self.id),
            None => write!(f, "{}. (id {})", self.status().title(), self.id),
        }
    }
}

/// The largest integer that every reader of JSON keeps exactly (RFC 7493, section 2.2); in milliseconds 285,000 years.
const LARGEST: u128 = (1 << 53) - 1;

/// The phrase of the HTTP status, which RFC 9457 wants for a title where the type is `about:blank`.
fn phrase(status: Status) -> &'static str {
    match status.http() {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        429 => "Too Many Requests",
        499 => "Client Closed Request",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Internal Server Error",
    }
}

struct Json<'a>(&'a Problem);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = self.0;
        let status = problem.status();
        let (title, http) = (phrase(status), status.http());
        write!(
            f,
            r#"{{"type":"about:blank","title":"{title}","status":{http}"#
        )?;
        if let Some(detail) = problem.detail() {
            write!(f, r#","detail":{}"#, Text(detail))?;
        }
        write!(f, r#","instance":"urn:uuid:{}""#, problem.id)?;
        if let Some(code) = problem.code {
            write!(f, r#","code":{}"#, Text(code))?;
        }
        if let Retry::After(pause) = problem.retry {
            let millis = pause.as_nanos().div_ceil(1_000_000).min(LARGEST);
            write!(f, r#","retry_after_ms":{millis}"#)?;
        }
        f.write_str("}")
    }
}
