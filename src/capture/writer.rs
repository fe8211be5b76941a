//! What the recorder does with each event: into the journal, and on to the next part in time.
//!
//! When nothing can be written the capture is suspended: what waits in memory still waits, flows
//! that end are lost, and bodies and messages of which a piece came meanwhile are not whole any
//! more. It goes on in a fresh segment, so that a torn one stays a readable beginning.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam_channel::Sender;

use crate::capture::bundle::{part_path, random_uuid};
use crate::capture::entry::{SegmentHeader, put_losses, put_number};
use crate::capture::frame::FrameType;
use crate::capture::journal::{JournalFolder, SegmentWriter};
use crate::capture::losses::Losses;
use crate::capture::packer::{Job, Shared};
use crate::capture::recorder::{RecorderConfig, epoch_us};
use crate::capture::spill::{SpillFile, SpillFiles};
use crate::capture::suspension::Suspension;
use crate::capture::websocket_files::{Kept, WebSocketFiles};
use crate::flow::record::{
    BodyBlock, EndedExchange, FlowEvent, Side, WebSocketClose, WebSocketMessage, WebSocketOpen,
};
use crate::limits::{PART_MESSAGES, PART_TRACES};
use crate::notice::Notices;
use crate::stats::Stats;

/// Flows in a segment, or in a part of it.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    traces: u64,
    websockets: u64,
    messages: u64,
    bodies_cut: u64,
    /// What it tells of.
    losses: Losses,
}

impl Tally {
    fn flows(self) -> u64 {
        self.traces + self.websockets
    }

    fn add(&mut self, more: Tally) {
        self.traces += more.traces;
        self.websockets += more.websockets;
        self.messages += more.messages;
        self.bodies_cut += more.bodies_cut;
        self.losses.add(more.losses);
    }

    /// Whether there is anything to tell by a part.
    fn is_empty(self) -> bool {
        self.flows() == 0 && self.losses.is_none()
    }
}

/// What a writer has to say at its end.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) lost: u64,
    /// Messages that are missing in connections.
    pub(super) messages_lost: u64,
    pub(super) bodies_cut: u64,
    /// Why something was lost, or writing ended before its time.
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
    suspension: Suspension,
    /// The time since the epoch at `started`; the clock may be set back meanwhile.
    started_us: u64,
    started: Instant,
    part: u32,
    segment: SegmentWriter,
    /// Flows that are in the segment's file.
    flushed: Tally,
    /// Flows that are in memory.
    unflushed: Tally,
    /// Whether a flow has ended that is not counted yet.
    uncounted: bool,
    files: SpillFiles,
    websockets: WebSocketFiles,
    bodies_cut: u64,
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
            stats: stats.clone(),
            suspension: Suspension::new(stats, notices),
            started_us,
            started: Instant::now(),
            part: 1,
            segment,
            flushed: Tally::default(),
            unflushed: Tally::default(),
            uncounted: false,
            files: SpillFiles::default(),
            websockets: WebSocketFiles::default(),
            bodies_cut: 0,
        })
    }

    /// Takes the next event; whether that may have taken long, since files other than the open
    /// segment were written, made or removed for it.
    pub(super) fn take(&mut self, event: FlowEvent) -> bool {
        let part = self.part;
        let has_files = match &event {
            FlowEvent::Body(_) | FlowEvent::WebSocketClose(_) => true,
            FlowEvent::Exchange(exchange) => exchange.request_ahead || exchange.response_ahead,
            _ => false,
        };
        self.uncounted = match &event {
            FlowEvent::Exchange(exchange) => exchange.is_trace,
            FlowEvent::WebSocketClose(close) => self.websockets.knows(close.flow),
            _ => false,
        };
        #[cfg(test)]
        if let FlowEvent::Exchange(exchange) = &event {
            crate::fault::testing::fault_in("recorder", &exchange.frame);
        }
        match event {
            FlowEvent::Body(block) => self.body(&block),
            FlowEvent::Exchange(exchange) => self.exchange(&exchange),
            // A bundle holds what has ended.
            FlowEvent::Begun(_)
            | FlowEvent::Answered(_)
            | FlowEvent::Glimpse(_)
            | FlowEvent::Held(_)
            | FlowEvent::Released(_) => {}
            FlowEvent::WebSocketOpen(open) => self.open(&open),
            FlowEvent::WebSocketData(block) if self.is_suspended() => {
                self.websockets.lose_data(&block);
            }
            FlowEvent::WebSocketData(block) => self.websockets.data(&block),
            FlowEvent::WebSocketMessage(message) => self.message(&message),
            FlowEvent::WebSocketClose(close) => self.close(&close),
        }
        self.uncounted = false;
        let mut took_long = has_files || self.part != part;
        if self.is_suspended() {
            return took_long;
        }
        if self.websockets.is_full() {
            took_long = true;
            let flushed = self.websockets.flush(&mut self.files, &self.folder);
            self.suspend_on(flushed);
        }
        if self.segment.is_full() && !self.is_suspended() {
            let flushed = self.flush_segment();
            self.suspend_on(flushed);
        }
        took_long
    }

    fn is_suspended(&self) -> bool {
        self.suspension.is_on()
    }

    fn body(&mut self, block: &BodyBlock) {
        let file = SpillFile::Body(block.flow, block.side);
        if self.is_suspended() {
            return self.files.tear(&self.folder, file);
        }
        if let Err(error) = self.files.append(&self.folder, file, &block.data) {
            self.files.tear(&self.folder, file);
            self.suspend(&error);
        }
    }

    fn exchange(&mut self, exchange: &EndedExchange) {
        let trace = exchange.is_trace;
        let sides =
            [(Side::Request, exchange.request_ahead), (Side::Response, exchange.response_ahead)];
        let ahead = sides.into_iter().filter(|(_, is_ahead)| *is_ahead);
        let files = ahead.map(|(side, _)| SpillFile::Body(exchange.id, side));
        if !trace {
            return files.for_each(|file| self.files.remove(&self.folder, file));
        }
        if !self.is_suspended() && self.traces() >= self.config.part_traces.max(1) {
            let begun = self.next_part();
            self.suspend_on(begun);
        }
        let is_torn = files.clone().any(|file| self.files.is_torn(file));
        if is_torn || self.is_suspended() || exchange.frame.is_empty() {
            files.for_each(|file| self.files.remove(&self.folder, file));
            return self.suspension.lose(1);
        }
        files.for_each(|file| _ = self.files.close(file));
        self.segment.append_made(&exchange.frame);
        for tail in exchange.tails.iter().flat_map(|tails| tails.iter()) {
            self.segment.append_made(tail);
        }
        let bodies_cut = u64::from(exchange.bodies_cut);
        self.unflushed.add(Tally { traces: 1, bodies_cut, ..Tally::default() });
    }

    fn traces(&self) -> u64 {
        self.flushed.traces + self.unflushed.traces
    }

    /// While nothing can be written, a connection is kept in memory where there is room.
    fn open(&mut self, open: &WebSocketOpen) {
        if self.is_suspended() && self.websockets.is_full() {
            self.suspension.lose(1);
        } else {
            self.websockets.open(open);
        }
    }

    fn message(&mut self, message: &WebSocketMessage) {
        let kept = if self.is_suspended() {
            if self.websockets.lose_message(message) { Kept::Lost } else { Kept::Yes }
        } else {
            self.websockets.message(message)
        };
        match kept {
            Kept::Yes => {}
            Kept::PastLimit => self.stats.messages_left_out.add(1),
            Kept::Lost => self.suspension.lose_message(),
        }
    }

    fn close(&mut self, close: &WebSocketClose) {
        if !self.websockets.knows(close.flow) {
            return;
        }
        let written = if self.is_suspended() { Ok(None) } else { self.write_close(close) };
        match written {
            Ok(Some(messages)) => {
                self.segment.append(FrameType::WebSocket, |out| put_number(out, close.flow.0));
                self.unflushed.add(Tally { websockets: 1, messages, ..Tally::default() });
                return;
            }
            Ok(None) => {}
            Err(error) => self.suspend(&error),
        }
        self.websockets.remove(close.flow, &mut self.files, &self.folder);
        self.suspension.lose(1);
    }

    /// Ends the file of a connection: how many messages it holds, or `None` when it is torn.
    fn write_close(&mut self, close: &WebSocketClose) -> io::Result<Option<u64>> {
        let closed = self.websockets.close(close, &mut self.files, &self.folder)?;
        let Some(messages) = closed else { return Ok(None) };
        let before = self.flushed.messages + self.unflushed.messages;
        let many_messages = before > 0 && before + messages > PART_MESSAGES;
        // Connections have four digits too.
        let websockets = self.flushed.websockets + self.unflushed.websockets;
        if many_messages || websockets >= PART_TRACES {
            self.next_part()?;
        }
        Ok(Some(messages))
    }

    /// Writes what waits in memory, or tries to take up again. To be called every now and then.
    pub(super) fn flush(&mut self) {
        self.shared.beats.fetch_add(1, Ordering::Relaxed);
        if !self.is_suspended() {
            let flushed = self.check().and_then(|()| self.write_all());
            self.suspend_on(flushed);
        }
        if self.suspension.is_due(Instant::now()) {
            match self.take_up_again(Room::ForMore) {
                Ok(()) => self.suspension.end(),
                Err(error) => self.fail(&error),
            }
        }
    }

    fn write_all(&mut self) -> io::Result<()> {
        self.websockets.flush(&mut self.files, &self.folder)?;
        self.flush_segment()
    }

    /// What was in memory is in the file, or still in memory.
    fn flush_segment(&mut self) -> io::Result<()> {
        self.tell_losses();
        self.segment.flush()?;
        let tally = std::mem::take(&mut self.unflushed);
        self.flushed.add(tally);
        let Tally { traces, websockets, messages, bodies_cut, .. } = tally;
        self.stats.traces.add(traces);
        self.stats.websockets.add(websockets);
        self.stats.messages.add(messages);
        self.stats.bodies_cut.add(bodies_cut);
        self.bodies_cut += bodies_cut;
        self.shared.recorded.fetch_add(tally.flows(), Ordering::Relaxed);
        Ok(())
    }

    /// Has the segment tell of the losses that none tells of.
    fn tell_losses(&mut self) {
        let losses = self.suspension.take_unwritten();
        if !losses.is_none() {
            self.segment.append(FrameType::Losses, |out| put_losses(out, losses));
            self.unflushed.add(Tally { losses, ..Tally::default() });
        }
    }

    /// What was written to the segment is lost.
    fn unpublish(&mut self) {
        let tally = std::mem::take(&mut self.flushed);
        let Tally { traces, websockets, messages, bodies_cut, losses } = tally;
        self.suspension.give_back(losses);
        self.stats.traces.sub(traces);
        self.stats.websockets.sub(websockets);
        self.stats.messages.sub(messages);
        self.stats.bodies_cut.sub(bodies_cut);
        self.bodies_cut -= bodies_cut;
        self.shared.recorded.fetch_sub(tally.flows(), Ordering::Relaxed);
        self.suspension.lose(tally.flows());
    }

    /// Looks whether the segment is still there. Where it is not, what was written to it is lost,
    /// and so are the flows under way whose files went with it.
    fn check(&mut self) -> io::Result<()> {
        if self.segment.is_at(&self.folder.segment(self.part))? {
            return Ok(());
        }
        self.unpublish();
        self.files.check(&self.folder);
        let torn = self.websockets.remove_torn(&mut self.files, &self.folder);
        self.suspension.lose(torn);
        Err(io::Error::new(io::ErrorKind::NotFound, "its files were removed"))
    }

    fn now_us(&self) -> u64 {
        let since = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        // While the machine sleeps only the clock goes on.
        self.started_us.saturating_add(since).max(epoch_us())
    }

    /// Gives the segment to the packer and begins the next.
    fn next_part(&mut self) -> io::Result<()> {
        self.check()?;
        self.flush_segment()?;
        self.begin_part()
    }

    /// Begins the next part, or this one anew where nothing is in it. What waits in memory goes
    /// with it.
    fn begin_part(&mut self) -> io::Result<()> {
        let now = self.now_us();
        let is_used = self.flushed.flows() > 0;
        let part = self.part + u32::from(is_used);
        let mut next = begin_segment(&self.config, &self.folder, &self.series, part, now)?;
        next.carry_over(&mut self.segment);
        let finished = std::mem::replace(&mut self.segment, next);
        if is_used {
            let losses = self.suspension.take_unwritten();
            // Should this fail, the segment is what is in its file, and the packer takes that.
            let is_finished = finished.finish(losses, now).is_ok();
            match is_finished {
                true => self.flushed.losses.add(losses),
                false => self.suspension.give_back(losses),
            }
            self.give_to_packer(is_finished);
        } else {
            self.suspension.give_back(self.flushed.losses);
        }
        self.part = part;
        self.flushed = Tally::default();
        Ok(())
    }

    fn give_to_packer(&self, finished: bool) {
        let path: PathBuf = part_path(&self.config.output, self.part);
        let Tally { losses, .. } = self.flushed;
        let job = Job { part: self.part, path, flows: self.flushed.flows(), losses, finished };
        // The packer lives as long as this sender.
        let _ = self.jobs.send(job);
    }

    fn suspend_on(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.suspend(&error);
        }
    }

    fn suspend(&mut self, error: &io::Error) {
        if self.is_suspended() {
            return self.fail(error);
        }
        match self.check() {
            Ok(()) => {
                // What waits in memory may still find room in its segment.
                let _ = self.flush_segment();
                self.fail(error);
            }
            Err(gone) => self.fail(&gone),
        }
    }

    fn fail(&mut self, error: &io::Error) {
        let reason = self.refusal(error);
        // What was removed can be made again without waiting for room.
        let soon = error.kind() == io::ErrorKind::NotFound;
        self.suspension.fail(Instant::now(), reason, soon);
    }

    fn refusal(&self, error: &io::Error) -> String {
        format!("cannot write {}: {error}", self.folder.path().display())
    }

    /// Records nothing more, after a fault that has lost one event; whether it did before.
    pub(super) fn give_up(&mut self, reason: String) -> bool {
        let uncounted = u64::from(std::mem::take(&mut self.uncounted));
        self.suspension.lose(uncounted);
        if self.suspension.is_for_good() {
            return false;
        }
        if !self.is_suspended() {
            // What is in memory may end with half a frame, behind which nothing is read.
            let _ = self.flush_segment();
        }
        self.suspension.give_up(reason);
        true
    }

    /// Tries to write again: in a folder that is there, into a fresh segment.
    fn take_up_again(&mut self, room: Room) -> io::Result<()> {
        // What is gone is counted, and then made again.
        let is_there = self.check().is_ok();
        self.folder.restore()?;
        if room == Room::ForMore {
            self.folder.probe()?;
        }
        if !is_there || self.flushed.flows() > 0 {
            self.begin_part()?;
        }
        self.write_all()
    }

    /// Ends the last segment; connections that are still open end here.
    pub(super) fn finish(mut self) -> Written {
        if !self.is_suspended() {
            let checked = self.check();
            self.suspend_on(checked);
        }
        let mut open = self.websockets.flows();
        let is_lacking = self.check().is_err();
        // Without a first segment there would be no bundle, not even one of nothing.
        let has_none = self.part == 1 && self.flushed.flows() == 0 && is_lacking;
        // What a segment told of that is gone is to be told of by another.
        let is_untold = is_lacking && self.suspension.has_unwritten();
        let has_more = has_none || is_untold || self.unflushed.flows() > 0 || !open.is_empty();
        let may_try = self.is_suspended() && !self.suspension.is_for_good();
        if may_try && has_more {
            match self.take_up_again(Room::ForTheRest) {
                Ok(()) => self.suspension.end(),
                Err(error) => self.suspension.ends_by(self.refusal(&error)),
            }
        }
        let now = self.now_us();
        open.sort_unstable();
        for flow in open {
            let error = Some("the capture ended first".to_owned());
            let _ =
                self.take(FlowEvent::WebSocketClose(WebSocketClose { flow, time_us: now, error }));
        }
        if !self.is_suspended() {
            let flushed = self.write_all();
            self.suspend_on(flushed);
        }
        let left = std::mem::take(&mut self.unflushed);
        self.suspension.lose(left.flows());
        self.suspension.give_back(left.losses);
        self.shared.closing.store(true, Ordering::Relaxed);
        self.give_last_to_packer(now);
        let messages_lost = self.suspension.messages_lost();
        let lost = self.suspension.lost();
        let failed = self.suspension.reason().filter(|_| lost + messages_lost > 0);
        let failed = failed.map(str::to_owned);
        Written { lost, messages_lost, bodies_cut: self.bodies_cut, failed, last_kept: false }
    }

    fn give_last_to_packer(&mut self, now: u64) {
        self.segment.clear();
        self.tell_losses();
        // The part tells of them, though there be no room in the segment.
        let tally = std::mem::take(&mut self.unflushed);
        self.flushed.add(tally);
        let is_there = || self.segment.is_at(&self.folder.segment(self.part)).unwrap_or(false);
        if self.part > 1 && (self.flushed.is_empty() || self.flushed.flows() == 0 && !is_there()) {
            // The folder may be kept, and this says nothing.
            return self.folder.discard(&self.folder.segment(self.part));
        }
        if self.suspension.is_for_good() {
            return self.give_to_packer(false);
        }
        self.segment.append(FrameType::SegmentEnd, |out| put_number(out, now));
        let is_finished = self.segment.flush().is_ok();
        self.give_to_packer(is_finished);
    }
}

/// For what there must be room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// For traffic that goes on.
    ForMore,
    /// For what is in memory.
    ForTheRest,
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

#[cfg(test)]
pub(super) mod tests;
