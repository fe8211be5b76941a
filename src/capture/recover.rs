//! A whole bundle of what a killed capture has left in its journal.
//!
//! The parts that stand in their places stay. Of each segment that is left its part is made, and
//! the connections that had not ended come into the last one. What a part was made from goes when
//! the part stands in its place, so that recovering can be cut short anywhere and begun again.
//! Nothing that belongs to another capture is written over or removed.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::capture::bundle::{Counts, Partial, part_path, uuid};
use crate::capture::entry::{JOURNAL_VERSION, SegmentHeader};
use crate::capture::frame::{FileEnd, FrameType};
use crate::capture::journal::{self, JournalFolder};
use crate::capture::losses::Losses;
use crate::capture::packing::{
    Beginning, Finished, Packing, SegmentRead, beginning, salvage, scan,
};
use crate::capture::private;
use crate::capture::read::{Bundle, ManifestStats};
use crate::capture::remains::{self, Remains};
use crate::capture::shelf::{Shelf, put_back, sync_folder};
use crate::capture::websocket::look_through;
use crate::error::{Error, Result};
use crate::flow::record::FlowId;
use crate::limits::{PART_MESSAGES, PART_TRACES};
use crate::notice::count;

/// The journals that a file leads to, and the bundle that their captures were to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The output of the captures; `None` where a journal's folder does not tell by its name.
    pub output: Option<PathBuf>,
    /// The folders whose captures do not live, in the order of their age.
    pub journals: Vec<PathBuf>,
    /// The folders whose captures live, or are being recovered.
    pub live: Vec<PathBuf>,
}

/// Looks for what can be recovered: `file` is the output of a killed capture, or its journal.
///
/// # Errors
/// When there is none.
pub fn find(file: &Path) -> Result<Found> {
    if file.is_dir() {
        if !remains::is_journal(file) {
            let file = file.display();
            return Err(Error::new(format!(
                "cannot recover {file}: it is no journal of a capture"
            )));
        }
        let (live, journals) = match journal::is_live(file) {
            true => (vec![file.to_owned()], Vec::new()),
            false => (Vec::new(), vec![file.to_owned()]),
        };
        return Ok(Found { output: journal::output_of(file), journals, live });
    }
    // The journal stands beside the file that a link leads to.
    let output = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let (live, journals): (Vec<_>, Vec<_>) =
        journal::journals(&output).partition(|path| journal::is_live(path));
    if live.is_empty() && journals.is_empty() {
        if journal::output_of(file).is_some() && !file.exists() {
            return Err(Error::new(format!("cannot recover {}: it is not there", file.display())));
        }
        let (file, output) = (file.display(), output.display());
        return Err(Error::new(format!(
            "there is nothing to recover for {file}: no unfinished capture is in {output}.journal"
        )));
    }
    Ok(Found { output: Some(output), journals, live })
}

/// What was made of one journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Flows in all parts, with those that stood in their places before.
    pub traces: u64,
    /// WebSocket connections in all parts.
    pub websockets: u64,
    /// WebSocket messages in all parts.
    pub messages: u64,
    /// The parts, in order.
    pub paths: Vec<PathBuf>,
    /// Connections among them that had not ended.
    pub open_websockets: u64,
    /// Exchanges of which only pieces of bodies were written: they were under way.
    pub under_way: u64,
    /// What the user should know besides: a sentence each, without a full stop.
    pub notes: Vec<String>,
    /// What could not be read back, and is why the journal stays; none when it is gone.
    pub failures: Vec<String>,
}

/// Makes the bundle of a killed capture from its journal. `origin` is where that capture wrote,
/// and `output` where the bundle is wanted: what stands there stays, and where it is not of this
/// capture the bundle gets the next free name, `<stem>-recovered.<extension>`.
///
/// # Errors
/// When the capture lives or is being recovered, when its journal is of another version, and when
/// a part cannot be written. Whatever was recovered until then stands, and the journal has the
/// rest.
pub fn recover(journal: &Path, origin: &Path, output: &Path) -> Result<Recovered> {
    let shown = journal.display();
    let into = output.parent().filter(|into| !into.as_os_str().is_empty());
    if let Some(into) = into.filter(|into| !into.is_dir()) {
        let (output, into) = (output.display(), into.display());
        return Err(Error::new(format!("cannot write {output}: there is no folder {into}")));
    }
    let folder = JournalFolder::take_over(journal)
        .map_err(|error| Error::new(format!("cannot recover {shown}: {error}")))?;
    let mut remains = Remains::of(&folder)
        .map_err(|error| Error::new(format!("cannot read {shown}: {error}")))?;
    let (header, foreign) = headers(&folder, &remains, output)?;
    remains.segments.retain(|part| !foreign.contains(part));
    // What lives but for this one, which is locked too.
    let is_reserved = |output: &Path| {
        journal::journals(output).any(|path| !is_same(&path, journal) && journal::is_live(&path))
    };
    let shelf = Shelf::new(header.series.clone(), origin, output, is_reserved(output));
    // Said at once: whatever fails, nothing is removed, so that another try comes to the same.
    let failures = foreign_words(&folder, &foreign).into_iter().collect();
    let recovered = Recovered { failures, ..Recovered::default() };
    let mut recovery = Recovery {
        folder,
        remains,
        header,
        foreign,
        shelf,
        open: None,
        ends_torn: false,
        recovered,
    };
    let back = recovery.put_older_back(origin, is_reserved(origin));
    back.and_then(|()| recovery.make()).map_err(|error| {
        Error::new(format!(
            "cannot recover {shown}: {error}; nothing is lost: what is done stands, the rest is \
             still there, and the same command goes on with it"
        ))
    })?;
    Ok(recovery.recovered)
}

/// Two paths of one folder, relative or not.
fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// The first header of the capture that most segments name, else what can be said without; and the
/// parts whose segments name another capture.
fn headers(
    folder: &JournalFolder,
    remains: &Remains,
    output: &Path,
) -> Result<(SegmentHeader, BTreeSet<u32>)> {
    let mut captures: Vec<(SegmentHeader, BTreeSet<u32>)> = Vec::new();
    for part in &remains.segments {
        let path = folder.segment(*part);
        match beginning(&path) {
            Beginning::Header(header) => {
                match captures.iter_mut().find(|(first, _)| first.series == header.series) {
                    Some((_, parts)) => _ = parts.insert(*part),
                    None => captures.push((header, BTreeSet::from([*part]))),
                }
            }
            Beginning::Version(version) => {
                return Err(Error::new(format!(
                    "cannot recover {}: it is of version {version} of the journal, and this \
                     flowtap reads {JOURNAL_VERSION}; recover it with the flowtap that wrote it",
                    folder.path().display()
                )));
            }
            Beginning::Unreadable => {}
        }
    }
    // The first of those with the most segments.
    captures.sort_by_key(|(_, parts)| std::cmp::Reverse(parts.len()));
    let mut captures = captures.into_iter();
    let header = captures.next().map(|(header, _)| header);
    let foreign = captures.flat_map(|(_, parts)| parts).collect();
    Ok((header.unwrap_or_else(|| unnamed(folder, remains, output)), foreign))
}

/// Why the segments of other captures keep the journal, if there are any.
fn foreign_words(folder: &JournalFolder, foreign: &BTreeSet<u32>) -> Option<String> {
    let first = segment_name(folder, *foreign.first()?);
    Some(match foreign.len() - 1 {
        0 => format!("{first} is of another capture"),
        more => format!("{first} and {more} more are of another capture"),
    })
}

fn segment_name(folder: &JournalFolder, part: u32) -> String {
    let segment = folder.segment(part);
    segment.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What can be said of a capture where no header does.
fn unnamed(folder: &JournalFolder, remains: &Remains, output: &Path) -> SegmentHeader {
    // The same bytes give the same series, so that a second try finds what the first has made.
    let mut bytes = Vec::new();
    if let Some(part) = remains.segments.first() {
        let file = private::open(&folder.segment(*part));
        let _ = file.and_then(|file| file.take(SERIES_BYTES).read_to_end(&mut bytes));
    }
    let words = [1_u8, 2, 3, 4].map(|salt| {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&[salt]);
        hasher.update(&bytes);
        u128::from(hasher.finalize())
    });
    let number = words.iter().fold(0, |number, word| number << 32 | word);
    SegmentHeader {
        series: uuid(number.to_be_bytes(), 8),
        part: 1,
        created_us: 0,
        app: output.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        file_name: String::new(),
    }
}

/// Bytes of a segment that stand for the capture where no header names it.
const SERIES_BYTES: u64 = 64 * 1024;

struct Recovery {
    folder: JournalFolder,
    remains: Remains,
    /// Of the first segment that has one.
    header: SegmentHeader,
    /// Parts whose segments are of another capture; they are left alone.
    foreign: BTreeSet<u32>,
    shelf: Shelf,
    /// Connections that had not ended and are in no part yet; `None` until that is known.
    open: Option<Vec<FlowId>>,
    /// Whether the last segment ends in the middle of a frame.
    ends_torn: bool,
    recovered: Recovered,
}

impl Recovery {
    /// Puts the files of the older capture, whose place the killed one was to take, back.
    fn put_older_back(&mut self, output: &Path, is_reserved: bool) -> io::Result<()> {
        let files: Vec<_> =
            self.remains.replaced.iter().map(|part| (*part, self.folder.replaced(*part))).collect();
        if files.is_empty() {
            return Ok(());
        }
        let base = put_back(&files, output, is_reserved)?;
        self.recovered.notes.push(match base == output {
            true => format!("the older bundle is in its place: {}", base.display()),
            false => format!("the older bundle is kept as {}", base.display()),
        });
        Ok(())
    }

    fn make(&mut self) -> io::Result<()> {
        self.settle(0)?;
        for part in self.remains.segments.clone() {
            self.part_of_segment(part)?;
        }
        // What had no room in the last part, or had no segment at all.
        let mut open = self.take_open();
        let mut part = self.last_part();
        while !open.is_empty() {
            part += 1;
            self.part_of_open(part, &mut open)?;
        }
        self.sum_up();
        if self.recovered.failures.is_empty() { self.clear() } else { Ok(()) }
    }

    /// The highest number of a part that the journal tells of.
    fn last_part(&self) -> u32 {
        let last = self.remains.segments.last().max(self.remains.placed.last());
        last.copied().unwrap_or(0)
    }

    /// Chooses the name under which all parts, and at least `up_to`, have places, and brings what
    /// there is already to it.
    fn settle(&mut self, up_to: u32) -> io::Result<()> {
        let parts: Vec<u32> = (1..=self.last_part().max(up_to)).collect();
        loop {
            self.shelf.choose(&parts)?;
            let mut all = true;
            for part in parts.iter().copied() {
                let from = match self.shelf.find(part) {
                    Some((path, _)) => path,
                    None if self.remains.placed.contains(&part) => self.folder.placed(part),
                    None => continue,
                };
                all &= self.shelf.gather(&from, part)?;
            }
            if all {
                return Ok(());
            }
        }
    }

    /// The connections that no segment names and no part has, once all segments were read.
    fn take_open(&mut self) -> Vec<FlowId> {
        if let Some(open) = self.open.take() {
            return open;
        }
        let mut open = Vec::new();
        for flow in self.remains.websockets.clone() {
            let found = look_through(&self.folder, flow);
            if found.damaged {
                let path = self.folder.websocket(flow);
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let what = if found.handshake { "more messages" } else { "messages" };
                self.fail(format!("{name} is damaged, and may hold {what} that could not be read"));
            }
            match found.handshake {
                true => open.push(flow),
                // The handshake was being written.
                false => self.recovered.under_way += u64::from(!found.damaged),
            }
        }
        self.recovered.open_websockets = open.len() as u64;
        open
    }

    fn header_of(&self, part: u32) -> SegmentHeader {
        match beginning(&self.folder.segment(part)) {
            Beginning::Header(header) => SegmentHeader { part, ..header },
            // Of a damaged one the flows tell when it was begun.
            _ => SegmentHeader { part, created_us: 0, ..self.header.clone() },
        }
    }

    /// Makes the part of a segment, unless it stands in its place.
    fn part_of_segment(&mut self, part: u32) -> io::Result<()> {
        let is_last = self.remains.segments.last() == Some(&part);
        let path = self.folder.segment(part);
        let frames = match salvage(&path) {
            Ok(frames) => frames,
            Err(error) => {
                self.fail(format!("{} cannot be read: {error}", path.display()));
                return Ok(());
            }
        };
        let found = self.shelf.find(part);
        if let Some((there, stats)) = &found {
            let read = scan(&self.folder, salvage(&path)?);
            if holds(stats, &read) {
                self.remains.strike_out(&self.folder, &read.used);
                if is_last {
                    // Connections that had not ended came behind those that the segment names.
                    let more = stats.ws_connection_count.saturating_sub(read.named.websockets);
                    let mut open = self.take_open();
                    open.drain(..usize::try_from(more).unwrap_or(usize::MAX).min(open.len()));
                    self.open = Some(open);
                }
                let damaged = Bundle::open(there).map_or(0, |mut bundle| bundle.damaged());
                self.judge(part, (read.skipped, damaged), &read);
                self.remove_used(part, &read);
                return Ok(());
            }
        }
        let mut packing = Packing::with(self.header_of(part), Some(frames), &self.folder)?;
        let _ = packing.go_on(&self.folder, &mut || ControlFlow::Continue(()))?;
        self.remains.strike_out(&self.folder, &packing.read().used);
        if is_last {
            let mut open = self.take_open();
            if found.is_none() {
                self.fill(&mut packing, &mut open)?;
            }
            self.open = Some(open);
        }
        // One without flows has no time of its own.
        packing.date_if_unknown(self.header.created_us);
        let read = packing.read();
        let mut losses = read.losses;
        self.tell_losses(part, losses);
        losses.add(Losses::of_flows(read.lost()));
        let Finished { counts, file, read } = packing.finish(losses)?;
        self.judge(part, (read.lost(), read.damaged), &read);
        let is_empty = counts.traces + counts.websockets == 0 && losses.is_none();
        match found {
            // What stands there was made of the same segment.
            Some((there, stats)) if has_more(&counts, &stats) => {
                file.move_to(&there)?;
            }
            Some(_) => {}
            // Readers look for parts one after the other, so one between others stays.
            None if is_empty && is_last => {}
            None => self.put(&file, part)?,
        }
        self.remove_used(part, &read);
        Ok(())
    }

    /// Makes a part of connections that had not ended.
    fn part_of_open(&mut self, part: u32, open: &mut Vec<FlowId>) -> io::Result<()> {
        if let Some((_, stats)) = self.shelf.find(part) {
            let there = usize::try_from(stats.ws_connection_count).unwrap_or(usize::MAX);
            open.drain(..there.clamp(1, open.len()));
            return Ok(());
        }
        let header = SegmentHeader { part, created_us: 0, ..self.header.clone() };
        let mut packing = Packing::with(header, None, &self.folder)?;
        self.fill(&mut packing, open)?;
        let Finished { file, .. } = packing.finish(Losses::default())?;
        self.put(&file, part)
    }

    /// Packs as many connections as there is room for.
    fn fill(&self, packing: &mut Packing, open: &mut Vec<FlowId>) -> io::Result<()> {
        let mut packed = 0;
        for flow in open.iter() {
            let counts = packing.counts();
            if counts.websockets >= PART_TRACES || counts.messages >= PART_MESSAGES {
                break;
            }
            packing.add_open(&self.folder, *flow)?;
            packed += 1;
        }
        open.drain(..packed);
        Ok(())
    }

    /// Moves a part to its place.
    fn put(&mut self, file: &Partial, part: u32) -> io::Result<()> {
        // Somebody may have taken the place meanwhile.
        while !self.shelf.gather(file.path()?, part)? {
            self.settle(part)?;
        }
        sync_folder(&self.shelf.base);
        Ok(())
    }

    /// Notes what of a segment could not be read back.
    fn judge(&mut self, part: u32, (lost, damaged): (u64, u64), read: &SegmentRead) {
        let name = segment_name(&self.folder, part);
        if lost > 0 {
            self.fail(format!("{} of {name} could not be read back", count(lost, "flow")));
        }
        if damaged > 0 {
            let damaged = count(damaged, "flow");
            self.fail(format!("{damaged} of {name} could be read back in part only"));
        }
        if read.lost_track {
            self.fail(format!("{name} is damaged, and may hold more flows than could be found"));
        } else if self.last_part() <= part && self.shelf.find(part + 1).is_none() {
            self.ends_torn = read.end == FileEnd::Torn;
        } else if read.ended_us.is_none()
            && (read.end == FileEnd::Torn || !self.is_just_begun(part + 1))
        {
            self.recovered.notes.push(format!(
                "{name} ends early, as where the disk was full or the machine crashed; what may \
                 have come behind that place is not there"
            ));
        }
    }

    /// Whether the capture was killed as it went on to this part: the segment before is finished
    /// when there is one to go on with.
    fn is_just_begun(&self, part: u32) -> bool {
        let Ok(mut frames) = salvage(&self.folder.segment(part)) else { return false };
        let has_header = matches!(frames.next_frame(), Ok(Some((FrameType::Segment, _))));
        has_header && matches!(frames.next_frame(), Ok(None))
    }

    /// Tells of what was lost while the capture lived: nobody did.
    fn tell_losses(&mut self, part: u32, losses: Losses) {
        if !losses.is_none() {
            let lost = losses.shown();
            self.recovered.notes.push(format!("{lost} lost while part {part} was captured"));
        }
    }

    fn fail(&mut self, why: String) {
        self.recovered.failures.push(why);
    }

    /// Removes what a part was made from, which makes room for the next. The last segment that
    /// names the capture stays until the end.
    fn remove_used(&self, part: u32, read: &SegmentRead) {
        // Segments whose headers are damaged do not name the capture.
        let mut rest = self.remains.segments.range(part + 1..);
        let names = |part: &u32| match beginning(&self.folder.segment(*part)) {
            Beginning::Header(header) => header.series == self.header.series,
            _ => false,
        };
        if !self.recovered.failures.is_empty() || !rest.any(names) {
            return;
        }
        for file in read.used.iter().chain([&self.folder.segment(part)]) {
            // What cannot be removed goes with the folder.
            let _ = std::fs::remove_file(file);
        }
    }

    fn sum_up(&mut self) {
        // The frame that was being written may be that of a flow that has such bodies.
        let pieces = self.remains.bodies.len().max(usize::from(self.ends_torn));
        self.recovered.under_way += pieces as u64;
        if let Some(why) = self.shelf.why_elsewhere() {
            self.recovered.notes.push(why);
        }
        let last = self.last_part();
        let mut missing = Vec::new();
        for part in 1.. {
            if let Some((path, stats)) = self.shelf.find(part) {
                let recovered = &mut self.recovered;
                recovered.paths.push(path);
                recovered.traces += stats.trace_count;
                recovered.websockets += stats.ws_connection_count;
                recovered.messages += stats.ws_message_count;
            } else if part > last {
                break;
            } else if !self.remains.segments.contains(&part) && !self.foreign.contains(&part) {
                missing.push(part);
            }
        }
        self.tell_missing(&missing);
        for name in &self.remains.strange {
            let name = name.to_string_lossy();
            self.recovered.failures.push(format!("{name} is no file of a capture"));
        }
    }

    /// Tells of parts that somebody has moved, however many, in one sentence.
    fn tell_missing(&mut self, parts: &[u32]) {
        let [first, more @ ..] = parts else { return };
        let was = part_path(&self.shelf.origin, *first);
        let was = was.display();
        self.recovered.notes.push(match more.last() {
            None => format!("part {first} is not there; the capture had put it to {was}"),
            Some(last) => format!(
                "{} parts from {first} to {last} are not there; the capture had put the first of \
                 them to {was}",
                parts.len()
            ),
        });
    }

    /// Removes the journal, all of which stands in bundles.
    fn clear(&mut self) -> io::Result<()> {
        let listed = std::fs::read_dir(self.folder.path())?;
        let listed: Vec<_> = listed.flatten().map(|entry| entry.path()).collect();
        // A running capture may have moved parts here that were in its way.
        self.remains = Remains::of(&self.folder)?;
        self.settle(0)?;
        // The segment that names the capture goes behind all else, and what keeps others out last.
        let last = self.remains.segments.last().map(|part| self.folder.segment(*part));
        let ends: Vec<_> = last.into_iter().chain([self.folder.lock_file()]).collect();
        for path in listed.iter().filter(|path| !ends.contains(path)).chain(&ends) {
            std::fs::remove_file(path)?;
        }
        // What came since keeps the folder.
        let _ = std::fs::remove_dir(self.folder.path());
        Ok(())
    }
}

/// Whether a part that stands in its place has all that its segment names.
fn holds(stats: &ManifestStats, read: &SegmentRead) -> bool {
    stats.trace_count >= read.named.exchanges && stats.ws_connection_count >= read.named.websockets
}

/// Whether a part that was made anew has more than the one that stands in its place.
fn has_more(counts: &Counts, stats: &ManifestStats) -> bool {
    let at_least = counts.traces >= stats.trace_count
        && counts.websockets >= stats.ws_connection_count
        && counts.messages >= stats.ws_message_count;
    let same = counts.traces == stats.trace_count
        && counts.websockets == stats.ws_connection_count
        && counts.messages == stats.ws_message_count;
    at_least && !same
}
