//! The stateless revision 2026-07-28.

use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::{Server, initialize, notification, request};
use crate::toolbox::Held;

const VERSION: &str = "2026-07-28";

fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    })
}

/// A request with `_meta`.
fn message(method: &str, mut params: Value) -> Value {
    params["_meta"] = meta();
    request(1, method, params)
}

/// The fields that repeat a message.
fn fields(message: &Value) -> String {
    let method = message["method"].as_str().unwrap();
    let params = &message["params"];
    let name = params["name"].as_str().or(params["uri"].as_str());
    let name = name.map(|name| format!("Mcp-Name: {name}\r\n")).unwrap_or_default();
    format!("MCP-Protocol-Version: {VERSION}\r\nMcp-Method: {method}\r\n{name}")
}

fn ask(server: &Server, method: &str, params: Value) -> Response {
    let message = message(method, params);
    server.post(&fields(&message), &message)
}

/// A call whose progress is wanted, on its way.
fn start(server: &Server, tool: &str, arguments: Value) -> Client {
    let mut message = message("tools/call", json!({ "name": tool, "arguments": arguments }));
    message["params"]["_meta"]["progressToken"] = json!(7);
    let mut client = server.connect();
    client.start_post(&fields(&message), &message);
    client
}

#[test]
fn every_result_is_complete_and_lists_can_be_kept() {
    let server = Server::new();
    let cached = [
        ("server/discover", json!({})),
        ("tools/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({ "uri": "flow://1/body" })),
    ];
    for (method, params) in cached {
        let response = ask(&server, method, params);
        assert_eq!(response.status, 200, "{method}");
        let result = &response.json()["result"];
        assert_eq!(result["resultType"], "complete", "{method}");
        assert!(result["ttlMs"].is_u64() && result["cacheScope"] == "private", "{method}");
        assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "flowtap");
        assert_eq!(response.field("mcp-session-id"), None);
    }
    let response = ask(&server, "tools/call", json!({ "name": "echo", "arguments": {} }));
    let result = &response.json()["result"];
    assert_eq!(result["resultType"], "complete");
    assert_eq!((result.get("ttlMs"), result.get("cacheScope")), (None, None));
    assert_eq!(result["structuredContent"], json!({ "arguments": {} }));
    assert_eq!(result["content"][1]["type"], "resource_link");
}

#[test]
fn discovery_names_all_versions() {
    let server = Server::new();
    let result = &ask(&server, "server/discover", json!({})).json()["result"];
    let versions = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
    assert_eq!(result["supportedVersions"], json!(versions));
    assert_eq!(result["capabilities"], json!({ "tools": {}, "resources": {} }));
    assert_eq!(result["instructions"], "Call echo to hear yourself.");
}

#[test]
fn what_was_removed_and_what_never_was_is_404() {
    let server = Server::new();
    for method in
        ["initialize", "ping", "logging/setLevel", "resources/subscribe", "prompts/list", "x"]
    {
        let response = ask(&server, method, json!({}));
        assert_eq!((response.status, response.error()), (404, (-32601, json!(1))), "{method}");
    }
    for method in ["GET", "DELETE"] {
        let head = format!("{method} /mcp\r\nMCP-Protocol-Version: {VERSION}\r\n");
        let response = server.send(&head, "");
        assert_eq!((response.status, response.field("allow").as_deref()), (405, Some("POST")));
    }
}

#[test]
fn meta_must_be_whole() {
    let server = Server::new();
    let whole = message("tools/list", json!({}));
    let fields = fields(&whole);
    let mut broken =
        vec![request(1, "tools/list", json!({})), request(1, "tools/list", json!({"_meta": 5}))];
    for key in ["protocolVersion", "clientCapabilities"] {
        let mut message = whole.clone();
        let meta = message["params"]["_meta"].as_object_mut().unwrap();
        meta.remove(&format!("io.modelcontextprotocol/{key}"));
        broken.push(message);
    }
    let mut shapeless = whole.clone();
    shapeless["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!([]);
    broken.push(shapeless);
    for message in broken {
        let response = server.post(&fields, &message);
        assert_eq!((response.status, response.error()), (400, (-32602, json!(1))), "{message}");
    }
    let mut anonymous = whole;
    let meta = anonymous["params"]["_meta"].as_object_mut().unwrap();
    meta.remove("io.modelcontextprotocol/clientInfo");
    assert_eq!(server.post(&fields, &anonymous).status, 200);
}

#[test]
fn the_head_must_say_what_the_body_says() {
    let server = Server::new();
    let call = message("tools/call", json!({ "name": "echo" }));
    let v = "MCP-Protocol-Version: 2026-07-28\r\n";
    let (m, n) = ("Mcp-Method: tools/call\r\n", "Mcp-Name: echo\r\n");
    let wrong = [
        // By its body the message is stateless.
        format!("{m}{n}"),
        format!("MCP-Protocol-Version: 2025-11-25\r\n{m}{n}"),
        format!("MCP-Protocol-Version: 2027-01-01\r\n{m}{n}"),
        format!("{v}{n}"),
        format!("{v}Mcp-Method: tools/list\r\n{n}"),
        format!("{v}Mcp-Method: Tools/Call\r\n{n}"),
        format!("{v}{m}"),
        format!("{v}{m}Mcp-Name: fail\r\n"),
        format!("{v}{m}{n}{n}"),
        format!("{v}{m}{m}{n}"),
        format!("{v}{v}{m}{n}"),
        format!("{v}{m}Mcp-Name: =?base64?*?=\r\n"),
        format!("{v}{m}Mcp-Name: =?base64?ZWNobw?=\r\n"),
    ];
    for fields in wrong {
        let response = server.post(&fields, &call);
        assert_eq!((response.status, response.error()), (400, (-32020, json!(1))), "{fields}");
    }
    for name in ["echo", "=?base64?ZWNobw==?="] {
        let response = server.post(&format!("{v}{m}Mcp-Name: {name}\r\n"), &call);
        assert_eq!(response.status, 200, "{name}: {response:?}");
    }
    let lower = "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: echo\r\n";
    assert_eq!(server.post(lower, &call).status, 200);
    let read = message("resources/read", json!({ "uri": "flow://1/body" }));
    let without = format!("{v}Mcp-Method: resources/read\r\n");
    assert_eq!(server.post(&without, &read).error().0, -32020);
    assert_eq!(server.post(&fields(&read), &read).status, 200);
}

#[test]
fn other_versions_are_refused_with_those_that_are_served() {
    let server = Server::new();
    for version in ["2027-01-01", "1900-01-01", "x"] {
        let mut message = message("tools/list", json!({}));
        message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(version);
        let fields = format!("MCP-Protocol-Version: {version}\r\nMcp-Method: tools/list\r\n");
        let response = server.post(&fields, &message);
        assert_eq!((response.status, response.error()), (400, (-32022, json!(1))), "{version}");
        let data = &response.json()["error"]["data"];
        assert_eq!(data["requested"], version);
        assert_eq!(data["supported"][0], VERSION);
    }
    // Disagreement comes before what is not served.
    let mut message = message("tools/list", json!({}));
    message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("1900-01-01");
    assert_eq!(server.post(&fields(&message), &message).error().0, -32020);
}

#[test]
fn bad_parameters_are_400_and_other_bodies_too() {
    let server = Server::new();
    let bad = [
        ("tools/call", json!({ "name": "nothing" })),
        ("resources/read", json!({ "uri": "flow://9/body" })),
        ("tools/list", json!({ "cursor": "a" })),
        ("subscriptions/listen", json!({})),
    ];
    for (method, params) in bad {
        let response = ask(&server, method, params);
        assert_eq!((response.status, response.error()), (400, (-32602, json!(1))), "{method}");
    }
    let version = format!("MCP-Protocol-Version: {VERSION}\r\n");
    let whole = message("tools/list", json!({}));
    for body in [json!([whole]), json!({ "jsonrpc": "2.0", "id": 1, "result": {} }), json!(5)] {
        let response = server.post(&version, &body);
        assert_eq!((response.status, response.error()), (400, (-32600, Value::Null)), "{body}");
    }
    let response = server.post(&version, &notification("notifications/cancelled", json!({})));
    assert_eq!((response.status, response.body.as_str()), (202, ""));
    let response =
        server.post("MCP-Protocol-Version: 1900-01-01\r\n", &notification("a", json!({})));
    assert_eq!(response.error(), (-32022, Value::Null));
}

#[test]
fn older_clients_are_served_beside() {
    let server = Server::new();
    let mut client = server.connect();
    let response = client.post("", &initialize("2025-11-25"));
    let session = format!("Mcp-Session-Id: {}\r\n", response.field("mcp-session-id").unwrap());
    let stateless = message("tools/list", json!({}));
    // A session is of no interest to a request that stands alone.
    let both = format!("{}{session}", fields(&stateless));
    assert_eq!(client.post(&both, &stateless).json()["result"]["resultType"], "complete");
    let older = client.post(&session, &request(2, "tools/list", json!({})));
    assert_eq!(older.json()["result"].get("resultType"), None);
}

#[test]
fn progress_makes_the_answer_a_stream() {
    let server = Server::new();
    let mut client = start(&server, "count", json!({ "to": 3 }));
    client.stream_head();
    for step in 1..=3 {
        let params = &client.message()["params"];
        assert_eq!(params["progress"], json!(f64::from(step)));
        assert_eq!((&params["progressToken"], &params["message"]), (&json!(7), &json!("counting")));
    }
    assert_eq!(client.message()["result"]["structuredContent"], json!({ "counted": 3 }));
    assert_eq!(client.event(), None, "the stream ends with the reply");
    let mut quiet = start(&server, "count", json!({ "to": 0 }));
    assert_eq!(quiet.response(false).json()["id"], 1);
}

#[test]
fn a_client_that_drops_the_reply_cancels() {
    let server = Server::new();
    let client = start(&server, "hold", json!({}));
    assert_eq!(server.held(), Held::Started);
    drop(client);
    assert_eq!(server.held(), Held::Cancelled);
}

#[test]
fn listening_is_acknowledged_first_and_ends_in_order() {
    let server = Server::new();
    let filter = json!({ "toolsListChanged": true, "resourceSubscriptions": ["flow://1/body"] });
    let listen = message("subscriptions/listen", json!({ "notifications": filter }));
    let mut client = server.connect();
    client.start_post(&fields(&listen), &listen);
    client.stream_head();
    let acknowledged = client.message();
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    // Nothing that can be listened for changes here.
    assert_eq!(acknowledged["params"]["notifications"], json!({}));
    assert_eq!(acknowledged["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 1);
    server.stop();
    let last = client.message();
    assert_eq!((&last["id"], &last["result"]["resultType"]), (&json!(1), &json!("complete")));
    assert_eq!(last["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 1);
    assert_eq!(client.event(), None);
}
