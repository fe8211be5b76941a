//! How the threads of a proxy had processors, as the system tells.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::flowtap::Flowtap;

/// What a thread may wait for a processor before a kill; with more, the round is not judged by
/// what should have been written.
pub(crate) const STARVED: Duration = Duration::from_millis(250);

/// How long before a kill they are looked at: what may be lost, and as long before that.
const RECENT: Duration = Duration::from_secs(2);

/// How a thread has had a processor.
#[derive(Clone, Copy, Debug)]
struct Turns {
    /// How long it has waited for one.
    waited_ns: u64,
    /// How often it was given one.
    turns: u64,
    /// Whether it wants one or has it, or waits for a disk.
    is_runnable: bool,
}

/// Those of the loops and of the recorder, by thread; none where the system does not tell.
fn turns_of(tap: &Flowtap) -> BTreeMap<PathBuf, Turns> {
    let tasks = fs::read_dir(format!("/proc/{}/task", tap.child.id()));
    let threads = tasks.into_iter().flatten().flatten().map(|entry| entry.path());
    let turns = |thread: PathBuf| {
        let read = |name: &str| fs::read_to_string(thread.join(name)).ok();
        let name = read("comm")?;
        let counts = read("schedstat")?;
        let mut counts = counts.split_whitespace().skip(1).map(str::parse);
        let (waited_ns, turns) = (counts.next()?.ok()?, counts.next()?.ok()?);
        let stat = read("stat")?;
        let is_runnable = stat.contains(") R ") || stat.contains(") D ");
        let turns = Turns { waited_ns, turns, is_runnable };
        let counts = name.starts_with("loop") || name.starts_with("recorder");
        counts.then_some((thread, turns))
    };
    threads.filter_map(turns).collect()
}

/// Looks at a proxy, the oldest first.
#[derive(Default)]
pub(crate) struct Waits(Vec<(Instant, BTreeMap<PathBuf, Turns>)>);

impl Waits {
    /// Watches a proxy for some milliseconds.
    pub(crate) fn watch(&mut self, tap: &Flowtap, milliseconds: u64) {
        let end = Instant::now() + Duration::from_millis(milliseconds);
        loop {
            self.0.push((Instant::now(), turns_of(tap)));
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left.min(Duration::from_millis(50)));
        }
    }

    /// About the longest that one thread has waited for one turn in the last two seconds before
    /// this moment.
    pub(crate) fn before(&self, moment: Instant) -> Duration {
        let age = |at: Instant| moment.saturating_duration_since(at);
        let recent: Vec<_> = self.0.iter().filter(|(at, _)| age(*at) < RECENT).collect();
        let mut longest = Duration::ZERO;
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
