//! One request and its response: two machines, one for each direction, and their record.

mod feed;
mod held;
mod record;
mod response;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::flow::record::{Authority, FlowId, Intervention, Scheme, Side};
use crate::http::body::{BodyLength, BodyReader};
use crate::http::head::{HeadReader, Version};
use crate::http::rewrite::write_to_proxy;
use crate::proxy::body_capture::BodyCapture;
use crate::proxy::context::{Connected, Context, Now, Reuse};
use crate::proxy::exchange::feed::Feed;
use crate::proxy::hold::Hold;
use crate::proxy::link::{End, Link};

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The scheme of the target URI.
    pub scheme: Scheme,
    /// The host and port to connect to.
    pub authority: Arc<Authority>,
    /// The server name for TLS; `None` without TLS.
    pub tls: Option<Arc<str>>,
}

/// The facts about a request that decide what happens to it and to its response.
#[derive(Debug)]
pub struct RequestFacts {
    /// Where it goes.
    pub route: Route,
    /// Its head as it came, or as it goes on where a tool has written it.
    pub head: Bytes,
    /// Its head as it goes on.
    pub outgoing: Vec<u8>,
    /// Bytes of its method, with which the head begins.
    pub method_bytes: usize,
    /// The client's HTTP version.
    pub version: Version,
    /// Whether the client wants the connection to go on.
    pub keep_alive: bool,
    /// Whether it waits for 100 (Continue).
    pub expects_continue: bool,
    /// Whether it asks for another protocol.
    pub upgrade: bool,
    /// Whether it goes no further than here (RFC 9110 section 7.6.2).
    pub last_hop: bool,
    /// Whether it shows credentials that log the connection in.
    pub logs_in: bool,
    /// How its body is framed.
    pub length: BodyLength,
    /// Whether the rules of the options apply to it: its host is not left out.
    pub ruled: bool,
    /// Whether it is recorded.
    pub recorded: bool,
    /// When its first byte was there.
    pub began: Now,
}

impl RequestFacts {
    /// Its method.
    pub fn method(&self) -> &[u8] {
        self.head.get(..self.method_bytes).unwrap_or_default()
    }
}

/// What the request side awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestSide {
    /// Somebody's decision, or the body that it is about.
    Held,
    Upstream,
    Body,
    /// Nothing: what is still to come of it is recorded and goes nowhere.
    Unwanted,
    Done,
}

/// What the response side awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseSide {
    Head,
    /// Somebody's decision, or the body that it is about.
    Held,
    Body,
    Done,
}

/// Why an exchange cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The client broke the rules or went away: what to answer, and why.
    Client(u16, String),
    /// The server broke the rules or went away.
    Upstream(u16, String),
}

/// What the response side came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing more can be done before something else happens.
    Wait,
    /// Something was done.
    Progress,
    /// The server switches protocols: what comes after the head is not HTTP.
    Switch,
}

#[derive(Debug, Default)]
struct Times {
    connected: Option<Now>,
    request_done: Option<Now>,
    /// When the first byte came back, be it of an interim response.
    response_began: Option<Now>,
    /// The same of the final response.
    answer_began: Option<Now>,
    /// When the last interim response was there.
    interim: Option<Now>,
}

/// One request and its response.
#[derive(Debug)]
pub struct Exchange {
    id: FlowId,
    client: SocketAddr,
    facts: RequestFacts,
    upstream: Option<Connected>,
    retried: bool,
    intervention: Intervention,
    /// The message that is held.
    hold: Option<Box<Hold>>,
    /// What of the request's body goes out right behind its head. It stays here while it may have
    /// to be sent again.
    request_feed: Option<Box<Feed>>,
    /// It was told of while it was under way.
    announced: bool,
    /// What comes of the response's body is told at once.
    glimpsed: bool,
    request: RequestSide,
    request_body: BodyReader,
    request_copy: BodyCapture,
    /// Something of the request's body was taken from the client.
    body_taken: bool,
    response: ResponseSide,
    response_reader: HeadReader,
    response_head: Option<Bytes>,
    /// What of the response's body goes out before anything else of it.
    response_feed: Option<Box<Feed>>,
    response_body: BodyReader,
    response_copy: BodyCapture,
    /// The body of a chunked response goes to an HTTP/1.0 client without the chunks.
    unchunk: bool,
    until_close: bool,
    interim: usize,
    continued: bool,
    client_stays: bool,
    /// The client was told that its connection ends with its upload, whose server leaves.
    upload_ends: bool,
    upstream_stays: bool,
    /// Whether the client will send its body cannot be known.
    body_in_doubt: bool,
    /// The server asks for credentials that log the connection in, or has taken some.
    login_awaited: bool,
    /// How long the server keeps its connection then, where it has stated that.
    upstream_idle: Option<Duration>,
    times: Times,
}

impl Exchange {
    /// Begins the exchange; its upstream connection is still to come.
    pub fn new(id: FlowId, facts: RequestFacts, client: SocketAddr, capture_limit: u64) -> Self {
        let limit = if facts.recorded { capture_limit } else { 0 };
        let mut request_copy = BodyCapture::new(id, Side::Request, limit);
        if let BodyLength::Length(length) = facts.length {
            request_copy.reserve(length);
        }
        Exchange {
            id,
            client,
            upstream: None,
            retried: false,
            intervention: Intervention::default(),
            hold: None,
            request_feed: None,
            announced: false,
            glimpsed: false,
            request: RequestSide::Upstream,
            request_body: BodyReader::new(facts.length),
            request_copy,
            body_taken: false,
            response: ResponseSide::Head,
            response_reader: HeadReader::new(),
            response_head: None,
            response_feed: None,
            response_body: BodyReader::new(BodyLength::None),
            response_copy: BodyCapture::new(id, Side::Response, limit),
            unchunk: false,
            until_close: false,
            interim: 0,
            continued: false,
            client_stays: facts.keep_alive,
            upload_ends: false,
            upstream_stays: true,
            body_in_doubt: false,
            login_awaited: false,
            upstream_idle: None,
            times: Times::default(),
            facts,
        }
    }

    /// The upstream connection is there: sends the head, and what of the body was sent before.
    pub fn connected(&mut self, connected: Connected, upstream: &mut Link, now: Now) {
        match &connected.forwards {
            None => upstream.send(&self.facts.outgoing),
            Some(proxy) => {
                let authority = &self.facts.route.authority;
                let authorization = proxy.authorization();
                let mut head = Vec::with_capacity(self.facts.outgoing.len());
                write_to_proxy(
                    &mut head,
                    &self.facts.outgoing,
                    authority,
                    authorization.as_deref(),
                );
                upstream.send(&head);
            }
        }
        // What was taken from the client since is in the copy, and so is what was held.
        let again = self.retried && self.body_taken;
        if let Some(body) = self.request_copy.whole().filter(|_| again) {
            upstream.send(body);
        }
        self.upstream = Some(connected);
        self.times.connected = Some(now);
        self.request = RequestSide::Body;
        self.feed_request(upstream);
        self.note_request_done(now);
    }

    /// Moves what there is of the request's body. Returns whether anything was done.
    pub fn move_request(
        &mut self,
        client: &mut Link,
        upstream: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<bool, Failure> {
        match self.request {
            RequestSide::Body => {}
            RequestSide::Held => return self.gather_request(client, cx),
            RequestSide::Unwanted => return Ok(self.take_unwanted(client, cx)),
            RequestSide::Upstream | RequestSide::Done => return Ok(false),
        }
        if !upstream.has_room() {
            return Ok(false);
        }
        if self.request_feed.is_some() && self.feed_request(upstream) {
            self.note_request_done(cx.now);
            return Ok(true);
        }
        let copy = &mut self.request_copy;
        let outbox = &mut *cx.outbox;
        let progress = self
            .request_body
            .advance(client.input.bytes(), &mut |piece: &[u8]| copy.push(piece, outbox))
            .map_err(|error| Failure::Client(400, error.to_string()))?;
        check_size(self.request_copy.size(), cx).map_err(|reason| Failure::Client(413, reason))?;
        upstream.forward(&mut client.input, progress.consumed);
        if progress.consumed > 0 {
            self.body_taken = true;
            // From here on it is the copy that would be sent again.
            self.request_feed = None;
        }
        self.note_request_done(cx.now);
        if self.request == RequestSide::Body && client.end.is_some() && progress.consumed == 0 {
            let doubt = client.end.as_ref().and_then(End::doubt);
            let reason = doubt.unwrap_or("the request ended before its body was complete");
            return Err(Failure::Client(400, reason.to_owned()));
        }
        Ok(progress.consumed > 0)
    }

    fn note_request_done(&mut self, now: Now) {
        let is_fed = self.request_feed.as_ref().is_none_or(|feed| feed.is_fed());
        if self.request == RequestSide::Body && is_fed && self.request_body.is_done() {
            self.request = RequestSide::Done;
            self.times.request_done = Some(now);
        }
    }

    /// Moves what there is of the response.
    pub fn move_response(
        &mut self,
        upstream: &mut Link,
        client: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<Step, Failure> {
        if matches!(self.request, RequestSide::Held | RequestSide::Upstream) {
            return Ok(Step::Wait);
        }
        match self.response {
            ResponseSide::Head => self.read_head(upstream, client, cx),
            ResponseSide::Held => self.gather_response(upstream, cx),
            ResponseSide::Body => self.move_body(upstream, client, cx),
            ResponseSide::Done => Ok(Step::Wait),
        }
    }

    /// Whether the request can be sent again on another connection, and makes ready for that
    /// (RFC 9110 section 9.2.2): the connection was used before, not a byte of the answer came,
    /// the method is idempotent, and nothing of the body is lost.
    pub fn retry(&mut self, upstream: &Link) -> bool {
        let reused = self.upstream.as_ref().is_some_and(|upstream| upstream.reused);
        let unanswered = self.response == ResponseSide::Head
            && self.interim == 0
            && upstream.input.is_empty()
            && self.times.response_began.is_none();
        let body_kept = !self.body_taken
            || matches!(self.facts.length, BodyLength::Length(_))
                && self.request_copy.whole().is_some();
        if !(reused && unanswered && body_kept && self.is_idempotent()) || self.retried {
            return false;
        }
        if let Some(feed) = &mut self.request_feed {
            feed.rewind();
        }
        self.retried = true;
        self.upstream = None;
        self.request = RequestSide::Upstream;
        true
    }

    /// Whether the request may have to be sent again, as far as can be told before it fails.
    fn may_come_again(&self) -> bool {
        let reused = self.upstream.as_ref().is_some_and(|upstream| upstream.reused);
        let unanswered = self.times.response_began.is_none();
        reused && unanswered && !self.retried && self.is_idempotent()
    }

    fn is_idempotent(&self) -> bool {
        let methods: [&[u8]; 6] = [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"];
        methods.contains(&self.facts.method())
    }

    /// Which pooled connections serve this request.
    pub fn reuse(&self) -> Reuse {
        if self.retried {
            Reuse::Never
        } else if self.is_idempotent() {
            Reuse::Allow
        } else {
            Reuse::Probe
        }
    }

    /// Names the flow.
    pub fn id(&self) -> FlowId {
        self.id
    }

    /// What is known of the request.
    pub fn facts(&self) -> &RequestFacts {
        &self.facts
    }

    /// Whether a tool has sent the request.
    pub fn is_replay(&self) -> bool {
        self.intervention.replayed
    }

    /// The request's body, if all of it is still here.
    pub fn request_body(&self) -> Option<Bytes> {
        self.request_copy.whole().map(Bytes::copy_from_slice)
    }

    /// The response's head as it came, once it is there.
    pub fn response_head(&self) -> Option<&Bytes> {
        self.response_head.as_ref()
    }

    /// Whether an upstream connection is awaited.
    pub fn awaits_upstream(&self) -> bool {
        self.request == RequestSide::Upstream
    }

    /// Whether the whole request was taken from the client; some of it may still have to go on.
    pub fn request_is_taken(&self) -> bool {
        self.request_body.is_done()
    }

    /// Whether nothing of the request is left to be put into the upstream connection's output.
    pub fn request_is_passed_on(&self) -> bool {
        self.request == RequestSide::Done && self.request_body.is_done()
    }

    /// Whether nobody waits for what may still come of a request that was answered: the client may
    /// keep it back, or no server was asked.
    pub fn rest_is_unwanted(&self) -> bool {
        self.body_in_doubt || matches!(self.request, RequestSide::Unwanted | RequestSide::Done)
    }

    /// Whether the client has got all of the response.
    pub fn response_is_done(&self) -> bool {
        self.response == ResponseSide::Done
    }

    /// Whether the head of a final response went to the client.
    pub fn is_answered(&self) -> bool {
        !matches!(self.response, ResponseSide::Head | ResponseSide::Held)
    }

    /// Since when the server has had the whole request, while the head of its response is still to
    /// come; or since its last interim response.
    pub fn answer_awaited_since(&self) -> Option<Now> {
        let awaits = self.request == RequestSide::Done && self.response == ResponseSide::Head;
        let since = self.times.request_done.filter(|_| awaits)?;
        let interim = self.times.interim.filter(|interim| interim.instant > since.instant);
        Some(interim.unwrap_or(since))
    }

    /// Whether the body that the client gets ends with the connection.
    pub fn ends_by_close(&self) -> bool {
        self.until_close || self.unchunk
    }

    /// Whether the client's connection goes on after this exchange.
    pub fn client_stays(&self) -> bool {
        self.client_stays && !self.upload_ends
    }

    /// Whether the upstream connection goes on after this exchange.
    pub fn upstream_stays(&self) -> bool {
        self.upstream_stays && self.request == RequestSide::Done
    }

    /// The host whose login the upstream connection may have from now on.
    pub fn login(&self) -> Option<&Arc<Authority>> {
        let logs_in = self.facts.logs_in || self.login_awaited;
        logs_in.then_some(&self.facts.route.authority)
    }

    /// How long the server keeps that connection then, where it has stated so.
    pub fn upstream_idle(&self) -> Option<Duration> {
        self.upstream_idle
    }

    /// What it waits for, in words.
    pub fn stage(&self) -> &'static str {
        match (self.request, self.response) {
            (_, ResponseSide::Done) => "the response has ended",
            (_, ResponseSide::Body) => "in the response's body",
            (_, ResponseSide::Held) => "with the response held",
            (RequestSide::Held, _) => "with the request held",
            (RequestSide::Upstream, _) => "connecting to the server",
            (RequestSide::Body, _) => "in the request's body",
            (RequestSide::Unwanted | RequestSide::Done, ResponseSide::Head) => {
                "waiting for the response"
            }
        }
    }

    /// Whether the request has no body at all, so that nothing of it is still on its way.
    pub fn has_no_body(&self) -> bool {
        matches!(self.facts.length, BodyLength::None | BodyLength::Length(0))
    }
}

/// Microseconds from one moment to another.
pub fn micros(from: Now, to: Now) -> u64 {
    let duration = to.instant.saturating_duration_since(from.instant);
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Whether a body that is to have this length passes; else why not.
pub fn check_length(length: BodyLength, cx: &Context<'_>) -> Result<(), String> {
    match length {
        BodyLength::Length(length) => check_size(length, cx),
        BodyLength::None | BodyLength::Chunked | BodyLength::UntilClose => Ok(()),
    }
}

/// Whether a body of so many bytes passes; else why not.
fn check_size(size: u64, cx: &Context<'_>) -> Result<(), String> {
    match cx.options.body_size_limit {
        Some(limit) if size > limit => {
            Err(format!("the body is larger than {limit} bytes, the body_size_limit"))
        }
        _ => Ok(()),
    }
}

fn bad_response(reason: &str) -> Failure {
    Failure::Upstream(502, format!("the server's response is not valid HTTP: {reason}"))
}

fn early_end(end: &End, input: &crate::proxy::buffer::Buffer) -> String {
    match end {
        End::Cut(reason) => reason.clone(),
        End::Clean | End::Unannounced if input.is_empty() => {
            "the server closed the connection without an answer".to_owned()
        }
        End::Clean | End::Unannounced => {
            "the server closed the connection inside the response's head".to_owned()
        }
    }
}
