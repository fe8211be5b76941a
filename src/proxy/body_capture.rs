//! The captured copy of a body while it passes.

use bytes::Bytes;

use crate::flow::record::{Body, BodyBlock, FlowEvent, FlowId, Side};
use crate::limits::BODY_BLOCK_BYTES;
use crate::proxy::outbox::Outbox;

/// Copies a passing body: up to a block in memory, what is larger ahead of the flow in blocks,
/// and nothing beyond the capture limit.
#[derive(Debug)]
pub struct BodyCapture {
    flow: FlowId,
    side: Side,
    tail: Vec<u8>,
    sent_ahead: u64,
    size: u64,
    limit: u64,
}

impl BodyCapture {
    /// Captures up to `limit` bytes; 0 only counts.
    pub fn new(flow: FlowId, side: Side, limit: u64) -> Self {
        BodyCapture { flow, side, tail: Vec::new(), sent_ahead: 0, size: 0, limit }
    }

    /// Makes room for a body of known length, so that it is not copied while it grows.
    pub fn reserve(&mut self, length: u64) {
        let block = BODY_BLOCK_BYTES as u64;
        let wanted = length.min(self.limit).min(block);
        self.tail.reserve_exact(usize::try_from(wanted).unwrap_or(BODY_BLOCK_BYTES));
    }

    /// Takes the next piece of the body, with the transfer coding undone.
    pub fn push(&mut self, piece: &[u8], outbox: &mut Outbox) {
        self.size = self.size.saturating_add(piece.len() as u64);
        let captured = self.sent_ahead.saturating_add(self.tail.len() as u64);
        let room = usize::try_from(self.limit.saturating_sub(captured)).unwrap_or(usize::MAX);
        let mut rest = piece.get(..room).unwrap_or(piece);
        while !rest.is_empty() {
            let space = BODY_BLOCK_BYTES.saturating_sub(self.tail.len());
            let (now, later) = rest.split_at_checked(space).unwrap_or((rest, &[]));
            self.tail.extend_from_slice(now);
            rest = later;
            if self.tail.len() >= BODY_BLOCK_BYTES {
                self.send_ahead(outbox);
            }
        }
    }

    /// The whole body as it came so far, if all of it is still here.
    pub fn whole(&self) -> Option<&[u8]> {
        (self.sent_ahead == 0 && self.tail.len() as u64 == self.size).then_some(&self.tail)
    }

    /// The record of the body as far as it came.
    pub fn so_far(&self) -> Body {
        let tail = Bytes::copy_from_slice(&self.tail);
        Body { tail, sent_ahead: self.sent_ahead, size: self.size }
    }

    /// Bytes the body has had so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The record of the body.
    pub fn finish(self) -> Body {
        Body { tail: Bytes::from(self.tail), sent_ahead: self.sent_ahead, size: self.size }
    }

    fn send_ahead(&mut self, outbox: &mut Outbox) {
        let data = Bytes::from(std::mem::take(&mut self.tail));
        self.sent_ahead = self.sent_ahead.saturating_add(data.len() as u64);
        outbox.push(FlowEvent::Body(BodyBlock { flow: self.flow, side: self.side, data }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(limit: u64, pieces: &[usize]) -> (Body, Vec<u8>) {
        let mut outbox = Outbox::default();
        let mut capture = BodyCapture::new(FlowId(7), Side::Response, limit);
        for piece in pieces {
            capture.push(&vec![b'x'; *piece], &mut outbox);
        }
        let body = capture.finish();
        let mut all = Vec::new();
        for event in outbox.take() {
            let FlowEvent::Body(block) = event else { panic!("only blocks come ahead") };
            assert_eq!((block.flow, block.side), (FlowId(7), Side::Response));
            all.extend_from_slice(&block.data);
        }
        assert_eq!(all.len() as u64, body.sent_ahead);
        all.extend_from_slice(&body.tail);
        (body, all)
    }

    #[test]
    fn small_bodies_stay_in_the_flow() {
        let (body, all) = capture(u64::MAX, &[10, 20, 30]);
        assert_eq!((body.sent_ahead, body.size, all.len()), (0, 60, 60));
        assert!(!body.is_cut());
    }

    #[test]
    fn large_bodies_go_ahead_in_blocks() {
        let (body, all) = capture(u64::MAX, &[BODY_BLOCK_BYTES - 1, 2, 3 * BODY_BLOCK_BYTES]);
        assert_eq!(all.len(), 4 * BODY_BLOCK_BYTES + 1);
        assert_eq!(body.sent_ahead, 4 * BODY_BLOCK_BYTES as u64);
        assert!(!body.is_cut());
    }

    #[test]
    fn the_copy_ends_at_the_limit_and_the_size_does_not() {
        let (body, all) = capture(100_000, &[99_999, 1, 1, 1_000]);
        assert_eq!((all.len(), body.size), (100_000, 101_001));
        assert!(body.is_cut());
        let (body, all) = capture(0, &[5]);
        assert_eq!((all.len(), body.size), (0, 5));
    }
}
