//! What a connection's state machine is given with each event, and what it asks for in return.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::discovered::Discovered;
use crate::flow::record::{Authority, FlowId, TlsFacts};
use crate::hosts::HostRules;
use crate::http::device_page::{is_device_host, is_direct_page};
use crate::http::head::{RequestHead, ResponseHead};
use crate::notice::Notices;
use crate::options::{Options, SharedOptions};
use crate::proxy::exchange::Route;
use crate::proxy::hold::HeldTotals;
use crate::proxy::outbox::Outbox;
use crate::stats::Stats;
use crate::upstream::{UpstreamProxy, Upstreams, is_loopback};

/// The clock of one turn of the loop.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For durations.
    pub instant: Instant,
    /// For records: microseconds since the Unix epoch.
    pub epoch_us: u64,
}

/// The certificate that device pages hand out.
#[derive(Clone, Debug, Default)]
pub struct DeviceCertificate {
    /// PEM.
    pub pem: Vec<u8>,
    /// DER.
    pub der: Vec<u8>,
    /// PKCS#12.
    pub pkcs12: Vec<u8>,
}

/// What all connections of all loops share.
#[derive(Debug)]
pub struct Shared {
    /// Which hosts are intercepted and recorded.
    pub hosts: HostRules,
    /// Where hosts are named instead of intercepted: `discover`.
    pub discovered: Option<Arc<Discovered>>,
    /// Whether anybody reads flows at all.
    pub records: bool,
    /// Whether somebody reads flows while they are under way.
    pub live: bool,
    /// The options in force; loops look once a turn.
    pub options: Arc<SharedOptions>,
    /// Proxies on the way to servers.
    pub upstreams: Upstreams,
    /// The addresses that the proxy listens on.
    pub listen: SocketAddr,
    /// For the device pages.
    pub certificate: DeviceCertificate,
    /// Where the tools are served, on a loopback address.
    pub mcp: Option<SocketAddr>,
    /// What is held, in all connections.
    pub held: Arc<HeldTotals>,
    /// Counters.
    pub stats: Arc<Stats>,
    /// Words to the user.
    pub notices: Notices,
    /// The next flow's id.
    pub next_flow: AtomicU64,
    /// The next upstream connection's number.
    pub next_connection: AtomicU64,
}

impl Shared {
    /// Whether the proxy itself answers for this host.
    pub fn serves_pages_of(&self, host: &str) -> bool {
        self.discovered.is_none() && is_device_host(host)
    }

    /// Whether the proxy itself answers this request, which was sent to it as if it were a server.
    pub fn serves_directly(&self, host: &str, path: &[u8]) -> bool {
        self.discovered.is_none() && is_direct_page(host, path)
    }

    /// Whether this leads to the tools of this process.
    pub fn is_mcp(&self, authority: &Authority) -> bool {
        let Authority { host, port } = authority;
        self.mcp.is_some_and(|mcp| mcp.port() == *port && is_loopback(host))
    }

    /// The upstream proxy to reach a server by, if not directly. `tunnels`: for an `https` URL, or
    /// what came through a client's tunnel.
    pub fn proxy_for(&self, to: &Authority, tunnels: bool) -> Option<&Arc<UpstreamProxy>> {
        let proxy = self.upstreams.proxy_for(to, tunnels)?;
        // The tools of this process are nowhere else.
        (!self.is_mcp(to)).then_some(proxy)
    }

    /// Whether no client may be led to this address: a proxy that other machines can reach must
    /// not hand them the tools of this one.
    pub fn guards(&self, address: SocketAddr) -> bool {
        let is_open = !self.listen.ip().to_canonical().is_loopback();
        let ip = address.ip().to_canonical();
        let leads_here = ip.is_loopback() || ip.is_unspecified();
        let port = self.mcp.is_some_and(|mcp| mcp.port() == address.port());
        is_open && leads_here && port
    }

    /// An id that no other flow has.
    pub fn new_flow_id(&self) -> FlowId {
        FlowId(self.next_flow.fetch_add(1, Ordering::Relaxed))
    }

    /// A number that no other upstream connection has.
    pub fn new_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }
}

/// Storage for parsed heads; one set serves all connections of a loop.
#[derive(Debug, Default)]
pub struct Heads {
    /// The request head in hand.
    pub request: RequestHead,
    /// The response head in hand.
    pub response: ResponseHead,
}

/// What comes with each event.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time of this turn.
    pub now: Now,
    /// What all connections share.
    pub shared: &'a Shared,
    /// The options of this turn.
    pub options: &'a Options,
    /// What the connection asks for; carried out in order.
    pub commands: &'a mut Vec<Command>,
    /// Where flow events go.
    pub outbox: &'a mut Outbox,
    /// Storage for heads.
    pub heads: &'a mut Heads,
}

impl Context<'_> {
    /// Whether a host is intercepted. `server_name` is the name in a ClientHello.
    pub fn intercepts(&self, authority: &Authority, server_name: Option<&str>) -> bool {
        let Authority { host, port } = authority;
        self.shared.hosts.decide(host, *port, server_name)
            && self.options.intercepts(host, *port, server_name)
    }

    /// Whether what goes this way is recorded.
    pub fn records(&self, route: &Route) -> bool {
        self.shared.records && self.intercepts(&route.authority, route.tls.as_deref())
    }
}

/// A connection to a server that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Where to.
    pub authority: Arc<Authority>,
    /// The name to verify and to send as SNI; `None` connects without TLS.
    pub tls: Option<Arc<str>>,
    /// How it is reached.
    pub via: Via,
    /// Whether an idle connection from the pool serves.
    pub reuse: Reuse,
}

/// How a server is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// By a connection to itself.
    #[default]
    Direct,
    /// By a connection that this proxy relays.
    Tunnel(Arc<UpstreamProxy>),
    /// By this proxy, which is sent the request in absolute form.
    Forward(Arc<UpstreamProxy>),
}

impl Via {
    /// The proxy, if there is one.
    pub fn proxy(&self) -> Option<&Arc<UpstreamProxy>> {
        match self {
            Via::Direct => None,
            Via::Tunnel(proxy) | Via::Forward(proxy) => Some(proxy),
        }
    }
}

/// Which idle connections will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Any that has not shown its end so far: the request can be sent again.
    Allow,
    /// One that is looked at first, because the request cannot be sent again.
    Probe,
    /// None: a new connection is made.
    Never,
}

/// What the connection wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Get an upstream connection; answered by `upstream_connected` or `upstream_failed`.
    Dial(Dial),
    /// Begin TLS on the upstream connection at hand, with this server name; answered likewise.
    StartUpstreamTls(Arc<str>),
    /// Begin TLS towards the client. The bytes in the client's input are its ClientHello.
    StartClientTls {
        /// The name in the ClientHello.
        server_name: Option<String>,
        /// The host of the CONNECT request.
        host: String,
    },
    /// The exchange of this flow is held: whoever decides about it asks this connection.
    Hold(FlowId),
    /// The exchange of this flow is held no more.
    Release(FlowId),
    /// The upstream connection is idle and clean: keep it.
    KeepUpstream {
        /// For nobody else: its server takes whoever speaks on it for this client, whose later
        /// requests to this host it serves.
        own: Option<Arc<Authority>>,
        /// How long its server keeps it, where that has stated so.
        stated: Option<Duration>,
    },
    /// Close the upstream connection now.
    DropUpstream {
        /// The server must be able to tell that what it got is not whole: by a reset, or inside
        /// TLS by the lack of close_notify.
        cut: bool,
    },
    /// Send the end of the stream upstream once all output is out.
    ShutdownUpstream {
        /// Inside TLS, with close_notify.
        announced: bool,
    },
    /// Send the end of the stream to the client once all output is out.
    ShutdownClient {
        /// Inside TLS, with close_notify.
        announced: bool,
    },
    /// Close the client's connection once all output is out; nothing is read any more.
    CloseClient,
    /// Close the client's connection once all output is out, but so that the client can tell
    /// that what it got is not whole: without close_notify inside TLS, and without TLS by a
    /// reset where `reset` says that nothing else would show it.
    CutClient {
        /// Whether only a reset shows that the message is cut.
        reset: bool,
    },
}

/// An upstream connection that was asked for.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The server's address, or that of the proxy on the way to it.
    pub address: SocketAddr,
    /// The proxy that takes the request in absolute form, in the server's place.
    pub forwards: Option<Arc<UpstreamProxy>>,
    /// Its number among the process's upstream connections.
    pub connection: u64,
    /// Whether it comes from the pool.
    pub reused: bool,
    /// Its TLS.
    pub tls: Option<Arc<TlsFacts>>,
    /// Microseconds for the look-up; 0 when reused.
    pub dns_us: u64,
    /// Microseconds for connecting, and for the handshakes with a proxy; 0 when reused.
    pub connect_us: u64,
    /// Microseconds for the TLS handshake; 0 when reused or without TLS.
    pub tls_us: u64,
}

/// Why no upstream connection could be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialError {
    /// The status for the client: 502 or 504, 503 where the proxy has no descriptor left, or 508
    /// for the proxy's own address.
    pub status: u16,
    /// One line that says what failed and why.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    fn shared(listen: &str) -> Shared {
        let stats = Arc::new(Stats::default());
        let (notices, _) = Notices::channel(stats.clone());
        Shared {
            hosts: HostRules::default(),
            discovered: None,
            records: true,
            live: true,
            options: Arc::new(SharedOptions::new(Options::default())),
            upstreams: Upstreams::default(),
            listen: listen.parse().unwrap(),
            certificate: DeviceCertificate::default(),
            mcp: Some("127.0.0.1:9011".parse().unwrap()),
            held: Arc::default(),
            stats,
            notices,
            next_flow: AtomicU64::new(1),
            next_connection: AtomicU64::new(1),
        }
    }

    #[test]
    fn a_proxy_that_others_reach_leads_nobody_to_its_tools() {
        let leads = |listen: &str, to: &str| !shared(listen).guards(to.parse().unwrap());
        for open in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"] {
            for to in ["127.0.0.1:9011", "127.9.9.9:9011", "[::1]:9011", "0.0.0.0:9011"] {
                assert!(!leads(open, to), "{open} {to}");
            }
            assert!(!leads(open, "[::ffff:127.0.0.1]:9011"));
            assert!(leads(open, "127.0.0.1:80") && leads(open, "192.0.2.7:9011"));
        }
        assert!(leads("127.0.0.1:8080", "127.0.0.1:9011") && leads("[::1]:1", "127.0.0.1:9011"));
    }

    #[test]
    fn the_tools_are_known_by_every_loopback_name() {
        let is_mcp = |host: &str, port| {
            shared("127.0.0.1:1").is_mcp(&Authority { host: host.to_owned(), port })
        };
        for host in ["localhost", "127.0.0.1", "::1", "a.localhost", "::ffff:127.0.0.1"] {
            assert!(is_mcp(host, 9011) && !is_mcp(host, 80), "{host}");
        }
        assert!(!is_mcp("example.com", 9011));
    }
}
