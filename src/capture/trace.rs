//! An exchange as a trace: its JSON, and its bodies decoded.

use std::fs::File;
use std::io::{self, Read};

use serde::{Serialize, Serializer};

use crate::capture::bundle::{BundleWriter, Fate};
use crate::capture::journal::JournalFolder;
use crate::capture::spool::Spool;
use crate::flow::decode::{Caps, codings, decode};
use crate::flow::head::{Field, HeadText, UriKind, target_uri};
use crate::flow::record::{Body, Exchange, FlowId, Message, Side, Timing, TlsFacts, Upstream};

/// What writing flows into a part needs besides the part.
pub(super) struct Workplace<'a> {
    pub(super) folder: &'a JournalFolder,
    pub(super) spool: &'a mut Spool,
}

#[derive(Serialize)]
struct Trace<'a> {
    id: &'a str,
    timestamp: u64,
    r#type: &'static str,
    request: Request<'a>,
    response: Response<'a>,
    timing: TimingText,
    initiator: Initiator,
    context_refs: [(); 0],
    app_package: Option<()>,
    client_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_tls: Option<TlsText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    flow: u64,
    #[serde(skip_serializing_if = "is_false")]
    replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_of: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    request_edited: bool,
    #[serde(skip_serializing_if = "is_false")]
    response_edited: bool,
}

#[derive(Serialize)]
struct Request<'a> {
    method: &'a str,
    url: String,
    headers: Headers<'a>,
    #[serde(flatten)]
    body: StoredBody,
    http_version: &'a str,
    #[serde(skip_serializing_if = "Headers::is_empty")]
    trailers: Headers<'a>,
}

#[derive(Serialize)]
struct Response<'a> {
    status: u16,
    status_text: &'a str,
    headers: Headers<'a>,
    #[serde(flatten)]
    body: StoredBody,
    http_version: &'a str,
    #[serde(skip_serializing_if = "Headers::is_empty")]
    trailers: Headers<'a>,
}

/// What the JSON says of a body.
#[derive(Debug, Default, Serialize)]
struct StoredBody {
    body_file: Option<String>,
    body_size: u64,
    body_encoding: Option<String>,
    /// The size on the wire of a body whose copy was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_wire_size: Option<u64>,
    /// Whether what was recorded of the body could not be read back whole.
    #[serde(skip_serializing_if = "is_false")]
    body_damaged: bool,
}

pub(super) fn is_false(value: &bool) -> bool {
    !*value
}

#[derive(Serialize)]
struct Initiator {
    r#type: &'static str,
    url: Option<()>,
    line: Option<()>,
}

#[derive(Serialize)]
struct ServerText<'a> {
    address: String,
    connection: u64,
    reused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsText<'a>>,
}

#[derive(Serialize)]
struct TlsText<'a> {
    version: &'a str,
    cipher: &'a str,
    server_name: Option<&'a str>,
    alpn: Option<&'a str>,
    resumed: bool,
}

impl<'a> From<&'a TlsFacts> for TlsText<'a> {
    fn from(facts: &'a TlsFacts) -> Self {
        TlsText {
            version: facts.version,
            cipher: &facts.cipher,
            server_name: facts.server_name.as_deref(),
            alpn: facts.alpn.as_deref(),
            resumed: facts.resumed,
        }
    }
}

impl<'a> From<&'a Upstream> for ServerText<'a> {
    fn from(upstream: &'a Upstream) -> Self {
        ServerText {
            address: upstream.address.to_string(),
            connection: upstream.connection,
            reused: upstream.reused,
            tls: upstream.tls.as_deref().map(TlsText::from),
        }
    }
}

/// Fields as an array of `{name, value}`.
pub(super) struct Headers<'a>(pub(super) &'a [Field]);

impl Headers<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Header<'a> {
            name: &'a str,
            value: &'a str,
        }
        serializer.collect_seq(
            self.0.iter().map(|field| Header { name: &field.name, value: &field.value }),
        )
    }
}

#[derive(Serialize)]
struct TimingText {
    dns_ms: Milliseconds,
    connect_ms: Milliseconds,
    tls_ms: Milliseconds,
    send_ms: Milliseconds,
    wait_ms: Milliseconds,
    receive_ms: Milliseconds,
    total_ms: Milliseconds,
}

impl From<&Timing> for TimingText {
    fn from(timing: &Timing) -> Self {
        TimingText {
            dns_ms: Milliseconds(timing.dns_us),
            connect_ms: Milliseconds(timing.connect_us),
            tls_ms: Milliseconds(timing.tls_us),
            send_ms: Milliseconds(timing.send_us),
            wait_ms: Milliseconds(timing.wait_us),
            receive_ms: Milliseconds(timing.receive_us),
            total_ms: Milliseconds(timing.total_us),
        }
    }
}

/// Microseconds, written as milliseconds; whole ones as integers.
pub(super) struct Milliseconds(pub(super) u64);

impl Serialize for Milliseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1_000) {
            serializer.serialize_u64(self.0 / 1_000)
        } else {
            serializer.serialize_f64(self.0 as f64 / 1_000.0)
        }
    }
}

/// Writes an exchange into the part: its bodies, then its JSON.
pub(super) fn write_trace(
    part: &mut BundleWriter,
    place: &mut Workplace<'_>,
    exchange: &Exchange,
) -> io::Result<Fate> {
    let request = HeadText::read(&exchange.request.head);
    let response = exchange.response.as_ref().map(|message| HeadText::read(&message.head));
    let response = response.unwrap_or_default();
    let timestamp = exchange.timing.began_us / 1_000;
    let host = exchange.target.as_ref().map(|target| target.host.as_str());
    let id = part.next_trace(timestamp, host);

    let mut store = |side, head: &HeadText, message: Option<&Message>| match message {
        Some(message) => store_body(part, place, (&id, exchange.id, side), head, &message.body),
        None => Ok(StoredBody::default()),
    };
    let request_body = store(Side::Request, &request, Some(&exchange.request))?;
    let response_body = store(Side::Response, &response, exchange.response.as_ref())?;
    let damaged = request_body.body_damaged || response_body.body_damaged;
    let trailers = |message: Option<&Message>| {
        message.map(|message| HeadText::read_fields(&message.trailers)).unwrap_or_default()
    };
    let request_trailers = trailers(Some(&exchange.request));
    let response_trailers = trailers(exchange.response.as_ref());

    let (method, _, request_version) = request.request_line();
    let (response_version, status, status_text) = response.status_line();
    let target = exchange.target.as_deref();
    let trace = Trace {
        id: &id,
        timestamp,
        r#type: "http",
        request: Request {
            method,
            url: target_uri(&request, exchange.scheme, target, UriKind::Http),
            headers: Headers(&request.fields),
            body: request_body,
            http_version: request_version,
            trailers: Headers(&request_trailers),
        },
        response: Response {
            status,
            status_text,
            headers: Headers(&response.fields),
            body: response_body,
            http_version: response_version,
            trailers: Headers(&response_trailers),
        },
        timing: TimingText::from(&exchange.timing),
        initiator: Initiator { r#type: "proxy", url: None, line: None },
        context_refs: [],
        app_package: None,
        client_address: exchange.client.to_string(),
        client_tls: exchange.client_tls.as_deref().map(TlsText::from),
        server: exchange.upstream.as_ref().map(ServerText::from),
        error: exchange.error.as_deref(),
        flow: exchange.id.0,
        replayed: exchange.intervention.replayed,
        replay_of: exchange.intervention.origin.map(|flow| flow.0),
        request_edited: exchange.intervention.request_edited,
        response_edited: exchange.intervention.response_edited,
    };
    part.json(&format!("traces/{id}.json"), &trace)?;
    Ok(if damaged { Fate::Damaged } else { Fate::Whole })
}

fn store_body(
    part: &mut BundleWriter,
    place: &mut Workplace<'_>,
    (id, flow, side): (&str, FlowId, Side),
    head: &HeadText,
    body: &Body,
) -> io::Result<StoredBody> {
    let wire_size = body.is_cut().then_some(body.size);
    if body.captured() == 0 {
        return Ok(StoredBody { body_wire_size: wire_size, ..StoredBody::default() });
    }
    let side_name = match side {
        Side::Request => "request",
        Side::Response => "response",
    };
    let file = format!("{id}_{side_name}.bin");
    let entry = format!("traces/{file}");
    let named: Vec<&str> = head.values("content-encoding").collect();
    let codings = codings(named.iter().copied());
    let is_text = is_text(head);

    let mut decoded = false;
    if let Some(codings) = codings.as_deref().filter(|codings| !codings.is_empty())
        && !body.is_cut()
    {
        place.spool.clear();
        let mut source = captured(place.folder, flow, side, body);
        decoded = decode(codings, &mut source, place.spool, Caps::default()).is_ok();
    }
    if decoded {
        let size = place.spool.len();
        if size == 0 {
            return Ok(StoredBody::default());
        }
        let stored = part.body(&entry, size, is_text, &mut place.spool.reader()?)?;
        return Ok(StoredBody {
            body_file: (stored.bytes > 0).then_some(file),
            body_size: stored.bytes,
            body_damaged: !stored.whole,
            ..StoredBody::default()
        });
    }
    let coded = codings.is_none_or(|codings| !codings.is_empty());
    let mut source = captured(place.folder, flow, side, body);
    let stored = part.body(&entry, body.captured(), is_text && !coded, &mut source)?;
    let short = (!stored.whole).then_some(body.size);
    Ok(StoredBody {
        body_file: (stored.bytes > 0).then_some(file),
        body_size: stored.bytes,
        body_encoding: coded.then(|| named.join(", ")),
        body_wire_size: wire_size.or(short),
        body_damaged: !stored.whole,
    })
}

/// The captured bytes: those on disk, then those in the record. Where those on disk cannot be
/// read, or end too early, reading fails: the rest would stand in the wrong place.
fn captured<'a>(
    folder: &JournalFolder,
    flow: FlowId,
    side: Side,
    body: &'a Body,
) -> Box<dyn Read + 'a> {
    let tail = body.tail.as_ref();
    if body.sent_ahead == 0 {
        return Box::new(tail);
    }
    match File::open(folder.body(flow, side)) {
        Ok(file) => Box::new(Exactly(file.take(body.sent_ahead)).chain(tail)),
        Err(error) => Box::new(Unreadable(error.kind())),
    }
}

/// A file that must have all the bytes that it is read for.
struct Exactly(io::Take<File>);

impl Read for Exactly {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let got = self.0.read(target)?;
        if got == 0 && !target.is_empty() && self.0.limit() > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(got)
    }
}

/// A file that could not be opened.
struct Unreadable(io::ErrorKind);

impl Read for Unreadable {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
}

/// Whether a body is worth compressing, by its media type.
fn is_text(head: &HeadText) -> bool {
    let media_type = head.values("content-type").next().unwrap_or_default().to_ascii_lowercase();
    let named = ["text/", "json", "xml", "javascript", "x-www-form-urlencoded", "x-ndjson"];
    named.iter().any(|name| media_type.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_integers_where_they_can_be() {
        let text = |us| serde_json::to_string(&Milliseconds(us)).unwrap();
        assert_eq!(text(0), "0");
        assert_eq!(text(2_000), "2");
        assert_eq!(text(1_234), "1.234");
        assert_eq!(text(1), "0.001");
    }

    #[test]
    fn text_is_told_by_its_media_type() {
        let head = |kind: &str| HeadText {
            start: String::new(),
            fields: vec![Field { name: "Content-type".into(), value: kind.into() }],
        };
        assert!(is_text(&head("Application/Problem+JSON; charset=utf-8")));
        assert!(is_text(&head("image/svg+xml")));
        assert!(!is_text(&head("image/png")));
        assert!(!is_text(&HeadText::default()));
    }
}
