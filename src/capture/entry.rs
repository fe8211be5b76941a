//! What the journal's frames hold, in a compact binary form, and back.
//!
//! Integers are little-endian; bytes and text carry a u32 length in front; what may be absent
//! carries a byte 0 or 1 in front.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;

use crate::capture::frame::{FRAME_HEADER_BYTES, FrameType, append_frame_before};
use crate::capture::losses::Losses;
use crate::flow::head::HeadText;
use crate::flow::record::{
    Authority, Body, DeflateParameters, Direction, EndedExchange, Exchange, FlowEvent, FlowId,
    Intervention, Message, Opcode, Scheme, Side, Timing, TlsFacts, Upstream, WebSocketClose,
    WebSocketMessage, WebSocketOpen,
};

/// The version of the journal that this program writes and reads.
pub const JOURNAL_VERSION: u32 = 5;

/// Tails of bodies that are copied into the frame of their exchange; longer ones stay where they
/// are until they are written down.
const TAILS_COPIED_BYTES: usize = 4 * 1024;

/// The first frame of a segment: all that a bundle needs besides its flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// A UUID that all parts of one capture share.
    pub series: String,
    /// The part of the bundle, from 1.
    pub part: u32,
    /// When the segment was begun, in microseconds since the Unix epoch.
    pub created_us: u64,
    /// The name in the manifest.
    pub app: String,
    /// The file name of the part, without its folder.
    pub file_name: String,
}

impl SegmentHeader {
    /// Appends the payload.
    pub fn put(&self, out: &mut Vec<u8>) {
        JOURNAL_VERSION.put(out);
        Field::put(self, out);
    }

    /// The version of the journal that a payload is of; `None` when it is too short to tell.
    pub fn version(mut payload: &[u8]) -> Option<u32> {
        u32::take(&mut payload)
    }

    /// Reads a payload; `None` when it is damaged or of another version.
    pub fn take(payload: &[u8]) -> Option<Self> {
        whole(payload, |input| {
            let is_known = u32::take(input)? == JOURNAL_VERSION;
            if is_known { Field::take(input) } else { None }
        })
    }
}

/// Appends the payload of a frame that holds only a time or an id.
pub fn put_number(out: &mut Vec<u8>, number: u64) {
    number.put(out);
}

/// Reads the payload that [`put_number`] wrote.
pub fn take_number(payload: &[u8]) -> Option<u64> {
    whole(payload, u64::take)
}

/// Appends the payload of a frame of losses.
pub fn put_losses(out: &mut Vec<u8>, losses: Losses) {
    losses.flows.put(out);
    losses.messages.put(out);
}

/// Reads the payload that [`put_losses`] wrote.
pub fn take_losses(payload: &[u8]) -> Option<Losses> {
    whole(payload, |input| Some(Losses { flows: u64::take(input)?, messages: u64::take(input)? }))
}

fn tails(exchange: &Exchange) -> [&[u8]; 2] {
    [Side::Request, Side::Response]
        .map(|side| exchange.body(side).map_or(&[][..], |body| &body.tail[..]))
}

/// An exchange's payload is what is known of it, then the tails of its bodies, of which this tells
/// the lengths.
fn put_facts(out: &mut Vec<u8>, exchange: &Exchange) {
    for tail in tails(exchange) {
        u32::try_from(tail.len()).unwrap_or(u32::MAX).put(out);
    }
    exchange.put(out);
}

/// Reads an exchange's payload.
pub fn take_exchange(payload: &[u8]) -> Option<Exchange> {
    let mut input = payload;
    let (mut exchange, [request, response]) = take_facts(&mut input)?;
    let (request, rest) = input.split_at_checked(request)?;
    if rest.len() != response {
        return None;
    }
    set_tails(&mut exchange, [request, rest].map(Bytes::copy_from_slice))?;
    Some(exchange)
}

/// Reads what [`put_facts`] wrote, and the lengths of the tails.
fn take_facts(input: &mut &[u8]) -> Option<(Exchange, [usize; 2])> {
    let lengths = [u32::take(input)?, u32::take(input)?];
    let exchange = Exchange::take(input)?;
    let [request, response] = lengths.map(usize::try_from);
    Some((exchange, [request.ok()?, response.ok()?]))
}

fn set_tails(exchange: &mut Exchange, tails: [Bytes; 2]) -> Option<()> {
    let [request, response] = tails;
    exchange.request.body.tail = request;
    match &mut exchange.response {
        Some(message) => message.body.tail = response,
        None if response.is_empty() => {}
        None => return None,
    }
    Some(())
}

/// Appends the frame of an exchange that has ended to `out`. What comes back has no frame: it is
/// to be given the bytes that were appended.
pub fn put_ended(out: &mut Vec<u8>, exchange: Exchange) -> EndedExchange {
    let is_cut = |side| exchange.body(side).is_some_and(Body::is_cut);
    let mut ended = EndedExchange {
        id: exchange.id,
        is_trace: is_trace(&exchange),
        bodies_cut: u8::from(is_cut(Side::Request)) + u8::from(is_cut(Side::Response)),
        request_ahead: exchange.is_ahead(Side::Request),
        response_ahead: exchange.is_ahead(Side::Response),
        frame: Bytes::new(),
        tails: None,
    };
    let rest = tails(&exchange);
    let facts = |out: &mut Vec<u8>| put_facts(out, &exchange);
    if !append_frame_before(out, FrameType::Exchange, facts, rest) {
        return ended;
    }
    if rest.iter().map(|tail| tail.len()).sum::<usize>() <= TAILS_COPIED_BYTES {
        rest.iter().for_each(|tail| out.extend_from_slice(tail));
    } else {
        let response = exchange.response.map(|message| message.body.tail).unwrap_or_default();
        ended.tails = Some(Box::new([exchange.request.body.tail, response]));
    }
    ended
}

/// What readers of flows are told of an exchange that has ended, for those who tell of few.
pub fn ended(exchange: &Exchange) -> FlowEvent {
    let mut frame = Vec::new();
    let ended = put_ended(&mut frame, exchange.clone());
    FlowEvent::Exchange(EndedExchange { frame: frame.into(), ..ended })
}

/// The exchange that [`put_ended`] was given; `None` when its frame is empty or damaged.
pub fn take_ended(ended: &EndedExchange) -> Option<Exchange> {
    let mut payload = ended.frame.get(FRAME_HEADER_BYTES..)?;
    let Some(tails) = &ended.tails else { return take_exchange(payload) };
    let (mut exchange, _) = take_facts(&mut payload)?;
    set_tails(&mut exchange, (**tails).clone())?;
    Some(exchange)
}

/// Whether an exchange is a trace: OPTIONS requests and WebSocket handshakes are not.
fn is_trace(exchange: &Exchange) -> bool {
    if exchange.request.head.starts_with(b"OPTIONS ") {
        return false;
    }
    let Some(response) = &exchange.response else { return true };
    let status = response.head.split(|byte| *byte == b' ').nth(1);
    let switches = status.is_some_and(|status| status.starts_with(b"101"));
    let names_websocket = |upgrade: &str| {
        upgrade.split(',').any(|name| name.trim().eq_ignore_ascii_case("websocket"))
    };
    !(switches && HeadText::read(&response.head).values("upgrade").any(names_websocket))
}

/// Appends a handshake's payload.
pub fn put_open(out: &mut Vec<u8>, open: &WebSocketOpen) {
    open.put(out);
}

/// Reads a handshake's payload.
pub fn take_open(payload: &[u8]) -> Option<WebSocketOpen> {
    whole(payload, WebSocketOpen::take)
}

/// Appends a message block's payload: the direction, then the bytes to the end of the frame.
pub fn put_data(out: &mut Vec<u8>, direction: Direction, data: &[u8]) {
    direction.put(out);
    out.extend_from_slice(data);
}

/// Reads a message block's payload.
pub fn take_data(mut payload: &[u8]) -> Option<(Direction, &[u8])> {
    Some((Direction::take(&mut payload)?, payload))
}

/// Appends the payload of a place where messages of one direction are missing.
pub fn put_gap(out: &mut Vec<u8>, direction: Direction) {
    direction.put(out);
}

/// Reads the payload that [`put_gap`] wrote.
pub fn take_gap(payload: &[u8]) -> Option<Direction> {
    whole(payload, Direction::take)
}

/// The end of a message, as its frame holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageEntry<'a> {
    /// The direction.
    pub direction: Direction,
    /// The kind.
    pub opcode: Opcode,
    /// Whether the payload is compressed.
    pub compressed: bool,
    /// When it ended, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// The payload that follows the blocks.
    pub payload: &'a [u8],
}

/// Appends a message's payload, with `data` as the bytes that follow its blocks.
pub fn put_message(out: &mut Vec<u8>, message: &WebSocketMessage, data: &[u8]) {
    message.direction.put(out);
    message.opcode.put(out);
    message.compressed.put(out);
    message.time_us.put(out);
    out.extend_from_slice(data);
}

/// Reads a message's payload.
pub fn take_message(mut payload: &[u8]) -> Option<MessageEntry<'_>> {
    let input = &mut payload;
    Some(MessageEntry {
        direction: Direction::take(input)?,
        opcode: Opcode::take(input)?,
        compressed: bool::take(input)?,
        time_us: u64::take(input)?,
        payload: input,
    })
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseEntry {
    /// When, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// Why it failed.
    pub error: Option<String>,
    /// Messages that were not kept because there were too many.
    pub messages_left_out: u64,
}

/// Appends the payload of a connection's end.
pub fn put_close(out: &mut Vec<u8>, close: &WebSocketClose, messages_left_out: u64) {
    close.time_us.put(out);
    close.error.put(out);
    messages_left_out.put(out);
}

/// Reads the payload of a connection's end.
pub fn take_close(payload: &[u8]) -> Option<CloseEntry> {
    whole(payload, |input| {
        Some(CloseEntry {
            time_us: u64::take(input)?,
            error: Field::take(input)?,
            messages_left_out: u64::take(input)?,
        })
    })
}

/// Reads a payload that must be used up.
fn whole<T>(mut payload: &[u8], take: impl FnOnce(&mut &[u8]) -> Option<T>) -> Option<T> {
    let value = take(&mut payload)?;
    payload.is_empty().then_some(value)
}

/// A value that has a binary form.
trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(input: &mut &[u8]) -> Option<Self>;
}

fn take_array<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*array)
}

/// Bytes or text with their length in front.
fn take_bytes<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u32::take(input)?).ok()?;
    let (bytes, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(bytes)
}

fn take_text<'a>(input: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(input)?).ok()
}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl Field for $integer {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn take(input: &mut &[u8]) -> Option<Self> {
                take_array(input).map(<$integer>::from_le_bytes)
            }
        }
    )*};
}

integers!(u8 u16 u32 u64);

/// Fields that are one of a few values, each written as one byte.
macro_rules! choices {
    ($($kind:ty { $($byte:literal = $value:path),* })*) => {$(
        impl Field for $kind {
            fn put(&self, out: &mut Vec<u8>) {
                out.push(match self { $($value => $byte),* });
            }

            fn take(input: &mut &[u8]) -> Option<Self> {
                match u8::take(input)? { $($byte => Some($value),)* _ => None }
            }
        }
    )*};
}

choices! {
    Scheme { 0 = Scheme::Http, 1 = Scheme::Https }
    Direction { 0 = Direction::Send, 1 = Direction::Receive }
    Opcode {
        1 = Opcode::Text, 2 = Opcode::Binary, 8 = Opcode::Close, 9 = Opcode::Ping, 10 = Opcode::Pong
    }
}

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        match u8::take(input)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Field for Bytes {
    fn put(&self, out: &mut Vec<u8>) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).put(out);
        out.extend_from_slice(self);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        take_bytes(input).map(Bytes::copy_from_slice)
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    u32::try_from(text.len()).unwrap_or(u32::MAX).put(out);
    out.extend_from_slice(text.as_bytes());
}

impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, self);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        take_text(input).map(str::to_owned)
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Some(if bool::take(input)? { Some(T::take(input)?) } else { None })
    }
}

impl<T: Field> Field for Arc<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_ref().put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        T::take(input).map(Arc::new)
    }
}

impl Field for SocketAddr {
    fn put(&self, out: &mut Vec<u8>) {
        match self.ip() {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        self.port().put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let ip = match u8::take(input)? {
            4 => IpAddr::from(take_array::<4>(input)?),
            6 => IpAddr::from(take_array::<16>(input)?),
            _ => return None,
        };
        Some(SocketAddr::new(ip, u16::take(input)?))
    }
}

/// Structures whose fields are written one after another.
macro_rules! structures {
    ($($kind:ident { $($field:ident),* })*) => {$(
        impl Field for $kind {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)*
            }

            fn take(input: &mut &[u8]) -> Option<Self> {
                Some($kind { $($field: Field::take(input)?),* })
            }
        }
    )*};
}

structures! {
    SegmentHeader { series, part, created_us, app, file_name }
    Exchange {
        id, scheme, target, client, client_tls, upstream, request, response, timing, error,
        intervention
    }
    WebSocketOpen {
        id, scheme, target, client, request_head, response_head, began_us, deflate
    }
    Authority { host, port }
    Message { head, body, trailers }
    Upstream { address, connection, reused, tls }
    Intervention { replayed, origin, request_edited, response_edited }
    DeflateParameters { client_no_context_takeover, server_no_context_takeover }
    Timing { began_us, dns_us, connect_us, tls_us, send_us, wait_us, receive_us, total_us }
}

/// Without its tail, which stands behind everything else.
impl Field for Body {
    fn put(&self, out: &mut Vec<u8>) {
        self.sent_ahead.put(out);
        self.size.put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let (sent_ahead, size) = (u64::take(input)?, u64::take(input)?);
        Some(Body { tail: Bytes::new(), sent_ahead, size })
    }
}

impl Field for FlowId {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        u64::take(input).map(FlowId)
    }
}

impl Field for TlsFacts {
    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, self.version);
        self.cipher.put(out);
        self.server_name.put(out);
        self.alpn.put(out);
        self.resumed.put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let version = match take_text(input)? {
            "TLSv1.3" => "TLSv1.3",
            "TLSv1.2" => "TLSv1.2",
            _ => "unknown",
        };
        Some(TlsFacts {
            version,
            cipher: String::take(input)?,
            server_name: Field::take(input)?,
            alpn: Field::take(input)?,
            resumed: bool::take(input)?,
        })
    }
}

#[cfg(test)]
mod tests;
