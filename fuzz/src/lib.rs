//! What must hold for any bytes. Each function is one fuzz target, panics on a finding, and is
//! replayed over its corpus by `tests/fuzz_corpus.rs`.

pub mod filter;

use flowtap::capture::entry;
use flowtap::capture::frame::{FrameReader, FrameType};
use flowtap::flow::decode::{Caps, Coding, decode};
use flowtap::flow::redact::{MASK, Redactor};
use flowtap::http::body::{BodyLength, BodyReader, request_length, response_length};
use flowtap::http::head::{HeadReader, Parsed, RequestHead, ResponseHead, Version};
use flowtap::http::rewrite::{
    ConnectionField, OutgoingRequest, OutgoingResponse, is_upgrade, write_request, write_response,
};
use flowtap::http::target::{Target, host_value, parse_target, request_host};
use flowtap::http::websocket::{MessageReader, Observed};
use flowtap::limits::{
    CHUNK_EXTENSION_BYTES, CLIENT_HELLO_BYTES, HEAD_BYTES, HEAD_FIELDS, MCP_ID_BYTES, TRAILER_BYTES,
};
use flowtap::mcp::rpc::{self, Incoming, Message, Read, Request};
use flowtap::tls::hello::{Hello, read_client_hello};

/// A head that comes in pieces parses as the whole, and one that is written again parses the
/// same, has the same framing, and comes out the same once more.
pub fn request_head(data: &[u8]) {
    let mut head = RequestHead::default();
    let whole = HeadReader::new().request(data, &mut head);
    let mut pieces = RequestHead::default();
    let mut reader = HeadReader::new();
    let incremental = grow(data, |prefix| reader.request(prefix, &mut pieces));
    assert_eq!(whole.is_err(), incremental.is_err(), "{whole:?} {incremental:?}");
    if whole != Ok(Parsed::Complete) || !has_room(head.len, head.fields.len()) {
        return;
    }
    assert_eq!(incremental, Ok(Parsed::Complete));
    assert_eq!(head, pieces);

    let Ok(length) = request_length(&head, data) else { return };
    let Ok(target) = parse_target(head.method.of(data), head.target.of(data)) else { return };
    let Ok(host) = request_host(&head, data, None) else { return };
    let (path, host) = match &target {
        Target::Absolute { scheme, authority, path } => {
            (&**path, Some(host_value(*scheme, authority)))
        }
        Target::Origin(path) => (*path, host.is_none().then(|| "example.com".into())),
        Target::Asterisk => (&b"*"[..], host.is_none().then(|| "example.com".into())),
        Target::Authority(_) => return,
    };
    let upgrade = is_upgrade(&head.fields, data).is_some();
    let host = host.as_deref().map(str::as_bytes);
    let mut out = Vec::new();
    write_request(
        &mut out,
        data,
        &head,
        &OutgoingRequest {
            path,
            host,
            body: length,
            upgrade,
            unconditional: false,
            uncoded: false,
        },
    );

    let mut again = RequestHead::default();
    assert_eq!(HeadReader::new().request(&out, &mut again), Ok(Parsed::Complete));
    assert_eq!((again.start, again.len, again.version), (0, out.len(), Version::Http11));
    assert_eq!(again.method.of(&out), head.method.of(data));
    assert_eq!(again.target.of(&out), path);
    assert_eq!(request_length(&again, &out), Ok(length));
    assert!(request_host(&again, &out, None).is_ok_and(|host| host.is_some()));
    assert_eq!(is_upgrade(&again.fields, &out).is_some(), upgrade);
    let mut twice = Vec::new();
    let outgoing = OutgoingRequest {
        path,
        host: None,
        body: length,
        upgrade,
        unconditional: false,
        uncoded: false,
    };
    write_request(&mut twice, &out, &again, &outgoing);
    assert_eq!(out, twice);
}

/// The same for responses, to GET and to HEAD.
pub fn response_head(data: &[u8]) {
    let mut head = ResponseHead::default();
    let whole = HeadReader::new().response(data, &mut head);
    let mut pieces = ResponseHead::default();
    let mut reader = HeadReader::new();
    let incremental = grow(data, |prefix| reader.response(prefix, &mut pieces));
    assert_eq!(whole.is_err(), incremental.is_err(), "{whole:?} {incremental:?}");
    if whole != Ok(Parsed::Complete) || !has_room(head.len, head.fields.len()) {
        return;
    }
    assert_eq!(incremental, Ok(Parsed::Complete));
    assert_eq!(head, pieces);

    for method in [&b"GET"[..], b"HEAD"] {
        let Ok(length) = response_length(&head, data, method) else { return };
        let upgrade = is_upgrade(&head.fields, data).is_some();
        let outgoing = OutgoingResponse {
            body: length,
            connection: ConnectionField::Omit,
            upgrade,
            client: Version::Http11,
        };
        let mut out = Vec::new();
        write_response(&mut out, data, &head, &outgoing);
        let mut again = ResponseHead::default();
        assert_eq!(HeadReader::new().response(&out, &mut again), Ok(Parsed::Complete));
        assert_eq!((again.len, again.version), (out.len(), Version::Http11));
        assert_eq!(again.status, head.status);
        assert_eq!(again.reason.of(&out), head.reason.of(data));
        assert_eq!(response_length(&again, &out, method), Ok(length));
        let mut twice = Vec::new();
        write_response(&mut twice, &out, &again, &outgoing);
        assert_eq!(out, twice);
    }
}

/// A chunked body that comes byte by byte reads as the whole, what waits is bounded, and what
/// was consumed is a body by itself.
pub fn chunked_body(data: &[u8]) {
    let mut whole = Vec::new();
    let mut reader = BodyReader::new(BodyLength::Chunked);
    let result = reader.advance(data, &mut |piece| whole.extend_from_slice(piece));

    let mut pieces = Vec::new();
    let mut waiting = Vec::new();
    let mut consumed = 0;
    let mut slow = BodyReader::new(BodyLength::Chunked);
    let mut slow_error = None;
    for byte in data {
        waiting.push(*byte);
        match slow.advance(&waiting, &mut |piece| pieces.extend_from_slice(piece)) {
            Ok(progress) => {
                consumed += progress.consumed;
                waiting.drain(..progress.consumed);
                if progress.done {
                    break;
                }
            }
            Err(error) => {
                slow_error = Some(error);
                break;
            }
        }
        assert!(waiting.len() <= TRAILER_BYTES.max(CHUNK_EXTENSION_BYTES + 18));
    }
    assert_eq!(whole, pieces);
    assert_eq!(result.is_err(), slow_error.is_some(), "{result:?} {slow_error:?}");
    let Ok(progress) = result else { return };
    assert_eq!((progress.consumed, progress.done), (consumed, slow.is_done()));
    assert_eq!(reader.trailers(), slow.trailers());
    assert_eq!(reader.finish().is_ok(), progress.done);

    let mut copy = Vec::new();
    let again = BodyReader::new(BodyLength::Chunked)
        .advance(&data[..consumed], &mut |piece| copy.extend_from_slice(piece));
    assert_eq!(again, Ok(progress));
    assert_eq!(copy, whole);
}

/// Frames that come byte by byte give the same messages and the same error as the whole. The
/// first byte tells whether they are masked and whether permessage-deflate is in force.
pub fn websocket_frames(data: &[u8]) {
    let Some((flags, frames)) = data.split_first() else { return };
    let reader = || MessageReader::new(flags & 1 != 0, flags & 2 != 0);
    let whole = observe(reader(), &[frames]);
    let bytes: Vec<&[u8]> = frames.chunks(1).collect();
    assert_eq!(whole, observe(reader(), &bytes));
    let odd: Vec<&[u8]> = frames.chunks(7).collect();
    assert_eq!(whole, observe(reader(), &odd));
}

fn observe(mut reader: MessageReader, parts: &[&[u8]]) -> Vec<String> {
    let mut seen = Vec::new();
    let mut payload = Vec::new();
    for part in parts {
        let result = reader.advance(part, &mut |observed| match observed {
            Observed::Data(piece) => payload.extend_from_slice(piece),
            Observed::Message { opcode, compressed } => {
                seen.push(format!("{opcode:?} {compressed} {payload:x?}"));
                payload.clear();
            }
            Observed::Control { opcode, payload } => seen.push(format!("{opcode:?} {payload:x?}")),
        });
        if let Err(error) = result {
            seen.push(format!("{error:?}"));
        }
    }
    seen.push(format!("{payload:x?} {}", reader.is_between_messages()));
    seen
}

/// Calls `read` with longer and longer beginnings of `data` until it is content or fails.
fn grow<E>(data: &[u8], mut read: impl FnMut(&[u8]) -> Result<Parsed, E>) -> Result<Parsed, E> {
    // Long inputs in longer steps, for the sake of time.
    let step = data.len() / 1_024 + 1;
    let mut length = 0;
    loop {
        length = data.len().min(length + step);
        let result = read(&data[..length]);
        if !matches!(result, Ok(Parsed::Partial)) || length == data.len() {
            return result;
        }
    }
}

/// Whether fields can be added without crossing a limit.
fn has_room(length: usize, fields: usize) -> bool {
    length + 1_024 < HEAD_BYTES && fields + 3 <= HEAD_FIELDS
}

/// A ClientHello that is read from its first half, if it can be, is the one of the whole; what
/// is read of it is of use to the proxy.
pub fn client_hello(data: &[u8]) {
    let whole = read_client_hello(data);
    match read_client_hello(data.get(..data.len() / 2).unwrap_or_default()) {
        Hello::Partial => {}
        // More bytes change no verdict.
        decided => assert_eq!(decided, whole),
    }
    match whole {
        Hello::Partial => assert!(data.len() < CLIENT_HELLO_BYTES),
        Hello::NotTls => assert_ne!(data.first(), Some(&0x16)),
        Hello::ClientHello(hello) => {
            assert!(hello.server_name.is_none_or(|name| name.is_ascii() && !name.is_empty()));
            assert!(hello.alpn.iter().all(|protocol| !protocol.is_empty()));
        }
        Hello::Malformed(why) => assert!(!why.is_empty()),
    }
}

/// No body decodes to more than the caps allow. The first byte chooses the codings.
pub fn decode_body(data: &[u8]) {
    const CODINGS: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];
    let Some((choice, mut body)) = data.split_first() else { return };
    let stack = [CODINGS[usize::from(choice & 3)], CODINGS[usize::from(choice >> 2 & 3)]];
    let stack = if choice & 16 == 0 { &stack[..1] } else { &stack[..] };
    let caps = Caps { bytes: 1 << 20, ratio: 200, free_bytes: 1 << 16 };
    let mut out = Vec::new();
    let _ = decode(stack, &mut body, &mut out, caps);
    assert!(out.len() <= 1 << 20);
}

/// A journal file of any bytes is read to its end or to its damage.
pub fn journal_frames(data: &[u8]) {
    let mut frames = FrameReader::new(data);
    while let Ok(Some((kind, payload))) = frames.next_frame() {
        match kind {
            FrameType::Segment => drop(entry::SegmentHeader::take(payload)),
            FrameType::Exchange => drop(entry::take_exchange(payload)),
            FrameType::WebSocketOpen => drop(entry::take_open(payload)),
            FrameType::WebSocketClose => drop(entry::take_close(payload)),
            FrameType::WebSocketGap => drop(entry::take_gap(payload)),
            _ => {}
        }
    }
    // Checksums keep most of the fuzzer's bytes from the payloads, so these are tried bare.
    let _ = entry::take_exchange(data);
    let _ = entry::take_open(data);
    let _ = entry::take_message(data);
}

/// Whatever a client sends is messages or an error with a code, and ids come back as they came.
pub fn json_rpc(data: &[u8]) {
    let one = |read: &Read| match read {
        Ok(Message::Request(request)) => {
            let reply = rpc::result(&request.id, "{}");
            assert!(!reply.contains(['\n', '\u{2028}']));
            if reply.len() > MCP_ID_BYTES {
                // Escaped, an id may be longer than any that is taken.
                return;
            }
            let again = format!("{},\"method\":\"m\"}}", &reply[..reply.len() - 13]);
            let (id, method) = (request.id.clone(), "m".into());
            let same = Ok(Message::Request(Request { id, method, params: Default::default() }));
            assert_eq!(rpc::read(again.as_bytes()), Ok(Incoming::One(same)), "{reply}");
        }
        Ok(_) => {}
        Err(rejected) => assert!([-32600, -32602].contains(&rejected.error.code)),
    };
    match rpc::read(data) {
        Ok(Incoming::One(read)) => one(&read),
        Ok(Incoming::Batch(batch)) => {
            assert!(!batch.is_empty());
            batch.iter().for_each(one);
        }
        Err(error) => assert!([-32700, -32600].contains(&error.code)),
    }
}

/// JSON stays JSON, and stays as it is when it is masked again; a secret that stands beside any
/// other text is masked.
pub fn redact(data: &[u8]) {
    const SECRET: &str = "Pl4ntedS3cret";
    let redactor = Redactor::default();
    let text = String::from_utf8_lossy(data);
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    for media_type in ["application/json", "text/html", "application/x-www-form-urlencoded", ""] {
        let masked = redactor.text(media_type, &text);
        if is_json(&text) && matches!(media_type, "application/json" | "") {
            assert!(is_json(&masked), "{text:?}");
            assert_eq!(redactor.text(media_type, &masked), masked, "{text:?}");
        }
    }
    let beside = serde_json::json!({ "a": text, "client_secret": SECRET, "b": [text] });
    let masked = redactor.text("application/json", &beside.to_string()).into_owned();
    let read: serde_json::Value = serde_json::from_str(&masked).unwrap_or_default();
    assert!(read["client_secret"] == MASK || text.contains(SECRET), "{masked:?}");
    let mut in_memory = beside;
    redactor.json(&mut in_memory);
    assert_eq!(in_memory["client_secret"], MASK);

    for masked in [redactor.url(&text), redactor.header("Cookie", &text), redactor.head(&text)] {
        assert!(masked.len() <= 4 * text.len() + MASK.len(), "{text:?}");
    }
    let _ = redactor.bytes("", data);
}
