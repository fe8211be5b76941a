//! Bodies that end early, or whose framing is in doubt on the server's side.

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;

/// What a client gets for one GET, up to the close.
fn get(reply: &'static [u8]) -> (String, Vec<serde_json::Value>) {
    let origin = Origin::answers_and_closes(reply);
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    client.send(format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n"));
    let got = client.rest();
    (got, tap.stop().bundle.traces())
}

#[test]
fn a_short_body_stays_short_and_is_an_error() {
    let (got, traces) = get(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    assert!(got.ends_with("\r\n\r\nabc"), "{got:?}");
    assert!(traces[0]["error"].is_string(), "{}", traces[0]);
}

#[test]
fn a_cut_chunked_body_never_gets_its_last_chunk() {
    let (got, traces) = get(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert!(got.contains("abc") && !got.contains("0\r\n\r\n"), "{got:?}");
    assert!(traces[0]["error"].is_string(), "{}", traces[0]);
}

#[test]
fn doubtful_response_heads_become_502() {
    let replies: [&'static [u8]; 7] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 1\r\n\r\na",
        b"nonsense\r\n\r\n",
    ];
    for reply in replies {
        let (got, traces) = get(reply);
        let shown = String::from_utf8_lossy(reply);
        assert!(got.starts_with("HTTP/1.1 502"), "{shown:?} gave {got:?}");
        assert!(traces[0]["error"].is_string(), "{shown:?}");
    }
}
