//! Choosing flows: by filter expression, pattern, method and status.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use regex::Regex;
use serde_json::json;

use crate::flow::filter::Filter;
use crate::flow::head::HeadText;
use crate::flow::pattern::{Flags, text_regex};
use crate::flow::redact::Redactor;
use crate::flow::stored::{
    StoredBody, StoredFlow, StoredMessage, StoredWebSocket, StoredWebSocketMessage,
};
use crate::mcp::toolbox::Cancellation;
use crate::mcp::tools::Work;
use crate::mcp::tools::arguments::Arguments;
use crate::mcp::tools::body::{Content, ShownBody};
use crate::mcp::tools::messages::masked_payload;
use crate::mcp::tools::reply::{Failure, shorten};
use crate::mcp::tools::shown::masked_bytes;

/// How many flows are looked at between two looks at whether the call was given up.
const STRIDE: usize = 64;

/// A pattern in Python's dialect, as those of filters are: case does not matter, `^` and `$` are
/// those of each line.
pub(super) fn pattern(name: &str, text: &str) -> Result<Regex, Failure> {
    let flags = Flags { ignore_case: true, multi_line: true, ..Flags::default() };
    text_regex(text, flags).map_err(|error| {
        Failure::new(format!(
            "the argument {name:?} is no regular expression: {error}; escape what is meant \
             literally, as in \"\\\\?page=\""
        ))
    })
}

/// The filter expression that an argument holds; `None` where it is left out or empty.
pub(super) fn filter(arguments: Arguments<'_>, name: &str) -> Result<Option<Filter>, Failure> {
    let Some(text) = arguments.text(name)? else { return Ok(None) };
    parse_filter(name, text)
}

pub(super) fn parse_filter(name: &str, text: &str) -> Result<Option<Filter>, Failure> {
    Filter::parse(text).map_err(|error| {
        let text = shorten(text, 200);
        Failure::new(format!(
            "the argument {name:?} is no filter expression, {error}; it was {text:?}. Accepted are \
             mitmproxy's, such as \"~d example.com & ~m POST & !~c 200\""
        ))
    })
}

/// The flows for which `keep` holds and that match the filter in the argument `filter`, in order.
pub(super) fn select(
    work: &Work<'_>,
    keep: impl Fn(&StoredFlow) -> bool,
) -> Result<Vec<Arc<StoredFlow>>, Failure> {
    let filter = filter(work.arguments, "filter")?;
    let redactor = &work.options.redactor;
    let mut kept = Vec::new();
    each(work.call.cancellation, work.tools.store().snapshot(), |flow| {
        if keep(&flow) && filter.as_ref().is_none_or(|filter| matches(filter, &flow, redactor)) {
            kept.push(flow);
        }
        true
    })?;
    Ok(kept)
}

/// Looks at flows until `look` has seen enough or the call is given up.
pub(super) fn each(
    cancellation: &Cancellation,
    flows: Vec<Arc<StoredFlow>>,
    mut look: impl FnMut(Arc<StoredFlow>) -> bool,
) -> Result<(), Failure> {
    for (number, flow) in flows.into_iter().enumerate() {
        if number.is_multiple_of(STRIDE) && cancellation.is_cancelled() {
            return Err(Failure::cancelled());
        }
        if !look(flow) {
            break;
        }
    }
    Ok(())
}

/// Whether a flow matches as agents see it: one who may not read a secret may not find out about
/// it by asking which flows have it either.
pub(super) fn matches(filter: &Filter, flow: &StoredFlow, redactor: &Redactor) -> bool {
    if !redactor.is_on() {
        return filter.matches(&flow.view());
    }
    let has_bodies = filter.reads_body();
    filter.matches(&masked(flow, redactor, has_bodies).view())
}

/// A flow with its secrets masked: its heads, and its bodies where they are asked for.
fn masked(flow: &StoredFlow, redactor: &Redactor, has_bodies: bool) -> StoredFlow {
    let message = |message: &StoredMessage| {
        let body = match has_bodies {
            true => masked_body(message, redactor),
            false => message.body.clone(),
        };
        // A body that is masked is decoded as well.
        let mut head = masked_bytes(&message.head, redactor);
        if has_bodies {
            head = without_coding(&head);
        }
        StoredMessage { head, body, trailers: message.trailers.clone() }
    };
    let socket = |socket: &Arc<StoredWebSocket>| {
        let messages = socket.messages.iter().map(|message| {
            let payload = masked_payload(message, redactor);
            Arc::new(StoredWebSocketMessage { payload, ..StoredWebSocketMessage::clone(message) })
        });
        Arc::new(StoredWebSocket { messages: messages.collect(), left_out: socket.left_out })
    };
    StoredFlow {
        request: message(&flow.request),
        response: flow.response.as_ref().map(message),
        websocket: flow
            .websocket
            .as_ref()
            .map(|it| if has_bodies { socket(it) } else { it.clone() }),
        error: flow.error.as_deref().map(|error| redactor.text("", error).into_owned()),
        ..flow.clone()
    }
}

fn masked_body(message: &StoredMessage, redactor: &Redactor) -> StoredBody {
    if message.body.pieces.is_empty() {
        return message.body.clone();
    }
    let shown = ShownBody::new(&message.body, &HeadText::read(&message.head), redactor);
    match shown.content {
        Content::Text(text) => StoredBody::whole(text.into()),
        // What may not be shown is as if it was not kept; an empty body is a text.
        Content::Binary(bytes) if bytes.is_empty() => {
            StoredBody { pieces: Vec::new(), ..message.body.clone() }
        }
        Content::Binary(bytes) => StoredBody::whole(bytes.into()),
    }
}

fn without_coding(head: &Bytes) -> Bytes {
    const NAME: &[u8] = b"content-encoding:";
    let lines = head.split_inclusive(|byte| *byte == b'\n');
    let is_coding =
        |line: &&[u8]| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    Bytes::from(lines.filter(|line| !is_coding(line)).collect::<Vec<_>>().concat())
}

/// The arguments of this call with some of them changed: the exact call that goes on.
pub(super) fn going_on(work: &Work<'_>, changed: &[(&str, usize)]) -> serde_json::Value {
    let mut next = json!({ "tool": work.tool });
    if let Some(next) = next.as_object_mut() {
        let changes = |name: &str| changed.iter().any(|(changed, _)| *changed == name);
        for (name, value) in work.call.arguments {
            if !changes(name) && !value.is_null() {
                next.insert(name.clone(), value.clone());
            }
        }
        for (name, value) in changed {
            next.insert((*name).to_owned(), (*value).into());
        }
    }
    next
}

/// The part of a line around a match, in one line.
pub(super) fn excerpt(line: &str, start: usize, end: usize, around: usize) -> String {
    let before = line.get(..start).unwrap_or_default();
    let first = before.char_indices().rev().take(around).last().map_or(start, |(at, _)| at);
    let after = line.get(end..).unwrap_or_default();
    let last = after.char_indices().nth(around).map_or(line.len(), |(at, _)| end + at);
    let part = line.get(first..last).unwrap_or_default().trim_end();
    let (open, close) =
        (if first > 0 { "…" } else { "" }, if last < line.len() { "…" } else { "" });
    // A match itself may be long.
    let part: Cow<'_, str> = match part.chars().count() > 4 * around.max(20) {
        true => shorten(part, 4 * around.max(20)).into(),
        false => part.into(),
    };
    format!("{open}{part}{close}")
}
