//! Overviews, comparisons and exports.

use std::fs;

use flowtap::flow::record::*;
use flowtap::limits::STORED_MESSAGE_BYTES;
use serde_json::{Value, json};

use crate::bench::*;

fn shop() -> Bench {
    let bench = Bench::new();
    for id in 1..=30 {
        let url = format!("https://api.example/users/{id}?page={id}&size=10");
        let status = if id % 10 == 0 { 500 } else { 200 };
        let mut flow = exchange(id, "GET", &url, status, "application/json", "{}");
        flow.timing.total_us = id * 1_000;
        let head = format!(
            "GET /users/{id}?page={id}&size=10 HTTP/1.1\r\nHost: api.example\r\n\
             Authorization: Bearer abc{id}\r\nCookie: theme=dark; session_id=s{id}\r\n\r\n"
        );
        bench.end(with_request(flow, &head, ""));
    }
    bench.end(exchange(31, "POST", "https://api.example/users", 201, "application/json", "{}"));
    bench.end(exchange(
        32,
        "GET",
        "http://cdn.example/app.3f2a91bc7d.js",
        200,
        "text/javascript",
        "",
    ));
    let mut failed = exchange(33, "GET", "https://down.example/x", 200, "text/plain", "");
    failed.response = None;
    failed.error = Some("cannot connect".into());
    bench.end(failed);
    bench
}

#[test]
fn an_overview_says_in_one_reply_what_there_is() {
    let bench = shop();
    let overview = bench.call("get_overview", json!({}));
    assert_eq!(overview["flows"], 33);
    assert_eq!(overview["methods"], json!({"GET": 32, "POST": 1}));
    assert_eq!(overview["statuses"], json!({"200": 28, "201": 1, "500": 3, "failed": 1}));
    let api = &overview["hosts"][0];
    assert_eq!((&api["host"], &api["flows"]), (&json!("https://api.example"), &json!(31)));
    let expected = json!([
        "GET /users/{id}?page&size ×30 200×27 500×3 15ms #30",
        "POST /users ×1 201 30ms #31",
    ]);
    assert_eq!(api["endpoints"], expected);
    let places = json!(["cookie session_id ×30", "header Authorization Bearer ×30"]);
    assert_eq!(api["authentication"], places);
    assert_eq!(overview["hosts"][1]["endpoints"], json!(["GET /app.{id}.js ×1 200 30ms #32"]));
    assert_eq!(overview["failing"]["count"], 4);
    assert_eq!(
        overview["failing"]["newest"][0],
        "#33 GET https://down.example/x failed: cannot connect"
    );
    assert_eq!(overview["slowest"][0].as_str().unwrap().split_once(' ').unwrap().0.len(), 3);
    assert!(tokens(&overview) < 500, "{}", tokens(&overview));
    let one = bench.call("get_overview", json!({"filter": "~d cdn.example"}));
    assert_eq!((&one["flows"], one["hosts"].as_array().unwrap().len()), (&json!(1), 1));
}

#[test]
fn an_overview_of_very_much_stays_small() {
    let bench = Bench::new();
    for id in 1..=900 {
        let url = format!("https://host-{}.example/path/word{}", id % 100, letters(id));
        bench.end(exchange(id, "GET", &url, 200, "text/plain", ""));
    }
    let overview = bench.call("get_overview", json!({}));
    assert!(overview.to_string().len() < 10_000, "{}", overview.to_string().len());
    assert_eq!(overview["endpoints_left_out"], 900 - 40);
    assert_eq!(overview["next"], json!({"tool": "get_overview", "limit": 500}));
    assert!(bench.follow(&overview["next"]).to_string().len() < 40_000);
    let none = Bench::new().call("get_overview", json!({}));
    assert_eq!((&none["flows"], &none["hosts"]), (&json!(0), &json!([])));
}

#[test]
fn the_call_that_lists_all_endpoints_of_one_host_does() {
    let bench = Bench::new();
    for id in 1..=450 {
        let url = format!(
            "https://a.example/{}/{}?a_key=1&another=2",
            "long-word-".repeat(7),
            letters(id)
        );
        bench.end(exchange(id, "GET", &url, 200, "text/plain", ""));
    }
    let overview = bench.call("get_overview", json!({}));
    assert_eq!(overview["hosts"][0]["endpoints"].as_array().unwrap().len(), 40);
    let all = bench.follow(&overview["next"]);
    assert_eq!(all["hosts"][0]["endpoints"].as_array().unwrap().len(), 450);
    assert_eq!(all.get("endpoints_left_out"), None);
}

/// A number in letters, so that it is no id.
fn letters(mut number: u64) -> String {
    let mut text = String::new();
    while number > 0 {
        text.push((b'a' + u8::try_from(number % 26).unwrap()) as char);
        number /= 26;
    }
    text
}

#[test]
fn two_flows_are_compared() {
    let bench = Bench::new();
    let user = |name: &str, tags: Value| json!({"user": {"name": name, "id": 7}, "tags": tags});
    bench.end(json_exchange(1, "https://a.example/u?v=1", user("ann", json!(["x"]))));
    let mut second = json_exchange(2, "https://a.example/u?v=2", user("bob", json!(["x", "y"])));
    second.response.as_mut().unwrap().head =
        "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nX-New: 1\r\n\r\n".into();
    bench.end(second);
    let compared = bench.call("compare_flows", json!({"flow_id": 1, "other_flow_id": 2}));
    assert_eq!(compared["same"], false);
    assert_eq!(
        compared["request"],
        json!({"url": ["https://a.example/u?v=1", "https://a.example/u?v=2"]})
    );
    let response = &compared["response"];
    assert_eq!(response["status_code"], json!([200, 201]));
    let headers = json!({"server": ["made-up", null], "x-new": [null, "1"]});
    assert_eq!(response["headers"], headers);
    let changes = json!([["+$.tags[1]", null, "y"], ["$.user.name", "ann", "bob"]]);
    assert_eq!(response["body"]["json"], changes);
    assert!(tokens(&compared) < 150, "{compared}");
    let same = bench.call("compare_flows", json!({"flow_id": 1, "other_flow_id": "1"}));
    assert_eq!((&same["same"], same.get("response")), (&json!(true), None));
}

#[test]
fn texts_and_binaries_are_compared_too() {
    let bench = Bench::new();
    let page = |extra: &str| format!("<html>\n<p>one</p>\n{extra}<p>two</p>\n</html>\n");
    bench.end(exchange(1, "GET", "https://a.example/", 200, "text/html", page("")));
    bench.end(exchange(2, "GET", "https://a.example/", 200, "text/html", page("<p>more</p>\n")));
    let compared = bench.call("compare_flows", json!({"flow_id": 1, "other_flow_id": 2}));
    assert_eq!(compared["response"]["body"]["lines"], json!(["+3: <p>more</p>"]));
    bench.end(exchange(3, "GET", "https://a.example/", 200, "image/png", vec![0, 1, 2]));
    bench.end(exchange(4, "GET", "https://a.example/", 200, "image/png", vec![0, 1, 9, 9]));
    let compared = bench.call("compare_flows", json!({"flow_id": 3, "other_flow_id": 4}));
    let expected = json!({"bytes": [3, 4], "binary_differs_at": 2});
    assert_eq!(compared["response"]["body"], expected);
    let long: String = (0..500).map(|number| format!("{number}\n")).collect();
    bench.end(exchange(5, "GET", "https://a.example/", 200, "text/plain", long));
    let compared =
        bench.call("compare_flows", json!({"flow_id": 1, "other_flow_id": 5, "limit": 10}));
    let body = &compared["response"]["body"];
    assert_eq!(body["lines"].as_array().unwrap().len(), 10);
    assert!(body["note"].as_str().unwrap().contains("more than 10"));
}

#[test]
fn a_har_is_the_reply() {
    let bench = shop();
    let har = bench.call("export_flows", json!({"flow_ids": ["3", 1], "filter": "~m GET"}));
    assert_eq!(
        (&har["log"]["version"], &har["log"]["creator"]["name"]),
        (&json!("1.2"), &json!("flowtap"))
    );
    let entries = har["log"]["entries"].as_array().unwrap();
    let urls: Vec<_> = entries.iter().map(|it| it["request"]["url"].as_str().unwrap()).collect();
    assert_eq!(
        urls,
        [
            "https://api.example/users/1?page=1&size=10",
            "https://api.example/users/3?page=3&size=10"
        ]
    );
    let words = bench.refused("export_flows", json!({"flow_ids": [1, 99]}));
    assert!(words.contains("never was a flow 99"), "{words}");
}

#[test]
fn a_har_that_is_too_large_names_the_way_to_a_file() {
    let bench = Bench::new();
    for id in 1..=400 {
        bench.end(exchange(id, "GET", "https://a.example/some/path", 200, "text/plain", "text"));
    }
    let har = bench.call("export_flows", json!({"max_chars": 5_000}));
    assert!(har.to_string().chars().count() <= 5_000, "{}", har.to_string().len());
    let entries = har["log"]["entries"].as_array().unwrap().len();
    assert!(entries > 0);
    assert_eq!(har["left_out"], 400 - entries);
    let written = bench.follow(&har["next"]);
    assert_eq!(written["entries"], 400);
    assert!(bench.call("export_flows", json!({})).to_string().chars().count() <= 40_000);
}

/// A message that cannot be inflated.
fn odd_message(id: u64) -> FlowEvent {
    FlowEvent::WebSocketMessage(WebSocketMessage {
        flow: FlowId(id),
        direction: Direction::Receive,
        opcode: Opcode::Text,
        compressed: true,
        time_us: (BEGAN_S + id) * 1_000_000 + 8_000,
        payload: b"\xff\xff\xff"[..].into(),
    })
}

#[test]
fn a_har_tells_which_messages_it_lacks() {
    let bench = Bench::new();
    bench.tell(websocket(1, "/many"));
    for number in 0..1_000 {
        let text = number.to_string();
        bench.tell(websocket_message(1, Direction::Send, Opcode::Text, text));
    }
    let long = format!("a{}", "é".repeat(STORED_MESSAGE_BYTES));
    bench.tell(websocket_message(1, Direction::Receive, Opcode::Text, long));
    bench.tell(odd_message(1));
    let time_us = (BEGAN_S + 1) * 1_000_000 + 9_000;
    bench.tell(FlowEvent::WebSocketClose(WebSocketClose { flow: FlowId(1), time_us, error: None }));

    let written = bench.call("export_flows", json!({"path": "a.har"}));
    assert_eq!((&written["messages_left_out"], &written["messages_cut"]), (&json!(3), &json!(1)));
    let text = fs::read_to_string(bench.folder.path().join("a.har")).unwrap();
    let har: Value = serde_json::from_str(&text).unwrap();
    let entry = &har["log"]["entries"][0];
    assert_eq!(entry["comment"], "3 messages are left out; 1 is cut");
    assert_eq!((&entry["time"], &entry["timings"]["receive"]), (&json!(9), &json!(9)));
    let messages = entry["_webSocketMessages"].as_array().unwrap();
    let cut = messages.last().unwrap()["data"].as_str().unwrap();
    assert_eq!((messages.len(), cut.len()), (999, STORED_MESSAGE_BYTES - 1));
    assert!(cut.ends_with("éé"));

    // So many do not fit into a reply.
    let reply = bench.call("export_flows", json!({}));
    assert_eq!((&reply["bodies_left_out"], reply.get("messages_cut")), (&json!(1), None));
    assert_eq!(reply["log"]["entries"][0]["comment"], "messages left out: see flow 1");
    bench.tell(websocket(2, "/one"));
    bench.tell(odd_message(2));
    let reply = bench.call("export_flows", json!({"flow_ids": [2]}));
    assert_eq!((&reply["messages_left_out"], reply.get("messages_cut")), (&json!(1), None));
    assert_eq!(reply["log"]["entries"][0]["comment"], "1 message is left out");
}

#[test]
fn a_har_is_written_to_a_file_below_the_folder_alone() {
    let bench = shop();
    let folder = bench.folder.path();
    fs::create_dir(folder.join("out")).unwrap();
    let written = bench.call("export_flows", json!({"path": "out/a.har"}));
    assert_eq!((&written["entries"], &written["secrets"]), (&json!(33), &json!("as captured")));
    let text = fs::read_to_string(folder.join("out/a.har")).unwrap();
    assert_eq!(written["bytes"], text.len());
    let har: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(har["log"]["entries"].as_array().unwrap().len(), 33);
    assert_eq!(fs::read_dir(folder.join("out")).unwrap().count(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder.join("out/a.har")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.join("link")).unwrap();
        let words = bench.refused("export_flows", json!({"path": "link/a.har"}));
        assert!(words.contains("leads out of it"), "{words}");
        std::os::unix::fs::symlink(outside.path().join("x.har"), folder.join("b.har")).unwrap();
        let words = bench.refused("export_flows", json!({"path": "b.har", "overwrite": true}));
        assert!(words.contains("no regular file"), "{words}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
    let words = bench.refused("export_flows", json!({"path": "out/a.har"}));
    assert!(words.contains("exists; overwrite: true"), "{words}");
    // What an export that was killed has left is in nobody's way.
    for number in [1, 2] {
        fs::write(folder.join(format!("out/a.har.part-{number}")), "").unwrap();
    }
    let again = json!({"path": "out/a.har", "overwrite": true, "flow_ids": ["1"]});
    assert_eq!(bench.call("export_flows", again)["entries"], 1);
    for path in ["../a.har", "/tmp/a.har", "out/../../a.har", "a.zip", ".har", "nowhere/a.har", ""]
    {
        let words = bench.refused("export_flows", json!({ "path": path }));
        assert!(words.contains("below"), "{path}: {words}");
    }
}
