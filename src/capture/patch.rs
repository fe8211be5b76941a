//! A buffered writer in which going back a little costs no system call.
//!
//! A ZIP entry's header gets its checksum and sizes after its data. With a plain buffer each of
//! these corrections is two flushes and two seeks; here most of them change bytes in memory.

use std::io::{self, Seek, SeekFrom, Write};

/// Bytes that are held; corrections further back go to the file.
const WINDOW_BYTES: usize = 256 * 1024;

/// Holds the last bytes of a file, behind `start`.
#[derive(Debug)]
pub(super) struct PatchWriter<W: Write + Seek> {
    inner: W,
    window: Vec<u8>,
    /// Where in the file the window begins.
    start: u64,
    /// Where in the file the next byte goes: in the window, or at its end.
    position: u64,
    /// Why the file could not be written, once that has happened. Every write and seek after it
    /// succeeds and does nothing: the ZIP writer, when it is dropped, tries to write its directory
    /// and complains on stderr where it cannot.
    failed: Option<io::ErrorKind>,
}

impl<W: Write + Seek> PatchWriter<W> {
    /// A writer that begins at the beginning of an empty `inner`.
    pub(super) fn new(inner: W) -> Self {
        PatchWriter { inner, window: Vec::new(), start: 0, position: 0, failed: None }
    }

    /// Writes out what is held and gives back the writer inside.
    pub(super) fn into_inner(mut self) -> io::Result<W> {
        self.spill()?;
        match self.failed {
            Some(kind) => Err(kind.into()),
            None => Ok(self.inner),
        }
    }

    fn end(&self) -> u64 {
        self.start + self.window.len() as u64
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.window.is_empty() {
            return Ok(());
        }
        let window = std::mem::take(&mut self.window);
        let written = self.inner.seek(SeekFrom::Start(self.start));
        let written = written.and_then(|_| self.inner.write_all(&window));
        self.start += window.len() as u64;
        self.window = window;
        self.window.clear();
        written.inspect_err(|error| self.failed = Some(error.kind()))
    }
}

impl<W: Write + Seek> Write for PatchWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.is_some() {
            self.position += bytes.len() as u64;
            self.start = self.start.max(self.position);
            return Ok(bytes.len());
        }
        if self.position < self.start {
            // Further back than the window: straight to the file, up to the window.
            let room = usize::try_from(self.start - self.position).unwrap_or(usize::MAX);
            let bytes = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
            let written = self.inner.seek(SeekFrom::Start(self.position));
            let written = written.and_then(|_| self.inner.write(bytes));
            let written = written.inspect_err(|error| self.failed = Some(error.kind()))?;
            self.position += written as u64;
            return Ok(written);
        }
        if self.position == self.end() && self.window.len() >= WINDOW_BYTES {
            self.spill()?;
        }
        let at = usize::try_from(self.position - self.start).unwrap_or(usize::MAX);
        let over = self.window.len().saturating_sub(at).min(bytes.len());
        let (patch, fresh) = bytes.split_at_checked(over).unwrap_or((bytes, &[]));
        if let Some(place) = self.window.get_mut(at..).and_then(|rest| rest.get_mut(..over)) {
            place.copy_from_slice(patch);
        }
        self.window.extend_from_slice(fresh);
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    /// Does nothing: whoever needs the bytes in the file calls [`PatchWriter::into_inner`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write + Seek> Seek for PatchWriter<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(target) => Some(target),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.end().checked_add_signed(by),
        };
        let failed = self.failed.is_some();
        match target.filter(|target| failed || *target <= self.end()) {
            Some(target) => {
                self.position = target;
                Ok(target)
            }
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    /// A file on a disk with room for so many bytes.
    struct Full(Cursor<Vec<u8>>, u64);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.position() + bytes.len() as u64 > self.1 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Full {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn after_a_failure_nothing_fails_but_the_end() {
        let mut writer = PatchWriter::new(Full(Cursor::new(Vec::new()), 1_000));
        let failed = (0..100).find_map(|_| writer.write_all(&[1; 60_000]).err()).unwrap();
        assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
        for place in [0, 10_000_000, 3] {
            assert_eq!(writer.seek(SeekFrom::Start(place)).unwrap(), place);
            writer.write_all(&[2; 100_000]).unwrap();
        }
        let error = writer.into_inner().err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    proptest! {
        #[test]
        fn it_writes_what_a_plain_file_would(
            steps in proptest::collection::vec((0_usize..120_000, 0.0_f64..1.0, any::<u8>()), 1..20)
        ) {
            let mut plain = Cursor::new(Vec::new());
            let mut patched = PatchWriter::new(Cursor::new(Vec::new()));
            for (length, back, byte) in steps {
                let end = plain.get_ref().len() as u64;
                let place = if back < 0.5 { end } else { (end as f64 * (back - 0.5) * 2.0) as u64 };
                plain.seek(SeekFrom::Start(place)).unwrap();
                patched.seek(SeekFrom::Start(place)).unwrap();
                plain.write_all(&vec![byte; length]).unwrap();
                patched.write_all(&vec![byte; length]).unwrap();
                prop_assert_eq!(patched.stream_position().unwrap(), plain.position());
            }
            let written = patched.into_inner().unwrap().into_inner();
            prop_assert!(written == plain.into_inner());
        }
    }
}
