//! Files and folders that only their owner may read: captures hold secrets.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
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
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    options().read(true).write(true).create_new(true).open(path)
}

/// Opens a file for appending, and makes it where there is none.
pub(super) fn append(path: &Path) -> io::Result<File> {
    options().append(true).create(true).open(path)
}

/// Makes a new folder with mode 0700.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
