//! The fields as a client reads them: by the grammar of RFC 9651 and by what the draft says of each parameter.
#![cfg(all(feature = "headers", not(loom)))]

mod structured;
mod support;

use std::time::Duration;

use evenkeel_bucket::headers::{Quotas, delay_seconds, refused};
use evenkeel_bucket::{All, Bucket, Denied, Keyed, Rate, Refusal};
use proptest::prelude::*;
use structured::{Item, Value, list};
use support::{SECOND, paused};
use tokio::time::advance;

/// In seconds, before a part of a tick may be cut off again: a token may then come so much later than was foreseen.
const DAYS: u64 = 1 << 20;

fn value(item: &Item, parameter: &str) -> Option<u64> {
    let found = item.parameters.iter().find(|(key, _)| key == parameter);
    found.map(|(_, value)| match value {
        Value::Integer(n) => u64::try_from(*n).expect("no parameter is negative"),
        other => panic!("{parameter} is {other:?}"),
    })
}

fn only(field: Option<String>) -> Item {
    let mut items = list(&field.expect("a limited bucket")).expect("the grammar");
    assert_eq!(items.len(), 1);
    items.remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_bucket_is_told_by_its_depth_its_window_and_what_is_left() {
    let bucket = Bucket::new(Rate::per(10, 60 * SECOND), 20).named("api");
    let told = Quotas::of(&bucket);
    assert_eq!(told.policy().unwrap(), r#""api";q=20;w=120"#);
    assert_eq!(told.rate_limit().unwrap(), r#""api";r=20;t=6"#, "full");
    bucket.try_acquire(19).unwrap();
    advance(SECOND / 2).await;
    let told = Quotas::of(&bucket);
    assert_eq!(told.rate_limit().unwrap(), r#""api";r=1;t=6"#, "rounded up");
    advance(SECOND / 2).await;
    assert_eq!(Quotas::of(bucket).rate_limit().unwrap(), r#""api";r=1;t=5"#);
}

#[tokio::test(start_paused = true)]
async fn each_bucket_of_an_all_is_told_once_the_most_restrictive_first() {
    let minute = Bucket::new(Rate::per(60, 60 * SECOND), 60).named("minute");
    let day = Bucket::new(Rate::per(1000, 86_400 * SECOND), 1000).named("day");
    let clients = Keyed::<str>::new(Rate::per(2, SECOND), 4, 10).named("client");
    let key = clients.key("ann").unwrap();
    let all = All::new([&minute, &day]).and(&key).and(&minute);
    assert!(all.try_acquire(1).is_ok());
    let told = Quotas::of(&all).and(Quotas::of(&minute));
    assert_eq!(
        told.policy().unwrap(),
        r#""day";q=1000;w=86400, "minute";q=60;w=60, "client";q=4;w=2"#
    );
    assert_eq!(
        told.rate_limit().unwrap(),
        r#""day";r=999;t=87, "minute";r=59;t=1, "client";r=3;t=1"#
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_is_told_with_and_without_a_handle_and_gets_no_place_by_it() {
    let clients = Keyed::<str>::new(Rate::every(SECOND), 2, 10).named("client");
    assert!(clients.try_acquire("ann", 1).is_ok());
    let told = |quotas: Quotas| quotas.rate_limit().unwrap();
    assert_eq!(told(Quotas::of_key(&clients, "ann")), r#""client";r=1;t=1"#);
    let key = clients.key("ann").unwrap();
    assert_eq!(told(Quotas::of(&key)), r#""client";r=1;t=1"#);
    let both = Quotas::of(&key).and(Quotas::of_key(&clients, "ann"));
    assert_eq!(told(both), r#""client";r=1;t=1"#, "told once");
    let others = Quotas::of(&key).and(Quotas::of_key(&clients, "bob"));
    assert_eq!(told(others), r#""client";r=1;t=1, "client";r=2;t=1"#);
    for stranger in 0..1_000 {
        let stranger = stranger.to_string();
        assert_eq!(
            told(Quotas::of_key(&clients, &stranger)),
            r#""client";r=2;t=1"#
        );
    }
    assert_eq!(clients.overflowed(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_a_byte_sequence_of_those_it_was_said_of() {
    let key = Quotas::of(Bucket::new(Rate::ZERO, 1).named("client")).partition("trial121323");
    let told = key.and(Quotas::of(Bucket::new(Rate::ZERO, 1).named("all")));
    assert_eq!(
        told.rate_limit().unwrap(),
        r#""client";r=1;pk=:dHJpYWwxMjEzMjM=:, "all";r=1"#
    );
    assert_eq!(
        told.partition([0xFF]).policy().unwrap(),
        r#""client";q=1;pk=:dHJpYWwxMjEzMjM=:, "all";q=1;pk=:/w==:"#
    );
}

#[tokio::test(start_paused = true)]
async fn what_never_comes_has_no_window_and_what_does_not_limit_is_not_told() {
    let open = Bucket::new(Rate::UNLIMITED, 7);
    assert_eq!(Quotas::of(&open).policy(), None);
    assert_eq!(Quotas::of(&open).rate_limit(), None);
    assert_eq!(Quotas::of(All::new([&open; 0])).rate_limit(), None);
    for (rate, depth) in [(Rate::ZERO, 3), (Rate::MAX, 0)] {
        let told = Quotas::of(Bucket::new(rate, depth).named("a"));
        let (q, r) = (format!("\"a\";q={depth}"), format!("\"a\";r={depth}"));
        assert_eq!((told.policy(), told.rate_limit()), (Some(q), Some(r)));
    }
    // Longer than an integer of such a field can say.
    let slow = Rate::every(Duration::from_secs(1 << 34));
    let told = Quotas::of(Bucket::new(slow, u32::MAX).named("slow"));
    assert_eq!(told.policy().unwrap(), r#""slow";q=4294967295"#);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_by_itself_if_it_passes() {
    let bucket = Bucket::new(Rate::every(2 * SECOND), 3).named("api");
    bucket.try_acquire(3).unwrap();
    let denied = bucket.try_acquire(2).unwrap_err();
    assert_eq!(refused(&denied).unwrap(), r#""api";r=0;t=4"#);
    for passing in [Refusal::Never, Refusal::Unavailable] {
        assert_eq!(refused(&Denied::by_limit("api", passing)), None);
    }
}

#[test]
fn seconds_are_rounded_up() {
    let told = [0, 1, 999_999_999, 1_000_000_000, 1_000_000_001]
        .map(|nanos| delay_seconds(Duration::from_nanos(nanos)));
    assert_eq!(told, [0, 1, 1, 1, 2]);
    assert_eq!(delay_seconds(Duration::MAX), u64::MAX);
}

/// The draft's own examples, and what the grammar does not allow: so the reader of these tests can fail.
#[test]
fn the_grammar_is_that_of_structured_fields() {
    for good in [
        r#""burst";q=100;w=60,"daily";q=1000;w=86400"#,
        r#""peruser";q=65535;qu="content-bytes";w=10;pk=:sdfjLJUOUHg=:"#,
        r#""default";r=999;pk=:dHJpYWwxMjEzMjM=:"#,
    ] {
        assert!(list(good).is_some(), "{good}");
    }
    for bad in [
        r#""a";q=1,"#,
        r#""a" ;q=1"#,
        r#""a";q=1000000000000000"#,
        r#""a";Q=1"#,
        r#""a";pk=:a:"#,
        "\"ä\";q=1",
        r#""a\b";q=1"#,
        r#""a"#,
        r#""a";q=1 "b";q=1"#,
    ] {
        assert!(list(bad).is_none(), "{bad}");
    }
}

fn limit() -> impl Strategy<Value = (Rate, u32)> {
    let nanos = prop_oneof![1..10_u64, 1..10_000_000_000_u64, any::<u64>()];
    let tokens = prop_oneof![1..10_u64, 1..10_000_000_000_u64];
    let depth = prop_oneof![1..10_u32, 1..10_000_u32, any::<u32>()];
    (tokens, nanos, depth)
        .prop_map(|(tokens, nanos, depth)| (Rate::per(tokens, Duration::from_nanos(nanos)), depth))
}

proptest! {
    /// Whatever the names, partitions and limits, a client that reads by the grammar gets them back.
    #[test]
    fn every_field_is_of_the_grammar(
        limits in prop::collection::vec((limit(), any::<String>(), any::<Option<Vec<u8>>>()), 1..4),
        taken in any::<u32>(),
    ) {
        let mut told = Quotas::default();
        for ((rate, depth), name, partition) in &limits {
            let bucket = Bucket::new(*rate, *depth).named(name.clone());
            let _ = bucket.try_acquire((taken % (depth | 1)).into());
            let one = Quotas::of(&bucket);
            told = told.and(match partition {
                Some(key) => one.partition(key),
                None => one,
            });
        }
        for (field, first) in [(told.policy(), "q"), (told.rate_limit(), "r")] {
            let items = list(&field.unwrap()).expect("the grammar");
            prop_assert_eq!(items.len(), limits.len());
            for (item, ((_, depth), name, partition)) in items.iter().zip(&limits) {
                let Value::String(told) = &item.value else {
                    panic!("the draft wants a String: {item:?}");
                };
                if name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
                    prop_assert_eq!(told, name);
                }
                let keys: Vec<_> = item.parameters.iter().map(|(key, _)| &key[..]).collect();
                prop_assert_eq!(keys[0], first);
                prop_assert!(value(item, first).unwrap() <= (*depth).into());
                let pk = item.parameters.iter().find(|(key, _)| key == "pk");
                let pk = pk.map(|(_, value)| value);
                let expected = partition.clone().map(Value::Bytes);
                prop_assert_eq!(pk, expected.as_ref());
            }
        }
    }

    /// `q` in each `w`, all at once: never refused. `r` in `t`: there, and not one more before the last second of `t`.
    #[test]
    fn who_keeps_to_the_fields_is_never_refused(
        (rate, depth) in limit(),
        taken in any::<u32>(),
        pause in 0..3_000_000_000_u64,
    ) {
        paused(async move {
            let bucket = Bucket::new(rate, depth);
            let policy = only(Quotas::of(&bucket).policy());
            let (q, w) = (value(&policy, "q").unwrap(), value(&policy, "w"));
            for _ in 0..3 {
                prop_assert!(bucket.try_acquire(q).is_ok());
                let Some(w) = w.filter(|&w| w < DAYS) else { break };
                advance(Duration::from_secs(w)).await;
            }
            let _ = bucket.try_acquire((taken % depth.max(1)).into());
            advance(Duration::from_nanos(pause)).await;
            let limit = only(Quotas::of(&bucket).rate_limit());
            let (r, t) = (value(&limit, "r").unwrap(), value(&limit, "t").unwrap());
            prop_assert!(t >= 1);
            prop_assert!(bucket.try_acquire(r).is_ok());
            let denied = bucket.try_acquire(1).unwrap_err();
            if let Some(wait) = denied.retry_after() {
                prop_assert!(delay_seconds(wait) >= t, "no Retry-After is before the end of t");
                prop_assert!(delay_seconds(wait) <= t + u64::from(r == u64::from(depth)));
            }
            if t < DAYS {
                advance(Duration::from_secs(t - 1)).await;
                prop_assert!(t == 1 || bucket.try_acquire(1).is_err());
                advance(SECOND).await;
                prop_assert!(bucket.try_acquire(1).is_ok());
            }
            Ok(())
        })?;
    }

    /// Who comes back after `Retry-After` gets what it was refused.
    #[test]
    fn who_waits_as_told_is_served((rate, depth) in limit(), asked in any::<u32>()) {
        paused(async move {
            let bucket = Bucket::new(rate, depth);
            let n = (asked % depth.max(1) + 1).into();
            let _ = bucket.try_acquire(depth.into());
            if let Err(denied) = bucket.try_acquire(n) {
                let after = delay_seconds(denied.retry_after().expect("it comes"));
                if after < DAYS {
                    advance(Duration::from_secs(after)).await;
                    prop_assert!(bucket.try_acquire(n).is_ok());
                }
            }
            Ok(())
        })?;
    }
}
