//! The side towards clients: sessions with certificates of our own authority.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::DnsName;
use rustls::server::{ClientHello, ResolvesServerCert, UnbufferedServerConnection};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::cert_cache::CertCache;
use super::provider::{provider, ticketer};
use super::session::{HTTP_1_1, Session, TlsError};
use super::version::TlsVersion;

/// The TLS server that all loops share: TLS 1.2 and 1.3, ALPN http/1.1, stateless tickets.
pub struct ServerTls {
    cache: Arc<CertCache>,
    from_tls12: Arc<ServerConfig>,
    from_tls13: Arc<ServerConfig>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// A server with certificates from `cache`.
    ///
    /// # Errors
    /// When the backend cannot be set up.
    pub fn new(cache: Arc<CertCache>) -> Result<Self, TlsError> {
        let resolver = Arc::new(BySni { cache: Arc::clone(&cache) });
        // A ticket is taken only with the cipher suite of its session, and each suite belongs to
        // one version: the same keys serve both configurations.
        let ticketer = ticketer()?;
        let config = |min: TlsVersion| {
            let mut config = ServerConfig::builder_with_provider(provider())
                .with_protocol_versions(min.and_above())
                .map_err(|e| TlsError::other(format!("cannot set up TLS: {e}")))?
                .with_no_client_auth()
                .with_cert_resolver(resolver.clone());
            config.alpn_protocols = vec![HTTP_1_1.to_vec()];
            // Most clients name the dearest suite first.
            config.ignore_client_order = true;
            config.ticketer = ticketer.clone();
            config.send_tls13_tickets = 1;
            // Tickets make the session store superfluous, and it would be one lock for all loops.
            config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
            Ok(Arc::new(config))
        };
        let (from_tls12, from_tls13) = (config(TlsVersion::Tls12)?, config(TlsVersion::Tls13)?);
        Ok(ServerTls { cache, from_tls12, from_tls13 })
    }

    /// A session for a client whose ClientHello named `sni` and whose CONNECT named
    /// `connect_host` (DNS name or IP address), which the certificate is for where there is no
    /// usable SNI. The handshake fails below the version `min`. Minting may block for its
    /// duration.
    ///
    /// # Errors
    /// When no certificate can be made for the host.
    pub fn session(
        &self,
        sni: Option<&str>,
        connect_host: &str,
        min: TlsVersion,
    ) -> Result<Session, TlsError> {
        let shared = match min {
            TlsVersion::Tls12 => &self.from_tls12,
            TlsVersion::Tls13 => &self.from_tls13,
        };
        // rustls judges the same way whether a name is usable.
        let usable = sni.filter(|name| DnsName::try_from(*name).is_ok());
        let config = match usable {
            Some(name) => {
                // Minted now, so that a failure has a reason that can be reported.
                self.cache.get(name)?;
                Arc::clone(shared)
            }
            None => {
                let key = self.cache.get(connect_host)?;
                let mut config = ServerConfig::clone(shared);
                config.cert_resolver = Arc::new(SingleCertAndKey::from(key));
                Arc::new(config)
            }
        };
        let connection = UnbufferedServerConnection::new(config)
            .map_err(|e| TlsError::other(format!("cannot begin a TLS session: {e}")))?;
        let name = usable.map(str::to_ascii_lowercase);
        Ok(Session::server(connection, name.as_deref()))
    }
}

/// Finds the certificate for the name in the ClientHello.
#[derive(Debug)]
struct BySni {
    cache: Arc<CertCache>,
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.server_name().and_then(|name| self.cache.get(name).ok())
    }
}
