//! Limits, seen from outside.

use rustix::process::Signal;

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::get;
use crate::support::origin::Origin;

/// What a client gets for a reply that is beyond a limit.
fn beyond(reply: String) -> (String, serde_json::Value) {
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
        let (got, trace) = beyond(reply);
        assert!(got.starts_with("HTTP/1.1 502 "), "{what}: {:?}", got.get(..100));
        assert!(trace["error"].is_string(), "{what}");
    }
}

#[test]
fn endless_interim_responses_are_502() {
    let (got, trace) = beyond("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17));
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
        let (got, trace) = beyond(format!("{head}{rest}"));
        let Some((_, body)) = got.split_once("\r\n\r\n") else { panic!("{what}: {got:?}") };
        assert!(!body.ends_with("\r\n\r\n"), "{what} was completed");
        assert!(trace["error"].is_string(), "{what}: {trace}");
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
