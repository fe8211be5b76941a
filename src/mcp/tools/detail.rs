//! One flow, or one half of it.

use serde_json::{Map, Value, json};

use crate::flow::head::HeadText;
use crate::flow::record::{FlowId, Side};
use crate::flow::stored::{FlowState, StoredFlow, StoredMessage};
use crate::mcp::tools::Work;
use crate::mcp::tools::body::{ShownBody, Window};
use crate::mcp::tools::intercept::goes_on_us;
use crate::mcp::tools::reply::{Failure, Outcome, Reply, id_text, next_call, shorten};
use crate::mcp::tools::shown::{Headers, Shown, held_words, mask_fields, message, seconds};

/// Characters of a URL and of a header's value where nothing else is asked for.
const HEAD_VALUE_CHARS: usize = 1_000;
/// Characters of all headers of a message where nothing else is asked for.
const HEAD_CHARS: usize = 5_000;

pub(super) fn get_flow_by_id(work: &Work<'_>) -> Outcome {
    let flow = work.flow("flow_id")?;
    let page = Page::read(work)?;
    let shown = Shown::new(&flow, &work.options);
    let mut reply = Reply::default();
    reply.put("id", id_text(flow.id));
    reply.put("timestamp_start", seconds(flow.timing.began_us));
    reply.put("timestamp_end", ended(&flow).map(seconds));
    reply.put("error", shown.error());
    let request = page.message(&shown, Side::Request, &mut reply);
    reply.put("request", request);
    let response = page.message(&shown, Side::Response, &mut reply);
    reply.put("response", response);
    put_facts(work, &flow, &mut reply);
    reply.untrusted("request response error");
    Ok(reply)
}

pub(super) fn get_flow_request(work: &Work<'_>) -> Outcome {
    half(work, Side::Request)
}

pub(super) fn get_flow_response(work: &Work<'_>) -> Outcome {
    half(work, Side::Response)
}

fn half(work: &Work<'_>, side: Side) -> Outcome {
    let flow = work.flow("flow_id")?;
    let page = Page::read(work)?;
    let shown = Shown::new(&flow, &work.options);
    let mut reply = Reply::default();
    match page.message(&shown, side, &mut reply) {
        Some(Value::Object(message)) => {
            reply.content.extend(message);
            reply.untrusted(match side {
                Side::Request => "method url headers trailers body",
                Side::Response => "reason headers trailers body error",
            });
        }
        _ => {
            let state = match flow.state {
                FlowState::Ended => "ended without one",
                FlowState::UnderWay => "still waits for one",
                FlowState::Paused(side) => held_words(side),
            };
            reply.put("response", Value::Null);
            reply.put("note", format!("flow {} has no response: {state}", flow.id.0));
            reply.put("error", shown.error());
            reply.untrusted("error");
            reply.put("next", next_call("get_flow_request", flow.id));
        }
    }
    if let Some(error) = shown.error().filter(|_| side == Side::Response) {
        reply.put("error", error);
    }
    reply.put("id", id_text(flow.id));
    Ok(reply)
}

/// When a flow ended, in microseconds since the Unix epoch.
fn ended(flow: &StoredFlow) -> Option<u64> {
    (flow.state == FlowState::Ended).then(|| flow.timing.began_us + flow.timing.total_us)
}

/// What a flow has beside its messages, where it is worth a word.
fn put_facts(work: &Work<'_>, flow: &StoredFlow, reply: &mut Reply) {
    match flow.state {
        FlowState::Ended => {
            let timing = &flow.timing;
            let phases = [
                ("dns", timing.dns_us),
                ("connect", timing.connect_us),
                ("tls", timing.tls_us),
                ("send", timing.send_us),
                ("wait", timing.wait_us),
                ("receive", timing.receive_us),
                ("total", timing.total_us),
            ];
            let took = phases.iter().filter(|(_, us)| *us > 0);
            let took: Map<_, _> =
                took.map(|(name, us)| ((*name).to_owned(), json!(*us as f64 / 1_000.0))).collect();
            if !took.is_empty() {
                reply.put("ms", took);
            }
        }
        FlowState::UnderWay => reply.put("state", "under way"),
        FlowState::Paused(side) => {
            reply.put("state", held_words(side));
            reply.put("held_until", seconds(goes_on_us(flow, &work.options)));
            reply.put("next", next_call("resume_flow", flow.id));
        }
    }
    if let Some(upstream) = &flow.upstream {
        reply.put("server", upstream.address.to_string());
    }
    let intervention = flow.intervention;
    if intervention.replayed {
        reply.put("replayed", true);
    }
    if let Some(origin) = intervention.origin {
        reply.put("original_flow_id", id_text(origin));
    }
    if intervention.request_edited {
        reply.put("request_edited", true);
    }
    if intervention.response_edited {
        reply.put("response_edited", true);
    }
    if let Some(socket) = &flow.websocket {
        reply.put("messages", socket.messages.len() as u64 + socket.left_out);
        reply.put("next", next_call("get_websocket_messages", flow.id));
    }
}

/// How much of a message is shown.
struct Page<'a> {
    work: &'a Work<'a>,
    window: Window,
    value_chars: usize,
    head_chars: usize,
}

impl<'a> Page<'a> {
    fn read(work: &'a Work<'a>) -> Result<Self, Failure> {
        let is_full = work.arguments.boolean("full_heads")?;
        let (value_chars, head_chars) =
            if is_full { (usize::MAX, usize::MAX) } else { (HEAD_VALUE_CHARS, HEAD_CHARS) };
        Ok(Page { work, window: Window::read(work.arguments)?, value_chars, head_chars })
    }

    /// One message as an object; `None` where there is none.
    fn message(&self, shown: &Shown<'_>, side: Side, reply: &mut Reply) -> Option<Value> {
        let head = shown.head(side)?;
        let stored = message(shown.flow, side)?;
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        let mut is_cut = false;
        match side {
            Side::Request => {
                is_cut = shown.url.chars().nth(self.value_chars).is_some();
                put("method", shown.method.as_str().into());
                put("url", shorten(&shown.url, self.value_chars).into());
                put("timestamp", seconds(shown.flow.timing.began_us).into());
            }
            Side::Response => {
                let (_, status, reason) = head.status_line();
                put("status_code", status.into());
                put("reason", reason.into());
                put("timestamp", answered(shown.flow).map(seconds).into());
            }
        }
        let headers = Headers::new(&head.fields, self.value_chars, self.head_chars);
        let (is_cut, mut left_out) = (is_cut || headers.is_cut, headers.left_out);
        put("headers", headers.object.into());
        if !stored.trailers.is_empty() {
            let mut trailers = HeadText::read_fields(&stored.trailers);
            mask_fields(&mut trailers, &self.work.options.redactor);
            let trailers = Headers::new(&trailers, self.value_chars, self.head_chars);
            left_out += trailers.left_out;
            put("trailers", trailers.object.into());
        }
        if left_out > 0 {
            put("headers_left_out", left_out.into());
        }
        if is_cut || left_out > 0 {
            put("note", "full_heads: true shows what is cut at …[+N], and all headers".into());
        }
        self.put_body(stored, (shown.flow.id, side), reply, &mut object);
        Some(object.into())
    }

    fn put_body(
        &self,
        stored: &StoredMessage,
        (flow, side): (FlowId, Side),
        reply: &mut Reply,
        object: &mut Map<String, Value>,
    ) {
        // The head as it came: a masked one might name another coding.
        let head = HeadText::read(&stored.head);
        let body = ShownBody::new(&stored.body, &head, &self.work.options.redactor);
        let Some(end) = body.put(self.window, object) else { return };
        let (tool, name) = match side {
            Side::Request => ("get_flow_request", "request"),
            Side::Response => ("get_flow_response", "response"),
        };
        let mut next = next_call(tool, flow);
        if let Some(next) = next.as_object_mut() {
            next.insert("body_offset".to_owned(), end.into());
            if let Some(limit) = self.work.arguments.get("body_limit").filter(|it| **it != json!(0))
            {
                next.insert("body_limit".to_owned(), limit.clone());
            }
        }
        object.insert("next".to_owned(), next);
        let uri = format!("flow://{}/{name}/body", flow.0);
        reply.links.push((uri, format!("{name} body of flow {}", flow.0)));
    }
}

/// When the response's first byte was there, in microseconds since the Unix epoch.
fn answered(flow: &StoredFlow) -> Option<u64> {
    let end = ended(flow)?;
    Some(end.saturating_sub(flow.timing.receive_us))
}
