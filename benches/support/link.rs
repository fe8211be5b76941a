//! A connection that never blocks, with TLS or without.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};
use rustls::Connection;

/// One read takes so much at most.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// A socket and what waits to be written to it. The poller is edge-triggered: after it has told
/// of a socket, this is read and written until the system has no more.
pub(crate) struct Link {
    socket: TcpStream,
    tls: Option<Box<Connection>>,
    output: Vec<u8>,
}

impl Link {
    /// Has the poller tell of `socket` under this token, for good.
    pub(crate) fn new(
        mut socket: TcpStream,
        registry: &Registry,
        token: usize,
    ) -> io::Result<Link> {
        socket.set_nodelay(true)?;
        registry.register(&mut socket, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Link { socket, tls: None, output: Vec::new() })
    }

    /// Everything from here on is inside this session.
    pub(crate) fn start_tls(&mut self, session: impl Into<Connection>) {
        let mut session = session.into();
        session.set_buffer_limit(None);
        self.tls = Some(Box::new(session));
    }

    /// Appends the plaintext of all that came to `input`, and tells whether more can come.
    /// `ends` when the poller told of the end of the stream: then it is read up to that.
    pub(crate) fn receive(
        &mut self,
        scratch: &mut [u8],
        input: &mut Vec<u8>,
        ends: bool,
    ) -> io::Result<bool> {
        loop {
            let read = match self.socket.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut bytes = &scratch[..read];
            let Some(tls) = &mut self.tls else {
                input.extend_from_slice(bytes);
                if read < scratch.len() && !ends {
                    return Ok(true);
                }
                continue;
            };
            while !bytes.is_empty() {
                tls.read_tls(&mut bytes)?;
                let state = tls.process_new_packets().map_err(io::Error::other)?;
                let end = input.len();
                input.resize(end + state.plaintext_bytes_to_read(), 0);
                tls.reader().read_exact(&mut input[end..])?;
                if state.peer_has_closed() {
                    return Ok(false);
                }
            }
            if read < scratch.len() && !ends {
                return Ok(true);
            }
        }
    }

    /// Sends this as soon as it can be; see [`Link::flush`].
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(bytes),
            None => {
                self.output.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Writes what waits and tells whether all of it is gone.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        loop {
            let written = match &mut self.tls {
                Some(tls) if tls.wants_write() => tls.write_tls(&mut self.socket),
                None if !self.output.is_empty() => {
                    self.socket.write(&self.output).inspect(|written| {
                        self.output.drain(..*written);
                    })
                }
                _ => return Ok(true),
            };
            match written {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Waits for events; there are none when the time is up.
pub(crate) fn wait(poll: &mut Poll, events: &mut Events, time: Option<Duration>) {
    while let Err(error) = poll.poll(events, time) {
        // A machine that was suspended interrupts it.
        assert!(error.kind() == ErrorKind::Interrupted, "a poller: {error}");
    }
}
