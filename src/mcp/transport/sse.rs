//! HTTP+SSE of 2024-11-05: one stream for everything that the server says, and POSTs beside it.

use std::time::Instant;

use super::{Front, Served, invalid, refuse};
use crate::limits::MCP_EVENT_BYTES;
use crate::mcp::engine::{Caller, Peer, Route};
use crate::mcp::http::{Answer, HttpRequest};
use crate::mcp::rpc::{self, Incoming};
use crate::mcp::session::{Kind, Session};
use crate::mcp::version::Version;

impl Front {
    /// Opens a session, whose stream first tells where its messages go. A reference without a
    /// host: the client may know this machine by another name.
    pub(super) fn open_sse(&mut self, peer: Peer, now: Instant) -> Served {
        let engine = &self.engine;
        let is_busy = |session: &Session| engine.is_busy(session.scope);
        let version = Version::V2024_11_05;
        match self.sessions.open(Kind::Sse, version, Some(peer), now, is_busy) {
            Some((id, _)) => {
                Served::Stream(Some(("endpoint", format!("/messages?session_id={id}"))))
            }
            None => Served::Answer(Answer::text(503, "too many sessions: end one first")),
        }
    }

    /// Takes a message to a session, whose reply goes on the session's stream.
    pub(super) fn post_sse(&mut self, request: &HttpRequest, now: Instant) -> Served {
        let Some(id) = session_id(&request.query) else {
            return Served::Answer(Answer::text(400, "session_id is missing in the query"));
        };
        let session = self.sessions.find(Kind::Sse, id, now);
        let Some((session, peer)) = session.and_then(|it| it.stream.map(|peer| (it, peer))) else {
            return Served::Answer(Answer::text(404, "there is no such session: GET /sse first"));
        };
        let incoming = match rpc::read(&request.body) {
            Ok(Incoming::Batch(_)) if !session.version.has_batches() => {
                return invalid(400, None, "send one message at a time");
            }
            Ok(Incoming::One(Err(rejected))) if rejected.id.is_none() => {
                return refuse(400, None, &rejected.error);
            }
            Ok(incoming) => incoming,
            Err(error) => return refuse(400, None, &error),
        };
        let caller = Caller {
            route: Route::Channel(peer),
            scope: Some(session.scope),
            version: session.version,
            reply_bytes: MCP_EVENT_BYTES,
            message_bytes: request.body.len(),
        };
        if let Some(version) = self.engine.take(incoming, &caller).agreed {
            session.version = version;
        }
        Served::Answer(Answer::empty(202))
    }
}

fn session_id(query: &str) -> Option<&str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == "session_id").map(|(_, id)| id)
}
