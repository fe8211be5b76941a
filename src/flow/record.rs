//! The record of one exchange and of one WebSocket connection, as the event loops tell it.
//!
//! Loops do as little as they can: heads travel as the bytes that came, and whoever reads a flow
//! takes them apart. Small bodies travel inside the flow. Larger ones go ahead of it as
//! [`BodyBlock`]s while they arrive, so that no body is ever held in memory as a whole.
//!
//! Order: all blocks of a flow come before the [`Exchange`] that ends it, from the same loop and
//! in the order of the body. The same holds for a WebSocket's events.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

/// Names one exchange or one WebSocket connection; never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

/// The scheme of the target URI, as the connection shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// A host and port to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// A name in lower case, or an IP address; IPv6 without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// Which of the two messages of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The request.
    Request,
    /// The response.
    Response,
}

/// What a loop tells the readers of flows. A clone shares what is large.
#[derive(Clone, Debug)]
pub enum FlowEvent {
    /// The next block of a body that is too large to travel inside its flow.
    Body(BodyBlock),
    /// An exchange has ended, well or badly.
    Exchange(EndedExchange),
    /// A request is complete and its answer is not: for readers of live flows. Exchanges that end
    /// soon are told of only by their end.
    Begun(Arc<Begun>),
    /// The response of a flow that has begun is on its way: for readers of live flows.
    Answered(Arc<Answered>),
    /// What came of the response's body of a flow that has begun, ahead of its blocks: for
    /// readers of live flows, who drop these bytes when the flow's end brings the body.
    Glimpse(BodyBlock),
    /// A flow is held: for readers of live flows.
    Held(Arc<Held>),
    /// A flow that was held goes on: for readers of live flows.
    Released(Released),
    /// A WebSocket handshake was answered with 101.
    WebSocketOpen(Arc<WebSocketOpen>),
    /// The next block of a data message that is too large to travel as a whole.
    WebSocketData(WebSocketData),
    /// A message has ended.
    WebSocketMessage(WebSocketMessage),
    /// A WebSocket connection has ended.
    WebSocketClose(WebSocketClose),
}

impl FlowEvent {
    /// About how many bytes of memory the event holds, for the bounds of queues.
    pub fn weight(&self) -> usize {
        let held = match self {
            FlowEvent::Body(block) => block.data.len(),
            FlowEvent::Exchange(exchange) => exchange.weight(),
            FlowEvent::Begun(begun) => begun.request.weight() + size_of::<Begun>(),
            FlowEvent::Answered(answered) => answered.head.len() + size_of::<Answered>(),
            FlowEvent::Glimpse(block) => block.data.len(),
            FlowEvent::Held(held) => held.message.weight() + size_of::<Held>(),
            FlowEvent::Released(_) => 0,
            FlowEvent::WebSocketOpen(open) => {
                open.request_head.len() + open.response_head.len() + size_of::<WebSocketOpen>()
            }
            FlowEvent::WebSocketData(block) => block.data.len(),
            FlowEvent::WebSocketMessage(message) => message.payload.len(),
            FlowEvent::WebSocketClose(close) => close.error.as_ref().map_or(0, String::len),
        };
        held + size_of::<FlowEvent>()
    }
}

/// A block of a body's bytes: transfer coding undone, content coding not.
#[derive(Clone, Debug)]
pub struct BodyBlock {
    /// The exchange it belongs to; its [`Exchange`] event comes later.
    pub flow: FlowId,
    /// Request or response body.
    pub side: Side,
    /// The bytes that follow those of the block before.
    pub data: Bytes,
}

/// An [`Exchange`] that has ended, as the loops tell of it: most are only written down, so they
/// travel in the form in which they are, many in one allocation. [`crate::capture::entry`] makes
/// and reads it.
#[derive(Clone, Debug)]
pub struct EndedExchange {
    /// Names the flow.
    pub id: FlowId,
    /// Whether it stands in bundles: OPTIONS requests and WebSocket handshakes do not.
    pub is_trace: bool,
    /// How many of its bodies were cut at the capture limit.
    pub bodies_cut: u8,
    /// Whether blocks of its request's body were sent ahead.
    pub request_ahead: bool,
    /// Whether blocks of its response's body were sent ahead.
    pub response_ahead: bool,
    /// The journal's frame of it; empty when it would be too long for one, which no exchange is
    /// whose bodies are sent ahead in blocks.
    pub frame: Bytes,
    /// The rest of the frame, where it was too much to be copied: the tails of the request's body
    /// and of the response's.
    pub tails: Option<Box<[Bytes; 2]>>,
}

impl EndedExchange {
    /// Bytes of the whole frame.
    pub fn weight(&self) -> usize {
        let tails = self.tails.iter().flat_map(|tails| tails.iter());
        self.frame.len() + tails.map(Bytes::len).sum::<usize>()
    }
}

/// One request and what came of it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Names the flow.
    pub id: FlowId,
    /// The scheme of the target URI.
    pub scheme: Scheme,
    /// The host and port that were asked for: of CONNECT, or of the request target. `None` when
    /// the request was refused before that was known.
    pub target: Option<Arc<Authority>>,
    /// The client's address.
    pub client: SocketAddr,
    /// The client connection's TLS, where it was intercepted.
    pub client_tls: Option<Arc<TlsFacts>>,
    /// The upstream connection that was used, if any.
    pub upstream: Option<Upstream>,
    /// The request as it came from the client. Its head may be malformed when `error` is set.
    pub request: Message,
    /// The final response as it came from the server (or as flowtap made it, when `error` is
    /// set and no final response came: then it is `None` here and the client saw an error page).
    pub response: Option<Message>,
    /// When things happened.
    pub timing: Timing,
    /// Why the exchange failed, in words for the user.
    pub error: Option<String>,
    /// How it came about, where it was not simply passed on.
    pub intervention: Intervention,
}

/// What tools have done to an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intervention {
    /// A tool sent the request: no client asked for it.
    pub replayed: bool,
    /// The flow that it repeats.
    pub origin: Option<FlowId>,
    /// Its request was changed while it was held; the record has the changed one.
    pub request_edited: bool,
    /// Its response was changed or given by a tool while it was held; the record has that one.
    pub response_edited: bool,
}

/// An exchange whose request is complete, or whose response is held before it is.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Names the flow.
    pub id: FlowId,
    /// The scheme of the target URI.
    pub scheme: Scheme,
    /// The host and port that were asked for.
    pub target: Arc<Authority>,
    /// The client's address.
    pub client: SocketAddr,
    /// The client connection's TLS, where it was intercepted.
    pub client_tls: Option<Arc<TlsFacts>>,
    /// When the request's first byte was there, in microseconds since the Unix epoch.
    pub began_us: u64,
    /// The request. Blocks of its body may have been sent ahead.
    pub request: Message,
    /// Whether that is all of its body.
    pub whole: bool,
    /// What tools have done to it.
    pub intervention: Intervention,
}

/// The head of a response whose body is still to come.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The flow; its [`Begun`] came before.
    pub flow: FlowId,
    /// The upstream connection that was used.
    pub upstream: Option<Upstream>,
    /// The response's head as it came.
    pub head: Bytes,
}

/// A flow that is held until somebody decides about it.
#[derive(Clone, Debug)]
pub struct Held {
    /// The flow; its [`Begun`] came before.
    pub flow: FlowId,
    /// What it began with, for readers that have kept it no longer.
    pub begun: Arc<Begun>,
    /// Whether its request or its response is held.
    pub side: Side,
    /// What is held, with the body in its tail as far as it came. The body's size is the one that
    /// its head tells, or that of the tail.
    pub message: Message,
    /// Whether that is all of the body.
    pub whole: bool,
    /// Since when it waits for a decision, in microseconds since the Unix epoch. The option
    /// `intercept_timeout` tells how long it does.
    pub since_us: u64,
}

/// A flow that goes on.
#[derive(Clone, Copy, Debug)]
pub struct Released {
    /// The flow.
    pub flow: FlowId,
    /// Whether nobody decided about it in time.
    pub timed_out: bool,
}

impl Exchange {
    /// The body of one side; `None` where there is no response.
    pub fn body(&self, side: Side) -> Option<&Body> {
        match side {
            Side::Request => Some(&self.request.body),
            Side::Response => self.response.as_ref().map(|response| &response.body),
        }
    }

    /// Whether blocks of one side's body were sent ahead.
    pub fn is_ahead(&self, side: Side) -> bool {
        self.body(side).is_some_and(|body| body.sent_ahead > 0)
    }
}

/// One message of an exchange.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The head's bytes from the start line to the blank line, as they came.
    pub head: Bytes,
    /// The body.
    pub body: Body,
    /// The trailer section's field lines as they came, without the blank line; mostly empty.
    pub trailers: Bytes,
}

impl Message {
    fn weight(&self) -> usize {
        self.head.len() + self.body.tail.len() + self.trailers.len()
    }
}

/// A captured body: transfer coding undone, content coding not.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// The bytes that follow those sent ahead as blocks; the whole body where none were.
    pub tail: Bytes,
    /// Bytes that went ahead as [`BodyBlock`]s.
    pub sent_ahead: u64,
    /// Bytes the body had on the wire; more than what was captured if the copy was cut at the
    /// capture limit.
    pub size: u64,
}

impl Body {
    /// Bytes that were captured.
    pub fn captured(&self) -> u64 {
        self.sent_ahead.saturating_add(self.tail.len() as u64)
    }

    /// Whether the captured copy is shorter than the body was.
    pub fn is_cut(&self) -> bool {
        self.captured() < self.size
    }
}

/// The upstream connection of an exchange.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The address that was connected to.
    pub address: SocketAddr,
    /// Numbers the upstream connections of a process, for telling which exchanges shared one.
    pub connection: u64,
    /// Whether it had served another exchange before.
    pub reused: bool,
    /// Its TLS, if it has.
    pub tls: Option<Arc<TlsFacts>>,
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's IANA name.
    pub cipher: String,
    /// The name that was sent (as a client) or received (as a server).
    pub server_name: Option<String>,
    /// The protocol agreed by ALPN.
    pub alpn: Option<String>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

/// When the phases of an exchange took place, in microseconds. A duration is 0 where the phase
/// did not take place, as name, connect and TLS on a reused connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// When the request's first byte was there, since the Unix epoch.
    pub began_us: u64,
    /// Looking the name up.
    pub dns_us: u64,
    /// Connecting, TLS not included.
    pub connect_us: u64,
    /// The upstream TLS handshake.
    pub tls_us: u64,
    /// From the first to the last byte of the request towards the server, or to the first of the
    /// final response where that came before.
    pub send_us: u64,
    /// From the request's last byte to the first of the final response.
    pub wait_us: u64,
    /// From the final response's first byte to its last.
    pub receive_us: u64,
    /// From the request's first byte to the end of the exchange.
    pub total_us: u64,
}

/// The direction of a WebSocket message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Client to server.
    Send,
    /// Server to client.
    Receive,
}

/// The kind of a WebSocket message (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// A close frame.
    Close,
    /// A ping frame.
    Ping,
    /// A pong frame.
    Pong,
}

/// The permessage-deflate parameters that the server agreed to (RFC 7692 section 7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeflateParameters {
    /// The client resets its context after each message.
    pub client_no_context_takeover: bool,
    /// The server resets its context after each message.
    pub server_no_context_takeover: bool,
}

/// A WebSocket connection that was opened.
#[derive(Debug)]
pub struct WebSocketOpen {
    /// Names the connection in all its events.
    pub id: FlowId,
    /// The scheme of the handshake: `Https` makes a `wss` URL.
    pub scheme: Scheme,
    /// The host and port that were asked for.
    pub target: Arc<Authority>,
    /// The client's address.
    pub client: SocketAddr,
    /// The handshake request's head as it came.
    pub request_head: Bytes,
    /// The 101 response's head as it came.
    pub response_head: Bytes,
    /// When the handshake's first byte was there, in microseconds since the Unix epoch.
    pub began_us: u64,
    /// Set when permessage-deflate is in force.
    pub deflate: Option<DeflateParameters>,
}

/// A block of a data message's payload: unmasked, fragments joined, still compressed if it was.
#[derive(Clone, Debug)]
pub struct WebSocketData {
    /// The connection.
    pub flow: FlowId,
    /// The direction; each has at most one data message under way.
    pub direction: Direction,
    /// The bytes that follow those of the block before.
    pub data: Bytes,
}

/// A message: unmasked, fragments joined, still compressed if it was.
#[derive(Clone, Debug)]
pub struct WebSocketMessage {
    /// The connection.
    pub flow: FlowId,
    /// The direction.
    pub direction: Direction,
    /// The kind. Blocks sent ahead belong to the next `Text` or `Binary` of their direction, not
    /// to a control frame that stands between.
    pub opcode: Opcode,
    /// Whether the payload is compressed (RSV1 of its first frame).
    pub compressed: bool,
    /// When the message's last byte was there, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// The payload that follows the blocks sent ahead.
    pub payload: Bytes,
}

/// A WebSocket connection that has ended.
#[derive(Clone, Debug)]
pub struct WebSocketClose {
    /// The connection.
    pub flow: FlowId,
    /// When it ended, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// Why the connection or the reading of its messages failed, in words for the user. Messages
    /// after the failure were relayed but not read.
    pub error: Option<String>,
}
