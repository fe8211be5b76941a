//! Tools over a store, and a fake of the loops that notes what it was asked for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use flowtap::capture::entry::ended;
use flowtap::capture::queue::{FlowSender, queue};
use flowtap::flow::control::{ControlError, FlowControl, NewRequest, Verdict};
use flowtap::flow::record::*;
use flowtap::flow::redact::Redactor;
use flowtap::mcp::store::{Store, StoreLimits};
use flowtap::mcp::toolbox::{Call, Cancellation, ToolResult, Toolbox};
use flowtap::mcp::tools::{FlowTools, Surroundings};
use flowtap::options::{Options, SharedOptions};
use flowtap::stats::Stats;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const BEGAN_S: u64 = 1_700_000_000;

pub(crate) struct Bench {
    pub(crate) tools: FlowTools,
    store: Arc<Store>,
    sender: FlowSender,
    pub(crate) control: Arc<FakeControl>,
    pub(crate) options: Arc<SharedOptions>,
    pub(crate) folder: TempDir,
}

impl Bench {
    /// Tools that mask nothing.
    pub(crate) fn new() -> Self {
        Self::with(Redactor::off(), StoreLimits::default())
    }

    pub(crate) fn masking() -> Self {
        Self::with(Redactor::new(&[]).unwrap(), StoreLimits::default())
    }

    pub(crate) fn with(redactor: Redactor, limits: StoreLimits) -> Self {
        let (sender, receiver) = queue();
        let store = Arc::new(Store::new(receiver, limits));
        let options = Arc::new(SharedOptions::new(Options { redactor, ..Options::default() }));
        let control = Arc::new(FakeControl::new(sender.clone()));
        let folder = tempfile::tempdir().unwrap();
        let ids = control.clone();
        let surroundings = Surroundings {
            listen_address: "127.0.0.1:8080".into(),
            mode: "regular",
            bundle: Some("capture.zip".into()),
            folder: folder.path().to_owned(),
            started: Instant::now(),
            stats: Arc::new(Stats::default()),
            notices: None,
            new_flow_id: Box::new(move || ids.new_id()),
        };
        let tools = FlowTools::new(store.clone(), control.clone(), options.clone(), surroundings);
        Bench { tools, store, sender, control, options, folder }
    }

    pub(crate) fn tell(&self, event: FlowEvent) {
        self.sender.try_send(vec![event]).unwrap();
        self.store.pump();
    }

    pub(crate) fn end(&self, exchange: Exchange) {
        self.tell(ended(&exchange));
    }

    pub(crate) fn call_raw(&self, tool: &str, arguments: &Value) -> ToolResult {
        let arguments = arguments.as_object().unwrap();
        let cancellation = Cancellation::default();
        let call = Call { arguments, cancellation: &cancellation, progress: &|_, _, _| () };
        self.tools.call(tool, &call).unwrap()
    }

    /// Calls a tool that must succeed.
    pub(crate) fn call(&self, tool: &str, arguments: Value) -> Value {
        let result = self.call_raw(tool, &arguments);
        let content = Value::from(result.content);
        assert!(!result.is_error, "{tool} {arguments}: {content}");
        content
    }

    /// Calls a tool that must fail; gives the words of the failure.
    pub(crate) fn refused(&self, tool: &str, arguments: Value) -> String {
        let result = self.call_raw(tool, &arguments);
        assert!(result.is_error, "{tool} {arguments} did not fail: {:?}", result.content);
        result.content["error"].as_str().unwrap().to_owned()
    }

    /// Makes the call that a reply names as the next one.
    pub(crate) fn follow(&self, next: &Value) -> Value {
        let mut arguments = next.as_object().unwrap().clone();
        let tool = arguments.remove("tool").unwrap();
        self.call(tool.as_str().unwrap(), Value::from(arguments))
    }

    /// Holds a flow, as a loop does.
    pub(crate) fn hold(&self, exchange: &Exchange, side: Side) {
        let id = exchange.id;
        let begun = begins(exchange);
        self.tell(FlowEvent::Begun(begun.clone()));
        let message = match side {
            Side::Request => exchange.request.clone(),
            Side::Response => exchange.response.clone().unwrap(),
        };
        let since_us = (BEGAN_S + 1_000_000_000) * 1_000_000;
        let whole = !message.body.is_cut();
        let held = Held { flow: id, begun, side, message, whole, since_us };
        self.tell(FlowEvent::Held(Arc::new(held)));
        self.control.held.lock().unwrap().push(id);
    }
}

/// The loops, as far as tools see them.
pub(crate) struct FakeControl {
    sender: FlowSender,
    next_id: AtomicU64,
    pub(crate) held: Mutex<Vec<FlowId>>,
    pub(crate) decided: Mutex<Vec<(FlowId, Verdict)>>,
    pub(crate) sent: Mutex<Vec<NewRequest>>,
    /// Whether servers never answer.
    pub(crate) is_silent: AtomicBool,
    /// What the next requests come to; an answer of 200 when there is nothing here.
    pub(crate) answers: Mutex<Vec<Exchange>>,
}

impl FakeControl {
    fn new(sender: FlowSender) -> Self {
        FakeControl {
            sender,
            next_id: AtomicU64::new(1_000),
            held: Mutex::default(),
            decided: Mutex::default(),
            sent: Mutex::default(),
            is_silent: AtomicBool::new(false),
            answers: Mutex::default(),
        }
    }

    fn new_id(&self) -> FlowId {
        FlowId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }
}

impl FlowControl for FakeControl {
    fn decide(&self, flow: FlowId, verdict: Verdict) -> Result<(), ControlError> {
        let mut held = self.held.lock().unwrap();
        let Some(at) = held.iter().position(|id| *id == flow) else {
            return Err(ControlError::NotHeld);
        };
        if let Verdict::ResumeRequest(edit) = &verdict
            && edit.url.as_deref() == Some("http://refused.example/")
        {
            return Err(ControlError::Refused("this proxy is what it asks for".into()));
        }
        held.remove(at);
        let released = Released { flow, timed_out: false };
        self.sender.try_send(vec![FlowEvent::Released(released)]).unwrap();
        self.decided.lock().unwrap().push((flow, verdict));
        Ok(())
    }

    fn send(&self, request: NewRequest) -> Result<FlowId, ControlError> {
        if request.url.contains("refused.example") {
            return Err(ControlError::Refused("the host is not allowed".into()));
        }
        let id = self.new_id();
        let scripted = self.answers.lock().unwrap().pop();
        let mut answer = scripted.unwrap_or_else(|| {
            exchange(id.0, "GET", "http://sent.example/", 200, "text/plain", "fine")
        });
        answer.id = id;
        answer.intervention.replayed = true;
        answer.intervention.origin = request.origin;
        self.sent.lock().unwrap().push(request);
        if !self.is_silent.load(Ordering::Relaxed) {
            self.sender.try_send(vec![ended(&answer)]).unwrap();
        }
        Ok(id)
    }

    fn abandon(&self, _: FlowId) {}
}

pub(crate) fn body(bytes: impl Into<Bytes>) -> Body {
    let tail: Bytes = bytes.into();
    Body { size: tail.len() as u64, tail, sent_ahead: 0 }
}

/// An exchange that went well. The body is the response's, and the request has none.
pub(crate) fn exchange(
    id: u64,
    method: &str,
    url: &str,
    status: u16,
    media_type: &str,
    response_body: impl Into<Bytes>,
) -> Exchange {
    let (scheme, rest) = url.split_once("://").unwrap();
    let slash = rest.find('/').unwrap();
    let (authority, path) = rest.split_at(slash);
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let usual = if scheme == "https" { 443 } else { 80 };
    let port = port.parse().unwrap_or(usual);
    let response_head = format!(
        "HTTP/1.1 {status} Reason\r\nContent-Type: {media_type}\r\nServer: made-up\r\n\r\n"
    );
    Exchange {
        id: FlowId(id),
        scheme: if scheme == "https" { Scheme::Https } else { Scheme::Http },
        target: Some(Arc::new(Authority { host: host.into(), port })),
        client: "127.0.0.1:40000".parse().unwrap(),
        client_tls: None,
        upstream: None,
        request: Message {
            head: format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\n\r\n")
                .into(),
            ..Message::default()
        },
        response: Some(Message {
            head: response_head.into(),
            body: body(response_body),
            ..Message::default()
        }),
        timing: Timing {
            began_us: (BEGAN_S + id) * 1_000_000,
            wait_us: 20_000,
            receive_us: 5_000,
            total_us: 30_000,
            ..Timing::default()
        },
        error: None,
        intervention: Intervention::default(),
    }
}

/// A GET that was answered with this JSON.
pub(crate) fn json_exchange(id: u64, url: &str, json: Value) -> Exchange {
    exchange(id, "GET", url, 200, "application/json", json.to_string())
}

/// Gives an exchange another request.
pub(crate) fn with_request(mut exchange: Exchange, head: &str, bytes: &str) -> Exchange {
    exchange.request = Message {
        head: head.to_owned().into(),
        body: body(bytes.to_owned()),
        ..Message::default()
    };
    exchange
}

pub(crate) fn begun(exchange: &Exchange) -> FlowEvent {
    FlowEvent::Begun(begins(exchange))
}

fn begins(exchange: &Exchange) -> Arc<Begun> {
    Arc::new(Begun {
        id: exchange.id,
        scheme: exchange.scheme,
        target: exchange.target.clone().unwrap(),
        client: exchange.client,
        client_tls: None,
        began_us: exchange.timing.began_us,
        request: exchange.request.clone(),
        whole: true,
        intervention: exchange.intervention,
    })
}

pub(crate) fn websocket(id: u64, path: &str) -> FlowEvent {
    FlowEvent::WebSocketOpen(Arc::new(WebSocketOpen {
        id: FlowId(id),
        scheme: Scheme::Https,
        target: Arc::new(Authority { host: "ws.example".into(), port: 443 }),
        client: "127.0.0.1:40000".parse().unwrap(),
        request_head: format!("GET {path} HTTP/1.1\r\nHost: ws.example\r\n\r\n").into(),
        response_head: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".into(),
        began_us: (BEGAN_S + id) * 1_000_000,
        deflate: None,
    }))
}

pub(crate) fn websocket_message(
    id: u64,
    direction: Direction,
    opcode: Opcode,
    payload: impl Into<Bytes>,
) -> FlowEvent {
    FlowEvent::WebSocketMessage(WebSocketMessage {
        flow: FlowId(id),
        direction,
        opcode,
        compressed: false,
        time_us: (BEGAN_S + id) * 1_000_000 + 7_000,
        payload: payload.into(),
    })
}

/// What a value costs: characters over four.
pub(crate) fn tokens(value: &Value) -> usize {
    value.to_string().len() / 4
}

pub(crate) fn ids(flows: &Value) -> Vec<&str> {
    flows.as_array().unwrap().iter().map(|flow| flow["id"].as_str().unwrap()).collect()
}
