//! The gzip content coding: members one after another (RFC 1952 section 2.2, RFC 9110
//! section 8.4.1.3).

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// Decodes all members of a source. What stands behind them and is none ends it, as Chromium and
/// urllib3 have it: servers leave line ends and padding there.
pub(super) struct Gzip<R> {
    member: GzDecoder<Start<R>>,
    ended: bool,
}

impl<R: BufRead> Gzip<R> {
    pub(super) fn new(source: R) -> Self {
        let start = Start { source: Some(source), ahead: [0; 2], given: 0, read: 0 };
        Gzip { member: GzDecoder::new(start), ended: false }
    }

    /// Begins the next member; false where there is none.
    fn next_member(&mut self) -> io::Result<bool> {
        let mut source = std::mem::take(self.member.get_mut());
        let is_member = source.look_ahead()? == MAGIC;
        if is_member {
            self.member.reset(source);
        }
        Ok(is_member)
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !target.is_empty() {
            let got = self.member.read(target)?;
            if got > 0 {
                return Ok(got);
            }
            self.ended = !self.next_member()?;
        }
        Ok(0)
    }
}

/// What a member begins with (RFC 1952 section 2.3.1).
const MAGIC: &[u8] = &[0x1f, 0x8b];

/// A source of which two bytes can be looked at, in whatever pieces they come.
struct Start<R> {
    /// `None` while another has its source.
    source: Option<R>,
    ahead: [u8; 2],
    given: usize,
    read: usize,
}

impl<R> Default for Start<R> {
    fn default() -> Self {
        Start { source: None, ahead: [0; 2], given: 0, read: 0 }
    }
}

impl<R: BufRead> Start<R> {
    /// The next two bytes, or what is left.
    fn look_ahead(&mut self) -> io::Result<&[u8]> {
        (self.given, self.read) = (0, 0);
        while let (Some(source), Some(rest)) = (&mut self.source, self.ahead.get_mut(self.read..))
            && !rest.is_empty()
        {
            match source.read(rest) {
                Ok(0) => break,
                Ok(more) => self.read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.ahead())
    }

    fn ahead(&self) -> &[u8] {
        self.ahead.get(self.given..self.read).unwrap_or_default()
    }
}

impl<R: BufRead> Read for Start<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let got = self.fill_buf()?.read(target)?;
        self.consume(got);
        Ok(got)
    }
}

impl<R: BufRead> BufRead for Start<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.given < self.read {
            return Ok(self.ahead());
        }
        self.source.as_mut().map_or(Ok(&[]), BufRead::fill_buf)
    }

    fn consume(&mut self, amount: usize) {
        if self.given < self.read {
            self.given += amount;
        } else if let Some(source) = &mut self.source {
            source.consume(amount);
        }
    }
}
