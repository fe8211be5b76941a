//! One part of the bundle, made from a finished segment.

use std::fs::File;
use std::io::{self, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::capture::bundle::{BundleWriter, Counts, Fate, PartFacts, Partial};
use crate::capture::entry::{
    JOURNAL_VERSION, SegmentHeader, take_exchange, take_losses, take_number,
};
use crate::capture::frame::{FileEnd, FrameReader, FrameType};
use crate::capture::journal::{JournalFolder, with_suffix};
use crate::capture::json::Json;
use crate::capture::losses::Losses;
use crate::capture::private;
use crate::capture::spool::Spool;
use crate::capture::trace::{Workplace, write_trace};
use crate::capture::websocket::{Ended, write_websocket};
use crate::flow::record::{Exchange, FlowId, Side, Timing};
use crate::limits::JOURNAL_BUFFER_BYTES;

/// A part under way. It can be left and gone on with, also by another thread.
pub(super) struct Packing {
    header: SegmentHeader,
    /// `None` of a part whose flows no segment names.
    frames: Option<Frames>,
    part: BundleWriter,
    spool: Spool,
    json: Json,
    read: SegmentRead,
}

/// What could be read of a segment.
#[derive(Debug)]
pub(super) struct SegmentRead {
    /// Flows that stand in the part, whole or not.
    pub(super) flows: u64,
    /// Flows that were packed or cannot be.
    pub(super) passed: u64,
    /// Flows of which something could not be read back.
    pub(super) damaged: u64,
    /// What the segment says to be lost.
    pub(super) losses: Losses,
    /// Flows that the segment names.
    pub(super) named: Named,
    /// Files besides the segment that were read, or would have been.
    pub(super) used: Vec<PathBuf>,
    /// The first and last moment that a flow tells of, in microseconds since the Unix epoch.
    pub(super) span_us: Option<(u64, u64)>,
    /// From the last frame, in microseconds since the Unix epoch.
    pub(super) ended_us: Option<u64>,
    /// How the segment ends.
    pub(super) end: FileEnd,
    /// Damaged frames that whole ones follow.
    pub(super) skipped: u64,
    /// Whether more may stand behind the place where reading ended.
    pub(super) lost_track: bool,
}

impl SegmentRead {
    fn new() -> Self {
        SegmentRead {
            flows: 0,
            passed: 0,
            damaged: 0,
            losses: Losses::default(),
            named: Named::default(),
            used: Vec::new(),
            span_us: None,
            ended_us: None,
            end: FileEnd::Torn,
            skipped: 0,
            lost_track: false,
        }
    }

    /// Flows of the segment of which nothing could be read back, as far as that can be counted.
    pub(super) fn lost(&self) -> u64 {
        (self.named.exchanges + self.named.websockets).saturating_sub(self.flows) + self.skipped
    }

    fn spans(&mut self, from_us: u64, to_us: u64) {
        let (first, last) = self.span_us.unwrap_or((from_us, to_us));
        self.span_us = Some((first.min(from_us), last.max(to_us)));
    }

    fn ends(&mut self, frames: &Frames) {
        self.end = frames.end().unwrap_or(FileEnd::Torn);
        self.skipped = frames.skipped();
        self.lost_track = frames.has_lost_track();
    }
}

/// Flows that a segment names, whether or not they could be read back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named {
    pub(super) exchanges: u64,
    pub(super) websockets: u64,
}

/// A part that is to be moved to its place.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) counts: Counts,
    pub(super) file: Partial,
    pub(super) read: SegmentRead,
}

impl Packing {
    /// Begins with the segment of a part.
    pub(super) fn begin(part: u32, folder: &JournalFolder) -> io::Result<Self> {
        let (header, frames) = open_segment(&folder.segment(part))?;
        Self::with(header, Some(frames), folder)
    }

    /// Begins with a segment that is open, or without one.
    pub(super) fn with(
        header: SegmentHeader,
        frames: Option<Frames>,
        folder: &JournalFolder,
    ) -> io::Result<Self> {
        let part = header.part;
        Ok(Packing {
            header,
            frames,
            part: BundleWriter::create(folder, part)?,
            spool: Spool::new(with_suffix(&folder.temporary(), &format!("-{part:04}"))),
            json: Json::default(),
            read: SegmentRead::new(),
        })
    }

    /// Packs flow by flow to the segment's end, or until `flow_done`, which is called after each
    /// flow, breaks it off.
    pub(super) fn go_on(
        &mut self,
        folder: &JournalFolder,
        flow_done: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let Packing { frames, part, spool, json, read, .. } = self;
        let Some(frames) = frames else { return Ok(ControlFlow::Continue(())) };
        let mut place = Workplace { folder, spool, json };
        // A segment that cannot be read any further gives the flows before that place.
        while let Ok(Some((kind, payload))) = frames.next_frame() {
            let fate = match read.take(folder, kind, payload) {
                Flow::Exchange(exchange) => write_trace(part, &mut place, &exchange)?,
                Flow::WebSocket(flow) => {
                    let (fate, times) = write_websocket(part, &mut place, flow, Ended::Named)?;
                    times.inspect(|(from, to)| read.spans(*from, *to));
                    fate
                }
                Flow::None => continue,
            };
            read.flows += u64::from(fate != Fate::Lost);
            read.damaged += u64::from(fate == Fate::Damaged);
            read.passed += 1;
            if flow_done().is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        read.ends(frames);
        Ok(ControlFlow::Continue(()))
    }

    /// How often `flow_done` was called.
    pub(super) fn passed(&self) -> u64 {
        self.read.passed
    }

    /// Packs a connection that no segment names, since it had not ended.
    pub(super) fn add_open(&mut self, folder: &JournalFolder, flow: FlowId) -> io::Result<()> {
        let Packing { part, spool, json, read, .. } = self;
        let mut place = Workplace { folder, spool, json };
        let (_, times) = write_websocket(part, &mut place, flow, Ended::Killed)?;
        times.inspect(|(from, to)| read.spans(*from, *to));
        Ok(())
    }

    /// What was read of the segment so far.
    pub(super) fn read(&self) -> &SegmentRead {
        &self.read
    }

    /// What stands in the part so far.
    pub(super) fn counts(&self) -> Counts {
        self.part.counts()
    }

    /// When the part was begun, where neither its header nor a flow tells.
    pub(super) fn date_if_unknown(&mut self, created_us: u64) {
        if self.header.created_us == 0 && self.read.span_us.is_none() {
            self.header.created_us = created_us;
        }
    }

    /// Ends the part, behind the segment's end; it says that so much is lost.
    pub(super) fn finish(self, losses: Losses) -> io::Result<Finished> {
        let Packing { header, part, read, .. } = self;
        let SegmentHeader { app, series, part: number, created_us, .. } = header;
        let (first_us, last_us) = read.span_us.unwrap_or((created_us, created_us));
        // A header that is damaged does not tell when its segment was begun.
        let created_us = if created_us == 0 { first_us } else { created_us };
        let ended_us = read.ended_us.unwrap_or(last_us);
        let duration = Duration::from_micros(ended_us.saturating_sub(created_us));
        let facts = PartFacts { app, series, part: number, created_us, duration, losses };
        let (counts, file) = part.finish(&facts)?;
        Ok(Finished { counts, file, read })
    }
}

/// What a frame of a segment tells of.
enum Flow {
    Exchange(Box<Exchange>),
    WebSocket(FlowId),
    None,
}

impl SegmentRead {
    /// Takes the next frame.
    fn take(&mut self, folder: &JournalFolder, kind: FrameType, payload: &[u8]) -> Flow {
        match kind {
            FrameType::Exchange => {
                #[cfg(test)]
                crate::fault::testing::fault_in("packer", payload);
                self.named.exchanges += 1;
                let Some(exchange) = take_exchange(payload) else { return Flow::None };
                let sides = [Side::Request, Side::Response].into_iter();
                let files = sides.filter(|side| exchange.is_ahead(*side));
                self.used.extend(files.map(|side| folder.body(exchange.id, side)));
                let Timing { began_us, total_us, .. } = exchange.timing;
                self.spans(began_us, began_us.saturating_add(total_us));
                Flow::Exchange(Box::new(exchange))
            }
            FrameType::WebSocket => {
                self.named.websockets += 1;
                let Some(flow) = take_number(payload).map(FlowId) else { return Flow::None };
                self.used.push(folder.websocket(flow));
                Flow::WebSocket(flow)
            }
            FrameType::SegmentEnd => {
                self.ended_us = take_number(payload);
                Flow::None
            }
            FrameType::Losses => {
                self.losses.add(take_losses(payload).unwrap_or_default());
                Flow::None
            }
            _ => Flow::None,
        }
    }
}

/// Reads a segment to its end without packing it.
pub(super) fn scan(folder: &JournalFolder, mut frames: Frames) -> SegmentRead {
    let mut read = SegmentRead::new();
    while let Ok(Some((kind, payload))) = frames.next_frame() {
        let _ = read.take(folder, kind, payload);
    }
    read.ends(&frames);
    read
}

/// A segment that is open.
pub(super) type Frames = FrameReader<BufReader<File>>;

/// Opens a segment and reads its first frame.
pub(super) fn open_segment(path: &Path) -> io::Result<(SegmentHeader, Frames)> {
    let unreadable = |why: &dyn std::fmt::Display| {
        io::Error::other(format!("its journal cannot be read: {why}"))
    };
    let source = open(path).map_err(|error| unreadable(&error))?;
    let mut frames = FrameReader::new(source);
    let header = match frames.next_frame().map_err(|error| unreadable(&error))? {
        Some((FrameType::Segment, payload)) => SegmentHeader::take(payload),
        _ => None,
    };
    let header = header.ok_or_else(|| unreadable(&"the segment has no header"))?;
    Ok((header, frames))
}

/// What the beginning of a segment says.
#[derive(Debug)]
pub(super) enum Beginning {
    /// It is whole.
    Header(SegmentHeader),
    /// Another version of flowtap wrote it.
    Version(u32),
    /// It cannot be read.
    Unreadable,
}

/// Looks at the beginning of a segment.
pub(super) fn beginning(path: &Path) -> Beginning {
    let Ok(mut frames) = salvage(path) else { return Beginning::Unreadable };
    match frames.next_frame() {
        Ok(Some((FrameType::Segment, payload))) => match SegmentHeader::take(payload) {
            Some(header) => Beginning::Header(header),
            None => match SegmentHeader::version(payload) {
                Some(version) if version != JOURNAL_VERSION => Beginning::Version(version),
                _ => Beginning::Unreadable,
            },
        },
        _ => Beginning::Unreadable,
    }
}

/// Opens a segment from which all is to be read that can be.
pub(super) fn salvage(path: &Path) -> io::Result<Frames> {
    Ok(FrameReader::skipping(open(path)?))
}

fn open(path: &Path) -> io::Result<BufReader<File>> {
    Ok(BufReader::with_capacity(JOURNAL_BUFFER_BYTES / 4, private::open(path)?))
}
