//! Models of the scanned pulse.

use evenkeel_sync::{Arc, Mutex, model, thread};

use crate::Health;
use crate::planes::{NEVER, News, Place, Planes, TICKS};

type Small = Planes<1, 2>;

fn two(limit: u64) -> (Arc<Small>, Place, Place) {
    let planes = Arc::new(Small::new());
    let first = planes.insert(0, limit).unwrap();
    let second = planes.insert(0, limit).unwrap();
    (planes, first, second)
}

fn no_alarm(news: News) {
    assert_ne!(news.health, Health::Silent, "false alarm");
}

/// A beat that races with a scan is taken by it or by the next, also when the scan takes another pulse of the word.
#[test]
fn beat_scan() {
    model("beat_scan", None, || {
        let (planes, first, second) = two(NEVER);
        planes.beat(first.slot);
        let worker = thread::spawn({
            let planes = Arc::clone(&planes);
            move || planes.beat(second.slot)
        });
        planes.scan(0, true, no_alarm);
        worker.join().unwrap();
        planes.scan(0, true, no_alarm);
        assert_eq!(planes.health(first, 0), Health::Live);
        assert_eq!(planes.health(second, 0), Health::Live, "beat lost");
    });
}

/// Two workers of one word do not undo each other's beats.
#[test]
fn two_workers() {
    model("two_workers", Some(3), || {
        let (planes, first, second) = two(NEVER);
        let workers = [first, second].map(|place| {
            let planes = Arc::clone(&planes);
            thread::spawn(move || planes.beat(place.slot))
        });
        planes.scan(0, true, no_alarm);
        for worker in workers {
            worker.join().unwrap();
        }
        planes.scan(0, true, no_alarm);
        assert_eq!(planes.health(first, 0), Health::Live, "beat lost");
        assert_eq!(planes.health(second, 0), Health::Live, "beat lost");
    });
}

/// A scan that sees a unit judges it by its own limit, not by one left over.
#[test]
fn enter_scan() {
    model("enter_scan", None, || {
        let (planes, first, _) = two(5);
        planes.beat(first.slot);
        planes.scan(0, true, no_alarm);
        let worker = thread::spawn({
            let planes = Arc::clone(&planes);
            move || {
                planes.enter(first.slot, 100);
                planes.leave(first.slot);
                planes.enter(first.slot, 200);
            }
        });
        let mut said = Vec::new();
        planes.scan(50, true, |news| said.push(news));
        said.retain(|news| news.place == first);
        assert!(said.is_empty(), "false alarm");
        worker.join().unwrap();
        assert_eq!(planes.health(first, 150), Health::Busy);
    });
}

/// So does one who asks.
#[test]
fn enter_judge() {
    model("enter_judge", None, || {
        let (planes, first, _) = two(5);
        planes.beat(first.slot);
        planes.scan(0, true, no_alarm);
        let worker = thread::spawn({
            let planes = Arc::clone(&planes);
            move || planes.enter(first.slot, 100)
        });
        assert_ne!(planes.health(first, 50), Health::Silent, "false alarm");
        worker.join().unwrap();
        assert_eq!(planes.health(first, 50), Health::Busy);
    });
}

/// A slot given back and used again inherits neither beat nor unit nor silence, and the old place is closed.
#[test]
fn reuse() {
    model("reuse", None, || {
        let (planes, first, _) = two(NEVER);
        let worker = thread::spawn({
            let planes = Arc::clone(&planes);
            move || {
                planes.enter(first.slot, 1);
                planes.remove(first);
                planes.insert(0, NEVER).unwrap()
            }
        });
        planes.scan(2, true, |_| ());
        let again = worker.join().unwrap();
        assert_eq!(again.slot, first.slot);
        assert_eq!(planes.health(again, 2), Health::Starting, "inherited");
        assert_eq!(planes.health(first, 2), Health::Closed);
        planes.scan(2, true, |_| ());
        assert_eq!(planes.health(again, 2), Health::Starting, "inherited");
        planes.beat(again.slot);
        for _ in 0..=TICKS {
            planes.scan(2, true, |_| ());
        }
        assert_eq!(planes.health(again, 2), Health::Silent, "inherited");
    });
}

/// Whatever a scan says of a pulse, it says before its end; and nothing of an empty slot.
#[test]
fn close_scan() {
    model("close_scan", None, || {
        let (planes, first, _) = two(5);
        let said = Arc::new(Mutex::new(Vec::new()));
        let worker = thread::spawn({
            let (planes, said) = (Arc::clone(&planes), Arc::clone(&said));
            move || {
                let (closed, _) = planes.remove(first);
                said.lock().push(closed.health);
                planes.scan(5, true, |news| {
                    if news.place.slot == first.slot {
                        said.lock().push(news.health);
                    }
                });
            }
        });
        planes.scan(5, true, |news| {
            if news.place.slot == first.slot {
                said.lock().push(news.health);
            }
        });
        worker.join().unwrap();
        assert_eq!(said.lock().last(), Some(&Health::Closed), "outlived");
    });
}

/// A hang is found, and a beat that came before the scan began is never followed by an alarm.
#[test]
fn hang_beat() {
    model("hang_beat", None, || {
        let (planes, first, second) = two(NEVER);
        planes.beat(first.slot);
        for _ in 0..TICKS {
            planes.scan(0, true, no_alarm);
        }
        // So that the scan swaps: loom keeps one last access, and takes a load of ours for none if the worker loads after
        // it.
        planes.beat(second.slot);
        let worker = thread::spawn({
            let planes = Arc::clone(&planes);
            move || planes.beat(first.slot)
        });
        let mut alarms = 0;
        planes.scan(0, true, |news| {
            alarms += u32::from(news.health == Health::Silent)
        });
        worker.join().unwrap();
        let mut recovered = 0;
        planes.scan(0, true, |news| {
            no_alarm(news);
            recovered += u32::from(news.health == Health::Live);
        });
        assert_eq!(alarms, recovered, "one recovery for one alarm");
        assert_eq!(planes.health(first, 0), Health::Live);
    });
}

/// A waker that outlives its pulse says nothing of the next one in the slot.
#[test]
fn stale_waker() {
    model("stale_waker", None, || {
        let (planes, first, _) = two(5);
        let worker = thread::spawn({
            let planes = Arc::clone(&planes);
            move || {
                planes.poll(first, true);
                planes.polled(first, true);
                planes.renew(first, 5).0
            }
        });
        planes.wake(first, true);
        let again = worker.join().unwrap();
        assert_eq!(planes.health(again, 5), Health::Silent, "inherited");
    });
}

/// A wake-up during a poll asks for another, also when that poll is just ending.
#[test]
fn woken_polled() {
    model("woken_polled", None, || {
        let (planes, first, _) = two(5);
        planes.poll(first, true);
        let waker = thread::spawn({
            let planes = Arc::clone(&planes);
            move || planes.wake(first, true)
        });
        planes.polled(first, true);
        waker.join().unwrap();
        assert_eq!(planes.health(first, 5), Health::Starved, "wake-up lost");
    });
}

/// A wake-up within a poll outlasts the poll of another future inside of that.
#[test]
fn nested_poll() {
    model("nested_poll", None, || {
        let (planes, first, _) = two(5);
        assert!(!planes.poll(first, true));
        let waker = thread::spawn({
            let planes = Arc::clone(&planes);
            move || planes.wake(first, true)
        });
        assert!(planes.poll(first, true), "it is within the other");
        planes.polled(first, true);
        waker.join().unwrap();
        assert_eq!(
            planes.health(first, 5),
            Health::Starved,
            "a wake-up is lost"
        );
    });
}
