//! A CA for test origins, and TLS clients that trust whom a test says.

use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use flowtap::tls::provider::provider;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
    SupportedProtocolVersion,
};
use tempfile::NamedTempFile;

/// The CA that signs the origins' certificates, made once for all tests.
pub(crate) struct TestCa {
    file: NamedTempFile,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// The one test CA.
pub(crate) fn test_ca() -> &'static TestCa {
    static CA: OnceLock<TestCa> = OnceLock::new();
    CA.get_or_init(|| TestCa::new("origins' test CA"))
}

impl TestCa {
    /// A CA of this name.
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).unwrap();
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certificate.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        TestCa { file, certificate: certificate.der().clone(), issuer }
    }

    /// The certificate in PEM.
    pub(crate) fn file(&self) -> &Path {
        self.file.path()
    }

    /// The certificate.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// A server with a certificate for these names and addresses.
    pub(crate) fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.server_with(names, |_| ())
    }

    /// As [`TestCa::server`], with something changed in the certificate.
    pub(crate) fn server_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<ServerConfig> {
        self.server_of(rustls::ALL_VERSIONS, names, change)
    }

    /// As [`TestCa::server_with`], with these protocol versions.
    pub(crate) fn server_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        server_config(leaf.der().clone(), &key, versions)
    }
}

/// A server whose certificate is signed by nobody but itself.
pub(crate) fn self_signed_server(name: &str) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let leaf = params.self_signed(&key).unwrap();
    server_config(leaf.der().clone(), &key, rustls::ALL_VERSIONS)
}

fn server_config(
    leaf: CertificateDer<'static>,
    key: &KeyPair,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(versions).unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(vec![leaf], key).unwrap())
}

/// A client that trusts this CA alone.
pub(crate) fn client_config(ca: CertificateDer<'static>) -> Arc<ClientConfig> {
    client_config_of(ca, rustls::ALL_VERSIONS, |_| ())
}

/// As [`client_config`], with these protocol versions and something changed.
pub(crate) fn client_config_of(
    ca: CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    change: impl FnOnce(&mut ClientConfig),
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(ca).unwrap();
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    change(&mut config);
    Arc::new(config)
}

/// The certificate in a PEM file.
pub(crate) fn certificate_in(file: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file).unwrap()
}

/// TLS over a connection, its handshake done.
pub(crate) fn handshake(
    config: Arc<ClientConfig>,
    name: &str,
    stream: TcpStream,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(config, name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}
