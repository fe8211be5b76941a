//! Messages in, replies out, and the calls under way between them. Knows no socket: it names
//! clients by number and leaves effects for whoever has their connections.

use std::collections::HashMap;
use std::mem;

use serde_json::{Map, Value, json};

use crate::fault::Fault;
use crate::limits::{MCP_BODIES_BYTES, MCP_EVENT_BYTES, MCP_LISTENS, MCP_REPLY_BYTES};
use crate::mcp::dispatch::{self, Dispatcher, Outcome};
use crate::mcp::present::{Caching, finish, meta, object};
use crate::mcp::rpc::{
    self, BUSY, INVALID_REQUEST, Id, Incoming, METHOD_NOT_FOUND, Message, Rejected, Request,
    RpcError,
};
use crate::mcp::toolbox::Cancellation;
use crate::mcp::version::Version;
use crate::mcp::workers::{CallEvent, Work, Workers};

/// Names a client's connection.
pub(super) type Peer = u64;

/// How replies reach a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// As the answer to a POST: one JSON object, or an event stream once there is progress.
    Post(Peer),
    /// On a channel that carries everything: the stream of HTTP+SSE, or standard output.
    Channel(Peer),
}

/// Who sent a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// How replies reach it.
    pub(super) route: Route,
    /// The session, within which ids are unique; `None` where each request stands alone.
    pub(super) scope: Option<u64>,
    /// The version in force.
    pub(super) version: Version,
    /// Bytes that a reply without progress may take.
    pub(super) reply_bytes: usize,
    /// Bytes of the message.
    pub(super) message_bytes: usize,
}

/// What is to be done on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Answer a POST with this JSON; without any, with 202.
    Answer {
        /// Whose POST.
        peer: Peer,
        /// The status.
        status: u16,
        /// The body.
        json: Option<String>,
    },
    /// Send a message on a channel, or on the event stream that a POST is answered with, which
    /// this may begin.
    Message {
        /// To whom.
        peer: Peer,
        /// The message.
        json: String,
    },
    /// End the event stream that a POST is answered with.
    End {
        /// Whose.
        peer: Peer,
    },
}

/// What a client's messages on a channel or in a session came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// The version that `initialize` agreed on.
    pub(super) agreed: Option<Version>,
}

/// A request that has no reply yet.
#[derive(Debug)]
struct Call {
    id: Id,
    scope: Option<u64>,
    reply: ReplyTo,
    version: Version,
    /// About what its arguments take.
    bytes: usize,
    cancellation: Cancellation,
    /// The token and how far the call has come, if its client wants to know.
    progress: Option<(Value, f64)>,
    listens: bool,
}

/// Where a request's reply goes.
#[derive(Clone, Copy, Debug)]
struct ReplyTo {
    route: Route,
    /// The batch that it is gathered in.
    batch: Option<u64>,
    /// Whether the POST's event stream has begun.
    streams: bool,
}

/// Replies to a batch until all are there.
#[derive(Debug)]
struct Batch {
    route: Route,
    missing: usize,
    replies: Vec<String>,
    bytes: usize,
    /// Bytes that may be sent at once.
    limit: usize,
}

/// The engine.
#[derive(Debug)]
pub(super) struct Engine {
    dispatcher: Dispatcher,
    workers: Workers,
    calls: HashMap<u64, Call>,
    batches: HashMap<u64, Batch>,
    next_key: u64,
    effects: Vec<Effect>,
}

impl Engine {
    /// An engine without calls.
    pub(super) fn new(dispatcher: Dispatcher, workers: Workers) -> Self {
        Engine {
            dispatcher,
            workers,
            calls: HashMap::new(),
            batches: HashMap::new(),
            next_key: 1,
            effects: Vec::new(),
        }
    }

    /// What is to be done since the last time.
    pub(super) fn effects(&mut self) -> Vec<Effect> {
        mem::take(&mut self.effects)
    }

    /// Adds something that is to be done.
    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Tells the user of a fault in serving a client.
    pub(super) fn tell_fault(&self, what: &str, fault: Fault) {
        self.dispatcher.tell_fault(what, fault);
    }

    /// Whether a session has calls under way.
    pub(super) fn is_busy(&self, scope: u64) -> bool {
        self.calls.values().any(|call| call.scope == Some(scope))
    }

    /// Whether a call is under way whose reply will come.
    pub(super) fn has_calls(&self) -> bool {
        self.calls.values().any(|call| !call.listens)
    }

    /// Takes messages of a session or a channel.
    pub(super) fn take(&mut self, incoming: Incoming, caller: &Caller) -> Taken {
        let batch = match incoming {
            Incoming::One(read) => return self.take_one(read, caller, None),
            Incoming::Batch(batch) => batch,
        };
        if !caller.version.has_batches() {
            let reason = "batches belong to version 2025-03-26 alone; send one message at a time";
            let refused = RpcError::new(INVALID_REQUEST, reason);
            self.reply(reply_to(caller), rpc::error(None, &refused), 200);
            return Taken::default();
        }
        let wants_reply =
            |read: &rpc::Read| matches!(read, Ok(Message::Request(_)) | Err(Rejected { .. }));
        let missing = batch.iter().filter(|read| wants_reply(read)).count();
        let key = self.new_key();
        // One more than there are, until all were taken: replies may come at once.
        let gathered = Batch {
            route: caller.route,
            missing: missing + 1,
            replies: Vec::new(),
            bytes: 0,
            limit: caller.reply_bytes,
        };
        self.batches.insert(key, gathered);
        let message_bytes = caller.message_bytes / batch.len().max(1);
        let caller = &Caller { message_bytes, ..*caller };
        for read in batch {
            self.take_one(read, caller, Some(key));
        }
        self.gather(key, None);
        Taken::default()
    }

    fn take_one(&mut self, read: rpc::Read, caller: &Caller, batch: Option<u64>) -> Taken {
        let to = ReplyTo { batch, ..reply_to(caller) };
        match read {
            Ok(Message::Request(request)) => return self.request(request, caller, to),
            Ok(Message::Notification { method, params }) => {
                if method == "notifications/cancelled"
                    && let (Some(scope), Some(id)) = (caller.scope, cancelled_id(&params))
                {
                    self.cancel(scope, &id);
                }
            }
            Ok(Message::Response) => {}
            Err(Rejected { id, error }) => {
                self.reply(to, rpc::error(id.as_ref(), &error), 200);
                return Taken::default();
            }
        }
        if batch.is_none() {
            self.acknowledge(caller.route);
        }
        Taken::default()
    }

    fn request(&mut self, request: Request, caller: &Caller, to: ReplyTo) -> Taken {
        if request.method == "initialize" {
            return self.initialize(&request, to);
        }
        let is_channel = matches!(caller.route, Route::Channel(_));
        if is_channel && dispatch::is_stateless(&request.params) {
            self.stateless_on_channel(request, caller, to);
            return Taken::default();
        }
        let outcome = self.dispatcher.with_session(caller.version, &request);
        self.proceed(outcome, request, caller, to);
        Taken::default()
    }

    fn initialize(&mut self, request: &Request, to: ReplyTo) -> Taken {
        if to.batch.is_some() {
            let refused = RpcError::new(INVALID_REQUEST, "initialize cannot be part of a batch");
            self.reply(to, rpc::error(Some(&request.id), &refused), 200);
            return Taken::default();
        }
        let (version, result) = self.dispatcher.initialize(&request.params);
        self.reply(to, rpc::result(&request.id, &result), 200);
        Taken { agreed: Some(version) }
    }

    fn stateless_on_channel(&mut self, request: Request, caller: &Caller, to: ReplyTo) {
        let checked = dispatch::declared_version(&request.params);
        let outcome = checked
            .and_then(dispatch::check_version)
            .and_then(|()| self.dispatcher.stateless(&request));
        let caller = Caller { version: Version::V2026_07_28, ..*caller };
        self.proceed(outcome, request, &caller, to);
    }

    /// Takes a request that stands alone, whose `_meta` and headers were found right.
    pub(super) fn stateless(&mut self, request: Request, peer: Peer, message_bytes: usize) {
        let caller = Caller {
            route: Route::Post(peer),
            scope: None,
            version: Version::V2026_07_28,
            reply_bytes: MCP_REPLY_BYTES,
            message_bytes,
        };
        let outcome = self.dispatcher.stateless(&request);
        self.proceed(outcome, request, &caller, reply_to(&caller));
    }

    fn proceed(
        &mut self,
        outcome: Result<Outcome, RpcError>,
        request: Request,
        caller: &Caller,
        to: ReplyTo,
    ) {
        let in_use =
            |call: &Call| caller.scope.is_some() && is_named(call, caller.scope, &request.id);
        if self.calls.values().any(in_use) {
            let reason = "a request with this id is under way";
            self.refuse(&request.id, caller, to, &RpcError::new(INVALID_REQUEST, reason));
            return;
        }
        match outcome {
            Ok(Outcome::Result(result)) => self.reply(to, rpc::result(&request.id, &result), 200),
            Ok(Outcome::Work(job)) => self.start(job, request, caller, to),
            Ok(Outcome::Listen(honoured)) => self.listen(&honoured, request.id, caller, to),
            Err(error) => self.refuse(&request.id, caller, to, &error),
        }
    }

    fn refuse(&mut self, id: &Id, caller: &Caller, to: ReplyTo, error: &RpcError) {
        self.reply(to, rpc::error(Some(id), error), status(error, caller.version));
    }

    fn start(&mut self, job: dispatch::Job, request: Request, caller: &Caller, to: ReplyTo) {
        let gathered_for_post = to.batch.is_some() && matches!(to.route, Route::Post(_));
        let token = dispatch::progress_token(&request.params).filter(|_| !gathered_for_post);
        let limit = match token {
            Some(_) => caller.reply_bytes.min(MCP_EVENT_BYTES),
            None => caller.reply_bytes,
        };
        let key = self.new_key();
        let cancellation = Cancellation::default();
        let work = Work {
            key,
            job,
            version: caller.version,
            limit,
            cancellation: cancellation.clone(),
            tells_progress: token.is_some(),
        };
        let held: usize = self.calls.values().map(|call| call.bytes).sum();
        let has_room = held + caller.message_bytes <= MCP_BODIES_BYTES;
        if !has_room || self.workers.submit(work).is_err() {
            let reason = "too many calls are under way: wait for one to end";
            self.refuse(&request.id, caller, to, &RpcError::new(BUSY, reason));
            return;
        }
        let call = Call {
            id: request.id,
            scope: caller.scope,
            reply: to,
            version: caller.version,
            bytes: caller.message_bytes,
            cancellation,
            progress: token.map(|token| (token, f64::NEG_INFINITY)),
            listens: false,
        };
        self.calls.insert(key, call);
    }

    fn listen(&mut self, honoured: &Value, id: Id, caller: &Caller, to: ReplyTo) {
        let own = |call: &&Call| call.listens && call.reply.route == to.route;
        if self.calls.values().filter(own).count() >= MCP_LISTENS {
            let reason = format!("at most {MCP_LISTENS} streams can be listened on at a time");
            self.refuse(&id, caller, to, &RpcError::new(BUSY, reason));
            return;
        }
        let mut params = object("notifications", honoured.clone());
        params.insert("_meta".to_owned(), subscription(&id).into());
        let method = "notifications/subscriptions/acknowledged";
        let (Route::Post(peer) | Route::Channel(peer)) = to.route;
        self.effects
            .push(Effect::Message { peer, json: rpc::notification(method, &params.into()) });
        let call = Call {
            id,
            scope: caller.scope,
            reply: ReplyTo { streams: true, ..to },
            version: caller.version,
            bytes: 0,
            cancellation: Cancellation::default(),
            progress: None,
            listens: true,
        };
        let key = self.new_key();
        self.calls.insert(key, call);
    }

    /// Takes what a thread tells of a call. Nothing comes of calls that were given up.
    pub(super) fn call_event(&mut self, event: CallEvent) {
        match event {
            CallEvent::Progress { key, done, total, message } => {
                self.progress(key, done, total, message);
            }
            CallEvent::Done { key, result } => {
                let Some(call) = self.calls.remove(&key) else { return };
                match result {
                    Ok(result) => self.reply(call.reply, rpc::result(&call.id, &result), 200),
                    Err(error) => {
                        let status = status(&error, call.version);
                        self.reply(call.reply, rpc::error(Some(&call.id), &error), status);
                    }
                }
            }
        }
    }

    fn progress(&mut self, key: u64, done: f64, total: Option<f64>, message: String) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let Some((token, last)) = &mut call.progress else { return };
        if !done.is_finite() || done <= *last {
            return;
        }
        *last = done;
        let mut params = object("progressToken", token.clone());
        params.insert("progress".to_owned(), json!(done));
        if let Some(total) = total.filter(|total| total.is_finite()) {
            params.insert("total".to_owned(), json!(total));
        }
        if call.version.has_annotations() && !message.is_empty() {
            params.insert("message".to_owned(), message.into());
        }
        call.reply.streams = true;
        let (Route::Post(peer) | Route::Channel(peer)) = call.reply.route;
        let json = rpc::notification("notifications/progress", &params.into());
        self.effects.push(Effect::Message { peer, json });
    }

    /// Gives up a request: its work is told, and no reply comes.
    fn cancel(&mut self, scope: u64, id: &Id) {
        let mut calls = self.calls.iter();
        let found = calls.find(|(_, call)| is_named(call, Some(scope), id)).map(|(key, _)| *key);
        if let Some(key) = found {
            self.give_up(key);
        }
    }

    /// Gives up all requests of a session.
    pub(super) fn end_scope(&mut self, scope: u64) {
        let of_scope = self.calls.iter().filter(|(_, call)| call.scope == Some(scope));
        let keys: Vec<u64> = of_scope.map(|(key, _)| *key).collect();
        for key in keys {
            self.give_up(key);
        }
    }

    fn give_up(&mut self, key: u64) {
        let Some(call) = self.calls.remove(&key) else { return };
        call.cancellation.cancel();
        match (call.reply.batch, call.reply.route) {
            (Some(batch), _) => self.gather(batch, None),
            (None, Route::Post(peer)) if call.reply.streams => {
                self.effects.push(Effect::End { peer });
            }
            (None, route) => self.acknowledge(route),
        }
    }

    /// A connection has gone: what it waited for is given up, and nothing is sent.
    pub(super) fn peer_gone(&mut self, gone: Peer) {
        let is_gone = |route: Route| {
            let (Route::Post(peer) | Route::Channel(peer)) = route;
            peer == gone
        };
        self.calls.retain(|_, call| {
            let is_gone = is_gone(call.reply.route);
            if is_gone {
                call.cancellation.cancel();
            }
            !is_gone
        });
        self.batches.retain(|_, batch| !is_gone(batch.route));
    }

    /// Whether the end of this connection's input gives its request up: a request of an older
    /// version is only given up by its client's word.
    pub(super) fn ends_with_input(&self, peer: Peer) -> bool {
        let waits = |call: &Call| call.reply.route == Route::Post(peer);
        let mut waiting = self.calls.values().filter(|call| waits(call)).peekable();
        waiting.peek().is_none()
            || waiting.any(|call| call.version.is_stateless() || call.reply.streams)
    }

    /// Ends everything: work is told, and streams of changes end in order.
    pub(super) fn stop(&mut self) {
        for (_, call) in mem::take(&mut self.calls) {
            call.cancellation.cancel();
            if call.listens {
                let result = object("_meta", subscription(&call.id).into());
                let result = finish(result, call.version, Caching::Silent);
                self.reply(call.reply, rpc::result(&call.id, &result), 200);
            }
        }
        self.batches.clear();
    }

    fn reply(&mut self, to: ReplyTo, json: String, status: u16) {
        match (to.batch, to.route) {
            (Some(batch), _) => self.gather(batch, Some(json)),
            (None, Route::Channel(peer)) => self.effects.push(Effect::Message { peer, json }),
            (None, Route::Post(peer)) if to.streams => {
                self.effects.push(Effect::Message { peer, json });
                self.effects.push(Effect::End { peer });
            }
            (None, Route::Post(peer)) => {
                self.effects.push(Effect::Answer { peer, status, json: Some(json) });
            }
        }
    }

    /// Adds a reply to a batch, or a request that will have none, and sends what is complete.
    fn gather(&mut self, key: u64, reply: Option<String>) {
        let Some(batch) = self.batches.get_mut(&key) else { return };
        batch.missing = batch.missing.saturating_sub(1);
        if let Some(mut reply) = reply {
            if batch.bytes + reply.len() > batch.limit && !batch.replies.is_empty() {
                if let Route::Channel(peer) = batch.route {
                    // A channel carries the replies in parts.
                    let json = rpc::batch(&mem::take(&mut batch.replies));
                    self.effects.push(Effect::Message { peer, json });
                    batch.bytes = 0;
                } else {
                    let reason = "the batch's replies are too large together: send fewer at a time";
                    reply = rpc::error(None, &RpcError::new(BUSY, reason));
                }
            }
            // With its comma.
            batch.bytes += reply.len() + 1;
            batch.replies.push(reply);
        }
        if batch.missing > 0 {
            return;
        }
        let Some(batch) = self.batches.remove(&key) else { return };
        match batch.route {
            // None was wanted, or what wanted them was cancelled.
            route if batch.replies.is_empty() => self.acknowledge(route),
            Route::Channel(peer) => {
                self.effects.push(Effect::Message { peer, json: rpc::batch(&batch.replies) });
            }
            Route::Post(peer) => {
                let json = Some(rpc::batch(&batch.replies));
                self.effects.push(Effect::Answer { peer, status: 200, json });
            }
        }
    }

    /// Answers what needs no reply.
    fn acknowledge(&mut self, route: Route) {
        if let Route::Post(peer) = route {
            self.effects.push(Effect::Answer { peer, status: 202, json: None });
        }
    }

    fn new_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }
}

fn reply_to(caller: &Caller) -> ReplyTo {
    ReplyTo { route: caller.route, batch: None, streams: false }
}

fn is_named(call: &Call, scope: Option<u64>, id: &Id) -> bool {
    call.scope == scope && call.id == *id
}

fn cancelled_id(params: &Map<String, Value>) -> Option<Id> {
    params.get("requestId").and_then(Id::from_value)
}

/// The status of an error: in the older versions it rides on 200, since clients give the whole
/// session up at any other.
fn status(error: &RpcError, version: Version) -> u16 {
    match error.code {
        _ if !version.is_stateless() => 200,
        METHOD_NOT_FOUND => 404,
        code => stateless_status(code),
    }
}

/// The status of an error of the stateless version.
pub(super) fn stateless_status(code: i32) -> u16 {
    match code {
        METHOD_NOT_FOUND => 404,
        rpc::INTERNAL_ERROR | BUSY => 200,
        _ => 400,
    }
}

/// Marks a message of a stream of changes.
fn subscription(id: &Id) -> Map<String, Value> {
    // An integer beyond 64 bits has no exact value here; nobody counts so far.
    let id = serde_json::from_str(&id.to_json()).unwrap_or(Value::Null);
    object(&meta("subscriptionId"), id)
}
