//! Every wait has its end: peers that say nothing, little by little, or take nothing.
//!
//! The waits are a second long, so that a test ends; what the end is can be told from the words.
//! They are longer where somebody has to be quicker than the wait.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::support::bundle::Bundle;
use crate::support::client::{Client, End};
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::tls::{certificate_in, client_config};
use crate::support::{DEADLINE, get, read_head};

/// How often somebody says one byte: many times before the wait is over.
const BEAT: Duration = Duration::from_millis(100);

/// The longer wait.
const LONGER: Duration = Duration::from_secs(3);

/// A proxy that waits for a second, by this option.
fn waiting(option: &str) -> Flowtap {
    Flowtap::start(&["--set", &format!("{option}=1")])
}

/// A proxy that waits for so long that whoever is kept from speaking for a moment is not taken for
/// silent.
fn waiting_longer(option: &str) -> Flowtap {
    Flowtap::start(&["--set", &format!("{option}={}", LONGER.as_secs())])
}

/// Says one byte after the other until the proxy answers or closes; all it got.
fn trickle(client: &mut Client, byte: u8) -> String {
    let end = Instant::now() + DEADLINE;
    while !client.hears_within(BEAT) {
        assert!(Instant::now() < end, "the proxy waits for ever");
        client.try_send([byte]);
    }
    client.rest()
}

/// An origin that says nothing.
fn silent() -> Origin {
    Origin::start(|_, stream| {
        stream.closed();
    })
}

/// The error of the one exchange.
fn error_in(bundle: &Bundle) -> String {
    bundle.only_trace()["error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_request_that_trickles_in_is_408() {
    let origin = silent();
    let to = origin.addr;
    let chunked = format!("POST http://{to}/ HTTP/1.1\r\nHost: {to}\r\nTransfer-Encoding: chunked");
    for (option, begun, byte) in [
        ("request_head_timeout", format!("GET http://{to}/ HTTP/1.1\r\nX: "), b'a'),
        ("request_head_timeout", "G".to_owned(), b'a'),
        ("body_timeout", format!("{chunked}\r\n\r\n5\r\nabcde\r\n"), b'0'),
        ("body_timeout", format!("{chunked}\r\n\r\n0\r\nX: "), b'a'),
    ] {
        let mut tap = waiting(option);
        let mut client = Client::connect(tap.addr);
        client.send(&begun);
        let got = trickle(&mut client, byte);
        assert!(got.starts_with("HTTP/1.1 408 ") && got.contains(option), "{begun:?}: {got}");
        assert!(got.contains("\r\nConnection: close\r\n"), "{got}");
        let line = tap.err_line("failed ");
        assert!(line.contains(option), "{line}");
    }
}

#[test]
fn a_body_that_stops_is_408() {
    let origin = silent();
    let to = origin.addr;
    let tap = waiting("body_timeout");
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "POST http://{to}/ HTTP/1.1\r\nHost: {to}\r\nContent-Length: 9\r\n\r\nshort"
    ));
    assert!(client.rest().starts_with("HTTP/1.1 408 "));
    assert!(error_in(&tap.stop().bundle).contains("body_timeout"));
}

/// The first bytes of a TLS client.
fn client_hello(tap: &Flowtap) -> Vec<u8> {
    let config = client_config(certificate_in(&tap.ca_file()));
    let name = ServerName::try_from("localhost").unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(config, name).unwrap().write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn a_handshake_that_a_client_does_not_end_is_given_up() {
    let mut tap = waiting("handshake_timeout");
    let hello = client_hello(&tap);
    let origin = silent();
    let to = format!("localhost:{}", origin.addr.port());
    // A ClientHello that comes in single bytes, and one that nothing comes after.
    let mut slow = Client::tunnel(tap.addr, &to);
    let end = Instant::now() + DEADLINE;
    for byte in &hello {
        if slow.hears_within(BEAT) {
            break;
        }
        assert!(Instant::now() < end);
        slow.try_send([*byte]);
    }
    assert_eq!(slow.ending().0, b"");
    let line = tap.err_line("failed handshake with a client of localhost");
    assert!(line.contains("handshake_timeout"), "{line}");
    // What was told once is not told again.
    let mut tap = waiting_longer("handshake_timeout");
    let hello = client_hello(&tap);
    let mut mute = Client::tunnel(tap.addr, &to);
    mute.send(&hello);
    let (records, _) = mute.ending();
    assert_eq!(records.first(), Some(&0x16), "a ServerHello");
    let line = tap.err_line("failed handshake with a client of localhost");
    assert!(line.contains("handshake_timeout"), "{line}");
}

#[test]
fn a_handshake_that_a_server_does_not_end_is_504() {
    // Its connections are made by the system, and nobody speaks on them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let tap = waiting_longer("handshake_timeout");
    let mut client = Client::tls(&tap, "localhost", port);
    client.send(format!("GET / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"));
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("TLS handshake") && body.contains("handshake_timeout"), "{body}");
    assert!(error_in(&tap.stop().bundle).contains("handshake_timeout"));
}

#[test]
fn an_answer_that_trickles_in_is_504() {
    let origin = Origin::start(|_, stream| {
        read_head(stream);
        stream.say(b"HTTP/1.1 200 OK\r\nX: ");
        // Said faster than it is given up; the proxy's end of the connection stops it.
        let end = Instant::now() + DEADLINE;
        while stream.write_all(b"a").is_ok() && Instant::now() < end {
            std::thread::park_timeout(BEAT);
        }
    });
    let tap = waiting("response_timeout");
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("response_timeout"));
}

#[test]
fn a_response_that_stops_is_cut() {
    let (told, ended) = channel();
    let told = Mutex::new(told);
    let origin = Origin::start(move |_, stream| {
        read_head(stream);
        stream.say(b"HTTP/1.1 200 OK\r\n\r\nup to the end of the connection");
        told.lock().unwrap().send(stream.closed()).unwrap();
    });
    let tap = waiting("body_timeout");
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    let (got, end) = client.ending();
    assert!(String::from_utf8_lossy(&got).contains("up to the end"));
    assert_eq!(end, End::Cut, "what is cut must not look whole");
    assert_eq!(ended.recv_timeout(DEADLINE), Ok(true), "the server is let go");
    let error = error_in(&tap.stop().bundle);
    assert!(error.contains("response's body") && error.contains("body_timeout"), "{error}");
}

#[test]
fn a_client_that_reads_nothing_is_cut_off() {
    let (told, ended) = channel();
    let told = Mutex::new(told);
    let origin = Origin::start(move |_, stream| {
        read_head(stream);
        stream.say(b"HTTP/1.1 200 OK\r\n\r\n");
        let end = Instant::now() + DEADLINE;
        while stream.write_all(&[b'x'; 65_536]).is_ok() && Instant::now() < end {}
        told.lock().unwrap().send(Instant::now() < end).unwrap();
    });
    let tap = waiting_longer("body_timeout");
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    assert_eq!(ended.recv_timeout(DEADLINE), Ok(true), "the server still waits for the client");
    // What the system had taken is still there to be read, and then it shows that it is cut.
    assert_eq!(client.ending().1, End::Cut);
    let error = error_in(&tap.stop().bundle);
    assert!(error.contains("the client did not read"), "{error}");
}

#[test]
fn a_server_that_reads_nothing_is_504() {
    let (done, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |_, stream| {
        read_head(stream);
        let _ = wait.lock().unwrap().recv_timeout(DEADLINE);
    });
    let tap = waiting_longer("body_timeout");
    let to = origin.addr;
    let mut client = Client::connect(tap.addr);
    client.send(format!("POST http://{to}/ HTTP/1.1\r\nHost: {to}\r\n"));
    client.send("Transfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    while client.try_send(&chunk) && !client.hears_within(Duration::from_millis(1)) {}
    assert!(client.rest().starts_with("HTTP/1.1 504 "));
    let error = error_in(&tap.stop().bundle);
    assert!(error.contains("the server did not read"), "{error}");
    done.send(()).unwrap();
}

#[test]
fn a_tunnel_in_which_nobody_speaks_is_closed() {
    let (told, ended) = channel();
    let told = Mutex::new(told);
    let origin = Origin::start(move |_, stream| {
        let mut byte = [0];
        while matches!(stream.read(&mut byte), Ok(1)) {
            stream.say(&byte);
        }
        told.lock().unwrap().send(()).unwrap();
    });
    let tap = waiting_longer("tunnel_timeout");
    let mut client = Client::tunnel(tap.addr, origin.addr);
    // For longer than the wait something is said again and again.
    let began = Instant::now();
    while began.elapsed() < LONGER + 10 * BEAT {
        client.send(b"\0");
        assert_eq!(client.take(1), b"\0");
        assert!(!client.hears_within(BEAT));
    }
    assert_eq!(client.ending().0, b"");
    ended.recv_timeout(DEADLINE).expect("the server is let go");
}

#[test]
fn a_websocket_in_which_nobody_speaks_is_closed() {
    let origin = Origin::start(|_, stream| {
        read_head(stream);
        stream.say(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              \r\n\x81\x02hi",
        );
        stream.closed();
    });
    let tap = waiting("tunnel_timeout");
    let to = origin.addr;
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.ending(), (b"\x81\x02hi".to_vec(), End::Cut));
    let bundle = tap.stop().bundle;
    assert_eq!(bundle.messages("ws_0001").len(), 1);
}

#[test]
fn whoever_talks_on_after_a_refusal_is_heard_for_a_moment() {
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send("no request\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 400 "));
    let end = Instant::now() + DEADLINE;
    while client.try_send("and on") && Instant::now() < end {
        std::thread::park_timeout(BEAT);
    }
    assert!(Instant::now() < end, "it is heard for ever");
}

#[test]
fn a_name_that_leads_nowhere_in_time_is_504() {
    use rustix::net::{AddressFamily, SocketType, bind, connect, getsockname, listen, socket};
    // A listener whose queue is full answers no further connection.
    let new = || socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let listener = new();
    bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&listener, 0).unwrap();
    let address = SocketAddr::try_from(getsockname(&listener).unwrap()).unwrap();
    let first = new();
    connect(&first, &address).unwrap();
    let tap = waiting("connect_timeout");
    let mut client = Client::tls(&tap, "127.0.0.1", address.port());
    client.send(format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("within 1 s (connect_timeout)"));
    drop(first);
}
