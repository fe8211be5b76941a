//! Results on standard output. A reader that has gone, as `head` does, wants no more and is no
//! failure; whatever else keeps a result from being written is.

use std::io::{self, ErrorKind, Write};

use crate::error::{Error, Result};

/// Prints a result.
///
/// # Errors
/// When it could not be written, to somebody who still reads.
pub(super) fn print(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    judge(out.write_all(bytes).and_then(|()| out.flush()))
}

/// What came of writing a result.
///
/// # Errors
/// When it is lost.
pub(super) fn judge(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::new(format!("cannot write the output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Passes bytes on, and notes when nobody reads them any more.
pub(super) struct Reader<W> {
    out: W,
    has_gone: bool,
}

impl<W: Write> Reader<W> {
    /// Somebody who reads what is written to `out`.
    pub(super) fn new(out: W) -> Self {
        Reader { out, has_gone: false }
    }

    /// Whether nobody reads any more.
    pub(super) fn has_gone(&self) -> bool {
        self.has_gone
    }
}

impl<W: Write> Write for Reader<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.has_gone |= matches!(&written, Err(error) if error.kind() == ErrorKind::BrokenPipe);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.has_gone |= matches!(&flushed, Err(error) if error.kind() == ErrorKind::BrokenPipe);
        flushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_no_failure_and_a_lost_result_is() {
        assert!(judge(Ok(())).is_ok() && judge(Err(ErrorKind::BrokenPipe.into())).is_ok());
        let error = judge(Err(io::Error::other("no room"))).unwrap_err();
        assert_eq!(error.to_string(), "cannot write the output: no room");
    }
}
