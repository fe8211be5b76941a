//! What differs between two flows.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::flow::head::{Field, HeadText};
use crate::flow::record::Side;
use crate::flow::redact::Redactor;
use crate::flow::stored::StoredMessage;
use crate::mcp::tools::Work;
use crate::mcp::tools::body::{Content, ShownBody};
use crate::mcp::tools::reply::{Outcome, Reply, id_text, shorten};
use crate::mcp::tools::shown::{Shown, message};

mod json_changes;
mod line_changes;

/// Characters shown of a value that differs.
const VALUE_CHARS: usize = 200;
/// Differences shown of each body where nothing else is asked for.
const DIFFERENCES: usize = 30;

pub(super) fn compare_flows(work: &Work<'_>) -> Outcome {
    let (first, second) = (work.flow("flow_id")?, work.flow("other_flow_id")?);
    let limit = work.arguments.size("limit", 1..=500)?.unwrap_or(DIFFERENCES);
    let shown = (Shown::new(&first, &work.options), Shown::new(&second, &work.options));
    let mut reply = Reply::default();
    reply.put("flow_id", id_text(first.id));
    reply.put("other_flow_id", id_text(second.id));
    let mut is_same = true;
    for (side, name) in [(Side::Request, "request"), (Side::Response, "response")] {
        let mut differences = heads(&shown.0, &shown.1, side);
        if let (Some(a), Some(b)) = (message(&first, side), message(&second, side))
            && let Some(body) = bodies(a, b, &work.options.redactor, limit)
        {
            differences.insert("body".to_owned(), body);
        }
        if !differences.is_empty() {
            is_same = false;
            reply.put(name, differences);
        }
    }
    let errors = (shown.0.error(), shown.1.error());
    if errors.0 != errors.1 {
        is_same = false;
        reply.put("error", json!([errors.0, errors.1]));
    }
    reply.put("same", is_same);
    if !is_same {
        reply.put("note", "pairs are [first flow, second flow]; masked secrets count as equal");
    }
    reply.untrusted("request response error");
    Ok(reply)
}

/// Start lines and headers of one side.
fn heads(first: &Shown<'_>, second: &Shown<'_>, side: Side) -> Map<String, Value> {
    let mut differences = Map::new();
    let mut pair = |name: &str, a: Value, b: Value| {
        if a != b {
            differences.insert(name.to_owned(), json!([a, b]));
        }
    };
    match side {
        Side::Request => {
            pair("method", first.method.as_str().into(), second.method.as_str().into());
            pair("url", cut(&first.url), cut(&second.url));
        }
        Side::Response => pair("status_code", first.status.into(), second.status.into()),
    }
    let headers = fields(first.head(side), second.head(side));
    if !headers.is_empty() {
        differences.insert("headers".to_owned(), headers.into());
    }
    differences
}

fn cut(text: &str) -> Value {
    shorten(text, VALUE_CHARS).into()
}

fn fields(first: Option<&HeadText>, second: Option<&HeadText>) -> Map<String, Value> {
    let by_name = |head: Option<&HeadText>| {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Field { name, value } in head.into_iter().flat_map(|head| &head.fields) {
            values.entry(name.to_ascii_lowercase()).or_default().push(value.clone());
        }
        values
    };
    let (a, b) = (by_name(first), by_name(second));
    let shown =
        |values: Option<&Vec<String>>| values.map(|it| shorten(&it.join(", "), VALUE_CHARS));
    let names = a.keys().chain(b.keys());
    let differing = names.filter(|name| a.get(*name) != b.get(*name));
    differing.map(|name| (name.clone(), json!([shown(a.get(name)), shown(b.get(name))]))).collect()
}

/// How two bodies differ; `None` when they do not.
fn bodies(
    first: &StoredMessage,
    second: &StoredMessage,
    redactor: &Redactor,
    limit: usize,
) -> Option<Value> {
    let shown = |it: &StoredMessage| ShownBody::new(&it.body, &HeadText::read(&it.head), redactor);
    let (a, b) = (shown(first), shown(second));
    let bytes = json!([a.len(), b.len()]);
    let is_cut = first.body.is_cut() || second.body.is_cut();
    let (Content::Text(a), Content::Text(b)) = (&a.content, &b.content) else {
        return binary(&a.content, &b.content);
    };
    if a == b {
        let note = "what is kept of the bodies is equal, and the sizes differ";
        return (first.body.size != second.body.size && is_cut).then(|| json!({ "note": note }));
    }
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    let mut difference = Map::new();
    difference.insert("bytes".to_owned(), bytes);
    let is_more = match (parse(a), parse(b)) {
        (Some(a), Some(b)) if a == b => {
            let note = "the same JSON, written differently";
            return Some(json!({ "note": note }));
        }
        (Some(a), Some(b)) => {
            let (changes, is_more) = json_changes::find(&a, &b, limit);
            difference.insert("json".to_owned(), changes.into());
            is_more
        }
        _ => {
            let (changes, is_more) = line_changes::find(a, b, limit);
            difference.insert("lines".to_owned(), changes.into());
            is_more
        }
    };
    if is_more {
        let note = format!("more than {limit} differences; limit shows up to 500");
        difference.insert("note".to_owned(), note.into());
    }
    Some(difference.into())
}

fn binary(first: &Content, second: &Content) -> Option<Value> {
    let (a, b) = (bytes_of(first), bytes_of(second));
    if a == b {
        return None;
    }
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    Some(json!({ "bytes": [a.len(), b.len()], "binary_differs_at": common }))
}

fn bytes_of(content: &Content) -> &[u8] {
    match content {
        Content::Text(text) => text.as_bytes(),
        Content::Binary(bytes) => bytes,
    }
}
