//! Several counters changed as one.

use crate::counter::Counter;
use crate::plan::{Ask, Granted, Short};

/// What holds a counter.
pub(crate) trait Counted {
    fn counter(&self) -> &Counter;
}

impl Counted for &Counter {
    fn counter(&self) -> &Counter {
        self
    }
}

/// Takes `n` tokens from each of `set` or none from any, and names the one that refused by its place in `set`.
///
/// `set` has each counter once, in the order of ids; `strict` has the places in it, most restrictive first. A refusal
/// found by looking takes effect where that counter was read. Otherwise all words are locked, judged and published; no
/// word is seen half way, since a locked word is not read.
pub(crate) fn take_all<C: Counted>(
    set: &[C],
    strict: &[u32],
    ask: &Ask,
) -> Result<Granted, (usize, Short)> {
    if let [only] = set {
        return only.counter().take(ask).map_err(|short| (0, short));
    }
    for &place in strict {
        let place = place as usize;
        let counter = set[place].counter();
        loop {
            let (word, plan) = counter.read();
            if plan.over(ask.now) {
                counter.restart(ask.now);
                continue;
            }
            Counter::judge(word, &plan, ask).map_err(|short| (place, short))?;
            break;
        }
    }
    for one in set {
        one.counter().lock();
    }
    let verdict = judge_locked(set, strict, ask);
    let mut least: Option<Granted> = None;
    for one in set {
        let counter = one.counter();
        let (word, plan) = counter.locked();
        let Ok(moment) = verdict else {
            counter.unlock(word);
            continue;
        };
        // Judged as of `moment` just now and locked since.
        let granted = counter.publish(word, &plan, moment, ask);
        if least.is_none_or(|least| granted.tokens() < least.tokens()) {
            least = Some(granted);
        }
    }
    verdict.map(|_| least.unwrap_or(Granted::NOTHING))
}

/// The moment at which all of the locked `set` grant.
fn judge_locked<C: Counted>(set: &[C], strict: &[u32], ask: &Ask) -> Result<u64, (usize, Short)> {
    let mut at = 0;
    for &place in strict {
        let (word, plan) = set[place as usize].counter().locked();
        let verdict = Counter::judge(word, &plan, ask).map_err(|short| (place as usize, short))?;
        at = at.max(verdict.moment);
    }
    Ok(at)
}
