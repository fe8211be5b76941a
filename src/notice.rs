//! Notices: what the loops and the recorder have to tell the user while they run, and how numbers
//! stand in such words.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::fault::{self, Fault};
use crate::limits::{QUEUE_FAILURES, QUEUE_NOTICES};
use crate::stats::Stats;

/// Something the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An exchange failed: what was answered to whom, and why.
    ExchangeFailed {
        /// What was asked for, as `METHOD URL` or as much as was known.
        what: String,
        /// Why it failed.
        reason: String,
    },
    /// A client refused our certificate.
    ClientDistrusts {
        /// The host it asked for.
        host: String,
        /// The TLS alert it sent.
        alert: String,
    },
    /// A panic ended a connection or a call, and nothing else.
    Fault {
        /// What was being done.
        what: String,
        /// What the panic said, and where it was.
        fault: Fault,
    },
    /// A part of flowtap has failed without which it must not go on: the process has to end in
    /// order. The reason is a whole sentence.
    Failed(String),
    /// Nothing can be recorded any more: why, as a whole sentence. Given rarely.
    CaptureSuspended(String),
    /// Recording goes on; so many flows were lost since the user was last told.
    CaptureResumed(u64),
    /// Anything else, as a whole sentence.
    Warning(String),
}

/// Gives notices to whoever prints them; never blocks.
#[derive(Clone, Debug)]
pub struct Notices {
    sender: Sender<Notice>,
    stats: Arc<Stats>,
}

impl Notices {
    /// A bounded queue of notices: the end to give to and the end to take from.
    pub fn channel(stats: Arc<Stats>) -> (Notices, Receiver<Notice>) {
        let (sender, receiver) = bounded(QUEUE_NOTICES + QUEUE_FAILURES);
        (Notices { sender, stats }, receiver)
    }

    /// Gives one notice; when too many wait it is counted and dropped.
    pub fn give(&self, notice: Notice) {
        // There is always room for what ends the process.
        let has_room = matches!(notice, Notice::Failed(_)) || self.sender.len() < QUEUE_NOTICES;
        if !has_room || self.sender.try_send(notice).is_err() {
            self.stats.notices_dropped.add(1);
        }
    }

    /// Counts a fault that ended one thing alone, and tells the user of it.
    pub fn fault(&self, what: impl Into<String>, fault: Fault) {
        self.stats.faults.add(1);
        self.give(Notice::Fault { what: what.into(), fault });
    }

    /// Does the work of a thread without which flowtap must not go on. Should it panic, the user
    /// is told and the process ends in order; `None` then.
    pub fn supervise<T>(&self, name: &str, work: impl FnOnce() -> T) -> Option<T> {
        fault::watch_thread();
        match fault::catch(work) {
            Ok(result) => Some(result),
            Err(fault) => {
                self.stats.faults.add(1);
                self.give(Notice::Failed(format!("{name} {}", fault.reason())));
                None
            }
        }
    }
}

/// A number of things of which `one` is the singular, as `1 flow`, `2 flows` and `2 bodies`.
pub fn count(number: u64, one: &str) -> String {
    match one.strip_suffix('y') {
        _ if number == 1 => format!("1 {one}"),
        Some(stem) => format!("{number} {stem}ies"),
        None => format!("{number} {one}s"),
    }
}

/// The same before what became of them, as `1 flow was` and `2 flows were`.
pub fn count_were(number: u64, one: &str) -> String {
    format!("{} {}", count(number, one), if number == 1 { "was" } else { "were" })
}

/// How many of all match, as `1 of 3 flows matches`.
pub fn count_matches(matches: u64, all: u64, one: &str) -> String {
    let verb = if matches == 1 { "matches" } else { "match" };
    format!("{matches} of {} {verb}", count(all, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_thing_is_not_many() {
        let counts = [0, 1, 2].map(|number| count(number, "flow"));
        assert_eq!(counts, ["0 flows", "1 flow", "2 flows"]);
        assert_eq!(count_were(1, "body"), "1 body was");
        assert_eq!(count_were(2, "body"), "2 bodies were");
        assert_eq!(count_matches(1, 1, "flow"), "1 of 1 flow matches");
        assert_eq!(count_matches(0, 3, "flow"), "0 of 3 flows match");
    }

    #[test]
    fn what_ends_the_process_is_told_however_much_waits() {
        let stats = Arc::new(Stats::default());
        let (notices, taken) = Notices::channel(stats.clone());
        for _ in 0..QUEUE_NOTICES + QUEUE_FAILURES {
            notices.give(Notice::Warning(String::new()));
        }
        assert_eq!(stats.notices_dropped.get(), QUEUE_FAILURES as u64);
        assert_eq!(notices.supervise("the test", || panic!("a panic")), None::<()>);
        assert_eq!(notices.supervise("the test", || 5), Some(5));
        assert_eq!((taken.len(), stats.faults.get()), (QUEUE_NOTICES + 1, 1));
        let Some(Notice::Failed(words)) = taken.try_iter().last() else { panic!("it is not told") };
        assert!(words.starts_with("the test ended by a fault in flowtap: a panic"), "{words}");
    }
}
