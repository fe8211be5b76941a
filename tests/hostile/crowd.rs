//! A crowd of connections that send a byte a minute each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::measure::Others;
use crate::open_files;
use crate::support::DEADLINE;
use crate::support::flowtap::Flowtap;
use crate::support::tls::{client_config, test_ca};

/// What one of them may cost, and all together beside that.
const EACH_KIB: u64 = 16;
const ALL_KIB: u64 = 16 * 1024;

/// A byte a minute from 10,000 connections is one every 6 ms; from fewer it is as many.
const BETWEEN_BYTES: Duration = Duration::from_millis(6);

fn count() -> usize {
    std::env::var("FLOWTAP_TEST_CROWD").map_or(500, |count| count.parse().unwrap())
}

/// What a connection says at first, and goes on with.
struct Slow {
    stream: TcpStream,
    rest: Vec<u8>,
}

fn hello() -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    let config = client_config(test_ca().certificate());
    let mut bytes = Vec::new();
    ClientConnection::new(config, name).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

/// Opens one: in the middle of a head, of a ClientHello, of a body, or before its first byte.
fn open(number: usize, proxy: SocketAddr, server: SocketAddr, hello: &[u8]) -> Slow {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!("GET http://{server}/ HTTP/1.1\r\nHost: {server}\r\nX: ").into_bytes();
    let post = format!(
        "POST http://{server}/ HTTP/1.1\r\nHost: {server}\r\nContent-Length: 100000\r\n\r\n"
    );
    let letters = b"abcdefghijklmnopqrstuvwxyz".repeat(40);
    let rest = match number % 8 {
        0 => {
            stream.write_all(&[post.as_bytes(), b"body"].concat()).unwrap();
            letters
        }
        1..=3 => {
            let connect = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n\r\n");
            stream.write_all(connect.as_bytes()).unwrap();
            let mut answer = [0; 39];
            stream.read_exact(&mut answer).unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200 "));
            stream.write_all(&hello[..20]).unwrap();
            hello[20..].to_vec()
        }
        4..=6 => {
            stream.write_all(&head).unwrap();
            letters
        }
        _ => head,
    };
    Slow { stream, rest }
}

/// A server that takes connections and says nothing; one descriptor for each.
fn silent_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let _taken: Vec<_> = listener.incoming().collect();
    });
    address
}

#[test]
fn slow_connections_are_small_and_slow_nobody_down() {
    open_files::raise_limit();
    let server = silent_server();
    let tap = Flowtap::start(&["--loops", "2"]);
    let others = Others::of(&tap);
    let before = others.measure();
    let resident = tap.resident_kib();
    let hello = hello();
    let mut crowd: Vec<_> =
        (0..count()).map(|number| open(number, tap.addr, server, &hello)).collect();
    let stop = AtomicBool::new(false);
    let during = std::thread::scope(|scope| {
        scope.spawn(|| {
            for byte in 0.. {
                for slow in &mut crowd {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    if let Some(byte) = slow.rest.get(byte) {
                        // One that has had its time may be gone.
                        let _ = slow.stream.write_all(&[*byte]);
                    }
                    std::thread::sleep(BETWEEN_BYTES);
                }
            }
        });
        let during = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            others.assert_unharmed("a crowd", before)
        }));
        stop.store(true, Ordering::SeqCst);
        during.unwrap()
    });
    let grown = tap.resident_kib().saturating_sub(resident);
    println!("{} slow connections: {during:?}, and {before:?} without; {grown} KiB", count());
    assert!(grown <= ALL_KIB + EACH_KIB * count() as u64, "{grown} KiB");
    drop(crowd);
}
