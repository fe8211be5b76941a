//! Streamable HTTP with sessions.

use serde_json::{Value, json};

use crate::support::{Server, call, initialize, notification, request};

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn a_request_is_answered_with_one_json_object() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let mut client = server.connect();
    for id in 1..4 {
        let response = client.post(&session, &call(id, "echo", json!({ "text": "a" })));
        assert_eq!(response.status, 200);
        assert_eq!(response.json()["id"], id);
        assert_eq!(response.field("connection"), None, "the connection goes on");
    }
}

#[test]
fn a_missing_or_general_accept_is_both() {
    let server = Server::new();
    let body = initialize("2025-11-25").to_string();
    for accept in ["", "Accept: */*\r\n", "Accept: application/json\r\n"] {
        let response = server.send(&format!("POST /mcp\r\n{JSON}{accept}"), &body);
        assert_eq!(response.status, 200, "{accept}");
    }
}

#[test]
fn notifications_and_responses_are_taken_without_a_body() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let messages = [
        notification("notifications/initialized", json!({})),
        notification("notifications/nobody/knows", json!({})),
        notification("notifications/cancelled", json!({ "requestId": 99 })),
        json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
        json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": 1, "message": "a" } }),
    ];
    for message in messages {
        let response = server.post(&session, &message);
        assert_eq!((response.status, response.body.as_str()), (202, ""), "{message}");
        assert_eq!(response.field("content-length").as_deref(), Some("0"));
    }
}

#[test]
fn what_is_no_message_is_400_without_an_id() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let post = |body: &str| server.send(&format!("POST /mcp\r\n{JSON}{session}"), body);
    for body in ["{", "nonsense", "{}{}", "\u{0}"] {
        let response = post(body);
        assert_eq!((response.status, response.error()), (400, (-32700, Value::Null)), "{body}");
    }
    for body in ["5", "{}", "[]", r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, r#"{"id":1}"#] {
        let response = post(body);
        assert_eq!((response.status, response.error()), (400, (-32600, Value::Null)), "{body}");
    }
    assert_eq!(server.send(&format!("POST /mcp\r\n{JSON}{session}"), "").error().0, -32700);
}

#[test]
fn other_content_types_are_415() {
    let server = Server::new();
    let body = initialize("2025-11-25").to_string();
    let types = ["", "Content-Type: text/plain\r\n", "Content-Type: application/jsonx\r\n"];
    for content_type in types {
        let response = server.send(&format!("POST /mcp\r\n{content_type}"), &body);
        assert_eq!(response.status, 415, "{content_type}");
    }
    let coded = format!("POST /mcp\r\n{JSON}Content-Encoding: gzip\r\n");
    assert_eq!(server.send(&coded, &body).status, 415);
    for content_type in ["application/json; charset=utf-8", "APPLICATION/JSON;charset=\"utf-8\""] {
        let head = format!("POST /mcp\r\nContent-Type: {content_type}\r\n");
        assert_eq!(server.send(&head, &body).status, 200, "{content_type}");
    }
}

#[test]
fn sessions_and_versions_are_checked() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let ping = request(1, "ping", json!({}));
    let missing = server.post("", &ping);
    assert_eq!((missing.status, missing.error()), (400, (-32600, json!(1))));
    let unknown = server.post("Mcp-Session-Id: 0123456789\r\n", &ping);
    assert_eq!((unknown.status, unknown.error()), (404, (-32600, json!(1))));
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let fields = format!("{session}MCP-Protocol-Version: {version}\r\n");
        assert_eq!(server.post(&fields, &ping).status, 200, "{version}");
    }
    for version in ["1999-01-01", "x", ""] {
        let fields = format!("{session}MCP-Protocol-Version: {version}\r\n");
        assert_eq!(server.post(&fields, &ping).status, 400, "{version:?}");
    }
}

#[test]
fn batches_belong_to_one_version() {
    let server = Server::new();
    let batch = json!([
        request(1, "ping", json!({})),
        notification("notifications/initialized", json!({})),
        call(2, "echo", json!({})),
        5,
        request(3, "initialize", json!({})),
        call(4, "no such", json!({})),
    ]);
    let session = server.session("2025-03-26");
    let response = server.post(&session, &batch);
    assert_eq!(response.status, 200);
    let replies = response.json();
    let codes: Vec<_> = replies
        .as_array()
        .unwrap()
        .iter()
        .map(|reply| (reply["id"].as_i64(), reply["error"]["code"].as_i64()))
        .collect();
    let mut sorted = codes.clone();
    sorted.sort();
    let expected = [
        (None, Some(-32600)),
        (Some(1), None),
        (Some(2), None),
        (Some(3), Some(-32600)),
        (Some(4), Some(-32602)),
    ];
    assert_eq!(sorted, expected);
    let quiet = json!([notification("notifications/initialized", json!({}))]);
    let response = server.post(&session, &quiet);
    assert_eq!((response.status, response.body.as_str()), (202, ""));
    assert_eq!(server.post(&session, &json!([])).error().0, -32600);
    for version in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let session = server.session(version);
        let response = server.post(&session, &batch);
        assert_eq!((response.status, response.error()), (400, (-32600, Value::Null)), "{version}");
    }
}

#[test]
fn get_opens_a_stream_that_replaces_the_one_before() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let open = || {
        let mut client = server.connect();
        client.request(&format!("GET /mcp\r\nAccept: text/event-stream\r\n{session}"), "");
        client.stream_head();
        client
    };
    let mut first = open();
    let _second = open();
    assert_eq!(first.event(), None, "the first stream has ended");
    assert_eq!(server.post(&session, &request(1, "ping", json!({}))).status, 200);
    for fields in ["", "Mcp-Session-Id: 0123\r\n", "MCP-Protocol-Version: 2026-07-28\r\n"] {
        assert_eq!(server.send(&format!("GET /mcp\r\n{fields}"), "").status, 405, "{fields}");
    }
}

#[test]
fn delete_ends_the_session_once() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let mut stream = server.connect();
    stream.request(&format!("GET /mcp\r\n{session}"), "");
    stream.stream_head();
    assert_eq!(server.send("DELETE /mcp", "").status, 400);
    assert_eq!(server.send(&format!("DELETE /mcp\r\n{session}"), "").status, 200);
    assert_eq!(stream.event(), None, "its stream has ended");
    assert_eq!(server.send(&format!("DELETE /mcp\r\n{session}"), "").status, 404);
    assert_eq!(server.post(&session, &request(1, "ping", json!({}))).status, 404);
}

#[test]
fn other_methods_and_paths_are_refused() {
    let server = Server::new();
    for method in ["PUT", "PATCH", "OPTIONS", "HEAD", "TRACE"] {
        let response = server.send(&format!("{method} /mcp"), "");
        let allow = response.field("allow").unwrap();
        assert_eq!((response.status, allow.as_str()), (405, "GET, POST, DELETE"), "{method}");
    }
    let body = initialize("2025-11-25").to_string();
    let response = server.send(&format!("POST /mcp/\r\n{JSON}"), &body);
    assert_eq!((response.status, response.field("location")), (200, None));
    let paths = [
        "/",
        "/mcpx",
        "/register",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/openid-configuration",
    ];
    for path in paths {
        assert_eq!(server.send(&format!("GET {path}"), "").status, 404, "{path}");
        assert_eq!(server.send(&format!("POST {path}\r\n{JSON}"), "{}").status, 404, "{path}");
    }
}

#[test]
fn session_ids_are_long_and_visible() {
    let server = Server::new();
    let response = server.post("", &initialize("2025-11-25"));
    let id = response.field("mcp-session-id").unwrap();
    assert!(id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
    assert_ne!(server.session("2025-11-25"), server.session("2025-11-25"));
}
