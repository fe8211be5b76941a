//! One non-blocking socket, with or without TLS: readiness, reading, writing, closing.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use crate::limits::{READ_BYTES, SEALED_OVERHEAD_BYTES, TLS_PENDING_BYTES};
use crate::proxy::buffer::Buffer;
use crate::proxy::link::End;
use crate::tls::session::{Session, TlsError};

/// A connected socket.
#[derive(Debug)]
pub(super) struct Socket {
    /// The stream; registered once with the poller, for both directions.
    pub(super) stream: TcpStream,
    tls: Option<Box<Session>>,
    /// Cleared when a read shows that nothing is left; set by the poller.
    pub(super) readable: bool,
    /// Cleared when a write shows that nothing more fits; set by the poller.
    pub(super) writable: bool,
    /// The poller told of the end of the stream: it is read up to it even after a short read.
    pub(super) hung_up: bool,
    ended: bool,
    shut: bool,
    close_notified: bool,
}

/// Where all sockets of a loop read to and encrypt to.
#[derive(Debug)]
pub(super) struct Scratch {
    read: Box<[u8]>,
    sealed: Box<[u8]>,
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch {
            read: vec![0; TLS_PENDING_BYTES + READ_BYTES].into_boxed_slice(),
            sealed: vec![0; READ_BYTES + SEALED_OVERHEAD_BYTES].into_boxed_slice(),
        }
    }
}

impl Scratch {
    /// Puts bytes in front of what is read next; how many they are.
    fn place(&mut self, pending: &[u8]) -> usize {
        if let Some(place) = self.read.get_mut(..pending.len()) {
            place.copy_from_slice(pending);
        }
        pending.len()
    }

    fn room_behind(&mut self, pending: usize) -> &mut [u8] {
        self.read.get_mut(pending..pending + READ_BYTES).unwrap_or_default()
    }
}

/// What a read brought.
#[derive(Debug, Default)]
pub(super) struct ReadOutcome {
    /// Bytes that came from the socket.
    pub(super) received: usize,
    /// The TLS handshake was completed by them.
    pub(super) secured: bool,
    /// The stream has ended.
    pub(super) end: Option<End>,
    /// TLS has failed.
    pub(super) tls_error: Option<TlsError>,
}

impl Socket {
    /// A socket that the poller has not told anything about: both directions are tried first.
    pub(super) fn new(stream: TcpStream) -> Self {
        Socket {
            stream,
            tls: None,
            readable: true,
            writable: true,
            hung_up: false,
            ended: false,
            shut: false,
            close_notified: false,
        }
    }

    /// Reads once, at most [`READ_BYTES`], and appends the plaintext to `input`.
    pub(super) fn read(&mut self, scratch: &mut Scratch, input: &mut Vec<u8>) -> ReadOutcome {
        let mut outcome = ReadOutcome::default();
        if self.ended {
            self.readable = false;
            return outcome;
        }
        // What a record lacked comes right behind its beginning.
        let pending = self.tls.as_ref().map_or(0, |session| scratch.place(session.pending()));
        let room = scratch.room_behind(pending);
        let asked = room.len();
        match self.stream.read(room) {
            Ok(0) => {
                self.readable = false;
                self.ended = true;
                outcome.end = Some(match &self.tls {
                    None => End::Clean,
                    Some(_) => End::Unannounced,
                });
            }
            Ok(count) => {
                outcome.received = count;
                if count < asked && !self.hung_up {
                    self.readable = false;
                }
                let bytes = scratch.read.get_mut(..pending + count).unwrap_or_default();
                match &mut self.tls {
                    None => input.extend_from_slice(bytes),
                    Some(_) => self.decrypt(bytes, input, &mut outcome),
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                self.readable = false;
                self.ended = true;
                outcome.end = Some(End::Cut(describe(&error)));
            }
        }
        outcome
    }

    /// Reads what has come on a connection that nothing was asked of. False when it is of no more
    /// use: it has ended, something was said on it, or TLS's own messages come without end.
    pub(super) fn is_still_idle(&mut self, scratch: &mut Scratch) -> bool {
        let mut received = 0;
        while self.readable {
            let mut unasked = Vec::new();
            let outcome = self.read(scratch, &mut unasked);
            received += outcome.received;
            let spoke = !unasked.is_empty() || received >= READ_BYTES;
            if spoke || outcome.end.is_some() || outcome.tls_error.is_some() {
                return false;
            }
        }
        true
    }

    fn decrypt(&mut self, bytes: &mut [u8], input: &mut Vec<u8>, outcome: &mut ReadOutcome) {
        let Some(session) = &mut self.tls else { return };
        match session.receive(bytes, input) {
            Ok(received) => {
                outcome.secured = received.handshake_done;
                if received.peer_closed || received.carrier_closed {
                    self.ended = true;
                    let is_told = received.peer_closed;
                    outcome.end = Some(if is_told { End::Clean } else { End::Unannounced });
                }
            }
            Err(error) => {
                self.ended = true;
                outcome.tls_error = Some(error);
            }
        }
    }

    /// Begins TLS, inside the TLS that there may be; `first` are bytes of it that were read
    /// already.
    pub(super) fn start_tls(
        &mut self,
        session: Session,
        first: &[u8],
        input: &mut Vec<u8>,
    ) -> ReadOutcome {
        let carrier = self.tls.replace(Box::new(session));
        let mut outcome = ReadOutcome::default();
        if !first.is_empty() {
            self.decrypt(&mut first.to_vec(), input, &mut outcome);
        }
        if let (Some(carrier), Some(session)) = (carrier, &mut self.tls)
            && let Err(error) = session.carry_by(*carrier)
        {
            self.ended = true;
            outcome.tls_error.get_or_insert(error);
        }
        outcome
    }

    /// Writes as much of `output` as the socket takes, TLS's own records first. Returns the
    /// bytes written, or why nothing more can be.
    pub(super) fn write(
        &mut self,
        scratch: &mut Scratch,
        output: &mut Buffer,
    ) -> Result<usize, String> {
        let mut written = 0;
        while self.writable {
            let count = match &mut self.tls {
                Some(session) if session.has_output() => self
                    .stream
                    .write(session.output())
                    .inspect(|count| session.consume_output(*count)),
                Some(session) => {
                    if output.is_empty() || session.is_handshaking() {
                        break;
                    }
                    let sealed = session
                        .seal(output.bytes(), &mut scratch.sealed)
                        .map_err(|error| error.to_string())?;
                    output.consume(sealed.taken);
                    let bytes = scratch.sealed.get(..sealed.written).unwrap_or_default();
                    if bytes.is_empty() {
                        continue;
                    }
                    let result = self.stream.write(bytes);
                    let sent = *result.as_ref().unwrap_or(&0);
                    session.queue(bytes.get(sent..).unwrap_or_default());
                    result
                }
                None if output.is_empty() => break,
                None => self.stream.write(output.bytes()).inspect(|count| output.consume(*count)),
            };
            match count {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(describe(&error)),
            }
        }
        Ok(written)
    }

    /// Whether TLS holds bytes that the socket has not taken.
    pub(super) fn has_output(&self) -> bool {
        self.tls.as_ref().is_some_and(|session| session.has_output())
    }

    /// Queues TLS's close_notify, once; it is sent by the next write.
    pub(super) fn close_notify(&mut self) {
        if let Some(session) = &mut self.tls
            && !self.close_notified
        {
            self.close_notified = true;
            session.close();
        }
    }

    /// Ends the outgoing direction, once.
    pub(super) fn shut_down(&mut self) {
        if !self.shut {
            self.shut = true;
            // The only failure is that the peer has gone, which reading shows too.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }

    /// Makes the closing of the socket a reset.
    pub(super) fn reset_on_close(&self) {
        // Where it cannot be set the connection closes in order, which is the next best.
        let _ =
            rustix::net::sockopt::set_socket_linger(&self.stream, Some(std::time::Duration::ZERO));
    }

    /// The TLS session, if there is one.
    pub(super) fn tls(&self) -> Option<&Session> {
        self.tls.as_deref()
    }
}

/// An error of the system as words for the user, without its number.
pub(super) fn describe(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionReset => "connection reset by the peer".to_owned(),
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::BrokenPipe => "the peer has closed the connection".to_owned(),
        ErrorKind::TimedOut => "connection timed out".to_owned(),
        ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
