//! A client that sends exactly the bytes that it is given.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::flowtap::Flowtap;
use super::tls::{certificate_in, client_config, handshake};
use super::{DEADLINE, ReadWrite, read_head};

/// One connection, with a deadline on every read.
pub(crate) struct Client {
    stream: Box<dyn ReadWrite>,
    /// The connection below TLS.
    pub(crate) tcp: TcpStream,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With an end of stream; in TLS, with close_notify.
    Clean,
    /// With a reset, or in TLS without close_notify.
    Cut,
}

impl Client {
    /// Connects to `addr` (the proxy, or an origin itself).
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::of(TcpStream::connect_timeout(&addr, DEADLINE).unwrap())
    }

    /// A client on this connection.
    pub(crate) fn of(tcp: TcpStream) -> Self {
        tcp.set_read_timeout(Some(DEADLINE)).unwrap();
        tcp.set_write_timeout(Some(DEADLINE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        Self { stream: Box::new(tcp.try_clone().unwrap()), tcp }
    }

    /// Opens a tunnel to `target` through the proxy at `addr`.
    pub(crate) fn tunnel(addr: SocketAddr, target: impl std::fmt::Display) -> Self {
        let mut client = Self::connect(addr);
        client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200"), "tunnel refused: {head:?}");
        client
    }

    /// TLS with `name` through the proxy, which intercepts it.
    pub(crate) fn tls(tap: &Flowtap, name: &str, port: u16) -> Self {
        let config = client_config(certificate_in(&tap.ca_file()));
        Self::tls_with(tap, name, port, config).unwrap().0
    }

    /// As [`Client::tls`], with a configuration; and what the handshake agreed on.
    pub(crate) fn tls_with(
        tap: &Flowtap,
        name: &str,
        port: u16,
        config: Arc<ClientConfig>,
    ) -> std::io::Result<(Self, Agreed)> {
        let client = Self::tunnel(tap.addr, format!("{name}:{port}"));
        client.upgrade(config, name)
    }

    /// CONNECT and the ClientHello in one segment; the answer to CONNECT must come first.
    pub(crate) fn tls_at_once(tap: &Flowtap, name: &str, port: u16) -> Self {
        let config = client_config(certificate_in(&tap.ca_file()));
        let server_name = ServerName::try_from(name.to_owned()).unwrap();
        let mut tls = ClientConnection::new(config, server_name).unwrap();
        let mut bytes = format!("CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}\r\n\r\n").into();
        tls.write_tls(&mut bytes as &mut Vec<u8>).unwrap();
        let mut client = Self::connect(tap.addr);
        client.send(bytes);
        let first = client.take(12);
        assert_eq!(first, b"HTTP/1.1 200", "{:?}", String::from_utf8_lossy(&first));
        assert!(client.head().ends_with("\r\n\r\n"), "the answer to CONNECT is whole");
        let tcp = client.tcp;
        let mut stream = StreamOwned::new(tls, tcp.try_clone().unwrap());
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        Self { stream: Box::new(stream), tcp }
    }

    /// Begins TLS on this connection.
    pub(crate) fn upgrade(
        self,
        config: Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<(Self, Agreed)> {
        let tcp = self.tcp;
        let tls: StreamOwned<ClientConnection, TcpStream> =
            handshake(config, name, tcp.try_clone().unwrap())?;
        let agreed = Agreed {
            leaf: tls.conn.peer_certificates().unwrap()[0].to_vec(),
            resumed: tls.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        };
        Ok((Self { stream: Box::new(tls), tcp }, agreed))
    }

    /// Sends `bytes` as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self.stream.flush().unwrap();
    }

    /// Sends what the peer may refuse to take; whether it took all.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).and_then(|()| self.stream.flush()).is_ok()
    }

    /// Ends the sending side of the TCP connection only.
    pub(crate) fn finish(&self) {
        self.tcp.shutdown(Shutdown::Write).unwrap();
    }

    /// Says in TLS that nothing more follows.
    pub(crate) fn end_tls(&mut self) {
        self.stream.end();
    }

    /// The next head, with its blank line.
    pub(crate) fn head(&mut self) -> String {
        String::from_utf8_lossy(&read_head(&mut self.stream)).into_owned()
    }

    /// Whether bytes come within this time; they stay to be taken.
    pub(crate) fn answers_within(&self, time: Duration) -> bool {
        self.peek(time).is_ok_and(|count| count > 0)
    }

    /// Whether bytes or the connection's end come within this time.
    pub(crate) fn hears_within(&self, time: Duration) -> bool {
        self.peek(time).is_ok()
    }

    fn peek(&self, time: Duration) -> std::io::Result<usize> {
        self.tcp.set_read_timeout(Some(time)).unwrap();
        let peeked = self.tcp.peek(&mut [0]);
        self.tcp.set_read_timeout(Some(DEADLINE)).unwrap();
        match peeked {
            // A reset ends a connection as well.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(0),
            peeked => peeked,
        }
    }

    /// Exactly `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The connection as a reader.
    pub(crate) fn reader(&mut self) -> &mut dyn Read {
        &mut self.stream
    }

    /// A whole response whose length its head tells.
    pub(crate) fn response(&mut self) -> (String, Vec<u8>) {
        let head = self.head();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let Some((_, length)) = length else { panic!("no Content-Length: {head:?}") };
        let body = self.take(length.parse().unwrap());
        (head, body)
    }

    /// Resets the connection, in TLS without close_notify.
    pub(crate) fn reset(self) {
        super::reset_on_close(&self.tcp);
    }

    /// All until the peer closes, and how it did; a deadline fails the test.
    pub(crate) fn ending(&mut self) -> (Vec<u8>, End) {
        ending(&mut self.stream)
    }

    /// All until the peer closes, however it does.
    pub(crate) fn rest(&mut self) -> String {
        String::from_utf8_lossy(&self.ending().0).into_owned()
    }
}

/// All until the peer closes, and how it did; a deadline fails the test.
pub(crate) fn ending(stream: &mut dyn Read) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => (bytes, End::Clean),
        Err(error) => {
            let cut = [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof];
            let shown = String::from_utf8_lossy(&bytes);
            assert!(cut.contains(&error.kind()), "not closed: {error}; so far {shown:?}");
            (bytes, End::Cut)
        }
    }
}

/// What a TLS handshake agreed on.
pub(crate) struct Agreed {
    /// The server's certificate in DER.
    pub(crate) leaf: Vec<u8>,
    /// Whether an earlier session was resumed.
    pub(crate) resumed: bool,
}
