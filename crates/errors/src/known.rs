use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// An error that was thought of: it has a name, a status, a word for the user, and says whether trying again can help.
///
/// This is the one trait the crate asks for. A type that implements it turns into a `Report` by `?`;
/// every other error does not, so that each place where something unforeseen can happen is visible in the source.
///
/// The trait stands beside `Display`, it does not replace it. `Display` is for the developer and may say anything.
/// [`user_message`](Known::user_message) is for whoever made the request, and is the only text of an error that ever
/// reaches them.
///
/// The methods are called when a report is made and while it is rendered, so they should be cheap and give the same
/// answer each time.
///
/// # Examples
///
/// ```
/// use std::borrow::Cow;
/// use std::time::Duration;
/// use evenkeel_errors::{Code, Known, Retry, Status};
///
/// #[derive(Debug, thiserror::Error)]
/// enum OrderError {
///     #[error("no order {id} on shard {shard}")]
///     NotFound { id: u64, shard: u8 },
///     #[error("shard {shard} is read-only until its replica catches up")]
///     ReadOnly { shard: u8 },
/// }
///
/// impl Known for OrderError {
///     fn code(&self) -> Code {
///         match self {
///             Self::NotFound { .. } => Code::new("shop.orders", "not-found", Status::NotFound),
///             Self::ReadOnly { .. } => Code::new("shop.orders", "read-only", Status::Unavailable),
///         }
///     }
///
///     fn user_message(&self) -> Option<Cow<'static, str>> {
///         Some(match self {
///             Self::NotFound { id, .. } => format!("There is no order {id}.").into(),
///             Self::ReadOnly { .. } => "Orders cannot be changed just now.".into(),
///         })
///     }
///
///     fn retry(&self) -> Retry {
///         match self {
///             Self::NotFound { .. } => Retry::Never,
///             Self::ReadOnly { .. } => Retry::After(Duration::from_secs(5)),
///         }
///     }
/// }
///
/// let error = OrderError::NotFound { id: 7, shard: 3 };
/// assert_eq!(error.code().to_string(), "shop.orders/not-found");
/// assert_eq!(error.code().status().http(), 404);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not `Known`",
    label = "not `Known`: over an expected error `.raise(..)` one that is, and call any other a `.bug()`"
)]
pub trait Known: Error + Send + Sync + 'static {
    /// What this error is called, for machines.
    fn code(&self) -> Code;

    /// What to tell whoever made the request. Without it, or if it is blank, they are told the title of the [`Status`].
    ///
    /// Must not hold what they may not see. It is for people; programs have the code.
    fn user_message(&self) -> Option<Cow<'static, str>> {
        None
    }

    /// Whether the same request, sent again unchanged, can succeed.
    fn retry(&self) -> Retry {
        Retry::Never
    }
}

/// The stable name of a known error: who defines it, what it is, and the class of failure it belongs to.
///
/// `domain` and `reason` are the identity: two codes are equal if these are, whatever their status. They end up in logs, in
/// metrics and in other people's programs, so they stay when a message is reworded, a type renamed or a status
/// corrected. Lower case with dots in the domain and hyphens in the reason is the habit of this house.
///
/// # Examples
///
/// ```
/// use evenkeel_errors::{Code, Status};
///
/// const NOT_FOUND: Code = Code::new("shop.orders", "not-found", Status::NotFound);
/// assert_eq!(NOT_FOUND.domain(), "shop.orders");
/// assert_eq!(NOT_FOUND.reason(), "not-found");
/// assert_eq!(NOT_FOUND, Code::new("shop.orders", "not-found", Status::Unknown));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Code {
    domain: &'static str,
    reason: &'static str,
    status: Status,
}

impl Code {
    /// Names an error `reason` within `domain`, of the class `status`.
    #[must_use]
    pub const fn new(domain: &'static str, reason: &'static str, status: Status) -> Self {
        Self {
            domain,
            reason,
            status,
        }
    }

    /// Who defines the error: a crate, a service, a company's name.
    #[must_use]
    pub const fn domain(&self) -> &'static str {
        self.domain
    }

    /// What the error is, unique within the domain.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }

    /// The class of failure.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.domain == other.domain && self.reason == other.reason
    }
}

impl Eq for Code {}

impl std::hash::Hash for Code {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.domain.hash(state);
        self.reason.hash(state);
    }
}

/// `domain/reason`.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.reason)
    }
}

/// The classes of failure: the canonical codes of gRPC without `OK`, numbered as there.
///
/// The set is closed, as gRPC's is. [`http`](Status::http) gives the HTTP status by the mapping that `google/rpc/code.proto` states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Whoever asked has given up, or was told to.
    Cancelled = 1,
    /// Nothing more is known of the class.
    Unknown = 2,
    /// The request is wrong, whatever the state of the system.
    InvalidArgument = 3,
    /// Time ran out; the work may have been done all the same.
    DeadlineExceeded = 4,
    /// What was asked for does not exist.
    NotFound = 5,
    /// What was to be created exists.
    AlreadyExists = 6,
    /// We know who asks, and they may not.
    PermissionDenied = 7,
    /// A quota, a rate limit or a disk is used up.
    ResourceExhausted = 8,
    /// The system is not in the state this needs; the caller has to change something first.
    FailedPrecondition = 9,
    /// Lost a race; worth repeating from a higher level.
    Aborted = 10,
    /// Past the end, and may be right later.
    OutOfRange = 11,
    /// Not supported here.
    Unimplemented = 12,
    /// Something we rely on does not hold: a bug.
    Internal = 13,
    /// Down just now; worth repeating with backoff.
    Unavailable = 14,
    /// Data is lost or corrupt.
    DataLoss = 15,
    /// We do not know who asks.
    Unauthenticated = 16,
}

impl Status {
    /// The number gRPC has for it, 1 to 16.
    #[must_use]
    pub const fn grpc(self) -> u8 {
        self as u8
    }

    /// The HTTP status, 400 to 599. `Cancelled` is 499, which nginx introduced and no RFC defines.
    #[must_use]
    pub const fn http(self) -> u16 {
        match self {
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::Unauthenticated => 401,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::ResourceExhausted => 429,
            Self::Cancelled => 499,
            Self::Unknown | Self::Internal | Self::DataLoss => 500,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::DeadlineExceeded => 504,
        }
    }

    /// The name gRPC has for it, such as `DEADLINE_EXCEEDED`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }

    /// A few words for people who were given no message of their own, such as `Not found`.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Cancelled => "Cancelled",
            Self::Unknown => "Unknown error",
            Self::InvalidArgument => "Invalid request",
            Self::DeadlineExceeded => "Took too long",
            Self::NotFound => "Not found",
            Self::AlreadyExists => "Already exists",
            Self::PermissionDenied => "Not allowed",
            Self::ResourceExhausted => "Limit reached",
            Self::FailedPrecondition => "Not possible at present",
            Self::Aborted => "Conflict",
            Self::OutOfRange => "Out of range",
            Self::Unimplemented => "Not supported",
            Self::Internal => "Internal error",
            Self::Unavailable => "Unavailable",
            Self::DataLoss => "Data lost",
            Self::Unauthenticated => "Not signed in",
        }
    }
}

/// Whether the same request, sent again unchanged, can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Retry {
    /// It fails again: something must change first.
    #[default]
    Never,
    /// It can succeed after a pause that the caller chooses, longer each time.
    Backoff,
    /// It can succeed once this much time has passed.
    After(Duration),
}
