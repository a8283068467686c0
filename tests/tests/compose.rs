//! The six crates as one house: under cancel, deadline and drop each does what the others rely on.

#![cfg(not(loom))]

use std::future::{pending, ready};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::bucket::{Bucket, Rate, Refusal};
use evenkeel::cancel::{Cause, Source, Token};
use evenkeel::errors::{Kind, Report, ResultExt, Status};
use evenkeel::heartbeat::{Expect, Monitor};
use evenkeel::hedge::{Adaptive, Failed, Hedge, Losers};
use evenkeel::steward::{Ctx, Reason, Restart, Steward};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// A bucket that refills one token a second, and is empty now.
fn empty_bucket() -> Bucket {
    let bucket = Bucket::new(Rate::per(1, SECOND), 5).named("api");
    bucket.try_acquire(5).expect("it begins full");
    bucket
}

/// A token whose deadline is so far off.
fn with_deadline(in_: Duration) -> Token {
    let request = Source::new().token().child_with_timeout(in_);
    request.expect("there is a runtime").token()
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_by_the_tokens_deadline_is_refused_at_once_and_burns_nothing() {
    let (bucket, start) = (empty_bucket(), Instant::now());
    let token = with_deadline(3 * SECOND);

    let answer = token.run(bucket.acquire(4, token.deadline())).await;
    let denied = answer.expect("not cancelled").unwrap_err();
    assert_eq!(
        (denied.by(), denied.refusal()),
        ("api", Refusal::DeadlineTooSoon)
    );
    assert_eq!(start.elapsed(), Duration::ZERO, "at once");

    // Had it taken a token, or a place in the line, this one would come later.
    let answer = token.run(bucket.acquire(2, token.deadline())).await;
    answer.expect("not cancelled").expect("in time");
    assert_eq!(start.elapsed(), 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_tokens_ends_with_the_token_and_gives_back_what_it_waited_for() {
    let (bucket, start) = (empty_bucket(), Instant::now());
    let source = Source::new();
    let token = source.token();
    let waiting = tokio::spawn({
        let (bucket, token) = (bucket.clone(), token.clone());
        async move { token.run(bucket.acquire(4, token.deadline())).await }
    });
    sleep(SECOND).await;
    source.cancel(Cause::User);
    assert!(matches!(waiting.await.unwrap(), Err(Cause::User)));
    assert_eq!(start.elapsed(), SECOND);

    bucket.acquire(4, None).await.unwrap();
    assert_eq!(start.elapsed(), 4 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_tokens_that_is_dropped_gives_back_what_it_waited_for() {
    let (bucket, start) = (empty_bucket(), Instant::now());
    let impatient = timeout(SECOND, bucket.acquire(4, None)).await;
    assert!(impatient.is_err());
    bucket.acquire(4, None).await.unwrap();
    assert_eq!(start.elapsed(), 4 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_hedged_call_shares_the_deadline_of_its_token_with_the_limits_of_its_attempts() {
    let (bucket, start) = (empty_bucket(), Instant::now());
    let token = with_deadline(3 * SECOND);
    let hedge = Hedge::new(SECOND);
    let call = hedge.run(|attempt| {
        // The first asks for what it cannot have in time: refused at once, so the second one starts at once.
        let n = if attempt.is_extra() { 2 } else { 4 };
        bucket.acquire(n, token.deadline())
    });
    let grant = token
        .run(call)
        .await
        .expect("not cancelled")
        .expect("granted");
    assert_eq!(grant.tokens(), 2);
    assert_eq!(start.elapsed(), 2 * SECOND);
}

/// Attempts that never answer, counted while they live, and the tokens they were given.
#[derive(Clone, Default)]
struct Attempts {
    running: Arc<AtomicU32>,
    tokens: Arc<Mutex<Vec<Token>>>,
}

impl Attempts {
    fn running(&self) -> u32 {
        self.running.load(Ordering::SeqCst)
    }

    /// A hedged call, of two attempts within 20 ms, that nobody will answer.
    async fn call(&self) -> Result<(), Report> {
        struct Running(Arc<AtomicU32>);
        impl Drop for Running {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let hedge = Hedge::new(Duration::from_millis(20)).losers(Losers::Drain(SECOND));
        let call = hedge.run(|attempt| {
            self.running.fetch_add(1, Ordering::SeqCst);
            self.tokens.lock().unwrap().push(attempt.token());
            let running = Running(Arc::clone(&self.running));
            async move {
                let _running = running;
                pending::<Result<(), Cause>>().await
            }
        });
        Ok(call.await?)
    }

    /// How the attempts of all calls so far were told that they are over.
    fn causes(&self) -> Vec<Option<Cause>> {
        let tokens = self.tokens.lock().unwrap();
        tokens.iter().map(Token::cause).collect()
    }
}

/// A steward whose ward makes a hedged call that nobody answers, under its token.
fn stewarded(attempts: &Attempts, ended_with: &Arc<Mutex<Vec<Cause>>>) -> Steward {
    let (attempts, ended_with) = (attempts.clone(), Arc::clone(ended_with));
    let steward = Steward::builder().start().expect("there is a runtime");
    let ward = move |ctx: Ctx| {
        let (attempts, ended_with) = (attempts.clone(), Arc::clone(&ended_with));
        async move {
            assert_eq!(attempts.running(), 0, "those before have ended");
            match ctx.token().run(attempts.call()).await {
                Ok(answered) => answered,
                Err(cause) => {
                    ended_with.lock().unwrap().push(cause);
                    Ok(())
                }
            }
        }
    };
    steward
        .child("caller", ward)
        .timeout(SECOND)
        .start()
        .expect("the first of its name");
    steward
}

#[tokio::test(start_paused = true)]
async fn a_hedged_call_in_a_ward_ends_with_the_wards_token_and_its_attempts_with_it() {
    let (attempts, ended_with) = Default::default();
    let steward = stewarded(&attempts, &ended_with);
    sleep(SECOND / 2).await;
    assert_eq!(attempts.running(), 2, "the call was hedged");

    let start = Instant::now();
    steward.shutdown(10 * SECOND).await;
    assert_eq!(
        start.elapsed(),
        Duration::ZERO,
        "nobody had to be waited for"
    );
    assert_eq!(attempts.running(), 0);
    assert_eq!(*ended_with.lock().unwrap(), [Cause::Shutdown]);
    assert_eq!(attempts.causes(), [Some(Cause::User), Some(Cause::User)]);
}

/// It has no pulse but what the steward asks for, so it is taken for hung, and the calls it hangs in are ended with it.
#[tokio::test(start_paused = true)]
async fn a_ward_that_hangs_in_a_hedged_call_is_healed_and_no_attempt_of_its_old_life_runs_on() {
    let (attempts, ended_with) = Default::default();
    let steward = stewarded(&attempts, &ended_with);
    sleep(2 * SECOND).await;
    assert_eq!(attempts.causes().len(), 4, "two attempts each of two lives");
    assert_eq!(attempts.running(), 2);
    let told: Vec<_> = attempts.causes().iter().map(Option::is_some).collect();
    assert_eq!(told, [true, true, false, false]);
    assert_eq!(ended_with.lock().unwrap().len(), 1);
    steward.shutdown(SECOND).await;
    assert_eq!(attempts.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_ward_that_is_aborted_takes_the_attempts_of_its_call_with_it() {
    let attempts = Attempts::default();
    let steward = Steward::builder().grace(SECOND).start().unwrap();
    let ward = {
        let attempts = attempts.clone();
        // Does not heed its token.
        move |_ctx: Ctx| {
            let attempts = attempts.clone();
            async move { attempts.call().await }
        }
    };
    let ward = steward.child("caller", ward).unwatched().start().unwrap();
    sleep(SECOND).await;
    assert_eq!(attempts.running(), 2);
    ward.stop().await;
    assert_eq!(attempts.running(), 0);
    assert_eq!(attempts.causes(), [Some(Cause::User), Some(Cause::User)]);
}

/// Each crate's refusal, by `?`.
#[tokio::test(start_paused = true)]
async fn the_error_of_every_crate_goes_into_one_report() {
    fn cancelled() -> Result<(), Report> {
        let source = Source::new();
        source.cancel(Cause::Shutdown);
        source.check()?;
        Ok(())
    }
    fn denied() -> Result<(), Report> {
        empty_bucket().try_acquire(1)?;
        Ok(())
    }
    fn unwatchable() -> Result<(), Report> {
        Monitor::new().class(Expect::within(Duration::from_millis(1)))?;
        Ok(())
    }
    fn unkeepable() -> Result<(), Report> {
        Adaptive::rate(7.0)?;
        Ok(())
    }
    async fn all_failed() -> Result<(), Report> {
        let bucket = empty_bucket();
        Hedge::new(SECOND)
            .run(|_| ready(bucket.try_acquire(1)))
            .await?;
        Ok(())
    }
    fn duplicate() -> Result<(), Report> {
        let steward = Steward::builder().start()?;
        let ward = |_: Ctx| ready(Ok::<_, Report>(()));
        steward.child("twin", ward).start()?;
        steward.child("twin", ward).start()?;
        Ok(())
    }

    let reports = [
        cancelled(),
        denied(),
        unwatchable(),
        unkeepable(),
        all_failed().await,
        duplicate(),
    ]
    .map(Result::unwrap_err);
    let codes = reports.each_ref().map(|report| {
        assert_eq!(report.kind(), Kind::Known);
        let code = report.code().expect("a known one has a code");
        (code.domain(), code.status())
    });
    let expected = [
        ("evenkeel.cancel", Status::Unavailable),
        ("evenkeel.bucket", Status::ResourceExhausted),
        ("evenkeel.heartbeat", Status::InvalidArgument),
        ("evenkeel.hedge", Status::InvalidArgument),
        // That of its attempts.
        ("evenkeel.bucket", Status::ResourceExhausted),
        ("evenkeel.steward", Status::AlreadyExists),
    ];
    assert_eq!(codes, expected);

    // What is behind them is found in the log, and only there.
    for report in reports {
        let mut line = String::new();
        let problem = report.boundary(|record| line = record.to_string());
        assert!(line.contains(report.code().unwrap().reason()), "{line}");
        assert_eq!(problem.id(), report.id());
    }
}

/// A report that the first attempt made is the one that whoever watches the ward finds in the log.
#[tokio::test(start_paused = true)]
async fn a_report_keeps_its_id_through_attempts_and_wards() {
    let made = Arc::new(Mutex::new(Vec::new()));
    let ward = {
        let made = Arc::clone(&made);
        move |_: Ctx| {
            let made = Arc::clone(&made);
            async move {
                let hedge = Hedge::new(SECOND);
                let call = hedge.run(|_| {
                    let refused = empty_bucket().try_acquire(1).trail();
                    made.lock()
                        .unwrap()
                        .extend(refused.as_ref().err().map(Report::id));
                    ready(refused.map(drop))
                });
                call.await.map_err(Failed::into_error)
            }
        }
    };
    let steward = Steward::builder().start().unwrap();
    let ward = steward.child("caller", ward).restart(Restart::Temporary);
    let Reason::Failed(error) = ward.start().unwrap().ended().await else {
        panic!("its call failed")
    };
    let report: &Report = error.downcast_ref().expect("as the ward returned it");
    let made = made.lock().unwrap();
    assert_eq!((made.len(), made[0]), (2, report.id()));
}
