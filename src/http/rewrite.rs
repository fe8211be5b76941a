//! Outgoing heads: names and values verbatim and in order, hop-by-hop fields left out
//! (RFC 9110 section 7.6.1), and the framing our own.

use std::cmp::Ordering;

use super::body::BodyLength;
use super::head::{
    Field, RequestHead, ResponseHead, Version, has_token, is_token_byte, list_elements, values,
};

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

/// What flowtap decides about a response that goes to the client.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingResponse {
    /// How the body goes out; what [`super::body::response_length`] gave, unless it is changed.
    /// A chunked body goes to an HTTP/1.0 client as `UntilClose`, decoded.
    pub body: BodyLength,
    /// What becomes of the connection.
    pub connection: ConnectionField,
    /// Keeps Upgrade and says `Connection: Upgrade` (101 and 426).
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
    let has_host = values(&head.fields, buf, "Host").next().is_some();
    if let Some(host) = outgoing.host.filter(|_| !has_host) {
        write_field(out, b"Host", host);
    }
    let nominated = nominations(&head.fields, buf);
    let mut framing = Framing::new(outgoing.body);
    for field in &head.fields {
        let (name, value) = (field.name.of(buf), field.value.of(buf));
        match (kind(name), outgoing.host) {
            (Kind::Host, Some(host)) => write_field(out, name, host),
            (Kind::ContentLength | Kind::TransferEncoding, _) => framing.write(out, name, value),
            (Kind::Upgrade, _) if outgoing.upgrade && !offers_h2c(value) => {
                write_field(out, name, value);
            }
            (Kind::Upgrade | Kind::HopByHop | Kind::ProxyRequest, _) => {}
            _ if is_nominated(&nominated, name) => {}
            _ if outgoing.unconditional && is_condition(name) => {}
            _ if outgoing.uncoded && name.eq_ignore_ascii_case(ACCEPT_ENCODING) => {}
            _ => write_field(out, name, value),
        }
    }
    framing.finish(out);
    if outgoing.uncoded {
        write_field(out, ACCEPT_ENCODING, b"identity");
    }
    let trailers = has_token(&head.fields, buf, "TE", "trailers");
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
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend([100, 10, 1].map(|unit| b'0' + (head.status / unit % 10) as u8));
    out.push(b' ');
    out.extend_from_slice(head.reason.of(buf));
    out.extend_from_slice(b"\r\n");
    let nominated = nominations(&head.fields, buf);
    let bodiless = matches!(head.status, 100..=199 | 204);
    let descriptive = outgoing.body == BodyLength::None && !bodiless;
    let old_client = outgoing.client == Version::Http10;
    let mut framing = Framing::new(outgoing.body);
    for field in &head.fields {
        let (name, value) = (field.name.of(buf), field.value.of(buf));
        match kind(name) {
            Kind::TransferEncoding | Kind::Trailer if old_client => {}
            Kind::ContentLength | Kind::TransferEncoding if descriptive => {
                write_field(out, name, value);
            }
            Kind::ContentLength | Kind::TransferEncoding => framing.write(out, name, value),
            Kind::Trailer if outgoing.body == BodyLength::UntilClose => {}
            Kind::Upgrade if outgoing.upgrade && !offers_h2c(value) => {
                write_field(out, name, value);
            }
            Kind::Upgrade | Kind::HopByHop | Kind::ProxyResponse => {}
            _ if is_nominated(&nominated, name) => {}
            _ => write_field(out, name, value),
        }
    }
    if !old_client {
        framing.finish(out);
    }
    match (outgoing.upgrade, outgoing.connection) {
        (true, ConnectionField::Close) => {
            out.extend_from_slice(b"Connection: Upgrade, close\r\n");
        }
        (true, _) => out.extend_from_slice(b"Connection: Upgrade\r\n"),
        (false, ConnectionField::Close) => out.extend_from_slice(b"Connection: close\r\n"),
        (false, ConnectionField::KeepAlive) => {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        (false, ConnectionField::Omit) => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// The value of Upgrade when Connection nominates it. `None` too when `h2c` is among what it
/// offers: that never passes, and whoever gets an Upgrade may always ignore it.
pub fn is_upgrade<'b>(fields: &'b [Field], buf: &'b [u8]) -> Option<&'b [u8]> {
    let mut upgrades = values(fields, buf, "Upgrade");
    let upgrade = upgrades.next()?;
    let alone = upgrades.next().is_none();
    let nominated = has_token(fields, buf, "Connection", "upgrade");
    (alone && nominated && !offers_h2c(upgrade)).then_some(upgrade)
}

/// Whether the sender wants the connection to go on (RFC 9112 section 9.3).
pub fn keep_alive(version: Version, fields: &[Field], buf: &[u8]) -> bool {
    let says = |token| has_token(fields, buf, "Connection", token);
    match version {
        Version::Http11 => !says("close"),
        Version::Http10 => says("keep-alive") && !says("close"),
    }
}

const ACCEPT_ENCODING: &[u8] = b"Accept-Encoding";

/// Whether a field lets a server answer without a body (RFC 9110 section 13.1).
fn is_condition(name: &[u8]) -> bool {
    let conditions: [&[u8]; 2] = [b"If-Modified-Since", b"If-None-Match"];
    conditions.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// What a field is to a proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    EndToEnd,
    /// Nobody may nominate these away.
    Protected,
    Host,
    ContentLength,
    TransferEncoding,
    Trailer,
    Upgrade,
    HopByHop,
    /// Hop-by-hop in requests.
    ProxyRequest,
    /// Hop-by-hop in responses.
    ProxyResponse,
}

/// The fields that are not simply passed on, by the length of their names: every field of every
/// head is looked up here. What is nominated by Connection although it is `Protected` stays: a
/// client could otherwise strip what the server relies on.
fn kind(name: &[u8]) -> Kind {
    use Kind::{
        ContentLength, HopByHop, Host, Protected, ProxyRequest, ProxyResponse, Trailer,
        TransferEncoding, Upgrade,
    };
    let candidates: &[(&str, Kind)] = match name.len() {
        2 => &[("TE", HopByHop)],
        4 => &[("Date", Protected), ("ETag", Protected), ("Host", Host), ("Vary", Protected)],
        5 => &[("Range", Protected)],
        6 => &[("Cookie", Protected), ("Expect", Protected), ("Origin", Protected)],
        7 => &[("Trailer", Trailer), ("Upgrade", Upgrade)],
        8 => &[("Location", Protected)],
        9 => &[("Forwarded", Protected)],
        10 => &[("Connection", HopByHop), ("Keep-Alive", HopByHop), ("Set-Cookie", Protected)],
        12 => &[("Content-Type", Protected)],
        13 => &[
            ("Authorization", Protected),
            ("Cache-Control", Protected),
            ("Content-Range", Protected),
        ],
        14 => &[("Content-Length", ContentLength), ("HTTP2-Settings", HopByHop)],
        15 => &[("X-Forwarded-For", Protected)],
        16 => &[
            ("Content-Encoding", Protected),
            ("Proxy-Connection", HopByHop),
            ("WWW-Authenticate", Protected),
        ],
        17 => &[("Transfer-Encoding", TransferEncoding)],
        18 => &[("Proxy-Authenticate", ProxyResponse)],
        19 => &[("Proxy-Authorization", ProxyRequest)],
        25 => &[("Proxy-Authentication-Info", ProxyResponse)],
        _ => &[],
    };
    // Their first letters differ, where there are several of a length but for two pairs.
    let same_first = |known: &str| {
        let first = [known.as_bytes(), name].map(|it| it.first().map(u8::to_ascii_lowercase));
        first[0] == first[1]
    };
    candidates
        .iter()
        .find(|(known, _)| same_first(known) && name.eq_ignore_ascii_case(known.as_bytes()))
        .map_or(Kind::EndToEnd, |&(_, kind)| kind)
}

/// The names that Connection nominates beyond those with rules of their own, sorted.
fn nominations<'b>(fields: &'b [Field], buf: &'b [u8]) -> Vec<&'b [u8]> {
    let mut names: Vec<&[u8]> = values(fields, buf, "Connection")
        .flat_map(list_elements)
        .filter(|name| !is_option(name) && name.iter().all(|&byte| is_token_byte(byte)))
        .filter(|name| kind(name) == Kind::EndToEnd)
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
    fn write(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        if self.written {
            return;
        }
        match (self.body, kind(name)) {
            (BodyLength::Length(length), Kind::ContentLength) => {
                let same = std::str::from_utf8(value).is_ok_and(|v| v.parse() == Ok(length));
                if same {
                    write_field(out, name, value);
                } else {
                    write_field(out, name, length.to_string().as_bytes());
                }
                self.written = true;
            }
            (BodyLength::Chunked, Kind::TransferEncoding) => {
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
