//! A process has one origin. One test, since all tests of a file share a process.
#![cfg(not(loom))]

use std::sync::Barrier;

use evenkeel_errors::{Origin, Report};

#[test]
fn of_many_that_set_the_origin_one_does_and_every_report_names_it() {
    let start = Barrier::new(4);
    let set: Vec<String> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..4)
            .map(|racer| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let origin = Origin::new(format!("racer-{racer}"), "1.2.3");
                    let set = origin.with_host("h").with_instance("i").set();
                    set.is_ok().then(|| format!("racer-{racer}"))
                })
            })
            .collect();
        racers
            .into_iter()
            .filter_map(|racer| racer.join().unwrap())
            .collect()
    });
    let [winner] = &set[..] else {
        panic!("one sets it, not {set:?}")
    };
    let origin = Origin::get();
    assert_eq!(
        (origin.service(), origin.version()),
        (winner.as_str(), "1.2.3")
    );
    assert_eq!(
        (origin.host(), origin.instance(), origin.pid()),
        ("h", "i", std::process::id())
    );

    let refused = Origin::new("late", "0").set().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the origin of this process is set already"
    );
    Report::bug("x").boundary(|record| {
        assert!(
            record
                .to_string()
                .contains(&format!(r#""service.name":"{winner}""#))
        );
    });
}
