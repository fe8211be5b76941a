//! Streamable HTTP with sessions, versions 2024-11-05 to 2025-11-25.

use std::time::Instant;

use super::{Front, Served, VERSION_FIELD, id_of, invalid, not_allowed, refuse};
use crate::limits::MCP_REPLY_BYTES;
use crate::mcp::engine::{Caller, Effect, Peer, Route};
use crate::mcp::http::{Answer, HttpRequest};
use crate::mcp::rpc::{Incoming, Message};
use crate::mcp::session::{Kind, Session};
use crate::mcp::version::Version;

/// Names a session, in requests and in the answer to `initialize`.
const SESSION_FIELD: &str = "mcp-session-id";

impl Front {
    /// Takes a message in a session; `initialize` opens one.
    pub(super) fn post_streamable(
        &mut self,
        peer: Peer,
        request: &HttpRequest,
        incoming: Incoming,
        now: Instant,
    ) -> Served {
        let id = id_of(&incoming);
        if request.only(VERSION_FIELD).is_err() {
            return invalid(400, id, "MCP-Protocol-Version must be given once");
        }
        if let Incoming::One(Err(rejected)) = &incoming
            && rejected.id.is_none()
        {
            return refuse(400, None, &rejected.error);
        }
        if is_initialize(&incoming) {
            return self.initialize(peer, incoming, now);
        }
        let Ok(Some(session)) = request.only(SESSION_FIELD) else {
            return invalid(400, id, "Mcp-Session-Id is missing: send initialize first");
        };
        let Some(session) = self.sessions.find(Kind::Streamable, session, now) else {
            return invalid(404, id, "the session is unknown or has ended: send initialize again");
        };
        let caller = Caller {
            route: Route::Post(peer),
            scope: Some(session.scope),
            version: session.version,
            reply_bytes: MCP_REPLY_BYTES,
            message_bytes: request.body.len(),
        };
        if matches!(incoming, Incoming::Batch(_)) && !session.version.has_batches() {
            let reason = "batches belong to version 2025-03-26 alone; send one message at a time";
            return invalid(400, None, reason);
        }
        self.engine.take(incoming, &caller);
        Served::Wait(Vec::new())
    }

    fn initialize(&mut self, peer: Peer, incoming: Incoming, now: Instant) -> Served {
        let engine = &self.engine;
        let is_busy = |session: &Session| engine.is_busy(session.scope);
        let version = Version::NEWEST_WITH_SESSIONS;
        let opened = self.sessions.open(Kind::Streamable, version, None, now, is_busy);
        let Some((session_id, _)) = opened else {
            return invalid(503, id_of(&incoming), "too many sessions: end one first");
        };
        let caller = Caller {
            route: Route::Post(peer),
            scope: None,
            version,
            reply_bytes: MCP_REPLY_BYTES,
            message_bytes: 0,
        };
        let taken = self.engine.take(incoming, &caller);
        if let Some(version) = taken.agreed
            && let Some(session) = self.sessions.find(Kind::Streamable, &session_id, now)
        {
            session.version = version;
        }
        Served::Wait(vec![("Mcp-Session-Id", session_id)])
    }

    /// Opens the stream of a session. Nothing is ever sent on it, but clients wait there, and a
    /// session that has one goes on. Without a session there is none: clients take 405 for that,
    /// and 404 for something worse.
    pub(super) fn get_mcp(&mut self, peer: Peer, request: &HttpRequest, now: Instant) -> Served {
        if !speaks_older(request) {
            return Served::Answer(not_allowed("POST"));
        }
        let no_stream = || Served::Answer(not_allowed("POST, DELETE"));
        let Ok(Some(id)) = request.only(SESSION_FIELD) else { return no_stream() };
        let Some(session) = self.sessions.find(Kind::Streamable, id, now) else {
            return no_stream();
        };
        if let Some(peer) = session.stream.replace(peer) {
            self.engine.push(Effect::End { peer });
        }
        Served::Stream(None)
    }

    /// Ends a session, with what is under way in it.
    pub(super) fn delete_mcp(&mut self, request: &HttpRequest) -> Served {
        if !speaks_older(request) {
            return Served::Answer(not_allowed("POST"));
        }
        let Ok(Some(id)) = request.only(SESSION_FIELD) else {
            return invalid(400, None, "Mcp-Session-Id is missing");
        };
        let Some(session) = self.sessions.remove(Kind::Streamable, id) else {
            return invalid(404, None, "the session is unknown or has ended");
        };
        self.engine.end_scope(session.scope);
        if let Some(peer) = session.stream {
            self.engine.push(Effect::End { peer });
        }
        Served::Answer(Answer::empty(200))
    }
}

/// Whether a request names no version, or one with sessions.
fn speaks_older(request: &HttpRequest) -> bool {
    let version = request.only(VERSION_FIELD);
    version.is_ok_and(|name| name.is_none_or(|name| Version::with_sessions(name).is_some()))
}

fn is_initialize(incoming: &Incoming) -> bool {
    matches!(incoming, Incoming::One(Ok(Message::Request(it))) if it.method == "initialize")
}
