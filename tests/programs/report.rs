//! HTML reports in a browser, opened from their files.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flowtap::capture::entry::ended;
use serde_json::json;
use tempfile::TempDir;

use crate::capture::{Capture, exchange, send};
use crate::chromium::chromium_name;
use crate::process::run;
use crate::setting::node;

/// What tries to break out of wherever it is put.
const HOSTILE: &str = "</script><script>window.hit=1</script><img src=x onerror=window.hit=2>\
                       <!--<script>\"><svg onload=window.hit=3>'`${window.hit=4}\u{2028}\u{2029}\
                       <iframe src=http://127.0.0.1:9/i></iframe></textarea></title></style>\
                       <img src=http://127.0.0.1:9/p><link rel=stylesheet href=http://127.0.0.1:9/l>";

/// A picture with scripts of its own.
const SVG: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"parent.hit=6\">\
                   <script>parent.hit=7</script><image href=\"http://127.0.0.1:9/s\"/></svg>";

/// A bundle that others made, hostile in every place.
fn hostile(folder: &Path) -> PathBuf {
    let path = folder.join("a<img src=x onerror=window.hit=5>{style}{rows}'.zip");
    let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
    let mut put = |name: &str, content: &[u8]| {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    };
    put("manifest.json", b"{}");
    let escaped: String = HOSTILE.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let types = [
        ("text/html", HOSTILE.to_owned()),
        ("application/json", format!("{{{HOSTILE:?}:[{HOSTILE:?},1e999,\"\\u2028")),
        ("application/json", json!({ HOSTILE: [HOSTILE, 1] }).to_string()),
        ("application/x-www-form-urlencoded", format!("{HOSTILE}=%3Cimg+src=x+onerror=hit%3E")),
        ("application/json", format!("[]]]]}}}}}},:{HOSTILE}\"")),
        ("image/svg+xml", SVG.to_owned()),
        ("image/svg+xml", format!("<svg>{}", "\u{20ac}".repeat(60_000))),
        ("image/png\"><script>window.hit=8</script>", HOSTILE.to_owned()),
        ("application/octet-stream", format!("\0\u{1}{HOSTILE}")),
        ("image/png", format!("\u{89}PNG\0{HOSTILE}")),
        ("application/x-www-form-urlencoded", format!("{escaped}={escaped}")),
    ];
    for (number, (content_type, text)) in types.into_iter().enumerate() {
        let id = format!("t_{:04}", number + 1);
        put(&format!("traces/{id}.bin"), text.as_bytes());
        let headers = json!([
            {"name": "Content-Type", "value": content_type},
            {"name": HOSTILE, "value": HOSTILE},
        ]);
        let trace = json!({
            "timestamp": 1_770_000_000_000_u64 + number as u64,
            "request": {
                "method": format!("<b>{HOSTILE}</b>"),
                "url": format!("https://a<img src=x onerror=window.hit=9>/{HOSTILE}?{HOSTILE}=1"),
                "http_version": HOSTILE, "headers": headers,
                "body_file": format!("{id}.bin"), "body_size": text.len(),
            },
            "response": {
                "status": 200, "status_text": HOSTILE, "http_version": HOSTILE,
                "headers": headers, "body_file": format!("{id}.bin"), "body_size": text.len(),
            },
            "error": (number == 3).then_some(HOSTILE),
            "server": {"address": HOSTILE, "connection": 1},
        });
        put(&format!("traces/{id}.json"), trace.to_string().as_bytes());
    }
    let late = json!({
        "timestamp": u64::MAX, "request": {"method": "GET", "url": HOSTILE},
        "timing": {"wait_ms": 1e300, "total_ms": -1e300},
    });
    put("traces/t_0099.json", late.to_string().as_bytes());
    let socket = json!({
        "id": HOSTILE, "timestamp": 1_770_000_000_000_u64, "url": format!("wss://{HOSTILE}/"),
        "message_count": 2, "request_headers": [], "response_headers": [],
    });
    put("ws/ws_0001.json", socket.to_string().as_bytes());
    for (number, opcode) in [(1, "text"), (2, "binary")] {
        let message = json!({
            "opcode": opcode, "direction": "send", "timestamp": 1_770_000_000_000_u64,
            "payload_file": format!("ws_0001_m00{number}.bin"),
        });
        put(&format!("ws/ws_0001_m00{number}.json"), message.to_string().as_bytes());
        put(&format!("ws/ws_0001_m00{number}.bin"), HOSTILE.as_bytes());
    }
    zip.finish().unwrap();
    path
}

/// Many flows, of which every tenth fails.
fn large(flows: u64) -> (TempDir, PathBuf) {
    let capture = Capture::start(9_999);
    for id in 1..=flows {
        let mut flow = exchange(id);
        let status = if id % 10 == 0 { "503 Service Unavailable" } else { "200 OK" };
        let text = format!("{{\"number\":{id},\"name\":\"number {id},\",\"more\":[1,null,true]}}");
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\r\n");
        capture.respond(&mut flow, &head, text.as_bytes());
        flow.timing.wait_us = id % 200 * 1_000;
        flow.timing.total_us = flow.timing.wait_us + 2_000;
        send(&capture, vec![ended(&flow)]);
    }
    let (folder, _, summary) = capture.finish_in_place();
    let path = summary.paths[0].clone();
    (folder, path)
}

/// Exports a bundle to a file beside it.
fn report(bundle: &Path, name: &str) -> PathBuf {
    let file = bundle.with_file_name(name);
    run(Command::new(env!("CARGO_BIN_EXE_flowtap"))
        .arg("export")
        .arg(bundle)
        .arg("--html")
        .arg(&file));
    file
}

/// With FLOWTAP_TEST_LONG=1 the large one has 10,000 flows.
#[test]
fn a_browser_shows_it_and_nothing_of_what_was_captured_runs() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = report(&hostile(folder.path()), "hostile.html");
    let is_long = std::env::var_os("FLOWTAP_TEST_LONG").is_some();
    let (_large_folder, bundle) = large(if is_long { 10_000 } else { 500 });
    let large = report(&bundle, "large.html");
    run(node("with_report.cjs").arg(chromium_name()).arg(folder.path()).arg(hostile).arg(large));
}
