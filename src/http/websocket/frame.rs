//! Frame headers and masking (RFC 6455 sections 5.2 and 5.3).

use super::{CONTROL_BYTES, UNMASK_BYTES, WebSocketError};
use crate::flow::record::Opcode;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_AND_RSV3: u8 = 0x30;
const MASKED: u8 = 0x80;
/// In place of a length: 16 bits follow.
const LENGTH_16: u8 = 126;
/// In place of a length: 64 bits follow.
const LENGTH_64: u8 = 127;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The next fragment of the data message under way.
    Continuation,
    /// The first frame of a data message.
    Data(Opcode),
    /// A control frame.
    Control(Opcode),
}

/// What a frame's first two bytes tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) last: bool,
    pub(super) compressed: bool,
    pub(super) kind: Kind,
    pub(super) masked: bool,
}

impl Start {
    /// Reads the first two bytes of a frame.
    pub(super) fn parse(first: u8, second: u8) -> Result<Self, WebSocketError> {
        if first & RSV2_AND_RSV3 != 0 {
            return Err(WebSocketError::ReservedBit);
        }
        let kind = match first & 0x0f {
            0x0 => Kind::Continuation,
            0x1 => Kind::Data(Opcode::Text),
            0x2 => Kind::Data(Opcode::Binary),
            0x8 => Kind::Control(Opcode::Close),
            0x9 => Kind::Control(Opcode::Ping),
            0xa => Kind::Control(Opcode::Pong),
            _ => return Err(WebSocketError::Opcode),
        };
        let last = first & FIN != 0;
        if let Kind::Control(opcode) = kind {
            let length = second & !MASKED;
            if !last {
                return Err(WebSocketError::FragmentedControl);
            }
            if usize::from(length) > CONTROL_BYTES {
                return Err(WebSocketError::LongControl);
            }
            if opcode == Opcode::Close && length == 1 {
                return Err(WebSocketError::CloseCode);
            }
        }
        let (compressed, masked) = (first & RSV1 != 0, second & MASKED != 0);
        Ok(Start { last, compressed, kind, masked })
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHeader {
    pub(super) start: Start,
    pub(super) length: u64,
    pub(super) mask: Option<[u8; 4]>,
}

/// Bytes that the header has in all, as far as its beginning tells.
pub(super) fn header_length(begin: &[u8]) -> usize {
    let Some(second) = begin.get(1) else { return 2 };
    let length = match second & !MASKED {
        LENGTH_16 => 2,
        LENGTH_64 => 8,
        _ => 0,
    };
    let mask = if second & MASKED != 0 { 4 } else { 0 };
    2 + length + mask
}

/// Reads a whole header of [`header_length`] bytes.
pub(super) fn parse(header: &[u8]) -> Result<FrameHeader, WebSocketError> {
    let (start, length, rest) = match *header {
        [first, second, ref rest @ ..] => (Start::parse(first, second)?, second & !MASKED, rest),
        _ => return Err(WebSocketError::Length),
    };
    let (length, rest) = match (length, rest) {
        (LENGTH_16, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
        (LENGTH_64, _) => {
            let (bytes, rest) = rest.split_first_chunk().ok_or(WebSocketError::Length)?;
            (u64::from_be_bytes(*bytes), rest)
        }
        (LENGTH_16, _) => return Err(WebSocketError::Length),
        (short, rest) => (u64::from(short), rest),
    };
    let least = match header.get(1).map(|second| second & !MASKED) {
        Some(LENGTH_16) => u64::from(LENGTH_16),
        Some(LENGTH_64) => u64::from(u16::MAX) + 1,
        _ => 0,
    };
    if length < least {
        return Err(WebSocketError::LengthForm);
    }
    if length > i64::MAX as u64 {
        return Err(WebSocketError::Length);
    }
    let mask = if start.masked { rest.first_chunk().copied() } else { None };
    if start.masked != mask.is_some() {
        return Err(WebSocketError::Length);
    }
    Ok(FrameHeader { start, length, mask })
}

/// Shows `part`, which begins `offset` bytes into its payload, unmasked and in pieces.
pub(super) fn unmask(part: &[u8], mask: [u8; 4], offset: u64, each: &mut impl FnMut(&[u8])) {
    let turn = u32::try_from(offset % 4).unwrap_or_default() * 8;
    // In the order of memory on every machine: rotating big-endian bytes to the left.
    let mask = u32::from_be_bytes(mask).rotate_left(turn).to_be_bytes();
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut plain = [0; UNMASK_BYTES];
    // Each piece but the last is a multiple of the mask's length.
    for piece in part.chunks(UNMASK_BYTES) {
        let (words, tail) = piece.as_chunks::<8>();
        let (plain_words, plain_tail) = plain.as_chunks_mut::<8>();
        for (to, from) in plain_words.iter_mut().zip(words) {
            *to = (u64::from_ne_bytes(*from) ^ word).to_ne_bytes();
        }
        let last = plain_words.get_mut(words.len()).map_or(plain_tail, |word| &mut word[..]);
        for ((to, from), key) in last.iter_mut().zip(tail).zip(mask.iter().cycle()) {
            *to = from ^ key;
        }
        each(plain.get(..piece.len()).unwrap_or_default());
    }
}
