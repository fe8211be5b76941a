//! Whole parts to their places, and what stands there out of the way.
//!
//! Later parts of a former capture would be taken for parts of the new one, so they go in the
//! same moment in which the new first part comes. They, and the former first part, are kept in
//! the journal's folder until the new capture is whole; parts of a capture that was killed in the
//! journal of that one, for as long as it was not recovered. Nothing else is ever written over,
//! except what stands at the output path itself, which the user named.

use std::io;
use std::path::{Path, PathBuf};

use crate::capture::bundle::{Partial, part_path};
use crate::capture::journal::{JournalFolder, with_suffix};
use crate::capture::read;
use crate::capture::remains::keeper;
use crate::limits::ASIDE_FILES;
use crate::notice::{Notice, Notices};

/// Where the parts of one capture go.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) output: PathBuf,
    pub(super) folder: JournalFolder,
    pub(super) notices: Notices,
}

impl Places {
    /// Moves a whole part to its place. After an error what stood there is still there, or aside.
    pub(super) fn put(&self, whole: Partial, part: u32) -> io::Result<()> {
        self.folder.check()?;
        let path = part_path(&self.output, part);
        #[cfg(test)]
        crate::fault::testing::fault_in("place", path.as_os_str().as_encoded_bytes());
        if part > 1 {
            self.move_aside(&path)?;
            return whole.move_to(&path);
        }
        let mut moved = Vec::new();
        let put = self
            .retire(&mut moved)
            .and_then(|()| keep(&path, &self.keeper_of_first(), &mut moved))
            .and_then(|()| whole.move_to(&path));
        if put.is_err() {
            for (from, to) in moved.iter().rev() {
                // What cannot go back stays in the journal's folder.
                let _ = std::fs::rename(to, from);
            }
        }
        put
    }

    /// Moves the later parts of the capture whose first part is about to be replaced.
    fn retire(&self, moved: &mut Vec<(PathBuf, PathBuf)>) -> io::Result<()> {
        let Some((series, 1)) = read::series(&self.output) else { return Ok(()) };
        for part in 2.. {
            let path = part_path(&self.output, part);
            if !is_there(&path) {
                break;
            }
            if read::series(&path).is_some_and(|found| found == (series.clone(), part)) {
                let to = self.keeper(&series, part);
                std::fs::rename(&path, &to)?;
                moved.push((path, to));
            }
        }
        Ok(())
    }

    /// Where a part of another capture is kept.
    fn keeper(&self, series: &str, part: u32) -> PathBuf {
        keeper(&self.output, self.folder.path(), series, part)
            .unwrap_or_else(|| self.folder.replaced(part))
    }

    fn keeper_of_first(&self) -> PathBuf {
        match read::series(&self.output) {
            Some((series, part)) => self.keeper(&series, part),
            None => self.folder.replaced(1),
        }
    }

    /// Gives a file that is not of this capture another name, and says so.
    fn move_aside(&self, path: &Path) -> io::Result<()> {
        if !is_there(path) {
            return Ok(());
        }
        let mut names = (1..=ASIDE_FILES).map(|number| match number {
            1 => with_suffix(path, ".old"),
            _ => with_suffix(path, &format!(".old-{number}")),
        });
        let Some(aside) = names.find(|name| !is_there(name)) else {
            return Err(io::Error::other("too many older files of this name stand beside it"));
        };
        std::fs::rename(path, &aside)?;
        self.notices.give(Notice::Warning(format!(
            "{} was there before this capture; it is now {}",
            path.display(),
            aside.display()
        )));
        Ok(())
    }
}

/// Keeps the file at `path`, if there is one, as `to`. With a link it never leaves its place
/// before another takes it.
fn keep(path: &Path, to: &Path, moved: &mut Vec<(PathBuf, PathBuf)>) -> io::Result<()> {
    if !is_there(path) || std::fs::hard_link(path, to).is_ok() {
        return Ok(());
    }
    std::fs::rename(path, to)?;
    moved.push((path.to_owned(), to.to_owned()));
    Ok(())
}

/// Whether the name is taken; links that lead nowhere take it as well.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
