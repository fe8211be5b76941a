//! One connection that blocks, of a client or of the origin, with TLS or without.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::support::head::head_end;

/// How long a peer may be silent before that counts as a failure.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);
/// Bytes that one read asks for.
const READ_BYTES: usize = 32 * 1024;
/// More than any head here has.
const HEAD_BYTES: usize = 64 * 1024;

enum Stream {
    Plain(TcpStream),
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// A connection.
pub(crate) struct Wire {
    stream: Stream,
    tcp: TcpStream,
    /// What was read and not taken.
    input: Vec<u8>,
}

/// The head of a request or response.
#[derive(Debug)]
pub(crate) struct Head(String);

impl Head {
    /// The words of the first line.
    pub(crate) fn word(&self, at: usize) -> &str {
        self.0.lines().next().and_then(|line| line.split(' ').nth(at)).unwrap_or_default()
    }

    /// The status of a response; 0 where there is none.
    pub(crate) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Whether a field has this value.
    pub(crate) fn says(&self, name: &str, value: &str) -> bool {
        self.field(name).is_some_and(|own| own.eq_ignore_ascii_case(value))
    }

    /// All of it.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    fn length(&self) -> Option<usize> {
        self.field("content-length")?.parse().ok()
    }
}

fn broken(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}

impl Wire {
    /// An accepted or connected socket.
    pub(crate) fn new(tcp: TcpStream) -> io::Result<Wire> {
        tcp.set_read_timeout(Some(SILENCE))?;
        tcp.set_write_timeout(Some(SILENCE))?;
        tcp.set_nodelay(true)?;
        Ok(Wire { stream: Stream::Plain(tcp.try_clone()?), tcp, input: Vec::new() })
    }

    /// A connection to this address.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Wire> {
        Wire::new(TcpStream::connect_timeout(&address, SILENCE)?)
    }

    /// A tunnel through the proxy, to a port of 127.0.0.1.
    pub(crate) fn tunnel(proxy: SocketAddr, port: u16) -> io::Result<Wire> {
        let mut wire = Wire::connect(proxy)?;
        let to = format!("127.0.0.1:{port}");
        wire.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"))?;
        let head = wire.head()?;
        match head.status() {
            200 => Ok(wire),
            _ => Err(broken(format!("CONNECT: {}", head.text()))),
        }
    }

    /// TLS as a client, its handshake done.
    pub(crate) fn secure(self, config: &Arc<ClientConfig>, name: &str) -> io::Result<Wire> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        let mut tls = Box::new(StreamOwned::new(session, self.tcp.try_clone()?));
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(Wire { stream: Stream::Client(tls), ..self })
    }

    /// TLS as a server, its handshake done.
    pub(crate) fn accept(self, config: &Arc<ServerConfig>) -> io::Result<Wire> {
        let session = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        let mut tls = Box::new(StreamOwned::new(session, self.tcp.try_clone()?));
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(Wire { stream: Stream::Server(tls), ..self })
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.tcp
    }

    /// Sends all of these bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let stream: &mut dyn Write = match &mut self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Client(tls) => tls,
            Stream::Server(tls) => tls,
        };
        stream.write_all(bytes.as_ref())?;
        stream.flush()
    }

    /// Reads once; false at the end of the stream.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        let stream: &mut dyn Read = match &mut self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Client(tls) => tls,
            Stream::Server(tls) => tls,
        };
        let had = self.input.len();
        self.input.resize(had + READ_BYTES, 0);
        let read = loop {
            match stream.read(&mut self.input[had..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.input.truncate(had + read.as_ref().map_or(0, |read| *read));
        read.map(|read| read > 0)
    }

    /// The next head.
    pub(crate) fn head(&mut self) -> io::Result<Head> {
        self.next_head()?.ok_or_else(|| broken("closed before a head"))
    }

    /// The next head; `None` where the peer has closed before its first byte.
    pub(crate) fn next_head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = head_end(&self.input) {
                let head = String::from_utf8_lossy(&self.input[..end]).into_owned();
                self.input.drain(..end);
                return Ok(Some(Head(head)));
            }
            if self.input.len() > HEAD_BYTES {
                return Err(broken("no end of a head"));
            }
            if !self.fill()? {
                return match self.input.is_empty() {
                    true => Ok(None),
                    false => Err(broken("closed in a head")),
                };
            }
        }
    }

    /// Exactly so many bytes.
    pub(crate) fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.input.len() < count {
            if !self.fill()? {
                return Err(broken("closed too early"));
            }
        }
        Ok(self.input.drain(..count).collect())
    }

    /// All that was read and not taken.
    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.input)
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8_lossy(&self.input[..end]).trim_end().to_owned();
                self.input.drain(..=end);
                return Ok(line);
            }
            if !self.fill()? {
                return Err(broken("closed in a line"));
            }
        }
    }

    /// Hands on the body behind this head, piece by piece, and fails where it is cut. Whether the
    /// connection can be used again.
    pub(crate) fn body(
        &mut self,
        head: &Head,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let is_response = head.word(0).starts_with("HTTP/");
        if is_response && matches!(head.status(), 100..=199 | 204 | 304) {
            return Ok(true);
        }
        if head.says("transfer-encoding", "chunked") {
            loop {
                let line = self.line()?;
                let size = usize::from_str_radix(line.trim(), 16);
                match size.map_err(|_| broken(format!("a chunk of {line:?}")))? {
                    0 => break,
                    size => self.exactly(size, take)?,
                }
                self.take(2)?;
            }
            while !self.line()?.is_empty() {}
        } else if let Some(length) = head.length() {
            self.exactly(length, take)?;
        } else if is_response {
            loop {
                take(&self.input)?;
                self.input.clear();
                if !self.fill()? {
                    return Ok(false);
                }
            }
        }
        Ok(!head.says("connection", "close"))
    }

    fn exactly(
        &mut self,
        mut count: usize,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        while count > 0 {
            if self.input.is_empty() && !self.fill()? {
                return Err(broken(format!("closed {count} bytes too early")));
            }
            let length = self.input.len().min(count);
            take(&self.input[..length])?;
            self.input.drain(..length);
            count -= length;
        }
        Ok(())
    }

    /// Reads until the peer closes, however it does.
    pub(crate) fn until_closed(&mut self) -> io::Result<()> {
        loop {
            self.input.clear();
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
                Err(_) => return Ok(()),
            }
        }
    }

    /// Whether nothing has come that was not taken.
    pub(crate) fn is_drained(&self) -> bool {
        self.input.is_empty()
    }

    /// Ends the connection in good order.
    pub(crate) fn close(mut self) {
        match &mut self.stream {
            Stream::Plain(_) => {}
            Stream::Client(tls) => {
                tls.conn.send_close_notify();
                let _ = tls.conn.complete_io(&mut tls.sock);
            }
            Stream::Server(tls) => {
                tls.conn.send_close_notify();
                let _ = tls.conn.complete_io(&mut tls.sock);
            }
        }
        let _ = self.tcp.shutdown(Shutdown::Both);
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        // Without it the connection ends in good order, which the checks then tell.
        let _ = rustix::net::sockopt::set_socket_linger(&self.tcp, Some(Duration::ZERO));
    }
}
