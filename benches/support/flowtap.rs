//! The flowtap under test.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, Signal, kill_process, pidfd_open};
use tempfile::TempDir;

use super::system::{Cpu, Process};

/// How often the times and the memory of a flowtap that ends are looked at: some are gone with it.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// Bytes that are kept of what it prints last.
const SAID_BYTES: usize = 4 * 1024;

/// What a flowtap is started with.
#[derive(Clone)]
pub(crate) struct Setup {
    /// The program.
    pub(crate) program: PathBuf,
    /// A command before it, which runs it.
    pub(crate) runner: Vec<OsString>,
    /// Writes a bundle.
    pub(crate) capture: bool,
    /// Serves MCP.
    pub(crate) mcp: bool,
    /// Event loops, where it does not choose their number itself.
    pub(crate) loops: Option<usize>,
    /// A folder with a CA, where it is not to make one.
    pub(crate) confdir: Option<PathBuf>,
    /// More of its command line.
    pub(crate) arguments: Vec<OsString>,
}

impl Default for Setup {
    /// The flowtap that cargo has built, with capture and MCP.
    fn default() -> Setup {
        Setup {
            program: env!("CARGO_BIN_EXE_flowtap").into(),
            runner: Vec::new(),
            capture: true,
            mcp: true,
            loops: None,
            confdir: None,
            arguments: Vec::new(),
        }
    }
}

/// A running flowtap in a folder of its own.
pub(crate) struct Flowtap {
    folder: Arc<TempDir>,
    confdir: PathBuf,
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where it serves MCP.
    pub(crate) mcp: Option<SocketAddr>,
    /// From before the start until it said that it listens.
    pub(crate) started_in: Duration,
    printer: Option<JoinHandle<String>>,
}

/// What was left when it had ended.
pub(crate) struct Ended {
    /// CPU times from its start on; those of its threads as they were shortly before the end.
    pub(crate) cpu: Cpu,
    /// From the signal to the end.
    pub(crate) took: Duration,
    /// The peak of its memory.
    pub(crate) peak_kib: u64,
    /// The last of what it printed on stderr.
    pub(crate) said: String,
}

impl Drop for Flowtap {
    /// A benchmark that fails leaves nothing behind. A child that was waited for is let be.
    fn drop(&mut self) {
        for child in self.process().children() {
            let _ = kill_process(child.pid(), Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Flowtap {
    /// Starts one that trusts origins with this certificate.
    pub(crate) fn start(setup: &Setup, certificate_pem: &str) -> Flowtap {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let confdir = setup.confdir.clone().unwrap_or_else(|| folder.path().join("conf"));
        let trusted = folder.path().join("trusted.pem");
        fs::write(&trusted, certificate_pem).expect("a file in it");
        let began = Instant::now();
        let mut child = command(setup, folder.path())
            .arg("--confdir")
            .arg(&confdir)
            .env("SSL_CERT_FILE", trusted)
            .env_remove("SSL_CERT_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("flowtap starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it was piped"));
        let mut printed = String::new();
        let mut next_address = |beginning: &str| loop {
            let mut line = String::new();
            let read = lines.read_line(&mut line).expect("text");
            assert!(read > 0, "flowtap ended: {printed}");
            printed.push_str(&line);
            if let Some(url) = line.strip_prefix(beginning) {
                let address = url.trim().strip_prefix("http://").expect("a URL");
                let address = address.strip_suffix("/sse").unwrap_or(address);
                break address.parse().expect("an address");
            }
        };
        let address = next_address("proxy ");
        let started_in = began.elapsed();
        let mcp = setup.mcp.then(|| next_address("mcp "));
        let printer = thread::spawn(move || last_of(&mut lines));
        Flowtap { folder, confdir, child, address, mcp, started_in, printer: Some(printer) }
    }

    /// Where its files are, for as long as this is held.
    pub(crate) fn folder(&self) -> Arc<TempDir> {
        self.folder.clone()
    }

    /// The certificate that clients trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.confdir.join("flowtap-ca-cert.pem")
    }

    /// The process, or that of its runner where this stays.
    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Ends flowtap as Ctrl+C does and waits until all is packed.
    pub(crate) fn stop(self) -> Ended {
        self.stop_with(Signal::INT)
    }

    /// Ends flowtap with this signal and waits until all is packed.
    pub(crate) fn stop_with(self, signal: Signal) -> Ended {
        let process = self.process();
        self.stop_process(process, signal)
    }

    /// The same where a runner waits for it.
    pub(crate) fn stop_child(self) -> Ended {
        let children = self.process().children();
        assert_eq!(children.len(), 1, "the runner runs flowtap");
        self.stop_process(children[0], Signal::INT)
    }

    fn stop_process(mut self, signalled: Process, signal: Signal) -> Ended {
        let (process, began) = (self.process(), Instant::now());
        kill_process(signalled.pid(), signal).expect("it runs");
        let (mut cpu, mut peak_kib) = (process.cpu(), 0);
        // It is not reaped yet when it has ended: its times are complete then and can be read.
        let end = pidfd_open(process.pid(), PidfdFlags::empty()).expect("a child");
        while poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&LOOK)).expect("a child") == 0 {
            if let Some(peak) = process.memory_kib("VmHWM") {
                // A thread that has ended is not there any more.
                (cpu, peak_kib) = (cpu.latest(process.cpu()), peak);
            }
        }
        cpu.all = process.cpu().all;
        let took = began.elapsed();
        let status = self.child.wait().expect("a child");
        assert!(status.success(), "flowtap: {status}");
        let printer = self.printer.take().expect("there is one until the end");
        let said = printer.join().expect("a thread that only copies");
        Ended { cpu, took, peak_kib, said }
    }
}

/// Reads what it prints, so that it never waits for a reader, and keeps the last of it.
fn last_of(lines: &mut impl Read) -> String {
    let (mut said, mut piece) = (Vec::new(), [0; 1024]);
    while let Ok(read @ 1..) = lines.read(&mut piece) {
        said.extend_from_slice(&piece[..read]);
        let excess = said.len().saturating_sub(SAID_BYTES);
        said.drain(..excess);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// `flowtap proxy` on free ports, with its files in `folder`.
fn command(setup: &Setup, folder: &Path) -> Command {
    let mut words = setup.runner.clone();
    words.push(setup.program.clone().into());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command.args(["proxy", "-p", "0"]);
    match setup.capture {
        true => command.arg("-o").arg(folder.join("capture.zip")),
        false => command.arg("--no-output"),
    };
    match setup.mcp {
        true => command.args(["--mcp-port", "0"]),
        false => command.arg("--no-mcp"),
    };
    if let Some(loops) = setup.loops {
        command.args(["--loops", &loops.to_string()]);
    }
    command.args(&setup.arguments);
    command
}
