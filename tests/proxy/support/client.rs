//! A client that sends exactly the bytes that it is given.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::{DEADLINE, read_head};

/// One connection, with a deadline on every read.
pub(crate) struct Client(TcpStream);

impl Client {
    /// Connects to `addr` (the proxy, or an origin itself).
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Opens a tunnel to `target` through the proxy at `addr`.
    pub(crate) fn tunnel(addr: SocketAddr, target: SocketAddr) -> Self {
        let mut client = Self::connect(addr);
        client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200"), "tunnel refused: {head:?}");
        client
    }

    /// Sends `bytes` as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// Ends the sending side only.
    pub(crate) fn finish(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// The next head, with its blank line.
    pub(crate) fn head(&mut self) -> String {
        String::from_utf8_lossy(&read_head(&mut self.0)).into_owned()
    }

    /// Exactly `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// All until the peer closes; a reset counts as a close, a deadline does not.
    pub(crate) fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut bytes) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "not closed: {error}");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
