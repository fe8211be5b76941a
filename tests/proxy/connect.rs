//! CONNECT with something other than TLS inside.

use std::io::Read;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::DEADLINE;
use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::refusing::Refusing;
use crate::support::tls::test_ca;

#[test]
fn a_server_that_speaks_first_is_heard_and_a_half_close_is_passed_on() {
    let origin = Origin::start(|_, stream| {
        stream.say(b"220 hi\r\n");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.say(&all);
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::tunnel(tap.addr, origin.addr);
    assert_eq!(client.take(8), b"220 hi\r\n");
    client.send(b"\x00\x01raw");
    client.finish();
    assert_eq!(client.rest(), "\0\u{1}raw");
    assert!(tap.stop().bundle.traces().is_empty());
}

#[test]
fn a_servers_half_close_is_passed_on_and_the_other_way_stays_open() {
    let (sender, received) = channel();
    let sender = std::sync::Mutex::new(sender);
    let origin = Origin::start(move |_, stream| {
        stream.say(b"last words");
        stream.finish();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        sender.lock().unwrap().send(all).unwrap();
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::tunnel(tap.addr, origin.addr);
    assert_eq!(client.rest(), "last words");
    client.send(b"\x02still here");
    client.finish();
    assert_eq!(received.recv_timeout(DEADLINE).unwrap(), b"\x02still here");
}

#[test]
fn other_protocols_are_relayed_untouched_both_ways() {
    let origin = Origin::start(|_, stream| {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            stream.say(&buffer[..count]);
        }
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::tunnel(tap.addr, origin.addr);
    for first in [b"\x05\x01\x00".as_slice(), b"SSH-2.0-x\r\n", b"\xff\x00\x16\x03"] {
        client.send(first);
        assert_eq!(client.take(first.len()), first);
    }
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n / 7) as u8).collect();
    for block in bytes.chunks(30_000) {
        client.send(block);
        assert!(client.take(block.len()) == block);
    }
    assert!(tap.stop().bundle.traces().is_empty());
}

#[test]
fn plain_http_inside_a_tunnel_is_captured() {
    let origin = Origin::answers("HTTP/1.1 204 No Content\r\n\r\n");
    let tap = Flowtap::start(&[]);
    let mut client = Client::tunnel(tap.addr, origin.addr);
    for _ in 0..2 {
        client.send(format!("GET /in HTTP/1.1\r\nHost: {}\r\n\r\n", origin.addr));
        assert!(client.head().starts_with("HTTP/1.1 204"));
    }
    assert_eq!(origin.connections(), 1);
    let traces = tap.stop().bundle.traces();
    assert_eq!(traces.len(), 2);
    assert_eq!(traces[0]["request"]["url"], format!("http://{}/in", origin.addr));
}

#[test]
fn a_client_need_not_wait_for_the_answer_to_connect() {
    let origin = Origin::answers("HTTP/1.1 204 No Content\r\n\r\n");
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    client.send(format!(
        "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\nGET / HTTP/1.1\r\nHost: {to}\r\n\r\n"
    ));
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    assert!(client.head().starts_with("HTTP/1.1 204 "));
}

#[test]
fn a_client_hello_need_not_wait_for_the_answer_to_connect() {
    let origin = Origin::tls_answers(
        test_ca().server(&["localhost"]),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let tap = Flowtap::start(&[]);
    let mut client = Client::tls_at_once(&tap, "localhost", origin.addr.port());
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, b"ok");
}

#[test]
fn a_tunnel_to_nowhere_is_closed_or_refused() {
    let nobody = Refusing::new();
    let gone = nobody.addr;
    let mut tap = Flowtap::start(&[]);
    let mut client = Client::tunnel(tap.addr, gone);
    client.send(b"\x00not HTTP");
    assert_eq!(client.rest(), "", "a tunnel that may be intercepted is open before the dial");
    let line = tap.err_line("failed ");
    assert!(line.contains(&gone.to_string()), "{line}");
    let tap = Flowtap::start(&["-e", "127.0.0.1"]);
    let mut client = Client::connect(tap.addr);
    client.send(format!("CONNECT {gone} HTTP/1.1\r\nHost: {gone}\r\n\r\n"));
    let got = client.rest();
    assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
}

#[test]
fn a_client_that_is_slow_to_speak_in_a_tunnel_to_nowhere_is_told_why() {
    let nobody = Refusing::new();
    let gone = nobody.addr;
    let tap = Flowtap::start(&[]);
    let mut client = Client::tunnel(tap.addr, gone);
    // Three times as long as one may be silent that does not wait for its server to speak.
    assert!(!client.hears_within(Duration::from_millis(300)));
    client.send(format!("GET /slow HTTP/1.1\r\nHost: {gone}\r\n\r\n"));
    let (head, _) = client.response();
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    let trace = tap.stop().bundle.trace_of("/slow");
    assert!(trace["error"].as_str().unwrap().contains("connection refused"), "{trace}");
}

#[test]
fn a_tunnel_to_the_proxy_itself_is_refused() {
    let tap = Flowtap::start(&["-e", "127.0.0.1"]);
    let mut client = Client::connect(tap.addr);
    client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", tap.addr));
    let got = client.rest();
    assert!(got.starts_with("HTTP/1.1 508 "), "{got}");
}
