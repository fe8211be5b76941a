//! One TLS endpoint: records in, plaintext out, and the other way round.
//!
//! It owns no socket and no clock. The interface is narrow on purpose: nothing of rustls shows
//! through, so that what is inside can change.

use std::fmt;
use std::io::{self, BufRead, Write};

use rustls::{AlertDescription, CertificateError, Connection, HandshakeKind, ProtocolVersion};

use crate::flow::record::TlsFacts;

use super::verifier::refusal_text;

/// The ALPN name (RFC 7301) of the only protocol that is spoken.
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";

/// One TLS endpoint of a connection, client or server.
///
/// What it keeps while idle is small: rustls' own state and a read buffer of 4 KiB.
pub struct Session {
    connection: Box<Connection>,
    /// The name that was sent, on client sessions.
    sent_name: Option<Box<str>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("client", &matches!(*self.connection, Connection::Client(_)))
            .field("handshaking", &self.connection.is_handshaking())
            .finish_non_exhaustive()
    }
}

/// What some ciphertext brought, besides plaintext.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The handshake became complete in this call.
    pub handshake_done: bool,
    /// The peer has said with close_notify that it sends no more.
    pub peer_closed: bool,
}

impl Session {
    pub(crate) fn new(connection: Connection, sent_name: Option<&str>) -> Self {
        Session { connection: Box::new(connection), sent_name: sent_name.map(Box::from) }
    }

    /// Takes all of `ciphertext` and appends what it says to `plaintext`.
    ///
    /// Bytes after the peer's close_notify are ignored.
    ///
    /// # Errors
    /// What makes the session unusable; an alert for the peer may be waiting then
    /// ([`Session::has_output`]).
    pub fn receive(
        &mut self,
        mut ciphertext: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<Received, TlsError> {
        let was_handshaking = self.connection.is_handshaking();
        let mut peer_closed = false;
        while !ciphertext.is_empty() && !peer_closed {
            let taken = self
                .connection
                .read_tls(&mut ciphertext)
                .map_err(|e| TlsError::other(format!("the TLS stream cannot be read: {e}")))?;
            let processed = self.connection.process_new_packets();
            let drained = self.drain(plaintext);
            let state = processed.map_err(|e| self.error(&e))?;
            drained?;
            peer_closed = state.peer_has_closed();
            if taken == 0 {
                break;
            }
        }
        Ok(Received {
            handshake_done: was_handshaking && !self.connection.is_handshaking(),
            peer_closed,
        })
    }

    /// Moves all decrypted bytes out of rustls, which bounds what it would keep of them.
    fn drain(&mut self, plaintext: &mut Vec<u8>) -> Result<(), TlsError> {
        let mut reader = self.connection.reader();
        loop {
            let chunk = match reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(TlsError::other(format!("the TLS stream broke off: {e}"))),
            };
            if chunk.is_empty() {
                return Ok(());
            }
            let length = chunk.len();
            plaintext.extend_from_slice(chunk);
            reader.consume(length);
        }
    }

    /// Encrypts as much of `plaintext` as fits and returns how many bytes that was. What rustls
    /// keeps unsent is bounded (64 KiB); 0 says that output must be written first.
    ///
    /// # Errors
    /// When the session is unusable.
    pub fn send(&mut self, plaintext: &[u8]) -> Result<usize, TlsError> {
        self.connection
            .writer()
            .write(plaintext)
            .map_err(|e| TlsError::other(format!("cannot encrypt: {e}")))
    }

    /// Queues close_notify: no more plaintext will be sent.
    pub fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// Whether ciphertext waits to be written.
    pub fn has_output(&self) -> bool {
        self.connection.wants_write()
    }

    /// Writes waiting ciphertext with one (vectored) write and returns how many bytes it took.
    ///
    /// # Errors
    /// Those of `sink`.
    pub fn write_to(&mut self, sink: &mut dyn Write) -> io::Result<usize> {
        self.connection.write_tls(sink)
    }

    /// Whether the handshake is still under way.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// What the handshake agreed on; version and cipher are empty before it did.
    pub fn facts(&self) -> TlsFacts {
        let version = match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        };
        let cipher = self.connection.negotiated_cipher_suite().map_or_else(String::new, |suite| {
            let name = suite.suite().as_str().unwrap_or_default();
            name.strip_prefix("TLS13_").map_or_else(|| name.to_owned(), |n| format!("TLS_{n}"))
        });
        let server_name = match &*self.connection {
            Connection::Client(_) => self.sent_name.as_deref().map(str::to_owned),
            Connection::Server(server) => server.server_name().map(str::to_owned),
        };
        let alpn = self.connection.alpn_protocol();
        TlsFacts {
            version,
            cipher,
            server_name,
            alpn: alpn.map(|p| String::from_utf8_lossy(p).into_owned()),
            resumed: self.connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    fn error(&self, error: &rustls::Error) -> TlsError {
        TlsError::from_rustls(error, matches!(*self.connection, Connection::Server(_)))
    }
}

/// Why a session cannot go on, as text for users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    text: String,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    CertificateRefused,
    Distrust(&'static str),
    NoCommonProtocol,
    Other,
}

impl TlsError {
    pub(crate) fn other(text: impl Into<String>) -> Self {
        TlsError { text: text.into(), cause: Cause::Other }
    }

    fn from_rustls(error: &rustls::Error, on_server: bool) -> Self {
        match error {
            rustls::Error::InvalidCertificate(reason) => Self::refused(reason),
            rustls::Error::AlertReceived(alert) => Self::alert(*alert, on_server),
            rustls::Error::NoApplicationProtocol => TlsError {
                text: "the peer's ALPN offer does not include http/1.1".to_owned(),
                cause: Cause::NoCommonProtocol,
            },
            other => Self::other(other.to_string()),
        }
    }

    fn refused(reason: &CertificateError) -> Self {
        TlsError { text: refusal_text(reason), cause: Cause::CertificateRefused }
    }

    fn alert(alert: AlertDescription, on_server: bool) -> Self {
        let distrust = distrust_name(alert).filter(|_| on_server);
        if let Some(name) = distrust {
            return TlsError {
                text: format!("the client refused our certificate (TLS alert {name})"),
                cause: Cause::Distrust(name),
            };
        }
        let cause = match alert {
            AlertDescription::NoApplicationProtocol => Cause::NoCommonProtocol,
            _ => Cause::Other,
        };
        TlsError { text: format!("the peer ended TLS with the alert {alert:?}"), cause }
    }

    /// On client sessions: our verification of the server's certificate failed. The text says why.
    pub fn is_certificate_refused(&self) -> bool {
        self.cause == Cause::CertificateRefused
    }

    /// On server sessions: the TLS alert by which the client said that it does not trust our
    /// certificate, by its name in RFC 8446 section 6.2.
    pub fn distrust_alert(&self) -> Option<&str> {
        match self.cause {
            Cause::Distrust(name) => Some(name),
            _ => None,
        }
    }

    /// The two sides share no ALPN protocol, as with a client that speaks only HTTP/2.
    pub fn is_no_common_protocol(&self) -> bool {
        self.cause == Cause::NoCommonProtocol
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for TlsError {}

/// The RFC's names of the alerts that clients send when they distrust a certificate.
fn distrust_name(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::BadCertificate => "bad_certificate",
        AlertDescription::UnsupportedCertificate => "unsupported_certificate",
        AlertDescription::CertificateRevoked => "certificate_revoked",
        AlertDescription::CertificateExpired => "certificate_expired",
        AlertDescription::CertificateUnknown => "certificate_unknown",
        AlertDescription::UnknownCA => "unknown_ca",
        AlertDescription::AccessDenied => "access_denied",
        // How a client says it that trusts another CA of the same name, as after a CA was remade:
        // the signature on our certificate is not that CA's (OpenSSL and rustls).
        AlertDescription::DecryptError => "decrypt_error",
        AlertDescription::BadCertificateStatusResponse => "bad_certificate_status_response",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
