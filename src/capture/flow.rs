//! A flow in the one form that exports are made of, whether it was stored or stands in a bundle.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::capture::messages::{self, Lacking, SocketMessage};
use crate::capture::read;
use crate::capture::websocket::DAMAGED;
use crate::error::Result;
use crate::flow::decode::{Caps, codings, decode};
use crate::flow::head::{Field, HeadText, UriKind, target_uri};
use crate::flow::record::Upstream;
use crate::flow::redact::Redactor;
use crate::flow::stored::{StoredBody, StoredFlow, StoredMessage};
use crate::limits::READ_MESSAGES_BYTES;

/// A flow.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// When it began, in microseconds since the Unix epoch.
    pub(crate) began_us: u64,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) request: Message,
    pub(crate) response: Option<Response>,
    pub(crate) timing: Phases,
    pub(crate) server: Option<Server>,
    /// Why it failed.
    pub(crate) error: Option<String>,
    /// The messages of a WebSocket.
    pub(crate) messages: Option<Vec<SocketMessage>>,
    /// Messages of it that are not here.
    pub(crate) messages_left_out: u64,
    /// Why the first of those is not here that could not be read.
    pub(crate) messages_unread: Option<String>,
    /// Whether something of its messages could not be read back when the bundle was made.
    pub(crate) messages_damaged: bool,
    /// The client's address, where it is known.
    pub(crate) client: Option<SocketAddr>,
    /// Whether a tool sent it instead of a client.
    pub(crate) replayed: bool,
}

impl Flow {
    /// What an export that is masked by `redactor` lacks of its messages.
    pub(crate) fn lacking(&self, redactor: &Redactor) -> Lacking {
        Lacking::of(self.messages_left_out, self.messages.as_deref().unwrap_or_default(), redactor)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Message {
    /// As `HTTP/1.1`.
    pub(crate) version: String,
    pub(crate) fields: Vec<Field>,
    /// Bytes of the head on the wire, where they are known.
    pub(crate) head_bytes: Option<u64>,
    pub(crate) body: Body,
    pub(crate) trailers: Vec<Field>,
}

#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) message: Message,
}

/// A body with its content coding undone, unless `coding` says otherwise.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    /// Bytes on the wire, where they are known.
    pub(crate) wire_bytes: Option<u64>,
    /// Whether a content coding was undone.
    pub(crate) decoded: bool,
    /// The coding of a body that is here as it came.
    pub(crate) coding: Option<String>,
    /// Whether only its beginning is here.
    pub(crate) is_cut: bool,
    /// Its bytes in the bundle where they could not be read, and are not here.
    pub(crate) unread_bytes: Option<u64>,
    /// What else is to be said of it.
    pub(crate) note: Option<String>,
}

impl Body {
    /// How many bytes it has, of one that is cut those that were kept.
    pub(crate) fn size(&self) -> u64 {
        self.unread_bytes.unwrap_or(self.bytes.len() as u64)
    }
}

/// When the phases took place, in microseconds; 0 where one did not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Phases {
    pub(crate) dns_us: u64,
    /// TLS not included.
    pub(crate) connect_us: u64,
    pub(crate) tls_us: u64,
    pub(crate) send_us: u64,
    pub(crate) wait_us: u64,
    pub(crate) receive_us: u64,
    pub(crate) total_us: u64,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: Option<IpAddr>,
    pub(crate) connection: u64,
}

/// The form of a stored flow.
pub(crate) fn of_stored(flow: &StoredFlow) -> Flow {
    let head = HeadText::read(&flow.request.head);
    let kind = if flow.websocket.is_some() { UriKind::WebSocket } else { UriKind::Http };
    let (method, _, version) = head.request_line();
    let url = target_uri(&head, flow.scheme, flow.target.as_deref(), kind);
    let (method, version) = (method.to_owned(), version.to_owned());
    let timing = &flow.timing;
    let websocket = flow.websocket.as_deref();
    Flow {
        began_us: timing.began_us,
        method,
        url,
        request: message_of(&flow.request, head, version),
        response: flow.response.as_ref().map(response_of),
        timing: Phases {
            dns_us: timing.dns_us,
            connect_us: timing.connect_us,
            tls_us: timing.tls_us,
            send_us: timing.send_us,
            wait_us: timing.wait_us,
            // Of a WebSocket it is known for how long it was open, and no more.
            receive_us: if websocket.is_some() { timing.total_us } else { timing.receive_us },
            total_us: timing.total_us,
        },
        server: flow.upstream.as_ref().map(server_of),
        error: flow.error.clone(),
        messages: websocket.map(messages::kept),
        messages_left_out: websocket.map_or(0, messages::not_kept),
        messages_unread: None,
        messages_damaged: false,
        client: Some(flow.client),
        replayed: flow.intervention.replayed,
    }
}

fn response_of(message: &StoredMessage) -> Response {
    let head = HeadText::read(&message.head);
    let (version, status, reason) = head.status_line();
    let (version, reason) = (version.to_owned(), reason.to_owned());
    Response { status, reason, message: message_of(message, head, version) }
}

fn message_of(message: &StoredMessage, head: HeadText, version: String) -> Message {
    Message {
        version,
        head_bytes: Some(message.head.len() as u64),
        body: body_of(&message.body, &head),
        trailers: HeadText::read_fields(&message.trailers),
        fields: head.fields,
    }
}

fn server_of(upstream: &Upstream) -> Server {
    Server { address: Some(upstream.address.ip()), connection: upstream.connection }
}

fn body_of(body: &StoredBody, head: &HeadText) -> Body {
    let named: Vec<&str> = head.values("content-encoding").collect();
    let codings = codings(named.iter().copied());
    let as_it_came = Body {
        bytes: joined(&body.pieces),
        wire_bytes: Some(body.size),
        is_cut: body.is_cut(),
        ..Body::default()
    };
    match codings.as_deref() {
        Some([]) => as_it_came,
        _ if as_it_came.bytes.is_empty() => as_it_came,
        Some(codings) if !body.is_cut() => {
            let mut decoded = Vec::new();
            let source: &mut dyn Read = &mut as_it_came.bytes.as_ref();
            match decode(codings, source, &mut decoded, Caps::default()) {
                Ok(_) => Body { bytes: decoded.into(), decoded: true, ..as_it_came },
                Err(_) => Body { coding: Some(named.join(", ")), ..as_it_came },
            }
        }
        _ => Body { coding: Some(named.join(", ")), ..as_it_came },
    }
}

fn joined(pieces: &[Bytes]) -> Bytes {
    match pieces {
        [] => Bytes::new(),
        [one] => one.clone(),
        many => many.concat().into(),
    }
}

/// Whether bodies and messages are read, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// They are.
    Read,
    /// They are left in the bundle, and are empty here.
    Left,
}

/// The form of a bundle's trace. A body that cannot be read leaves a note in its place.
pub(crate) fn of_trace(bundle: &mut read::Bundle, id: &str, bodies: Bodies) -> Result<Flow> {
    let trace = bundle.trace(id)?;
    Ok(of_read_trace(bundle, trace, bodies))
}

/// The same of a trace that was read.
pub(crate) fn of_read_trace(bundle: &mut read::Bundle, trace: read::Trace, bodies: Bodies) -> Flow {
    let read::Trace { timestamp, request, response, timing, server, error, .. } = trace;
    let (method, url) = (request.method.clone(), request.url.clone());
    let status = response.status;
    let reason = response.status_text.clone();
    Flow {
        began_us: timestamp.saturating_mul(1_000),
        method,
        url,
        request: message_of_trace(bundle, request, bodies),
        response: (status != 0).then(|| Response {
            status,
            reason,
            message: message_of_trace(bundle, response, bodies),
        }),
        timing: Phases {
            dns_us: microseconds(timing.dns_ms),
            connect_us: microseconds(timing.connect_ms),
            tls_us: microseconds(timing.tls_ms),
            send_us: microseconds(timing.send_ms),
            wait_us: microseconds(timing.wait_ms),
            receive_us: microseconds(timing.receive_ms),
            total_us: microseconds(timing.total_ms),
        },
        server: server.map(|server| Server {
            address: server.address.parse().ok().map(|address: SocketAddr| address.ip()),
            connection: server.connection,
        }),
        error,
        messages: None,
        messages_left_out: 0,
        messages_unread: None,
        messages_damaged: false,
        client: trace.client_address,
        replayed: trace.replayed,
    }
}

/// Milliseconds as microseconds; what no duration can be is none.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts saturate")]
fn microseconds(ms: f64) -> u64 {
    const CENTURY_MS: f64 = 100.0 * 366.0 * 86_400_000.0;
    if ms > 0.0 && ms < CENTURY_MS { (ms * 1_000.0).round() as u64 } else { 0 }
}

fn fields(headers: Vec<read::Header>) -> Vec<Field> {
    headers.into_iter().map(|it| Field { name: it.name, value: it.value }).collect()
}

fn message_of_trace(bundle: &mut read::Bundle, message: read::Message, bodies: Bodies) -> Message {
    let read::Message { body_file, body_encoding, body_size, .. } = message;
    let read::Message { body_wire_size, body_coded_size, .. } = message;
    let head = HeadText { start: String::new(), fields: fields(message.headers) };
    let mut body = Body {
        is_cut: body_wire_size.is_some_and(|wire| wire > body_size),
        coding: body_encoding,
        ..Body::default()
    };
    if let Some(file) = body_file.filter(|_| bodies == Bodies::Read) {
        match bundle.trace_body(&file) {
            Ok(bytes) => body.bytes = bytes.into(),
            Err(error) => {
                body.unread_bytes = Some(body_size);
                body.note = Some(error.to_string());
            }
        }
    }
    if message.body_damaged && body.note.is_none() {
        body.note = Some("what was recorded of the body could not be read back whole".to_owned());
    }
    let coded = codings(head.values("content-encoding")).is_none_or(|it| !it.is_empty());
    let is_there = !body.bytes.is_empty() || body_coded_size.is_some();
    body.decoded = coded && body.coding.is_none() && is_there;
    body.wire_bytes = match body_wire_size.or(body_coded_size) {
        Some(wire) => Some(wire),
        None if !body.decoded => Some(body_size),
        // In bundles of others it stands nowhere else.
        None => head.values("content-length").next().and_then(|length| length.parse().ok()),
    };
    Message {
        version: message.http_version,
        fields: head.fields,
        head_bytes: None,
        body,
        trailers: fields(message.trailers),
    }
}

/// What a payload that cannot be read takes of the room for those of its connection: it may have
/// cost as much as the longest one that can.
const UNREAD_BYTES: usize = READ_MESSAGES_BYTES / 4;

/// The messages of a bundle's WebSocket connection.
#[derive(Debug, Default)]
struct SocketMessages {
    all: Vec<SocketMessage>,
    left_out: u64,
    /// Why the first could not be read of those that could not.
    unread: Option<String>,
    damaged: bool,
}

/// The text and binary messages of a connection, up to the first that does not fit into so many
/// bytes. One that cannot be read is left out.
fn socket_messages(
    bundle: &mut read::Bundle,
    id: &str,
    socket: &read::WebSocket,
    most_bytes: usize,
) -> Result<SocketMessages> {
    let mut messages =
        SocketMessages { left_out: socket.messages_left_out, ..SocketMessages::default() };
    let mut room = most_bytes;
    let mut number = 0_u64;
    while let Some(message) = bundle.message(id, number + 1)? {
        number += 1;
        if !matches!(message.opcode.as_str(), "text" | "binary") {
            continue;
        }
        let payload = match &message.payload_file {
            // Many messages may name one file.
            Some(_) if room == 0 => None,
            Some(file) => match bundle.message_payload(file) {
                Ok(payload) => Some(payload).filter(|it| it.len() <= room),
                Err(error) => {
                    messages.unread.get_or_insert(error.to_string());
                    messages.left_out = messages.left_out.saturating_add(1);
                    room = room.saturating_sub(UNREAD_BYTES);
                    continue;
                }
            },
            None => Some(Vec::new()),
        };
        let Some(payload) = payload else {
            room = 0;
            messages.left_out = messages.left_out.saturating_add(1);
            continue;
        };
        room -= payload.len();
        messages.damaged |= message.payload_damaged;
        messages.all.push(SocketMessage {
            sent: message.direction == "send",
            time_us: message.timestamp.saturating_mul(1_000),
            is_text: message.opcode == "text" && message.payload_encoding.is_none(),
            size: payload.len() as u64,
            payload: payload.into(),
            is_coded: message.payload_encoding.is_some(),
        });
    }
    let not_there = socket.message_count.saturating_sub(number);
    messages.left_out = messages.left_out.saturating_add(not_there);
    messages.damaged |= socket.error.as_deref() == Some(DAMAGED);
    Ok(messages)
}

/// The form of a bundle's WebSocket connection.
pub(crate) fn of_websocket(bundle: &mut read::Bundle, id: &str, bodies: Bodies) -> Result<Flow> {
    let socket = bundle.websocket(id)?;
    let messages = match bodies {
        Bodies::Read => socket_messages(bundle, id, &socket, READ_MESSAGES_BYTES)?,
        Bodies::Left => SocketMessages::default(),
    };
    let message = |headers| Message {
        version: "HTTP/1.1".to_owned(),
        fields: fields(headers),
        body: Body { wire_bytes: Some(0), ..Body::default() },
        head_bytes: None,
        trailers: Vec::new(),
    };
    let open_ms = socket.closed_timestamp.saturating_sub(socket.timestamp);
    Ok(Flow {
        began_us: socket.timestamp.saturating_mul(1_000),
        method: "GET".to_owned(),
        url: socket.url,
        request: message(socket.request_headers),
        response: Some(Response {
            status: 101,
            reason: "Switching Protocols".to_owned(),
            message: message(socket.response_headers),
        }),
        timing: Phases { receive_us: open_ms.saturating_mul(1_000), ..Phases::default() },
        server: None,
        error: socket.error,
        messages: Some(messages.all),
        messages_left_out: messages.left_out,
        messages_unread: messages.unread,
        messages_damaged: messages.damaged,
        client: socket.client_address,
        replayed: false,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A bundle that has these entries besides its manifest.
    fn made(entries: &[(String, String)]) -> (tempfile::TempDir, read::Bundle) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made.zip");
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        for (name, text) in [("manifest.json".into(), "{}".into())].iter().chain(entries) {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        let bundle = read::Bundle::open(&path).unwrap();
        (folder, bundle)
    }

    #[test]
    fn messages_of_one_socket_have_a_bound() {
        let mut entries = vec![("ws/p".to_owned(), "four".to_owned())];
        // Numbers of messages have as many digits as the last one needs, or as each does.
        for (id, digits) in [("ws_0001", 3), ("ws_0002", 5)] {
            entries.push((format!("ws/{id}.json"), "{\"message_count\":7}".into()));
            for number in 1..=5 {
                let message = "{\"opcode\":\"text\",\"payload_file\":\"p\"}";
                entries.push((format!("ws/{id}_m{number:0digits$}.json"), message.into()));
            }
        }
        let (_folder, mut bundle) = made(&entries);
        for id in ["ws_0001", "ws_0002"] {
            let socket = bundle.websocket(id).unwrap();
            for (most_bytes, kept) in [(20, 5), (19, 4), (4, 1), (3, 0)] {
                let read = socket_messages(&mut bundle, id, &socket, most_bytes).unwrap();
                let counts = (read.all.len(), read.left_out);
                assert_eq!(counts, (kept, 7 - kept as u64), "{id} {most_bytes}");
            }
        }
    }

    #[test]
    fn a_payload_that_cannot_be_read_costs_one_message() {
        let message = |number: u64, file: &str| {
            let text = format!("{{\"opcode\":\"text\",\"payload_file\":\"{file}\"}}");
            (format!("ws/ws_0001_m00{number}.json"), text)
        };
        let (_folder, mut bundle) = made(&[
            ("ws/p".into(), "four".into()),
            ("ws/ws_0001.json".into(), "{\"message_count\":3}".into()),
            message(1, "p"),
            message(2, "gone"),
            message(3, "p"),
        ]);
        let flow = of_websocket(&mut bundle, "ws_0001", Bodies::Read).unwrap();
        assert_eq!((flow.messages.unwrap().len(), flow.messages_left_out), (2, 1));
        assert!(flow.messages_unread.unwrap().contains("ws/gone"));
    }

    #[test]
    fn a_body_that_cannot_be_read_has_its_size() {
        let trace = "{\"response\":{\"status\":200,\"body_file\":\"gone\",\"body_size\":70000000}}";
        let (_folder, mut bundle) = made(&[("traces/t_0001.json".into(), trace.into())]);
        let flow = of_trace(&mut bundle, "t_0001", Bodies::Read).unwrap();
        let body = flow.response.unwrap().message.body;
        assert_eq!((body.size(), body.wire_bytes), (70_000_000, Some(70_000_000)));
        assert!(body.note.unwrap().contains("traces/gone"));
    }

    #[test]
    fn the_size_of_a_coded_body_is_that_before_it_was_decoded() {
        let trace = |more: &str| {
            let coding = "{\"name\":\"Content-Encoding\",\"value\":\"gzip\"}";
            let length = "{\"name\":\"Content-Length\",\"value\":\"99\"}";
            let request = format!(
                "{{\"headers\":[{coding},{length}],\"body_file\":\"b\",\"body_size\":4{more}}}"
            );
            format!("{{\"request\":{request},\"client_address\":\"[::1]:4711\"}}")
        };
        let (_folder, mut bundle) = made(&[
            ("traces/b".into(), "four".into()),
            ("traces/t_0001.json".into(), trace(",\"body_coded_size\":24")),
            ("traces/t_0002.json".into(), trace("")),
        ]);
        for (id, wire_bytes) in [("t_0001", 24), ("t_0002", 99)] {
            let flow = of_trace(&mut bundle, id, Bodies::Read).unwrap();
            let body = flow.request.body;
            assert_eq!((body.size(), body.wire_bytes), (4, Some(wire_bytes)), "{id}");
            assert!(body.decoded, "{id}");
            assert_eq!(flow.client, "[::1]:4711".parse().ok());
        }
    }
}
