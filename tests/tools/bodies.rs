//! Bodies: windows, codings, binary, resources, searching in them.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use flowtap::flow::record::*;
use flowtap::limits::RESOURCE_BYTES;
use flowtap::mcp::toolbox::{Resource, Toolbox};
use serde_json::json;

use crate::bench::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn coded(id: u64, bytes: Vec<u8>, coding: &str) -> Exchange {
    let mut flow = exchange(id, "GET", "https://a.example/", 200, "text/plain", bytes);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: {coding}\r\n\r\n"
    );
    flow.response.as_mut().unwrap().head = head.into();
    flow
}

#[test]
fn a_long_body_is_read_in_windows_to_its_end() {
    let bench = Bench::new();
    let text: String = (0..5_000).map(|number| format!("línea {number}\n")).collect();
    bench.end(coded(1, gzip(text.as_bytes()), "gzip"));
    let result = bench.call_raw("get_flow_response", &json!({"flow_id": 1}));
    assert_eq!(result.links, [("flow://1/response/body".into(), "response body of flow 1".into())]);
    let first = serde_json::Value::from(result.content);
    assert_eq!(first["body_bytes"], text.len());
    let next = json!({"tool": "get_flow_response", "flow_id": "1", "body_offset": 10_240});
    assert_eq!(first["next"], next);
    let mark = format!("\n[{} bytes left out]", text.len() - 10_240);
    let mut read = first["body"].as_str().unwrap().strip_suffix(&mark).unwrap().to_owned();
    let mut reply = first;
    while let Some(next) = reply.get("next").cloned() {
        reply = bench.follow(&next);
        let body = reply["body"].as_str().unwrap();
        let left = reply["body_bytes"].as_u64().unwrap() as usize
            - reply["body_offset"].as_u64().unwrap() as usize;
        let mark = body.rfind("\n[").filter(|_| body.ends_with("left out]"));
        read.push_str(&body[..mark.unwrap_or(body.len())]);
        assert!(left > 0);
    }
    assert_eq!(read, text);
    match bench.tools.read_resource("flow://1/response/body").unwrap() {
        Resource::Text { media_type, text: whole } => {
            assert_eq!((media_type.as_str(), whole), ("text/plain", text));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn windows_of_both_bodies_and_none() {
    let bench = Bench::new();
    let flow = exchange(1, "GET", "https://a.example/", 200, "text/plain", "0123456789");
    bench.end(with_request(flow, "POST / HTTP/1.1\r\nHost: a.example\r\n\r\n", "abcdefghij"));
    let arguments = json!({"flow_id": 1, "body_offset": 2, "body_limit": 3});
    let shown = bench.call("get_flow_by_id", arguments);
    assert_eq!(shown["request"]["body"], "cde\n[5 bytes left out]");
    assert_eq!(shown["response"]["body"], "234\n[5 bytes left out]");
    let next = json!({
        "tool": "get_flow_request", "flow_id": "1", "body_offset": 5, "body_limit": 3,
    });
    assert_eq!(shown["request"]["next"], next);
    let shown = bench.call("get_flow_response", json!({"flow_id": 1, "body_limit": 0}));
    assert_eq!(
        (&shown["body"], &shown["body_bytes"]),
        (&json!("\n[10 bytes left out]"), &json!(10))
    );
}

#[test]
fn binary_bodies_are_base64_and_said_to_be() {
    let bench = Bench::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(9_000).collect();
    bench.end(exchange(1, "GET", "https://a.example/i.png", 200, "image/png", bytes.clone()));
    let shown = bench.call("get_flow_response", json!({"flow_id": 1}));
    assert_eq!(shown["body_encoding"], "base64");
    assert_eq!(
        (&shown["body_bytes"], &shown["body_left_out"]),
        (&json!(9_000), &json!(9_000 - 4_096))
    );
    assert!(shown["body"].as_str().unwrap().starts_with("AAECAwQF"));
    match bench.tools.read_resource("flow://1/response/body").unwrap() {
        Resource::Binary { media_type, bytes: whole } => {
            assert_eq!((media_type.as_str(), whole), ("image/png", bytes));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_decoded_or_was_not_kept_is_said() {
    let bench = Bench::new();
    bench.end(coded(1, b"plain after all".to_vec(), "gzip"));
    let shown = bench.call("get_flow_response", json!({"flow_id": 1}));
    assert_eq!(shown["body"], "plain after all");
    assert!(shown["body_note"].as_str().unwrap().contains("shown as it came"));
    let whole: String = (0..200_000).map(|number| format!("{number} ")).collect();
    let mut cut = coded(2, gzip(whole.as_bytes()), "gzip");
    let body = &mut cut.response.as_mut().unwrap().body;
    body.tail.truncate(body.tail.len() / 2);
    bench.end(cut);
    let shown = bench.call("get_flow_response", json!({"flow_id": 2}));
    assert!(shown["body"].as_str().unwrap().starts_with("0 1 2 3 "));
    assert!(shown["body_note"].as_str().unwrap().contains("are kept here"), "{shown}");
}

#[test]
fn resources_that_are_not_there_say_why() {
    let bench = Bench::new();
    bench.end(exchange(1, "GET", "https://a.example/", 200, "text/plain", ""));
    let mut failed = exchange(2, "GET", "https://a.example/", 200, "text/plain", "");
    failed.response = None;
    bench.end(failed);
    for template in bench.tools.resource_templates() {
        let uri = template.uri_template.replace("{flow_id}", "1");
        assert!(bench.tools.read_resource(&uri).is_ok(), "{uri}");
    }
    let refused = |uri: &str| bench.tools.read_resource(uri).unwrap_err();
    assert!(refused("flow://3/request/body").contains("never was a flow 3"));
    assert!(refused("flow://2/response/body").contains("has no response"));
    assert!(refused("file:///etc/passwd").contains("flow://ID/request/body"));
}

#[test]
fn resources_stay_below_what_clients_take() {
    let bench = Bench::new();
    let url = "https://a.example/";
    bench.end(exchange(1, "GET", url, 200, "text/plain", "x".repeat(RESOURCE_BYTES + 5)));
    bench.end(exchange(2, "GET", url, 200, "image/png", vec![0; RESOURCE_BYTES + 5]));
    match bench.tools.read_resource("flow://1/response/body").unwrap() {
        Resource::Text { text, .. } => {
            assert!(text.ends_with(&format!(
                "x\n[5 bytes left out: body_offset {RESOURCE_BYTES} reads on]"
            )))
        }
        other => panic!("{other:?}"),
    }
    let words = bench.tools.read_resource("flow://2/response/body").unwrap_err();
    assert!(words.contains("read it in parts"), "{words}");
}

#[test]
fn an_id_deep_in_a_large_body_is_found_with_its_place() {
    let bench = Bench::new();
    let mut lines: Vec<String> = (0..8_000).map(|number| format!("row {number} of many")).collect();
    lines[6_999] = "order id=ORD-4711-x7 was here, and much follows after it on the line".into();
    let text = lines.join("\n");
    assert!(text.len() > 120_000);
    for id in 1..=20 {
        bench.end(exchange(id, "GET", "https://a.example/", 200, "text/plain", "nothing"));
    }
    bench.end(coded(21, gzip(text.as_bytes()), "gzip"));
    let arguments = json!({"pattern": "ord-4711", "in": "body", "context": 12});
    let found = bench.call("search_flows", arguments);
    assert_eq!(ids(&found["flows"]), ["21"]);
    let place = text.find("ORD-4711").unwrap();
    let expected =
        format!("response body line 7000 offset {place}: order id=ORD-4711-x7 was here…");
    assert_eq!(found["flows"][0]["matches"], json!([expected]));
    let arguments = json!({"flow_id": 21, "body_offset": place, "body_limit": 11});
    let window = bench.call("get_flow_response", arguments);
    assert!(window["body"].as_str().unwrap().starts_with("ORD-4711-x7\n["));
    assert!(tokens(&found) < 150, "{found}");
}

#[test]
fn many_matches_are_counted_and_few_shown() {
    let bench = Bench::new();
    let flow = exchange(1, "GET", "https://a.example/", 200, "text/plain", "err\n".repeat(50));
    bench.end(with_request(flow, "POST / HTTP/1.1\r\nHost: a.example\r\n\r\n", "an err here"));
    let found = bench.call("search_flows", json!({"pattern": "err", "in": "all"}));
    let expected = json!([
        "request body line 1 offset 3: an err here",
        "response body line 1 offset 0: err",
        "response body line 2 offset 4: err",
    ]);
    assert_eq!(found["flows"][0]["matches"], expected);
    assert_eq!(found["flows"][0]["more_matches"], 48);
    let json_line = json!({"a": "x".repeat(5_000), "needle": 1, "b": "y".repeat(5_000)});
    bench.end(json_exchange(2, "https://a.example/j", json_line));
    let found = bench.call("search_flows", json!({"pattern": "needle", "in": "body"}));
    let line = found["flows"][0]["matches"][0].as_str().unwrap();
    assert!(line.len() < 200 && line.contains("…") && line.contains("\"needle\":1"), "{line}");
}
