//! A flow as its readers keep it: complete, or as far as it has come.
//!
//! A stored flow never changes. What happens to a flow makes another one that shares the bytes of
//! the one before, so whoever holds one reads it without a lock.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::flow::record::{
    Authority, Direction, FlowId, Intervention, Opcode, Scheme, Side, Timing, TlsFacts, Upstream,
};
use crate::flow::view::{BodyView, FlowView, MessageView};

/// How far a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowState {
    /// Its request is complete and its response is not.
    UnderWay,
    /// It is held before its request, or its response, goes on.
    Paused(Side),
    /// It has ended, well or badly.
    Ended,
}

/// A flow: one exchange, or one WebSocket connection with its handshake.
#[derive(Clone, Debug)]
pub struct StoredFlow {
    /// Names the flow.
    pub id: FlowId,
    /// How far it has come.
    pub state: FlowState,
    /// The scheme of the target URI.
    pub scheme: Scheme,
    /// The host and port that were asked for, if that was known.
    pub target: Option<Arc<Authority>>,
    /// The client's address; of a replay, the proxy's own.
    pub client: SocketAddr,
    /// The client connection's TLS, where it was intercepted.
    pub client_tls: Option<Arc<TlsFacts>>,
    /// The upstream connection, once there is one.
    pub upstream: Option<Upstream>,
    /// The request.
    pub request: StoredMessage,
    /// The response, as far as there is one.
    pub response: Option<StoredMessage>,
    /// When things happened; of a flow that has not ended only `began_us` is set.
    pub timing: Timing,
    /// Why it failed, in words for the user.
    pub error: Option<String>,
    /// What tools have done to it.
    pub intervention: Intervention,
    /// Since when a held flow waits for a decision, in microseconds since the Unix epoch.
    pub held_since_us: u64,
    /// Set on WebSocket connections.
    pub websocket: Option<Arc<StoredWebSocket>>,
}

/// One message of a flow.
#[derive(Clone, Debug, Default)]
pub struct StoredMessage {
    /// The head's bytes from the start line to the blank line, as they came.
    pub head: Bytes,
    /// The body.
    pub body: StoredBody,
    /// The trailer section's field lines, without the blank line; mostly empty.
    pub trailers: Bytes,
}

/// A body: transfer coding undone, content coding not.
#[derive(Clone, Debug, Default)]
pub struct StoredBody {
    /// What is kept of it, in order.
    pub pieces: Vec<Bytes>,
    /// Bytes the body had on the wire; more than what is kept where it was cut.
    pub size: u64,
    /// Whether there is more of it than `size` tells: it is held as far as it came, and nothing
    /// says how long it is.
    pub goes_on: bool,
}

impl StoredBody {
    /// A body that is kept whole.
    pub fn whole(bytes: Bytes) -> Self {
        let size = bytes.len() as u64;
        let pieces = if bytes.is_empty() { Vec::new() } else { vec![bytes] };
        StoredBody { pieces, size, goes_on: false }
    }

    /// Bytes that are kept.
    pub fn kept(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    /// Whether less is kept than there was.
    pub fn is_cut(&self) -> bool {
        self.goes_on || self.kept() < self.size
    }
}

/// The messages of a WebSocket connection.
#[derive(Clone, Debug, Default)]
pub struct StoredWebSocket {
    /// Those that are kept, in order; compression undone.
    pub messages: Vec<Arc<StoredWebSocketMessage>>,
    /// Messages before the first kept one, which are kept no more.
    pub left_out: u64,
}

/// A WebSocket message: fragments joined, unmasked, permessage-deflate undone.
#[derive(Clone, Debug)]
pub struct StoredWebSocketMessage {
    /// The direction.
    pub direction: Direction,
    /// The kind.
    pub opcode: Opcode,
    /// When its last byte was there, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// What is kept of the payload.
    pub payload: Bytes,
    /// Bytes the payload had; more than what is kept where it was cut.
    pub size: u64,
}

impl StoredWebSocketMessage {
    /// Whether something is kept of the payload, or it was empty.
    pub fn is_kept(&self) -> bool {
        self.size == 0 || !self.payload.is_empty()
    }
}

impl StoredMessage {
    fn view(&self) -> MessageView<'_> {
        let body = match &self.body {
            // Nothing is kept of it, which is not the same as an empty one.
            body if body.is_cut() && body.kept() == 0 => BodyView::NotKept,
            body => BodyView::Kept(&body.pieces),
        };
        MessageView { head: &self.head, body }
    }
}

impl StoredFlow {
    /// The flow as filters see it.
    pub fn view(&self) -> FlowView<'_> {
        FlowView {
            scheme: self.scheme,
            target: self.target.as_deref(),
            client: self.client,
            request: self.request.view(),
            response: self.response.as_ref().map(StoredMessage::view),
            error: self.error.as_deref(),
            websocket: self.websocket.is_some(),
            messages: self.websocket.as_ref().map(|it| it.messages.as_slice()).unwrap_or_default(),
            replayed: self.intervention.replayed,
            ..FlowView::new(self.scheme, self.client)
        }
    }
}
