//! Finding the blank line that ends a section of field lines, never looking at a byte twice.

use memchr::memchr;

/// A line feed without a carriage return before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BareLineFeed;

/// How far a section that is still incomplete was scanned.
#[derive(Clone, Debug, Default)]
pub(super) struct SectionScanner {
    /// Bytes that were searched for line ends.
    scanned: usize,
    /// Where the line under way begins.
    line: usize,
}

impl SectionScanner {
    /// Goes on from `at`, where a line begins, if the scan has not come so far yet.
    pub(super) fn begin_at(&mut self, at: usize) {
        if self.line < at {
            self.line = at;
            self.scanned = self.scanned.max(at);
        }
    }

    /// Where the line under way begins.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The offset behind the blank line, once it is there. `buf` begins with the same bytes as
    /// the last time.
    pub(super) fn find(&mut self, buf: &[u8]) -> Result<Option<usize>, BareLineFeed> {
        while let Some(found) = buf.get(self.scanned..).and_then(|rest| memchr(b'\n', rest)) {
            let feed = self.scanned + found;
            let end = feed + 1;
            let before = feed.checked_sub(1).filter(|&at| at >= self.line);
            match before {
                Some(at) if buf.get(at) == Some(&b'\r') => {
                    if at == self.line {
                        return Ok(Some(end));
                    }
                }
                _ => return Err(BareLineFeed),
            }
            self.line = end;
            self.scanned = end;
        }
        self.scanned = self.scanned.max(buf.len());
        Ok(None)
    }
}
