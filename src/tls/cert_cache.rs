//! Leaf certificates by host: sharded, bounded, one mint for many that wait.

use std::sync::Arc;

use rustls::sign::CertifiedKey;

use super::authority::Authority;
use super::session::TlsError;

/// The leaf certificates of all loops.
#[derive(Debug)]
pub struct CertCache {
    authority: Arc<Authority>,
}

impl CertCache {
    /// An empty cache in front of `authority`.
    pub fn new(authority: Arc<Authority>) -> Self {
        CertCache { authority }
    }

    /// The certificate for `host`, a DNS name or an IP address; minted where there is none yet.
    ///
    /// # Errors
    /// When `host` cannot stand in a certificate or signing fails.
    pub fn get(&self, host: &str) -> Result<Arc<CertifiedKey>, TlsError> {
        self.authority.mint(&super::leaf::LeafNames::for_host(host)?)
    }
}
