//! Faults of flowtap in a loop: a panic in one connection's turn ends that connection, and any
//! other the loop, with everything that was under way recorded.

use std::time::{Duration, Instant};

use mio::Events;

use crate::fault::{self, Fault};
use crate::limits::FAULT_FLUSH;
use crate::net::dial::Dialled;
use crate::net::event_loop::{ConnKey, DialKey, EventLoop, Owner, SocketKey};
use crate::net::service::ConnEntry;

impl EventLoop {
    /// Lets a connection take a step. It gives the connection back, lent; `None` when there is no
    /// such connection, or when a panic has ended it.
    pub(super) fn step<T>(
        &mut self,
        key: ConnKey,
        step: impl FnOnce(&mut Self, &mut ConnEntry) -> T,
    ) -> Option<(Box<ConnEntry>, T)> {
        let mut entry = self.conns.lend(key)?;
        match fault::catch(|| step(self, &mut entry)) {
            Ok(result) => Some((entry, result)),
            Err(fault) => {
                self.end_by_fault(key, entry, fault);
                None
            }
        }
    }

    /// Takes a step of a dial, for the connection that it is for.
    pub(super) fn step_dial(&mut self, key: DialKey, step: impl FnOnce(&mut Self) -> Dialled) {
        let conn = self.dial_conn(key);
        let fault = match fault::catch(|| step(self)) {
            Ok(dialled) => return self.deliver(conn, dialled),
            Err(fault) => fault,
        };
        match conn.and_then(|conn| Some((conn, self.conns.lend(conn)?))) {
            Some((conn, entry)) => self.end_by_fault(conn, entry, fault),
            None => {
                self.cancel_dial(key);
                self.drop_strays();
                self.desk.shared.notices.fault("connecting to a server", fault);
            }
        }
    }

    /// Looks at an idle connection of which the poller told something.
    pub(super) fn step_pooled(&mut self, key: SocketKey) {
        if let Err(fault) = fault::catch(|| self.pooled_ready(key)) {
            let facts = self.sockets.remove(key).and_then(|entry| entry.facts);
            if let Some(facts) = facts {
                self.pool.remove(&facts.key, key);
            }
            self.desk.shared.notices.fault("looking at an idle connection to a server", fault);
        }
    }

    /// Ends a connection in whose handling there was a panic: what it had under way is recorded,
    /// and everything that belongs to it is freed, in whatever state it is.
    fn end_by_fault(&mut self, key: ConnKey, mut entry: Box<ConnEntry>, fault: Fault) {
        self.desk.mend();
        let doing = fault::catch(|| entry.conn.doing()).unwrap_or_else(|_| "unknown".to_owned());
        let reason = fault.reason();
        self.desk.shared.notices.fault(doing, fault);
        let ended = fault::catch(|| {
            entry.conn.end_by_fault(&reason, &mut self.desk.context());
            self.execute_commands(key, &mut entry);
            self.say_last_words(&mut entry);
        });
        if ended.is_err() {
            // What it had under way cannot be told.
            self.desk.mend();
            self.desk.shared.stats.flows_lost.add(1);
        }
        if fault::catch(|| self.bury(key, *entry)).is_err() && self.conns.is_lent(key) {
            self.forget_conn(key);
        }
        self.held.retain(|_, holder| *holder != key);
        for dial in self.dials.keys() {
            if self.dial_conn(dial) == Some(key) {
                self.cancel_dial(dial);
            }
        }
        self.drop_strays();
    }

    /// Closes sockets that belong to nothing any more: a step that was not finished had them in
    /// its hands. No connection may be lent out.
    fn drop_strays(&mut self) {
        for key in self.sockets.keys() {
            let Some(entry) = self.sockets.get_mut(key) else { continue };
            let is_owned = match entry.owner {
                Owner::Client(conn) | Owner::Upstream(conn) => {
                    let conn = self.conns.get_mut(conn);
                    conn.is_some_and(|it| it.has_socket(key))
                }
                Owner::Dial(dial) => self.dials.get_mut(dial).is_some(),
                Owner::Pool => {
                    entry.facts.as_ref().is_some_and(|facts| self.pool.contains(&facts.key, key))
                }
            };
            if !is_owned {
                self.sockets.remove(key);
            }
        }
    }

    /// The loop cannot go on: ends all its connections, and sends what they had to the readers of
    /// flows, if these take it in time.
    pub(super) fn end_all_by_fault(&mut self, reason: &str) {
        self.desk.mend();
        self.stopping = true;
        self.listener = None;
        for key in self.conns.keys() {
            let ended = self.step(key, |it, entry| {
                entry.conn.end_by_fault(reason, &mut it.desk.context());
                it.execute_commands(key, entry);
                it.say_last_words(entry);
            });
            if let Some((entry, ())) = ended {
                self.bury(key, *entry);
            }
        }
        let end = Instant::now() + FAULT_FLUSH;
        let mut events = Events::with_capacity(1);
        loop {
            self.outlet.flush(&mut self.desk.outbox);
            let is_told = self.desk.outbox.is_empty() && !self.outlet.is_stalled();
            if is_told || Instant::now() >= end {
                return;
            }
            // A reader that has made room wakes the loop.
            let _ = self.poll.poll(&mut events, Some(Duration::from_millis(10)));
        }
    }
}

#[cfg(test)]
mod tests;
