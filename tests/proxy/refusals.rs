//! Requests that are refused: a readable answer, a close, and nothing for the origin.

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::get;
use crate::support::origin::Origin;
use crate::support::refusing::Refusing;

/// The status and the readable line of an answer after which the proxy closes.
fn refusal(tap: &Flowtap, request: impl AsRef<[u8]>) -> (u16, String) {
    let mut client = Client::connect(tap.addr);
    client.try_send(request.as_ref());
    let got = client.rest();
    let shown = String::from_utf8_lossy(&request.as_ref()[..request.as_ref().len().min(200)]);
    let Some((head, body)) = got.split_once("\r\n\r\n") else { panic!("{shown:?} gave {got:?}") };
    assert!(head.contains("\r\nConnection: close"), "{shown:?} gave {head}");
    assert!(head.contains("\r\nContent-Type: text/plain"), "{shown:?} gave {head}");
    assert_eq!(body.lines().count(), 1, "{shown:?} gave {body:?}");
    (head[9..12].parse().unwrap(), body.trim().to_owned())
}

#[test]
fn doubtful_requests_get_400_and_never_a_second_request() {
    let origin = Origin::answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let tap = Flowtap::start(&[]);
    let to = origin.addr;
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4, 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: -4\r\n",
        "Content-Length: 0x4\r\n",
        "Content-Length: 4 4\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551620\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip, chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Length : 4\r\n",
        "Content-Length\t: 4\r\n",
        " Content-Length: 4\r\n",
        "X: a\r\n b\r\n",
        "X: a\r\n\tb\r\n",
        "X: a\rb\r\n",
        "X: a\nY: b\r\n",
        "X: a\0b\r\n",
        "X\0: b\r\n",
        "X y: b\r\n",
        "no colon\r\n",
        ": no name\r\n",
        "Host: twice.example\r\n",
    ] {
        let head = format!("POST http://{to}/ HTTP/1.1\r\nHost: {to}\r\n{fields}\r\n");
        let after = format!("0\r\n\r\nGET http://{to}/smuggled HTTP/1.1\r\nHost: {to}\r\n\r\n");
        let mut client = Client::connect(tap.addr);
        client.try_send(head + &after);
        let got = client.rest();
        assert!(got.starts_with("HTTP/1.1 400 "), "{fields:?} gave {got:?}");
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{fields:?} gave {got:?}");
    }
    assert_eq!(origin.seen(), "");
}

#[test]
fn a_refusal_of_head_has_no_body() {
    let tap = Flowtap::start(&[]);
    for request in
        ["HEAD /path HTTP/1.1\r\nHost: h\r\n\r\n", "\r\nHEAD x HTTP/1.1\r\na b: c\r\n\r\n"]
    {
        let mut client = Client::connect(tap.addr);
        client.try_send(request);
        let got = client.rest();
        assert!(got.starts_with("HTTP/1.1 400 ") && got.contains("\r\nContent-Length: "), "{got}");
        assert!(got.ends_with("\r\n\r\n"), "{got}");
    }
}

#[test]
fn malformed_request_lines_get_400() {
    let tap = Flowtap::start(&[]);
    for line in [
        "GET",
        "GET http://a.example/",
        "GET  http://a.example/ HTTP/1.1",
        "GET http://a.example/ HTTP/1.1 x",
        "GET http://a.example/\t HTTP/1.1",
        "GET http://a b/ HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http://u:p@a.example/ HTTP/1.1",
        "GET http://a.example:99999/ HTTP/1.1",
        "GET ftp://a.example/ HTTP/1.1",
        "GE(T http://a.example/ HTTP/1.1",
        "\u{7f}\u{1}\u{2}garbage",
    ] {
        let (status, _) = refusal(&tap, format!("{line}\r\nHost: a.example\r\n\r\n"));
        assert_eq!(status, 400, "{line:?}");
    }
}

#[test]
fn other_versions_are_refused() {
    let tap = Flowtap::start(&[]);
    for version in ["HTTP/1.2", "HTTP/2.0", "HTTP/1.x", "http/1.1", "HTTP/1.10"] {
        let request = format!("GET http://a.example/ {version}\r\nHost: a.example\r\n\r\n");
        let (status, _) = refusal(&tap, request);
        assert!([400, 505].contains(&status), "{version}: {status}");
    }
}

#[test]
fn a_request_without_or_with_two_hosts_gets_400() {
    let tap = Flowtap::start(&[]);
    for fields in ["", "Host: a.example\r\nHost: a.example\r\n", "Host: a b\r\n"] {
        let request = format!("GET http://a.example/ HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(refusal(&tap, request).0, 400, "{fields:?}");
    }
}

#[test]
fn connect_needs_host_and_port() {
    let tap = Flowtap::start(&[]);
    for target in [
        "example.com",
        ":80",
        "example.com:",
        "example.com:99999",
        "example.com:0",
        "/",
        "*",
        "http://example.com:80",
        "u@example.com:80",
        "exa mple.com:80",
        "[::1:80",
        "::1:80",
        "example.com:80/x",
    ] {
        let (status, _) = refusal(&tap, format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(status, 400, "{target}");
    }
}

#[test]
fn a_request_meant_for_a_server_is_told_that_this_is_a_proxy() {
    let tap = Flowtap::start(&[]);
    let (status, line) = refusal(&tap, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(status, 400);
    assert!(line.contains("proxy"), "{line}");
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let origin = Origin::answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let tap = Flowtap::start(&[]);
    let to = origin.addr;
    let head = |fields: &str| format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\n{fields}\r\n");
    let large = format!("X: {}\r\n", "x".repeat(70_000));
    assert_eq!(refusal(&tap, head(&large)).0, 431, "one large field");
    assert_eq!(refusal(&tap, head(&"a: b\r\n".repeat(1_001))).0, 431, "many fields");
    assert_eq!(refusal(&tap, "a".repeat(70_000)).0 / 100, 4, "no line end");
    let long = format!("GET http://{to}/{} HTTP/1.1\r\nHost: {to}\r\n\r\n", "x".repeat(17_000));
    assert_eq!(refusal(&tap, long).0, 414, "a long target");
    assert_eq!(origin.seen(), "");
    let mut client = Client::connect(tap.addr);
    client.send(head(&format!("X: {}\r\n", "x".repeat(60_000))));
    assert!(client.head().starts_with("HTTP/1.1 200 "), "60 KB of head are fine");
}

/// What a client gets for a request that finds no server, and the error in the trace.
fn failed(to: &str) -> (String, String) {
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(to, "/"));
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    let body = String::from_utf8(body).unwrap();
    assert_eq!(body.lines().count(), 1, "{body:?}");
    let trace = tap.stop().bundle.only_trace();
    assert_eq!(trace["response"]["status"], 0);
    assert_eq!(trace["request"]["url"], format!("http://{to}/"));
    (body, trace["error"].as_str().unwrap().to_owned())
}

#[test]
fn a_refused_connection_is_502_with_a_reason_in_the_flow() {
    let nobody = Refusing::new();
    let to = nobody.addr;
    let (body, error) = failed(&to.to_string());
    assert!(body.contains("refused") && error.contains("refused"), "{body} {error}");
}

#[test]
fn an_unknown_name_is_502() {
    let (body, error) = failed("no-such-name.invalid");
    assert!(body.contains("no-such-name.invalid"), "{body}");
    assert!(error.contains("no-such-name.invalid"), "{error}");
}

#[test]
fn a_server_that_hangs_up_or_resets_is_502() {
    let closes = Origin::start(|_, stream| {
        crate::support::read_head(stream);
    });
    let resets = Origin::start(|_, stream| {
        crate::support::read_head(stream);
        stream.reset();
    });
    let stops = Origin::answers_and_closes("HTTP/1.1 200 OK\r\nContent-Le");
    for (what, origin) in [("closes", closes), ("resets", resets), ("stops inside", stops)] {
        let (_, error) = failed(&origin.addr.to_string());
        assert!(!error.is_empty(), "{what}");
    }
}

#[test]
fn requests_for_the_proxy_itself_are_not_forwarded() {
    let tap = Flowtap::start(&[]);
    for host in ["127.0.0.1", "localhost"] {
        let to = format!("{host}:{}", tap.addr.port());
        let mut client = Client::connect(tap.addr);
        client.send(get(&to, "/"));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 508 "), "{to}: {head}");
    }
}

#[test]
fn a_connection_goes_on_after_a_502() {
    let origin = Origin::answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let nobody = Refusing::new();
    let gone = nobody.addr;
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(gone, "/"));
    assert!(client.response().0.starts_with("HTTP/1.1 502 "));
    client.send(get(origin.addr, "/"));
    assert_eq!(client.response().1, b"ok");
}

/// Many clients read nothing before they have sent all they have.
#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let tap = Flowtap::start(&["--set", "body_size_limit=32m"]);
    let nobody = Refusing::new();
    let closed = nobody.addr;
    let block = vec![b'x'; 1 << 20];
    for (bytes, status) in [(64 << 20, "413"), (16 << 20, "502")] {
        let mut client = Client::connect(tap.addr);
        client.send(format!(
            "POST http://{closed}/ HTTP/1.1\r\nHost: {closed}\r\nContent-Length: {bytes}\r\n\r\n"
        ));
        for sent in 0..16 {
            assert!(client.try_send(&block), "{status}: reset after {sent} MiB");
        }
        let (head, _) = client.response();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
}
