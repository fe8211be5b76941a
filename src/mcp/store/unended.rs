//! What came of bodies whose flows have not ended.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::flow::record::{Body, BodyBlock, FlowId, Side};
use crate::flow::stored::StoredBody;
use crate::limits::UNENDED_FLOWS;

/// Blocks that are smaller are gathered into larger pieces: event streams come in many.
const SMALL_BYTES: usize = 2 * 1024;
/// What small blocks are gathered to.
const PIECE_BYTES: usize = 32 * 1024;

/// The beginning of a body.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathered {
    pieces: Vec<Bytes>,
    /// Small blocks after the last piece.
    small: Vec<u8>,
    kept: usize,
    /// Bytes that came, kept or not.
    seen: u64,
}

impl Gathered {
    /// Takes the next block, as much of it as may be kept; gives the bytes that are kept of it.
    fn push(&mut self, mut block: Bytes, most: usize) -> usize {
        let is_whole = self.kept as u64 == self.seen;
        self.seen = self.seen.saturating_add(block.len() as u64);
        if !is_whole {
            return 0;
        }
        block.truncate(most.saturating_sub(self.kept));
        let kept = block.len();
        self.kept += kept;
        if kept < SMALL_BYTES && self.small.len() < PIECE_BYTES {
            self.small.extend_from_slice(&block);
        } else {
            self.close_piece();
            self.pieces.push(block);
        }
        kept
    }

    fn close_piece(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(Bytes::from(std::mem::take(&mut self.small)));
        }
    }

    fn forget(&mut self) -> usize {
        self.pieces = Vec::new();
        self.small = Vec::new();
        std::mem::take(&mut self.kept)
    }

    /// The body as far as it came.
    pub(super) fn so_far(&self) -> StoredBody {
        let mut pieces = self.pieces.clone();
        if !self.small.is_empty() {
            pieces.push(Bytes::copy_from_slice(&self.small));
        }
        StoredBody { pieces, size: self.seen, goes_on: false }
    }

    /// The body that ends in this way: what went ahead, and its tail.
    pub(super) fn end(mut self, body: &Body, most: usize) -> StoredBody {
        // A body that was given anew, as one that a tool has changed, has sent nothing ahead.
        if body.sent_ahead == 0 {
            self = Gathered::default();
        } else if self.seen != body.sent_ahead {
            // Its beginning was missed.
            self = Gathered { seen: body.sent_ahead, ..Gathered::default() };
        }
        self.close_piece();
        let is_whole = self.kept as u64 == self.seen;
        let mut tail = if is_whole { body.tail.clone() } else { Bytes::new() };
        tail.truncate(most.saturating_sub(self.kept));
        if !tail.is_empty() {
            self.pieces.push(tail);
        }
        StoredBody { pieces: self.pieces, size: body.size, goes_on: false }
    }
}

/// The bodies of one flow.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    pub(super) request: Gathered,
    pub(super) response: Gathered,
    /// What came of the response ahead of its blocks.
    pub(super) glimpsed: Gathered,
}

impl Bodies {
    /// Bytes that are kept of them.
    pub(super) fn kept(&self) -> usize {
        self.request.kept + self.response.kept + self.glimpsed.kept
    }

    /// The response's body as far as it came.
    pub(super) fn response_so_far(&self) -> StoredBody {
        let glimpsed_more = self.glimpsed.seen >= self.response.seen;
        if glimpsed_more { &self.glimpsed } else { &self.response }.so_far()
    }
}

/// The bodies of all flows that have not ended.
#[derive(Debug)]
pub(super) struct Unended {
    flows: BTreeMap<FlowId, Bodies>,
    kept: usize,
    /// Bytes of each body.
    body_bytes: usize,
    /// Bytes in all.
    bytes: usize,
}

impl Unended {
    pub(super) fn new(body_bytes: usize, bytes: usize) -> Self {
        Unended { flows: BTreeMap::new(), kept: 0, body_bytes, bytes }
    }

    pub(super) fn push(&mut self, block: BodyBlock) {
        let bodies = self.flows.entry(block.flow).or_default();
        let body = match block.side {
            Side::Request => &mut bodies.request,
            Side::Response => &mut bodies.response,
        };
        self.kept += body.push(block.data, self.body_bytes);
        self.bound();
    }

    pub(super) fn glimpse(&mut self, block: BodyBlock) {
        let bodies = self.flows.entry(block.flow).or_default();
        self.kept += bodies.glimpsed.push(block.data, self.body_bytes);
        self.bound();
    }

    /// The bodies of a flow, as far as they came.
    pub(super) fn get(&self, flow: FlowId) -> Option<&Bodies> {
        self.flows.get(&flow)
    }

    /// Takes the bodies of a flow that has ended.
    pub(super) fn take(&mut self, flow: FlowId) -> Option<Bodies> {
        if self.flows.is_empty() {
            return None;
        }
        let bodies = self.flows.remove(&flow)?;
        self.kept = self.kept.saturating_sub(bodies.kept());
        Some(bodies)
    }

    /// Bytes that are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    fn bound(&mut self) {
        while self.flows.len() > UNENDED_FLOWS
            && let Some((_, bodies)) = self.flows.pop_first()
        {
            self.kept = self.kept.saturating_sub(bodies.kept());
        }
        if self.kept <= self.bytes {
            return;
        }
        // What is forgotten goes on being counted, so that a middle is not taken for a beginning.
        // A quarter is freed at once, so that not every block looks for the oldest.
        let enough = self.bytes - self.bytes / 4;
        for bodies in self.flows.values_mut() {
            let freed =
                bodies.request.forget() + bodies.response.forget() + bodies.glimpsed.forget();
            self.kept = self.kept.saturating_sub(freed);
            if self.kept <= enough {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(flow: u64, bytes: usize) -> BodyBlock {
        let data = Bytes::from(vec![b'x'; bytes]);
        BodyBlock { flow: FlowId(flow), side: Side::Response, data }
    }

    fn ended(sent_ahead: u64, tail: &'static str) -> Body {
        Body { tail: tail.into(), sent_ahead, size: sent_ahead + tail.len() as u64 }
    }

    #[test]
    fn a_body_is_its_blocks_and_its_tail() {
        let mut unended = Unended::new(1_000, 10_000);
        unended.push(block(1, 100));
        unended.push(block(1, 50));
        let body = unended.take(FlowId(1)).unwrap().response.end(&ended(150, "tail"), 1_000);
        assert_eq!((body.kept(), body.size, body.pieces.len()), (154, 154, 2));
        assert_eq!(unended.kept(), 0);
        assert!(unended.take(FlowId(1)).is_none());
    }

    #[test]
    fn only_the_beginning_of_a_large_body_is_kept() {
        let mut unended = Unended::new(120, 10_000);
        unended.push(block(1, 100));
        unended.push(block(1, 100));
        let body = unended.take(FlowId(1)).unwrap().response.end(&ended(200, "tail"), 120);
        assert_eq!((body.kept(), body.size), (120, 204));
    }

    #[test]
    fn beyond_the_bound_the_oldest_are_not_kept_and_never_taken_for_whole() {
        let mut unended = Unended::new(1_000, 250);
        for flow in [1, 2, 3] {
            unended.push(block(flow, 100));
        }
        assert_eq!(unended.kept(), 100);
        unended.push(block(1, 40));
        let body = unended.take(FlowId(1)).unwrap().response.end(&ended(140, "tail"), 1_000);
        assert_eq!((body.kept(), body.size), (0, 144));
        let body = unended.take(FlowId(3)).unwrap().response.end(&ended(100, ""), 1_000);
        assert_eq!((body.kept(), body.size), (100, 100));
    }

    #[test]
    fn a_body_whose_beginning_was_missed_is_not_kept() {
        let mut unended = Unended::new(1_000, 10_000);
        unended.push(block(1, 10));
        let body = unended.take(FlowId(1)).unwrap().response.end(&ended(500, "tail"), 1_000);
        assert_eq!((body.kept(), body.size), (0, 504));
    }

    #[test]
    fn the_number_of_flows_is_bounded() {
        let mut unended = Unended::new(1_000, usize::MAX);
        for flow in 0..=UNENDED_FLOWS as u64 {
            unended.push(block(flow, 1));
        }
        assert_eq!((unended.flows.len(), unended.kept()), (UNENDED_FLOWS, UNENDED_FLOWS));
        assert!(unended.get(FlowId(0)).is_none());
    }

    #[test]
    fn glimpses_are_the_body_until_blocks_are_more() {
        let mut unended = Unended::new(1_000, 10_000);
        unended.glimpse(block(1, 10));
        unended.glimpse(block(1, 10));
        assert_eq!(unended.get(FlowId(1)).unwrap().response_so_far().kept(), 20);
        unended.push(block(1, 25));
        let bodies = unended.take(FlowId(1)).unwrap();
        assert_eq!(bodies.response_so_far().size, 25);
        assert_eq!(bodies.response.end(&ended(25, "tail"), 1_000).kept(), 29);
    }
}
