//! HTTP+SSE of 2024-11-05.

use flowtap::limits::MCP_THREADS;
use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::{Server, call, initialize, notification, request};
use crate::toolbox::Held;

/// The stream of a session, and where its messages go.
struct Sse<'a> {
    server: &'a Server,
    stream: Client,
    endpoint: String,
}

impl<'a> Sse<'a> {
    fn open(server: &'a Server) -> Sse<'a> {
        let mut stream = server.connect();
        stream.request("GET /sse", "");
        stream.stream_head();
        let (name, endpoint) = stream.event().unwrap();
        assert_eq!(name, "endpoint");
        Sse { server, stream, endpoint }
    }

    /// Posts a message, which is taken at once.
    #[track_caller]
    fn say(&self, message: &Value) {
        let response = self.post(&message.to_string());
        assert_eq!((response.status, response.body.as_str()), (202, ""), "{response:?}");
    }

    fn post(&self, body: &str) -> Response {
        let head = format!("POST {}\r\nContent-Type: application/json", self.endpoint);
        self.server.send(&format!("{head}\r\n"), body)
    }

    fn initialize(&mut self, version: &str) {
        self.say(&initialize(version));
        assert_eq!(self.stream.message()["result"]["protocolVersion"], version);
    }
}

#[test]
fn the_first_event_is_a_relative_reference_with_a_long_id() {
    let server = Server::new();
    let sse = Sse::open(&server);
    let id = sse.endpoint.strip_prefix("/messages?session_id=").expect("a bare reference");
    assert!(id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_ne!(sse.endpoint, Sse::open(&server).endpoint);
}

#[test]
fn replies_come_on_the_stream_alone() {
    let server = Server::new();
    let mut sse = Sse::open(&server);
    sse.initialize("2024-11-05");
    sse.say(&notification("notifications/initialized", json!({})));
    sse.say(&request("p", "ping", json!({})));
    assert_eq!(sse.stream.message(), json!({ "jsonrpc": "2.0", "id": "p", "result": {} }));
    sse.say(&call(2, "echo", json!({ "text": "a\nb\u{2028}" })));
    let result = &sse.stream.message()["result"];
    assert!(result["content"][0]["text"].as_str().unwrap().contains("a\\nb\u{2028}"));
    sse.say(&request(3, "no/such", json!({})));
    assert_eq!(sse.stream.message()["error"]["code"], -32601);
}

#[test]
fn what_is_wrong_with_a_post_has_its_status_and_never_ends_the_stream() {
    let server = Server::new();
    let mut sse = Sse::open(&server);
    let json = "Content-Type: application/json\r\n";
    let ping = request(1, "ping", json!({})).to_string();
    let status = |head: &str, body: &str| server.send(head, body).status;
    assert_eq!(status(&format!("POST /messages\r\n{json}"), &ping), 400);
    assert_eq!(status(&format!("POST /messages?session_id=\r\n{json}"), &ping), 404);
    assert_eq!(status(&format!("POST /messages?session_id=0123\r\n{json}"), &ping), 404);
    let session = server.session("2025-11-25");
    let streamable = session.trim().strip_prefix("Mcp-Session-Id: ").unwrap();
    let head = format!("POST /messages?session_id={streamable}\r\n{json}");
    assert_eq!(status(&head, &ping), 404);
    let endpoint = sse.endpoint.clone();
    let typed = |value: &str| format!("POST {endpoint}\r\nContent-Type: {value}\r\n");
    assert_eq!(status(&typed("text/plain"), &ping), 415);
    assert_eq!(status(&format!("POST {endpoint}"), &ping), 415);
    assert_eq!(status(&typed("application/json; charset=utf-8"), &ping), 202);
    assert_eq!(sse.stream.message()["id"], 1);
    let unreadable =
        ["{", "", "nonsense", "[]", "5", r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#];
    for body in unreadable {
        assert_eq!(sse.post(body).status, 400, "{body}");
    }
    assert_eq!(sse.post(&json!([request(1, "ping", json!({}))]).to_string()).status, 400);
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"] {
        let response = server.send(&format!("{method} {endpoint}"), "");
        assert_eq!((response.status, response.field("allow")), (405, Some("POST".into())));
    }
    sse.say(&request("still", "ping", json!({})));
    assert_eq!(sse.stream.message()["id"], "still");
}

#[test]
fn an_error_that_quotes_a_large_message_does_not_end_the_stream() {
    let server = Server::new();
    let mut sse = Sse::open(&server);
    let long = "x".repeat(8_000_000);
    let read = request(3, "resources/read", json!({ "uri": long }));
    let quoted = [
        (request(1, &long, json!({})), -32601),
        (call(2, &long, json!({})), -32602),
        (read, -32002),
    ];
    for (message, code) in quoted {
        sse.say(&message);
        let (_, data) = sse.stream.event().expect("the stream goes on");
        assert!(data.len() < 1 << 20, "{}", data.len());
        let reply: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(reply["error"]["code"], code);
    }
}

#[test]
fn other_methods_than_get_are_refused_so_that_clients_fall_back() {
    let server = Server::new();
    let head = "POST /sse\r\nContent-Type: application/json\r\n";
    let response = server.send(head, &initialize("2025-11-25").to_string());
    assert_eq!((response.status, response.field("allow").as_deref()), (405, Some("GET")));
    for method in ["PUT", "DELETE", "HEAD", "OPTIONS"] {
        assert_eq!(server.send(&format!("{method} /sse"), "").status, 405, "{method}");
    }
}

#[test]
fn a_closed_stream_ends_its_session_and_cancels_its_work() {
    let server = Server::new();
    let mut sse = Sse::open(&server);
    sse.initialize("2025-11-25");
    sse.say(&call(1, "hold", json!({})));
    assert_eq!(server.held(), Held::Started);
    let endpoint = sse.endpoint.clone();
    drop(sse);
    assert_eq!(server.held(), Held::Cancelled);
    let head = format!("POST {endpoint}\r\nContent-Type: application/json\r\n");
    assert_eq!(server.send(&head, &request(1, "ping", json!({})).to_string()).status, 404);
}

#[test]
fn progress_and_batches_come_on_the_stream() {
    let server = Server::new();
    let mut sse = Sse::open(&server);
    sse.initialize("2025-03-26");
    let params = json!({
        "name": "count", "arguments": { "to": 3 }, "_meta": { "progressToken": "t" }
    });
    sse.say(&request(1, "tools/call", params));
    for step in 1..=3 {
        let message = sse.stream.message();
        assert_eq!(message["method"], "notifications/progress");
        assert_eq!(message["params"]["progress"], json!(f64::from(step)));
        assert_eq!(message["params"]["progressToken"], "t");
    }
    assert_eq!(sse.stream.message()["id"], 1);
    let batch = json!([request(2, "ping", json!({})), call(3, "echo", json!({}))]);
    sse.say(&batch);
    let replies = sse.stream.message();
    let ids: Vec<_> = replies.as_array().unwrap().iter().map(|reply| &reply["id"]).collect();
    assert_eq!(ids, [2, 3]);
}

#[test]
fn events_stay_below_a_mebibyte() {
    let server = Server::new();
    let mut sse = Sse::open(&server);
    sse.initialize("2025-11-25");
    // Fits as text alone.
    sse.say(&call(1, "large", json!({ "bytes": 700_000 })));
    let (_, data) = sse.stream.event().unwrap();
    assert!(data.len() < 1 << 20 && data.len() > 700_000, "{}", data.len());
    // Fits not at all.
    sse.say(&call(2, "large", json!({ "bytes": 2_000_000 })));
    let reply = sse.stream.message();
    assert_eq!((&reply["id"], &reply["result"]["isError"]), (&json!(2), &json!(true)));
    assert!(reply["result"]["content"][0]["text"].as_str().unwrap().contains("ask for less"));
}

#[test]
fn the_replies_to_a_batch_stay_below_a_mebibyte_too() {
    let server = Server::new();
    let mut sse = Sse::open(&server);
    sse.initialize("2025-03-26");
    let batch: Vec<_> = (0..8).map(|id| call(id, "large", json!({ "bytes": 400_000 }))).collect();
    sse.say(&batch.into());
    let mut ids = Vec::new();
    while ids.len() < 8 {
        let (_, data) = sse.stream.event().expect("the stream goes on");
        assert!(data.len() < 1 << 20, "{}", data.len());
        let replies: Vec<Value> = serde_json::from_str(&data).unwrap();
        ids.extend(replies.iter().map(|reply| reply["id"].as_u64().unwrap()));
    }
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn large_replies_that_come_together_do_not_end_the_stream() {
    let server = Server::new();
    let mut sse = Sse::open(&server);
    sse.initialize("2025-03-26");
    let large = |id| call(id, "large", json!({ "bytes": 900_000 }));
    let batch: Vec<_> = (0..MCP_THREADS as u64).map(large).collect();
    sse.say(&batch.into());
    for _ in 0..MCP_THREADS {
        assert_eq!(sse.stream.message().as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn a_stateless_request_on_the_stream_is_answered_there() {
    let server = Server::new();
    let mut sse = Sse::open(&server);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    sse.say(&request(1, "server/discover", json!({ "_meta": meta })));
    assert_eq!(sse.stream.message()["result"]["resultType"], "complete");
    // One that does not say so is of the older era, where there is no such method.
    sse.say(&request(2, "server/discover", json!({})));
    assert_eq!(sse.stream.message()["error"]["code"], -32601);
}
