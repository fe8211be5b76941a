//! Starts the program under test, and reads the bundle that it leaves.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::DEADLINE;

/// A running `flowtap proxy`; dropping it kills that child alone.
pub(crate) struct Flowtap {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    dir: TempDir,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
}

/// What is left when the program has ended.
pub(crate) struct Stopped {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
    pub(crate) bundle: Bundle,
}

/// The entries of a bundle by name.
pub(crate) struct Bundle(BTreeMap<String, Vec<u8>>);

impl Flowtap {
    /// Starts the proxy with `args` after the ones that every test needs.
    pub(crate) fn start(args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_flowtap"))
            .args(["proxy", "-p", "0", "--no-mcp", "--confdir"])
            .arg(dir.path().join("conf"))
            .arg("-o")
            .arg(dir.path().join("capture.zip"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut tap = Self { child, lines, seen: Vec::new(), dir, addr };
        tap.addr = tap.wait_for("proxy").strip_prefix("http://").unwrap().parse().unwrap();
        tap
    }

    /// The value of the start line `name`, waited for with a deadline.
    fn wait_for(&mut self, name: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no start line {name:?} on stderr: {:?}", self.seen);
            };
            self.seen.push(line.clone());
            let mut words = line.split_whitespace();
            if words.next() == Some(name) {
                return words.next().unwrap_or_default().to_owned();
            }
        }
    }

    /// Interrupts the proxy, waits for its end and reads the bundle.
    pub(crate) fn stop(self) -> Stopped {
        self.stop_with(Signal::INT)
    }

    /// As [`Flowtap::stop`], with another signal.
    pub(crate) fn stop_with(mut self, signal: Signal) -> Stopped {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let end = Instant::now() + DEADLINE;
        // The sender goes away when stderr closes, which is when the child ends.
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            self.seen.push(line);
        }
        assert!(Instant::now() < end, "still running after the signal: {:?}", self.seen);
        let status = self.child.wait().unwrap();
        let bundle = Bundle::read(&self.dir.path().join("capture.zip"));
        Stopped { status, stderr: self.seen.join("\n"), bundle }
    }
}

impl Drop for Flowtap {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bundle {
    fn read(path: &std::path::Path) -> Self {
        let file = std::fs::File::open(path).unwrap();
        let mut archive = zip::ZipArchive::new(file).unwrap();
        let mut entries = BTreeMap::new();
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            entries.insert(entry.name().unwrap().into_owned(), bytes);
        }
        Self(entries)
    }

    /// The JSON of one entry.
    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(self.0.get(name).unwrap()).unwrap()
    }

    /// All traces in the order of their numbers.
    pub(crate) fn traces(&self) -> Vec<Value> {
        let names = self.0.keys().filter(|n| n.starts_with("traces/") && n.ends_with(".json"));
        names.map(|name| self.json(name)).collect()
    }

    /// The stored body of a trace's `side` (`request` or `response`); empty when left out.
    pub(crate) fn body(&self, trace: &Value, side: &str) -> Vec<u8> {
        match trace[side]["body_file"].as_str() {
            Some(file) => self.0.get(&format!("traces/{file}")).unwrap().clone(),
            None => Vec::new(),
        }
    }
}
