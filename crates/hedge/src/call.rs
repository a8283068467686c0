use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project::pin_project;
use tokio::time::Sleep;

use crate::attempt::Ticket;
use crate::failed::{Errors, Failed};
use crate::flight::Flight;
use crate::hedge::{Losers, Plan};
use crate::policy::{Policy, Signal};
use crate::starts::Starts;
use crate::telemetry;

/// A hedged call; see [`Hedge::run`](crate::Hedge::run).
///
/// # How it goes
///
/// The first attempt is polled in place. Only when it has to be waited for is the policy asked, and a timer set; the answer of
/// an attempt takes precedence over a timer that ends in the same poll. A failed attempt starts the next one at once. The
/// wait before each further attempt begins with the start of the one before. All attempts run within the caller's task, and
/// each wake-up polls all of them.
///
/// # Cancel safety
///
/// Dropping the call drops all its attempts, whose tokens are cancelled first, and none is started any more. What an attempt
/// had achieved is lost, and so is an answer whose call is dropped while it waits for the losers ([`Losers::Drain`]). One
/// deadline for the whole call is therefore `token.run(call)` or [`tokio::time::timeout`].
///
/// # Panics
///
/// A panic of an attempt passes through to the caller, and the other attempts are dropped with the call. Not so once the
/// call is decided: a loser that panics, while it is [drained](Losers::Drain) or as it is dropped, is out of the way, and the
/// answer stands; all that is heard of it is what the panic hook says.
///
/// It panics if a timer is needed outside a tokio runtime with time enabled, and when polled after it has ended, be it with
/// an outcome or with a panic: a call that has panicked starts nothing any more, and is of use only to be dropped.
#[pin_project]
#[must_use = "a call does nothing unless awaited"]
pub struct Call<'h, P, S: Starts> {
    plan: Plan<'h, P>,
    starts: S,
    fatal: Option<fn(&S::Error) -> bool>,
    phase: Phase,
    wait: Wait,
    /// How long the timer has been set for, over all extensions.
    waited: Duration,
    /// Attempts started so far.
    started: u32,
    /// Whether the policy may still learn something from this call.
    telling: bool,
    errors: Errors<S::Error>,
    /// The outcome, while losers are drained.
    outcome: Option<Outcome<S>>,
    #[pin]
    flight: Flight<S::Future>,
    #[pin]
    timer: Option<Sleep>,
}

type Outcome<S> = Result<<S as Starts>::Ok, Failed<<S as Starts>::Error>>;

#[derive(Clone, Copy)]
enum Phase {
    Fresh,
    Racing,
    Draining,
    /// Also while it is polled: it stays so unless that leaves something to wait for.
    Over,
}

/// The wait for the next attempt, or for the end of the grace.
#[derive(Clone, Copy)]
enum Wait {
    Unset,
    Timed,
    /// Only a failure starts another attempt.
    Never,
}

impl<'h, P: Policy, S: Starts> Call<'h, P, S> {
    #[inline]
    pub(crate) fn new(plan: Plan<'h, P>, starts: S) -> Self {
        Self {
            plan,
            starts,
            fatal: None,
            phase: Phase::Fresh,
            wait: Wait::Unset,
            waited: Duration::ZERO,
            started: 0,
            telling: true,
            errors: Errors::new(),
            outcome: None,
            flight: Flight::new(),
            timer: None,
        }
    }

    /// Errors of this kind end the call at once: no other attempt would fare better.
    pub fn fatal(mut self, fatal: fn(&S::Error) -> bool) -> Self {
        self.fatal = Some(fatal);
        self
    }

    /// Takes up what an attempt has ended with. `Break` if that decides the call.
    #[inline]
    fn judge(
        errors: &mut Errors<S::Error>,
        fatal: Option<fn(&S::Error) -> bool>,
        index: u32,
        result: Result<S::Ok, S::Error>,
    ) -> ControlFlow<Outcome<S>> {
        match result {
            Ok(answer) => ControlFlow::Break(Ok(answer)),
            Err(error) if fatal.is_some_and(|fatal| fatal(&error)) => {
                ControlFlow::Break(Err(errors.take_fatal(error)))
            }
            Err(error) => {
                errors.push(index, error);
                ControlFlow::Continue(())
            }
        }
    }

    /// Starts the first attempt and polls it.
    #[inline]
    fn start_first(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<S::Ok, S::Error>> {
        let this = self.project();
        *this.started = 1;
        let (attempt, ticket) = Ticket::issue(0, this.plan.losers != Losers::Drop);
        let future = this.starts.start(attempt);
        this.flight.start_first(ticket, future, cx)
    }

    /// Starts a further attempt and polls it.
    fn start(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<S::Ok, S::Error>> {
        let this = self.project();
        let index = *this.started;
        *this.started += 1;
        *this.wait = Wait::Unset;
        let (attempt, ticket) = Ticket::issue(index, this.plan.losers != Losers::Drop);
        let future = this.starts.start(attempt);
        this.flight.start(index, ticket, future, cx)
    }

    /// Whether another attempt may be started, and can be.
    fn may_start(self: Pin<&mut Self>) -> bool {
        let this = self.project();
        if *this.started >= this.plan.max_attempts || !this.starts.any_left() {
            return false;
        }
        if this.plan.budget.is_some_and(|grants| !grants()) {
            telemetry::denied(*this.started);
            *this.wait = Wait::Never;
            return false;
        }
        true
    }

    /// Whether the next attempt is due because the others are late. If not, the caller's waker is set for when it may be.
    fn is_due(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let mut this = self.project();
        loop {
            match this.wait {
                Wait::Never => return false,
                Wait::Unset => {
                    *this.wait = Wait::Never;
                    if *this.started >= this.plan.max_attempts || !this.starts.any_left() {
                        // Nothing is timed, so nothing is learnt.
                        *this.telling = false;
                        return false;
                    }
                    match this.plan.policy.delay(*this.started) {
                        None | Some(Duration::MAX) => return false,
                        // A timer of no length would still wait for the runtime to come round.
                        Some(Duration::ZERO) => break,
                        Some(delay) => {
                            this.timer.set(Some(tokio::time::sleep(delay)));
                            *this.waited = delay;
                            *this.wait = Wait::Timed;
                        }
                    }
                }
                Wait::Timed => {
                    let Some(mut timer) = this.timer.as_mut().as_pin_mut() else {
                        return false;
                    };
                    if timer.as_mut().poll(cx).is_pending() {
                        return false;
                    }
                    // Asked again: when many calls are late at once, the first of them move the delay for the others.
                    let later = match this.plan.policy.delay(*this.started) {
                        Some(delay) if delay <= *this.waited => break,
                        Some(delay) if delay < Duration::MAX => {
                            let more = delay - *this.waited;
                            *this.waited = delay;
                            timer.deadline().checked_add(more)
                        }
                        _ => None,
                    };
                    let Some(later) = later else {
                        *this.wait = Wait::Never;
                        return false;
                    };
                    timer.reset(later);
                }
            }
        }
        if std::mem::take(this.telling) {
            this.plan.policy.observe(Signal::Late);
        }
        true
    }

    /// Polls the attempts in flight, and starts further ones as they are due.
    fn race(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<S>> {
        let this = self.as_mut().project();
        let mut failures = 0;
        let mut decided = None;
        let _ = this.flight.poll_each(cx, |index, result| {
            match Self::judge(this.errors, *this.fatal, index, result) {
                ControlFlow::Continue(()) => {
                    failures += 1;
                    ControlFlow::Continue(())
                }
                ControlFlow::Break(outcome) => {
                    decided = Some(outcome);
                    ControlFlow::Break(())
                }
            }
        });
        match decided {
            Some(outcome) => self.settle(outcome, cx),
            None => self.go_on(failures, cx),
        }
    }

    /// The attempts in flight have been polled, and so many have failed since others were last started.
    fn go_on(
        mut self: Pin<&mut Self>,
        mut failures: u32,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome<S>> {
        loop {
            let late = failures == 0;
            if !late {
                *self.as_mut().project().telling = false;
                failures -= 1;
            } else if self.flight.len() == 0
                && let Some(failed) = self.as_mut().project().errors.take()
            {
                return self.settle(Err(failed), cx);
            } else if !self.as_mut().is_due(cx) {
                *self.project().phase = Phase::Racing;
                return Poll::Pending;
            }
            if !self.as_mut().may_start() {
                continue;
            }
            telemetry::started(self.started, late);
            let index = self.started;
            if let Poll::Ready(result) = self.as_mut().start(cx) {
                let this = self.as_mut().project();
                match Self::judge(this.errors, *this.fatal, index, result) {
                    ControlFlow::Continue(()) => failures += 1,
                    ControlFlow::Break(outcome) => return self.settle(outcome, cx),
                }
            }
        }
    }

    /// The first attempt failed at its first poll.
    #[cold]
    fn first_failed(
        mut self: Pin<&mut Self>,
        error: S::Error,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome<S>> {
        let this = self.as_mut().project();
        match Self::judge(this.errors, *this.fatal, 0, Err(error)) {
            ControlFlow::Continue(()) => self.go_on(1, cx),
            ControlFlow::Break(outcome) => self.settle(outcome, cx),
        }
    }

    /// The call is decided: sees to the losers.
    fn settle(
        mut self: Pin<&mut Self>,
        outcome: Outcome<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome<S>> {
        let mut this = self.as_mut().project();
        if outcome.is_ok() && std::mem::take(this.telling) {
            this.plan.policy.observe(Signal::InTime);
        }
        this.timer.set(None);
        if this.plan.losers == Losers::Drop || this.flight.len() == 0 {
            this.flight.drop_all();
            return Poll::Ready(outcome);
        }
        this.flight.cancel_all();
        *this.outcome = Some(outcome);
        *this.wait = Wait::Unset;
        self.drain(cx)
    }

    /// Awaits the losers until the grace is over. What they end with no longer matters.
    fn drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<S>> {
        let mut this = self.project();
        this.flight.as_mut().drain(cx);
        if this.flight.len() > 0 {
            if let (Wait::Unset, Losers::Drain(grace)) = (*this.wait, this.plan.losers) {
                *this.wait = Wait::Timed;
                // No timer for no grace, as for a delay.
                this.timer
                    .set((!grace.is_zero()).then(|| tokio::time::sleep(grace)));
            }
            if let Some(timer) = this.timer.as_mut().as_pin_mut()
                && timer.poll(cx).is_pending()
            {
                *this.phase = Phase::Draining;
                return Poll::Pending;
            }
            telemetry::abandoned(this.flight.len());
        }
        this.flight.drop_all();
        this.timer.set(None);
        let outcome = this.outcome.take();
        Poll::Ready(outcome.expect("the outcome was kept for the end of the draining"))
    }
}

impl<P: Policy, S: Starts> Future for Call<'_, P, S> {
    type Output = Outcome<S>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<S>> {
        match std::mem::replace(self.as_mut().project().phase, Phase::Over) {
            // Kept apart, and short enough to be inlined: most calls of a fast service end here.
            Phase::Fresh => match self.as_mut().start_first(cx) {
                Poll::Ready(Ok(answer)) => {
                    self.plan.policy.observe(Signal::InTime);
                    Poll::Ready(Ok(answer))
                }
                Poll::Ready(Err(error)) => self.first_failed(error, cx),
                Poll::Pending => self.go_on(0, cx),
            },
            Phase::Racing => self.race(cx),
            Phase::Draining => self.drain(cx),
            Phase::Over => panic!("a hedged call was polled after it had ended"),
        }
    }
}
