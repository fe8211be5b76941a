//! The program that is run: found, started, told of signals, and waited for.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::io::Errno;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process, setrlimit,
    waitid,
};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::running::{SIGNALS, Stop, is_ignored};
use crate::error::{Error, Result};
use crate::limits::SCRIPT_LINE_BYTES;

/// The exit status of shells for a program that is not there.
const NOT_FOUND: u8 = 127;
/// The exit status of shells for a program that cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// Shells add the number of the signal that has ended a program.
const BY_SIGNAL: i32 = 128;

/// Why a program could not be started, and the exit status that says so.
#[derive(Debug)]
pub(super) struct Unusable {
    pub(super) reason: String,
    pub(super) status: u8,
}

impl Unusable {
    /// From what the system says.
    pub(super) fn new(program: &Path, error: &io::Error) -> Unusable {
        let program = program.display();
        match error.kind() {
            ErrorKind::NotFound => Unusable {
                reason: format!("cannot run {program}: there is no such program"),
                status: NOT_FOUND,
            },
            _ => Unusable {
                reason: format!("cannot run {program}: {error}"),
                status: NOT_EXECUTABLE,
            },
        }
    }
}

/// Where the program of this name is: a path, or what PATH has.
pub(super) fn find(name: &OsStr) -> std::result::Result<PathBuf, Unusable> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    find_in(name, &path)
}

fn find_in(name: &OsStr, path: &OsStr) -> std::result::Result<PathBuf, Unusable> {
    if name.as_bytes().contains(&b'/') {
        let program = PathBuf::from(name);
        return check(&program).map(|()| program).map_err(|e| Unusable::new(name.as_ref(), &e));
    }
    let mut refused = None;
    for folder in std::env::split_paths(path) {
        // An empty entry is the working folder.
        let program = Path::new(".").join(folder).join(name);
        match check(&program) {
            Ok(()) => return Ok(program),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                refused.get_or_insert(Unusable::new(&program, &error));
            }
        }
    }
    Err(refused.unwrap_or_else(|| Unusable {
        reason: format!("cannot run {}: no folder of PATH has it", name.display()),
        status: NOT_FOUND,
    }))
}

/// Whether a file can be executed, as far as that can be told before it is.
fn check(program: &Path) -> io::Result<()> {
    let found = program.metadata()?;
    if found.is_dir() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder"));
    }
    if found.permissions().mode() & 0o111 == 0 {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "it is not executable"));
    }
    match interpreter(program) {
        Some(interpreter) if !interpreter.exists() => {
            let reason = format!("its interpreter {} is not there", interpreter.display());
            Err(io::Error::other(reason))
        }
        _ => Ok(()),
    }
}

/// What a script names as its interpreter. A program that cannot be read may still be executed.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let mut line = Vec::new();
    let file = File::open(program).ok()?;
    BufReader::new(file.take(SCRIPT_LINE_BYTES)).read_until(b'\n', &mut line).ok()?;
    let words = line.strip_prefix(b"#!")?;
    let word = words.split(u8::is_ascii_whitespace).find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(word)))
}

/// A command with what flowtap itself has as its standard streams, called as it was named.
pub(super) fn command(path: &Path, words: &[OsString]) -> Command {
    let mut command = Command::new(path);
    if let Some(name) = words.first() {
        command.arg0(name);
    }
    command.args(words.iter().skip(1));
    command
}

/// Starts a command whose program is at `path`. A script that names no interpreter is run by the
/// shell, as execvp(3) has it.
pub(super) fn spawn(path: &Path, command: &mut Command) -> io::Result<Child> {
    match command.spawn() {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOEXEC) && is_script(path) => {
            by_shell(path, command).spawn()
        }
        started => started,
    }
}

/// Whether a file that the system does not take for a program may be a script: shells refuse to
/// read one whose first line is not text.
fn is_script(path: &Path) -> bool {
    let mut line = Vec::new();
    let read = File::open(path)
        .and_then(|file| BufReader::new(file.take(SCRIPT_LINE_BYTES)).read_until(b'\n', &mut line));
    read.is_ok() && !line.starts_with(b"\x7fELF") && !line.contains(&0)
}

fn by_shell(path: &Path, command: &Command) -> Command {
    let mut shell = Command::new(SHELL);
    // A path that begins so would be taken for options.
    let is_odd = path.as_os_str().as_bytes().starts_with(b"-");
    shell.arg(if is_odd { Path::new(".").join(path) } else { path.to_owned() });
    shell.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// What runs scripts that name no interpreter.
const SHELL: &str = "/bin/sh";

/// The limit of open files. The proxy raises its own; programs that wait with select(2) must not
/// have more than they expect.
#[derive(Debug)]
pub(super) struct OpenFiles(Rlimit);

impl OpenFiles {
    /// The limit that is in force.
    pub(super) fn now() -> OpenFiles {
        OpenFiles(getrlimit(Resource::Nofile))
    }

    /// Has this limit in force while something is started.
    pub(super) fn during<T>(&self, start: impl FnOnce() -> T) -> T {
        let raised = getrlimit(Resource::Nofile);
        // Where it cannot be set the program has the other, which is no reason not to run.
        let lowered = setrlimit(Resource::Nofile, self.0).is_ok();
        let started = start();
        if lowered {
            let _ = setrlimit(Resource::Nofile, raised);
        }
        started
    }
}

/// Signals, taken from now on and passed on later.
#[derive(Debug)]
pub(super) struct Watch {
    taken: Signals,
    stops: Sender<Stop>,
}

impl Watch {
    /// Takes signals from now on. What is to stop the capture comes from the other end: the end of
    /// the program first, and signals after that.
    pub(super) fn new() -> Result<(Watch, Receiver<Stop>)> {
        // What flowtap was started to ignore, as in the background of a script or under nohup, the
        // program ignores as well.
        let wanted = [SIGINT, SIGQUIT, SIGTERM, SIGHUP];
        // Where SIGCHLD is ignored the system forgets how children have ended.
        let wanted = wanted.into_iter().filter(|signal| !is_ignored(*signal)).chain([SIGCHLD]);
        let taken = Signals::new(wanted)
            .map_err(|error| Error::new(format!("signals cannot be handled: {error}")))?;
        let (stops, receiver) = bounded(SIGNALS);
        Ok((Watch { taken, stops }, receiver))
    }
}

/// A program that runs.
#[derive(Debug)]
pub(super) struct Program {
    ended: Receiver<ExitStatus>,
}

impl Program {
    /// Waits for the program, on a thread of its own, and passes signals on to it.
    pub(super) fn attend(child: Child, watch: Watch) -> Program {
        let (sender, ended) = bounded(1);
        thread::spawn(move || attend(child, watch, &sender));
        Program { ended }
    }

    /// Waits for its end; gives its exit status as shells tell it.
    pub(super) fn wait(self) -> u8 {
        let status = self.ended.recv();
        status.map_or(u8::MAX, exit_status)
    }
}

/// As shells tell it.
fn exit_status(status: ExitStatus) -> u8 {
    let number = status.code().or(status.signal().map(|signal| BY_SIGNAL + signal));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX)
}

/// What happens while a program runs.
enum Event {
    Signal(i32),
    /// It has ended, and is still to be waited for.
    Ended,
}

/// Signals, and the end of a program. SIGCHLD does not tell of that where whoever has started
/// flowtap has blocked it.
fn events(pid: Pid, mut taken: Signals) -> Receiver<Event> {
    let (signals, events) = bounded(SIGNALS);
    let ended = signals.clone();
    thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(pid), options).is_err_and(|error| error == Errno::INTR) {}
        let _ = ended.send(Event::Ended);
    });
    thread::spawn(move || {
        for signal in taken.forever().filter(|signal| *signal != SIGCHLD) {
            let _ = signals.send(Event::Signal(signal));
        }
    });
    events
}

fn attend(mut child: Child, watch: Watch, ended: &Sender<ExitStatus>) {
    let pid = Pid::from_child(&child);
    let events = events(pid, watch.taken);
    let mut was_asked = false;
    // It is waited for where signals are sent, so that none is sent to a program that is gone.
    for event in &events {
        match event {
            Event::Ended => {
                if let Ok(status) = child.wait() {
                    let _ = ended.send(status);
                }
                break;
            }
            Event::Signal(SIGTERM) if was_asked => {
                let _ = child.kill();
            }
            Event::Signal(SIGTERM) => {
                was_asked = true;
                let _ = kill_process(pid, Signal::TERM);
            }
            Event::Signal(SIGHUP) => {
                let _ = kill_process(pid, Signal::HUP);
            }
            // From the terminal, which sends them to the program as well.
            Event::Signal(_) => {}
        }
    }
    let _ = watch.stops.try_send(Stop::Done);
    for event in &events {
        let stop = match event {
            Event::Ended => continue,
            Event::Signal(SIGHUP) => Stop::HungUp,
            Event::Signal(_) => Stop::Asked,
        };
        // More than wait already say nothing more.
        let _ = watch.stops.try_send(stop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn programs_are_found_as_shells_find_them() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let path = std::env::join_paths(folders.iter().map(|folder| folder.path())).unwrap();
        let find = |name: &str| find_in(name.as_ref(), &path);
        put(&folders[0].path().join("both"), "", 0o600);
        put(&folders[1].path().join("both"), "", 0o700);
        put(&folders[0].path().join("plain"), "", 0o644);
        put(&folders[0].path().join("script"), "#! /no/such/shell -x\n", 0o755);
        put(&folders[0].path().join("good"), "#!/bin/sh\n", 0o755);
        assert_eq!(find("both").unwrap(), folders[1].path().join("both"));
        assert_eq!(find("good").unwrap(), folders[0].path().join("good"));
        for (name, status, words) in [
            ("none", 127, "no folder of PATH has it"),
            ("/no/such/program", 127, "no such program"),
            ("plain", 126, "not executable"),
            ("script", 126, "/no/such/shell is not there"),
            ("/", 126, "folder"),
        ] {
            let unusable = find(name).unwrap_err();
            assert_eq!(unusable.status, status, "{name}");
            assert!(unusable.reason.contains(words), "{}", unusable.reason);
        }
    }

    #[test]
    fn the_exit_status_is_that_of_shells() {
        for (raw, status) in [(0, 0), (7 << 8, 7), (255 << 8, 255), (9, 137), (15, 143)] {
            assert_eq!(exit_status(ExitStatus::from_raw(raw)), status);
        }
    }
}
