//! What a filter can ask about a flow, whether it is under way in a loop or stored.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::flow::record::{Authority, Scheme};
use crate::flow::stored::StoredWebSocketMessage;

/// A flow as filters see it.
#[derive(Clone, Copy, Debug)]
pub struct FlowView<'a> {
    /// The scheme of the target URI.
    pub scheme: Scheme,
    /// The host and port that were asked for.
    pub target: Option<&'a Authority>,
    /// The client's address; all zeros where it is not known.
    pub client: SocketAddr,
    /// The request.
    pub request: MessageView<'a>,
    /// The response; `None` while there is none.
    pub response: Option<MessageView<'a>>,
    /// Why it failed.
    pub error: Option<&'a str>,
    /// Whether it is a WebSocket.
    pub websocket: bool,
    /// The messages of a WebSocket.
    pub messages: &'a [Arc<StoredWebSocketMessage>],
    /// Whether it was sent by a tool instead of a client.
    pub replayed: bool,
    /// The marker that was set on it; empty without one.
    pub marker: &'a str,
    /// The comment that was written on it.
    pub comment: &'a str,
    /// Metadata, as keys and values.
    pub metadata: &'a [(String, String)],
}

/// One message of a flow as filters see it.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    /// The head's bytes from the start line to the blank line; lenient readers take it apart.
    pub head: &'a [u8],
    /// The body.
    pub body: BodyView<'a>,
}

/// A body as filters see it: transfer coding undone, content coding not.
#[derive(Clone, Copy, Debug)]
pub enum BodyView<'a> {
    /// It, or as much of it as is kept, in pieces.
    Kept(&'a [Bytes]),
    /// The same with its content coding undone.
    Decoded(&'a [Bytes]),
    /// It is still to come: an answer that depends on it cannot be given yet.
    Awaited,
    /// It was not kept; it never matches.
    NotKept,
}

impl<'a> FlowView<'a> {
    /// A flow of which nothing else is known.
    pub fn new(scheme: Scheme, client: SocketAddr) -> Self {
        FlowView {
            scheme,
            target: None,
            client,
            request: MessageView { head: &[], body: BodyView::NotKept },
            response: None,
            error: None,
            websocket: false,
            messages: &[],
            replayed: false,
            marker: "",
            comment: "",
            metadata: &[],
        }
    }
}
