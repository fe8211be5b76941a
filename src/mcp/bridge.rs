//! Standard input and output for a flowtap that runs already: messages are relayed to its MCP
//! port over Streamable HTTP, and what it says comes back.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::limits::{MCP_BRIDGED_REQUESTS, MCP_CALL_EVENTS, MCP_PROBE_TIMEOUT, STOP_GRACE};
use crate::mcp::dispatch::is_stateless;
use crate::mcp::present::meta;
use crate::mcp::rpc::{self, BUSY, Id, Incoming, Message, Request, RpcError};
use crate::mcp::stdio::{Line, read_lines};
use crate::mcp::version::Version;
use client::{Reply, Target, read_reply};

mod client;
pub mod events;

/// What listens at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// Nothing, or something else.
    Nobody,
    /// A flowtap.
    Flowtap,
    /// Something that wants another token, as a flowtap does.
    Locked,
}

/// Asks what listens at an address.
pub fn ask(address: SocketAddr, token: Option<&str>) -> Neighbour {
    let target = Target { address, token: token.map(str::to_owned) };
    let params = json!({ "_meta": {
        meta("protocolVersion"): Version::V2026_07_28.name(),
        meta("clientCapabilities"): {},
    }});
    let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "server/discover", "params": params });
    let params_of = params.as_object().cloned().unwrap_or_default();
    let Some(fields) = stateless_fields("server/discover", &params_of) else {
        return Neighbour::Nobody;
    };
    let asked = || -> io::Result<Reply> {
        let stream = target.post(&body.to_string(), &fields)?;
        read_reply(stream, soon(), &mut |_| {})
    };
    let Ok(reply) = asked() else { return Neighbour::Nobody };
    if reply.status == 401 {
        return Neighbour::Locked;
    }
    let answer: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    let name =
        answer.get("result").and_then(|it| it.get("_meta")?.get(meta("serverInfo"))?.get("name"));
    if name.and_then(Value::as_str) == Some("flowtap") {
        Neighbour::Flowtap
    } else {
        Neighbour::Nobody
    }
}

/// Relays until the input ends or `stop` tells something. Requests under way then have a moment
/// to end.
///
/// # Errors
/// When no thread can be started. An output that nobody reads any more is no error.
pub fn run(
    address: SocketAddr,
    token: Option<String>,
    input: impl Read + Send + 'static,
    output: &mut impl Write,
    stop: &Receiver<()>,
) -> Result<()> {
    let lines = read_lines(input)?;
    let (events, told) = bounded(MCP_CALL_EVENTS);
    let mut bridge = Bridge {
        target: Target { address, token },
        session: None,
        under_way: HashMap::new(),
        last: 0,
        events,
        output,
    };
    // Only a client that has gone makes writing fail.
    let _ = bridge.attend(&lines, &told, stop);
    bridge.end_session();
    Ok(())
}

/// What a thread that reads an answer tells.
#[derive(Debug)]
enum Event {
    /// A message that came on an event stream.
    Message(String),
    /// The answer to a request has ended.
    Ended(u64, io::Result<Reply>),
}

/// A session with the other flowtap.
#[derive(Debug)]
struct Session {
    /// Its id and version as fields.
    fields: String,
    /// The message that opened it.
    initialize: String,
}

/// A request whose answer is being read.
#[derive(Debug)]
struct UnderWay {
    id: Option<Id>,
    line: String,
    stateless: bool,
    /// Whether it was sent again already, in another session.
    again: bool,
    stream: TcpStream,
}

struct Bridge<'a, W> {
    target: Target,
    session: Option<Session>,
    under_way: HashMap<u64, UnderWay>,
    last: u64,
    events: Sender<Event>,
    output: &'a mut W,
}

impl<W: Write> Bridge<'_, W> {
    fn attend(
        &mut self,
        lines: &Receiver<Line>,
        told: &Receiver<Event>,
        stop: &Receiver<()>,
    ) -> io::Result<()> {
        loop {
            select! {
                recv(lines) -> line => match line {
                    Ok(line) => self.take(line)?,
                    Err(_) => break,
                },
                recv(told) -> event => {
                    if let Ok(event) = event {
                        self.hear(event)?;
                    }
                }
                recv(stop) -> _ => break,
            }
        }
        let end = Instant::now() + STOP_GRACE;
        while !self.under_way.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(event) = told.recv_timeout(left) else { break };
            self.hear(event)?;
        }
        Ok(())
    }

    fn write(&mut self, json: &str) -> io::Result<()> {
        // Another version may lay its JSON out.
        let line = json.replace(['\r', '\n'], " ");
        self.output.write_all(line.as_bytes())?;
        self.output.write_all(b"\n")?;
        self.output.flush()
    }

    fn refuse(&mut self, id: Option<&Id>, reason: &str) -> io::Result<()> {
        self.write(&rpc::error(id, &RpcError::new(BUSY, reason)))
    }

    fn take(&mut self, line: Line) -> io::Result<()> {
        let bytes = match line.bytes() {
            Ok(bytes) => bytes,
            Err(error) => return self.write(&rpc::error(None, &error)),
        };
        let incoming = match rpc::read(&bytes) {
            Ok(incoming) => incoming,
            Err(error) => return self.write(&rpc::error(None, &error)),
        };
        let line = String::from_utf8_lossy(&bytes).into_owned();
        match incoming {
            Incoming::One(Ok(Message::Request(request))) => self.request(request, line),
            Incoming::One(Ok(Message::Notification { method, params })) => {
                self.notification(&method, &params, &line);
                Ok(())
            }
            Incoming::One(Ok(Message::Response)) => Ok(()),
            Incoming::One(Err(rejected)) => {
                self.write(&rpc::error(rejected.id.as_ref(), &rejected.error))
            }
            Incoming::Batch(_) => self.send(None, line, None, false),
        }
    }

    fn request(&mut self, request: Request, line: String) -> io::Result<()> {
        if request.method == "initialize" {
            return match self.initialize(&line) {
                Ok(json) => self.write(&json),
                Err(reason) => self.refuse(Some(&request.id), &reason),
            };
        }
        let Request { id, method, params } = request;
        let fields = is_stateless(&params).then(|| stateless_fields(&method, &params)).flatten();
        self.send(Some(id), line, fields, false)
    }

    /// Opens a session, and gives the answer.
    fn initialize(&mut self, line: &str) -> std::result::Result<String, String> {
        let answered = || -> io::Result<Reply> {
            let stream = self.target.post(line, "")?;
            read_reply(stream, soon(), &mut |_| {})
        };
        let reply = answered().map_err(|error| self.gone(&error))?;
        let Some(session) = reply.session.filter(|_| reply.status == 200) else {
            return Err(format!("the flowtap at {} opens no session", self.target.address));
        };
        let answer: Value = serde_json::from_str(&reply.body).unwrap_or_default();
        let version = answer.get("result").and_then(|result| result.get("protocolVersion"));
        let version = version.and_then(Value::as_str).and_then(Version::with_sessions);
        let version = version.unwrap_or(Version::NEWEST_WITH_SESSIONS).name();
        let fields = format!("Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: {version}\r\n");
        self.listen(&fields);
        self.session = Some(Session { fields, initialize: line.to_owned() });
        Ok(reply.body)
    }

    /// Holds the session's stream: what comes on it is passed on, and the session does not end
    /// while its client thinks.
    fn listen(&self, fields: &str) {
        let Ok(stream) = self.target.get(fields) else { return };
        let events = self.events.clone();
        let thread = thread::Builder::new().name("mcp-listen".to_owned());
        // Without a thread nothing is heard, and nothing is said there either.
        let _ = thread.spawn(move || {
            read_reply(stream, None, &mut |json| drop(events.send(Event::Message(json.to_owned()))))
        });
    }

    /// Sends a message and has its answer read.
    fn send(
        &mut self,
        id: Option<Id>,
        line: String,
        stateless: Option<String>,
        again: bool,
    ) -> io::Result<()> {
        if self.under_way.len() >= MCP_BRIDGED_REQUESTS {
            return self.refuse(id.as_ref(), "too many requests are under way");
        }
        let session = || self.session.as_ref().map(|it| it.fields.as_str()).unwrap_or_default();
        let fields = stateless.as_deref().unwrap_or_else(session);
        let sent = self.target.post(&line, fields);
        let sent = sent.and_then(|stream| Ok((stream.try_clone()?, stream)));
        let (reading, stream) = match sent {
            Ok(streams) => streams,
            Err(error) => {
                let reason = self.gone(&error);
                return self.refuse(id.as_ref(), &reason);
            }
        };
        self.last += 1;
        let key = self.last;
        let events = self.events.clone();
        let thread = thread::Builder::new().name("mcp-answer".to_owned()).spawn(move || {
            let mut pass = |json: &str| drop(events.send(Event::Message(json.to_owned())));
            let reply = read_reply(reading, None, &mut pass);
            // Whoever would hear it may have ended.
            let _ = events.send(Event::Ended(key, reply));
        });
        if let Err(error) = thread {
            return self.refuse(id.as_ref(), &format!("no thread is left: {error}"));
        }
        let stateless = stateless.is_some();
        self.under_way.insert(key, UnderWay { id, line, stateless, again, stream });
        Ok(())
    }

    fn hear(&mut self, event: Event) -> io::Result<()> {
        let (key, reply) = match event {
            Event::Message(json) => return self.write(&json),
            Event::Ended(key, reply) => (key, reply),
        };
        // One that was cancelled has no reply.
        let Some(request) = self.under_way.remove(&key) else { return Ok(()) };
        let id = request.id.as_ref();
        match reply {
            Ok(reply) if reply.streamed || reply.status == 202 => Ok(()),
            Ok(reply) if reply.status == 404 && !request.stateless && !request.again => {
                self.send_again(request, &reply)
            }
            Ok(reply) => self.pass_on(id, &reply),
            Err(error) => {
                let reason = self.gone(&error);
                self.refuse(id, &reason)
            }
        }
    }

    /// The session is unknown where the other flowtap was started anew: another one is opened.
    fn send_again(&mut self, request: UnderWay, reply: &Reply) -> io::Result<()> {
        let line = self.session.as_ref().map(|session| session.initialize.clone());
        match line.map(|line| self.initialize(&line)) {
            Some(Ok(_)) => self.send(request.id, request.line, None, true),
            _ => self.pass_on(request.id.as_ref(), reply),
        }
    }

    fn pass_on(&mut self, id: Option<&Id>, reply: &Reply) -> io::Result<()> {
        let answer: Value = serde_json::from_str(&reply.body).unwrap_or_default();
        if answer.is_array() || answer.get("id").is_some_and(|id| !id.is_null()) {
            return self.write(&reply.body);
        }
        let error = answer.get("error");
        let message = error.and_then(|error| error.get("message")).and_then(Value::as_str);
        let reason = message.unwrap_or(reply.body.trim());
        self.refuse(id, &format!("{} ({})", reason, reply.status))
    }

    fn notification(&mut self, method: &str, params: &Map<String, Value>, line: &str) {
        if method == "notifications/cancelled"
            && let Some(id) = params.get("requestId").and_then(Id::from_value)
        {
            let named = |it: &UnderWay| it.id.as_ref() == Some(&id);
            let key = self.under_way.iter().find(|(_, it)| named(it)).map(|(key, _)| *key);
            let request = key.and_then(|key| self.under_way.remove(&key));
            if let Some(request) = request.filter(|request| request.stateless) {
                // Dropping the answer cancels.
                let _ = request.stream.shutdown(Shutdown::Both);
                return;
            }
        }
        let Some(session) = self.session.as_ref().filter(|_| !is_stateless(params)) else { return };
        // A notification has no answer, and nobody who could be told that it was lost.
        let _ = self
            .target
            .post(line, &session.fields)
            .and_then(|stream| read_reply(stream, soon(), &mut |_| {}));
    }

    fn end_session(&mut self) {
        for request in self.under_way.values() {
            let _ = request.stream.shutdown(Shutdown::Both);
        }
        if let Some(session) = &self.session {
            // One that is not ended ends by itself.
            let _ = self.target.delete(&session.fields);
        }
    }

    fn gone(&self, error: &io::Error) -> String {
        format!("the flowtap at {} does not answer: {error}", self.target.address)
    }
}

/// When an answer that comes at once must be there.
fn soon() -> Option<Instant> {
    Some(Instant::now() + MCP_PROBE_TIMEOUT)
}

/// What the head of a stateless request repeats of its body; `None` if it names no version.
fn stateless_fields(method: &str, params: &Map<String, Value>) -> Option<String> {
    let version = params.get("_meta")?.get(meta("protocolVersion"))?.as_str()?;
    let mut fields = format!(
        "MCP-Protocol-Version: {}\r\nMcp-Method: {}\r\n",
        client::field_value(version),
        client::field_value(method)
    );
    let name = params.get("name").or_else(|| params.get("uri")).and_then(Value::as_str);
    if let Some(name) = name {
        fields.push_str(&format!("Mcp-Name: {}\r\n", client::field_value(name)));
    }
    Some(fields)
}
