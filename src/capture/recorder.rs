//! The recorder thread: flows from the queue into the journal, finished segments to the packer.
//!
//! Capture is an observer. When the disk is full the recorder goes on taking flows from the
//! queue, counts what it loses, says so and tries again; traffic never waits for it in vain.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, unbounded};

use crate::capture::journal::JournalFolder;
use crate::capture::pace::Traffic;
use crate::capture::packer::{self, Packed, Shared};
use crate::capture::place::Places;
use crate::capture::queue::{FlowReceiver, Received};
use crate::capture::remains::what_recovers;
use crate::capture::writer::{Writer, Written};
use crate::error::{Error, Result};
use crate::fault;
use crate::limits::{COLLECT_INTERVAL, JOURNAL_FLUSH};
use crate::notice::{Notice, Notices, count, count_were};
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
    /// Flows that were lost because the recorder could not write them, or not read them back.
    pub lost: u64,
    /// WebSocket messages that were lost because the recorder could not write them.
    pub messages_lost: u64,
    /// Why the bundle is not whole, and where the rest is, in one line for the user.
    pub error: Option<String>,
}

/// Starts recorders.
#[derive(Debug)]
pub struct Recorder;

/// A running recorder.
#[derive(Debug)]
pub struct RecorderHandle {
    thread: JoinHandle<Summary>,
    /// Disconnected when the thread ends.
    done: Receiver<()>,
    shared: Arc<Shared>,
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
        let output = config.output.clone();
        let refused = |error: io::Error| refusal(&output, &error);
        check_output(&output)?;
        let (folder, unfinished) = JournalFolder::create(&output).map_err(refused)?;
        for path in unfinished {
            notices.give(Notice::Warning(format!(
                "an unfinished capture is in {}; it stays untouched, and {}",
                path.display(),
                what_recovers(&output)
            )));
        }
        let shared = Arc::new(Shared::default());
        let (jobs, waiting) = unbounded();
        let places =
            Places { output: output.clone(), folder: folder.clone(), notices: notices.clone() };
        let (told, counters) = (shared.clone(), stats.clone());
        let traffic = move || Traffic::of(&counters);
        let watching = notices.clone();
        let packer = spawn("packer", move || {
            watching.supervise("the packer", || packer::run(&waiting, &places, &told, &traffic))
        })?;
        let started = Instant::now();
        let watching = notices.clone();
        let writer = Writer::start(config, folder.clone(), jobs, shared.clone(), stats, notices);
        let writer = writer.map_err(|error| {
            // Nothing is in it yet.
            let _ = folder.remove();
            refusal(&output, &error)
        })?;
        let ending = Ending { output, folder, packer, started };
        run_thread(shared, move || {
            fault::watch_thread();
            let mut writer = writer;
            record_all(&mut writer, &flows, &watching);
            ending.finish(writer, &watching)
        })
    }
}

/// Whether a bundle may stand at `output`: it takes the place of a file, never that of a folder or
/// a device.
///
/// # Errors
/// When it may not.
pub fn check_output(output: &Path) -> Result<()> {
    match output.file_name().is_none() || (output.exists() && !output.is_file()) {
        true => Err(refusal(output, &io::Error::other("it is not a regular file"))),
        false => Ok(()),
    }
}

fn refusal(output: &Path, error: &io::Error) -> Error {
    Error::new(format!(
        "cannot write {}: {error}; choose another file with --output",
        output.display()
    ))
}

fn run_thread(
    shared: Arc<Shared>,
    run: impl FnOnce() -> Summary + Send + 'static,
) -> Result<RecorderHandle> {
    let (alive, done) = bounded(0);
    let thread = spawn("recorder", move || {
        let _alive = alive;
        run()
    })?;
    Ok(RecorderHandle { thread, done, shared })
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| Error::new(format!("cannot start the {name}'s thread: {error}")))
}

impl RecorderHandle {
    /// Waits until every sender of the queue is gone, the queue is empty and all is packed; calls
    /// `progress` about ten times a second meanwhile.
    pub fn finish(self, progress: &mut dyn FnMut(Progress)) -> Summary {
        while let Err(RecvTimeoutError::Timeout) =
            self.done.recv_timeout(Duration::from_millis(100))
        {
            progress(Progress {
                packed: self.shared.packed.load(Ordering::Relaxed),
                recorded: self.shared.recorded.load(Ordering::Relaxed),
            });
        }
        self.thread.join().unwrap_or_else(|_| Summary {
            error: Some("the recorder ended by a fault of its own".to_owned()),
            ..Summary::default()
        })
    }
}

/// Takes flows until the queue is closed and empty. After a fault nothing more is recorded, the
/// process is told to end, and flows are still taken until it does: traffic never waits in vain.
fn record_all(writer: &mut Writer, flows: &FlowReceiver, notices: &Notices) {
    // What is wrong may be wrong for every flow, but not for ever.
    for _ in 0..FAULTS {
        let Err(fault) = fault::catch(|| record(writer, flows, &Instant::now)) else { return };
        let reason = format!("the recorder {}", fault.reason());
        // Should that fail as well, it was the first to give up all the same.
        if fault::catch(|| writer.give_up(reason.clone())).unwrap_or(true) {
            notices.give(Notice::Failed(reason));
        }
    }
}

/// Faults after which the recorder takes no more flows.
const FAULTS: usize = 100;

/// Takes flows until the queue is closed and empty, and sees to it that nothing waits in memory
/// for long.
fn record(writer: &mut Writer, flows: &FlowReceiver, clock: &dyn Fn() -> Instant) {
    let watch = flows.watch();
    let mut flushes = Flushes { clock, last: clock() };
    let mut took = false;
    loop {
        match flows.try_receive() {
            Received::Batch(batch) => {
                for event in batch {
                    // Files of a batch may take seconds on a busy disk: what came before them
                    // does not wait for all of them.
                    if writer.take(event) {
                        flushes.flush_if_due(writer);
                    }
                }
                took = true;
            }
            Received::Nothing => {
                let most = JOURNAL_FLUSH.saturating_sub(flushes.age());
                watch.gather(took, COLLECT_INTERVAL, most.max(Duration::from_millis(1)));
                took = false;
            }
            Received::Closed => return,
        }
        flushes.flush_if_due(writer);
    }
}

/// When what waits in memory was last written.
struct Flushes<'a> {
    clock: &'a dyn Fn() -> Instant,
    last: Instant,
}

impl Flushes<'_> {
    fn age(&self) -> Duration {
        (self.clock)().saturating_duration_since(self.last)
    }

    fn flush_if_due(&mut self, writer: &mut Writer) {
        if self.age() >= JOURNAL_FLUSH {
            writer.flush();
            self.last = (self.clock)();
        }
    }
}

/// What is needed when the flows have ended.
struct Ending {
    output: PathBuf,
    folder: JournalFolder,
    packer: JoinHandle<Option<Packed>>,
    started: Instant,
}

impl Ending {
    fn finish(self, writer: Writer, notices: &Notices) -> Summary {
        let duration = self.started.elapsed();
        let written = fault::catch(|| writer.finish()).unwrap_or_else(|fault| {
            let failed = format!("the recorder {}", fault.reason());
            notices.give(Notice::Failed(failed.clone()));
            Written { failed: Some(failed), last_kept: true, ..Written::default() }
        });
        let mut packed = self.packer.join().ok().flatten().unwrap_or_else(|| Packed {
            error: Some((self.output.clone(), io::Error::other("the packer had a fault"))),
            segment_left: true,
            ..Packed::default()
        });
        packed.segment_left |= written.last_kept;
        let reasons = reasons(&self.folder, &written, &packed);
        let keeps_older = older_kept(&self.folder).is_some();
        if reasons.is_empty() || !(packed.segment_left || packed.error.is_some() || keeps_older) {
            // All that was recorded stands in its place; what cannot be removed is litter.
            let _ = self.folder.remove();
        }
        Summary {
            traces: packed.counts.traces,
            websockets: packed.counts.websockets,
            messages: packed.counts.messages,
            bytes: packed.counts.bytes,
            bodies_cut: written.bodies_cut,
            duration,
            paths: packed.paths,
            lost: written.lost + packed.lost,
            messages_lost: written.messages_lost,
            error: (!reasons.is_empty()).then(|| reasons.join("; ")),
        }
    }
}

/// Why the bundle is not whole, and what is left besides it; nothing when it is whole.
fn reasons(folder: &JournalFolder, written: &Written, packed: &Packed) -> Vec<String> {
    let journal = folder.path().display();
    let mut reasons = Vec::new();
    if let Some(reason) = &written.failed {
        let lost = match written.messages_lost {
            0 => count_were(written.lost, "flow"),
            lost => format!(
                "{} and {} were",
                count(written.lost, "flow"),
                count(lost, "WebSocket message")
            ),
        };
        reasons.push(format!("{lost} lost: {reason}"));
    }
    if let Some((path, error)) = &packed.error {
        reasons.push(format!("cannot write {}: {error}", path.display()));
    }
    if packed.lost > 0 {
        let lost = count(packed.lost, "recorded flow");
        reasons.push(format!("{lost} could not be read back"));
    }
    if packed.damaged > 0 {
        let damaged = count(packed.damaged, "flow");
        reasons.push(format!("{damaged} could be read back in part only"));
    }
    if packed.segment_left && reasons.is_empty() {
        reasons.push("the end of the journal could not be read back".to_owned());
    }
    if packed.segment_left {
        reasons.push(format!("the capture is kept in {journal}, and flowtap recover reads it"));
    } else if packed.error.is_some() && !folder.path().exists() {
        reasons.push(format!("{journal} is gone"));
    }
    if let Some(older) = older_kept(folder).filter(|_| !reasons.is_empty()) {
        reasons.push(format!("the older bundle is kept as {}", older.display()));
    }
    reasons
}

/// The first part of the older capture whose place this one took, as long as it is kept.
fn older_kept(folder: &JournalFolder) -> Option<PathBuf> {
    let older = folder.replaced(1);
    (older.exists() && folder.check().is_ok()).then_some(older)
}

/// Now, in microseconds since the Unix epoch.
pub(super) fn epoch_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::queue::queue;
    use crate::capture::writer::tests::{exchange, writer};
    use crate::flow::record::{BodyBlock, FlowEvent, FlowId, Side};
    use std::cell::Cell;

    #[test]
    fn what_is_in_memory_does_not_wait_for_all_files_of_a_batch() {
        let parent = tempfile::tempdir().unwrap();
        let (mut writer, folder) = writer(parent.path().join("c.zip"));
        let (flow, side) = (FlowId(2), Side::Response);
        let block = || FlowEvent::Body(BodyBlock { flow, side, data: vec![0; 1_000].into() });
        let (sender, flows) = queue();
        sender.try_send(vec![exchange(), block(), block(), block()]).unwrap();
        drop(sender);
        let (segment, body) = (folder.segment(1), folder.body(flow, side));
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |facts| facts.len());
        let empty = length(&segment);
        // Whatever is written takes too long.
        let (began, looks, body_then) = (Instant::now(), Cell::new(0), Cell::new(None));
        let clock = || {
            if length(&segment) > empty && body_then.get().is_none() {
                body_then.set(Some(length(&body)));
            }
            looks.set(looks.get() + 1);
            began + JOURNAL_FLUSH * looks.get()
        };
        record(&mut writer, &flows, &clock);
        assert_eq!((body_then.get(), length(&body)), (Some(1_000), 3_000));
    }
}
