//! A WebSocket connection in the bundle: its messages whole and inflated (RFC 6455, RFC 7692).

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use crate::capture::bundle::{
    BundleWriter, Entry, Fate, FileKind, Id, MESSAGE_DIGITS, Stored, message_digits, method,
};
use crate::capture::entry::{
    CloseEntry, MessageEntry, take_close, take_data, take_gap, take_message, take_open,
};
use crate::capture::frame::{FRAME_HEADER_BYTES, FileEnd, FrameReader, FrameType};
use crate::capture::journal::JournalFolder;
use crate::capture::json::Json;
use crate::capture::private;
use crate::capture::trace::{Workplace, put_fields};
use crate::flow::decode::inflate::Inflate;
use crate::flow::decode::{Caps, DecodeError, inflate_message};
use crate::flow::head::{HeadText, UriKind, target_uri_pieces};
use crate::flow::record::{Direction, FlowId, Opcode, WebSocketOpen};
use crate::limits::{DRAINED_MESSAGE_BYTES, JOURNAL_FRAME_BYTES, WEBSOCKET_MESSAGES};

/// What a connection's JSON says when the end of its file could not be read.
pub(super) const DAMAGED: &str =
    "the recording of this connection is damaged; messages are missing";

/// What it says of one that had not ended when the capture was killed.
const KILLED: &str = "the capture was killed first";

/// How it is known that a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// A segment names it: its file was whole by then.
    Named,
    /// It may have been open when the capture was killed: its file ends anywhere.
    Killed,
}

/// What there is in the file of a connection that no segment names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Whether it has the handshake, without which the connection is lost.
    pub(super) handshake: bool,
    /// Whether messages may stand where nothing can be read; a kill leaves no such place.
    pub(super) damaged: bool,
}

/// Looks through the file of a connection that no segment names.
pub(super) fn look_through(folder: &JournalFolder, flow: FlowId) -> Found {
    let Ok(file) = private::open(&folder.websocket(flow)) else { return Found::default() };
    let mut frames = FrameReader::new(BufReader::with_capacity(JOURNAL_FRAME_BYTES / 8, file));
    let mut found = Found::default();
    let mut is_first = true;
    while let Some(frame) = frames.next_frame().transpose() {
        let Ok((kind, payload)) = frame else {
            found.damaged = true;
            break;
        };
        if std::mem::take(&mut is_first) {
            found.handshake = kind == FrameType::WebSocketOpen && take_open(payload).is_some();
            found.damaged = !found.handshake;
        }
    }
    found.damaged |= frames.has_met_damage();
    found
}

/// Writes a connection into the part; one whose file cannot be read or has no handshake is lost.
/// Gives its first and last moment as well, in microseconds since the Unix epoch.
pub(super) fn write_websocket(
    part: &mut BundleWriter,
    place: &mut Workplace<'_>,
    flow: FlowId,
    ended: Ended,
) -> io::Result<(Fate, Option<(u64, u64)>)> {
    let path = place.folder.websocket(flow);
    let (Ok(file), Ok(payloads)) = (private::open(&path), private::open(&path)) else {
        return Ok((Fate::Lost, None));
    };
    let source = BufReader::with_capacity(JOURNAL_FRAME_BYTES / 8, file);
    let mut frames = FrameReader::new(source);
    let open = match frames.next_frame() {
        Ok(Some((FrameType::WebSocketOpen, payload))) => take_open(payload),
        _ => None,
    };
    let Some(open) = open else { return Ok((Fate::Lost, None)) };

    let id = part.next_websocket(open.began_us / 1_000, &open.target.host);
    let digits = digits_needed(&payloads);
    let mut writer = MessageWriter::new(&open, id, payloads, digits);
    let mut position = frames.position();
    let mut close = None;
    let mut last_us = open.began_us;
    // A damaged file gives the messages before the damage.
    while let Ok(Some((kind, payload))) = frames.next_frame() {
        position += (FRAME_HEADER_BYTES + payload.len()) as u64;
        match kind {
            FrameType::WebSocketData => writer.data(payload, position),
            FrameType::WebSocketMessage => {
                if let Some(message) = take_message(payload) {
                    last_us = last_us.max(message.time_us);
                    writer.message(part, place, &message)?;
                }
            }
            FrameType::WebSocketGap => writer.gap(payload),
            FrameType::WebSocketClose => close = take_close(payload),
            _ => {}
        }
    }
    // The file was closed before the segment named it.
    let cut = close.is_none() || frames.end() != Some(FileEnd::Whole);
    let damage = match (cut, ended) {
        (false, _) => None,
        (true, Ended::Named) => Some(DAMAGED),
        (true, Ended::Killed) if frames.end().is_none() || frames.has_met_damage() => Some(DAMAGED),
        (true, Ended::Killed) => Some(KILLED),
    };
    let last_us = close.as_ref().map_or(last_us, |close| close.time_us.max(last_us));
    let (messages, damaged) = (writer.messages, writer.damaged || damage == Some(DAMAGED));
    let facts = Facts { id, messages, close, damage };
    put_connection(place.json, &open, &facts);
    part.json(Entry::Json(id), place.json)?;
    let fate = if damaged { Fate::Damaged } else { Fate::Whole };
    Ok((fate, Some((open.began_us, last_us))))
}

/// How many digits the numbers of the messages in a connection's file have. The file is gone
/// through for that only where it is large enough for more messages than the usual digits count.
fn digits_needed(file: &File) -> u8 {
    let most = file.metadata().map_or(0, |metadata| metadata.len()) / MESSAGE_FRAME_BYTES;
    if message_digits(most) == MESSAGE_DIGITS {
        return MESSAGE_DIGITS;
    }
    let source = BufReader::with_capacity(JOURNAL_FRAME_BYTES / 8, file);
    let mut frames = FrameReader::new(source);
    let mut messages = 0;
    // No connection needs more digits than its limit has.
    while message_digits(messages) < message_digits(WEBSOCKET_MESSAGES)
        && let Ok(Some((kind, payload))) = frames.next_frame()
    {
        let is_message = kind == FrameType::WebSocketMessage && take_message(payload).is_some();
        messages += u64::from(is_message);
    }
    message_digits(messages)
}

/// Bytes of the frame of a message without a payload: nothing smaller is a message.
const MESSAGE_FRAME_BYTES: u64 = FRAME_HEADER_BYTES as u64 + 11;

/// What is known of a connection besides its handshake.
struct Facts {
    id: Id,
    messages: u64,
    close: Option<CloseEntry>,
    damage: Option<&'static str>,
}

fn put_connection(json: &mut Json, open: &WebSocketOpen, facts: &Facts) {
    let Facts { id, messages, close, damage } = facts;
    let request = HeadText::view(&open.request_head);
    let response = HeadText::view(&open.response_head);
    json.clear();
    json.raw(r#"{"id":""#);
    json.put(|out| id.put(out));
    json.raw(r#"","timestamp":"#);
    json.number(open.began_us / 1_000);
    json.raw(r#","url":""#);
    let target = Some(open.target.as_ref());
    for piece in target_uri_pieces(&request, open.scheme, target, UriKind::WebSocket) {
        json.escaped(&piece);
    }
    json.raw(r#"","handshake_trace_ref":null,"protocols":["#);
    let offered = request.values("sec-websocket-protocol").flat_map(|value| value.split(','));
    let offered = offered.map(str::trim).filter(|name| !name.is_empty());
    for (at, name) in offered.enumerate() {
        json.raw(if at == 0 { "" } else { "," });
        json.string(Some(name));
    }
    json.raw(r#"],"message_count":"#);
    json.number(*messages);
    json.raw(r#","context_refs":[],"request_headers":"#);
    put_fields(json, &request.fields);
    json.raw(r#","response_headers":"#);
    put_fields(json, &response.fields);
    json.raw(r#","client_address":"#);
    json.address(open.client);
    json.raw(r#","closed_timestamp":"#);
    match close {
        Some(close) => json.number(close.time_us / 1_000),
        None => json.raw("null"),
    }
    let left_out = close.as_ref().map_or(0, |close| close.messages_left_out);
    if left_out > 0 {
        json.raw(r#","messages_left_out":"#);
        json.number(left_out);
    }
    let error = close.as_ref().and_then(|close| close.error.as_deref()).or(*damage);
    if let Some(error) = error {
        json.raw(r#","error":"#);
        json.string(Some(error));
    }
    json.raw("}");
}

/// One direction of a connection.
struct Way {
    /// Where in the connection's file the blocks of the message under way are: place and length.
    blocks: Vec<(u64, u64)>,
    inflate: Inflate,
    /// Whether each message starts with an empty history.
    resets: bool,
    /// Whether the history is lost, since a message could not be inflated.
    lost: bool,
}

impl Way {
    fn new(resets: bool) -> Self {
        Way { blocks: Vec::new(), inflate: Inflate::new(false), resets, lost: false }
    }
}

/// Writes the messages of one connection.
struct MessageWriter {
    connection: Id,
    payloads: File,
    ways: [Way; 2],
    messages: u64,
    /// Digits of the numbers of the messages.
    digits: u8,
    /// Whether something of a message could not be read back.
    damaged: bool,
}

impl MessageWriter {
    fn new(open: &WebSocketOpen, connection: Id, payloads: File, digits: u8) -> Self {
        let deflate = open.deflate.unwrap_or_default();
        let ways = [
            Way::new(deflate.client_no_context_takeover),
            Way::new(deflate.server_no_context_takeover),
        ];
        MessageWriter { connection, payloads, ways, messages: 0, digits, damaged: false }
    }

    /// A block whose frame ends at `end` in the file.
    fn data(&mut self, payload: &[u8], end: u64) {
        if let Some((direction, data)) = take_data(payload) {
            let length = data.len() as u64;
            way(&mut self.ways, direction).blocks.push((end.saturating_sub(length), length));
        }
    }

    /// A place where messages are missing: what came before does not belong to what follows.
    fn gap(&mut self, payload: &[u8]) {
        if let Some(direction) = take_gap(payload) {
            let way = way(&mut self.ways, direction);
            way.blocks.clear();
            way.lost = !way.resets;
        }
    }

    fn message(
        &mut self,
        part: &mut BundleWriter,
        place: &mut Workplace<'_>,
        message: &MessageEntry<'_>,
    ) -> io::Result<()> {
        self.messages += 1;
        let timestamp = message.time_us / 1_000;
        let id = part.next_message(self.messages, self.digits, timestamp);
        let (stored, encoding) = self.payload(part, place, message, id)?;
        self.damaged |= !stored.whole;
        let json = &mut *place.json;
        json.clear();
        json.raw(r#"{"id":""#);
        json.put(|out| id.put(out));
        json.raw(r#"","connection_ref":""#);
        json.put(|out| self.connection.put(out));
        json.raw(r#"","timestamp":"#);
        json.number(timestamp);
        json.raw(r#","direction":""#);
        json.raw(direction_name(message.direction));
        json.raw(r#"","opcode":""#);
        json.raw(opcode_name(message.opcode));
        if stored.bytes > 0 {
            json.raw(r#"","payload_file":""#);
            json.put(|out| FileKind::Payload.put(id, out));
            json.raw(r#"","payload_size":"#);
        } else {
            json.raw(r#"","payload_file":null,"payload_size":"#);
        }
        json.number(stored.bytes);
        json.raw(r#","context_refs":[]"#);
        if let Some(encoding) = encoding {
            json.raw(r#","payload_encoding":"#);
            json.string(Some(encoding));
        }
        if !stored.whole {
            json.raw(r#","payload_damaged":true"#);
        }
        json.raw("}");
        part.json(Entry::Json(id), json)
    }

    /// Writes the payload, inflated if it can be; gives its coding if not.
    fn payload(
        &mut self,
        part: &mut BundleWriter,
        place: &mut Workplace<'_>,
        message: &MessageEntry<'_>,
        id: Id,
    ) -> io::Result<(Stored, Option<&'static str>)> {
        let way = way(&mut self.ways, message.direction);
        // Control frames stand between the blocks of a data message and do not end it.
        let is_data = matches!(message.opcode, Opcode::Text | Opcode::Binary);
        let blocks = if is_data { std::mem::take(&mut way.blocks) } else { Vec::new() };
        let ahead: u64 = blocks.iter().map(|(_, length)| length).sum();
        let size = ahead + message.payload.len() as u64;
        let file = &self.payloads;
        let is_text = message.opcode == Opcode::Text;
        let entry = Entry::File(id, FileKind::Payload);
        let mut source = Blocks { file, blocks: &blocks, left: 0 }.chain(message.payload);
        if message.compressed && is_data && !way.lost {
            place.spool.clear();
            if way.resets {
                way.inflate.reset();
            }
            // Without context takeover nobody needs the history.
            let drained = if way.resets { 0 } else { DRAINED_MESSAGE_BYTES };
            let caps = Caps::default();
            match inflate_message(&mut way.inflate, &mut source, place.spool, caps, drained) {
                Ok(size) => {
                    let method = method(size, || is_text);
                    return Ok((part.spooled(entry, method, place.spool)?, None));
                }
                Err(DecodeError::PastCaps | DecodeError::Sink(_)) => {}
                Err(_) => way.lost = !way.resets,
            }
        }
        let encoding = (message.compressed && is_data).then_some("permessage-deflate");
        let method = method(size, || is_text && encoding.is_none());
        if blocks.is_empty() {
            return Ok((part.bytes(entry, method, message.payload)?, encoding));
        }
        let mut source = Blocks { file, blocks: &blocks, left: 0 }.chain(message.payload);
        Ok((part.body(entry, method, size, &mut source)?, encoding))
    }
}

fn way(ways: &mut [Way; 2], direction: Direction) -> &mut Way {
    let [send, receive] = ways;
    match direction {
        Direction::Send => send,
        Direction::Receive => receive,
    }
}

/// Reads the blocks of a message from the connection's file.
struct Blocks<'a> {
    file: &'a File,
    blocks: &'a [(u64, u64)],
    /// What is left of the block under way; the file stands there.
    left: u64,
}

impl Read for Blocks<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            let Some(((place, length), rest)) = self.blocks.split_first() else { return Ok(0) };
            self.file.seek(SeekFrom::Start(*place))?;
            self.left = *length;
            self.blocks = rest;
        }
        let got = self.file.take(self.left).read(target)?;
        if got == 0 && !target.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= got as u64;
        Ok(got)
    }
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Send => "send",
        Direction::Receive => "receive",
    }
}

fn opcode_name(opcode: Opcode) -> &'static str {
    match opcode {
        Opcode::Text => "text",
        Opcode::Binary => "binary",
        Opcode::Close => "close",
        Opcode::Ping => "ping",
        Opcode::Pong => "pong",
    }
}
