//! When packing gives way to traffic.
//!
//! Finished segments are safe on disk, so their packing can wait for a quiet moment. It does not
//! wait for ever: with a long backlog it goes on beside the traffic, so that the end of a capture
//! does not take long.

use std::time::{Duration, Instant};

use crate::limits::{
    BUSY_BYTES, BUSY_EXCHANGES, PACE_INTERVAL, PACK_BACKLOG_BYTES, PACK_BACKLOG_SEGMENTS,
};
use crate::stats::Stats;

/// What the loops have done since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    /// Exchanges that ended.
    pub(super) exchanges: u64,
    /// Bytes from clients and servers.
    pub(super) bytes: u64,
}

impl Traffic {
    /// Until now.
    pub(super) fn of(stats: &Stats) -> Self {
        Traffic { exchanges: stats.exchanges.get(), bytes: stats.bytes.get() }
    }
}

/// What waits to be packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backlog {
    /// Finished segments.
    pub(super) segments: usize,
    /// About how many bytes of traffic they hold.
    pub(super) bytes: u64,
}

impl Backlog {
    /// Whether packing no longer waits for a quiet moment.
    pub(super) fn is_long(self) -> bool {
        self.segments > PACK_BACKLOG_SEGMENTS || self.bytes > PACK_BACKLOG_BYTES
    }

    /// Whether packing no longer gives way at all.
    pub(super) fn is_too_long(self) -> bool {
        self.segments > 2 * PACK_BACKLOG_SEGMENTS || self.bytes > 2 * PACK_BACKLOG_BYTES
    }
}

/// What the packer is to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Pack.
    Work,
    /// Ask again after so long.
    Wait(Duration),
}

/// Judges, from one look to the next, whether traffic is busy.
#[derive(Debug)]
pub(super) struct Pace {
    looked: Instant,
    traffic: Traffic,
    is_busy: bool,
}

impl Pace {
    /// Takes traffic for busy until it is known better.
    pub(super) fn new(now: Instant, traffic: Traffic) -> Self {
        Pace { looked: now, traffic, is_busy: true }
    }

    /// What to do now, with `traffic` until now and so much that waits.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        traffic: Traffic,
        backlog: impl FnOnce() -> Backlog,
    ) -> Turn {
        let elapsed = now.saturating_duration_since(self.looked);
        if elapsed >= PACE_INTERVAL {
            let seconds = elapsed.as_secs_f64();
            let exchanges = traffic.exchanges.saturating_sub(self.traffic.exchanges) as f64;
            let bytes = traffic.bytes.saturating_sub(self.traffic.bytes) as f64;
            let is_busy = exchanges > BUSY_EXCHANGES * seconds || bytes > BUSY_BYTES * seconds;
            // The average of a long time says nothing of this moment.
            self.is_busy = is_busy || elapsed > STALE;
            self.looked = now;
            self.traffic = traffic;
        }
        if !self.is_busy || backlog().is_long() {
            return Turn::Work;
        }
        let end = self.looked + PACE_INTERVAL;
        Turn::Wait(end.saturating_duration_since(now))
    }
}

/// A look that is older is none.
const STALE: Duration = Duration::from_millis(1_000);

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock, and traffic that goes on while it does.
    struct Simulated {
        now: Instant,
        traffic: Traffic,
        pace: Pace,
    }

    const NONE: Backlog = Backlog { segments: 1, bytes: 0 };

    impl Simulated {
        fn new() -> Self {
            let (now, traffic) = (Instant::now(), Traffic::default());
            Simulated { now, traffic, pace: Pace::new(now, traffic) }
        }

        /// Lets an interval go by with traffic of so many exchanges and bytes a second.
        fn after(&mut self, time: Duration, exchanges: f64, bytes: f64, backlog: Backlog) -> Turn {
            self.now += time;
            self.traffic.exchanges += (exchanges * time.as_secs_f64()) as u64;
            self.traffic.bytes += (bytes * time.as_secs_f64()) as u64;
            self.pace.turn(self.now, self.traffic, || backlog)
        }
    }

    #[test]
    fn packing_waits_while_traffic_is_busy_and_goes_on_when_it_is_not() {
        let mut it = Simulated::new();
        let wait = Turn::Wait(PACE_INTERVAL);
        assert_eq!(it.after(Duration::ZERO, 0.0, 0.0, NONE), wait, "nothing is known yet");
        for _ in 0..3 {
            assert_eq!(it.after(PACE_INTERVAL, BUSY_EXCHANGES * 1.5, 0.0, NONE), wait);
            assert_eq!(it.after(PACE_INTERVAL, 0.0, BUSY_BYTES * 1.5, NONE), wait);
            let quiet = it.after(PACE_INTERVAL, BUSY_EXCHANGES / 2.0, BUSY_BYTES / 2.0, NONE);
            assert_eq!(quiet, Turn::Work);
        }
    }

    #[test]
    fn what_was_judged_holds_for_an_interval() {
        let mut it = Simulated::new();
        it.after(PACE_INTERVAL, 0.0, 0.0, NONE);
        let half = PACE_INTERVAL / 2;
        assert_eq!(it.after(half, BUSY_EXCHANGES * 9.0, 0.0, NONE), Turn::Work);
        assert_eq!(it.after(half, BUSY_EXCHANGES * 9.0, 0.0, NONE), Turn::Wait(PACE_INTERVAL));
        assert_eq!(it.after(half, 0.0, 0.0, NONE), Turn::Wait(half));
    }

    #[test]
    fn a_look_of_long_ago_is_none() {
        let mut it = Simulated::new();
        it.after(PACE_INTERVAL, 0.0, 0.0, NONE);
        let long = Duration::from_secs(3_600);
        assert_eq!(it.after(long, 0.0, 0.0, NONE), Turn::Wait(PACE_INTERVAL));
        assert_eq!(it.after(PACE_INTERVAL, 0.0, 0.0, NONE), Turn::Work);
    }

    #[test]
    fn a_long_backlog_is_packed_beside_busy_traffic() {
        let mut it = Simulated::new();
        let mut turn = |backlog| it.after(PACE_INTERVAL, BUSY_EXCHANGES * 30.0, 0.0, backlog);
        let wait = Turn::Wait(PACE_INTERVAL);
        let [few, many] = [0, 1].map(|more| PACK_BACKLOG_SEGMENTS + more);
        assert_eq!(turn(Backlog { segments: few, bytes: 0 }), wait);
        assert_eq!(turn(Backlog { segments: many, bytes: 0 }), Turn::Work);
        assert_eq!(turn(Backlog { segments: 1, bytes: PACK_BACKLOG_BYTES }), wait);
        assert_eq!(turn(Backlog { segments: 1, bytes: PACK_BACKLOG_BYTES + 1 }), Turn::Work);
        assert_eq!(turn(NONE), wait, "it is short again");
    }

    #[test]
    fn what_is_too_long_is_long() {
        let backlog = |segments, bytes| Backlog { segments, bytes };
        for (segments, bytes) in [(2 * PACK_BACKLOG_SEGMENTS, 0), (1, 2 * PACK_BACKLOG_BYTES)] {
            assert!(backlog(segments, bytes).is_long());
            assert!(!backlog(segments, bytes).is_too_long());
            assert!(backlog(segments + 1, bytes + 1).is_too_long());
        }
    }
}
