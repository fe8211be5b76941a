//! Accepting clients, and handing them to the loop that has the fewest.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Sender;
use mio::net::TcpListener;
use mio::{Interest, Poll, Waker};

use crate::limits::{ACCEPT_PAUSE, TURN_ACCEPTS};
use crate::net::event_loop::{EventLoop, LISTENER, Loads, Message, TimerKey};
use crate::notice::Notice;

/// The other loops, as the accepting one sees them.
pub(super) type Peers = Vec<(Sender<Message>, Arc<Waker>)>;

/// The listening socket; one loop has it.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    peers: Peers,
    sockets_max: usize,
    paused: bool,
    said: bool,
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
        Ok(Listener { socket, peers, sockets_max, paused: false, said: false })
    }

    fn accept(&mut self, sockets: usize) -> Accepted {
        if sockets >= self.sockets_max {
            return Accepted::Exhausted(format!(
                "{sockets} sockets are open, as many as the limit of open files allows; new \
                 connections wait (raise it with ulimit -n)"
            ));
        }
        match self.socket.accept() {
            Ok((stream, peer)) => Accepted::Client(stream, peer),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Accepted::Nothing,
            Err(error) if is_exhaustion(&error) => Accepted::Exhausted(format!(
                "no descriptor is left for new connections, they wait: {error}"
            )),
            // The client has gone before it was accepted.
            Err(_) => Accepted::Skip,
        }
    }
}

enum Accepted {
    Client(mio::net::TcpStream, SocketAddr),
    Nothing,
    Skip,
    Exhausted(String),
}

fn is_exhaustion(error: &io::Error) -> bool {
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
            let sockets = self.loads.iter().map(|load| load.sockets.load(Ordering::Relaxed)).sum();
            let Some(listener) = &mut self.listener else { return };
            if listener.paused {
                return;
            }
            match listener.accept(sockets) {
                Accepted::Nothing => return,
                Accepted::Skip => {}
                Accepted::Client(stream, peer) => {
                    let number = least_loaded(&self.loads);
                    // Raised here, so that the next of this turn sees it.
                    if let Some(load) = self.loads.get(number) {
                        load.clients.fetch_add(1, Ordering::Relaxed);
                    }
                    let peer_loop = listener.peers.get(number).filter(|_| number != self.number);
                    match peer_loop {
                        None => self.adopt(stream, peer),
                        Some((inbox, waker)) => {
                            // A loop that has ended takes no more clients.
                            let _ = inbox.send(Message::Accepted(stream, peer));
                            let _ = waker.wake();
                        }
                    }
                }
                Accepted::Exhausted(reason) => {
                    listener.paused = true;
                    if !std::mem::replace(&mut listener.said, true) {
                        self.desk.shared.notices.give(Notice::Warning(reason));
                    }
                    self.timers.add(self.desk.now.instant + ACCEPT_PAUSE, TimerKey::Accept);
                    return;
                }
            }
        }
        // The poller tells of clients only once: those beyond the budget are asked for again.
        self.accept_again = true;
    }

    /// Accepts again after a pause.
    pub(super) fn resume_accepting(&mut self) {
        if let Some(listener) = &mut self.listener {
            listener.paused = false;
            self.accept();
        }
    }
}
