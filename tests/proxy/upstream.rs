//! Upstream proxies: scripted ones, and another flowtap.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection};

use crate::support::client::Client;
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::origin::{Accepted, Origin};
use crate::support::tls::test_ca;
use crate::support::{get, read_head};

mod answers;
mod roots;
mod routes;
mod socks5;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const OPEN: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
/// `user:s3cret` as Basic credentials.
const CREDENTIALS: &str = "Proxy-Authorization: Basic dXNlcjpzM2NyZXQ=\r\n";

/// Answers every head with [`OK`], as a server behind a proxy.
fn serve(stream: &mut (impl Read + Write)) {
    while read_head(stream).ends_with(b"\r\n\r\n") {
        if stream.write_all(OK).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

/// The same inside TLS.
fn serve_tls(stream: &mut Accepted, config: Arc<ServerConfig>) {
    let mut session = ServerConnection::new(config).unwrap();
    serve(&mut rustls::Stream::new(&mut session, stream));
}

/// A proxy that opens every tunnel to a server `far.example` with TLS.
fn tunnels() -> impl Fn(usize, &mut Accepted) + Send + Sync + 'static {
    let server = test_ca().server(&["far.example"]);
    move |_, stream| {
        read_head(stream);
        stream.say(OPEN);
        serve_tls(stream, server.clone());
    }
}

/// A flowtap that uses this upstream proxy for all. Its one loop has one pool of connections.
fn through(url: &str) -> Setup {
    Setup::proxy().args(["--loops", "1", "--upstream", url])
}

/// What a GET in absolute form gets: head and body.
fn asked(tap: &Flowtap, host: impl std::fmt::Display) -> (String, String) {
    let mut client = Client::connect(tap.addr);
    client.send(get(host, "/"));
    let (head, body) = client.response();
    (head, String::from_utf8(body).unwrap())
}

/// What a GET of `https://far.example/` gets through a tunnel of the client's.
fn asked_securely(tap: &Flowtap) -> (String, String) {
    let mut client = Client::tls(tap, "far.example", 443);
    client.send("GET /in HTTP/1.1\r\nHost: far.example\r\n\r\n");
    let (head, body) = client.response();
    (head, String::from_utf8(body).unwrap())
}

#[test]
fn plain_requests_go_in_absolute_form_and_share_a_connection() {
    let proxy = Origin::answers(OK);
    let url = format!("http://user:s3cret@{}", proxy.addr);
    let mut tap = Setup::proxy().args(["--loops", "1"]).env("HTTP_PROXY", &url).start();
    let line = tap.err_line("upstream ");
    assert_eq!(line, format!("upstream http://{} for http (HTTP_PROXY)", proxy.addr));
    assert_eq!(asked(&tap, "far.example").1, "ok");
    let (head, body) = asked(&tap, "other.example:8080");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body == "ok", "{head}");
    let mut client = Client::connect(tap.addr);
    client.send("OPTIONS http://far.example HTTP/1.1\r\nHost: far.example\r\n\r\n");
    assert_eq!(client.response().1, b"ok");
    let first = format!(
        "GET http://far.example/ HTTP/1.1\r\n{CREDENTIALS}Host: far.example\r\n\r\n\
         GET http://other.example:8080/ HTTP/1.1\r\n{CREDENTIALS}Host: other.example:8080\r\n\r\n\
         OPTIONS http://far.example HTTP/1.1\r\n{CREDENTIALS}Host: far.example\r\n\r\n"
    );
    assert_eq!(proxy.seen(), first);
    assert_eq!(proxy.connections(), 1);
    let stopped = tap.stop();
    let traces = stopped.bundle.traces();
    assert_eq!(traces[1]["request"]["url"], "http://other.example:8080/");
    for text in [stopped.stderr, format!("{traces:?}")] {
        assert!(!text.contains("s3cret") && !text.contains("dXNlcjpzM2NyZXQ"), "{text}");
    }
}

/// What answers TRACE repeats what it was sent (RFC 9110 section 9.3.8).
#[test]
fn no_answer_to_trace_repeats_the_credentials() {
    let proxy = Origin::start(|_, stream| {
        let mut head = read_head(stream);
        if head.starts_with(b"CONNECT ") {
            stream.say(OPEN);
            head = read_head(stream);
        }
        stream.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", head.len()).as_bytes());
        stream.say(&head);
    });
    let tap = through(&format!("http://user:s3cret@{}", proxy.addr)).start();
    let mut client = Client::connect(tap.addr);
    client
        .send("TRACE http://far.example/ HTTP/1.1\r\nHost: far.example\r\nMax-Forwards: 1\r\n\r\n");
    let (head, body) = client.response();
    let body = String::from_utf8(body).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.starts_with("TRACE / HTTP/1.1\r\n"));
    assert!(!body.contains("Proxy-Authorization"), "{body}");
    assert!(proxy.seen().starts_with("CONNECT far.example:80 HTTP/1.1\r\n"));
    assert!(!format!("{:?}", tap.stop().bundle.traces()).contains("dXNlcjpzM2NyZXQ"));
}

#[test]
fn a_request_that_fails_on_a_used_connection_is_sent_once_more_in_the_same_form() {
    let proxy = Origin::start(|number, stream| {
        read_head(stream);
        stream.say(OK);
        if number == 0 {
            read_head(stream);
        } else {
            serve(stream);
        }
    });
    let tap = through(&format!("http://user:s3cret@{}", proxy.addr)).start();
    for _ in 0..2 {
        assert_eq!(asked(&tap, "far.example").1, "ok");
    }
    let request = format!("GET http://far.example/ HTTP/1.1\r\n{CREDENTIALS}");
    assert_eq!((proxy.seen().matches(&request).count(), proxy.connections()), (3, 2));
}

#[test]
fn https_goes_by_connect_and_its_tunnels_are_used_again() {
    let proxy = Origin::start(tunnels());
    let tap = through(&format!("http://user:s3cret@{}", proxy.addr)).start();
    for _ in 0..3 {
        let (head, body) = asked_securely(&tap);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(body, "ok");
    }
    let connect = "CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\n";
    let seen = proxy.seen();
    assert!(seen.starts_with(&format!("{connect}{CREDENTIALS}\r\n")), "{seen}");
    assert_eq!(proxy.connections(), 1);
    // The absolute form of https takes the same way.
    let mut client = Client::connect(tap.addr);
    client.send("GET https://far.example/x HTTP/1.1\r\nHost: far.example\r\n\r\n");
    assert_eq!(client.response().1, b"ok");
    assert_eq!(proxy.connections(), 1);
    let traces = tap.stop().bundle.traces();
    assert_eq!(traces[0]["request"]["url"], "https://far.example/in");
    assert_eq!(traces.len(), 4);
}

/// The phases of a trace: what the proxy takes for its answer is time for connecting.
#[test]
fn the_handshakes_of_the_proxy_are_time_for_connecting() {
    let server = test_ca().server(&["far.example"]);
    let proxy = Origin::tls(test_ca().server(&["localhost"]), move |_, stream| {
        read_head(stream);
        std::thread::park_timeout(LATENCY);
        stream.say(OPEN);
        serve_tls(stream, server.clone());
    });
    let tap = through(&format!("https://localhost:{}", proxy.addr.port())).start();
    assert_eq!(asked_securely(&tap).1, "ok");
    let trace = tap.stop().bundle.only_trace();
    let timing = &trace["timing"];
    let phase = |name: &str| timing[name].as_f64().unwrap_or_else(|| panic!("{name}: {trace}"));
    let latency_ms = LATENCY.as_secs_f64() * 1e3;
    assert!(phase("connect_ms") >= latency_ms && phase("tls_ms") > 0.0, "{trace}");
    assert!(phase("connect_ms") + phase("tls_ms") <= phase("total_ms"), "{trace}");
}

/// How long a proxy takes to answer.
const LATENCY: Duration = Duration::from_millis(300);

#[test]
fn an_eager_tunnel_is_made_before_the_first_request() {
    let proxy = Origin::start(tunnels());
    let url = format!("http://{}", proxy.addr);
    let tap = through(&url).args(["--set", "connection_strategy=eager"]).start();
    let client = Client::tunnel(tap.addr, "far.example:443");
    proxy.wait_for(b"\r\n\r\n");
    client.finish();
    assert_eq!(asked_securely(&tap).1, "ok");
    assert_eq!(proxy.connections(), 2);
}

#[test]
fn tls_with_the_proxy_carries_plain_requests_and_tls_with_servers() {
    let server = test_ca().server(&["far.example"]);
    let config = test_ca().server(&["localhost"]);
    let proxy = Origin::tls(config, move |_, stream| {
        let head = read_head(stream);
        if head.starts_with(b"CONNECT ") {
            stream.say(OPEN);
            serve_tls(stream, server.clone());
        } else {
            stream.say(OK);
            serve(stream);
        }
    });
    let url = format!("https://user:s3cret@localhost:{}", proxy.addr.port());
    let tap = through(&url).start();
    for _ in 0..2 {
        assert_eq!(asked_securely(&tap).1, "ok");
        assert_eq!(asked(&tap, "far.example").1, "ok");
    }
    assert_eq!(proxy.connections(), 2, "one for plain requests and one tunnel");
    let seen = proxy.seen();
    assert!(seen.contains(&format!("Host: far.example:443\r\n{CREDENTIALS}")), "{seen}");
    let traces = tap.stop().bundle.traces();
    assert_eq!(traces.len(), 4);
    // TLS with the proxy is none with the server.
    let plain = traces.iter().find(|it| it["request"]["url"] == "http://far.example/").unwrap();
    assert!(!plain.to_string().contains("TLSv1"), "{plain}");
}

/// Whole megabytes both ways, so that records of both layers are split wherever sockets split them.
#[test]
fn large_bodies_pass_through_both_layers_of_tls() {
    const SIZE: usize = 3_000_000;
    let server = test_ca().server(&["far.example"]);
    let proxy = Origin::tls(test_ca().server(&["localhost"]), move |_, stream| {
        read_head(stream);
        stream.say(OPEN);
        let mut session = ServerConnection::new(server.clone()).unwrap();
        let mut tls = rustls::Stream::new(&mut session, stream);
        read_head(&mut tls);
        let mut body = vec![0; SIZE];
        tls.read_exact(&mut body).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
        tls.write_all(head.as_bytes()).unwrap();
        tls.write_all(&body).unwrap();
        tls.flush().unwrap();
    });
    let tap = through(&format!("https://localhost:{}", proxy.addr.port())).start();
    let mut client = Client::tls(&tap, "far.example", 443);
    let body: Vec<u8> = (0..SIZE).map(|at| (at / 13) as u8).collect();
    let head = format!("POST / HTTP/1.1\r\nHost: far.example\r\nContent-Length: {SIZE}\r\n\r\n");
    client.send([head.as_bytes(), &body].concat());
    assert!(client.response().1 == body);
}

#[test]
fn a_flowtap_can_be_the_upstream_proxy_of_another() {
    let secure = Origin::tls_answers(test_ca().server(&["localhost"]), OK);
    let plain = Origin::answers(OK);
    let far = Setup::proxy().args(["--set", "proxyauth=user:s3cret"]).start();
    // The CA of the one that is further away is a corporate root to the nearer one.
    let ca = far.ca_file();
    let url = format!("http://user:s3cret@{}", far.addr);
    let near = through(&url).args(["--upstream-ca".as_ref(), ca.as_os_str()]).start();
    for _ in 0..2 {
        let mut client = Client::tls(&near, "localhost", secure.addr.port());
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.response().1, b"ok");
        assert_eq!(asked(&near, plain.addr).1, "ok");
    }
    assert!(plain.seen().starts_with("GET / HTTP/1.1\r\nHost: "), "{}", plain.seen());
    assert!(!plain.seen().contains("Authorization"));
    for tap in [near, far] {
        assert_eq!(tap.stop().bundle.traces().len(), 4);
    }
    // With wrong credentials the one that is nearer says so.
    let far = Setup::proxy().args(["--set", "proxyauth=user:other"]).start();
    let near = through(&format!("http://user:s3cret@{}", far.addr)).start();
    let (head, body) = asked(&near, plain.addr);
    assert!(head.starts_with("HTTP/1.1 502 ") && body.contains("does not take"), "{body}");
    let (head, body) = asked_securely(&near);
    assert!(head.starts_with("HTTP/1.1 502 ") && body.contains("does not take"), "{body}");
    assert!(!body.contains("s3cret"));
}

/// An upgrade needs a connection to the server itself, and so does what came through a tunnel.
#[test]
fn upgrades_and_what_came_through_a_tunnel_go_through_a_tunnel() {
    let proxy = Origin::start(|_, stream| {
        let connect = read_head(stream);
        assert!(connect.starts_with(b"CONNECT far.example:80 "), "{connect:?}");
        stream.say(OPEN);
        let head = String::from_utf8(read_head(stream)).unwrap();
        assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
        if head.contains("Upgrade: websocket") {
            stream.say(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                  Connection: Upgrade\r\n\r\n\x81\x02hi",
            );
            stream.closed();
        } else {
            stream.say(OK);
        }
    });
    let tap = through(&format!("http://{}", proxy.addr)).start();
    let mut client = Client::connect(tap.addr);
    client.send(
        "GET ws://far.example/chat HTTP/1.1\r\nHost: far.example\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.take(4), b"\x81\x02hi");
    drop(client);
    let mut client = Client::tunnel(tap.addr, "far.example:80");
    client.send("GET /chat HTTP/1.1\r\nHost: another.example\r\n\r\n");
    assert_eq!(client.response().1, b"ok");
    let bundle = tap.stop().bundle;
    assert_eq!(bundle.traces().len(), 1);
}

/// Tunnels that are not looked into, and servers that speak first.
#[test]
fn what_is_relayed_unread_goes_through_a_tunnel_with_what_followed_its_answer() {
    let proxy = Origin::start(|_, stream| {
        read_head(stream);
        stream.say(&[OPEN, b"220 hello\r\n"].concat());
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        stream.say(&rest);
    });
    let url = format!("http://{}", proxy.addr);
    for args in [&["-e", "far.example"][..], &[]] {
        let tap = through(&url).args(args).start();
        let mut client = Client::tunnel(tap.addr, "far.example:25");
        assert_eq!(client.take(11), b"220 hello\r\n");
        client.send(b"\x00QUIT");
        client.finish();
        assert_eq!(client.rest(), "\0QUIT");
    }
}
