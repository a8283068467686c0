//! Answers for the probes of an orchestrator, ready to mount in any HTTP server.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use evenkeel_sync::Mutex;
use tokio::time::Instant;

use crate::{Health, Monitor, PulseId};

/// What `/livez`, `/readyz` and `/startupz` answer, by the pulses that were named to it.
///
/// | | fails | what the orchestrator does then |
/// |-|-|-|
/// | [`livez`](Self::livez) | a critical pulse is hung or closed, or has been starved for too long | kills the process |
/// | [`readyz`](Self::readyz) | any pulse is not live or busy, the monitor is stalled, or it drains | sends no requests |
/// | [`startupz`](Self::startupz) | some pulse has not beaten yet | waits |
///
/// A process that is short of time is not killed for it, since the next one would be no better off: a starved pulse fails
/// readiness at once and liveness after a limit only, and a silent one never fails liveness. What is silent may be healed by
/// a steward; make liveness fail by closing its pulse.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), evenkeel_heartbeat::ClassError> {
/// use std::time::Duration;
/// use evenkeel_heartbeat::{Expect, Heartbeat, Monitor, Probes};
///
/// let monitor = Monitor::new();
/// let pulse = monitor.class(Expect::within(Duration::from_secs(5)))?.register("ingest");
/// let probes = Probes::new(&monitor);
/// probes.critical("ingest", pulse.id());
/// assert_eq!(probes.startupz().status(), 503);
/// pulse.beat();
/// assert_eq!(probes.startupz().status(), 200);
/// assert_eq!(probes.livez().body(true), "[+]ingest Live\nlivez passed\n");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Probes {
    monitor: Monitor,
    starved_limit: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pulses: BTreeMap<String, Named>,
    drains: bool,
}

#[derive(Debug)]
struct Named {
    pulse: PulseId,
    critical: bool,
    /// Since when it was starved whenever somebody asked.
    starved: Option<Instant>,
}

impl Probes {
    /// Answers for pulses of `monitor`, none so far: name them before the first probe is served, which passes without any.
    #[must_use]
    pub fn new(monitor: &Monitor) -> Self {
        Self {
            monitor: monitor.clone(),
            starved_limit: Duration::from_secs(60),
            state: Mutex::default(),
        }
    }

    /// How long a critical pulse may be starved before liveness fails; a minute unless this is called. It is asked of when a probe is,
    /// and taken for starved in between if it was both times.
    #[must_use]
    pub fn starved_limit(mut self, limit: Duration) -> Self {
        self.starved_limit = limit;
        self
    }

    /// A pulse without which the process is of no use. In place of the one that had the name, if there is one.
    pub fn critical(&self, name: &str, pulse: PulseId) {
        self.put(name, pulse, true);
    }

    /// A pulse without which the process should get no requests. In place of the one that had the name, if there is one.
    pub fn required(&self, name: &str, pulse: PulseId) {
        self.put(name, pulse, false);
    }

    /// Asks no more of the pulse of that name.
    pub fn remove(&self, name: &str) {
        self.state.lock().pulses.remove(name);
    }

    /// Readiness fails from now on, whatever the pulses say: the process ends its work and is to get no more.
    pub fn drain(&self) {
        self.state.lock().drains = true;
    }

    /// Whether the process should go on living.
    #[must_use]
    pub fn livez(&self) -> Answer {
        let mut answer = Answer::new("livez");
        let now = Instant::now();
        for (name, pulse) in &mut self.state.lock().pulses {
            let health = self.monitor.health(pulse.pulse);
            let starved = match health {
                Health::Starved => Some(*pulse.starved.get_or_insert(now)),
                _ => None,
            };
            pulse.starved = starved;
            let too_long = starved.is_some_and(|at| now.duration_since(at) >= self.starved_limit);
            let dead = too_long || matches!(health, Health::Hung | Health::Closed);
            answer.check(name, health, !(dead && pulse.critical));
        }
        answer
    }

    /// Whether the process should get requests.
    #[must_use]
    pub fn readyz(&self) -> Answer {
        let mut answer = Answer::new("readyz");
        let own = self.monitor.health(PulseId::MONITOR);
        answer.check(
            "monitor",
            own,
            matches!(own, Health::Live | Health::Starting),
        );
        let state = self.state.lock();
        for (name, pulse) in &state.pulses {
            let health = self.monitor.health(pulse.pulse);
            answer.check(name, health, matches!(health, Health::Live | Health::Busy));
        }
        answer.passed &= !state.drains;
        answer
    }

    /// Whether every pulse has beaten once. One that has ended has not: [`remove`](Self::remove) what is done.
    #[must_use]
    pub fn startupz(&self) -> Answer {
        let mut answer = Answer::new("startupz");
        for (name, pulse) in &self.state.lock().pulses {
            let started = self.monitor.has_started(pulse.pulse);
            answer.check(name, self.monitor.health(pulse.pulse), started);
        }
        answer
    }

    fn put(&self, name: &str, pulse: PulseId, critical: bool) {
        let named = Named {
            pulse,
            critical,
            starved: None,
        };
        self.state.lock().pulses.insert(name.to_owned(), named);
    }
}

/// What a probe is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    probe: &'static str,
    passed: bool,
    checks: Vec<(String, Health, bool)>,
}

impl Answer {
    fn new(probe: &'static str) -> Self {
        Self {
            probe,
            passed: true,
            checks: Vec::new(),
        }
    }

    fn check(&mut self, name: &str, health: Health, passed: bool) {
        self.passed &= passed;
        self.checks.push((name.to_owned(), health, passed));
    }

    /// Whether the probe passes.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.passed
    }

    /// The HTTP status: 200, or 503.
    #[must_use]
    pub fn status(&self) -> u16 {
        if self.passed { 200 } else { 503 }
    }

    /// The body, as `text/plain`: `ok` if it passes and nobody asked for more (by `?verbose`, as is the custom), otherwise
    /// a line for each pulse.
    #[must_use]
    pub fn body(&self, verbose: bool) -> String {
        if self.passed && !verbose {
            "ok\n".to_owned()
        } else {
            self.to_string()
        }
    }

    /// The pulses looked at, how each fares, and whether that is good enough.
    pub fn checks(&self) -> impl Iterator<Item = (&str, Health, bool)> {
        self.checks
            .iter()
            .map(|(name, health, passed)| (name.as_str(), *health, *passed))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, health, passed) in self.checks() {
            f.write_char('[')?;
            f.write_char(if passed { '+' } else { '-' })?;
            writeln!(f, "]{name} {health:?}")?;
        }
        let passed = if self.passed { "passed" } else { "failed" };
        writeln!(f, "{} {passed}", self.probe)
    }
}
