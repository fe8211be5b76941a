//! Notices: what the loops and the recorder have to tell the user while they run.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::limits::QUEUE_NOTICES;
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
        let (sender, receiver) = bounded(QUEUE_NOTICES);
        (Notices { sender, stats }, receiver)
    }

    /// Gives one notice; when too many wait it is counted and dropped.
    pub fn give(&self, notice: Notice) {
        if self.sender.try_send(notice).is_err() {
            self.stats.notices_dropped.add(1);
        }
    }
}
