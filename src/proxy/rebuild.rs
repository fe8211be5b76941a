//! Heads that tools have written or changed, made anew and read as strictly as any other.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;

use crate::flow::control::{Answer, NewRequest, RequestEdit, ResponseEdit};
use crate::flow::head::{Field, text};
use crate::flow::record::Scheme;
use crate::http::body::BodyLength;
use crate::http::field::Field as RawField;
use crate::http::head::{self, HeadReader, Parsed, RequestHead, Version};
use crate::http::reply;
use crate::http::target::{Target, host_value, parse_target, request_host};
use crate::options::Options;
use crate::proxy::context::{Context, Heads, Now};
use crate::proxy::exchange::{RequestFacts, Route};
use crate::proxy::request::{Outgoing, facts};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The facts of a request that a tool has changed. Framing fields are worked out afresh.
///
/// # Errors
/// What is wrong with the change, in words for whoever made it.
pub(super) fn edited_request(
    before: &RequestFacts,
    edit: RequestEdit,
    cx: &mut Context<'_>,
) -> Result<RequestFacts, String> {
    let old_fields = request_fields(&before.head, &mut cx.heads.request)?;
    let old_host = find(&old_fields, "Host");
    let method = edit.method.map_or_else(|| before.method().to_vec(), String::into_bytes);
    check_method(&method)?;
    let moved = match &edit.url {
        Some(url) => {
            let (route, path) = parse_url(&method, url)?;
            Some((route, as_it_was(path, url, outgoing_path(&before.outgoing))))
        }
        None => None,
    };
    let mut fields = match &edit.headers {
        Some(given) => from_text(given, &old_fields)?,
        None => old_fields,
    };
    let (route, path) = match moved {
        Some((route, path)) => {
            // Host follows the URL, unless the tool has given another.
            let host = find(&fields, "Host");
            if host.is_none() || host == old_host {
                set_host(&mut fields, &route);
            }
            (route, path)
        }
        None => {
            if find(&fields, "Host").is_none() {
                set_host(&mut fields, &before.route);
            }
            let path = match outgoing_path(&before.outgoing) {
                // Of the methods it is OPTIONS alone that is for a server as a whole.
                b"*" if method != b"OPTIONS" => &b"/"[..],
                path => path,
            };
            (before.route.clone(), path.to_vec())
        }
    };
    if (method == b"HEAD") != (before.method() == b"HEAD") {
        return Err("the client knows by the method it has sent whether a body answers it: HEAD \
                    cannot become another method, nor another one HEAD"
            .to_owned());
    }
    let length = edit.body.as_ref().map_or(before.length, |body| request_length(&method, body));
    let head = request_head(&method, &path, &fields, length);
    let made = Made { head, route, path: &path, length, relayed: true, began: before.began };
    let facts = read_request(made, cx.options, before.recorded, cx.heads)?;
    // What the client speaks has not changed.
    Ok(RequestFacts { version: before.version, keep_alive: before.keep_alive, ..facts })
}

/// The facts of a request that a tool sends.
///
/// # Errors
/// What is wrong with it, in words for whoever made it.
pub(super) fn sent_request(
    request: &NewRequest,
    options: &Options,
    recorded: bool,
    began: Now,
) -> Result<RequestFacts, String> {
    let method = request.method.as_bytes();
    check_method(method)?;
    let (route, path) = parse_url(method, &request.url)?;
    let (path, mut fields) = repeated(request, path)?;
    // Nobody is there to speak another protocol.
    fields.retain(|(name, _)| !name.eq_ignore_ascii_case(b"Upgrade"));
    if find(&fields, "Host").is_none() {
        set_host(&mut fields, &route);
    }
    let length = request_length(method, &request.body);
    let head = request_head(method, &path, &fields, length);
    let made = Made { head, route, path: &path, length, relayed: false, began };
    let facts = read_request(made, options, recorded, &mut Heads::default())?;
    Ok(RequestFacts { keep_alive: false, ..facts })
}

/// The head of a response that a tool has changed. `length` tells how the body of one with this
/// status goes out.
///
/// # Errors
/// What is wrong with the change, in words for whoever made it.
pub(super) fn edited_response(
    before: &[u8],
    edit: &ResponseEdit,
    length: impl Fn(u16) -> BodyLength,
    cx: &mut Context<'_>,
) -> Result<Bytes, String> {
    let parsed = HeadReader::new().response(before, &mut cx.heads.response);
    if parsed != Ok(Parsed::Complete) {
        return Err("the response's head cannot be read again".to_owned());
    }
    let old = &cx.heads.response;
    let status = edit.status.unwrap_or(old.status);
    check_status(status)?;
    let phrase = match edit.status {
        Some(status) if status != old.status => reply::phrase(status).as_bytes(),
        _ => old.reason.of(before),
    };
    let old_fields = raw_fields(&old.fields, before);
    let fields = match &edit.headers {
        Some(given) => from_text(given, &old_fields)?,
        None => old_fields,
    };
    Ok(response_head(status, phrase, &fields, length(status)))
}

/// The head of an answer that a tool gives, with a body of this length.
///
/// # Errors
/// When its status is none that ends an exchange.
pub(super) fn response(answer: &Answer, length: BodyLength) -> Result<Bytes, String> {
    check_status(answer.status)?;
    let phrase = reply::phrase(answer.status).as_bytes();
    let fields = from_text(&answer.headers, &Fields::new())?;
    Ok(response_head(answer.status, phrase, &fields, length))
}

/// The head of an answer without fields and with a body of this length.
pub(super) fn bare_response(status: u16, length: BodyLength) -> Bytes {
    response_head(status, reply::phrase(status).as_bytes(), &Vec::new(), length)
}

fn check_method(method: &[u8]) -> Result<(), String> {
    let token = !method.is_empty() && method.iter().all(|&byte| head::is_token_byte(byte));
    match token {
        false => Err(format!("{:?} is no method", String::from_utf8_lossy(method))),
        true if method == b"CONNECT" => {
            Err("CONNECT opens tunnels and cannot be sent as a request".to_owned())
        }
        true => Ok(()),
    }
}

fn check_status(status: u16) -> Result<(), String> {
    match status {
        200..=599 => Ok(()),
        _ => Err(format!("{status} is no status of a final response: 200 to 599 are")),
    }
}

/// Takes an absolute URL apart. What a request target cannot hold is percent-encoded, and a
/// fragment is left away, as browsers do. The method tells what an empty path stands for.
fn parse_url(method: &[u8], url: &str) -> Result<(Route, Vec<u8>), String> {
    let url = url.trim().split('#').next().unwrap_or_default();
    match parse_target(method, &encoded(url)) {
        Ok(Target::Absolute { scheme, authority, path }) => {
            let tls = (scheme == Scheme::Https).then(|| Arc::from(authority.host.as_str()));
            Ok((Route { scheme, authority: Arc::new(authority), tls }, path.into_owned()))
        }
        // It may hold secrets.
        Ok(_) => Err("the URL is no absolute URL such as https://example.com/path".to_owned()),
        Err(error) => Err(format!("the URL cannot be used: {error}")),
    }
}

/// What a request target cannot hold, percent-encoded.
fn encoded(text: &str) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            encoded.push(byte);
        } else {
            // Writing to a Vec does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The path of a URL: where it is the text of the one that is there, with the bytes of that one.
fn as_it_was(path: Vec<u8>, url: &str, recorded: &[u8]) -> Vec<u8> {
    let there = text(recorded);
    if url.ends_with(&there) && path == encoded(&there) { recorded.to_vec() } else { path }
}

/// The path and the fields of a request that a tool sends, with the bytes of the one that it
/// repeats where it has left them.
fn repeated(request: &NewRequest, path: Vec<u8>) -> Result<(Vec<u8>, Fields), String> {
    let (bytes, mut head) = (&request.recorded_head, RequestHead::default());
    // What cannot be read strictly is taken as the text that the tool has read from it.
    let Ok(recorded) = request_fields(bytes, &mut head) else {
        return Ok((path, from_text(&request.headers, &Fields::new())?));
    };
    let path = match parse_target(head.method.of(bytes), head.target.of(bytes)) {
        Ok(Target::Absolute { path: recorded, .. }) => as_it_was(path, &request.url, &recorded),
        Ok(Target::Origin(recorded)) => as_it_was(path, &request.url, recorded),
        Ok(Target::Authority(_) | Target::Asterisk) | Err(_) => path,
    };
    Ok((path, from_text(&request.headers, &recorded)?))
}

/// The path in an outgoing head, which is flowtap's own.
fn outgoing_path(outgoing: &[u8]) -> &[u8] {
    outgoing.split(|&byte| byte == b' ').nth(1).unwrap_or(b"/")
}

/// How the body of a request goes out: methods that usually have one say so when it is empty
/// (RFC 9110 section 8.6).
fn request_length(method: &[u8], body: &Bytes) -> BodyLength {
    match (body.len(), method) {
        (0, b"POST" | b"PUT" | b"PATCH") => BodyLength::Length(0),
        (0, _) => BodyLength::None,
        (length, _) => BodyLength::Length(length as u64),
    }
}

fn request_fields(bytes: &[u8], into: &mut RequestHead) -> Result<Fields, String> {
    match HeadReader::new().request(bytes, into) {
        Ok(Parsed::Complete) => Ok(raw_fields(&into.fields, bytes)),
        _ => Err("the request's head cannot be read again".to_owned()),
    }
}

fn raw_fields(fields: &[RawField], bytes: &[u8]) -> Fields {
    let pair = |field: &RawField| (field.name.of(bytes).to_vec(), field.value.of(bytes).to_vec());
    fields.iter().map(pair).collect()
}

/// The fields that a tool has written. It reads and writes text, of which bytes that are not UTF-8
/// can be made but not be told again: where the text is that of a recorded field, the bytes of that
/// one are meant. What would be more than one field is refused here: once written it could not be
/// told from fields that were meant.
fn from_text(fields: &[Field], recorded: &Fields) -> Result<Fields, String> {
    let mut unused: Vec<_> = recorded.iter().collect();
    let mut checked = Fields::with_capacity(fields.len());
    for Field { name, value } in fields {
        if name.is_empty() || !name.bytes().all(head::is_token_byte) {
            return Err(format!("{name:?} is no name of a header field"));
        }
        let stands = |(known, bytes): &&(Vec<u8>, Vec<u8>)| {
            known.eq_ignore_ascii_case(name.as_bytes()) && text(bytes) == *value
        };
        let value = match unused.iter().position(stands) {
            Some(at) => unused.remove(at).1.clone(),
            None if value.chars().any(|c| c.is_control() && c != '\t') => {
                return Err(format!(
                    "the value of the header field {name} holds a control character"
                ));
            }
            None => value.trim().as_bytes().to_vec(),
        };
        checked.push((name.clone().into_bytes(), value));
    }
    Ok(checked)
}

fn find(fields: &Fields, name: &str) -> Option<Vec<u8>> {
    let named = |(known, _): &&(Vec<u8>, Vec<u8>)| known.eq_ignore_ascii_case(name.as_bytes());
    fields.iter().find(named).map(|(_, value)| value.clone())
}

/// Gives Host the value that belongs to a route, in its place or as the first field.
fn set_host(fields: &mut Fields, route: &Route) {
    let value = host_value(route.scheme, &route.authority).into_bytes();
    let at = fields.iter().position(|(name, _)| name.eq_ignore_ascii_case(b"Host"));
    match at.and_then(|at| fields.get_mut(at)) {
        Some((_, old)) => *old = value,
        None => fields.insert(0, (b"Host".to_vec(), value)),
    }
}

fn request_head(method: &[u8], path: &[u8], fields: &Fields, length: BodyLength) -> Bytes {
    let mut head = Vec::new();
    head.extend_from_slice(method);
    head.push(b' ');
    head.extend_from_slice(path);
    head.extend_from_slice(b" HTTP/1.1\r\n");
    // What a client was promised is not promised again.
    let kept = fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(b"Expect"));
    write_fields(&mut head, kept, length);
    Bytes::from(head)
}

fn response_head(status: u16, phrase: &[u8], fields: &Fields, length: BodyLength) -> Bytes {
    let mut head = Vec::new();
    // Writing to a Vec does not fail.
    let _ = write!(head, "HTTP/1.1 {status:03} ");
    head.extend_from_slice(phrase);
    head.extend_from_slice(b"\r\n");
    write_fields(&mut head, fields.iter(), length);
    Bytes::from(head)
}

/// Writes fields with the framing that the body has, and the blank line.
fn write_fields<'a>(
    head: &mut Vec<u8>,
    fields: impl Iterator<Item = &'a (Vec<u8>, Vec<u8>)>,
    length: BodyLength,
) {
    for (name, value) in fields {
        let frames = name.eq_ignore_ascii_case(b"Content-Length")
            || name.eq_ignore_ascii_case(b"Transfer-Encoding");
        // Where there is no body they tell of another response, or are wrong and found to be.
        if !frames || length == BodyLength::None {
            head.extend_from_slice(name);
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
    }
    // Writing to a Vec does not fail.
    let _ = match length {
        BodyLength::Length(length) => write!(head, "Content-Length: {length}\r\n"),
        BodyLength::Chunked => write!(head, "Transfer-Encoding: chunked\r\n"),
        BodyLength::None | BodyLength::UntilClose => Ok(()),
    };
    head.extend_from_slice(b"\r\n");
}

struct Made<'a> {
    head: Bytes,
    route: Route,
    path: &'a [u8],
    length: BodyLength,
    /// It comes from a client, whatever a tool has made of it.
    relayed: bool,
    began: Now,
}

fn read_request(
    made: Made<'_>,
    options: &Options,
    recorded: bool,
    heads: &mut Heads,
) -> Result<RequestFacts, String> {
    let Made { head: bytes, route, path, length, relayed, began } = made;
    match HeadReader::new().request(&bytes, &mut heads.request) {
        Ok(Parsed::Complete) if heads.request.len == bytes.len() => {}
        Ok(_) => return Err("a header field holds a line end, or the head is too long".to_owned()),
        Err(error) => return Err(format!("the request cannot be sent: {error}")),
    }
    request_host(&heads.request, &bytes, None)
        .map_err(|error| format!("the request cannot be sent: {error}"))?;
    let outgoing = Outgoing { route, path, host: None, length, relayed };
    let facts = facts(&bytes, &heads.request, outgoing, began, recorded, options);
    // It is recorded as it is sent: without what ends at this hop.
    let head = Bytes::copy_from_slice(&facts.outgoing);
    Ok(RequestFacts { head, version: Version::Http11, ..facts })
}

#[cfg(test)]
mod tests;
