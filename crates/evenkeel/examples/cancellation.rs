//! Cancellation: what it leaves behind, and what was sent before it came.
//!
//! First a sum goes into a tally, whole or not at all. Then a stage makes a result and sends it on, and has some tidying up to
//! do afterwards; whoever waits for it loses patience, cancels it and starts it again, though it had sent its result already.
//! The receiver has it twice, unless the two sides agree on who may send: shown without and with three ways to agree.
//!
//! `cargo run -p evenkeel --features full --example cancellation`

use std::sync::Mutex;
use std::time::Duration;

use evenkeel::cancel::{Cause, Claim, First, Latest, NoRuntime, Refused, Source, Token, Verdict};
use evenkeel::heartbeat::{Heartbeat, pulse};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How long an attempt makes its result; as long again it tidies up.
const WORK: Duration = Duration::from_secs(2);
/// How long an attempt is waited for: past its result, but not to its end.
const PATIENCE: Duration = Duration::from_secs(3);

/// What can be seen of an attempt, counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Sent(u32),
    Refused(u32),
    TooSlow(u32),
}

/// Adds up numbers, one a second, and writes the sum to the tally.
///
/// What is half done stays on the side, so there is nothing to roll back; the write is one step, and the claim before it decides
/// between the write and a cancellation. Whoever cancels learns from the claim which of the two it was.
pub(crate) async fn add_up(
    claim: &Claim,
    token: &Token,
    numbers: &[u32],
    tally: &Mutex<u32>,
) -> Result<(), Refused> {
    let mut sum = 0;
    for number in numbers {
        let second = sleep(Duration::from_secs(1));
        token.run(second).await.map_err(Refused::Cancelled)?;
        sum += number;
    }
    claim.commit()?;
    *tally.lock().unwrap() += sum;
    Ok(())
}

/// Nobody asks: the attempt that is cancelled after it has sent is started again, and sends again.
pub(crate) async fn careless(tell: impl Fn(Seen)) -> Result<Vec<u32>, NoRuntime> {
    let (out, results) = mpsc::channel(2);
    for attempt in 1..=2 {
        let patience = Token::never().child_with_timeout(PATIENCE)?;
        let work = async {
            sleep(WORK).await;
            if out.send(attempt).await.is_ok() {
                tell(Seen::Sent(attempt));
            }
            sleep(WORK).await;
        };
        if patience.run(work).await.is_ok() {
            break;
        }
        tell(Seen::TooSlow(attempt));
    }
    drop(out);
    Ok(received(results).await)
}

/// The first way: ask for permission. Once it has sent, the claim says so to whoever cancels.
pub(crate) async fn by_permission(tell: impl Fn(Seen)) -> Result<Vec<u32>, NoRuntime> {
    let (out, results) = mpsc::channel(2);
    for attempt in 1..=2 {
        let patience = Token::never().child_with_timeout(PATIENCE)?;
        let claim = patience.claim();
        let work = async {
            sleep(WORK).await;
            // A permit, since a send may wait, and then fail: dropped, it gives the right to send back.
            let Ok(permit) = claim.reserve() else { return };
            if out.send(attempt).await.is_ok() {
                permit.commit();
                tell(Seen::Sent(attempt));
            }
            sleep(WORK).await;
        };
        if patience.run(work).await.is_ok() {
            break;
        }
        tell(Seen::TooSlow(attempt));
        if claim.verdict().await == Verdict::Delivered {
            break;
        }
    }
    drop(out);
    Ok(received(results).await)
}

/// The second way: accept the first result. The others come back to their senders.
pub(crate) async fn by_first(tell: impl Fn(Seen)) -> Result<Vec<u32>, NoRuntime> {
    let (offer, first) = First::new();
    for attempt in 1..=2 {
        let patience = Token::never().child_with_timeout(PATIENCE)?;
        let work = async {
            sleep(WORK).await;
            match offer.send(attempt) {
                Ok(()) => tell(Seen::Sent(attempt)),
                Err(refused) => tell(Seen::Refused(refused)),
            }
            sleep(WORK).await;
        };
        if patience.run(work).await.is_ok() {
            break;
        }
        tell(Seen::TooSlow(attempt));
    }
    drop(offer);
    Ok(first.accept().await.into_iter().collect())
}

/// The same, but the latest: an attempt that cannot be stopped, such as a thread that computes, may go on, and is refused as soon
/// as a later one has begun.
pub(crate) async fn by_latest<T>(tell: T) -> Vec<u32>
where
    T: Fn(Seen) + Clone + Send + 'static,
{
    let mut latest = Latest::new();
    let mut attempts = JoinSet::new();
    for (attempt, work) in [(1, 2 * WORK), (2, WORK)] {
        let (sender, tell_sent) = (latest.attempt(), tell.clone());
        attempts.spawn(async move {
            sleep(work).await;
            match sender.send(attempt) {
                Ok(()) => tell_sent(Seen::Sent(attempt)),
                Err(refused) => tell_sent(Seen::Refused(refused)),
            }
        });
        match timeout(PATIENCE, latest.next()).await {
            Ok(result) => return vec![result],
            Err(_) => tell(Seen::TooSlow(attempt)),
        }
    }
    Vec::new()
}

/// The third way: a heartbeat between the stages. One that is heard is not cancelled, however long it takes.
pub(crate) async fn by_heartbeat(tell: impl Fn(Seen)) -> Vec<u32> {
    let (out, results) = mpsc::channel(2);
    for attempt in 1..=2 {
        let (pulse, mut beats) = pulse();
        let work = async {
            let mut every_second = pulse.every(Duration::from_secs(1));
            every_second.during(sleep(WORK)).await;
            if out.send(attempt).await.is_ok() {
                tell(Seen::Sent(attempt));
            }
            pulse.beat();
            every_second.during(sleep(WORK)).await;
        };
        let silence = async {
            // A beat is heard within the patience, or it is silence.
            while let Ok(Some(_)) = timeout(PATIENCE, beats.next()).await {}
        };
        tokio::select! {
            () = work => break,
            () = silence => tell(Seen::TooSlow(attempt)),
        }
    }
    drop(out);
    received(results).await
}

/// All that the receiving stage gets.
async fn received(mut results: mpsc::Receiver<u32>) -> Vec<u32> {
    let mut all = Vec::new();
    while let Some(result) = results.recv().await {
        all.push(result);
    }
    all
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), NoRuntime> {
    println!("the tally:");
    let tally = Mutex::new(0);
    for patience in [2500, 3500].map(Duration::from_millis) {
        let user = Source::new();
        let claim = user.claim();
        let adding = add_up(&claim, &user, &[1, 2, 3], &tally);
        let cancelling = async {
            sleep(patience).await;
            user.cancel(Cause::User);
        };
        let (added, ()) = tokio::join!(adding, cancelling);
        match added {
            Ok(()) => println!("  cancelled after {patience:?}: too late, it is written"),
            Err(refused) => println!("  cancelled after {patience:?}: {refused}"),
        }
        println!("  the tally is {}", tally.lock().unwrap());
    }

    let start = Instant::now();
    let tell = move |seen| {
        let at = start.elapsed().as_secs();
        match seen {
            Seen::Sent(attempt) => println!("{at:3} s  attempt {attempt} sends its result"),
            Seen::Refused(attempt) => {
                println!("{at:3} s  the result of attempt {attempt} comes back");
            }
            Seen::TooSlow(attempt) => println!("{at:3} s  attempt {attempt} takes too long"),
        }
    };
    println!("nobody asks:");
    println!("       received from {:?}", careless(tell).await?);
    println!("asking for permission:");
    println!("       received from {:?}", by_permission(tell).await?);
    println!("accepting the first:");
    println!("       received from {:?}", by_first(tell).await?);
    println!("accepting the latest:");
    println!("       received from {:?}", by_latest(tell).await);
    println!("a heartbeat between the stages:");
    println!("       received from {:?}", by_heartbeat(tell).await);
    Ok(())
}
