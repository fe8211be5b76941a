//! The packer: a thread that makes a part of the bundle from each finished segment.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::capture::bundle::{BundleWriter, Counts, Fate, PartFacts};
use crate::capture::entry::{SegmentHeader, take_exchange, take_number};
use crate::capture::frame::{FileEnd, FrameReader, FrameType};
use crate::capture::place::Places;
use crate::capture::spool::Spool;
use crate::capture::trace::{Workplace, write_trace};
use crate::capture::websocket::write_websocket;
use crate::flow::record::{FlowId, Side};
use crate::limits::JOURNAL_BUFFER_BYTES;

/// The packer works for so long before it rests for as long, while traffic is under way.
const WORK: Duration = Duration::from_millis(2);

/// A finished segment.
#[derive(Debug)]
pub(super) struct Job {
    /// Its part, from 1.
    pub(super) part: u32,
    /// Where the part will stand.
    pub(super) path: PathBuf,
    /// Flows that were written to the segment.
    pub(super) flows: u64,
    /// Whether all of it was written, to its last frame.
    pub(super) finished: bool,
}

/// What the packer shares with the recorder's handle.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Flows that stand in the bundle.
    pub(super) packed: AtomicU64,
    /// Flows that stand in the journal.
    pub(super) recorded: AtomicU64,
    /// No more traffic comes: there is nobody to make way for.
    pub(super) closing: AtomicBool,
}

/// What the packer has made.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) counts: Counts,
    pub(super) paths: Vec<PathBuf>,
    /// The first failure: the part's path and the reason.
    pub(super) error: Option<(PathBuf, io::Error)>,
    /// Flows that were recorded and of which nothing could be read back.
    pub(super) lost: u64,
    /// Flows that could be read back in part only.
    pub(super) damaged: u64,
    /// Whether a segment is left in the journal, since its part is not whole.
    pub(super) segment_left: bool,
}

/// How a part came out.
#[derive(Debug)]
struct Outcome {
    counts: Counts,
    lost: u64,
    damaged: u64,
    /// Whether all that was recorded was read back.
    whole: bool,
}

/// Packs segments until the recorder is done.
pub(super) fn run(jobs: &Receiver<Job>, places: &Places, shared: &Arc<Shared>) -> Packed {
    let mut packed = Packed::default();
    let mut spool = Spool::new(places.folder.temporary());
    while let Ok(job) = jobs.recv() {
        let mut pace = Pace { jobs, shared, since: Instant::now() };
        match pack(&job, places, &mut spool, &mut pace) {
            Ok(Outcome { counts, lost, damaged, whole }) => {
                packed.lost += lost;
                packed.damaged += damaged;
                packed.segment_left |= !whole;
                packed.counts.traces += counts.traces;
                packed.counts.websockets += counts.websockets;
                packed.counts.messages += counts.messages;
                packed.counts.bytes += counts.bytes;
                packed.paths.push(job.path);
            }
            // The segment stays in the journal; the next part may be more lucky.
            Err(error) => {
                let segment = places.folder.segment(job.part);
                if open_segment(&segment).is_err() {
                    packed.lost += job.flows;
                }
                packed.segment_left |= segment.exists();
                packed.error.get_or_insert((job.path, error));
            }
        }
    }
    packed
}

/// Makes way for traffic.
struct Pace<'a> {
    jobs: &'a Receiver<Job>,
    shared: &'a Shared,
    since: Instant,
}

impl Pace<'_> {
    fn flow_done(&mut self) {
        self.shared.packed.fetch_add(1, Ordering::Relaxed);
        let worked = self.since.elapsed();
        if worked < WORK {
            return;
        }
        // When the next segment waits already, the disk must not fill with journals.
        if !self.shared.closing.load(Ordering::Relaxed) && self.jobs.is_empty() {
            std::thread::sleep(worked.min(WORK * 4));
        }
        self.since = Instant::now();
    }
}

/// Makes one part, then removes what it was made from, if all of that could be read.
fn pack(job: &Job, places: &Places, spool: &mut Spool, pace: &mut Pace<'_>) -> io::Result<Outcome> {
    let folder = &places.folder;
    let segment = folder.segment(job.part);
    let (header, frames) = open_segment(&segment)?;
    let mut part = BundleWriter::create(folder.packed(job.part))?;
    let mut json = crate::capture::json::Json::default();
    let place = Workplace { folder, spool, json: &mut json };
    let read = write_flows(&mut part, place, frames, pace)?;
    let SegmentHeader { app, series, part: number, created_us, .. } = header;
    let ended_us = read.ended_us.unwrap_or(created_us);
    let duration = Duration::from_micros(ended_us.saturating_sub(created_us));
    let facts = PartFacts { app, series, part: number, created_us, duration };
    let (counts, file) = part.finish(&facts)?;
    places.put(&file, job.part)?;

    let lost = job.flows.saturating_sub(read.flows);
    let torn = read.end != FileEnd::Whole || read.ended_us.is_none();
    // A segment of which not all could be written may well end in a torn frame.
    let whole = lost == 0 && read.damaged == 0 && !(torn && job.finished);
    if whole {
        for file in read.used.iter().chain([&segment]) {
            // What cannot be removed goes with the folder.
            let _ = std::fs::remove_file(file);
        }
    }
    Ok(Outcome { counts, lost, damaged: read.damaged, whole })
}

type Frames = FrameReader<BufReader<File>>;

fn open_segment(path: &Path) -> io::Result<(SegmentHeader, Frames)> {
    let unreadable = |why: &dyn std::fmt::Display| {
        io::Error::other(format!("its journal cannot be read: {why}"))
    };
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let mut frames = FrameReader::new(BufReader::with_capacity(JOURNAL_BUFFER_BYTES / 4, file));
    let header = match frames.next_frame().map_err(|error| unreadable(&error))? {
        Some((FrameType::Segment, payload)) => SegmentHeader::take(payload),
        _ => None,
    };
    let header = header.ok_or_else(|| unreadable(&"the segment has no header"))?;
    Ok((header, frames))
}

/// What could be read of a segment.
#[derive(Debug)]
struct SegmentRead {
    /// Flows that stand in the part, whole or not.
    flows: u64,
    damaged: u64,
    /// Files besides the segment that were read.
    used: Vec<PathBuf>,
    /// From the last frame, in microseconds since the Unix epoch.
    ended_us: Option<u64>,
    end: FileEnd,
}

fn write_flows(
    part: &mut BundleWriter,
    mut place: Workplace<'_>,
    mut frames: Frames,
    pace: &mut Pace<'_>,
) -> io::Result<SegmentRead> {
    let used = Vec::new();
    let mut read = SegmentRead { flows: 0, damaged: 0, used, ended_us: None, end: FileEnd::Torn };
    // A segment that cannot be read any further gives the flows before that place.
    while let Ok(Some((kind, payload))) = frames.next_frame() {
        let fate = match kind {
            FrameType::Exchange => {
                let Some(exchange) = take_exchange(payload) else { continue };
                let spilled = |side| place.folder.body(exchange.id, side);
                if exchange.request.body.sent_ahead > 0 {
                    read.used.push(spilled(Side::Request));
                }
                if exchange.response.as_ref().is_some_and(|message| message.body.sent_ahead > 0) {
                    read.used.push(spilled(Side::Response));
                }
                write_trace(part, &mut place, &exchange)?
            }
            FrameType::WebSocket => {
                let Some(flow) = take_number(payload).map(FlowId) else { continue };
                read.used.push(place.folder.websocket(flow));
                write_websocket(part, &mut place, flow)?
            }
            FrameType::SegmentEnd => {
                read.ended_us = take_number(payload);
                continue;
            }
            _ => continue,
        };
        read.flows += u64::from(fate != Fate::Lost);
        read.damaged += u64::from(fate == Fate::Damaged);
        pace.flow_done();
    }
    read.end = frames.end().unwrap_or(FileEnd::Torn);
    Ok(read)
}
