//! Memory stays bounded, whatever passes.

use std::io::Read;

use crate::open_files;
use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::get;
use crate::support::origin::Origin;
use crate::support::read_head;
use crate::support::tls::{certificate_in, client_config, test_ca};

const GIB: u64 = 1 << 30;
const BLOCK: usize = 1 << 20;
const GROWTH_KIB: u64 = 32 * 1024;
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Asserts that memory has grown by no more than `limit` KiB.
fn assert_grown(tap: &Flowtap, before: u64, limit: u64) {
    let after = tap.resident_kib();
    assert!(after <= before + limit, "{before} KiB became {after} KiB, {limit} KiB more at most");
}

#[test]
fn a_large_download_takes_no_memory() {
    let origin = Origin::start(|_, stream| {
        read_head(stream);
        stream.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n").as_bytes());
        let block = vec![b'x'; BLOCK];
        (0..GIB / BLOCK as u64).for_each(|_| stream.say(&block));
    });
    let tap = Flowtap::start(&[]);
    let before = tap.resident_kib();
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    client.head();
    let mut block = vec![0; BLOCK];
    for number in 0..GIB / BLOCK as u64 {
        client.reader().read_exact(&mut block).unwrap();
        if number % 128 == 127 {
            assert_grown(&tap, before, GROWTH_KIB);
        }
    }
    let trace = tap.stop().bundle.only_trace();
    assert_eq!(trace["response"]["body_wire_size"], GIB);
}

#[test]
fn a_large_upload_takes_no_memory() {
    let origin = Origin::start(|_, stream| {
        read_head(stream);
        let mut left = stream.unrecorded().take(GIB);
        std::io::copy(&mut left, &mut std::io::sink()).unwrap();
        stream.say(OK.as_bytes());
    });
    let tap = Flowtap::start(&[]);
    let before = tap.resident_kib();
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    client
        .send(format!("PUT http://{to}/ HTTP/1.1\r\nHost: {to}\r\nContent-Length: {GIB}\r\n\r\n"));
    let block = vec![b'x'; BLOCK];
    for number in 0..GIB / BLOCK as u64 {
        client.send(&block);
        if number % 128 == 127 {
            assert_grown(&tap, before, GROWTH_KIB);
        }
    }
    assert_eq!(client.response().1, b"ok");
    assert_eq!(tap.stop().bundle.only_trace()["request"]["body_wire_size"], GIB);
}

#[test]
fn a_client_that_reads_nothing_holds_the_server_back() {
    const SIZE: u64 = GIB / 4;
    let origin = Origin::start(|_, stream| {
        read_head(stream);
        stream.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes());
        let block = vec![b'x'; BLOCK];
        (0..SIZE / BLOCK as u64).for_each(|_| stream.say(&block));
    });
    let tap = Flowtap::start(&[]);
    let before = tap.resident_kib();
    let mut slow = Client::connect(tap.addr);
    slow.send(get(origin.addr, "/"));
    slow.head();
    // The other client's whole download is the time in which the first one reads nothing.
    let mut fast = Client::connect(tap.addr);
    fast.send(get(origin.addr, "/"));
    fast.head();
    std::io::copy(&mut fast.reader().take(SIZE), &mut std::io::sink()).unwrap();
    assert_grown(&tap, before, GROWTH_KIB);
    assert_eq!(std::io::copy(&mut slow.reader().take(SIZE), &mut std::io::sink()).unwrap(), SIZE);
}

#[test]
fn idle_intercepted_connections_are_small() {
    const CONNECTIONS: usize = 1_000;
    const EACH_KIB: u64 = 32;
    open_files::raise_limit();
    let origin = Origin::tls_answers(test_ca().server(&["localhost"]), OK);
    let tap = Flowtap::start(&["--loops", "2"]);
    let trust = client_config(certificate_in(&tap.ca_file()));
    let open = || {
        let port = origin.addr.port();
        let (mut client, _) = Client::tls_with(&tap, "localhost", port, trust.clone()).unwrap();
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.response().1, b"ok");
        client
    };
    let mut clients: Vec<_> = (0..20).map(|_| open()).collect();
    let before = tap.resident_kib();
    clients.extend((0..CONNECTIONS).map(|_| open()));
    assert_grown(&tap, before, CONNECTIONS as u64 * EACH_KIB);
    drop(clients);
}
