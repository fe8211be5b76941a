//! Files and folders that only their owner may read: captures hold secrets.

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
    // A file left there by someone else would keep its mode, so it goes first.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    create_new(path)
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

/// Opens a file for appending, and makes it where there is none.
pub(super) fn append(path: &Path) -> io::Result<File> {
    options().append(true).create(true).open(path)
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
