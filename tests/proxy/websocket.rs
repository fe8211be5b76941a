//! WebSockets: every byte is relayed as it came, and messages are recorded.

use std::io::{Read, Write};

use flate2::{Compress, Compression, FlushCompress};

use crate::frame::frame;
use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::read_head;
use crate::support::tls::test_ca;

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// An origin that accepts, reads `from_client` and then says `to_client`.
fn script(
    extra: &'static str,
    from_client: Vec<u8>,
    to_client: Vec<u8>,
) -> impl Fn(usize, &mut crate::support::origin::Accepted) + Send + Sync {
    move |_, stream| {
        read_head(stream);
        stream.say(format!("{SWITCH}{extra}\r\n").as_bytes());
        let mut got = vec![0; from_client.len()];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, from_client, "the client's frames were changed");
        stream.say(&to_client);
    }
}

fn handshake(target: &str, host: &str, extra: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    )
}

type Messages = Vec<(String, String, Vec<u8>)>;

fn expected(messages: &[(&str, &str, &[u8])]) -> Messages {
    let own = |m: &(&str, &str, &[u8])| (m.0.to_owned(), m.1.to_owned(), m.2.to_vec());
    messages.iter().map(own).collect()
}

/// Plays a WebSocket through the proxy: what was recorded of each direction, and the connection.
fn play(
    (offer, accept): (&str, &'static str),
    from_client: Vec<u8>,
    to_client: Vec<u8>,
) -> (Messages, serde_json::Value) {
    let origin = Origin::start(script(accept, from_client.clone(), to_client.clone()));
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let host = origin.addr.to_string();
    client.send(handshake(&format!("http://{host}/ws"), &host, offer));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.send(&from_client);
    let (got, _) = client.ending();
    assert!(got == to_client, "the server's frames were changed");
    let bundle = tap.stop().bundle;
    assert!(bundle.traces().is_empty(), "a handshake is no trace");
    (bundle.messages("ws_0001"), bundle.json("ws/ws_0001.json"))
}

#[test]
fn frames_are_relayed_untouched_and_messages_recorded() {
    let from_client = [
        frame(0x81, b"text", true),
        frame(0x89, b"ping", true),
        frame(0x82, &[7; 300], true),
        frame(0x82, &[8; 70_000], true),
        frame(0x81, b"", true),
    ];
    let (messages, connection) = play(
        ("Sec-WebSocket-Protocol: chat, superchat\r\n", "Sec-WebSocket-Protocol: chat\r\n"),
        from_client.concat(),
        [
            frame(0x01, b"in ", false),
            frame(0x8a, b"ping", false),
            frame(0x00, b"three ", false),
            frame(0x80, b"parts", false),
            frame(0x88, b"\x03\xe8bye", false),
        ]
        .concat(),
    );
    assert_eq!(
        messages,
        expected(&[
            ("send", "text", b"text"),
            ("send", "ping", b"ping"),
            ("send", "binary", &[7; 300]),
            ("send", "binary", &[8; 70_000]),
            ("send", "text", b""),
            ("receive", "pong", b"ping"),
            ("receive", "text", b"in three parts"),
            ("receive", "close", b"\x03\xe8bye"),
        ])
    );
    assert!(connection["url"].as_str().unwrap().starts_with("ws://127.0.0.1:"), "{connection}");
    assert_eq!(connection["protocols"], serde_json::json!(["chat", "superchat"]));
}

#[test]
fn a_websocket_inside_tls_is_recorded_as_wss() {
    let sent = frame(0x81, b"hi", true);
    let answer = frame(0x81, b"ho", false);
    let origin = Origin::tls(test_ca().server(&["localhost"]), script("", sent.clone(), answer));
    let tap = Flowtap::start(&[]);
    let port = origin.addr.port();
    let mut client = Client::tls(&tap, "localhost", port);
    client.send(handshake("/ws?a=b", &format!("localhost:{port}"), ""));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.send(sent);
    assert_eq!(client.rest(), "\u{fffd}\u{2}ho");
    let bundle = tap.stop().bundle;
    let url = format!("wss://localhost:{port}/ws?a=b");
    assert_eq!(bundle.json("ws/ws_0001.json")["url"], url);
    let both = expected(&[("send", "text", b"hi"), ("receive", "text", b"ho")]);
    assert_eq!(bundle.messages("ws_0001"), both);
}

/// A compressed message without its tail (RFC 7692 section 7.2.1).
fn deflate(encoder: &mut Compress, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 100);
    encoder.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

const TEXT: &[u8] = b"the same words again and again, the same words again and again";

#[test]
fn permessage_deflate_with_context_takeover_is_undone() {
    let mut ours = Compress::new(Compression::default(), false);
    let mut theirs = Compress::new(Compression::default(), false);
    let first = deflate(&mut ours, TEXT);
    let second = deflate(&mut ours, TEXT);
    assert!(second.len() < first.len() / 2, "the second one leans on the first");
    let answer = deflate(&mut theirs, TEXT);
    let (head, tail) = answer.split_at(10);
    let (messages, _) = play(
        (
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
            "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        ),
        [frame(0xc1, &first, true), frame(0xc1, &second, true), frame(0x81, b"plain", true)]
            .concat(),
        [frame(0x41, head, false), frame(0x89, b"", false), frame(0x80, tail, false)].concat(),
    );
    assert_eq!(
        messages,
        expected(&[
            ("send", "text", TEXT),
            ("send", "text", TEXT),
            ("send", "text", b"plain"),
            ("receive", "ping", b""),
            ("receive", "text", TEXT),
        ])
    );
}

#[test]
fn permessage_deflate_without_context_takeover_is_undone() {
    let fresh = || deflate(&mut Compress::new(Compression::default(), false), TEXT);
    let (messages, _) = play(
        (
            "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; \
             server_no_context_takeover\r\n",
        ),
        [frame(0xc1, &fresh(), true), frame(0xc1, &fresh(), true)].concat(),
        [frame(0xc2, &fresh(), false), frame(0xc2, &fresh(), false)].concat(),
    );
    let (send, receive) = (("send", "text", TEXT), ("receive", "binary", TEXT));
    assert_eq!(messages, expected(&[send, send, receive, receive]));
}

#[test]
fn a_frame_against_the_rules_ends_reading_and_not_relaying() {
    for (what, bad) in [
        ("reserved opcode", frame(0x83, b"x", false)),
        ("reserved bit", frame(0xa1, b"x", false)),
        ("compressed without agreement", frame(0xc1, b"x", false)),
        ("a continuation of nothing", frame(0x80, b"x", false)),
        ("a fragmented ping", frame(0x09, b"x", false)),
        ("a long ping", frame(0x89, &[0; 126], false)),
        ("a masked server", frame(0x81, b"x", true)),
        ("no WebSocket at all", b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
    ] {
        let to_client = [frame(0x81, b"good", false), bad, frame(0x81, b"after", false)].concat();
        let (messages, connection) = play(("", ""), frame(0x81, b"q", true), to_client);
        let read = expected(&[("send", "text", b"q"), ("receive", "text", b"good")]);
        assert_eq!(messages, read, "{what}");
        assert!(connection["error"].is_string(), "{what}: {connection}");
    }
}

#[test]
fn each_frame_is_passed_on_when_it_arrives() {
    let origin = Origin::start(|_, stream| {
        read_head(stream);
        stream.say(format!("{SWITCH}\r\n").as_bytes());
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() {
            stream.write_all(&byte).unwrap();
        }
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let host = origin.addr.to_string();
    client.send(handshake(&format!("ws://{host}/"), &host, ""));
    assert!(client.head().starts_with("HTTP/1.1 101 "), "ws:// in absolute form is taken");
    for byte in frame(0x81, b"slow", true) {
        client.send([byte]);
        assert_eq!(client.take(1), [byte]);
    }
}

#[test]
fn a_handshake_without_a_key_that_is_accepted_opens_a_websocket() {
    let from_client = frame(0x81, b"to the server", true);
    let to_client = frame(0x81, b"to the client", false);
    let (origin_reads, origin_says) = (from_client.clone(), to_client.clone());
    let origin = Origin::start(script("", origin_reads, origin_says));
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let host = origin.addr;
    client.send(format!(
        "GET http://{host}/ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: WebSocket\r\n\
         Connection: Upgrade\r\n\r\n"
    ));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.send(&from_client);
    assert_eq!(client.ending().0, to_client);
    let bundle = tap.stop().bundle;
    assert!(bundle.traces().is_empty(), "a handshake is no trace");
    let sent =
        [("send", "text", b"to the server".as_slice()), ("receive", "text", b"to the client")];
    assert_eq!(bundle.messages("ws_0001"), expected(&sent));
}
