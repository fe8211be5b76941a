//! Making upstream connections: from the pool, or by look-up, connecting and TLS.
//!
//! The addresses of a name are tried in turn, the next one beside those before it after
//! [`DIAL_STAGGER`] or as soon as one fails; the first that connects wins (RFC 8305).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry};

use crate::flow::record::Authority;
use crate::limits::DIAL_STAGGER;
use crate::net::event_loop::{
    ConnKey, DialKey, EventLoop, Message, Owner, SocketEntry, SocketKey, TimerKey, UpstreamFacts,
    token,
};
use crate::net::listener::is_exhaustion;
use crate::net::own;
use crate::net::pool::{Pool, PoolKey};
use crate::net::resolver::{Addresses, Asker};
use crate::net::slots::Slots;
use crate::net::socket::{Socket, describe};
use crate::proxy::buffer::Buffer;
use crate::proxy::context::{Connected, Dial, DialError, Now, Reuse};
use crate::proxy::exchange::micros;
use crate::proxy::link::End;
use crate::tls::session::TlsError;
use crate::tls::version::TlsVersion;

/// A connection that is being made.
#[derive(Debug)]
pub(super) struct Dialing {
    conn: ConnKey,
    authority: Arc<Authority>,
    tls: Option<Arc<str>>,
    /// The name is looked up as long as this is there.
    _asker: Option<Asker>,
    stage: Stage,
    began: Now,
    dns_us: u64,
    connect_us: u64,
    /// How long looking up and connecting may take together; then, how long the handshake may.
    wait: Duration,
    deadline: Instant,
}

#[derive(Debug)]
enum Stage {
    Resolving,
    Connecting(Connecting),
    Securing(Securing),
}

#[derive(Debug)]
struct Connecting {
    began: Now,
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
struct Securing {
    began: Now,
    socket: SocketKey,
    address: SocketAddr,
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
    /// Gets an upstream connection for `conn`.
    pub(super) fn dial(&mut self, conn: ConnKey, dial: &Dial) -> Dialled {
        if dial.reuse != Reuse::Never
            && let Some((socket, connected)) = self.take_pooled(conn, dial)
        {
            return Dialled::Connected { socket, connected, early: Vec::new(), end: None };
        }
        let now = self.desk.now;
        let wait = self.desk.options.connect_timeout;
        let host = &dial.authority.host;
        let address = host.parse::<IpAddr>();
        let asker = address.is_err().then(Asker::default);
        let dialing = Dialing {
            conn,
            authority: dial.authority.clone(),
            tls: dial.tls.clone(),
            _asker: asker.clone(),
            stage: Stage::Resolving,
            began: now,
            dns_us: 0,
            connect_us: 0,
            wait,
            deadline: now.instant + wait,
        };
        let key = self.dials.insert(dialing);
        let asker = match (address, asker) {
            (Err(_), Some(asker)) => asker,
            (address, _) => return self.resolved(key, Ok(address.into_iter().collect())),
        };
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

    /// Takes an idle connection out of the pool; the reason why a non-idempotent request looks
    /// at it first is that it cannot be sent twice.
    fn take_pooled(&mut self, conn: ConnKey, dial: &Dial) -> Option<(SocketKey, Connected)> {
        let pool_key = PoolKey::from(dial);
        while let Some((since, key)) = self.pool.take(&pool_key, self.desk.now.instant) {
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
        let port = dialing.authority.port;
        let addresses = match addresses {
            Ok(addresses) => addresses,
            Err(reason) => return self.fail_dial(key, DialError { status: 502, reason }),
        };
        let untried = addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
        dialing.stage = Stage::Connecting(Connecting {
            began: now,
            untried,
            attempts: Vec::new(),
            next_attempt: None,
            last_error: None,
        });
        self.try_next(key)
    }

    /// Tries the next address beside those that are being tried.
    fn try_next(&mut self, key: DialKey) -> Dialled {
        let now = self.desk.now.instant;
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        let authority = dialing.authority.clone();
        let Stage::Connecting(connecting) = &mut dialing.stage else {
            return Dialled::Pending(key);
        };
        while let Some(address) = connecting.untried.pop_front() {
            if let Some(error) = own::refusal(address, &self.desk.shared, &shown(&authority)) {
                connecting.failed(error);
                continue;
            }
            let opened =
                open(address, key, &mut self.sockets, &mut self.pool, self.poll.registry());
            match opened {
                Ok(socket) => {
                    connecting.attempts.push((socket, address));
                    connecting.next_attempt = None;
                    if !connecting.untried.is_empty() {
                        let at = now + DIAL_STAGGER;
                        connecting.next_attempt = Some(at);
                        self.timers.add(at, TimerKey::Dial(key));
                    }
                    return Dialled::Pending(key);
                }
                Err(error) => connecting.failed(refused(&authority, &error)),
            }
        }
        if !connecting.attempts.is_empty() {
            return Dialled::Pending(key);
        }
        let error = connecting.last_error.take().unwrap_or_else(|| DialError {
            status: 502,
            reason: format!("{} has no address", shown(&authority)),
        });
        self.fail_dial(key, error)
    }

    /// The poller told something about one of the sockets of a dial.
    pub(super) fn dial_ready(&mut self, key: DialKey) -> Dialled {
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        #[cfg(test)]
        crate::fault::testing::fault_at(&dialing.authority.host);
        match &mut dialing.stage {
            Stage::Resolving => Dialled::Pending(key),
            Stage::Connecting(_) => self.look_at_attempts(key),
            Stage::Securing(_) => self.secure(key),
        }
    }

    fn look_at_attempts(&mut self, key: DialKey) -> Dialled {
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        let authority = dialing.authority.clone();
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
                    own::own(&shown(&authority))
                }
                (Ok(None), Ok(_)) => {
                    winner = Some((*socket, *address));
                    return false;
                }
                (Ok(None), Err(_)) => return true,
                (Ok(Some(error)), _) | (Err(error), _) => refused(&authority, &error),
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
                let began = connecting.began;
                dialing.connect_us = micros(began, self.desk.now);
                if let Some(entry) = self.sockets.get_mut(socket) {
                    (entry.socket.readable, entry.socket.writable) = (true, true);
                }
                self.begin_securing(key, socket, address)
            }
            None if failed => self.try_next(key),
            None => Dialled::Pending(key),
        }
    }

    /// The socket is connected: begins TLS where it is wanted.
    fn begin_securing(&mut self, key: DialKey, socket: SocketKey, address: SocketAddr) -> Dialled {
        let now = self.desk.now;
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        let Some(name) = dialing.tls.clone() else {
            return self.finish_dial(key, socket, address, Vec::new(), None);
        };
        dialing.wait = self.desk.options.handshake_timeout;
        dialing.deadline = now.instant + dialing.wait;
        dialing.stage =
            Stage::Securing(Securing { began: now, socket, address, early: Vec::new() });
        let min = self.desk.options.tls_version_server_min;
        let session = match self.upstream_tls.as_ref().map(|tls| tls.session(&name, min)) {
            Some(Ok(session)) => session,
            Some(Err(error)) => return self.fail_dial(key, tls_failed(&name, &error)),
            None => {
                let reason = format!("{name}: there is no trust store to verify servers with");
                return self.fail_dial(key, DialError { status: 502, reason });
            }
        };
        if let Some(entry) = self.sockets.get_mut(socket) {
            entry.socket.start_tls(session, &[], &mut Vec::new());
        }
        self.secure(key)
    }

    /// Begins TLS on a connection that is there already.
    pub(super) fn secure_upstream(
        &mut self,
        conn: ConnKey,
        socket: SocketKey,
        name: Arc<str>,
    ) -> Dialled {
        let now = self.desk.now;
        let Some(entry) = self.sockets.get_mut(socket) else {
            let reason = "the connection to the server is gone".to_owned();
            return Dialled::Failed(DialError { status: 502, reason });
        };
        let Some(facts) = &entry.facts else { return self.gone(socket) };
        let address = facts.address;
        let dialing = Dialing {
            conn,
            authority: facts.key.authority().clone(),
            tls: Some(name),
            _asker: None,
            stage: Stage::Resolving,
            began: now,
            // Both were over before there was a request.
            dns_us: 0,
            connect_us: 0,
            wait: self.desk.options.handshake_timeout,
            deadline: now.instant,
        };
        let key = self.dials.insert(dialing);
        entry.owner = Owner::Dial(key);
        self.begin_securing(key, socket, address)
    }

    fn gone(&mut self, socket: SocketKey) -> Dialled {
        self.sockets.remove(socket);
        let reason = "the connection to the server is gone".to_owned();
        Dialled::Failed(DialError { status: 502, reason })
    }

    fn secure(&mut self, key: DialKey) -> Dialled {
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        let name = dialing.tls.clone().unwrap_or_else(|| Arc::from(""));
        let Stage::Securing(securing) = &mut dialing.stage else { return Dialled::Pending(key) };
        let socket = securing.socket;
        let Some(entry) = self.sockets.get_mut(socket) else { return self.gone(socket) };
        let mut nothing = Buffer::default();
        loop {
            let outcome = if entry.socket.readable {
                entry.socket.read(&mut self.scratch, &mut securing.early)
            } else {
                Default::default()
            };
            // What was read may have an answer, which TLS 1.2 servers wait for.
            let written = entry.socket.write(&mut self.scratch, &mut nothing);
            if let Some(error) = &outcome.tls_error {
                return self.fail_dial(key, tls_failed(&name, error));
            }
            if outcome.secured {
                let address = securing.address;
                let early = std::mem::take(&mut securing.early);
                return self.finish_dial(key, socket, address, early, outcome.end);
            }
            let ended = match (outcome.end, written) {
                (Some(End::Cut(reason)), _) | (_, Err(reason)) => Some(reason),
                (Some(End::Clean | End::Unannounced), _) => Some("the server ended it".to_owned()),
                (None, Ok(_)) => None,
            };
            if let Some(reason) = ended {
                let reason = format!("the TLS handshake with {name} failed: {reason}");
                return self.fail_dial(key, DialError { status: 502, reason });
            }
            if !entry.socket.readable {
                return Dialled::Pending(key);
            }
        }
    }

    fn finish_dial(
        &mut self,
        key: DialKey,
        socket: SocketKey,
        address: SocketAddr,
        early: Vec<u8>,
        end: Option<End>,
    ) -> Dialled {
        let Some(dialing) = self.dials.remove(key) else { return self.gone(socket) };
        let Some(entry) = self.sockets.get_mut(socket) else { return self.gone(socket) };
        let tls_us = match &dialing.stage {
            Stage::Securing(securing) => micros(securing.began, self.desk.now),
            Stage::Resolving | Stage::Connecting(_) => 0,
        };
        let tls = entry.socket.tls().map(|session| Arc::new(session.facts()));
        entry.owner = Owner::Upstream(dialing.conn);
        let connection = self.desk.shared.new_connection();
        entry.facts = Some(Box::new(UpstreamFacts {
            key: PoolKey::new(dialing.authority, dialing.tls),
            address,
            connection,
            tls: tls.clone(),
        }));
        let connected = Connected {
            address,
            connection,
            reused: false,
            tls,
            dns_us: dialing.dns_us,
            connect_us: dialing.connect_us,
            tls_us,
        };
        Dialled::Connected { socket, connected, early, end }
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
            Stage::Securing(securing) => drop(self.sockets.remove(securing.socket)),
        }
    }

    /// A deadline of a dial has come: the whole, or the next address.
    pub(super) fn dial_timer(&mut self, key: DialKey) -> Dialled {
        let now = self.desk.now.instant;
        let Some(dialing) = self.dials.get_mut(key) else { return Dialled::Pending(key) };
        if now >= dialing.deadline {
            let host = shown(&dialing.authority);
            let (what, option) = match dialing.stage {
                Stage::Resolving => ("the name could not be looked up", "connect_timeout"),
                Stage::Connecting(_) => ("no connection came about", "connect_timeout"),
                Stage::Securing(_) => ("the TLS handshake did not end", "handshake_timeout"),
            };
            let wait = dialing.wait.as_secs_f64();
            let reason = format!("{host}: {what} within {wait} s ({option})");
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

/// Begins to connect a socket of a dial.
fn open(
    address: SocketAddr,
    dial: DialKey,
    sockets: &mut Slots<SocketEntry>,
    pool: &mut Pool<SocketKey>,
    registry: &Registry,
) -> std::io::Result<SocketKey> {
    let stream = match TcpStream::connect(address) {
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

fn refused(authority: &Authority, error: &std::io::Error) -> DialError {
    let reason = format!("cannot connect to {}: {}", shown(authority), describe(error));
    let status = match error.kind() {
        std::io::ErrorKind::TimedOut => 504,
        // That is no fault of the server.
        _ if is_exhaustion(error) => 503,
        _ => 502,
    };
    DialError { status, reason }
}

fn tls_failed(name: &str, error: &TlsError) -> DialError {
    let reason = if error.is_certificate_refused() {
        format!("the certificate of {name} is not valid: {error}")
    } else {
        format!("the TLS handshake with {name} failed: {error}")
    };
    DialError { status: 502, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_errors_of_a_name_the_one_that_it_leads_here_is_told() {
        let (now, reason) = (Now { instant: Instant::now(), epoch_us: 0 }, String::new());
        for (statuses, told) in
            [([502, 508, 504], 508), ([403, 502, 508], 403), ([502, 504, 502], 502)]
        {
            let mut connecting = Connecting {
                began: now,
                untried: VecDeque::new(),
                attempts: Vec::new(),
                next_attempt: None,
                last_error: None,
            };
            for status in statuses {
                connecting.failed(DialError { status, reason: reason.clone() });
            }
            assert_eq!(connecting.last_error.map(|error| error.status), Some(told));
        }
    }
}
