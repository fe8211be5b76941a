//! The support code against itself, without the proxy.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use super::client::Client;
use super::origin::Origin;
use super::refusing::Refusing;

#[test]
fn an_origin_answers_and_remembers() {
    let origin = Origin::answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let mut client = Client::connect(origin.addr);
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(client.take(2), b"hi");
    }
    assert_eq!(origin.seen(), "GET / HTTP/1.1\r\n\r\n".repeat(2));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn what_refuses_leaves_its_port_to_who_asks_for_it() {
    let nobody = Refusing::new();
    let refused = TcpStream::connect(nobody.addr).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    TcpListener::bind(("0.0.0.0", nobody.addr.port())).unwrap();
}

#[test]
fn a_half_close_reaches_the_origin() {
    let origin = Origin::start(|_, stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    let mut client = Client::connect(origin.addr);
    client.send("abc");
    client.finish();
    assert_eq!(client.rest(), "abc");
}
