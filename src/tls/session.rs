//! One TLS endpoint: records in, plaintext out, and the other way round.
//!
//! It owns no socket and no clock. The interface is narrow on purpose: nothing of rustls shows
//! through, so that what is inside can change. Records are decrypted where they were read to, and
//! a session holds bytes only while a record is incomplete or a socket does not take what was
//! encrypted: idle sessions hold none.

mod carried;
mod endpoint;

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error, HandshakeKind, ProtocolVersion};

use crate::flow::record::TlsFacts;
use crate::limits::{SEALED_OVERHEAD_BYTES, TLS_PENDING_BYTES};

use super::verifier::refusal_text;
use endpoint::{Endpoint, Outgoing, Processed};

/// The ALPN name (RFC 7301) of the only protocol that is spoken.
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";

/// One TLS endpoint of a connection, client or server.
pub struct Session {
    endpoint: Endpoint,
    /// The name that was sent as a client, or received as a server.
    server_name: Option<Box<str>>,
    /// Ciphertext whose record, or handshake message, is not whole.
    pending: Vec<u8>,
    /// Ciphertext that is to be sent before anything else is encrypted.
    output: Vec<u8>,
    /// How much of `output` was sent.
    sent: usize,
    /// The peer's close_notify came.
    peer_closed: bool,
    failed: Option<Error>,
    /// The session that carries this one's records, if they do not go to the socket as they are.
    carrier: Option<Box<Session>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("client", &matches!(self.endpoint, Endpoint::Client(_)))
            .field("handshaking", &self.is_handshaking())
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
    /// What carries the session has ended so, whether the session has or not.
    pub carrier_closed: bool,
}

/// What [`Session::seal`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Bytes of plaintext that were encrypted.
    pub taken: usize,
    /// Bytes of ciphertext that they became.
    pub written: usize,
}

impl Session {
    fn new(endpoint: Endpoint, server_name: Option<&str>) -> Self {
        let mut session = Session {
            endpoint,
            server_name: server_name.map(Box::from),
            pending: Vec::new(),
            output: Vec::new(),
            sent: 0,
            peer_closed: false,
            failed: None,
            carrier: None,
        };
        // A client begins: its ClientHello is there at once.
        session.failed = session.process(&mut [], &mut Vec::new()).error;
        session
    }

    /// A client's session; `server_name` is what it sends.
    pub(crate) fn client(
        connection: rustls::client::UnbufferedClientConnection,
        server_name: Option<&str>,
    ) -> Self {
        Self::new(connection.into(), server_name)
    }

    /// A server's session; `server_name` is what the client has sent.
    pub(crate) fn server(
        connection: rustls::server::UnbufferedServerConnection,
        server_name: Option<&str>,
    ) -> Self {
        Self::new(connection.into(), server_name)
    }

    /// Ciphertext that came before and waits for the rest of its record. It has to stand in front
    /// of what comes next.
    pub fn pending(&self) -> &[u8] {
        self.carrier.as_ref().map_or(&self.pending, |carrier| &carrier.pending)
    }

    /// Takes all of `ciphertext`, which begins with [`Session::pending`], and appends what it
    /// says to `plaintext`. It is decrypted in place.
    ///
    /// Bytes after the peer's close_notify are ignored.
    ///
    /// # Errors
    /// What makes the session unusable; an alert for the peer may be waiting then
    /// ([`Session::has_output`]).
    pub fn receive(
        &mut self,
        ciphertext: &mut [u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<Received, TlsError> {
        if let Some(mut carrier) = self.carrier.take() {
            let received = self.receive_by(&mut carrier, ciphertext, plaintext);
            self.carrier = Some(carrier);
            return received;
        }
        if self.peer_closed {
            return Ok(Received { peer_closed: true, ..Received::default() });
        }
        if let Some(error) = &self.failed {
            return Err(self.error(error));
        }
        let was_handshaking = self.is_handshaking();
        let processed = self.process(ciphertext, plaintext);
        self.peer_closed = processed.peer_closed;
        let rest = ciphertext.get(processed.used..).unwrap_or_default();
        if self.failed.is_none() && processed.error.is_none() && rest.len() > TLS_PENDING_BYTES {
            self.failed = Some(Error::General("a handshake message is too long".to_owned()));
        }
        self.failed = self.failed.take().or(processed.error);
        if let Some(error) = &self.failed {
            return Err(self.error(error));
        }
        let rest = if self.peer_closed { &[] } else { rest };
        if rest.is_empty() {
            self.pending = Vec::new();
        } else {
            self.pending.clear();
            self.pending.extend_from_slice(rest);
        }
        Ok(Received {
            handshake_done: was_handshaking && !self.is_handshaking(),
            peer_closed: self.peer_closed,
            carrier_closed: false,
        })
    }

    fn error(&self, error: &Error) -> TlsError {
        TlsError::from_rustls(error, matches!(self.endpoint, Endpoint::Server(_)))
    }

    fn process(&mut self, ciphertext: &mut [u8], plaintext: &mut Vec<u8>) -> Processed {
        self.endpoint.process(ciphertext, plaintext, &mut self.output)
    }

    /// Encrypts as much of `plaintext` as `sealed` has room for. Takes nothing during the
    /// handshake and while [`Session::output`] has something that must be sent before.
    ///
    /// # Errors
    /// When the session is unusable.
    pub fn seal(&mut self, plaintext: &[u8], sealed: &mut [u8]) -> Result<Sealed, TlsError> {
        if let Some(mut carrier) = self.carrier.take() {
            let result = self.seal_by(&mut carrier, plaintext, sealed);
            self.carrier = Some(carrier);
            return result;
        }
        if self.is_handshaking() || self.has_output() {
            return Ok(Sealed::default());
        }
        if let Some(error) = &self.failed {
            return Err(TlsError::other(format!("cannot encrypt: {error}")));
        }
        let room = sealed.len().saturating_sub(SEALED_OVERHEAD_BYTES);
        let now = plaintext.get(..room).unwrap_or(plaintext);
        let written = self
            .endpoint
            .write(&Outgoing::Data(now), &mut self.pending, sealed, &mut self.output)
            .map_err(|error| {
                let told = TlsError::other(format!("cannot encrypt: {error}"));
                self.failed = Some(error);
                told
            })?;
        let taken = if self.has_output() { 0 } else { now.len() };
        Ok(Sealed { taken, written })
    }

    /// Queues close_notify: no more plaintext will be sent. During the handshake there is nothing
    /// that it could end.
    pub fn close(&mut self) {
        if let Some(mut carrier) = self.carrier.take() {
            self.close_by(&mut carrier);
            self.carrier = Some(carrier);
            return;
        }
        if self.is_handshaking() || self.failed.is_some() {
            return;
        }
        let mut alert = [0; SEALED_OVERHEAD_BYTES];
        let what = Outgoing::CloseNotify;
        match self.endpoint.write(&what, &mut self.pending, &mut alert, &mut self.output) {
            Ok(written) => self.queue(alert.get(..written).unwrap_or_default()),
            Err(error) => self.failed = Some(error),
        }
    }

    /// Queues ciphertext that [`Session::seal`] gave and the socket did not take.
    pub fn queue(&mut self, sealed: &[u8]) {
        match &mut self.carrier {
            Some(carrier) => carrier.queue(sealed),
            None => self.output.extend_from_slice(sealed),
        }
    }

    /// Whether ciphertext waits to be sent.
    pub fn has_output(&self) -> bool {
        let carried = self.carrier.as_ref().is_some_and(|carrier| carrier.has_output());
        carried || self.sent < self.output.len()
    }

    /// The ciphertext that waits to be sent.
    pub fn output(&self) -> &[u8] {
        match &self.carrier {
            Some(carrier) => carrier.output(),
            None => self.output.get(self.sent..).unwrap_or_default(),
        }
    }

    /// So many bytes of [`Session::output`] were sent.
    pub fn consume_output(&mut self, count: usize) {
        if let Some(carrier) = &mut self.carrier {
            return carrier.consume_output(count);
        }
        self.sent = self.sent.saturating_add(count);
        if !self.has_output() {
            self.output = Vec::new();
            self.sent = 0;
        }
    }

    /// Whether the handshake is still under way.
    pub fn is_handshaking(&self) -> bool {
        self.endpoint.common().is_handshaking()
    }

    /// What the handshake agreed on; version and cipher are empty before it did.
    pub fn facts(&self) -> TlsFacts {
        let common = self.endpoint.common();
        let version = match common.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        };
        let cipher = common.negotiated_cipher_suite().map_or_else(String::new, |suite| {
            let name = suite.suite().as_str().unwrap_or_default();
            name.strip_prefix("TLS13_").map_or_else(|| name.to_owned(), |n| format!("TLS_{n}"))
        });
        TlsFacts {
            version,
            cipher,
            server_name: self.server_name.as_deref().map(str::to_owned),
            alpn: common.alpn_protocol().map(|p| String::from_utf8_lossy(p).into_owned()),
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
        }
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
