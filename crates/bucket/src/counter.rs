//! The kernel: one word a bucket, taken from by one compare-and-swap, and several words changed as one.
//!
//! A bucket has produced `base + made(now - origin)` ticks and spent as many as its word says. It holds the difference,
//! at most `cap`. A take raises the word, a refund lowers it; time needs no writing at all, which is why a refusal
//! writes nothing and a stale clock can only see less.
//!
//! # Protocol
//!
//! The word is `spent << 2 | QUEUED | LOCK`.
//!
//! - `LOCK`: one thread is about to change this word and others, or the plan. Only the holder writes the word until it
//!   stores it without the bit; everybody else waits. Locks are taken in the order of the buckets' ids, so there is no
//!   cycle; they are held for a few instructions and never across a call to foreign code.
//! - `QUEUED`: somebody waits in line; newcomers go to the end of it. Set and cleared under the line's mutex.
//! - The plan (`base`, `origin`, scale) changes only under `LOCK`, and each change leaves `spent` above all values it ever
//!   had, so a compare-and-swap that succeeds proves that the plan read before it was the plan in force. Takes raise
//!   `spent`; refunds lower it, after noting the highest value in `high`. The one exception: once in [`HORIZON`] (13
//!   days), or when the word's range is used up, `spent` starts again from the bottom; only a thread that was stopped
//!   between a load and a compare-and-swap for all that time, and then meets the very value it had read, could be misled.

use evenkeel_sync::atomic::{AtomicU64, Ordering::*};
use evenkeel_sync::{hint, thread};

use crate::plan::{Ask, Granted, Plan, Short, Verdict};
use crate::scale::{HORIZON, Scale};

const LOCK: u64 = 1;
const QUEUED: u64 = 2;
const FLAGS: u32 = 2;

/// Above this the word starts again from the bottom when the plan changes.
const TOP: u64 = 1 << 60;

/// What one bucket is: the word, and the plan that gives it a meaning.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Counter {
    word: AtomicU64,
    base: AtomicU64,
    origin: AtomicU64,
    num: AtomicU64,
    den: AtomicU64,
    cost: AtomicU64,
    cap: AtomicU64,
    high: AtomicU64,
}

/// Spins, then lets others run: the holder of a lock bit may have been preempted.
#[derive(Default)]
pub(crate) struct Wait(u32);

impl Wait {
    #[inline]
    pub(crate) fn turn(&mut self) {
        self.0 += 1;
        if self.0 < 16 {
            hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }

    /// After a lost exchange: others are busy here, and go on faster if they are left the cache line for a while.
    fn lost(&mut self) {
        if !evenkeel_sync::MODELLED {
            for _ in 0..32 {
                hint::spin_loop();
            }
        }
        self.turn();
    }
}

impl Counter {
    /// A full bucket.
    pub(crate) fn new(scale: Scale, now: u64) -> Self {
        Self::with(scale, now, 0)
    }

    /// A bucket that was full until so much was spent.
    pub(crate) fn with(scale: Scale, now: u64, spent: u64) -> Self {
        Self {
            word: AtomicU64::new(spent << FLAGS),
            base: AtomicU64::new(scale.cap),
            origin: AtomicU64::new(now),
            num: AtomicU64::new(scale.num),
            den: AtomicU64::new(scale.den),
            cost: AtomicU64::new(scale.cost),
            cap: AtomicU64::new(scale.cap),
            high: AtomicU64::new(0),
        }
    }

    /// The plan as it is now, mixed if it changes meanwhile: then the word no longer [stands](Self::stands).
    #[inline]
    fn plan(&self) -> Plan {
        // ORDERING: Acquire for each, here and below, with the Release stores of `replan`: whoever sees a new part of the plan
        // also sees the word locked or changed, and tries again. Model `replan_take`.
        let (base, origin) = (self.base.load(Acquire), self.origin.load(Acquire));
        let scale = Scale {
            // ORDERING: as above.
            num: self.num.load(Acquire),
            den: self.den.load(Acquire),
            cost: self.cost.load(Acquire),
            cap: self.cap.load(Acquire),
        };
        Plan {
            base,
            origin,
            scale,
            horizon: HORIZON,
        }
    }

    /// An unlocked word and the plan in force with it; `None` if it is locked, or changed meanwhile. Of a plan that is
    /// mixed nothing is reckoned, not even in vain: its parts overflow together.
    #[inline]
    fn glance(&self) -> Option<(u64, Plan)> {
        // ORDERING: Acquire, with the Release of whoever stored this word: the plan read next is no older than it.
        // Model `replan_take`.
        let word = self.word.load(Acquire);
        if word & LOCK == 0 {
            let plan = self.plan();
            return self.stands(word).then_some((word, plan));
        }
        None
    }

    /// The same, as soon as it can be had.
    #[inline]
    pub(crate) fn read(&self) -> (u64, Plan) {
        let mut wait = Wait::default();
        loop {
            if let Some(read) = self.glance() {
                return read;
            }
            wait.turn();
        }
    }

    /// Whether `word` still stands, hence whether the plan read after it was whole.
    #[inline]
    fn stands(&self, word: u64) -> bool {
        // ORDERING: Relaxed. `plan` was read with Acquire, so a new part of it makes the lock that preceded it visible here.
        self.word.load(Relaxed) == word
    }

    /// A consistent reading for those who only look.
    pub(crate) fn look(&self, now: u64) -> (u64, Plan) {
        loop {
            let (word, plan) = self.read();
            if !plan.over(now) {
                return (word >> FLAGS, plan);
            }
            self.restart(now);
        }
    }

    /// Why `n` tokens will not be had however long one waits and whoever gives way, as things stand.
    pub(crate) fn hopeless(&self, n: u64, now: u64) -> Option<Short> {
        let (spent, plan) = self.look(now);
        match plan.scale.price(n) {
            None => Some(Short::TooDeep),
            Some(0) => None,
            Some(price) if plan.due(spent, price.into()).is_some() => None,
            Some(_) => Some(Short::Never),
        }
    }

    /// Takes `n` tokens or none.
    #[inline]
    pub(crate) fn take(&self, ask: &Ask) -> Result<Granted, Short> {
        self.attempt(ask).unwrap_or_else(|| self.take_on(*ask))
    }

    /// Others were quicker, or the word was locked.
    #[cold]
    fn take_on(&self, ask: Ask) -> Result<Granted, Short> {
        let mut wait = Wait::default();
        loop {
            wait.lost();
            if let Some(taken) = self.attempt(&ask) {
                return taken;
            }
        }
    }

    /// `None` if it is to be tried again.
    #[inline]
    fn attempt(&self, ask: &Ask) -> Option<Result<Granted, Short>> {
        let (word, plan) = self.glance()?;
        if plan.over(ask.now) {
            self.restart(ask.now);
            return None;
        }
        match Self::judge(word, &plan, ask) {
            Ok(verdict) => {
                let next = verdict.spent << FLAGS | word & QUEUED;
                let taken = next == word || self.swap(word, next);
                taken.then(|| Ok(verdict.granted(&plan, ask)))
            }
            Err(short) => Some(Err(short)),
        }
    }

    /// Takes what there is of `ask.n` tokens, at least one, and says how many.
    pub(crate) fn take_up_to(&self, ask: &Ask) -> Result<(u64, Granted), Short> {
        loop {
            let (spent, plan) = self.look(ask.now);
            let there = plan.level(spent, ask.now).checked_div(plan.scale.cost);
            let n = ask.n.min(there.unwrap_or(ask.n).max(1));
            match self.take(&Ask { n, ..*ask }) {
                Ok(granted) => return Ok((n, granted)),
                // Somebody took from it in between, or made it shallower.
                Err(Short::Until(_) | Short::Never | Short::TooDeep) if n > 1 => {}
                Err(short) => return Err(short),
            }
        }
    }

    #[inline]
    fn swap(&self, word: u64, next: u64) -> bool {
        // ORDERING: Release on success, with the Acquire of `lock`: the plan was read, and `high` written, before a
        // `replan` that locks this word next. Argued, not modelled: it takes three threads that wait for each other in
        // turn, which loom cannot schedule, or a load that sees a later store, which loom does not produce. Relaxed on
        // failure: it is read again.
        self.word
            .compare_exchange_weak(word, next, Release, Relaxed)
            .is_ok()
    }

    /// Whether `ask` may be granted, and what follows from it. Who looks at a bucket of several does not need all of that,
    /// and gets only what it needs if this is inlined there too.
    #[inline(always)]
    pub(crate) fn judge(word: u64, plan: &Plan, ask: &Ask) -> Result<Verdict, Short> {
        let spent = word >> FLAGS;
        let produced = plan.produced(ask.now);
        let verdict = |moment, spent| Verdict {
            moment,
            spent,
            left: plan.left(spent, produced),
        };
        if ask.n == 0 {
            return Ok(verdict(ask.now, spent));
        }
        let price = plan.scale.price(ask.n).ok_or(Short::TooDeep)?;
        if price == 0 {
            return Ok(verdict(ask.now, spent));
        }
        if word & QUEUED != 0 && !ask.head {
            return Err(Short::Queued);
        }
        let Some(charged) = plan.charge_of(spent, price, produced) else {
            return Err(plan.short(spent, price));
        };
        if ask.late == 0 {
            return Ok(verdict(ask.now, charged));
        }
        let moment = plan.moment(spent, price, ask);
        let charged = plan.charge(spent, price, moment);
        charged
            .map(|charged| verdict(moment, charged))
            .ok_or(Short::Until(ask.now))
    }

    /// Gives `n` tokens back; what exceeds the depth is lost.
    pub(crate) fn refund(&self, n: u64) -> bool {
        let mut wait = Wait::default();
        loop {
            let (word, plan) = self.read();
            let price = n.saturating_mul(plan.scale.cost).min(plan.scale.cap);
            let spent = word >> FLAGS;
            let next = spent.saturating_sub(price) << FLAGS | word & QUEUED;
            // ORDERING: Relaxed; the Release below publishes it to the next `lock`. Model `refund_replan`.
            self.high.fetch_max(spent, Relaxed);
            if self.swap(word, next) {
                return word & QUEUED != 0;
            }
            wait.turn();
        }
    }

    /// Closes the bucket to newcomers, or opens it again. The caller holds the line's mutex.
    pub(crate) fn set_queued(&self, queued: bool) {
        let mut wait = Wait::default();
        loop {
            let (word, _) = self.read();
            let next = word & !QUEUED | if queued { QUEUED } else { 0 };
            if next == word || self.swap(word, next) {
                return;
            }
            wait.turn();
        }
    }

    /// Locks the word and returns it as it was.
    #[inline]
    pub(crate) fn lock(&self) -> u64 {
        let mut wait = Wait::default();
        loop {
            // ORDERING: Relaxed; only a guess, which the exchange checks.
            let word = self.word.load(Relaxed);
            // ORDERING: Acquire, with the Release of every store of the word: what the last holder wrote is seen, and
            // whoever read the plan before a successful take has read it before we write it. Model `replan_take`.
            if word & LOCK == 0
                && self
                    .word
                    .compare_exchange_weak(word, word | LOCK, Acquire, Relaxed)
                    .is_ok()
            {
                return word;
            }
            wait.turn();
        }
    }

    /// The word without its lock bit, and the plan, for the thread that holds the lock.
    pub(crate) fn locked(&self) -> (u64, Plan) {
        // ORDERING: Relaxed; the lock was taken with Acquire, and nobody else writes the word while it is held.
        let word = self.word.load(Relaxed) & !LOCK;
        (word, self.plan())
    }

    /// Takes what was judged to be there at `moment` while the word was locked, and unlocks it.
    pub(crate) fn publish(&self, word: u64, plan: &Plan, moment: u64, ask: &Ask) -> Granted {
        let price = plan.scale.price(ask.n).unwrap_or(0);
        let charged = plan.charge(word >> FLAGS, price, moment);
        let spent = charged.filter(|_| price != 0).unwrap_or(word >> FLAGS);
        self.unlock(spent << FLAGS | word & QUEUED);
        let left = plan.level(spent, ask.now);
        let verdict = Verdict {
            moment,
            spent,
            left,
        };
        verdict.granted(plan, ask)
    }

    #[inline]
    pub(crate) fn unlock(&self, word: u64) {
        // ORDERING: Release, with the Acquire of `read` and `lock`. Models `replan_take`, `all_all`.
        self.word.store(word, Release);
    }

    /// Another rate or depth from `now` on. The tokens in the bucket stay, as far as they fit.
    pub(crate) fn replan(&self, scale: Scale, now: u64) {
        let word = self.lock();
        self.replan_locked(word, scale, now);
    }

    /// A new origin of time, long before ticks could overflow.
    #[cold]
    pub(crate) fn restart(&self, now: u64) {
        let word = self.lock();
        let plan = self.plan();
        if plan.over(now) {
            self.replan_locked(word, plan.scale, now);
        } else {
            self.unlock(word);
        }
    }

    fn replan_locked(&self, word: u64, scale: Scale, now: u64) {
        let old = self.plan();
        let spent = word >> FLAGS;
        let now = now.max(old.origin);
        let made = old.scale.made_at_most(now - old.origin, u64::MAX >> FLAGS);
        let level = (old.base.saturating_add(made))
            .saturating_sub(spent)
            .min(old.scale.cap);
        // What waiters were granted ahead of a stale clock is still owed.
        let owed = spent.saturating_sub(old.base.saturating_add(made));
        let (level, owed) = match old.scale.cost {
            // Nothing was counted, so nothing is missing.
            0 => (scale.cap, 0),
            _ => (
                scale.convert(level, &old.scale),
                scale.convert(owed, &old.scale),
            ),
        };
        // ORDERING: Relaxed; the `lock` before it synchronises with the refund that noted it. Model `refund_replan`.
        let highest = self.high.load(Relaxed).max(spent);
        let low = highest.max(old.base) > TOP || now - old.origin > HORIZON;
        // At least `cap`, so that a refund can always fill the bucket.
        let spent = if low { 0 } else { highest + 1 }.max(scale.cap) + owed;
        // ORDERING: Release, with the Acquire of `plan`. Model `replan_take`.
        let put = |part: &AtomicU64, old: u64, new: u64| {
            if new != old {
                part.store(new, Release);
            }
        };
        put(&self.base, old.base, spent - owed + level);
        put(&self.origin, old.origin, now);
        put(&self.num, old.scale.num, scale.num);
        put(&self.den, old.scale.den, scale.den);
        put(&self.cost, old.scale.cost, scale.cost);
        put(&self.cap, old.scale.cap, scale.cap);
        // ORDERING: Relaxed; read under the lock only, which the next line gives back.
        self.high.store(spent, Relaxed);
        self.unlock(spent << FLAGS | word & QUEUED);
    }
}
