//! The events of event streams (WHATWG HTML, section 9.2).

use serde_json::{Map, Value, json};

use crate::flow::events::{Event, events};
use crate::flow::head::HeadText;
use crate::flow::record::FlowId;
use crate::flow::stored::FlowState;
use crate::mcp::tools::Work;
use crate::mcp::tools::body::{Content, ShownBody};
use crate::mcp::tools::messages::Wanted;
use crate::mcp::tools::reply::{Failure, Outcome, Reply, next_call, shorten};

pub(super) fn get_event_stream(work: &Work<'_>) -> Outcome {
    let flow = work.flow("flow_id")?;
    let wanted = Wanted::read(work)?;
    let Some(response) = &flow.response else {
        return Err(Failure::new(format!("flow {} has no response yet", flow.id.0)));
    };
    let head = HeadText::read(&response.head);
    let body = ShownBody::new(&response.body, &head, &work.options.redactor);
    let text = match (&body.content, body.media_type.as_str()) {
        (Content::Text(text), "text/event-stream") => text,
        _ => return Err(no_stream(flow.id, &body.media_type)),
    };
    let (mut page, mut total) = (wanted.page(), 0);
    for event in events(text) {
        let number = total;
        total += 1;
        let is_wanted = |it: &regex::Regex| it.is_match(&event.data) || it.is_match(event.name);
        if wanted.pattern.as_ref().is_none_or(is_wanted) {
            page.add(|| shown(&event, number, wanted.chars));
        }
    }
    let mut reply = Reply::default();
    reply.put("total", total);
    if wanted.pattern.is_some() {
        reply.put("matching", page.seen);
    }
    if flow.state != FlowState::Ended {
        reply.put("state", "under way: more events may come");
    }
    if let Some(note) = &body.note {
        reply.put("note", note.as_str());
    }
    page.put(work, "events", &mut reply);
    Ok(reply)
}

fn no_stream(flow: FlowId, media_type: &str) -> Failure {
    let media_type = if media_type.is_empty() { "no media type" } else { media_type };
    let media_type = shorten(media_type, 60);
    Failure::new(format!(
        "the response of flow {} is no event stream (text/event-stream) but {media_type}",
        flow.0
    ))
    .then(next_call("get_flow_response", flow))
}

fn shown(event: &Event<'_>, number: usize, chars: usize) -> Value {
    let mut line = Map::new();
    line.insert("n".to_owned(), number.into());
    for (name, value) in [("event", event.name), ("id", event.id)] {
        if !value.is_empty() {
            line.insert(name.to_owned(), shorten(value, 100).into());
        }
    }
    line.insert("data".to_owned(), json!(shorten(&event.data, chars)));
    line.into()
}
