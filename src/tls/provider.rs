//! The cryptography behind rustls, as the cargo features choose it; always passed explicitly.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

use super::session::TlsError;

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!(
    "flowtap needs one TLS backend: build with the default feature `aws-lc-rs`, \
     or with `--no-default-features --features ring`"
);

/// The provider: aws-lc-rs where its feature is on, else ring.
#[cfg(feature = "aws-lc-rs")]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The provider: aws-lc-rs where its feature is on, else ring.
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Stateless session tickets under keys of this process, which change by themselves.
pub(crate) fn ticketer() -> Result<Arc<dyn ProducesTickets>, TlsError> {
    #[cfg(feature = "aws-lc-rs")]
    let made = rustls::crypto::aws_lc_rs::Ticketer::new();
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    let made = rustls::crypto::ring::Ticketer::new();
    made.map_err(|e| TlsError::other(format!("cannot make session ticket keys: {e}")))
}
