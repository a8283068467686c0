use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::call::Call;
use crate::starts::{Across, Alike};
use crate::{Attempt, Policy};

/// What is done with the attempts still in flight once a call is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Losers {
    /// They are dropped, before the call returns.
    #[default]
    Drop,
    /// Their tokens are cancelled, and they are awaited until all have ended or this grace is over; those left are dropped
    /// before the call returns. The answer waits as long. One that panics is dropped, and the others are awaited all the
    /// same. Each attempt has a token of its own, which costs an allocation.
    Drain(Duration),
}

/// Whether another attempt may be started, asked once for each.
pub(crate) type Budget = Box<dyn Fn() -> bool + Send + Sync>;

/// How calls are hedged: set up once, used by any number of calls at a time.
///
/// Unless told otherwise a call makes at most two attempts, loses no time on losers ([`Losers::Drop`]), and has no budget
/// but its policy's.
pub struct Hedge<P> {
    pub(crate) policy: P,
    pub(crate) max_attempts: u32,
    pub(crate) losers: Losers,
    pub(crate) budget: Option<Budget>,
}

impl<P: Policy> Hedge<P> {
    /// Hedges as `policy` says: after a [`Duration`], or as [`Adaptive`](crate::Adaptive) finds.
    pub const fn new(policy: P) -> Self {
        Self {
            policy,
            max_attempts: 2,
            losers: Losers::Drop,
            budget: None,
        }
    }

    /// Makes at most `max` attempts a call, the first one included; 2 unless told otherwise. There is always a first: 0 is
    /// taken for 1. Attempts that fail at once follow each other within one poll, and their errors are all kept, so let it be
    /// small.
    #[must_use]
    pub fn max_attempts(mut self, max: u32) -> Self {
        self.max_attempts = max.max(1);
        self
    }

    /// Does this with the losers.
    #[must_use]
    pub fn losers(mut self, losers: Losers) -> Self {
        self.losers = losers;
        self
    }

    /// Starts every attempt after the first only if `limiter` grants it, whether it is started because the others are late
    /// or because one failed.
    ///
    /// It is asked for one token, once, as it stands (`by` is now). Whatever it answers but a grant, and if it has to be
    /// waited for, means no: the call then makes do with the attempts in flight, and asks again only when one of them fails.
    /// A denial never fails a call. One limiter may be the budget of many hedges: a clone of a
    /// [`Bucket`](evenkeel_bucket::Bucket) is the same bucket.
    #[cfg(feature = "bucket")]
    #[cfg_attr(docsrs, doc(cfg(feature = "bucket")))]
    #[must_use]
    pub fn budget<L>(mut self, limiter: L) -> Self
    where
        L: evenkeel_bucket::Limiter + Send + Sync + 'static,
    {
        self.budget = Some(Box::new(move || crate::budget::grants(&limiter)));
        self
    }

    /// Calls `attempt` for the first attempt and for each one the policy adds; the first success is the answer.
    ///
    /// `attempt` must stand being run twice at once: hedge what is idempotent. It is called within the polls of the call.
    ///
    /// ```
    /// use std::time::Duration;
    /// use evenkeel_hedge::Hedge;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let hedge = Hedge::new(Duration::from_millis(20));
    /// let answer = hedge
    ///     .run(|attempt| async move { Ok::<_, std::io::Error>(attempt.index()) })
    ///     .await;
    /// assert_eq!(answer.unwrap(), 0);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Failed`](crate::Failed) if no attempt succeeded.
    #[inline]
    pub fn run<F, Fut, T, E>(&self, attempt: F) -> Call<'_, P, Alike<F>>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Call::new(self.plan(), Alike(attempt))
    }

    /// The same against replicas: the first attempt goes to `first`, each further one to the next of `others`, and when these
    /// are used up no more are started. [`max_attempts`](Self::max_attempts) holds here too: unless it is raised from 2, only
    /// the first of `others` is ever asked.
    ///
    /// Let the order be that of a load balancer, or at least not always the same. Replicas that are too much alike are slow
    /// together, and copies sent to the same one only make it slower.
    ///
    /// Let replicas be owned: an `Arc`, a port, an index. With borrowed ones, as `&str`, and a closure over them the compiler
    /// cannot tell that the call is `Send`, so that it can be awaited in place but not in a task that is spawned ("implementation
    /// of `FnOnce` is not general enough").
    ///
    /// ```
    /// use std::time::Duration;
    /// use evenkeel_hedge::Hedge;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # async fn ask(port: u16) -> Result<String, String> {
    /// #     if port == 9001 { Err("down".into()) } else { Ok(format!("hello from {port}")) } }
    /// let asked = tokio::spawn(async {
    ///     let hedge = Hedge::new(Duration::from_millis(20)).max_attempts(3);
    ///     hedge.run_across(9001, [9002, 9003], |port, _attempt| ask(port)).await
    /// });
    /// assert_eq!(asked.await.unwrap().unwrap(), "hello from 9002");
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Failed`](crate::Failed) if no attempt succeeded.
    pub fn run_across<R, I, F, Fut, T, E>(
        &self,
        first: R,
        others: I,
        attempt: F,
    ) -> Call<'_, P, Across<R, I::IntoIter, F>>
    where
        I: IntoIterator<Item = R>,
        F: FnMut(R, Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Call::new(self.plan(), Across::new(first, others.into_iter(), attempt))
    }

    #[inline]
    fn plan(&self) -> Plan<'_, P> {
        Plan {
            policy: &self.policy,
            max_attempts: self.max_attempts,
            losers: self.losers,
            budget: self.budget.as_ref(),
        }
    }
}

impl<P: fmt::Debug> fmt::Debug for Hedge<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge")
            .field("policy", &self.policy)
            .field("max_attempts", &self.max_attempts)
            .field("losers", &self.losers)
            .finish_non_exhaustive()
    }
}

/// What a call needs of its hedge.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'h, P> {
    pub(crate) policy: &'h P,
    pub(crate) max_attempts: u32,
    pub(crate) losers: Losers,
    pub(crate) budget: Option<&'h Budget>,
}

/// How long [`replicate`] waits for losers that were told to stop.
const REPLICATE_GRACE: Duration = Duration::from_secs(1);

/// Makes `n` attempts at once, at least one; the first success is the answer.
///
/// The others are told to stop through their [tokens](Attempt::token), awaited for a second at most and then dropped, so when
/// the call returns none of them runs any more. An answer that is there at the first poll of an attempt keeps those after
/// it from being started at all. For another grace, or to drop the losers at once, use a [`Hedge`] whose policy is
/// [`Duration::ZERO`].
///
/// ```
/// use std::time::Duration;
/// use evenkeel_cancel::Cause;
/// use evenkeel_hedge::replicate;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let fastest = replicate(3, |attempt| async move {
///     let load = Duration::from_secs(3 - u64::from(attempt.index()));
///     attempt.token().run(tokio::time::sleep(load)).await?;
///     Ok::<_, Cause>(attempt.index())
/// });
/// assert_eq!(fastest.await.unwrap(), 2);
/// # }
/// ```
///
/// # Errors
///
/// [`Failed`](crate::Failed) if all of them failed.
pub fn replicate<F, Fut, T, E>(n: u32, attempt: F) -> Call<'static, Duration, Alike<F>>
where
    F: FnMut(Attempt) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let plan = Plan {
        policy: &Duration::ZERO,
        max_attempts: n.max(1),
        losers: Losers::Drain(REPLICATE_GRACE),
        budget: None,
    };
    Call::new(plan, Alike(attempt))
}
