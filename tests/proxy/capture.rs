//! What the bundle says of the traffic.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::bundle::{Bundle, fields};
use crate::support::client::Client;
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::get;
use crate::support::origin::Origin;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn reply(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn content_codings_are_undone_in_the_bundle_alone() {
    let fox =
        |name: &str| std::fs::read(format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR")));
    let text = b"some text, some text, some text".as_slice();
    for (coding, coded, decoded) in [
        ("gzip", gzip(text), Some(text)),
        ("GZIP", gzip(text), Some(text)),
        ("br", fox("fox.br").unwrap(), None),
        ("zstd", fox("fox.zst").unwrap(), None),
    ] {
        let origin = Origin::answers(reply(&format!("Content-Encoding: {coding}\r\n"), &coded));
        let tap = Flowtap::start(&[]);
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, "/"));
        assert!(client.response().1 == coded, "{coding}: the client gets it as it is");
        let bundle = tap.stop().bundle;
        let trace = bundle.only_trace();
        let stored = bundle.body(&trace, "response");
        assert!(trace["response"]["body_encoding"].is_null(), "{coding}: {trace}");
        assert_eq!(fields(&trace["response"])[0], format!("Content-Encoding: {coding}"));
        match decoded {
            Some(text) => assert_eq!(stored, text, "{coding}"),
            None => assert!(stored.is_ascii() && stored.len() > coded.len(), "{coding}"),
        }
    }
}

#[test]
fn a_body_that_cannot_be_decoded_is_stored_as_it_came() {
    for coding in ["gzip", "unheard-of"] {
        let body = b"this is nothing of the kind";
        let origin = Origin::answers(reply(&format!("Content-Encoding: {coding}\r\n"), body));
        let tap = Flowtap::start(&[]);
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, "/"));
        client.response();
        let bundle = tap.stop().bundle;
        let trace = bundle.only_trace();
        assert_eq!(bundle.body(&trace, "response"), body, "{coding}");
        assert_eq!(trace["response"]["body_encoding"], coding);
    }
}

#[test]
fn odd_header_text_is_kept() {
    let odd = b"HTTP/1.1 200 \xfcber\r\nLatin: caf\xe9\r\nUtf: caf\xc3\xa9\r\nEmpty:\r\n\
                Content-Length: 0\r\n\r\n";
    let origin = Origin::answers(odd.as_slice());
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    client.head();
    let trace = tap.stop().bundle.only_trace();
    let got = fields(&trace["response"]);
    assert_eq!(got, ["Latin: café", "Utf: café", "Empty: ", "Content-Length: 0"]);
    assert_eq!(trace["response"]["status_text"], "über");
}

#[test]
fn times_tell_of_when_and_how_long() {
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let origin = Origin::answers(OK);
    let tap = Flowtap::start(&[]);
    let begun = now();
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    client.response();
    let took = now() - begun;
    let trace = tap.stop().bundle.only_trace();
    let timestamp = trace["timestamp"].as_u64().unwrap();
    assert!((begun..=begun + took + 1).contains(&timestamp), "{trace}");
    let timing = |name: &str| trace["timing"][name].as_f64().unwrap();
    let total = timing("total_ms");
    assert!(total > 0.0 && total <= took as f64 + 2.0, "{total} of {took}");
    assert!(timing("connect_ms") > 0.0 && timing("tls_ms") == 0.0, "{trace}");
    let parts = ["dns_ms", "connect_ms", "tls_ms", "send_ms", "wait_ms", "receive_ms"];
    assert!(parts.iter().map(|name| timing(name)).sum::<f64>() <= total + 0.1, "{trace}");
}

#[test]
fn a_body_beyond_the_limit_flows_on_and_its_copy_is_cut() {
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n / 11) as u8).collect();
    let origin = Origin::answers(reply("", &body));
    let tap = Flowtap::start(&["--capture-body-limit", "100k"]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    assert!(client.response().1 == body, "the client gets all of it");
    let stopped = tap.stop();
    assert!(stopped.stderr.contains("cut at --capture-body-limit"), "{}", stopped.stderr);
    let trace = stopped.bundle.only_trace();
    assert_eq!(trace["response"]["body_wire_size"], 300_000);
    assert_eq!(trace["response"]["body_size"], 102_400);
    assert!(stopped.bundle.body(&trace, "response") == body[..102_400]);
    assert!(trace["error"].is_null());
}

#[test]
fn a_cut_response_is_captured_as_far_as_it_came() {
    let origin = Origin::answers_and_closes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart");
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    client.rest();
    let bundle = tap.stop().bundle;
    let trace = bundle.only_trace();
    assert_eq!(trace["response"]["status"], 200);
    assert_eq!(bundle.body(&trace, "response"), b"part");
    assert!(trace["error"].is_string());
}

#[test]
fn a_client_that_leaves_is_an_error_of_the_exchange() {
    let (left, told) = std::sync::mpsc::channel();
    let left = std::sync::Mutex::new(left);
    let origin = Origin::start(move |_, stream| {
        let _ = left.lock().unwrap().send(stream.closed());
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    client
        .send(format!("POST http://{to}/ HTTP/1.1\r\nHost: {to}\r\nContent-Length: 9\r\n\r\npart"));
    origin.wait_for(b"part");
    drop(client);
    assert_eq!(told.recv_timeout(crate::support::DEADLINE), Ok(true), "the server is left, too");
    let bundle = tap.stop().bundle;
    let trace = bundle.only_trace();
    assert_eq!(bundle.body(&trace, "request"), b"part");
    assert!(trace["error"].is_string(), "{trace}");
}

#[test]
fn the_manifest_names_the_application() {
    let origin = Origin::answers(OK);
    let tap = Flowtap::start(&["--app", "My App"]);
    let mut client = Client::connect(tap.addr);
    client.send(get(format!("localhost:{}", origin.addr.port()), "/"));
    client.response();
    let manifest = tap.stop().bundle.json("manifest.json");
    assert_eq!(manifest["app"]["name"], "My App");
    assert_eq!(manifest["app"]["base_url"], "https://localhost");
    assert_eq!(manifest["stats"]["trace_count"], 1);
    let manifest = Flowtap::start(&[]).stop().bundle.json("manifest.json");
    assert_eq!(manifest["app"]["name"], "capture");
    assert_eq!(manifest["app"]["base_url"], "");
}

#[test]
fn many_traces_go_on_in_the_next_part() {
    let origin = Origin::answers(OK);
    let setup = Setup::proxy().args(["--bundle-traces", "2"]);
    let folder = setup.dir().to_owned();
    let mut tap = setup.start();
    let mut client = Client::connect(tap.addr);
    for number in 1..=5 {
        client.send(get(origin.addr, &format!("/{number}")));
        client.response();
    }
    tap.signal(rustix::process::Signal::INT);
    // The folder goes with the process that it was made for.
    let kept = tap.keep_until_its_end();
    for (part, urls) in [
        ("capture.zip", &["/1", "/2"][..]),
        ("capture-0002.zip", &["/3", "/4"]),
        ("capture-0003.zip", &["/5"]),
    ] {
        let bundle = Bundle::read(&folder.join(part));
        assert_eq!(bundle.traces().len(), urls.len(), "{part}: {kept:?}");
        for url in urls {
            bundle.trace_of(url);
        }
    }
}

#[test]
fn without_output_nothing_is_written() {
    let setup = Setup::no_output();
    let folder = setup.dir().to_owned();
    let origin = Origin::answers(OK);
    let mut tap = setup.start();
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    assert_eq!(client.response().1, b"ok");
    tap.signal(rustix::process::Signal::INT);
    let ended = tap.keep_until_its_end();
    assert!(ended.status.success(), "{}", ended.stderr);
    let left: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["conf"]);
}
