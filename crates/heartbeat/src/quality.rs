//! How good the monitor is, measured on the pulses it watches.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::PulseId;

/// The quality of a class's monitoring so far, by the metrics of Chen, Toueg and Aguilera, "On the Quality of Service of
/// Failure Detectors", IEEE Transactions on Computers 51(5), 2002.
///
/// A mistake is an alarm that was taken back: the worker was there after all. So what is measured here says whether the
/// timeout fits the workers: many mistakes, and it is too short.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Quality {
    /// The time that pulses were watched, summed over them; what the monitor did not witness is not in it.
    pub watched: Duration,
    /// Alarms raised.
    pub alarms: u64,
    /// Those of them that a limit raised, of a unit or of the start, and not silence.
    pub overruns: u64,
    /// Alarms taken back.
    pub mistakes: u64,
    /// The time from those alarms until they were taken back, summed.
    pub mistaken: Duration,
    /// The time from the last beat to the alarm, to a twelfth of the timeout, summed over the alarms that silence raised.
    pub detected: Duration,
    /// The longest of these times.
    pub detection_max: Duration,
}

impl Quality {
    /// E(T_D): the time from the last beat to the alarm; zero if silence raised none.
    #[must_use]
    pub fn detection_time(&self) -> Duration {
        let silences = self.alarms - self.overruns;
        self.detected.div_f64(silences.max(1) as f64)
    }

    /// λ_M: mistakes per second and pulse.
    #[must_use]
    pub fn mistake_rate(&self) -> f64 {
        ratio(self.mistakes as f64, self.watched.as_secs_f64())
    }

    /// E(T_M): how long a mistake lasts; zero if there was none.
    #[must_use]
    pub fn mistake_duration(&self) -> Duration {
        self.mistaken.div_f64(self.mistakes.max(1) as f64)
    }

    /// E(T_MR): the time from one mistake to the next, on one pulse; `None` if there was none.
    #[must_use]
    pub fn mistake_recurrence(&self) -> Option<Duration> {
        (self.mistakes > 0).then(|| self.watched.div_f64(self.mistakes as f64))
    }

    /// E(T_G): the part of it in which the pulse was taken for what it was; `None` if there was no mistake.
    #[must_use]
    pub fn good_period(&self) -> Option<Duration> {
        let recurrence = self.mistake_recurrence()?;
        Some(recurrence.saturating_sub(self.mistake_duration()))
    }

    /// P_A: the probability that a pulse of a living worker, looked at some time, is taken for what it is; zero at the least, though a
    /// mistake may have lasted for longer than the monitor witnessed.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        (1.0 - ratio(self.mistaken.as_secs_f64(), self.watched.as_secs_f64())).max(0.0)
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Counts as it goes.
#[derive(Default)]
pub(crate) struct Record {
    quality: Quality,
    /// The alarms that stand.
    alarms: HashMap<PulseId, Instant>,
}

impl Record {
    pub(crate) fn watched(&mut self, pulses: u32, time: Duration) {
        let added = time.saturating_mul(pulses);
        self.quality.watched = self.quality.watched.saturating_add(added);
    }

    /// An alarm, and how long after the last beat, if not by a limit.
    pub(crate) fn alarm(&mut self, at: PulseId, now: Instant, detection: Option<Duration>) {
        let quality = &mut self.quality;
        quality.alarms += 1;
        quality.overruns += u64::from(detection.is_none());
        let detection = detection.unwrap_or_default();
        quality.detected = quality.detected.saturating_add(detection);
        quality.detection_max = quality.detection_max.max(detection);
        self.alarms.insert(at, now);
    }

    pub(crate) fn recovery(&mut self, at: PulseId, now: Instant) {
        if let Some(alarm) = self.alarms.remove(&at) {
            self.quality.mistakes += 1;
            self.quality.mistaken += now.duration_since(alarm);
        }
    }

    /// The pulse has ended: its alarm, if there is one, was none too many.
    pub(crate) fn end(&mut self, at: PulseId) {
        // Mostly there are none, and then there is nothing to hash.
        if !self.alarms.is_empty() {
            self.alarms.remove(&at);
        }
    }

    pub(crate) fn quality(&self) -> Quality {
        self.quality
    }
}
