//! Proxies on the way to servers: which of them is asked for what, and how it is spoken to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::flow::record::Authority;

mod connect;
mod exceptions;
mod handshake;
mod socks5;
mod url;

pub use exceptions::Exceptions;
pub use handshake::{Destination, Handshake, Taken};
pub use url::UrlError;

/// What is spoken with an upstream proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HTTP.
    Http,
    /// HTTP inside TLS.
    Https,
    /// SOCKS5 (RFC 1928), to an address that flowtap looks up.
    Socks5,
    /// SOCKS5, to a name that the proxy looks up.
    Socks5h,
}

impl Kind {
    fn scheme(self) -> &'static str {
        match self {
            Kind::Http => "http",
            Kind::Https => "https",
            Kind::Socks5 => "socks5",
            Kind::Socks5h => "socks5h",
        }
    }
}

/// A proxy through which servers are reached. Shown, it keeps its credentials to itself.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamProxy {
    /// What is spoken with it.
    pub kind: Kind,
    /// Where it listens.
    pub authority: Arc<Authority>,
    credentials: Option<Credentials>,
}

/// A user name and password, as bytes.
#[derive(Clone, PartialEq, Eq)]
struct Credentials {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl UpstreamProxy {
    /// Whether it can be asked for `http` URLs itself.
    pub fn forwards(&self) -> bool {
        matches!(self.kind, Kind::Http | Kind::Https)
    }

    /// Whether credentials for it are known.
    pub fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// The value of Proxy-Authorization (RFC 7617), if there are credentials.
    pub fn authorization(&self) -> Option<String> {
        let Credentials { user, password } = self.credentials.as_ref()?;
        Some(format!("Basic {}", STANDARD.encode([user, b":".as_slice(), password].concat())))
    }

    /// Why it does not forward a request that it answered with 407.
    pub fn authentication_failure(&self) -> String {
        let what = match self.credentials {
            None => "wants a user name and password: give them in its URL",
            Some(_) => "does not take the user name and password of its URL",
        };
        format!("the upstream proxy {self} {what} (407 Proxy Authentication Required)")
    }
}

impl fmt::Display for UpstreamProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Authority { host, port } = &*self.authority;
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{host}{close}:{port}", self.kind.scheme())
    }
}

impl fmt::Debug for UpstreamProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamProxy({self}, credentials: {})", self.has_credentials())
    }
}

/// Which upstream proxy is asked for which host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstreams {
    /// For `http` URLs.
    pub http: Option<Arc<UpstreamProxy>>,
    /// For `https` URLs, and for what clients open tunnels to.
    pub https: Option<Arc<UpstreamProxy>>,
    /// Hosts that are reached without any.
    pub except: Exceptions,
    /// Names and addresses of this machine are reached without any.
    pub spares_loopback: bool,
}

impl Upstreams {
    /// Whether there are no upstream proxies at all.
    pub fn is_none(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }

    /// The proxy to reach a server by, if not directly. `tunnels`: for an `https` URL, or what
    /// came through a client's tunnel.
    pub fn proxy_for(&self, to: &Authority, tunnels: bool) -> Option<&Arc<UpstreamProxy>> {
        let proxy = if tunnels { self.https.as_ref() } else { self.http.as_ref() }?;
        let spared = self.spares_loopback && is_loopback(&to.host);
        (!spared && !self.except.matches(&to.host, to.port)).then_some(proxy)
    }
}

/// The address to have a SOCKS5 proxy connect to, among those that were looked up: one of IPv4
/// where there is one, because many proxies have no IPv6.
pub fn preferred(addresses: &[IpAddr], port: u16) -> Option<SocketAddr> {
    let first = addresses.iter().find(|it| it.is_ipv4()).or_else(|| addresses.first())?;
    Some(SocketAddr::new(*first, port))
}

/// Whether a host is by its name, or as an address, this machine. A connection to the unspecified
/// address goes to the loopback one.
pub fn is_loopback(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let address = || {
        let address = host.parse::<IpAddr>().ok()?.to_canonical();
        Some(address.is_loopback() || address.is_unspecified())
    };
    name == "localhost" || name.ends_with(".localhost") || address().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(host: &str) -> Authority {
        Authority { host: host.to_owned(), port: 443 }
    }

    #[test]
    fn each_kind_of_url_has_its_proxy_and_loopback_may_be_spared() {
        let proxy = |url| Some(Arc::new(UpstreamProxy::parse(url).unwrap()));
        let upstreams = Upstreams {
            http: proxy("http://plain:1"),
            https: proxy("http://tunnels:2"),
            except: Exceptions::read("near.example").0,
            spares_loopback: true,
        };
        let asked =
            |host, tunnels| upstreams.proxy_for(&to(host), tunnels).map(|proxy| proxy.to_string());
        assert_eq!(asked("far.example", false).as_deref(), Some("http://plain:1"));
        assert_eq!(asked("far.example", true).as_deref(), Some("http://tunnels:2"));
        assert_eq!(asked("a.near.example", true), None);
        for host in ["localhost", "a.localhost", "localhost.", "127.3.2.1", "::1", "0.0.0.0", "::"]
        {
            assert_eq!(asked(host, false), None, "{host}");
            let all = Upstreams { spares_loopback: false, ..upstreams.clone() };
            assert!(all.proxy_for(&to(host), false).is_some(), "{host}");
        }
        assert!(Upstreams::default().proxy_for(&to("far.example"), true).is_none());
        assert!(Upstreams::default().is_none() && !upstreams.is_none());
    }

    #[test]
    fn an_address_of_ipv4_is_preferred() {
        let preferred = |all: &[&str]| {
            let all: Vec<IpAddr> = all.iter().map(|it| it.parse().unwrap()).collect();
            preferred(&all, 1).map(|address| address.to_string())
        };
        assert_eq!(preferred(&["::1", "192.0.2.1"]).as_deref(), Some("192.0.2.1:1"));
        assert_eq!(preferred(&["::1", "::2"]).as_deref(), Some("[::1]:1"));
        assert_eq!(preferred(&[]), None);
    }

    #[test]
    fn credentials_are_shown_to_the_proxy_alone() {
        let proxy = UpstreamProxy::parse("https://Aladdin:open%20sesame@[::1]:8443").unwrap();
        assert_eq!(proxy.authorization().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let upstreams = Upstreams { http: Some(Arc::new(proxy.clone())), ..Upstreams::default() };
        for shown in [
            proxy.to_string(),
            proxy.authentication_failure(),
            format!("{proxy:?}"),
            format!("{upstreams:#?}"),
        ] {
            assert!(shown.contains("https://[::1]:8443"), "{shown}");
            assert!(!shown.contains("sesame") && !shown.contains("Aladdin"), "{shown}");
            assert!(!shown.contains("QWxh"), "{shown}");
        }
    }
}
