//! The packer: a thread that makes a part of the bundle from each finished segment.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::capture::bundle::{BundleWriter, Counts, PartFacts};
use crate::capture::entry::{SegmentHeader, take_exchange, take_number};
use crate::capture::frame::{FrameReader, FrameType};
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
}

/// Packs segments until the recorder is done.
pub(super) fn run(jobs: &Receiver<Job>, places: &Places, shared: &Arc<Shared>) -> Packed {
    let mut packed = Packed::default();
    let mut spool = Spool::new(places.folder.temporary());
    while let Ok(job) = jobs.recv() {
        let mut pace = Pace { jobs, shared, since: Instant::now() };
        match pack(&job, places, &mut spool, &mut pace) {
            Ok(counts) => {
                packed.counts.traces += counts.traces;
                packed.counts.websockets += counts.websockets;
                packed.counts.messages += counts.messages;
                packed.counts.bytes += counts.bytes;
                packed.paths.push(job.path);
            }
            // The segment stays in the journal; the next part may be more lucky.
            Err(error) => {
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

/// Makes one part, then removes what it was made from.
fn pack(job: &Job, places: &Places, spool: &mut Spool, pace: &mut Pace<'_>) -> io::Result<Counts> {
    let folder = &places.folder;
    let segment = folder.segment(job.part);
    let mut part = BundleWriter::create(folder.packed(job.part))?;
    let mut used = Vec::new();
    let place = Workplace { folder, spool };
    let facts = write_flows(&mut part, place, &segment, &mut used, pace)?;
    let (counts, whole) = part.finish(&facts)?;
    places.put(&whole, job.part)?;
    used.push(segment);
    for file in used {
        // What cannot be removed goes with the folder.
        let _ = std::fs::remove_file(file);
    }
    Ok(counts)
}

fn write_flows(
    part: &mut BundleWriter,
    mut place: Workplace<'_>,
    segment: &Path,
    used: &mut Vec<PathBuf>,
    pace: &mut Pace<'_>,
) -> io::Result<PartFacts> {
    let source = BufReader::with_capacity(JOURNAL_BUFFER_BYTES / 4, File::open(segment)?);
    let mut frames = FrameReader::new(source);
    let header = match frames.next_frame()? {
        Some((FrameType::Segment, payload)) => SegmentHeader::take(payload),
        _ => None,
    };
    let header = header.ok_or_else(|| io::Error::other("the journal's segment has no header"))?;
    let mut ended_us = header.created_us;
    while let Some((kind, payload)) = frames.next_frame()? {
        match kind {
            FrameType::Exchange => {
                let Some(exchange) = take_exchange(payload) else { continue };
                let spilled = |side| place.folder.body(exchange.id, side);
                if exchange.request.body.sent_ahead > 0 {
                    used.push(spilled(Side::Request));
                }
                if exchange.response.as_ref().is_some_and(|message| message.body.sent_ahead > 0) {
                    used.push(spilled(Side::Response));
                }
                write_trace(part, &mut place, &exchange)?;
            }
            FrameType::WebSocket => {
                let Some(flow) = take_number(payload).map(FlowId) else { continue };
                used.push(place.folder.websocket(flow));
                write_websocket(part, &mut place, flow)?;
            }
            FrameType::SegmentEnd => ended_us = take_number(payload).unwrap_or(ended_us),
            _ => continue,
        }
        pace.flow_done();
    }
    let duration = Duration::from_micros(ended_us.saturating_sub(header.created_us));
    let SegmentHeader { app, series, part, created_us, .. } = header;
    Ok(PartFacts { app, series, part, created_us, duration })
}
