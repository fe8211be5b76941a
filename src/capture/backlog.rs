//! Finished segments that wait for a thread that packs them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::capture::pace::Backlog;

/// A queue of jobs, each with the bytes of traffic it holds, that tells how much waits.
#[derive(Debug)]
pub(super) struct Waiting<J> {
    held: Mutex<Held<J>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Held<J> {
    jobs: VecDeque<(J, u64)>,
    bytes: u64,
    is_closed: bool,
}

impl<J> Held<J> {
    fn backlog(&self) -> Backlog {
        Backlog { segments: self.jobs.len(), bytes: self.bytes }
    }
}

impl<J> Default for Waiting<J> {
    fn default() -> Self {
        let held = Held { jobs: VecDeque::new(), bytes: 0, is_closed: false };
        Waiting { held: Mutex::new(held), changed: Condvar::new() }
    }
}

impl<J> Waiting<J> {
    fn held(&self) -> MutexGuard<'_, Held<J>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a job; how much waits now.
    pub(super) fn push(&self, job: J, bytes: u64) -> Backlog {
        let mut held = self.held();
        held.jobs.push_back((job, bytes));
        held.bytes = held.bytes.saturating_add(bytes);
        self.changed.notify_all();
        held.backlog()
    }

    /// Takes the first job, if there is one.
    pub(super) fn take(&self) -> Option<J> {
        let mut held = self.held();
        let (job, bytes) = held.jobs.pop_front()?;
        held.bytes = held.bytes.saturating_sub(bytes);
        Some(job)
    }

    /// How much waits.
    pub(super) fn backlog(&self) -> Backlog {
        self.held().backlog()
    }

    /// Says that no more jobs come, and that there is nobody to make way for.
    pub(super) fn close(&self) {
        self.held().is_closed = true;
        self.changed.notify_all();
    }

    /// Waits until there is a job; false when the queue is closed.
    pub(super) fn wait_for_job(&self) -> bool {
        let is_idle = |held: &mut Held<J>| held.jobs.is_empty() && !held.is_closed;
        let held = self.changed.wait_while(self.held(), is_idle);
        !held.unwrap_or_else(PoisonError::into_inner).is_closed
    }

    /// Waits for so long, or until the queue is closed; whether it is.
    pub(super) fn is_closed_within(&self, time: Duration) -> bool {
        let is_open = |held: &mut Held<J>| !held.is_closed;
        let waited = self.changed.wait_timeout_while(self.held(), time, is_open);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted() {
        let waiting = Waiting::default();
        assert_eq!(waiting.push('a', 10), Backlog { segments: 1, bytes: 10 });
        assert_eq!(waiting.push('b', 5), Backlog { segments: 2, bytes: 15 });
        assert!(waiting.wait_for_job());
        assert_eq!(waiting.take(), Some('a'));
        assert_eq!(waiting.backlog(), Backlog { segments: 1, bytes: 5 });
        assert_eq!((waiting.take(), waiting.take()), (Some('b'), None));
        assert_eq!(waiting.backlog(), Backlog::default());
    }

    #[test]
    fn closing_ends_all_waiting_and_leaves_the_jobs() {
        let waiting = Waiting::default();
        std::thread::scope(|scope| {
            let idle = scope.spawn(|| waiting.wait_for_job());
            let resting = scope.spawn(|| waiting.is_closed_within(Duration::from_secs(3_600)));
            assert!(!waiting.is_closed_within(Duration::ZERO));
            waiting.close();
            assert!(!idle.join().unwrap());
            assert!(resting.join().unwrap());
        });
        waiting.push('a', 1);
        assert!(!waiting.wait_for_job());
        assert_eq!(waiting.take(), Some('a'));
    }
}
