//! The three ways in over HTTP: which request goes where, and which era it belongs to.

use std::time::Instant;

use crate::fault::Fault;
use crate::mcp::dispatch::Dispatcher;
use crate::mcp::engine::{Effect, Engine, Peer};
use crate::mcp::http::{Answer, HttpRequest};
use crate::mcp::rpc::{self, INVALID_REQUEST, Id, Incoming, Message, RpcError};
use crate::mcp::security::Gate;
use crate::mcp::server::Timing;
use crate::mcp::session::Sessions;
use crate::mcp::version::Version;
use crate::mcp::workers::{CallEvent, Workers};

mod sse;
mod stateless;
mod streamable;

/// Holds the version that a client speaks.
const VERSION_FIELD: &str = "mcp-protocol-version";

/// What is served under a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// Streamable HTTP, with and without sessions.
    Mcp,
    /// The stream of HTTP+SSE.
    Sse,
    /// Messages to a session of HTTP+SSE.
    Messages,
}

impl Route {
    fn of(path: &str) -> Option<Route> {
        match path {
            "/mcp" => Some(Route::Mcp),
            "/sse" => Some(Route::Sse),
            "/messages" => Some(Route::Messages),
            _ => None,
        }
    }

    fn methods(self) -> &'static str {
        match self {
            Route::Mcp => "GET, POST, DELETE",
            Route::Sse => "GET",
            Route::Messages => "POST",
        }
    }
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// It is answered.
    Answer(Answer),
    /// An effect of the engine answers it, with these fields.
    Wait(Vec<(&'static str, String)>),
    /// It is answered with an event stream, which begins with this event if there is one.
    Stream(Option<(&'static str, String)>),
}

/// The server without its sockets.
#[derive(Debug)]
pub(super) struct Front {
    gate: Gate,
    engine: Engine,
    sessions: Sessions,
}

impl Front {
    /// A server of these tools to those who know the token.
    pub(super) fn new(dispatcher: Dispatcher, workers: Workers, token: Option<String>) -> Self {
        Front {
            gate: Gate::new(token),
            engine: Engine::new(dispatcher, workers),
            sessions: Sessions::default(),
        }
    }

    /// Judges a request by its head.
    pub(super) fn judge(&self, request: &HttpRequest) -> Result<(), Answer> {
        self.gate.check_source(request)?;
        let nothing_here = || Answer::text(404, "MCP is served at /mcp and at /sse");
        // Whoever asks for a way to log in must learn that there is none, token or not.
        if request.path.starts_with("/.well-known/") {
            return Err(nothing_here());
        }
        self.gate.check_token(request)?;
        let route = Route::of(&request.path).ok_or_else(nothing_here)?;
        let methods = route.methods();
        if !methods.split(", ").any(|method| method == request.method) {
            return Err(not_allowed(methods));
        }
        if request.method == "POST" {
            check_content(request)?;
        }
        Ok(())
    }

    /// Serves a request that was judged.
    pub(super) fn serve(&mut self, peer: Peer, request: &HttpRequest, now: Instant) -> Served {
        match (Route::of(&request.path), request.method.as_str()) {
            (Some(Route::Sse), _) => self.open_sse(peer, now),
            (Some(Route::Messages), _) => self.post_sse(request, now),
            (Some(Route::Mcp), "POST") => self.post_mcp(peer, request, now),
            (Some(Route::Mcp), "GET") => self.get_mcp(peer, request, now),
            (Some(Route::Mcp), "DELETE") => self.delete_mcp(request),
            _ => Served::Answer(not_allowed("")),
        }
    }

    fn post_mcp(&mut self, peer: Peer, request: &HttpRequest, now: Instant) -> Served {
        let incoming = match rpc::read(&request.body) {
            Ok(incoming) => incoming,
            Err(error) => return refuse(400, None, &error),
        };
        let version = request.values(VERSION_FIELD).next();
        let is_older = |name: &[u8]| {
            std::str::from_utf8(name).is_ok_and(|name| Version::with_sessions(name).is_some())
        };
        if version.is_some_and(|name| !is_older(name)) || stateless::is_declared(&incoming) {
            self.post_stateless(peer, request, incoming)
        } else {
            self.post_streamable(peer, request, incoming, now)
        }
    }

    /// Takes what a thread tells of a call.
    pub(super) fn call_event(&mut self, event: CallEvent) {
        self.engine.call_event(event);
    }

    /// What is to be done on connections since the last time.
    pub(super) fn effects(&mut self) -> Vec<Effect> {
        self.engine.effects()
    }

    /// Whether what a connection waits for is given up when its input ends.
    pub(super) fn ends_with_input(&self, peer: Peer) -> bool {
        self.engine.ends_with_input(peer)
    }

    /// A connection has closed.
    pub(super) fn gone(&mut self, peer: Peer, now: Instant) {
        self.engine.peer_gone(peer);
        if let Some(session) = self.sessions.stream_closed(peer, now) {
            self.engine.end_scope(session.scope);
        }
    }

    /// Looks at the time.
    pub(super) fn tick(&mut self, timing: &Timing, now: Instant) {
        let engine = &self.engine;
        self.sessions.expire(timing.session_idle, now, |session| engine.is_busy(session.scope));
    }

    /// Whether there is anything that time can end.
    pub(super) fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// Tells the user of a fault in serving a client.
    pub(super) fn tell_fault(&self, what: &str, fault: Fault) {
        self.engine.tell_fault(what, fault);
    }

    /// Ends all calls.
    pub(super) fn stop(&mut self) {
        self.engine.stop();
    }
}

/// An error as a JSON-RPC message in an answer of another status than 200.
fn refuse(status: u16, id: Option<&Id>, error: &RpcError) -> Served {
    Served::Answer(Answer::json(status, rpc::error(id, error)))
}

fn invalid(status: u16, id: Option<&Id>, reason: &str) -> Served {
    refuse(status, id, &RpcError::new(INVALID_REQUEST, reason))
}

fn not_allowed(methods: &str) -> Answer {
    Answer::text(405, "this method is not served here").with("Allow", methods)
}

/// The id of a lone request.
fn id_of(incoming: &Incoming) -> Option<&Id> {
    match incoming {
        Incoming::One(Ok(Message::Request(request))) => Some(&request.id),
        Incoming::One(Err(rejected)) => rejected.id.as_ref(),
        _ => None,
    }
}

/// Refuses bodies that are not JSON as it is.
fn check_content(request: &HttpRequest) -> Result<(), Answer> {
    let essence = |value: &str| value.split(';').next().unwrap_or_default().trim().to_owned();
    let content_type = request.only("content-type").ok().flatten().map(essence);
    let coded = |value: &[u8]| !value.eq_ignore_ascii_case(b"identity");
    if request.values("content-encoding").any(coded) {
        return Err(Answer::text(415, "the body must not be compressed"));
    }
    if content_type.is_some_and(|it| it.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    Err(Answer::text(415, "the body must have Content-Type: application/json"))
}
