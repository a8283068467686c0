use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::time::SystemTime;

use crate::chain::{Chain, Foreign, Layer, What};
use crate::once::Once;
use crate::render::with_sources;
use crate::trail::{Hop, Place, Trail};
use crate::{Code, Id, Known, Problem, Record, Retry, Severity};

/// An error that says what happened, when, where, on which machine and under which id.
///
/// A report is made once, where something failed, and gathers what its callers add: [`trail`](Self::trail) the places
/// it passes, [`note`](Self::note) remarks, [`raise`](Self::raise) a known error in the terms of a higher layer. At the
/// [`boundary`](Self::boundary) the whole of it goes to the log, and the user gets a [`Problem`] with the same id.
///
/// It is one pointer wide, so a `Result<(), Report>` is too.
///
/// `Display` shows the outermost error, `{:#}` it and everything below it on one line, and `Debug` the whole story on
/// many. All three are for developers. As [`Error`] it has as sources the errors below, outermost first, then the
/// sources of the innermost. What [`downcast_ref`](Self::downcast_ref) can reach is more: also the sources of the errors
/// between.
#[must_use = "a report that is dropped was never told to anyone: it belongs before a boundary"]
pub struct Report(Box<Inner>);

struct Inner {
    id: Id,
    time: SystemTime,
    place: Place,
    chain: Chain,
    trail: Trail,
    logged: Once,
}

/// A form to be filled in, by [`Report::with_head`] alone.
impl Default for Inner {
    #[inline(always)]
    fn default() -> Self {
        Self {
            id: Id::NIL,
            time: SystemTime::UNIX_EPOCH,
            place: Location::caller(),
            chain: Chain::empty(),
            trail: Trail::default(),
            logged: Once::new(),
        }
    }
}

/// Whether an error was thought of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It implements [`Known`].
    Known,
    /// It does not, or somebody declared that it cannot happen.
    Bug,
}

impl Kind {
    /// `known` or `bug`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Bug => "bug",
        }
    }
}

impl Report {
    /// Reports a known error that happened here. `?` on one does the same.
    #[track_caller]
    pub fn new<K: Known>(known: K) -> Self {
        Self::with_head(What::Known(Box::new(known)), Location::caller())
    }

    /// Reports something that cannot happen, or that nobody has thought of yet. Takes any error, or a text.
    ///
    /// A report is kept, with its id and all it gathered, and is a bug from here on.
    ///
    /// ```
    /// use evenkeel_errors::{Kind, Report};
    ///
    /// let report = Report::bug("the queue is empty although its length is 3");
    /// assert_eq!(report.kind(), Kind::Bug);
    /// ```
    #[track_caller]
    pub fn bug<E: Into<Foreign> + 'static>(error: E) -> Self {
        Self::bug_at(error, Location::caller())
    }

    /// Adds this place to the trail. The first and the last three places are kept, those between are counted.
    #[track_caller]
    pub fn trail(mut self) -> Self {
        self.0.trail.push(Location::caller());
        self
    }

    /// Adds a remark for the developer.
    ///
    /// All remarks are kept, and all known errors [raised](Self::raise), however many: each takes 56 bytes, beside its text
    /// or its own box, and a place in the log entry. What fails again and again in a loop is a new report each time.
    #[track_caller]
    pub fn note(self, text: impl Into<Cow<'static, str>>) -> Self {
        let place = Location::caller();
        self.push(place, || What::Note(text.into()))
    }

    /// Raises a known error over what the report says so far: the answer to the user is now its answer.
    #[track_caller]
    pub fn raise<K: Known>(self, known: K) -> Self {
        let place = Location::caller();
        self.push(place, || What::Known(Box::new(known)))
    }

    /// The name of this occurrence.
    #[must_use]
    pub fn id(&self) -> Id {
        self.0.id
    }

    /// When the report was made.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        self.0.time
    }

    /// Where the report was made.
    #[must_use]
    pub fn place(&self) -> &'static Location<'static> {
        self.0.place
    }

    /// Whether the outermost error is known: what the user is told depends on this.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.known() {
            Some(_) => Kind::Known,
            None => Kind::Bug,
        }
    }

    /// Whether a bug lies anywhere below: who is called out of bed depends on this.
    #[must_use]
    pub fn origin_kind(&self) -> Kind {
        let bug = self
            .layers()
            .any(|layer| matches!(layer.what, What::Bug(_) | What::Unforeseen));
        if bug { Kind::Bug } else { Kind::Known }
    }

    /// The code of the outermost error; none for a bug.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.known().map(Known::code)
    }

    /// Whether trying again can help, as the outermost error has it; never for a bug.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.known().map_or(Retry::Never, Known::retry)
    }

    /// How loudly the log should speak of it.
    #[must_use]
    pub fn severity(&self) -> Severity {
        Severity::of(self.origin_kind(), self.code().map(|code| code.status()))
    }

    /// The outermost error of type `E`, among the errors of the report and their sources.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.layers()
            .filter_map(Layer::error)
            .flat_map(with_sources)
            .find_map(<dyn Error>::downcast_ref)
    }

    /// The end of the line: hands the whole report to `log`, once, and gives what to tell the user.
    ///
    /// Put it where an answer leaves the program: in the handler of a request, at the end of `main`, in the loop of a
    /// background job. `log` is one of [`sink`](crate::sink), or a closure. It is called by the first boundary that the
    /// report meets and by no other, also when two threads that share the report come to theirs at the same time. What was
    /// added to a report after its first boundary is not logged.
    ///
    /// # Panics
    ///
    /// If `log` does. The report counts as logged all the same, since half of it may be: no other boundary logs it, and what
    /// `log` did not write is lost. A later boundary still gives the [`Problem`].
    ///
    /// A panic in the `Display` or in a [`Known`] method of one of the report's errors is caught.
    ///
    /// # Examples
    ///
    /// ```
    /// use evenkeel_errors::{Report, sink};
    ///
    /// let report = Report::bug("connection pool is poisoned");
    /// let mut log = Vec::new();
    /// let problem = report.boundary(|record| log.push(record.to_string()));
    ///
    /// assert!(log[0].contains("connection pool is poisoned"));
    /// assert!(log[0].contains(&problem.id().to_string()));
    /// assert!(!problem.to_string().contains("connection pool"));
    ///
    /// // The report is logged already, so that this one prints nothing.
    /// assert_eq!(report.boundary(sink::stderr), problem);
    /// ```
    pub fn boundary(&self, log: impl FnOnce(&Record<'_>)) -> Problem {
        let problem = Problem::of(self);
        if self.0.logged.claim() {
            log(&Record::new(self, &problem));
        }
        problem
    }

    pub(crate) fn cause_at<E: Into<Foreign> + 'static>(error: E, place: Place) -> Self {
        match existing(error) {
            Ok(report) => report,
            Err(error) => Self::with_head(What::Cause(error), place),
        }
    }

    pub(crate) fn bug_at<E: Into<Foreign> + 'static>(error: E, place: Place) -> Self {
        match existing(error) {
            Ok(report) => report.push(place, || What::Unforeseen),
            Err(error) => Self::with_head(What::Bug(error), place),
        }
    }

    pub(crate) fn unrecognised_at<E: Into<Foreign> + 'static>(error: E, place: Place) -> Self {
        match existing(error) {
            Ok(report) => report.hop(place),
            Err(error) => Self::with_head(What::Bug(error), place),
        }
    }

    /// Adds the place unless the report was made there just now, by the conversion that came before the hop.
    pub(crate) fn hop(mut self, place: Place) -> Self {
        let fresh = self.0.trail.hops() == 0 && self.0.place == place;
        if !fresh {
            self.0.trail.push(place);
        }
        self
    }

    fn with_head(what: What, place: Place) -> Self {
        // By `default` it comes to be on the heap, and is not copied there.
        let mut inner = Box::<Inner>::default();
        inner.time = SystemTime::now();
        inner.id = Id::new(inner.time);
        inner.place = place;
        inner.chain.set_head(Layer {
            what,
            place,
            after: 0,
        });
        Self(inner)
    }

    #[inline]
    fn push(mut self, place: Place, what: impl FnOnce() -> What) -> Self {
        let after = self.0.trail.hops();
        let slot = self.0.chain.slot();
        *slot = Some(Layer {
            what: what(),
            place,
            after,
        });
        self
    }

    pub(crate) fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.0.chain.layers()
    }

    /// The outermost error, if it is known.
    pub(crate) fn known(&self) -> Option<&dyn Known> {
        self.layers().find_map(|layer| match &layer.what {
            What::Known(known) => Some(Some(&**known)),
            What::Bug(_) | What::Cause(_) | What::Unforeseen => Some(None),
            What::Note(_) => None,
        })?
    }

    /// Everything that was said and every place that was passed, the last first.
    pub(crate) fn story(&self) -> impl Iterator<Item = Step<'_>> {
        let mut told = self.0.trail.hops();
        self.layers().flat_map(move |layer| {
            let hops = self.0.trail.tell(layer.after..told);
            told = layer.after;
            hops.map(Step::Hop).chain([Step::Layer(layer)])
        })
    }
}

/// One step of a report's story.
pub(crate) enum Step<'a> {
    Layer(&'a Layer),
    Hop(Hop),
}

/// The report that `error` is or holds, else the error in a box.
fn existing<E: Into<Foreign> + 'static>(error: E) -> Result<Report, Foreign> {
    let mut error = Some(error);
    let is_report = (&mut error as &mut dyn Any).downcast_mut::<Option<Report>>();
    if let Some(report) = is_report.and_then(Option::take) {
        return Ok(report);
    }
    let Some(error) = error else {
        unreachable!("taken only if it is a report")
    };
    error.into().downcast::<Report>().map(|report| *report)
}

impl<K: Known> From<K> for Report {
    #[track_caller]
    fn from(known: K) -> Self {
        Self::new(known)
    }
}

// No panic leaves a report half changed: what it holds is set once, and the one flag is atomic.
impl UnwindSafe for Report {}
impl RefUnwindSafe for Report {}

impl Error for Report {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.chain.source()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut errors = self.layers().filter_map(Layer::error);
        if !f.alternate() {
            return errors.next().map_or(Ok(()), |error| write!(f, "{error}"));
        }
        for (at, error) in errors.flat_map(with_sources).enumerate() {
            write!(f, "{}{error}", if at == 0 { "" } else { ": " })?;
        }
        Ok(())
    }
}
