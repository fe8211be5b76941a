//! Buffers that connections have given back, for the next ones that need some.

use crate::limits::{SPARE_BUFFER_BYTES, SPARE_BYTES};

/// What a buffer begins with: a request or a small answer fits.
const FIRST_BYTES: usize = 2 * 1024;

/// Empty buffers, which together have at most [`SPARE_BYTES`].
#[derive(Debug, Default)]
pub(super) struct Spare {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Spare {
    /// A buffer that was given back, the last first since its memory is warm, or a fresh one.
    pub(super) fn take(&mut self) -> Vec<u8> {
        match self.buffers.pop() {
            Some(buffer) => {
                self.bytes = self.bytes.saturating_sub(buffer.capacity());
                buffer
            }
            None => Vec::with_capacity(FIRST_BYTES),
        }
    }

    /// Keeps a buffer, which must be empty, or frees it.
    pub(super) fn give(&mut self, buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        if bytes <= SPARE_BUFFER_BYTES && self.bytes.saturating_add(bytes) <= SPARE_BYTES {
            self.bytes += bytes;
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_within_the_bounds() {
        let mut spare = Spare::default();
        spare.give(Vec::with_capacity(SPARE_BUFFER_BYTES + 1));
        assert!(spare.buffers.is_empty());
        for _ in 0..2 * SPARE_BYTES / SPARE_BUFFER_BYTES {
            spare.give(Vec::with_capacity(SPARE_BUFFER_BYTES));
        }
        assert_eq!(spare.buffers.len(), SPARE_BYTES / SPARE_BUFFER_BYTES);
        while spare.bytes > 0 {
            assert_eq!(spare.take().capacity(), SPARE_BUFFER_BYTES);
        }
        assert!(spare.take().is_empty());
    }
}
