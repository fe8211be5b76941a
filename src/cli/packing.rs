//! Waiting for the bundle at the end of a capture, and telling the user how far it is.

use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::capture::recorder::{Progress, RecorderHandle, Summary};
use crate::cli::running::Stop;
use crate::cli::status::Status;
use crate::limits::DISK_SLOW;
use crate::notice::Notice;

/// How often packing is told of where there is no live line.
const TOLD: Duration = Duration::from_secs(5);

/// Waits for the end of packing. It is not cut short: what is left out of the bundle would be lost
/// to most who want to read it.
pub(super) fn attend(
    recorder: RecorderHandle,
    signals: &Receiver<Stop>,
    notices: &Receiver<Notice>,
    status: &mut Status,
) -> Summary {
    let mut told = Instant::now();
    let mut patience = Patience::new(told);
    recorder.finish(&mut |progress| {
        for notice in notices.try_iter() {
            status.notice(notice);
        }
        let now = Instant::now();
        let words = format!("packing: {} of {} flows", progress.packed, progress.recorded);
        if signals.try_iter().any(|stop| stop == Stop::Asked) {
            status.passing(&format!(
                "{words}; the bundle is whole at the end of it. If flowtap is killed before, \
                 flowtap recover makes the rest of it"
            ));
        } else if patience.is_over(now, progress) {
            told = now;
            status.passing(&format!("{words}; the disk is slow"));
        } else if !status.is_live() && now.duration_since(told) >= TOLD {
            told = now;
            status.passing(&words);
        }
        status.show(&words);
    })
}

/// Tells when packing stands still.
struct Patience {
    progress: Progress,
    since: Instant,
}

impl Patience {
    fn new(now: Instant) -> Self {
        Patience { progress: Progress { packed: 0, recorded: 0 }, since: now }
    }

    /// Whether the user should be told: again and again while nothing moves.
    fn is_over(&mut self, now: Instant, progress: Progress) -> bool {
        let is_over = now.duration_since(self.since) >= DISK_SLOW;
        if is_over || progress != self.progress {
            self.since = now;
        }
        let has_moved = std::mem::replace(&mut self.progress, progress) != progress;
        is_over && !has_moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_that_stands_still_is_told_of_again_and_again() {
        let began = Instant::now();
        let mut patience = Patience::new(began);
        let mut at = |seconds: u64, packed: u64| {
            let now = began + Duration::from_secs(seconds);
            patience.is_over(now, Progress { packed, recorded: 9 })
        };
        assert!(!at(1, 1) && !at(5, 2) && !at(9, 2));
        assert!(at(10, 2) && !at(11, 2) && at(15, 2));
        assert!(!at(21, 3) && !at(25, 3) && at(26, 3));
    }
}
