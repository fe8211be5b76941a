//! An OpenAPI document as a validator takes it, and the flows that it was made of beside it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::capture::{Capture, exchange, send};
use crate::process::run;
use crate::setting::{programs, tools};
use flowtap::capture::entry::ended;

/// A call, and what it was answered.
struct Call(&'static str, &'static str, &'static str, &'static str);

/// Calls of an API, and requests of a page around it that are none.
const CALLS: &[Call] = &[
    Call(
        "GET /api/v1/users/42?expand=posts&page=1 HTTP/1.1\r\nAuthorization: Bearer abc\r\n",
        "",
        "200 OK\r\nContent-Type: application/json\r\n",
        r#"{"id":42,"name":"Ada","mail":"ada@a.example","born":"1815-12-10","manager":null,
            "site":"https://a.example/ada","tags":["x","y"]}"#,
    ),
    Call(
        "GET /api/v1/users/43?page=2 HTTP/1.1\r\nAuthorization: Bearer abc\r\n",
        "",
        "200 OK\r\nContent-Type: application/json; charset=utf-8\r\n",
        r#"{"id":43,"name":"Bob","mail":"bob@a.example","born":"1990-01-02","manager":42,
            "site":"https://a.example/bob","tags":[],"score":1.5}"#,
    ),
    Call(
        "GET /api/v1/users/44 HTTP/1.1\r\n",
        "",
        "404 Not Found\r\nContent-Type: application/problem+json\r\n",
        r#"{"title":"no such user"}"#,
    ),
    Call(
        "POST /api/v1/users HTTP/1.1\r\nX-Api-Key: k\r\nContent-Type: application/json\r\n",
        r#"{"name":"Cid","roles":{"3f2a91bc-9d1e-4b7a-8c55-0242ac120002":"admin"}}"#,
        "201 Created\r\nContent-Type: application/json\r\n",
        r#"{"id":"3f2a91bc-9d1e-4b7a-8c55-0242ac120002","at":"2026-10-21T07:28:00Z"}"#,
    ),
    Call(
        "POST /api/v1/login HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n",
        "user=ada&password=S3CRET&remember=true",
        "204 No Content\r\n",
        "",
    ),
    Call(
        "POST /upload HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=X\r\n",
        "--X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\nx\r\n--X--\r\n",
        "200 OK\r\nContent-Type: text/plain\r\n",
        "thanks",
    ),
    Call(
        "GET /feed?tag=a&tag=b&ok=true HTTP/1.1\r\nCookie: session_id=S3CRET\r\n",
        "",
        "200 OK\r\nContent-Type: application/atom+xml\r\n",
        "<feed/>",
    ),
    Call("DELETE /api/v1/users/42/posts/7 HTTP/1.1\r\n", "", "204 No Content\r\n", ""),
    Call("GET / HTTP/1.1\r\n", "", "200 OK\r\nContent-Type: text/html\r\n", "<p>page</p>"),
    Call("GET /a.js HTTP/1.1\r\n", "", "200 OK\r\nContent-Type: text/javascript\r\n", "1"),
    Call("GET /a.png HTTP/1.1\r\n", "", "200 OK\r\nContent-Type: image/png\r\n", "x"),
    Call("OPTIONS /api/v1/users HTTP/1.1\r\n", "", "204 No Content\r\n", ""),
];

/// Writes the calls as a bundle and exports it; gives the text.
fn exported(folder: &Path, bundle: &Path, format: &str, more: &[&str]) -> String {
    let file = folder.join(format!("flows.{format}"));
    run(Command::new(env!("CARGO_BIN_EXE_flowtap"))
        .arg("export")
        .arg(bundle)
        .arg(format!("--{format}"))
        .arg(&file)
        .args(more));
    fs::read_to_string(file).unwrap()
}

#[test]
fn a_validator_accepts_it_and_all_flows_keep_to_it() {
    let capture = Capture::start(100);
    for (number, Call(request, asked, response, answered)) in CALLS.iter().enumerate() {
        let mut flow = exchange(number as u64 + 1);
        let length = format!("Host: a.example\r\nContent-Length: {}\r\n\r\n", asked.len());
        flow.request.head = format!("{request}{length}").into();
        flow.request.body = crate::capture::text_body(asked);
        let head = format!("HTTP/1.1 {response}\r\n");
        capture.respond(&mut flow, &head, answered.as_bytes());
        send(&capture, vec![ended(&flow)]);
    }
    let (folder, _, summary) = capture.finish_in_place();
    let bundle = &summary.paths[0];
    exported(folder.path(), bundle, "jsonl", &[]);
    let text = exported(folder.path(), bundle, "openapi", &[]);
    let checked = run(Command::new(tools().join("openapi-python/bin/python"))
        .arg(programs().join("with_openapi.py"))
        .arg(folder.path().join("flows.openapi"))
        .arg(folder.path().join("flows.jsonl"))
        .env("PYTHONDONTWRITEBYTECODE", "1"));
    assert_eq!(String::from_utf8(checked).unwrap().trim(), "5 bodies");
    let text = text.replace(concat!("flowtap ", env!("CARGO_PKG_VERSION")), "flowtap VERSION");
    let golden = programs().join("openapi/golden.json");
    let expected = fs::read_to_string(golden).unwrap();
    assert_eq!(text.trim(), expected.trim(), "{text}");

    let masked = exported(folder.path(), bundle, "openapi", &["--redact"]);
    assert!(!masked.contains("S3CRET"));
    run(Command::new(tools().join("openapi-python/bin/python"))
        .arg(programs().join("with_openapi.py"))
        .arg(folder.path().join("flows.openapi"))
        .arg(folder.path().join("flows.jsonl"))
        .env("PYTHONDONTWRITEBYTECODE", "1"));
}
