//! An exchange as a trace: its JSON, and its bodies decoded.
//!
//! The JSON is written piece by piece, since a busy capture has tens of thousands of traces a
//! second: the fields stand here in the order in which they stand there.

use std::fs::File;
use std::io::{self, Read};

use crate::capture::bundle::{BundleWriter, Entry, Fate, FileKind, Id, Stored, method};
use crate::capture::journal::JournalFolder;
use crate::capture::json::Json;
use crate::capture::private;
use crate::capture::spool::Spool;
use crate::flow::decode::{Caps, codings, decode};
use crate::flow::head::{Field, HeadPiece, HeadText, UriKind, target_uri_pieces};
use crate::flow::record::{
    Body, Exchange, FlowId, Intervention, Message, Side, Timing, TlsFacts, Upstream,
};

/// What writing flows into a part needs besides the part.
pub(super) struct Workplace<'a> {
    pub(super) folder: &'a JournalFolder,
    pub(super) spool: &'a mut Spool,
    pub(super) json: &'a mut Json,
}

/// A head for as long as its bytes stand.
type Head<'a> = HeadText<HeadPiece<'a>>;

/// What the JSON says of a body.
#[derive(Debug, Default)]
struct StoredBody {
    has_file: bool,
    size: u64,
    encoding: Option<String>,
    /// The size on the wire of a body whose copy was cut.
    wire_size: Option<u64>,
    /// The size of a body before its content coding was undone.
    coded_size: Option<u64>,
    /// Whether what was recorded of the body could not be read back whole.
    is_damaged: bool,
}

impl From<Stored> for StoredBody {
    fn from(stored: Stored) -> Self {
        StoredBody {
            has_file: stored.bytes > 0,
            size: stored.bytes,
            is_damaged: !stored.whole,
            ..StoredBody::default()
        }
    }
}

/// Writes an exchange into the part: its bodies, then its JSON.
pub(super) fn write_trace(
    part: &mut BundleWriter,
    place: &mut Workplace<'_>,
    exchange: &Exchange,
) -> io::Result<Fate> {
    let request = Head::view(&exchange.request.head);
    let response = exchange.response.as_ref().map(|message| Head::view(&message.head));
    let response = response.unwrap_or_default();
    let timestamp = exchange.timing.began_us / 1_000;
    let host = exchange.target.as_ref().map(|target| target.host.as_str());
    let id = part.next_trace(timestamp, host);

    let mut store = |side, head: &Head<'_>, message: Option<&Message>| match message {
        Some(message) => store_body(part, place, (id, exchange.id, side), head, &message.body),
        None => Ok(StoredBody::default()),
    };
    let request_body = store(Side::Request, &request, Some(&exchange.request))?;
    let response_body = store(Side::Response, &response, exchange.response.as_ref())?;
    let is_damaged = request_body.is_damaged || response_body.is_damaged;

    let json = &mut *place.json;
    json.clear();
    json.raw(r#"{"id":""#);
    json.put(|out| id.put(out));
    json.raw(r#"","timestamp":"#);
    json.number(timestamp);
    json.raw(r#","type":"http""#);
    put_request(json, id, exchange, &request, &request_body);
    put_response(json, id, exchange, &response, &response_body);
    put_timing(json, &exchange.timing);
    json.raw(r#","initiator":{"type":"proxy","url":null,"line":null}"#);
    json.raw(r#","context_refs":[],"app_package":null,"client_address":"#);
    json.address(exchange.client);
    if let Some(tls) = exchange.client_tls.as_deref() {
        json.raw(r#","client_tls":"#);
        put_tls(json, tls);
    }
    if let Some(upstream) = &exchange.upstream {
        put_server(json, upstream);
    }
    if let Some(error) = exchange.error.as_deref() {
        json.raw(r#","error":"#);
        json.string(Some(error));
    }
    json.raw(r#","flow":"#);
    json.number(exchange.id.0);
    put_intervention(json, &exchange.intervention);
    json.raw("}");
    part.json(Entry::Json(id), json)?;
    Ok(if is_damaged { Fate::Damaged } else { Fate::Whole })
}

fn put_request(json: &mut Json, id: Id, exchange: &Exchange, head: &Head<'_>, body: &StoredBody) {
    let (method, _, version) = head.request_line();
    json.raw(r#","request":{"method":"#);
    json.string(Some(method));
    json.raw(r#","url":""#);
    let target = exchange.target.as_deref();
    for piece in target_uri_pieces(head, exchange.scheme, target, UriKind::Http) {
        json.escaped(&piece);
    }
    json.raw(r#"","headers":"#);
    put_fields(json, &head.fields);
    put_body(json, id, FileKind::Request, body);
    put_end_of_message(json, version, &exchange.request.trailers);
}

fn put_response(json: &mut Json, id: Id, exchange: &Exchange, head: &Head<'_>, body: &StoredBody) {
    let (version, status, status_text) = head.status_line();
    json.raw(r#","response":{"status":"#);
    json.number(status.into());
    json.raw(r#","status_text":"#);
    json.string(Some(status_text));
    json.raw(r#","headers":"#);
    put_fields(json, &head.fields);
    put_body(json, id, FileKind::Response, body);
    let trailers = exchange.response.as_ref().map(|message| message.trailers.as_ref());
    put_end_of_message(json, version, trailers.unwrap_or_default());
}

/// Fields as an array of `{name, value}`.
pub(super) fn put_fields(json: &mut Json, fields: &[Field<HeadPiece<'_>>]) {
    json.raw("[");
    for (at, field) in fields.iter().enumerate() {
        json.raw(if at == 0 { r#"{"name":""# } else { r#",{"name":""# });
        json.escaped(&field.name);
        json.raw(r#"","value":""#);
        json.escaped(&field.value);
        json.raw(r#""}"#);
    }
    json.raw("]");
}

fn put_body(json: &mut Json, id: Id, kind: FileKind, body: &StoredBody) {
    if body.has_file {
        json.raw(r#","body_file":""#);
        json.put(|out| kind.put(id, out));
        json.raw(r#"","body_size":"#);
    } else {
        json.raw(r#","body_file":null,"body_size":"#);
    }
    json.number(body.size);
    json.raw(r#","body_encoding":"#);
    json.string(body.encoding.as_deref());
    if let Some(size) = body.wire_size {
        json.raw(r#","body_wire_size":"#);
        json.number(size);
    }
    if let Some(size) = body.coded_size {
        json.raw(r#","body_coded_size":"#);
        json.number(size);
    }
    if body.is_damaged {
        json.raw(r#","body_damaged":true"#);
    }
}

fn put_end_of_message(json: &mut Json, version: &str, trailers: &[u8]) {
    json.raw(r#","http_version":"#);
    json.string(Some(version));
    let trailers = Head::view_fields(trailers);
    if !trailers.is_empty() {
        json.raw(r#","trailers":"#);
        put_fields(json, &trailers);
    }
    json.raw("}");
}

fn put_timing(json: &mut Json, timing: &Timing) {
    json.raw(r#","timing":{"dns_ms":"#);
    json.milliseconds(timing.dns_us);
    json.raw(r#","connect_ms":"#);
    json.milliseconds(timing.connect_us);
    json.raw(r#","tls_ms":"#);
    json.milliseconds(timing.tls_us);
    json.raw(r#","send_ms":"#);
    json.milliseconds(timing.send_us);
    json.raw(r#","wait_ms":"#);
    json.milliseconds(timing.wait_us);
    json.raw(r#","receive_ms":"#);
    json.milliseconds(timing.receive_us);
    json.raw(r#","total_ms":"#);
    json.milliseconds(timing.total_us);
    json.raw("}");
}

fn put_server(json: &mut Json, upstream: &Upstream) {
    json.raw(r#","server":{"address":"#);
    json.address(upstream.address);
    json.raw(r#","connection":"#);
    json.number(upstream.connection);
    json.raw(r#","reused":"#);
    json.boolean(upstream.reused);
    if let Some(tls) = upstream.tls.as_deref() {
        json.raw(r#","tls":"#);
        put_tls(json, tls);
    }
    json.raw("}");
}

fn put_tls(json: &mut Json, facts: &TlsFacts) {
    json.raw(r#"{"version":"#);
    json.string(Some(facts.version));
    json.raw(r#","cipher":"#);
    json.string(Some(&facts.cipher));
    json.raw(r#","server_name":"#);
    json.string(facts.server_name.as_deref());
    json.raw(r#","alpn":"#);
    json.string(facts.alpn.as_deref());
    json.raw(r#","resumed":"#);
    json.boolean(facts.resumed);
    json.raw("}");
}

fn put_intervention(json: &mut Json, intervention: &Intervention) {
    if intervention.replayed {
        json.raw(r#","replayed":true"#);
    }
    if let Some(origin) = intervention.origin {
        json.raw(r#","replay_of":"#);
        json.number(origin.0);
    }
    if intervention.request_edited {
        json.raw(r#","request_edited":true"#);
    }
    if intervention.response_edited {
        json.raw(r#","response_edited":true"#);
    }
}

fn store_body(
    part: &mut BundleWriter,
    place: &mut Workplace<'_>,
    (id, flow, side): (Id, FlowId, Side),
    head: &Head<'_>,
    body: &Body,
) -> io::Result<StoredBody> {
    let wire_size = body.is_cut().then_some(body.size);
    if body.captured() == 0 {
        return Ok(StoredBody { wire_size, ..StoredBody::default() });
    }
    let entry = Entry::File(
        id,
        match side {
            Side::Request => FileKind::Request,
            Side::Response => FileKind::Response,
        },
    );
    let codings = codings(head.values("content-encoding"));
    let coded = codings.as_ref().is_none_or(|codings| !codings.is_empty());

    if let Some(codings) = codings.filter(|codings| !codings.is_empty())
        && !body.is_cut()
    {
        place.spool.clear();
        let mut source = captured(place.folder, flow, side, body);
        if decode(&codings, &mut source, place.spool, Caps::default()).is_ok() {
            let method = method(place.spool.len(), || is_text(head));
            let stored = part.spooled(entry, method, place.spool)?;
            return Ok(StoredBody { coded_size: Some(body.size), ..StoredBody::from(stored) });
        }
    }
    let size = body.captured();
    let method = method(size, || !coded && is_text(head));
    let stored = if body.sent_ahead == 0 {
        part.bytes(entry, method, &body.tail)?
    } else {
        let mut source = captured(place.folder, flow, side, body);
        part.body(entry, method, size, &mut source)?
    };
    let named = || head.values("content-encoding").collect::<Vec<_>>().join(", ");
    let short = (!stored.whole).then_some(body.size);
    Ok(StoredBody {
        encoding: coded.then(named),
        wire_size: wire_size.or(short),
        ..StoredBody::from(stored)
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
    match private::open(&folder.body(flow, side)) {
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
fn is_text(head: &Head<'_>) -> bool {
    let media_type = head.values("content-type").next().unwrap_or_default().to_ascii_lowercase();
    let named = ["text/", "json", "xml", "javascript", "x-www-form-urlencoded", "x-ndjson"];
    named.iter().any(|name| media_type.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_by_its_media_type() {
        let head = |kind: &'static str| Head {
            start: "".into(),
            fields: vec![Field { name: "Content-type".into(), value: kind.into() }],
        };
        assert!(is_text(&head("Application/Problem+JSON; charset=utf-8")));
        assert!(is_text(&head("image/svg+xml")));
        assert!(!is_text(&head("image/png")));
        assert!(!is_text(&Head::default()));
    }
}
