//! Upstream connections are used again, and a stale one costs no idempotent request.

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::tls::test_ca;
use crate::support::{get, read_head};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn clients_share_upstream_connections() {
    let origin = Origin::answers(OK);
    let tap = Flowtap::start(&["--loops", "1"]);
    for _ in 0..3 {
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, "/"));
        assert_eq!(client.response().1, b"ok");
    }
    assert_eq!(origin.connections(), 1);
    let traces = tap.stop().bundle.traces();
    let reused: Vec<_> = traces.iter().map(|t| t["server"]["reused"].as_bool().unwrap()).collect();
    assert_eq!(reused, [false, true, true]);
    assert_eq!(traces[2]["timing"]["connect_ms"], 0);
}

#[test]
fn tls_connections_are_shared_by_clients_of_one_name_only() {
    let origin = Origin::tls_answers(test_ca().server(&["localhost", "127.0.0.1"]), OK);
    let tap = Flowtap::start(&["--loops", "1"]);
    for (name, connections) in [("localhost", 1), ("localhost", 1), ("127.0.0.1", 2)] {
        let mut client = Client::tls(&tap, name, origin.addr.port());
        client.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n"));
        assert_eq!(client.response().1, b"ok");
        assert_eq!(origin.connections(), connections, "{name}");
    }
}

#[test]
fn a_connection_that_the_server_ends_is_not_used_again() {
    for reply in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let origin = Origin::answers(reply);
        let tap = Flowtap::start(&["--loops", "1"]);
        let mut client = Client::connect(tap.addr);
        for _ in 0..2 {
            client.send(get(origin.addr, "/"));
            assert_eq!(client.response().1, b"ok");
        }
        assert_eq!(origin.connections(), 2, "{reply:?}");
    }
}

/// Answers one request, and leaves when the next one comes.
fn leaves_at_the_second_request(resets: bool) -> Origin {
    Origin::start(move |number, stream| {
        for served in 0.. {
            if !read_head(stream).ends_with(b"\r\n\r\n") {
                return;
            }
            if number == 0 && served == 1 {
                if resets {
                    stream.reset();
                }
                return;
            }
            stream.say(OK.as_bytes());
        }
    })
}

#[test]
fn an_idempotent_request_on_a_stale_connection_is_sent_again_once() {
    for (method, resets) in
        [("GET", false), ("GET", true), ("PUT", false), ("DELETE", false), ("OPTIONS", true)]
    {
        let origin = leaves_at_the_second_request(resets);
        let tap = Flowtap::start(&["--loops", "1"]);
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, "/1"));
        client.response();
        client.send(get(origin.addr, "/2").replacen("GET", method, 1));
        let (head, _) = client.response();
        assert!(head.starts_with("HTTP/1.1 200 "), "{method} {resets}: {head}");
        let seen = origin.seen().matches(&format!("{method} /2 ")).count();
        assert_eq!((seen, origin.connections()), (2, 2), "{method} {resets}");
    }
}

#[test]
fn a_post_on_a_stale_connection_is_not_sent_again() {
    let origin = leaves_at_the_second_request(false);
    let tap = Flowtap::start(&["--loops", "1"]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/1"));
    client.response();
    client.send(format!(
        "POST http://{0}/2 HTTP/1.1\r\nHost: {0}\r\nContent-Length: 1\r\n\r\nx",
        origin.addr
    ));
    let (head, _) = client.response();
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert_eq!(origin.seen().matches("POST /2 ").count(), 1);
}

#[test]
fn a_request_on_a_fresh_connection_is_not_sent_again() {
    let origin = Origin::start(|_, stream| {
        read_head(stream);
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    assert!(client.response().0.starts_with("HTTP/1.1 502 "));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_request_is_sent_again_only_once() {
    let origin = Origin::start(|number, stream| {
        read_head(stream);
        if number == 0 {
            stream.say(OK.as_bytes());
            read_head(stream);
        }
    });
    let tap = Flowtap::start(&["--loops", "1"]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/1"));
    client.response();
    client.send(get(origin.addr, "/2"));
    assert!(client.response().0.starts_with("HTTP/1.1 502 "));
    assert_eq!(origin.seen().matches("GET /2 ").count(), 2);
}
