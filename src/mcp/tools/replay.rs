//! Sending: a request again, a changed one, or one of the agent's own.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::flow::control::{ControlError, NewRequest};
use crate::flow::head::{Field, HeadText};
use crate::flow::record::{Intervention, Side};
use crate::flow::stored::{FlowState, StoredFlow};
use crate::http::field::FieldKind;
use crate::mcp::store::Waited;
use crate::mcp::tools::Work;
use crate::mcp::tools::body::media_type;
use crate::mcp::tools::edit::{FieldEdits, GivenBody};
use crate::mcp::tools::own_fields::OwnFields;
use crate::mcp::tools::reply::{Failure, Outcome, Reply, id_text, next_call, shorten};
use crate::mcp::tools::shown::{Brief, Shown, url, words};
use crate::mcp::tools::unmask::{Original, unmasked_body, unmasked_url};
use crate::mcp::tools::withhold::{keep_masked, withhold_body, withhold_credentials};

pub(super) fn replay_request(work: &Work<'_>) -> Outcome {
    let flow = work.flow("flow_id")?;
    let (request, _) = again(&flow)?;
    let mut reply = Reply::default();
    reply.put("original_flow_id", id_text(flow.id));
    send(work, request, "new_flow_id", reply)
}

pub(super) fn send_request(work: &Work<'_>) -> Outcome {
    let arguments = work.arguments;
    let url = checked_url(arguments.required_text("url")?)?;
    let method = checked_method(arguments.text("method")?.unwrap_or("GET"))?;
    let body = GivenBody::read(arguments)?.map(GivenBody::into_bytes).unwrap_or_default();
    let own = own_fields(&[], &body, true);
    let request = NewRequest {
        origin: None,
        recorded_head: Bytes::new(),
        method: method.clone(),
        url: url.clone(),
        headers: own.check(arguments.fields("headers")?.unwrap_or_default())?,
        body,
    };
    let mut reply = Reply::default();
    reply.put("method", method);
    reply.put("url", shorten(&work.options.redactor.url(&url), 1_000));
    send(work, request, "flow_id", reply)
}

pub(super) fn modify_and_send(work: &Work<'_>) -> Outcome {
    let flow = work.flow("flow_id")?;
    let arguments = work.arguments;
    let redactor = &work.options.redactor;
    let given_body = GivenBody::read(arguments)?;
    let (mut request, head) = match &given_body {
        None => again(&flow)?,
        // A body that is given need not have been kept.
        Some(_) => without_body(&flow)?,
    };
    let mut edits = FieldEdits::read(arguments)?;
    let has_body = given_body.is_some();
    let mut done = Vec::new();
    if let Some(method) = arguments.text("method")? {
        request.method = checked_method(method)?;
        done.push(format!("method {}", request.method));
    }
    let before = request.url.clone();
    if let Some(url) = arguments.text("url")? {
        // As it was given, since a refusal quotes it.
        request.url = unmasked_url(&checked_url(url)?, &before, redactor)?;
        let hosts = (before.as_str(), request.url.as_str());
        if !has_body {
            withhold_body(flow.id, &flow.request, &head, hosts, redactor)?;
        }
        withhold_credentials(&mut request.headers, hosts, redactor, &mut done);
        request.headers.retain(|field| !field.name.eq_ignore_ascii_case("host"));
        done.push(format!("url {}", shorten(&redactor.url(&request.url), 200)));
    }
    if !has_body {
        let heads = (&head, &edits.of_body(&head, false));
        keep_masked(flow.id, &flow.request.body, heads, redactor)?;
    }
    if let Some(given) = given_body {
        let hosts = (before.as_str(), request.url.as_str());
        let original = Original { body: &flow.request.body, head: &head, hosts };
        let new_head = edits.of_body(&head, true);
        let (body, is_masked) = unmasked_body(given, &original, &new_head, redactor)?;
        done.push(format!("body {} bytes", body.len()));
        if is_masked {
            done.push("the body holds *** where a secret was masked, and is sent so".to_owned());
        }
        request.body = body;
        if !edits.sets("content-encoding") {
            request.headers.retain(|it| !it.name.eq_ignore_ascii_case("content-encoding"));
        }
    }
    own_fields(&head.fields, &request.body, has_body).settle(&mut edits, &mut done)?;
    request.headers = edits.apply(request.headers, redactor, &mut done)?;
    if done.is_empty() {
        done.push("none: sent as it was".to_owned());
    }
    let mut reply = Reply::default();
    reply.put("original_flow_id", id_text(flow.id));
    reply.put("modifications", done);
    send(work, request, "new_flow_id", reply)
}

pub(super) fn duplicate_flow(work: &Work<'_>) -> Outcome {
    let original = work.flow("flow_id")?;
    let id = (work.tools.surroundings.new_flow_id)();
    let intervention = Intervention { origin: Some(original.id), ..original.intervention };
    let copy = StoredFlow {
        id,
        // What becomes of the original does not become of it.
        state: FlowState::Ended,
        held_since_us: 0,
        intervention,
        ..StoredFlow::clone(&original)
    };
    let shown = Brief::new(&copy, &work.options).summary();
    work.tools.store().add(copy.clone());
    let mut reply = Reply::default();
    reply.put("original_flow_id", id_text(original.id));
    reply.put("new_flow_id", id_text(id));
    reply.put(
        "message",
        format!("flow {} is copied as flow {}; nothing was sent", original.id.0, id.0),
    );
    reply.put("flow", shown);
    reply.put("next", next_call("replay_request", id));
    reply.untrusted("flow");
    Ok(reply)
}

/// A flow's request as it was, and its head.
fn again(flow: &StoredFlow) -> Result<(NewRequest, HeadText), Failure> {
    let stored = &flow.request.body;
    if stored.is_cut() {
        let (kept, size) = (stored.kept(), stored.size);
        let part = match kept < size {
            true => format!("{kept} of the {size} bytes"),
            false => format!("the first {kept} bytes"),
        };
        return Err(Failure::new(format!(
            "only {part} of the request body of flow {} are kept, so it cannot be sent again; \
             modify_and_send takes another body",
            flow.id.0
        ))
        .then(next_call("modify_and_send", flow.id)));
    }
    let (mut request, head) = without_body(flow)?;
    request.body = match stored.pieces.as_slice() {
        [only] => only.clone(),
        pieces => Bytes::from(pieces.concat()),
    };
    Ok((request, head))
}

fn without_body(flow: &StoredFlow) -> Result<(NewRequest, HeadText), Failure> {
    if flow.websocket.is_some() {
        return Err(Failure::new(format!(
            "flow {} is a WebSocket, which cannot be sent again",
            flow.id.0
        ))
        .then(next_call("get_websocket_messages", flow.id)));
    }
    let head = HeadText::read(&flow.request.head);
    let request = NewRequest {
        origin: Some(flow.id),
        recorded_head: flow.request.head.clone(),
        method: head.request_line().0.to_owned(),
        url: url(flow, false),
        headers: end_to_end(&head.fields),
        body: Bytes::new(),
    };
    Ok((request, head))
}

fn own_fields<'a>(recorded: &'a [Field], body: &Bytes, is_new: bool) -> OwnFields<'a> {
    let length = Some(body.len() as u64);
    OwnFields { side: Side::Request, recorded, length, is_new, to_head: false, status: 0 }
}

/// The fields of a captured request that were meant for its server.
fn end_to_end(fields: &[Field]) -> Vec<Field> {
    let connection = fields.iter().filter(|it| it.name.eq_ignore_ascii_case("connection"));
    let nominated: Vec<&str> =
        connection.flat_map(|it| it.value.split(',')).map(str::trim).collect();
    let ends = |field: &Field| {
        is_framing(field)
            || FieldKind::of(field.name.as_bytes()) == FieldKind::EndToEnd
                && nominated.iter().any(|name| name.eq_ignore_ascii_case(&field.name))
    };
    fields.iter().filter(|field| !ends(field)).cloned().collect()
}

/// Whether a field belongs to the connection or to the framing of the captured request
/// (RFC 9110 section 7.6.1).
fn is_framing(field: &Field) -> bool {
    const NAMES: [&str; 8] = [
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "transfer-encoding",
    ];
    NAMES.iter().any(|name| field.name.eq_ignore_ascii_case(name))
}

pub(super) fn checked_url(url: &str) -> Result<String, Failure> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let is_known = matches!(scheme.as_deref(), Some("http" | "https"));
    if !is_known || url.chars().any(|c| c.is_control() || c == ' ') {
        return Err(Failure::new(format!(
            "the argument \"url\" must be an absolute URL of http or https without blanks, such \
             as \"https://example.com/path\", not {:?}",
            shorten(url, 200)
        )));
    }
    Ok(url.to_owned())
}

pub(super) fn checked_method(method: &str) -> Result<String, Failure> {
    if method.is_empty() || !method.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-') {
        return Err(Failure::new(format!(
            "the argument \"method\" must be a method such as \"POST\", not {:?}",
            shorten(method, 40)
        )));
    }
    Ok(method.to_owned())
}

/// Sends a request, waits for what comes of it, and tells of it.
fn send(work: &Work<'_>, request: NewRequest, id_name: &str, mut reply: Reply) -> Outcome {
    let id = work.tools.control.send(request).map_err(|error| match error {
        ControlError::Refused(reason) => Failure::new(format!("nothing was sent: {reason}")),
        ControlError::NotHeld => Failure::new("nothing was sent"),
    })?;
    reply.put(id_name, id_text(id));
    (work.call.progress)(0.0, None, "sent, waiting for the answer");
    let timeout = work.tools.replay_timeout;
    let deadline = Instant::now() + timeout;
    let waited = work.tools.store().wait_for_end(id, deadline, work.call.cancellation);
    let error = match waited {
        Waited::Ended(flow) => put_answer(work, &flow, &mut reply),
        Waited::TimedOut => {
            Some(format!("no answer within {} s; flow {} may still go on", timeout.as_secs(), id.0))
        }
        Waited::Gone => Some(format!("flow {} ended, and is no longer kept", id.0)),
        Waited::Cancelled => {
            work.tools.control.abandon(id);
            return Err(Failure::cancelled());
        }
    };
    reply.has_failed = error.is_some();
    reply.put("status", if error.is_some() { "error" } else { "success" });
    if !reply.content.contains_key("status_code") {
        reply.put("status_code", Value::Null);
    }
    let next = if error.is_some() { "get_flow_by_id" } else { "get_flow_response" };
    reply.put("error", error);
    reply.put("next", next_call(next, id));
    reply.untrusted("error");
    Ok(reply)
}

/// Tells of an answer in short; gives the error where it is none.
fn put_answer(work: &Work<'_>, flow: &Arc<StoredFlow>, reply: &mut Reply) -> Option<String> {
    let shown = Shown::new(flow, &work.options);
    reply.put("status_code", shown.status);
    reply.put("ms", flow.timing.total_us / 1_000);
    if let (Some(response), Some(head)) = (&flow.response, shown.head(Side::Response)) {
        reply.put(
            "response",
            json!({
                "content_type": media_type(head),
                "body_bytes": response.body.size,
            }),
        );
    }
    match (&flow.error, shown.status) {
        (Some(error), _) => Some(words(&work.options.redactor, error)),
        (None, None) => Some("the flow ended without a response".to_owned()),
        (None, Some(_)) => None,
    }
}
