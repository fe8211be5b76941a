//! A message that is held: gathered first, so that its body can be looked at, then kept until
//! somebody decides about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::flow::record::Side;
use crate::http::body::{BodyLength, BodyReader, FramingError};
use crate::limits::{HELD_BODY_BYTES, HELD_BYTES};
use crate::proxy::buffer::Buffer;
use crate::proxy::context::Now;

/// What is held in all connections of all loops.
#[derive(Debug, Default)]
pub struct HeldTotals {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

#[cfg(test)]
impl HeldTotals {
    /// Room for so many bytes is left, and of every body at least a piece is held.
    pub(super) fn with_room(bytes: usize) -> Self {
        let taken = AtomicUsize::new(HELD_BYTES - bytes);
        HeldTotals { messages: AtomicUsize::new(0), bytes: taken }
    }

    /// The bytes that are held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Bytes that count among those that are held, as long as this is there.
#[derive(Debug)]
pub struct HeldShare {
    totals: Arc<HeldTotals>,
    bytes: usize,
}

impl HeldShare {
    /// A share of no bytes.
    pub fn new(totals: &Arc<HeldTotals>) -> Self {
        HeldShare { totals: totals.clone(), bytes: 0 }
    }

    /// Counts so many more. Returns how many are held in all.
    fn grow(&mut self, more: usize) -> usize {
        self.bytes += more;
        self.totals.bytes.fetch_add(more, Ordering::Relaxed) + more
    }

    /// Counts so many from now on.
    pub fn resize(&mut self, bytes: usize) {
        self.totals.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.totals.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for HeldShare {
    fn drop(&mut self) {
        self.totals.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// One message of an exchange, on its way to be held or held.
#[derive(Debug)]
pub struct Hold {
    /// Which message.
    pub side: Side,
    /// How its body is framed.
    pub length: BodyLength,
    stage: Stage,
    share: HeldShare,
}

#[derive(Debug)]
enum Stage {
    Gathering { body: Vec<u8>, framed: Vec<u8> },
    Gathered { held: HeldBody, since: Option<Now> },
}

/// The body of a message that is held.
#[derive(Clone, Debug, Default)]
pub struct HeldBody {
    /// With the transfer coding undone.
    pub body: Bytes,
    /// The same bytes as they came, with their framing.
    pub framed: Bytes,
    /// Whether that is all of it. What is larger than [`HELD_BODY_BYTES`] waits with its peer.
    pub whole: bool,
}

impl Hold {
    /// Begins to hold a message; `None` when `most` are held already.
    pub fn begin(
        side: Side,
        length: BodyLength,
        totals: &Arc<HeldTotals>,
        most: usize,
    ) -> Option<Self> {
        if totals.messages.fetch_add(1, Ordering::Relaxed) >= most {
            totals.messages.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let stage = Stage::Gathering { body: Vec::new(), framed: Vec::new() };
        Some(Hold { side, length, stage, share: HeldShare::new(totals) })
    }

    /// Takes what there is of the body. Returns the bytes taken.
    pub fn gather(
        &mut self,
        reader: &mut BodyReader,
        input: &mut Buffer,
    ) -> Result<usize, FramingError> {
        let Stage::Gathering { body, framed } = &mut self.stage else { return Ok(0) };
        let before = body.len() + framed.len();
        let progress =
            reader.advance(input.bytes(), &mut |piece: &[u8]| body.extend_from_slice(piece))?;
        if self.length == BodyLength::Chunked
            && let Some(taken) = input.bytes().get(..progress.consumed)
        {
            framed.extend_from_slice(taken);
        }
        input.consume(progress.consumed);
        let more = (body.len() + framed.len()).saturating_sub(before);
        // Small chunks can be many times as long as what they carry.
        let full = body.len().max(framed.len()) >= HELD_BODY_BYTES;
        let total = self.share.grow(more);
        if reader.is_done() || full || total >= HELD_BYTES {
            self.end_gathering(reader.is_done());
        }
        Ok(progress.consumed)
    }

    /// Takes nothing more; `whole` tells whether that was all.
    pub fn end_gathering(&mut self, whole: bool) {
        let Stage::Gathering { body, framed } = &mut self.stage else { return };
        let body = Bytes::from(std::mem::take(body));
        let framed = match self.length {
            BodyLength::Chunked => Bytes::from(std::mem::take(framed)),
            _ => body.clone(),
        };
        self.stage = Stage::Gathered { held: HeldBody { body, framed, whole }, since: None };
    }

    /// From now on somebody has to decide.
    pub fn pause(&mut self, now: Now) {
        if let Stage::Gathered { since, .. } = &mut self.stage {
            *since = Some(now);
        }
    }

    /// Whether it was gathered and nobody was asked about it yet.
    pub fn is_gathered(&self) -> bool {
        matches!(self.stage, Stage::Gathered { since: None, .. })
    }

    /// Since when somebody has to decide.
    pub fn paused_since(&self) -> Option<Now> {
        match &self.stage {
            Stage::Gathered { since, .. } => *since,
            Stage::Gathering { .. } => None,
        }
    }

    /// What is held; nothing while it is being gathered.
    pub fn held(&self) -> HeldBody {
        match &self.stage {
            Stage::Gathered { held, .. } => held.clone(),
            Stage::Gathering { .. } => HeldBody::default(),
        }
    }

    /// Bytes of the whole body where its head tells them, else those that came.
    pub fn size(&self) -> u64 {
        match self.length {
            BodyLength::Length(length) => length,
            _ => self.body_so_far().len() as u64,
        }
    }

    /// What its bytes count: whoever sends them on takes that over.
    pub fn take_share(&mut self) -> HeldShare {
        let nothing = HeldShare::new(&self.share.totals);
        std::mem::replace(&mut self.share, nothing)
    }

    /// What came of the body so far, with the transfer coding undone.
    pub fn body_so_far(&self) -> &[u8] {
        match &self.stage {
            Stage::Gathered { held, .. } => &held.body,
            Stage::Gathering { body, .. } => body,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.share.totals.messages.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(hold: &mut Hold, reader: &mut BodyReader, bytes: &[u8]) -> usize {
        let mut input = Buffer::default();
        input.push(bytes);
        hold.gather(reader, &mut input).unwrap()
    }

    #[test]
    fn a_chunked_body_is_kept_with_and_without_its_framing() {
        let totals = Arc::new(HeldTotals::default());
        let mut hold = Hold::begin(Side::Request, BodyLength::Chunked, &totals, 1).unwrap();
        let mut reader = BodyReader::new(BodyLength::Chunked);
        assert_eq!(gather(&mut hold, &mut reader, b"3\r\nabc\r\n"), 8);
        assert!(!hold.is_gathered());
        gather(&mut hold, &mut reader, b"0\r\n\r\n");
        assert!(hold.is_gathered());
        let held = hold.held();
        assert_eq!((&held.body[..], held.whole), (&b"abc"[..], true));
        assert_eq!(&held.framed[..], b"3\r\nabc\r\n0\r\n\r\n");
        drop(hold);
        assert_eq!(totals.bytes.load(Ordering::Relaxed), 0);
        assert_eq!(totals.messages.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_larger_than_the_limit_is_held_in_part() {
        let totals = Arc::new(HeldTotals::default());
        let length = BodyLength::Length(HELD_BODY_BYTES as u64 + 1);
        let mut hold = Hold::begin(Side::Response, length, &totals, 1).unwrap();
        let mut reader = BodyReader::new(length);
        gather(&mut hold, &mut reader, &vec![b'x'; HELD_BODY_BYTES]);
        assert!(hold.is_gathered() && !hold.held().whole);
        assert_eq!(hold.size(), HELD_BODY_BYTES as u64 + 1);
        assert_eq!(gather(&mut hold, &mut reader, b"x"), 0);
    }

    #[test]
    fn framing_counts_as_well() {
        let totals = Arc::new(HeldTotals::default());
        let mut hold = Hold::begin(Side::Request, BodyLength::Chunked, &totals, 1).unwrap();
        let mut reader = BodyReader::new(BodyLength::Chunked);
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(1_000));
        let fitting = HELD_BODY_BYTES / chunk.len();
        assert_eq!(
            gather(&mut hold, &mut reader, chunk.repeat(fitting).as_bytes()) / chunk.len(),
            fitting
        );
        assert!(!hold.is_gathered());
        gather(&mut hold, &mut reader, chunk.as_bytes());
        assert!(hold.is_gathered() && !hold.held().whole);
    }

    #[test]
    fn all_that_is_held_together_is_bounded() {
        let totals = Arc::new(HeldTotals::default());
        let hold = |length| Hold::begin(Side::Request, length, &totals, 3);
        let all: Vec<_> = (0..3).map(|_| hold(BodyLength::None).unwrap()).collect();
        assert!(hold(BodyLength::None).is_none());
        drop(all);
        totals.bytes.store(HELD_BYTES, Ordering::Relaxed);
        let mut last = hold(BodyLength::Length(10)).unwrap();
        gather(&mut last, &mut BodyReader::new(BodyLength::Length(10)), b"12");
        assert!(last.is_gathered() && !last.held().whole);
    }
}
