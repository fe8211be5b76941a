//! Bodies stream: what has arrived is passed on, whatever is still missing.

use std::io::Read;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::{Accepted, Origin};
use crate::support::tls::test_ca;
use crate::support::{DEADLINE, get, read_head};

/// A script that says each piece when it is told to.
fn piecewise(pieces: &'static [&'static str]) -> (Sender<()>, impl Fn(usize, &mut Accepted)) {
    let (go, wait): (_, Receiver<()>) = channel();
    let wait = Mutex::new(wait);
    let script = move |_: usize, stream: &mut Accepted| {
        read_head(stream);
        for piece in pieces {
            wait.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            stream.say(piece.as_bytes());
        }
    };
    (go, script)
}

#[test]
fn a_byte_is_passed_on_when_it_arrives() {
    let (go, script) = piecewise(&["HTTP/1.1 200 OK\r\n\r\na", "b"]);
    let origin = Origin::start(script);
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/").replace("1.1\r\n", "1.0\r\n"));
    go.send(()).unwrap();
    client.head();
    assert_eq!(client.take(1), b"a");
    go.send(()).unwrap();
    assert_eq!(client.rest(), "b");
}

#[test]
fn server_sent_events_arrive_one_by_one_inside_tls() {
    let (go, script) = piecewise(&[
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        "9\r\ndata: 1\n\n\r\n",
        "9\r\ndata: 2\n\n\r\n",
        "0\r\n\r\n",
    ]);
    let origin = Origin::tls(test_ca().server(&["localhost"]), script);
    let tap = Flowtap::start(&[]);
    let mut client = Client::tls(&tap, "localhost", origin.addr.port());
    client.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    go.send(()).unwrap();
    assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"), "the head comes before any event");
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        go.send(()).unwrap();
        assert_eq!(client.take(14), format!("9\r\n{event}\r\n").as_bytes());
    }
    go.send(()).unwrap();
    assert_eq!(client.take(5), b"0\r\n\r\n");
    let bundle = tap.stop().bundle;
    assert_eq!(bundle.body(&bundle.only_trace(), "response"), b"data: 1\n\ndata: 2\n\n");
}

#[test]
fn an_upload_is_passed_on_as_it_comes() {
    let origin = Origin::start(|_, stream| {
        read_head(stream);
        let mut body = [0; 6];
        stream.read_exact(&mut body).unwrap();
        stream.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "PUT http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: 6\r\n\r\n",
        origin.addr
    ));
    for piece in ["ab", "cd"] {
        client.send(piece);
        origin.wait_for(piece.as_bytes());
    }
    client.send("ef");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    let bundle = tap.stop().bundle;
    assert_eq!(bundle.body(&bundle.only_trace(), "request"), b"abcdef");
}

#[test]
fn a_chunked_upload_is_passed_on_as_it_comes() {
    let origin = Origin::start(|_, stream| {
        read_head(stream);
        read_head(stream);
        stream.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "PUT http://{0}/ HTTP/1.1\r\nHost: {0}\r\nTransfer-Encoding: chunked\r\n\r\n",
        origin.addr
    ));
    client.send("3\r\nabc\r\n");
    origin.wait_for(b"abc\r\n");
    client.send("0\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
}

#[test]
fn large_bodies_arrive_whole_both_ways() {
    const SIZE: usize = 5_000_000;
    let origin = Origin::tls(test_ca().server(&["localhost"]), |_, stream| {
        read_head(stream);
        let mut body = vec![0; SIZE];
        stream.read_exact(&mut body).unwrap();
        body.reverse();
        stream.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes());
        stream.say(&body);
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::tls(&tap, "localhost", origin.addr.port());
    let mut body: Vec<u8> = (0..SIZE).map(|n| (n / 3) as u8).collect();
    client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {SIZE}\r\n\r\n"));
    client.send(&body);
    let (_, answer) = client.response();
    let bundle = tap.stop().bundle;
    let trace = bundle.only_trace();
    assert!(bundle.body(&trace, "request") == body, "the request body differs");
    body.reverse();
    assert!(answer == body, "the answer differs");
    assert!(bundle.body(&trace, "response") == body, "the response body differs");
}
