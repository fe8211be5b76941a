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
    pushes: u64,
    is_closed: bool,
}

impl<J> Held<J> {
    fn backlog(&self) -> Backlog {
        Backlog { segments: self.jobs.len(), bytes: self.bytes }
    }
}

impl<J> Default for Waiting<J> {
    fn default() -> Self {
        let held = Held { jobs: VecDeque::new(), bytes: 0, pushes: 0, is_closed: false };
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
        held.pushes += 1;
        self.changed.notify_all();
        held.backlog()
    }

    /// Puts a job that was taken back, in the order of `number`; gives it to the caller when the
    /// queue is closed. Its bytes do not count any more.
    pub(super) fn put_back(&self, job: J, number: impl Fn(&J) -> u32) -> Option<J> {
        let mut held = self.held();
        if held.is_closed {
            return Some(job);
        }
        let place = held.jobs.partition_point(|(other, _)| number(other) < number(&job));
        held.jobs.insert(place, (job, 0));
        self.changed.notify_all();
        None
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

    /// Waits until one more job is pushed or the queue is closed, but no longer than `most`.
    pub(super) fn wait_for_another(&self, most: Duration) {
        let held = self.held();
        let pushes = held.pushes;
        let is_same = |held: &mut Held<J>| held.pushes == pushes && !held.is_closed;
        drop(self.changed.wait_timeout_while(held, most, is_same));
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
    fn a_job_that_is_put_back_comes_before_later_ones() {
        let waiting = Waiting::default();
        (1..=4).for_each(|number| _ = waiting.push(number, 5));
        let taken: Vec<u32> = (0..3).filter_map(|_| waiting.take()).collect();
        assert_eq!(taken, [1, 2, 3]);
        for number in [2, 3, 1] {
            assert_eq!(waiting.put_back(number, |number| *number), None);
        }
        assert_eq!(waiting.backlog(), Backlog { segments: 4, bytes: 5 });
        let again: Vec<u32> = (0..4).filter_map(|_| waiting.take()).collect();
        assert_eq!(again, [1, 2, 3, 4]);
        waiting.close();
        assert_eq!(waiting.put_back(1, |number| *number), Some(1));
    }

    #[test]
    fn one_more_job_ends_the_wait_for_it() {
        let waiting = Waiting::default();
        waiting.push('a', 1);
        let long = Duration::from_secs(3_600);
        std::thread::scope(|scope| {
            let idle = scope.spawn(|| waiting.wait_for_another(long));
            while !idle.is_finished() {
                waiting.push('b', 1);
                std::thread::yield_now();
            }
        });
        waiting.wait_for_another(Duration::ZERO);
        waiting.close();
        waiting.wait_for_another(long);
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
