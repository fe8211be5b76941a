//! Child processes with deadlines.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take. Two busy cores need some seconds for a browser.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// A child that runs beside the test. It is killed when the test ends without having waited.
pub(crate) struct Process {
    name: String,
    pid: Pid,
    /// Open as long as the child is to run, for those that end with their standard input.
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    exit: Receiver<ExitStatus>,
    /// What was printed so far, for the message of a failure.
    printed: Vec<String>,
    ended: bool,
}

impl Process {
    /// Starts `command` and reads its standard error or its standard output line by line.
    pub(crate) fn start(command: &mut Command, reads_stderr: bool) -> Process {
        let name = format!("{command:?}");
        command.stdin(Stdio::piped());
        if reads_stderr {
            command.stderr(Stdio::piped());
        } else {
            command.stdout(Stdio::piped());
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let pid = Pid::from_child(&child);
        let input = child.stdin.take();
        let output: Box<dyn Read + Send> = if reads_stderr {
            Box::new(child.stderr.take().unwrap())
        } else {
            Box::new(child.stdout.take().unwrap())
        };
        let (line_sender, lines) = channel();
        thread::spawn(move || send_lines(output, &line_sender));
        let (exit_sender, exit) = channel();
        thread::spawn(move || send_exit(child, &exit_sender));
        Process { name, pid, input, lines, exit, printed: Vec::new(), ended: false }
    }

    /// Waits for a line that begins with `start` and gives what follows it.
    pub(crate) fn line_after(&mut self, start: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.printed.push(line.clone());
                    if let Some(rest) = line.strip_prefix(start) {
                        return rest.trim().to_owned();
                    }
                }
                Err(error) => {
                    panic!("no line {start:?} from {}: {error}: {:#?}", self.name, self.printed)
                }
            }
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        // A child that has ended already needs none.
        let _ = kill_process(self.pid, signal);
    }

    /// Waits for the end; gives the exit status and all that was printed.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        drop(self.input.take());
        let status = self.exit.recv_timeout(DEADLINE);
        self.ended = status.is_ok();
        let status = status.unwrap_or_else(|_| panic!("{} does not end", self.name));
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => self.printed.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                // A grandchild may hold the pipe open.
                Err(RecvTimeoutError::Timeout) => panic!("{} leaves a child", self.name),
            }
        }
        (status, self.printed.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended && self.exit.try_recv().is_err() {
            self.signal(Signal::KILL);
        }
    }
}

fn send_lines(output: impl Read, sender: &Sender<String>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if sender.send(line).is_err() {
            return;
        }
    }
}

fn send_exit(mut child: Child, sender: &Sender<ExitStatus>) {
    let status = child.wait().expect("a child can be waited for");
    // The test may have ended.
    let _ = sender.send(status);
}

/// Runs `command` to its end, which must be a success, and gives its standard output.
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Runs `command` to its end, whatever that is.
pub(crate) fn output(command: &mut Command) -> Output {
    let name = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}; tests/run.sh --setup-only installs it"));
    let pid = Pid::from_child(&child);
    let (sender, output) = channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    match output.recv_timeout(DEADLINE) {
        Ok(output) => output.expect("output can be read"),
        Err(error) => {
            let _ = kill_process(pid, Signal::KILL);
            panic!("{name} does not end: {error}");
        }
    }
}
