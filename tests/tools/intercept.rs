//! Holding flows and deciding about them.

use flowtap::flow::control::Verdict;
use flowtap::flow::head::Field;
use flowtap::flow::record::*;
use serde_json::{Value, json};

use crate::bench::*;

fn lines(fields: &[Field]) -> Vec<String> {
    fields.iter().map(|field| format!("{}: {}", field.name, field.value)).collect()
}

fn flow(id: u64) -> Exchange {
    exchange(id, "POST", "https://a.example/login", 200, "application/json", "{\"ok\":true}")
}

fn verdict(bench: &Bench) -> Verdict {
    bench.control.decided.lock().unwrap().pop().unwrap().1
}

#[test]
fn a_filter_is_set_switched_off_and_refused() {
    let bench = Bench::new();
    let set = bench.call("set_intercept_filter", json!({"filter": "~d a.example & ~q"}));
    assert_eq!((&set["status"], &set["filter"]), (&json!("success"), &json!("~d a.example & ~q")));
    let in_force = || bench.options.current().intercept.as_ref().map(|it| it.text().to_owned());
    assert_eq!(in_force().as_deref(), Some("~d a.example & ~q"));
    let words = bench.refused("set_intercept_filter", json!({"filter": "~d ("}));
    assert!(words.contains("at character") && words.contains("~d a.example & ~q"), "{words}");
    assert_eq!(in_force().as_deref(), Some("~d a.example & ~q"));
    let off = bench.call("set_intercept_filter", json!({"filter": " "}));
    assert_eq!((&off["filter"], in_force()), (&Value::Null, None));
    bench.call("set_intercept_filter", json!({}));
    bench.call("set_option", json!({"key": "intercept_timeout", "value": 0.5}));
    let short = bench.call("set_intercept_filter", json!({"filter": "~q"}));
    assert!(short["message"].to_string().contains("each for 0.5 s at most"), "{short}");
}

#[test]
fn held_flows_are_listed_and_shown() {
    let bench = Bench::new();
    assert_eq!(bench.call("get_intercepted_flows", json!({}))["count"], 0);
    bench.end(flow(1));
    bench.hold(&flow(2), Side::Request);
    let held = bench.call("get_intercepted_flows", json!({}));
    assert_eq!((&held["count"], held["current_filter"].is_null()), (&json!(1), true));
    let line = &held["flows"][0];
    assert_eq!((&line["id"], &line["intercepted"]), (&json!("2"), &json!(true)));
    assert_eq!(line["state"], "request held");
    assert!(line["resumes_by_itself_in_s"].as_u64().is_some());
    let shown = bench.follow(&held["next"]);
    assert_eq!((&shown["state"], &shown["response"]), (&json!("request held"), &Value::Null));
    let table = bench.call("get_flows", json!({"format": "table"}));
    let row = table["flows"][0].as_str().unwrap();
    assert!(row.starts_with("2 POST request-held 0 - "), "{row}");
}

#[test]
fn a_held_request_goes_on_as_it_is_or_edited() {
    let bench = Bench::new();
    bench.hold(&flow(1), Side::Request);
    let resumed = bench.call("resume_flow", json!({"flow_id": 1}));
    assert_eq!((&resumed["status"], &resumed["flow_id"]), (&json!("success"), &json!("1")));
    assert!(matches!(verdict(&bench), Verdict::Resume));

    bench.hold(&flow(2), Side::Request);
    let arguments = json!({
        "flow_id": 2, "method": "PUT", "url": "https://b.example/x", "headers": {"Accept": "text/html"},
        "body": "changed",
    });
    let resumed = bench.call("resume_flow", arguments);
    assert!(resumed["message"].as_str().unwrap().contains("method PUT"), "{resumed}");
    let Verdict::ResumeRequest(edit) = verdict(&bench) else { panic!() };
    assert_eq!(edit.method.as_deref(), Some("PUT"));
    assert_eq!(edit.url.as_deref(), Some("https://b.example/x"));
    assert_eq!(lines(&edit.headers.unwrap()), ["Accept: text/html"]);
    assert_eq!(edit.body.unwrap(), "changed");

    bench.hold(&flow(3), Side::Request);
    bench.call("resume_flow", json!({"flow_id": 3, "remove_headers": ["accept"]}));
    let Verdict::ResumeRequest(edit) = verdict(&bench) else { panic!() };
    assert_eq!(lines(&edit.headers.unwrap()), ["Host: a.example"]);
    assert_eq!((edit.method, edit.url, edit.body), (None, None, None));
}

#[test]
fn a_held_response_is_edited() {
    let bench = Bench::new();
    bench.hold(&flow(1), Side::Response);
    let arguments =
        json!({"flow_id": 1, "status": 503, "headers": {"X-A": "1"}, "body_base64": "AAE="});
    bench.call("resume_flow", arguments);
    let Verdict::ResumeResponse(edit) = verdict(&bench) else { panic!() };
    assert_eq!(edit.status, Some(503));
    let expected = ["Content-Type: application/json", "Server: made-up", "X-A: 1"];
    assert_eq!(lines(&edit.headers.unwrap()), expected);
    assert_eq!(&edit.body.unwrap()[..], [0, 1]);
}

#[test]
fn a_whole_answer_takes_the_place_of_either() {
    let bench = Bench::new();
    for (id, side) in [(1, Side::Request), (2, Side::Response)] {
        bench.hold(&flow(id), side);
        let arguments = json!({
            "flow_id": id, "answer": true, "status": 418, "headers": {"X-Tea": "yes"}, "body": "pot",
        });
        bench.call("resume_flow", arguments);
        let Verdict::Answer(answer) = verdict(&bench) else { panic!() };
        assert_eq!((answer.status, &answer.body[..]), (418, &b"pot"[..]));
        assert_eq!(lines(&answer.headers), ["X-Tea: yes"]);
    }
}

#[test]
fn edits_that_do_not_fit_say_what_does() {
    let bench = Bench::new();
    bench.hold(&flow(1), Side::Request);
    bench.hold(&flow(2), Side::Response);
    bench.end(flow(3));
    let cases = [
        (json!({"flow_id": 1, "status": 404}), "answer: true"),
        (json!({"flow_id": 2, "method": "PUT"}), "response held"),
        (json!({"flow_id": 2, "status": 99}), "from 200 to 599"),
        (json!({"flow_id": 1, "answer": true, "url": "http://a/"}), "no meaning"),
        (json!({"flow_id": 1, "url": "http://refused.example/"}), "stays held: this proxy is"),
        (json!({"flow_id": 3}), "flow 3 is not held: it has ended"),
        (json!({"flow_id": 9}), "never was a flow 9"),
    ];
    for (arguments, expected) in cases {
        let words = bench.refused("resume_flow", arguments.clone());
        assert!(words.contains(expected), "{arguments}: {words}");
    }
    assert_eq!(bench.call("get_intercepted_flows", json!({}))["count"], 2);
    // Somebody else was quicker, and the store does not know yet.
    bench.control.held.lock().unwrap().clear();
    let words = bench.refused("drop_flow", json!({"flow_id": 1}));
    assert!(words.contains("it has just gone on"), "{words}");
}

#[test]
fn fields_that_would_not_go_out_as_given_are_refused() {
    let bench = Bench::new();
    let request = "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive\r\n\
                   Content-Length: 3\r\n\r\n";
    bench.hold(&with_request(flow(1), request, "abc"), Side::Request);
    bench.hold(&flow(2), Side::Response);
    let refused = |mut arguments: Value, headers: Value, name: &str| {
        arguments["headers"] = headers;
        let words = bench.refused("resume_flow", arguments.clone());
        assert!(words.contains(name) && words.contains("leave it out"), "{arguments}: {words}");
    };
    let (one, two) = (json!({"flow_id": 1}), json!({"flow_id": 2}));
    for (name, value) in [
        ("Connection", "close"),
        ("Keep-Alive", "timeout=5"),
        ("content-length", "99"),
        ("Transfer-Encoding", "chunked"),
    ] {
        for arguments in [&one, &two, &json!({"flow_id": 2, "answer": true, "body": "pot"})] {
            refused(arguments.clone(), json!({"X-A": "1", name: value}), name);
        }
    }
    refused(one.clone(), json!({"Proxy-Authorization": "Basic abc"}), "Proxy-Authorization");
    refused(one.clone(), json!({"Expect": "100-continue"}), "Expect");
    refused(one.clone(), json!({"TE": "gzip"}), "TE");
    refused(two.clone(), json!({"Proxy-Authenticate": "Basic"}), "Proxy-Authenticate");
    refused(two.clone(), json!({"Upgrade": "h2c"}), "Upgrade");
    refused(json!({"flow_id": 1, "body": "longer"}), json!({"Content-Length": 3}), "Length");
    assert_eq!(bench.call("get_intercepted_flows", json!({}))["count"], 2);
}

#[test]
fn what_goes_out_just_so_anyway_is_no_edit() {
    let bench = Bench::new();
    let request = "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive\r\n\
                   Content-Length: 3\r\n\r\n";
    let resumed = |arguments: Value| {
        bench.hold(&with_request(flow(1), request, "abc"), Side::Request);
        let resumed = bench.call("resume_flow", arguments);
        (resumed["message"].as_str().unwrap().to_owned(), verdict(&bench))
    };
    let as_shown = json!({"Connection": "keep-alive", "Content-Length": 3});
    let (message, verdict) = resumed(json!({"flow_id": 1, "headers": as_shown}));
    assert_eq!(message, "the request goes on as it was");
    assert!(matches!(verdict, Verdict::Resume));
    let length = json!({"Content-Length": "4", "TE": "trailers"});
    let (message, _) = resumed(json!({"flow_id": 1, "headers": length, "body": "four"}));
    assert_eq!(message, "the request goes on, changed: body 4 bytes, header TE added");
    let remove = json!({"flow_id": 1, "remove_headers": ["Content-Length"], "method": "PUT"});
    let (message, _) = resumed(remove);
    let expected = "method PUT, header Content-Length not removed: flowtap sets it itself";
    assert!(message.ends_with(expected), "{message}");
    // What is answered to HEAD has no body, and its length is that of another response.
    let head = exchange(2, "HEAD", "https://a.example/", 200, "text/plain", "");
    bench.hold(&head, Side::Response);
    bench.call("resume_flow", json!({"flow_id": 2, "headers": {"Content-Length": 1234}}));
    bench.hold(&flow(3), Side::Response);
    let upgrade = json!({"flow_id": 3, "status": 426, "headers": {"Upgrade": "TLS/1.0"}});
    bench.call("resume_flow", upgrade);
}

#[test]
fn flows_are_dropped_and_all_are_resumed() {
    let bench = Bench::new();
    for id in 1..=3 {
        bench.hold(&flow(id), Side::Request);
    }
    let dropped = bench.call("drop_flow", json!({"flow_id": "2"}));
    assert_eq!((&dropped["status"], &dropped["flow_id"]), (&json!("success"), &json!("2")));
    assert!(matches!(verdict(&bench), Verdict::Drop));
    let resumed = bench.call("resume_all", json!({}));
    assert_eq!((&resumed["status"], &resumed["resumed_count"]), (&json!("success"), &json!(2)));
    assert_eq!(resumed["resumed_flow_ids"], json!(["3", "1"]));
    assert_eq!(bench.call("resume_all", json!({}))["resumed_count"], 0);
    assert_eq!(bench.call("get_intercepted_flows", json!({}))["count"], 0);
}
