//! Input that comes in pieces.

use std::io::{self, Read};

/// Gives at most `size` bytes at a time.
pub struct Pieces<'a> {
    pub rest: &'a [u8],
    pub size: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let count = target.len().min(self.size).min(self.rest.len());
        let (now, later) = self.rest.split_at(count);
        target[..count].copy_from_slice(now);
        self.rest = later;
        Ok(count)
    }
}
