//! The set of packet numbers that arrived on a channel, as ranges, newest first, bounded.

use crate::units::PacketNumber;
use std::collections::VecDeque;

/// Ranges kept; older ones are forgotten (their packets were acknowledged many times over).
const KEPT: usize = 32;

/// Numbers received.
#[derive(Clone, Debug, Default)]
pub struct AckRanges {
    ranges: VecDeque<(u64, u64)>,
}

impl AckRanges {
    /// Adds a number; true when it is the largest so far and directly follows the one before.
    pub fn insert(&mut self, number: PacketNumber) -> bool {
        let n = number.0;
        if let Some(first) = self.ranges.front_mut() {
            if n == first.1 + 1 {
                first.1 = n;
                return true;
            }
        }
        let at = self.ranges.iter().position(|r| n >= r.0).unwrap_or(self.ranges.len());
        if self.ranges.get(at).is_some_and(|r| n <= r.1) {
            return false;
        }
        let joins_above = at > 0 && self.ranges[at - 1].0 == n + 1;
        let joins_below = self.ranges.get(at).is_some_and(|r| r.1 + 1 == n);
        match (joins_above, joins_below) {
            (true, true) => {
                self.ranges[at - 1].0 = self.ranges[at].0;
                self.ranges.remove(at);
            }
            (true, false) => self.ranges[at - 1].0 = n,
            (false, true) => self.ranges[at].1 = n,
            (false, false) if at < KEPT => self.ranges.insert(at, (n, n)),
            (false, false) => {}
        }
        self.ranges.truncate(KEPT);
        false
    }

    /// The newest `max` ranges.
    pub fn newest(&self, max: usize) -> Vec<(PacketNumber, PacketNumber)> {
        self.ranges.iter().take(max).map(|&(a, b)| (PacketNumber(a), PacketNumber(b))).collect()
    }

    /// The largest number.
    pub fn largest(&self) -> Option<PacketNumber> {
        self.ranges.front().map(|r| PacketNumber(r.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn the_ranges_hold_what_was_inserted_and_nothing_else(numbers in proptest::collection::vec(0u64..60, 1..80)) {
            let mut set = BTreeSet::new();
            let mut ranges = AckRanges::default();
            for n in numbers {
                set.insert(n);
                ranges.insert(PacketNumber(n));
            }
            let mut back = BTreeSet::new();
            let mut below = u64::MAX;
            for (low, high) in ranges.newest(KEPT) {
                prop_assert!(low <= high && high.0.saturating_add(1) < below);
                below = low.0;
                back.extend(low.0..=high.0);
            }
            prop_assert!(set.len() >= back.len());
            if ranges.ranges.len() < KEPT {
                prop_assert_eq!(set, back);
            }
        }
    }
}
