//! The flowtap under test, and what the system says about its process.

use std::fs;
use std::io::{BufRead, BufReader, Read, sink};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::TempDir;

/// Clock ticks of `/proc/PID/stat` a second: 100 for user space on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// User and system time in a `stat` of `/proc`.
fn cpu_in(stat: &str) -> Duration {
    // The command's name, in parentheses, may hold spaces; state is the first field after it.
    let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|it| it.parse::<u64>().ok()).expect("ticks");
    let (user, system) = (ticks(), ticks());
    Duration::from_millis((user + system) * 1_000 / TICKS_PER_SECOND)
}

/// A running flowtap in a folder of its own.
pub(crate) struct Flowtap {
    folder: TempDir,
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where it serves MCP.
    pub(crate) mcp: Option<SocketAddr>,
    printer: Option<JoinHandle<()>>,
}

impl Drop for Flowtap {
    /// A benchmark that fails leaves nothing behind. A child that was waited for is let be.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Flowtap {
    /// Starts flowtap with a bundle or with `--no-output`, with MCP or without, trusting servers
    /// with this certificate.
    pub(crate) fn start(capture: bool, mcp: bool, trusted_pem: &str) -> Flowtap {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let trusted = folder.path().join("trusted.pem");
        fs::write(&trusted, trusted_pem).expect("a file in it");
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowtap"));
        command.args(["proxy", "-p", "0", "--confdir"]).arg(folder.path().join("conf"));
        match capture {
            true => command.arg("-o").arg(folder.path().join("capture.zip")),
            false => command.arg("--no-output"),
        };
        match mcp {
            true => command.args(["--mcp-port", "0"]),
            false => command.arg("--no-mcp"),
        };
        command.env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR");
        let mut child = command
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
        let mcp = mcp.then(|| next_address("mcp "));
        // What it prints is thrown away, so that it never waits for a reader.
        let printer = thread::spawn(move || {
            let _ = std::io::copy(&mut lines.by_ref(), &mut sink());
        });
        Flowtap { folder, child, address, mcp, printer: Some(printer) }
    }

    /// The certificate that clients trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("conf/flowtap-ca-cert.pem")
    }

    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.child.id()))
    }

    /// User and system time so far.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_in(&fs::read_to_string(self.proc("stat")).expect("Linux with /proc"))
    }

    /// The same without the threads that write and pack the bundle, which work in fits.
    pub(crate) fn cpu_of_traffic(&self) -> Duration {
        let threads = fs::read_dir(self.proc("task")).expect("Linux with /proc");
        let stats = threads.flatten().map(|thread| fs::read_to_string(thread.path().join("stat")));
        let writes = |stat: &String| stat.contains("(packer)") || stat.contains("(recorder)");
        // A thread may have ended since it was listed.
        stats.flatten().filter(|stat| !writes(stat)).map(|stat| cpu_in(&stat)).sum()
    }

    /// A field of `/proc/PID/status` in KiB.
    pub(crate) fn memory_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("Linux with /proc");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
        line.split_whitespace().nth(1).and_then(|it| it.parse().ok()).expect("KiB")
    }

    /// Begins the peak of the memory anew.
    pub(crate) fn reset_peak(&self) {
        fs::write(self.proc("clear_refs"), "5").expect("Linux with /proc");
    }

    /// Ends flowtap as Ctrl+C does, and gives its CPU time with all packing.
    pub(crate) fn stop(mut self) -> Duration {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("it runs");
        // It has ended, and is not reaped yet: its times are complete and can be read.
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).expect("a child");
        let cpu = self.cpu();
        let status = self.child.wait().expect("a child");
        assert!(status.success(), "flowtap: {status}");
        if let Some(printer) = self.printer.take() {
            printer.join().expect("a thread that only copies");
        }
        cpu
    }
}
