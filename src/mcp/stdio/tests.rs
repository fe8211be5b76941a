use std::io::Cursor;

use serde_json::{Map, Value, json};

use super::*;
use crate::limits::MCP_LISTENS;
use crate::mcp::toolbox::{Call, Resource, ToolDescription, ToolResult};

struct Echo(Vec<ToolDescription>);

impl Echo {
    fn toolbox() -> Arc<dyn Toolbox> {
        Arc::new(Echo(vec![ToolDescription {
            name: "echo",
            title: "Echo",
            description: "Gives its arguments back.",
            input_schema: json!({ "type": "object" }),
            read_only: true,
            destructive: false,
            open_world: false,
        }]))
    }
}

impl Toolbox for Echo {
    fn tools(&self) -> &[ToolDescription] {
        &self.0
    }

    fn instructions(&self) -> &str {
        "none"
    }

    fn call(&self, _: &str, call: &Call<'_>) -> Option<ToolResult> {
        let wanted = call.arguments.get("cancelled").is_some();
        while wanted && !call.cancellation.is_cancelled() {
            thread::yield_now();
        }
        let content: Map<String, Value> = call.arguments.clone();
        Some(ToolResult { content, is_error: false, links: Vec::new() })
    }

    fn read_resource(&self, uri: &str) -> std::result::Result<Resource, String> {
        Err(format!("no {uri}"))
    }
}

/// What comes of these lines, in order.
fn answers(lines: &[&str]) -> Vec<Value> {
    let (_keep, stop) = bounded(1);
    let mut output = Vec::new();
    serve(Echo::toolbox(), Cursor::new(lines.join("\n").into_bytes()), &mut output, &stop).unwrap();
    let output = String::from_utf8(output).unwrap();
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn request(id: impl Into<Value>, method: &str, params: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": method, "params": params }).to_string()
}

fn call(id: u64, arguments: Value) -> String {
    request(id, "tools/call", json!({ "name": "echo", "arguments": arguments }))
}

#[test]
fn each_line_is_a_message_and_has_its_answer_before_the_end() {
    let answers = answers(&[
        &request(1, "initialize", json!({ "protocolVersion": "2025-03-26" })),
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        "",
        &format!("[{}]", request(2, "ping", json!({}))),
        "nonsense",
        &call(3, json!({ "a": 1 })),
    ]);
    assert_eq!(answers.len(), 4, "{answers:?}");
    assert_eq!(answers[0]["result"]["protocolVersion"], "2025-03-26");
    assert_eq!(answers[1], json!([{ "jsonrpc": "2.0", "id": 2, "result": {} }]));
    assert_eq!(answers[2]["error"]["code"], PARSE_ERROR);
    assert_eq!(answers[3]["result"]["content"][0]["text"], r#"{"a":1}"#);
}

#[test]
fn both_eras_are_served() {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let answers = answers(&[
        &request("d", "server/discover", json!({ "_meta": meta })),
        &request(1, "server/discover", json!({})),
        &request(2, "subscriptions/listen", json!({ "notifications": {}, "_meta": meta })),
        &request(3, "tools/list", json!({})),
    ]);
    assert_eq!(answers[0]["result"]["supportedVersions"][0], "2026-07-28");
    assert_eq!(answers[1]["error"]["code"], -32601);
    assert_eq!(answers[2]["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(answers[3]["result"].get("resultType"), None);
    // The stream of changes ends in order at the end of input.
    assert_eq!(answers[4]["id"], 2);
    assert_eq!(answers[4]["result"]["resultType"], "complete");
}

#[test]
fn a_cancelled_request_has_no_reply() {
    let cancel = json!({ "requestId": 1 });
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel });
    let answers = answers(&[
        &call(1, json!({ "cancelled": 1 })),
        &cancel.to_string(),
        &request(2, "ping", json!({})),
    ]);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0]["id"], 2);
}

#[test]
fn streams_of_changes_have_a_bound() {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let listen = |id: usize| {
        let params = json!({ "notifications": {}, "_meta": meta });
        request(id, "subscriptions/listen", params)
    };
    let lines: Vec<_> = (0..=MCP_LISTENS).map(listen).collect();
    let answers = answers(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let refused: Vec<_> = answers.iter().filter(|it| it.get("error").is_some()).collect();
    assert_eq!(refused.len(), 1, "{answers:?}");
    assert_eq!(refused[0]["id"], MCP_LISTENS);
}

#[test]
fn a_line_that_is_too_long_is_passed_over() {
    let mut input = vec![b' '; MCP_BODY_BYTES + 10];
    input.extend_from_slice(b"\nshort\nlast");
    let mut input = Cursor::new(input);
    assert_eq!(next_line(&mut input).unwrap(), Some(Line::TooLong));
    assert_eq!(next_line(&mut input).unwrap(), Some(Line::Bytes(b"short".to_vec())));
    assert_eq!(next_line(&mut input).unwrap(), Some(Line::Bytes(b"last".to_vec())));
    assert_eq!(next_line(&mut input).unwrap(), None);
}
