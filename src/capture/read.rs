//! Reading a bundle back. Bundles may come from others, so nothing in one is taken on trust:
//! sizes are bounded, fields may be missing, and whatever does not read is an error of that entry.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use zip::ZipArchive;

use crate::capture::bundle::{CAPTURE_METHOD, message_digits};
use crate::capture::losses::Losses;
use crate::capture::private;
use crate::capture::websocket::DAMAGED;
use crate::error::{Error, Result};
use crate::limits::{INFLATE_BUFFER_BYTES, INSPECTED_ENTRY_BYTES, INSPECTED_JSON_BYTES};

/// The manifest, as far as readers need it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// The version of the format.
    #[serde(deserialize_with = "or_default")]
    pub format_version: String,
    /// When the bundle was begun.
    #[serde(deserialize_with = "or_default")]
    pub created_at: String,
    /// How the capture was made.
    #[serde(deserialize_with = "or_default")]
    pub capture_method: String,
    /// From start to stop, in milliseconds.
    #[serde(deserialize_with = "or_default")]
    pub duration_ms: f64,
    /// What the parts of one capture share; empty when unknown.
    #[serde(deserialize_with = "if_fitting")]
    pub series_id: String,
    /// The part's number in its capture, from 1; 0 when unknown.
    #[serde(deserialize_with = "if_fitting")]
    pub part_number: u32,
    /// How many flows the bundle has.
    #[serde(deserialize_with = "or_default")]
    pub stats: ManifestStats,
    /// How many it should have besides.
    #[serde(deserialize_with = "if_fitting")]
    pub lost: Losses,
}

/// How many flows a bundle has, by its manifest.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct ManifestStats {
    /// HTTP exchanges.
    #[serde(deserialize_with = "or_default")]
    pub trace_count: u64,
    /// WebSocket connections.
    #[serde(deserialize_with = "or_default")]
    pub ws_connection_count: u64,
    /// WebSocket messages.
    #[serde(deserialize_with = "or_default")]
    pub ws_message_count: u64,
}

/// A field line.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Header {
    /// The name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The value.
    #[serde(deserialize_with = "or_default")]
    pub value: String,
}

/// Request or response of a trace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Message {
    /// Of a request.
    #[serde(deserialize_with = "or_default")]
    pub method: String,
    /// Of a request, absolute.
    #[serde(deserialize_with = "or_default")]
    pub url: String,
    /// Of a response; 0 where none came.
    #[serde(deserialize_with = "or_default")]
    pub status: u16,
    /// Of a response: the reason phrase.
    #[serde(deserialize_with = "or_default")]
    pub status_text: String,
    /// As `HTTP/1.1`.
    #[serde(deserialize_with = "or_default")]
    pub http_version: String,
    /// The fields, in order.
    #[serde(deserialize_with = "or_default")]
    pub headers: Vec<Header>,
    /// The trailer fields, in order.
    #[serde(deserialize_with = "or_default")]
    pub trailers: Vec<Header>,
    /// The body's file, without the folder.
    pub body_file: Option<String>,
    /// The size of that file.
    #[serde(deserialize_with = "or_default")]
    pub body_size: u64,
    /// The coding of a body that is stored as it came.
    pub body_encoding: Option<String>,
    /// The size on the wire of a body whose copy was cut.
    pub body_wire_size: Option<u64>,
    /// The size of a body before its content coding was undone.
    #[serde(deserialize_with = "if_fitting")]
    pub body_coded_size: Option<u64>,
    /// Whether what was recorded of the body could not be read back whole.
    #[serde(deserialize_with = "if_fitting")]
    pub body_damaged: bool,
}

/// When the phases of a trace took place, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Timing {
    #[serde(deserialize_with = "or_default")]
    pub dns_ms: f64,
    #[serde(deserialize_with = "or_default")]
    pub connect_ms: f64,
    #[serde(deserialize_with = "or_default")]
    pub tls_ms: f64,
    #[serde(deserialize_with = "or_default")]
    pub send_ms: f64,
    #[serde(deserialize_with = "or_default")]
    pub wait_ms: f64,
    #[serde(deserialize_with = "or_default")]
    pub receive_ms: f64,
    #[serde(deserialize_with = "or_default")]
    pub total_ms: f64,
}

/// The upstream connection of a trace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Server {
    /// The address that was connected to, with its port.
    #[serde(deserialize_with = "or_default")]
    pub address: String,
    /// Numbers the upstream connections of a capture.
    #[serde(deserialize_with = "or_default")]
    pub connection: u64,
    /// Whether it had served another exchange before.
    #[serde(deserialize_with = "or_default")]
    pub reused: bool,
}

/// A trace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Trace {
    /// As `t_0001`.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// When the request began, in epoch milliseconds.
    #[serde(deserialize_with = "or_default")]
    pub timestamp: u64,
    /// The request.
    #[serde(deserialize_with = "or_default")]
    pub request: Message,
    /// The response.
    #[serde(deserialize_with = "or_default")]
    pub response: Message,
    /// The phases.
    #[serde(deserialize_with = "or_default")]
    pub timing: Timing,
    /// The client's address and port.
    #[serde(deserialize_with = "if_fitting")]
    pub client_address: Option<SocketAddr>,
    /// The upstream connection.
    #[serde(deserialize_with = "if_fitting")]
    pub server: Option<Server>,
    /// Why the exchange failed.
    pub error: Option<String>,
    /// Whether a tool sent the request.
    #[serde(deserialize_with = "if_fitting")]
    pub replayed: bool,
}

/// A WebSocket connection.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WebSocket {
    /// As `ws_0001`.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// When the handshake began, in epoch milliseconds.
    #[serde(deserialize_with = "or_default")]
    pub timestamp: u64,
    /// The URL.
    #[serde(deserialize_with = "or_default")]
    pub url: String,
    /// The subprotocols offered.
    #[serde(deserialize_with = "or_default")]
    pub protocols: Vec<String>,
    /// The fields of the handshake's request, in order.
    #[serde(deserialize_with = "if_fitting")]
    pub request_headers: Vec<Header>,
    /// The fields of the handshake's response, in order.
    #[serde(deserialize_with = "if_fitting")]
    pub response_headers: Vec<Header>,
    /// The client's address and port.
    #[serde(deserialize_with = "if_fitting")]
    pub client_address: Option<SocketAddr>,
    /// When it ended, in epoch milliseconds; 0 when unknown.
    #[serde(deserialize_with = "if_fitting")]
    pub closed_timestamp: u64,
    /// How many messages it has.
    #[serde(deserialize_with = "or_default")]
    pub message_count: u64,
    /// Messages past the limit, which are not kept.
    #[serde(deserialize_with = "if_fitting")]
    pub messages_left_out: u64,
    /// Why it failed.
    pub error: Option<String>,
}

/// A WebSocket message.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WebSocketMessage {
    /// As `ws_0001_m001`.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// When it ended, in epoch milliseconds.
    #[serde(deserialize_with = "or_default")]
    pub timestamp: u64,
    /// `send` or `receive`.
    #[serde(deserialize_with = "or_default")]
    pub direction: String,
    /// The kind.
    #[serde(deserialize_with = "or_default")]
    pub opcode: String,
    /// The payload's file, without the folder.
    pub payload_file: Option<String>,
    /// The size of that file.
    #[serde(deserialize_with = "or_default")]
    pub payload_size: u64,
    /// The coding of a payload that is stored as it came.
    #[serde(deserialize_with = "if_fitting")]
    pub payload_encoding: Option<String>,
    /// Whether what was recorded of the payload could not be read back whole.
    #[serde(deserialize_with = "if_fitting")]
    pub payload_damaged: bool,
}

/// A null where a value should be reads as the value's default: other programs write such.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A field that only flowtap writes: what others mean by its name is no error.
fn if_fitting<'de, D: Deserializer<'de>, T: Default + DeserializeOwned>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// A bundle that is open.
#[derive(Debug)]
pub struct Bundle {
    zip: ZipArchive<BufReader<File>>,
    manifest: Manifest,
    traces: Vec<String>,
    websockets: Vec<String>,
}

impl Bundle {
    /// Opens a bundle. Fails with a reason when the file is not there or is no bundle.
    pub fn open(path: &Path) -> Result<Bundle> {
        let refused = |why: String| Error::new(format!("cannot read {}: {why}", path.display()));
        let file = private::open_named(path).map_err(|error| refused(error.to_string()))?;
        let mut zip = ZipArchive::new(BufReader::new(file))
            .map_err(|_| refused("it is not a capture bundle (no ZIP archive)".to_owned()))?;
        let manifest = read_json(&mut zip, "manifest.json").map_err(|error| {
            refused(format!("it is not a capture bundle (manifest.json: {error})"))
        })?;
        let ids = |folder: &str, is_id: fn(&str) -> bool| -> Vec<String> {
            let mut ids = Vec::new();
            for name in zip.file_names().flatten() {
                let id = name.strip_prefix(folder).and_then(|name| name.strip_suffix(".json"));
                ids.extend(id.filter(|id| is_id(id)).map(str::to_owned));
            }
            // By number: four digits may not be enough in bundles of others.
            ids.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
            ids
        };
        let traces = ids("traces/", is_trace_id);
        let websockets = ids("ws/", is_websocket_id);
        Ok(Bundle { zip, manifest, traces, websockets })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The ids of all traces, in order.
    pub fn trace_ids(&self) -> &[String] {
        &self.traces
    }

    /// The ids of all WebSocket connections, in order.
    pub fn websocket_ids(&self) -> &[String] {
        &self.websockets
    }

    /// One trace.
    pub fn trace(&mut self, id: &str) -> Result<Trace> {
        self.json(&format!("traces/{id}.json"))
    }

    /// One WebSocket connection.
    pub fn websocket(&mut self, id: &str) -> Result<WebSocket> {
        self.json(&format!("ws/{id}.json"))
    }

    /// One message of a connection, by its number from 1; `None` behind the last.
    pub fn message(&mut self, websocket: &str, number: u64) -> Result<Option<WebSocketMessage>> {
        // All numbers of a connection have as many digits as the last; in other bundles each may
        // have no more than it needs.
        let digits = usize::from(message_digits(number))..=MESSAGE_DIGITS_MOST;
        let mut names = digits.map(|digits| format!("ws/{websocket}_m{number:0digits$}.json"));
        match names.find(|name| self.zip.index_for_name(name).is_some()) {
            Some(name) => self.json(&name).map(Some),
            None => Ok(None),
        }
    }

    /// How many flows it has of which something could not be read back when it was made.
    pub(super) fn damaged(&mut self) -> u64 {
        let mut damaged = 0;
        for id in self.traces.clone() {
            let is_damaged =
                |trace: Trace| trace.request.body_damaged || trace.response.body_damaged;
            damaged += u64::from(self.trace(&id).is_ok_and(is_damaged));
        }
        for id in self.websockets.clone() {
            let is_cut = |socket: WebSocket| socket.error.as_deref() == Some(DAMAGED);
            let mut is_damaged = self.websocket(&id).is_ok_and(is_cut);
            let mut number = 1;
            while let Ok(Some(message)) = self.message(&id, number) {
                is_damaged |= message.payload_damaged;
                number += 1;
            }
            damaged += u64::from(is_damaged);
        }
        damaged
    }

    /// The body or payload of a trace, by the file's bare name.
    pub fn trace_body(&mut self, file: &str) -> Result<Vec<u8>> {
        self.bytes(&format!("traces/{file}"))
    }

    /// Writes the body of a trace to `out`, piece by piece, so that it may be of any length; the
    /// inner error is that of `out`.
    pub fn write_trace_body(&mut self, file: &str, out: &mut dyn Write) -> Result<io::Result<()>> {
        let name = format!("traces/{file}");
        let failed = |error: io::Error| entry_error(&name, &error);
        let mut entry = self.zip.by_name(&name).map_err(|error| failed(error.into()))?;
        let mut piece = vec![0; INFLATE_BUFFER_BYTES];
        loop {
            let got = match entry.read(&mut piece) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            let Some(read) = piece.get(..got).filter(|read| !read.is_empty()) else {
                return Ok(Ok(()));
            };
            if let Err(error) = out.write_all(read) {
                return Ok(Err(error));
            }
        }
    }

    /// The payload of a WebSocket message, by the file's bare name.
    pub fn message_payload(&mut self, file: &str) -> Result<Vec<u8>> {
        self.bytes(&format!("ws/{file}"))
    }

    fn json<T: DeserializeOwned>(&mut self, name: &str) -> Result<T> {
        read_json(&mut self.zip, name).map_err(|error| entry_error(name, &error))
    }

    fn bytes(&mut self, name: &str) -> Result<Vec<u8>> {
        read_entry(&mut self.zip, name, INSPECTED_ENTRY_BYTES)
            .map_err(|error| entry_error(name, &error))
    }
}

/// Digits of the number of a message at most: more messages have no room in a bundle.
const MESSAGE_DIGITS_MOST: usize = 9;

fn entry_error(name: &str, error: &io::Error) -> Error {
    Error::new(format!("cannot read {} of the bundle: {error}", name.escape_debug()))
}

/// The capture that a bundle is a part of, and the part's number; `None` when it does not say.
pub fn series(path: &Path) -> Option<(String, u32)> {
    part(path).map(|manifest| (manifest.series_id, manifest.part_number))
}

/// The manifest of a bundle that says which part of which capture it is; `None` of all others.
pub fn part(path: &Path) -> Option<Manifest> {
    let manifest = Bundle::open(path).ok()?.manifest;
    is_part(&manifest).then_some(manifest)
}

/// Whether a manifest says which part of which capture its bundle is.
pub(super) fn is_part(manifest: &Manifest) -> bool {
    manifest.capture_method == CAPTURE_METHOD
        && !manifest.series_id.is_empty()
        && manifest.part_number > 0
}

fn is_trace_id(id: &str) -> bool {
    id.strip_prefix("t_").is_some_and(is_number)
}

fn is_websocket_id(id: &str) -> bool {
    id.strip_prefix("ws_").is_some_and(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn read_entry(
    zip: &mut ZipArchive<BufReader<File>>,
    name: &str,
    bytes_max: u64,
) -> io::Result<Vec<u8>> {
    let entry = zip.by_name(name)?;
    let mut bytes = Vec::new();
    // The directory is believed only where it says too much.
    let mut size = entry.size();
    if size <= bytes_max {
        entry.take(bytes_max + 1).read_to_end(&mut bytes)?;
        size = bytes.len() as u64;
    }
    if size > bytes_max {
        return Err(io::Error::other(format!("it is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

fn read_json<T: DeserializeOwned>(
    zip: &mut ZipArchive<BufReader<File>>,
    name: &str,
) -> io::Result<T> {
    Ok(serde_json::from_slice(&read_entry(zip, name, INSPECTED_JSON_BYTES)?)?)
}
