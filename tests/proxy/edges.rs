//! Cases at the edges of the protocol, where proxies have stumbled.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::support::bundle::fields;
use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::tls::{certificate_in, client_config, test_ca};
use crate::support::{DEADLINE, get, read_head};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An origin that tells what it got of each connection when that ends.
fn listener() -> (Origin, Receiver<String>) {
    let (sender, received) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::start(move |_, stream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let _ = sender.lock().unwrap().send(String::from_utf8_lossy(&all).into_owned());
    });
    (origin, received)
}

#[test]
fn a_cut_upload_is_never_completed() {
    // The last chunk's line is passed on only with its whole trailer section.
    for (framing, part, relayed) in [
        ("Content-Length: 9", "part", "part"),
        ("Transfer-Encoding: chunked", "4\r\npart\r\n", "4\r\npart\r\n"),
        ("Transfer-Encoding: chunked", "4\r\npart\r\n0\r\nX: y\r\n", "4\r\npart\r\n"),
        ("Transfer-Encoding: chunked", "9\r\npart", "9\r\npart"),
    ] {
        let (origin, received) = listener();
        let tap = Flowtap::start(&[]);
        let mut client = Client::connect(tap.addr);
        client.send(format!(
            "POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\n{framing}\r\n\r\n{part}",
            origin.addr
        ));
        origin.wait_for(relayed.as_bytes());
        client.finish();
        let got = received.recv_timeout(DEADLINE).unwrap();
        let (_, body) = got.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, relayed, "{framing}");
        let trace = tap.stop().bundle.only_trace();
        assert!(trace["error"].is_string(), "{framing} {part:?}: {trace}");
    }
}

// RFC 9110 section 15.2.
#[test]
fn an_http_1_0_client_gets_no_interim_response() {
    let origin = Origin::answers(format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{OK}"));
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(format!("GET http://{0}/ HTTP/1.0\r\nHost: {0}\r\n\r\n", origin.addr));
    let got = client.rest();
    assert!(got.starts_with("HTTP/1.1 200 ") && !got.contains("103"), "{got}");
}

#[test]
fn a_body_that_looks_like_a_request_is_a_body() {
    let evil = "GET /evil HTTP/1.1\r\nHost: x\r\n\r\n";
    let origin = Origin::start(move |_, stream| {
        while let head @ [_, ..] = read_head(stream).as_slice() {
            if head.starts_with(b"POST") {
                let mut body = vec![0; evil.len()];
                stream.read_exact(&mut body).unwrap();
            }
            stream.say(OK.as_bytes());
        }
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    let length = evil.len();
    let post =
        format!("POST http://{to}/ HTTP/1.1\r\nHost: {to}\r\nContent-Length: {length}\r\n\r\n");
    client.send(format!("{post}{evil}{}", get(to, "/last")));
    for _ in 0..2 {
        assert_eq!(client.response().1, b"ok");
    }
    let bundle = tap.stop().bundle;
    assert_eq!(bundle.traces().len(), 2);
    assert_eq!(bundle.body(&bundle.traces()[0], "request"), evil.as_bytes());
}

#[test]
fn targets_are_passed_on_verbatim() {
    for (target, path) in [
        ("/", "/"),
        ("/%7Eb/../c//d;e?x=%zz&y=|{}\"", "/%7Eb/../c//d;e?x=%zz&y=|{}\""),
        ("/a?b?c/d:e@f", "/a?b?c/d:e@f"),
    ] {
        let origin = Origin::answers(OK);
        let tap = Flowtap::start(&[]);
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, target));
        assert_eq!(client.response().1, b"ok", "{target}");
        let line = format!("GET {path} HTTP/1.1\r\n");
        assert!(origin.seen().starts_with(&line), "{target}: {}", origin.seen());
        let url = tap.stop().bundle.only_trace()["request"]["url"].clone();
        assert_eq!(url, format!("http://{}{path}", origin.addr));
    }
}

// RFC 9110 section 4.2.3: an empty path is the path `/`.
#[test]
fn an_empty_path_is_recorded_as_it_is_asked() {
    for (target, path) in [("", "/"), ("?q", "/?q")] {
        let origin = Origin::answers(OK);
        let tap = Flowtap::start(&[]);
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, target));
        assert_eq!(client.response().1, b"ok");
        let line = format!("GET {path} HTTP/1.1\r\n");
        assert!(origin.seen().starts_with(&line), "{}", origin.seen());
        let url = tap.stop().bundle.only_trace()["request"]["url"].clone();
        assert_eq!(url, format!("http://{}{path}", origin.addr));
    }
}

#[test]
fn an_absolute_target_inside_tls_is_asked_in_origin_form() {
    let origin = Origin::tls_answers(test_ca().server(&["localhost"]), OK);
    let tap = Flowtap::start(&[]);
    let port = origin.addr.port();
    let mut client = Client::tls(&tap, "localhost", port);
    client.send(format!(
        "GET https://localhost:{port}/abs HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
    ));
    assert_eq!(client.response().1, b"ok");
    assert!(origin.seen().starts_with("GET /abs HTTP/1.1\r\n"), "{}", origin.seen());
    let url = tap.stop().bundle.only_trace()["request"]["url"].clone();
    assert_eq!(url, format!("https://localhost:{port}/abs"));
}

#[test]
fn a_client_hello_that_comes_byte_by_byte_is_intercepted() {
    let origin = Origin::tls_answers(test_ca().server(&["localhost"]), OK);
    let tap = Flowtap::start(&[]);
    let mut client = Client::tunnel(tap.addr, format!("localhost:{}", origin.addr.port()));
    let config = client_config(certificate_in(&tap.ca_file()));
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    for byte in hello {
        client.send([byte]);
    }
    while tls.is_handshaking() {
        tls.read_tls(&mut client.reader()).unwrap();
        tls.process_new_packets().unwrap();
    }
}

#[test]
fn close_notify_after_a_request_is_no_abort() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::tls(test_ca().server(&["localhost"]), move |_, stream| {
        read_head(stream);
        wait.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        stream.say(OK.as_bytes());
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::tls(&tap, "localhost", origin.addr.port());
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.end_tls();
    origin.wait_for(b"\r\n\r\n");
    go.send(()).unwrap();
    assert_eq!(client.response().1, b"ok");
    assert!(tap.stop().bundle.only_trace()["error"].is_null());
}

#[test]
fn a_download_that_the_client_leaves_is_ended_upstream() {
    let (sender, told) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::start(move |_, stream| {
        read_head(stream);
        stream.say(b"HTTP/1.1 200 OK\r\n\r\npart");
        // A client that has closed its socket shows that only when it is sent something.
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            if std::io::Write::write_all(stream, &[b'x'; 10_000]).is_err() {
                let _ = sender.lock().unwrap().send(());
                return;
            }
        }
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    client.head();
    client.take(4);
    drop(client);
    told.recv_timeout(DEADLINE).expect("the server still sends to nobody");
    let bundle = tap.stop().bundle;
    let trace = bundle.only_trace();
    assert!(trace["error"].is_string(), "{trace}");
    assert!(bundle.body(&trace, "response").starts_with(b"part"));
}

#[test]
fn an_ipv6_origin_is_asked() {
    let Ok(probe) = TcpListener::bind("[::1]:0") else { return };
    let address = probe.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = probe.accept().unwrap();
        read_head(&mut stream);
        std::io::Write::write_all(&mut stream, OK.as_bytes()).unwrap();
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(address, "/"));
    assert_eq!(client.response().1, b"ok");
    let url = tap.stop().bundle.only_trace()["request"]["url"].clone();
    assert_eq!(url, format!("http://{address}/"));
}

#[test]
fn many_clients_at_once_all_get_their_own_answers() {
    let origin = Origin::tls(test_ca().server(&["localhost"]), |_, stream| {
        while let head @ [_, ..] = read_head(stream).as_slice() {
            let path = String::from_utf8_lossy(head).split(' ').nth(1).unwrap().to_owned();
            let length = path.len();
            stream.say(
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}").as_bytes(),
            );
        }
    });
    let tap = Flowtap::start(&["--loops", "3"]);
    std::thread::scope(|scope| {
        for client in 0..20 {
            let (tap, port) = (&tap, origin.addr.port());
            scope.spawn(move || {
                let mut connection = Client::tls(tap, "localhost", port);
                for request in 0..10 {
                    let path = format!("/{client}/{request}");
                    connection.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
                    assert_eq!(connection.response().1, path.as_bytes());
                }
            });
        }
    });
    let bundle = tap.stop().bundle;
    assert_eq!(bundle.traces().len(), 200);
    for trace in bundle.traces() {
        let url = trace["request"]["url"].as_str().unwrap();
        let body = String::from_utf8(bundle.body(&trace, "response")).unwrap();
        assert_eq!(url, format!("https://localhost{body}"));
        assert_eq!(fields(&trace["request"]), ["Host: localhost"]);
    }
}
