//! The capture bundle: entries of the ZIP, the manifest and the timeline.
//!
//! A part is written into the journal's folder, and takes its place when it is whole.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;

use crate::capture::archive::{Archive, EntryName, Method};
use crate::capture::journal::JournalFolder;
use crate::capture::json::{Json, put_padded};
use crate::capture::losses::Losses;
use crate::capture::private;
use crate::capture::spool::{Held, Spool};
use crate::flow::head::host_text;
use crate::limits::{COMPRESSED_FROM_BYTES, INFLATE_BUFFER_BYTES};
use crate::random;

/// The version of the format.
pub const FORMAT_VERSION: &str = "1.0.0";
/// What the manifest says of how the capture was made.
pub const CAPTURE_METHOD: &str = "proxy";

/// The path of a part: the output itself, then `<stem>-0002.<extension>` and so on.
pub fn part_path(output: &Path, part: u32) -> PathBuf {
    if part <= 1 {
        return output.to_owned();
    }
    let mut name = OsString::from(output.file_stem().unwrap_or_default());
    name.push(format!("-{part:04}"));
    if let Some(extension) = output.extension() {
        name.push(".");
        name.push(extension);
    }
    output.with_file_name(name)
}

/// How many of each a part, or a whole capture, has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// HTTP exchanges.
    pub traces: u64,
    /// WebSocket connections.
    pub websockets: u64,
    /// WebSocket messages.
    pub messages: u64,
    /// Bytes of bodies and payloads, as they are stored.
    pub bytes: u64,
}

/// What the manifest says besides what the writer counts itself.
#[derive(Clone, Debug)]
pub struct PartFacts {
    /// The name.
    pub app: String,
    /// A UUID that all parts of one capture share.
    pub series: String,
    /// The part's number, from 1.
    pub part: u32,
    /// When the part was begun, in microseconds since the Unix epoch.
    pub created_us: u64,
    /// From then to its end.
    pub duration: Duration,
    /// What was lost while the part was made, or since.
    pub losses: Losses,
}

/// What became of a flow that the journal names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stands in the part as it was recorded.
    Whole,
    /// Something of it could not be read back; what could stands in the part, and is marked.
    Damaged,
    /// Nothing of it could be read back.
    Lost,
}

/// What became of a body or payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// Bytes of the entry; without any there is no entry.
    pub(super) bytes: u64,
    /// Whether the source could be read to its end.
    pub(super) whole: bool,
}

/// What an event of the timeline is, and the entry that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    /// An exchange.
    Trace(u32),
    /// A WebSocket connection.
    WebSocket(u32),
    /// A message: the connection, the number in it, and how many digits such numbers have.
    Message(u32, u32, u8),
}

impl Id {
    /// Appends its text, as `t_0001`.
    pub(super) fn put(self, out: &mut Vec<u8>) {
        let (prefix, number) = match self {
            Id::Trace(number) => ("t_", number),
            Id::WebSocket(number) | Id::Message(number, ..) => ("ws_", number),
        };
        out.extend_from_slice(prefix.as_bytes());
        put_padded(out, number.into(), 4);
        if let Id::Message(_, message, digits) = self {
            out.extend_from_slice(b"_m");
            put_padded(out, message.into(), digits.into());
        }
    }

    fn event(self) -> &'static str {
        match self {
            Id::Trace(_) => "trace",
            Id::WebSocket(_) => "ws_open",
            Id::Message(..) => "ws_message",
        }
    }
}

/// The entries of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// `manifest.json`
    Manifest,
    /// `timeline.json`
    Timeline,
    /// What there is to say of a trace, connection or message.
    Json(Id),
    /// A body or payload.
    File(Id, FileKind),
}

/// What a file of bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// The body of a trace's request.
    Request,
    /// The body of a trace's response.
    Response,
    /// The payload of a message.
    Payload,
}

impl FileKind {
    /// Appends the name of a file, without its folder.
    pub(super) fn put(self, id: Id, out: &mut Vec<u8>) {
        id.put(out);
        let suffix: &[u8] = match self {
            FileKind::Request => b"_request.bin",
            FileKind::Response => b"_response.bin",
            FileKind::Payload => b".bin",
        };
        out.extend_from_slice(suffix);
    }
}

impl EntryName for Entry {
    fn put(&self, out: &mut Vec<u8>) {
        let id = match self {
            Entry::Manifest => return out.extend_from_slice(b"manifest.json"),
            Entry::Timeline => return out.extend_from_slice(b"timeline.json"),
            Entry::Json(id) | Entry::File(id, _) => *id,
        };
        let folder: &[u8] = if matches!(id, Id::Trace(_)) { b"traces/" } else { b"ws/" };
        out.extend_from_slice(folder);
        match self {
            Entry::File(_, kind) => kind.put(id, out),
            _ => {
                id.put(out);
                out.extend_from_slice(b".json");
            }
        }
    }
}

/// The file that is written aside: litter unless it was moved, since the journal has it all.
#[derive(Debug)]
pub(super) struct Partial {
    folder: JournalFolder,
    path: PathBuf,
    is_moved: bool,
}

impl Partial {
    /// Where it is, unless the folder is that of another capture.
    pub(super) fn path(&self) -> io::Result<&Path> {
        self.folder.check()?;
        Ok(&self.path)
    }

    /// Moves it over what stands at `to`.
    pub(super) fn move_to(mut self, to: &Path) -> io::Result<()> {
        std::fs::rename(self.path()?, to)?;
        self.is_moved = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_moved {
            self.folder.discard(&self.path);
        }
    }
}

/// Writes one part. One that is dropped before [`BundleWriter::finish`] leaves no file.
pub(super) struct BundleWriter {
    archive: Archive<File, Entry>,
    /// Behind `archive`, so that it is dropped, and the file removed, after it.
    partial: Partial,
    counts: Counts,
    /// In milliseconds.
    events: Vec<(u64, Id)>,
    /// How many exchanges each host had; a part has a bounded number of flows, so of hosts too.
    hosts: HashMap<String, u64>,
    copied: Vec<u8>,
}

impl BundleWriter {
    /// Begins a part in the journal's folder.
    pub(super) fn create(folder: &JournalFolder, part: u32) -> io::Result<Self> {
        let path = folder.packed(part);
        let file = private::create(&path)?;
        Ok(BundleWriter {
            archive: Archive::new(file, 0),
            partial: Partial { folder: folder.clone(), path, is_moved: false },
            counts: Counts::default(),
            events: Vec::new(),
            hosts: HashMap::new(),
            copied: Vec::new(),
        })
    }

    /// What stands in it so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The id of the next trace; puts it into the timeline and counts its host.
    pub(super) fn next_trace(&mut self, timestamp_ms: u64, host: Option<&str>) -> Id {
        self.counts.traces += 1;
        self.count_host(host);
        self.event(timestamp_ms, Id::Trace(number(self.counts.traces)))
    }

    /// The id of the next WebSocket connection; puts it into the timeline.
    pub(super) fn next_websocket(&mut self, timestamp_ms: u64, host: &str) -> Id {
        self.counts.websockets += 1;
        self.count_host(Some(host));
        self.event(timestamp_ms, Id::WebSocket(number(self.counts.websockets)))
    }

    /// The id of a message of the latest connection, whose numbers have so many digits; puts it
    /// into the timeline.
    pub(super) fn next_message(&mut self, message: u64, digits: u8, time_ms: u64) -> Id {
        self.counts.messages += 1;
        self.event(time_ms, Id::Message(number(self.counts.websockets), number(message), digits))
    }

    fn event(&mut self, time_ms: u64, id: Id) -> Id {
        self.events.push((time_ms, id));
        id
    }

    fn count_host(&mut self, host: Option<&str>) {
        let Some(host) = host else { return };
        match self.hosts.get_mut(host) {
            Some(count) => *count += 1,
            None => {
                self.hosts.insert(host.to_owned(), 1);
            }
        }
    }

    /// Writes a JSON entry.
    pub(super) fn json(&mut self, entry: Entry, json: &Json) -> io::Result<()> {
        self.whole(entry, method(json.text().len() as u64, || true), json.text())
    }

    fn whole(&mut self, entry: Entry, method: Method, bytes: &[u8]) -> io::Result<()> {
        self.archive.begin(entry, bytes.len() as u64, method)?;
        self.archive.write_all(bytes)?;
        self.archive.end()
    }

    /// Writes the entry of a body or payload that is in memory.
    pub(super) fn bytes(
        &mut self,
        entry: Entry,
        method: Method,
        bytes: &[u8],
    ) -> io::Result<Stored> {
        if !bytes.is_empty() {
            self.whole(entry, method, bytes)?;
        }
        self.counts.bytes += bytes.len() as u64;
        Ok(Stored { bytes: bytes.len() as u64, whole: true })
    }

    /// Writes the entry of a body or payload of at most `size` bytes. A source that cannot be read
    /// any further ends the entry, and loses what follows only.
    pub(super) fn body(
        &mut self,
        entry: Entry,
        method: Method,
        size: u64,
        source: &mut dyn Read,
    ) -> io::Result<Stored> {
        let mut copied = std::mem::take(&mut self.copied);
        copied.resize(INFLATE_BUFFER_BYTES, 0);
        let mut stored = Stored { bytes: 0, whole: true };
        loop {
            let got = match source.read(&mut copied) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    stored.whole = false;
                    0
                }
            };
            let Some(bytes) = copied.get(..got).filter(|bytes| !bytes.is_empty()) else { break };
            if stored.bytes == 0 {
                self.archive.begin(entry, size, method)?;
            }
            self.archive.write_all(bytes)?;
            stored.bytes += got as u64;
        }
        if stored.bytes > 0 {
            self.archive.end()?;
        }
        self.copied = copied;
        self.counts.bytes += stored.bytes;
        Ok(stored)
    }

    /// Writes the entry of a body or payload that is in a spool.
    pub(super) fn spooled(
        &mut self,
        entry: Entry,
        method: Method,
        spool: &mut Spool,
    ) -> io::Result<Stored> {
        let size = spool.len();
        match spool.held()? {
            Held::Memory(bytes) => self.bytes(entry, method, bytes),
            Held::File(file) => self.body(entry, method, size, file),
        }
    }

    /// Writes the timeline and the manifest; the file is whole then, and is to be moved to its
    /// place.
    pub(super) fn finish(mut self, facts: &PartFacts) -> io::Result<(Counts, Partial)> {
        self.write_timeline()?;
        let manifest = serde_json::to_vec(&manifest(facts, &self.counts, &self.base_url())?)?;
        self.whole(Entry::Manifest, Method::Stored, &manifest)?;
        let BundleWriter { archive, partial, counts, .. } = self;
        archive.finish()?.sync_all()?;
        Ok((counts, partial))
    }

    /// `https://` and the host with most flows, of several the first by name.
    fn base_url(&self) -> String {
        let most = self.hosts.iter().max_by_key(|(host, count)| (**count, Reverse(*host)));
        most.map(|(host, _)| format!("https://{}", host_text(host))).unwrap_or_default()
    }

    /// Written event by event: the list of a long capture would be large as JSON values.
    fn write_timeline(&mut self) -> io::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        events.sort_by_key(|(time, _)| *time);
        let size = events.len() as u64 * EVENT_BYTES;
        self.archive.begin(Entry::Timeline, size, method(size, || true))?;
        let mut json = Json::default();
        json.raw("{\"events\":[");
        for (at, (timestamp, id)) in events.iter().enumerate() {
            json.raw(if at == 0 { "{\"timestamp\":" } else { ",{\"timestamp\":" });
            json.number(*timestamp);
            json.raw(",\"type\":\"");
            json.raw(id.event());
            json.raw("\",\"ref\":\"");
            json.put(|out| id.put(out));
            json.raw("\"}");
            if json.text().len() > INFLATE_BUFFER_BYTES {
                self.archive.write_all(json.text())?;
                json.clear();
            }
        }
        json.raw("]}");
        self.archive.write_all(json.text())?;
        self.archive.end()
    }
}

/// How bytes should stand in the archive. Whether they are text is asked for only where it
/// matters.
pub(super) fn method(size: u64, is_text: impl FnOnce() -> bool) -> Method {
    let worth_it = size > COMPRESSED_FROM_BYTES && is_text();
    if worth_it { Method::Deflated } else { Method::Stored }
}

/// Bytes that an event of the timeline has at most.
const EVENT_BYTES: u64 = 128;

/// Digits of the numbers of messages, unless their connection has more than these can count.
pub(super) const MESSAGE_DIGITS: u8 = 3;

/// How many digits the numbers of a connection's messages have, which are all the same: readers
/// that sort names as text have the messages in order then.
pub(super) fn message_digits(messages: u64) -> u8 {
    let digits = messages.checked_ilog10().unwrap_or_default() + 1;
    u8::try_from(digits).unwrap_or(u8::MAX).max(MESSAGE_DIGITS)
}

/// A number in an id; a part has far fewer flows.
fn number(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[derive(Serialize)]
struct Manifest<'a> {
    format_version: &'a str,
    capture_id: String,
    created_at: String,
    app: App<'a>,
    browser: Option<()>,
    extension_version: Option<()>,
    duration_ms: u64,
    stats: ManifestStats,
    capture_method: &'a str,
    series_id: &'a str,
    part_number: u32,
    #[serde(skip_serializing_if = "Losses::is_none")]
    lost: Losses,
}

#[derive(Serialize)]
struct App<'a> {
    name: &'a str,
    base_url: &'a str,
    title: &'a str,
}

#[derive(Serialize)]
struct ManifestStats {
    trace_count: u64,
    ws_connection_count: u64,
    ws_message_count: u64,
    context_count: u64,
}

fn manifest<'a>(
    facts: &'a PartFacts,
    counts: &Counts,
    base_url: &'a str,
) -> io::Result<Manifest<'a>> {
    Ok(Manifest {
        format_version: FORMAT_VERSION,
        capture_id: random_uuid()?,
        created_at: date_time(facts.created_us),
        app: App { name: &facts.app, base_url, title: &facts.app },
        browser: None,
        extension_version: None,
        duration_ms: u64::try_from(facts.duration.as_millis()).unwrap_or(u64::MAX),
        stats: ManifestStats {
            trace_count: counts.traces,
            ws_connection_count: counts.websockets,
            ws_message_count: counts.messages,
            context_count: 0,
        },
        capture_method: CAPTURE_METHOD,
        series_id: &facts.series,
        part_number: facts.part,
        lost: facts.losses,
    })
}

/// A random UUID (RFC 9562 section 5.4).
pub(super) fn random_uuid() -> io::Result<String> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes)?;
    Ok(uuid(bytes, 4))
}

/// A UUID of these bytes, with the version and the variant set.
pub(super) fn uuid(bytes: [u8; 16], version: u128) -> String {
    let number = u128::from_be_bytes(bytes);
    let number = number & !(0xf << 76) & !(0b11 << 62) | version << 76 | 0b10 << 62;
    let digits = format!("{number:032x}");
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| digits.get(range).unwrap_or(""));
    groups.join("-")
}

/// A date and time as RFC 3339 has it, in UTC with the offset written out as numbers.
pub(crate) fn date_time(epoch_us: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(epoch_us) * 1_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}+00:00",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::archive;
    use crate::limits::{PART_INDEX_BYTES, PART_TRACES};

    fn name(entry: Entry) -> String {
        let mut name = Vec::new();
        entry.put(&mut name);
        String::from_utf8(name).unwrap()
    }

    #[test]
    fn entries_are_named_by_kind_and_number() {
        let (trace, message) = (Id::Trace(1), Id::Message(12, 234, 4));
        assert_eq!(name(Entry::Json(trace)), "traces/t_0001.json");
        assert_eq!(name(Entry::File(trace, FileKind::Request)), "traces/t_0001_request.bin");
        assert_eq!(name(Entry::File(trace, FileKind::Response)), "traces/t_0001_response.bin");
        assert_eq!(name(Entry::Json(Id::WebSocket(10_000))), "ws/ws_10000.json");
        assert_eq!(name(Entry::Json(message)), "ws/ws_0012_m0234.json");
        assert_eq!(name(Entry::File(message, FileKind::Payload)), "ws/ws_0012_m0234.bin");
        assert_eq!(
            (name(Entry::Manifest), name(Entry::Timeline)),
            ("manifest.json".into(), "timeline.json".into())
        );
    }

    #[test]
    fn numbers_of_messages_have_as_many_digits_as_the_last() {
        let cases = [(0, 3), (999, 3), (1_000, 4), (9_999, 4), (10_000, 5), (u64::MAX, 20)];
        for (messages, digits) in cases {
            assert_eq!(message_digits(messages), digits, "{messages}");
        }
    }

    #[test]
    fn what_is_held_of_a_part_is_bounded() {
        let traces = PART_TRACES as usize;
        // A vector has room for twice what is in it at most.
        let directory = (3 * traces).next_power_of_two() * archive::entry_bytes::<Entry>();
        let timeline = traces.next_power_of_two() * size_of::<(u64, Id)>();
        assert!(directory + timeline <= PART_INDEX_BYTES, "{directory} + {timeline}");
    }

    #[test]
    fn parts_are_named_after_the_output() {
        let part = |output: &str, number| part_path(Path::new(output), number);
        assert_eq!(part("d/capture.zip", 1), Path::new("d/capture.zip"));
        assert_eq!(part("d/capture.zip", 2), Path::new("d/capture-0002.zip"));
        assert_eq!(part("capture", 10_000), Path::new("capture-10000"));
        assert_eq!(part("a.b.zip", 3), Path::new("a.b-0003.zip"));
    }

    #[test]
    fn dates_have_an_offset() {
        assert_eq!(date_time(0), "1970-01-01T00:00:00.000+00:00");
        assert_eq!(date_time(1_700_000_000_123_456), "2023-11-14T22:13:20.123+00:00");
        assert!(date_time(u64::MAX).ends_with("+00:00"));
    }

    #[test]
    fn uuids_are_random_ones() {
        let uuid = random_uuid().unwrap();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
        assert_ne!(uuid, random_uuid().unwrap());
    }
}
