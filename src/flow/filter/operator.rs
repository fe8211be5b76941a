//! The operators: their names, and what each asks about a flow.

use regex::{Regex, bytes};

use crate::flow::filter::head;
use crate::flow::filter::subject::{Body, Subject};
use crate::flow::pattern::Flags;
use crate::flow::record::{Direction, Opcode, Side};

/// What an operator asks, by what is written behind it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operator {
    /// Nothing.
    Is(Fact),
    /// A number.
    Status,
    /// A pattern for text.
    Text(TextField),
    /// A pattern for bytes.
    Bytes(BytesField),
}

/// What a flow is, or is not.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fact {
    /// The same for all flows.
    Fixed(bool),
    Asset,
    Failed,
    Marked,
    Replayed,
    Answered(bool),
    WebSocket,
}

/// What text patterns are matched with.
#[derive(Clone, Copy, Debug)]
pub(super) enum TextField {
    Comment,
    Destination,
    Host,
    Marker,
    Metadata,
    Source,
    Url,
}

/// What byte patterns are matched with, of one side or of both (`None`).
#[derive(Clone, Copy, Debug)]
pub(super) enum BytesField {
    Body(Option<Side>),
    ContentType(Option<Side>),
    Head(Option<Side>),
    Method,
}

/// All operators by their names, in the order of the alphabet.
pub(super) const OPERATORS: &[(&str, Operator)] = {
    use {BytesField::*, Fact::*, Operator::*, Side::*, TextField::*};
    &[
        ("a", Is(Asset)),
        ("all", Is(Fixed(true))),
        ("b", Bytes(Body(None))),
        ("bq", Bytes(Body(Some(Request)))),
        ("bs", Bytes(Body(Some(Response)))),
        ("c", Status),
        ("comment", Text(Comment)),
        ("d", Text(Host)),
        ("dns", Is(Fixed(false))),
        ("dst", Text(Destination)),
        ("e", Is(Failed)),
        ("h", Bytes(Head(None))),
        ("hq", Bytes(Head(Some(Request)))),
        ("hs", Bytes(Head(Some(Response)))),
        ("http", Is(Fixed(true))),
        ("m", Bytes(Method)),
        ("marked", Is(Marked)),
        ("marker", Text(Marker)),
        ("meta", Text(Metadata)),
        ("q", Is(Answered(false))),
        ("replay", Is(Replayed)),
        ("replayq", Is(Replayed)),
        // Responses are never replayed.
        ("replays", Is(Fixed(false))),
        ("s", Is(Answered(true))),
        ("src", Text(Source)),
        ("t", Bytes(ContentType(None))),
        ("tcp", Is(Fixed(false))),
        ("tq", Bytes(ContentType(Some(Request)))),
        ("ts", Bytes(ContentType(Some(Response)))),
        ("u", Text(Url)),
        ("udp", Is(Fixed(false))),
        ("websocket", Is(WebSocket)),
    ]
};

/// How patterns are read: search anywhere, never mind the case.
const SEARCH: Flags = Flags { ignore_case: true, multi_line: false, dot_all: false };

impl TextField {
    pub(super) fn flags(self) -> Flags {
        let multi_line = matches!(self, TextField::Comment | TextField::Metadata);
        Flags { multi_line, ..SEARCH }
    }
}

impl BytesField {
    pub(super) fn flags(self) -> Flags {
        let multi_line = matches!(self, BytesField::Head(_));
        Flags { multi_line, dot_all: matches!(self, BytesField::Body(_)), ..SEARCH }
    }
}

/// A question about a flow, with what it takes to answer it.
#[derive(Clone, Debug)]
pub(super) enum Test {
    Is(Fact),
    Status(Statuses),
    Text(TextField, Regex),
    Bytes(BytesField, bytes::Regex),
}

/// Statuses that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statuses {
    /// One; `None` for a number that no status has.
    One(Option<u32>),
    /// All that begin with this digit (RFC 9110 section 15).
    Class(u32),
}

impl Statuses {
    fn have(self, status: u32) -> bool {
        match self {
            Statuses::One(one) => one == Some(status),
            Statuses::Class(digit) => status / 100 == digit,
        }
    }
}

impl Test {
    /// Whether bodies are looked at.
    pub(super) fn reads_body(&self) -> bool {
        matches!(self, Test::Bytes(BytesField::Body(_), _))
    }

    /// The answer; `None` while it depends on a body that is still to come.
    pub(super) fn evaluate(&self, flow: &Subject<'_>) -> Option<bool> {
        match self {
            Test::Is(fact) => Some(fact.holds(flow)),
            Test::Status(statuses) => {
                let response = flow.view.response;
                let status = response.and_then(|response| head::status(response.head));
                Some(status.is_some_and(|status| statuses.have(status)))
            }
            Test::Text(field, regex) => Some(field.is_match(flow, regex)),
            Test::Bytes(field, regex) => field.is_match(flow, regex),
        }
    }
}

/// Media types, or their beginnings, of what pages load beside their documents.
const ASSETS: [&str; 7] = [
    "text/javascript",
    "application/x-javascript",
    "application/javascript",
    "text/css",
    "image/",
    "font/",
    "application/font",
];

impl Fact {
    fn holds(self, flow: &Subject<'_>) -> bool {
        let view = flow.view;
        match self {
            Fact::Fixed(answer) => answer,
            Fact::Asset => view.response.is_some_and(|response| is_asset(response.head)),
            Fact::Failed => view.error.is_some(),
            Fact::Marked => !view.marker.is_empty(),
            Fact::Replayed => view.replayed,
            Fact::Answered(answered) => view.response.is_some() == answered,
            Fact::WebSocket => view.websocket,
        }
    }
}

fn is_asset(head: &[u8]) -> bool {
    let has = |value: &[u8], part: &str| memchr::memmem::find(value, part.as_bytes()).is_some();
    head::values(head, "content-type").any(|value| ASSETS.iter().any(|part| has(value, part)))
}

impl TextField {
    fn is_match(self, flow: &Subject<'_>, regex: &Regex) -> bool {
        let view = flow.view;
        match self {
            TextField::Comment => regex.is_match(view.comment),
            TextField::Destination => view
                .target
                .is_some_and(|target| regex.is_match(&format!("{}:{}", target.host, target.port))),
            TextField::Host => {
                view.target.is_some_and(|target| regex.is_match(&target.host))
                    || flow.named_host().is_some_and(|host| regex.is_match(&host))
            }
            TextField::Marker => regex.is_match(view.marker),
            TextField::Metadata => {
                let line = |(key, value): &(String, String)| format!("{key}: {value}");
                let lines: Vec<_> = view.metadata.iter().map(line).collect();
                regex.is_match(&lines.join("\n"))
            }
            // IPv6 stands without the brackets that a SocketAddr is written with.
            TextField::Source => {
                !view.client.ip().is_unspecified()
                    && regex.is_match(&format!("{}:{}", view.client.ip(), view.client.port()))
            }
            TextField::Url => regex.is_match(flow.url()),
        }
    }
}

impl BytesField {
    fn is_match(self, flow: &Subject<'_>, regex: &bytes::Regex) -> Option<bool> {
        let heads = |side| flow.heads(side).into_iter().flatten();
        let has_type = |head| head::values(head, "content-type").any(|it| regex.is_match(it));
        Some(match self {
            BytesField::Body(side) => return body_is_match(flow, side, regex),
            BytesField::ContentType(side) => heads(side).any(has_type),
            BytesField::Head(side) => heads(side).any(|head| regex.is_match(&head::block(head))),
            BytesField::Method => regex.is_match(head::start_line(flow.view.request.head).0),
        })
    }
}

fn body_is_match(flow: &Subject<'_>, side: Option<Side>, regex: &bytes::Regex) -> Option<bool> {
    let mut otherwise = Some(false);
    for asked in [Side::Request, Side::Response] {
        if side.is_some_and(|side| side != asked) {
            continue;
        }
        match flow.body(asked) {
            Body::Bytes(bytes) if regex.is_match(bytes) => return Some(true),
            Body::Bytes(_) | Body::None => {}
            Body::Awaited => otherwise = None,
        }
    }
    let from = side.map(|side| match side {
        Side::Request => Direction::Send,
        Side::Response => Direction::Receive,
    });
    let found = flow.view.messages.iter().any(|message| {
        from.is_none_or(|from| from == message.direction)
            && matches!(message.opcode, Opcode::Text | Opcode::Binary)
            && message.is_kept()
            && regex.is_match(&message.payload)
    });
    if found { Some(true) } else { otherwise }
}
