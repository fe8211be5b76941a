//! One part of the bundle, made from a finished segment.

use std::fs::File;
use std::io::{self, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::capture::bundle::{BundleWriter, Counts, Fate, PartFacts, Partial};
use crate::capture::entry::{SegmentHeader, take_exchange, take_number};
use crate::capture::frame::{FileEnd, FrameReader, FrameType};
use crate::capture::journal::{JournalFolder, with_suffix};
use crate::capture::json::Json;
use crate::capture::spool::Spool;
use crate::capture::trace::{Workplace, write_trace};
use crate::capture::websocket::write_websocket;
use crate::flow::record::{FlowId, Side};
use crate::limits::JOURNAL_BUFFER_BYTES;

/// A part under way. It can be left and gone on with, also by another thread.
pub(super) struct Packing {
    header: SegmentHeader,
    frames: Frames,
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
    /// Files besides the segment that were read.
    pub(super) used: Vec<PathBuf>,
    /// From the last frame, in microseconds since the Unix epoch.
    pub(super) ended_us: Option<u64>,
    /// How the segment ends.
    pub(super) end: FileEnd,
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
        let used = Vec::new();
        Ok(Packing {
            header,
            frames,
            part: BundleWriter::create(folder.packed(part))?,
            spool: Spool::new(with_suffix(&folder.temporary(), &format!("-{part:04}"))),
            json: Json::default(),
            read: SegmentRead {
                flows: 0,
                passed: 0,
                damaged: 0,
                used,
                ended_us: None,
                end: FileEnd::Torn,
            },
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
        let mut place = Workplace { folder, spool, json };
        // A segment that cannot be read any further gives the flows before that place.
        while let Ok(Some((kind, payload))) = frames.next_frame() {
            let fate = match kind {
                FrameType::Exchange => {
                    #[cfg(test)]
                    crate::fault::testing::fault_in("packer", payload);
                    let Some(exchange) = take_exchange(payload) else { continue };
                    let sides = [Side::Request, Side::Response].into_iter();
                    let files = sides.filter(|side| exchange.is_ahead(*side));
                    read.used.extend(files.map(|side| folder.body(exchange.id, side)));
                    write_trace(part, &mut place, &exchange)?
                }
                FrameType::WebSocket => {
                    let Some(flow) = take_number(payload).map(FlowId) else { continue };
                    read.used.push(folder.websocket(flow));
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
            read.passed += 1;
            if flow_done().is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        read.end = frames.end().unwrap_or(FileEnd::Torn);
        Ok(ControlFlow::Continue(()))
    }

    /// How often `flow_done` was called.
    pub(super) fn passed(&self) -> u64 {
        self.read.passed
    }

    /// Ends the part, behind the segment's end.
    pub(super) fn finish(self) -> io::Result<Finished> {
        let Packing { header, part, read, .. } = self;
        let SegmentHeader { app, series, part: number, created_us, .. } = header;
        let ended_us = read.ended_us.unwrap_or(created_us);
        let duration = Duration::from_micros(ended_us.saturating_sub(created_us));
        let facts = PartFacts { app, series, part: number, created_us, duration };
        let (counts, file) = part.finish(&facts)?;
        Ok(Finished { counts, file, read })
    }
}

type Frames = FrameReader<BufReader<File>>;

/// Opens a segment and reads its first frame.
pub(super) fn open_segment(path: &Path) -> io::Result<(SegmentHeader, Frames)> {
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
