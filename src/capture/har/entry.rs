//! An entry of a HAR file, field by field.

use serde::{Serialize, Serializer};

use crate::capture::body_text::{BodyText, base64};
use crate::capture::bundle::date_time;
use crate::capture::flow::{self, Flow, Phases};
use crate::capture::har::cookies::{Cookie, received, sent};
use crate::capture::json::Milliseconds;
use crate::capture::messages::SocketMessage;
use crate::flow::head::{Field, text};
use crate::flow::query::{parameters, query};
use crate::flow::redact::Redactor;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    started_date_time: String,
    time: Milliseconds,
    request: Request,
    response: Response,
    cache: Cache,
    timings: Timings,
    #[serde(rename = "serverIPAddress", skip_serializing_if = "Option::is_none")]
    server_ip_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    #[serde(rename = "_resourceType", skip_serializing_if = "Option::is_none")]
    resource_type: Option<&'static str>,
    #[serde(rename = "_webSocketMessages", skip_serializing_if = "Option::is_none")]
    web_socket_messages: Option<Vec<WebSocketMessage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

/// Nothing is known of caches.
#[derive(Serialize)]
struct Cache {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    http_version: String,
    cookies: Vec<Cookie>,
    headers: Vec<Pair>,
    query_string: Vec<Pair>,
    headers_size: Size,
    body_size: Size,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_data: Option<PostData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    status: u16,
    status_text: String,
    http_version: String,
    cookies: Vec<Cookie>,
    headers: Vec<Pair>,
    content: Content,
    #[serde(rename = "redirectURL")]
    redirect_url: String,
    headers_size: Size,
    body_size: Size,
    #[serde(rename = "_error", skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

/// A header field or a parameter.
#[derive(Serialize)]
struct Pair {
    name: String,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostData {
    mime_type: String,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<i64>,
    mime_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl Default for Content {
    fn default() -> Self {
        Content {
            size: 0,
            compression: None,
            mime_type: UNKNOWN_TYPE.to_owned(),
            text: None,
            encoding: None,
            comment: None,
        }
    }
}

const UNKNOWN_TYPE: &str = "x-unknown";

/// A number of bytes, -1 where it is not known.
#[derive(Default)]
struct Size(Option<u64>);

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(bytes) => serializer.serialize_u64(bytes),
            None => serializer.serialize_i64(-1),
        }
    }
}

/// A duration in milliseconds, -1 where the phase did not take place.
struct Phase(Option<u64>);

impl Serialize for Phase {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(us) => Milliseconds(us).serialize(serializer),
            None => serializer.serialize_i64(-1),
        }
    }
}

#[derive(Serialize)]
struct Timings {
    blocked: Phase,
    dns: Phase,
    connect: Phase,
    ssl: Phase,
    send: Milliseconds,
    wait: Milliseconds,
    receive: Milliseconds,
}

impl Timings {
    /// The phases, and their sum in microseconds. `connect` has `ssl` in it, and the sum counts
    /// that once.
    fn new(phases: &Phases) -> (Self, u64) {
        let connect_us = phases.connect_us.saturating_add(phases.tls_us);
        let known = [phases.dns_us, connect_us, phases.send_us, phases.wait_us, phases.receive_us];
        let known_us = known.into_iter().fold(0, u64::saturating_add);
        // A hold, a first attempt and what never came are no phases of their own.
        let blocked_us = phases.total_us.saturating_sub(known_us);
        let took_place = |us: u64| Phase((us > 0).then_some(us));
        let timings = Timings {
            blocked: took_place(blocked_us),
            dns: took_place(phases.dns_us),
            connect: took_place(connect_us),
            ssl: took_place(phases.tls_us),
            send: Milliseconds(phases.send_us),
            wait: Milliseconds(phases.wait_us),
            receive: Milliseconds(phases.receive_us),
        };
        (timings, known_us.saturating_add(blocked_us))
    }
}

#[derive(Serialize)]
struct WebSocketMessage {
    r#type: &'static str,
    /// In seconds since the Unix epoch.
    time: f64,
    opcode: u8,
    data: String,
}

impl Entry {
    pub(super) fn new(flow: &Flow, redactor: &Redactor) -> Self {
        let (timings, time_us) = Timings::new(&flow.timing);
        let server = flow.server.as_ref();
        let messages = flow.messages.as_ref().map(|messages| {
            messages.iter().filter_map(|message| web_socket_message(message, redactor)).collect()
        });
        Entry {
            started_date_time: date_time(flow.began_us),
            time: Milliseconds(time_us),
            request: request(flow, redactor),
            response: response(flow, redactor),
            cache: Cache {},
            timings,
            server_ip_address: server.and_then(|it| it.address).map(|it| it.to_string()),
            connection: server.map(|it| it.connection.to_string()),
            resource_type: flow.messages.is_some().then_some("websocket"),
            web_socket_messages: messages,
            comment: flow.lacking(redactor).words(),
        }
    }
}

fn request(flow: &Flow, redactor: &Redactor) -> Request {
    let message = &flow.request;
    let fields = redactor.fields(&message.fields);
    let url = redactor.url(&flow.url).into_owned();
    let parameter = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| Pair {
        name: name.into_owned(),
        value: value.into_owned(),
    };
    Request {
        query_string: parameters(query(&url)).map(parameter).collect(),
        method: flow.method.clone(),
        url: uri(&flow.method, &url),
        http_version: message.version.clone(),
        cookies: sent(&fields),
        headers_size: Size(message.head_bytes),
        body_size: Size(message.body.wire_bytes),
        post_data: post_data(message, redactor),
        comment: trailers(message, redactor),
        headers: pairs(fields),
    }
}

/// A URL as HAR wants it: absolute, which that of a CONNECT is not, and with all percent-encoded
/// that never stands in one as it is. Other signs stay: readers compare URLs letter by letter.
fn uri(method: &str, url: &str) -> String {
    let is_authority = method.eq_ignore_ascii_case("CONNECT") && !url.contains("://");
    let mut uri = if is_authority { "https://".to_owned() } else { String::new() };
    for byte in url.bytes() {
        match byte {
            0x21..=0x7e if !b"\"<>".contains(&byte) => uri.push(byte.into()),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

/// The trailer fields, which HAR has no place for.
fn trailers(message: &flow::Message, redactor: &Redactor) -> Option<String> {
    let fields = redactor.fields(&message.trailers);
    let lines: Vec<_> = fields.iter().map(|it| format!("{}: {}", it.name, it.value)).collect();
    (!lines.is_empty()).then(|| format!("trailer fields: {}", lines.join("; ")))
}

fn post_data(message: &flow::Message, redactor: &Redactor) -> Option<PostData> {
    let body = &message.body;
    let is_there = !body.bytes.is_empty() || body.wire_bytes.is_some_and(|bytes| bytes > 0);
    is_there.then(|| {
        let mime_type = value(&message.fields, "content-type").to_owned();
        let shown = BodyText::new(body, &mime_type, redactor);
        PostData {
            mime_type,
            encoding: shown.encoding,
            comment: shown.comment(),
            text: shown.text.unwrap_or_default(),
        }
    })
}

fn response(flow: &Flow, redactor: &Redactor) -> Response {
    let error = flow.error.as_ref().map(|error| redactor.words(error).into_owned());
    let Some(response) = &flow.response else {
        return Response { error, ..Response::default() };
    };
    let message = &response.message;
    let fields = redactor.fields(&message.fields);
    Response {
        status: response.status,
        status_text: redactor.words(&response.reason).into_owned(),
        http_version: message.version.clone(),
        cookies: received(&fields, flow.began_us),
        content: content(message, redactor),
        redirect_url: value(&fields, "location").to_owned(),
        headers_size: Size(message.head_bytes),
        body_size: Size(message.body.wire_bytes),
        error,
        comment: trailers(message, redactor),
        headers: pairs(fields),
    }
}

fn content(message: &flow::Message, redactor: &Redactor) -> Content {
    let body = &message.body;
    let content_type = value(&message.fields, "content-type");
    let shown = BodyText::new(body, content_type, redactor);
    let kept = body.size();
    let is_whole = !body.is_cut || body.coding.is_some();
    let size = if is_whole { kept } else { body.wire_bytes.unwrap_or(kept) };
    let saved = body.wire_bytes.filter(|_| body.decoded).map(|wire| {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        signed(size).saturating_sub(signed(wire))
    });
    Content {
        size,
        compression: saved,
        mime_type: if content_type.is_empty() { UNKNOWN_TYPE } else { content_type }.to_owned(),
        encoding: shown.encoding,
        comment: shown.comment(),
        text: shown.text,
    }
}

fn value<'a>(fields: &'a [Field], name: &str) -> &'a str {
    let named = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value.as_str()).unwrap_or_default()
}

fn pairs(fields: Vec<Field>) -> Vec<Pair> {
    fields.into_iter().map(|field| Pair { name: field.name, value: field.value }).collect()
}

/// The message; `None` where nothing of it can be shown.
fn web_socket_message(message: &SocketMessage, redactor: &Redactor) -> Option<WebSocketMessage> {
    let payload = message.shown(redactor)?;
    let data = match message.is_text {
        true => redactor.text("", &text(payload)).into_owned(),
        false => base64("", payload, redactor),
    };
    Some(WebSocketMessage {
        r#type: if message.sent { "send" } else { "receive" },
        time: message.time_us as f64 / 1_000_000.0,
        opcode: if message.is_text { 1 } else { 2 },
        data,
    })
}
