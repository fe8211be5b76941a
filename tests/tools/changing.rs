//! Sending requests, options and status.

use std::sync::atomic::Ordering;
use std::time::Duration;

use flowtap::flow::record::*;
use serde_json::{Value, json};

use crate::bench::*;

fn asked() -> Bench {
    let bench = Bench::new();
    let flow = exchange(1, "POST", "https://a.example/form", 200, "text/plain", "ok");
    let head = "POST /form?x=1 HTTP/1.1\r\nHost: a.example\r\nX-Keep: 1\r\nCookie: a=b\r\n\
                Content-Encoding: gzip\r\nContent-Length: 8\r\nProxy-Connection: keep-alive\r\n\r\n";
    bench.end(with_request(flow, head, "question"));
    bench
}

fn headers(bench: &Bench) -> Vec<String> {
    let sent = bench.control.sent.lock().unwrap();
    let fields = &sent.last().unwrap().headers;
    fields.iter().map(|field| format!("{}: {}", field.name, field.value)).collect()
}

#[test]
fn a_request_is_sent_again_as_it_was() {
    let bench = asked();
    let replayed = bench.call("replay_request", json!({"flow_id": 1}));
    assert_eq!(replayed["original_flow_id"], "1");
    assert_eq!(replayed["new_flow_id"], "1000");
    assert_eq!((&replayed["status"], &replayed["status_code"]), (&json!("success"), &json!(200)));
    assert_eq!(replayed["error"], Value::Null);
    let sent = bench.control.sent.lock().unwrap().pop().unwrap();
    assert_eq!((sent.method.as_str(), sent.url.as_str()), ("POST", "https://a.example/form?x=1"));
    assert_eq!((&sent.body[..], sent.origin), (&b"question"[..], Some(FlowId(1))));
    let names: Vec<_> = sent.headers.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["Host", "X-Keep", "Cookie", "Content-Encoding"]);
    assert_eq!(bench.follow(&replayed["next"])["body"], "fine");
    let listed = bench.call("get_flows", json!({"limit": 1}));
    assert_eq!(listed["flows"][0]["replayed"], true);
    let shown = bench.call("get_flow_by_id", json!({"flow_id": 1000}));
    assert_eq!(shown["original_flow_id"], "1");
}

#[test]
fn what_ended_at_the_proxy_is_not_sent_again_unless_it_is_given() {
    let bench = Bench::new();
    let flow = exchange(1, "GET", "https://a.example/", 200, "text/plain", "ok");
    let head = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Hop: 1\r\nX-Keep: 1\r\nCookie: a=b\r\n\
                Connection: x-hop, keep-alive\r\nConnection: Cookie , X-Gone\r\n\r\n";
    bench.end(with_request(flow, head, ""));
    bench.call("replay_request", json!({"flow_id": 1}));
    // Cookie cannot be nominated.
    assert_eq!(headers(&bench), ["Host: a.example", "X-Keep: 1", "Cookie: a=b"]);
    bench.call("modify_and_send", json!({"flow_id": 1, "headers": {"X-Hop": "2"}}));
    let given = headers(&bench);
    assert_eq!(given, ["Host: a.example", "X-Keep: 1", "Cookie: a=b", "X-Hop: 2"]);
}

#[test]
fn a_body_that_was_kept_in_part_is_not_sent_as_if_it_were_whole() {
    let bench = Bench::new();
    let mut flow = exchange(1, "POST", "https://a.example/", 200, "text/plain", "");
    flow.request.body = Body { tail: "begin".into(), sent_ahead: 0, size: 10 };
    bench.end(flow);
    let words = bench.refused("replay_request", json!({"flow_id": 1}));
    assert!(words.contains("only 5 of the 10 bytes"), "{words}");
    let sent = bench.call("modify_and_send", json!({"flow_id": 1, "body": "whole"}));
    assert_eq!(sent["status"], "success");
}

#[test]
fn a_request_of_ones_own_is_sent() {
    let bench = Bench::new();
    let arguments = json!({
        "url": "http://b.example/x", "method": "PUT", "headers": {"X-A": "1", "X-N": 5, "X-L": ["a", "b"]},
        "body": "{}",
    });
    let sent = bench.call("send_request", arguments);
    let named = ["flow_id", "method", "url", "status", "status_code", "error"];
    let values: Vec<_> = named.iter().map(|name| sent.get(name).unwrap().clone()).collect();
    let expected = [
        json!("1000"),
        json!("PUT"),
        json!("http://b.example/x"),
        json!("success"),
        json!(200),
        json!(null),
    ];
    assert_eq!(values, expected);
    let mut fields = headers(&bench);
    fields.sort();
    assert_eq!(fields, ["X-A: 1", "X-L: a", "X-L: b", "X-N: 5"]);
    bench.call("send_request", json!({"url": "http://b.example/", "body_base64": "AAH/"}));
    let last = bench.control.sent.lock().unwrap().pop().unwrap();
    assert_eq!((last.method.as_str(), &last.body[..]), ("GET", &[0, 1, 255][..]));
    bench.call("send_request", json!({"url": "http://b.example/", "body": {"a": 1}}));
    let last = bench.control.sent.lock().unwrap().pop().unwrap();
    assert_eq!(&last.body[..], b"{\"a\":1}");
}

#[test]
fn a_request_is_changed_and_sent() {
    let bench = asked();
    let arguments = json!({
        "flow_id": "1", "method": "PUT", "url": "http://b.example:8080/y", "body": "new",
        "headers": {"x-keep": "2", "X-New": "3"}, "remove_headers": ["cookie"],
    });
    let sent = bench.call("modify_and_send", arguments);
    let expected = json!([
        "method PUT",
        "url http://b.example:8080/y",
        "body 3 bytes",
        "header cookie removed",
        "header X-New added",
        "header x-keep replaced",
    ]);
    assert_eq!(sent["modifications"], expected);
    assert_eq!((&sent["original_flow_id"], &sent["new_flow_id"]), (&json!("1"), &json!("1000")));
    // Host follows the URL, and the body is no longer coded.
    assert_eq!(headers(&bench), ["x-keep: 2", "X-New: 3"]);
    let arguments = json!({
        "flow_id": 1, "url": "http://b.example/", "body": "x",
        "headers": {"Host": "other.example", "Content-Encoding": "br"},
    });
    bench.call("modify_and_send", arguments);
    let fields = headers(&bench);
    assert!(fields.contains(&"Host: other.example".into()), "{fields:?}");
    assert!(fields.contains(&"Content-Encoding: br".into()), "{fields:?}");
}

#[test]
fn fields_that_would_not_be_sent_as_given_are_refused() {
    let bench = asked();
    for headers in [
        json!({"Connection": "close"}),
        json!({"Transfer-Encoding": "chunked"}),
        json!({"Content-Length": "7"}),
        json!({"Expect": "100-continue"}),
        json!({"Upgrade": "websocket"}),
        json!({"Proxy-Connection": "close"}),
    ] {
        for mut arguments in [json!({"flow_id": 1}), json!({"url": "http://b.example/"})] {
            let tool = if arguments["url"].is_null() { "modify_and_send" } else { "send_request" };
            arguments["headers"] = headers.clone();
            let words = bench.refused(tool, arguments);
            assert!(words.contains("leave it out"), "{tool} {headers}: {words}");
        }
    }
    // The length that goes out anyway is taken, and so is what the flow has.
    let own = json!({"Content-Length": "8", "Proxy-Connection": "keep-alive", "X-New": "1"});
    let sent = bench.call("modify_and_send", json!({"flow_id": 1, "headers": own}));
    assert_eq!(sent["modifications"], json!(["header X-New added"]));
    let url = "http://b.example/";
    let headers = json!({"Content-Length": 2});
    bench.call("send_request", json!({"url": url, "headers": headers, "body": "{}"}));
    assert!(self::headers(&bench).is_empty());
}

#[test]
fn sending_that_fails_says_why() {
    let bench = asked();
    let cases = [
        ("send_request", json!({"url": "/path"}), "absolute URL"),
        ("send_request", json!({"url": "ftp://a/"}), "absolute URL"),
        ("send_request", json!({"url": "http://a/ b"}), "without blanks"),
        ("send_request", json!({"url": "http://a/", "method": "GE T"}), "a method such as"),
        ("send_request", json!({"url": "http://a/", "headers": {"A B": "1"}}), "no header name"),
        ("send_request", json!({"url": "http://a/", "headers": {"A": "1\r\nB: 2"}}), "line end"),
        ("send_request", json!({"url": "http://a/", "headers": "A: 1"}), "an object of header"),
        ("send_request", json!({"url": "http://a/", "body": 3}), "\"body\" must be a string"),
        ("send_request", json!({"url": "http://a/", "body_base64": "%"}), "no base64"),
        ("send_request", json!({"url": "http://a/", "body": "", "body_base64": ""}), "exclude"),
        ("send_request", json!({"url": "http://refused.example/"}), "the host is not allowed"),
        ("modify_and_send", json!({"flow_id": 1, "remove_headers": [1]}), "array of strings"),
    ];
    for (tool, arguments, expected) in cases {
        let words = bench.refused(tool, arguments.clone());
        assert!(words.contains(expected), "{tool} {arguments}: {words}");
    }
    let mut failed = exchange(0, "GET", "http://x.example/", 200, "text/plain", "");
    failed.response = None;
    failed.error = Some("cannot connect to x.example:80: refused".into());
    bench.control.answers.lock().unwrap().push(failed);
    let result = bench.call_raw("replay_request", &json!({"flow_id": 1}));
    assert!(result.is_error);
    assert_eq!(
        (&result.content["status"], &result.content["status_code"]),
        (&json!("error"), &Value::Null)
    );
    assert_eq!(result.content["error"], "cannot connect to x.example:80: refused");
    assert_eq!(result.content["new_flow_id"], "1000");
}

#[test]
fn a_server_that_never_answers_ends_the_wait_at_its_limit() {
    let mut bench = asked();
    bench.tools = bench.tools.with_replay_timeout(Duration::from_millis(5));
    bench.control.is_silent.store(true, Ordering::Relaxed);
    let words = bench.refused("replay_request", json!({"flow_id": 1}));
    assert!(words.contains("no answer within") && words.contains("flow 1000"), "{words}");
}

#[test]
fn a_flow_is_copied_and_nothing_is_sent() {
    let bench = asked();
    let copied = bench.call("duplicate_flow", json!({"flow_id": 1}));
    assert_eq!(
        (&copied["original_flow_id"], &copied["new_flow_id"]),
        (&json!("1"), &json!("1000"))
    );
    assert_eq!(copied["flow"]["url"], "https://a.example/form?x=1");
    assert!(copied["message"].as_str().unwrap().contains("nothing was sent"));
    assert!(bench.control.sent.lock().unwrap().is_empty());
    let shown = bench.call("get_flow_by_id", json!({"flow_id": 1000}));
    assert_eq!(
        (&shown["request"]["body"], &shown["original_flow_id"]),
        (&json!("question"), &json!("1"))
    );
    assert_eq!(bench.call("get_flow_count", json!({}))["count"], 2);
}

#[test]
fn options_are_shown_and_set() {
    let bench = Bench::new();
    let all = bench.call("get_options", json!({}));
    assert_eq!((&all["anticache"], &all["intercept"]), (&json!(false), &Value::Null));
    let set = bench.call("set_option", json!({"key": "anticache", "value": true}));
    assert_eq!(
        (&set["status"], &set["key"], &set["value"]),
        (&json!("success"), &json!("anticache"), &json!(true))
    );
    assert!(bench.options.current().anticache);
    assert_eq!(
        bench.call("get_options", json!({"keys": ["anticache"]})),
        json!({"anticache": true})
    );
    bench.call("set_option", json!({"key": "intercept", "value": "~d a.example"}));
    assert_eq!(bench.call("get_intercepted_flows", json!({}))["current_filter"], "~d a.example");
    bench.call("set_option", json!({"key": "intercept", "value": null}));
    assert_eq!(bench.call("get_intercepted_flows", json!({}))["current_filter"], Value::Null);
    let words = bench.refused("set_option", json!({"key": "anticach", "value": true}));
    assert!(words.contains("anticach"), "{words}");
    let words = bench.refused("set_option", json!({"key": "anticache", "value": "perhaps"}));
    assert!(words.contains("anticache"), "{words}");
    let words = bench.refused("set_option", json!({"key": "listen_port", "value": 1}));
    assert!(words.contains("listen_port"), "{words}");
}

#[test]
fn the_status_tells_what_helps() {
    let bench = asked();
    let status = bench.call("get_status", json!({}));
    let named = [
        "version",
        "listen_address",
        "mode",
        "flow_count",
        "intercept_filter",
        "anticache",
        "anticomp",
        "bundle",
        "uptime_s",
        "flows_lost",
    ];
    for name in named {
        assert!(status.get(name).is_some(), "{name}");
    }
    assert_eq!(
        (&status["listen_address"], &status["flow_count"]),
        (&json!("127.0.0.1:8080"), &json!(1))
    );
    assert!(tokens(&status) < 150);
}
