//! Files of flows that are under way: large bodies, and the messages of WebSocket connections.
//!
//! Any number of flows may be under way, so few files are open at the same time and few bytes
//! wait in memory. A file that lacks something is torn: its flow is lost, since what follows
//! would stand in the wrong place.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::capture::journal::JournalFolder;
use crate::capture::private;
use crate::flow::record::{FlowId, Side};
use crate::limits::SPILL_FILES;

/// Names a file of a flow that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SpillFile {
    /// The body of one message.
    Body(FlowId, Side),
    /// The messages of a WebSocket connection.
    WebSocket(FlowId),
}

impl SpillFile {
    fn path(self, folder: &JournalFolder) -> PathBuf {
        match self {
            SpillFile::Body(flow, side) => folder.body(flow, side),
            SpillFile::WebSocket(flow) => folder.websocket(flow),
        }
    }
}

/// Appends to many files, of which the least recently used are closed.
#[derive(Debug, Default)]
pub(super) struct SpillFiles {
    /// How many bytes each file holds; `None` when it is torn.
    held: HashMap<SpillFile, Option<u64>>,
    open: HashMap<SpillFile, (File, u64)>,
    uses: u64,
}

impl SpillFiles {
    /// Appends bytes; makes the file if there is none yet. After an error the file holds what it
    /// held before, or is torn. To one that is torn nothing is appended.
    pub(super) fn append(
        &mut self,
        folder: &JournalFolder,
        name: SpillFile,
        bytes: &[u8],
    ) -> io::Result<()> {
        let held = *self.held.entry(name).or_insert(Some(0));
        let Some(held) = held else { return Ok(()) };
        let Some(file) = self.file(folder, name, held)? else {
            // Somebody else has changed or removed it.
            self.tear(folder, name);
            return Ok(());
        };
        let written = file.write_all(bytes);
        let left = match &written {
            Ok(()) => Some(held.saturating_add(bytes.len() as u64)),
            // Frames behind half a frame could not be read.
            Err(_) => file.set_len(held).is_ok().then_some(held),
        };
        self.held.insert(name, left);
        if left.is_none() {
            self.tear(folder, name);
        }
        written
    }

    /// The file, open at its end; `None` when it is not what was written.
    fn file(
        &mut self,
        folder: &JournalFolder,
        name: SpillFile,
        held: u64,
    ) -> io::Result<Option<&mut File>> {
        self.uses += 1;
        if !self.open.contains_key(&name) {
            if self.open.len() >= SPILL_FILES {
                let oldest = self.open.iter().min_by_key(|(_, (_, used))| *used);
                if let Some(oldest) = oldest.map(|(name, _)| *name) {
                    self.open.remove(&oldest);
                }
            }
            let path = name.path(folder);
            if held > 0 && !std::fs::metadata(&path).is_ok_and(|facts| facts.len() == held) {
                return Ok(None);
            }
            self.open.insert(name, (private::append(&path)?, 0));
        }
        let uses = self.uses;
        Ok(self.open.get_mut(&name).map(|(file, used)| {
            *used = uses;
            file
        }))
    }

    /// Something of a file is lost: it goes, and makes room.
    pub(super) fn tear(&mut self, folder: &JournalFolder, name: SpillFile) {
        self.open.remove(&name);
        if self.held.insert(name, None) != Some(None) {
            folder.discard(&name.path(folder));
        }
    }

    /// Tears the files that are not what was written, since they were removed.
    pub(super) fn check(&mut self, folder: &JournalFolder) {
        self.open.clear();
        for (name, held) in &mut self.held {
            let found = std::fs::metadata(name.path(folder)).map_or(0, |facts| facts.len());
            *held = held.filter(|held| *held == found);
        }
    }

    /// Whether something of a file is lost.
    pub(super) fn is_torn(&self, name: SpillFile) -> bool {
        self.held.get(&name) == Some(&None)
    }

    /// Closes a file that is complete; whether it holds all that was appended.
    pub(super) fn close(&mut self, name: SpillFile) -> bool {
        self.open.remove(&name);
        self.held.remove(&name).flatten().is_some()
    }

    /// Closes and removes a file that nobody needs.
    pub(super) fn remove(&mut self, folder: &JournalFolder, name: SpillFile) {
        self.close(name);
        folder.discard(&name.path(folder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> (tempfile::TempDir, JournalFolder) {
        let parent = tempfile::tempdir().unwrap();
        let (folder, _) = JournalFolder::create(&parent.path().join("c.zip")).unwrap();
        (parent, folder)
    }

    fn body(number: usize) -> SpillFile {
        SpillFile::Body(FlowId(number as u64), Side::Request)
    }

    #[test]
    fn more_files_than_may_be_open_are_all_appended_to() {
        let (_parent, folder) = journal();
        let mut files = SpillFiles::default();
        for round in [b"a", b"b"] {
            for number in 0..SPILL_FILES * 3 {
                files.append(&folder, body(number), round).unwrap();
                assert!(files.open.len() <= SPILL_FILES);
            }
        }
        for number in 0..SPILL_FILES * 3 {
            assert_eq!(std::fs::read(body(number).path(&folder)).unwrap(), b"ab");
        }
        assert!(files.close(body(SPILL_FILES * 3 - 1)));
        assert_eq!(files.open.len(), SPILL_FILES - 1);
        assert_eq!(files.held.len(), SPILL_FILES * 3 - 1);
    }

    #[test]
    fn a_file_that_lacks_something_is_torn_and_gone() {
        let (_parent, folder) = journal();
        let mut files = SpillFiles::default();
        for number in 0..3 {
            files.append(&folder, body(number), b"first").unwrap();
        }
        files.tear(&folder, body(0));
        // One that was removed while it was open is not written to any more.
        std::fs::remove_file(body(1).path(&folder)).unwrap();
        files.check(&folder);
        for number in 0..3 {
            files.append(&folder, body(number), b"second").unwrap();
        }
        let torn: Vec<_> = (0..3).map(|number| files.is_torn(body(number))).collect();
        assert_eq!(torn, [true, true, false]);
        let whole: Vec<_> = (0..3).map(|number| files.close(body(number))).collect();
        assert_eq!(whole, [false, false, true]);
        let there: Vec<_> = (0..3).map(|number| body(number).path(&folder).exists()).collect();
        assert_eq!(there, [false, false, true]);
    }

    #[test]
    fn a_file_that_was_removed_while_it_was_closed_is_not_begun_again() {
        let (_parent, folder) = journal();
        let mut files = SpillFiles::default();
        files.append(&folder, body(0), b"first").unwrap();
        for number in 1..=SPILL_FILES {
            files.append(&folder, body(number), b"").unwrap();
        }
        std::fs::remove_file(body(0).path(&folder)).unwrap();
        files.append(&folder, body(0), b"second").unwrap();
        assert!(files.is_torn(body(0)) && !body(0).path(&folder).exists());
    }
}
