//! One connection to the MCP port as a state machine: bytes in, requests out, answers in, bytes
//! out. Heads and bodies are read by the same readers as the proxy's.

use std::mem;
use std::time::Instant;

use crate::http::body::{BodyLength, BodyReader, request_length};
use crate::http::field::{FieldKind, has_token};
use crate::http::head::{HeadReader, Parsed, RequestHead, Version, values};
use crate::http::reply::write_head;
use crate::http::rewrite::ConnectionField;
use crate::http::target::{HostPort, Target, parse_target};
use crate::limits::{INPUT_BYTES, MCP_BODY_BYTES, MCP_STREAM_BYTES, SPARE_BUFFER_BYTES};
use crate::mcp::server::Timing;

const EVENT_STREAM: &str = "text/event-stream";

/// A request, whole.
#[derive(Clone, Debug, Default)]
pub struct HttpRequest {
    /// The method.
    pub method: String,
    /// The path of the target, without a slash at its end.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    /// The host of a target in the absolute form.
    pub authority: Option<HostPort>,
    /// The fields, their names in lower case.
    fields: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// The values of a field, whose name is given in lower case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        let named = self.fields.iter().filter(move |(field, _)| field == name);
        named.map(|(_, value)| value.as_slice())
    }

    /// The only value of a field, as text.
    ///
    /// # Errors
    /// When there are several, or it is no text.
    pub(super) fn only(&self, name: &str) -> Result<Option<&str>, ()> {
        let mut named = self.fields.iter().filter(|(field, _)| field == name);
        match (named.next(), named.next()) {
            (None, _) => Ok(None),
            (Some((_, value)), None) => std::str::from_utf8(value).map(Some).map_err(|_| ()),
            (Some(_), Some(_)) => Err(()),
        }
    }
}

/// An answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Fields beside those of the body.
    pub fields: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

/// An answer's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// None.
    Empty,
    /// JSON.
    Json(String),
    /// One line for a person.
    Text(String),
}

impl Answer {
    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Answer { status, fields: Vec::new(), body: Body::Empty }
    }

    /// An answer in JSON.
    pub fn json(status: u16, json: String) -> Self {
        Answer { status, fields: Vec::new(), body: Body::Json(json) }
    }

    /// An answer in words.
    pub fn text(status: u16, reason: &str) -> Self {
        Answer { status, fields: Vec::new(), body: Body::Text(format!("flowtap: {reason}\n")) }
    }

    /// The answer with one more field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }
}

/// Where a connection stands.
#[derive(Debug)]
enum State {
    /// The head of a request is awaited.
    Head,
    /// The body of a request is awaited.
    Body(Box<Receiving>),
    /// The answer to a request is awaited.
    Answer(Manner),
    /// An event stream is under way.
    Stream,
    /// The last answer is written; what still comes is thrown away.
    Closing,
}

#[derive(Debug)]
struct Receiving {
    request: HttpRequest,
    reader: BodyReader,
    manner: Manner,
}

/// How an answer is to be written.
#[derive(Clone, Copy, Debug, Default)]
struct Manner {
    close: bool,
    head_only: bool,
}

/// The connection.
#[derive(Debug)]
pub struct Conn {
    state: State,
    input: Vec<u8>,
    input_ended: bool,
    heads: HeadReader,
    output: Vec<u8>,
    /// Bytes of the output that the socket has taken.
    written: usize,
    /// Fields for the answer that is awaited.
    answer_fields: Vec<(&'static str, String)>,
    /// Since when this state lasts; in [`State::Head`] and [`State::Body`], since when the first
    /// byte of the request is here.
    since: Instant,
    /// When the socket last took output, or there was none.
    moved: Instant,
    /// When an event stream last had something to carry.
    spoken: Instant,
    cut: bool,
}

impl Conn {
    /// A connection that has just been accepted.
    pub fn new(now: Instant) -> Self {
        Conn {
            state: State::Head,
            input: Vec::new(),
            input_ended: false,
            heads: HeadReader::new(),
            output: Vec::new(),
            written: 0,
            answer_fields: Vec::new(),
            since: now,
            moved: now,
            spoken: now,
            cut: false,
        }
    }

    /// Whether more input can be taken.
    pub fn wants_input(&self) -> bool {
        !self.input_ended && self.input.len() < INPUT_BYTES
    }

    /// Takes input.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        match &mut self.state {
            // No other request is served behind a stream.
            State::Stream | State::Closing => return,
            State::Head | State::Body(_) | State::Answer(_) => {}
        }
        if self.input.is_empty() && matches!(self.state, State::Head) {
            self.since = now;
        }
        self.input.extend_from_slice(bytes);
    }

    /// Takes the end of input.
    pub fn end_input(&mut self) {
        self.input_ended = true;
    }

    /// Whether no more input comes.
    pub fn input_ended(&self) -> bool {
        self.input_ended
    }

    /// The next request that is whole. `judge` sees each once its head is there, and may answer
    /// it before its body comes; `room` is what all bodies may still take.
    pub fn next_request(
        &mut self,
        judge: &dyn Fn(&HttpRequest) -> Result<(), Answer>,
        room: usize,
        now: Instant,
    ) -> Option<HttpRequest> {
        loop {
            match mem::replace(&mut self.state, State::Closing) {
                State::Head => {
                    self.state = State::Head;
                    if !self.read_head(judge, now) {
                        return None;
                    }
                }
                State::Body(mut receiving) => match self.read_body(&mut receiving, room) {
                    Ok(true) => {
                        self.state = State::Answer(receiving.manner);
                        self.since = now;
                        return Some(receiving.request);
                    }
                    // It was cut short, and nobody waits for an answer.
                    Ok(false) if self.input_ended => {}
                    Ok(false) => {
                        self.state = State::Body(receiving);
                        return None;
                    }
                    Err(answer) => {
                        self.state = State::Answer(Manner { close: true, ..receiving.manner });
                        self.answer(answer, now);
                    }
                },
                other => {
                    self.state = other;
                    return None;
                }
            }
        }
    }

    /// Reads a head if there is a whole one; whether there was.
    fn read_head(
        &mut self,
        judge: &dyn Fn(&HttpRequest) -> Result<(), Answer>,
        now: Instant,
    ) -> bool {
        let mut head = RequestHead::default();
        match self.heads.request(&self.input, &mut head) {
            Ok(Parsed::Complete) => {}
            Ok(Parsed::Partial) => {
                if self.input_ended {
                    self.input.clear();
                }
                return false;
            }
            Err(error) => {
                self.state = State::Answer(Manner { close: true, head_only: false });
                self.answer(Answer::text(error.status(), &error.to_string()), now);
                return false;
            }
        }
        let manner = Manner {
            close: head.version == Version::Http10
                || has_token(&head.fields, &self.input, FieldKind::Connection, "close"),
            head_only: head.method.of(&self.input) == b"HEAD",
        };
        let read = self.begin(&head, judge);
        self.input.drain(..head.len.min(self.input.len()));
        match read {
            Ok((request, length)) => {
                let reader = BodyReader::new(length);
                self.state = State::Body(Box::new(Receiving { request, reader, manner }));
            }
            Err((answer, has_body)) => {
                // A body that nobody wants is not waited for.
                let close = manner.close || has_body;
                self.state = State::Answer(Manner { close, ..manner });
                self.answer(answer, now);
            }
        }
        true
    }

    /// What a head asks for, or the answer that it has already, and whether a body follows.
    fn begin(
        &mut self,
        head: &RequestHead,
        judge: &dyn Fn(&HttpRequest) -> Result<(), Answer>,
    ) -> Result<(HttpRequest, BodyLength), (Answer, bool)> {
        let refuse = |status, reason: &str| Err((Answer::text(status, reason), true));
        let length = match request_length(head, &self.input) {
            Ok(length) => length,
            Err(error) => return refuse(400, &error.to_string()),
        };
        let has_body = !matches!(length, BodyLength::None | BodyLength::Length(0));
        let method = head.method.of(&self.input);
        let target = match parse_target(method, head.target.of(&self.input)) {
            Ok(target) => target,
            Err(error) => return refuse(400, &error.to_string()),
        };
        let (authority, path) = match &target {
            Target::Absolute { authority, path, .. } => {
                let port = Some(authority.port);
                (Some(HostPort { host: authority.host.clone(), port }), path.as_ref())
            }
            Target::Origin(path) => (None, *path),
            Target::Asterisk => (None, &b"*"[..]),
            Target::Authority(_) => return refuse(400, "this is no proxy"),
        };
        let text = String::from_utf8_lossy(path);
        let (path, query) = text.split_once('?').unwrap_or((&text, ""));
        let field = |name: &[u8]| String::from_utf8_lossy(name).to_ascii_lowercase();
        let request = HttpRequest {
            method: String::from_utf8_lossy(method).into_owned(),
            path: path.strip_suffix('/').unwrap_or(path).to_owned(),
            query: query.to_owned(),
            authority,
            fields: head
                .fields
                .iter()
                .map(|it| (field(it.name.of(&self.input)), it.value.of(&self.input).to_vec()))
                .collect(),
            body: Vec::new(),
        };
        judge(&request).map_err(|answer| (answer, has_body))?;
        if matches!(length, BodyLength::Length(length) if length > MCP_BODY_BYTES as u64) {
            return Err((too_large(), true));
        }
        if has_body && head.version == Version::Http11 {
            self.agree_to_continue(head)?;
        }
        Ok((request, length))
    }

    /// Tells a client that waits for it to send its body (RFC 9110 section 10.1.1).
    fn agree_to_continue(&mut self, head: &RequestHead) -> Result<(), (Answer, bool)> {
        match values(&head.fields, &self.input, "Expect").next() {
            None => Ok(()),
            Some(expected) if expected.eq_ignore_ascii_case(b"100-continue") => {
                // Who sends it already waits for nothing.
                if self.input.len() == head.len {
                    self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                Ok(())
            }
            Some(_) => Err((Answer::text(417, "only 100-continue can be expected"), true)),
        }
    }

    /// Reads what is there of a body; whether it is whole.
    fn read_body(&mut self, receiving: &mut Receiving, room: usize) -> Result<bool, Answer> {
        let body = &mut receiving.request.body;
        let progress = receiving
            .reader
            .advance(&self.input, &mut |piece| body.extend_from_slice(piece))
            .map_err(|error| Answer::text(400, &error.to_string()))?;
        self.input.drain(..progress.consumed);
        if body.len() > MCP_BODY_BYTES {
            return Err(too_large());
        }
        if body.len() > room {
            return Err(Answer::text(503, "too many large requests at a time: try again"));
        }
        Ok(progress.done)
    }

    /// Bytes of a body that is being received.
    pub fn body_bytes(&self) -> usize {
        match &self.state {
            State::Body(receiving) => receiving.request.body.len(),
            _ => 0,
        }
    }

    /// Fields for the answer that will come.
    pub fn expect_fields(&mut self, fields: Vec<(&'static str, String)>) {
        self.answer_fields = fields;
    }

    /// Answers the request that awaits it. Nothing happens if none does.
    pub fn answer(&mut self, answer: Answer, now: Instant) {
        let State::Answer(manner) = self.state else { return };
        let close = manner.close || self.input_ended;
        let (content_type, body) = match &answer.body {
            Body::Empty => (None, &[][..]),
            Body::Json(json) => (Some("application/json"), json.as_bytes()),
            Body::Text(text) => (Some("text/plain; charset=utf-8"), text.as_bytes()),
        };
        let awaited = mem::take(&mut self.answer_fields);
        let own = answer.fields.iter().chain(&awaited).map(|(name, value)| (*name, value.as_str()));
        let content_type = content_type.map(|value| ("Content-Type", value));
        let fields: Vec<_> = content_type.into_iter().chain(own).collect();
        self.will_write(now);
        // HTTP/1.0 clients are not kept.
        let connection = ConnectionField::of(!close, Version::Http11);
        write_head(&mut self.output, answer.status, &fields, Some(body.len()), connection);
        if !manner.head_only {
            self.output.extend_from_slice(body);
        }
        self.state = if close { State::Closing } else { State::Head };
        if close {
            self.input.clear();
        }
        self.since = now;
    }

    /// Begins to answer the request with an event stream. Nothing happens if none waits.
    pub fn begin_stream(&mut self, now: Instant) {
        if !matches!(self.state, State::Answer(_)) {
            return;
        }
        let awaited = mem::take(&mut self.answer_fields);
        let mut fields = vec![("Content-Type", EVENT_STREAM), ("X-Accel-Buffering", "no")];
        fields.extend(awaited.iter().map(|(name, value)| (*name, value.as_str())));
        self.will_write(now);
        write_head(&mut self.output, 200, &fields, None, ConnectionField::Close);
        self.state = State::Stream;
        self.input.clear();
        self.since = now;
        self.spoken = now;
    }

    /// Whether an answer is awaited.
    pub fn awaits_answer(&self) -> bool {
        matches!(self.state, State::Answer(_))
    }

    /// Whether an event stream is under way.
    pub fn is_streaming(&self) -> bool {
        matches!(self.state, State::Stream)
    }

    /// Sends an event; its data is one line. A client that lets too much wait is cut off.
    pub fn event(&mut self, name: &str, data: &str, now: Instant) {
        if !self.is_streaming() {
            return;
        }
        self.will_write(now);
        self.spoken = now;
        for part in ["event: ", name, "\ndata: ", data, "\n\n"] {
            self.output.extend_from_slice(part.as_bytes());
        }
        self.cut |= self.output_bytes() > MCP_STREAM_BYTES;
    }

    /// Ends an event stream.
    pub fn end_stream(&mut self, now: Instant) {
        if self.is_streaming() {
            self.state = State::Closing;
            self.since = now;
        }
    }

    fn will_write(&mut self, now: Instant) {
        if self.output_bytes() == 0 {
            self.moved = now;
        }
    }

    /// What the socket is to take.
    pub fn output(&self) -> &[u8] {
        self.output.get(self.written..).unwrap_or_default()
    }

    /// Bytes that the socket is to take.
    pub fn output_bytes(&self) -> usize {
        self.output.len() - self.written
    }

    /// The socket has taken so many bytes.
    pub fn wrote(&mut self, bytes: usize, now: Instant) {
        self.written += bytes;
        self.moved = now;
        if self.written >= self.output.len() {
            self.written = 0;
            self.output.clear();
            self.output.shrink_to(SPARE_BUFFER_BYTES);
        }
    }

    /// Whether all was said and only the client's end is awaited.
    pub fn has_said_all(&self) -> bool {
        matches!(self.state, State::Closing) && self.output_bytes() == 0
    }

    /// Whether the connection has nothing more to do.
    pub fn is_over(&self) -> bool {
        let nothing_comes = self.input_ended && matches!(self.state, State::Head);
        self.cut
            || self.input_ended && self.has_said_all()
            || nothing_comes && self.output_bytes() == 0
    }

    /// Since when it waits for a request, for the rest of one, or for its client to close; `None`
    /// while there is anything to do or to say.
    pub fn idle_since(&self) -> Option<Instant> {
        let waits = matches!(self.state, State::Head | State::Body(_) | State::Closing);
        (waits && self.output_bytes() == 0).then_some(self.since)
    }

    /// Looks at the time: speaks on a stream that was silent for long, and gives up what takes
    /// too long.
    pub fn tick(&mut self, timing: &Timing, now: Instant) {
        let lasts = now.saturating_duration_since(self.since);
        match &self.state {
            _ if self.output_bytes() > 0 => {
                self.cut |= now.saturating_duration_since(self.moved) >= timing.write;
            }
            State::Head if self.input.is_empty() => self.cut |= lasts >= timing.keep_alive,
            State::Head | State::Body(_) if lasts >= timing.request => {
                self.state = State::Answer(Manner { close: true, head_only: false });
                self.answer(Answer::text(408, "the request did not come in time"), now);
            }
            State::Stream if now.saturating_duration_since(self.spoken) >= timing.ping => {
                self.will_write(now);
                self.output.extend_from_slice(b": ping\n\n");
                self.spoken = now;
            }
            State::Closing => self.cut |= lasts >= timing.linger,
            State::Head | State::Body(_) | State::Stream | State::Answer(_) => {}
        }
    }
}

fn too_large() -> Answer {
    Answer::text(413, &format!("a request's body has at most {MCP_BODY_BYTES} bytes"))
}

#[cfg(test)]
mod tests;
