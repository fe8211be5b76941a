//! HAR of stored flows and of bundles that the recorder made.
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/capture.rs"]
mod capture;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use flowtap::capture::entry::ended;
use flowtap::capture::export::{Kind, export, write_whole};
use flowtap::capture::har::{har_entry, write_har};
use flowtap::error::Error;
use flowtap::flow::filter::Filter;
use flowtap::flow::record::*;
use flowtap::flow::redact::Redactor;
use flowtap::flow::stored::*;
use flowtap::limits::EXPORT_PARTS;
use serde_json::{Value, json};

use capture::{Capture, at, binary_message, exchange, failed, gzip, send, websocket};

/// A stored flow with these heads and bodies; an empty response head stands for none.
fn stored(request: (&str, &[u8]), response: (&str, &[u8])) -> StoredFlow {
    let message = |(head, body): (&str, &[u8])| StoredMessage {
        head: head.to_owned().into(),
        body: StoredBody::whole(body.to_vec().into()),
        ..StoredMessage::default()
    };
    StoredFlow {
        id: FlowId(1),
        state: FlowState::Ended,
        scheme: Scheme::Https,
        target: Some(Arc::new(Authority { host: "a.example".into(), port: 443 })),
        client: "127.0.0.1:40000".parse().unwrap(),
        client_tls: None,
        upstream: Some(Upstream {
            address: "[2001:db8::1]:443".parse().unwrap(),
            connection: 7,
            reused: false,
            tls: None,
        }),
        request: message(request),
        response: (!response.0.is_empty()).then(|| message(response)),
        timing: Timing {
            began_us: at(1),
            dns_us: 1_000,
            connect_us: 2_500,
            tls_us: 4_000,
            send_us: 10,
            wait_us: 1_500,
            receive_us: 2_000,
            total_us: 12_000,
        },
        error: None,
        intervention: Intervention::default(),
        held_since_us: 0,
        websocket: None,
    }
}

const GET: (&str, &[u8]) = ("GET /p?a=1&b=x%20y HTTP/1.1\r\nHost: a.example\r\n\r\n", b"");

fn entry(flow: &StoredFlow) -> Value {
    let entry = har_entry(flow, &Redactor::off());
    check_entry(&entry);
    entry
}

fn is_size(value: &Value) -> bool {
    value.as_i64().is_some_and(|size| size >= -1)
}

/// What holds for every entry.
fn check_entry(entry: &Value) {
    assert!(!has_null(entry), "{entry}");
    let started = entry["startedDateTime"].as_str().unwrap();
    assert!(started.ends_with("+00:00") && started.contains('T'), "{started}");
    assert_eq!(entry["cache"], json!({}));
    let timings = &entry["timings"];
    let phase = |name: &str| timings[name].as_f64().unwrap_or_else(|| panic!("{name}: {timings}"));
    let mut sum = 0.0;
    for name in ["blocked", "dns", "connect", "send", "wait", "receive"] {
        let may_lack = ["blocked", "dns", "connect"].contains(&name);
        assert!(phase(name) >= 0.0 || may_lack && timings[name] == -1, "{name}: {timings}");
        sum += phase(name).max(0.0);
    }
    assert!(phase("ssl") <= phase("connect"), "{timings}");
    let time = entry["time"].as_f64().unwrap();
    assert!((time - sum).abs() < 0.001, "{time} is not {sum}");

    let (request, response) = (&entry["request"], &entry["response"]);
    for name in ["method", "url", "httpVersion"] {
        assert!(request[name].is_string(), "{name}: {request}");
    }
    for name in ["statusText", "httpVersion", "redirectURL"] {
        assert!(response[name].is_string(), "{name}: {response}");
    }
    assert!(response["status"].is_u64(), "{response}");
    for message in [request, response] {
        assert!(is_size(&message["headersSize"]) && is_size(&message["bodySize"]), "{message}");
        for list in ["headers", "cookies"] {
            for item in message[list].as_array().unwrap() {
                assert!(item["name"].is_string() && item["value"].is_string(), "{item}");
            }
        }
    }
    assert!(request["queryString"].is_array());
    assert!(response["content"]["size"].is_u64() && response["content"]["mimeType"].is_string());
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

/// Reads a HAR file and checks all that holds for every one.
fn log(text: &[u8]) -> Vec<Value> {
    let har: Value = serde_json::from_slice(text).unwrap();
    let log = &har["log"];
    assert_eq!(log["version"], "1.2");
    assert_eq!(log["creator"], json!({"name": "flowtap", "version": env!("CARGO_PKG_VERSION")}));
    let entries = log["entries"].as_array().unwrap().clone();
    entries.iter().for_each(check_entry);
    let started: Vec<_> = entries.iter().map(|it| it["startedDateTime"].to_string()).collect();
    assert!(started.is_sorted(), "{started:?}");
    entries
}

#[test]
fn an_entry_has_every_field() {
    let flow = stored(
        (
            "POST /p?a=1&b=x%20y HTTP/1.1\r\nHost: a.example\r\nCookie: s=1; t=2\r\n\
             Content-Type: application/json\r\n\r\n",
            b"{\"n\":1}",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Type: text/plain\r\n\
             Set-Cookie: s=2; Path=/; HttpOnly; Secure; SameSite=Lax; \
             Expires=Wed, 21 Oct 2026 07:28:00 GMT\r\n\r\n",
            b"moved",
        ),
    );
    let entry = entry(&flow);
    assert_eq!(entry["startedDateTime"], "2023-11-14T22:13:20.001+00:00");
    assert_eq!(entry["time"], 12);
    assert_eq!(
        entry["timings"],
        json!({"blocked": 0.99, "dns": 1, "connect": 6.5, "ssl": 4, "send": 0.01, "wait": 1.5,
            "receive": 2})
    );
    assert_eq!(entry["serverIPAddress"], "2001:db8::1");
    assert_eq!(entry["connection"], "7");
    let request = &entry["request"];
    assert_eq!(request["method"], "POST");
    assert_eq!(request["url"], "https://a.example/p?a=1&b=x%20y");
    assert_eq!(request["httpVersion"], "HTTP/1.1");
    assert_eq!(
        request["queryString"],
        json!([{"name": "a", "value": "1"}, {"name": "b", "value": "x y"}])
    );
    assert_eq!(
        request["cookies"],
        json!([{"name": "s", "value": "1"}, {"name": "t", "value": "2"}])
    );
    assert_eq!(request["postData"], json!({"mimeType": "application/json", "text": "{\"n\":1}"}));
    assert_eq!(request["headersSize"], flow.request.head.len());
    assert_eq!(request["bodySize"], 7);
    let response = &entry["response"];
    assert_eq!((&response["status"], &response["statusText"]), (&json!(302), &json!("Found")));
    assert_eq!(response["redirectURL"], "/next");
    assert_eq!(
        response["cookies"],
        json!([{"name": "s", "value": "2", "path": "/", "httpOnly": true, "secure": true,
            "sameSite": "Lax", "expires": "2026-10-21T07:28:00.000+00:00"}])
    );
    assert_eq!(response["content"], json!({"size": 5, "mimeType": "text/plain", "text": "moved"}));
    assert_eq!(response["headers"][0], json!({"name": "Location", "value": "/next"}));
    assert!(response.get("_error").is_none() && entry.get("_resourceType").is_none());
}

#[test]
fn a_reused_connection_has_no_phases_of_connecting() {
    let mut flow = stored(GET, ("HTTP/1.1 204 No Content\r\n\r\n", b""));
    let timing = &mut flow.timing;
    (timing.dns_us, timing.connect_us, timing.tls_us) = (0, 0, 0);
    timing.total_us = 3_510;
    let entry = entry(&flow);
    for name in ["dns", "connect", "ssl", "blocked"] {
        assert_eq!(entry["timings"][name], -1, "{name}");
    }
    assert_eq!(entry["time"], 3.51);
    let content = json!({"size": 0, "mimeType": "x-unknown"});
    assert_eq!(entry["response"]["content"], content);
    assert!(entry["request"].get("postData").is_none());
}

#[test]
fn a_hold_has_its_time_in_blocked() {
    let mut held = stored(GET, ("HTTP/1.1 200 OK\r\n\r\n", b"x"));
    held.timing.total_us = 1_011_010;
    let entry = entry(&held);
    assert_eq!((&entry["time"], &entry["timings"]["blocked"]), (&json!(1_011.01), &json!(1_000)));
}

#[test]
fn a_flow_without_a_response() {
    let mut flow = stored(GET, ("", b""));
    flow.error = Some("connection refused for https://u:pw@h/".into());
    flow.timing =
        Timing { began_us: at(1), connect_us: 1_000, total_us: 3_000, ..Timing::default() };
    let response = json!({"status": 0, "statusText": "", "httpVersion": "", "cookies": [],
        "headers": [], "content": {"size": 0, "mimeType": "x-unknown"}, "redirectURL": "",
        "headersSize": -1, "bodySize": -1, "_error": "connection refused for https://u:pw@h/"});
    let failed = entry(&flow);
    assert_eq!(failed["response"], response);
    assert_eq!((&failed["time"], &failed["timings"]["blocked"]), (&json!(3), &json!(2)));
    let masked = har_entry(&flow, &Redactor::default());
    assert_eq!(masked["response"]["_error"], "connection refused for https://u:***@h/");

    flow.error = None;
    flow.state = FlowState::UnderWay;
    flow.upstream = None;
    flow.timing = Timing { began_us: at(1), ..Timing::default() };
    let under_way = entry(&flow);
    assert!(under_way["response"].get("_error").is_none());
    assert_eq!(under_way["time"], 0);
    assert!(under_way.get("serverIPAddress").is_none() && under_way.get("connection").is_none());
}

#[test]
fn bodies_are_decoded_and_binary_ones_base64() {
    let text = "a text that is long enough to be worth coding ".repeat(20);
    let coded = gzip(text.as_bytes());
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/plain\r\n\r\n";
    let content = |flow: &StoredFlow| entry(flow)["response"]["content"].clone();
    let flow = stored(GET, (head, &coded));
    let saved = text.len() as i64 - coded.len() as i64;
    assert_eq!(
        content(&flow),
        json!({"size": text.len(), "compression": saved, "mimeType": "text/plain", "text": text})
    );
    assert_eq!(entry(&flow)["response"]["bodySize"], coded.len());

    let bytes: Vec<u8> = (0..=255).collect();
    let flow = stored(
        ("PUT / HTTP/1.1\r\nHost: h\r\nContent-Type: image/png\r\n\r\n", &bytes),
        ("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n", &bytes),
    );
    assert_eq!(content(&flow)["text"], capture::base64(&bytes));
    assert_eq!(content(&flow)["encoding"], "base64");
    let post = entry(&flow)["request"]["postData"].clone();
    assert_eq!(post["text"], capture::base64(&bytes));
    assert_eq!(post["encoding"], "base64");
    assert!(post["comment"].is_string(), "{post}");

    let latin = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n";
    assert_eq!(content(&stored(GET, (latin, b"caf\xe9")))["text"], "caf\u{e9}");
    let broken = content(&stored(GET, (head, b"no gzip")));
    assert_eq!(broken["encoding"], "base64");
    assert!(broken["comment"].as_str().unwrap().contains("gzip"), "{broken}");

    let mut cut = stored(GET, ("HTTP/1.1 200 OK\r\n\r\n", b"begin"));
    cut.response.as_mut().unwrap().body.size = 100;
    let content = content(&cut);
    assert_eq!((&content["size"], &content["text"]), (&json!(100), &json!("begin")));
    assert!(content["comment"].as_str().unwrap().contains("first 5 of 100"), "{content}");
}

#[test]
fn a_websocket_has_its_messages() {
    let mut flow = stored(
        ("GET /s HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\r\n", b""),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", b""),
    );
    let message = |direction, opcode, payload: &'static [u8]| {
        Arc::new(StoredWebSocketMessage {
            direction,
            opcode,
            time_us: 1_700_000_000_250_000,
            payload: payload.into(),
            size: payload.len() as u64,
        })
    };
    flow.websocket = Some(Arc::new(StoredWebSocket {
        messages: vec![
            message(Direction::Send, Opcode::Text, b"{\"token\":\"abc\"}"),
            message(Direction::Receive, Opcode::Ping, b"p"),
            message(Direction::Receive, Opcode::Binary, b"\xff\x00"),
        ],
        left_out: 0,
    }));
    let time = 1_700_000_000.25;
    let plain = entry(&flow);
    assert_eq!(plain["_resourceType"], "websocket");
    assert_eq!(plain["request"]["url"], "wss://a.example/s");
    assert_eq!(plain["response"]["status"], 101);
    let binary = json!({"type": "receive", "time": time, "opcode": 2, "data": "/wA="});
    assert_eq!(
        plain["_webSocketMessages"],
        json!([{"type": "send", "time": time, "opcode": 1, "data": "{\"token\":\"abc\"}"}, binary])
    );
    let masked = har_entry(&flow, &Redactor::default());
    assert_eq!(
        masked["_webSocketMessages"],
        json!([{"type": "send", "time": time, "opcode": 1, "data": "{\"token\":\"***\"}"}, binary])
    );
}

#[test]
fn a_websocket_has_words_for_what_its_messages_lack() {
    let mut flow = stored(
        ("GET /s HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\r\n", b""),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", b""),
    );
    flow.timing = Timing { began_us: at(1), total_us: 90_000_000, ..Timing::default() };
    let message = |opcode, payload: &'static [u8], size| {
        Arc::new(StoredWebSocketMessage {
            direction: Direction::Receive,
            opcode,
            time_us: at(1),
            payload: payload.into(),
            size,
        })
    };
    let mut socket = StoredWebSocket {
        messages: vec![
            message(Opcode::Text, b"whole", 5),
            message(Opcode::Text, b"", 0),
            message(Opcode::Ping, b"", 4),
        ],
        left_out: 0,
    };
    flow.websocket = Some(Arc::new(socket.clone()));
    let whole = entry(&flow);
    assert!(whole.get("comment").is_none(), "{whole}");
    assert_eq!((&whole["time"], &whole["timings"]["receive"]), (&json!(90_000), &json!(90_000)));
    assert_eq!(whole["timings"]["blocked"], -1);

    socket.left_out = 3;
    socket.messages.push(message(Opcode::Text, b"caf\xc3", 300_000));
    socket.messages.push(message(Opcode::Binary, b"\xff", 300_000));
    socket.messages.push(message(Opcode::Text, b"", 7));
    flow.websocket = Some(Arc::new(socket));
    let entry = entry(&flow);
    assert_eq!(entry["comment"], "4 messages are left out; 2 are cut");
    let data = entry["_webSocketMessages"].as_array().unwrap();
    let data: Vec<_> = data.iter().map(|message| message["data"].as_str().unwrap()).collect();
    assert_eq!(data, ["whole", "", "caf", "/w=="]);
}

#[test]
fn nothing_secret_is_left_in_a_masked_entry() {
    let flow = stored(
        (
            "POST /p?access_token=S3CRET&x=1 HTTP/1.1\r\nHost: a.example\r\nCookie: s=S3CRET\r\n\
             Authorization: Bearer S3CRET\r\nContent-Type: application/x-www-form-urlencoded\
             \r\n\r\n",
            b"user=bob&password=S3CRET",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: /cb#id_token=S3CRET\r\n\
             Set-Cookie: s=S3CRET; Path=/; HttpOnly\r\nContent-Type: application/json\r\n\r\n",
            b"{\"refresh_token\":\"S3CRET\",\"n\":1}",
        ),
    );
    let masked = har_entry(&flow, &Redactor::default());
    check_entry(&masked);
    assert!(!masked.to_string().contains("S3CRET"), "{masked}");
    let request = &masked["request"];
    assert_eq!(request["queryString"][0], json!({"name": "access_token", "value": "***"}));
    assert_eq!(request["postData"]["text"], "user=bob&password=***");
    assert_eq!(request["headers"][2]["value"], "Bearer ***");
    assert_eq!(
        masked["response"]["cookies"],
        json!([{"name": "s", "value": "***", "path": "/", "httpOnly": true}])
    );
    assert_eq!(masked["response"]["content"]["text"], "{\"refresh_token\":\"***\",\"n\":1}");
    assert_eq!(masked["response"]["redirectURL"], "/cb#id_token=***");
    assert_eq!(entry(&flow).to_string().matches("S3CRET").count(), 11);
}

#[test]
fn stored_flows_are_written_in_order_of_their_beginnings() {
    let flow = |id| {
        let mut flow = stored(GET, ("HTTP/1.1 200 OK\r\n\r\n", b"x"));
        flow.id = FlowId(id);
        flow.timing.began_us = at(id);
        Arc::new(flow)
    };
    let mut out = Vec::new();
    let mut flows = [3_000, 1_000, 2_000].into_iter().map(flow);
    let written = write_har(&mut out, &mut flows, &Redactor::off()).unwrap();
    assert_eq!(written, 3);
    assert_eq!(log(&out).len(), 3);
    let mut out = Vec::new();
    assert_eq!(write_har(&mut out, &mut std::iter::empty(), &Redactor::off()).unwrap(), 0);
    assert_eq!(log(&out).len(), 0);
}

#[test]
fn urls_are_such() {
    let url = |head: &str| {
        let entry = entry(&stored((head, b""), ("", b"")));
        entry["request"]["url"].as_str().unwrap().to_owned()
    };
    let connect = "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n";
    assert_eq!(url(connect), "https://192.0.2.1:443");
    let odd = "GET /\"é\"?q={|}%22 HTTP/1.1\r\nHost: a.example\r\n\r\n";
    assert_eq!(url(odd), "https://a.example/%22%C3%A9%22?q={|}%22");
}

#[test]
fn trailers_are_told_of_in_a_comment() {
    let mut flow = stored(GET, ("HTTP/1.1 200 OK\r\n\r\n", b"x"));
    assert!(entry(&flow)["response"].get("comment").is_none());
    flow.request.trailers = "X-Sum: 1\r\n".into();
    flow.response.as_mut().unwrap().trailers = "A: b\r\nX-Api-Key: S3CRET\r\n".into();
    let plain = entry(&flow);
    assert_eq!(plain["request"]["comment"], "trailer fields: X-Sum: 1");
    assert_eq!(plain["response"]["comment"], "trailer fields: A: b; X-Api-Key: S3CRET");
    let masked = har_entry(&flow, &Redactor::default());
    assert_eq!(masked["response"]["comment"], "trailer fields: A: b; X-Api-Key: ***");
}

#[test]
fn heads_that_are_none_give_entries_all_the_same() {
    for head in ["", "\u{16}\u{3} garbage", "GET", "GET  HTTP/1.1", "\r\n\r\n"] {
        let mut flow =
            stored((head, b"\xff"), ("HTTP/1.1 abc\r\nContent-Type\r\n: x\r\n\r\n", b"y"));
        flow.target = None;
        entry(&flow);
    }
}

/// A body that is sent in gzip.
const SECRET: &[u8] = b"{\"password\":\"S3CRET\"}";

/// A bundle of two parts: flows 1 and 2, the second one begun before the first, then a WebSocket
/// and a flow that failed.
fn bundle() -> (tempfile::TempDir, std::path::PathBuf) {
    let capture = Capture::start(2);
    let mut first = exchange(2);
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\
                Set-Cookie: sid=S3CRET; Path=/\r\nContent-Type: application/json\r\n\r\n";
    capture.respond(&mut first, head, &gzip(SECRET));
    send(&capture, vec![ended(&first)]);
    send(&capture, vec![ended(&exchange(1))]);
    let mut socket = websocket(900, &["one", "two"]);
    socket.insert(3, binary_message(900));
    send(&capture, socket);
    send(&capture, vec![failed(1_000)]);
    let (folder, listings, summary) = capture.finish_in_place();
    assert_eq!(listings.len(), 2);
    let path = summary.paths[0].clone();
    (folder, path)
}

#[test]
fn a_bundle_is_exported_with_all_its_parts() {
    let (folder, path) = bundle();
    let mut out = Vec::new();
    let exported = export(&path, Kind::Har, &mut out, &Redactor::off(), None).unwrap();
    assert_eq!((exported.entries, exported.parts, exported.left_out), (4, 2, vec![]));
    let entries = log(&out);
    let urls: Vec<_> = entries.iter().map(|it| it["request"]["url"].as_str().unwrap()).collect();
    let expected = [
        "https://a.example/1",
        "https://a.example/2",
        "ws://ws.example/s",
        "https://a.example/1000",
    ];
    assert_eq!(urls, expected);

    let first = &entries[0];
    assert_eq!(first["request"]["postData"]["text"], "question");
    assert_eq!(first["request"]["httpVersion"], "HTTP/1.1");
    assert_eq!(
        (&first["request"]["bodySize"], &first["request"]["headersSize"]),
        (&json!(8), &json!(-1))
    );
    assert_eq!(first["serverIPAddress"], "192.0.2.1");
    assert_eq!(first["connection"], "1");
    assert_eq!(first["timings"]["wait"], 1.5);
    let coded = &entries[1]["response"];
    assert_eq!(coded["content"]["text"].as_str().map(str::as_bytes), Some(SECRET));
    let wire = gzip(SECRET).len();
    assert_eq!(coded["bodySize"], wire);
    assert_eq!(coded["content"]["compression"], SECRET.len() as i64 - wire as i64);
    let data: Vec<_> = entries[2]["_webSocketMessages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["type"].as_str().unwrap(), &it["opcode"], it["data"].as_str().unwrap()))
        .collect();
    assert_eq!(
        data,
        [("send", &json!(1), "one"), ("send", &json!(1), "two"), ("receive", &json!(2), "/w==")]
    );
    assert_eq!(entries[3]["response"]["_error"], "connection refused");
    assert_eq!(entries[3]["response"]["status"], 0);

    let wanted = Filter::parse("~d a.example & !~e & ~u /1").unwrap();
    let mut out = Vec::new();
    let exported = export(&path, Kind::Har, &mut out, &Redactor::off(), wanted.as_ref()).unwrap();
    assert_eq!((exported.entries, exported.left_out), (1, vec![]));
    assert_eq!(log(&out)[0]["request"]["url"], "https://a.example/1");

    // A later part is exported alone.
    let mut out = Vec::new();
    let second = folder.path().join("capture-0002.zip");
    assert_eq!(
        export(&second, Kind::Har, &mut out, &Redactor::default(), None).unwrap().entries,
        1
    );
    let mut out = Vec::new();
    export(&path, Kind::Har, &mut out, &Redactor::default(), None).unwrap();
    assert!(!String::from_utf8(out).unwrap().contains("S3CRET"));
}

#[test]
fn more_parts_than_are_open_at_a_time_are_exported_in_order() {
    let capture = Capture::start(1);
    // Their beginnings go to and fro between the parts.
    let parts = 3 * EXPORT_PARTS as u64;
    for id in (0..parts).map(|number| 1_000 * (number * 5 % parts + 1)) {
        send(&capture, vec![ended(&exchange(id))]);
    }
    let (_folder, _, summary) = capture.finish_in_place();
    let mut out = Vec::new();
    let exported = export(&summary.paths[0], Kind::Har, &mut out, &Redactor::off(), None).unwrap();
    assert_eq!((exported.entries, exported.parts as u64), (parts, parts));
    assert_eq!(log(&out).len() as u64, parts);
}

#[test]
fn the_command_writes_the_file_whole_or_not_at_all() {
    let (folder, path) = bundle();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowtap"));
        command.current_dir(folder.path()).arg("export").args(arguments).output().unwrap()
    };
    let har = folder.path().join("x.har");
    fs::write(&har, "an older file").unwrap();
    let output = run(&["capture.zip", "--har", "x.har"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && output.stdout.is_empty(), "{told}");
    assert!(told.contains("x.har") && told.contains("4 entries of 2 parts"), "{told}");
    let text = fs::read(&har).unwrap();
    assert_eq!(log(&text).len(), 4);
    assert!(String::from_utf8(text).unwrap().contains("S3CRET"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(har.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    let output = run(&["capture.zip", "--har", "-", "--redact"]);
    assert_eq!(log(&output.stdout).len(), 4);
    assert!(!String::from_utf8(output.stdout).unwrap().contains("S3CRET"));

    let refused = |arguments: &[&str], named: &str| {
        let output = run(arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(named), "{told}");
        output.status.code().unwrap()
    };
    assert_eq!(refused(&["capture.zip"], "--har"), 2);
    assert_eq!(refused(&["capture.zip", "--har", "./capture.zip"], "bundle itself"), 2);
    assert_eq!(refused(&["none.zip", "--har", "x.har"], "none.zip"), 1);
    assert_eq!(refused(&["capture.zip", "--har", "no/such/x.har"], "no/such/x.har"), 1);
    assert_eq!(refused(&["capture.zip", "--har", "."], "folder"), 1);
    assert_eq!(log(&fs::read(&har).unwrap()).len(), 4);
    assert!(path.is_file());
    let mut left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["capture-0002.zip", "capture.zip", "x.har"]);
}

#[test]
fn a_file_that_fails_leaves_the_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.har");
    fs::write(&path, "older").unwrap();
    let failed = write_whole(&path, |out| {
        out.write_all(b"half").map_err(|error| Error::new(error.to_string()))?;
        Err::<(), _>(Error::new("the bundle is damaged"))
    });
    assert_eq!(failed.unwrap_err().to_string(), "the bundle is damaged");
    assert_eq!(fs::read(&path).unwrap(), b"older");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Copies a bundle with some entries changed, or left out where nothing is given.
fn changed(from: &Path, to: &Path, change: impl Fn(&str) -> Option<Option<&'static str>>) {
    let mut good = zip::ZipArchive::new(fs::File::open(from).unwrap()).unwrap();
    let mut zip = zip::ZipWriter::new(fs::File::create(to).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for at in 0..good.len() {
        let mut entry = good.by_index(at).unwrap();
        let name = entry.name().unwrap().into_owned();
        match change(&name) {
            Some(None) => {}
            Some(Some(text)) => {
                zip.start_file(&name, options).unwrap();
                zip.write_all(text.as_bytes()).unwrap();
            }
            None => {
                zip.start_file(&name, options).unwrap();
                io::copy(&mut entry, &mut zip).unwrap();
            }
        }
    }
    zip.finish().unwrap();
}

#[test]
fn what_cannot_be_read_costs_itself_only() {
    let (folder, path) = bundle();
    let odd = folder.path().join("odd.zip");
    changed(&path, &odd, |name| match name {
        "traces/t_0001.json" => Some(Some("{")),
        "traces/t_0002_response.bin" => Some(None),
        _ => None,
    });
    let mut out = Vec::new();
    let exported = export(&odd, Kind::Har, &mut out, &Redactor::off(), None).unwrap();
    assert_eq!(exported.entries, 2);
    let left_out = &exported.left_out;
    assert!(left_out[0].contains("t_0001.json"), "{left_out:?}");
    assert!(left_out[1].starts_with("the response's body of t_0002: "), "{left_out:?}");
    let entries = log(&out);
    let content = &entries[0]["response"]["content"];
    assert_eq!(content["size"], entries[0]["response"]["bodySize"]);
    assert!(content["size"].as_u64() > Some(0), "{content}");
    assert!(content["comment"].as_str().unwrap().contains("t_0002_response.bin"), "{content}");
}

#[test]
fn a_foreign_bundle_is_exported_with_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.zip");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    let entries = [
        ("manifest.json", "{}"),
        ("traces/t_0001.json", r#"{"timestamp":5,"timing":{"total_ms":-1e300,"wait_ms":1e300}}"#),
        ("traces/t_0002.json", r#"{"response":{"status":200},"server":{"address":"?"}}"#),
        ("ws/ws_0001.json", r#"{"id":"ws_0001","timestamp":18446744073709551615}"#),
        ("ws/ws_0001_m001.json", r#"{"opcode":"text"}"#),
    ];
    for (name, text) in entries {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let mut out = Vec::new();
    assert_eq!(export(&path, Kind::Har, &mut out, &Redactor::default(), None).unwrap().entries, 3);
    let har: Value = serde_json::from_slice(&out).unwrap();
    har["log"]["entries"].as_array().unwrap().iter().for_each(check_entry);
}

#[test]
fn a_damaged_bundle_never_panics() {
    let (folder, path) = bundle();
    let whole = fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged.zip");
    for at in (0..whole.len()).step_by(11) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&damaged, &bytes).unwrap();
        let _ = export(&damaged, Kind::Har, &mut Vec::new(), &Redactor::default(), None);
    }
}
