//! The side towards clients: sessions with certificates of our own authority.

use std::sync::Arc;

use super::cert_cache::CertCache;
use super::session::{Session, TlsError};

/// The TLS server that all loops share.
#[derive(Debug)]
pub struct ServerTls {
    cache: Arc<CertCache>,
}

impl ServerTls {
    /// A server with certificates from `cache`.
    ///
    /// # Errors
    /// When the backend cannot be set up.
    pub fn new(cache: Arc<CertCache>) -> Result<Self, TlsError> {
        Ok(ServerTls { cache })
    }

    /// A session for a client whose ClientHello named `sni` and whose CONNECT named
    /// `connect_host` (DNS name or IP address), which the certificate is for where there is no
    /// usable SNI. Minting may block for its duration.
    ///
    /// # Errors
    /// When no certificate can be made for the host.
    pub fn session(&self, sni: Option<&str>, connect_host: &str) -> Result<Session, TlsError> {
        self.cache.get(sni.unwrap_or(connect_host))?;
        Err(TlsError::other("not ready"))
    }
}
