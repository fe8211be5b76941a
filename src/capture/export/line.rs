//! A flow as one object of JSON: a line of `--jsonl`, and what the report has of a flow.

use serde::Serialize;

use super::One;
use crate::capture::body_text::{BodyText, base64};
use crate::capture::bundle::date_time;
use crate::capture::flow::{self, Body, Phases};
use crate::capture::json::Milliseconds;
use crate::capture::messages::SocketMessage;
use crate::flow::head::{Field, text};
use crate::flow::query::parameters;
use crate::flow::redact::Redactor;
use crate::flow::url::Url;

/// How much of a flow is wanted; what is longer is cut, and says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    /// Bytes of a body's text, or of its base64.
    pub(super) body_bytes: usize,
    /// Messages of a WebSocket.
    pub(super) messages: usize,
    /// Bytes of a message's text, or of its base64.
    pub(super) message_bytes: usize,
}

impl Caps {
    /// All of it.
    pub(super) const NONE: Caps =
        Caps { body_bytes: usize::MAX, messages: usize::MAX, message_bytes: usize::MAX };
}

/// A flow. Every key is always there.
#[derive(Serialize)]
pub(super) struct Line<'f> {
    id: &'f str,
    part: usize,
    time: String,
    method: &'f str,
    url: String,
    scheme: String,
    host: String,
    port: Option<u16>,
    path: String,
    query: Vec<(String, String)>,
    status: Option<u16>,
    request: Message<'f>,
    response: Option<Response<'f>>,
    timing: Timing,
    server: Option<Server>,
    error: Option<String>,
    replayed: bool,
    messages: Option<Vec<SocketLine>>,
    /// Messages that are not in `messages`.
    #[serde(skip_serializing_if = "is_zero")]
    messages_left_out: u64,
    /// Whether some of those are in the flow.
    #[serde(skip)]
    cuts_messages: bool,
}

#[derive(Serialize)]
struct Message<'f> {
    http_version: &'f str,
    headers: Vec<(String, String)>,
    body: Option<BodyLine>,
    trailers: Vec<(String, String)>,
}

#[derive(Serialize)]
struct Response<'f> {
    reason: String,
    #[serde(flatten)]
    message: Message<'f>,
}

/// A body or a payload: one of `text` and `base64`, or none where nothing can be shown.
#[derive(Serialize)]
struct BodyLine {
    /// Bytes with the content coding undone, as many as the bundle has.
    size: u64,
    /// Bytes on the wire, where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    wire_size: Option<u64>,
    #[serde(flatten)]
    content: Content,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Default, Serialize)]
struct Content {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// Whether only the beginning is shown of what is there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

/// Milliseconds; null where a phase did not take place.
#[derive(Serialize)]
struct Timing {
    dns_ms: Option<Milliseconds>,
    connect_ms: Option<Milliseconds>,
    tls_ms: Option<Milliseconds>,
    send_ms: Milliseconds,
    wait_ms: Milliseconds,
    receive_ms: Milliseconds,
    total_ms: Milliseconds,
}

#[derive(Serialize)]
struct Server {
    address: Option<String>,
    connection: u64,
}

#[derive(Serialize)]
struct SocketLine {
    direction: &'static str,
    time: String,
    size: u64,
    #[serde(flatten)]
    content: Content,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

impl<'f> Line<'f> {
    pub(super) fn new(one: &One<'f>, redactor: &Redactor, caps: &Caps) -> Self {
        let flow = one.flow;
        let url = redactor.url(&flow.url).into_owned();
        let parts = Url::read(&url);
        let query = parameters(parts.query);
        let query = query.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let messages = flow.messages.as_ref();
        let beyond = messages.map_or(0, |it| it.len().saturating_sub(caps.messages));
        Line {
            id: one.id,
            part: one.part,
            time: date_time(flow.began_us),
            method: &flow.method,
            scheme: parts.scheme.to_owned(),
            host: parts.host.to_owned(),
            port: parts.port,
            path: parts.path.to_owned(),
            query,
            status: flow.response.as_ref().map(|response| response.status),
            request: message(&flow.request, redactor, caps),
            response: flow.response.as_ref().map(|response| Response {
                reason: redactor.words(&response.reason).into_owned(),
                message: message(&response.message, redactor, caps),
            }),
            timing: Timing::new(&flow.timing),
            server: flow.server.as_ref().map(|server| Server {
                address: server.address.map(|address| address.to_string()),
                connection: server.connection,
            }),
            error: flow.error.as_ref().map(|error| redactor.words(error).into_owned()),
            replayed: flow.replayed,
            messages: messages.map(|messages| {
                let wanted = messages.iter().take(caps.messages);
                wanted.map(|message| socket_line(message, redactor, caps)).collect()
            }),
            messages_left_out: flow.messages_left_out.saturating_add(beyond as u64),
            cuts_messages: beyond > 0,
            url,
        }
    }

    /// Whether something that is there is not shown.
    pub(super) fn is_cut(&self) -> bool {
        let response = self.response.as_ref().map(|response| &response.message);
        let bodies = [Some(&self.request), response].into_iter().flatten();
        let is_cut = |message: &Message<'_>| message.body.as_ref().is_some_and(|it| it.content.cut);
        self.cuts_messages
            || bodies.into_iter().any(is_cut)
            || self.messages.iter().flatten().any(|message| message.content.cut)
    }
}

impl Timing {
    fn new(phases: &Phases) -> Self {
        let took_place = |us: u64| (us > 0).then_some(Milliseconds(us));
        Timing {
            dns_ms: took_place(phases.dns_us),
            connect_ms: took_place(phases.connect_us),
            tls_ms: took_place(phases.tls_us),
            send_ms: Milliseconds(phases.send_us),
            wait_ms: Milliseconds(phases.wait_us),
            receive_ms: Milliseconds(phases.receive_us),
            total_ms: Milliseconds(total_us(phases)),
        }
    }
}

/// How long a flow took; of WebSockets only the phases are known.
pub(super) fn total_us(phases: &Phases) -> u64 {
    let Phases { dns_us, connect_us, tls_us, send_us, wait_us, receive_us, total_us } = *phases;
    let sum = [dns_us, connect_us, tls_us, send_us, wait_us, receive_us];
    total_us.max(sum.into_iter().fold(0, u64::saturating_add))
}

fn message<'f>(message: &'f flow::Message, redactor: &Redactor, caps: &Caps) -> Message<'f> {
    let fields = redactor.fields(&message.fields);
    Message {
        http_version: &message.version,
        body: body(&message.body, value(&fields, "content-type"), redactor, caps),
        headers: pairs(fields),
        trailers: pairs(redactor.fields(&message.trailers)),
    }
}

fn pairs(fields: Vec<Field>) -> Vec<(String, String)> {
    fields.into_iter().map(|field| (field.name, field.value)).collect()
}

/// The value of the first field of this name; empty where there is none.
pub(super) fn value<'a>(fields: &'a [Field], name: &str) -> &'a str {
    let named = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value.as_str()).unwrap_or_default()
}

fn body(body: &Body, content_type: &str, redactor: &Redactor, caps: &Caps) -> Option<BodyLine> {
    let is_there = !body.bytes.is_empty() || body.wire_bytes.is_some_and(|bytes| bytes > 0);
    is_there.then(|| {
        let shown = BodyText::new(body, content_type, redactor);
        BodyLine {
            size: body.size(),
            wire_size: body.wire_bytes,
            content: content(shown.text, shown.encoding.is_some(), caps.body_bytes),
            note: shown.note,
        }
    })
}

fn content(shown: Option<String>, is_base64: bool, most_bytes: usize) -> Content {
    let Some(mut shown) = shown else { return Content::default() };
    let cut = shown.len() > most_bytes;
    if cut {
        // Four characters of base64 are three bytes.
        let most = if is_base64 { most_bytes / 4 * 4 } else { most_bytes };
        shown.truncate(shown.floor_char_boundary(most));
    }
    match is_base64 {
        true => Content { base64: Some(shown), cut, ..Content::default() },
        false => Content { text: Some(shown), cut, ..Content::default() },
    }
}

/// What is to be said of a message that is there as it came.
const CODED: &str = "its compression (permessage-deflate) is not undone";

/// The same where secrets are masked.
const CODED_SECRET: &str = "its compression (permessage-deflate) is not undone; what cannot be \
                            decoded cannot be masked and is left out";

fn socket_line(message: &SocketMessage, redactor: &Redactor, caps: &Caps) -> SocketLine {
    let shown = message.shown(redactor).map(|payload| match message.is_text {
        true => redactor.text("", &text(payload)).into_owned(),
        false => base64("", payload, redactor),
    });
    let note = match shown {
        Some(_) => CODED,
        None => CODED_SECRET,
    };
    SocketLine {
        direction: if message.sent { "send" } else { "receive" },
        time: date_time(message.time_us),
        size: message.payload.len() as u64,
        content: content(shown, !message.is_text, caps.message_bytes),
        note: message.is_coded.then_some(note),
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
