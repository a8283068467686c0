//! A claim is committed or cancelled, never both, and both sides agree.

use evenkeel_sync::atomic::{AtomicUsize, Ordering};
use evenkeel_sync::{Arc, block_on, model, thread};

use crate::{Cause, Refused, Source, Verdict};

#[test]
fn commit_cancel() {
    model("commit_cancel", None, || {
        let source = Source::new();
        let claim = source.claim();
        let sent = Arc::new(AtomicUsize::new(0));
        let (worker_claim, worker_sent) = (claim.clone(), Arc::clone(&sent));
        let worker = thread::spawn(move || {
            let committed = worker_claim.commit();
            if committed.is_ok() {
                worker_sent.fetch_add(1, Ordering::Relaxed);
            }
            committed
        });
        source.cancel(Cause::User);
        let verdict = claim.try_verdict().expect("decided when cancel returns");
        match worker.join().unwrap() {
            Ok(()) => assert_eq!(verdict, Verdict::Delivered),
            Err(refused) => {
                assert_eq!(refused, Refused::Cancelled(Cause::User));
                assert_eq!(verdict, Verdict::Cancelled(Cause::User));
            }
        }
    });
}

#[test]
fn commit_commit_cancel() {
    model("commit_commit_cancel", Some(3), || {
        let source = Source::new();
        let claim = source.claim();
        let workers = [(); 2].map(|()| {
            let claim = claim.clone();
            thread::spawn(move || claim.commit().is_ok())
        });
        source.cancel(Cause::User);
        let verdict = claim.try_verdict().expect("decided when cancel returns");
        let committed: usize = workers
            .map(|worker| usize::from(worker.join().unwrap()))
            .iter()
            .sum();
        assert_eq!(committed, usize::from(verdict == Verdict::Delivered));
    });
}

#[test]
fn permit_cancel() {
    model("permit_cancel", None, || {
        let source = Source::new();
        let claim = source.claim();
        let permit = claim.reserve().expect("nobody else");
        let worker = thread::spawn(move || permit.commit());
        source.cancel(Cause::User);
        let early = claim.try_verdict().unwrap_or(Verdict::Delivered);
        worker.join().unwrap();
        assert_eq!(early, Verdict::Delivered, "a permit wins");
        assert_eq!(claim.try_verdict(), Some(Verdict::Delivered));
    });
}

#[test]
fn permit_returned() {
    model("permit_returned", None, || {
        let source = Source::new();
        let claim = source.claim();
        let worker_claim = claim.clone();
        let worker = thread::spawn(move || {
            if let Ok(permit) = worker_claim.reserve() {
                drop(permit);
            }
        });
        source.cancel(Cause::custom("pending"));
        worker.join().unwrap();
        assert!(matches!(
            claim.try_verdict(),
            Some(Verdict::Cancelled(Cause::Custom(_)))
        ));
    });
}

#[test]
fn permits_cancel() {
    model("permits_cancel", Some(3), || {
        let source = Source::new();
        let claim = source.claim();
        let (first, second) = (claim.clone(), claim.clone());
        let commits = thread::spawn(move || first.reserve().map(|permit| permit.commit()).is_ok());
        let aborts = thread::spawn(move || drop(second.reserve()));
        source.cancel(Cause::User);
        let committed = commits.join().unwrap();
        aborts.join().unwrap();
        let delivered = claim.try_verdict() == Some(Verdict::Delivered);
        assert_eq!(delivered, committed);
        assert!(claim.try_verdict().is_some());
    });
}

#[test]
fn verdict_woken() {
    model("verdict_woken", Some(2), || {
        let source = Source::new();
        let claim = source.claim();
        let verdict = claim.verdict();
        let waiter = thread::spawn(move || block_on(verdict));
        let worker = thread::spawn(move || claim.reserve().map(|permit| permit.commit()).is_ok());
        source.cancel(Cause::User);
        let committed = worker.join().unwrap();
        assert_eq!(waiter.join().unwrap() == Verdict::Delivered, committed);
    });
}

#[test]
fn seen_then_refused() {
    model("seen_then_refused", None, || {
        let source = Source::new();
        let claim = source.claim();
        let canceller = source.clone();
        let cancels = thread::spawn(move || canceller.cancel(Cause::User));
        thread::yield_now();
        if source.is_cancelled() {
            assert!(claim.commit().is_err(), "committed after it was seen");
        }
        cancels.join().unwrap();
    });
}

#[test]
fn permit_in_tree() {
    model("permit_in_tree", Some(3), || {
        let root = Source::new();
        let claim = root.child().claim();
        let permit = claim.reserve().expect("nobody else");
        let returns = thread::spawn(move || drop(permit));
        let other = root.clone();
        let helps = thread::spawn(move || other.cancel(Cause::Shutdown));
        root.cancel(Cause::User);
        let second = helps.join().unwrap();
        returns.join().unwrap();
        let cause = if second { Cause::Shutdown } else { Cause::User };
        assert_eq!(claim.try_verdict(), Some(Verdict::Cancelled(cause)));
    });
}
