//! A buffered writer that can go back a little without a system call.
//!
//! A ZIP entry's header gets its checksum and sizes after its data. Most of these corrections
//! change bytes that are still in memory, so that the file is written from its beginning to its
//! end in large blocks.

use std::io::{self, Seek, SeekFrom, Write};

use crate::limits::PACK_BUFFER_BYTES;

/// Holds the last bytes of a file, behind `start`.
#[derive(Debug)]
pub(super) struct PatchWriter<W> {
    inner: W,
    window: Vec<u8>,
    /// Where in the file the window begins.
    start: u64,
}

impl<W: Write + Seek> PatchWriter<W> {
    /// A writer that goes on at the place `start` of `inner`, where that stands.
    pub(super) fn new(inner: W, start: u64) -> Self {
        PatchWriter { inner, window: Vec::with_capacity(PACK_BUFFER_BYTES), start }
    }

    /// Where in the file the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.start + self.window.len() as u64
    }

    /// Appends bytes.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.window.len() + bytes.len() > PACK_BUFFER_BYTES {
            self.spill()?;
            if bytes.len() >= PACK_BUFFER_BYTES {
                self.inner.write_all(bytes)?;
                self.start += bytes.len() as u64;
                return Ok(());
            }
        }
        self.window.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes over bytes at the place `at`, all of which were written before.
    pub(super) fn patch(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let in_file = usize::try_from(self.start.saturating_sub(at)).unwrap_or(usize::MAX);
        let (in_file, in_window) = bytes.split_at_checked(in_file).unwrap_or((bytes, &[]));
        if !in_file.is_empty() {
            self.inner.seek(SeekFrom::Start(at))?;
            self.inner.write_all(in_file)?;
            self.inner.seek(SeekFrom::Start(self.start))?;
        }
        let place = usize::try_from(at.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let place = self.window.get_mut(place..).and_then(|rest| rest.get_mut(..in_window.len()));
        match place {
            Some(place) => {
                place.copy_from_slice(in_window);
                Ok(())
            }
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Writes out what is held and gives back the writer inside.
    pub(super) fn into_inner(mut self) -> io::Result<W> {
        self.spill()?;
        Ok(self.inner)
    }

    fn spill(&mut self) -> io::Result<()> {
        self.inner.write_all(&self.window)?;
        self.start += self.window.len() as u64;
        self.window.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    #[test]
    fn what_is_not_written_yet_cannot_be_patched() {
        let mut writer = PatchWriter::new(Cursor::new(Vec::new()), 0);
        writer.write_all(b"abc").unwrap();
        assert!(writer.patch(2, b"xy").is_err());
        writer.patch(2, b"x").unwrap();
        assert_eq!(writer.into_inner().unwrap().into_inner(), b"abx");
    }

    /// A file that counts what is asked of it.
    #[derive(Default)]
    struct Counting {
        writes: usize,
        seeks: usize,
    }

    impl Write for Counting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes += 1;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Counting {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            self.seeks += 1;
            Ok(0)
        }
    }

    #[test]
    fn small_entries_are_written_in_large_blocks_without_a_seek() {
        let mut writer = PatchWriter::new(Counting::default(), 0);
        for _ in 0..10_000 {
            let start = writer.position();
            writer.write_all(&[1; 1_000]).unwrap();
            writer.patch(start, &[2; 30]).unwrap();
            assert!(writer.window.len() <= PACK_BUFFER_BYTES);
        }
        let file = writer.into_inner().unwrap();
        assert_eq!((file.writes, file.seeks), (10_000_000_usize.div_ceil(PACK_BUFFER_BYTES), 0));
    }

    proptest! {
        #[test]
        fn it_writes_what_a_plain_file_would(
            steps in proptest::collection::vec((0_usize..700_000, 0.0_f64..1.0, any::<u8>()), 1..20)
        ) {
            let mut plain = Vec::new();
            let mut patched = PatchWriter::new(Cursor::new(Vec::new()), 0);
            for (length, back, byte) in steps {
                let bytes = vec![byte; length * 2];
                plain.extend_from_slice(&bytes);
                patched.write_all(&bytes).unwrap();
                prop_assert_eq!(patched.position(), plain.len() as u64);
                // Somewhere in all that was written, in the file, in the window or across both.
                let patch = vec![!byte; length.min(200_000)];
                let at = ((plain.len() - patch.len()) as f64 * back) as usize;
                plain[at..at + patch.len()].copy_from_slice(&patch);
                patched.patch(at as u64, &patch).unwrap();
            }
            let written = patched.into_inner().unwrap().into_inner();
            prop_assert!(written == plain);
        }
    }
}
