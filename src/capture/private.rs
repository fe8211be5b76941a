//! Files and folders that only their owner may read: captures hold secrets. What others may have
//! left is opened if it is a regular file, whatever stands under its name: a named pipe would be
//! waited for.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

/// Options that make new files with mode 0600.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a new file, in the place of one that is there.
pub(super) fn create(path: &Path) -> io::Result<File> {
    match create_new(path) {
        // A file left there by someone else would keep its mode.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            create_new(path)
        }
        created => created,
    }
}

/// Makes a new file where there is none.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    options().read(true).write(true).create_new(true).open(path)
}

/// Whether an open file is the one at `path`: one that was removed takes what is written to it
/// without a word.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(is_same(&file.metadata()?, &found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Elsewhere a file that is open keeps its place.
#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// The standard output or error stream, where it goes to the regular file at this path. Another
/// file in its place would take all with it that has been written to the stream, and all that will
/// be.
#[cfg(unix)]
pub(crate) fn standard_stream(path: &Path) -> Option<File> {
    use std::os::fd::AsFd;
    let there = path.metadata().ok().filter(Metadata::is_file)?;
    let streams =
        [io::stdout().as_fd().try_clone_to_owned(), io::stderr().as_fd().try_clone_to_owned()];
    let mut files = streams.into_iter().flatten().map(File::from);
    files.find(|file| file.metadata().is_ok_and(|found| is_same(&found, &there)))
}

/// Elsewhere streams have no names among files.
#[cfg(not(unix))]
pub(crate) fn standard_stream(_: &Path) -> Option<File> {
    None
}

/// Opens a file of a running capture for appending, and makes it where there is none. Nobody else
/// writes to its folder.
pub(super) fn append(path: &Path) -> io::Result<File> {
    options().append(true).create(true).open(path)
}

/// Opens a file of a journal that was left behind for appending, and makes it where there is none.
pub(super) fn append_left(path: &Path) -> io::Result<File> {
    regular(options().append(true).create(true), path, Links::Refused)
}

/// Opens a file of a journal for reading. Links are refused: whoever recovers the journal of
/// another user would put what they lead to into the bundle.
pub(super) fn open(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true), path, Links::Refused)
}

/// Opens a file for reading that a user has named, or that stands beside one.
pub(super) fn open_named(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true), path, Links::Followed)
}

/// What is done with a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Links {
    Followed,
    Refused,
}

fn regular(options: &mut OpenOptions, path: &Path, links: Links) -> io::Result<File> {
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let refusal = if links == Links::Refused { OFlags::NOFOLLOW } else { OFlags::empty() };
        // A regular file is never waited for, so this changes nothing about one.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY | refusal).bits().cast_signed();
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags);
    }
    let is_link = || path.symlink_metadata().is_ok_and(|found| found.is_symlink());
    let file = options.open(path).map_err(|error| match links {
        Links::Refused if is_link() => not_regular(),
        _ => error,
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

fn not_regular() -> io::Error {
    io::Error::other("it is not a regular file")
}

/// Makes a new folder with mode 0700.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    folders().create(path)
}

/// Makes a folder, and those above it, where there are none.
pub(super) fn create_folders(path: &Path) -> io::Result<()> {
    folders().recursive(true).create(path)
}

fn folders() -> DirBuilder {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_opened_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "x").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("nothing"), path("dangling")).unwrap();
        assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        let refused = "it is not a regular file";
        let why = |opened: io::Result<File>| opened.err().map(|error| error.to_string());
        for open_it in [open, append_left] {
            assert_eq!(why(open_it(&path("file"))), None);
            for name in ["link", "dangling"] {
                assert_eq!(why(open_it(&path(name))).as_deref(), Some(refused), "{name}");
            }
            assert!(why(open_it(&path("pipe"))).is_some());
            assert!(why(open_it(folder.path())).is_some());
        }
        assert!(!path("nothing").exists());
        assert_eq!(why(open_named(&path("link"))), None);
        assert_eq!(why(open_named(&path("pipe"))).as_deref(), Some(refused));
        let missing = open(&path("nothing")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
