//! A WebSocket connection in the bundle: its messages whole and inflated (RFC 6455, RFC 7692).

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use serde::Serialize;

use crate::capture::bundle::{BundleWriter, Fate, Stored, websocket_id};
use crate::capture::entry::{
    CloseEntry, MessageEntry, take_close, take_data, take_message, take_open,
};
use crate::capture::frame::{FRAME_HEADER_BYTES, FileEnd, FrameReader, FrameType};
use crate::capture::trace::{Headers, Workplace, is_false};
use crate::flow::decode::inflate::Inflate;
use crate::flow::decode::{Caps, DecodeError, inflate_message};
use crate::flow::head::{HeadText, UriKind, target_uri};
use crate::flow::record::{Direction, FlowId, Opcode, WebSocketOpen};
use crate::limits::{DRAINED_MESSAGE_BYTES, JOURNAL_FRAME_BYTES};

#[derive(Serialize)]
struct Connection<'a> {
    id: &'a str,
    timestamp: u64,
    url: String,
    handshake_trace_ref: Option<()>,
    protocols: Vec<&'a str>,
    message_count: u64,
    context_refs: [(); 0],
    request_headers: Headers<'a>,
    response_headers: Headers<'a>,
    client_address: String,
    closed_timestamp: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    messages_left_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    connection_ref: &'a str,
    timestamp: u64,
    direction: &'static str,
    opcode: &'static str,
    payload_file: Option<String>,
    payload_size: u64,
    context_refs: [(); 0],
    /// Set when the payload could not be inflated and is stored as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_encoding: Option<&'static str>,
    /// Whether what was recorded of the payload could not be read back whole.
    #[serde(skip_serializing_if = "is_false")]
    payload_damaged: bool,
}

/// What a connection's JSON says when the end of its file could not be read.
const DAMAGED: &str = "the recording of this connection is damaged; messages are missing";

/// Writes a connection into the part; one whose file cannot be read or has no handshake is lost.
pub(super) fn write_websocket(
    part: &mut BundleWriter,
    place: &mut Workplace<'_>,
    flow: FlowId,
) -> io::Result<Fate> {
    let path = place.folder.websocket(flow);
    let (Ok(file), Ok(payloads)) = (File::open(&path), File::open(&path)) else {
        return Ok(Fate::Lost);
    };
    let source = BufReader::with_capacity(JOURNAL_FRAME_BYTES / 8, file);
    let mut frames = FrameReader::new(source);
    let open = match frames.next_frame() {
        Ok(Some((FrameType::WebSocketOpen, payload))) => take_open(payload),
        _ => None,
    };
    let Some(open) = open else { return Ok(Fate::Lost) };

    let number = part.next_websocket(open.began_us / 1_000, &open.target.host);
    let id = websocket_id(number);
    let mut writer = MessageWriter::new(&open, &id, number, payloads);
    let mut position = frames.position();
    let mut close = None;
    // A damaged file gives the messages before the damage.
    while let Ok(Some((kind, payload))) = frames.next_frame() {
        position += (FRAME_HEADER_BYTES + payload.len()) as u64;
        match kind {
            FrameType::WebSocketData => writer.data(payload, position),
            FrameType::WebSocketMessage => {
                if let Some(message) = take_message(payload) {
                    writer.message(part, place, &message)?;
                }
            }
            FrameType::WebSocketClose => close = take_close(payload),
            _ => {}
        }
    }
    // The file was closed before the segment named it.
    let cut = close.is_none() || frames.end() != Some(FileEnd::Whole);
    let (messages, damaged) = (writer.messages, writer.damaged || cut);
    write_connection(part, &open, &id, messages, close, cut.then_some(DAMAGED))?;
    Ok(if damaged { Fate::Damaged } else { Fate::Whole })
}

fn write_connection(
    part: &mut BundleWriter,
    open: &WebSocketOpen,
    id: &str,
    message_count: u64,
    close: Option<CloseEntry>,
    damage: Option<&'static str>,
) -> io::Result<()> {
    let request = HeadText::read(&open.request_head);
    let response = HeadText::read(&open.response_head);
    let offered = request.values("sec-websocket-protocol").flat_map(|value| value.split(','));
    let connection = Connection {
        id,
        timestamp: open.began_us / 1_000,
        url: target_uri(&request, open.scheme, Some(&open.target), UriKind::WebSocket),
        handshake_trace_ref: None,
        protocols: offered.map(str::trim).filter(|name| !name.is_empty()).collect(),
        message_count,
        context_refs: [],
        request_headers: Headers(&request.fields),
        response_headers: Headers(&response.fields),
        client_address: open.client.to_string(),
        closed_timestamp: close.as_ref().map(|close| close.time_us / 1_000),
        messages_left_out: close.as_ref().map_or(0, |close| close.messages_left_out),
        error: close.as_ref().and_then(|close| close.error.as_deref()).or(damage),
    };
    part.json(&format!("ws/{id}.json"), &connection)
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
struct MessageWriter<'a> {
    connection: &'a str,
    number: u64,
    payloads: File,
    ways: [Way; 2],
    messages: u64,
    /// Whether something of a message could not be read back.
    damaged: bool,
}

impl<'a> MessageWriter<'a> {
    fn new(open: &WebSocketOpen, connection: &'a str, number: u64, payloads: File) -> Self {
        let deflate = open.deflate.unwrap_or_default();
        let ways = [
            Way::new(deflate.client_no_context_takeover),
            Way::new(deflate.server_no_context_takeover),
        ];
        MessageWriter { connection, number, payloads, ways, messages: 0, damaged: false }
    }

    /// A block whose frame ends at `end` in the file.
    fn data(&mut self, payload: &[u8], end: u64) {
        if let Some((direction, data)) = take_data(payload) {
            let length = data.len() as u64;
            way(&mut self.ways, direction).blocks.push((end.saturating_sub(length), length));
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
        let id = part.next_message(self.number, self.messages, timestamp);
        let (stored, payload_encoding) = self.payload(part, place, message, &id)?;
        self.damaged |= !stored.whole;
        let name = self.connection;
        let message = Message {
            id: &id,
            connection_ref: name,
            timestamp,
            direction: direction_name(message.direction),
            opcode: opcode_name(message.opcode),
            payload_file: (stored.bytes > 0).then(|| format!("{id}.bin")),
            payload_size: stored.bytes,
            context_refs: [],
            payload_encoding,
            payload_damaged: !stored.whole,
        };
        part.json(&format!("ws/{id}.json"), &message)
    }

    /// Writes the payload, inflated if it can be; gives its coding if not.
    fn payload(
        &mut self,
        part: &mut BundleWriter,
        place: &mut Workplace<'_>,
        message: &MessageEntry<'_>,
        id: &str,
    ) -> io::Result<(Stored, Option<&'static str>)> {
        let way = way(&mut self.ways, message.direction);
        // Control frames stand between the blocks of a data message and do not end it.
        let is_data = matches!(message.opcode, Opcode::Text | Opcode::Binary);
        let blocks = if is_data { std::mem::take(&mut way.blocks) } else { Vec::new() };
        let ahead: u64 = blocks.iter().map(|(_, length)| length).sum();
        let size = ahead + message.payload.len() as u64;
        let file = &self.payloads;
        let is_text = message.opcode == Opcode::Text;
        let entry = format!("ws/{id}.bin");
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
                Ok(0) => return Ok((EMPTY, None)),
                Ok(size) => {
                    let stored = part.body(&entry, size, is_text, &mut place.spool.reader()?)?;
                    return Ok((stored, None));
                }
                Err(DecodeError::PastCaps | DecodeError::Sink(_)) => {}
                Err(_) => way.lost = !way.resets,
            }
        }
        let encoding = (message.compressed && is_data).then_some("permessage-deflate");
        if size == 0 {
            return Ok((EMPTY, encoding));
        }
        let mut source = Blocks { file, blocks: &blocks, left: 0 }.chain(message.payload);
        let is_text = is_text && encoding.is_none();
        Ok((part.body(&entry, size, is_text, &mut source)?, encoding))
    }
}

const EMPTY: Stored = Stored { bytes: 0, whole: true };

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
