//! Limits, seen from outside.

use flowtap::limits::{
    CHUNK_EXTENSION_BYTES, HEAD_BYTES, HEAD_FIELDS, INTERIM_RESPONSES, REQUEST_LINE_BYTES,
    TRAILER_BYTES,
};
use rustix::process::Signal;

use crate::support::client::{Client, End};
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::{get, read_head};

/// What a client gets for a reply, and the trace of it.
fn through(reply: String) -> (String, serde_json::Value) {
    let origin = Origin::answers_and_closes(reply);
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    client.finish();
    (client.rest(), tap.stop().bundle.only_trace())
}

#[test]
fn response_heads_that_are_too_large_are_502() {
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
    for (what, reply) in [
        ("a large field", head(&format!("X: {}\r\n", "x".repeat(70_000)))),
        ("many fields", head(&"a: b\r\n".repeat(1_001))),
        ("no end", "x".repeat(70_000)),
    ] {
        let (got, trace) = through(reply);
        assert!(got.starts_with("HTTP/1.1 502 "), "{what}: {:?}", got.get(..100));
        assert!(trace["error"].is_string(), "{what}");
    }
}

#[test]
fn endless_interim_responses_are_502() {
    let (got, trace) = through("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17));
    let last = got.split("HTTP/1.1 ").last().unwrap();
    assert!(last.starts_with("502 "), "{last}");
    assert!(trace["error"].as_str().unwrap().contains("interim"), "{trace}");
}

#[test]
fn endless_chunk_extensions_and_trailers_cut_the_response() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    for (what, rest) in [
        ("extension", format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(5_000))),
        ("trailers", format!("0\r\nX: {}\r\n\r\n", "x".repeat(17_000))),
    ] {
        let (got, trace) = through(format!("{head}{rest}"));
        let Some((_, body)) = got.split_once("\r\n\r\n") else { panic!("{what}: {got:?}") };
        assert!(!body.ends_with("\r\n\r\n"), "{what} was completed");
        assert!(trace["error"].is_string(), "{what}: {trace}");
    }
}

/// Sends a message in two pieces, the second of which is its last byte.
fn in_two(client: &mut Client, message: &str) {
    let (first, last) = message.as_bytes().split_at(message.len() - 1);
    // A proxy that has seen enough takes nothing more.
    let _ = client.try_send(first) && client.try_send(last);
}

/// A head of this start line and fields, as long as that with one more.
fn filled(line: &str, fields: &str, length: usize) -> String {
    let rest = length - format!("{line}\r\n{fields}X: \r\n\r\n").len();
    format!("{line}\r\n{fields}X: {}\r\n\r\n", "x".repeat(rest))
}

const ENDED_BY: &str = "Transfer-Encoding: chunked\r\n";

fn with_extension(bytes: usize) -> String {
    format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(bytes - 1))
}

fn with_trailers(bytes: usize) -> String {
    format!("0\r\nX: {}\r\n\r\n", "t".repeat(bytes - "X: \r\n\r\n".len()))
}

#[test]
fn requests_pass_up_to_each_limit_and_not_beyond() {
    let origin = Origin::start(|_, stream| {
        let head = read_head(stream);
        // What is cut has no end, and gets no answer.
        let chunked = String::from_utf8_lossy(&head).contains("chunked");
        if !chunked || read_head(stream).ends_with(b"\r\n\r\n") {
            stream.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let to = origin.addr;
    let host = format!("Host: {to}\r\n");
    let line = |length: usize| {
        let frame = format!("GET http://{to}/ HTTP/1.1").len();
        format!("GET http://{to}/{} HTTP/1.1", "l".repeat(length - frame))
    };
    let fields =
        |count: usize| format!("{}\r\n{host}{}\r\n", line(50), "a: b\r\n".repeat(count - 1));
    let chunked =
        |body: String| format!("POST http://{to}/ HTTP/1.1\r\n{host}{ENDED_BY}\r\n{body}");
    let tap = Flowtap::start(&[]);
    for (what, status, at, beyond) in [
        (
            "a head",
            431,
            filled(&line(50), &host, HEAD_BYTES),
            filled(&line(50), &host, HEAD_BYTES + 1),
        ),
        ("fields", 431, fields(HEAD_FIELDS), fields(HEAD_FIELDS + 1)),
        (
            "a URL",
            414,
            format!("{}\r\n{host}\r\n", line(REQUEST_LINE_BYTES)),
            format!("{}\r\n{host}\r\n", line(REQUEST_LINE_BYTES + 1)),
        ),
        (
            "an extension",
            400,
            chunked(with_extension(CHUNK_EXTENSION_BYTES)),
            chunked(with_extension(CHUNK_EXTENSION_BYTES + 1)),
        ),
        (
            "trailers",
            400,
            chunked(with_trailers(TRAILER_BYTES)),
            chunked(with_trailers(TRAILER_BYTES + 1)),
        ),
    ] {
        let mut client = Client::connect(tap.addr);
        in_two(&mut client, &at);
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{what} at the limit: {head}");
        let mut client = Client::connect(tap.addr);
        in_two(&mut client, &beyond);
        let got = client.rest();
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {got:?}");
        assert!(got.contains("\r\nConnection: close\r\n"), "{what}: {got}");
    }
}

#[test]
fn responses_pass_up_to_each_limit_and_not_beyond() {
    let ok = "HTTP/1.1 200 OK";
    let close = "Connection: close\r\nContent-Length: 0\r\n";
    let fields = |count: usize| format!("{ok}\r\n{close}{}\r\n", "a: b\r\n".repeat(count - 2));
    let interim = |count: usize| {
        format!("{}{ok}\r\n{close}\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(count))
    };
    let chunked = |body: String| format!("{ok}\r\n{ENDED_BY}\r\n{body}");
    for (what, at, beyond) in [
        ("a head", filled(ok, close, HEAD_BYTES), filled(ok, close, HEAD_BYTES + 1)),
        ("fields", fields(HEAD_FIELDS), fields(HEAD_FIELDS + 1)),
        ("interim responses", interim(INTERIM_RESPONSES), interim(INTERIM_RESPONSES + 1)),
        (
            "an extension",
            chunked(with_extension(CHUNK_EXTENSION_BYTES)),
            chunked(with_extension(CHUNK_EXTENSION_BYTES + 1)),
        ),
        (
            "trailers",
            chunked(with_trailers(TRAILER_BYTES)),
            chunked(with_trailers(TRAILER_BYTES + 1)),
        ),
    ] {
        let (got, trace) = through(at);
        assert!(trace["error"].is_null(), "{what} at the limit: {trace}");
        assert!(got.split("HTTP/1.1 ").last().unwrap().starts_with("200 "), "{what}: {got:?}");
        let is_cut = beyond.contains("chunked");
        let (got, trace) = through(beyond);
        let last = got.split("HTTP/1.1 ").last().unwrap();
        let expected = if is_cut { "200 " } else { "502 " };
        assert!(last.starts_with(expected), "{what}: {got:?}");
        assert!(trace["error"].is_string(), "{what}: {trace}");
        assert!(!is_cut || !got.ends_with("0\r\n\r\n"), "{what} was completed");
    }
}

#[test]
fn a_response_beyond_body_size_limit_never_looks_whole() {
    let body = "y".repeat(30_000);
    let chunked =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7530\r\n{body}\r\n0\r\n\r\n");
    let until_close = format!("HTTP/1.1 200 OK\r\n\r\n{body}");
    let tap = Flowtap::start(&["--set", "body_size_limit=10"]);
    for (what, reply, version) in [
        ("chunks", &chunked, "1.1"),
        ("chunks for HTTP/1.0", &chunked, "1.0"),
        ("until the close", &until_close, "1.1"),
    ] {
        let origin = Origin::answers_and_closes(reply.as_str());
        let mut client = Client::connect(tap.addr);
        let to = origin.addr;
        client.send(format!("GET http://{to}/ HTTP/{version}\r\nHost: {to}\r\n\r\n"));
        let (got, end) = client.ending();
        let got = String::from_utf8_lossy(&got).into_owned();
        assert!(got.matches('y').count() <= 10, "{what}: {} bytes", got.len());
        let is_whole =
            if got.contains("chunked") { got.contains("\r\n0\r\n") } else { end == End::Clean };
        assert!(!is_whole, "{what}: {got:?} {end:?}");
    }
    let traces = tap.stop().bundle.traces();
    assert_eq!(traces.len(), 3);
    for trace in traces {
        assert!(trace["error"].as_str().unwrap().contains("body_size_limit"), "{trace}");
    }
}

#[test]
fn many_pipelined_requests_are_all_answered() {
    let origin = Origin::answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/").repeat(500));
    for _ in 0..500 {
        assert_eq!(client.response().1, b"ok");
    }
    assert_eq!(tap.stop().bundle.traces().len(), 500);
}

#[test]
fn a_burst_of_clients_is_spread_over_the_loops() {
    const CLIENTS: usize = 100;
    let tap = Flowtap::start(&["--loops", "4"]);
    tap.signal(Signal::STOP);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(tap.addr)).collect();
    tap.signal(Signal::CONT);
    for client in &mut clients {
        client.send(get("mitm.it", "/"));
        client.response();
    }
    let polled = tap.polled();
    // A loop also polls what wakes it, and one of them the listener.
    let even = polled.iter().filter(|&&sockets| sockets.abs_diff(CLIENTS / 4) <= 5).count();
    assert_eq!(even, 4, "{polled:?}");
}
