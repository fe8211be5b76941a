//! Where a loop's flow events leave it: in batches, without ever blocking.

use crate::capture::queue::{Batch, FlowSender, SendError};
use crate::limits::{BATCH_BYTES, BATCH_EVENTS};
use crate::proxy::context::Outbox;

/// Sends what is in an [`Outbox`] to the recorder.
#[derive(Debug)]
pub(super) struct Outlet {
    sender: Option<FlowSender>,
    waiting: Option<Batch>,
}

impl Outlet {
    /// An outlet to this queue; without one, events are thrown away.
    pub(super) fn new(sender: Option<FlowSender>) -> Self {
        Outlet { sender, waiting: None }
    }

    /// Whether the recorder is behind: nothing more is to be read from any socket.
    pub(super) fn is_stalled(&self) -> bool {
        self.waiting.is_some()
    }

    /// Sends the events if they make a full batch.
    pub(super) fn flush_if_full(&mut self, outbox: &mut Outbox) {
        if outbox.weight >= BATCH_BYTES || outbox.events.len() >= BATCH_EVENTS {
            self.flush(outbox);
        }
    }

    /// Sends all events, unless the recorder is behind.
    pub(super) fn flush(&mut self, outbox: &mut Outbox) {
        if let Some(batch) = self.waiting.take() {
            self.send(batch);
        }
        if self.waiting.is_none() && !outbox.events.is_empty() {
            outbox.weight = 0;
            let batch = std::mem::take(&mut outbox.events);
            self.send(batch);
        }
    }

    fn send(&mut self, batch: Batch) {
        let Some(sender) = &self.sender else { return };
        match sender.try_send(batch) {
            Ok(()) => {}
            Err(SendError::Full(batch)) => self.waiting = Some(batch),
            // Nobody is left to record; whoever ended the recorder has said why.
            Err(SendError::Closed(_)) => self.sender = None,
        }
    }
}
