//! The sessions of the older versions.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::limits::MCP_SESSIONS;
use crate::mcp::engine::Peer;
use crate::mcp::version::Version;
use crate::random;

/// Random bytes in a session's id.
const ID_BYTES: usize = 24;

/// The transport of a session; its id is of use there alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// HTTP+SSE: the stream is the session.
    Sse,
    /// Streamable HTTP.
    Streamable,
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    /// Its number, for the engine.
    pub(super) scope: u64,
    /// Its transport.
    pub(super) kind: Kind,
    /// The version that was agreed on.
    pub(super) version: Version,
    /// The connection that has its stream.
    pub(super) stream: Option<Peer>,
    /// When it was used last.
    pub(super) used: Instant,
}

/// All sessions, by their ids.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: HashMap<String, Session>,
    last: u64,
}

impl Sessions {
    /// Opens a session and gives its id. When there are too many, the one that was unused longest
    /// makes room, if `is_busy` says of any that it is not; it is given too. `None` if none can.
    pub(super) fn open(
        &mut self,
        kind: Kind,
        version: Version,
        stream: Option<Peer>,
        now: Instant,
        is_busy: impl Fn(&Session) -> bool,
    ) -> Option<(String, Option<Session>)> {
        let id = random_id()?;
        let removed = if self.by_id.len() >= MCP_SESSIONS {
            let idle = self.by_id.iter().filter(|(_, it)| it.stream.is_none() && !is_busy(it));
            let oldest = idle.min_by_key(|(_, it)| it.used).map(|(id, _)| id.clone())?;
            self.by_id.remove(&oldest)
        } else {
            None
        };
        self.last += 1;
        let session = Session { scope: self.last, kind, version, stream, used: now };
        self.by_id.insert(id.clone(), session);
        Some((id, removed))
    }

    /// The session of this id, which is in use now.
    pub(super) fn find(&mut self, kind: Kind, id: &str, now: Instant) -> Option<&mut Session> {
        let session = self.by_id.get_mut(id).filter(|session| session.kind == kind)?;
        session.used = now;
        Some(session)
    }

    /// Ends a session.
    pub(super) fn remove(&mut self, kind: Kind, id: &str) -> Option<Session> {
        self.by_id.get(id).filter(|session| session.kind == kind)?;
        self.by_id.remove(id)
    }

    /// A stream has closed: a session of HTTP+SSE ends with it and is given.
    pub(super) fn stream_closed(&mut self, peer: Peer, now: Instant) -> Option<Session> {
        let mut all = self.by_id.iter_mut();
        let (id, session) = all.find(|(_, session)| session.stream == Some(peer))?;
        session.stream = None;
        session.used = now;
        let ends = session.kind == Kind::Sse;
        let id = id.clone();
        if ends { self.by_id.remove(&id) } else { None }
    }

    /// Ends the sessions that nobody has used for `idle`.
    pub(super) fn expire(
        &mut self,
        idle: Duration,
        now: Instant,
        is_busy: impl Fn(&Session) -> bool,
    ) -> usize {
        let before = self.by_id.len();
        self.by_id.retain(|_, session| {
            let unused = now.saturating_duration_since(session.used) >= idle;
            !unused || session.stream.is_some() || is_busy(session)
        });
        before - self.by_id.len()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

fn random_id() -> Option<String> {
    let mut bytes = [0; ID_BYTES];
    random::fill(&mut bytes).ok()?;
    let mut id = String::with_capacity(2 * ID_BYTES);
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(id, "{byte:02x}");
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: Version = Version::V2025_11_25;

    fn open(sessions: &mut Sessions, now: Instant) -> String {
        sessions.open(Kind::Streamable, VERSION, None, now, |_| false).unwrap().0
    }

    #[test]
    fn ids_are_long_visible_and_of_their_kind() {
        let mut sessions = Sessions::default();
        let now = Instant::now();
        let (first, second) = (open(&mut sessions, now), open(&mut sessions, now));
        assert_ne!(first, second);
        assert_eq!(first.len(), 48);
        assert!(first.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(sessions.find(Kind::Streamable, &first, now).is_some());
        assert!(sessions.find(Kind::Sse, &first, now).is_none());
        assert!(sessions.remove(Kind::Sse, &first).is_none());
        assert!(sessions.remove(Kind::Streamable, &first).is_some());
        assert!(sessions.find(Kind::Streamable, &first, now).is_none());
    }

    #[test]
    fn idle_sessions_end_unless_they_are_in_use() {
        let mut sessions = Sessions::default();
        let start = Instant::now();
        let idle = Duration::from_secs(1_800);
        let (quiet, streaming) = (open(&mut sessions, start), open(&mut sessions, start));
        sessions.find(Kind::Streamable, &streaming, start).unwrap().stream = Some(7);
        assert_eq!(sessions.expire(idle, start + idle - Duration::from_secs(1), |_| false), 0);
        assert_eq!(sessions.expire(idle, start + idle, |_| true), 0);
        assert_eq!(sessions.expire(idle, start + idle, |_| false), 1);
        assert!(sessions.find(Kind::Streamable, &quiet, start).is_none());
        let later = start + 2 * idle;
        assert!(sessions.stream_closed(7, later).is_none(), "the session goes on");
        assert_eq!(sessions.expire(idle, later, |_| false), 0);
        assert_eq!(sessions.expire(idle, later + idle, |_| false), 1);
        assert!(sessions.is_empty());
    }

    #[test]
    fn the_longest_unused_makes_room() {
        let mut sessions = Sessions::default();
        let start = Instant::now();
        let ids: Vec<_> = (0..MCP_SESSIONS)
            .map(|number| open(&mut sessions, start + Duration::from_secs(number as u64)))
            .collect();
        let now = start + Duration::from_secs(10_000);
        sessions.find(Kind::Streamable, &ids[0], now);
        let (_, removed) = sessions.open(Kind::Sse, VERSION, Some(1), now, |_| false).unwrap();
        assert_eq!(removed.unwrap().scope, 2);
        assert!(sessions.find(Kind::Streamable, &ids[0], now).is_some());
        assert!(sessions.find(Kind::Streamable, &ids[1], now).is_none());
        assert!(sessions.open(Kind::Sse, VERSION, Some(2), now, |_| true).is_none());
    }

    #[test]
    fn the_session_of_a_stream_ends_with_it() {
        let mut sessions = Sessions::default();
        let now = Instant::now();
        let (id, _) = sessions.open(Kind::Sse, VERSION, Some(3), now, |_| false).unwrap();
        assert!(sessions.stream_closed(4, now).is_none());
        assert!(sessions.stream_closed(3, now).is_some());
        assert!(sessions.find(Kind::Sse, &id, now).is_none());
    }
}
