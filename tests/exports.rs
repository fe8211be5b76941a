//! Bundles as files of other formats than HAR.
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/capture.rs"]
mod capture;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;

use flowtap::capture::entry::ended;
use flowtap::capture::export::{Kind, export};
use flowtap::flow::filter::Filter;
use flowtap::flow::record::*;
use flowtap::flow::redact::Redactor;
use serde_json::{Value, json};
use tempfile::TempDir;

use capture::{Capture, binary_message, exchange, failed, gzip, send, text_body, websocket};

/// A bundle of two parts: a flow with coded JSON, one with a binary body, a WebSocket, a failure.
fn bundle() -> (TempDir, PathBuf) {
    let capture = Capture::start(2);
    let mut first = exchange(1);
    first.request.head = "POST /v1/items/7?q=x%20y&token=S3CRET HTTP/1.1\r\nHost: a.example\r\n\
                          Authorization: Bearer S3CRET\r\nX-Two: 1\r\nX-Two: 2\r\n\
                          Content-Type: application/json\r\n\r\n"
        .into();
    first.request.body = text_body("{\"password\":\"S3CRET\",\"n\":1}");
    first.request.trailers = "X-Sum: 7\r\nX-Api-Key: S3CRET\r\n".into();
    let head = "HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\
                Content-Type: application/json\r\n\r\n";
    capture.respond(&mut first, head, &gzip("{\"é\":null}".as_bytes()));
    send(&capture, vec![ended(&first)]);
    let mut second = exchange(2);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n";
    capture.respond(&mut second, head, b"\x89PNG\0");
    send(&capture, vec![ended(&second)]);
    let mut socket = websocket(900, &["one"]);
    socket.insert(2, binary_message(900));
    send(&capture, socket);
    send(&capture, vec![failed(1_000)]);
    let (folder, _, summary) = capture.finish_in_place();
    let path = summary.paths[0].clone();
    (folder, path)
}

/// What is exported, as text.
fn exported(path: &std::path::Path, kind: Kind, redactor: &Redactor, filter: &str) -> String {
    let mut out = Vec::new();
    let filter = Filter::parse(filter).unwrap();
    let exported = export(path, kind, &mut out, redactor, filter.as_ref()).unwrap();
    assert_eq!(exported.left_out, [""; 0]);
    String::from_utf8(out).unwrap()
}

#[test]
fn json_lines_have_every_flow_with_every_key() {
    let (_folder, path) = bundle();
    let text = exported(&path, Kind::JsonLines, &Redactor::off(), "");
    let lines: Vec<Value> = text.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    let wire = gzip("{\"é\":null}".as_bytes()).len();
    let expected = json!({
        "id": "t_0001", "part": 1, "time": "2023-11-14T22:13:20.001+00:00",
        "method": "POST", "url": "https://a.example/v1/items/7?q=x%20y&token=S3CRET",
        "scheme": "https", "host": "a.example", "port": 443, "path": "/v1/items/7",
        "query": [["q", "x y"], ["token", "S3CRET"]], "status": 201,
        "request": {
            "http_version": "HTTP/1.1",
            "headers": [
                ["Host", "a.example"], ["Authorization", "Bearer S3CRET"], ["X-Two", "1"],
                ["X-Two", "2"], ["Content-Type", "application/json"],
            ],
            "body": {"size": 27, "wire_size": 27, "text": "{\"password\":\"S3CRET\",\"n\":1}"},
            "trailers": [["X-Sum", "7"], ["X-Api-Key", "S3CRET"]],
        },
        "response": {
            "reason": "Created", "http_version": "HTTP/1.1",
            "headers": [
                ["Content-Encoding", "gzip"], ["Transfer-Encoding", "chunked"],
                ["Content-Type", "application/json"],
            ],
            "body": {"size": 11, "wire_size": wire, "text": "{\"é\":null}"}, "trailers": [],
        },
        "timing": {
            "dns_ms": null, "connect_ms": null, "tls_ms": null,
            "send_ms": 0, "wait_ms": 1.5, "receive_ms": 0, "total_ms": 2,
        },
        "server": {"address": "192.0.2.1", "connection": 1},
        "error": null, "replayed": false, "messages": null,
    });
    assert_eq!(lines[0], expected);
    let png = json!({"size": 5, "wire_size": 5, "base64": "iVBORwA="});
    assert_eq!(lines[1]["response"]["body"], png);
    let messages = json!([
        {"direction": "send", "time": "2023-11-14T22:13:21.110+00:00", "size": 3, "text": "one"},
        {"direction": "receive", "time": "2023-11-14T22:13:21.110+00:00", "size": 1,
         "base64": "/w=="},
    ]);
    assert_eq!((&lines[2]["messages"], &lines[2]["id"]), (&messages, &json!("ws_0001")));
    assert_eq!((&lines[3]["part"], &lines[3]["id"]), (&json!(2), &json!("2:t_0001")));
    let second = path.with_file_name("capture-0002.zip");
    let alone = exported(&second, Kind::JsonLines, &Redactor::off(), "");
    let alone: Value = serde_json::from_str(alone.lines().next().unwrap()).unwrap();
    assert_eq!((&alone["part"], &alone["id"]), (&json!(2), &json!("t_0001")));
    assert_eq!(lines[2]["scheme"], "ws");
    assert_eq!(
        (&lines[3]["error"], &lines[3]["status"]),
        (&json!("connection refused"), &json!(null))
    );
    assert_eq!((&lines[3]["response"], &lines[3]["request"]["body"]), (&json!(null), &json!(null)));
    for line in &lines {
        let keys = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(line), keys(&lines[0]));
    }
}

#[test]
fn every_format_masks_and_filters() {
    let (folder, path) = bundle();
    for kind in Kind::ALL {
        let masked = exported(&path, kind, &Redactor::default(), "");
        assert!(!masked.contains("S3CRET"), "{}: {masked}", kind.name());
        assert!(masked.contains("a.example"), "{}: {masked}", kind.name());
        let filtered = exported(&path, kind, &Redactor::off(), "~d ws.example");
        assert!(!filtered.contains("a.example"), "{}: {filtered}", kind.name());

        // The command writes the same.
        let file = folder.path().join("exported");
        let output = Command::new(env!("CARGO_BIN_EXE_flowtap"))
            .args(["export", "--redact"])
            .arg(&path)
            .arg(format!("--{}", kind.name()))
            .arg(&file)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && told.contains(many(kind)), "{told}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), masked);
    }
}

/// What the command says of all that is in the bundle.
fn many(kind: Kind) -> &'static str {
    match kind {
        Kind::Har => "(4 entries of 2 parts)",
        Kind::JsonLines | Kind::Html => "(4 flows of 2 parts)",
        Kind::OpenApi => "(1 operation of 2 parts)",
        Kind::Curl => "(4 commands of 2 parts)",
    }
}

/// An origin that takes so many requests and gives the bytes of each.
fn origin(requests: usize) -> (std::net::SocketAddr, std::sync::mpsc::Receiver<Vec<u8>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, taken) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for _ in 0..requests {
            sender.send(take(&listener)).unwrap();
        }
    });
    (address, taken)
}

/// Takes one request, as long as its Content-Length says.
fn take(listener: &std::net::TcpListener) -> Vec<u8> {
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let mut taken = Vec::new();
    let mut piece = [0; 65_536];
    loop {
        let read = socket.read(&mut piece).unwrap();
        taken.extend_from_slice(&piece[..read]);
        let Some(end) = taken.windows(4).position(|it| it == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&taken[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.map_or(0, |it| it.lines().next().unwrap().parse().unwrap());
        if read == 0 || taken.len() >= end + 4 + length {
            break;
        }
    }
    socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    taken
}

#[test]
fn a_script_sends_the_requests_again() {
    let bodies = [b"a 'quoted' $HOME `id`\n\0\xff".to_vec(), vec![b'x'; 200_000], Vec::new()];
    let (address, taken) = origin(bodies.len());
    let capture = Capture::start(100);
    for (number, body) in bodies.iter().enumerate() {
        let mut flow = exchange(number as u64 + 1);
        let method = if body.is_empty() { "DELETE" } else { "POST" };
        flow.scheme = Scheme::Http;
        flow.request.head = format!(
            "{method} /{number}?a=$(touch%20hit)&b='c' HTTP/1.1\r\nHost: {address}\r\n\
             X-Odd: $(touch hit) `touch hit` '\"\\\r\n\r\n"
        )
        .into();
        let text = body.clone();
        flow.request.body = Body { size: text.len() as u64, tail: text.into(), sent_ahead: 0 };
        send(&capture, vec![ended(&flow)]);
    }
    let (folder, _, summary) = capture.finish_in_place();
    let script = exported(&summary.paths[0], Kind::Curl, &Redactor::off(), "");
    std::fs::write(folder.path().join("again.sh"), &script).unwrap();
    let mut shell = Command::new("sh");
    shell.arg("again.sh").current_dir(folder.path()).env("HOME", folder.path());
    // No proxy of the tests' own surroundings may lead curl elsewhere.
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        shell.env_remove(name).env_remove(name.to_uppercase());
    }
    shell.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    assert!(shell.status().unwrap().success(), "{script}");
    for (number, body) in bodies.iter().enumerate() {
        let taken = taken.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
        let text = String::from_utf8_lossy(&taken);
        assert!(
            text.contains(&format!(" /{number}?a=$(touch%20hit)&b='c' HTTP/1.1\r\n")),
            "{text}"
        );
        assert!(text.contains("X-Odd: $(touch hit) `touch hit` '\"\\\r\n"), "{text}");
        assert!(taken.ends_with(body), "{number}");
    }
    assert!(!folder.path().join("hit").exists());
}

/// A bundle of others, with these entries, which are compressed.
fn made(folder: &std::path::Path, entries: &[(&str, &[u8])]) -> PathBuf {
    let path = folder.join("made.zip");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    for (name, bytes) in [("manifest.json", b"{}".as_slice())].iter().chain(entries) {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    path
}

#[test]
fn messages_that_are_still_compressed_are_left_out_when_secrets_are_masked() {
    let folder = tempfile::tempdir().unwrap();
    let message =
        br#"{"opcode":"text","payload_encoding":"permessage-deflate","payload_file":"p"}"#;
    let path = made(
        folder.path(),
        &[
            ("ws/ws_0001.json", br#"{"url":"wss://h/","message_count":1}"#),
            ("ws/ws_0001_m001.json", message),
            ("ws/p", b"\xffdeflated"),
        ],
    );
    let written = |kind, redactor: &Redactor| {
        let mut out = Vec::new();
        let exported = export(&path, kind, &mut out, redactor, None).unwrap();
        (String::from_utf8(out).unwrap(), exported.left_out)
    };
    let (masks, shows) = (Redactor::default(), Redactor::off());
    // As base64 has it.
    let coded = "/2RlZmxhdGVk";
    for kind in [Kind::JsonLines, Kind::Har, Kind::Html] {
        let (text, left_out) = written(kind, &shows);
        assert!(text.contains(coded), "{}", kind.name());
        assert_eq!(left_out, ["the plain payload of 1 message of ws_0001: still compressed"]);
        let (text, left_out) = written(kind, &masks);
        assert!(!text.contains(coded), "{}", kind.name());
        assert_eq!(left_out, ["1 message of ws_0001: still compressed, and cannot be masked"]);
    }

    let line = |redactor: &Redactor| -> Value {
        let (text, _) = written(Kind::JsonLines, redactor);
        serde_json::from_str::<Value>(&text).unwrap()["messages"][0].clone()
    };
    let note = line(&shows)["note"].clone();
    assert_eq!(note, "its compression (permessage-deflate) is not undone");
    let masked = line(&masks);
    assert!(masked.get("base64").is_none() && masked.get("text").is_none(), "{masked}");
    assert!(masked["note"].as_str().unwrap().ends_with("is left out"), "{masked}");

    let entry = |redactor: &Redactor| -> Value {
        let (text, _) = written(Kind::Har, redactor);
        serde_json::from_str::<Value>(&text).unwrap()["log"]["entries"][0].clone()
    };
    let shown = entry(&shows);
    let message = &shown["_webSocketMessages"][0];
    assert_eq!((&message["opcode"], &message["data"]), (&json!(2), &json!(coded)));
    assert_eq!(shown["comment"], "1 message is still compressed");
    let masked = entry(&masks);
    assert_eq!(masked["_webSocketMessages"], json!([]));
    assert_eq!(masked["comment"], "1 message is left out");
}

/// Runs flowtap with the end of a file as its standard output.
fn appending(log: &std::path::Path, words: &[&str]) -> std::process::Output {
    let stdout = std::fs::OpenOptions::new().append(true).open(log).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtap"));
    command.args(words).current_dir(log.parent().unwrap()).env("HOME", log.parent().unwrap());
    command.stdin(std::process::Stdio::null()).stdout(stdout).output().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_standard_output_goes_to_is_not_replaced() {
    let (folder, bundle) = bundle();
    let log = folder.path().join("log.txt");
    std::fs::write(&log, "before\n").unwrap();
    let bundle = bundle.to_str().unwrap();
    for file in ["/dev/stdout", "log.txt"] {
        let output = appending(&log, &["export", bundle, "--har", file]);
        assert!(output.status.success(), "{output:?}");
    }
    let output = appending(&log, &["check", bundle, "--require", "~all", "--junit", "/dev/stdout"]);
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("before\n{"), "{text}");
    assert_eq!(text.matches("\"log\"").count(), 2, "{text}");
    assert!(text.trim_end().ends_with("</testsuites>"), "{text}");
    for words in [
        ["run", "--no-mcp", "-o", "/dev/stdout", "true"],
        ["run", "--no-mcp", "-o", "log.txt", "true"],
        ["recover", "nothing.zip", "--no-config", "-o", "/dev/stdout"],
    ] {
        let output = appending(&log, &words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("--output takes a file of its own"), "{said}");
    }
    assert_eq!(std::fs::read_to_string(&log).unwrap(), text);
    // Where nothing else is said, a bundle goes to capture.zip.
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("capture.zip");
    std::fs::write(&log, "before\n").unwrap();
    let output = appending(&log, &["run", "--no-mcp", "--", "true"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "before\n");
}
