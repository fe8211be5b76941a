//! Heads, targets, fields and bodies of HTTP/1.

use flowtap::flow::record::Scheme;
use flowtap::http::body::{BodyLength, BodyReader, FramingError, request_length, response_length};
use flowtap::http::credentials::shows_credentials;
use flowtap::http::field::{Field, FieldKind, FieldLines, has_token};
use flowtap::http::head::{
    HeadError, HeadReader, Parsed, RequestHead, ResponseHead, Version, list_elements, trim_blanks,
    values,
};
use flowtap::http::hops::max_forwards;
use flowtap::http::rewrite::{
    ConnectionField, OutgoingRequest, OutgoingResponse, is_upgrade, keep_alive, write_request,
    write_response,
};
use flowtap::http::target::{Target, host_value, parse_host, parse_target, request_host};
use flowtap::http::websocket::deflate_parameters;
use flowtap::limits::{CHUNK_EXTENSION_BYTES, HEAD_BYTES, HEAD_FIELDS, TRAILER_BYTES};

use super::rfc9112::{self, Chunks, Ends, Head, Reading};

/// A head that comes in pieces parses as the whole and as the second reading has it, and one
/// that is written again parses the same, has the same framing, and comes out the same once more.
pub fn request_head(data: &[u8]) {
    let mut head = RequestHead::default();
    let whole = HeadReader::new().request(data, &mut head);
    let mut pieces = RequestHead::default();
    let mut reader = HeadReader::new();
    let incremental = grow(data, |prefix| reader.request(prefix, &mut pieces));
    assert_eq!(whole.is_err(), incremental.is_err(), "{whole:?} {incremental:?}");
    let second = rfc9112::request_head(data);
    agree(&whole, &second, of_request, |second| {
        let first = [head.method.of(data), head.target.of(data), version_text(head.version)];
        assert_eq!((head.len, first), (second.length, second.start));
        same_fields(&head.fields, data, second);
        let length = request_length(&head, data);
        agree_on_length(length, second.request_ends());
    });
    if whole != Ok(Parsed::Complete) || !has_room(head.len, head.fields.len()) {
        return;
    }
    assert_eq!(incremental, Ok(Parsed::Complete));
    assert_eq!(head, pieces);
    rewrite_request(data, &head);
}

fn rewrite_request(data: &[u8], head: &RequestHead) {
    let Ok(length) = request_length(head, data) else { return };
    let Ok(target) = parse_target(head.method.of(data), head.target.of(data)) else { return };
    let Ok(host) = request_host(head, data, None) else { return };
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
    let outgoing = OutgoingRequest {
        path,
        host,
        body: length,
        upgrade,
        unconditional: false,
        uncoded: false,
        max_forwards: max_forwards(head, data),
    };
    let mut out = Vec::new();
    write_request(&mut out, data, head, &outgoing);

    let mut again = RequestHead::default();
    assert_eq!(HeadReader::new().request(&out, &mut again), Ok(Parsed::Complete));
    assert_eq!((again.start, again.len, again.version), (0, out.len(), Version::Http11));
    assert_eq!(again.method.of(&out), head.method.of(data));
    assert_eq!(again.target.of(&out), path);
    assert_eq!(request_length(&again, &out), Ok(length));
    assert!(request_host(&again, &out, None).is_ok_and(|host| host.is_some()));
    assert_eq!(is_upgrade(&again.fields, &out).is_some(), upgrade);
    let second = rfc9112::request_head(&out);
    assert!(matches!(&second, Reading::Whole(head) if head.request_ends() == ends(length)));
    let mut twice = Vec::new();
    write_request(&mut twice, &out, &again, &OutgoingRequest { host: None, ..outgoing });
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
    let second = rfc9112::response_head(data);
    agree(&whole, &second, of_response, |second| {
        let [version, status, reason] = second.start;
        assert_eq!((head.len, version_text(head.version)), (second.length, version));
        assert_eq!(head.status.to_string().as_bytes(), status);
        assert_eq!(head.reason.of(data), reason);
        same_fields(&head.fields, data, second);
        for method in [&b"GET"[..], b"HEAD", b"CONNECT"] {
            let length = response_length(&head, data, method);
            agree_on_length(length, second.response_ends(method));
        }
    });
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
        let second = rfc9112::response_head(&out);
        let same = |head: &Head<'_>| head.response_ends(method) == ends(length);
        assert!(matches!(&second, Reading::Whole(head) if same(head)));
        let mut twice = Vec::new();
        write_response(&mut twice, &out, &again, &outgoing);
        assert_eq!(out, twice);
    }
}

/// The version in a request line.
fn of_request([_, _, version]: [&[u8]; 3]) -> &[u8] {
    version
}

/// The version in a status line.
fn of_response([version, _, _]: [&[u8]; 3]) -> &[u8] {
    version
}

/// What is accepted here is what the second reading has; what that accepts is refused here only
/// because of a limit or a version, which is the word of the start line that `version` gives.
fn agree(
    whole: &Result<Parsed, HeadError>,
    second: &Reading<Head<'_>>,
    version: fn([&[u8]; 3]) -> &[u8],
    same: impl FnOnce(&Head<'_>),
) {
    use HeadError::{EmptyLines, Http2Preface, RequestLineTooLong, TooLarge, TooManyFields};
    match (whole, second) {
        (Ok(Parsed::Complete), Reading::Whole(second)) => same(second),
        (Ok(Parsed::Complete), _) => panic!("accepted, but {second:?}"),
        (Ok(Parsed::Partial), Reading::Whole(_)) => panic!("awaited, but {second:?}"),
        // What is wrong may be seen only when the blank line is there.
        (Ok(Parsed::Partial), _) => {}
        (Err(_), Reading::Part | Reading::Wrong(_)) => {}
        (Err(TooLarge | TooManyFields | RequestLineTooLong | EmptyLines), _) => {}
        (Err(HeadError::Version | Http2Preface), Reading::Whole(second)) => {
            assert!(![&b"HTTP/1.0"[..], b"HTTP/1.1"].contains(&version(second.start)));
        }
        // The target is not UTF-8, which no URI is.
        (Err(HeadError::RequestLine), Reading::Whole(second)) => {
            assert!(std::str::from_utf8(second.start[1]).is_err(), "{second:?}");
        }
        // A status below 100 is none (RFC 9110 section 15).
        (Err(HeadError::StatusLine), Reading::Whole(second)) => {
            assert!(second.start[1].starts_with(b"0"), "{second:?}");
        }
        (Err(error), Reading::Whole(second)) => panic!("{error:?}, but {second:?}"),
    }
}

/// The framing that is accepted here is that of the second reading; what that accepts is refused
/// here only where others may read it in another way.
fn agree_on_length(length: Result<BodyLength, FramingError>, second: Result<Ends, &'static str>) {
    match (length, second) {
        (Ok(length), second) => assert_eq!(ends(length), second),
        (Err(_), Err(_)) => {}
        // Other codings, and lists with empty elements.
        (Err(FramingError::TransferCoding | FramingError::TransferEncoding), _) => {}
        (Err(FramingError::RepeatedTransferEncoding), _) => {}
        // From 2^63 on.
        (Err(FramingError::ContentLength), Ok(Ends::After(n))) => {
            assert!(i64::try_from(n).is_err())
        }
        // Framing fields are checked where the method or the status says that there is no body.
        (Err(_), Ok(Ends::None)) => {}
        (Err(error), Ok(ends)) => panic!("{error:?}, but {ends:?}"),
    }
}

fn ends(length: BodyLength) -> Result<Ends, &'static str> {
    Ok(match length {
        BodyLength::None => Ends::None,
        BodyLength::Length(length) => Ends::After(length),
        BodyLength::Chunked => Ends::Chunked,
        BodyLength::UntilClose => Ends::WithConnection,
    })
}

fn version_text(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"HTTP/1.0",
        Version::Http11 => b"HTTP/1.1",
    }
}

fn same_fields(fields: &[Field], data: &[u8], second: &Head<'_>) {
    let first = fields.iter().map(|field| (field.name.of(data), field.value.of(data)));
    assert!(first.eq(second.fields.iter().copied()), "{second:?}");
}

/// A chunked body that comes in pieces reads as the whole and as the second reading has it,
/// what waits is bounded, and what was consumed is a body by itself.
pub fn chunked_body(data: &[u8]) {
    let mut whole = Vec::new();
    let mut reader = BodyReader::new(BodyLength::Chunked);
    let result = reader.advance(data, &mut |piece| whole.extend_from_slice(piece));

    let mut pieces = Vec::new();
    let mut waiting = Vec::new();
    let mut consumed = 0;
    let mut slow = BodyReader::new(BodyLength::Chunked);
    let mut slow_error = None;
    for part in data.chunks(data.len() / STEPS + 1) {
        waiting.extend_from_slice(part);
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
        assert!(waiting.len() <= TRAILER_BYTES.max(CHUNK_EXTENSION_BYTES + 18) + part.len());
    }
    assert_eq!(whole, pieces);
    assert_eq!(result.is_err(), slow_error.is_some(), "{result:?} {slow_error:?}");
    agree_on_chunks(&result.map(|progress| (progress.consumed, progress.done)), &whole, data);
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

/// What the second reading takes for a whole body is refused only because of a limit or of a
/// trailer field that has no business there, and is refused for these.
fn agree_on_chunks(first: &Result<(usize, bool), FramingError>, content: &[u8], data: &[u8]) {
    match (first, rfc9112::chunked(data)) {
        (Ok((length, true)), Reading::Whole((second, around, second_length))) => {
            assert_eq!((content, *length), (&*second, second_length));
            assert!(why_not_taken(&around).is_empty(), "accepted: {around:?}");
        }
        (Ok((_, true)), second) => panic!("accepted, but {second:?}"),
        (Ok((_, false)), Reading::Whole(_)) => panic!("awaited, but it is whole"),
        (Ok((_, false)), _) => {}
        (Err(error), Reading::Whole((_, around, _))) => {
            assert!(why_not_taken(&around).contains(error), "{error:?}, but it is whole");
        }
        (Err(_), Reading::Part | Reading::Wrong(_)) => {}
    }
}

/// Why a chunked body that the RFC defines is not taken.
pub(crate) fn why_not_taken(chunks: &Chunks<'_>) -> Vec<FramingError> {
    let digits = |line: &[u8]| line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let is_extended = |line: &&[u8]| line.len() - digits(line) > CHUNK_EXTENSION_BYTES;
    let mut reasons = Vec::new();
    if chunks.lines.iter().any(|line| digits(line) > 16) {
        reasons.push(FramingError::ChunkSize);
    }
    if chunks.lines.iter().any(is_extended) {
        reasons.push(FramingError::ChunkExtension);
    }
    if chunks.trailer_bytes > TRAILER_BYTES {
        reasons.push(FramingError::TrailerTooLarge);
    }
    if chunks.trailers.iter().any(|(name, _)| has_no_place_in_trailers(name)) {
        reasons.push(FramingError::TrailerField);
    }
    reasons
}

/// Fields that change framing, routing, authentication or how the content is processed (RFC 9110
/// section 6.5.1).
fn has_no_place_in_trailers(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let is_framing = matches!(
        &*name,
        "connection"
            | "content-length"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    );
    let is_content = matches!(&*name, "content-encoding" | "content-range" | "content-type");
    let is_control = matches!(&*name, "host" | "expect" | "max-forwards");
    let is_secret = matches!(
        &*name,
        "authorization"
            | "cookie"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "set-cookie"
            | "www-authenticate"
    );
    is_framing || is_content || is_control || is_secret
}

/// Steps in which what comes in pieces comes at most.
const STEPS: usize = 64;

/// Calls `read` with longer and longer beginnings of `data` until it is content or fails.
fn grow<E>(data: &[u8], mut read: impl FnMut(&[u8]) -> Result<Parsed, E>) -> Result<Parsed, E> {
    // Long inputs in longer steps, for the sake of time: their ends fall anywhere as well.
    let step = data.len() / STEPS + 1;
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

/// A target that is accepted holds nothing that others could read in another way, and is the same
/// when it is written again. The first byte chooses the method.
pub fn request_target(data: &[u8]) {
    const METHODS: [&[u8]; 4] = [b"GET", b"CONNECT", b"OPTIONS", b"options"];
    let Some((choice, target)) = data.split_first() else { return };
    let method = METHODS[usize::from(choice & 3)];
    if let Ok(host) = parse_host(target) {
        plain_host(&host.host, host.port);
        for scheme in [Scheme::Http, Scheme::Https] {
            let authority = host.clone().with_scheme(scheme);
            let written = host_value(scheme, &authority);
            let again = parse_host(written.as_bytes()).map(|host| host.with_scheme(scheme));
            assert_eq!(again.as_ref(), Ok(&authority), "{written}");
        }
    }
    let Ok(parsed) = parse_target(method, target) else { return };
    let is_plain = |byte: &u8| *byte > b' ' && *byte != 0x7f && *byte != b'#';
    assert!(target.iter().all(is_plain));
    let written = match &parsed {
        Target::Absolute { scheme, authority, path } => {
            plain_host(&authority.host, Some(authority.port));
            let name = if *scheme == Scheme::Http { "http" } else { "https" };
            let host = host_value(*scheme, authority);
            let path = if **path == *b"*" { &b""[..] } else { path };
            assert!(path.is_empty() || path.starts_with(b"/"));
            assert!(target.ends_with(path) || path == b"/" || path.starts_with(b"/?"));
            [name.as_bytes(), b"://", host.as_bytes(), path].concat()
        }
        Target::Origin(path) => {
            assert_eq!(*path, target);
            path.to_vec()
        }
        Target::Authority(authority) => {
            plain_host(&authority.host, Some(authority.port));
            match authority.host.contains(':') {
                true => format!("[{}]:{}", authority.host, authority.port).into(),
                false => format!("{}:{}", authority.host, authority.port).into(),
            }
        }
        Target::Asterisk => b"*".to_vec(),
    };
    assert_eq!(parse_target(method, &written), Ok(parsed));
}

/// Whether a host can be read in one way only: an address, or a name that nobody takes for one.
fn plain_host(host: &str, port: Option<u16>) {
    assert_ne!(port, Some(0));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return;
    }
    assert!(!host.is_empty() && host.len() < 255, "{host}");
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._~".contains(&b);
    assert!(host.bytes().all(is_plain), "{host}");
    // An IPv4 address in another notation ends in a number (URL Standard section 3.5).
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_hex =
        last.strip_prefix("0x").is_some_and(|it| it.bytes().all(|b| b.is_ascii_hexdigit()));
    assert!(!is_hex && !last.bytes().all(|b| b.is_ascii_digit()), "{host}");
}

/// Values of the fields that a proxy acts on mean the same in a request, in a response and to the
/// second reading. Each line is one of them; its first byte chooses which.
pub fn field_values(data: &[u8]) {
    const NAMES: [&str; 8] = [
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Upgrade",
        "Proxy-Authorization",
        "Sec-WebSocket-Extensions",
        "TE",
        "Host",
    ];
    let mut head = Vec::new();
    for line in data.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        head.extend_from_slice(NAMES[usize::from(line[0] & 7)].as_bytes());
        head.push(b':');
        head.extend_from_slice(&line[1..]);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    for value in data.split(|&b| b == b'\n') {
        let elements: Vec<&[u8]> = list_elements(value).collect();
        assert!(list_elements(&elements.join(&b","[..])).eq(elements.iter().copied()));
        assert!(elements.iter().all(|it| trim_blanks(it) == *it && !it.contains(&b',')));
    }
    for start in ["POST / HTTP/1.1", "POST / HTTP/1.0"] {
        let bytes = [start.as_bytes(), b"\r\n", &head].concat();
        let mut parsed = RequestHead::default();
        let result = HeadReader::new().request(&bytes, &mut parsed);
        let second = rfc9112::request_head(&bytes);
        agree(&result, &second, of_request, |second| {
            agree_on_length(request_length(&parsed, &bytes), second.request_ends());
            same_options(&parsed.fields, parsed.version, &bytes, second);
        });
        let offered = || values(&parsed.fields, &bytes, "Sec-WebSocket-Extensions");
        let agreed = deflate_parameters(offered(), offered());
        assert_eq!(agreed, deflate_parameters(offered().map(trim_blanks), offered()));
        let shown = || values(&parsed.fields, &bytes, "Proxy-Authorization");
        if shows_credentials(shown(), "user:pass") {
            let value = shown().next().unwrap_or_default().to_ascii_lowercase();
            assert!(value.starts_with(b"basic ") && shown().count() == 1);
            assert!(!shows_credentials(shown(), "user:pasS"));
        }
    }
    for start in ["HTTP/1.1 200 OK", "HTTP/1.0 304 ", "HTTP/1.1 101 "] {
        let bytes = [start.as_bytes(), b"\r\n", &head].concat();
        let mut parsed = ResponseHead::default();
        let result = HeadReader::new().response(&bytes, &mut parsed);
        let second = rfc9112::response_head(&bytes);
        agree(&result, &second, of_response, |second| {
            let length = response_length(&parsed, &bytes, b"GET");
            agree_on_length(length, second.response_ends(b"GET"));
            same_options(&parsed.fields, parsed.version, &bytes, second);
        });
    }
}

/// Whether Connection and what hangs on it mean what their elements say.
fn same_options(fields: &FieldLines, version: Version, bytes: &[u8], second: &Head<'_>) {
    let options = second.elements("Connection");
    let says = |option: &str| options.iter().any(|it| it == option.as_bytes());
    for option in ["close", "keep-alive", "upgrade"] {
        assert_eq!(has_token(fields, bytes, FieldKind::Connection, option), says(option));
    }
    let stays = match version {
        Version::Http11 => !says("close"),
        Version::Http10 => says("keep-alive") && !says("close"),
    };
    assert_eq!(keep_alive(version, fields, bytes), stays);
    let upgrades: Vec<&[u8]> = second.values("Upgrade").collect();
    let has_h2c = second.elements("Upgrade").iter().any(|it| it == b"h2c");
    let upgrade = upgrades.first().copied().filter(|_| upgrades.len() == 1);
    let expected = upgrade.filter(|_| says("upgrade") && !has_h2c);
    assert_eq!(is_upgrade(fields, bytes), expected);
}
