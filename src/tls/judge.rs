//! Judging a chain that a server has shown, by roots of one's choice.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore};

use super::provider::provider;
use super::session::HTTP_1_1;
use super::verifier::{TakesAny, may_issue, refusal_text};

/// Whether `roots` make the chain trusted for `name` now.
///
/// # Errors
/// Why not, in words.
pub fn judge(
    roots: &[CertificateDer<'static>],
    chain: &[CertificateDer<'static>],
    name: &str,
) -> Result<(), String> {
    let mut store = RootCertStore::empty();
    // Systems' stores hold old certificates that cannot be parsed; they are of no use.
    store.add_parsable_certificates(roots.iter().filter(|root| may_issue(root)).cloned());
    if store.is_empty() {
        return Err("there are no trusted roots".to_owned());
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider())
        .build()
        .map_err(|error| format!("certificates cannot be verified: {error}"))?;
    let (leaf, rest) = chain.split_first().ok_or("the server has shown no certificate")?;
    let name = server_name(name)?;
    match verifier.verify_server_cert(leaf, rest, &name, &[], UnixTime::now()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InvalidCertificate(reason)) => Err(refusal_text(&reason)),
        Err(error) => Err(error.to_string()),
    }
}

/// The name of a server as TLS has it.
///
/// # Errors
/// When it is none.
pub fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| format!("{name:?} is no host name"))
}

/// A client that takes any chain, which is to be judged afterwards.
///
/// # Errors
/// When TLS cannot be set up.
pub fn client_that_takes_any() -> Result<Arc<ClientConfig>, String> {
    let algorithms = provider().signature_verification_algorithms;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakesAny { algorithms, asks_for_proof: true }))
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(Arc::new(config))
}
