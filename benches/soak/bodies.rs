//! Bodies of which both sides know every byte: a stretch of one text, chosen by the request's id.

use std::io::Write;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Bytes of the text, which repeats.
const TEXT_BYTES: usize = 256 * 1024;
/// What tells the places of two ids apart.
const STEP: u64 = 4_099;

/// Printable bytes that compress about as well as prose.
fn text() -> &'static [u8] {
    static TEXT: OnceLock<Vec<u8>> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut state = 0x9e37_79b9_u32;
        let letters = b"etaoin shrdlu cmfwyp\n0123456789";
        let mut next = || {
            // An xorshift generator: any that always gives the same.
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            letters[state as usize % letters.len()]
        };
        (0..TEXT_BYTES).map(|_| next()).collect()
    })
}

/// The body of a request or response, as a place in the text that moves on.
#[derive(Clone, Copy)]
pub(crate) struct Body {
    at: usize,
    left: usize,
}

impl Body {
    /// That of this id, with so many bytes.
    pub(crate) fn new(id: u64, length: usize) -> Body {
        Body { at: (id.wrapping_mul(STEP) % TEXT_BYTES as u64) as usize, left: length }
    }

    /// The next bytes, as many as come in one piece and no more than `most`; empty at the end.
    pub(crate) fn next(&mut self, most: usize) -> &'static [u8] {
        let length = self.left.min(most).min(TEXT_BYTES - self.at);
        let piece = &text()[self.at..self.at + length];
        self.at = (self.at + length) % TEXT_BYTES;
        self.left -= length;
        piece
    }

    /// Whether these are its next bytes.
    pub(crate) fn matches(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let piece = self.next(bytes.len());
            if piece.is_empty() || !bytes.starts_with(piece) {
                return false;
            }
            bytes = &bytes[piece.len()..];
        }
        true
    }

    /// Whether nothing of it is left.
    pub(crate) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// All that is left of it.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.left);
        while !self.is_done() {
            bytes.extend_from_slice(self.next(usize::MAX));
        }
        bytes
    }

    /// All that is left of it, compressed.
    pub(crate) fn gzip(self) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.bytes()).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }
}
