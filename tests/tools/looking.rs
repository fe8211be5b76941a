//! Listing, showing and searching flows.

use flowtap::flow::record::*;
use flowtap::flow::redact::Redactor;
use flowtap::mcp::store::StoreLimits;
use flowtap::mcp::toolbox::{Call, Cancellation, Toolbox};
use serde_json::{Value, json};

use crate::bench::*;

fn browsed() -> Bench {
    let bench = Bench::new();
    bench.end(exchange(1, "GET", "https://a.example/", 200, "text/html", "<p>one</p>"));
    bench.end(exchange(2, "POST", "https://a.example/login", 302, "text/plain", ""));
    bench.end(exchange(3, "GET", "http://b.example:8080/x?q=1", 404, "text/plain", "none"));
    let mut failed = exchange(4, "GET", "https://c.example/", 200, "text/plain", "");
    failed.response = None;
    failed.error = Some("cannot connect to c.example:443: refused".into());
    bench.end(failed);
    bench
}

#[test]
fn flows_are_listed_newest_first_with_the_fields_that_skills_know() {
    let bench = browsed();
    let listed = bench.call("get_flows", json!({}));
    assert_eq!(listed["total"], 4);
    assert_eq!(
        (&listed["offset"], &listed["limit"], &listed["count"]),
        (&json!(0), &json!(100), &json!(4))
    );
    assert_eq!(ids(&listed["flows"]), ["4", "3", "2", "1"]);
    let expected = json!({
        "id": "3", "method": "GET", "url": "http://b.example:8080/x?q=1", "status_code": 404,
        "timestamp": BEGAN_S + 3,
    });
    assert_eq!(listed["flows"][1], expected);
    assert_eq!(listed["flows"][0]["status_code"], Value::Null);
    assert_eq!(listed["flows"][0]["error"], "cannot connect to c.example:443: refused");
    assert_eq!(listed["untrusted"], "flows");
    assert!(listed.get("next").is_none());
}

#[test]
fn a_page_names_the_call_that_goes_on() {
    let bench = browsed();
    let page = bench.call("get_flows", json!({"limit": 2, "method": "get"}));
    assert_eq!((ids(&page["flows"]), &page["total"]), (vec!["4", "3"], &json!(3)));
    assert_eq!(page["left_out"], 1);
    let expected = json!({"tool": "get_flows", "limit": 2, "method": "get", "offset": 2});
    assert_eq!(page["next"], expected);
    assert_eq!(ids(&bench.follow(&page["next"])["flows"]), ["1"]);
    let beyond = bench.call("get_flows", json!({"offset": 50}));
    assert_eq!((beyond["count"].as_u64(), beyond["total"].as_u64()), (Some(0), Some(4)));
}

#[test]
fn flows_are_chosen_by_method_url_status_and_filter() {
    let bench = browsed();
    let chosen = |arguments: Value| {
        let listed = bench.call("get_flows", arguments);
        ids(&listed["flows"]).join(" ")
    };
    assert_eq!(chosen(json!({"method": "post"})), "2");
    assert_eq!(chosen(json!({"url_pattern": "A\\.EXAMPLE/$"})), "1");
    assert_eq!(chosen(json!({"status_code": 404})), "3");
    assert_eq!(chosen(json!({"status_code": "404"})), "3");
    assert_eq!(chosen(json!({"filter": "~d a.example"})), "2 1");
    assert_eq!(chosen(json!({"filter": "~e"})), "4");
    assert_eq!(chosen(json!({"filter": "~b <p>one", "method": "GET"})), "1");
    assert_eq!(chosen(json!({"filter": "", "method": null})), "4 3 2 1");
    let none = bench.call("get_flows", json!({"url_pattern": "nowhere"}));
    assert_eq!(none["note"], "nothing matches among the 4 flows that are kept");
}

#[test]
fn a_table_says_once_what_repeats() {
    let bench = browsed();
    let table = bench.call("get_flows", json!({"format": "table"}));
    assert_eq!(table["columns"], "id method status bytes ms url");
    assert_eq!(table["base"], "https://a.example");
    let expected = json!([
        "4 GET failed 0 30 https://c.example/",
        "3 GET 404 4 30 http://b.example:8080/x?q=1",
        "2 POST 302 0 30 /login",
        "1 GET 200 10 30 /",
    ]);
    assert_eq!(table["flows"], expected);
}

#[test]
fn long_urls_are_cut_and_can_be_had_in_full() {
    let bench = Bench::new();
    let url = format!("https://a.example/{}", "x".repeat(2_000));
    bench.end(exchange(1, "GET", &url, 200, "text/plain", ""));
    let listed = bench.call("get_flows", json!({}));
    let short = listed["flows"][0]["url"].as_str().unwrap();
    assert!(short.len() < 200 && short.ends_with("…[+1858]"), "{short}");
    assert!(listed["note"].as_str().unwrap().contains("full_heads"));
    let table = bench.call("get_flows", json!({"format": "table"}));
    assert!(table["flows"][0].as_str().unwrap().len() < 200);
    assert!(table["note"].as_str().unwrap().contains("full_heads"));
    let shown = bench.call("get_flow_request", json!({"flow_id": 1}));
    assert!(shown["note"].as_str().unwrap().contains("full_heads"));
    let full = bench.call("get_flow_request", json!({"flow_id": 1, "full_heads": true}));
    assert_eq!(full["url"], url);
}

#[test]
fn one_flow_is_shown_with_both_halves() {
    let bench = Bench::new();
    let mut flow = with_request(
        exchange(7, "GET", "https://a.example/", 200, "application/json", "{\"a\":1}"),
        "POST /p HTTP/1.1\r\nHost: a.example\r\nX-Two: 1\r\nx-two: 2\r\n\r\n",
        "question",
    );
    flow.response.as_mut().unwrap().trailers = "Checksum: 9\r\n".into();
    bench.end(flow);
    let shown = bench.call("get_flow_by_id", json!({"flow_id": "7"}));
    let request = json!({
        "method": "POST", "url": "https://a.example/p", "timestamp": BEGAN_S as f64 + 7.0,
        "headers": {"Host": "a.example", "X-Two": ["1", "2"]}, "body": "question",
    });
    assert_eq!(shown["request"], request);
    let response = json!({
        "status_code": 200, "reason": "Reason", "timestamp": BEGAN_S as f64 + 7.025,
        "headers": {"Content-Type": "application/json", "Server": "made-up"},
        "body": "{\"a\":1}", "trailers": {"Checksum": "9"},
    });
    assert_eq!(shown["response"], response);
    assert_eq!(shown["timestamp_start"], BEGAN_S as f64 + 7.0);
    assert_eq!(shown["timestamp_end"], BEGAN_S as f64 + 7.03);
    assert_eq!((&shown["id"], &shown["error"]), (&json!("7"), &Value::Null));
    assert_eq!(shown["ms"], json!({"wait": 20.0, "receive": 5.0, "total": 30.0}));
    assert_eq!(shown["untrusted"], "request response error");

    let half = bench.call("get_flow_request", json!({"flow_id": 7}));
    assert_eq!(
        (&half["method"], &half["body"], &half["id"]),
        (&json!("POST"), &json!("question"), &json!("7"))
    );
    let half = bench.call("get_flow_response", json!({"flow_id": 7.0}));
    assert_eq!((&half["status_code"], &half["body"]), (&json!(200), &json!("{\"a\":1}")));
}

#[test]
fn a_flow_without_a_response_says_why() {
    let bench = browsed();
    let shown = bench.call("get_flow_by_id", json!({"flow_id": 4}));
    assert_eq!(shown["response"], Value::Null);
    assert_eq!(shown["error"], "cannot connect to c.example:443: refused");
    let half = bench.call("get_flow_response", json!({"flow_id": 4}));
    assert_eq!(half["note"], "flow 4 has no response: ended without one");
    assert_eq!(half["error"], "cannot connect to c.example:443: refused");
    bench.tell(begun(&exchange(5, "GET", "https://a.example/slow", 200, "text/plain", "")));
    let half = bench.call("get_flow_response", json!({"flow_id": 5}));
    assert_eq!(half["note"], "flow 5 has no response: still waits for one");
    let shown = bench.call("get_flow_by_id", json!({"flow_id": 5}));
    assert_eq!((&shown["state"], &shown["timestamp_end"]), (&json!("under way"), &Value::Null));
    let listed = bench.call("get_flows", json!({"limit": 1}));
    assert_eq!(listed["flows"][0]["state"], "under way");
}

#[test]
fn a_flow_that_is_gone_is_told_from_one_that_never_was() {
    let bench = Bench::with(Redactor::off(), StoreLimits { flows: 2, ..StoreLimits::default() });
    for id in 1..=3 {
        bench.end(exchange(id, "GET", "https://a.example/", 200, "text/plain", ""));
    }
    for tool in ["get_flow_by_id", "get_flow_request", "get_flow_response", "replay_request"] {
        let gone = bench.refused(tool, json!({"flow_id": 1}));
        assert!(gone.contains("flow 1 is no longer kept") && gone.contains("2 to 3"), "{gone}");
        let never = bench.refused(tool, json!({"flow_id": 77}));
        assert!(never.contains("never was a flow 77"), "{never}");
    }
    let result = bench.call_raw("get_flow_by_id", &json!({"flow_id": 1}));
    assert_eq!(result.content["next"], json!({"tool": "get_flows", "format": "table"}));
}

#[test]
fn search_looks_at_heads_and_shows_the_lines_that_match() {
    let bench = browsed();
    let found = bench.call("search_flows", json!({"pattern": "LOGIN|made-up"}));
    assert_eq!((&found["count"], &found["pattern"]), (&json!(3), &json!("LOGIN|made-up")));
    assert_eq!(ids(&found["flows"]), ["3", "2", "1"]);
    let expected = json!(["request: POST https://a.example/login", "response: Server: made-up"]);
    assert_eq!(found["flows"][1]["matches"], expected);
    assert_eq!(found["flows"][1]["status_code"], 302);
    let by_status = bench.call("search_flows", json!({"pattern": "^404"}));
    assert_eq!(ids(&by_status["flows"]), ["3"]);
    let none = bench.call("search_flows", json!({"pattern": "<p>one"}));
    assert_eq!(none["count"], 0);
    let all = bench.follow(&none["next"]);
    assert_eq!(ids(&all["flows"]), ["1"]);
    let page = bench.call("search_flows", json!({"pattern": "example", "limit": 3}));
    assert_eq!(page["count"], 3);
    assert_eq!(ids(&bench.follow(&page["next"])["flows"]), ["1"]);
    let filtered = bench.call("search_flows", json!({"pattern": "example", "filter": "~m POST"}));
    assert_eq!(ids(&filtered["flows"]), ["2"]);
}

#[test]
fn invalid_patterns_and_filters_say_where_they_break() {
    let bench = browsed();
    for (tool, name) in [("get_flows", "url_pattern"), ("search_flows", "pattern")] {
        let words = bench.refused(tool, json!({name: "users/[0-9"}));
        assert!(words.contains(name) && words.contains("at character 6"), "{words}");
    }
    let words = bench.refused("search_flows", json!({"pattern": "x".repeat(5_000)}));
    assert!(words.contains("more than 4096"), "{words}");
    let words = bench.refused("get_flows", json!({"filter": "~d a & "}));
    assert!(words.contains("at character"), "{words}");
}

#[test]
fn unknown_and_wrong_arguments_are_named() {
    let bench = browsed();
    let cases = [
        ("get_flows", json!({"limt": 3}), "no argument \"limt\""),
        ("get_flows", json!({"limit": 0}), "\"limit\" must be an integer from 1 to 500, not 0"),
        ("get_flows", json!({"limit": "ten"}), "not the string \"ten\""),
        ("get_flows", json!({"offset": -1}), "\"offset\" must be an integer from 0"),
        ("get_flows", json!({"method": 3}), "\"method\" must be a string, not 3"),
        ("get_flows", json!({"format": "csv"}), "\"objects\" or \"table\""),
        ("get_flow_by_id", json!({}), "needs the argument \"flow_id\""),
        ("get_flow_by_id", json!({"flow_id": null}), "needs the argument \"flow_id\""),
        ("get_flow_by_id", json!({"flow_id": "abc"}), "must be a flow's id"),
        (
            "get_flow_by_id",
            json!({"flow_id": [1]}),
            "must be a flow's id, such as \"12\", not an array",
        ),
        ("get_flow_by_id", json!({"flow_id": 1, "body_limit": 1_000_000}), "from 0 to 100000"),
        ("search_flows", json!({"pattern": "x", "in": "tail"}), "\"head\", \"body\" or \"all\""),
        ("get_flow_count", json!({"x": 1}), "it takes none"),
        ("export_flows", json!({"flow_ids": ["x"]}), "an array of flows' ids"),
    ];
    for (tool, arguments, expected) in cases {
        let words = bench.refused(tool, arguments.clone());
        assert!(words.contains(expected), "{tool} {arguments}: {words}");
    }
}

#[test]
fn flows_are_counted_and_cleared() {
    let bench = browsed();
    let counted = bench.call("get_flow_count", json!({}));
    assert_eq!(counted, json!({"count": 4, "max_flows": 1000}));
    bench.hold(&exchange(9, "GET", "https://a.example/", 200, "text/plain", ""), Side::Request);
    let cleared = bench.call("clear_flows", json!({}));
    assert_eq!(cleared["cleared"], 4);
    assert!(cleared["message"].as_str().unwrap().contains("1 are held and stay"));
    assert_eq!(bench.call("get_flow_count", json!({}))["count"], 1);
    assert!(bench.refused("get_flow_by_id", json!({"flow_id": 3})).contains("no longer kept"));
}

#[test]
fn urls_show_the_address_or_the_host_field() {
    let bench = Bench::new();
    let flow = exchange(1, "GET", "https://192.0.2.1/x", 200, "text/plain", "");
    bench.end(with_request(flow, "GET /x HTTP/1.1\r\nHost: named.example\r\n\r\n", ""));
    let url = || bench.call("get_flows", json!({}))["flows"][0]["url"].clone();
    assert_eq!(url(), "https://192.0.2.1/x");
    let changed: Result<(), ()> = bench.options.change(|options| {
        options.showhost = true;
        Ok(())
    });
    changed.unwrap();
    assert_eq!(url(), "https://named.example/x");
}

#[test]
fn a_call_that_was_given_up_ends() {
    let bench = browsed();
    let arguments = json!({"pattern": "x", "in": "all"});
    let cancellation = Cancellation::default();
    cancellation.cancel();
    let call = Call {
        arguments: arguments.as_object().unwrap(),
        cancellation: &cancellation,
        progress: &|_, _, _| (),
    };
    assert!(bench.tools.call("search_flows", &call).unwrap().is_error);
    assert!(bench.tools.call("no_such_tool", &call).is_none());
}
