//! Outgoing heads: names and values verbatim and in order, hop-by-hop fields left out
//! (RFC 9110 section 7.6.1), and the framing our own.

use std::cmp::Ordering;
use std::time::Duration;

use super::body::BodyLength;
use super::credentials::PROXY_AUTHORIZATION;
use super::field::{Field, FieldKind, FieldLines, has_token, values_of};
use super::head::{RequestHead, ResponseHead, Version, is_token_byte, list_elements, trim_blanks};
use super::hops::MAX_FORWARDS;
use super::target::{host_value, parse_host};
use crate::flow::record::{Authority, Scheme};

/// What flowtap decides about a request that goes upstream.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingRequest<'a> {
    /// The request target in the origin form, or `*`.
    pub path: &'a [u8],
    /// Replaces or adds the Host field; `None` keeps the one that is there, so it is for requests
    /// that have one.
    pub host: Option<&'a [u8]>,
    /// How the body goes out; what [`super::body::request_length`] gave, unless it is changed.
    pub body: BodyLength,
    /// Keeps Upgrade and says `Connection: Upgrade`.
    pub upgrade: bool,
    /// Leaves If-Modified-Since and If-None-Match out, so that the answer has a body.
    pub unconditional: bool,
    /// Asks for a body without content coding (RFC 9110 section 12.5.3).
    pub uncoded: bool,
    /// Replaces the value of Max-Forwards (RFC 9110 section 7.6.2).
    pub max_forwards: Option<u64>,
}

/// Appends a request's head that [`write_request`] wrote, as a proxy takes it: its target in the
/// absolute form (RFC 9112 section 3.2.2), with credentials for the proxy if there are any.
pub fn write_to_proxy(
    out: &mut Vec<u8>,
    head: &[u8],
    authority: &Authority,
    authorization: Option<&str>,
) {
    let line = head.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default();
    let fields = head.get(line.len()..).unwrap_or_default();
    let method = line.split_inclusive(|&byte| byte == b' ').next().unwrap_or_default();
    let rest = line.get(method.len()..).unwrap_or_default();
    out.extend_from_slice(method);
    out.extend_from_slice(b"http://");
    out.extend_from_slice(host_value(Scheme::Http, authority).as_bytes());
    // RFC 9112 section 3.2.4: for the server as a whole the path is left out.
    out.extend_from_slice(rest.strip_prefix(b"*").unwrap_or(rest));
    if let Some(value) = authorization {
        write_field(out, PROXY_AUTHORIZATION.as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(fields);
}

/// Whether the Host field of a head that [`write_request`] wrote is this authority's, for `http`.
pub fn names_host(head: &[u8], authority: &Authority) -> bool {
    let mut fields = head.split(|&byte| byte == b'\n').filter_map(|line| {
        let (name, value) = line.split_at_checked(b"Host:".len())?;
        name.eq_ignore_ascii_case(b"Host:").then(|| value.trim_ascii())
    });
    let host = fields.next().and_then(|value| parse_host(value).ok());
    host.is_some_and(|host| host.with_scheme(Scheme::Http) == *authority)
}

/// The Connection field of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionField {
    /// No field: HTTP/1.1 goes on by default.
    Omit,
    /// `close`.
    Close,
    /// `keep-alive`, for HTTP/1.0 clients.
    KeepAlive,
}

impl ConnectionField {
    /// What a client of this version has to be told of a connection that goes on or does not.
    pub fn of(stays: bool, client: Version) -> Self {
        match (stays, client) {
            (false, _) => ConnectionField::Close,
            (true, Version::Http10) => ConnectionField::KeepAlive,
            (true, Version::Http11) => ConnectionField::Omit,
        }
    }
}

/// What flowtap decides about a response that goes to the client.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingResponse {
    /// How the body goes out; what [`super::body::response_length`] gave, unless it is changed.
    /// A chunked body goes to an HTTP/1.0 client as `UntilClose`, decoded.
    pub body: BodyLength,
    /// What becomes of the connection.
    pub connection: ConnectionField,
    /// Keeps Upgrade, and says `Connection: Upgrade` where there is one (101 and 426).
    pub upgrade: bool,
    /// The version of the request. HTTP/1.0 clients get no Transfer-Encoding and no Trailer.
    pub client: Version,
}

/// Appends a request's head as it goes upstream, always as HTTP/1.1.
pub fn write_request(
    out: &mut Vec<u8>,
    buf: &[u8],
    head: &RequestHead,
    outgoing: &OutgoingRequest<'_>,
) {
    out.extend_from_slice(head.method.of(buf));
    out.push(b' ');
    out.extend_from_slice(outgoing.path);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let has_host = head.fields.has(FieldKind::Host);
    if let Some(host) = outgoing.host.filter(|_| !has_host) {
        write_field(out, b"Host", host);
    }
    let nominated = nominations(&head.fields, buf);
    let mut framing = Framing::new(outgoing.body);
    for field in &head.fields {
        let (name, value) = (field.name.of(buf), field.value.of(buf));
        match (field.kind, outgoing.host) {
            (FieldKind::Host, Some(host)) => write_field(out, name, host),
            (FieldKind::ContentLength | FieldKind::TransferEncoding, _) => {
                framing.write(out, field.kind, name, value)
            }
            (FieldKind::Upgrade, _) if outgoing.upgrade && !offers_h2c(value) => {
                write_field(out, name, value);
            }
            (FieldKind::Upgrade | FieldKind::Connection | FieldKind::Te, _) => {}
            (FieldKind::KeepAlive | FieldKind::HopByHop | FieldKind::ProxyRequest, _) => {}
            (FieldKind::EndToEnd, _) if is_nominated(&nominated, name) => {}
            _ if outgoing.unconditional && is_condition(name) => {}
            _ if outgoing.uncoded && name.eq_ignore_ascii_case(ACCEPT_ENCODING) => {}
            _ if let Some(hops) = outgoing.max_forwards
                && name.eq_ignore_ascii_case(MAX_FORWARDS.as_bytes()) =>
            {
                write_field(out, name, hops.to_string().as_bytes());
            }
            _ => pass_field(out, buf, field),
        }
    }
    framing.finish(out);
    if outgoing.uncoded {
        write_field(out, ACCEPT_ENCODING, b"identity");
    }
    let trailers = has_token(&head.fields, buf, FieldKind::Te, "trailers");
    if trailers {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    match (outgoing.upgrade, trailers) {
        (true, true) => out.extend_from_slice(b"Connection: Upgrade, TE\r\n"),
        (true, false) => out.extend_from_slice(b"Connection: Upgrade\r\n"),
        (false, true) => out.extend_from_slice(b"Connection: TE\r\n"),
        (false, false) => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a response's head as it goes to the client, always as HTTP/1.1 (RFC 9110 section 2.5).
///
/// Where the body is [`BodyLength::None`], 1xx and 204 lose their framing fields, and the others
/// (to HEAD, and 304) keep them: there they tell of another response.
pub fn write_response(
    out: &mut Vec<u8>,
    buf: &[u8],
    head: &ResponseHead,
    outgoing: &OutgoingResponse,
) {
    // Most of it is as long as it came.
    out.reserve(head.len + ADDED_BYTES);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend([100, 10, 1].map(|unit| b'0' + (head.status / unit % 10) as u8));
    out.push(b' ');
    out.extend_from_slice(head.reason.of(buf));
    out.extend_from_slice(b"\r\n");
    let nominated = nominations(&head.fields, buf);
    let bodiless = matches!(head.status, 100..=199 | 204);
    let descriptive = outgoing.body == BodyLength::None && !bodiless;
    let old_client = outgoing.client == Version::Http10;
    let mut upgrade = false;
    let mut framing = Framing::new(outgoing.body);
    for field in &head.fields {
        let (name, value) = (field.name.of(buf), field.value.of(buf));
        match field.kind {
            FieldKind::TransferEncoding | FieldKind::Trailer if old_client => {}
            FieldKind::ContentLength | FieldKind::TransferEncoding if descriptive => {
                write_field(out, name, value);
            }
            FieldKind::ContentLength | FieldKind::TransferEncoding => {
                framing.write(out, field.kind, name, value)
            }
            FieldKind::Trailer if outgoing.body == BodyLength::UntilClose => {}
            // A 426 switches nothing, and says what has to be asked for (RFC 9110 15.5.22).
            FieldKind::Upgrade
                if outgoing.upgrade && (head.status == 426 || !offers_h2c(value)) =>
            {
                write_field(out, name, value);
                upgrade = true;
            }
            FieldKind::Upgrade | FieldKind::Connection | FieldKind::Te => {}
            FieldKind::KeepAlive | FieldKind::HopByHop | FieldKind::ProxyResponse => {}
            FieldKind::EndToEnd if is_nominated(&nominated, name) => {}
            _ => pass_field(out, buf, field),
        }
    }
    if !old_client {
        framing.finish(out);
    }
    // RFC 9110 section 7.8: the option goes with the field, and never without it.
    match (upgrade, outgoing.connection) {
        (true, ConnectionField::Close) => {
            out.extend_from_slice(b"Connection: Upgrade, close\r\n");
        }
        (true, ConnectionField::KeepAlive) => {
            out.extend_from_slice(b"Connection: Upgrade, keep-alive\r\n");
        }
        (true, ConnectionField::Omit) => out.extend_from_slice(b"Connection: Upgrade\r\n"),
        (false, ConnectionField::Close) => out.extend_from_slice(b"Connection: close\r\n"),
        (false, ConnectionField::KeepAlive) => {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        (false, ConnectionField::Omit) => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Room for what a response's head gains: its framing and Connection.
const ADDED_BYTES: usize = 64;

/// The value of Upgrade when Connection nominates it. `None` too when `h2c` is among what it
/// offers: that never passes, and whoever gets an Upgrade may always ignore it.
pub fn is_upgrade<'b>(fields: &'b FieldLines, buf: &'b [u8]) -> Option<&'b [u8]> {
    let mut upgrades = values_of(fields, buf, FieldKind::Upgrade);
    let upgrade = upgrades.next()?;
    let alone = upgrades.next().is_none();
    let nominated = has_token(fields, buf, FieldKind::Connection, "upgrade");
    (alone && nominated && !offers_h2c(upgrade)).then_some(upgrade)
}

/// Whether the sender wants the connection to go on (RFC 9112 section 9.3).
pub fn keep_alive(version: Version, fields: &FieldLines, buf: &[u8]) -> bool {
    let says = |token| has_token(fields, buf, FieldKind::Connection, token);
    match version {
        Version::Http11 => !says("close"),
        Version::Http10 => says("keep-alive") && !says("close"),
    }
}

/// How long the sender keeps the connection when nothing is asked for, if it states that in
/// Keep-Alive (RFC 2068 section 19.7.1.1): the least, where it states several.
pub fn keep_alive_timeout(fields: &FieldLines, buf: &[u8]) -> Option<Duration> {
    let parameters = values_of(fields, buf, FieldKind::KeepAlive).flat_map(list_elements);
    let seconds = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_at_checked(b"timeout".len())?;
        let digits = trim_blanks(trim_blanks(value).strip_prefix(b"=")?);
        let is_number = digits.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
        name.eq_ignore_ascii_case(b"timeout").then_some(number)
    });
    seconds.min().map(Duration::from_secs)
}

const ACCEPT_ENCODING: &[u8] = b"Accept-Encoding";

/// Whether a field lets a server answer without a body (RFC 9110 section 13.1).
fn is_condition(name: &[u8]) -> bool {
    let conditions: [&[u8]; 2] = [b"If-Modified-Since", b"If-None-Match"];
    conditions.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The names that Connection nominates beyond those with rules of their own, sorted.
fn nominations<'b>(fields: &'b FieldLines, buf: &'b [u8]) -> Vec<&'b [u8]> {
    if !fields.has(FieldKind::Connection) {
        return Vec::new();
    }
    let mut names: Vec<&[u8]> = values_of(fields, buf, FieldKind::Connection)
        .flat_map(list_elements)
        .filter(|name| !is_option(name) && name.iter().all(|&byte| is_token_byte(byte)))
        .filter(|name| FieldKind::of(name) == FieldKind::EndToEnd)
        .collect();
    names.sort_unstable_by(|a, b| compare_names(a, b));
    names
}

/// Connection options that are no field names.
fn is_option(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"close")
}

fn is_nominated(nominated: &[&[u8]], name: &[u8]) -> bool {
    !nominated.is_empty()
        && nominated.binary_search_by(|candidate| compare_names(candidate, name)).is_ok()
}

fn compare_names(a: &[u8], b: &[u8]) -> Ordering {
    a.iter().map(u8::to_ascii_lowercase).cmp(b.iter().map(u8::to_ascii_lowercase))
}

fn offers_h2c(upgrade: &[u8]) -> bool {
    list_elements(upgrade).any(|protocol| protocol.eq_ignore_ascii_case(b"h2c"))
}

/// Writes a field as it came: at once where the line came as it goes out.
fn pass_field(out: &mut Vec<u8>, buf: &[u8], field: &Field) {
    let Field { name, value, .. } = field;
    let line = buf.get(name.start as usize..(value.end as usize).saturating_add(2));
    let between = buf.get(name.end as usize..value.start as usize);
    match line {
        Some(line) if between == Some(b": ") && line.ends_with(b"\r\n") => {
            out.extend_from_slice(line);
        }
        _ => write_field(out, name.of(buf), value.of(buf)),
    }
}

fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes exactly the framing fields that `body` needs: in their old place with their old name
/// where the message had them, else at the end.
struct Framing {
    body: BodyLength,
    written: bool,
}

impl Framing {
    fn new(body: BodyLength) -> Self {
        let written = matches!(body, BodyLength::None | BodyLength::UntilClose);
        Framing { body, written }
    }

    /// Passes one of the message's own framing fields on, if it is the one needed.
    fn write(&mut self, out: &mut Vec<u8>, kind: FieldKind, name: &[u8], value: &[u8]) {
        if self.written {
            return;
        }
        match (self.body, kind) {
            (BodyLength::Length(length), FieldKind::ContentLength) => {
                let same = std::str::from_utf8(value).is_ok_and(|v| v.parse() == Ok(length));
                // Zeros before it would make it octal to readers that guess.
                let plain = matches!(value, [b'1'..=b'9', ..] | [b'0']);
                if same && plain {
                    write_field(out, name, value);
                } else {
                    write_field(out, name, length.to_string().as_bytes());
                }
                self.written = true;
            }
            (BodyLength::Chunked, FieldKind::TransferEncoding) => {
                write_field(out, name, b"chunked");
                self.written = true;
            }
            _ => {}
        }
    }

    /// Adds what the message did not have.
    fn finish(&mut self, out: &mut Vec<u8>) {
        match self.body {
            _ if self.written => {}
            BodyLength::Length(length) => {
                write_field(out, b"Content-Length", length.to_string().as_bytes());
            }
            BodyLength::Chunked => write_field(out, b"Transfer-Encoding", b"chunked"),
            BodyLength::None | BodyLength::UntilClose => {}
        }
        self.written = true;
    }
}

#[cfg(test)]
mod tests;
