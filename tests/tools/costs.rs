//! What replies cost an agent, in characters over four.

use flowtap::flow::record::*;
use flowtap::limits::REPLY_MOST_CHARS;
use serde_json::{Value, json};

use crate::bench::*;

#[test]
fn many_held_flows_and_many_differences_are_cut() {
    let bench = Bench::new();
    let url = format!("https://a.example/{}", "x".repeat(150));
    for id in 1..=300 {
        bench.hold(&exchange(id, "GET", &url, 200, "text/plain", ""), Side::Request);
    }
    for id in 301..=310 {
        let url = "https://a.example/";
        bench.end(exchange(id, &"M".repeat(10_000), url, 500, "text/plain", ""));
    }
    for (tool, arguments) in [("get_flows", json!({"limit": 10})), ("get_overview", json!({}))] {
        assert!(bench.call(tool, arguments).to_string().len() < 10_000, "{tool}");
    }
    let held = bench.call("get_intercepted_flows", json!({}));
    let listed = held["flows"].as_array().unwrap().len();
    assert_eq!((&held["count"], &held["left_out"]), (&json!(300), &json!(300 - listed)));
    assert!(held.to_string().chars().count() < 40_000 && listed > 50, "{listed}");
    for (id, letter) in [(401, "a"), (402, "b")] {
        let json: Vec<_> =
            (0..50).map(|_| json!({ "k".repeat(300): letter.repeat(300) })).collect();
        let mut flow = json_exchange(id, &url, json!(json));
        let fields: String =
            (0..100).map(|at| format!("X-{at}: {}\r\n", letter.repeat(300))).collect();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{fields}\r\n");
        flow.response.as_mut().unwrap().head = head.into();
        let head = format!("POST / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n");
        bench.end(with_request(flow, &head, &json!(json).to_string()));
    }
    let compared = bench.call("compare_flows", json!({"flow_id": 401, "other_flow_id": 402}));
    assert!(compared.to_string().chars().count() < 40_000, "{}", compared.to_string().len());
    assert!(compared["response"]["headers_left_out"].as_u64().unwrap() > 50, "{compared}");
    assert!(compared["response"]["body"]["note"].as_str().unwrap().contains("more than"));
}

/// Flows as an API client and a page make them.
fn realistic() -> Bench {
    let bench = Bench::new();
    let paths = [
        "/v1/users/48213",
        "/v1/users/48213/orders?status=open&page=2&per_page=50",
        "/v1/orders/9f1b2c3d-4e5f-6789-abcd-ef0123456789",
        "/v1/search?q=wireless+headphones&sort=price_asc",
        "/v1/cart/items",
        "/v1/sessions/current",
        "/static/js/main.3f2a91bc.chunk.js",
        "/static/media/logo.6ce24c58.svg",
        "/v1/products/1182/reviews?limit=20&cursor=eyJpZCI6MTIwfQ",
        "/health",
    ];
    for id in 1..=100_u64 {
        let path = paths[usize::try_from(id).unwrap() % paths.len()];
        let host = if id % 7 == 0 { "cdn.shop.example" } else { "api.shop.example" };
        let url = format!("https://{host}{path}");
        bench.end(exchange(id, "GET", &url, 200, "application/json", "{\"ok\":true}"));
    }
    bench
}

/// Tokens of each listed flow, the reply's frame left out.
fn each(reply: &Value) -> f64 {
    let flows = reply["flows"].as_array().unwrap();
    let chars: usize = flows.iter().map(|flow| flow.to_string().len() + 1).sum();
    chars as f64 / 4.0 / flows.len() as f64
}

#[test]
fn a_listed_flow_costs_little() {
    let bench = realistic();
    let table = bench.call("get_flows", json!({"format": "table"}));
    assert!(each(&table) <= 16.0, "{}", each(&table));
    let objects = bench.call("get_flows", json!({}));
    assert!(each(&objects) <= 36.0, "{}", each(&objects));
    let overview = bench.call("get_overview", json!({}));
    assert!(tokens(&overview) <= 600, "{}", tokens(&overview));
}

#[test]
fn replies_stay_below_their_bound() {
    let bench = Bench::new();
    let long = format!("https://a.example/{}", "x".repeat(8_000));
    for id in 1..=500 {
        let text = format!("needle {}", "y\"".repeat(5_000));
        bench.end(exchange(id, "GET", &long, 200, "text/plain", text));
    }
    for (tool, arguments) in [
        ("get_flows", json!({})),
        ("get_flows", json!({"format": "table"})),
        ("search_flows", json!({"pattern": "needle|example", "in": "all"})),
        ("get_flow_by_id", json!({"flow_id": 1})),
        ("get_overview", json!({})),
        ("compare_flows", json!({"flow_id": 1, "other_flow_id": 2})),
        ("export_flows", json!({})),
    ] {
        let chars = bench.call(tool, arguments.clone()).to_string().chars().count();
        assert!(chars <= 40_000, "{tool} {arguments}: {chars}");
    }
}

#[test]
fn a_long_reply_that_was_asked_for_has_a_bound_too() {
    let bench = Bench::new();
    bench.tell(websocket(1, "/large"));
    for _ in 0..15 {
        let text = "x".repeat(80_000);
        bench.tell(websocket_message(1, Direction::Receive, Opcode::Text, text));
    }
    let arguments = json!({"flow_id": 1, "limit": 1000, "message_limit": 100_000});
    let page = bench.call("get_websocket_messages", arguments);
    assert!(page.to_string().len() <= REPLY_MOST_CHARS + 1_000, "{}", page.to_string().len());
    assert_eq!(page["count"], 4);
    assert_eq!(bench.follow(&page["next"])["messages"][0]["n"], 4);
}

#[test]
fn many_headers_are_left_out_and_can_be_had() {
    let bench = Bench::new();
    let mut head = "GET / HTTP/1.1\r\nHost: a.example\r\n".to_owned();
    for number in 0..500 {
        head.push_str(&format!("X-Header-{number}: {}\r\n", "v".repeat(50)));
    }
    head.push_str("\r\n");
    let flow = exchange(1, "GET", "https://a.example/", 200, "text/plain", "");
    bench.end(with_request(flow, &head, ""));
    let shown = bench.call("get_flow_request", json!({"flow_id": 1}));
    assert!(shown.to_string().len() < 7_000);
    assert!(shown["headers_left_out"].as_u64().unwrap() > 400);
    let full = bench.call("get_flow_request", json!({"flow_id": 1, "full_heads": true}));
    assert_eq!(full["headers"].as_object().unwrap().len(), 501);
}
