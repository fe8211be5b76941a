//! A queue of bytes with one allocation that goes back to a pool when it is empty.

/// Bytes that came and were not yet taken, in order.
#[derive(Debug, Default)]
pub struct Buffer {
    storage: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.storage.extend_from_slice(bytes);
    }

    /// The storage, for callers that append in place. They only ever append.
    pub fn storage(&mut self) -> &mut Vec<u8> {
        &mut self.storage
    }

    /// Takes the first `count` bytes away (all of them if there are fewer).
    pub fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count);
        if self.start >= self.storage.len() {
            self.storage.clear();
            self.start = 0;
        } else if self.start >= COMPACT_BYTES && self.start >= self.storage.len() / 2 {
            // Moving the rest down costs no more than the bytes already taken were long.
            self.storage.drain(..self.start);
            self.start = 0;
        }
    }

    /// Moves everything from `source` to the end of this buffer, without a copy when it is empty.
    pub fn append(&mut self, source: &mut Buffer) {
        if self.is_empty() {
            self.clear();
            std::mem::swap(self, source);
        } else {
            self.push(source.bytes());
            source.clear();
        }
    }

    /// Throws everything away.
    pub fn clear(&mut self) {
        self.storage.clear();
        self.start = 0;
    }

    /// Gives the allocation away; only when there is nothing in it.
    pub fn take_storage(&mut self) -> Option<Vec<u8>> {
        (self.is_empty() && self.storage.capacity() > 0).then(|| {
            self.clear();
            std::mem::take(&mut self.storage)
        })
    }

    /// Takes over an allocation where it has none.
    pub fn give_storage(&mut self, storage: impl FnOnce() -> Vec<u8>) {
        if self.storage.capacity() == 0 {
            self.storage = storage();
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.storage.get(self.start..).unwrap_or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.storage.len().saturating_sub(self.start)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A front of taken bytes that is shorter is left where it is.
const COMPACT_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        let mut buffer = Buffer::default();
        let mut taken = Vec::new();
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for chunk in sent.chunks(977) {
            buffer.push(chunk);
            let part = buffer.len().min(701);
            taken.extend_from_slice(&buffer.bytes()[..part]);
            buffer.consume(part);
        }
        taken.extend_from_slice(buffer.bytes());
        buffer.consume(usize::MAX);
        assert_eq!(taken, sent);
        assert!(buffer.is_empty());
    }

    #[test]
    fn storage_is_given_away_only_when_it_holds_nothing() {
        let mut buffer = Buffer::default();
        buffer.push(b"abc");
        assert!(buffer.take_storage().is_none());
        buffer.consume(3);
        assert!(buffer.take_storage().is_some());
        assert!(buffer.take_storage().is_none());
    }

    #[test]
    fn appending_to_an_empty_buffer_keeps_what_was_left() {
        let mut source = Buffer::default();
        source.push(b"abcdef");
        source.consume(2);
        let mut target = Buffer::default();
        target.append(&mut source);
        assert_eq!(target.bytes(), b"cdef");
        source.push(b"gh");
        target.append(&mut source);
        assert_eq!(target.bytes(), b"cdefgh");
        assert!(source.is_empty());
    }
}
