//! A client of HTTP/1.1 for one request a connection, which waits.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::http::body::{BodyReader, response_length};
use crate::http::head::{HeadReader, Parsed, ResponseHead, values};
use crate::limits::{MCP_PROBE_TIMEOUT, MCP_REPLY_BYTES, READ_BYTES};
use crate::mcp::bridge::events::EventReader;

/// Where requests go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The address of the server.
    pub(super) address: SocketAddr,
    /// The token that it wants.
    pub(super) token: Option<String>,
}

impl Target {
    /// Sends a message. `fields` are whole lines.
    pub(super) fn post(&self, json: &str, fields: &str) -> io::Result<TcpStream> {
        let content = format!(
            "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
             Content-Length: {}\r\n{fields}",
            json.len()
        );
        self.send("POST", &content, json)
    }

    /// Asks for the stream of a session.
    pub(super) fn get(&self, fields: &str) -> io::Result<TcpStream> {
        self.send("GET", &format!("Accept: text/event-stream\r\n{fields}"), "")
    }

    /// Ends a session.
    pub(super) fn delete(&self, fields: &str) -> io::Result<TcpStream> {
        self.send("DELETE", fields, "")
    }

    fn send(&self, method: &str, fields: &str, body: &str) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect_timeout(&self.address, MCP_PROBE_TIMEOUT)?;
        stream.set_nodelay(true)?;
        // A server that takes nothing does not hold up everything behind a large message.
        stream.set_write_timeout(Some(MCP_PROBE_TIMEOUT))?;
        let address = self.address;
        let token = match &self.token {
            Some(token) => format!("Authorization: Bearer {token}\r\n"),
            None => String::new(),
        };
        let head = format!(
            "{method} /mcp HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{token}{fields}\r\n"
        );
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).map_err(timed_out)?;
        Ok(stream)
    }
}

/// An answer, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// Its status.
    pub(super) status: u16,
    /// The session that it names.
    pub(super) session: Option<String>,
    /// Its body; empty where it was an event stream.
    pub(super) body: String,
    /// Whether it was an event stream, whose messages were shown.
    pub(super) streamed: bool,
}

/// Reads an answer to its end. Messages of an event stream are shown to `message` as they come.
///
/// # Errors
/// When the connection ends first, or what comes is no HTTP; also when an event stream ends
/// without a reply, or not before `until`.
pub(super) fn read_reply(
    stream: TcpStream,
    until: Option<Instant>,
    message: &mut dyn FnMut(&str),
) -> io::Result<Reply> {
    let mut source = Source { stream, until };
    let mut input = Vec::new();
    let head = read_head(&mut source, &mut input)?;
    let field = |name| values(&head.fields, &input, name).next().map(String::from_utf8_lossy);
    let content_type = field("Content-Type").unwrap_or_default().into_owned();
    let session = field("Mcp-Session-Id").map(|id| id.into_owned());
    let length = response_length(&head, &input, b"POST").map_err(io::Error::other)?;
    let status = head.status;
    input.drain(..head.len.min(input.len()));

    let mut events = content_type.starts_with("text/event-stream").then(EventReader::default);
    let mut body = Vec::new();
    let mut reader = BodyReader::new(length);
    loop {
        let progress = reader
            .advance(&input, &mut |piece| match &mut events {
                Some(events) => events.take(piece, message),
                None => body.extend_from_slice(piece),
            })
            .map_err(io::Error::other)?;
        input.drain(..progress.consumed);
        let held = body.len().max(events.as_ref().map_or(0, EventReader::held_bytes));
        // What surrounds a reply is small.
        if held > 2 * MCP_REPLY_BYTES {
            return Err(io::Error::other("the answer is too large"));
        }
        if progress.done {
            break;
        }
        if source.read_more(&mut input)? == 0 {
            reader.finish().map_err(io::Error::other)?;
            break;
        }
    }
    if events.as_ref().is_some_and(|events| !events.has_reply) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok(Reply { status, session, body, streamed: events.is_some() })
}

fn read_head(source: &mut Source, input: &mut Vec<u8>) -> io::Result<ResponseHead> {
    let mut heads = HeadReader::new();
    let mut head = ResponseHead::default();
    loop {
        if source.read_more(input)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match heads.response(input, &mut head).map_err(io::Error::other)? {
            Parsed::Partial => {}
            Parsed::Complete if head.status < 200 => {
                input.drain(..head.len.min(input.len()));
            }
            Parsed::Complete => return Ok(head),
        }
    }
}

/// A connection, and how long it is waited for in all.
struct Source {
    stream: TcpStream,
    until: Option<Instant>,
}

impl Source {
    fn read_more(&mut self, input: &mut Vec<u8>) -> io::Result<usize> {
        if let Some(until) = self.until {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
        }
        let before = input.len();
        input.resize(before + READ_BYTES, 0);
        let count = loop {
            match self.stream.read(input.get_mut(before..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        input.truncate(before + count.as_ref().copied().unwrap_or(0));
        count.map_err(timed_out)
    }
}

/// Systems tell of a time-out as of a socket that has nothing for now, which explains nothing.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// A value as a field can hold it: as it is, or in base64.
pub(super) fn field_value(value: &str) -> String {
    let is_plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && value.trim() == value
        && !(value.starts_with("=?base64?") && value.ends_with("?="));
    if is_plain { value.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_says_nothing_is_told_of_in_words() {
        let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target { address: mute.local_addr().unwrap(), token: None };
        let stream = target.post("{}", "").unwrap();
        let until = Some(Instant::now() + std::time::Duration::from_millis(100));
        let error = read_reply(stream, until, &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "timed out");
    }

    #[test]
    fn values_fit_into_a_field() {
        assert_eq!(field_value("get_flows"), "get_flows");
        assert_eq!(field_value("Hello, 世界"), "=?base64?SGVsbG8sIOS4lueVjA==?=");
        assert_eq!(field_value(" padded "), "=?base64?IHBhZGRlZCA=?=");
        assert_eq!(field_value("a\r\nb"), "=?base64?YQ0KYg==?=");
        assert_eq!(field_value("=?base64?literal?="), "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=");
    }
}
