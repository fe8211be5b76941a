//! Names for the parts of a capture that nobody else has, and files to these names.
//!
//! Unlike a running capture, which takes the place that its user named, what makes a bundle later
//! takes nobody's place: another capture may have been made there since.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::capture::bundle::part_path;
use crate::capture::export::create_aside;
use crate::capture::journal::with_suffix;
use crate::capture::private;
use crate::capture::read::{self, ManifestStats};
use crate::limits::{ASIDE_FILES, INFLATE_BUFFER_BYTES};

/// Gives the file `from` the name `to` as well, or a copy of it. Fails with `AlreadyExists` where
/// the name is taken, and never writes over anything.
pub(super) fn put_new(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::hard_link(from, to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {}
        result => return result,
    }
    if to.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // There are no links here, or `to` is on another device.
    let (aside, mut file) = create_aside(to)?;
    io::copy(&mut private::open_named(from)?, &mut file)?;
    file.sync_all()?;
    match std::fs::hard_link(aside.path(), to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            std::fs::rename(aside.path(), to)
        }
        result => result,
    }
}

/// Sees to it that names in the folder of `path` outlast a loss of power, where a system can.
pub(super) fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Where folders cannot be opened there is nothing to do.
    if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
}

/// `output`, then `<stem>-<word>.<extension>`, `<stem>-<word>-2.<extension>` and so on.
fn names(output: &Path, word: &str) -> impl Iterator<Item = PathBuf> {
    (0..ASIDE_FILES).map(move |number| {
        let stem = output.with_extension("");
        let name = match number {
            0 => return output.to_owned(),
            1 => with_suffix(&stem, &format!("-{word}")),
            _ => with_suffix(&stem, &format!("-{word}-{number}")),
        };
        match output.extension() {
            Some(extension) => {
                let dotted = with_suffix(&name, ".");
                let mut whole = dotted.into_os_string();
                whole.push(extension);
                whole.into()
            }
            None => name,
        }
    })
}

/// The first of these names under which all `parts` have a place, as `fits` tells of the path and
/// the number of each that is taken already.
fn free_name(
    mut names: impl Iterator<Item = PathBuf>,
    parts: &[u32],
    fits: impl Fn(&Path, u32) -> bool,
) -> io::Result<PathBuf> {
    let has_places = |name: &PathBuf| {
        parts.iter().all(|part| {
            let path = part_path(name, *part);
            path.symlink_metadata().is_err() || fits(&path, *part)
        })
    };
    names
        .find(has_places)
        .ok_or_else(|| io::Error::other("too many bundles of this name stand beside it"))
}

/// Where the parts of one capture stand, and are to stand.
#[derive(Debug)]
pub(super) struct Shelf {
    series: String,
    /// Where the capture itself put its parts.
    pub(super) origin: PathBuf,
    output: PathBuf,
    /// Whether another capture is about to take the place of `output`.
    is_reserved: bool,
    /// The name of the first part.
    pub(super) base: PathBuf,
}

impl Shelf {
    /// A shelf for the parts of the capture `series`. Where `is_reserved`, `output` is left to the
    /// capture that writes it.
    pub(super) fn new(series: String, origin: &Path, output: &Path, is_reserved: bool) -> Self {
        let (origin, output) = (origin.to_owned(), output.to_owned());
        Shelf { series, origin, base: output.clone(), output, is_reserved }
    }

    fn is_ours(&self, path: &Path, part: u32) -> Option<ManifestStats> {
        let manifest = read::part(path)?;
        let is_ours = manifest.series_id == self.series && manifest.part_number == part;
        is_ours.then_some(manifest.stats)
    }

    /// Chooses the name under which all these parts have a place.
    pub(super) fn choose(&mut self, parts: &[u32]) -> io::Result<()> {
        let names = names(&self.output, "recovered").skip(usize::from(self.is_reserved));
        let fits = |path: &Path, part| self.is_ours(path, part).is_some();
        self.base = free_name(names, parts, fits)?;
        Ok(())
    }

    /// Why the name is another one than was wanted.
    pub(super) fn why_elsewhere(&self) -> Option<String> {
        let why = match self.is_reserved {
            true => "another capture is writing",
            false => "another file has the place of",
        };
        let (base, output) = (self.base.display(), self.output.display());
        (self.base != self.output).then(|| format!("{why} {output}; the bundle is {base}"))
    }

    /// Where a part stands, and how many flows it has.
    pub(super) fn find(&self, part: u32) -> Option<(PathBuf, ManifestStats)> {
        let mut chosen = false;
        let known = names(&self.output, "recovered").take_while(|name| {
            let before = !chosen;
            chosen |= *name == self.base;
            before
        });
        // The name that was chosen comes first, and then where the capture itself put it.
        let first = [self.base.clone(), self.origin.clone()];
        first.into_iter().chain(known).find_map(|name| {
            let path = part_path(&name, part);
            self.is_ours(&path, part).map(|stats| (path, stats))
        })
    }

    /// Puts a part that stands elsewhere to its place as well. False when the place is taken.
    pub(super) fn gather(&self, from: &Path, part: u32) -> io::Result<bool> {
        let to = part_path(&self.base, part);
        if from == to {
            return Ok(true);
        }
        match put_new(from, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(self.is_ours(&to, part).is_some())
            }
            result => result.map(|()| true),
        }
    }
}

/// Puts files that a capture had taken from their places back, or to places beside these.
/// `files` are their parts' numbers and paths; gives the name of the first part.
pub(super) fn put_back(
    files: &[(u32, PathBuf)],
    output: &Path,
    is_reserved: bool,
) -> io::Result<PathBuf> {
    let parts: Vec<u32> = files.iter().map(|(part, _)| *part).collect();
    let file = |part| files.iter().find(|(own, _)| *own == part).map(|(_, path)| path.as_path());
    let fits = |path: &Path, part| file(part).is_some_and(|file| is_same(file, path));
    let base = loop {
        let names = names(output, "older").skip(usize::from(is_reserved));
        let base = free_name(names, &parts, fits)?;
        let put = files.iter().try_for_each(|(part, file)| {
            let to = part_path(&base, *part);
            match put_new(file, &to) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if is_same(file, &to) { Ok(()) } else { Err(error) }
                }
                result => result,
            }
        });
        match put {
            // Somebody took the place meanwhile.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => break result.map(|()| base)?,
        }
    };
    sync_folder(&base);
    for (_, file) in files {
        std::fs::remove_file(file)?;
    }
    Ok(base)
}

/// Whether two files have the same bytes.
fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(mut one), Ok(mut other)) = (private::open_named(one), private::open_named(other))
    else {
        return false;
    };
    let length = |file: &File| file.metadata().map(|facts| facts.len()).ok();
    if length(&one) != length(&other) {
        return false;
    }
    let mut buffers = [vec![0; INFLATE_BUFFER_BYTES], vec![0; INFLATE_BUFFER_BYTES]];
    let [left, right] = &mut buffers;
    loop {
        let Ok(got) = one.read(left) else { return false };
        let (Some(left), Some(right)) = (left.get(..got), right.get_mut(..got)) else {
            return false;
        };
        if got == 0 {
            return true;
        }
        if other.read_exact(right).is_err() || left != right {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_ever_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        std::fs::write(&from, "new").unwrap();
        put_new(&from, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"new");
        std::fs::remove_file(&to).unwrap();
        std::fs::write(&to, "other").unwrap();
        let error = put_new(&from, &to).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&to).unwrap(), b"other");
    }

    #[test]
    fn names_keep_the_extension() {
        let listed = |output: &str| -> Vec<String> {
            let names = names(Path::new(output), "recovered").take(3);
            names.map(|name| name.display().to_string()).collect()
        };
        let expected = ["a/b.c.zip", "a/b.c-recovered.zip", "a/b.c-recovered-2.zip"];
        assert_eq!(listed("a/b.c.zip"), expected);
        assert_eq!(listed("plain"), ["plain", "plain-recovered", "plain-recovered-2"]);
    }

    #[test]
    fn what_was_taken_goes_back_or_beside() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("c.zip");
        let kept = |part: u32| folder.path().join(format!("kept-{part}"));
        let give = || {
            for part in 1..=2 {
                std::fs::write(kept(part), format!("part {part}")).unwrap();
            }
            vec![(1, kept(1)), (2, kept(2))]
        };
        assert_eq!(put_back(&give(), &output, false).unwrap(), output);
        // What is there already is as good.
        assert_eq!(put_back(&give(), &output, false).unwrap(), output);
        std::fs::write(folder.path().join("c-0002.zip"), "other!").unwrap();
        let older = folder.path().join("c-older.zip");
        assert_eq!(put_back(&give(), &output, false).unwrap(), older);
        assert_eq!(std::fs::read(folder.path().join("c-older-0002.zip")).unwrap(), b"part 2");
        assert_eq!(std::fs::read(folder.path().join("c-0002.zip")).unwrap(), b"other!");
        assert!(!kept(1).exists() && !kept(2).exists());
    }
}
