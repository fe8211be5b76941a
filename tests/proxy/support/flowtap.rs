//! Starts the program under test and stops it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::DEADLINE;
use super::bundle::Bundle;
use super::tls::test_ca;

/// What a `flowtap` is started with.
pub(crate) struct Setup {
    command: Command,
    dir: TempDir,
    output: Option<PathBuf>,
}

/// A running `flowtap`; dropping it kills that child alone.
pub(crate) struct Flowtap {
    pub(crate) child: Child,
    lines: Receiver<(Stream, String)>,
    stderr: Vec<String>,
    stdout: Vec<String>,
    dir: TempDir,
    output: Option<PathBuf>,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// Where it serves MCP.
    pub(crate) mcp: Option<SocketAddr>,
}

/// Which stream a line came from.
#[derive(Clone, Copy, PartialEq)]
enum Stream {
    Out,
    Err,
}

/// What is left when the program has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
    pub(crate) stdout: String,
}

/// What is left when a proxy that captured was stopped.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
    pub(crate) bundle: Bundle,
}

impl Setup {
    /// `flowtap proxy` on a free port, with a folder of its own for its CA and its bundle. It
    /// trusts the CA of the test origins.
    pub(crate) fn proxy() -> Self {
        Self::command("proxy").args(["--no-mcp"])
    }

    /// As [`Setup::proxy`], with MCP on a free port.
    pub(crate) fn with_mcp() -> Self {
        Self::command("proxy").args(["--mcp-port", "0"])
    }

    /// As [`Setup::proxy`], without a bundle.
    pub(crate) fn no_output() -> Self {
        let dir = TempDir::new().unwrap();
        let conf = dir.path().join("conf");
        let bare = Self::bare(dir).args(["proxy", "-p", "0", "--no-output", "--no-mcp"]);
        let setup = bare.args(["--confdir"]);
        setup.args([conf.as_path()])
    }

    /// `flowtap discover` on a free port.
    pub(crate) fn discover() -> Self {
        Self::bare(TempDir::new().unwrap()).args(["discover", "-p", "0"])
    }

    /// `flowtap` without a word on its command line.
    pub(crate) fn bare(dir: TempDir) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowtap"));
        command.env("HOME", dir.path()).env("SSL_CERT_FILE", test_ca().file());
        command.current_dir(dir.path()).env_remove("SSL_CERT_DIR");
        // Where no name server answers, names that lead nowhere are to be known as such in time.
        command.env("RES_OPTIONS", "timeout:1 attempts:1");
        // The tests' own surroundings must not lead anything elsewhere.
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        Self { command, dir, output: None }
    }

    /// As [`Setup::proxy`], by another command.
    pub(crate) fn command(name: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let output = dir.path().join("capture.zip");
        let conf = dir.path().join("conf");
        let mut setup = Self::bare(dir).args([name, "-p", "0", "--confdir"]);
        setup = setup.args([conf.as_path()]).args(["-o".as_ref(), output.as_os_str()]);
        setup.output = Some(output);
        setup
    }

    /// What would be started, and its folder.
    pub(crate) fn take_apart(self) -> (Command, TempDir) {
        (self.command, self.dir)
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Lets it have so many open files and no more.
    pub(crate) fn with_open_files(self, most: u32) -> Self {
        self.run_by("sh", &["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")])
    }

    /// Starts it so that hang-ups reach it, also where the tests run under `nohup`.
    pub(crate) fn hearing_hangups(self) -> Self {
        self.run_by("env", &["--default-signal=HUP"])
    }

    /// Has it started by another program, in whose place it comes.
    fn run_by(mut self, program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        command.arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(self.dir.path());
        self.command = command;
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it under this umask, in octal.
    pub(crate) fn umask(self, mask: &str) -> Self {
        self.run_by("sh", &["-c", &format!("umask {mask} && exec \"$0\" \"$@\"")])
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn spawn(mut self) -> Flowtap {
        let piped = self.command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = piped.stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = unbounded();
        collect(Stream::Err, child.stderr.take().unwrap(), sender.clone());
        collect(Stream::Out, child.stdout.take().unwrap(), sender);
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let Setup { dir, output, .. } = self;
        Flowtap {
            child,
            lines,
            stderr: Vec::new(),
            stdout: Vec::new(),
            dir,
            output,
            addr,
            mcp: None,
        }
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(self) -> Flowtap {
        let captures = self.output.is_some();
        let serves = self.command.get_args().any(|argument| argument == "--mcp-port");
        let mut tap = self.spawn();
        let line = tap.err_line("proxy ");
        tap.addr = line["proxy".len()..].trim().strip_prefix("http://").unwrap().parse().unwrap();
        if serves {
            let line = tap.err_line("mcp ");
            let address = line["mcp".len()..].trim().strip_prefix("http://").unwrap();
            tap.mcp = Some(address.strip_suffix("/sse").unwrap().parse().unwrap());
        }
        if captures {
            tap.err_line("output ");
        }
        tap
    }

    /// Runs it to an end that comes by itself.
    pub(crate) fn run(self) -> Ended {
        self.spawn().wait()
    }
}

fn collect(stream: Stream, source: impl Read + Send + 'static, to: Sender<(Stream, String)>) {
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            if to.send((stream, line)).is_err() {
                break;
            }
        }
    });
}

impl Flowtap {
    /// Starts the proxy with `args` after the ones that every test needs.
    pub(crate) fn start(args: &[&str]) -> Self {
        Setup::proxy().args(args).start()
    }

    /// The next line on standard error that begins so, waited for with a deadline.
    pub(crate) fn err_line(&mut self, beginning: &str) -> String {
        self.line(Stream::Err, beginning)
    }

    /// The next line on standard output that begins so, waited for with a deadline.
    pub(crate) fn out_line(&mut self, beginning: &str) -> String {
        self.line(Stream::Out, beginning)
    }

    fn line(&mut self, from: Stream, beginning: &str) -> String {
        let end = Instant::now() + DEADLINE;
        while self.next_line(end) {
            let seen = if from == Stream::Err { &self.stderr } else { &self.stdout };
            if let Some(line) = seen.last().filter(|line| line.starts_with(beginning)) {
                return line.clone();
            }
        }
        panic!("no line {beginning:?}: {:?} {:?}", self.stderr, self.stdout);
    }

    /// Takes one line; whether there was one.
    fn next_line(&mut self, end: Instant) -> bool {
        match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok((Stream::Err, line)) => self.stderr.push(line),
            Ok((Stream::Out, line)) => self.stdout.push(line),
            Err(_) => return false,
        }
        true
    }

    /// All that it has printed so far, on both streams.
    pub(crate) fn printed(&self) -> String {
        [&self.stderr[..], &self.stdout[..]].concat().join("\n")
    }

    /// Its working folder.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The file of the CA's certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.dir.path().join("conf/flowtap-ca-cert.pem")
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Processor time that it has used.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        // User and system time in hundredths of a second, the 14th and 15th field of proc(5).
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// How many sockets each of its loops polls.
    pub(crate) fn polled(&self) -> Vec<usize> {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let descriptors = std::fs::read_dir(process.join("fd")).unwrap().map(Result::unwrap);
        let polls = |path: &Path| {
            std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("[eventpoll]"))
        };
        let info = |name| std::fs::read_to_string(process.join("fdinfo").join(name)).unwrap();
        descriptors
            .filter(|entry| polls(&entry.path()))
            .map(|entry| info(entry.file_name()).matches("tfd:").count())
            .collect()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Interrupts the proxy, waits for its end and reads the bundle.
    pub(crate) fn stop(self) -> Stopped {
        self.stop_with(Signal::INT)
    }

    /// As [`Flowtap::stop`], with another signal.
    pub(crate) fn stop_with(self, signal: Signal) -> Stopped {
        self.signal(signal);
        self.finish()
    }

    /// Waits for the end of a proxy that was told to stop, and reads its bundle.
    pub(crate) fn finish(mut self) -> Stopped {
        let ended = self.wait_in_place();
        let output = self.output.take().unwrap();
        assert!(output.exists(), "no bundle: {}", ended.stderr);
        let Ended { status, stderr, .. } = ended;
        Stopped { status, stderr, bundle: Bundle::read(&output) }
    }

    /// Interrupts what writes no bundle, and waits for its end.
    pub(crate) fn end(self) -> Ended {
        self.signal(Signal::INT);
        self.wait()
    }

    /// Waits for the end of what was told to stop; its folder stays for as long as this does.
    pub(crate) fn keep_until_its_end(&mut self) -> Ended {
        self.wait_in_place()
    }

    fn wait(mut self) -> Ended {
        self.wait_in_place()
    }

    fn wait_in_place(&mut self) -> Ended {
        let end = Instant::now() + DEADLINE;
        // The senders go away when both streams close, which is when the child ends.
        while self.next_line(end) {}
        assert!(Instant::now() < end, "still running: {:?} {:?}", self.stderr, self.stdout);
        let status = self.child.wait().unwrap();
        Ended { status, stderr: self.stderr.join("\n"), stdout: self.stdout.join("\n") }
    }
}

impl Drop for Flowtap {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
