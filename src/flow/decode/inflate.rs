//! Raw deflate and zlib streams that must come to their end (RFC 1950, RFC 1951).

use std::io::{self, BufRead};

use flate2::{Decompress, FlushDecompress, Status};

/// A decoder of one stream. flate2's own readers take a stream that was cut for one that ended;
/// this one does not.
#[derive(Debug)]
pub struct Inflate {
    state: Decompress,
    ended: bool,
}

impl Inflate {
    /// A decoder of a zlib stream, or of a raw one.
    pub fn new(zlib: bool) -> Self {
        Inflate { state: Decompress::new(zlib), ended: false }
    }

    /// Reads decoded bytes; 0 at the end of the stream, whatever stands behind it. A stream that is
    /// cut and one that is malformed are errors.
    pub fn read(&mut self, source: &mut impl BufRead, target: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !target.is_empty() {
            let input = source.fill_buf()?;
            let at_end = input.is_empty();
            let (used, made, status) = self.step(input, target)?;
            source.consume(used);
            self.ended = status == Status::StreamEnd;
            if made > 0 {
                return Ok(made);
            }
            if at_end && !self.ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }

    /// Reads decoded bytes of a stream that is flushed and goes on later, as permessage-deflate
    /// has it (RFC 7692 section 7.2.2); 0 when the input is used up.
    pub fn read_flushed(
        &mut self,
        source: &mut impl BufRead,
        target: &mut [u8],
    ) -> io::Result<usize> {
        loop {
            let input = source.fill_buf()?;
            let at_end = input.is_empty();
            let (used, made, status) = self.step(input, target)?;
            source.consume(used);
            if status == Status::StreamEnd {
                // A block may be marked final; what follows is a new stream with the same
                // history lost, which endpoints that do so expect.
                self.state.reset(false);
            }
            if made > 0 || at_end {
                return Ok(made);
            }
        }
    }

    /// Forgets the history, as without context takeover.
    pub fn reset(&mut self) {
        self.state.reset(false);
        self.ended = false;
    }

    fn step(&mut self, input: &[u8], target: &mut [u8]) -> io::Result<(usize, usize, Status)> {
        let (used, made) = (self.state.total_in(), self.state.total_out());
        let status = self
            .state
            .decompress(input, target, FlushDecompress::None)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let used = usize::try_from(self.state.total_in() - used).unwrap_or(usize::MAX);
        let made = usize::try_from(self.state.total_out() - made).unwrap_or(usize::MAX);
        Ok((used, made, status))
    }
}
