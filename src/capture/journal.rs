//! The journal: a folder beside the output with one append-only segment for each bundle part.
//!
//! ```text
//! capture.zip.journal/
//!   segment-0001.flj     frames: Segment, then Exchange and WebSocket, then SegmentEnd
//!   flow-7-request.body  a body too large to stand in its Exchange frame
//!   flow-9.ws            frames: WebSocketOpen, Data and Message, WebSocketClose
//!   part-0001.zip        a part that is being packed
//!   replaced-0001.zip    a part of the older capture whose place this one takes
//!   placed-0001.zip      a part of this capture that stood in its place until a newer one took it
//!   lock                 locked while the capture lives, or is recovered
//! ```
//!
//! A segment and its files go when their part of the bundle is whole. What a killed capture
//! leaves behind is all that is needed to make the bundle.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::capture::entry::{SegmentHeader, put_losses, put_number};
use crate::capture::frame::{FrameType, append_frame};
use crate::capture::losses::Losses;
use crate::capture::private;
use crate::flow::record::{FlowId, Side};
use crate::limits::{JOURNAL_BUFFER_BYTES, JOURNALS};
use crate::random;

/// The file in the folder that is locked while its capture lives.
const LOCK: &str = "lock";

/// The folder, and the names in it.
#[derive(Clone, Debug)]
pub struct JournalFolder {
    path: PathBuf,
    /// Whoever holds the last copy keeps the lock; the system lets it go with a killed process.
    lock: Arc<Mutex<Arc<File>>>,
}

impl JournalFolder {
    /// Makes the folder `<output>.journal`, or `<output>.journal-2` and so on where a capture
    /// that did not finish has left its own; those are given as well. Refused while another
    /// process, or another capture of this one, writes the same output: of two that start in the
    /// same moment at most one goes on.
    pub fn create(output: &Path) -> io::Result<(JournalFolder, Vec<PathBuf>)> {
        let folder = Self::lock_first(output)?;
        // One that lives may have any number: those before it may have been removed since.
        let mut unfinished = Vec::new();
        for path in journal_paths(output).filter(|path| *path != folder.path) {
            if is_live(&path) {
                // Nothing is in it yet.
                let _ = folder.remove();
                return Err(in_use(output));
            }
            if is_unfinished(&path) {
                unfinished.push(path);
            }
        }
        Ok((folder, unfinished))
    }

    fn lock_first(output: &Path) -> io::Result<JournalFolder> {
        for path in journal_paths(output) {
            match private::create_folder(&path) {
                Ok(()) => return Self::lock(path, output),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) if is_live(&path) => return Err(in_use(output)),
                Err(_) => {}
            }
        }
        Err(io::Error::other("too many journals of unfinished captures stand beside it"))
    }

    fn lock(path: PathBuf, output: &Path) -> io::Result<JournalFolder> {
        let locked = private::create(&path.join(LOCK)).and_then(|lock| match lock.try_lock() {
            // Another start looks whether this one lives, and will find that it does not.
            Err(TryLockError::WouldBlock) => Err(in_use(output)),
            // Some network file systems have no locks; a capture is worth more than this check.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(lock),
        });
        match locked {
            Ok(lock) => Ok(JournalFolder::with(path, lock)),
            Err(error) => {
                // Nothing is in it yet.
                let _ = std::fs::remove_dir_all(&path);
                Err(error)
            }
        }
    }

    fn with(path: PathBuf, lock: File) -> JournalFolder {
        JournalFolder { path, lock: Arc::new(Mutex::new(Arc::new(lock))) }
    }

    /// Makes the folder again where it was removed, and locks it. Refused where there is one that
    /// is not this capture's.
    pub(super) fn restore(&self) -> io::Result<()> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path.join(LOCK);
        if private::is_at(&lock, &path)? {
            return Ok(());
        }
        if let Some(parent) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            private::create_folders(parent)?;
        }
        match private::create_folder(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let again = private::create_new(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => taken(),
            _ => error,
        })?;
        // Whoever found the new lock first has looked, and found nobody.
        if let Err(TryLockError::WouldBlock) = again.try_lock() {
            return Err(taken());
        }
        *lock = Arc::new(again);
        Ok(())
    }

    /// Whether there is room for as much as waits in memory at most. Bytes that nothing can make
    /// smaller are written and removed again.
    pub(super) fn probe(&self) -> io::Result<()> {
        let path = self.path.join("probe.tmp");
        let mut bytes = vec![0; JOURNAL_BUFFER_BYTES];
        random::fill(&mut bytes)?;
        let written = private::create(&path).and_then(|mut file| file.write_all(&bytes));
        let removed = std::fs::remove_file(&path);
        written.and(removed)
    }

    /// Takes over what a killed capture has left behind.
    ///
    /// # Errors
    /// When the folder is not there, or when the capture lives or is being recovered.
    pub fn take_over(path: &Path) -> io::Result<JournalFolder> {
        if !path.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let name = path.join(LOCK);
        let lock = private::append_left(&name)?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(io::Error::other("its capture is still running, or is being recovered"));
        }
        // Between opening and locking another may have removed it, and a third made it anew.
        if !private::is_at(&lock, &name)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(JournalFolder::with(path.to_owned(), lock))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that is locked.
    pub(super) fn lock_file(&self) -> PathBuf {
        self.path.join(LOCK)
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

    /// A part that is being packed, before it takes its place.
    pub fn packed(&self, part: u32) -> PathBuf {
        self.path.join(format!("part-{part:04}.zip"))
    }

    /// A part of the older capture whose place this one takes.
    pub fn replaced(&self, part: u32) -> PathBuf {
        self.path.join(format!("replaced-{part:04}.zip"))
    }

    /// A part of this capture whose place a newer capture took before this one was recovered.
    pub fn placed(&self, part: u32) -> PathBuf {
        self.path.join(placed_name(part))
    }

    /// A temporary file of the packer.
    pub fn temporary(&self) -> PathBuf {
        self.path.join("packer.tmp")
    }

    /// Refused where the folder is that of another capture, as after it was removed.
    pub(super) fn check(&self) -> io::Result<()> {
        // The recorder does not wait for a look that a packer of low priority takes.
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let path = self.path.join(LOCK);
        match path.exists() && !private::is_at(&lock, &path).unwrap_or(true) {
            true => Err(taken()),
            false => Ok(()),
        }
    }

    /// Removes a file that nobody needs, unless it is one of another capture.
    pub(super) fn discard(&self, path: &Path) {
        if self.check().is_ok() {
            // What cannot be removed goes with the folder.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Removes it with all that is in it, unless it is that of another capture.
    pub fn remove(&self) -> io::Result<()> {
        self.check()?;
        std::fs::remove_dir_all(&self.path)
    }
}

/// The name of a part whose place a newer capture took.
pub(super) fn placed_name(part: u32) -> String {
    format!("placed-{part:04}.zip")
}

/// The journals beside `output`, of whatever state.
pub fn journals(output: &Path) -> impl Iterator<Item = PathBuf> {
    journal_paths(output).filter(|path| path.is_dir())
}

/// Whether the journal's capture lives, or is being recovered.
pub fn is_live(path: &Path) -> bool {
    let Ok(lock) = private::open(&path.join(LOCK)) else { return false };
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// The output of the capture whose journal is in the folder `path`, by its name.
pub fn output_of(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let (output, number) = name.rsplit_once(".journal")?;
    let is_known = number.is_empty()
        || number
            .strip_prefix('-')
            .is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()));
    (is_known && !output.is_empty()).then(|| path.with_file_name(output))
}

/// The folders that captures to `output` use, in the order in which they are tried.
fn journal_paths(output: &Path) -> impl Iterator<Item = PathBuf> {
    (1..=JOURNALS).map(|number| match number {
        1 => with_suffix(output, ".journal"),
        _ => with_suffix(output, &format!(".journal-{number}")),
    })
}

/// Whether the folder has more in it than its lock.
fn is_unfinished(path: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(path) else { return false };
    entries.flatten().any(|entry| entry.file_name() != LOCK)
}

fn in_use(output: &Path) -> io::Error {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    io::Error::other(format!("another flowtap is writing {name}"))
}

fn taken() -> io::Error {
    io::Error::other("another capture has taken its place")
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

    /// Appends a frame that is made already, or the next part of it.
    pub fn append_made(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether so much waits in memory that it should be flushed.
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= JOURNAL_BUFFER_BYTES
    }

    /// Writes what waits in memory to the file. After an error the file ends behind the last
    /// frame that was flushed before, and what waited still waits.
    pub fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.buffer);
        if written.is_err() {
            // Readers stop at a torn frame anyhow; the shorter file is the tidier one.
            self.file.set_len(self.written).unwrap_or_default();
            self.file.seek(SeekFrom::Start(self.written))?;
            return written;
        }
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Appends what waits in the memory of another writer, and takes it from that.
    pub(super) fn carry_over(&mut self, from: &mut SegmentWriter) {
        self.buffer.append(&mut from.buffer);
    }

    /// Forgets what waits in memory.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
    }

    /// Whether the file is still the one at `path`.
    pub(super) fn is_at(&self, path: &Path) -> io::Result<bool> {
        private::is_at(&self.file, path)
    }

    /// Writes what was lost and the last frame, with the time in microseconds since the Unix epoch.
    pub fn finish(mut self, losses: Losses, ended_us: u64) -> io::Result<()> {
        if !losses.is_none() {
            self.append(FrameType::Losses, |out| put_losses(out, losses));
        }
        self.append(FrameType::SegmentEnd, |out| put_number(out, ended_us));
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::frame::FrameReader;
    use crate::fault::testing::DEADLINE;
    use std::time::{Duration, Instant};

    fn header() -> SegmentHeader {
        SegmentHeader {
            series: "s".into(),
            part: 1,
            created_us: 3,
            app: "a".into(),
            file_name: "f".into(),
        }
    }

    /// Makes a journal where no capture lives any more. A program that another test starts at the
    /// same time has this process's descriptors, locks among them, until it is in its place.
    fn create_unlocked(output: &Path) -> (JournalFolder, Vec<PathBuf>) {
        let end = Instant::now() + DEADLINE;
        loop {
            match JournalFolder::create(output) {
                Ok(created) => return created,
                Err(error) => {
                    assert!(error.to_string() == IN_USE && Instant::now() < end, "{error}")
                }
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    const IN_USE: &str = "another flowtap is writing capture.zip";

    #[test]
    fn the_journal_of_a_capture_that_died_stays() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("capture.zip");
        let (first, unfinished) = JournalFolder::create(&output).unwrap();
        assert!(unfinished.is_empty());
        let path = first.path().to_owned();
        std::fs::write(first.segment(1), "flows").unwrap();
        drop(first);
        let (second, unfinished) = create_unlocked(&output);
        assert_eq!(unfinished, std::slice::from_ref(&path));
        assert!(second.path().ends_with("capture.zip.journal-2"));
        second.remove().unwrap();
        assert_eq!(std::fs::read(path.join("segment-0001.flj")).unwrap(), b"flows");
    }

    #[test]
    fn one_output_has_one_living_capture() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("capture.zip");
        std::fs::create_dir(folder.path().join("capture.zip.journal")).unwrap();
        let (living, _) = JournalFolder::create(&output).unwrap();
        assert!(living.path().ends_with("capture.zip.journal-2"));
        let clone = living.clone();
        drop(living);
        for first in ["there", "gone"] {
            let error = JournalFolder::create(&output).unwrap_err().to_string();
            assert_eq!(error, IN_USE, "the first is {first}");
            assert!(!folder.path().join("capture.zip.journal-3").exists());
            // One that lives is seen behind a number that is free.
            let _ = std::fs::remove_dir(folder.path().join("capture.zip.journal"));
        }
        assert!(!folder.path().join("capture.zip.journal").exists());
        drop(clone);
        create_unlocked(&output);
    }

    #[test]
    fn of_many_starts_at_once_at_most_one_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("capture.zip");
        for _ in 0..50 {
            let starts = || JournalFolder::create(&output).ok();
            let alive = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(starts)).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            });
            assert!(alive.len() <= 1, "{alive:?}");
            alive.iter().for_each(|(folder, _)| folder.remove().unwrap());
        }
    }

    #[test]
    fn a_segment_is_readable_after_each_flush() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        let header = header();
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
        writer.finish(Losses::default(), 8).unwrap();
        assert_eq!(kinds().last(), Some(&FrameType::SegmentEnd));
    }

    #[test]
    fn what_waited_at_a_failure_goes_into_the_next_segment() {
        let folder = tempfile::tempdir().unwrap();
        let [one, next] = ["one", "next"].map(|name| folder.path().join(name));
        let mut torn = SegmentWriter::create(&one, &header()).unwrap();
        torn.append(FrameType::WebSocket, |out| put_number(out, 1));
        // A file that is open for reading only takes nothing.
        torn.file = File::open(&one).unwrap();
        torn.flush().unwrap_err();
        let mut fresh = SegmentWriter::create(&next, &header()).unwrap();
        fresh.carry_over(&mut torn);
        fresh.finish(Losses::default(), 2).unwrap();
        let count = |path| {
            let mut reader = FrameReader::new(File::open(path).unwrap());
            std::iter::from_fn(|| reader.next_frame().unwrap().map(|_| ())).count()
        };
        assert_eq!((count(&one), count(&next)), (1, 3));
    }

    #[test]
    fn a_folder_that_was_removed_is_made_again_and_locked() {
        let parent = tempfile::tempdir().unwrap();
        let output = parent.path().join("deep/capture.zip");
        std::fs::create_dir(parent.path().join("deep")).unwrap();
        let (folder, _) = JournalFolder::create(&output).unwrap();
        for gone in ["deep", "deep/capture.zip.journal", "deep/capture.zip.journal/lock"] {
            let gone = parent.path().join(gone);
            if gone.is_dir() {
                std::fs::remove_dir_all(gone).unwrap();
            } else {
                std::fs::remove_file(gone).unwrap();
            }
            // A clone keeps the lock as well.
            folder.clone().restore().unwrap();
            folder.restore().unwrap();
            folder.probe().unwrap();
            let error = JournalFolder::create(&output).unwrap_err().to_string();
            assert_eq!(error, IN_USE);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_folder_of_another_capture_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let output = parent.path().join("capture.zip");
        let (mine, _) = JournalFolder::create(&output).unwrap();
        std::fs::remove_dir_all(mine.path()).unwrap();
        let (other, _) = JournalFolder::create(&output).unwrap();
        let path = other.segment(1);
        std::fs::write(&path, "flows").unwrap();
        let refused = || mine.restore().unwrap_err().to_string();
        assert_eq!(refused(), "another capture has taken its place");
        let removed = || {
            mine.discard(&path);
            mine.remove().unwrap_err().to_string()
        };
        assert_eq!(removed(), "another capture has taken its place");
        // Nor is that of one that has ended badly.
        drop(other);
        assert_eq!(refused(), "another capture has taken its place");
        assert_eq!(removed(), "another capture has taken its place");
        assert_eq!(std::fs::read(path).unwrap(), b"flows");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = JournalFolder::create(&folder.path().join("c.zip")).unwrap();
        let header = header();
        SegmentWriter::create(&journal.segment(1), &header).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(journal.path()), 0o700);
        assert_eq!(mode(&journal.segment(1)), 0o600);
    }
}
