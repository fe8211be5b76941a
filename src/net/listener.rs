//! Accepting clients, and handing them to the loop that has the fewest.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::Sender;
use mio::net::TcpListener;
use mio::{Interest, Poll, Waker};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::limits::{ACCEPT_PAUSE, NOTICE_PAUSE, TURN_ACCEPTS};
use crate::net::clients::{Clients, Place};
use crate::net::event_loop::{ConnKey, EventLoop, LISTENER, Load, Loads, Message, TimerKey};
use crate::notice::Notice;

/// The other loops, as the accepting one sees them.
pub(super) type Peers = Vec<(Sender<Message>, Arc<Waker>)>;

/// The listening socket; one loop has it.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    peers: Peers,
    sockets_max: usize,
    clients: Arc<Clients>,
    paused: bool,
    /// Nobody could be accepted when that was tried last.
    exhausted: bool,
    told: Told,
    told_of_turned_away: Told,
}

/// A client that was accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: mio::net::TcpStream,
    pub(super) peer: SocketAddr,
    /// Its place among its client's connections.
    pub(super) place: Place,
}

/// When something that lasts was told of.
#[derive(Debug, Default)]
struct Told(Option<Instant>);

impl Told {
    /// Whether it is to be told of now.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.0.is_none_or(|at| now.saturating_duration_since(at) >= NOTICE_PAUSE);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

impl Listener {
    /// Registers the socket with the loop's poller. `peers` are all loops in their order; clients
    /// are accepted while all loops together have fewer sockets than `sockets_max`.
    pub(super) fn new(
        mut socket: TcpListener,
        peers: Peers,
        sockets_max: usize,
        poll: &Poll,
    ) -> io::Result<Self> {
        poll.registry().register(&mut socket, LISTENER, Interest::READABLE)?;
        Ok(Listener {
            socket,
            peers,
            sockets_max,
            clients: Arc::default(),
            paused: false,
            exhausted: false,
            told: Told::default(),
            told_of_turned_away: Told::default(),
        })
    }

    /// Accepts the next client, where all loops together have so many clients, of which there may
    /// be `most`, and so many other sockets.
    fn accept(&self, clients: usize, others: usize, most: Option<usize>) -> Outcome {
        let sockets = clients.saturating_add(others);
        let full = if let Some(most) = most.filter(|most| clients >= *most) {
            Some(format!(
                "{most} client connections are open, as many as the option connections allows; \
                 new ones wait"
            ))
        } else if sockets >= self.sockets_max {
            Some(format!(
                "{sockets} sockets are open, as many as the limit of open files allows; new \
                 connections wait (raise it with ulimit -n)"
            ))
        } else {
            None
        };
        if let Some(reason) = full {
            return if self.has_waiting() { Outcome::Exhausted(reason) } else { Outcome::Nothing };
        }
        match self.socket.accept() {
            Ok((stream, peer)) => Outcome::Client(stream, peer),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Outcome::Nothing,
            Err(error) if is_exhaustion(&error) => Outcome::Exhausted(format!(
                "no descriptor is left for new connections, they wait: {error}"
            )),
            // The client has gone before it was accepted.
            Err(_) => Outcome::Skip,
        }
    }

    /// Whether anybody waits to be accepted.
    fn has_waiting(&self) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
        // Where that cannot be told, it is tried again later.
        poll(&mut polled, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
    }
}

/// What accepting came to.
enum Outcome {
    Client(mio::net::TcpStream, SocketAddr),
    Nothing,
    Skip,
    Exhausted(String),
}

/// Whether descriptors, or memory for them, have run out.
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| Some(errno.raw_os_error()) == code)
}

fn least_loaded(loads: &Loads) -> usize {
    let loads = loads.iter().map(|load| load.clients.load(Ordering::Relaxed)).enumerate();
    loads.min_by_key(|(_, load)| *load).map_or(0, |(number, _)| number)
}

impl EventLoop {
    /// Accepts what waits, up to the budget of a turn.
    pub(super) fn accept(&mut self) {
        for _ in 0..TURN_ACCEPTS {
            let sum = |count: fn(&Load) -> &AtomicUsize| {
                self.loads.iter().map(|load| count(load).load(Ordering::Relaxed)).sum()
            };
            let (others, clients) = (sum(|load| &load.others), sum(|load| &load.clients));
            let most = self.desk.options.connections;
            let Some(listener) = &mut self.listener else { return };
            if listener.paused {
                return;
            }
            match listener.accept(clients, others, most) {
                Outcome::Nothing => return,
                Outcome::Skip => {}
                Outcome::Client(stream, peer) => {
                    listener.exhausted = false;
                    let most = self.desk.options.connections_per_client;
                    let place = listener.clients.admit(peer.ip(), most);
                    if place.as_ref().is_none_or(|place| place.is_turned_away) {
                        self.tell_of_turned_away(peer);
                    }
                    if let Some(place) = place {
                        self.hand_out(Accepted { stream, peer, place });
                    }
                }
                Outcome::Exhausted(reason) => {
                    listener.paused = true;
                    let shared = &self.desk.shared;
                    if !std::mem::replace(&mut listener.exhausted, true) {
                        shared.stats.accept_pauses.add(1);
                    }
                    if listener.told.is_due(self.desk.now.instant) {
                        shared.notices.give(Notice::Warning(reason));
                    }
                    self.timers.add(self.desk.now.instant + ACCEPT_PAUSE, TimerKey::Accept);
                    return;
                }
            }
        }
        // The poller tells of clients only once: those beyond the budget are asked for again.
        self.accept_again = true;
    }

    /// Gives a client to the loop that has the fewest.
    fn hand_out(&mut self, accepted: Accepted) {
        let number = least_loaded(&self.loads);
        // Raised here, so that the next of this turn sees it.
        if let Some(load) = self.loads.get(number) {
            load.clients.fetch_add(1, Ordering::Relaxed);
        }
        let peers = self.listener.as_ref().map(|listener| &listener.peers);
        let peer_loop = peers.and_then(|it| it.get(number)).filter(|_| number != self.number);
        match peer_loop {
            None => self.adopt(accepted),
            Some((inbox, waker)) => {
                // A loop that has ended takes no more clients.
                let _ = inbox.send(Message::Accepted(accepted));
                let _ = waker.wake();
            }
        }
    }

    fn tell_of_turned_away(&mut self, peer: SocketAddr) {
        let shared = &self.desk.shared;
        shared.stats.turned_away.add(1);
        let Some(listener) = &mut self.listener else { return };
        if listener.told_of_turned_away.is_due(self.desk.now.instant) {
            shared.notices.give(Notice::Warning(format!(
                "{} has as many connections as the option connections_per_client allows: \
                 others from there are answered 503",
                peer.ip()
            )));
        }
    }

    /// Answers a client that has too many connections, and closes this one.
    pub(super) fn turn_away(&mut self, key: ConnKey) {
        let reason = "this client has as many connections as connections_per_client allows";
        let answered = self.step(key, |it, entry| {
            entry.conn.turn_away(reason, &mut it.desk.context());
            it.execute_commands(key, entry);
        });
        if let Some((entry, ())) = answered {
            self.conns.put_back(key, entry);
        }
    }

    /// Accepts again after a pause.
    pub(super) fn resume_accepting(&mut self) {
        if let Some(listener) = &mut self.listener {
            listener.paused = false;
            self.accept();
        }
    }
}
