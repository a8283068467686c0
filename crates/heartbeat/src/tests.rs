//! The kernels, one step at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;

use crate::Health;
use crate::planes::{NEVER, News, Place, Planes, TICKS};
use crate::word::Word;

#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counted() -> (Arc<Woken>, Waker) {
    let woken = Arc::new(Woken::default());
    (Arc::clone(&woken), Waker::from(woken))
}

#[test]
fn a_count_that_wraps_is_one_more() {
    let last = u64::MAX >> 3;
    let word = Word::new(last);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(word.poll(last, &mut cx).is_pending());
    word.beat();
    let Poll::Ready(seen) = word.poll(last, &mut cx) else {
        panic!("the beat is lost");
    };
    assert_eq!((seen.count, seen.since(last), seen.closed), (0, 1, false));
    word.beat();
    assert_eq!(word.read().since(last), 2);
}

#[test]
fn the_waker_of_the_last_poll_is_woken_and_no_other() {
    let word = Word::new(0);
    let (first, old) = counted();
    let (second, new) = counted();
    assert!(word.poll(0, &mut Context::from_waker(&old)).is_pending());
    assert!(word.poll(0, &mut Context::from_waker(&new)).is_pending());
    word.beat();
    word.beat();
    assert_eq!(first.0.load(Ordering::Relaxed), 0);
    assert_eq!(second.0.load(Ordering::Relaxed), 1, "once");
    drop(old);
    assert_eq!(Arc::strong_count(&first), 1, "the old waker is dropped");
}

#[test]
fn a_listener_that_leaves_leaves_no_waker() {
    let word = Word::new(0);
    let (woken, waker) = counted();
    assert!(word.poll(0, &mut Context::from_waker(&waker)).is_pending());
    word.forget();
    drop(waker);
    assert_eq!(Arc::strong_count(&woken), 1);
    word.beat();
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
}

type Small = Planes<2, 3>;

fn scan(planes: &Small, now: u64, counted: bool) -> Vec<News> {
    let mut news = Vec::new();
    planes.scan(now, counted, |item| news.push(item));
    news
}

#[test]
fn an_alarm_is_named_by_what_the_pulse_is_at() {
    type Act = fn(&Small, Place);
    let acts: [(Act, Health); 6] = [
        (|_, _| (), Health::Silent),
        (|planes, place| planes.wake(place, true), Health::Starved),
        (
            |planes, place| assert!(!planes.poll(place, false)),
            Health::Hung,
        ),
        (
            |planes, place| {
                planes.wake(place, true);
                assert!(!planes.poll(place, true));
                planes.polled(place, true);
            },
            Health::Silent,
        ),
        (
            |planes, place| {
                planes.poll(place, true);
                assert!(planes.poll(place, true), "part of the first");
                planes.wake(place, true);
                planes.polled(place, true);
            },
            Health::Starved,
        ),
        (
            |planes, place| {
                planes.wake(place, true);
                planes.wake(place, false);
            },
            Health::Silent,
        ),
    ];
    for (act, health) in acts {
        let planes = Small::new();
        let place = planes.insert(0, NEVER).unwrap();
        planes.beat(place.slot);
        act(&planes, place);
        for _ in 0..TICKS {
            assert_eq!(scan(&planes, 0, true), []);
        }
        let news = scan(&planes, 0, true);
        assert_eq!(news.len(), 1);
        assert_eq!((news[0].place, news[0].health), (place, health));
        assert_eq!(planes.health(place, 0), health);
    }
}

#[test]
fn a_beat_that_comes_while_others_are_reported_withdraws_the_alarm() {
    let planes = Small::new();
    let first = planes.insert(0, NEVER).unwrap();
    let second = planes.insert(0, NEVER).unwrap();
    planes.beat(first.slot);
    planes.beat(second.slot);
    for _ in 0..TICKS {
        assert_eq!(scan(&planes, 0, true), []);
    }
    let mut heard = Vec::new();
    planes.scan(0, true, |news| {
        heard.push(news.place);
        planes.beat(second.slot);
    });
    assert_eq!(heard, [first]);
}

/// What is to be known of one pulse, the plain way.
#[derive(Clone, Debug)]
struct Plain {
    place: Place,
    starting: bool,
    beat: bool,
    silent: bool,
    count: usize,
    busy: bool,
    limit: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Remove(usize),
    Renew(usize, u64),
    Beat(usize),
    Enter(usize, u64),
    Leave(usize),
    Scan(u64, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let limit = || prop_oneof![0..40_u64, Just(NEVER)];
    let pulse = || 0..6_usize;
    prop_oneof![
        2 => limit().prop_map(Step::Insert),
        1 => pulse().prop_map(Step::Remove),
        1 => (pulse(), limit()).prop_map(|(at, limit)| Step::Renew(at, limit)),
        6 => pulse().prop_map(Step::Beat),
        2 => (pulse(), limit()).prop_map(|(at, limit)| Step::Enter(at, limit)),
        2 => pulse().prop_map(Step::Leave),
        20 => (0..3_u64, prop::bool::weighted(0.9)).prop_map(|(time, counted)| Step::Scan(time, counted)),
    ]
}

impl Plain {
    fn new(place: Place, limit: u64) -> Self {
        Self {
            place,
            starting: true,
            beat: false,
            silent: false,
            count: 0,
            busy: false,
            limit,
        }
    }

    fn health(&self, now: u64) -> Health {
        let starting = self.starting && !self.beat;
        if self.busy || starting {
            match self.limit {
                limit if now >= limit => Health::Silent,
                _ if starting => Health::Starting,
                NEVER => Health::Live,
                _ => Health::Busy,
            }
        } else if self.count >= TICKS && !self.beat {
            Health::Silent
        } else {
            Health::Live
        }
    }

    fn scan(&mut self, now: u64, counted: bool) -> Option<Health> {
        self.starting &= !self.beat;
        if self.beat || self.busy || self.starting {
            self.count = 0;
        } else if counted {
            self.count += 1;
        }
        self.beat = false;
        let health = self.health(now);
        let changed = health.is_alarm() != self.silent;
        self.silent = health.is_alarm();
        changed.then_some(health)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// The planes say what a plain account of each pulse says, however slots are used again.
    #[test]
    fn planes_are_as_a_plain_account(steps in prop::collection::vec(step(), 1..200)) {
        let planes = Small::new();
        let mut plain: Vec<Plain> = Vec::new();
        let mut gone: Vec<Place> = Vec::new();
        let mut now = 0;
        for step in steps {
            let has = |at: usize| at < plain.len();
            match step {
                Step::Insert(limit) => match planes.insert(0, now + limit.min(NEVER - now)) {
                    Some(place) => plain.push(Plain::new(place, now + limit.min(NEVER - now))),
                    None => prop_assert_eq!(plain.len(), 6),
                },
                Step::Remove(at) if has(at) => {
                    let place = plain.remove(at).place;
                    planes.remove(place);
                    gone.push(place);
                }
                Step::Renew(at, limit) if has(at) => {
                    let limit = now + limit.min(NEVER - now);
                    gone.push(plain[at].place);
                    plain[at] = Plain::new(planes.renew(plain[at].place, limit).0, limit);
                }
                Step::Beat(at) if has(at) => {
                    planes.beat(plain[at].place.slot);
                    plain[at].beat = true;
                }
                Step::Enter(at, limit) if has(at) => {
                    let limit = now + limit.min(NEVER - now);
                    planes.enter(plain[at].place.slot, limit);
                    (plain[at].beat, plain[at].busy, plain[at].limit) = (true, true, limit);
                }
                Step::Leave(at) if has(at) => {
                    planes.leave(plain[at].place.slot);
                    (plain[at].beat, plain[at].busy) = (true, false);
                }
                Step::Scan(time, counted) => {
                    now += time;
                    let mut expected: Vec<(Place, Health)> = Vec::new();
                    for pulse in &mut plain {
                        if let Some(health) = pulse.scan(now, counted) {
                            expected.push((pulse.place, health));
                        }
                    }
                    let mut heard: Vec<(Place, Health)> = scan(&planes, now, counted)
                        .into_iter()
                        .map(|news| (news.place, news.health))
                        .collect();
                    heard.sort_by_key(|&(place, _)| place);
                    expected.sort_by_key(|&(place, _)| place);
                    prop_assert_eq!(heard, expected);
                }
                _ => {}
            }
            for pulse in &plain {
                prop_assert_eq!(planes.health(pulse.place, now), pulse.health(now));
            }
            for place in &gone {
                prop_assert_eq!(planes.health(*place, now), Health::Closed);
            }
        }
    }
}
