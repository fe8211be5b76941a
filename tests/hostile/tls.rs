//! Games with TLS: each ends, or goes on at a bounded price.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustls::ContentType;
use rustls::version::{TLS12, TLS13};

use crate::measure::under;
use crate::records::{Records, client, records, shake_hands};
use crate::support::DEADLINE;
use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::tls::{certificate_in, test_ca};

const GROWTH_KIB: u64 = 32 * 1024;

/// The proxy, and a server in TLS behind it.
fn stage() -> (Flowtap, Origin) {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let origin = Origin::tls_answers(test_ca().server(&["localhost"]), answer);
    (Flowtap::start(&["--loops", "1"]), origin)
}

fn tunnel(tap: &Flowtap, origin: &Origin) -> Client {
    Client::tunnel(tap.addr, format!("localhost:{}", origin.addr.port()))
}

/// A whole ClientHello's handshake message, without the header of its record.
fn hello(tap: &Flowtap) -> Vec<u8> {
    let mut bytes = Vec::new();
    client(certificate_in(&tap.ca_file()), &TLS13).write_tls(&mut bytes).unwrap();
    bytes.split_off(5)
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3], length.as_slice(), payload].concat()
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// How many records without data the TLS library takes in a row.
const EMPTY_RECORDS: usize = 32;

#[test]
fn a_client_hello_in_records_of_one_byte_is_read() {
    let (tap, origin) = stage();
    let mut client = tunnel(&tap, &origin);
    let mut connection = crate::records::client(certificate_in(&tap.ca_file()), &TLS13);
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    let tiny: Vec<u8> = bytes[5..].iter().flat_map(|byte| record(HANDSHAKE, &[*byte])).collect();
    client.send(tiny);
    shake_hands(&mut connection, &mut client);
    assert!(!connection.is_handshaking());
}

/// Each of these is sent in the place of a ClientHello, on one connection after the other.
#[test]
fn hellos_that_are_none_come_to_an_end() {
    let (tap, origin) = stage();
    let hello = hello(&tap);
    let (begin, rest) = hello.split_at(30);
    let begin_record = record(HANDSHAKE, begin);
    let rest_record = record(HANDSHAKE, rest);
    let between = |middle: &[u8]| [&begin_record, middle, &rest_record].concat();
    let cases = [
        ("an alert inside", between(&record(ALERT, &[1, 90]))),
        ("data inside", between(&record(DATA, b"x"))),
        ("change_cipher_spec inside", between(&record(20, &[1]))),
        ("a record that is too long", vec![HANDSHAKE, 3, 3, 0xff, 0xff]),
        ("a message of 16 MiB", record(HANDSHAKE, &[1, 0xff, 0xff, 0xff, 3, 3])),
        ("another message", record(HANDSHAKE, &[2, 0, 0, 2, 3, 3])),
        ("an alert", record(ALERT, &[2, 0])),
        ("close_notify", record(ALERT, &[1, 0])),
        ("data", record(DATA, &[0; 100])),
        ("half a hello", record(HANDSHAKE, begin)),
        ("SSL 2", vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10]),
        ("two hellos", [record(HANDSHAKE, &hello), record(HANDSHAKE, &hello)].concat()),
        ("a hello and data", [record(HANDSHAKE, &hello), record(DATA, &[0; 50])].concat()),
    ];
    under("hellos", &tap, GROWTH_KIB, |stop: &AtomicBool| {
        for (what, bytes) in cases.iter().cycle() {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let mut client = tunnel(&tap, &origin);
            client.send(bytes);
            client.finish();
            // What it is told is the proxy's or the server's matter; that it ends is ours.
            let (got, _) = client.ending();
            assert!(got.len() < 64 * 1024, "{what}: {} bytes", got.len());
        }
    });
}

#[test]
fn empty_records_without_end_cost_nobody_anything() {
    let (tap, origin) = stage();
    let hello = hello(&tap);
    let empty = record(HANDSHAKE, &[]).repeat(1_000);
    under("empty records", &tap, GROWTH_KIB, |stop: &AtomicBool| {
        while !stop.load(Ordering::SeqCst) {
            for begin in [record(HANDSHAKE, &hello[..30]), Vec::new(), record(HANDSHAKE, &hello)] {
                let mut client = tunnel(&tap, &origin);
                client.send(begin);
                send_until_cut_off("empty records", &mut client, || empty.clone());
            }
        }
    });
}

/// Sends until the proxy ends the connection, which a deadline waits for: much fits between the two.
fn send_until_cut_off(what: &str, client: &mut Client, mut next: impl FnMut() -> Vec<u8>) {
    let end = Instant::now() + DEADLINE;
    while client.try_send(next()) {
        assert!(Instant::now() < end, "{what}: it goes on");
    }
    // A proxy that only does not read on takes nothing more, either.
    client.ending();
}

/// Sends what `next` makes under the keys of a handshake, until the proxy ends the connection;
/// again and again.
fn flood(
    what: &str,
    version: &'static rustls::SupportedProtocolVersion,
    mut next: impl FnMut(&mut Records) -> Vec<u8> + Send,
) {
    let (tap, origin) = stage();
    under(what, &tap, GROWTH_KIB, |stop: &AtomicBool| {
        while !stop.load(Ordering::SeqCst) {
            let mut stream = tunnel(&tap, &origin);
            let mut connection = client(certificate_in(&tap.ca_file()), version);
            shake_hands(&mut connection, &mut stream);
            let mut records = records(connection);
            send_until_cut_off(what, &mut stream, || next(&mut records));
        }
    });
}

#[test]
fn a_client_that_renegotiates_is_cut_off() {
    // A ClientHello inside the session (RFC 5746).
    let (tap, _) = stage();
    let mut hello = Vec::new();
    client(certificate_in(&tap.ca_file()), &TLS12).write_tls(&mut hello).unwrap();
    let hello = hello.split_off(5);
    flood("renegotiation", &TLS12, move |keys| keys.seal(ContentType::Handshake, &hello));
}

#[test]
fn warnings_without_end_are_cut_off() {
    // no_renegotiation and user_canceled.
    flood("TLS 1.2", &TLS12, |keys| keys.seal(ContentType::Alert, &[1, 100]));
    flood("TLS 1.3", &TLS13, |keys| keys.seal(ContentType::Alert, &[1, 90]));
}

#[test]
fn handshake_messages_that_have_no_place_are_cut_off() {
    flood("empty", &TLS13, |keys| keys.seal(ContentType::Handshake, &[]));
    flood("Finished", &TLS13, |keys| keys.seal(ContentType::Handshake, &[20, 0, 0, 1, 0]));
    // A message that is declared to have 16 MiB and comes in pieces.
    let mut begun = false;
    flood("endless", &TLS13, move |keys| {
        let piece: &[u8] = if begun { &[0; 1_000] } else { &[4, 0xff, 0xff, 0xff] };
        begun = true;
        keys.seal(ContentType::Handshake, piece)
    });
}

/// Some libraries send a record without data before each with data.
#[test]
fn empty_data_before_a_request_is_passed_over() {
    for version in [&TLS12, &TLS13] {
        let (tap, origin) = stage();
        let mut stream = tunnel(&tap, &origin);
        let mut connection = client(certificate_in(&tap.ca_file()), version);
        shake_hands(&mut connection, &mut stream);
        let mut keys = records(connection);
        for part in ["GET /behind HTTP/1.1\r\n", "Host: localhost\r\n", "\r\n"] {
            for _ in 0..EMPTY_RECORDS {
                stream.send(keys.seal(ContentType::ApplicationData, &[]));
            }
            stream.send(keys.seal(ContentType::ApplicationData, part.as_bytes()));
        }
        origin.wait_for(b"\r\n\r\n");
        assert!(origin.seen().starts_with("GET /behind "), "{}", origin.seen());
    }
}

#[test]
fn empty_data_without_end_is_cut_off() {
    flood("TLS 1.2", &TLS12, |keys| keys.seal(ContentType::ApplicationData, &[]));
    flood("TLS 1.3", &TLS13, |keys| keys.seal(ContentType::ApplicationData, &[]));
}

#[test]
fn new_keys_without_end_are_cut_off() {
    let (tap, origin) = stage();
    under("new keys", &tap, GROWTH_KIB, |stop: &AtomicBool| {
        while !stop.load(Ordering::SeqCst) {
            let mut stream = tunnel(&tap, &origin);
            let mut connection = client(certificate_in(&tap.ca_file()), &TLS13);
            shake_hands(&mut connection, &mut stream);
            send_until_cut_off("new keys", &mut stream, || {
                let mut bytes = Vec::new();
                for _ in 0..100 {
                    connection.refresh_traffic_keys().unwrap();
                    while connection.wants_write() {
                        connection.write_tls(&mut bytes).unwrap();
                    }
                }
                bytes
            });
        }
    });
}

#[test]
fn clients_that_leave_early_leave_nothing_behind() {
    let (tap, origin) = stage();
    let hello = hello(&tap);
    let whole = record(HANDSHAKE, &hello);
    under("early ends", &tap, GROWTH_KIB, |stop: &AtomicBool| {
        for round in 0.. {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let mut client = tunnel(&tap, &origin);
            client.send(&whole[..round * 31 % whole.len()]);
            if round % 2 == 0 {
                client.reset();
            }
        }
    });
}
