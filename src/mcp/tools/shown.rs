//! A flow as agents see it: taken apart, with its secrets masked.

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
/// Characters of an error in a listing.
const LISTED_ERROR_CHARS: usize = 80;

/// A flow with its heads read and masked.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) flow: &'a StoredFlow,
    pub(super) request: HeadText,
    pub(super) response: Option<HeadText>,
    /// The URL, masked.
    pub(super) url: String,
    redactor: &'a Redactor,
}

impl<'a> Shown<'a> {
    pub(super) fn new(flow: &'a StoredFlow, options: &'a Options) -> Self {
        let redactor = &options.redactor;
        let request = HeadText::read(&flow.request.head);
        let url = redactor.url(&url(flow, &request, options.showhost)).into_owned();
        Shown {
            flow,
            request: masked_head(request, redactor),
            response: flow
                .response
                .as_ref()
                .map(|response| masked_head(HeadText::read(&response.head), redactor)),
            url,
            redactor,
        }
    }

    pub(super) fn method(&self) -> &str {
        self.request.request_line().0
    }

    /// The status; `None` while there is no response, or one that has none.
    pub(super) fn status(&self) -> Option<u16> {
        let status = self.response.as_ref()?.status_line().1;
        (status > 0).then_some(status)
    }

    pub(super) fn error(&self) -> Option<String> {
        self.flow.error.as_deref().map(|error| words(self.redactor, error))
    }

    /// The head of one side.
    pub(super) fn head(&self, side: Side) -> Option<&HeadText> {
        match side {
            Side::Request => Some(&self.request),
            Side::Response => self.response.as_ref(),
        }
    }

    /// The flow's line in a listing. What is as usual is not said.
    pub(super) fn summary(&self) -> Map<String, Value> {
        let mut line = Map::new();
        let mut put = |name: &str, value: Value| line.insert(name.to_owned(), value);
        put("id", id_text(self.flow.id).into());
        put("method", self.method().into());
        put("url", shorten(&self.url, LISTED_URL_CHARS).into());
        put("status_code", self.status().into());
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
pub(super) fn url(flow: &StoredFlow, request: &HeadText, by_host: bool) -> String {
    let kind = if flow.websocket.is_some() { UriKind::WebSocket } else { UriKind::Http };
    let target = flow.target.as_deref();
    if by_host || target.is_none() {
        return target_uri(request, flow.scheme, target, kind);
    }
    let bare = HeadText { start: request.start.clone(), fields: Vec::new() };
    target_uri(&bare, flow.scheme, target, kind)
}

fn masked_head(mut head: HeadText, redactor: &Redactor) -> HeadText {
    if redactor.is_on() {
        head.start = masked_start(&head, redactor);
        mask_fields(&mut head.fields, redactor);
    }
    head
}

/// The start line with the secrets in its request target masked. A status line has none.
fn masked_start(head: &HeadText, redactor: &Redactor) -> String {
    if head.start.starts_with("HTTP/") {
        return head.start.clone();
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

/// Fields as an object; several values of one name as an array. Long values are cut at `most`
/// characters; whether one was.
pub(super) fn headers(fields: &[Field], most: usize) -> (Value, bool) {
    let mut object = Map::new();
    let mut is_cut = false;
    for field in fields {
        let value = Value::from(shorten(&field.value, most));
        is_cut |= field.value.chars().nth(most).is_some();
        // Names differ in case and mean the same (RFC 9110 section 5.1).
        let same = object.keys().find(|name| name.eq_ignore_ascii_case(&field.name)).cloned();
        match same.and_then(|name| object.get_mut(&name)) {
            None => {
                object.insert(field.name.clone(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(single) => *single = Value::Array(vec![single.take(), value]),
        }
    }
    (object.into(), is_cut)
}
