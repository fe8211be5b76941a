//! Versions, `initialize`, and what each version has.

use serde_json::{Value, json};

use crate::support::{Server, call, initialize, notification, request};

const VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

#[test]
fn a_served_version_is_echoed_and_any_other_is_answered_with_the_newest() {
    let server = Server::new();
    for version in VERSIONS {
        let result = &server.post("", &initialize(version)).json()["result"];
        assert_eq!(result["protocolVersion"], version);
        let info = &result["serverInfo"];
        assert_eq!((&info["name"], &info["title"]), (&json!("flowtap"), &json!("flowtap")));
        assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(result["instructions"], "Call echo to hear yourself.");
        assert_eq!(result["capabilities"], json!({ "tools": {}, "resources": {} }));
    }
    let others = [json!("1999-01-01"), json!("2026-07-28"), json!(5), Value::Null];
    for version in others {
        let message = request(1, "initialize", json!({ "protocolVersion": version }));
        let response = server.post("", &message);
        assert_eq!(response.status, 200);
        assert_eq!(response.json()["result"]["protocolVersion"], "2025-11-25", "{version}");
    }
    let without = json!({ "jsonrpc": "2.0", "id": "a", "method": "initialize" });
    let answer = server.post("", &without).json();
    assert_eq!(
        (&answer["id"], &answer["result"]["protocolVersion"]),
        (&json!("a"), &json!("2025-11-25"))
    );
}

#[test]
fn a_session_works_without_the_initialized_notification() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    assert_eq!(server.post(&session, &request(1, "ping", json!({}))).json()["result"], json!({}));
    let initialized = notification("notifications/initialized", json!({}));
    let response = server.post(&session, &initialized);
    assert_eq!((response.status, response.body.as_str()), (202, ""));
}

#[test]
fn ids_are_echoed_with_their_exact_type() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let head = format!("POST /mcp\r\nContent-Type: application/json\r\n{session}");
    for id in ["0", "-7", r#""7""#, r#""""#, "9007199254740993", "123456789012345678901234567890"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let response = server.send(&head, &body);
        assert_eq!(response.body, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
    }
    for id in ["null", "1.5", "true", "{}"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let response = server.send(&head, &body);
        assert_eq!((response.status, response.error()), (400, (-32600, Value::Null)), "{id}");
    }
}

#[test]
fn tools_have_what_their_version_has() {
    let server = Server::new();
    for version in VERSIONS {
        let session = server.session(version);
        let list = server.post(&session, &request(1, "tools/list", json!({}))).json();
        let result = list["result"].as_object().unwrap();
        assert!(!result.contains_key("nextCursor"));
        let echo = result["tools"][0].as_object().unwrap();
        assert_eq!(
            (&echo["name"], echo["inputSchema"]["type"].as_str()),
            (&json!("echo"), Some("object"))
        );
        assert_eq!(echo.contains_key("annotations"), version >= "2025-03-26", "{version}");
        assert_eq!(echo.contains_key("title"), version >= "2025-06-18", "{version}");
        let result = server.post(&session, &call(2, "echo", json!({ "text": "a" }))).json();
        let result = result["result"].as_object().unwrap();
        let text: Value =
            serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, json!({ "arguments": { "text": "a" } }));
        let newer = version >= "2025-06-18";
        assert_eq!(result.get("structuredContent"), newer.then_some(&text), "{version}");
        assert_eq!(result["content"].as_array().unwrap().len(), if newer { 2 } else { 1 });
        assert!(!result.contains_key("isError") && !result.contains_key("resultType"));
    }
}

#[test]
fn errors_of_well_formed_requests_ride_on_200() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let expected = [
        (request(1, "no/such", json!({})), -32601),
        (request(1, "prompts/list", json!({})), -32601),
        (request(1, "logging/setLevel", json!({})), -32601),
        (request(1, "resources/subscribe", json!({})), -32601),
        (request(1, "server/discover", json!({})), -32601),
        (request(1, "tools/call", json!({ "name": "nothing" })), -32602),
        (request(1, "tools/call", json!({})), -32602),
        (request(1, "tools/list", json!({ "cursor": "x" })), -32602),
        (request(1, "resources/read", json!({ "uri": "flow://9/body" })), -32002),
        (request(1, "resources/read", json!({})), -32602),
        (request(1, "ping", json!([1])), -32602),
        (call(1, "defect", json!({})), -32603),
    ];
    for (message, code) in expected {
        let response = server.post(&session, &message);
        assert_eq!((response.status, response.error()), (200, (code, json!(1))), "{message}");
    }
}

#[test]
fn arguments_may_be_absent_or_null_and_bad_ones_are_told_to_the_model() {
    let server = Server::new();
    let session = server.session("2025-06-18");
    for params in [json!({ "name": "echo" }), json!({ "name": "echo", "arguments": null })] {
        let result = server.post(&session, &request(1, "tools/call", params)).json();
        assert_eq!(result["result"]["structuredContent"], json!({ "arguments": {} }));
    }
    let params = json!({ "name": "echo", "arguments": [1] });
    let result = server.post(&session, &request(1, "tools/call", params)).json();
    assert_eq!(result["result"]["isError"], true);
    let result = server.post(&session, &call(1, "fail", json!({}))).json();
    assert_eq!(result["result"]["isError"], true);
    assert!(result["result"]["structuredContent"]["error"].as_str().unwrap().contains("get_flows"));
}

#[test]
fn resources_are_listed_by_template_and_read_by_uri() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let ask = |method, params| server.post(&session, &request(1, method, params)).json();
    assert_eq!(ask("resources/list", json!({}))["result"], json!({ "resources": [] }));
    let templates = ask("resources/templates/list", json!({}));
    assert_eq!(templates["result"]["resourceTemplates"][0]["uriTemplate"], "flow://{id}/body");
    let text = ask("resources/read", json!({ "uri": "flow://1/body" }));
    assert_eq!(
        text["result"]["contents"],
        json!([{ "uri": "flow://1/body", "mimeType": "text/plain", "text": "a body" }])
    );
    let binary = ask("resources/read", json!({ "uri": "flow://2/body" }));
    assert_eq!(binary["result"]["contents"][0]["blob"], "AAEC/w==");
}
