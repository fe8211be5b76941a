//! What is shown of flows of all kinds.

use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use crate::flow::record::{Authority, FlowId, Intervention, Scheme, Timing};
use crate::flow::stored::{FlowState, StoredWebSocketMessage};

fn message(head: &str, body: &[u8]) -> StoredMessage {
    StoredMessage {
        head: Bytes::copy_from_slice(head.as_bytes()),
        body: StoredBody::whole(Bytes::copy_from_slice(body)),
        trailers: Bytes::new(),
    }
}

fn flow(request: &str, response: Option<StoredMessage>) -> StoredFlow {
    StoredFlow {
        id: FlowId(1),
        state: FlowState::Ended,
        scheme: Scheme::Https,
        target: Some(Arc::new(Authority { host: "a.example".into(), port: 443 })),
        client: SocketAddr::from(([127, 0, 0, 1], 5)),
        client_tls: None,
        upstream: None,
        request: message(request, b""),
        response,
        timing: Timing { total_us: 34_000, ..Timing::default() },
        error: None,
        intervention: Intervention::default(),
        held_since_us: 0,
        websocket: None,
    }
}

const REQUEST: &str = "GET /p?q=1 HTTP/1.1\r\nHost: a.example\r\nX: 1\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";

fn usual() -> StoredFlow {
    flow(REQUEST, Some(message(RESPONSE, b"one\ntwo\n")))
}

fn shown_in(flow: &StoredFlow, style: LineStyle) -> String {
    let mut out = Vec::new();
    write_flow(flow, style, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn shown(flow: &StoredFlow, detail: u8) -> String {
    shown_in(flow, LineStyle { detail, width: 0, colour: false })
}

/// A line whose URL is padded where it goes to a file.
fn line(before: &str, after: &str) -> String {
    format!("{before:<73}  {after}\n")
}

#[test]
fn each_level_shows_more() {
    let line = line("GET https://a.example/p?q=1", "200         8 B   34.0 ms");
    assert_eq!(line.chars().count(), 101);
    let fields =
        "    Host: a.example\n    X: 1\n << HTTP/1.1 200 OK\n    Content-Type: text/plain\n";
    let body = "\n    one\n    two\n\n";
    assert_eq!(shown(&usual(), 0), "");
    assert_eq!(shown(&usual(), 1), line);
    assert_eq!(shown(&usual(), 2), format!("{line}{fields}"));
    assert_eq!(shown(&usual(), 3), format!("{line}{fields}{body}"));
    assert_eq!(shown(&usual(), 4), format!("{line}{fields}{body}"));
}

#[test]
fn the_line_fits_the_terminal() {
    let style = |width, colour| LineStyle { detail: 1, width, colour };
    let cut = shown_in(&usual(), style(52, false));
    assert_eq!(cut, "GET https://a.example/p?…  200         8 B   34.0 ms\n");
    assert_eq!(cut.trim_end().chars().count(), 52);
    let whole = shown_in(&usual(), style(56, false));
    assert_eq!(whole, "GET https://a.example/p?q=1    200         8 B   34.0 ms\n");
    let narrow = shown_in(&usual(), style(5, false));
    assert_eq!(narrow, "GET https://a.examp…  200         8 B   34.0 ms\n");
    let coloured = shown_in(&usual(), style(5, true));
    let expected = "GET https://a.examp…  \x1b[32m200\x1b[0m         8 B   34.0 ms\n";
    assert_eq!(coloured, expected);
}

#[test]
fn lines_are_aligned_whatever_they_tell() {
    let mut large = usual();
    large.response.as_mut().unwrap().body.size = 123_456_789;
    large.timing.total_us = 61_500_000;
    let failed = flow("DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n", None);
    for width in [0, 80] {
        let style = LineStyle { detail: 1, width, colour: false };
        let columns = |flow: &StoredFlow| shown_in(flow, style).chars().count();
        assert_eq!(columns(&usual()), if width == 0 { 101 } else { 81 });
        assert_eq!((columns(&large), columns(&failed)), (columns(&usual()), columns(&usual())));
    }
    let long = flow(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(200)), None);
    assert!(shown(&long, 1).contains(&"x".repeat(200)));
}

#[test]
fn failures_and_replays_are_told() {
    let mut failed = flow(REQUEST, None);
    failed.error = Some("connection\x1b refused".into());
    failed.intervention.replayed = true;
    assert_eq!(
        shown(&failed, 1),
        line("[replay] GET https://a.example/p?q=1", "  -               34.0 ms")
            + " !! connection\\x1b refused\n"
    );
    let nothing = line("- https://a.example", "  -               34.0 ms");
    assert_eq!(shown(&flow("", None), 1), nothing);
}

#[test]
fn nothing_from_outside_drives_the_terminal() {
    let request = "G\x1b[2JET /\u{202e}\x07 HTTP/1.1\r\nH\x1b: \x1b]0;t\x07\r\n\r\n";
    let mut odd =
        flow(request, Some(message("HTTP/1.1 200 \x1bc\r\nA: \x08\r\n\r\n", b"\x1b[31m\r\nx\x7f")));
    let trailers = Bytes::from_static(b"T: \x1b\r\n");
    odd.response.as_mut().unwrap().trailers = trailers;
    let all = shown(&odd, 4);
    let drives = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!all.contains(drives), "{all:?}");
    assert!(all.contains("    \\x1b[31m\n    x\\x7f\n") && all.contains("    T: \\x1b\n"), "{all}");
}

#[test]
fn bodies_are_decoded_and_cut_at_level_three() {
    let long = "é".repeat(PRINTED_BODY_BYTES);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(long.as_bytes()).unwrap();
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
    let mut coded = flow(REQUEST, Some(message(head, &encoder.finish().unwrap())));
    let cut = shown(&coded, 3);
    assert!(cut.contains(&format!("    {}\n", "é".repeat(PRINTED_BODY_BYTES / 2))), "{cut}");
    assert!(cut.contains("(more is shown with flow_detail 4)"));
    let whole = shown(&coded, 4);
    assert!(whole.contains(&format!("    {long}\n\n")) && !whole.contains("more is shown"));
    // In two pieces, of which the second was not kept whole.
    let body = &mut coded.response.as_mut().unwrap().body;
    let bytes = body.pieces.remove(0);
    body.pieces = vec![bytes.slice(..10), bytes.slice(10..bytes.len() - 9)];
    assert!(shown(&coded, 4).contains("were kept)"));
}

#[test]
fn a_character_that_the_cut_divides_is_left_out() {
    let body = format!("x{}", "é".repeat(PRINTED_BODY_BYTES));
    let long = flow(REQUEST, Some(message(RESPONSE, body.as_bytes())));
    let kept = "é".repeat((PRINTED_BODY_BYTES - 1) / 2);
    assert!(shown(&long, 3).contains(&format!("    x{kept}\n    (more")));
}

#[test]
fn what_is_no_text_is_told_by_its_size() {
    let of = |head: &str, body: &[u8]| shown(&flow(REQUEST, Some(message(head, body))), 4);
    assert!(of(RESPONSE, b"\x89PNG\0\0").contains("    (6 B of binary data)\n"));
    assert!(of(RESPONSE, &[0xff; 100]).contains("(100 B of binary data)"));
    let latin = [b"a caf\xe9, and some more of it".as_slice(), b" "].concat();
    assert!(of(RESPONSE, &latin).contains("    a café, and some more of it \n"));
    let odd = "HTTP/1.1 200 OK\r\nContent-Encoding: x\r\n\r\n";
    assert!(of(odd, b"abc").contains("(not decoded: the content coding is not known)"));
    let gzip = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
    assert!(of(gzip, b"abc").contains("(not all is decoded: "));
}

#[test]
fn a_body_that_was_not_kept_says_so() {
    let mut cut = usual();
    cut.response.as_mut().unwrap().body.size = 5_000;
    assert!(shown(&cut, 3).contains("    two\n    (cut: 8 B of 4.9 KiB were kept)\n"));
}

#[test]
fn websockets_show_their_messages() {
    let message = |direction, opcode, payload: &'static [u8], size| {
        let payload = Bytes::from_static(payload);
        Arc::new(StoredWebSocketMessage { direction, opcode, time_us: 0, payload, size })
    };
    let messages = vec![
        message(Direction::Send, Opcode::Text, b"hi\x1b", 3),
        message(Direction::Receive, Opcode::Binary, b"\0\x01", 2),
        message(Direction::Receive, Opcode::Text, b"long", 9),
    ];
    let head = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    let mut socket = flow("GET /s HTTP/1.1\r\nHost: a\r\n\r\n", Some(self::message(head, b"")));
    socket.websocket = Some(Arc::new(StoredWebSocket { messages, left_out: 1 }));
    let line = line("GET wss://a/s", "101  4 messages   34.0 ms");
    assert_eq!(shown(&socket, 1), line);
    let messages = "    (kept no more: 1 earlier message)\n -> text 3 B\n    hi\\x1b\n \
                    <- binary 2 B\n <- text 9 B\n    long\n    (cut)\n";
    assert!(shown(&socket, 3).ends_with(messages), "{}", shown(&socket, 3));
}
