//! Deadlines, the nearest first.
//!
//! Entries are never taken out early: whoever is woken looks whether its deadline has really
//! come and asks again otherwise. A connection therefore has about one entry however often its
//! deadline moves.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Deadlines of things named by `K`.
#[derive(Debug)]
pub(super) struct Timers<K: Ord> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord> Default for Timers<K> {
    fn default() -> Self {
        Timers { heap: BinaryHeap::new() }
    }
}

impl<K: Ord> Timers<K> {
    /// Adds a deadline.
    pub(super) fn add(&mut self, at: Instant, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    /// Takes the next entry whose time has come.
    pub(super) fn expired(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.heap.peek().is_none_or(|Reverse((at, _))| *at > now) {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// How long the poller may wait: to the next entry, rounded up to whole milliseconds so that
    /// it does not wake just before.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let Reverse((at, _)) = self.heap.peek()?;
        let wait = at.saturating_duration_since(now);
        let millis = u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        Some(Duration::from_millis(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_the_order_of_their_time() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut timers = Timers::default();
        for millis in [30, 10, 20] {
            timers.add(at(millis), millis);
        }
        assert_eq!(timers.wait(start), Some(Duration::from_millis(10)));
        assert_eq!(timers.expired(at(9)), None);
        assert_eq!(timers.expired(at(25)), Some((at(10), 10)));
        assert_eq!(timers.expired(at(25)), Some((at(20), 20)));
        assert_eq!(timers.expired(at(25)), None);
        assert_eq!(timers.wait(at(40)), Some(Duration::ZERO));
    }

    #[test]
    fn waits_are_rounded_up() {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.add(start + Duration::from_micros(1_001), ());
        assert_eq!(timers.wait(start), Some(Duration::from_millis(2)));
    }
}
