use super::*;
use crate::http::body::{request_length, response_length};
use crate::http::head::{HeadReader, Parsed};

/// The field lines of a request as they go upstream.
fn request(fields: &str, host: Option<&str>, upgrade: bool) -> String {
    let text = format!("POST http://a/b HTTP/1.1\r\n{fields}\r\n");
    let buf = text.as_bytes();
    let mut head = RequestHead::default();
    assert_eq!(HeadReader::new().request(buf, &mut head), Ok(Parsed::Complete), "{text:?}");
    let body = request_length(&head, buf).expect(&text);
    let host = host.map(str::as_bytes);
    let mut out = Vec::new();
    write_request(
        &mut out,
        buf,
        &head,
        &OutgoingRequest {
            path: b"/b",
            host,
            body,
            upgrade,
            unconditional: false,
            uncoded: false,
            max_forwards: None,
        },
    );
    let out = String::from_utf8(out).unwrap();
    let fields = out.strip_prefix("POST /b HTTP/1.1\r\n").expect(&out);
    fields.strip_suffix("\r\n").expect(&out).to_owned()
}

/// The head of a response to GET as it goes to a client.
fn response(text: &str, client: Version, connection: ConnectionField, upgrade: bool) -> String {
    let text = format!("{text}\r\n");
    let buf = text.as_bytes();
    let mut head = ResponseHead::default();
    assert_eq!(HeadReader::new().response(buf, &mut head), Ok(Parsed::Complete), "{text:?}");
    let body = match (response_length(&head, buf, b"GET").expect(&text), client) {
        (BodyLength::Chunked, Version::Http10) => BodyLength::UntilClose,
        (body, _) => body,
    };
    let mut out = Vec::new();
    write_response(&mut out, buf, &head, &OutgoingResponse { body, connection, upgrade, client });
    let out = String::from_utf8(out).unwrap();
    out.strip_suffix("\r\n").expect(&out).to_owned()
}

#[test]
fn end_to_end_fields_pass_verbatim_and_in_order() {
    let fields = "x-B:  1\r\nHOST: a\r\nX-a: 2\r\nX-B: 3\r\nEmpty:\r\nExpect: 100-continue\r\n\
                  CONTENT-length: 007\r\nCookie: a=b; c\r\n";
    let expected = fields.replace(":  1", ": 1").replace("Empty:", "Empty: ");
    // Framing is our own: octal to nobody.
    let expected = expected.replace(": 007", ": 7");
    assert_eq!(request(fields, None, false), expected);
}

#[test]
fn host_is_replaced_in_place_or_added_first() {
    for (fields, host, expected) in [
        ("A: 1\r\nhost: x\r\nB: 2\r\n", Some("a"), "A: 1\r\nhost: a\r\nB: 2\r\n"),
        ("A: 1\r\n", Some("a"), "Host: a\r\nA: 1\r\n"),
        ("A: 1\r\nHost: X\r\n", None, "A: 1\r\nHost: X\r\n"),
    ] {
        assert_eq!(request(fields, host, false), expected);
    }
}

#[test]
fn hop_by_hop_fields_stay_here() {
    for (fields, expected) in [
        ("Connection: close\r\n", ""),
        ("Connection: X-One, x-TWO\r\nX-Two: 2\r\nX-ONE: 1\r\nX-Three: 3\r\n", "X-Three: 3\r\n"),
        ("X-One: 1\r\nConnection: a\r\nconnection: x-one\r\n", ""),
        ("Proxy-Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", ""),
        ("Proxy-Authorization: Basic eDp5\r\n", ""),
        ("TE: gzip\r\nConnection: TE\r\n", ""),
        ("TE: gzip, Trailers\r\nA: 1\r\n", "A: 1\r\nTE: trailers\r\nConnection: TE\r\n"),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", ""),
        ("Upgrade: h2c\r\nHTTP2-Settings: AA\r\nConnection: Upgrade, HTTP2-Settings\r\n", ""),
        ("Proxy-Authenticate: Basic\r\n", "Proxy-Authenticate: Basic\r\n"),
    ] {
        assert_eq!(
            request(&format!("Host: a\r\n{fields}"), None, false),
            format!("Host: a\r\n{expected}")
        );
    }
}

#[test]
fn protected_fields_cannot_be_nominated_away() {
    for field in [
        "Host: a",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Content-Type: text/plain",
        "Authorization: x",
        "Cookie: a=b",
        "X-Forwarded-For: 1.2.3.4",
        "Origin: null",
    ] {
        let name = field.split(':').next().unwrap();
        let fields = format!("{field}\r\nConnection: close, {name}\r\n");
        assert_eq!(request(&fields, None, false), format!("{field}\r\n"));
    }
}

#[test]
fn chunked_framing_keeps_its_place_and_gets_one_value() {
    let fields = "A: 1\r\ntransfer-encoding: CHUNKED\r\nTrailer: X\r\nB: 2\r\n";
    let expected = "A: 1\r\ntransfer-encoding: chunked\r\nTrailer: X\r\nB: 2\r\n";
    assert_eq!(request(fields, None, false), expected);
}

#[test]
fn framing_follows_the_body_that_goes_out() {
    let text = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nB: 2\r\n\r\n";
    let mut head = RequestHead::default();
    HeadReader::new().request(text, &mut head).unwrap();
    for (body, expected) in [
        (BodyLength::Length(5), "Content-Length: 5\r\nB: 2\r\n"),
        (BodyLength::Length(7), "Content-Length: 7\r\nB: 2\r\n"),
        (BodyLength::Chunked, "B: 2\r\nTransfer-Encoding: chunked\r\n"),
        (BodyLength::None, "B: 2\r\n"),
    ] {
        let outgoing = OutgoingRequest {
            path: b"/",
            host: None,
            body,
            upgrade: false,
            unconditional: false,
            uncoded: false,
            max_forwards: None,
        };
        let mut out = Vec::new();
        write_request(&mut out, text, &head, &outgoing);
        let expected = format!("POST / HTTP/1.1\r\nHost: a\r\n{expected}\r\n");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn upgrade_passes_when_wanted_but_never_h2c() {
    for (fields, expected) in [
        (
            "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
            "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        ),
        (
            "TE: trailers\r\nUpgrade: websocket\r\n",
            "Upgrade: websocket\r\nTE: trailers\r\nConnection: Upgrade, TE\r\n",
        ),
        ("Upgrade: websocket, H2C\r\n", "Connection: Upgrade\r\n"),
    ] {
        assert_eq!(request(fields, None, true), expected);
    }
}

#[test]
fn responses_are_rewritten_for_their_client() {
    use ConnectionField::{Close, KeepAlive, Omit};
    use Version::{Http10, Http11};
    for (text, client, connection, expected) in [
        (
            "HTTP/1.0 200 Fine\r\nA: 1\r\nContent-Length: 02\r\nConnection: keep-alive\r\n",
            Http11,
            Omit,
            "HTTP/1.1 200 Fine\r\nA: 1\r\nContent-Length: 2\r\n",
        ),
        ("HTTP/1.1 200\r\n", Http11, Close, "HTTP/1.1 200 \r\nConnection: close\r\n"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nKeep-Alive: a\r\n",
            Http11,
            Omit,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n",
            Http10,
            Close,
            "HTTP/1.1 200 OK\r\nConnection: close\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n",
            Http10,
            KeepAlive,
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n",
            Http11,
            Omit,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n",
            Http11,
            Omit,
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n",
        ),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nDate: x\r\n",
            Http11,
            Omit,
            "HTTP/1.1 204 No Content\r\nDate: x\r\n",
        ),
        (
            "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n",
            Http11,
            Omit,
            "HTTP/1.1 407 Auth\r\nContent-Length: 0\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nUpgrade: h2,h2c\r\nConnection: Upgrade, Set-Cookie, X\r\n\
             Set-Cookie: a\r\nX: 1\r\nContent-Length: 0\r\n",
            Http11,
            Omit,
            "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nContent-Length: 0\r\n",
        ),
    ] {
        assert_eq!(response(text, client, connection, false), expected);
    }
}

#[test]
fn a_demand_for_an_upgrade_names_it_and_no_other() {
    use ConnectionField::{Close, KeepAlive, Omit};
    for (fields, connection, expected) in [
        ("Upgrade: TLS/1.3\r\n", Omit, "Upgrade: TLS/1.3\r\nConnection: Upgrade\r\n"),
        ("Upgrade: h2c\r\n", Omit, "Upgrade: h2c\r\nConnection: Upgrade\r\n"),
        (
            "Upgrade: a/1\r\nConnection: Upgrade\r\nUpgrade: h2c, b/1\r\n",
            Close,
            "Upgrade: a/1\r\nUpgrade: h2c, b/1\r\nConnection: Upgrade, close\r\n",
        ),
        ("Upgrade: a/1\r\n", KeepAlive, "Upgrade: a/1\r\nConnection: Upgrade, keep-alive\r\n"),
        ("Connection: Upgrade\r\n", Omit, ""),
        ("", Close, "Connection: close\r\n"),
        ("", KeepAlive, "Connection: keep-alive\r\n"),
    ] {
        let start = "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n";
        let got = response(&format!("{start}{fields}"), Version::Http11, connection, true);
        assert_eq!(got, format!("{start}{expected}"), "{fields:?}");
    }
}

#[test]
fn switching_protocols_keeps_its_upgrade() {
    let text = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Accept: x\r\n";
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: x\r\nConnection: Upgrade\r\n";
    assert_eq!(response(text, Version::Http11, ConnectionField::Omit, true), expected);
}

#[test]
fn upgrades_are_recognised() {
    for (fields, expected) in [
        ("Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n", Some("WebSocket")),
        ("Upgrade: other/1\r\nConnection: Upgrade\r\n", Some("other/1")),
        ("Upgrade: websocket\r\n", None),
        ("Connection: Upgrade\r\n", None),
        ("Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n", None),
        ("Upgrade: a\r\nUpgrade: b\r\nConnection: Upgrade\r\n", None),
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = RequestHead::default();
        HeadReader::new().request(text.as_bytes(), &mut head).unwrap();
        let upgrade = is_upgrade(&head.fields, text.as_bytes());
        assert_eq!(upgrade, expected.map(str::as_bytes), "{text:?}");
    }
}

#[test]
fn persistence_follows_version_and_options() {
    for (line, fields, expected) in [
        ("GET / HTTP/1.1", "", true),
        ("GET / HTTP/1.1", "Connection: x, CLOSE\r\n", false),
        ("GET / HTTP/1.0", "", false),
        ("GET / HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("GET / HTTP/1.0", "Connection: keep-alive\r\nConnection: close\r\n", false),
    ] {
        let text = format!("{line}\r\n{fields}\r\n");
        let mut head = RequestHead::default();
        HeadReader::new().request(text.as_bytes(), &mut head).unwrap();
        assert_eq!(keep_alive(head.version, &head.fields, text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn the_time_that_a_connection_is_kept_is_read() {
    for (fields, expected) in [
        ("", None),
        ("Keep-Alive: timeout=5\r\n", Some(5)),
        ("Keep-Alive: max=100, TimeOut = 15\r\n", Some(15)),
        ("Keep-Alive: timeout=0\r\n", Some(0)),
        ("Keep-Alive: timeout=9, timeout=7\r\nKeep-Alive: timeout=8\r\n", Some(7)),
        ("Keep-Alive: timeout=18446744073709551615\r\n", Some(u64::MAX)),
        ("Keep-Alive: timeout=18446744073709551616\r\n", None),
        ("Keep-Alive: timeout=x, timeout=3\r\n", Some(3)),
        ("Keep-Alive: timeout\r\nKeep-Alive: timeout=\r\n", None),
        ("Keep-Alive: timeout=-1, timeout=+1, timeout=1.5, timeouts=1, time=1\r\n", None),
        ("Keep-Alive: 5\r\nKeep-Alive: \u{e9}imeout=5, \u{e9}\r\n", None),
        ("X-Keep-Alive: timeout=5\r\n", None),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let mut head = ResponseHead::default();
        HeadReader::new().response(text.as_bytes(), &mut head).unwrap();
        let stated = keep_alive_timeout(&head.fields, text.as_bytes());
        assert_eq!(stated, expected.map(Duration::from_secs), "{text:?}");
    }
}

#[test]
fn known_fields_are_found_under_their_length() {
    for name in [
        "TE",
        "Connection",
        "Keep-Alive",
        "HTTP2-Settings",
        "Proxy-Connection",
        "Upgrade",
        "Transfer-Encoding",
        "Content-Length",
        "Host",
        "Trailer",
        "Proxy-Authenticate",
        "Proxy-Authentication-Info",
        "Proxy-Authorization",
        "Authorization",
        "Cache-Control",
        "Content-Encoding",
        "Content-Range",
        "Content-Type",
        "Cookie",
        "Set-Cookie",
        "Date",
        "ETag",
        "Expect",
        "Forwarded",
        "Location",
        "Origin",
        "Range",
        "Vary",
        "WWW-Authenticate",
        "X-Forwarded-For",
    ] {
        assert!(
            FieldKind::of(name.to_ascii_lowercase().as_bytes()) != FieldKind::EndToEnd,
            "{name}"
        );
    }
    assert!(FieldKind::of(b"Hosts") == FieldKind::EndToEnd);
}
