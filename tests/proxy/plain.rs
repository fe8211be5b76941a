//! Plain HTTP in absolute form.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::{DEADLINE, read_head};

const HELLO: &[u8] =
    b"HTTP/1.1 200 OK\r\nX-b: 1\r\nx-A: 2\r\nX-b: 3\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn an_exchange_is_passed_on_and_captured() {
    let origin = Origin::answers(HELLO);
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    client.send(format!(
        "GET http://{to}/a?b HTTP/1.1\r\nHost: {to}\r\nX-z: 1\r\nProxy-Connection: x\r\n\r\n"
    ));
    assert!(client.head().contains("X-b: 1\r\nx-A: 2\r\nX-b: 3\r\n"));
    assert_eq!(client.take(5), b"hello");
    let seen = origin.seen();
    assert!(seen.starts_with("GET /a?b HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("X-z: 1\r\n") && !seen.contains("Proxy-Connection"), "{seen}");
    let stopped = tap.stop();
    assert!(stopped.status.success(), "{}", stopped.stderr);
    let traces = stopped.bundle.traces();
    assert_eq!(traces.len(), 1);
    assert_eq!(traces[0]["request"]["url"], format!("http://{to}/a?b"));
    assert_eq!(traces[0]["response"]["headers"][1]["name"], "x-A");
    assert_eq!(stopped.bundle.body(&traces[0], "response"), b"hello");
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_upstream_connection() {
    let origin = Origin::start(|_, stream| {
        loop {
            let head = read_head(stream);
            let Some(digit) = head.get(5).copied() else { break };
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n").unwrap();
            stream.write_all(&[digit]).unwrap();
        }
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    let get = |n| format!("GET http://{to}/{n} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    client.send([get(1), get(2), get(3)].concat());
    for digit in [b"1", b"2", b"3"] {
        client.head();
        assert_eq!(client.take(1), digit);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_byte_is_passed_on_when_it_arrives() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |_, stream| {
        read_head(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\na").unwrap();
        wait.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        stream.write_all(b"b").unwrap();
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(format!("GET http://{0}/ HTTP/1.0\r\nHost: {0}\r\n\r\n", origin.addr));
    client.head();
    assert_eq!(client.take(1), b"a");
    go.send(()).unwrap();
    assert_eq!(client.rest(), "b");
}
