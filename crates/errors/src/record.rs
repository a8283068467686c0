use std::fmt;

use crate::chain::{Layer, What};
use crate::json::Text;
use crate::render::{guarded, text, with_sources};
use crate::report::Step;
use crate::timestamp::Timestamp;
use crate::trail::Hop;
use crate::{Kind, Origin, Problem, Report, Status};

/// How loudly the log should speak of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A known error of the asker's making (an HTTP status below 500): nobody has to do anything.
    Info,
    /// A known error of ours or of something we need: worth a look if there are many.
    Warn,
    /// A bug, here or below: somebody has to mend something.
    Error,
}

impl Severity {
    pub(crate) fn of(origin_kind: Kind, status: Option<Status>) -> Self {
        match (origin_kind, status) {
            (Kind::Known, Some(status)) if status.http() < 500 => Self::Info,
            (Kind::Known, Some(_)) => Self::Warn,
            (Kind::Bug, _) | (_, None) => Self::Error,
        }
    }

    /// `info`, `warn` or `error`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What the log gets to know: everything.
///
/// `Display` is a JSON object on one line, whatever the texts of the errors hold: a line break in one cannot forge a
/// second entry. Its members, which stay what they are:
///
/// | member | what it holds |
/// |-|-|
/// | `time` | when the report was made, RFC 3339 in UTC |
/// | `severity` | `info`, `warn` or `error` |
/// | `error.id` | the id that the user was told |
/// | `error.kind`, `error.origin_kind` | `known` or `bug`: the outermost error, and anything below it |
/// | `error.code`, `error.status` | of the outermost error, if known |
/// | `error.message` | the `Display` text of the outermost error |
/// | `error.told` | what the user was told |
/// | `error.story` | an array, the last step first; see below |
/// | `service.name`, `service.version`, `service.instance.id`, `host.name`, `process.pid` | the [`Origin`] |
///
/// The steps of the story are objects: `{"error", "at"}` with `"code"` if known, `"bug":true` if it is one and
/// `"sources"` if there are; `{"note", "at"}`; `{"bug":true, "at"}` where what came before was declared a bug; `{"by"}`
/// for a place passed; and `{"elided"}` for the number of places that are not kept.
pub struct Record<'a> {
    report: &'a Report,
    problem: &'a Problem,
    severity: Severity,
}

impl<'a> Record<'a> {
    pub(crate) fn new(report: &'a Report, problem: &'a Problem) -> Self {
        let status = problem.code().map(|code| code.status());
        let severity = Severity::of(report.origin_kind(), status);
        Self {
            report,
            problem,
            severity,
        }
    }

    /// The report that is logged.
    pub fn report(&self) -> &'a Report {
        self.report
    }

    /// What the user is told.
    #[must_use]
    pub fn problem(&self) -> &'a Problem {
        self.problem
    }

    /// How loud to be.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The `Display` text of the outermost error, though it should panic.
    #[must_use]
    pub fn message(&self) -> String {
        text(self.report)
    }

    /// The steps of the story, as the JSON array that `error.story` is.
    #[must_use]
    pub fn story(&self) -> impl fmt::Display + '_ {
        Story(self.report)
    }
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (report, origin) = (self.report, Origin::get());
        write!(f, r#"{{"time":"{}""#, Timestamp(report.time()))?;
        write!(f, r#","severity":"{}""#, self.severity.name())?;
        write!(f, r#","error.id":"{}""#, report.id())?;
        write!(f, r#","error.kind":"{}""#, report.kind().name())?;
        write!(
            f,
            r#","error.origin_kind":"{}""#,
            report.origin_kind().name()
        )?;
        if let Some(code) = self.problem.code() {
            write!(f, r#","error.code":{}"#, Text(code))?;
            write!(f, r#","error.status":"{}""#, code.status().name())?;
        }
        write!(f, r#","error.message":{}"#, Text(self.message()))?;
        write!(f, r#","error.told":{}"#, Text(self.problem))?;
        write!(f, r#","error.story":{}"#, self.story())?;
        write!(f, r#","service.name":{}"#, Text(origin.service()))?;
        write!(f, r#","service.version":{}"#, Text(origin.version()))?;
        write!(f, r#","service.instance.id":{}"#, Text(origin.instance()))?;
        write!(f, r#","host.name":{}"#, Text(origin.host()))?;
        write!(f, r#","process.pid":{}}}"#, origin.pid())
    }
}

struct Story<'a>(&'a Report);

impl fmt::Display for Story<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.story().enumerate() {
            f.write_str(if number == 0 { "[" } else { "," })?;
            match step {
                Step::Layer(layer) => told(layer, f)?,
                Step::Hop(Hop::At(place)) => write!(f, r#"{{"by":{}}}"#, Text(place))?,
                Step::Hop(Hop::Elided(hops)) => write!(f, r#"{{"elided":{hops}}}"#)?,
            }
        }
        f.write_str("]")
    }
}

fn told(layer: &Layer, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("{")?;
    if let Some(error) = layer.error() {
        write!(f, r#""error":{},"#, Text(text(error)))?;
    }
    match &layer.what {
        What::Known(known) => {
            if let Some(code) = guarded(|| known.code()) {
                write!(f, r#""code":{},"#, Text(code))?;
            }
        }
        What::Bug(_) | What::Unforeseen => f.write_str(r#""bug":true,"#)?,
        What::Note(note) => write!(f, r#""note":{},"#, Text(note))?,
        What::Cause(_) => {}
    }
    write!(f, r#""at":{}"#, Text(layer.place))?;
    let mut sources = layer
        .error()
        .into_iter()
        .flat_map(with_sources)
        .skip(1)
        .peekable();
    if sources.peek().is_some() {
        f.write_str(r#","sources":["#)?;
        for (number, source) in sources.enumerate() {
            write!(
                f,
                "{}{}",
                if number == 0 { "" } else { "," },
                Text(text(source))
            )?;
        }
        f.write_str("]")?;
    }
    f.write_str("}")
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Record").field(self.report).finish()
    }
}
