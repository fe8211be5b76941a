//! What tools ask of the loops: to decide about flows that are held, and to send requests.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Sender, bounded};
use mio::Waker;

use crate::fault;
use crate::flow::control::{ControlError, FlowControl, NewRequest, Verdict};
use crate::flow::record::FlowId;
use crate::limits::ANNOUNCED_AFTER;
use crate::net::event_loop::{ConnKey, EventLoop, Message, TimerKey};
use crate::net::service::ConnEntry;
use crate::proxy::conn::Conn;
use crate::proxy::context::{Now, Shared};
use crate::proxy::replay::Replay;

/// How long the loops may take to say whether a flow was theirs to decide about. They answer in
/// their next turn.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// A decision about a flow, for the loop that holds it.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) flow: FlowId,
    pub(super) verdict: Verdict,
    /// Told what came of it.
    pub(super) reply: Sender<Result<(), ControlError>>,
}

/// The loops of a running proxy, as tools reach them.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
    loops: Vec<(Sender<Message>, Arc<Waker>)>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Control {
    /// The way to these loops.
    pub(super) fn new(shared: Arc<Shared>, loops: Vec<(Sender<Message>, Arc<Waker>)>) -> Self {
        Control { shared, loops }
    }

    /// Tells the loop in which a tool's flow is; whether it is there to hear it.
    fn tell_loop_of(&self, flow: FlowId, message: Message) -> bool {
        // One after the other, so that no loop has all of them.
        let turn = usize::try_from(flow.0).unwrap_or_default() % self.loops.len().max(1);
        let told = |(inbox, waker): &(Sender<Message>, Arc<Waker>)| {
            inbox.send(message).is_ok() && waker.wake().is_ok()
        };
        self.loops.get(turn).is_some_and(told)
    }

    /// An id that no other flow has.
    pub fn new_flow_id(&self) -> FlowId {
        self.shared.new_flow_id()
    }
}

impl FlowControl for Control {
    fn decide(&self, flow: FlowId, verdict: Verdict) -> Result<(), ControlError> {
        let (reply, answers) = bounded(self.loops.len());
        let decision = Decision { flow, verdict, reply };
        for (inbox, waker) in &self.loops {
            // A loop that has ended holds nothing.
            let _ = inbox.send(Message::Decide(Box::new(decision.clone())));
            let _ = waker.wake();
        }
        drop(decision);
        let deadline = Instant::now() + ANSWER_WAIT;
        // Only one loop can hold the flow; the channel closes when all have answered.
        while let Ok(answer) = answers.recv_deadline(deadline) {
            if answer != Err(ControlError::NotHeld) {
                return answer;
            }
        }
        Err(ControlError::NotHeld)
    }

    fn send(&self, request: NewRequest) -> Result<FlowId, ControlError> {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch_us = u64::try_from(epoch.as_micros()).unwrap_or(u64::MAX);
        let now = Now { instant: Instant::now(), epoch_us };
        let id = self.shared.new_flow_id();
        let options = self.shared.options.current();
        let replay = Replay::new(id, request, &options, self.shared.records, now)
            .map_err(ControlError::Refused)?;
        match self.tell_loop_of(id, Message::Replay(Box::new(replay))) {
            true => Ok(id),
            false => Err(ControlError::Refused("the proxy is being stopped".to_owned())),
        }
    }

    fn abandon(&self, flow: FlowId) {
        // With a loop that has ended its flows have too.
        self.tell_loop_of(flow, Message::Abandon(flow));
    }
}

impl EventLoop {
    /// A tool has decided about a flow, which may be another loop's.
    pub(super) fn decide(&mut self, decision: Decision) {
        let Decision { flow, verdict, reply } = decision;
        let decided = self.held.get(&flow).copied().and_then(|key| {
            let decide = |it: &mut Self, entry: &mut ConnEntry| {
                let answer = entry.conn.decide(flow, verdict, false, &mut it.desk.context());
                it.execute_commands(key, entry);
                answer
            };
            self.step(key, decide).map(|(entry, answer)| (key, entry, answer))
        });
        let answer = match decided {
            None => Err(ControlError::NotHeld),
            Some((key, entry, answer)) => {
                self.conns.put_back(key, entry);
                self.enqueue(key);
                answer
            }
        };
        // Whoever asked may have given up.
        let _ = reply.send(answer);
    }

    /// Begins what a tool has sent: a connection without a client.
    pub(super) fn begin_replay(&mut self, replay: Replay) {
        let conn = match fault::catch(|| Conn::replay(replay, &mut self.desk.context())) {
            Ok(conn) => conn,
            Err(fault) => {
                self.desk.mend();
                self.desk.shared.notices.fault("beginning a request of a tool", fault);
                return;
            }
        };
        let mut entry = Box::new(ConnEntry::with(conn, None));
        self.desk.shared.stats.connections.add(1);
        self.raise_load();
        if self.stopping {
            entry.conn.kill("the proxy was stopped", &mut self.desk.context());
        }
        let key = self.conns.insert(entry);
        if let Some((entry, ())) = self.step(key, |it, entry| it.execute_commands(key, entry)) {
            self.conns.put_back(key, entry);
        }
        self.keep_sweeping();
        self.enqueue(key);
    }

    /// A tool does not want any more what it has sent.
    pub(super) fn abandon(&mut self, flow: FlowId) {
        let keys = self.conns.keys();
        let mut of_flow = |key: &ConnKey| {
            self.conns.get_mut(*key).is_some_and(|entry| entry.conn.is_replay_of(flow))
        };
        let Some(key) = keys.into_iter().find(|key| of_flow(key)) else { return };
        let ended = self.step(key, |it, entry| {
            entry.conn.kill("the call that sent it was cancelled", &mut it.desk.context());
            it.execute_commands(key, entry);
        });
        if let Some((entry, ())) = ended {
            self.conns.put_back(key, entry);
            self.enqueue(key);
        }
    }

    /// Looks later whether what this connection has under way is to be told of: exchanges that end
    /// soon are not.
    pub(super) fn announce_later(&mut self, key: ConnKey) {
        let at = self.desk.now.instant + ANNOUNCED_AFTER;
        if self.announcements.is_empty() {
            self.timers.add(at, TimerKey::Announce);
        }
        self.announcements.push_back((at, key));
    }

    /// Tells of the flows that have not ended soon.
    pub(super) fn announce(&mut self) {
        let now = self.desk.now.instant;
        while let Some((_, key)) = self.announcements.pop_front_if(|(at, _)| *at <= now) {
            let Some(entry) = self.conns.get_mut(key) else { continue };
            match entry.conn.unannounced_since() {
                // Another than the one for which it was listed; it has its time too.
                Some(since) if since + ANNOUNCED_AFTER > now => {
                    self.announcements.push_back((now + ANNOUNCED_AFTER, key));
                    continue;
                }
                Some(_) => {
                    let announced =
                        self.step(key, |it, entry| entry.conn.announce(&mut it.desk.context()));
                    if let Some((mut entry, ())) = announced {
                        entry.listed = false;
                        self.conns.put_back(key, entry);
                    }
                }
                None => entry.listed = false,
            }
        }
        if !self.announcements.is_empty() {
            // Not at the very next one's time: a busy loop would be woken for each.
            self.timers.add(now + ANNOUNCED_AFTER, TimerKey::Announce);
        }
    }
}
