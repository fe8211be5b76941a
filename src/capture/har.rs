//! Flows as HAR 1.2.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::flow::head::{HeadText, UriKind, target_uri};
use crate::flow::redact::Redactor;
use crate::flow::stored::StoredFlow;

/// Writes a HAR with an entry for each flow; gives the number of entries.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_har(
    out: &mut dyn Write,
    flows: &mut dyn Iterator<Item = Arc<StoredFlow>>,
    redactor: &Redactor,
) -> io::Result<u64> {
    let entries: Vec<_> = flows.map(|flow| har_entry(&flow, redactor)).collect();
    let count = entries.len() as u64;
    let creator = json!({ "name": "flowtap", "version": env!("CARGO_PKG_VERSION") });
    let log = json!({ "version": "1.2", "creator": creator, "entries": entries });
    serde_json::to_writer(out, &json!({ "log": log }))?;
    Ok(count)
}

/// One entry.
pub fn har_entry(flow: &StoredFlow, redactor: &Redactor) -> Value {
    let head = HeadText::read(&flow.request.head);
    let url = target_uri(&head, flow.scheme, flow.target.as_deref(), UriKind::Http);
    let status =
        flow.response.as_ref().map_or(0, |response| HeadText::read(&response.head).status_line().1);
    json!({
        "request": { "method": head.request_line().0, "url": redactor.url(&url) },
        "response": { "status": status, "content": { "size": 0 } },
    })
}
