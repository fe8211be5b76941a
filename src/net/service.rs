//! One connection's turn: read, let its state machine work, carry out what it asks for, write.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::flow::record::Authority;
use crate::limits::{SWEEP_INTERVAL, TURN_BYTES};
use crate::net::clients::Place;
use crate::net::dial::Dialled;
use crate::net::event_loop::{ConnKey, DialKey, EventLoop, Owner, SocketKey, TimerKey};
use crate::net::socket::{ReadOutcome, Scratch, Socket};
use crate::proxy::buffer::Buffer;
use crate::proxy::conn::Conn;
use crate::proxy::context::Command;
use crate::proxy::link::End;

/// A connection and what it has in this loop.
#[derive(Debug)]
pub(super) struct ConnEntry {
    pub(super) conn: Conn,
    pub(super) client: Option<SocketKey>,
    /// Counts it among its client's connections.
    place: Option<Place>,
    upstream: Option<SocketKey>,
    dial: Option<DialKey>,
    /// Idle connections to servers may be kept for it alone.
    owns_idle: bool,
    /// The end of the stream is to be sent; inside TLS with or without close_notify.
    shut_client: Option<bool>,
    shut_upstream: Option<bool>,
    closing: Option<Closing>,
    /// It stands among the loop's parked connections.
    pub(super) parked: bool,
    pub(super) queued: bool,
    /// What reading came to, in a turn that has begun.
    intake: Option<Intake>,
    /// It stands among the loop's announcements.
    pub(super) listed: bool,
    /// The time of its entry among the timers.
    pub(super) scheduled: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    InOrder,
    Cut { reset: bool },
}

/// What came of reading, and of working on what was read.
#[derive(Clone, Copy, Debug)]
struct Intake {
    /// Bytes that were read, or as many as there were ends.
    moved: usize,
    /// More can be done without anything else happening.
    more: bool,
}

/// What becomes of a connection after its turn.
enum After {
    Wait,
    Again,
    Over,
}

impl ConnEntry {
    /// A connection that has no socket of a client, as yet or at all.
    pub(super) fn with(conn: Conn, place: Option<Place>) -> Self {
        ConnEntry {
            conn,
            client: None,
            place,
            upstream: None,
            dial: None,
            owns_idle: false,
            shut_client: None,
            shut_upstream: None,
            closing: None,
            parked: false,
            queued: false,
            intake: None,
            listed: false,
            scheduled: None,
        }
    }

    /// Whether a socket is one of its own.
    pub(super) fn has_socket(&self, key: SocketKey) -> bool {
        self.client == Some(key) || self.upstream == Some(key)
    }

    fn reads_client(&self) -> bool {
        self.closing.is_none() && self.conn.wants_client()
    }
}

impl EventLoop {
    /// The first half of a connection's turn: reads, and works on what was read.
    pub(super) fn take_in(&mut self, key: ConnKey) {
        let taken = self.step(key, |it, entry| entry.intake = Some(it.intake(key, entry)));
        if let Some((entry, ())) = taken {
            self.conns.put_back(key, entry);
        }
    }

    /// Gives a connection its turn, or the rest of it.
    pub(super) fn service(&mut self, key: ConnKey) {
        let served = self.step(key, |it, entry| {
            entry.queued = false;
            it.turn(key, entry)
        });
        let Some((mut entry, after)) = served else { return };
        match after {
            After::Over => self.bury(key, *entry),
            After::Again => {
                self.conns.put_back(key, entry);
                self.enqueue(key);
            }
            After::Wait => {
                self.reclaim(&mut entry);
                if self.desk.shared.live
                    && !entry.listed
                    && entry.conn.unannounced_since().is_some()
                {
                    entry.listed = true;
                    self.announce_later(key);
                }
                let deadline = entry.conn.deadline(&self.desk.options);
                // What is further away is found by the sweep.
                let soon = deadline < self.desk.now.instant + SWEEP_INTERVAL;
                if soon && entry.scheduled.is_none_or(|at| deadline < at) {
                    entry.scheduled = Some(deadline);
                    self.timers.add(deadline, TimerKey::Conn(key));
                }
                self.conns.put_back(key, entry);
            }
        }
    }

    fn turn(&mut self, key: ConnKey, entry: &mut ConnEntry) -> After {
        let mut budget = TURN_BYTES;
        loop {
            let begun = entry.intake.take();
            let Intake { mut moved, more } = begun.unwrap_or_else(|| self.intake(key, entry));
            moved += self.write_client(entry);
            moved += self.write_upstream(entry);
            if self.has_closed(entry) {
                return After::Over;
            }
            budget = budget.saturating_sub(moved);
            if more || budget == 0 {
                return After::Again;
            }
            // The poller does not tell again of what it has told: a socket that was left unread
            // for want of room is read as soon as there is some.
            if moved == 0 && !self.can_read(entry) {
                return After::Wait;
            }
        }
    }

    fn intake(&mut self, key: ConnKey, entry: &mut ConnEntry) -> Intake {
        let mut moved = 0;
        if self.outlet.is_stalled() {
            if !entry.parked {
                entry.parked = true;
                self.parked.push(key);
            }
        } else {
            moved += self.read_client(entry);
            moved += self.read_upstream(entry);
        }
        if moved > 0 {
            for link in [&mut entry.conn.client, &mut entry.conn.upstream] {
                link.output.give_storage(|| self.spare.take());
            }
        }
        Intake { moved, more: self.advance(key, entry) }
    }

    fn can_read(&mut self, entry: &ConnEntry) -> bool {
        let mut readable = |key: Option<SocketKey>| {
            key.and_then(|key| self.sockets.get_mut(key)).is_some_and(|it| it.socket.readable)
        };
        let client = readable(entry.client) && entry.reads_client();
        let upstream = readable(entry.upstream) && entry.conn.wants_upstream();
        (client || upstream) && !self.outlet.is_stalled()
    }

    fn read_client(&mut self, entry: &mut ConnEntry) -> usize {
        let Some(socket) = entry.client.and_then(|key| self.sockets.get_mut(key)) else { return 0 };
        if !entry.reads_client() || !socket.socket.readable {
            return 0;
        }
        let input = &mut entry.conn.client.input;
        input.give_storage(|| self.spare.take());
        let outcome = socket.socket.read(&mut self.scratch, input.storage());
        let facts = outcome.secured.then(|| socket.socket.tls().map(|session| session.facts()));
        if let Some(facts) = facts.flatten() {
            entry.conn.client_secured(Arc::new(facts), &mut self.desk.context());
        }
        self.take_client_outcome(entry, outcome)
    }

    fn take_client_outcome(&mut self, entry: &mut ConnEntry, outcome: ReadOutcome) -> usize {
        self.received += outcome.received as u64;
        if outcome.received > 0 {
            entry.conn.heard(self.desk.now);
        }
        let mut moved = outcome.received;
        if let Some(error) = outcome.tls_error {
            let alert = error.distrust_alert();
            let cx = &mut self.desk.context();
            entry.conn.client_tls_failed(format!("TLS: {error}"), alert, cx);
            moved += 1;
        }
        if let Some(end) = outcome.end {
            entry.conn.client_ended(end);
            moved += 1;
        }
        moved
    }

    fn read_upstream(&mut self, entry: &mut ConnEntry) -> usize {
        let Some(socket) = entry.upstream.and_then(|key| self.sockets.get_mut(key)) else {
            return 0;
        };
        if !socket.socket.readable || !entry.conn.wants_upstream() {
            return 0;
        }
        let input = &mut entry.conn.upstream.input;
        input.give_storage(|| self.spare.take());
        let outcome = socket.socket.read(&mut self.scratch, input.storage());
        self.received += outcome.received as u64;
        if outcome.received > 0 {
            entry.conn.heard(self.desk.now);
        }
        let failed =
            outcome.tls_error.map(|error| End::Cut(format!("TLS with the server: {error}")));
        let broken = entry.conn.upstream.broken && socket.socket.tls().is_none();
        let end = match failed.or(outcome.end).map(server_end) {
            // The write that failed has taken the reset from the socket; the end that reading
            // shows now is not one that the server has told of.
            Some(End::Clean) if broken => {
                Some(server_end(End::Cut("connection reset by the peer".to_owned())))
            }
            end => end,
        };
        let moved = outcome.received + usize::from(end.is_some());
        if let Some(end) = end {
            entry.conn.upstream_ended(end);
        }
        moved
    }

    fn advance(&mut self, key: ConnKey, entry: &mut ConnEntry) -> bool {
        loop {
            let more = entry.conn.advance(&mut self.desk.context());
            if self.desk.commands.is_empty() {
                return more;
            }
            self.execute_commands(key, entry);
        }
    }

    /// Carries out what the connection has asked for.
    pub(super) fn execute_commands(&mut self, key: ConnKey, entry: &mut ConnEntry) {
        while !self.desk.commands.is_empty() {
            let mut commands = std::mem::take(&mut self.desk.commands);
            for command in commands.drain(..) {
                self.execute(key, entry, command);
            }
            if self.desk.commands.is_empty() {
                self.desk.commands = commands;
            }
        }
    }

    fn execute(&mut self, key: ConnKey, entry: &mut ConnEntry, command: Command) {
        match command {
            Command::Dial(dial) => {
                let dialled = self.dial(key, &dial, entry.owns_idle);
                self.take_dialled(entry, dialled);
            }
            Command::StartUpstreamTls(name) => {
                if let Some(socket) = entry.upstream.take() {
                    let dialled = self.secure_upstream(key, socket, name);
                    self.take_dialled(entry, dialled);
                }
            }
            Command::StartClientTls { server_name, host } => {
                self.start_client_tls(entry, server_name.as_deref(), &host);
            }
            Command::Hold(flow) => {
                self.held.insert(flow, key);
            }
            Command::Release(flow) => {
                self.held.remove(&flow);
            }
            Command::KeepUpstream { own, stated } => self.keep_upstream(key, entry, own, stated),
            Command::DropUpstream { cut } => {
                entry.shut_upstream = None;
                if let Some(dial) = entry.dial.take() {
                    self.cancel_dial(dial);
                }
                match entry.upstream.take() {
                    Some(socket) if cut => self.cut_upstream(socket),
                    Some(socket) => self.close_upstream(socket),
                    None => {}
                }
            }
            Command::ShutdownUpstream { announced } => entry.shut_upstream = Some(announced),
            Command::ShutdownClient { announced } => entry.shut_client = Some(announced),
            Command::CloseClient => entry.closing = Some(Closing::InOrder),
            Command::CutClient { reset } => entry.closing = Some(Closing::Cut { reset }),
        }
    }

    /// Tells the connection what came of its dial.
    pub(super) fn take_dialled(&mut self, entry: &mut ConnEntry, dialled: Dialled) {
        match dialled {
            Dialled::Pending(dial) => entry.dial = Some(dial),
            Dialled::Connected { socket, connected, early, end } => {
                entry.dial = None;
                entry.upstream = Some(socket);
                entry.shut_upstream = None;
                entry.conn.touch(self.desk.now);
                let cx = &mut self.desk.context();
                entry.conn.upstream_connected(connected, &early, end, cx);
            }
            Dialled::Failed(error) => {
                entry.dial = None;
                entry.conn.upstream_failed(error, &mut self.desk.context());
            }
        }
    }

    fn start_client_tls(&mut self, entry: &mut ConnEntry, name: Option<&str>, host: &str) {
        let min = self.desk.options.tls_version_client_min;
        let session = match self.server_tls.as_ref().map(|tls| tls.session(name, host, min)) {
            Some(Ok(session)) => session,
            None => return,
            Some(Err(error)) => {
                let reason = format!("no certificate can be made for {host}: {error}");
                let cx = &mut self.desk.context();
                entry.conn.client.input.clear();
                entry.conn.client_tls_failed(reason, None, cx);
                return;
            }
        };
        let Some(socket) = entry.client.and_then(|key| self.sockets.get_mut(key)) else { return };
        let mut hello = Buffer::default();
        std::mem::swap(&mut hello, &mut entry.conn.client.input);
        let input = entry.conn.client.input.storage();
        let outcome = socket.socket.start_tls(session, hello.bytes(), input);
        if outcome.tls_error.is_some() {
            // The alert is all that can still be said.
            let _ = socket.socket.write(&mut self.scratch, &mut Buffer::default());
        }
        self.take_client_outcome(entry, outcome);
    }

    fn keep_upstream(
        &mut self,
        conn: ConnKey,
        entry: &mut ConnEntry,
        own: Option<Arc<Authority>>,
        stated: Option<Duration>,
    ) {
        let Some(key) = entry.upstream.take() else { return };
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let Some(facts) = &mut socket.facts else { return };
        // Once it has an owner it keeps it: the login of one request stands for all that follow.
        if let Some(authority) = own.filter(|_| !facts.key.is_owned()) {
            facts.key = facts.key.clone().owned_by(conn, authority);
            entry.owns_idle = true;
        }
        let pool_key = facts.key.clone();
        socket.owner = Owner::Pool;
        if self.stopping {
            self.close_upstream(key);
            return;
        }
        let most = match pool_key.is_owned() {
            // What cannot be shared is kept also where nothing is: no login would come about.
            true => usize::MAX,
            false => self.desk.options.pooled_connections,
        };
        let now = self.desk.now.instant;
        if let Some(surplus) = self.pool.put(pool_key, key, most, stated, now) {
            self.close_upstream(surplus);
        }
    }

    pub(super) fn write_client(&mut self, entry: &mut ConnEntry) -> usize {
        let output = &mut entry.conn.client.output;
        let Some(socket) = entry.client.and_then(|key| self.sockets.get_mut(key)) else {
            // A replay has nobody to send it to.
            let unsent = output.len();
            output.clear();
            return unsent;
        };
        let flushed = flush(&mut socket.socket, &mut self.scratch, output, entry.shut_client);
        entry.conn.client.waits_in_tls = flushed.is_ok() && socket.socket.has_output();
        match flushed {
            Ok(0) => 0,
            Ok(written) => {
                entry.conn.touch(self.desk.now);
                written
            }
            Err(_) if entry.conn.client.broken => 0,
            Err(reason) => {
                entry.conn.client_broke(reason);
                1
            }
        }
    }

    fn write_upstream(&mut self, entry: &mut ConnEntry) -> usize {
        let Some(socket) = entry.upstream.and_then(|key| self.sockets.get_mut(key)) else {
            return 0;
        };
        let output = &mut entry.conn.upstream.output;
        let flushed = flush(&mut socket.socket, &mut self.scratch, output, entry.shut_upstream);
        entry.conn.upstream.waits_in_tls = flushed.is_ok() && socket.socket.has_output();
        match flushed {
            Ok(0) => 0,
            Ok(written) => {
                entry.conn.touch(self.desk.now);
                written
            }
            Err(_) if entry.conn.upstream.broken => 0,
            Err(_) => {
                entry.conn.upstream_broke();
                // What the server said before it closed may still be there to be read.
                socket.socket.readable = true;
                1
            }
        }
    }

    /// Closes the client's socket when that was asked for and nothing is left to send.
    fn has_closed(&mut self, entry: &mut ConnEntry) -> bool {
        let Some(closing) = entry.closing else { return false };
        let Some(socket) = entry.client.and_then(|key| self.sockets.get_mut(key)) else {
            return true;
        };
        let socket = &mut socket.socket;
        let never = entry.conn.client.broken
            || socket.tls().is_some_and(|session| session.is_handshaking());
        if !never && (!entry.conn.client.output.is_empty() || socket.has_output()) {
            return false;
        }
        self.end_client(entry, closing);
        true
    }

    /// The last that is done to a client's socket before it is closed.
    fn end_client(&mut self, entry: &ConnEntry, closing: Closing) {
        let Some(socket) = entry.client.and_then(|key| self.sockets.get_mut(key)) else { return };
        let socket = &mut socket.socket;
        match closing {
            Closing::InOrder => {
                socket.close_notify();
                // A goodbye that does not fit is not worth waiting for.
                let _ = socket.write(&mut self.scratch, &mut Buffer::default());
            }
            Closing::Cut { reset } if reset && socket.tls().is_none() => socket.reset_on_close(),
            Closing::Cut { .. } => {}
        }
    }

    /// The last that is done for a connection that ends now: its client gets as much of its
    /// output as the socket takes.
    pub(super) fn say_last_words(&mut self, entry: &mut ConnEntry) {
        self.write_client(entry);
        let rest = !entry.conn.client.output.is_empty();
        match entry.closing {
            // What is left unsent must be missed.
            Some(_) | None if rest => self.end_client(entry, Closing::Cut { reset: true }),
            Some(closing) => self.end_client(entry, closing),
            None => {}
        }
    }

    /// Frees everything that a connection had.
    pub(super) fn bury(&mut self, key: ConnKey, mut entry: ConnEntry) {
        if let Some(socket) = entry.client.take() {
            self.sockets.remove(socket);
        }
        if let Some(socket) = entry.upstream.take() {
            self.close_upstream(socket);
        }
        if let Some(dial) = entry.dial.take() {
            self.cancel_dial(dial);
        }
        for link in [&mut entry.conn.client, &mut entry.conn.upstream] {
            link.reset();
        }
        self.reclaim(&mut entry);
        if entry.owns_idle {
            for socket in self.pool.take_owned(key) {
                self.close_upstream(socket);
            }
        }
        drop(entry.place.take());
        self.forget_conn(key);
    }

    /// A connection that was lent does not come back.
    pub(super) fn forget_conn(&mut self, key: ConnKey) {
        self.conns.forget(key);
        self.desk.shared.stats.connections.sub(1);
        self.lower_load();
    }
}

/// Writes what there is, and the end of the stream behind it where `shut` says so. Returns the
/// bytes written, or why nothing more can be.
fn flush(
    socket: &mut Socket,
    scratch: &mut Scratch,
    output: &mut Buffer,
    shut: Option<bool>,
) -> Result<usize, String> {
    let mut written = 0;
    if !output.is_empty() || socket.has_output() {
        written = socket.write(scratch, output)?;
    }
    if let Some(announced) = shut
        && output.is_empty()
        && !socket.has_output()
    {
        if announced {
            socket.close_notify();
            written += socket.write(scratch, output)?;
        }
        if !socket.has_output() {
            socket.shut_down();
        }
    }
    Ok(written)
}

/// The words of an end, told of the server.
fn server_end(end: End) -> End {
    match end {
        End::Clean | End::Unannounced => end,
        End::Cut(reason) => End::Cut(format!("the server's connection broke off: {reason}")),
    }
}
