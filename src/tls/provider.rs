//! The cryptography behind rustls, as the cargo features choose it; always passed explicitly.

use std::sync::Arc;

use rustls::SupportedCipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

use super::session::TlsError;

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!(
    "flowtap needs one TLS backend: build with the default feature `aws-lc-rs`, \
     or with `--no-default-features --features ring`"
);

/// The provider: aws-lc-rs where its feature is on, else ring; with AES-128-GCM before the other
/// suites of each version.
///
/// AES-256 asks for SHA-384 with it, which processors do not help with: that alone was a third of
/// a server's handshake, and no way through a proxy is safer for it.
pub fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    let mut provider = rustls::crypto::ring::default_provider();
    let is_second = |suite: &SupportedCipherSuite| {
        !suite.suite().as_str().is_some_and(|name| name.contains("AES_128_GCM"))
    };
    // Stable: what is equal stays in its order.
    provider.cipher_suites.sort_by_key(|suite| (suite.tls13().is_none(), is_second(suite)));
    Arc::new(provider)
}

/// Stateless session tickets under keys of this process, which change by themselves.
pub(crate) fn ticketer() -> Result<Arc<dyn ProducesTickets>, TlsError> {
    #[cfg(feature = "aws-lc-rs")]
    let made = rustls::crypto::aws_lc_rs::Ticketer::new();
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    let made = rustls::crypto::ring::Ticketer::new();
    made.map_err(|e| TlsError::other(format!("cannot make session ticket keys: {e}")))
}
