//! Requests that are refused: a readable answer, a close, and nothing for the origin.

use std::net::TcpListener;

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;

#[test]
fn doubtful_requests_get_400_and_never_a_second_request() {
    let origin = Origin::answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let tap = Flowtap::start(&[]);
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length : 4\r\n",
        "X: a\r\n b\r\n",
        "X: a\rb\r\n",
        "X: a\nY: b\r\n",
        "X: a\0b\r\n",
        "Content-Length: +4\r\n",
    ] {
        let mut client = Client::connect(tap.addr);
        let to = origin.addr;
        client.send(format!("POST http://{to}/ HTTP/1.1\r\nHost: {to}\r\n{fields}\r\n"));
        client.send("0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n");
        let got = client.rest();
        assert!(got.starts_with("HTTP/1.1 400"), "{fields:?} gave {got:?}");
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{fields:?} gave {got:?}");
    }
    assert_eq!(origin.seen(), "");
}

#[test]
fn connect_needs_host_and_port() {
    let tap = Flowtap::start(&[]);
    for target in ["example.com", ":80", "example.com:", "example.com:99999", "/"] {
        let mut client = Client::connect(tap.addr);
        client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(client.rest().starts_with("HTTP/1.1 400"), "{target}");
    }
}

#[test]
fn a_refused_connection_is_502_with_a_reason_in_the_flow() {
    let to = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n"));
    assert!(client.rest().starts_with("HTTP/1.1 502"));
    assert!(tap.stop().bundle.traces()[0]["error"].is_string());
}
