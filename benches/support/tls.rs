//! TLS on both ends of the traffic, by the provider that flowtap has.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A server with a certificate of its own for these names, and the certificate as PEM.
pub(crate) fn server(names: Vec<String>) -> (Arc<ServerConfig>, String) {
    let made = rcgen::generate_simple_self_signed(names).expect("a key");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(::flowtap::tls::provider::provider())
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a key that fits");
    (Arc::new(config), made.cert.pem())
}

/// A client that trusts this certificate, or nobody.
pub(crate) fn client(trusted_pem: Option<&[u8]>, resumption: Resumption) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = trusted_pem {
        roots.add(CertificateDer::from_pem_slice(pem).expect("PEM")).expect("a certificate");
    }
    let provider = ::flowtap::tls::provider::provider();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = resumption;
    Arc::new(config)
}
