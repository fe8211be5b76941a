//! What is no MCP, or no HTTP: a clean error or a closed connection, and never a stalled server.

use flowtap::limits::{EMPTY_LINES, HEAD_BYTES, MCP_BODY_BYTES, REQUEST_LINE_BYTES};
use serde_json::json;

use crate::support::{Server, initialize, request};

const HOST: &str = "Host: localhost\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

/// The server still serves others.
fn is_well(server: &Server) {
    let session = server.session("2025-11-25");
    assert_eq!(server.post(&session, &request(1, "ping", json!({}))).status, 200);
}

/// Sends bytes as far as they are taken; gives the status of the answer and what closes.
fn sent(server: &Server, bytes: &[u8]) -> String {
    let mut client = server.connect();
    client.try_send(bytes);
    client.rest()
}

#[test]
fn other_protocols_get_an_answer_in_http() {
    let server = Server::new();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    assert!(sent(&server, hello).starts_with("HTTP/1.1 400 "));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    assert!(sent(&server, preface).starts_with("HTTP/1.1 505 "));
    assert!(sent(&server, b"SSH-2.0-OpenSSH_9.0\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert!(sent(&server, b"\0\0\0\0").starts_with("HTTP/1.1 400 "));
    assert!(sent(&server, &b"\r\n".repeat(EMPTY_LINES + 1)).starts_with("HTTP/1.1 400 "));
    assert!(sent(&server, b"{\"jsonrpc\":\"2.0\"}").starts_with("HTTP/1.1 400 "));
    let connect = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n";
    assert!(sent(&server, connect).starts_with("HTTP/1.1 400 "));
    is_well(&server);
}

#[test]
fn heads_have_their_limits() {
    let server = Server::new();
    let megabyte = format!("GET /mcp HTTP/1.1\r\n{HOST}X: {}\r\n\r\n", "x".repeat(1 << 20));
    assert!(sent(&server, megabyte.as_bytes()).starts_with("HTTP/1.1 431 "));
    let endless = format!("GET /mcp HTTP/1.1\r\n{HOST}{}", "X: y\r\n".repeat(HEAD_BYTES / 6 + 1));
    assert!(sent(&server, endless.as_bytes()).starts_with("HTTP/1.1 431 "));
    let many = format!("GET /mcp HTTP/1.1\r\n{HOST}{}\r\n", "X: y\r\n".repeat(1_001));
    assert!(sent(&server, many.as_bytes()).starts_with("HTTP/1.1 431 "));
    let long = format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", "x".repeat(REQUEST_LINE_BYTES));
    assert!(sent(&server, long.as_bytes()).starts_with("HTTP/1.1 414 "));
    let folded = format!("GET /mcp HTTP/1.1\r\n{HOST}X: a\r\n b\r\n\r\n");
    assert!(sent(&server, folded.as_bytes()).starts_with("HTTP/1.1 400 "));
    is_well(&server);
}

#[test]
fn bodies_have_their_limits() {
    let server = Server::new();
    let post = format!("POST /mcp HTTP/1.1\r\n{HOST}{JSON}");
    let declared = format!("{post}Content-Length: {}\r\n\r\n", MCP_BODY_BYTES + 1);
    assert!(sent(&server, declared.as_bytes()).starts_with("HTTP/1.1 413 "));
    let mut endless = format!("{post}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    for _ in 0..=MCP_BODY_BYTES >> 20 {
        endless.extend_from_slice(chunk.as_bytes());
    }
    assert!(sent(&server, &endless).starts_with("HTTP/1.1 413 "));
    let ambiguous = [
        "Content-Length: 1\r\nContent-Length: 1\r\n\r\n{",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
        "Transfer-Encoding: gzip\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ];
    for rest in ambiguous {
        let answer = sent(&server, format!("{post}{rest}").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{rest}: {answer}");
    }
    is_well(&server);
}

#[test]
fn deep_and_large_messages_are_judged_and_taken() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let head = format!("POST /mcp\r\n{JSON}{session}");
    for text in ["[", "{\"a\":"] {
        let response = server.send(&head, &text.repeat(200_000));
        assert_eq!((response.status, response.error().0), (400, -32700));
    }
    let nested = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{nested}}}}}"#);
    assert_eq!(server.send(&head, &body).error().0, -32700);
    let text = "x".repeat(MCP_BODY_BYTES - 1_000);
    let large = request(1, "ping", json!({ "text": text }));
    assert_eq!(server.post(&session, &large).json()["result"], json!({}));
}

#[test]
fn chunked_bodies_pipelines_and_expectations_work() {
    let server = Server::new();
    let body = initialize("2025-11-25").to_string();
    let (first, second) = body.split_at(20);
    let post = format!("POST /mcp HTTP/1.1\r\n{HOST}{JSON}");
    let chunked = format!(
        "{post}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x};a=b\r\n{second}\r\n\
         0\r\nX-Trailer: x\r\n\r\n",
        first.len(),
        second.len()
    );
    let plain = format!("{post}Content-Length: {}\r\n\r\n{body}", body.len());
    let mut client = server.connect();
    client.send(format!("\r\n{chunked}{plain}{chunked}GET /nothing HTTP/1.1\r\n{HOST}\r\n"));
    for _ in 0..3 {
        assert_eq!(client.response(false).json()["id"], 0);
    }
    assert_eq!(client.response(false).status, 404);

    client.send(format!("{post}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len()));
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(&body);
    assert_eq!(client.response(false).status, 200);
    // Refused by its head alone, without being asked for its body.
    client.send(format!(
        "POST /sse HTTP/1.1\r\n{HOST}{JSON}Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"
    ));
    let refused = client.response(false);
    assert_eq!((refused.status, refused.field("connection").as_deref()), (405, Some("close")));
    let mut client = server.connect();
    client.send(format!("{post}Expect: wonders\r\nContent-Length: 9\r\n\r\n"));
    assert_eq!(client.response(false).status, 417);
}

#[test]
fn older_http_and_closing_clients_are_answered() {
    let server = Server::new();
    let body = initialize("2025-11-25").to_string();
    let length = format!("Content-Length: {}\r\n", body.len());
    let old = format!("POST /mcp HTTP/1.0\r\n{HOST}{JSON}{length}\r\n{body}");
    let answer = sent(&server, old.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\r\nConnection: close\r\n"));
    let closing =
        format!("POST /mcp HTTP/1.1\r\n{HOST}{JSON}Connection: close\r\n{length}\r\n{body}");
    assert!(sent(&server, closing.as_bytes()).ends_with('}'));
    let mut client = server.connect();
    client.send(format!("POST /mcp HTTP/1.1\r\n{HOST}{JSON}{length}\r\n{body}"));
    client.finish();
    assert!(client.rest().ends_with('}'));
    let head = server.connect().exchange("HEAD /mcp", "");
    assert_eq!((head.status, head.body.as_str()), (405, ""));
}
