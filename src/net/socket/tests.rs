//! Sockets with TLS on loopback.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;

use super::*;
use crate::tls::testing::{P256_KEY, openssl};
use crate::tls::upstream::UpstreamTls;
use crate::tls::version::TlsVersion;

/// Calls `done` until it is true.
fn wait_until(mut done: impl FnMut() -> bool) {
    while !done() {
        thread::yield_now();
    }
}

#[test]
fn a_server_that_sends_tickets_without_end_keeps_nobody_reading() {
    let folder = tempfile::tempdir().unwrap();
    openssl(folder.path(), &format!("genpkey {P256_KEY} -out key.pem"));
    openssl(folder.path(), "req -x509 -new -key key.pem -days 9 -subj /CN=a -out cert.pem");
    // It sends each ticket in a record of its own, and stays silent then.
    let mut server = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "cert.pem", "-key", "key.pem"])
        .args(["-num_tickets", "3000"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let accept = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned));

    let stream = std::net::TcpStream::connect(accept.unwrap()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut socket = Socket::new(TcpStream::from_std(stream));
    let (client, _) = UpstreamTls::new(true, &[]).unwrap();
    let session = client.session("a.example", TlsVersion::Tls13).unwrap();
    socket.start_tls(session, &[], &mut Vec::new());
    let mut scratch = Scratch::default();
    wait_until(|| {
        socket.write(&mut scratch, &mut Buffer::default()).unwrap();
        socket.readable = true;
        socket.read(&mut scratch, &mut Vec::new()).secured
    });
    socket.write(&mut scratch, &mut Buffer::default()).unwrap();

    let mut many = vec![0; READ_BYTES + 1];
    wait_until(|| socket.stream.peek(&mut many).is_ok_and(|count| count == many.len()));
    socket.readable = true;
    let idle = socket.is_still_idle(&mut scratch);
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(!idle);
}
