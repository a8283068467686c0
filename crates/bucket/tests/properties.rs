//! The bucket against one that computes in exact fractions.
#![cfg(not(loom))]

use std::time::Duration;

use evenkeel_bucket::{Bucket, Keyed, Rate};
use proptest::prelude::*;
use tokio::time::advance;

/// Tokens times `nanos`, as whole numbers: nothing is ever rounded.
struct Exact {
    tokens: u128,
    nanos: u128,
    depth: u128,
    level: u128,
}

impl Exact {
    fn new(tokens: u64, time: Duration, depth: u32) -> Self {
        let (nanos, depth) = (time.as_nanos(), u128::from(depth));
        Self {
            tokens: tokens.into(),
            nanos,
            depth,
            level: depth * nanos,
        }
    }

    fn pass(&mut self, ns: u64) {
        let made = u128::from(ns) * self.tokens;
        self.level = (self.level + made).min(self.depth * self.nanos);
    }

    fn take(&mut self, n: u64) -> bool {
        let price = u128::from(n) * self.nanos;
        let granted = price <= self.level;
        self.level -= if granted { price } else { 0 };
        granted
    }

    fn refund(&mut self, n: u64) {
        self.level = (self.level + u128::from(n) * self.nanos).min(self.depth * self.nanos);
    }
}

fn paused(test: impl AsyncFnOnce() -> Result<(), TestCaseError>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(test())
}

/// Rates at which ticks divide the token and the nanosecond.
fn whole() -> impl Strategy<Value = (u64, Duration, u32)> {
    prop_oneof![
        (1..1000_u64, 1..100_000_u32).prop_map(|(n, depth)| (n, Duration::from_secs(1), depth)),
        (1..1000_u64, 1..10_000_u32).prop_map(|(n, depth)| (n, Duration::from_secs(60), depth)),
        Just((600_000_000, Duration::from_secs(1), 7)),
        Just((700_000_000, Duration::from_secs(1), 3)),
        Just((12_300_000_000, Duration::from_secs(1), u32::MAX)),
        Just((10_000_000_000, Duration::from_secs(1), u32::MAX)),
        Just((1, Duration::from_secs(86_400), 800)),
        Just((1, Duration::from_nanos(3), u32::MAX)),
    ]
}

/// Rates at which production is rounded down.
fn rounded() -> impl Strategy<Value = (u64, Duration, u32)> {
    prop_oneof![
        Just((1, Duration::from_secs(86_400), u32::MAX)),
        Just((1, Duration::from_secs(365 * 86_400), 1000)),
        Just((999_999_937, Duration::from_secs(1), 5)),
        Just((9_999_999_967, Duration::from_secs(1), u32::MAX)),
        (1001..1_000_000_u64, 1..u32::MAX).prop_map(|(n, depth)| (
            n,
            Duration::from_nanos(1_000_000_007),
            depth
        )),
    ]
}

/// Pauses and takes; pauses around what a few tokens need.
fn steps() -> impl Strategy<Value = Vec<(u64, u64, bool)>> {
    prop::collection::vec(
        (any::<u64>(), any::<u64>(), prop::bool::weighted(0.1)),
        1..200,
    )
}

fn scaled(random: u64, tokens: u64, time: Duration) -> u64 {
    let some = time.as_nanos() * 3 / u128::from(tokens) + 3;
    (u128::from(random) % some) as u64
}

proptest! {
    #[test]
    fn whole_ticks_are_exact((tokens, time, depth) in whole(), steps in steps()) {
        paused(async || {
            let bucket = Bucket::new(Rate::per(tokens, time), depth);
            let mut exact = Exact::new(tokens, time, depth);
            prop_assert!(bucket.try_acquire(depth.into()).is_ok() && exact.take(depth.into()));
            for (pause, n, refund) in steps {
                let pause = scaled(pause, tokens, time);
                advance(Duration::from_nanos(pause)).await;
                exact.pass(pause);
                let n = n % 4;
                if refund {
                    bucket.refund(n);
                    exact.refund(n);
                } else {
                    prop_assert_eq!(bucket.try_acquire(n).is_ok(), exact.take(n));
                }
                prop_assert_eq!(u128::from(bucket.peek().tokens), exact.level / exact.nanos);
            }
            Ok(())
        })?;
    }

    #[test]
    fn rounded_ticks_are_never_early((tokens, time, depth) in rounded(), steps in steps()) {
        paused(async || {
            let bucket = Bucket::new(Rate::per(tokens, time), depth);
            let mut exact = Exact::new(tokens, time, depth);
            for (pause, n, _) in steps {
                let pause = scaled(pause, tokens, time);
                advance(Duration::from_nanos(pause)).await;
                exact.pass(pause);
                let n = if n % 2 == 0 { n % 4 } else { n % u64::from(depth) };
                if bucket.try_acquire(n).is_ok() {
                    prop_assert!(exact.take(n), "early");
                }
                let held = u128::from(bucket.peek().tokens) * exact.nanos;
                // Never more than there is, and less than a millionth of a token, or of a nanosecond's make, behind.
                prop_assert!(held <= exact.level);
                let behind = exact.nanos + exact.nanos / 1_000 + 2 * exact.tokens;
                prop_assert!(held + behind >= exact.level, "{held} of {}", exact.level);
            }
            Ok(())
        })?;
    }

    /// Also a key's, whose ticks are coarser, and change their origin whenever it gets a handle or loses its last.
    #[test]
    fn the_ticks_of_a_key_are_never_early(
        (tokens, time, depth) in prop_oneof![whole(), rounded()],
        steps in steps(),
    ) {
        paused(async || {
            let table = Keyed::<str>::new(Rate::per(tokens, time), depth, 1);
            let mut exact = Exact::new(tokens, time, depth);
            let mut held = None;
            for (pause, n, hold) in steps {
                let pause = scaled(pause, tokens, time);
                advance(Duration::from_nanos(pause)).await;
                exact.pass(pause);
                let n = if n % 2 == 0 { n % 4 } else { n % u64::from(depth) };
                if table.try_acquire("key", n).is_ok() {
                    prop_assert!(exact.take(n), "early");
                }
                if hold || n % 3 == 0 {
                    held = held.is_none().then(|| table.key("key"));
                }
                let tokens = u128::from(table.peek("key").tokens);
                prop_assert!(tokens * exact.nanos <= exact.level, "{}", held.is_some());
            }
            Ok(())
        })?;
    }
}
