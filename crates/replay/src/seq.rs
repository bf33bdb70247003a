//! Sequence numbers without their wrap, and sets of them.

/// Sequence numbers further than this from where a direction stands belong to no window that TCP allows (RFC 7323, 2.3).
pub const WINDOW_MAX: u64 = 1 << 30;
/// Ranges that a set keeps apart. A direction has one, and one more for each hole; beyond this the lowest hole is closed and counted.
const RANGES_MAX: usize = 256;

/// Widens sequence numbers to 64 bits: each is taken as the one nearest to where the direction stands.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    near: u64,
}

impl Clock {
    /// A clock that stands at `seq`. It leaves room below for what was sent before the first packet seen.
    pub fn new(seq: u32) -> Self {
        Self { near: (1 << 32) + u64::from(seq) }
    }

    /// The nearest number whose lower half is `seq`.
    pub fn widen(&self, seq: u32) -> u64 {
        let distance = seq.wrapping_sub(self.near as u32) as i32;
        self.near.saturating_add_signed(i64::from(distance))
    }

    /// Moves forward, never back.
    pub fn advance(&mut self, to: u64) {
        self.near = self.near.max(to);
    }

    /// True if no window of TCP reaches from where the direction stands to `seq`.
    pub fn is_far(&self, seq: u64) -> bool {
        self.near.abs_diff(seq) > WINDOW_MAX
    }
}

/// A set of sequence numbers: disjoint, ascending, half-open ranges.
#[derive(Debug, Clone, Default)]
pub struct Ranges {
    ranges: Vec<(u64, u64)>,
    /// Numbers in holes that were closed since there were too many.
    bridged: u64,
}

impl Ranges {
    /// Adds a range; returns how many of its numbers are new.
    pub fn insert(&mut self, start: u64, end: u64) -> u64 {
        if end <= start {
            return 0;
        }
        match self.ranges.last_mut() {
            Some(last) if last.1 == start => {
                last.1 = end;
                return end - start;
            }
            _ => {}
        }
        let first = self.ranges.partition_point(|range| range.1 < start);
        let after = self.ranges.partition_point(|range| range.0 <= end);
        let held: u64 = self.ranges[first..after].iter().map(|range| range.1.min(end).saturating_sub(range.0.max(start))).sum();
        let merged = self.ranges[first..after].iter().fold((start, end), |all, range| (all.0.min(range.0), all.1.max(range.1)));
        self.ranges.splice(first..after, [merged]);
        if self.ranges.len() > RANGES_MAX {
            self.bridged += self.ranges[1].0 - self.ranges[0].1;
            self.ranges[1].0 = self.ranges[0].0;
            self.ranges.remove(0);
        }
        end - start - held
    }

    /// Lowest and highest end.
    pub fn span(&self) -> Option<(u64, u64)> {
        Some((self.ranges.first()?.0, self.ranges.last()?.1))
    }

    /// Numbers between the lowest and `end` that are not in the set, and in how many holes.
    pub fn holes_below(&self, end: u64) -> Holes {
        let bridged = Holes { count: u64::from(self.bridged > 0), bytes: self.bridged };
        let Some((_, highest)) = self.span() else { return bridged };
        let above = Holes { count: u64::from(end > highest), bytes: end.saturating_sub(highest) };
        let between = self.ranges.windows(2).filter(|pair| pair[0].1 < end).map(|pair| pair[1].0.min(end) - pair[0].1);
        between.fold(bridged.plus(above), |all, bytes| all.plus(Holes { count: 1, bytes }))
    }
}

/// What is missing from a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holes {
    pub count: u64,
    pub bytes: u64,
}

impl Holes {
    fn plus(self, other: Holes) -> Holes {
        Holes { count: self.count + other.count, bytes: self.bytes + other.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_go_on_over_the_wrap() {
        let mut clock = Clock::new(u32::MAX - 9);
        let first = clock.widen(u32::MAX - 9);
        let next = clock.widen(10);
        assert_eq!(next - first, 20);
        clock.advance(next);
        assert_eq!(clock.widen(u32::MAX - 9), first, "and back");
        assert!(!clock.is_far(first) && clock.is_far(next + WINDOW_MAX + 1));
    }

    #[test]
    fn what_is_missing_is_counted() {
        let mut set = Ranges::default();
        assert_eq!(set.insert(100, 200), 100);
        assert_eq!(set.insert(300, 400), 100);
        assert_eq!(set.holes_below(400), Holes { count: 1, bytes: 100 });
        assert_eq!(set.holes_below(250), Holes { count: 1, bytes: 50 }, "as far as is asked");
        assert_eq!(set.holes_below(450), Holes { count: 2, bytes: 150 }, "and what is above all");
        assert_eq!(set.insert(150, 350), 100);
        assert_eq!(set.holes_below(400), Holes::default());
    }

    #[test]
    fn too_many_holes_are_closed_and_counted() {
        let mut set = Ranges::default();
        let fresh: u64 = (0..1000).map(|i| set.insert(i * 10, i * 10 + 1)).sum();
        assert_eq!((fresh, set.ranges.len()), (1000, RANGES_MAX));
        assert_eq!(set.holes_below(9991).bytes, 999 * 9, "no byte of a hole is forgotten");
    }

    proptest! {
        #[test]
        fn a_set_of_ranges_is_a_set_of_numbers(ranges in prop::collection::vec((0u64..300, 0u64..40), 1..60)) {
            let (mut set, mut model) = (Ranges::default(), BTreeSet::new());
            for (start, length) in ranges {
                let before = model.len();
                model.extend(start..start + length);
                prop_assert_eq!(set.insert(start, start + length), (model.len() - before) as u64);
                prop_assert!(set.ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", set.ranges);
            }
            if let Some((low, high)) = set.span() {
                prop_assert_eq!(set.holes_below(high).bytes, high - low - model.len() as u64);
            }
        }
    }
}
