//! The monitor's task: when each class is scanned, and what time may pass there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::changes::After;
use crate::every::after;
use crate::monitor::{Canary, ClassState, Shared, block};
use crate::planes::TICKS;

/// So many blocks are scanned between two yields: 32k pulses.
const SLICE: u32 = 64;

/// When a class was scanned, and will be.
struct Drive {
    class: Arc<ClassState>,
    /// When the next scan is due: on a grid of periods, which starts anew when one comes late.
    due: Instant,
    /// When the last one ended.
    end: Option<Instant>,
    /// For the last scans that were counted, the end of the one before: what was counted began there.
    since: [Option<Instant>; TICKS],
    /// Where in it the next goes.
    at: usize,
    /// The last scan came late, or took so long that the next one would.
    late: bool,
    /// A scan came late, or the runtime of its pulses had no time, and the next that is in time is not counted either;
    /// or was not, and nothing has been counted since. Where every other scan is late, something must.
    grace: bool,
    graced: bool,
}

impl Drive {
    fn new(class: Arc<ClassState>, now: Instant) -> Self {
        Self {
            due: after(now, class.timing.period),
            class,
            end: None,
            since: [None; TICKS],
            at: 0,
            late: false,
            grace: false,
            graced: false,
        }
    }

    /// Scans the class.
    ///
    /// Why a silence is found in 1 to 1.25 timeouts, which are 12 to 15 periods: a beat is heard by a scan that ends
    /// within a period after it was due, or from whose end the grid starts anew. The 13th scan after that is due 13
    /// periods later; so it comes 12 periods after the beat, or more. The beat came after the scan before, which was due
    /// a period earlier; so it is 14 periods until the 13th is due, and no more than 15 until it comes.
    ///
    /// Late scans count for nothing, nor does the one after them: everybody has a period to get going again.
    async fn scan(&mut self, now: Instant) {
        let timing = &self.class.timing;
        let late = |at: Instant| at.duration_since(self.due) > timing.period;
        let heard = |canary: &Arc<Canary>| canary.is_heard();
        let deaf = late(now) || !self.class.canary.as_ref().is_none_or(heard);
        let counted = !deaf && !self.grace;
        if deaf {
            self.grace |= !self.graced;
        } else {
            self.graced = std::mem::take(&mut self.grace);
        }
        // From the end of the last scan, so that what a handle read during it counts in its favour.
        let passed = self
            .end
            .map_or(timing.period, |end| now.duration_since(end));
        let (passed, witnessed) = match counted {
            true => (passed, timing.witness(passed)),
            false => (Duration::ZERO, timing.now()),
        };
        if counted {
            self.since[self.at] = self.end;
            self.at = (self.at + 1) % TICKS;
        }
        // To a period: when in it the last beat came is not known.
        let detection = self.since[self.at].map(|end| now.duration_since(end) + timing.period);
        let mut watched = 0;
        for at in 0.. {
            let Some(block) = block(&self.class.blocks, at) else {
                break;
            };
            let mut after = After::new();
            watched += block.planes.scan(witnessed, counted, |news| {
                let at = block.id(news.place);
                let mut record = timing.record.lock();
                if news.health.is_alarm() {
                    record.alarm(at, now, detection.filter(|_| !news.limited));
                } else {
                    record.recovery(at, now);
                }
                drop(record);
                block.outbox.put(|| block.change(news), &mut after);
            });
            after.run();
            if at % SLICE == SLICE - 1 {
                tokio::task::yield_now().await;
            }
        }
        timing.record.lock().watched(watched, passed);
        let end = Instant::now();
        self.end = Some(end);
        self.late = late(end);
        self.due = after(if self.late { end } else { self.due }, timing.period);
    }
}

/// Tells the listeners when the task ends, however it ends: also if it is dropped before its first poll.
pub(crate) struct End(pub(crate) Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Runs until it is aborted, or its runtime shuts down.
pub(crate) async fn watch(end: End) {
    let shared = &end.0;
    let mut drives: Vec<Drive> = Vec::new();
    loop {
        for class in &shared.classes.lock()[drives.len()..] {
            drives.push(Drive::new(Arc::clone(class), Instant::now()));
        }
        let fresh = shared.fresh.notified();
        match drives.iter().map(|drive| drive.due).min() {
            None => fresh.await,
            Some(due) => drop(tokio::time::timeout_at(due, fresh).await),
        }
        for drive in &mut drives {
            let now = Instant::now();
            if drive.due <= now {
                drive.scan(now).await;
            }
        }
        let late = drives.iter().any(|drive| drive.late);
        let until = drives
            .iter()
            .map(|drive| after(drive.due, drive.class.timing.period))
            .min();
        shared.turn(late, until);
    }
}
