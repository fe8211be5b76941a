//! The side towards servers: roots of trust, verification, resumption.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, Result};
use crate::limits::RESUMPTION_HOSTS;

use super::leaf::LeafName;
use super::provider::provider;
use super::session::{HTTP_1_1, Session, TlsError};
use super::verifier::{TakesAny, TakesNone, Verifier, may_issue};
use super::version::TlsVersion;

/// The variable that names a file of roots, in place of the system's.
const CERT_FILE: &str = "SSL_CERT_FILE";
/// rustls sizes its store in tickets, and counts so many of them for each host.
const TICKETS_PER_HOST: usize = 8;
/// The variable that names folders of them.
const CERT_DIR: &str = "SSL_CERT_DIR";
const NO_ROOTS: &str = "no trusted root certificates were found; install the system's \
    (ca-certificates), or name a PEM file with SSL_CERT_FILE, or pass --insecure-upstream to \
    verify no server";

/// The TLS client that all loops share: TLS 1.2 and 1.3, ALPN http/1.1, sessions resumed.
pub struct UpstreamTls {
    from_tls12: Arc<ClientConfig>,
    from_tls13: Arc<ClientConfig>,
    /// Where servers are not verified: proxies are, which are shown passwords.
    proxies: Option<Box<Proxies>>,
}

/// The client for proxies, made for the first of them.
struct Proxies {
    files: Vec<PathBuf>,
    client: OnceLock<std::result::Result<UpstreamTls, String>>,
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").finish_non_exhaustive()
    }
}

impl UpstreamTls {
    /// A client that trusts the system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured)
    /// and those in `files` (see [`roots_in`]), and warnings about roots that could not be read. On
    /// a system that has none, as a bare container, no server is trusted, and a warning says so.
    /// With `insecure` any certificate of a server is taken.
    ///
    /// # Errors
    /// When one of `files` cannot be used; when `SSL_CERT_FILE` cannot be read, or there are no
    /// roots where the variables say, and `insecure` is not set.
    pub fn new(insecure: bool, files: &[PathBuf]) -> Result<(Self, Vec<String>)> {
        let mut roots = Vec::new();
        for file in files {
            roots.extend(roots_in(file)?);
        }
        if insecure {
            let algorithms = provider().signature_verification_algorithms;
            let verifier = TakesAny { algorithms, asks_for_proof: false };
            let client = Self::with_verifier(Arc::new(verifier))?;
            let proxies = Proxies { files: files.to_vec(), client: OnceLock::new() };
            return Ok((UpstreamTls { proxies: Some(Box::new(proxies)), ..client }, Vec::new()));
        }
        check_cert_file(std::env::var_os(CERT_FILE).as_deref())?;
        let found = rustls_native_certs::load_native_certs();
        let mut warnings: Vec<_> =
            found.errors.iter().map(|e| format!("root certificates: {e}")).collect();
        roots.extend(found.certs);
        let named = [CERT_FILE, CERT_DIR].iter().any(|name| std::env::var_os(name).is_some());
        if roots.is_empty() && !named {
            warnings
                .push(format!("servers cannot be verified, and HTTPS to them fails: {NO_ROOTS}"));
            return Ok((Self::without_roots()?, warnings));
        }
        Ok((Self::with_roots(roots)?, warnings))
    }

    /// A client that trusts no server, and says why.
    fn without_roots() -> Result<Self> {
        let algorithms = provider().signature_verification_algorithms;
        Self::with_verifier(Arc::new(TakesNone { algorithms, reason: NO_ROOTS }))
    }

    /// A client that trusts `roots` and nothing else.
    ///
    /// # Errors
    /// When none of them is usable.
    pub fn with_roots(roots: Vec<CertificateDer<'static>>) -> Result<Self> {
        let mut store = RootCertStore::empty();
        // Systems' stores hold old certificates that cannot be parsed; they are of no use.
        store.add_parsable_certificates(roots.iter().filter(|root| may_issue(root)).cloned());
        let is_root = |root: &CertificateDer<'_>| RootCertStore::empty().add(root.clone()).is_ok();
        if store.is_empty() && !roots.iter().any(is_root) {
            return Err(Error::new(NO_ROOTS));
        }
        let paths = (!store.is_empty())
            .then(|| WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider()))
            .map(|builder| builder.build())
            .transpose()
            .map_err(|e| Error::new(format!("cannot set up certificate verification: {e}")))?;
        let roots: HashSet<_> = roots.into_iter().collect();
        let algorithms = provider().signature_verification_algorithms;
        Self::with_verifier(Arc::new(Verifier::new(paths, roots, algorithms)))
    }

    fn with_verifier(verifier: Arc<dyn ServerCertVerifier>) -> Result<Self> {
        let config = |min: TlsVersion| {
            let mut config = ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(min.and_above())
                .map_err(|e| Error::new(format!("cannot set up TLS: {e}")))?
                .dangerous()
                .with_custom_certificate_verifier(verifier.clone())
                .with_no_client_auth();
            config.alpn_protocols = vec![HTTP_1_1.to_vec()];
            // A store each: no session of a version below `min` is ever offered.
            config.resumption = Resumption::in_memory_sessions(RESUMPTION_HOSTS * TICKETS_PER_HOST);
            Ok(Arc::new(config))
        };
        let (from_tls12, from_tls13) = (config(TlsVersion::Tls12)?, config(TlsVersion::Tls13)?);
        Ok(UpstreamTls { from_tls12, from_tls13, proxies: None })
    }

    /// A session as [`UpstreamTls::session`] begins one, towards a proxy: it is verified whatever
    /// holds for servers.
    ///
    /// # Errors
    /// As there, and when there are no roots to verify it with.
    pub fn proxy_session(
        &self,
        proxy_name: &str,
        min: TlsVersion,
    ) -> std::result::Result<Session, TlsError> {
        let Some(proxies) = &self.proxies else { return self.session(proxy_name, min) };
        let make = || UpstreamTls::new(false, &proxies.files).map(|(client, _)| client);
        let client = proxies.client.get_or_init(|| make().map_err(|error| error.to_string()));
        match client {
            Ok(client) => client.session(proxy_name, min),
            Err(why) => Err(TlsError::other(why.clone())),
        }
    }

    /// A session towards `server_name`, a DNS name (IDNA is applied) or an IP address, which is
    /// verified but not sent as SNI (RFC 6066 section 3). The handshake fails below the version
    /// `min`.
    ///
    /// # Errors
    /// When the name is neither.
    pub fn session(
        &self,
        server_name: &str,
        min: TlsVersion,
    ) -> std::result::Result<Session, TlsError> {
        let config = match min {
            TlsVersion::Tls12 => &self.from_tls12,
            TlsVersion::Tls13 => &self.from_tls13,
        };
        let name = LeafName::parse(server_name)?;
        let (name, sent) = match name {
            LeafName::Ip(address) => (ServerName::from(address), None),
            LeafName::Dns(name) => {
                let parsed = ServerName::try_from(name.clone())
                    .map_err(|_| TlsError::other(format!("{server_name:?} is no host name")))?;
                (parsed, Some(name))
            }
        };
        let connection = UnbufferedClientConnection::new(Arc::clone(config), name)
            .map_err(|e| TlsError::other(format!("cannot begin a TLS session: {e}")))?;
        Ok(Session::client(connection, sent.as_deref()))
    }
}

/// The roots in a file: certificates in PEM, or one in DER.
///
/// # Errors
/// When it cannot be read, or holds no certificate or one that cannot be a root.
pub fn roots_in(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let named = |reason: String| {
        Error::new(format!("the roots in {} cannot be used: {reason}", file.display()))
    };
    let bytes = std::fs::read(file).map_err(|error| named(error.to_string()))?;
    let roots: Vec<_> = match bytes.first() {
        Some(&DER_SEQUENCE) => vec![CertificateDer::from(bytes)],
        _ => CertificateDer::pem_slice_iter(&bytes)
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| named(format!("it is no valid PEM: {error}")))?,
    };
    if roots.is_empty() {
        return Err(named("it holds no certificate in PEM".to_owned()));
    }
    let mut store = RootCertStore::empty();
    for (number, root) in (1..).zip(&roots) {
        store
            .add(root.clone())
            .map_err(|error| named(format!("its certificate {number} is no root: {error}")))?;
    }
    Ok(roots)
}

/// The first byte of a certificate in DER.
const DER_SEQUENCE: u8 = 0x30;

/// A file of roots that the user named and that cannot be read is an error, not a missing root.
fn check_cert_file(file: Option<&OsStr>) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    match File::open(Path::new(file)) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::new(format!(
            "{CERT_FILE} names {}, which cannot be read: {e}; correct or unset it",
            Path::new(file).display()
        ))),
    }
}

#[cfg(test)]
mod tests;
