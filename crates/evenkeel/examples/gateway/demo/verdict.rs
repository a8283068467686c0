//! What the demo has shown, as a table and in words.

use std::net::SocketAddr;
use std::time::Duration;

use evenkeel::cancel::Shutdown;
use hyper::Response;
use hyper::body::Bytes;

use super::load::Outcome;

/// What was measured and seen.
pub(crate) struct Verdict {
    /// Straight to one replica.
    pub(crate) direct: Outcome,
    /// Through the gateway.
    pub(crate) through: Outcome,
    /// Requests that came to the replicas through the gateway.
    pub(crate) asked: u64,
    /// From the hang to when it was noticed, if it was.
    pub(crate) noticed: Option<Duration>,
    /// The health ward that died was started again.
    pub(crate) restarted: bool,
    pub(crate) greedy: Outcome,
    /// An answer to the client in a hurry.
    pub(crate) failure: Response<Bytes>,
    /// A replica was told that the hurried client waits no more.
    pub(crate) stopped_work: bool,
    pub(crate) lines: Vec<String>,
    pub(crate) shutdown: Shutdown,
    pub(crate) hangs: SocketAddr,
    pub(crate) mute: SocketAddr,
}

impl Verdict {
    /// Prints it, and returns how many marks were missed.
    pub(crate) fn print(&self) -> usize {
        let (direct, through) = (&self.direct, &self.through);
        let heals = usize::from(self.noticed.is_some()) + usize::from(self.restarted);
        let extra = self.asked.saturating_sub(through.answered);
        println!();
        println!("            p50 ms   p99 ms  p99.9 ms  failures  extra requests  429s  heals");
        for (name, outcome, extra, limited, heals) in [
            ("direct", direct, 0, direct.limited, 0),
            (
                "gateway",
                through,
                extra,
                through.limited + self.greedy.limited,
                heals,
            ),
        ] {
            println!(
                "{name:9} {:8.1} {:8.1} {:9.1} {:9} {extra:15} {limited:5} {heals:6}",
                outcome.ms(0.5),
                outcome.ms(0.99),
                outcome.ms(0.999),
                outcome.failed,
            );
        }

        println!("\na failure as the client saw it:");
        println!("  {} {}", self.failure.status(), text(&self.failure));
        println!("and as the log has it:");
        let entry = self.logged();
        println!("  {}", entry.unwrap_or("(not at all)"));

        println!("\nwhat caught which fault:");
        let share = extra as f64 / through.answered.max(1) as f64;
        let lost = through.failed + through.limited;
        let marks = [
            (
                through.ms(0.99) <= direct.ms(0.99) / 2.0,
                format!(
                    "hedge: slow answers were overtaken by a second replica; p99 is {:.2} of the direct one (at most 0.50)",
                    through.ms(0.99) / direct.ms(0.99)
                ),
            ),
            (
                extra > 0 && share <= 0.1,
                format!(
                    "hedge: that took {:.1} % extra requests (at most 10 %)",
                    share * 100.0
                ),
            ),
            (
                lost == 0,
                format!(
                    "hedge: requests caught in the hang went on to another replica; {lost} were lost (none may be)"
                ),
            ),
            (
                self.noticed.is_some(),
                format!(
                    "heartbeat: the hang of {} was {}",
                    self.hangs,
                    self.noticed
                        .map_or("not noticed".to_owned(), |after| format!(
                            "noticed by the silence of its health ward, after {after:.0?}"
                        ))
                ),
            ),
            (
                self.noticed.is_some() && self.restarted,
                format!(
                    "steward: the silent ward was healed, and the one of {} that died was {}",
                    self.mute,
                    if self.restarted {
                        "started again"
                    } else {
                        "not started again"
                    }
                ),
            ),
            (
                through.limited == 0 && self.limits_are_told(),
                format!(
                    "bucket: the greedy client got {} answers and {} times 429, the others none",
                    self.greedy.answered, self.greedy.limited
                ),
            ),
            (
                self.failure.status() == 504 && self.stopped_work,
                format!(
                    "cancel: the client in a hurry got {} when its deadline came, and the replica was told",
                    self.failure.status().as_u16()
                ),
            ),
            (
                entry.is_some(),
                "errors: the id that this client was given finds the whole story in the log"
                    .to_owned(),
            ),
            (
                self.shutdown.is_clean(),
                format!(
                    "cancel: the gateway drained; connections: {}",
                    self.shutdown
                ),
            ),
        ];
        let mut missed = 0;
        for (kept, words) in marks {
            println!("  [{}] {words}", if kept { "ok" } else { "MISSED" });
            missed += usize::from(!kept);
        }
        missed
    }

    /// The log's line on the failure that the client saw.
    fn logged(&self) -> Option<&str> {
        let told = text(&self.failure);
        let (_, id) = told.split_once("urn:uuid:")?;
        let id = id.get(..36)?;
        self.lines
            .iter()
            .find(|line| line.contains(id))
            .map(String::as_str)
    }

    fn limits_are_told(&self) -> bool {
        self.greedy.refusal.as_ref().is_some_and(|refusal| {
            let told = |name: &str| refusal.headers().contains_key(name);
            told("retry-after") && told("ratelimit") && told("ratelimit-policy")
        })
    }
}

fn text(response: &Response<Bytes>) -> String {
    String::from_utf8_lossy(response.body()).into_owned()
}
