//! Making upstream connections: from the pool, or by look-up, connecting and TLS.
//!
//! The addresses of a name are tried in turn, the next one beside those before it after
//! [`DIAL_STAGGER`] or as soon as one fails; the first that connects wins (RFC 8305). With a proxy
//! on the way its addresses are tried; what follows once something is connected is in `onward`.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry};
use rustix::io::Errno;

use crate::flow::record::Authority;
use crate::limits::DIAL_STAGGER;
use crate::net::event_loop::{
    ConnKey, DialKey, EventLoop, Message, Owner, SocketEntry, SocketKey, TimerKey, token,
};
use crate::net::listener::is_exhaustion;
use crate::net::own;
use crate::net::pool::{Pool, PoolKey};
use crate::net::resolver::{Addresses, Asker};
use crate::net::slots::Slots;
use crate::net::socket::{Socket, describe};
use crate::proxy::buffer::Buffer;
use crate::proxy::context::{Connected, Dial, DialError, Now, Reuse, Via};
use crate::proxy::exchange::micros;
use crate::proxy::link::End;
use crate::tls::version::TlsVersion;
use crate::upstream::{Handshake, Kind, UpstreamProxy, preferred};

mod onward;

/// A connection that is being made.
#[derive(Debug)]
pub(super) struct Dialing {
    conn: ConnKey,
    authority: Arc<Authority>,
    tls: Option<Arc<str>>,
    /// The name is looked up as long as this is there.
    _asker: Option<Asker>,
    via: Via,
    /// Where a SOCKS5 proxy is to connect to, once it was looked up here.
    looked_up: Option<SocketAddr>,
    stage: Stage,
    began: Now,
    connect_began: Now,
    dns_us: u64,
    connect_us: u64,
    /// How long looking up and connecting may take together; then, how long the proxy may take to
    /// do as much; and how long each handshake may.
    wait: Duration,
    deadline: Instant,
}

impl Dialing {
    /// Whether the server's address is needed, and not the proxy's alone.
    fn awaits_server_address(&self) -> bool {
        let proxy = self.via.proxy();
        self.looked_up.is_none() && proxy.is_some_and(|proxy| proxy.kind == Kind::Socks5)
    }

    /// What a connection is made to.
    fn peer(&self) -> &Arc<Authority> {
        self.via.proxy().map_or(&self.authority, |proxy| &proxy.authority)
    }

    /// What has not come about in time, and the option that says how long that is.
    fn overdue(&self) -> (String, &'static str) {
        let (peer, server) = (self.shown(), shown(&self.authority));
        match &self.stage {
            Stage::Resolving => {
                let host = if self.awaits_server_address() { server } else { peer };
                (format!("{host}: the name could not be looked up"), "connect_timeout")
            }
            Stage::Connecting(_) => {
                (format!("{peer}: no connection came about"), "connect_timeout")
            }
            Stage::Asking(Asking { handshake, .. }) => {
                (format!("{peer} did not answer {}", handshake.question()), "connect_timeout")
            }
            Stage::Securing(Securing { is_proxy, .. }) => {
                let host = if *is_proxy { peer } else { server };
                (format!("{host}: the TLS handshake did not end"), "handshake_timeout")
            }
        }
    }

    /// What a connection is made to, for the user.
    fn shown(&self) -> String {
        match self.via.proxy() {
            None => shown(&self.authority),
            Some(proxy) => format!("the upstream proxy {proxy}"),
        }
    }
}

#[derive(Debug)]
enum Stage {
    Resolving,
    Connecting(Connecting),
    /// The proxy has to say that it relays.
    Asking(Asking),
    Securing(Securing),
}

#[derive(Debug)]
struct Connecting {
    untried: VecDeque<SocketAddr>,
    attempts: Vec<(SocketKey, SocketAddr)>,
    next_attempt: Option<Instant>,
    last_error: Option<DialError>,
}

impl Connecting {
    /// Keeps the error that a client is told: that a name leads to the proxy says more than that
    /// another of its addresses did not answer.
    fn failed(&mut self, error: DialError) {
        if !self.last_error.as_ref().is_some_and(|kept| [403, 508].contains(&kept.status)) {
            self.last_error = Some(error);
        }
    }
}

#[derive(Debug)]
struct Asking {
    socket: SocketKey,
    address: SocketAddr,
    handshake: Handshake,
    /// What came and was not used.
    input: Vec<u8>,
    output: Buffer,
    end: Option<End>,
}

#[derive(Debug)]
struct Securing {
    began: Now,
    socket: SocketKey,
    address: SocketAddr,
    /// With whom, for the user.
    name: Arc<str>,
    /// TLS is with the proxy.
    is_proxy: bool,
    /// Plaintext that came together with the end of the handshake.
    early: Vec<u8>,
}

/// What a step of dialling came to.
#[derive(Debug)]
pub(super) enum Dialled {
    /// More has to happen.
    Pending(DialKey),
    /// There it is.
    Connected {
        socket: SocketKey,
        connected: Connected,
        /// Plaintext that came together with the end of the handshake.
        early: Vec<u8>,
        /// The end of the stream, if that came with it too.
        end: Option<End>,
    },
    /// It cannot be had.
    Failed(DialError),
}

impl EventLoop {
    /// Gets an upstream connection for `conn`; `owns_idle` where some may be kept for it alone.
    pub(super) fn dial(&mut self, conn: ConnKey, dial: &Dial, owns_idle: bool) -> Dialled {
        if dial.reuse != Reuse::Never
            && let Some((socket, connected)) = self.take_pooled(conn, dial, owns_idle)
        {
            return Dialled::Connected { socket, connected, early: Vec::new(), end: None };
        }
        if dial.via != Via::Direct {
            let to = shown(&dial.authority);
            if let Some(error) = own::refusal_of(&dial.authority, &self.desk.shared, &to) {
                return Dialled::Failed(error);
            }
        }
        let now = self.desk.now;
        let wait = self.desk.options.connect_timeout;
        let dialing = Dialing {
            conn,
            authority: dial.authority.clone(),
            tls: dial.tls.clone(),
            _asker: None,
            via: dial.via.clone(),
            looked_up: None,
            stage: Stage::Resolving,
            began: now,
            connect_began: now,
            dns_us: 0,
            connect_us: 0,
            wait,
            deadline: now.instant + wait,
        };
        let key = self.dials.insert(dialing);
        self.look_up(key)
    }

    /// Looks up the name that is to be looked up next.
    fn look_up(&mut self, key: DialKey) -> Dialled {
        let now = self.desk.now;
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        let of_server = dialing.awaits_server_address();
        let authority = if of_server { &dialing.authority } else { dialing.peer() }.clone();
        let host = &authority.host;
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.resolved(key, Ok(Arc::from([address])));
        }
        let asker = Asker::default();
        dialing._asker = Some(asker.clone());
        let (inbox, waker) = (self.inbox_sender.clone(), self.waker.clone());
        let reply = move |addresses| {
            // A loop that has ended needs no answer.
            let _ = inbox.send(Message::Resolved(key, addresses));
            let _ = waker.wake();
        };
        match self.resolver.lookup(host, now.instant, &asker, reply) {
            Some(addresses) => self.resolved(key, addresses),
            None => Dialled::Pending(key),
        }
    }

    /// Takes an idle connection out of the pool, one kept for `conn` alone before any other.
    fn take_pooled(
        &mut self,
        conn: ConnKey,
        dial: &Dial,
        owns_idle: bool,
    ) -> Option<(SocketKey, Connected)> {
        let pool_key = PoolKey::from(dial);
        let own = owns_idle.then(|| pool_key.clone().owned_by(conn, dial.authority.clone()));
        own.and_then(|own| self.take_alive(conn, dial, &own))
            .or_else(|| self.take_alive(conn, dial, &pool_key))
    }

    /// Takes one that has not ended; the reason why a non-idempotent request looks at it first is
    /// that it cannot be sent twice.
    fn take_alive(
        &mut self,
        conn: ConnKey,
        dial: &Dial,
        pool_key: &PoolKey,
    ) -> Option<(SocketKey, Connected)> {
        while let Some((since, key)) = self.pool.take(pool_key, self.desk.now.instant) {
            let Some(entry) = self.sockets.get_mut(key) else { continue };
            // Between two requests of one turn the poller had no chance to tell of anything.
            let look = dial.reuse == Reuse::Probe
                || entry.socket.readable
                || since == self.desk.now.instant;
            let stale = look && {
                let mut unasked = Vec::new();
                let outcome = entry.socket.read(&mut self.scratch, &mut unasked);
                !unasked.is_empty() || outcome.end.is_some() || outcome.tls_error.is_some()
            };
            // The lowest version may have been raised since the connection was made.
            let lowest = self.desk.options.tls_version_server_min;
            let tls = entry.facts.as_ref().and_then(|facts| facts.tls.as_ref());
            let outdated =
                lowest == TlsVersion::Tls13 && tls.is_some_and(|tls| tls.version == "TLSv1.2");
            let Some(facts) = entry.facts.as_mut().filter(|_| !stale && !outdated) else {
                self.sockets.remove(key);
                continue;
            };
            entry.owner = Owner::Upstream(conn);
            let connected = Connected {
                address: facts.address,
                forwards: forwards(facts.key.via()),
                connection: facts.connection,
                reused: true,
                tls: facts.tls.clone(),
                dns_us: 0,
                connect_us: 0,
                tls_us: 0,
            };
            return Some((key, connected));
        }
        None
    }

    /// A look-up is done.
    pub(super) fn resolved(&mut self, key: DialKey, addresses: Addresses) -> Dialled {
        let now = self.desk.now;
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        dialing.dns_us = micros(dialing.began, now);
        let of_server = dialing.awaits_server_address();
        let addresses = match addresses {
            Ok(addresses) => addresses,
            Err(reason) => {
                let reason = match dialing.via {
                    Via::Tunnel(_) | Via::Forward(_) if !of_server => {
                        format!("{}: {reason}", dialing.shown())
                    }
                    _ => reason,
                };
                return self.fail_dial(key, DialError { status: 502, reason });
            }
        };
        if of_server {
            return self.server_resolved(key, &addresses);
        }
        let port = dialing.peer().port;
        let untried = addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
        dialing.connect_began = now;
        dialing.stage = Stage::Connecting(Connecting {
            untried,
            attempts: Vec::new(),
            next_attempt: None,
            last_error: None,
        });
        self.try_next(key)
    }

    /// The address that a SOCKS5 proxy is to connect to is there; its own comes next.
    fn server_resolved(&mut self, key: DialKey, addresses: &[IpAddr]) -> Dialled {
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        let to = shown(&dialing.authority);
        dialing.looked_up = preferred(addresses, dialing.authority.port);
        let error = match dialing.looked_up {
            Some(address) => own::refusal(address, &self.desk.shared, &to),
            None => Some(DialError { status: 502, reason: format!("{to} has no address") }),
        };
        match error {
            Some(error) => self.fail_dial(key, error),
            None => self.look_up(key),
        }
    }

    /// Tries the next address beside those that are being tried.
    fn try_next(&mut self, key: DialKey) -> Dialled {
        let now = self.desk.now.instant;
        let is_full = self.has_all_sockets();
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        let peer = dialing.shown();
        let Stage::Connecting(connecting) = &mut dialing.stage else {
            return Dialled::Pending(key);
        };
        if is_full && !connecting.attempts.is_empty() && !connecting.untried.is_empty() {
            // Others that have no attempt go before a second one.
            let at = now + DIAL_STAGGER;
            connecting.next_attempt = Some(at);
            self.timers.add(at, TimerKey::Dial(key));
            return Dialled::Pending(key);
        }
        while let Some(address) = connecting.untried.pop_front() {
            if let Some(error) = own::refusal(address, &self.desk.shared, &peer) {
                connecting.failed(error);
                continue;
            }
            let registry = self.poll.registry();
            let (sockets, pool) = (&mut self.sockets, &mut self.pool);
            match open(address, key, is_full, sockets, pool, registry) {
                Ok(socket) => {
                    connecting.attempts.push((socket, address));
                    connecting.next_attempt = None;
                    if !connecting.untried.is_empty() {
                        let at = now + DIAL_STAGGER;
                        connecting.next_attempt = Some(at);
                        self.timers.add(at, TimerKey::Dial(key));
                    }
                    self.tell_others();
                    return Dialled::Pending(key);
                }
                Err(error) => connecting.failed(refused(&peer, &error)),
            }
        }
        if !connecting.attempts.is_empty() {
            return Dialled::Pending(key);
        }
        let error = connecting
            .last_error
            .take()
            .unwrap_or_else(|| DialError { status: 502, reason: format!("{peer} has no address") });
        self.fail_dial(key, error)
    }

    /// Whether all loops together have as many sockets as they may: what is beyond is the
    /// recorder's, which must never be without.
    fn has_all_sockets(&self) -> bool {
        let loads = self.loads.iter().enumerate().filter(|(number, _)| *number != self.number);
        let counts = loads.flat_map(|(_, load)| [&load.clients, &load.others]);
        let others: usize = counts.map(|count| count.load(Ordering::Relaxed)).sum();
        self.sockets.len().saturating_add(others) >= self.sockets_most
    }

    /// The poller told something about one of the sockets of a dial.
    pub(super) fn dial_ready(&mut self, key: DialKey) -> Dialled {
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        #[cfg(test)]
        crate::fault::testing::fault_at(&dialing.authority.host);
        match &mut dialing.stage {
            Stage::Resolving => Dialled::Pending(key),
            Stage::Connecting(_) => self.look_at_attempts(key),
            Stage::Asking(_) => self.ask(key),
            Stage::Securing(_) => self.secure(key),
        }
    }

    fn look_at_attempts(&mut self, key: DialKey) -> Dialled {
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        let peer = dialing.shown();
        let Stage::Connecting(connecting) = &mut dialing.stage else {
            return Dialled::Pending(key);
        };
        let listen = self.desk.shared.listen;
        let mut winner = None;
        let mut errors = Vec::new();
        connecting.attempts.retain(|(socket, address)| {
            if winner.is_some() {
                return true;
            }
            let Some(entry) = self.sockets.get_mut(*socket) else { return false };
            let stream = &entry.socket.stream;
            let error = match (stream.take_error(), stream.peer_addr()) {
                (Ok(None), Ok(_)) if own::has_reached_itself(stream, *address, listen) => {
                    own::own(&peer)
                }
                (Ok(None), Ok(_)) => {
                    winner = Some((*socket, *address));
                    return false;
                }
                (Ok(None), Err(_)) => return true,
                (Ok(Some(error)), _) | (Err(error), _) => refused(&peer, &error),
            };
            errors.push(error);
            self.sockets.remove(*socket);
            false
        });
        let failed = !errors.is_empty();
        errors.into_iter().for_each(|error| connecting.failed(error));
        match winner {
            Some((socket, address)) => {
                for (loser, _) in std::mem::take(&mut connecting.attempts) {
                    self.sockets.remove(loser);
                }
                dialing.connect_us = micros(dialing.connect_began, self.desk.now);
                if let Some(entry) = self.sockets.get_mut(socket) {
                    (entry.socket.readable, entry.socket.writable) = (true, true);
                }
                self.reached(key, socket, address)
            }
            None if failed => self.try_next(key),
            None => Dialled::Pending(key),
        }
    }

    fn fail_dial(&mut self, key: DialKey, error: DialError) -> Dialled {
        self.cancel_dial(key);
        Dialled::Failed(error)
    }

    /// Gives a dial up with all its sockets.
    pub(super) fn cancel_dial(&mut self, key: DialKey) {
        let Some(dialing) = self.dials.remove(key) else { return };
        match dialing.stage {
            Stage::Resolving => {}
            Stage::Connecting(connecting) => {
                for (socket, _) in connecting.attempts {
                    self.sockets.remove(socket);
                }
            }
            Stage::Asking(asking) => drop(self.sockets.remove(asking.socket)),
            Stage::Securing(securing) => drop(self.sockets.remove(securing.socket)),
        }
    }

    /// A deadline of a dial has come: the whole, or the next address.
    pub(super) fn dial_timer(&mut self, key: DialKey) -> Dialled {
        let now = self.desk.now.instant;
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        if now >= dialing.deadline {
            let (what, option) = dialing.overdue();
            let wait = dialing.wait.as_secs_f64();
            let reason = format!("{what} within {wait} s ({option})");
            return self.fail_dial(key, DialError { status: 504, reason });
        }
        match &dialing.stage {
            Stage::Connecting(connecting)
                if connecting.next_attempt.is_some_and(|at| now >= at) =>
            {
                self.try_next(key)
            }
            _ => Dialled::Pending(key),
        }
    }

    /// The connection that a dial is for.
    pub(super) fn dial_conn(&mut self, key: DialKey) -> Option<ConnKey> {
        self.dials.get_mut(key).map(|dialing| dialing.conn)
    }
}

/// Begins to connect a socket of a dial; `is_full` where another has to be closed for it.
fn open(
    address: SocketAddr,
    dial: DialKey,
    is_full: bool,
    sockets: &mut Slots<SocketEntry>,
    pool: &mut Pool<SocketKey>,
    registry: &Registry,
) -> std::io::Result<SocketKey> {
    let connected = if is_full { Err(Errno::MFILE.into()) } else { TcpStream::connect(address) };
    let stream = match connected {
        // An idle connection is worth less than one that is asked for.
        Err(error) if is_exhaustion(&error) => match pool.take_oldest() {
            Some(idle) => {
                drop(sockets.remove(idle));
                TcpStream::connect(address)?
            }
            None => return Err(error),
        },
        stream => stream?,
    };
    stream.set_nodelay(true)?;
    let mut socket = Socket::new(stream);
    // Until the poller says so it is not connected.
    (socket.readable, socket.writable) = (false, false);
    let key = sockets.insert(SocketEntry { socket, owner: Owner::Dial(dial), facts: None });
    let both = Interest::READABLE | Interest::WRITABLE;
    let stream = sockets.get_mut(key).map(|entry| &mut entry.socket.stream);
    let registered = stream.map_or(Ok(()), |it| registry.register(it, token(key), both));
    if registered.is_err() {
        sockets.remove(key);
    }
    registered.map(|()| key)
}

fn shown(authority: &Authority) -> String {
    let Authority { host, port } = authority;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn refused(peer: &str, error: &std::io::Error) -> DialError {
    let reason = format!("cannot connect to {peer}: {}", describe(error));
    let status = match error.kind() {
        std::io::ErrorKind::TimedOut => 504,
        // That is no fault of the server.
        _ if is_exhaustion(error) => 503,
        _ => 502,
    };
    DialError { status, reason }
}

/// The proxy that takes requests in absolute form.
fn forwards(via: &Via) -> Option<Arc<UpstreamProxy>> {
    match via {
        Via::Forward(proxy) => Some(proxy.clone()),
        Via::Direct | Via::Tunnel(_) => None,
    }
}

#[cfg(test)]
mod tests;
