//! How long the threads of a proxy have waited for a processor.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::processors::{Turns, turns_of};
use crate::support::flowtap::Flowtap;

/// What a thread may wait for a processor before a kill, and how long the whole machine may stand
/// still; with more, the round is not judged by what should have been written.
pub(crate) const STARVED: Duration = Duration::from_millis(250);

/// How long before a kill they are looked at: what may be lost, and as long before that.
const RECENT: Duration = Duration::from_secs(2);

/// Threads that have to have processors for a capture to keep its word.
const THREADS: [&str; 2] = ["loop", "recorder"];

/// Looks at a proxy, the oldest first.
#[derive(Default)]
pub(crate) struct Waits(Vec<(Instant, BTreeMap<PathBuf, Turns>)>);

impl Waits {
    /// Watches a proxy for some milliseconds.
    pub(crate) fn watch(&mut self, tap: &Flowtap, milliseconds: u64) {
        let end = Instant::now() + Duration::from_millis(milliseconds);
        loop {
            self.0.push((Instant::now(), turns_of(tap.child.id(), &THREADS)));
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left.min(Duration::from_millis(50)));
        }
    }

    /// About the longest that one thread has waited for one turn in the last two seconds before
    /// this moment. Where a machine stood still nobody counted that; then nobody looked either.
    pub(crate) fn before(&self, moment: Instant) -> Duration {
        let age = |at: Instant| moment.saturating_duration_since(at);
        let recent: Vec<_> = self.0.iter().filter(|(at, _)| age(*at) < RECENT).collect();
        let looks = self.0.iter().map(|(at, _)| *at);
        let next = looks.clone().skip(1).chain([moment]);
        let unseen = looks.zip(next).filter(|(_, to)| age(*to) < RECENT);
        let unseen = unseen.map(|(from, to)| to.saturating_duration_since(from));
        let mut longest = unseen.max().unwrap_or_default();
        for (from, to) in recent.iter().flat_map(|from| recent.iter().map(move |to| (from, to))) {
            let span = to.0.saturating_duration_since(from.0);
            for (thread, now) in to.1.iter().filter(|_| span >= STARVED) {
                let Some(then) = from.1.get(thread) else { continue };
                let turns = now.turns - then.turns;
                longest = longest.max(match turns {
                    // A wait is counted when it is over.
                    0 if now.is_runnable && then.is_runnable => span,
                    0 => Duration::ZERO,
                    turns => Duration::from_nanos((now.waited_ns - then.waited_ns) / turns),
                });
            }
        }
        longest
    }
}
