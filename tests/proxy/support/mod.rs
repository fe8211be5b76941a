//! What the tests share: the program under test, origins that misbehave on purpose, raw clients.

pub(crate) mod agent;
pub(crate) mod apart;
pub(crate) mod bundle;
pub(crate) mod client;
pub(crate) mod flowtap;
pub(crate) mod origin;
#[path = "../../support/refusing.rs"]
pub(crate) mod refusing;
mod self_check;
pub(crate) mod tls;

use std::io::{Cursor, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustls::{ClientConnection, ServerConnection, StreamOwned};

/// How long any single wait may take, so that a bug fails and does not hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// A connection, with TLS or without.
pub(crate) trait ReadWrite: Read + Write + Send {
    /// Says that no more bytes follow, where the protocol can.
    fn end(&mut self) {}
}

impl ReadWrite for TcpStream {}
impl ReadWrite for Cursor<Vec<u8>> {}

impl ReadWrite for StreamOwned<ClientConnection, TcpStream> {
    fn end(&mut self) {
        self.conn.send_close_notify();
        // Only what is to be written: an answer may still come.
        while self.conn.wants_write() && self.conn.write_tls(&mut self.sock).is_ok() {}
    }
}

impl ReadWrite for StreamOwned<ServerConnection, TcpStream> {
    fn end(&mut self) {
        self.conn.send_close_notify();
        let _ = self.conn.complete_io(&mut self.sock);
    }
}

/// Reads one head up to and including its blank line; what came before an early end otherwise.
pub(crate) fn read_head(stream: &mut (impl Read + ?Sized)) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0_u8; 1];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    head
}

/// Has the socket reset when its last handle is closed.
pub(crate) fn reset_on_close(tcp: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(tcp, Some(Duration::ZERO)).unwrap();
}

/// Ends of which one has to come in time. Others may have the processor or the disk for seconds;
/// what the program waits for by itself holds all of them up.
const TRIES: usize = 3;

/// Has something end within this time, and tries again where it took longer.
#[track_caller]
pub(crate) fn ends_within(most: Duration, what: &str, mut end: impl FnMut() -> Duration) {
    let mut took = Vec::new();
    while took.len() < TRIES {
        let time = end();
        if time < most {
            return;
        }
        took.push(time);
    }
    panic!("{what} took {took:?}, and may take {most:?}");
}

/// A GET request in absolute form.
pub(crate) fn get(to: impl std::fmt::Display, path: &str) -> String {
    format!("GET http://{to}{path} HTTP/1.1\r\nHost: {to}\r\n\r\n")
}
