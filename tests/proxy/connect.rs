//! CONNECT with something other than TLS inside.

use std::io::{Read, Write};

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;

#[test]
fn a_server_that_speaks_first_is_heard_and_a_half_close_is_passed_on() {
    let origin = Origin::start(|_, stream| {
        stream.write_all(b"220 hi\r\n").unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::tunnel(tap.addr, origin.addr);
    assert_eq!(client.take(8), b"220 hi\r\n");
    client.send(b"\x00\x01raw");
    client.finish();
    assert_eq!(client.rest(), "\0\u{1}raw");
}

#[test]
fn plain_http_inside_a_tunnel_is_captured() {
    let origin = Origin::answers(b"HTTP/1.1 204 No Content\r\n\r\n");
    let tap = Flowtap::start(&[]);
    let mut client = Client::tunnel(tap.addr, origin.addr);
    client.send(format!("GET /in HTTP/1.1\r\nHost: {}\r\n\r\n", origin.addr));
    assert!(client.head().starts_with("HTTP/1.1 204"));
    let traces = tap.stop().bundle.traces();
    assert_eq!(traces[0]["request"]["url"], format!("http://{}/in", origin.addr));
}
