use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, bounded};
use tempfile::TempDir;

use super::*;
use crate::config::McpConfig;
use crate::fault::testing::{ask, config, origin_at, read_head, traces};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The whole command in this process, but for the signals, which a test gives.
struct Running {
    address: SocketAddr,
    signals: Sender<Stop>,
    thread: JoinHandle<Result<()>>,
    folder: TempDir,
}

impl Running {
    fn start(change: impl FnOnce(&mut Config)) -> Self {
        crate::fault::install_hook();
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let bound = Bound::new(config.listen).unwrap();
        let address = bound.address();
        let (signals, taken) = bounded(8);
        let thread =
            thread::spawn(move || run_on(bound, &config, Channel::PortAlone, || Ok(taken)));
        Running { address, signals, thread, folder }
    }

    /// Asks for a path, and waits for the answer's head, or for the end of the connection.
    fn ask(&self, origin: SocketAddr, path: &str) {
        read_head(&mut ask(self.address, origin, path));
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("capture.zip")
    }
}

/// Whether the URLs of a bundle end so.
fn holds(bundle: &Path, paths: &[&str]) {
    let traces = traces(bundle);
    let urls: Vec<_> = traces.iter().map(|(url, ..)| url.as_str()).collect();
    assert_eq!(urls.len(), paths.len(), "{urls:?}");
    assert!(urls.iter().zip(paths).all(|(url, path)| url.ends_with(path)), "{urls:?}");
}

#[test]
fn the_process_ends_with_a_whole_bundle_when_the_recorder_has_a_fault() {
    let origin = origin_at("127.0.0.1", OK);
    let running = Running::start(|_| ());
    running.ask(origin, "/before");
    running.ask(origin, "/fault-in-recorder");
    let output = running.output();
    // No signal: it notices by itself.
    let error = running.thread.join().unwrap().unwrap_err().to_string();
    assert!(error.contains("the recorder ended by a fault in flowtap"), "{error}");
    holds(&output, &["/before"]);
    drop(running.signals);
}

#[test]
fn the_process_ends_with_a_whole_bundle_when_the_store_has_a_fault() {
    let origin = origin_at("127.0.0.1", OK);
    let mcp = Some(McpConfig { port: Some(0), token: None });
    let running = Running::start(|config| config.mcp = mcp);
    running.ask(origin, "/before");
    running.ask(origin, "/fault-in-store");
    let output = running.output();
    let error = running.thread.join().unwrap().unwrap_err().to_string();
    assert!(error.contains("the store of flows ended by a fault in flowtap"), "{error}");
    holds(&output, &["/before", "/fault-in-store"]);
    drop(running.signals);
}

#[test]
fn the_process_ends_with_a_whole_bundle_when_a_loop_has_a_fault() {
    let origin = origin_at("127.0.0.1", OK);
    let running = Running::start(|_| ());
    running.ask(origin, "/before");
    running.ask(origin, "/fault-in-loop");
    let output = running.output();
    let error = running.thread.join().unwrap().unwrap_err().to_string();
    assert!(error.contains("an event loop ended by a fault in flowtap"), "{error}");
    holds(&output, &["/before", "/fault-in-loop"]);
    drop(running.signals);
}

#[test]
fn a_fault_in_packing_costs_one_part_of_the_bundle_which_the_journal_keeps() {
    let origin = origin_at("127.0.0.1", OK);
    // One loop tells of them in their order.
    let running = Running::start(|config| (config.part_traces, config.loops) = (1, 1));
    for path in ["/1", "/fault-in-packer", "/3"] {
        running.ask(origin, path);
    }
    running.signals.send(Stop::Asked).unwrap();
    let (output, folder) = (running.output(), running.folder.path().to_owned());
    let error = running.thread.join().unwrap().unwrap_err().to_string();
    assert!(error.contains("capture-0002.zip: ended by a fault in flowtap"), "{error}");
    assert!(error.contains("capture.zip.journal"), "{error}");
    holds(&output, &["/1"]);
    holds(&folder.join("capture-0003.zip"), &["/3"]);
    let journal = folder.join("capture.zip.journal");
    assert!(
        journal.join("segment-0002.flj").exists() && !journal.join("segment-0001.flj").exists()
    );
}
