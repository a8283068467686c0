use std::ops::Range;
use std::panic::Location;

/// A place in the source.
pub(crate) type Place = &'static Location<'static>;

/// How many places are kept from each end.
const END: u64 = 3;

/// The places a report passed on its way: the first three, the last three, and how many there were.
///
/// Six slots are enough to see where a path began and where it ended, and a report that goes round a loop for ever takes
/// no more room than one that does not.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// Hop `n` stands at `n` if it is among the first three, else at `3 + n % 3`.
    slots: [Option<Place>; 2 * END as usize],
    hops: u64,
}

/// A stretch of a trail, newest first.
#[derive(Debug, PartialEq)]
pub(crate) enum Hop {
    /// The report passed here.
    At(Place),
    /// So many places were passed and not kept.
    Elided(u64),
}

impl Trail {
    pub(crate) fn push(&mut self, place: Place) {
        let slot = if self.hops < END {
            self.hops
        } else {
            END + self.hops % END
        };
        self.slots[slot as usize] = Some(place);
        self.hops = self.hops.saturating_add(1);
    }

    /// How many places were passed, kept or not.
    pub(crate) fn hops(&self) -> u64 {
        self.hops
    }

    /// The hops within `range`, newest first.
    pub(crate) fn tell(&self, range: Range<u64>) -> impl Iterator<Item = Hop> {
        let tail = self.hops.saturating_sub(END).max(END);
        let last = range.start.max(tail)..range.end;
        let first = range.start..range.end.min(END);
        let elided = range.end.min(tail).saturating_sub(range.start.max(END));
        let last = last
            .rev()
            .filter_map(|hop| self.slots[(END + hop % END) as usize]);
        let first = first.rev().filter_map(|hop| self.slots[hop as usize]);
        last.map(Hop::At)
            .chain((elided > 0).then_some(Hop::Elided(elided)))
            .chain(first.map(Hop::At))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn places() -> [Place; 8] {
        #[track_caller]
        fn here() -> Place {
            Location::caller()
        }
        [
            here(),
            here(),
            here(),
            here(),
            here(),
            here(),
            here(),
            here(),
        ]
    }

    fn walked(steps: &[Place]) -> Trail {
        let mut trail = Trail::default();
        steps.iter().for_each(|place| trail.push(place));
        trail
    }

    #[test]
    fn up_to_six_hops_are_all_kept() {
        let places = places();
        for hops in 0..=6 {
            let trail = walked(&places[..hops]);
            let told: Vec<_> = trail.tell(0..trail.hops()).collect();
            let expected: Vec<_> = places[..hops]
                .iter()
                .rev()
                .map(|place| Hop::At(place))
                .collect();
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn of_more_hops_the_middle_is_counted() {
        let [a, b, c, d, e, f, g, h] = places();
        let trail = walked(&[a, b, c, d, e, f, g, h]);
        let told: Vec<_> = trail.tell(0..8).collect();
        use Hop::{At, Elided};
        assert_eq!(told, [At(h), At(g), At(f), Elided(2), At(c), At(b), At(a)]);
    }

    #[test]
    fn a_range_that_cuts_the_middle_counts_its_part() {
        let [a, b, c, d, e, f, g, h] = places();
        let trail = walked(&[a, b, c, d, e, f, g, h]);
        use Hop::{At, Elided};
        assert_eq!(
            trail.tell(4..8).collect::<Vec<_>>(),
            [At(h), At(g), At(f), Elided(1)]
        );
        assert_eq!(
            trail.tell(0..4).collect::<Vec<_>>(),
            [Elided(1), At(c), At(b), At(a)]
        );
        assert_eq!(trail.tell(4..4).count(), 0);
    }

    #[test]
    fn the_counter_saturates() {
        let mut trail = Trail {
            hops: u64::MAX,
            ..Trail::default()
        };
        trail.push(Location::caller());
        assert_eq!(trail.hops(), u64::MAX);
        assert!(
            trail
                .tell(0..u64::MAX)
                .any(|hop| hop == Hop::Elided(u64::MAX - 6))
        );
    }
}
