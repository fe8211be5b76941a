//! Whether a file that holds a key is its owner's alone: who else can read it can impersonate any
//! host, and who can replace it can have another key trusted.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bits of a mode that let the file's group and all others do anything.
const GROUP_AND_OTHERS: u32 = 0o077;
/// Bits of a folder's mode that let its group and all others make, rename and remove entries.
const GROUP_AND_OTHERS_WRITE: u32 = 0o022;
/// The bit that lets all others do so.
const OTHERS_WRITE: u32 = 0o002;
/// In a folder with this bit, entries are renamed and removed by their owners alone.
const STICKY: u32 = 0o1000;

/// Checks that a file, which was opened by this path, is its owner's alone to read and replace.
///
/// The owner is whoever runs flowtap, or root. Root itself may use the files of anybody, as in
/// containers that have a folder of their host; other users gain nothing by that.
///
/// # Errors
/// When others can read or replace it: then with the command that mends that.
pub(crate) fn check(path: &Path, file: &File) -> Result<(), Refused> {
    // Of the open file, so that it is the one that was read.
    let facts = file.metadata().map_err(Refused::Unreadable)?;
    let user = rustix::process::geteuid().as_raw();
    let checked = check_file(path, &facts, user);
    if !matches!(checked, Ok(()) | Err(Refused::Readable(_))) {
        return checked;
    }
    // Nobody can replace a pipe that is open.
    if facts.is_file() {
        check_places(path, user)?;
    }
    checked
}

/// Checks the folder that a key is to be made in, as [`check`] will.
///
/// # Errors
/// When others can replace what lies in it.
pub(crate) fn check_folder(folder: &Path) -> Result<(), Refused> {
    let folder = real(folder).map_err(Refused::Unreadable)?;
    check_way(&folder, rustix::process::geteuid().as_raw())
}

/// The absolute path of a folder, without links.
fn real(folder: &Path) -> io::Result<PathBuf> {
    let is_here = folder.as_os_str().is_empty();
    if is_here { Path::new(".") } else { folder }.canonicalize()
}

/// Why a file is not used.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It or its folder cannot be read.
    Unreadable(io::Error),
    /// Others can read it, and no more: who, and what to do.
    Readable(String),
    /// Others can replace or change it: who, and what to do.
    Exposed(String),
}

fn check_file(path: &Path, facts: &Metadata, user: u32) -> Result<(), Refused> {
    let shown = quoted(path);
    if !is_trusted(facts.uid(), user) {
        return Err(Refused::Exposed(format!(
            "it belongs to another user (uid {}), who can read and change it; use a file of your \
             own: sudo chown $(id -u) {shown}",
            facts.uid()
        )));
    }
    let mode = facts.permissions().mode();
    // The mode of a pipe says nothing of who can read from it.
    if facts.is_file() && mode & GROUP_AND_OTHERS != 0 {
        let refused =
            if mode & GROUP_AND_OTHERS_WRITE == 0 { Refused::Readable } else { Refused::Exposed };
        return Err(refused(format!(
            "users other than its owner can read or change it (mode {:04o}); end that with: \
             chmod 600 {shown}",
            mode & 0o7777
        )));
    }
    Ok(())
}

/// Checks the folders in which the file and, where `path` is a link, that link can be replaced.
fn check_places(path: &Path, user: u32) -> Result<(), Refused> {
    let target = path.canonicalize().map_err(Refused::Unreadable)?;
    for folder in [path.parent(), target.parent()].into_iter().flatten() {
        check_way(&real(folder).map_err(Refused::Unreadable)?, user)?;
    }
    Ok(())
}

/// Checks a folder and what lies above it.
fn check_way(folder: &Path, user: u32) -> Result<(), Refused> {
    let facts = |above: &'_ Path| above.metadata().map(|it| (it.uid(), it.permissions().mode()));
    let way: io::Result<Vec<_>> =
        folder.ancestors().map(|above| Ok((above, facts(above)?))).collect();
    judge_way(&way.map_err(Refused::Unreadable)?, user).map_err(Refused::Exposed)
}

/// Judges folders, each inside of the next, by owner and mode. The first must not be its group's to
/// write to either; further up a group of the user's own is usual. There the owner of the last is
/// trusted as well, who can replace everything anyway: in a user namespace that has the user alone,
/// as sandboxes make them, that is neither the user nor root (user_namespaces(7)).
fn judge_way(way: &[(&Path, (u32, u32))], user: u32) -> Result<(), String> {
    let top = way.last().map(|(_, (owner, _))| *owner);
    for (place, (folder, (owner, mode))) in way.iter().enumerate() {
        let shown = quoted(folder);
        let is_tops = place > 0 && Some(*owner) == top;
        if !is_tops && !is_trusted(*owner, user) {
            return Err(format!(
                "the folder {shown} belongs to another user (uid {owner}), who can replace what is \
                 in it; use a folder of your own"
            ));
        }
        let denied = if place == 0 { GROUP_AND_OTHERS_WRITE } else { OTHERS_WRITE };
        if mode & STICKY == 0 && mode & denied != 0 {
            return Err(format!(
                "users other than the owner of the folder {shown} can replace what is in it (mode \
                 {:04o}); end that with: chmod go-w {shown}",
                mode & 0o7777
            ));
        }
    }
    Ok(())
}

fn is_trusted(owner: u32, user: u32) -> bool {
    owner == user || owner == 0 || user == 0
}

/// A path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-:,=".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{chown, symlink};

    use tempfile::TempDir;

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A folder with a key that is private.
    fn private() -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let key = folder.path().join("key.pem");
        fs::write(&key, "key").unwrap();
        set(&key, 0o600);
        (folder, key)
    }

    fn open(path: &Path) -> Result<(), Refused> {
        check(path, &File::open(path).unwrap())
    }

    fn refusal(path: &Path) -> String {
        exposed(open(path))
    }

    fn exposed(result: Result<(), Refused>) -> String {
        match result {
            Err(Refused::Readable(why) | Refused::Exposed(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_that_others_can_read_or_change_is_refused_with_the_command_that_mends_it() {
        let (_folder, key) = private();
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666, 0o777] {
            set(&key, mode);
            let why = refusal(&key);
            let command = format!("chmod 600 {}", key.display());
            assert!(why.ends_with(&command) && why.contains(&format!("{mode:04o}")), "{why}");
        }
        for (mode, readable) in [(0o644, true), (0o440, true), (0o646, false), (0o664, false)] {
            set(&key, mode);
            assert_eq!(matches!(open(&key), Err(Refused::Readable(_))), readable, "{mode:04o}");
        }
        for mode in [0o600, 0o400, 0o700] {
            set(&key, mode);
            open(&key).unwrap();
        }
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let (folder, key) = private();
        for mode in [0o770, 0o707, 0o720, 0o777, 0o733] {
            set(folder.path(), mode);
            let why = refusal(&key);
            assert!(why.ends_with(&format!("chmod go-w {}", folder.path().display())), "{why}");
            assert!(check_folder(folder.path()).is_err());
        }
        // Others may look into it, and where it is sticky may not replace what is not theirs.
        for mode in [0o755, 0o700, 0o1777, 0o3775] {
            set(folder.path(), mode);
            open(&key).unwrap();
            check_folder(folder.path()).unwrap();
        }
        set(folder.path(), 0o700);
    }

    #[test]
    fn a_folder_further_up_that_all_can_write_to_is_refused() {
        let (folder, key) = private();
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        set(&inner, 0o700);
        let moved = inner.join("key.pem");
        fs::rename(key, &moved).unwrap();
        set(folder.path(), 0o777);
        assert!(refusal(&moved).contains(folder.path().to_str().unwrap()));
        set(folder.path(), 0o770);
        open(&moved).unwrap();
    }

    #[test]
    fn a_link_is_as_safe_as_both_of_its_ends() {
        let ((there, key), here) = (private(), TempDir::new().unwrap());
        let link = here.path().join("link.pem");
        symlink(&key, &link).unwrap();
        open(&link).unwrap();
        set(here.path(), 0o777);
        assert!(refusal(&link).contains(here.path().to_str().unwrap()));
        set(here.path(), 0o700);
        set(there.path(), 0o777);
        assert!(refusal(&link).contains(there.path().to_str().unwrap()));
        set(there.path(), 0o700);
        set(&key, 0o644);
        assert!(refusal(&link).contains("mode 0644"));
    }

    #[test]
    fn only_files_of_the_user_and_of_root_are_trusted_but_root_trusts_all() {
        assert!(is_trusted(1000, 1000) && is_trusted(0, 1000) && is_trusted(1000, 0));
        assert!(!is_trusted(1001, 1000));
    }

    #[test]
    fn in_a_user_namespace_the_owner_of_the_tree_is_trusted_above_the_folder() {
        const OTHERS: u32 = 65534;
        let judge = |owners: [u32; 3]| {
            let [inner, home, top] = owners.map(|owner| (owner, 0o755));
            let paths = ["/home/a", "/home", "/"].map(Path::new);
            judge_way(&[(paths[0], inner), (paths[1], home), (paths[2], top)], 1000)
        };
        assert_eq!(judge([1000, OTHERS, OTHERS]), Ok(()));
        assert!(judge([OTHERS, OTHERS, OTHERS]).unwrap_err().contains("/home/a belongs"));
        assert!(judge([1000, 1001, OTHERS]).unwrap_err().contains("/home belongs"));
        assert!(judge([1000, 1001, 0]).unwrap_err().contains("/home belongs"));
        let (folder, key) = private();
        if rustix::process::geteuid().is_root() {
            chown(&key, Some(1001), None).unwrap();
            chown(folder.path(), Some(1001), None).unwrap();
            open(&key).unwrap();
        }
        let facts = key.metadata().unwrap();
        let (owner, other) = (facts.uid(), facts.uid() + 1);
        check_file(&key, &facts, owner).unwrap();
        let why = exposed(check_file(&key, &facts, other));
        assert!(why.contains("another user") && why.contains("chown"), "{why}");
        let why = exposed(check_way(folder.path(), other));
        assert!(why.contains("another user"), "{why}");
    }

    #[test]
    fn a_pipe_is_judged_by_its_owner_alone() {
        let (reader, _writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(reader));
        check(Path::new("/dev/fd/0"), &file).unwrap();
    }

    #[test]
    fn paths_are_shown_as_a_shell_takes_them() {
        assert_eq!(quoted(Path::new("/a/b-c_1.pem")), "/a/b-c_1.pem");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
