//! The monitor's task: when each class is scanned, and what time may pass there.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;

use crate::changes::{After, Outbox};
use crate::monitor::{ClassState, Shared, block};
use crate::planes::TICKS;

/// About thirty years.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

fn after(at: Instant, duration: Duration) -> Instant {
    at.checked_add(duration.min(FAR)).unwrap_or(at)
}

/// So many blocks are scanned between two yields: 32k pulses.
const SLICE: u32 = 64;

/// When a class was scanned, and will be.
struct Drive {
    class: Arc<ClassState>,
    /// On a grid of periods, which starts anew when a scan comes late.
    planned: Instant,
    next: Instant,
    /// The ends of the last scans.
    ends: [Option<Instant>; TICKS],
    last: usize,
    /// The scan before was late.
    grace: bool,
}

impl Drive {
    fn new(class: Arc<ClassState>, now: Instant) -> Self {
        let planned = after(now, class.timing.period);
        Self {
            class,
            planned,
            next: planned,
            ends: [None; TICKS],
            last: 0,
            grace: false,
        }
    }

    /// Scans the class; false if it came so late that 1.25 timeouts cannot be held.
    async fn scan(&mut self, outbox: &Outbox, now: Instant) -> bool {
        let timing = &self.class.timing;
        let lateness = now.duration_since(self.next);
        let late = lateness > timing.period;
        // ORDERING: Relaxed: a beat publishes nothing.
        let heard = |canary: &Arc<AtomicBool>| canary.swap(false, Ordering::Relaxed);
        let deaf = late || !self.class.canary.as_ref().is_none_or(heard);
        let counted = !deaf && !self.grace;
        self.grace = deaf;
        // From the end of the last scan, so that what a handle read during it counts in its favour.
        let witnessed = match self.ends[self.last] {
            Some(end) if counted => timing.witness(now.duration_since(end)),
            None if counted => timing.witness(timing.period),
            _ => timing.now(),
        };
        // To a period: when in it the last beat came is not known.
        let oldest = self.ends[(self.last + 1) % TICKS];
        let detection = oldest.map(|end| now.duration_since(end) + timing.period);
        let mut watched = 0;
        for at in 0.. {
            let Some(block) = block(&self.class.blocks, at) else {
                break;
            };
            let mut after = After::default();
            watched += block.planes.scan(witnessed, counted, |news| {
                let at = (block.number, news.place);
                let mut record = timing.record.lock();
                if news.health.is_alarm() {
                    record.alarm(at, now, detection.filter(|_| !news.limited));
                } else {
                    record.recovery(at, now);
                }
                drop(record);
                outbox.put(block.number, news, &mut after);
            });
            after.run();
            if at % SLICE == SLICE - 1 {
                tokio::task::yield_now().await;
            }
        }
        let passed = match self.ends[self.last] {
            Some(end) => now.duration_since(end),
            None => timing.period,
        };
        timing.record.lock().watched(watched, passed);
        self.last = (self.last + 1) % TICKS;
        self.ends[self.last] = Some(Instant::now());
        self.planned = match after(self.planned, timing.period) {
            planned if late || planned <= now => after(now, timing.period),
            planned => planned,
        };
        // Never short of a timeout after the scan that took the last beat of whoever is found silent by then.
        let oldest = self.ends[(self.last + 1) % TICKS];
        self.next = match oldest {
            Some(end) => self.planned.max(after(end, timing.expect.within)),
            None => self.planned,
        };
        lateness <= timing.expect.within / 4
    }
}

/// Runs until it is aborted, or its runtime shuts down.
pub(crate) async fn watch(shared: Arc<Shared>) {
    /// Tells the listeners when the task ends, however it ends.
    struct End<'a>(&'a Shared);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.ended(true);
        }
    }
    let _end = End(&shared);
    let mut drives: Vec<Drive> = Vec::new();
    let mut stalled = false;
    loop {
        for class in &shared.classes.lock()[drives.len()..] {
            drives.push(Drive::new(Arc::clone(class), Instant::now()));
        }
        let fresh = shared.fresh.notified();
        match drives.iter().map(|drive| drive.next).min() {
            None => fresh.await,
            Some(next) => drop(tokio::time::timeout_at(next, fresh).await),
        }
        let mut in_time = true;
        for drive in &mut drives {
            let now = Instant::now();
            if drive.next <= now {
                in_time &= drive.scan(&shared.outbox, now).await;
            }
        }
        shared.turn();
        if stalled == in_time {
            stalled = !in_time;
            shared.stalled(stalled);
        }
    }
}
