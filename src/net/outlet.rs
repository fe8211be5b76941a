//! Where a loop's flow events leave it: in batches, without ever blocking.

use crate::capture::queue::{Batch, FlowSender, SendError};
use crate::proxy::outbox::Outbox;

/// Sends what is in an [`Outbox`] to all readers of flows.
#[derive(Debug)]
pub(super) struct Outlet {
    readers: Vec<Reader>,
}

/// One reader of flows: the recorder, or the store of the tools.
#[derive(Debug)]
struct Reader {
    sender: FlowSender,
    waiting: Option<Batch>,
    gone: bool,
}

impl Outlet {
    /// An outlet to these queues; without any, events are thrown away.
    pub(super) fn new(senders: Vec<FlowSender>) -> Self {
        let reader = |sender| Reader { sender, waiting: None, gone: false };
        Outlet { readers: senders.into_iter().map(reader).collect() }
    }

    /// Whether a reader is behind: nothing more is to be read from any socket.
    pub(super) fn is_stalled(&self) -> bool {
        self.readers.iter().any(|reader| reader.waiting.is_some())
    }

    /// Whether a reader has ended before the loop.
    pub(super) fn has_lost_reader(&self) -> bool {
        self.readers.iter().any(|reader| reader.gone)
    }

    /// Sends the events if they make a full batch.
    pub(super) fn flush_if_full(&mut self, outbox: &mut Outbox) {
        if outbox.is_full() {
            self.flush(outbox);
        }
    }

    /// Sends all events, unless a reader is behind.
    pub(super) fn flush(&mut self, outbox: &mut Outbox) {
        for reader in &mut self.readers {
            if let Some(batch) = reader.waiting.take() {
                reader.send(batch);
            }
        }
        if self.is_stalled() || outbox.is_empty() {
            return;
        }
        let batch = outbox.take();
        if let Some((last, others)) = self.readers.split_last_mut() {
            for reader in others {
                reader.send(batch.clone());
            }
            last.send(batch);
        }
    }
}

impl Reader {
    fn send(&mut self, batch: Batch) {
        if self.gone {
            return;
        }
        match self.sender.try_send(batch) {
            Ok(()) => {}
            Err(SendError::Full(batch)) => self.waiting = Some(batch),
            // Nobody is left to read.
            Err(SendError::Closed(_)) => self.gone = true,
        }
    }
}
