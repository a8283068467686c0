use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why something was cancelled.
///
/// It is set once, in the same atomic step as the fact of the cancellation, and never changes. Whether it came from an
/// ancestor is another question: [`Token::is_inherited`](crate::Token::is_inherited).
///
/// `Display` reads as the end of a sentence: "timed out", "cancelled by the user".
#[derive(Clone)]
#[non_exhaustive]
pub enum Cause {
    /// It took longer than it was allowed to.
    Timeout,
    /// Whoever asked for it no longer wants it.
    User,
    /// Another result came first, or a newer request took its place.
    Superseded,
    /// The program, or the part of it that this belongs to, is ending.
    Shutdown,
    /// Something that this belongs to has failed.
    Failed,
    /// A reason of one's own.
    Custom(Arc<dyn Error + Send + Sync>),
}

impl Cause {
    /// [`Cause::Custom`] from an error or a text.
    ///
    /// In a chain of sources the cause itself stands for that error: to find it by its type, match on [`Cause::Custom`].
    pub fn custom(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Custom(Arc::from(error.into()))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.pad("timed out"),
            Self::User => f.pad("cancelled by the user"),
            Self::Superseded => f.pad("superseded"),
            Self::Shutdown => f.pad("shutting down"),
            Self::Failed => f.pad("cancelled after a failure"),
            Self::Custom(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("Timeout"),
            Self::User => f.write_str("User"),
            Self::Superseded => f.write_str("Superseded"),
            Self::Shutdown => f.write_str("Shutdown"),
            Self::Failed => f.write_str("Failed"),
            Self::Custom(error) => f.debug_tuple("Custom").field(error).finish(),
        }
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The custom error already speaks through `Display`; its own source is next in the chain.
        match self {
            Self::Custom(error) => error.source(),
            _ => None,
        }
    }
}

/// Custom causes are equal when they are the same error, not when they read the same.
impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Custom(a), Self::Custom(b)) => Arc::ptr_eq(a, b),
            (Self::Custom(_), _) | (_, Self::Custom(_)) => false,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

impl Eq for Cause {}
