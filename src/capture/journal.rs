//! The journal: a folder beside the output with one append-only segment for each bundle part.
//!
//! ```text
//! capture.zip.journal/
//!   segment-0001.flj     frames: Segment, then Exchange and WebSocket, then SegmentEnd
//!   flow-7-request.body  a body too large to stand in its Exchange frame
//!   flow-9.ws            frames: WebSocketOpen, Data and Message, WebSocketClose
//! ```
//!
//! A segment and its files go when their part of the bundle is whole. What a killed capture
//! leaves behind is all that is needed to make the bundle.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::capture::entry::{SegmentHeader, put_number};
use crate::capture::frame::{FrameType, append_frame};
use crate::capture::private;
use crate::flow::record::{FlowId, Side};
use crate::limits::{JOURNAL_BUFFER_BYTES, JOURNALS};

/// The folder, and the names in it.
#[derive(Clone, Debug)]
pub struct JournalFolder {
    path: PathBuf,
}

impl JournalFolder {
    /// Makes the folder `<output>.journal`, or `<output>.journal-2` and so on where a capture
    /// that did not finish has left its own; those are given as well.
    pub fn create(output: &Path) -> io::Result<(JournalFolder, Vec<PathBuf>)> {
        let mut unfinished = Vec::new();
        for number in 1..=JOURNALS {
            let suffix =
                if number == 1 { ".journal".to_owned() } else { format!(".journal-{number}") };
            let path = with_suffix(output, &suffix);
            match private::create_folder(&path) {
                Ok(()) => return Ok((JournalFolder { path }, unfinished)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    unfinished.push(path);
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("too many journals of unfinished captures stand beside it"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The segment of a part.
    pub fn segment(&self, part: u32) -> PathBuf {
        self.path.join(format!("segment-{part:04}.flj"))
    }

    /// The body of one message.
    pub fn body(&self, flow: FlowId, side: Side) -> PathBuf {
        let side = match side {
            Side::Request => "request",
            Side::Response => "response",
        };
        self.path.join(format!("flow-{}-{side}.body", flow.0))
    }

    /// The messages of a WebSocket connection.
    pub fn websocket(&self, flow: FlowId) -> PathBuf {
        self.path.join(format!("flow-{}.ws", flow.0))
    }

    /// A temporary file of the packer.
    pub fn temporary(&self) -> PathBuf {
        self.path.join("packer.tmp")
    }

    /// Removes it with all that is in it.
    pub fn remove(&self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.path)
    }
}

/// A path with something behind its file name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Writes one segment; frames are gathered in memory up to [`JOURNAL_BUFFER_BYTES`].
#[derive(Debug)]
pub struct SegmentWriter {
    file: File,
    buffer: Vec<u8>,
    /// Bytes of whole frames that are in the file.
    written: u64,
}

impl SegmentWriter {
    /// Makes the file and writes its first frame to it.
    pub fn create(path: &Path, header: &SegmentHeader) -> io::Result<Self> {
        let mut writer =
            SegmentWriter { file: private::create(path)?, buffer: Vec::new(), written: 0 };
        writer.append(FrameType::Segment, |out| header.put(out));
        writer.flush()?;
        Ok(writer)
    }

    /// Appends a frame; false when it is too long to be one.
    pub fn append(&mut self, kind: FrameType, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        append_frame(&mut self.buffer, kind, write)
    }

    /// Whether so much waits in memory that it should be flushed.
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= JOURNAL_BUFFER_BYTES
    }

    /// Writes what waits in memory to the file. After an error the file ends behind the last
    /// frame that was flushed before, and what waited is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        let result = self.file.write_all(&self.buffer);
        match result {
            Ok(()) => self.written += self.buffer.len() as u64,
            // Readers stop at a torn frame anyhow; the shorter file is the tidier one.
            Err(_) => self.file.set_len(self.written).unwrap_or_default(),
        }
        self.buffer.clear();
        result
    }

    /// Writes the last frame, with the time in microseconds since the Unix epoch.
    pub fn finish(mut self, ended_us: u64) -> io::Result<()> {
        self.append(FrameType::SegmentEnd, |out| put_number(out, ended_us));
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::frame::FrameReader;

    #[test]
    fn a_journal_that_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("capture.zip");
        let (first, unfinished) = JournalFolder::create(&output).unwrap();
        assert!(unfinished.is_empty());
        let (second, unfinished) = JournalFolder::create(&output).unwrap();
        assert_eq!(unfinished, [first.path()]);
        assert!(second.path().ends_with("capture.zip.journal-2"));
        second.remove().unwrap();
        assert!(first.path().exists());
    }

    #[test]
    fn a_segment_is_readable_after_each_flush() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        let header =
            SegmentHeader { part: 1, created_us: 3, app: "a".into(), file_name: "f".into() };
        let mut writer = SegmentWriter::create(&path, &header).unwrap();
        assert!(writer.append(FrameType::WebSocket, |out| put_number(out, 9)));
        let kinds = || {
            let mut reader = FrameReader::new(File::open(&path).unwrap());
            let mut kinds = Vec::new();
            while let Some((kind, _)) = reader.next_frame().unwrap() {
                kinds.push(kind);
            }
            kinds
        };
        assert_eq!(kinds(), [FrameType::Segment]);
        writer.flush().unwrap();
        assert_eq!(kinds(), [FrameType::Segment, FrameType::WebSocket]);
        writer.finish(8).unwrap();
        assert_eq!(kinds().last(), Some(&FrameType::SegmentEnd));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = JournalFolder::create(&folder.path().join("c.zip")).unwrap();
        let header =
            SegmentHeader { part: 1, created_us: 3, app: "a".into(), file_name: "f".into() };
        SegmentWriter::create(&journal.segment(1), &header).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(journal.path()), 0o700);
        assert_eq!(mode(&journal.segment(1)), 0o600);
    }
}
