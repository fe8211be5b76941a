//! WebSocket messages and event streams.

use std::sync::Arc;

use flowtap::flow::record::*;
use serde_json::json;

use crate::bench::*;

fn chat() -> Bench {
    let bench = Bench::new();
    bench.tell(websocket(1, "/chat"));
    for number in 0..60 {
        let direction = if number % 2 == 0 { Direction::Send } else { Direction::Receive };
        let text = format!("{{\"n\":{number},\"text\":\"message {number}\"}}");
        bench.tell(websocket_message(1, direction, Opcode::Text, text));
    }
    bench.tell(websocket_message(1, Direction::Receive, Opcode::Binary, vec![0, 1, 255]));
    bench.tell(websocket_message(1, Direction::Receive, Opcode::Close, &b"\x03\xe8bye"[..]));
    bench
}

#[test]
fn messages_are_shown_in_order_and_in_pages() {
    let bench = chat();
    let listed = bench.call("get_flows", json!({}));
    assert_eq!(listed["flows"][0]["url"], "wss://ws.example/chat");
    assert_eq!(listed["flows"][0]["messages"], 62);
    let page = bench.call("get_websocket_messages", json!({"flow_id": 1}));
    assert_eq!(
        (&page["total"], &page["count"], &page["left_out"]),
        (&json!(62), &json!(50), &json!(12))
    );
    let first =
        json!({"n": 0, "from": "client", "ms": 7, "text": "{\"n\":0,\"text\":\"message 0\"}"});
    assert_eq!(page["messages"][0], first);
    let rest = bench.follow(&page["next"]);
    assert_eq!(rest["count"], 12);
    let binary =
        json!({"n": 60, "from": "server", "ms": 7, "type": "binary", "base64": "AAH/", "bytes": 3});
    assert_eq!(rest["messages"][10], binary);
    let close = json!({"n": 61, "from": "server", "ms": 7, "code": 1000, "close": "bye"});
    assert_eq!(rest["messages"][11], close);
}

#[test]
fn messages_are_chosen_and_cut() {
    let bench = chat();
    let arguments = json!({"flow_id": 1, "from": "server", "pattern": "message 1\\d", "limit": 2});
    let page = bench.call("get_websocket_messages", arguments);
    let numbers: Vec<_> =
        page["messages"].as_array().unwrap().iter().map(|it| it["n"].as_u64().unwrap()).collect();
    assert_eq!((numbers, &page["matching"]), (vec![11, 13], &json!(5)));
    assert_eq!(bench.follow(&page["next"])["count"], 2);
    let arguments = json!({"flow_id": 1, "limit": 1, "message_limit": 5});
    let cut = bench.call("get_websocket_messages", arguments);
    assert_eq!(cut["messages"][0]["text"], "{\"n\":…[+21]");
    let found = bench.call("search_flows", json!({"pattern": "message 33", "in": "body"}));
    let expected = "message 33 from server: {\"n\":33,\"text\":\"message 33\"}";
    assert_eq!(found["flows"][0]["matches"], json!([expected]));
}

#[test]
fn messages_keep_their_numbers_when_older_ones_go() {
    let bench = Bench::new();
    bench.tell(websocket(1, "/many"));
    for number in 0..1_010 {
        let text = number.to_string();
        bench.tell(websocket_message(1, Direction::Send, Opcode::Text, text));
    }
    let page = bench.call("get_websocket_messages", json!({"flow_id": 1, "limit": 1}));
    assert_eq!((&page["total"], &page["kept_no_more"]), (&json!(1_010), &json!(10)));
    assert_eq!(
        (&page["messages"][0]["n"], &page["messages"][0]["text"]),
        (&json!(10), &json!("10"))
    );
}

#[test]
fn pages_leave_no_message_out_when_older_ones_go_between_them() {
    let bench = Bench::new();
    bench.tell(websocket(1, "/many"));
    let send = |numbers: std::ops::Range<usize>| {
        for number in numbers {
            let text = format!("{number} {}", if number % 2 == 0 { "even" } else { "odd" });
            bench.tell(websocket_message(1, Direction::Send, Opcode::Text, text));
        }
    };
    send(0..1_000);
    let all = bench.call("get_websocket_messages", json!({"flow_id": 1, "limit": 20}));
    let arguments = json!({"flow_id": 1, "limit": 20, "pattern": "even"});
    let even = bench.call("get_websocket_messages", arguments);
    assert_eq!(even["messages"][19]["n"], 38);
    send(1_000..1_010);
    // Of those after the page nothing has gone yet.
    let page = bench.follow(&all["next"]);
    assert_eq!((&page["messages"][0]["n"], &page["left_out"]), (&json!(20), &json!(970)));
    let page = bench.follow(&page["next"]);
    assert_eq!(page["messages"][0]["n"], 40);
    send(1_010..1_100);
    let page = bench.follow(&page["next"]);
    assert_eq!((&page["messages"][0]["n"], &page["left_out"]), (&json!(100), &json!(980)));
    assert_eq!(bench.follow(&page["next"])["messages"][0]["n"], 120);
    // Which of those that have gone did match is not known: none that did is left out.
    let page = bench.follow(&even["next"]);
    assert_eq!((&page["messages"][0]["n"], &page["matching"]), (&json!(100), &json!(500)));
}

#[test]
fn a_flow_that_is_no_stream_is_refused() {
    let bench = chat();
    bench.end(exchange(2, "GET", "https://a.example/", 200, "text/html", "<p>"));
    let words = bench.refused("get_websocket_messages", json!({"flow_id": 2}));
    assert!(words.contains("no WebSocket"), "{words}");
    let words = bench.refused("get_event_stream", json!({"flow_id": 2}));
    assert!(words.contains("no event stream") && words.contains("text/html"), "{words}");
    let words = bench.refused("replay_request", json!({"flow_id": 1}));
    assert!(words.contains("cannot be sent again"), "{words}");
}

#[test]
fn events_are_read_while_the_stream_goes_on() {
    let bench = Bench::new();
    let flow = exchange(1, "GET", "https://a.example/events", 200, "text/event-stream", "");
    bench.tell(begun(&flow));
    let words = bench.refused("get_event_stream", json!({"flow_id": 1}));
    assert!(words.contains("no response yet"), "{words}");
    let head = flow.response.as_ref().unwrap().head.clone();
    bench.tell(FlowEvent::Answered(Arc::new(Answered { flow: FlowId(1), upstream: None, head })));
    for number in 0..3 {
        let data = format!("event: tick\nid: {number}\ndata: {{\"n\":{number}}}\n\n").into();
        let block = BodyBlock { flow: FlowId(1), side: Side::Response, data };
        bench.tell(FlowEvent::Glimpse(block));
    }
    let page = bench.call("get_event_stream", json!({"flow_id": 1, "limit": 2}));
    assert_eq!((&page["total"], &page["count"]), (&json!(3), &json!(2)));
    let expected = json!({"n": 1, "event": "tick", "id": "1", "data": "{\"n\":1}"});
    assert_eq!(page["events"][1], expected);
    assert!(page["state"].as_str().unwrap().contains("under way"));
    assert_eq!(bench.follow(&page["next"])["events"][0]["id"], "2");
    let found = bench.call("get_event_stream", json!({"flow_id": 1, "pattern": "\"n\":2"}));
    assert_eq!((&found["matching"], &found["events"][0]["n"]), (&json!(1), &json!(2)));
}
