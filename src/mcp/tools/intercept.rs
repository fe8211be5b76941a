//! Holding traffic, and deciding about what is held.

use serde_json::{Map, Value};

use crate::flow::control::{Answer, ControlError, RequestEdit, ResponseEdit, Verdict};
use crate::flow::filter::Filter;
use crate::flow::head::HeadText;
use crate::flow::record::{FlowId, Side};
use crate::flow::stored::{FlowState, StoredFlow};
use crate::limits::REPLY_CHARS;
use crate::mcp::tools::Work;
use crate::mcp::tools::edit::{FieldEdits, GivenBody};
use crate::mcp::tools::list::{held_side, is_held};
use crate::mcp::tools::own_fields::OwnFields;
use crate::mcp::tools::replay::{checked_method, checked_url};
use crate::mcp::tools::reply::{Failure, Outcome, Reply, id_text, json_chars, next_call, shorten};
use crate::mcp::tools::select::parse_filter;
use crate::mcp::tools::shown::{Brief, held_words, message, method, url, words};
use crate::mcp::tools::unmask::{Original, unmasked_body, unmasked_url};
use crate::mcp::tools::withhold::{keep_masked, withhold_body, withhold_credentials};
use crate::options::Options;

pub(super) fn set_intercept_filter(work: &Work<'_>) -> Outcome {
    let text = work.arguments.text("filter")?.unwrap_or_default();
    let in_force = || in_force(work, work.options.intercept.as_ref());
    let filter = parse_filter("filter", text)
        .map_err(|failure| Failure::new(format!("{failure}. {}", in_force())))?;
    let seconds = work.options.intercept_timeout.as_secs_f64();
    let message = match &filter {
        Some(_) => format!(
            "matching requests and responses are held, each for {seconds} s at most; see \
             get_intercepted_flows"
        ),
        None => "nothing more is held".to_owned(),
    };
    let held = work.tools.store().snapshot().iter().filter(|flow| is_held(flow)).count();
    let mut reply = Reply::default();
    reply.put("status", "success");
    reply.put("filter", filter.as_ref().map(|it| words(&work.options.redactor, it.text())));
    let set: Result<(), std::convert::Infallible> = work.tools.options.change(|options| {
        options.intercept = filter;
        Ok(())
    });
    let Ok(()) = set;
    reply.put(
        "message",
        match held {
            0 => message,
            held => format!("{message}; {held} flows are held already: see resume_all"),
        },
    );
    Ok(reply)
}

/// When a held flow goes on by itself, in microseconds since the Unix epoch. The option holds for
/// the waits under way too.
pub(super) fn goes_on_us(flow: &StoredFlow, options: &Options) -> u64 {
    let wait_us = u64::try_from(options.intercept_timeout.as_micros()).unwrap_or(u64::MAX);
    flow.held_since_us.saturating_add(wait_us)
}

fn in_force(work: &Work<'_>, filter: Option<&Filter>) -> String {
    match filter {
        Some(filter) => {
            let text = shorten(&words(&work.options.redactor, filter.text()), 200);
            format!("The filter in force stays: {text:?}")
        }
        None => "No filter is in force, as before".to_owned(),
    }
}

pub(super) fn get_intercepted_flows(work: &Work<'_>) -> Outcome {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now_us = now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
    let held = work.tools.store().snapshot();
    let held: Vec<_> = held.iter().filter(|flow| is_held(flow)).collect();
    let mut chars = 0;
    let lines = held.iter().map(|flow| {
        let mut line = Brief::new(flow, &work.options).summary();
        line.insert("intercepted".to_owned(), true.into());
        let left_s = goes_on_us(flow, &work.options).saturating_sub(now_us) / 1_000_000;
        line.insert("resumes_by_itself_in_s".to_owned(), left_s.into());
        Value::Object(line)
    });
    let flows: Vec<Value> = lines
        .take_while(|line| {
            chars += json_chars(line);
            chars < REPLY_CHARS - 2_000
        })
        .collect();
    let mut reply = Reply::default();
    reply.put("count", held.len());
    if flows.len() < held.len() {
        reply.put("left_out", held.len() - flows.len());
        reply.put("note", "older held flows are left out: they show up when these have gone on");
    }
    let filter = work.options.intercept.as_ref();
    reply.put("current_filter", filter.map(|it| words(&work.options.redactor, it.text())));
    if let Some(first) = flows.first() {
        let mut next = Map::new();
        next.insert("tool".to_owned(), "get_flow_by_id".into());
        next.insert("flow_id".to_owned(), first["id"].clone());
        reply.put("next", next);
    }
    reply.put("flows", flows);
    reply.untrusted("flows");
    Ok(reply)
}

pub(super) fn resume_flow(work: &Work<'_>) -> Outcome {
    let flow = work.flow("flow_id")?;
    let side = held(&flow)?;
    let mut done = Vec::new();
    let verdict = verdict(work, &flow, side, &mut done)?;
    decide(work, flow.id, verdict)?;
    let what = match side {
        Side::Request => "request",
        Side::Response => "response",
    };
    let message = match done.as_slice() {
        [] => format!("the {what} goes on as it was"),
        done => format!("the {what} goes on, changed: {}", done.join(", ")),
    };
    Ok(decided(flow.id, &message))
}

pub(super) fn drop_flow(work: &Work<'_>) -> Outcome {
    let flow = work.flow("flow_id")?;
    held(&flow)?;
    decide(work, flow.id, Verdict::Drop)?;
    let message = "nothing is forwarded, and the client's connection is closed";
    Ok(decided(flow.id, message))
}

pub(super) fn resume_all(work: &Work<'_>) -> Outcome {
    let flows = work.tools.store().snapshot();
    // One that somebody else has just decided about is nobody's loss.
    let held = flows.iter().filter(|flow| is_held(flow));
    let resumed = held.filter(|flow| work.tools.control.decide(flow.id, Verdict::Resume).is_ok());
    let ids: Vec<String> = resumed.map(|flow| id_text(flow.id)).collect();
    let mut reply = Reply::default();
    reply.put("status", "success");
    reply.put("resumed_count", ids.len());
    let filter = match &work.options.intercept {
        Some(_) => "; the filter stays in force, and what matches is held again",
        None => "",
    };
    reply.put("message", format!("{} flows go on{filter}", ids.len()));
    reply.put("resumed_flow_ids", ids);
    Ok(reply)
}

fn decided(flow: FlowId, message: &str) -> Reply {
    let mut reply = Reply::default();
    reply.put("status", "success");
    reply.put("flow_id", id_text(flow));
    reply.put("message", message);
    reply
}

fn decide(work: &Work<'_>, flow: FlowId, verdict: Verdict) -> Result<(), Failure> {
    work.tools.control.decide(flow, verdict).map_err(|error| match error {
        ControlError::NotHeld => not_held(flow, "it has just gone on"),
        ControlError::Refused(reason) => {
            Failure::new(format!("flow {} stays held: {reason}", flow.0))
                .then(next_call("resume_flow", flow))
        }
    })
}

fn held(flow: &StoredFlow) -> Result<Side, Failure> {
    held_side(flow).ok_or_else(|| {
        let state = match flow.state {
            FlowState::Ended => "it has ended",
            FlowState::UnderWay | FlowState::Paused(_) => "it goes on by itself",
        };
        not_held(flow.id, state)
    })
}

fn not_held(flow: FlowId, state: &str) -> Failure {
    let next = serde_json::json!({ "tool": "get_intercepted_flows" });
    Failure::new(format!("flow {} is not held: {state}", flow.0)).then(next)
}

/// What the arguments make of a held flow; tells in `done` what they change.
fn verdict(
    work: &Work<'_>,
    flow: &StoredFlow,
    side: Side,
    done: &mut Vec<String>,
) -> Result<Verdict, Failure> {
    let arguments = work.arguments;
    if arguments.boolean("answer")? {
        return answer(work, flow, done);
    }
    let misplaced: &[&str] = match side {
        Side::Request => &["status"],
        Side::Response => &["method", "url"],
    };
    if let Some(name) = misplaced.iter().find(|name| arguments.has(name)) {
        let help = match side {
            Side::Request => "; with answer: true the client gets status, headers and body at once",
            Side::Response => "",
        };
        return Err(Failure::new(format!(
            "{name:?} cannot be changed: flow {} has its {}{help}",
            flow.id.0,
            held_words(side)
        )));
    }
    match side {
        Side::Request => request_edit(work, flow, done),
        Side::Response => response_edit(work, flow, done),
    }
}

fn answer(work: &Work<'_>, flow: &StoredFlow, done: &mut Vec<String>) -> Result<Verdict, Failure> {
    let arguments = work.arguments;
    for name in ["method", "url", "remove_headers"] {
        if arguments.has(name) {
            let message = format!(
                "{name:?} has no meaning with answer: true, which gives a whole \
                response: status, headers, body"
            );
            return Err(Failure::new(message));
        }
    }
    let status = status(work)?.unwrap_or(200);
    done.push(format!("the client is answered {status} in its place"));
    let body = GivenBody::read(arguments)?.map(GivenBody::into_bytes).unwrap_or_default();
    let own = OwnFields {
        side: Side::Response,
        recorded: &[],
        length: Some(body.len() as u64),
        is_new: true,
        to_head: method(flow) == "HEAD",
        status,
    };
    let headers = own.check(arguments.fields("headers")?.unwrap_or_default())?;
    Ok(Verdict::Answer(Answer { status, headers, body }))
}

fn status(work: &Work<'_>) -> Result<Option<u16>, Failure> {
    let status = work.arguments.integer("status", 200..=599)?;
    Ok(status.and_then(|status| u16::try_from(status).ok()))
}

fn request_edit(
    work: &Work<'_>,
    flow: &StoredFlow,
    done: &mut Vec<String>,
) -> Result<Verdict, Failure> {
    let (arguments, redactor) = (work.arguments, &work.options.redactor);
    let mut edit = RequestEdit::default();
    if let Some(method) = arguments.text("method")? {
        edit.method = Some(checked_method(method)?);
        done.push(format!("method {}", shorten(method, 40)));
    }
    if let Some(given) = arguments.text("url")? {
        let original = url(flow, false);
        // As it was given, since a refusal quotes it.
        let url = unmasked_url(&checked_url(given)?, &original, redactor)?;
        done.push(format!("url {}", shorten(&redactor.url(&url), 200)));
        edit.url = Some(url);
    }
    (edit.headers, edit.body) = message_edit(work, flow, Side::Request, edit.url.as_deref(), done)?;
    Ok(if done.is_empty() { Verdict::Resume } else { Verdict::ResumeRequest(edit) })
}

fn response_edit(
    work: &Work<'_>,
    flow: &StoredFlow,
    done: &mut Vec<String>,
) -> Result<Verdict, Failure> {
    let mut edit = ResponseEdit { status: status(work)?, ..ResponseEdit::default() };
    if let Some(status) = edit.status {
        done.push(format!("status {status}"));
    }
    (edit.headers, edit.body) = message_edit(work, flow, Side::Response, None, done)?;
    Ok(if done.is_empty() { Verdict::Resume } else { Verdict::ResumeResponse(edit) })
}

type MessageEdit = (Option<Vec<crate::flow::head::Field>>, Option<bytes::Bytes>);

/// The fields and the body of a held message, where they change.
fn message_edit(
    work: &Work<'_>,
    flow: &StoredFlow,
    side: Side,
    moved_to: Option<&str>,
    done: &mut Vec<String>,
) -> Result<MessageEdit, Failure> {
    let redactor = &work.options.redactor;
    let stored = message(flow, side);
    let head = stored.map(|stored| HeadText::read(&stored.head)).unwrap_or_default();
    let mut edits = FieldEdits::read(work.arguments)?;
    let mut fields = head.fields.clone();
    let given = GivenBody::read(work.arguments)?;
    let from = url(flow, false);
    let hosts = (from.as_str(), moved_to.unwrap_or(&from));
    if let (Some(stored), None) = (stored, &given) {
        withhold_body(flow.id, stored, &head, hosts, redactor)?;
        keep_masked(flow.id, &stored.body, (&head, &edits.of_body(&head, false)), redactor)?;
    }
    let mut body = None;
    if let Some(given) = given {
        let stored = stored.map(|stored| stored.body.clone()).unwrap_or_default();
        let original = Original { body: &stored, head: &head, hosts };
        let new_head = edits.of_body(&head, true);
        let (given, is_masked) = unmasked_body(given, &original, &new_head, redactor)?;
        done.push(format!("body {} bytes", given.len()));
        if is_masked {
            done.push("the body holds *** where a secret was masked".to_owned());
        }
        body = Some(given);
        if !edits.sets("content-encoding") {
            fields.retain(|field| !field.name.eq_ignore_ascii_case("content-encoding"));
        }
    }
    let whole = stored.filter(|stored| !stored.body.is_cut()).map(|stored| stored.body.size);
    let own = OwnFields {
        side,
        recorded: &head.fields,
        length: body.as_ref().map(|body| body.len() as u64).or(whole),
        is_new: body.is_some(),
        to_head: method(flow) == "HEAD",
        status: status(work)?.unwrap_or_else(|| head.status_line().1),
    };
    own.settle(&mut edits, done)?;
    if moved_to.is_some() {
        withhold_credentials(&mut fields, hosts, redactor, done);
        if !edits.sets("host") {
            // The Host field follows the URL.
            fields.retain(|field| !field.name.eq_ignore_ascii_case("host"));
        }
    }
    let fields = edits.apply(fields, redactor, done)?;
    let changes = !edits.is_empty() || fields != head.fields;
    Ok((changes.then_some(fields), body))
}
