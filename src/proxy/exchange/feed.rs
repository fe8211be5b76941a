//! A body that was held, on its way out: fed into its peer's output as that has room.

use bytes::Bytes;

use crate::limits::BUFFER_HIGH_BYTES;
use crate::proxy::hold::HeldShare;
use crate::proxy::link::Link;

/// A body, or the part of one that was held, that goes out piece by piece. As long as its bytes
/// are here they count among those that are held.
#[derive(Debug)]
pub(super) struct Feed {
    bytes: Bytes,
    fed: usize,
    is_all: bool,
    _share: HeldShare,
}

impl Feed {
    /// Begins to feed a body that counts with this share; `None` when it is empty. `is_all` tells
    /// whether nothing comes behind it.
    pub(super) fn new(bytes: Bytes, mut share: HeldShare, is_all: bool) -> Option<Box<Self>> {
        if bytes.is_empty() {
            return None;
        }
        share.resize(bytes.len());
        Some(Box::new(Feed { bytes, fed: 0, is_all, _share: share }))
    }

    /// Queues as much as there is room for. Returns whether that was anything.
    pub(super) fn advance(&mut self, link: &mut Link) -> bool {
        let room = BUFFER_HIGH_BYTES.saturating_sub(link.output.len());
        let rest = self.bytes.get(self.fed..).unwrap_or_default();
        let piece = rest.get(..room).unwrap_or(rest);
        link.send(piece);
        self.fed = self.fed.saturating_add(piece.len());
        !piece.is_empty()
    }

    /// Whether all of it was queued.
    pub(super) fn is_fed(&self) -> bool {
        self.fed >= self.bytes.len()
    }

    /// Whether nothing comes behind it.
    pub(super) fn is_all(&self) -> bool {
        self.is_all
    }

    /// It goes out again from its beginning, to another peer.
    pub(super) fn rewind(&mut self) {
        self.fed = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::record::Side;
    use crate::http::body::{BodyLength, BodyReader};
    use crate::proxy::hold::{HeldTotals, Hold};

    #[test]
    fn a_body_counts_until_it_has_gone_out() {
        let totals = Arc::new(HeldTotals::default());
        let body: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let length = BodyLength::Length(body.len() as u64);
        let mut hold = Hold::begin(Side::Response, length, &totals, 1).unwrap();
        let mut link = Link::default();
        link.input.push(&body);
        hold.gather(&mut BodyReader::new(length), &mut link.input).unwrap();
        let mut feed = Feed::new(hold.held().framed, hold.take_share(), true).unwrap();
        drop(hold);

        let mut got = Vec::new();
        while !feed.is_fed() {
            assert!(feed.advance(&mut link));
            assert!(!feed.advance(&mut link), "there is no room before something was taken");
            assert!(link.output.len() <= BUFFER_HIGH_BYTES);
            assert_eq!(totals.bytes(), body.len());
            let taken = link.output.len().min(10_000);
            got.extend_from_slice(&link.output.bytes()[..taken]);
            link.output.consume(taken);
        }
        got.extend_from_slice(link.output.bytes());
        assert!(got == body);
        drop(feed);
        assert_eq!(totals.bytes(), 0);
    }

    #[test]
    fn what_goes_out_is_what_counts() {
        let totals = Arc::new(HeldTotals::default());
        let mut hold = Hold::begin(Side::Request, BodyLength::Chunked, &totals, 1).unwrap();
        let mut link = Link::default();
        link.input.push(b"3\r\nabc\r\n0\r\n\r\n");
        hold.gather(&mut BodyReader::new(BodyLength::Chunked), &mut link.input).unwrap();
        assert_eq!(totals.bytes(), 16);
        let feed = Feed::new(hold.held().framed, hold.take_share(), true).unwrap();
        assert_eq!(totals.bytes(), 13);
        drop((hold, feed));
        assert_eq!(totals.bytes(), 0);

        let mut given = Feed::new("given".into(), HeldShare::new(&totals), true).unwrap();
        assert_eq!(totals.bytes(), 5);
        // A peer that takes nothing more keeps nothing here.
        link.broken = true;
        assert!(given.advance(&mut link) && given.is_fed() && link.output.is_empty());
        drop(given);
        assert!(Feed::new(Bytes::new(), HeldShare::new(&totals), true).is_none());
        assert_eq!(totals.bytes(), 0);
    }
}
