//! Who answers inside: a server for HTTPS, and one for names.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::thread;

use rustls::{ServerConnection, StreamOwned};

use crate::tls::test_ca;

/// What the server says to each request.
pub(crate) const TEXT: &str = "the origin's own words\n";

/// Serves HTTPS for `name` at 127.0.0.1.
pub(crate) fn serve(name: &'static str) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 443)).unwrap();
    let config = test_ca().server(&[name]);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let config = config.clone();
            thread::spawn(move || {
                let connection = ServerConnection::new(config).unwrap();
                let mut stream = StreamOwned::new(connection, stream.unwrap());
                let mut head = Vec::new();
                let mut byte = [0];
                // A client that goes away is its own matter.
                while stream.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        let length = TEXT.len();
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                        let _ = stream.write_all((head + TEXT).as_bytes());
                    }
                }
            });
        }
    });
}

/// A name server at 127.0.0.1 that has 127.0.0.1 for `name`, and no other name.
pub(crate) fn serve_names(name: &'static str) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).unwrap();
    let labels = name.split('.').flat_map(|label| {
        let length = u8::try_from(label.len()).unwrap();
        [length].into_iter().chain(label.bytes())
    });
    let known: Vec<u8> = labels.chain([0]).collect();
    thread::spawn(move || {
        let mut datagram = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut datagram) {
            let mut answer = datagram[..length].to_vec();
            let is_known = answer[12..].starts_with(&known);
            answer[2] |= 0x80;
            answer[3] = if is_known { 0 } else { 3 };
            if is_known && answer[length - 3] == 1 {
                answer[7] = 1;
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
            }
            socket.send_to(&answer, peer).unwrap();
        }
    });
}
