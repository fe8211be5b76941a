//! One thread's loop: poll, dispatch, and one connection's turn after another.
//!
//! A connection lives in one loop for ever, with its upstream connections and its timers; the
//! loop takes no lock while it serves. The poller is edge-triggered: every socket is registered
//! once for both directions and remembers what it was told.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::capture::queue::FlowSender;
use crate::fault;
use crate::flow::record::FlowId;
use crate::limits::{POOL_CONNECTIONS_PER_HOST, POOL_IDLE, STOP_GRACE};
use crate::net::control::Decision;
use crate::net::dial::{Dialing, Dialled};
use crate::net::listener::{Accepted, Listener};
use crate::net::outlet::Outlet;
use crate::net::pool::{Pool, PoolKey};
use crate::net::resolver::{Addresses, Resolver};
use crate::net::server::Stopper;
use crate::net::service::ConnEntry;
use crate::net::slots::{Key, Slots};
use crate::net::socket::{Scratch, Socket};
use crate::net::spare::Spare;
use crate::net::timer::Timers;
use crate::notice::Notice;
use crate::options::Options;
use crate::proxy::buffer::Buffer;
use crate::proxy::conn::Conn;
use crate::proxy::context::{Command, Context, Heads, Now, Shared};
use crate::proxy::outbox::Outbox;
use crate::proxy::replay::Replay;
use crate::tls::server::ServerTls;
use crate::tls::upstream::UpstreamTls;

pub(super) type SocketKey = Key<SocketEntry>;
pub(super) type ConnKey = Key<Box<ConnEntry>>;
pub(super) type DialKey = Key<Dialing>;

const WAKER: Token = Token(usize::MAX);
pub(super) const LISTENER: Token = Token(usize::MAX - 1);
/// Events taken from the poller at once.
const EVENTS: usize = 1024;

/// The poller's token for a socket. Keys are 64 bits: the generation would not fit otherwise.
pub(super) fn token(key: SocketKey) -> Token {
    const { assert!(size_of::<usize>() == size_of::<u64>()) };
    Token(key.to_bits() as usize)
}

/// What other threads tell a loop.
#[derive(Debug)]
pub(super) enum Message {
    /// A client's connection that another loop has accepted.
    Accepted(Accepted),
    /// A look-up is done.
    Resolved(DialKey, Addresses),
    /// Nothing begins any more; what is under way may end within this time.
    Stop(Duration),
    /// Everything ends now.
    Kill,
    /// A tool has decided about a flow that is held.
    Decide(Box<Decision>),
    /// A tool sends a request.
    Replay(Box<Replay>),
    /// A tool has given up what it sent.
    Abandon(FlowId),
}

/// Whose a socket is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    Client(ConnKey),
    Upstream(ConnKey),
    Dial(DialKey),
    Pool,
}

#[derive(Debug)]
pub(super) struct SocketEntry {
    pub(super) socket: Socket,
    pub(super) owner: Owner,
    /// Set on upstream connections.
    pub(super) facts: Option<Box<UpstreamFacts>>,
}

/// What stays true of an upstream connection however many exchanges it serves.
#[derive(Debug)]
pub(super) struct UpstreamFacts {
    pub(super) key: PoolKey,
    pub(super) address: SocketAddr,
    pub(super) connection: u64,
    pub(super) tls: Option<Arc<crate::flow::record::TlsFacts>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKey {
    Conn(ConnKey),
    Dial(DialKey),
    Sweep,
    Accept,
    Announce,
    Grace,
}

/// What the state machines are handed, gathered in one place.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) now: Now,
    pub(super) shared: Arc<Shared>,
    pub(super) options: Arc<Options>,
    options_version: u64,
    pub(super) commands: Vec<Command>,
    pub(super) outbox: Outbox,
    heads: Heads,
}

impl Desk {
    fn new(shared: Arc<Shared>) -> Self {
        Desk {
            now: now(),
            options_version: shared.options.version(),
            options: shared.options.current(),
            shared,
            commands: Vec::new(),
            outbox: Outbox::default(),
            heads: Heads::default(),
        }
    }

    /// Forgets what a panic may have left half done.
    pub(super) fn mend(&mut self) {
        self.commands.clear();
        self.heads = Heads::default();
        self.outbox.mend();
    }

    fn begin_turn(&mut self) {
        // Both clocks, for while a machine sleeps only one of the two goes on.
        self.now = now();
        let version = self.shared.options.version();
        if version != self.options_version {
            self.options_version = version;
            self.options = self.shared.options.current();
        }
    }

    pub(super) fn context(&mut self) -> Context<'_> {
        Context {
            now: self.now,
            shared: &self.shared,
            options: &self.options,
            commands: &mut self.commands,
            outbox: &mut self.outbox,
            heads: &mut self.heads,
        }
    }
}

/// What a loop has open, for the loop that accepts.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Client connections, those included that were accepted for it just now.
    pub(super) clients: AtomicUsize,
    /// Sockets of other kinds, as of its last turn or its last dial.
    pub(super) others: AtomicUsize,
}

/// The load of each loop.
pub(super) type Loads = Arc<[Load]>;

/// Everything a loop is started with.
#[derive(Debug)]
pub(super) struct LoopParts {
    pub(super) number: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) server_tls: Option<Arc<ServerTls>>,
    pub(super) upstream_tls: Option<Arc<UpstreamTls>>,
    pub(super) resolver: Resolver,
    pub(super) flows: Vec<FlowSender>,
    pub(super) loads: Loads,
    /// Sockets of all loops together, beyond which no server is connected to.
    pub(super) sockets_most: usize,
    /// Idle upstream connections that the loop keeps.
    pub(super) pool_max: usize,
    pub(super) poll: Poll,
    pub(super) waker: Arc<Waker>,
    pub(super) inbox: (Sender<Message>, Receiver<Message>),
    /// Stops all loops.
    pub(super) stopper: Stopper,
}

/// The waker of a poller that a loop will use.
pub(super) fn waker(poll: &Poll) -> io::Result<Arc<Waker>> {
    Waker::new(poll.registry(), WAKER).map(Arc::new)
}

fn now() -> Now {
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch_us = u64::try_from(epoch.as_micros()).unwrap_or(u64::MAX);
    Now { instant: Instant::now(), epoch_us }
}

/// One loop.
#[derive(Debug)]
pub(super) struct EventLoop {
    pub(super) number: usize,
    pub(super) poll: Poll,
    pub(super) waker: Arc<Waker>,
    inbox: Receiver<Message>,
    pub(super) inbox_sender: Sender<Message>,
    pub(super) listener: Option<Listener>,
    pub(super) sockets: Slots<SocketEntry>,
    pub(super) conns: Slots<Box<ConnEntry>>,
    pub(super) dials: Slots<Dialing>,
    pub(super) pool: Pool<SocketKey>,
    pub(super) resolver: Resolver,
    pub(super) timers: Timers<TimerKey>,
    pub(super) desk: Desk,
    pub(super) outlet: Outlet,
    pub(super) server_tls: Option<Arc<ServerTls>>,
    pub(super) upstream_tls: Option<Arc<UpstreamTls>>,
    pub(super) loads: Loads,
    pub(super) sockets_most: usize,
    pub(super) scratch: Scratch,
    pub(super) spare: Spare,
    /// Clients wait to be accepted beyond what one turn takes.
    pub(super) accept_again: bool,
    /// Connections that have something to do.
    ready: VecDeque<ConnKey>,
    /// Connections that were not read because the recorder is behind.
    pub(super) parked: Vec<ConnKey>,
    pub(super) stopping: bool,
    /// Whose flows are held.
    pub(super) held: HashMap<FlowId, ConnKey>,
    /// Connections whose flows are to be told of if they do not end before, each once, and when.
    pub(super) announcements: VecDeque<(Instant, ConnKey)>,
    /// A sweep is among the timers.
    pub(super) sweeping: bool,
    /// Bytes received in this turn; added to the shared counter once a turn.
    pub(super) received: u64,
    stopper: Stopper,
    /// Why all loops have to end, as this one found.
    failed: Option<String>,
}

impl EventLoop {
    pub(super) fn new(parts: LoopParts, listener: Option<Listener>) -> Self {
        let flows = parts.flows.iter().map(|flows| {
            let waker = parts.waker.clone();
            flows.for_loop(move || {
                // A poller that cannot be woken belongs to a loop that has ended.
                let _ = waker.wake();
            })
        });
        let outlet = Outlet::new(flows.collect());
        EventLoop {
            number: parts.number,
            poll: parts.poll,
            waker: parts.waker,
            inbox: parts.inbox.1,
            inbox_sender: parts.inbox.0,
            listener,
            sockets: Slots::default(),
            conns: Slots::default(),
            dials: Slots::default(),
            pool: Pool::new(parts.pool_max, POOL_CONNECTIONS_PER_HOST, POOL_IDLE),
            resolver: parts.resolver,
            timers: Timers::default(),
            desk: Desk::new(parts.shared),
            outlet,
            server_tls: parts.server_tls,
            upstream_tls: parts.upstream_tls,
            loads: parts.loads,
            sockets_most: parts.sockets_most,
            scratch: Scratch::default(),
            spare: Spare::default(),
            accept_again: false,
            ready: VecDeque::new(),
            parked: Vec::new(),
            stopping: false,
            held: HashMap::new(),
            announcements: VecDeque::new(),
            sweeping: false,
            received: 0,
            stopper: parts.stopper,
            failed: None,
        }
    }

    /// Serves until it is stopped and the last connection has ended.
    ///
    /// # Errors
    /// Why it could not go on; everything that was under way has been recorded then.
    pub(super) fn run(mut self) -> Result<(), String> {
        fault::watch_thread();
        let reason = match fault::catch(|| self.serve()) {
            Ok(Ok(())) => return self.failed.map_or(Ok(()), Err),
            Ok(Err(error)) => format!("an event loop failed: {error}"),
            Err(fault) => {
                self.desk.shared.stats.faults.add(1);
                format!("an event loop {}", fault.reason())
            }
        };
        self.stop_all(reason.clone());
        if let Err(fault) = fault::catch(|| self.end_all_by_fault(&reason)) {
            return Err(format!("{reason}; what it had under way is lost: {fault}"));
        }
        Err(reason)
    }

    /// Tells the user at once that the proxy has to end, and the other loops to.
    fn stop_all(&mut self, reason: String) {
        self.desk.shared.notices.give(Notice::Failed(reason.clone()));
        self.stopper.stop(STOP_GRACE);
        self.failed = Some(reason);
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !self.is_over() {
            let wait = if self.ready.is_empty() && !self.accept_again {
                self.timers.wait(Instant::now())
            } else {
                Some(Duration::ZERO)
            };
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.desk.begin_turn();
            for event in &events {
                self.dispatch(event);
            }
            if std::mem::take(&mut self.accept_again) {
                self.accept();
            }
            self.fire_timers();
            self.serve_ready();
            self.tell_others();
            #[cfg(test)]
            self.desk.outbox.fault_if_wanted();
            self.outlet.flush(&mut self.desk.outbox);
            self.desk.shared.stats.bytes.add(std::mem::take(&mut self.received));
            if self.outlet.has_lost_reader() && self.failed.is_none() {
                self.stop_all("what reads flows has ended before the proxy".to_owned());
            }
        }
        Ok(())
    }

    /// Gives all that are ready their turn. Those that become ready meanwhile have theirs after
    /// the next poll.
    ///
    /// All are read before any is written to: a peer that sleeps is woken once, and finds the
    /// requests of many connections, where it would be woken by each.
    fn serve_ready(&mut self) {
        let count = self.ready.len();
        for at in 0..count {
            if let Some(key) = self.ready.get(at).copied() {
                self.take_in(key);
                self.outlet.flush_if_full(&mut self.desk.outbox);
            }
        }
        for _ in 0..count {
            if let Some(key) = self.ready.pop_front() {
                self.service(key);
                self.outlet.flush_if_full(&mut self.desk.outbox);
            }
        }
    }

    /// Ended, and everything that was told has left.
    fn is_over(&self) -> bool {
        self.stopping
            && self.conns.is_empty()
            && self.desk.outbox.is_empty()
            && !self.outlet.is_stalled()
    }

    fn dispatch(&mut self, event: &mio::event::Event) {
        match event.token() {
            WAKER => self.read_inbox(),
            LISTENER => self.accept(),
            Token(bits) => {
                let key = SocketKey::from_bits(bits as u64);
                let Some(entry) = self.sockets.get_mut(key) else { return };
                let socket = &mut entry.socket;
                socket.hung_up |= event.is_read_closed() || event.is_error();
                socket.readable |= event.is_readable() || socket.hung_up;
                socket.writable |= event.is_writable() || event.is_write_closed();
                match entry.owner {
                    Owner::Client(conn) | Owner::Upstream(conn) => self.enqueue(conn),
                    Owner::Dial(dial) => self.step_dial(dial, |it| it.dial_ready(dial)),
                    Owner::Pool => self.step_pooled(key),
                }
            }
        }
    }

    /// Gives a connection a turn, once.
    pub(super) fn enqueue(&mut self, key: ConnKey) {
        if let Some(entry) = self.conns.get_mut(key)
            && !entry.queued
        {
            entry.queued = true;
            self.ready.push_back(key);
        }
    }

    /// Tells a connection what came of its dial, outside of its turn.
    pub(super) fn deliver(&mut self, conn: Option<ConnKey>, dialled: Dialled) {
        let Some(key) = conn else { return };
        if matches!(dialled, Dialled::Pending(_)) {
            return;
        }
        let taken = self.step(key, |it, entry| {
            it.take_dialled(entry, dialled);
            it.execute_commands(key, entry);
        });
        if let Some((entry, ())) = taken {
            self.conns.put_back(key, entry);
            self.enqueue(key);
        }
    }

    fn read_inbox(&mut self) {
        while let Ok(message) = self.inbox.try_recv() {
            match message {
                Message::Accepted(accepted) => self.adopt(accepted),
                Message::Resolved(key, addresses) => {
                    self.step_dial(key, |it| it.resolved(key, addresses));
                }
                Message::Stop(grace) => self.stop(grace),
                Message::Kill => self.kill(),
                Message::Decide(decision) => self.decide(*decision),
                Message::Replay(replay) => self.begin_replay(*replay),
                Message::Abandon(flow) => self.abandon(flow),
            }
        }
        self.outlet.flush(&mut self.desk.outbox);
        if !self.outlet.is_stalled() {
            for key in std::mem::take(&mut self.parked) {
                if let Some(entry) = self.conns.get_mut(key) {
                    // Its turn may find the recorder behind once more, and park it again.
                    entry.parked = false;
                }
                self.enqueue(key);
            }
        }
    }

    /// Registers a client's connection and begins to serve it.
    pub(super) fn adopt(&mut self, accepted: Accepted) {
        if self.stopping {
            self.lower_load();
            return;
        }
        let Accepted { stream, peer, place } = accepted;
        // Without it every small answer could wait for the peer's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let is_turned_away = place.is_turned_away;
        let conn = ConnEntry::with(Conn::new(peer, self.desk.now), Some(place));
        let conn = self.conns.insert(Box::new(conn));
        let entry =
            SocketEntry { socket: Socket::new(stream), owner: Owner::Client(conn), facts: None };
        let socket = self.sockets.insert(entry);
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = match self.sockets.get_mut(socket) {
            Some(entry) => {
                self.poll.registry().register(&mut entry.socket.stream, token(socket), both)
            }
            None => return,
        };
        if registered.is_err() {
            self.sockets.remove(socket);
            self.conns.remove(conn);
            self.lower_load();
            return;
        }
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.client = Some(socket);
        }
        self.keep_sweeping();
        self.desk.shared.stats.connections.add(1);
        self.desk.shared.stats.accepted.add(1);
        if is_turned_away {
            self.turn_away(conn);
        }
        self.enqueue(conn);
    }

    /// One more is served in this loop.
    pub(super) fn raise_load(&self) {
        if let Some(load) = self.loads.get(self.number) {
            load.clients.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets the loops know how many sockets of other kinds this one has.
    pub(super) fn tell_others(&self) {
        if let Some(load) = self.loads.get(self.number) {
            let others = self.sockets.len().saturating_sub(self.conns.len());
            load.others.store(others, Ordering::Relaxed);
        }
    }

    /// A client that was handed to this loop is here no more.
    pub(super) fn lower_load(&self) {
        if let Some(load) = self.loads.get(self.number) {
            load.clients.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Something happened on an idle upstream connection: mostly its end.
    pub(super) fn pooled_ready(&mut self, key: SocketKey) {
        let Some(entry) = self.sockets.get_mut(key) else { return };
        if !entry.socket.is_still_idle(&mut self.scratch) {
            if let Some(facts) = &entry.facts {
                self.pool.remove(&facts.key, key);
            }
            self.close_upstream(key);
        }
    }

    /// Closes an upstream connection, with TLS's goodbye if the socket takes it at once.
    pub(super) fn close_upstream(&mut self, key: SocketKey) {
        let Some(mut entry) = self.sockets.remove(key) else { return };
        let closed = fault::catch(|| {
            entry.socket.close_notify();
            let _ = entry.socket.write(&mut self.scratch, &mut Buffer::default());
        });
        if let Err(fault) = closed {
            self.desk.shared.notices.fault("closing a connection to a server", fault);
        }
    }

    /// Closes an upstream connection so that the server can tell that what it got is not whole:
    /// by a reset, or inside TLS without close_notify.
    pub(super) fn cut_upstream(&mut self, key: SocketKey) {
        if let Some(entry) = self.sockets.remove(key)
            && entry.socket.tls().is_none()
        {
            entry.socket.reset_on_close();
        }
    }

    fn stop(&mut self, grace: Duration) {
        self.listener = None;
        self.stopping = true;
        self.timers.add(self.desk.now.instant + grace, TimerKey::Grace);
        for key in self.conns.keys() {
            let stopped = self.step(key, |it, entry| {
                entry.conn.stop(&mut it.desk.context());
                it.execute_commands(key, entry);
            });
            if let Some((entry, ())) = stopped {
                self.conns.put_back(key, entry);
                self.enqueue(key);
            }
        }
    }

    pub(super) fn kill(&mut self) {
        self.listener = None;
        self.stopping = true;
        for key in self.conns.keys() {
            let killed = self.step(key, |it, entry| {
                entry.conn.kill("the proxy was stopped", &mut it.desk.context());
                it.execute_commands(key, entry);
                it.say_last_words(entry);
            });
            if let Some((entry, ())) = killed {
                self.bury(key, *entry);
            }
        }
    }

    /// Gives a connection's empty buffers to the next that needs some.
    pub(super) fn reclaim(&mut self, entry: &mut ConnEntry) {
        let links = [&mut entry.conn.client, &mut entry.conn.upstream];
        for buffer in links.into_iter().flat_map(|link| [&mut link.input, &mut link.output]) {
            if let Some(storage) = buffer.take_storage() {
                self.spare.give(storage);
            }
        }
    }
}
