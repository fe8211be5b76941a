//! Heads, interim responses, chunk extensions and trailers without end.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::measure::under;
use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::{get, read_head};

/// What memory may grow by while an attacker goes on.
const GROWTH_KIB: u64 = 32 * 1024;

/// A server that begins so and repeats that until it is cut off.
fn endless(begin: &'static str, again: &'static str) -> Origin {
    Origin::start(move |_, stream| {
        read_head(stream);
        let block = again.repeat(1 + 16 * 1024 / again.len());
        let _ = stream.write_all(begin.as_bytes());
        while stream.write_all(block.as_bytes()).is_ok() {}
    })
}

/// Asks such a server again and again.
fn ask_without_end(what: &str, begin: &'static str, again: &'static str, status: &str) {
    let origin = endless(begin, again);
    let tap = Flowtap::start(&["--loops", "1"]);
    under(what, &tap, GROWTH_KIB, |stop: &AtomicBool| {
        while !stop.load(Ordering::SeqCst) {
            let mut client = Client::connect(tap.addr);
            client.send(get(origin.addr, "/").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
            let got = client.rest();
            let last = got.split("HTTP/1.1 ").last().unwrap();
            assert!(last.starts_with(status), "{what}: {:?}", got.get(..200));
            assert!(!got.ends_with("\r\n0\r\n\r\n"), "{what} was completed");
        }
    });
}

#[test]
fn a_response_head_without_end_is_502() {
    ask_without_end("head", "HTTP/1.1 200 OK\r\n", "Set-Cookie: a=b; Path=/\r\n", "502 ");
}

#[test]
fn a_field_without_end_is_502() {
    ask_without_end("field", "HTTP/1.1 200 OK\r\nX: ", "aaaaaaaaaaaaaaaa", "502 ");
}

#[test]
fn interim_responses_without_end_are_502() {
    ask_without_end("interim", "", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "502 ");
}

#[test]
fn a_chunk_extension_without_end_cuts_the_response() {
    let begin = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=";
    ask_without_end("extension", begin, "bbbbbbbbbbbbbbbb", "200 ");
}

#[test]
fn trailers_without_end_cut_the_response() {
    let begin = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";
    ask_without_end("trailers", begin, "X-Sum: 1234567890\r\n", "200 ");
}

#[test]
fn requests_without_end_are_refused() {
    let origin = Origin::start(|_, stream| {
        stream.closed();
    });
    let to = origin.addr;
    let chunked = format!(
        "POST http://{to}/ HTTP/1.1\r\nHost: {to}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    let cases = [
        (get(to, "/").replace("\r\n\r\n", "\r\n"), "a: b\r\n", "431"),
        (get(to, "/").replace("\r\n\r\n", "\r\nX: "), "aaaaaaaaaaaaaaaa", "431"),
        (format!("GET http://{to}/"), "aaaaaaaaaaaaaaaa", "414"),
        (String::new(), "\r\n", "400"),
        (format!("{chunked}2;a="), "bbbbbbbbbbbbbbbb", "400"),
        (format!("{chunked}0\r\n"), "X-Sum: 1234567890\r\n", "400"),
    ];
    let tap = Flowtap::start(&["--loops", "1"]);
    under("requests", &tap, GROWTH_KIB, |stop: &AtomicBool| {
        for (begin, again, status) in cases.iter().cycle() {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let mut client = Client::connect(tap.addr);
            client.send(begin);
            // More than any limit, and less than what is thrown away behind an error.
            for _ in 0..8 {
                client.try_send(again.repeat(1 + 12 * 1024 / again.len()));
            }
            let got = client.rest();
            assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{begin:?}: {got:?}");
        }
    });
}
