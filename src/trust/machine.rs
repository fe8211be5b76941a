//! What is known of a machine: where its files are, its commands, its user.

use std::path::{Path, PathBuf};

/// A kind of operating system, as trust stores differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Os {
    /// Linux, and what is like it.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

/// A machine. Tests make one up, with all its files in a folder.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its system.
    pub os: Os,
    /// The folder that stands for the root of its files.
    pub root: PathBuf,
    /// The user's home folder.
    pub home: Option<PathBuf>,
    /// The folders of its commands.
    pub path: Vec<PathBuf>,
    /// `JAVA_HOME`.
    pub java_home: Option<PathBuf>,
    /// Whether the user may change what is the system's.
    pub is_root: bool,
}

impl Machine {
    /// This machine. `home` is the user's home folder.
    pub fn this(home: Option<PathBuf>) -> Machine {
        let os = match std::env::consts::OS {
            "macos" => Os::MacOs,
            "windows" => Os::Windows,
            _ => Os::Linux,
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut path: Vec<_> = std::env::split_paths(&path).filter(|it| it.is_absolute()).collect();
        // Not all users have these in their PATH, and the commands for trust stores are in them.
        path.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
        let java_home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
        Machine {
            os,
            root: PathBuf::from("/"),
            home,
            path,
            java_home: java_home.map(PathBuf::from),
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    /// Where a file of the system is.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Where a command is.
    pub(super) fn command(&self, name: &str) -> Option<PathBuf> {
        self.path.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
    }
}

/// The folders in a folder, in the order of their names.
pub(super) fn folders(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.is_dir()).collect()
}

/// What is in a folder, in the order of the names.
pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = found.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
