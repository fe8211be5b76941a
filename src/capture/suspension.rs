//! When nothing can be written: when to try again, what was lost, and what the user is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::capture::losses::Losses;
use crate::limits::{RESUME_FIRST, RESUME_MOST, SUSPENDED_WARNING};
use crate::notice::{Notice, Notices};
use crate::stats::Stats;

/// Whether the recorder writes. It tells the time by what it is given.
#[derive(Debug)]
pub(super) struct Suspension {
    stats: Arc<Stats>,
    notices: Notices,
    current: Option<Current>,
    warned: Option<Instant>,
    /// Flows that were lost since the user was last told how many.
    untold: u64,
    lost: u64,
    messages_lost: u64,
    /// Losses that no segment tells of.
    unwritten: Losses,
    /// Why nothing could be written, the last time.
    reason: Option<String>,
    /// Whether nothing is written any more, whatever room there is.
    for_good: bool,
}

#[derive(Debug)]
struct Current {
    next_try: Instant,
    /// From a try that fails to the next.
    wait: Duration,
    /// Whether the user knows of this one, and of its reason.
    is_told: bool,
}

impl Suspension {
    /// Nothing is amiss.
    pub(super) fn new(stats: Arc<Stats>, notices: Notices) -> Self {
        Suspension {
            stats,
            notices,
            current: None,
            warned: None,
            untold: 0,
            lost: 0,
            messages_lost: 0,
            unwritten: Losses::default(),
            reason: None,
            for_good: false,
        }
    }

    /// Whether nothing can be written now.
    pub(super) fn is_on(&self) -> bool {
        self.current.is_some() || self.for_good
    }

    /// Nothing is written any more. The user is told elsewhere.
    pub(super) fn give_up(&mut self, reason: String) {
        if self.current.take().is_none() {
            self.stats.capture_suspended.add(1);
        }
        self.reason = Some(reason);
        self.for_good = true;
    }

    /// Whether nothing is written any more.
    pub(super) fn is_for_good(&self) -> bool {
        self.for_good
    }

    /// Writing has failed, or a try to take up again has; `soon` to try again at once.
    pub(super) fn fail(&mut self, now: Instant, reason: String, soon: bool) {
        if self.for_good {
            return;
        }
        let is_new = self.reason.as_ref() != Some(&reason);
        match &mut self.current {
            Some(current) => {
                current.wait = (2 * current.wait).min(RESUME_MOST);
                current.next_try = now + current.wait;
                current.is_told &= !is_new;
            }
            None => {
                self.stats.capture_suspended.add(1);
                let first = if soon { Duration::ZERO } else { RESUME_FIRST };
                let (next_try, wait) = (now + first, RESUME_FIRST / 2);
                self.current = Some(Current { next_try, wait, is_told: false });
            }
        }
        self.reason = Some(reason);
        self.warn(now);
    }

    /// The last try has failed, after the traffic has ended.
    pub(super) fn ends_by(&mut self, reason: String) {
        self.reason = Some(reason);
    }

    /// Warns of what the user does not know, but not often.
    fn warn(&mut self, now: Instant) {
        let is_early =
            self.warned.is_some_and(|warned| now.duration_since(warned) < SUSPENDED_WARNING);
        let (Some(current), Some(reason)) = (&mut self.current, &self.reason) else { return };
        if is_early || current.is_told {
            return;
        }
        current.is_told = true;
        self.warned = Some(now);
        let text = format!("{reason}: the capture is suspended; traffic goes on");
        self.notices.give(Notice::CaptureSuspended(text));
    }

    /// Whether to try now to take up again.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        self.warn(now);
        self.current.as_ref().is_some_and(|current| now >= current.next_try)
    }

    /// Writing goes on.
    pub(super) fn end(&mut self) {
        let Some(current) = self.current.take() else { return };
        self.stats.capture_suspended.sub(1);
        if current.is_told {
            let lost = std::mem::take(&mut self.untold);
            self.notices.give(Notice::CaptureResumed(lost));
        }
    }

    /// So many flows will not stand in the bundle.
    pub(super) fn lose(&mut self, flows: u64) {
        self.lost += flows;
        self.untold += flows;
        self.unwritten.add(Losses::of_flows(flows));
        self.stats.flows_lost.add(flows);
    }

    /// A message will not stand in the bundle, though its connection may.
    pub(super) fn lose_message(&mut self) {
        self.messages_lost += 1;
        self.unwritten.add(Losses { flows: 0, messages: 1 });
        self.stats.messages_lost.add(1);
    }

    /// The losses that no segment tells of, for one that will.
    pub(super) fn take_unwritten(&mut self) -> Losses {
        std::mem::take(&mut self.unwritten)
    }

    /// Whether there are losses that no segment tells of.
    pub(super) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_none()
    }

    /// The segment that told of these losses does not tell of them any more.
    pub(super) fn give_back(&mut self, losses: Losses) {
        self.unwritten.add(losses);
    }

    /// Flows that were lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Messages that were lost.
    pub(super) fn messages_lost(&self) -> u64 {
        self.messages_lost
    }

    /// Why nothing could be written, the last time.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::Receiver;

    fn suspension() -> (Suspension, Arc<Stats>, Receiver<Notice>) {
        let stats = Arc::new(Stats::default());
        let (notices, given) = Notices::channel(stats.clone());
        (Suspension::new(stats.clone(), notices), stats, given)
    }

    #[test]
    fn tries_become_rarer_and_the_user_is_told_once() {
        let (mut it, stats, given) = suspension();
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        it.fail(began, "full".into(), false);
        let mut tries = Vec::new();
        for second in 0..20 {
            if it.is_due(at(second)) {
                tries.push(second);
                it.fail(at(second), "full".into(), false);
            }
        }
        assert_eq!(tries, [1, 2, 4, 8, 13, 18]);
        assert_eq!(stats.capture_suspended.get(), 1);
        it.lose(7);
        it.end();
        assert_eq!((stats.capture_suspended.get(), stats.flows_lost.get()), (0, 7));
        let told: Vec<_> = given.try_iter().collect();
        let text = "full: the capture is suspended; traffic goes on".to_owned();
        assert_eq!(told, [Notice::CaptureSuspended(text), Notice::CaptureResumed(7)]);
    }

    #[test]
    fn what_comes_and_goes_is_told_of_once_a_minute_with_all_that_was_lost() {
        let (mut it, _, given) = suspension();
        let began = Instant::now();
        for second in 0..60 {
            let now = began + Duration::from_secs(second);
            it.fail(now, "full".into(), false);
            it.lose(1);
            it.end();
        }
        let told: Vec<_> = given.try_iter().collect();
        assert!(matches!(&told[..], [Notice::CaptureSuspended(_), Notice::CaptureResumed(1)]));
        it.fail(began + SUSPENDED_WARNING, "full".into(), false);
        it.end();
        let told: Vec<_> = given.try_iter().collect();
        assert!(matches!(&told[..], [Notice::CaptureSuspended(_), Notice::CaptureResumed(59)]));
        assert_eq!(it.lost(), 60);
    }

    #[test]
    fn one_that_was_not_told_of_is_when_it_lasts_and_so_is_another_reason() {
        let (mut it, _, given) = suspension();
        let began = Instant::now();
        it.fail(began, "full".into(), false);
        it.end();
        it.fail(began + RESUME_FIRST, "full".into(), false);
        assert_eq!(given.try_iter().count(), 2);
        it.is_due(began + SUSPENDED_WARNING);
        it.is_due(began + 2 * SUSPENDED_WARNING);
        assert_eq!(given.try_iter().count(), 1);
        it.fail(began + 3 * SUSPENDED_WARNING, "read-only".into(), false);
        let told: Vec<_> = given.try_iter().collect();
        assert!(
            matches!(&told[..], [Notice::CaptureSuspended(text)] if text.contains("read-only"))
        );
    }

    #[test]
    fn what_can_be_made_again_is_at_once() {
        let (mut it, ..) = suspension();
        let began = Instant::now();
        it.fail(began, "gone".into(), true);
        assert!(it.is_due(began));
        it.fail(began, "gone".into(), true);
        assert!(!it.is_due(began) && it.is_due(began + RESUME_FIRST));
    }
}
