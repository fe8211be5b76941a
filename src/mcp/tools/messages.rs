//! The messages of WebSocket flows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::flow::record::{Direction, Opcode};
use crate::flow::redact::Redactor;
use crate::flow::stored::StoredWebSocketMessage;
use crate::limits::{BODY_WINDOW_MOST_BYTES, REPLY_CHARS, REPLY_MOST_CHARS};
use crate::mcp::tools::Work;
use crate::mcp::tools::body::as_text;
use crate::mcp::tools::reply::{Failure, Outcome, Reply, json_chars, shorten};
use crate::mcp::tools::select::{going_on, pattern};

/// Characters shown of a message where nothing else is asked for.
const MESSAGE_CHARS: usize = 500;

pub(super) fn get_websocket_messages(work: &Work<'_>) -> Outcome {
    let flow = work.flow("flow_id")?;
    let Some(socket) = &flow.websocket else {
        return Err(Failure::new(format!("flow {} is no WebSocket", flow.id.0))
            .then(json!({ "tool": "get_flows", "filter": "~websocket" })));
    };
    let from = match work.arguments.text("from")? {
        None => None,
        Some("client") => Some(Direction::Send),
        Some("server") => Some(Direction::Receive),
        Some(_) => {
            return Err(Failure::new("the argument \"from\" must be \"client\" or \"server\""));
        }
    };
    let wanted = Wanted::read(work)?;
    let redactor = &work.options.redactor;
    // Messages that are kept no more count, so that a message keeps its number, and a page that is
    // gone on with leaves none out.
    let gone = usize::try_from(socket.left_out).unwrap_or(usize::MAX);
    let mut page = wanted.page_behind(gone);
    for (number, message) in (socket.left_out..).zip(&socket.messages) {
        if from.is_some_and(|from| from != message.direction) {
            continue;
        }
        let text = is_text_message(message).then(|| masked_text(message, redactor));
        let searched = wanted.pattern.as_ref();
        if searched.is_some_and(|it| !text.as_ref().is_some_and(|text| it.is_match(text))) {
            continue;
        }
        page.add(|| {
            let mut line = line(number, message, flow.timing.began_us);
            put_content(&mut line, message, text.as_deref(), wanted.chars, redactor);
            line.into()
        });
    }
    let mut reply = Reply::default();
    let selected = page.seen.saturating_sub(gone);
    let is_filtered = from.is_some() || wanted.pattern.is_some();
    reply.put("total", socket.messages.len() as u64 + socket.left_out);
    if is_filtered {
        reply.put("matching", selected);
    }
    if socket.left_out > 0 {
        reply.put("kept_no_more", socket.left_out);
    }
    page.put(work, "messages", &mut reply);
    Ok(reply)
}

/// What is asked for of a long list.
pub(super) struct Wanted {
    offset: usize,
    limit: usize,
    most_chars: usize,
    pub(super) chars: usize,
    pub(super) pattern: Option<Regex>,
}

impl Wanted {
    pub(super) fn read(work: &Work<'_>) -> Result<Self, Failure> {
        let arguments = work.arguments;
        let limit = arguments.size("limit", 1..=1_000)?;
        let chars = arguments.size("message_limit", 0..=BODY_WINDOW_MOST_BYTES)?;
        // Who asks for much has asked for a long reply.
        let much = limit.unwrap_or(50) * chars.unwrap_or(MESSAGE_CHARS) > REPLY_CHARS;
        let text = arguments.text("pattern")?;
        Ok(Wanted {
            offset: arguments.size("offset", 0..=usize::MAX)?.unwrap_or(0),
            limit: limit.unwrap_or(50),
            most_chars: if much { REPLY_MOST_CHARS } else { REPLY_CHARS },
            chars: chars.unwrap_or(MESSAGE_CHARS),
            pattern: text.map(|text| pattern("pattern", text)).transpose()?,
        })
    }

    pub(super) fn page(&self) -> ListPage<'_> {
        self.page_behind(0)
    }

    /// A page of a list from which so many items have gone, which count as skipped.
    fn page_behind(&self, gone: usize) -> ListPage<'_> {
        let start = self.offset.max(gone);
        ListPage { wanted: self, start, items: Vec::new(), seen: gone, chars: 0, is_full: false }
    }
}

/// A part of a long list.
pub(super) struct ListPage<'a> {
    wanted: &'a Wanted,
    /// Items before it.
    start: usize,
    items: Vec<Value>,
    pub(super) seen: usize,
    chars: usize,
    is_full: bool,
}

impl ListPage<'_> {
    pub(super) fn add(&mut self, item: impl FnOnce() -> Value) {
        self.seen += 1;
        if self.seen <= self.start || self.is_full {
            return;
        }
        let item = item();
        self.chars += json_chars(&item);
        let is_long = self.chars > self.wanted.most_chars && !self.items.is_empty();
        self.is_full = is_long || self.items.len() == self.wanted.limit;
        if !self.is_full {
            self.items.push(item);
        }
    }

    pub(super) fn put(self, work: &Work<'_>, name: &str, reply: &mut Reply) {
        let end = self.start.saturating_add(self.items.len());
        reply.put("count", self.items.len());
        reply.put(name, self.items);
        reply.untrusted(name);
        if end < self.seen {
            reply.put("left_out", self.seen - end);
            reply.put("next", going_on(work, &[("offset", end)]));
        }
    }
}

fn line(number: u64, message: &StoredWebSocketMessage, began_us: u64) -> Map<String, Value> {
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| line.insert(name.to_owned(), value);
    put("n", number.into());
    put("from", end_name(message.direction).into());
    put("ms", (message.time_us.saturating_sub(began_us) / 1_000).into());
    line
}

fn put_content(
    line: &mut Map<String, Value>,
    message: &StoredWebSocketMessage,
    text: Option<&str>,
    chars: usize,
    redactor: &Redactor,
) {
    let mut put = |name: &str, value: Value| line.insert(name.to_owned(), value);
    let kind = match message.opcode {
        Opcode::Text => "text",
        Opcode::Binary => "binary",
        Opcode::Close => "close",
        Opcode::Ping => "ping",
        Opcode::Pong => "pong",
    };
    if message.opcode == Opcode::Close {
        put_close(message, &mut put);
    }
    match text {
        Some(text) => {
            put(kind, shorten(text, chars).into());
        }
        None => {
            let masked = redactor.bytes("", &message.payload);
            put("type", kind.into());
            put("base64", STANDARD.encode(masked.get(..chars).unwrap_or(&masked)).into());
        }
    }
    let kept = message.payload.len() as u64;
    if kept < message.size {
        put("note", format!("{kept} of {} bytes are kept here", message.size).into());
    } else if text.is_none() {
        put("bytes", kept.into());
    }
}

/// The code of a close frame (RFC 6455 section 5.5.1).
fn put_close(message: &StoredWebSocketMessage, put: &mut impl FnMut(&str, Value) -> Option<Value>) {
    if let Some((code, _)) = message.payload.split_first_chunk::<2>() {
        put("code", u16::from_be_bytes(*code).into());
    }
}

pub(super) fn end_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Send => "client",
        Direction::Receive => "server",
    }
}

/// Whether a message can be read as text.
pub(super) fn is_text_message(message: &StoredWebSocketMessage) -> bool {
    let is_cut = (message.payload.len() as u64) < message.size;
    as_text(text_part(message), "", is_cut).is_some()
}

/// The payload without the code that a close frame begins with.
fn text_part(message: &StoredWebSocketMessage) -> &[u8] {
    match message.opcode {
        Opcode::Close => message.payload.get(2..).unwrap_or_default(),
        _ => &message.payload,
    }
}

/// A message's text with its secrets masked.
pub(super) fn masked_text(message: &StoredWebSocketMessage, redactor: &Redactor) -> String {
    let is_cut = (message.payload.len() as u64) < message.size;
    let text = as_text(text_part(message), "", is_cut).unwrap_or_default();
    redactor.text(guessed_type(&text), &text).into_owned()
}

/// A message's payload with its secrets masked.
pub(super) fn masked_payload(message: &StoredWebSocketMessage, redactor: &Redactor) -> Bytes {
    match is_text_message(message) && message.opcode != Opcode::Close {
        true => Bytes::from(masked_text(message, redactor)),
        false => Bytes::from(redactor.bytes("", &message.payload).into_owned()),
    }
}

/// The media type of a text that tells none.
pub(super) fn guessed_type(text: &str) -> &'static str {
    if text.trim_start().starts_with(['{', '[']) { "application/json" } else { "text/plain" }
}
