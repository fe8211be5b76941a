//! A place for decoded bytes until their number is known: memory, then a temporary file.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;

use crate::capture::private;
use crate::limits::SPOOL_BYTES;

/// Takes bytes and gives them back from the beginning; used again and again.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    memory: Vec<u8>,
    file: Option<File>,
    length: u64,
}

impl Spool {
    /// An empty spool that uses the file `path` when memory is not enough.
    pub(super) fn new(path: PathBuf) -> Self {
        Spool { path, memory: Vec::new(), file: None, length: 0 }
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.memory.clear();
        self.length = 0;
        if self.file.take().is_some() {
            // It stands in the journal's folder, which is removed at the end.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// How many bytes it holds.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// All its bytes, from the beginning.
    pub(super) fn held(&mut self) -> io::Result<Held<'_>> {
        match &mut self.file {
            Some(file) => {
                file.seek(SeekFrom::Start(0))?;
                Ok(Held::File(file))
            }
            None => Ok(Held::Memory(&self.memory)),
        }
    }
}

/// Where the bytes of a spool are.
#[derive(Debug)]
pub(super) enum Held<'a> {
    Memory(&'a [u8]),
    /// Stands at its beginning.
    File(&'a mut File),
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.file {
            Some(file) => file.write(bytes)?,
            None if self.memory.len() + bytes.len() <= SPOOL_BYTES => {
                self.memory.extend_from_slice(bytes);
                bytes.len()
            }
            None => {
                let file = self.file.insert(private::create(&self.path)?);
                file.write_all(&self.memory)?;
                self.memory.clear();
                file.write(bytes)?
            }
        };
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn bytes_come_back_from_memory_and_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut spool = Spool::new(path.clone());
        for length in [10, SPOOL_BYTES, SPOOL_BYTES + 1, 3 * SPOOL_BYTES, 5] {
            spool.clear();
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            for block in bytes.chunks(100_000) {
                spool.write_all(block).unwrap();
            }
            assert_eq!(spool.len(), length as u64);
            assert_eq!(path.exists(), length > SPOOL_BYTES);
            let mut back = Vec::new();
            match spool.held().unwrap() {
                Held::Memory(bytes) => back.extend_from_slice(bytes),
                Held::File(file) => _ = file.read_to_end(&mut back).unwrap(),
            }
            assert!(back == bytes);
        }
        drop(spool);
        assert!(!path.exists());
    }
}
