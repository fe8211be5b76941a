//! The running proxy: the listening socket and the threads of the loops.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use mio::net::TcpListener;
use mio::{Poll, Waker};

use crate::capture::queue::FlowSender;
use crate::config::Config;
use crate::discovered::Discovered;
use crate::error::{Error, Result};
use crate::net::budget::{self, Budget};
use crate::net::control::Control;
use crate::net::event_loop::{self, EventLoop, LoopParts, Message};
use crate::net::listener::Listener;
use crate::net::resolver::Resolver;
use crate::notice::Notices;
use crate::options::SharedOptions;
use crate::proxy::context::{DeviceCertificate, Shared};
use crate::stats::Stats;
use crate::tls::server::ServerTls;
use crate::tls::upstream::UpstreamTls;

/// What a server is started with beside its settings.
#[derive(Debug)]
pub struct ServerParts {
    /// TLS towards clients; `None` where nothing is intercepted.
    pub server_tls: Option<ServerTls>,
    /// TLS towards servers; `None` where there is no trust store.
    pub upstream_tls: Option<UpstreamTls>,
    /// The certificate that the device pages hand out.
    pub certificate: DeviceCertificate,
    /// Where flows go; `None` records nothing.
    pub flows: Option<FlowSender>,
    /// Where flows go while they are under way as well, for whoever serves them live.
    pub live: Option<FlowSender>,
    /// Where the tools are served.
    pub mcp: Option<SocketAddr>,
    /// The options in force, which may change while the proxy runs.
    pub options: Arc<SharedOptions>,
    /// Where hosts are named; `Some` intercepts nothing.
    pub discovered: Option<Arc<Discovered>>,
    /// Counters.
    pub stats: Arc<Stats>,
    /// Words to the user.
    pub notices: Notices,
}

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub struct Bound {
    socket: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Binds and listens. The error says what to do when the port is taken.
    pub fn new(address: SocketAddr) -> Result<Bound> {
        let socket = TcpListener::bind(address).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => Error::new(format!(
                "port {} on {} is in use: end what listens there, or choose another with -p \
                 (-p 0 takes a free one)",
                address.port(),
                address.ip()
            )),
            _ => Error::new(format!("cannot listen on {address}: {error}")),
        })?;
        let address = socket
            .local_addr()
            .map_err(|error| Error::new(format!("cannot listen on {address}: {error}")))?;
        Ok(Bound { socket, address })
    }

    /// The address, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A running proxy.
pub struct Server {
    address: SocketAddr,
    threads: Vec<JoinHandle<std::result::Result<(), String>>>,
    stopper: Stopper,
    control: Control,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Stops a server from any thread.
#[derive(Clone)]
pub struct Stopper {
    loops: Vec<(Sender<Message>, Arc<Waker>)>,
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

impl Stopper {
    /// Accepts nothing more and lets exchanges under way end, for at most `grace`.
    pub fn stop(&self, grace: Duration) {
        self.tell(|| Message::Stop(grace));
    }

    /// Ends everything at once; what was under way is recorded as far as it came.
    pub fn kill(&self) {
        self.tell(|| Message::Kill);
    }

    fn tell(&self, message: impl Fn() -> Message) {
        for (inbox, waker) in &self.loops {
            // A loop that has ended needs to be told nothing.
            let _ = inbox.send(message());
            let _ = waker.wake();
        }
    }
}

impl Server {
    /// Starts to accept and serve.
    pub fn start(config: &Config, bound: Bound, parts: ServerParts) -> Result<Server> {
        let address = bound.address;
        let loops = config.loops.max(1);
        let budget = Budget::new(budget::descriptors(), loops, parts.mcp.is_some());
        let shared = Arc::new(Shared {
            hosts: config.hosts.clone(),
            discovered: parts.discovered,
            records: parts.flows.is_some() || parts.live.is_some(),
            live: parts.live.is_some(),
            options: parts.options,
            mcp: parts.mcp,
            held: Arc::default(),
            upstreams: config.upstreams.clone(),
            listen: address,
            certificate: parts.certificate,
            stats: parts.stats,
            notices: parts.notices,
            next_flow: AtomicU64::new(1),
            next_connection: AtomicU64::new(1),
        });
        let flows: Vec<_> = parts.flows.into_iter().chain(parts.live).collect();
        let start = || -> io::Result<Server> {
            let server_tls = parts.server_tls.map(Arc::new);
            let upstream_tls = parts.upstream_tls.map(Arc::new);
            let resolver = Resolver::new(&shared.notices);
            let loads = (0..loops).map(|_| Default::default()).collect();
            let mut polls = Vec::new();
            for _ in 0..loops {
                let poll = Poll::new()?;
                let waker = event_loop::waker(&poll)?;
                polls.push((poll, waker, unbounded()));
            }
            let peers: Vec<_> =
                polls.iter().map(|(_, waker, inbox)| (inbox.0.clone(), waker.clone())).collect();
            let stopper = Stopper { loops: peers.clone() };
            let mut all = Vec::new();
            for (number, (poll, waker, inbox)) in polls.into_iter().enumerate() {
                all.push(LoopParts {
                    number,
                    shared: shared.clone(),
                    server_tls: server_tls.clone(),
                    upstream_tls: upstream_tls.clone(),
                    resolver: resolver.clone(),
                    flows: flows.clone(),
                    loads: Arc::clone(&loads),
                    sockets_most: budget.sockets_most,
                    pool_max: budget.pool_max,
                    poll,
                    waker,
                    inbox,
                    stopper: stopper.clone(),
                });
            }
            let mut socket = Some(bound.socket);
            let mut threads = Vec::new();
            for parts in all {
                let listener = match socket.take() {
                    Some(socket) => {
                        Some(Listener::new(socket, peers.clone(), budget.sockets_max, &parts.poll)?)
                    }
                    None => None,
                };
                let thread = thread::Builder::new().name(format!("loop-{}", parts.number));
                threads.push(thread.spawn(move || EventLoop::new(parts, listener).run())?);
            }
            let control = Control::new(shared.clone(), peers);
            Ok(Server { address, threads, stopper, control })
        };
        start().map_err(|error| Error::new(format!("the proxy cannot start: {error}")))
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle that stops it.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// The way for tools to its flows.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Waits until it was stopped and all loops have ended.
    ///
    /// # Errors
    /// When a loop could not go on, or nobody took flows any more: then all loops have stopped by
    /// themselves, as if they had been told to.
    pub fn wait(self) -> Result<()> {
        let mut result = Ok(());
        for thread in self.threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => result = Err(Error::new(reason)),
                Err(_) => result = Err(Error::new("an event loop ended by a defect of flowtap")),
            }
        }
        result
    }
}
