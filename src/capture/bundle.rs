//! The capture bundle: entries of the ZIP, the manifest and the timeline.
//!
//! A part is written into the journal's folder, and takes its place when it is whole.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::capture::patch::PatchWriter;
use crate::capture::private;
use crate::flow::head::host_text;
use crate::limits::{COMPRESSED_FROM_BYTES, INFLATE_BUFFER_BYTES};

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

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum EventRef {
    Trace(u64),
    Open(u64),
    Message(u64, u64),
}

/// The file that is written aside: litter unless it was renamed, since the journal has it all.
pub(super) struct Partial(PathBuf);

impl Partial {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes one part. One that is dropped before [`BundleWriter::finish`] leaves no file.
pub(super) struct BundleWriter {
    zip: ZipWriter<PatchWriter<File>>,
    /// Behind `zip`, so that it is dropped, and the file removed, after it.
    partial: Partial,
    counts: Counts,
    /// In milliseconds.
    events: Vec<(u64, EventRef)>,
    /// How many exchanges each host had; a part has a bounded number of flows, so of hosts too.
    hosts: HashMap<String, u64>,
    copied: Vec<u8>,
}

impl BundleWriter {
    /// Begins a part in the file `path`.
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        let partial = Partial(path);
        Ok(BundleWriter {
            zip: ZipWriter::new(PatchWriter::new(private::create(&partial.0)?)),
            partial,
            counts: Counts::default(),
            events: Vec::new(),
            hosts: HashMap::new(),
            copied: vec![0; INFLATE_BUFFER_BYTES],
        })
    }

    /// The id of the next trace, as `t_0001`; puts it into the timeline and counts its host.
    pub(super) fn next_trace(&mut self, timestamp_ms: u64, host: Option<&str>) -> String {
        self.counts.traces += 1;
        self.events.push((timestamp_ms, EventRef::Trace(self.counts.traces)));
        self.count_host(host);
        trace_id(self.counts.traces)
    }

    /// The number of the next WebSocket connection; puts it into the timeline.
    pub(super) fn next_websocket(&mut self, timestamp_ms: u64, host: &str) -> u64 {
        self.counts.websockets += 1;
        self.events.push((timestamp_ms, EventRef::Open(self.counts.websockets)));
        self.count_host(Some(host));
        self.counts.websockets
    }

    /// The id of a connection's message, as `ws_0001_m001`; puts it into the timeline.
    pub(super) fn next_message(&mut self, websocket: u64, message: u64, time_ms: u64) -> String {
        self.counts.messages += 1;
        self.events.push((time_ms, EventRef::Message(websocket, message)));
        message_id(websocket, message)
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
    pub(super) fn json(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(value)?;
        self.begin(name, text.len() as u64, true)?;
        self.zip.write_all(&text)
    }

    /// Writes the entry of a body or payload of about `size` bytes. A source that cannot be read
    /// any further ends the entry, and loses what follows only.
    pub(super) fn body(
        &mut self,
        name: &str,
        size: u64,
        is_text: bool,
        source: &mut dyn Read,
    ) -> io::Result<Stored> {
        let mut stored = Stored { bytes: 0, whole: true };
        loop {
            let got = match source.read(&mut self.copied) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    stored.whole = false;
                    0
                }
            };
            if got > 0 && stored.bytes == 0 {
                self.begin(name, size, is_text)?;
            }
            let Some(bytes) = self.copied.get(..got).filter(|bytes| !bytes.is_empty()) else {
                self.counts.bytes += stored.bytes;
                return Ok(stored);
            };
            self.zip.write_all(bytes)?;
            stored.bytes += got as u64;
        }
    }

    fn begin(&mut self, name: &str, size: u64, is_text: bool) -> io::Result<()> {
        let options = SimpleFileOptions::default()
            .unix_permissions(0o600)
            .last_modified_time(zip::DateTime::default())
            .large_file(size >= u64::from(u32::MAX) - 1);
        let options = if is_text && size > COMPRESSED_FROM_BYTES {
            options.compression_method(CompressionMethod::Deflated).compression_level(Some(1))
        } else {
            options.compression_method(CompressionMethod::Stored)
        };
        Ok(self.zip.start_file(name, options)?)
    }

    /// Writes the timeline and the manifest; the file is whole then, and is to be moved to its
    /// place.
    pub(super) fn finish(mut self, facts: &PartFacts) -> io::Result<(Counts, Partial)> {
        self.write_timeline()?;
        self.json("manifest.json", &manifest(facts, &self.counts, &self.base_url())?)?;
        let BundleWriter { zip, partial, counts, .. } = self;
        let file = zip.finish()?.into_inner()?;
        file.sync_all()?;
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
        self.begin("timeline.json", events.len() as u64 * 64, true)?;
        let mut text = String::from("{\"events\":[");
        for (at, (timestamp, event)) in events.iter().enumerate() {
            let (kind, id) = match *event {
                EventRef::Trace(number) => ("trace", trace_id(number)),
                EventRef::Open(number) => ("ws_open", websocket_id(number)),
                EventRef::Message(number, message) => ("ws_message", message_id(number, message)),
            };
            let comma = if at == 0 { "" } else { "," };
            text.push_str(&format!(
                "{comma}{{\"timestamp\":{timestamp},\"type\":\"{kind}\",\"ref\":\"{id}\"}}"
            ));
            if text.len() > INFLATE_BUFFER_BYTES {
                self.zip.write_all(text.as_bytes())?;
                text.clear();
            }
        }
        text.push_str("]}");
        self.zip.write_all(text.as_bytes())
    }
}

fn trace_id(number: u64) -> String {
    format!("t_{number:04}")
}

/// The id of a WebSocket connection.
pub(super) fn websocket_id(number: u64) -> String {
    format!("ws_{number:04}")
}

fn message_id(websocket: u64, message: u64) -> String {
    format!("ws_{websocket:04}_m{message:03}")
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
    })
}

/// A random UUID (RFC 9562 section 5.4).
pub(super) fn random_uuid() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let random = u128::from_be_bytes(bytes);
    let number = random & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let digits = format!("{number:032x}");
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| digits.get(range).unwrap_or(""));
    Ok(groups.join("-"))
}

/// A date and time as RFC 3339 has it, in UTC with the offset written out as numbers.
pub(super) fn date_time(epoch_us: u64) -> String {
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
