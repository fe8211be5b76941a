//! The proxy's core: a client, servers and the clock, all decided by the input.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use flowtap::capture::entry::take_ended;
use flowtap::flow::record::{FlowEvent, TlsFacts};
use flowtap::hosts::HostRules;
use flowtap::limits::{BUFFER_HIGH_BYTES, INPUT_BYTES, READ_BYTES};
use flowtap::notice::Notices;
use flowtap::options::{Options, SharedOptions};
use flowtap::proxy::conn::Conn;
use flowtap::proxy::context::{
    Command, Connected, Context, DeviceCertificate, DialError, Heads, Now, Reuse, Shared,
};
use flowtap::proxy::link::End;
use flowtap::proxy::outbox::Outbox;
use flowtap::stats::Stats;

use super::http::why_not_taken;
use super::rfc9112::{self, Ends, Message, Reading};

/// What divides the input: the plan, the client's bytes, and a server's answers.
const DIVIDER: u8 = 0x1e;
/// Things that happen before a connection must have come to rest.
const STEPS: usize = 20_000;
/// Deadlines that may pass before it must be over.
const WAITS: usize = 12;

/// How a client's bytes are split makes no difference to what servers and client get; servers get
/// the requests that a second reading finds in the client's bytes, in their order, or nothing of
/// them; the client gets answers that a second reading understands; and buffers are bounded.
pub fn proxy_core(data: &[u8]) {
    let Some((&flags, rest)) = data.split_first() else { return };
    let parts: Vec<&[u8]> = rest.split(|&byte| byte == DIVIDER).collect();
    let [plan, client, servers @ ..] = &parts[..] else { return };
    let whole = World::new(flags, &[], client, servers).run();
    let split = World::new(flags, plan, client, servers).run();
    if is_sound(client, servers) {
        assert_eq!(text(&whole.client_got), text(&split.client_got));
        assert_eq!(whole.servers_got.len(), split.servers_got.len());
        for (one, other) in whole.servers_got.iter().zip(&split.servers_got) {
            assert_eq!(text(one), text(other));
        }
        assert_eq!(whole.closed, split.closed);
    }
    for world in [whole, split] {
        world.check_requests();
        world.check_answers();
    }
}

/// Whether nobody says what is malformed: then what comes before that may have been passed on, or
/// not, by the time that it comes.
fn is_sound(client: &[u8], servers: &[&[u8]]) -> bool {
    let mut rest = client;
    while !rest.is_empty() {
        let Reading::Whole(message) = rfc9112::request(rest) else { return false };
        if is_refused_at_its_end(&message) {
            return false;
        }
        rest = &rest[message.length..];
    }
    servers.iter().all(|answer| {
        let mut rest = *answer;
        loop {
            let Reading::Whole(head) = rfc9112::response_head(rest) else { return false };
            let ends = head.response_ends(b"GET");
            match (ends, rfc9112::response(rest, b"GET")) {
                (_, Reading::Whole(message)) if message.head.start[1].starts_with(b"1") => {
                    rest = &rest[message.length..];
                }
                (Ok(Ends::Chunked), Reading::Whole(message)) => {
                    return !is_refused_at_its_end(&message);
                }
                (Ok(Ends::Chunked), _) => return false,
                (ends, _) => return ends.is_ok(),
            }
        }
    })
}

/// Whether the message is well-formed and has a chunk or a trailer field that is not taken.
fn is_refused_at_its_end(message: &Message<'_>) -> bool {
    message.chunks.as_ref().is_some_and(|chunks| !why_not_taken(chunks).is_empty())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}

struct Peer {
    /// Which of `servers_got` is its.
    number: usize,
    /// What it has still to send of the answer under way.
    to_send: Vec<u8>,
    answers: usize,
    ended: bool,
    reused: bool,
}

struct World<'a> {
    flags: u8,
    conn: Conn,
    now: Now,
    options: Options,
    commands: Vec<Command>,
    outbox: Outbox,
    heads: Heads,
    plan: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    client: &'a [u8],
    to_send: &'a [u8],
    client_ended: bool,
    answers: &'a [&'a [u8]],
    answered: usize,
    peer: Option<Peer>,
    idle: Option<Peer>,
    dial: Option<Reuse>,
    servers_got: Vec<Vec<u8>>,
    client_got: Vec<u8>,
    closed: Option<Command>,
}

thread_local! {
    static SHARED: Shared = shared();
    static OPTIONS: Options = Options::default();
}

fn shared() -> Shared {
    let stats = Arc::new(Stats::default());
    let (notices, _) = Notices::channel(stats.clone());
    Shared {
        hosts: HostRules::default(),
        discovered: None,
        records: true,
        live: true,
        upstreams: Default::default(),
        mcp: None,
        held: Arc::default(),
        options: Arc::new(SharedOptions::new(Options::default())),
        listen: ([127, 0, 0, 1], 1).into(),
        certificate: DeviceCertificate::default(),
        stats,
        notices,
        next_flow: AtomicU64::new(1),
        next_connection: AtomicU64::new(1),
    }
}

impl<'a> World<'a> {
    fn new(flags: u8, plan: &'a [u8], client: &'a [u8], answers: &'a [&'a [u8]]) -> Self {
        thread_local!(static NOW: Instant = Instant::now());
        let now = Now { instant: NOW.with(|now| *now), epoch_us: 1_700_000_000_000_000 };
        let mut options = OPTIONS.with(Options::clone);
        options.anticache = flags & 2 != 0;
        options.anticomp = flags & 4 != 0;
        World {
            flags,
            conn: Conn::new(([127, 0, 0, 1], 9).into(), now),
            now,
            options,
            commands: Vec::new(),
            outbox: Outbox::default(),
            heads: Heads::default(),
            plan: plan.iter().cycle(),
            client,
            to_send: client,
            client_ended: flags & 1 == 0,
            answers,
            answered: 0,
            peer: None,
            idle: None,
            dial: None,
            servers_got: Vec::new(),
            client_got: Vec::new(),
            closed: None,
        }
    }

    /// Runs until the client's connection is closed, or nothing happens any more. Servers answer
    /// when everything else is at rest, and time passes when they are as well.
    fn run(mut self) -> Self {
        let mut waits = 0;
        for _ in 0..STEPS {
            self.check();
            if self.closed.is_some() {
                return self;
            }
            let moved = self.client_sends() | self.both_take() | self.dial_ends();
            if moved || self.server_sends() || self.somebody_ends() {
                continue;
            }
            waits += 1;
            if waits > WAITS {
                return self;
            }
            let deadline = self.conn.deadline(&self.options).max(self.now.instant);
            let passed = deadline.duration_since(self.now.instant);
            self.now.instant = deadline;
            self.now.epoch_us += passed.as_micros() as u64;
            self.with(|conn, cx| conn.time_out(cx));
        }
        panic!("it does not come to rest");
    }

    /// As many bytes as the plan says; without a plan all.
    fn piece(&mut self, length: usize) -> usize {
        let planned = self.plan.next().map_or(usize::MAX, |byte| usize::from(*byte) + 1);
        length.min(planned)
    }

    fn client_sends(&mut self) -> bool {
        if !self.conn.wants_client() || self.to_send.is_empty() {
            return false;
        }
        let count = self.piece(self.to_send.len().min(READ_BYTES));
        let (now, later) = self.to_send.split_at(count);
        self.conn.client.input.push(now);
        self.to_send = later;
        self.conn.touch(self.now);
        self.with(|_, _| ());
        true
    }

    fn both_take(&mut self) -> bool {
        let output = &mut self.conn.client.output;
        let mut moved = !output.is_empty();
        self.client_got.extend_from_slice(output.bytes());
        output.consume(usize::MAX);
        if let Some(peer) = &self.peer {
            let output = &mut self.conn.upstream.output;
            moved |= !output.is_empty();
            self.servers_got[peer.number].extend_from_slice(output.bytes());
            output.consume(usize::MAX);
        }
        if moved {
            self.with(|_, _| ());
        }
        moved
    }

    fn dial_ends(&mut self) -> bool {
        let Some(reuse) = self.dial.take() else { return false };
        if self.flags & 8 != 0 {
            let error = DialError { status: 502, reason: "cannot connect".to_owned() };
            self.with(|conn, cx| conn.upstream_failed(error, cx));
            return true;
        }
        let idle = self.idle.take().filter(|_| reuse != Reuse::Never);
        let peer = idle.map(|peer| Peer { reused: true, ..peer }).unwrap_or_else(|| {
            self.servers_got.push(Vec::new());
            let number = self.servers_got.len() - 1;
            Peer { number, to_send: Vec::new(), answers: 0, ended: false, reused: false }
        });
        let connected = Connected {
            address: ([127, 0, 0, 1], 2).into(),
            forwards: None,
            connection: peer.number as u64,
            reused: peer.reused,
            tls: None,
            dns_us: 0,
            connect_us: 1,
            tls_us: 0,
        };
        self.peer = Some(peer);
        self.with(|conn, cx| conn.upstream_connected(connected, &[], None, cx));
        true
    }

    /// The server goes on with an answer, or begins the one that is due.
    fn server_sends(&mut self) -> bool {
        let Some(mut peer) = self.peer.take_if(|peer| !peer.ended) else { return false };
        if peer.to_send.is_empty()
            && requests_seen(&self.servers_got[peer.number]) > peer.answers
            && let Some(answer) = self.answers.get(self.answered)
        {
            self.answered += 1;
            peer.answers += 1;
            peer.to_send = answer.to_vec();
        }
        let count = match self.conn.wants_upstream() {
            true => self.piece(peer.to_send.len().min(READ_BYTES)),
            false => 0,
        };
        let now: Vec<u8> = peer.to_send.drain(..count).collect();
        self.peer = Some(peer);
        self.conn.upstream.input.push(&now);
        if count > 0 {
            self.with(|_, _| ());
        }
        count > 0
    }

    /// First the client says that it has no more to say, then the server.
    fn somebody_ends(&mut self) -> bool {
        if !self.client_ended && self.to_send.is_empty() {
            self.client_ended = true;
            self.conn.client_ended(End::Clean);
        } else if let Some(peer) = self.peer.as_mut().filter(|peer| !peer.ended) {
            peer.ended = true;
            let end = if self.flags & 16 == 0 { End::Clean } else { End::Cut("reset".to_owned()) };
            self.conn.upstream_ended(end);
        } else {
            return false;
        }
        self.with(|_, _| ());
        true
    }

    /// Tells the connection something, lets it work and carries out what it asks for.
    fn with(&mut self, tell: impl FnOnce(&mut Conn, &mut Context<'_>)) {
        let mut tell = Some(tell);
        loop {
            let more = SHARED.with(|shared| {
                let mut cx = Context {
                    now: self.now,
                    shared,
                    options: &self.options,
                    commands: &mut self.commands,
                    outbox: &mut self.outbox,
                    heads: &mut self.heads,
                };
                if let Some(tell) = tell.take() {
                    tell(&mut self.conn, &mut cx);
                }
                self.conn.advance(&mut cx)
            });
            let commands = std::mem::take(&mut self.commands);
            let idle = commands.is_empty() && !more;
            for command in commands {
                self.execute(command);
            }
            for event in self.outbox.take() {
                if let FlowEvent::Exchange(ended) = event {
                    assert!(take_ended(&ended).is_some());
                }
            }
            if idle {
                return;
            }
        }
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Dial(dial) => {
                assert!(self.peer.is_none(), "a second upstream connection beside the first");
                self.dial = Some(dial.reuse);
            }
            Command::StartUpstreamTls(_) => {
                self.peer = None;
                self.dial = Some(Reuse::Never);
            }
            Command::KeepUpstream { .. } => {
                let kept = self.peer.take();
                assert!(kept.is_some(), "nothing to keep");
                // The pool throws away what says something unasked.
                self.idle = kept.filter(|peer| peer.to_send.is_empty() && !peer.ended);
            }
            Command::DropUpstream { .. } => {
                if let (Some(peer), false) = (&self.peer, self.conn.upstream.broken) {
                    let output = self.conn.upstream.output.bytes();
                    self.servers_got[peer.number].extend_from_slice(output);
                }
                self.peer = None;
                self.dial = None;
            }
            Command::StartClientTls { .. } => {
                let facts = TlsFacts {
                    version: "TLSv1.3",
                    cipher: String::new(),
                    server_name: None,
                    alpn: None,
                    resumed: false,
                };
                // What follows the ClientHello stands for what the client says inside of TLS.
                let hello = hello_length(self.conn.client.input.bytes());
                self.conn.client.input.consume(hello);
                self.with(|conn, cx| conn.client_secured(Arc::new(facts), cx));
            }
            Command::Hold(_) | Command::Release(_) => panic!("nothing is to be held"),
            Command::ShutdownUpstream { .. } | Command::ShutdownClient { .. } => {}
            close @ (Command::CloseClient | Command::CutClient { .. }) => {
                self.client_got.extend_from_slice(self.conn.client.output.bytes());
                self.conn.client.output.clear();
                self.closed = Some(close);
            }
        }
    }

    /// Buffers are bounded.
    fn check(&self) {
        for link in [&self.conn.client, &self.conn.upstream] {
            assert!(link.input.len() < INPUT_BYTES + READ_BYTES);
            assert!(link.output.len() <= BUFFER_HIGH_BYTES + INPUT_BYTES + READ_BYTES + 8 * 1024);
        }
    }

    fn check_requests(&self) {
        let (sent, is_opaque) = requests(self.client);
        let mut next = 0;
        for got in &self.servers_got {
            let mut rest = &got[..];
            loop {
                match rfc9112::request(rest) {
                    Reading::Whole(message) => {
                        let found = sent.iter().skip(next).position(|it| is_same(it, &message));
                        let Some(at) = found else {
                            panic!("nobody sent {:?} of {:?}", text(rest), text(self.client));
                        };
                        next += at;
                        rest = &rest[message.length..];
                    }
                    Reading::Wrong(why) if !is_opaque => panic!("{why}: {}", text(got)),
                    _ => break,
                }
            }
        }
    }

    fn check_answers(&self) {
        let (sent, is_opaque) = requests(self.client);
        let mut methods = sent.iter().map(|message| message.head.start[0]);
        let given: Vec<Vec<u8>> = self.answers.iter().flat_map(|answer| bodies(answer)).collect();
        let mut rest = &self.client_got[..];
        let mut method = methods.next();
        while !rest.is_empty() {
            let response = match rfc9112::response(rest, method.unwrap_or(b"GET")) {
                Reading::Whole(response) => response,
                Reading::Wrong(_) if is_opaque => return,
                Reading::Wrong(why) => panic!("{why}: {}", text(&self.client_got)),
                // It was cut, which the client sees.
                Reading::Part => return,
            };
            let is_known = response.body.is_empty()
                || String::from_utf8_lossy(&response.body).contains("flowtap")
                || given.iter().any(|body| body.starts_with(&response.body));
            assert!(is_known || is_opaque, "{}: {}", text(&self.client_got), text(self.client));
            rest = &rest[response.length..];
            match response.head.start[1] {
                b"101" => return,
                [b'1', ..] => {}
                _ => method = methods.next(),
            }
        }
    }
}

/// The requests in a client's bytes, and whether other bytes may be passed on as they are: inside
/// of a tunnel, or after another protocol was agreed on.
fn requests(mut rest: &[u8]) -> (Vec<Message<'_>>, bool) {
    let mut found = Vec::new();
    let mut is_opaque = false;
    while let Reading::Whole(message) = rfc9112::request(rest) {
        rest = &rest[message.length..];
        is_opaque |= message.head.values("Upgrade").next().is_some();
        if message.head.start[0] == b"CONNECT" {
            is_opaque = true;
            if rest.first() == Some(&0x16) {
                rest = &rest[hello_length(rest)..];
            }
        }
        found.push(message);
    }
    (found, is_opaque)
}

/// Whether what a server got is what the client sent, made ready for a server.
fn is_same(sent: &Message<'_>, got: &Message<'_>) -> bool {
    let ([method, target, _], [got_method, path, _]) = (sent.head.start, got.head.start);
    let is_path = target.ends_with(path)
        || matches!(path, b"/" | b"*")
        || path.strip_prefix(b"/").is_some_and(|it| it.starts_with(b"?") && target.ends_with(it));
    method == got_method && is_path && sent.body == got.body
}

/// How many answers are due for what a server has got: one for each request, and one for bytes
/// that are none.
fn requests_seen(mut got: &[u8]) -> usize {
    let mut count = 0;
    loop {
        match rfc9112::request(got) {
            Reading::Whole(message) => {
                got = &got[message.length..];
                count += 1;
            }
            Reading::Wrong(_) => return count + 1,
            Reading::Part => return count,
        }
    }
}

/// The body that an answer has as one to GET, behind what comes before the final response.
fn bodies(mut answer: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Reading::Whole(message) = rfc9112::response(answer, b"GET") {
        found.push(message.body);
        answer = &answer[message.length..];
        if answer.is_empty() {
            break;
        }
    }
    // One that was cut passes as far as it came.
    if let Reading::Whole(head) = rfc9112::response_head(answer) {
        let rest = &answer[head.length..];
        found.extend([rest.to_vec(), rfc9112::chunked_so_far(rest)]);
    }
    found
}

/// Bytes of the records that a ClientHello is in.
fn hello_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut message = Vec::new();
    while let Some([0x16, _, _, high, low]) = bytes.get(at..at + 5) {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(part) = bytes.get(at + 5..at + 5 + length) else { break };
        message.extend_from_slice(part);
        at += 5 + length;
        if let [_, a, b, c, body @ ..] = &message[..] {
            let whole = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            if body.len() >= whole {
                break;
            }
        }
    }
    at
}
