//! SOCKS5 proxies, scripted byte by byte.

use std::io::Read;

use super::{OK, asked, asked_securely, serve, serve_tls, through};
use crate::support::client::Client;
use crate::support::origin::{Accepted, Origin};
use crate::support::tls::test_ca;

const GRANTED: &[u8] = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50";

/// Expects these bytes, and answers.
fn expect(stream: &mut Accepted, bytes: &[u8], answer: &[u8]) {
    let mut got = vec![0; bytes.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(bytes));
    stream.say(answer);
}

#[test]
fn names_are_looked_up_by_a_proxy_of_socks5h() {
    let server = test_ca().server(&["far.example"]);
    let proxy = Origin::start(move |_, stream| {
        expect(stream, b"\x05\x02\x00\x02", b"\x05\x02");
        expect(stream, b"\x01\x04user\x06s3cret", b"\x01\x00");
        let mut port = [0; 2];
        let mut head = [0; 16];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"\x05\x01\x00\x03\x0bfar.example");
        stream.read_exact(&mut port).unwrap();
        stream.say(GRANTED);
        match u16::from_be_bytes(port) {
            443 => serve_tls(stream, server.clone()),
            80 => serve(stream),
            port => panic!("{port}"),
        }
    });
    let tap = through(&format!("socks5h://user:s3cret@{}", proxy.addr)).start();
    for _ in 0..2 {
        assert_eq!(asked(&tap, "far.example").1, "ok");
        assert_eq!(asked_securely(&tap).1, "ok");
    }
    assert_eq!(proxy.connections(), 2, "both were used again");
    assert!(proxy.seen().contains("GET / HTTP/1.1\r\nHost: far.example\r\n"), "in origin form");
    let stopped = tap.stop();
    assert_eq!(stopped.bundle.traces().len(), 4);
    assert!(!stopped.stderr.contains("s3cret"));
}

#[test]
fn names_are_looked_up_here_for_a_proxy_of_socks5() {
    let proxy = Origin::start(|_, stream| {
        expect(stream, b"\x05\x01\x00", b"\x05\x00");
        expect(stream, b"\x05\x01\x00\x01\x7f\x00\x00\x01\x10\x92", GRANTED);
        serve(stream);
    });
    let tap = through(&format!("socks5://{}", proxy.addr)).start();
    assert_eq!(asked(&tap, "localhost:4242").1, "ok");
    let body = asked(&tap, "name.invalid").1;
    assert!(body.contains("the name name.invalid cannot be resolved"), "{body}");
    assert!(!body.contains("upstream proxy"), "{body}");
}

#[test]
fn an_unread_tunnel_gets_what_followed_the_reply_split_anywhere() {
    let proxy = Origin::start(|number, stream| {
        expect(stream, b"\x05\x01\x00", b"\x05\x00");
        expect(stream, b"\x05\x01\x00\x03\x0bfar.example\x00\x19", &GRANTED[..number]);
        stream.say(&[&GRANTED[number..], b"220 hello"].concat());
        stream.closed();
    });
    let url = format!("socks5h://{}", proxy.addr);
    let tap = through(&url).args(["-e", "far.example"]).start();
    for _ in 0..GRANTED.len() {
        let mut client = Client::tunnel(tap.addr, "far.example:25");
        assert_eq!(client.take(9), b"220 hello");
    }
}

#[test]
fn refusals_and_silence_are_told_with_the_name_of_the_proxy() {
    let cases: [(&str, &[u8], u16, &str); 7] = [
        ("", b"\x05\xff", 502, "wants a user name and password: give them in its URL"),
        ("user:s3cret@", b"\x05\xff", 502, "another kind of SOCKS5 authentication"),
        ("user:s3cret@", b"\x05\x02\x01\x01", 502, "does not take the user name and password"),
        ("", b"HTTP/1.1 400 Bad Request\r\n\r\n", 502, "does not answer as SOCKS5 does"),
        ("", b"\x05\x00\x05\x04\x00\x01\0\0\0\0\0\0", 502, "far.example:80: host unreachable"),
        ("", b"\x05\x00\x05", 502, "did not answer the SOCKS5 request for far.example:80: it"),
        ("", b"", 504, "did not answer the SOCKS5 request for far.example:80 within 1 s"),
    ];
    for (credentials, answers, status, words) in cases {
        let proxy = Origin::start(move |_, stream| {
            stream.say(answers);
            if status == 504 {
                stream.closed();
            } else {
                stream.finish();
                stream.closed();
            }
        });
        let url = format!("socks5h://{credentials}{}", proxy.addr);
        let tap = through(&url).args(["--set", "connect_timeout=1"]).start();
        let (head, body) = asked(&tap, "far.example");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{words}: {head}{body}");
        assert!(body.contains(words), "{words}: {body}");
        assert!(body.contains(&format!("the upstream proxy socks5h://{} ", proxy.addr)), "{body}");
        assert!(!body.contains("s3cret"), "{body}");
    }
}

#[test]
fn a_server_that_answers_is_not_taken_for_the_proxy() {
    let proxy = Origin::start(|_, stream| {
        expect(stream, b"\x05\x01\x00", &[b"\x05\x00", GRANTED, OK].concat());
        stream.closed();
    });
    // Bytes that no request was sent for belong to no response, but what it says is a tunnel's.
    let url = format!("socks5h://{}", proxy.addr);
    let tap = through(&url).args(["-e", "far.example"]).start();
    let mut client = Client::tunnel(tap.addr, "far.example:80");
    assert_eq!(client.take(OK.len()), OK);
}
