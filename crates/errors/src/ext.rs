use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::panic::Location;

use crate::{Known, Report};

/// What a foreign error must be to go into a report: any error that can be sent and shared, a boxed one, or a text.
type Foreign = Box<dyn Error + Send + Sync>;

/// From any `Result` or `Option` to a [`Report`].
///
/// | where the error is | and it is | write |
/// |-|-|-|
/// | [`Known`], or a report | going on as it is | `?`, or [`trail`](Self::trail) to note the place |
/// | anything | expected here | [`raise`](Self::raise) what it means here |
/// | anything | partly expected | [`raise_if`](Self::raise_if) |
/// | anything | not expected | [`bug`](Self::bug) |
///
/// Each method records the place where it is called. The plain `?` on a report does not, since the compiler tells nobody
/// that it was there; on a known error it does.
///
/// Only `Result` and `Option` implement it. Nothing is computed for `Ok`. Where the argument costs something, use the variant that takes a closure.
///
/// # Examples
///
/// ```
/// use std::io::ErrorKind;
/// use evenkeel_errors::{Code, Kind, Known, Report, ResultExt, Status};
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("no settings for {tenant}")]
/// struct NoSettings { tenant: String }
///
/// impl Known for NoSettings {
///     fn code(&self) -> Code {
///         Code::new("shop.settings", "none", Status::NotFound)
///     }
/// }
///
/// fn settings(tenant: &str) -> Result<Vec<u8>, Report> {
///     // A tenant without settings is an everyday thing. A disk that fails is not.
///     std::fs::read(format!("settings/{tenant}")).raise_if(|error| {
///         (error.kind() == ErrorKind::NotFound).then(|| NoSettings { tenant: tenant.into() })
///     })
/// }
///
/// let report = settings("acme").note("while signing in").unwrap_err();
/// assert_eq!(report.kind(), Kind::Known);
/// assert_eq!(report.to_string(), "no settings for acme");
/// assert!(report.downcast_ref::<std::io::Error>().is_some());
/// ```
pub trait ResultExt: Sized + Outcome {
    /// Makes a known error a report, or adds this place to the trail of one.
    ///
    /// # Errors
    ///
    /// The report, as with all of these methods.
    #[track_caller]
    fn trail(self) -> Result<Self::Value, Report>
    where
        Self::Error: Into<Report>,
    {
        let place = Location::caller();
        match self.outcome() {
            Ok(value) => Ok(value),
            Err(error) => Err(error.into().hop(place)),
        }
    }

    /// Makes a known error a report, and adds a remark for the developer.
    ///
    /// # Errors
    ///
    /// The report.
    #[track_caller]
    fn note(self, text: impl Into<Cow<'static, str>>) -> Result<Self::Value, Report>
    where
        Self::Error: Into<Report>,
    {
        match self.outcome() {
            Ok(value) => Ok(value),
            Err(error) => Err(error.into().note(text)),
        }
    }

    /// [`note`](Self::note) with a text that is made when it is needed.
    ///
    /// # Errors
    ///
    /// The report.
    #[track_caller]
    fn note_with<T: Into<Cow<'static, str>>>(
        self,
        text: impl FnOnce() -> T,
    ) -> Result<Self::Value, Report>
    where
        Self::Error: Into<Report>,
    {
        match self.outcome() {
            Ok(value) => Ok(value),
            Err(error) => Err(error.into().note(text())),
        }
    }

    /// Raises a known error over whatever this one is: it was expected, and here is what it means to the caller.
    ///
    /// A report is kept, with its id and its story. Any other error becomes the cause at the bottom of a new one. A known
    /// error that is no report yet counts as any other, and the log has its text but not its code; it has both after
    /// `.trail().raise(..)`.
    ///
    /// # Errors
    ///
    /// The report.
    #[track_caller]
    fn raise<K: Known>(self, known: K) -> Result<Self::Value, Report>
    where
        Self::Error: Into<Foreign> + 'static,
    {
        let place = Location::caller();
        match self.outcome() {
            Ok(value) => Ok(value),
            Err(error) => Err(Report::cause_at(error, place).raise(known)),
        }
    }

    /// [`raise`](Self::raise) with an error that is made when it is needed, from the one there is.
    ///
    /// # Errors
    ///
    /// The report.
    #[track_caller]
    fn raise_with<K: Known>(
        self,
        known: impl FnOnce(&Self::Error) -> K,
    ) -> Result<Self::Value, Report>
    where
        Self::Error: Into<Foreign> + 'static,
    {
        self.raise_if(|error| Some(known(error)))
    }

    /// [`raise`](Self::raise) if `known` recognises the error. If it does not, a report goes on as by
    /// [`trail`](Self::trail), and any other error is a [`bug`](Self::bug).
    ///
    /// # Errors
    ///
    /// The report.
    #[track_caller]
    fn raise_if<K: Known>(
        self,
        known: impl FnOnce(&Self::Error) -> Option<K>,
    ) -> Result<Self::Value, Report>
    where
        Self::Error: Into<Foreign> + 'static,
    {
        let place = Location::caller();
        match self.outcome() {
            Ok(value) => Ok(value),
            Err(error) => Err(match known(&error) {
                Some(known) => Report::cause_at(error, place).raise(known),
                None => Report::unrecognised_at(error, place),
            }),
        }
    }

    /// Reports a bug: nobody expected this error here.
    ///
    /// A report is kept, with its id and its story, and is a bug from here on.
    ///
    /// # Errors
    ///
    /// The report.
    #[track_caller]
    fn bug(self) -> Result<Self::Value, Report>
    where
        Self::Error: Into<Foreign> + 'static,
    {
        let place = Location::caller();
        match self.outcome() {
            Ok(value) => Ok(value),
            Err(error) => Err(Report::bug_at(error, place)),
        }
    }
}

impl<T, E> ResultExt for Result<T, E> {}

/// With an option, [`raise`](ResultExt::raise) and [`bug`](ResultExt::bug) are what makes sense: there is no error yet.
impl<T> ResultExt for Option<T> {}

mod sealed {
    /// A `Result`, or an `Option` seen as one.
    pub trait Outcome {
        type Value;
        type Error;
        fn outcome(self) -> Result<Self::Value, Self::Error>;
    }
}

use sealed::Outcome;

impl<T, E> Outcome for Result<T, E> {
    type Value = T;
    type Error = E;

    fn outcome(self) -> Self {
        self
    }
}

impl<T> Outcome for Option<T> {
    type Value = T;
    type Error = Absent;

    fn outcome(self) -> Result<T, Absent> {
        self.ok_or(Absent(()))
    }
}

/// An `Option` was `None`.
#[derive(Debug)]
pub struct Absent(());

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no value")
    }
}

impl Error for Absent {}
