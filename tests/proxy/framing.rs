//! Bodies that end early, and messages whose framing is in doubt (RFC 9112 sections 6.3, 7.1,
//! 11.1 and 11.2): refused from both sides, and truncation stays visible.

use std::io::Read;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::support::client::{Client, End};
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::{DEADLINE, get as request, read_head};

/// What a client gets for one GET, up to the close.
fn get(reply: &[u8]) -> (String, End, serde_json::Value) {
    let origin = Origin::answers_and_closes(reply);
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    client.send(format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n"));
    let (got, end) = client.ending();
    (String::from_utf8_lossy(&got).into_owned(), end, tap.stop().bundle.only_trace())
}

#[test]
fn a_short_body_stays_short_and_is_an_error() {
    let (got, _, trace) = get(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    assert!(got.contains("Content-Length: 9\r\n") && got.ends_with("\r\n\r\nabc"), "{got:?}");
    assert!(trace["error"].is_string(), "{trace}");
}

#[test]
fn a_cut_chunked_body_never_gets_its_last_chunk() {
    for cut in ["3\r\nabc\r\n", "3\r\nabc\r\n5\r\nde", "3\r\nabc\r\n0"] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (got, _, trace) = get(format!("{head}{cut}").as_bytes());
        assert!(got.contains("abc") && !got.contains("\r\n0\r\n"), "{cut:?}: {got:?}");
        assert!(trace["error"].is_string(), "{cut:?}: {trace}");
    }
}

#[test]
fn a_cut_trailer_section_never_gets_its_last_line() {
    let (got, _, trace) =
        get(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n");
    assert!(got.contains("abc") && !got.ends_with("\r\n\r\n"), "{got:?}");
    assert!(trace["error"].is_string(), "{trace}");
}

#[test]
fn a_reset_inside_a_body_that_ends_with_the_connection_is_no_end() {
    let origin = Origin::start(|_, stream| {
        read_head(stream);
        stream.say(b"HTTP/1.1 200 OK\r\n\r\nabc");
        let mut told = [0];
        let _ = stream.read(&mut told);
        stream.reset();
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "POST http://{0}/ HTTP/1.0\r\nHost: {0}\r\nContent-Length: 1\r\n\r\n",
        origin.addr
    ));
    client.head();
    assert_eq!(client.take(3), b"abc");
    client.send("x");
    assert_eq!(client.ending(), (Vec::new(), End::Cut));
    assert!(tap.stop().bundle.only_trace()["error"].is_string());
}

const RESPONSE_HEADS: [&[u8]; 22] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1 1\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 1\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 1\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 1\r\n\r\na",
    b"HTTP/1.1 200 OK\nContent-Length: 1\n\na",
    b"HTTP/1.1 2000 OK\r\nContent-Length: 1\r\n\r\na",
    b"HTTP/2 200 OK\r\nContent-Length: 1\r\n\r\na",
    b"nonsense\r\n\r\n",
];

#[test]
fn doubtful_response_heads_become_502_and_their_connection_is_closed() {
    let (closed, told) = channel();
    let closed = Mutex::new(closed);
    let origin = Origin::start(move |_, stream| {
        let head = String::from_utf8(read_head(stream)).unwrap();
        let Some(number) = head.split(['/', ' ']).nth(2) else { return };
        stream.say(RESPONSE_HEADS[number.parse::<usize>().unwrap()]);
        let _ = closed.lock().unwrap().send(stream.closed());
    });
    let tap = Flowtap::start(&[]);
    for (number, reply) in RESPONSE_HEADS.iter().enumerate() {
        let shown = String::from_utf8_lossy(reply);
        let mut client = Client::connect(tap.addr);
        client.send(request(origin.addr, &format!("/{number}")));
        let (head, body) = client.response();
        assert!(head.starts_with("HTTP/1.1 502 "), "{shown:?} gave {head:?}");
        let body = String::from_utf8(body).unwrap();
        assert_eq!(body.lines().count(), 1, "{shown:?} gave {body:?}");
        assert_eq!(told.recv_timeout(DEADLINE), Ok(true), "{shown:?}: still connected");
    }
    let traces = tap.stop().bundle.traces();
    assert_eq!(traces.len(), RESPONSE_HEADS.len());
    for trace in traces {
        assert!(trace["error"].is_string(), "{trace}");
    }
}

const BAD_CHUNKS: [&str; 14] = [
    "0x3\r\nabc\r\n",
    "+3\r\nabc\r\n",
    "-3\r\nabc\r\n",
    " 3\r\nabc\r\n",
    "\r\n3\r\nabc\r\n",
    "G\r\nabc\r\n",
    "3_0\r\nabc\r\n",
    "10000000000000000\r\nabc\r\n",
    "fffffffffffffffff\r\nabc\r\n",
    "3\nabc\r\n",
    "3\rabc\r\n",
    "3;a=\"\nb\"\r\nabc\r\n",
    "3\r\nabcde\r\n",
    "3\r\nabc\n",
];

#[test]
fn bad_chunks_of_a_server_cut_the_response() {
    let (closed, told) = channel();
    let closed = Mutex::new(closed);
    let origin = Origin::start(move |_, stream| {
        let head = String::from_utf8(read_head(stream)).unwrap();
        let Some(number) = head.split(['/', ' ']).nth(2) else { return };
        let chunks = BAD_CHUNKS[number.parse::<usize>().unwrap()];
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
        stream.say(format!("{head}{chunks}0\r\n\r\n").as_bytes());
        let _ = closed.lock().unwrap().send(stream.closed());
    });
    let tap = Flowtap::start(&[]);
    for (number, chunks) in BAD_CHUNKS.iter().enumerate() {
        let mut client = Client::connect(tap.addr);
        client.send(request(origin.addr, &format!("/{number}")));
        let got = client.rest();
        assert!(!got.ends_with("0\r\n\r\n"), "{chunks:?} was completed: {got:?}");
        assert_eq!(told.recv_timeout(DEADLINE), Ok(true), "{chunks:?}: still connected");
    }
    let traces = tap.stop().bundle.traces();
    assert_eq!(traces.len(), BAD_CHUNKS.len());
    for trace in traces {
        assert!(trace["error"].is_string(), "{trace}");
    }
}

#[test]
fn bad_chunks_of_a_client_get_400_and_end_no_request() {
    let origin = Origin::start(|_, stream| {
        stream.closed();
    });
    let tap = Flowtap::start(&[]);
    for chunks in BAD_CHUNKS {
        let mut client = Client::connect(tap.addr);
        client.send(format!(
            "POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nok\r\n{chunks}0\r\n\r\nGET http://{0}/smuggled HTTP/1.1\r\nHost: {0}\r\n\r\n",
            origin.addr
        ));
        let got = client.rest();
        assert!(got.starts_with("HTTP/1.1 400 "), "{chunks:?} gave {got:?}");
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{chunks:?} gave {got:?}");
    }
    let seen = origin.seen();
    assert!(!seen.contains("smuggled") && !seen.contains("0\r\n\r\n"), "{seen:?}");
}

#[test]
fn bytes_after_a_response_belong_to_no_response() {
    let extra = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for first in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n",
    ] {
        let reply = format!("{first}{extra}");
        let origin = Origin::start(move |number, stream| {
            while read_head(stream).ends_with(b"\r\n\r\n") {
                let second = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond";
                stream.say(if number == 0 { reply.as_bytes() } else { second });
            }
        });
        let tap = Flowtap::start(&["--loops", "1"]);
        let mut client = Client::connect(tap.addr);
        client.send(request(origin.addr, "/1"));
        let head = client.head();
        if head.contains("Content-Length: 4") && head.contains(" 200 ") {
            assert_eq!(client.take(4), b"good");
        } else if head.contains("chunked") {
            assert_eq!(client.take(14), b"4\r\ngood\r\n0\r\n\r\n");
        }
        client.send(request(origin.addr, "/2"));
        assert_eq!(client.response().1, b"second", "after {first:?}");
        assert_eq!(origin.connections(), 2, "after {first:?}");
    }
}

#[test]
fn a_head_response_with_a_body_does_not_shift_the_next_one() {
    let origin = Origin::start(|number, stream| {
        while read_head(stream).ends_with(b"\r\n\r\n") {
            let body =
                if number == 0 { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" } else { "b" };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.say(format!("{head}{body}").as_bytes());
        }
    });
    let tap = Flowtap::start(&["--loops", "1"]);
    let mut client = Client::connect(tap.addr);
    client.send(request(origin.addr, "/").replacen("GET", "HEAD", 1));
    client.head();
    client.send(request(origin.addr, "/"));
    assert_eq!(client.response().1, b"b");
}

#[test]
fn equal_lengths_are_one_length() {
    let (got, _, trace) =
        get(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na");
    // RFC 9112 section 6.3: a recipient may take them as one, or refuse the message.
    if got.starts_with("HTTP/1.1 200 ") {
        assert!(got.ends_with("\r\n\r\na"), "{got:?}");
        assert_eq!(got.matches("Content-Length").count(), 1, "{got:?}");
    } else {
        assert!(got.starts_with("HTTP/1.1 502 ") && trace["error"].is_string(), "{got:?}");
    }
}
