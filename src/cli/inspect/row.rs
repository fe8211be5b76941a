//! What the list says of one flow: its columns, what it is sorted by, and its line of JSON.

use serde::Serialize;

use crate::capture::bundle::date_time;
use crate::capture::read::{Header, Message, Timing, Trace, WebSocket};
use crate::cli::words::{duration, size, visible};
use crate::http::target::parse_host;
use crate::limits::SORTED_TEXT_BYTES;
use crate::notice::count;

/// What the list says of a flow. Its fields, in this order, are those of a line of JSON.
#[derive(Debug, Default, Serialize)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) part: usize,
    #[serde(rename = "time", serialize_with = "as_date_time")]
    pub(super) began_ms: u64,
    pub(super) method: String,
    pub(super) url: String,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) status: Option<u16>,
    pub(super) reason: String,
    pub(super) version: String,
    pub(super) request_type: String,
    pub(super) response_type: String,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) request_wire_bytes: Option<u64>,
    pub(super) response_wire_bytes: Option<u64>,
    pub(super) duration_ms: f64,
    pub(super) dns_ms: f64,
    pub(super) connect_ms: f64,
    pub(super) tls_ms: f64,
    pub(super) send_ms: f64,
    pub(super) wait_ms: f64,
    pub(super) receive_ms: f64,
    pub(super) server: Option<String>,
    pub(super) websocket: bool,
    pub(super) messages: Option<u64>,
    pub(super) replayed: bool,
    pub(super) damaged: bool,
    pub(super) error: Option<String>,
}

fn as_date_time<S: serde::Serializer>(ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&date_time(ms.saturating_mul(1_000)))
}

fn field(headers: &[Header], name: &str) -> String {
    let named = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| header.value.clone()).unwrap_or_default()
}

/// Host and port, and path and query, of a URL.
fn split(url: &str) -> (String, String) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    (host.to_owned(), path.to_owned())
}

impl Row {
    pub(super) fn of_trace(id: String, part: usize, trace: &Trace) -> Row {
        let Trace { timestamp, request, response, timing, server, error, replayed, .. } = trace;
        let (host, path) = split(&request.url);
        let stated = |message: &Message| message.body_wire_size.or(message.body_coded_size);
        let wire = |message: &Message| match (stated(message), &message.body_encoding) {
            (Some(wire), _) => Some(wire),
            (None, Some(_)) => Some(message.body_size),
            (None, None) if field(&message.headers, "content-encoding").is_empty() => {
                Some(message.body_size)
            }
            // A decoded body's size on the wire stands nowhere else.
            (None, None) => field(&message.headers, "content-length").parse().ok(),
        };
        let Timing { dns_ms, connect_ms, tls_ms, send_ms, wait_ms, receive_ms, total_ms } = *timing;
        Row {
            id,
            part,
            began_ms: *timestamp,
            method: request.method.clone(),
            url: request.url.clone(),
            host,
            path,
            status: Some(response.status).filter(|status| *status != 0),
            reason: response.status_text.clone(),
            version: request.http_version.clone(),
            request_type: field(&request.headers, "content-type"),
            response_type: field(&response.headers, "content-type"),
            request_bytes: request.body_size,
            response_bytes: response.body_size,
            request_wire_bytes: wire(request),
            response_wire_bytes: Some(response).filter(|it| it.status != 0).and_then(wire),
            duration_ms: total_ms,
            dns_ms,
            connect_ms,
            tls_ms,
            send_ms,
            wait_ms,
            receive_ms,
            server: server.as_ref().map(|server| server.address.clone()),
            replayed: *replayed,
            damaged: request.body_damaged || response.body_damaged,
            error: error.clone(),
            ..Row::default()
        }
    }

    pub(super) fn of_websocket(id: String, part: usize, socket: &WebSocket) -> Row {
        let (host, path) = split(&socket.url);
        Row {
            id,
            part,
            began_ms: socket.timestamp,
            method: "WS".to_owned(),
            url: socket.url.clone(),
            host,
            path,
            status: Some(101),
            duration_ms: socket.closed_timestamp.saturating_sub(socket.timestamp) as f64,
            websocket: true,
            messages: Some(socket.message_count),
            error: socket.error.clone(),
            ..Row::default()
        }
    }
}

/// A column of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// The flow's id.
    Id,
    /// When it began, in UTC.
    Time,
    /// The method; `WS` of a WebSocket.
    Method,
    /// The status code.
    Status,
    /// The size of the response's body, or how many messages a WebSocket has.
    Size,
    /// The size of the request's body.
    Sent,
    /// How long it took.
    Duration,
    /// How long the response was waited for.
    Wait,
    /// The response's media type.
    Type,
    /// Host and port of the URL.
    Host,
    /// Path and query of the URL.
    Path,
    /// The URL.
    Url,
    /// The server's address.
    Server,
    /// Why it failed.
    Error,
}

impl Column {
    /// All of them.
    pub const ALL: &[Column] = &[
        Column::Id,
        Column::Time,
        Column::Method,
        Column::Status,
        Column::Size,
        Column::Sent,
        Column::Duration,
        Column::Wait,
        Column::Type,
        Column::Host,
        Column::Path,
        Column::Url,
        Column::Server,
        Column::Error,
    ];

    /// Those of a list for which nothing else was asked.
    pub const USUAL: &[Column] =
        &[Column::Id, Column::Method, Column::Status, Column::Size, Column::Duration, Column::Url];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Column::Id => "id",
            Column::Time => "time",
            Column::Method => "method",
            Column::Status => "status",
            Column::Size => "size",
            Column::Sent => "sent",
            Column::Duration => "duration",
            Column::Wait => "wait",
            Column::Type => "type",
            Column::Host => "host",
            Column::Path => "path",
            Column::Url => "url",
            Column::Server => "server",
            Column::Error => "error",
        }
    }

    /// How wide it is at least, and whether its text stands to the right.
    pub(super) fn width(self) -> (usize, bool) {
        match self {
            Column::Id | Column::Method => (7, false),
            Column::Time => (12, false),
            Column::Status => (6, true),
            Column::Size => (12, true),
            Column::Sent | Column::Duration | Column::Wait => (10, true),
            Column::Type | Column::Host | Column::Server => (24, false),
            Column::Path | Column::Url | Column::Error => (40, false),
        }
    }

    /// What it says of a flow; safe for a terminal.
    pub(super) fn text(self, row: &Row) -> String {
        let text = match self {
            Column::Id => &row.id,
            Column::Method => &row.method,
            Column::Type => row.response_type.split(';').next().unwrap_or_default().trim(),
            Column::Host => &row.host,
            Column::Path => &row.path,
            Column::Url => &row.url,
            Column::Server => row.server.as_deref().unwrap_or("-"),
            Column::Error => row.error.as_deref().unwrap_or_default(),
            Column::Time => {
                let time = date_time(row.began_ms.saturating_mul(1_000));
                return time.get(11..23).unwrap_or_default().to_owned();
            }
            Column::Status => {
                return row.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
            }
            Column::Size => {
                return match row.messages {
                    Some(messages) => count(messages, "message"),
                    None => size(row.response_bytes),
                };
            }
            Column::Sent => return size(row.request_bytes),
            Column::Duration => return duration(row.duration_ms),
            Column::Wait => return duration(row.wait_ms),
        };
        visible(text).into_owned()
    }
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// When a flow began.
    Time,
    /// The size of the response's body.
    Size,
    /// The status code; flows without one first.
    Status,
    /// How long it took.
    Duration,
    /// The URL.
    Url,
    /// The host, and its flows by time.
    Host,
}

/// What a flow is sorted by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Number(u64),
    Text(Box<str>),
}

impl Sort {
    /// All of them.
    pub const ALL: &[Sort] =
        &[Sort::Time, Sort::Size, Sort::Status, Sort::Duration, Sort::Url, Sort::Host];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Sort::Time => "time",
            Sort::Size => "size",
            Sort::Status => "status",
            Sort::Duration => "duration",
            Sort::Url => "url",
            Sort::Host => "host",
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts saturate")]
    pub(super) fn key(self, row: &Row) -> Key {
        match self {
            Sort::Time => Key::Number(row.began_ms),
            Sort::Size => Key::Number(row.response_bytes),
            Sort::Status => Key::Number(row.status.unwrap_or_default().into()),
            Sort::Duration => Key::Number((row.duration_ms * 1_000.0) as u64),
            Sort::Url => Key::Text(beginning(&row.url)),
            Sort::Host => {
                // Of one host by its name, whatever its ports are.
                let host = parse_host(row.host.as_bytes()).map(|it| it.host);
                Key::Text(beginning(host.as_deref().unwrap_or(&row.host)))
            }
        }
    }
}

fn beginning(text: &str) -> Box<str> {
    let mut end = text.len().min(SORTED_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_of_what_is_shown_and_bounded() {
        let row = Row {
            host: "H.example:8080".into(),
            url: "\u{e9}".repeat(SORTED_TEXT_BYTES),
            duration_ms: 1.25,
            ..Row::default()
        };
        assert_eq!(Sort::Host.key(&row), Key::Text("h.example".into()));
        assert_eq!(Sort::Duration.key(&row), Key::Number(1_250));
        assert_eq!(Sort::Status.key(&row), Key::Number(0));
        let Key::Text(url) = Sort::Url.key(&row) else { panic!() };
        assert_eq!(url.len(), SORTED_TEXT_BYTES);
        let odd = Row { url: format!("x{}", row.url), ..row };
        let Key::Text(url) = Sort::Url.key(&odd) else { panic!() };
        assert_eq!(url.len(), SORTED_TEXT_BYTES - 1);
    }

    #[test]
    fn no_column_says_what_could_drive_a_terminal() {
        let bad = || "\x1b[2J".to_owned();
        let row = Row {
            id: bad(),
            method: bad(),
            url: bad(),
            host: bad(),
            path: bad(),
            response_type: bad(),
            server: Some(bad()),
            error: Some(bad()),
            ..Row::default()
        };
        for column in Column::ALL {
            assert!(!column.text(&row).contains('\x1b'), "{column:?}");
        }
    }
}
