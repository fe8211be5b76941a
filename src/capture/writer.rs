//! What the recorder does with each event: into the journal, and on to the next part in time.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam_channel::Sender;

use crate::capture::bundle::{part_path, random_uuid};
use crate::capture::entry::{SegmentHeader, put_number};
use crate::capture::frame::FrameType;
use crate::capture::journal::{JournalFolder, SegmentWriter};
use crate::capture::packer::{Job, Shared};
use crate::capture::recorder::{RecorderConfig, epoch_us};
use crate::capture::spill::{SpillFiles, WebSocketFiles};
use crate::flow::record::{BodyBlock, EndedExchange, FlowEvent, Side, WebSocketClose};
use crate::limits::{PART_MESSAGES, PART_TRACES};
use crate::notice::{Notice, Notices};
use crate::stats::Stats;

/// Flows in a segment, or in that part of it which is still in memory.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    traces: u64,
    websockets: u64,
    messages: u64,
    bodies_cut: u64,
}

/// What a writer has to say at its end.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) lost: u64,
    pub(super) bodies_cut: u64,
    /// Why writing ended before its time.
    pub(super) failed: Option<String>,
    /// The last segment is in the journal and was given to nobody.
    pub(super) last_kept: bool,
}

/// Writes flows into the journal.
#[derive(Debug)]
pub(super) struct Writer {
    config: RecorderConfig,
    folder: JournalFolder,
    /// A UUID that all parts share.
    series: String,
    jobs: Sender<Job>,
    shared: Arc<Shared>,
    stats: Arc<Stats>,
    notices: Notices,
    /// The time since the epoch at `started`; the clock may be set meanwhile.
    started_us: u64,
    started: Instant,
    part: u32,
    segment: SegmentWriter,
    in_segment: Tally,
    /// Flows that are in the segment's file.
    flushed: u64,
    unflushed: Tally,
    /// Whether a flow has ended that no tally has yet.
    uncounted: bool,
    files: SpillFiles,
    websockets: WebSocketFiles,
    lost: u64,
    bodies_cut: u64,
    failed: Option<String>,
}

impl Writer {
    /// Begins the first segment.
    pub(super) fn start(
        config: RecorderConfig,
        folder: JournalFolder,
        jobs: Sender<Job>,
        shared: Arc<Shared>,
        stats: Arc<Stats>,
        notices: Notices,
    ) -> io::Result<Self> {
        let started_us = epoch_us();
        let series = random_uuid()?;
        let segment = begin_segment(&config, &folder, &series, 1, started_us)?;
        Ok(Writer {
            config,
            folder,
            series,
            jobs,
            shared,
            stats,
            notices,
            started_us,
            started: Instant::now(),
            part: 1,
            segment,
            in_segment: Tally::default(),
            flushed: 0,
            unflushed: Tally::default(),
            uncounted: false,
            files: SpillFiles::default(),
            websockets: WebSocketFiles::default(),
            lost: 0,
            bodies_cut: 0,
            failed: None,
        })
    }

    /// Takes the next event.
    pub(super) fn take(&mut self, event: FlowEvent) {
        if self.failed.is_some() {
            let ended = match &event {
                FlowEvent::Exchange(exchange) => exchange.is_trace,
                FlowEvent::WebSocketClose(close) => self.websockets.forget(close.flow),
                FlowEvent::WebSocketOpen(_) => true,
                _ => false,
            };
            return self.lose(u64::from(ended));
        }
        if let Err(error) = self.write(event) {
            self.fail(&error);
        }
    }

    fn write(&mut self, event: FlowEvent) -> io::Result<()> {
        #[cfg(test)]
        if let FlowEvent::Exchange(exchange) = &event {
            crate::fault::testing::fault_in("recorder", &exchange.frame);
        }
        match event {
            FlowEvent::Body(BodyBlock { flow, side, data }) => {
                self.files.append(&self.folder.body(flow, side), &data)?;
            }
            FlowEvent::Exchange(exchange) => self.exchange(&exchange)?,
            // A bundle holds what has ended.
            FlowEvent::Begun(_)
            | FlowEvent::Answered(_)
            | FlowEvent::Glimpse(_)
            | FlowEvent::Held(_)
            | FlowEvent::Released(_) => {}
            FlowEvent::WebSocketOpen(open) => self.websockets.open(&open),
            FlowEvent::WebSocketData(block) => self.websockets.data(&block),
            FlowEvent::WebSocketMessage(message) => {
                if !self.websockets.message(&message) {
                    self.stats.messages_left_out.add(1);
                }
            }
            FlowEvent::WebSocketClose(close) => self.close(&close)?,
        }
        if self.websockets.is_full() {
            self.websockets.flush(&mut self.files, &self.folder)?;
        }
        if self.segment.is_full() { self.flush_segment() } else { Ok(()) }
    }

    fn exchange(&mut self, exchange: &EndedExchange) -> io::Result<()> {
        let trace = exchange.is_trace;
        self.uncounted = trace;
        let sides =
            [(Side::Request, exchange.request_ahead), (Side::Response, exchange.response_ahead)];
        for (side, _) in sides.into_iter().filter(|(_, is_ahead)| *is_ahead) {
            let path = self.folder.body(exchange.id, side);
            self.files.close(&path);
            if !trace {
                // What cannot be removed now goes with the folder.
                let _ = std::fs::remove_file(path);
            }
        }
        if !trace {
            return Ok(());
        }
        if self.in_segment.traces >= self.config.part_traces.max(1) {
            self.next_part()?;
        }
        if exchange.frame.is_empty() {
            self.uncounted = false;
            self.lose(1);
            return Ok(());
        }
        self.segment.append_made(&exchange.frame);
        for tail in exchange.tails.iter().flat_map(|tails| tails.iter()) {
            self.segment.append_made(tail);
        }
        let bodies_cut = u64::from(exchange.bodies_cut);
        self.count(Tally { traces: 1, bodies_cut, ..Tally::default() });
        Ok(())
    }

    fn close(&mut self, close: &WebSocketClose) -> io::Result<()> {
        self.uncounted = true;
        let Some(messages) = self.websockets.close(close, &mut self.files, &self.folder)? else {
            self.uncounted = false;
            return Ok(());
        };
        let in_segment = self.in_segment;
        let many_messages =
            in_segment.messages > 0 && in_segment.messages + messages > PART_MESSAGES;
        // Connections have four digits too.
        if many_messages || in_segment.websockets >= PART_TRACES {
            self.next_part()?;
        }
        self.segment.append(FrameType::WebSocket, |out| put_number(out, close.flow.0));
        self.count(Tally { websockets: 1, messages, ..Tally::default() });
        Ok(())
    }

    fn count(&mut self, more: Tally) {
        self.uncounted = false;
        for tally in [&mut self.in_segment, &mut self.unflushed] {
            tally.traces += more.traces;
            tally.websockets += more.websockets;
            tally.messages += more.messages;
            tally.bodies_cut += more.bodies_cut;
        }
    }

    /// Writes what waits in memory.
    pub(super) fn flush(&mut self) {
        if self.failed.is_some() {
            return;
        }
        let flushed = self.websockets.flush(&mut self.files, &self.folder);
        if let Err(error) = flushed.and_then(|()| self.flush_segment()) {
            self.fail(&error);
        }
    }

    fn flush_segment(&mut self) -> io::Result<()> {
        let flushed = self.segment.flush();
        self.settle(flushed)
    }

    /// What was in memory is in the file, or lost.
    fn settle(&mut self, written: io::Result<()>) -> io::Result<()> {
        let tally = std::mem::take(&mut self.unflushed);
        match &written {
            Ok(()) => self.publish(tally),
            Err(_) => self.lose(tally.traces + tally.websockets),
        }
        written
    }

    fn publish(&mut self, tally: Tally) {
        let Tally { traces, websockets, messages, bodies_cut } = tally;
        self.stats.traces.add(traces);
        self.stats.websockets.add(websockets);
        self.stats.messages.add(messages);
        self.stats.bodies_cut.add(bodies_cut);
        self.bodies_cut += bodies_cut;
        self.flushed += traces + websockets;
        self.shared.recorded.fetch_add(traces + websockets, Ordering::Relaxed);
    }

    fn now_us(&self) -> u64 {
        let since = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.started_us.saturating_add(since)
    }

    /// Gives the segment to the packer and begins the next.
    fn next_part(&mut self) -> io::Result<()> {
        let now = self.now_us();
        let next = begin_segment(&self.config, &self.folder, &self.series, self.part + 1, now)?;
        let finished = std::mem::replace(&mut self.segment, next);
        // Should this fail, the segment is what is in its file, and the packer takes that.
        let result = self.settle(finished.finish(now));
        self.give_to_packer(result.is_ok());
        self.part += 1;
        self.flushed = 0;
        self.in_segment = Tally::default();
        result
    }

    fn give_to_packer(&self, finished: bool) {
        let path: PathBuf = part_path(&self.config.output, self.part);
        // The packer lives as long as this sender.
        let _ = self.jobs.send(Job { part: self.part, path, flows: self.flushed, finished });
    }

    fn fail(&mut self, error: &io::Error) {
        // Flows that ended before may still find room; those that do not are counted as lost.
        let _ = self.flush_segment();
        let uncounted = u64::from(std::mem::take(&mut self.uncounted));
        self.lose(uncounted);
        let journal = self.folder.path().display();
        let reason = format!("cannot write {journal}: {error}");
        self.notices.give(Notice::Warning(format!(
            "{reason}; traffic goes on, but nothing more is recorded"
        )));
        self.failed = Some(reason);
    }

    /// Records nothing more, after a fault that has lost one event; whether it did before.
    pub(super) fn give_up(&mut self, reason: String) -> bool {
        let uncounted = u64::from(std::mem::take(&mut self.uncounted));
        self.lose(uncounted);
        if self.failed.is_some() {
            return false;
        }
        self.failed = Some(reason);
        // What is in memory may end with half a frame, behind which nothing is read.
        let _ = self.flush_segment();
        true
    }

    fn lose(&mut self, flows: u64) {
        self.lost += flows;
        self.stats.flows_lost.add(flows);
    }

    /// Ends the last segment; connections that are still open end here.
    pub(super) fn finish(mut self) -> Written {
        let now = self.now_us();
        let mut open = self.websockets.flows();
        open.sort_unstable();
        for flow in open {
            let error = Some("the capture ended first".to_owned());
            self.take(FlowEvent::WebSocketClose(WebSocketClose { flow, time_us: now, error }));
        }
        if self.failed.is_none() {
            self.segment.append(FrameType::SegmentEnd, |out| put_number(out, now));
            self.flush();
        }
        self.shared.closing.store(true, Ordering::Relaxed);
        self.give_to_packer(self.failed.is_none());
        let Writer { lost, bodies_cut, failed, .. } = self;
        Written { lost, bodies_cut, failed, last_kept: false }
    }
}

fn begin_segment(
    config: &RecorderConfig,
    folder: &JournalFolder,
    series: &str,
    part: u32,
    created_us: u64,
) -> io::Result<SegmentWriter> {
    let name = part_path(&config.output, part);
    let header = SegmentHeader {
        series: series.to_owned(),
        part,
        created_us,
        app: config.app.clone(),
        file_name: name.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    SegmentWriter::create(&folder.segment(part), &header)
}
