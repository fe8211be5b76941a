//! What differs between two flows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::flow::head::{Field, HeadText};
use crate::flow::record::Side;
use crate::flow::redact::Redactor;
use crate::flow::stored::StoredMessage;
use crate::limits::{REPLY_CHARS, REPLY_MOST_CHARS};
use crate::mcp::tools::Work;
use crate::mcp::tools::body::{Content, ShownBody};
use crate::mcp::tools::reply::{Outcome, Reply, id_text, json_chars, shorten};
use crate::mcp::tools::shown::{Shown, message};

mod json_changes;
mod line_changes;

/// Characters shown of a value that differs.
const VALUE_CHARS: usize = 200;
/// Characters of the headers of each side that differ.
const HEADERS_CHARS: usize = 4_000;
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
    let (headers, left_out) = fields(first.head(side), second.head(side));
    if left_out > 0 {
        differences.insert("headers_left_out".to_owned(), left_out.into());
    }
    if !headers.is_empty() {
        differences.insert("headers".to_owned(), headers.into());
    }
    differences
}

fn cut(text: &str) -> Value {
    shorten(text, VALUE_CHARS).into()
}

/// The fields that differ, as many as fit, and how many do not.
fn fields(first: Option<&HeadText>, second: Option<&HeadText>) -> (Map<String, Value>, usize) {
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
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let (mut headers, mut left_out, mut chars) = (Map::new(), 0, 0);
    for name in names.into_iter().filter(|name| a.get(*name) != b.get(*name)) {
        let values = json!([shown(a.get(name)), shown(b.get(name))]);
        chars += name.len() + json_chars(&values);
        if chars > HEADERS_CHARS {
            left_out += 1;
        } else {
            headers.insert(name.clone(), values);
        }
    }
    (headers, left_out)
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
    let (name, (changes, is_more)) = match (parse(a), parse(b)) {
        (Some(a), Some(b)) if a == b => {
            let note = "the same JSON, written differently";
            return Some(json!({ "note": note }));
        }
        (Some(a), Some(b)) => ("json", json_changes::find(&a, &b, limit)),
        _ => {
            let (lines, is_more) = line_changes::find(a, b, limit);
            ("lines", (lines.into_iter().map(Value::from).collect(), is_more))
        }
    };
    let (changes, is_cut) = fitting(changes, limit);
    let shown = changes.len();
    difference.insert(name.to_owned(), changes.into());
    if is_more || is_cut {
        let note = format!("more than {shown} differences; limit shows up to 500");
        difference.insert("note".to_owned(), note.into());
    }
    Some(difference.into())
}

/// As many differences of one body as a reply has room for, and whether there are more.
fn fitting(mut changes: Vec<Value>, limit: usize) -> (Vec<Value>, bool) {
    // Who asks for many has asked for a long reply.
    let most = if limit > DIFFERENCES { REPLY_MOST_CHARS } else { REPLY_CHARS } * 3 / 10;
    let mut chars = 0;
    let fits = changes.iter().take_while(|change| {
        chars += json_chars(change);
        chars <= most
    });
    let fits = fits.count();
    let is_cut = fits < changes.len();
    changes.truncate(fits);
    (changes, is_cut)
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
