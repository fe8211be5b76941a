//! A seeded simulation of a connection: a second interpreter of the core's commands, without
//! sockets and without TLS. It splits bytes anywhere, stalls either side, fails dials and cuts
//! connections; what must hold whatever happens is checked at every step.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use crate::flow::control::{ControlError, NewRequest, Verdict};
use crate::flow::filter::Filter;
use crate::flow::record::{FlowEvent, FlowId, TlsFacts};
use crate::hosts::HostRules;
use crate::limits::{BUFFER_HIGH_BYTES, INPUT_BYTES, READ_BYTES};
use crate::notice::Notices;
use crate::options::{Options, SharedOptions};
use crate::proxy::buffer::Buffer;
use crate::proxy::conn::Conn;
use crate::proxy::context::{
    Command, Connected, Context, DeviceCertificate, DialError, Heads, Now, Reuse, Shared,
};
use crate::proxy::link::{End, Link};
use crate::proxy::outbox::Outbox;
use crate::proxy::replay::Replay;
use crate::stats::Stats;

mod tests;

/// A small generator of pseudo-random numbers (xorshift64*): the seed is the whole test case.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(bits).unwrap() % bound.max(1)
    }
}

/// What the simulated server does with a connection: given all bytes it has got on it, it tells
/// how many of its own it sends for them, and whether it then ends.
pub(super) type Script = Box<dyn FnMut(&[u8]) -> Reply>;

/// What a server does next.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// All it has sent so far on this connection, from the beginning.
    pub(super) sent: Vec<u8>,
    pub(super) ends: Option<End>,
}

pub(super) struct Peer {
    script: Script,
    got: Vec<u8>,
    given: usize,
    reused: bool,
}

/// The world around one connection.
pub(super) struct World {
    pub(super) conn: Conn,
    random: Random,
    now: Now,
    shared: Shared,
    pub(super) options: Options,
    commands: Vec<Command>,
    outbox: Outbox,
    heads: Heads,
    to_send: Buffer,
    client_ends: bool,
    server_splits: bool,
    /// Whether what is sent to them is taken.
    client_reads: bool,
    server_reads: bool,
    /// What TLS has taken and the server's socket has not.
    sealed: Option<Buffer>,
    patience: Duration,
    pub(super) client_got: Vec<u8>,
    pub(super) client_closed: Option<Command>,
    servers: Vec<Script>,
    peer: Option<Peer>,
    /// All that servers have got, of all connections.
    pub(super) servers_got: Vec<u8>,
    idle: Option<Peer>,
    pub(super) dials: usize,
    /// The host that was asked for last.
    pub(super) asked_for: String,
    pub(super) events: Vec<FlowEvent>,
    pending_dial: Option<Reuse>,
    /// The flow that is held.
    pub(super) held: Option<FlowId>,
    /// What will be decided about flows that are held, and what came of it.
    verdicts: VecDeque<Verdict>,
    pub(super) answers: Vec<Result<(), ControlError>>,
}

impl World {
    /// A client that sends these bytes, and servers for one dial after the other.
    pub(super) fn new(seed: u64, client: &[u8], servers: Vec<Script>) -> Self {
        let stats = Arc::new(Stats::default());
        let (notices, _) = Notices::channel(stats.clone());
        let now = Now { instant: Instant::now(), epoch_us: 1_700_000_000_000_000 };
        let mut to_send = Buffer::default();
        to_send.push(client);
        World {
            conn: Conn::new("127.0.0.1:9".parse().unwrap(), now),
            random: Random::new(seed),
            now,
            shared: Shared {
                hosts: HostRules::default(),
                discovered: None,
                records: true,
                live: true,
                upstreams: Default::default(),
                mcp: None,
                held: Arc::default(),
                options: Arc::new(SharedOptions::new(Options::default())),
                listen: "127.0.0.1:1".parse().unwrap(),
                certificate: DeviceCertificate::default(),
                stats,
                notices,
                next_flow: AtomicU64::new(1),
                next_connection: AtomicU64::new(1),
            },
            options: Options { capture_body_limit: u64::MAX, ..Options::default() },
            commands: Vec::new(),
            outbox: Outbox::default(),
            heads: Heads::default(),
            to_send,
            client_ends: false,
            server_splits: true,
            client_reads: true,
            server_reads: true,
            sealed: None,
            patience: Duration::from_secs(60),
            client_got: Vec::new(),
            client_closed: None,
            servers: servers.into_iter().rev().collect(),
            peer: None,
            servers_got: Vec::new(),
            idle: None,
            dials: 0,
            asked_for: String::new(),
            events: Vec::new(),
            pending_dial: None,
            held: None,
            verdicts: VecDeque::new(),
            answers: Vec::new(),
        }
    }

    /// The client half-closes once all its bytes are sent.
    pub(super) fn client_ends(mut self) -> Self {
        self.client_ends = true;
        self
    }

    /// Holds flows that match, and decides about one after the other.
    pub(super) fn holding(mut self, filter: &str, verdicts: Vec<Verdict>) -> Self {
        self.options.intercept = Filter::parse(filter).unwrap();
        self.verdicts = verdicts.into();
        self
    }

    /// In place of a client, a tool that sends this request.
    pub(super) fn replaying(mut self, request: NewRequest) -> Self {
        let id = self.shared.new_flow_id();
        let replay = Replay::new(id, request, &self.options, true, self.now).unwrap();
        let mut replay = Some(replay);
        self.with(|conn, cx| {
            if let Some(replay) = replay.take() {
                *conn = Conn::replay(replay, cx);
            }
        });
        self
    }

    /// Waits for deadlines as far away as this, instead of a minute.
    pub(super) fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What the server has to say comes at once.
    pub(super) fn server_at_once(mut self) -> Self {
        self.server_splits = false;
        self
    }

    /// What servers are sent waits in TLS before their sockets take it.
    pub(super) fn sealing(mut self) -> Self {
        self.sealed = Some(Buffer::default());
        self
    }

    /// Runs until nothing happens any more; time passes only then, from deadline to deadline.
    pub(super) fn run(mut self) -> Self {
        let mut quiet = 0;
        for _ in 0..200_000 {
            let moved = self.step();
            self.check();
            if self.client_closed.is_some() {
                return self;
            }
            quiet = if moved { 0 } else { quiet + 1 };
            if quiet > 80 {
                let deadline = self.conn.deadline(&self.options);
                if deadline > self.now.instant + self.patience {
                    return self;
                }
                self.advance_clock(deadline);
                self.with(|conn, cx| conn.time_out(cx));
                quiet = 0;
            }
        }
        panic!("the simulation does not come to rest");
    }

    fn advance_clock(&mut self, to: Instant) {
        let passed = to.saturating_duration_since(self.now.instant);
        self.now.instant += passed;
        self.now.epoch_us += u64::try_from(passed.as_micros()).unwrap();
    }

    /// Lets one thing happen, chosen at random. Returns whether anything moved.
    fn step(&mut self) -> bool {
        match self.random.below(6) {
            0 => self.client_sends(),
            1 => self.server_sends(),
            2 => self.client_takes(),
            3 => self.server_takes(),
            4 => self.decides(),
            _ => self.dial_ends(),
        }
    }

    fn decides(&mut self) -> bool {
        let Some(flow) = self.held else { return false };
        let Some(verdict) = self.verdicts.pop_front() else { return false };
        let mut answer = None;
        self.with(|conn, cx| answer = Some(conn.decide(flow, verdict, false, cx)));
        self.answers.extend(answer);
        true
    }

    fn client_sends(&mut self) -> bool {
        if !self.conn.wants_client() {
            return false;
        }
        let count = self.piece(self.to_send.len());
        if count > 0 {
            self.conn.client.input.push(&self.to_send.bytes()[..count]);
            self.to_send.consume(count);
            self.conn.heard(self.now);
        } else if self.client_ends && self.to_send.is_empty() {
            self.conn.client_ended(End::Clean);
            self.client_ends = false;
        } else {
            return false;
        }
        self.with(|_, _| ());
        true
    }

    fn server_sends(&mut self) -> bool {
        if !self.conn.wants_upstream() {
            return false;
        }
        let Some(mut peer) = self.peer.take() else { return false };
        let reply = (peer.script)(&peer.got);
        let all = reply.sent.len() - peer.given;
        let count = if self.server_splits { self.piece(all) } else { all };
        let moved = if count > 0 {
            self.conn.upstream.input.push(&reply.sent[peer.given..][..count]);
            self.conn.heard(self.now);
            peer.given += count;
            true
        } else if let (true, Some(end)) = (peer.given == reply.sent.len(), reply.ends) {
            self.conn.upstream_ended(end);
            true
        } else {
            false
        };
        self.peer = Some(peer);
        self.with(|_, _| ());
        moved
    }

    fn client_takes(&mut self) -> bool {
        if !self.client_reads {
            return false;
        }
        let count = self.piece(self.conn.client.output.len());
        self.client_got.extend_from_slice(&self.conn.client.output.bytes()[..count]);
        self.conn.client.output.consume(count);
        if count > 0 {
            self.conn.touch(self.now);
        }
        self.with(|_, _| ());
        count > 0
    }

    fn server_takes(&mut self) -> bool {
        let Some(peer) = self.peer.as_mut().filter(|_| self.server_reads) else { return false };
        let upstream = &mut self.conn.upstream;
        let taken = match &mut self.sealed {
            None => &mut upstream.output,
            Some(sealed) if sealed.is_empty() && !upstream.output.is_empty() => {
                sealed.append(&mut upstream.output);
                upstream.waits_in_tls = true;
                self.with(|_, _| ());
                return true;
            }
            Some(sealed) => sealed,
        };
        let count = match taken.len() {
            0 => 0,
            len => 1 + self.random.below(len),
        };
        peer.got.extend_from_slice(&taken.bytes()[..count]);
        self.servers_got.extend_from_slice(&taken.bytes()[..count]);
        taken.consume(count);
        if self.sealed.as_ref().is_some_and(Buffer::is_empty) {
            upstream.waits_in_tls = false;
        }
        if count > 0 {
            self.conn.touch(self.now);
        }
        self.with(|_, _| ());
        count > 0
    }

    fn dial_ends(&mut self) -> bool {
        let Some(reuse) = self.pending_dial.take() else { return false };
        self.dials += 1;
        let idle = self.idle.take().filter(|_| reuse != Reuse::Never);
        let peer = idle.map(|peer| Peer { reused: true, ..peer }).or_else(|| {
            let script = self.servers.pop()?;
            Some(Peer { script, got: Vec::new(), given: 0, reused: false })
        });
        match peer {
            Some(mut peer) => {
                let at_once = !self.server_splits && !peer.reused;
                let Reply { sent, ends } =
                    if at_once { (peer.script)(&[]) } else { Reply::default() };
                peer.given = peer.given.max(sent.len());
                let connected = Connected {
                    address: "127.0.0.1:2".parse().unwrap(),
                    connection: 1,
                    forwards: None,
                    reused: peer.reused,
                    tls: None,
                    dns_us: 0,
                    connect_us: 1,
                    tls_us: 0,
                };
                self.peer = Some(peer);
                let (mut connected, mut ends) = (Some(connected), ends);
                self.with(|conn, cx| {
                    if let Some(connected) = connected.take() {
                        conn.upstream_connected(connected, &sent, ends.take(), cx);
                    }
                });
            }
            None => {
                let error = DialError { status: 502, reason: "cannot connect".to_owned() };
                self.with(|conn, cx| conn.upstream_failed(error, cx));
            }
        }
        true
    }

    /// Mostly a little, sometimes all.
    fn piece(&mut self, len: usize) -> usize {
        match (len, self.random.below(4)) {
            (0, _) => 0,
            (_, 0) => len.min(READ_BYTES),
            (_, 1) => 1,
            _ => 1 + self.random.below(len.min(READ_BYTES)),
        }
    }

    /// Tells the connection something, lets it work and carries out what it asks for.
    fn with(&mut self, tell: impl FnOnce(&mut Conn, &mut Context<'_>)) {
        let mut tell = Some(tell);
        loop {
            let mut cx = Context {
                now: self.now,
                shared: &self.shared,
                options: &self.options,
                commands: &mut self.commands,
                outbox: &mut self.outbox,
                heads: &mut self.heads,
            };
            if let Some(tell) = tell.take() {
                tell(&mut self.conn, &mut cx);
            }
            let more = self.conn.advance(&mut cx);
            let commands = std::mem::take(&mut self.commands);
            let idle = commands.is_empty() && !more;
            for command in commands {
                self.execute(command);
            }
            self.events.append(&mut self.outbox.take());
            if idle {
                return;
            }
        }
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Dial(dial) => {
                assert!(self.peer.is_none(), "a second upstream connection beside the first");
                self.pending_dial = Some(dial.reuse);
                self.asked_for.clone_from(&dial.authority.host);
            }
            Command::Hold(flow) => self.held = Some(flow),
            Command::Release(flow) => assert_eq!(self.held.take(), Some(flow)),
            Command::KeepUpstream { .. } => {
                assert!(self.sealed.as_ref().is_none_or(Buffer::is_empty), "not all is sent");
                self.idle = self.peer.take();
                assert!(self.idle.is_some(), "nothing to keep");
            }
            Command::DropUpstream { .. } => {
                self.peer = None;
                self.pending_dial = None;
                self.sealed.iter_mut().for_each(Buffer::clear);
            }
            Command::StartClientTls { .. } => {
                let facts = TlsFacts {
                    version: "TLSv1.3",
                    cipher: String::new(),
                    server_name: None,
                    alpn: None,
                    resumed: false,
                };
                self.conn.client.input.clear();
                self.with(|conn, cx| conn.client_secured(Arc::new(facts), cx));
            }
            Command::StartUpstreamTls(_) => self.pending_dial = Some(Reuse::Never),
            Command::ShutdownUpstream { .. } | Command::ShutdownClient { .. } => {}
            close @ (Command::CloseClient | Command::CutClient { .. }) => {
                self.client_got.extend_from_slice(self.conn.client.output.bytes());
                self.conn.client.output.clear();
                self.client_closed = Some(close);
            }
        }
    }

    /// What holds at every step: buffers are bounded.
    fn check(&self) {
        let bound = |link: &Link| {
            assert!(link.input.len() < INPUT_BYTES + READ_BYTES);
            assert!(link.output.len() <= BUFFER_HIGH_BYTES + INPUT_BYTES + READ_BYTES + 8 * 1024);
        };
        bound(&self.conn.client);
        bound(&self.conn.upstream);
    }
}
