//! The thread that has the sockets. No call runs here, and no client is waited for.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::fault;
use crate::limits::{
    ACCEPT_PAUSE, BUFFER_HIGH_BYTES, MCP_BODIES_BYTES, MCP_CALL_EVENTS, MCP_OUTPUT_BYTES,
    READ_BYTES, SWEEP_INTERVAL, TURN_ACCEPTS, TURN_BYTES, TURN_REQUESTS,
};
use crate::mcp::engine::{Effect, Peer};
use crate::mcp::http::{Answer, Conn};
use crate::mcp::server::Timing;
use crate::mcp::transport::{Front, Served};
use crate::mcp::workers::CallEvent;

/// The poller's token for other threads.
pub(super) const WAKER: Token = Token(usize::MAX);
const LISTENER: Token = Token(usize::MAX - 1);
/// Events taken from the poller at once.
const EVENTS: usize = 256;

/// A connection with its socket, and what the poller told of it.
#[derive(Debug)]
struct Entry {
    stream: TcpStream,
    conn: Conn,
    readable: bool,
    writable: bool,
    /// Whether it waits for its turn.
    queued: bool,
    /// Whether the outgoing direction was ended.
    shut: bool,
    /// Whether the socket has failed.
    failed: bool,
}

/// The loop.
#[derive(Debug)]
pub(super) struct EventLoop {
    poll: Poll,
    listener: TcpListener,
    /// Clients may wait to be accepted.
    accepts: bool,
    /// Until when none is accepted, because descriptors have run out.
    accepts_from: Option<Instant>,
    entries: HashMap<Peer, Entry>,
    /// So many connections there may be.
    most: usize,
    last: Peer,
    ready: VecDeque<Peer>,
    front: Front,
    calls: Receiver<CallEvent>,
    timing: Timing,
    swept: Instant,
    stop: Arc<AtomicBool>,
    scratch: Vec<u8>,
}

impl EventLoop {
    /// A loop that will accept from this socket, and have `most` connections.
    pub(super) fn new(
        poll: Poll,
        mut listener: TcpListener,
        most: usize,
        front: Front,
        calls: Receiver<CallEvent>,
        timing: Timing,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(EventLoop {
            poll,
            listener,
            accepts: false,
            accepts_from: None,
            entries: HashMap::new(),
            most,
            last: 0,
            ready: VecDeque::new(),
            front,
            calls,
            timing,
            swept: Instant::now(),
            stop,
            scratch: vec![0; READ_BYTES],
        })
    }

    /// Serves until it is stopped.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            match self.poll.poll(&mut events, self.wait()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = Instant::now();
            if self.stop.load(Ordering::Acquire) {
                self.finish(now);
                return Ok(());
            }
            self.take_events(&events);
            self.accept(now);
            // Calls can tell faster than this is taken; the rest has the next turn.
            for event in self.calls.try_iter().take(MCP_CALL_EVENTS) {
                self.front.call_event(event);
            }
            self.perform(now);
            for _ in 0..self.ready.len() {
                if let Some(peer) = self.ready.pop_front() {
                    self.serve(peer, now);
                }
            }
            if now.saturating_duration_since(self.swept) >= SWEEP_INTERVAL {
                self.sweep(now);
            }
        }
    }

    fn wait(&self) -> Option<Duration> {
        let may_accept = self.accepts && self.accepts_from.is_none();
        if may_accept || !self.ready.is_empty() || !self.calls.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.accepts {
            return Some(ACCEPT_PAUSE);
        }
        let has_deadlines = !self.entries.is_empty() || self.front.has_sessions();
        has_deadlines.then_some(SWEEP_INTERVAL)
    }

    fn take_events(&mut self, events: &Events) {
        for event in events {
            match event.token() {
                WAKER => {}
                LISTENER => self.accepts = true,
                Token(number) => {
                    let peer = number as Peer;
                    let Some(entry) = self.entries.get_mut(&peer) else { continue };
                    entry.readable |= event.is_readable() || event.is_read_closed();
                    entry.writable |= event.is_writable();
                    entry.failed |= event.is_error() || event.is_write_closed() && !entry.shut;
                    self.enqueue(peer);
                }
            }
        }
    }

    fn enqueue(&mut self, peer: Peer) {
        if let Some(entry) = self.entries.get_mut(&peer)
            && !entry.queued
        {
            entry.queued = true;
            self.ready.push_back(peer);
        }
    }

    fn accept(&mut self, now: Instant) {
        if self.accepts_from.is_some_and(|at| now < at) {
            return;
        }
        self.accepts_from = None;
        for _ in 0..TURN_ACCEPTS {
            if !self.accepts {
                return;
            }
            match self.listener.accept() {
                Ok((stream, _)) => self.adopt(stream, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.accepts = false,
                // The client has gone before it was accepted.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.accepts_from = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn adopt(&mut self, mut stream: TcpStream, now: Instant) {
        if self.entries.len() >= self.most && !self.make_room(now) {
            return;
        }
        // Without it every small answer could wait for the peer's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        self.last += 1;
        let Ok(number) = usize::try_from(self.last) else { return };
        let both = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut stream, Token(number), both).is_err() {
            return;
        }
        let entry = Entry {
            stream,
            conn: Conn::new(now),
            readable: true,
            writable: true,
            queued: false,
            shut: false,
            failed: false,
        };
        self.entries.insert(self.last, entry);
        self.enqueue(self.last);
    }

    /// Closes the connection that has waited for its client the longest.
    fn make_room(&mut self, now: Instant) -> bool {
        let idle = |(peer, entry): (&Peer, &Entry)| Some((entry.conn.idle_since()?, *peer));
        let Some((_, peer)) = self.entries.iter().filter_map(idle).min() else { return false };
        self.close(peer, now);
        true
    }

    /// Gives a connection its turn. A panic in it ends this connection alone.
    fn serve(&mut self, peer: Peer, now: Instant) {
        let Err(fault) = fault::catch(|| self.turn(peer, now)) else { return };
        self.front.tell_fault("serving a client of MCP", fault);
        if self.entries.remove(&peer).is_some()
            && let Err(fault) = fault::catch(|| self.front.gone(peer, now))
        {
            self.front.tell_fault("ending the calls of a client of MCP", fault);
        }
    }

    /// Reads, serves and writes, up to the budgets of a turn.
    fn turn(&mut self, peer: Peer, now: Instant) {
        let mut budget = TURN_BYTES;
        let mut more = true;
        for _ in 0..TURN_REQUESTS {
            let bodies: usize = self.entries.values().map(|entry| entry.conn.body_bytes()).sum();
            let Some(entry) = self.entries.get_mut(&peer) else { return };
            entry.queued = false;
            let has_read = entry.read(&mut self.scratch, &mut budget, now);
            // A client that does not take its answers gets no more of them.
            entry.write(&mut budget, now);
            if entry.conn.output_bytes() > BUFFER_HIGH_BYTES {
                more = false;
                break;
            }
            let room = MCP_BODIES_BYTES.saturating_sub(bodies) + entry.conn.body_bytes();
            let front = &self.front;
            let request = entry.conn.next_request(&|request| front.judge(request), room, now);
            more = request.is_some() || has_read && budget > 0;
            if let Some(request) = request {
                let served = self.front.serve(peer, &request, now);
                entry.serve(served, now);
                self.perform(now);
            }
            let Some(entry) = self.entries.get_mut(&peer) else { return };
            entry.write(&mut budget, now);
            if !more {
                break;
            }
        }
        self.conclude(peer, more, now);
    }

    /// Closes a connection that has ended, and has another turn if the budget ended this one.
    fn conclude(&mut self, peer: Peer, more: bool, now: Instant) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        let given_up = entry.conn.input_ended()
            && (entry.conn.is_streaming()
                || entry.conn.awaits_answer() && self.front.ends_with_input(peer));
        if entry.failed || entry.conn.is_over() || given_up {
            self.close(peer, now);
            return;
        }
        if entry.conn.has_said_all() && !std::mem::replace(&mut entry.shut, true) {
            // The only failure is that the client has gone, which reading shows too.
            let _ = entry.stream.shutdown(Shutdown::Write);
        }
        let reads = entry.readable && entry.conn.wants_input();
        let writes = entry.writable && entry.conn.output_bytes() > 0;
        if reads || writes || more {
            self.enqueue(peer);
        }
    }

    /// Does what the engine wants done on connections.
    fn perform(&mut self, now: Instant) {
        loop {
            let effects = self.front.effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.perform_one(effect, now);
            }
        }
    }

    fn perform_one(&mut self, effect: Effect, now: Instant) {
        let (peer, bytes) = match &effect {
            Effect::Answer { peer, json, .. } => (*peer, json.as_ref().map_or(0, String::len)),
            Effect::Message { peer, json } => (*peer, json.len()),
            Effect::End { peer } => (*peer, 0),
        };
        let own = self.entries.get(&peer).map_or(0, |entry| entry.conn.output_bytes());
        // Clients that read what they are sent seldom have so much waiting.
        if own + bytes > BUFFER_HIGH_BYTES {
            let waiting: usize = self.entries.values().map(|it| it.conn.output_bytes()).sum();
            if waiting + bytes > MCP_OUTPUT_BYTES {
                self.close(peer, now);
                return;
            }
        }
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        match effect {
            Effect::Answer { status, json, .. } => {
                let answer = json.map_or(Answer::empty(status), |json| Answer::json(status, json));
                entry.conn.answer(answer, now);
            }
            Effect::Message { json, .. } => {
                entry.conn.begin_stream(now);
                entry.conn.event("message", &json, now);
            }
            Effect::End { .. } => entry.conn.end_stream(now),
        }
        self.enqueue(peer);
    }

    fn close(&mut self, peer: Peer, now: Instant) {
        if self.entries.remove(&peer).is_some() {
            self.front.gone(peer, now);
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.swept = now;
        self.front.tick(&self.timing, now);
        let peers: Vec<Peer> = self.entries.keys().copied().collect();
        for peer in peers {
            if let Some(entry) = self.entries.get_mut(&peer) {
                entry.conn.tick(&self.timing, now);
                if entry.conn.is_over() || entry.conn.output_bytes() > 0 {
                    self.enqueue(peer);
                }
            }
        }
    }

    /// Ends all calls and streams, and sends what the sockets take at once.
    fn finish(&mut self, now: Instant) {
        self.front.stop();
        self.perform(now);
        let mut budget = usize::MAX;
        for entry in self.entries.values_mut() {
            entry.conn.end_stream(now);
            entry.write(&mut budget, now);
            let _ = entry.stream.shutdown(Shutdown::Write);
        }
    }
}

impl Entry {
    /// Reads once what is there; whether there may be more.
    fn read(&mut self, scratch: &mut [u8], budget: &mut usize, now: Instant) -> bool {
        if !self.readable || !self.conn.wants_input() || *budget == 0 {
            return false;
        }
        match self.stream.read(scratch) {
            Ok(0) => {
                self.conn.end_input();
                self.readable = false;
            }
            Ok(count) => {
                self.conn.receive(scratch.get(..count).unwrap_or_default(), now);
                *budget = budget.saturating_sub(count);
                return true;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            Err(_) => self.failed = true,
        }
        false
    }

    /// Writes what the socket takes.
    fn write(&mut self, budget: &mut usize, now: Instant) {
        while self.writable && self.conn.output_bytes() > 0 && *budget > 0 && !self.failed {
            match self.stream.write(self.conn.output()) {
                Ok(count) => {
                    self.conn.wrote(count, now);
                    *budget = budget.saturating_sub(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.failed = true,
            }
        }
    }

    fn serve(&mut self, served: Served, now: Instant) {
        match served {
            Served::Answer(answer) => self.conn.answer(answer, now),
            Served::Wait(fields) => self.conn.expect_fields(fields),
            Served::Stream(first) => {
                self.conn.begin_stream(now);
                if let Some((name, data)) = first {
                    self.conn.event(name, &data, now);
                }
            }
        }
    }
}
