//! Which flows were once kept and are no more.

use std::collections::BTreeMap;

use crate::limits::GONE_RANGES;

/// A set of ids in few ranges. Flows go about in the order of their ids, so ranges grow together.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// First and last id of each range.
    ranges: BTreeMap<u64, u64>,
    /// Below it nothing is known any more; most of what was there is gone.
    forgotten_below: u64,
}

impl Gone {
    pub(super) fn add(&mut self, id: u64) {
        if self.contains(id) {
            return;
        }
        let before = self.ranges.range(..id).next_back().map(|(first, last)| (*first, *last));
        let first = before.filter(|(_, last)| *last + 1 == id).map_or(id, |(first, _)| first);
        let last = id.checked_add(1).and_then(|next| self.ranges.remove(&next)).unwrap_or(id);
        self.ranges.insert(first, last);
        if self.ranges.len() > GONE_RANGES
            && let Some((_, last)) = self.ranges.pop_first()
        {
            self.forgotten_below = last.saturating_add(1);
        }
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        id < self.forgotten_below
            || self.ranges.range(..=id).next_back().is_some_and(|(_, last)| id <= *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_together_in_any_order() {
        let mut gone = Gone::default();
        for id in [5, 3, 4, 9, 7, 8, 5] {
            gone.add(id);
        }
        assert_eq!(gone.ranges, BTreeMap::from([(3, 5), (7, 9)]));
        let known: Vec<u64> = (0..12).filter(|id| gone.contains(*id)).collect();
        assert_eq!(known, [3, 4, 5, 7, 8, 9]);
        gone.add(u64::MAX);
        assert!(gone.contains(u64::MAX));
    }

    #[test]
    fn the_number_of_ranges_is_bounded() {
        let mut gone = Gone::default();
        for id in 0..=GONE_RANGES as u64 {
            gone.add(1 + 2 * id);
        }
        assert_eq!(gone.ranges.len(), GONE_RANGES);
        assert!(gone.contains(1) && gone.contains(3) && !gone.contains(4));
    }
}
