//! The text of a configuration file, where it is to be trusted.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::Owner;
use crate::error::{Error, Result};
use crate::limits::CONFIG_FILE_BYTES;

/// The bit that lets everybody change a file.
const OTHERS_WRITE: u32 = 0o002;

/// The text of a file; `None` where there is none, which is well unless it was named.
pub(super) fn read(path: &Path, owner: Owner) -> Result<Option<String>> {
    let shown = path.display();
    let failed = |error: std::io::Error| Error::new(format!("cannot read {shown}: {error}"));
    let facts = match std::fs::metadata(path) {
        Err(error) if owner != Owner::Named && is_absence(&error) => return Ok(None),
        facts => facts.map_err(failed)?,
    };
    // Opening a pipe that nobody writes to would wait for ever.
    if owner != Owner::Named && !facts.is_file() {
        return Err(Error::usage(format!("{shown} is no file")));
    }
    let file = File::open(path).map_err(failed)?;
    if owner != Owner::Named {
        let user = rustix::process::geteuid().as_raw();
        // Of the open file, so that it is the one that is read.
        let opened = file.metadata().map_err(failed)?;
        let link = std::fs::symlink_metadata(path).map_err(failed)?;
        let owners = [opened.uid(), link.uid()];
        judge(owners, opened.permissions().mode(), user).map_err(|reason| {
            Error::usage(format!(
                "{shown} is not read: {reason}; --no-config goes on without it, and \
                 --config {shown} takes it all the same"
            ))
        })?;
    }
    let mut bytes = Vec::new();
    file.take(CONFIG_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > CONFIG_FILE_BYTES {
        return Err(Error::usage(format!("{shown} is larger than {CONFIG_FILE_BYTES} bytes")));
    }
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| Error::usage(format!("{shown} is not UTF-8")))
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Whether a file of these owners (its own, and that of a link to it) is to be trusted.
fn judge(owners: [u32; 2], mode: u32, user: u32) -> std::result::Result<(), String> {
    let other = owners.into_iter().find(|owner| *owner != user && *owner != 0);
    if let Some(other) = other {
        return Err(format!("it belongs to another user (uid {other})"));
    }
    if mode & OTHERS_WRITE != 0 {
        return Err(format!("every user can change it (mode {:04o})", mode & 0o7777));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_user_or_of_all_is_not_trusted() {
        assert_eq!(judge([1000, 1000], 0o644, 1000), Ok(()));
        assert_eq!(judge([0, 0], 0o664, 1000), Ok(()));
        assert!(judge([1001, 1000], 0o644, 1000).unwrap_err().contains("uid 1001"));
        assert!(judge([1000, 1001], 0o644, 1000).unwrap_err().contains("uid 1001"));
        assert!(judge([1000, 1000], 0o644, 0).unwrap_err().contains("uid 1000"));
        assert!(judge([1000, 1000], 0o646, 1000).unwrap_err().contains("0646"));
    }

    #[test]
    fn a_file_of_any_size_or_kind_ends_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flowtap.toml");
        let error = |owner| read(&path, owner).unwrap_err().to_string();
        assert_eq!(read(&path, Owner::Folder).unwrap(), None);
        assert!(error(Owner::Named).contains("cannot read"));
        std::fs::write(&path, vec![b'#'; CONFIG_FILE_BYTES as usize]).unwrap();
        assert!(read(&path, Owner::Folder).unwrap().is_some());
        std::fs::write(&path, vec![b'#'; CONFIG_FILE_BYTES as usize + 1]).unwrap();
        assert!(error(Owner::Folder).contains("larger than"));
        std::fs::write(&path, b"app = \"\xff\"").unwrap();
        assert!(error(Owner::User).contains("UTF-8"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(error(Owner::Folder).contains("no file"));
    }
}
