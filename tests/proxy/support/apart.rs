//! A `flowtap` whose standard streams are a test's own matter: a terminal, a closed pipe, a full
//! one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded, unbounded};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::DEADLINE;
use super::bundle::Bundle;
use super::flowtap::Setup;

/// The process, and where it captures to. It is killed with the test.
pub(crate) struct Apart {
    child: Child,
    pid: Pid,
    output: PathBuf,
    _folder: TempDir,
}

impl Apart {
    fn spawn(mut command: Command, folder: TempDir) -> Apart {
        let child = command.spawn().unwrap();
        let pid = Pid::from_child(&child);
        let output = folder.path().join("capture.zip");
        Apart { child, pid, output, _folder: folder }
    }

    /// With pipes for all three streams.
    pub(crate) fn piped(setup: Setup) -> Apart {
        let (mut command, folder) = setup.take_apart();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::spawn(command, folder)
    }

    /// Its streams.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Waits for its end: its exit status and how long that took, and the bundle.
    pub(crate) fn wait(mut self) -> (i32, Duration, Bundle) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < DEADLINE, "it does not end");
            thread::park_timeout(Duration::from_millis(5));
        };
        let code = status.code().unwrap_or_else(|| panic!("{status}"));
        (code, began.elapsed(), Bundle::read(&self.output))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the first line that tells one, and the reader behind it.
pub(crate) fn address<R: Read>(stderr: R) -> (SocketAddr, BufReader<R>) {
    let mut lines = BufReader::new(stderr);
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if let Some(address) = address_in(&line) {
            return (address, lines);
        }
        line.clear();
    }
    panic!("it tells no address");
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, address) = line.split_once("proxy  http://")?;
    address.trim().parse().ok()
}

/// A `flowtap` in a terminal of its own.
pub(crate) struct Terminal {
    runner: Apart,
    input: ChildStdin,
    lines: Receiver<String>,
    pid: Pid,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
}

impl Terminal {
    /// Starts it; `ignores_hangup` as under `nohup`.
    pub(crate) fn start(setup: Setup, ignores_hangup: bool) -> Terminal {
        let (command, folder) = setup.take_apart();
        let runner = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proxy/support/terminal.py");
        let mut python = Command::new("python3");
        python.arg(runner).args(ignores_hangup.then_some("--ignore-hangup"));
        python.arg(command.get_program()).args(command.get_args()).current_dir(folder.path());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => python.env(name, value),
                None => python.env_remove(name),
            };
        }
        python.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut runner = Apart::spawn(python, folder);
        let (sender, lines) = unbounded();
        let output = runner.child.stdout.take().unwrap();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        let input = runner.child.stdin.take().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let pid = runner.pid;
        let mut terminal = Terminal { runner, input, lines, pid, addr: nowhere };
        let number = terminal.line("pid ").split_once("pid ").unwrap().1.trim().parse().unwrap();
        terminal.pid = Pid::from_raw(number).unwrap();
        terminal.addr = address_in(&terminal.line("proxy  http://")).unwrap();
        terminal.line("output ");
        terminal
    }

    /// The next line that the terminal shows and that holds this.
    pub(crate) fn line(&mut self, part: &str) -> String {
        let end = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_deadline(end) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no {part:?} in {seen:?}"),
            }
        }
    }

    /// What the terminal shows until this is among it.
    pub(crate) fn shown(&mut self, part: &str) -> String {
        let end = Instant::now() + DEADLINE;
        let mut shown = String::new();
        while !shown.contains(part) {
            match self.lines.recv_deadline(end) {
                Ok(line) => shown.push_str(&(line + "\n")),
                Err(_) => panic!("no {part:?} in {shown:?}"),
            }
        }
        shown
    }

    /// Whether it shows a line that holds this within this time.
    pub(crate) fn shows_within(&mut self, time: Duration, part: &str) -> bool {
        let end = Instant::now() + time;
        while let Ok(line) = self.lines.recv_deadline(end) {
            if line.contains(part) {
                return true;
            }
        }
        false
    }

    /// Types on it.
    pub(crate) fn type_in(&mut self, byte: u8) {
        writeln!(self.input, "type {byte:02x}").unwrap();
    }

    /// Closes it.
    pub(crate) fn close(&mut self) {
        writeln!(self.input, "close").unwrap();
    }

    /// Sends a signal to what runs in it.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Waits for the end of what runs in it: its exit status, how long that took, and the bundle.
    pub(crate) fn wait(mut self) -> (String, Duration, Bundle) {
        let began = Instant::now();
        let status = self.line("exit ");
        let took = began.elapsed();
        let Terminal { runner, .. } = self;
        (status, took, Bundle::read(&runner.output))
    }
}

/// Reads a stream to its end, on a thread; what it held.
pub(crate) fn all_of(mut stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, text) = bounded(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    text
}
