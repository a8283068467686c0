//! Runs the subjects of a case in turn, round by round.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::allocations::counted;
use crate::report;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Ns,
    Bytes,
    Share,
    S,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ns => "ns",
            Self::Bytes => "bytes",
            Self::Share => "share",
            Self::S => "s",
        }
    }
}

/// The figures of one subject in one case.
pub(crate) struct Row {
    pub(crate) area: &'static str,
    pub(crate) case: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) unit: Unit,
    /// The median of the rounds.
    pub(crate) value: f64,
    pub(crate) min: f64,
    /// Allocations an operation.
    pub(crate) allocs: f64,
}

/// Where the cases print to.
pub(crate) struct Bench {
    area: &'static str,
    json: bool,
}

impl Bench {
    pub(crate) fn new(json: bool) -> Self {
        Self { area: "", json }
    }

    pub(crate) fn area(&mut self, name: &'static str) {
        self.area = name;
    }

    /// A case whose subjects are timed.
    pub(crate) fn case<'a>(&self, name: &'static str) -> Case<'a> {
        Case {
            area: self.area,
            name,
            unit: Unit::Ns,
            rounds: 31,
            threads: 1,
            json: self.json,
            subjects: Vec::new(),
        }
    }
}

/// How many operations a round makes.
enum Batch {
    /// As many as fill [`ROUND`].
    Calibrated,
    /// So many. What an operation costs may fall with their number, or its set-up may take far longer than it does: then
    /// calibration would never end.
    Fixed(u64),
}

/// Long enough for the clock to vanish, short enough to fall between two disturbances.
const ROUND: Duration = Duration::from_millis(2);

struct Subject<'a> {
    name: &'static str,
    batch: Batch,
    /// Makes so many operations, and returns what all of them cost, in the case's unit.
    run: Box<dyn FnMut(u64) -> f64 + 'a>,
}

pub(crate) struct Case<'a> {
    area: &'static str,
    name: &'static str,
    unit: Unit,
    rounds: usize,
    threads: u64,
    json: bool,
    subjects: Vec<Subject<'a>>,
}

impl<'a> Case<'a> {
    pub(crate) fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    pub(crate) fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds;
        self
    }

    /// How many threads make the operations of a round, each all of them.
    pub(crate) fn threads(mut self, threads: u64) -> Self {
        self.threads = threads;
        self
    }

    /// An operation that is repeated as it stands.
    pub(crate) fn op<R>(self, name: &'static str, mut f: impl FnMut() -> R + 'a) -> Self {
        self.timed(name, move |operations| {
            let begun = Instant::now();
            for _ in 0..operations {
                black_box(f());
            }
            begun.elapsed()
        })
    }

    /// Operations that time themselves, so that a set-up is left out.
    pub(crate) fn timed(self, name: &'static str, mut f: impl FnMut(u64) -> Duration + 'a) -> Self {
        self.subject(name, Batch::Calibrated, move |operations| {
            nanoseconds(f(operations))
        })
    }

    /// The same, with a fixed number of operations a round.
    pub(crate) fn timed_fixed(
        self,
        name: &'static str,
        operations: u64,
        mut f: impl FnMut(u64) -> Duration + 'a,
    ) -> Self {
        self.subject(name, Batch::Fixed(operations), move |operations| {
            nanoseconds(f(operations))
        })
    }

    /// A figure that is no time; `operations` share it.
    pub(crate) fn measured(
        self,
        name: &'static str,
        operations: u64,
        mut f: impl FnMut(u64) -> f64 + 'a,
    ) -> Self {
        self.subject(name, Batch::Fixed(operations), move |operations| {
            f(operations)
        })
    }

    fn subject(
        mut self,
        name: &'static str,
        batch: Batch,
        run: impl FnMut(u64) -> f64 + 'a,
    ) -> Self {
        self.subjects.push(Subject {
            name,
            batch,
            run: Box::new(run),
        });
        self
    }

    /// Warms up, runs the rounds, and prints the rows.
    pub(crate) fn run(self) {
        let Self {
            area,
            name: case,
            unit,
            rounds,
            threads,
            json,
            mut subjects,
        } = self;
        let batches: Vec<u64> = subjects
            .iter_mut()
            .map(|subject| subject.warmed_up(rounds))
            .collect();
        let mut figures = vec![Vec::with_capacity(rounds); subjects.len()];
        for _ in 0..rounds {
            for (at, subject) in subjects.iter_mut().enumerate() {
                figures[at].push((subject.run)(batches[at]) / batches[at] as f64);
            }
        }
        let mut rows = Vec::new();
        for (at, mut subject) in subjects.into_iter().enumerate() {
            // Apart from the rounds, since counting costs.
            let (_, calls, _) = counted(|| (subject.run)(batches[at]));
            figures[at].sort_by(f64::total_cmp);
            rows.push(Row {
                area,
                case,
                subject: subject.name,
                unit,
                value: figures[at][rounds / 2],
                min: figures[at][0],
                allocs: calls as f64 / (batches[at] * threads) as f64,
            });
        }
        print!(
            "{}",
            if json {
                report::objects(&rows)
            } else {
                report::table(&rows)
            }
        );
    }
}

impl Subject<'_> {
    /// The size of a batch; finding it is the warm-up. What is measured once needs none.
    fn warmed_up(&mut self, rounds: usize) -> u64 {
        let mut operations = match self.batch {
            Batch::Calibrated => 1,
            Batch::Fixed(operations) => {
                if rounds > 1 {
                    (self.run)(operations);
                }
                return operations;
            }
        };
        while (self.run)(operations) < nanoseconds(ROUND) / 2.0 {
            operations *= 2;
        }
        operations
    }
}

pub(crate) fn nanoseconds(took: Duration) -> f64 {
    took.as_nanos() as f64
}
