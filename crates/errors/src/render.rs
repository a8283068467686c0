use std::error::Error;
use std::fmt::{self, Write as _};
use std::iter::successors;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Report;
use crate::chain::{Layer, What};
use crate::report::Step;
use crate::timestamp::Timestamp;
use crate::trail::Hop;

/// How many sources of one error are followed. A chain of sources may be long, or by mistake have no end.
const SOURCES: usize = 32;

/// `error` and its sources, as far as they are followed.
pub(crate) fn with_sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| guarded(|| error.source()).flatten()).take(1 + SOURCES)
}

/// What `f` gives, or nothing if it panics: a report about one fault must not fail by another.
pub(crate) fn guarded<T>(f: impl FnOnce() -> T) -> Option<T> {
    // Whatever the panic left half done is not looked at again.
    catch_unwind(AssertUnwindSafe(f)).ok()
}

/// The text of an error; that there is none, if its `Display` panics or fails.
pub(crate) fn text(error: &dyn fmt::Display) -> String {
    guarded(|| {
        let mut text = String::new();
        write!(text, "{error}").is_ok().then_some(text)
    })
    .flatten()
    .unwrap_or_else(|| "(an error whose text cannot be shown)".to_owned())
}

/// The whole story, the last step first:
///
/// ```text
/// bug 01923456-789a-7fff-a220-a8397b1dcdaf at 2026-01-02T03:04:05.000006Z
/// shop 1.2.0 on web-3 (pid 1, instance a1b2c3d4e5f60718)
/// cannot place the order [shop.orders/rejected PERMISSION_DENIED]
///     at src/orders.rs:40:9
///   note: retried twice
///     at src/orders.rs:31:9
///   by src/stock.rs:17:22
/// connection reset by peer
///     at src/stock.rs:9:30
/// ```
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind().name();
        writeln!(f, "{kind} {} at {}", self.id(), Timestamp(self.time()))?;
        write!(f, "{}", crate::Origin::get())?;
        self.story().try_for_each(|step| match step {
            Step::Layer(layer) => told(layer, f),
            Step::Hop(Hop::At(place)) => write!(f, "\n  by {place}"),
            Step::Hop(Hop::Elided(hops)) => write!(f, "\n  by {hops} more places"),
        })
    }
}

fn told(layer: &Layer, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match &layer.what {
        What::Known(known) => {
            write!(f, "\n{}", text(known))?;
            if let Some(code) = guarded(|| known.code()) {
                write!(f, " [{code} {}]", code.status().name())?;
            }
        }
        What::Bug(error) | What::Cause(error) => write!(f, "\n{}", text(error))?,
        What::Unforeseen => f.write_str("\n  a bug from here on")?,
        What::Note(note) => write!(f, "\n  note: {note}")?,
    }
    write!(f, "\n    at {}", layer.place)?;
    for source in layer.error().into_iter().flat_map(with_sources).skip(1) {
        write!(f, "\n  since {}", text(source))?;
    }
    Ok(())
}
