//! One request and its response: two machines, one for each direction, and their record.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::flow::record::{
    Authority, Exchange as Record, FlowEvent, FlowId, Intervention, Message, Scheme, Side, Timing,
    TlsFacts, Upstream,
};
use crate::http::body::{BodyLength, BodyReader, FramingError, response_length};
use crate::http::head::{HeadReader, Parsed, ResponseHead, Version};
use crate::http::rewrite::{ConnectionField, OutgoingResponse, keep_alive, write_response};
use crate::limits::INTERIM_RESPONSES;
use crate::proxy::body_capture::BodyCapture;
use crate::proxy::context::{Connected, Context, Now, Reuse};
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
    /// Its head as it came.
    pub head: Bytes,
    /// Its head as it goes on.
    pub outgoing: Vec<u8>,
    /// Its method.
    pub method: Vec<u8>,
    /// The client's HTTP version.
    pub version: Version,
    /// Whether the client wants the connection to go on.
    pub keep_alive: bool,
    /// Whether it waits for 100 (Continue).
    pub expects_continue: bool,
    /// Whether it asks for another protocol.
    pub upgrade: bool,
    /// How its body is framed.
    pub length: BodyLength,
    /// Whether it is recorded.
    pub recorded: bool,
    /// When its first byte was there.
    pub began: Now,
}

/// What the request side awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestSide {
    Upstream,
    Body,
    Done,
}

/// What the response side awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseSide {
    Head,
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
    response_began: Option<Now>,
}

/// One request and its response.
#[derive(Debug)]
pub struct Exchange {
    id: FlowId,
    facts: RequestFacts,
    upstream: Option<Connected>,
    retried: bool,
    request: RequestSide,
    request_body: BodyReader,
    request_copy: BodyCapture,
    /// Something of the request's body was taken from the client.
    body_taken: bool,
    response: ResponseSide,
    response_reader: HeadReader,
    response_head: Option<Bytes>,
    response_body: BodyReader,
    response_copy: BodyCapture,
    /// The body of a chunked response goes to an HTTP/1.0 client without the chunks.
    unchunk: bool,
    until_close: bool,
    interim: usize,
    continued: bool,
    client_stays: bool,
    upstream_stays: bool,
    times: Times,
}

impl Exchange {
    /// Begins the exchange; its upstream connection is still to come.
    pub fn new(id: FlowId, facts: RequestFacts, capture_limit: u64) -> Self {
        let limit = if facts.recorded { capture_limit } else { 0 };
        let mut request_copy = BodyCapture::new(id, Side::Request, limit);
        if let BodyLength::Length(length) = facts.length {
            request_copy.reserve(length);
        }
        Exchange {
            id,
            upstream: None,
            retried: false,
            request: RequestSide::Upstream,
            request_body: BodyReader::new(facts.length),
            request_copy,
            body_taken: false,
            response: ResponseSide::Head,
            response_reader: HeadReader::new(),
            response_head: None,
            response_body: BodyReader::new(BodyLength::None),
            response_copy: BodyCapture::new(id, Side::Response, limit),
            unchunk: false,
            until_close: false,
            interim: 0,
            continued: false,
            client_stays: facts.keep_alive,
            upstream_stays: true,
            times: Times::default(),
            facts,
        }
    }

    /// The upstream connection is there: sends the head, and what of the body was sent before.
    pub fn connected(&mut self, connected: Connected, upstream: &mut Link, now: Now) {
        upstream.send(&self.facts.outgoing);
        if self.retried
            && let Some(body) = self.request_copy.whole()
        {
            upstream.send(body);
        }
        self.upstream = Some(connected);
        self.times.connected = Some(now);
        self.request = RequestSide::Body;
        self.note_request_done(now);
    }

    /// Moves what there is of the request's body. Returns whether anything was done.
    pub fn move_request(
        &mut self,
        client: &mut Link,
        upstream: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<bool, Failure> {
        if self.request != RequestSide::Body || !upstream.has_room() {
            return Ok(false);
        }
        let copy = &mut self.request_copy;
        let outbox = &mut *cx.outbox;
        let progress = self
            .request_body
            .advance(client.input.bytes(), &mut |piece: &[u8]| copy.push(piece, outbox))
            .map_err(|error| Failure::Client(400, error.to_string()))?;
        if let Some(passed) = client.input.bytes().get(..progress.consumed) {
            upstream.send(passed);
        }
        client.input.consume(progress.consumed);
        self.body_taken |= progress.consumed > 0;
        self.note_request_done(cx.now);
        if self.request == RequestSide::Body && client.end.is_some() && progress.consumed == 0 {
            let doubt = client.end.as_ref().and_then(End::doubt);
            let reason = doubt.unwrap_or("the request ended before its body was complete");
            return Err(Failure::Client(400, reason.to_owned()));
        }
        Ok(progress.consumed > 0)
    }

    fn note_request_done(&mut self, now: Now) {
        if self.request == RequestSide::Body && self.request_body.is_done() {
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
        if self.request == RequestSide::Upstream {
            return Ok(Step::Wait);
        }
        match self.response {
            ResponseSide::Head => self.read_head(upstream, client, cx),
            ResponseSide::Body => self.move_body(upstream, client, cx),
            ResponseSide::Done => Ok(Step::Wait),
        }
    }

    fn read_head(
        &mut self,
        upstream: &mut Link,
        client: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<Step, Failure> {
        if upstream.input.is_empty() && upstream.end.is_none() {
            return Ok(Step::Wait);
        }
        if !upstream.input.is_empty() && self.times.response_began.is_none() {
            self.times.response_began = Some(cx.now);
        }
        let heads = &mut *cx.heads;
        let parsed = self
            .response_reader
            .response(upstream.input.bytes(), &mut heads.response)
            .map_err(|error| bad_response(&error.to_string()))?;
        match parsed {
            Parsed::Complete => self.take_head(upstream, client, cx),
            Parsed::Partial => match &upstream.end {
                None => Ok(Step::Wait),
                Some(end) => Err(Failure::Upstream(502, early_end(end, &upstream.input))),
            },
        }
    }

    fn take_head(
        &mut self,
        upstream: &mut Link,
        client: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<Step, Failure> {
        let head = &cx.heads.response;
        let bytes = upstream.input.bytes();
        let length = response_length(head, bytes, &self.facts.method)
            .map_err(|error| bad_response(&error.to_string()))?;
        let raw = bytes.get(..head.len).unwrap_or(bytes);
        let step = match head.status {
            101 => self.switch(head, bytes, client)?,
            100..=199 => self.pass_interim(head, bytes, client)?,
            _ => {
                self.response_head = Some(Bytes::copy_from_slice(raw));
                self.pass_final(head, bytes, length, client);
                Step::Progress
            }
        };
        if step == Step::Switch {
            self.response_head = Some(Bytes::copy_from_slice(raw));
        }
        upstream.input.consume(cx.heads.response.len);
        Ok(step)
    }

    fn switch(
        &self,
        head: &ResponseHead,
        bytes: &[u8],
        client: &mut Link,
    ) -> Result<Step, Failure> {
        if !self.facts.upgrade || self.request != RequestSide::Done {
            return Err(bad_response("101 (Switching Protocols) was not asked for"));
        }
        let outgoing = OutgoingResponse {
            body: BodyLength::None,
            connection: ConnectionField::Omit,
            upgrade: true,
            client: self.facts.version,
        };
        write_response(client.output.storage(), bytes, head, &outgoing);
        Ok(Step::Switch)
    }

    fn pass_interim(
        &mut self,
        head: &ResponseHead,
        bytes: &[u8],
        client: &mut Link,
    ) -> Result<Step, Failure> {
        self.interim += 1;
        if self.interim > INTERIM_RESPONSES {
            return Err(bad_response("too many interim responses"));
        }
        self.continued |= head.status == 100;
        // RFC 9110 section 15.2: an HTTP/1.0 client knows no interim responses.
        if self.facts.version == Version::Http11 {
            let outgoing = OutgoingResponse {
                body: BodyLength::None,
                connection: ConnectionField::Omit,
                upgrade: false,
                client: self.facts.version,
            };
            write_response(client.output.storage(), bytes, head, &outgoing);
        }
        Ok(Step::Progress)
    }

    fn pass_final(
        &mut self,
        head: &ResponseHead,
        bytes: &[u8],
        length: BodyLength,
        client: &mut Link,
    ) {
        self.until_close = length == BodyLength::UntilClose;
        self.unchunk = length == BodyLength::Chunked && self.facts.version == Version::Http10;
        self.upstream_stays = keep_alive(head.version, &head.fields, bytes) && !self.until_close;
        // A client that waited for 100 (Continue) and gets a final answer may or may not send
        // its body; nobody can tell which, so the connection ends (RFC 9110 section 10.1.1).
        let body_in_doubt = self.facts.expects_continue
            && !self.continued
            && self.request != RequestSide::Done
            && !self.body_taken;
        self.client_stays &= !self.until_close && !self.unchunk && !body_in_doubt;
        let connection = match (self.client_stays, self.facts.version) {
            (false, _) => ConnectionField::Close,
            (true, Version::Http10) => ConnectionField::KeepAlive,
            (true, Version::Http11) => ConnectionField::Omit,
        };
        let outgoing = OutgoingResponse {
            body: if self.unchunk { BodyLength::UntilClose } else { length },
            connection,
            upgrade: head.status == 426,
            client: self.facts.version,
        };
        write_response(client.output.storage(), bytes, head, &outgoing);
        if let BodyLength::Length(length) = length {
            self.response_copy.reserve(length);
        }
        self.response_body = BodyReader::new(length);
        self.response =
            if self.response_body.is_done() { ResponseSide::Done } else { ResponseSide::Body };
    }

    fn move_body(
        &mut self,
        upstream: &mut Link,
        client: &mut Link,
        cx: &mut Context<'_>,
    ) -> Result<Step, Failure> {
        if !client.has_room() {
            return Ok(Step::Wait);
        }
        let copy = &mut self.response_copy;
        let outbox = &mut *cx.outbox;
        let unchunk = self.unchunk;
        let progress = self
            .response_body
            .advance(upstream.input.bytes(), &mut |piece: &[u8]| {
                copy.push(piece, outbox);
                if unchunk {
                    client.send(piece);
                }
            })
            .map_err(|error| bad_response(&error.to_string()))?;
        if !unchunk && let Some(passed) = upstream.input.bytes().get(..progress.consumed) {
            client.send(passed);
        }
        upstream.input.consume(progress.consumed);
        if progress.done {
            self.response = ResponseSide::Done;
        } else if let Some(end) = &upstream.end
            && progress.consumed == 0
        {
            return self.end_body(end);
        }
        let moved = progress.consumed > 0 || progress.done;
        Ok(if moved { Step::Progress } else { Step::Wait })
    }

    /// The server's stream has ended inside the body.
    fn end_body(&mut self, end: &End) -> Result<Step, Failure> {
        self.upstream_stays = false;
        match (self.response_body.finish(), end.doubt()) {
            (Ok(()), None) => {
                self.response = ResponseSide::Done;
                Ok(Step::Progress)
            }
            (Ok(()) | Err(FramingError::Truncated), Some(doubt)) => {
                Err(Failure::Upstream(502, doubt.to_owned()))
            }
            (Err(error), _) => Err(Failure::Upstream(502, error.to_string())),
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
        self.retried = true;
        self.upstream = None;
        self.request = RequestSide::Upstream;
        true
    }

    fn is_idempotent(&self) -> bool {
        let methods: [&[u8]; 6] = [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"];
        methods.contains(&self.facts.method.as_slice())
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

    /// The response's head as it came, once it is there.
    pub fn response_head(&self) -> Option<&Bytes> {
        self.response_head.as_ref()
    }

    /// Whether an upstream connection is awaited.
    pub fn awaits_upstream(&self) -> bool {
        self.request == RequestSide::Upstream
    }

    /// Whether the whole request was taken from the client.
    pub fn request_is_done(&self) -> bool {
        self.request == RequestSide::Done
    }

    /// Whether the client has got all of the response.
    pub fn response_is_done(&self) -> bool {
        self.response == ResponseSide::Done
    }

    /// Whether the head of a final response went to the client.
    pub fn is_answered(&self) -> bool {
        self.response != ResponseSide::Head
    }

    /// Whether the body that the client gets ends with the connection.
    pub fn ends_by_close(&self) -> bool {
        self.until_close || self.unchunk
    }

    /// Whether the client's connection goes on after this exchange.
    pub fn client_stays(&self) -> bool {
        self.client_stays
    }

    /// Whether the upstream connection goes on after this exchange.
    pub fn upstream_stays(&self) -> bool {
        self.upstream_stays && self.request == RequestSide::Done
    }

    /// Whether the request has no body at all, so that nothing of it is still on its way.
    pub fn has_no_body(&self) -> bool {
        matches!(self.facts.length, BodyLength::None | BodyLength::Length(0))
    }

    /// The record of the exchange, when it is to be recorded.
    pub fn into_event(
        self,
        client: SocketAddr,
        client_tls: Option<Arc<TlsFacts>>,
        error: Option<String>,
        now: Now,
    ) -> Option<FlowEvent> {
        if !self.facts.recorded {
            return None;
        }
        let timing = self.timing(now);
        let request_trailers = Bytes::copy_from_slice(self.request_body.trailers());
        let response_trailers = Bytes::copy_from_slice(self.response_body.trailers());
        let response = self.response_head.map(|head| Message {
            head,
            body: self.response_copy.finish(),
            trailers: response_trailers,
        });
        let record = Record {
            id: self.id,
            scheme: self.facts.route.scheme,
            target: Some(self.facts.route.authority),
            client,
            client_tls,
            upstream: self.upstream.map(|upstream| Upstream {
                address: upstream.address,
                connection: upstream.connection,
                reused: upstream.reused,
                tls: upstream.tls,
            }),
            request: Message {
                head: self.facts.head,
                body: self.request_copy.finish(),
                trailers: request_trailers,
            },
            response,
            timing,
            error,
            intervention: Intervention::default(),
        };
        Some(FlowEvent::Exchange(Arc::new(record)))
    }

    fn timing(&self, now: Now) -> Timing {
        let between = |from: Option<Now>, to: Option<Now>| match (from, to) {
            (Some(from), Some(to)) => micros(from, to),
            _ => 0,
        };
        let times = &self.times;
        let sent = times.request_done.or(times.response_began);
        Timing {
            began_us: self.facts.began.epoch_us,
            dns_us: self.upstream.as_ref().map_or(0, |upstream| upstream.dns_us),
            connect_us: self.upstream.as_ref().map_or(0, |upstream| upstream.connect_us),
            tls_us: self.upstream.as_ref().map_or(0, |upstream| upstream.tls_us),
            send_us: between(times.connected, sent),
            wait_us: between(times.request_done, times.response_began),
            receive_us: between(times.response_began, Some(now)),
            total_us: micros(self.facts.began, now),
        }
    }
}

/// Microseconds from one moment to another.
pub fn micros(from: Now, to: Now) -> u64 {
    let duration = to.instant.saturating_duration_since(from.instant);
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
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
