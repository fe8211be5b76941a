//! A flow as agents see it: taken apart, with its secrets masked.

use std::ops::Deref;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::flow::head::{Field, HeadText, UriKind, target_uri};
use crate::flow::record::Side;
use crate::flow::redact::Redactor;
use crate::flow::stored::{FlowState, StoredFlow, StoredMessage};
use crate::mcp::tools::reply::{id_text, shorten};
use crate::options::Options;

/// Characters of a URL in a listing; longer ones are cut.
pub(super) const LISTED_URL_CHARS: usize = 160;
/// Characters of a method; longer ones, which nobody sends in earnest, are cut.
const METHOD_CHARS: usize = 60;
/// Characters of an error in a listing.
const LISTED_ERROR_CHARS: usize = 80;

/// What a listing shows of a flow. The secrets in it are masked.
#[derive(Debug)]
pub(super) struct Brief<'a> {
    pub(super) flow: &'a StoredFlow,
    pub(super) method: String,
    pub(super) url: String,
    /// The status; `None` while there is no response, or one that has none.
    pub(super) status: Option<u16>,
    redactor: &'a Redactor,
}

impl<'a> Brief<'a> {
    pub(super) fn new(flow: &'a StoredFlow, options: &'a Options) -> Self {
        let redactor = &options.redactor;
        let method = shorten(&method(flow), METHOD_CHARS);
        let url = url(flow, options.showhost);
        let url = redactor.url(&url).into_owned();
        Brief { flow, method, url, status: status(flow), redactor }
    }

    pub(super) fn error(&self) -> Option<String> {
        self.flow.error.as_deref().map(|error| words(self.redactor, error))
    }

    /// The flow's line in a listing. What is as usual is not said.
    pub(super) fn summary(&self) -> Map<String, Value> {
        let mut line = Map::new();
        let mut put = |name: &str, value: Value| line.insert(name.to_owned(), value);
        put("id", id_text(self.flow.id).into());
        put("method", self.method.as_str().into());
        put("url", shorten(&self.url, LISTED_URL_CHARS).into());
        put("status_code", self.status.into());
        put("timestamp", (self.flow.timing.began_us / 1_000_000).into());
        match self.flow.state {
            FlowState::Ended => {}
            FlowState::UnderWay => {
                put("state", "under way".into());
            }
            FlowState::Paused(side) => {
                put("state", held_words(side).into());
            }
        }
        if let Some(error) = self.error() {
            put("error", shorten(&error, LISTED_ERROR_CHARS).into());
        }
        if let Some(socket) = &self.flow.websocket {
            put("messages", (socket.messages.len() as u64 + socket.left_out).into());
        }
        if self.flow.intervention.replayed {
            put("replayed", true.into());
        }
        line
    }
}

/// A flow with its heads read and masked.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    brief: Brief<'a>,
    request: HeadText,
    response: Option<HeadText>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(flow: &'a StoredFlow, options: &'a Options) -> Self {
        let head = |head| masked_head(HeadText::read(head), &options.redactor);
        Shown {
            brief: Brief::new(flow, options),
            request: head(&flow.request.head),
            response: flow.response.as_ref().map(|response| head(&response.head)),
        }
    }

    /// The head of one side.
    pub(super) fn head(&self, side: Side) -> Option<&HeadText> {
        match side {
            Side::Request => Some(&self.request),
            Side::Response => self.response.as_ref(),
        }
    }
}

impl<'a> Deref for Shown<'a> {
    type Target = Brief<'a>;

    fn deref(&self) -> &Brief<'a> {
        &self.brief
    }
}

/// The method of a flow's request.
pub(super) fn method(flow: &StoredFlow) -> String {
    HeadText::read(first_line(&flow.request.head)).request_line().0.to_owned()
}

/// The status of a flow's response; `None` while there is no response, or one that has none.
pub(super) fn status(flow: &StoredFlow) -> Option<u16> {
    let response = flow.response.as_ref()?;
    let status = HeadText::read(first_line(&response.head)).status_line().1;
    (status > 0).then_some(status)
}

/// The first line of a head: taking all its fields apart for that would be dear in a listing.
fn first_line(head: &[u8]) -> &[u8] {
    let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
    let line = head.get(start..).unwrap_or_default();
    line.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

pub(super) fn held_words(side: Side) -> &'static str {
    match side {
        Side::Request => "request held",
        Side::Response => "response held",
    }
}

/// Words of any kind, with the secrets in them masked.
pub(super) fn words(redactor: &Redactor, words: &str) -> String {
    redactor.text("", words).into_owned()
}

/// The message of one side.
pub(super) fn message(flow: &StoredFlow, side: Side) -> Option<&StoredMessage> {
    match side {
        Side::Request => Some(&flow.request),
        Side::Response => flow.response.as_ref(),
    }
}

/// The URL of a flow, unmasked: by its Host field where the user wants that, else by the address
/// that was connected to.
pub(super) fn url(flow: &StoredFlow, by_host: bool) -> String {
    let kind = if flow.websocket.is_some() { UriKind::WebSocket } else { UriKind::Http };
    let target = flow.target.as_deref();
    let needs_fields = by_host || target.is_none();
    let head =
        if needs_fields { flow.request.head.as_ref() } else { first_line(&flow.request.head) };
    target_uri(&HeadText::read(head), flow.scheme, target, kind)
}

fn masked_head(mut head: HeadText, redactor: &Redactor) -> HeadText {
    if redactor.is_on() {
        head.start = masked_start(&head, redactor);
        mask_fields(&mut head.fields, redactor);
    }
    head
}

/// The start line with the secrets in its request target, or in its reason phrase, masked.
fn masked_start(head: &HeadText, redactor: &Redactor) -> String {
    if head.start.starts_with("HTTP/") {
        return words(redactor, &head.start);
    }
    let (method, target, version) = head.request_line();
    let mut start = format!("{method} {}", redactor.url(target));
    if !version.is_empty() {
        start.push(' ');
        start.push_str(version);
    }
    start
}

pub(super) fn mask_fields(fields: &mut [Field], redactor: &Redactor) {
    for field in fields {
        if let std::borrow::Cow::Owned(masked) = redactor.header(&field.name, &field.value) {
            field.value = masked;
        }
    }
}

/// A head's bytes with its secrets masked.
pub(super) fn masked_bytes(head: &Bytes, redactor: &Redactor) -> Bytes {
    let masked = masked_head(HeadText::read(head), redactor);
    let mut bytes = format!("{}\r\n", masked.start);
    for field in &masked.fields {
        bytes.push_str(&field.name);
        bytes.push_str(": ");
        bytes.push_str(&field.value);
        bytes.push_str("\r\n");
    }
    bytes.push_str("\r\n");
    Bytes::from(bytes)
}

/// Seconds since the Unix epoch, to the millisecond.
pub(super) fn seconds(us: u64) -> f64 {
    (us / 1_000) as f64 / 1_000.0
}

/// Fields as an object; several values of one name as an array.
#[derive(Debug, Default)]
pub(super) struct Headers {
    pub(super) object: Map<String, Value>,
    /// Whether a value is cut.
    pub(super) is_cut: bool,
    /// Fields that are left out.
    pub(super) left_out: usize,
}

impl Headers {
    /// Cuts each value at `most_of_each` characters, and leaves out what comes after `most`.
    pub(super) fn new(fields: &[Field], most_of_each: usize, most: usize) -> Self {
        let mut headers = Headers::default();
        let mut chars = 0;
        for field in fields {
            let value = shorten(&field.value, most_of_each);
            chars += field.name.len() + value.len() + 8;
            if chars > most {
                headers.left_out += 1;
                continue;
            }
            headers.is_cut |= field.value.chars().nth(most_of_each).is_some();
            headers.add(&field.name, value.into());
        }
        headers
    }

    fn add(&mut self, name: &str, value: Value) {
        // Names differ in case and mean the same (RFC 9110 section 5.1).
        let same = self.object.keys().find(|known| known.eq_ignore_ascii_case(name)).cloned();
        match same.and_then(|known| self.object.get_mut(&known)) {
            None => {
                self.object.insert(name.to_owned(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(single) => *single = Value::Array(vec![single.take(), value]),
        }
    }
}
