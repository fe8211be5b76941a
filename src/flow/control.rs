//! What can be asked of flows under way: to go on, changed or not, to end, or to begin.

use bytes::Bytes;

use crate::flow::head::Field;
use crate::flow::record::FlowId;

/// What becomes of a flow that is held.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It goes on as it is.
    Resume,
    /// It goes on with a changed request. Only while its request is held.
    ResumeRequest(RequestEdit),
    /// It goes on with a changed response. Only while its response is held.
    ResumeResponse(ResponseEdit),
    /// The client gets this answer. While the request is held, no server is asked.
    Answer(Answer),
    /// It ends: nothing is forwarded and the client's connection is closed.
    Drop,
}

/// Changes to a request; what is `None` stays. Framing fields are worked out afresh. A field whose
/// value is the text of the one that is there goes out with the bytes of that one.
#[derive(Clone, Debug, Default)]
pub struct RequestEdit {
    /// The method.
    pub method: Option<String>,
    /// The URL, absolute. The Host field follows it unless `headers` has another.
    pub url: Option<String>,
    /// All fields, in order.
    pub headers: Option<Vec<Field>>,
    /// The body, with the content coding that the fields name already applied.
    pub body: Option<Bytes>,
}

impl RequestEdit {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        let RequestEdit { method, url, headers, body } = self;
        method.is_none() && url.is_none() && headers.is_none() && body.is_none()
    }
}

/// Changes to a response; what is `None` stays. Framing fields are worked out afresh. A field whose
/// value is the text of the one that is there goes out with the bytes of that one.
#[derive(Clone, Debug, Default)]
pub struct ResponseEdit {
    /// The status, 200 to 599.
    pub status: Option<u16>,
    /// All fields, in order.
    pub headers: Option<Vec<Field>>,
    /// The body, with the content coding that the fields name already applied.
    pub body: Option<Bytes>,
}

impl ResponseEdit {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        let ResponseEdit { status, headers, body } = self;
        status.is_none() && headers.is_none() && body.is_none()
    }
}

/// An answer made by a tool.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status, 200 to 599.
    pub status: u16,
    /// All fields, in order; framing fields are worked out afresh.
    pub headers: Vec<Field>,
    /// The body.
    pub body: Bytes,
}

/// A request that a tool sends.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// The flow that it repeats, if it does.
    pub origin: Option<FlowId>,
    /// The recorded head of the request that it repeats; empty where it repeats none. Where the
    /// path or a field's value is the text of what is there, the bytes that are there go out.
    pub recorded_head: Bytes,
    /// The method.
    pub method: String,
    /// The URL: absolute, `http` or `https`.
    pub url: String,
    /// All fields, in order. Framing fields are worked out afresh; Host is added where there is
    /// none.
    pub headers: Vec<Field>,
    /// The body.
    pub body: Bytes,
}

/// Why a request to the loops could not be fulfilled, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// The flow is not held, or no more.
    NotHeld,
    /// What was asked for is not possible, and nothing was changed.
    Refused(String),
}

/// The loops, as tools see them. No call waits for a server.
pub trait FlowControl: Send + Sync {
    /// Decides about a flow that is held.
    ///
    /// # Errors
    /// When it is not held, or the edit is not possible; then it stays as it is.
    fn decide(&self, flow: FlowId, verdict: Verdict) -> Result<(), ControlError>;

    /// Sends a request through the proxy's own upstream side and gives the new flow's id; the
    /// flow itself ends later, like any other.
    ///
    /// # Errors
    /// When the request is malformed.
    fn send(&self, request: NewRequest) -> Result<FlowId, ControlError>;

    /// Ends a flow that [`FlowControl::send`] began, if it has not ended: nobody wants it any more.
    fn abandon(&self, flow: FlowId);
}
