//! That no secret leaves, whatever is asked, and that a masked one that is sent back is the real
//! one.

use flowtap::flow::control::Verdict;
use flowtap::flow::record::*;
use flowtap::mcp::toolbox::{Resource, Toolbox};
use serde_json::{Value, json};

use crate::bench::*;

const TOKEN: &str = "tok-7f3a9c1e5b2d8f604a71";
const PASSWORD: &str = "hunter2-correct-horse";
const SESSION: &str = "sess-91ab77cd02ef4455";
const API_KEY: &str = "key-0d9e8f7a6b5c4d3e2f1a";

fn planted() -> Bench {
    let bench = Bench::masking();
    let url = format!("https://a.example/login?api_key={API_KEY}&page=1");
    let answer = json!({"user": "ann", "access_token": TOKEN, "list": [{"password": PASSWORD}]});
    let head = format!(
        "POST /login?api_key={API_KEY}&page=1 HTTP/1.1\r\nHost: a.example\r\n\
         Authorization: Bearer {TOKEN}\r\nCookie: theme=dark; session_id={SESSION}\r\n\
         X-Api-Key: {API_KEY}\r\nContent-Type: application/json\r\n\r\n"
    );
    let question = json!({"user": "ann", "password": PASSWORD}).to_string();
    for id in 1..=2 {
        let mut flow = json_exchange(id, &url, answer.clone());
        let response = flow.response.as_mut().unwrap();
        response.head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
             Set-Cookie: session_id={SESSION}; Path=/\r\n\r\n"
        )
        .into();
        bench.end(with_request(flow, &head, &question));
    }
    let mut failed = json_exchange(3, &url, json!({}));
    failed.response = None;
    failed.error = Some(format!("cannot reach {url}"));
    bench.end(failed);
    bench.tell(websocket(4, &format!("/chat?access_token={TOKEN}")));
    let text = json!({"type": "auth", "token": TOKEN}).to_string();
    bench.tell(websocket_message(4, Direction::Send, Opcode::Text, text));
    let stream = format!("data: {{\"access_token\":\"{TOKEN}\"}}\n\n");
    bench.end(exchange(5, "GET", &url, 200, "text/event-stream", stream));
    let held = with_request(json_exchange(6, &url, answer), &head, &question);
    bench.hold(&held, Side::Request);
    bench
}

fn check(what: &str, text: &str) {
    for secret in [TOKEN, PASSWORD, SESSION, API_KEY] {
        assert!(!text.contains(secret), "{what} shows {secret}: {text}");
    }
}

#[test]
fn no_reply_shows_a_secret() {
    let bench = planted();
    let mut calls = vec![
        ("get_flows", json!({})),
        ("get_flows", json!({"format": "table"})),
        ("search_flows", json!({"pattern": ".", "in": "all", "context": 1000})),
        ("get_overview", json!({})),
        ("compare_flows", json!({"flow_id": 1, "other_flow_id": 5})),
        ("compare_flows", json!({"flow_id": 1, "other_flow_id": 3})),
        ("get_websocket_messages", json!({"flow_id": 4})),
        ("get_event_stream", json!({"flow_id": 5})),
        ("export_flows", json!({})),
        ("get_intercepted_flows", json!({})),
        ("get_options", json!({})),
        ("get_status", json!({})),
        ("duplicate_flow", json!({"flow_id": 1})),
        ("replay_request", json!({"flow_id": 1})),
        (
            "modify_and_send",
            json!({"flow_id": 1, "method": "PUT", "headers": {"X-Api-Key": API_KEY}}),
        ),
        ("send_request", json!({"url": format!("https://a.example/?api_key={API_KEY}")})),
        (
            "resume_flow",
            json!({"flow_id": 6, "url": format!("https://a.example/?api_key={API_KEY}")}),
        ),
        ("get_flow_by_id", json!({"flow_id": "1", "body_offset": 1, "body_limit": 100})),
    ];
    for id in 1..=6 {
        for tool in ["get_flow_by_id", "get_flow_request", "get_flow_response"] {
            calls.push((tool, json!({"flow_id": id, "full_heads": true})));
        }
    }
    for (tool, arguments) in calls {
        let result = bench.call_raw(tool, &arguments);
        check(&format!("{tool} {arguments}"), &Value::from(result.content).to_string());
    }
    bench.call("export_flows", json!({"path": "a.har"}));
    check("the HAR", &std::fs::read_to_string(bench.folder.path().join("a.har")).unwrap());
    for uri in ["flow://1/request/body", "flow://1/response/body", "flow://5/response/body"] {
        match bench.tools.read_resource(uri).unwrap() {
            Resource::Text { text, .. } => check(uri, &text),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_window_never_cuts_a_secret_out_of_its_place() {
    let bench = planted();
    for offset in 0..120 {
        let arguments = json!({"flow_id": 1, "body_offset": offset, "body_limit": 30});
        let shown = bench.call("get_flow_response", arguments).to_string();
        for secret in [TOKEN, PASSWORD] {
            let part = &secret[secret.len() - 8..];
            assert!(!shown.contains(part), "offset {offset}: {shown}");
        }
    }
}

#[test]
fn searching_and_filtering_tell_nothing_of_secrets() {
    let bench = planted();
    for secret in [TOKEN, PASSWORD, SESSION, API_KEY] {
        let part = &secret[..10];
        let found = bench.call("search_flows", json!({"pattern": part, "in": "all"}));
        assert_eq!(found["count"], 0, "{found}");
        for operator in ["~h", "~b", "~u"] {
            let filter = format!("{operator} {part}");
            let listed = bench.call("get_flows", json!({ "filter": filter }));
            assert_eq!(listed["total"], 0, "{filter}");
            let filter = format!("!{operator} {part}");
            let listed = bench.call("get_flows", json!({ "filter": filter }));
            assert_eq!(listed["total"], 6, "{filter}");
        }
        let listed = bench.call("get_flows", json!({"url_pattern": part}));
        assert_eq!(listed["total"], 0);
    }
    let found = bench.call("search_flows", json!({"pattern": "\"user\"", "in": "body"}));
    assert!(found["count"].as_u64().unwrap() >= 2, "{found}");
}

#[test]
fn what_is_no_plain_text_is_masked_too() {
    let bench = Bench::masking();
    let show = |id: u64, content_type: &str, coding: &str, bytes: Vec<u8>| {
        let mut flow = exchange(id, "GET", "https://a.example/", 200, "", bytes);
        let coding = if coding.is_empty() { String::new() } else { format!("{coding}\r\n") };
        flow.response.as_mut().unwrap().head =
            format!("HTTP/1.1 200 token={TOKEN}\r\nContent-Type: {content_type}\r\n{coding}\r\n")
                .into();
        bench.end(flow);
        let shown = bench.call("get_flow_response", json!({ "flow_id": id }));
        let har = bench.call("export_flows", json!({ "flow_ids": [id] }));
        check("the HAR", &har.to_string());
        shown
    };
    let decode = |shown: &Value| {
        use base64::Engine as _;
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(shown["body"].as_str().unwrap());
        String::from_utf8_lossy(&bytes.unwrap()).into_owned()
    };
    let mut binary = b"\0\xff\x01".to_vec();
    binary.extend(format!("password={PASSWORD}&x=1").bytes());
    let shown = show(1, "application/octet-stream", "", binary);
    assert_eq!(shown["body_encoding"], "base64");
    assert!(decode(&shown).ends_with("password=***&x=1"), "{}", decode(&shown));
    assert!(!shown["reason"].as_str().unwrap().contains(TOKEN), "{shown}");
    let wide = json!({ "password": PASSWORD }).to_string();
    let wide: Vec<u8> = wide.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let shown = show(2, "application/json; charset=utf-16le", "", wide);
    assert_eq!(shown["body"], "{\"password\":\"***\"}");
    // A mark says as much as a name.
    let marked = json!({ "password": PASSWORD }).to_string();
    let marked: Vec<u8> =
        format!("\u{feff}{marked}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (id, content_type) in [(5, "application/octet-stream"), (6, "image/png")] {
        let shown = show(id, content_type, "", marked.clone());
        assert_eq!(shown["body"], "{\"password\":\"***\"}", "{content_type}");
    }
    let form = format!(
        "a preamble\r\n--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n{PASSWORD}\r\n\
         --b--\r\n"
    );
    let shown = show(3, "multipart/form-data; boundary=b", "", form.into_bytes());
    assert!(!shown.to_string().contains(PASSWORD), "{shown}");
    let shown = show(4, "text/plain", "Content-Encoding: new", b"\xff\x00coded".to_vec());
    assert_eq!(shown["body"], "");
    assert!(shown["body_note"].as_str().unwrap().contains("cannot be masked"), "{shown}");
    let found = bench.call("search_flows", json!({"pattern": "coded", "in": "body"}));
    assert_eq!(found["count"], 0, "{found}");

    bench.tell(websocket(9, "/chat"));
    let mut payload = b"\xff\xfe\0".to_vec();
    payload.extend(format!("token={TOKEN}").bytes());
    bench.tell(websocket_message(9, Direction::Send, Opcode::Binary, payload));
    let shown = bench.call("get_websocket_messages", json!({"flow_id": 9}));
    let message = json!({ "body": shown["messages"][0]["base64"] });
    assert!(decode(&message).ends_with("token=***"), "{shown}");
    for filter in [format!("~b {}", &TOKEN[..8]), format!("~b {}", &PASSWORD[..8])] {
        assert_eq!(bench.call("get_flows", json!({ "filter": filter }))["total"], 0, "{filter}");
    }
}

#[test]
fn a_body_that_cannot_be_decoded_tells_filters_nothing() {
    let bench = Bench::masking();
    for (id, body) in [(1, &b"\xff\x00coded"[..]), (2, b"")] {
        let mut flow = exchange(id, "GET", "https://a.example/", 200, "", body);
        flow.response.as_mut().unwrap().head =
            "HTTP/1.1 200 OK\r\nContent-Encoding: new\r\n\r\n".into();
        bench.end(flow);
    }
    bench.end(exchange(3, "GET", "https://a.example/", 200, "text/plain", ""));
    let listed = bench.call("get_flows", json!({"filter": "~bs '^$'"}));
    assert_eq!(ids(&listed["flows"]), ["3", "2"]);
    assert_eq!(bench.call("get_flows", json!({"filter": "~bs coded"}))["total"], 0);
}

/// Whoever changes the type of what is sent again is shown no more of it.
#[test]
fn a_type_that_is_not_true_shows_no_secret() {
    use base64::Engine as _;
    let bench = Bench::masking();
    let json = json!({ "note": "a", "password": PASSWORD }).to_string();
    let pairs = json!([{ "name": "X-Api-Key", "value": API_KEY }]).to_string();
    let field = "Content-Disposition: form-data; name=";
    let mut form = format!("--b\r\n{field}\"password\"\r\n\r\n{PASSWORD}\r\n").into_bytes();
    form.extend(format!("--b\r\n{field}\"f\"\r\n\r\n").bytes());
    form.extend(b"\x89PNG\0\xff\xd8\r\n--b--\r\n");
    let latin = [b"{\"a\":\"\xe9\",", &json.as_bytes()[1..]].concat();
    let mut id = 0;
    for bytes in [json.into_bytes(), pairs.into_bytes(), form, latin] {
        for content_type in [
            "text/plain; charset=utf-16",
            "application/json; charset=utf-16le",
            "text/html; charset=utf-16be",
            "image/png",
            "audio/mpeg",
            "text/css",
            "multipart/form-data; boundary=other",
        ] {
            id += 1;
            let url = "https://a.example/";
            let head = format!(
                "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Type: {content_type}\r\n\r\n"
            );
            let mut flow = with_request(json_exchange(id, url, json!({})), &head, "");
            flow.request.body = body(bytes.clone());
            bench.end(flow);
            let request = bench.call("get_flow_request", json!({ "flow_id": id }));
            let har = bench.call("export_flows", json!({ "flow_ids": [id] }));
            let post = &har["log"]["entries"][0]["request"]["postData"];
            for (text, encoding) in
                [(&request["body"], &request["body_encoding"]), (&post["text"], &post["encoding"])]
            {
                let what = format!("{content_type}: {text}");
                let text = text.as_str().unwrap();
                let shown = match encoding.as_str() {
                    Some(_) => base64::engine::general_purpose::STANDARD.decode(text).unwrap(),
                    None => text.as_bytes().to_vec(),
                };
                let shown = String::from_utf8_lossy(&shown).into_owned();
                check(&what, &shown);
                assert!(shown.contains("***"), "{what}: {shown}");
                // Read as UTF-16 it would be there in pairs of letters.
                for order in [u16::to_le_bytes, u16::to_be_bytes] {
                    let bytes: Vec<u8> = shown.encode_utf16().flat_map(order).collect();
                    check(&what, &String::from_utf8_lossy(&bytes));
                }
            }
        }
    }
    let found = bench.call("search_flows", json!({ "pattern": "\\*\\*\\*", "in": "body" }));
    assert!(found["count"].as_u64().unwrap() >= 14, "{found}");
    for pattern in [&PASSWORD[..8], &API_KEY[..8]] {
        let found = bench.call("search_flows", json!({ "pattern": pattern, "in": "body" }));
        assert_eq!(found["count"], 0, "{found}");
    }
}

/// Nobody finds out by a pattern of their own whether a guess at a secret is right.
#[test]
fn patterns_that_are_added_tell_nothing_of_secrets() {
    let shown = |pattern: String| {
        let bench = planted();
        bench.options.set("redact_patterns", &json!([pattern])).unwrap();
        let request = bench.call("get_flow_request", json!({ "flow_id": 1, "full_heads": true }));
        let har = bench.call("export_flows", json!({ "flow_ids": [1, 5] }));
        let shown = format!("{request} {}", har["log"]["entries"]);
        check(&pattern, &shown);
        shown
    };
    for before in [
        r"(login)\?api_key=",
        "(?i)(authorization): Bearer ",
        "(?i)(cookie): theme=dark; session_id=",
        r#""(password)":\s*""#,
        r#"(access_token)[":\s]*"#,
    ] {
        let [right, wrong] = ["[a-m]", "[n-z]"].map(|guess| shown(format!("{before}{guess}")));
        assert_eq!(right, wrong, "{before}");
    }
}

/// A pattern that matches a mask finds the same whatever stands behind the mask.
#[test]
fn what_a_pattern_finds_does_not_depend_on_secrets() {
    let bench = planted();
    let count = |pattern: &str, place: &str| {
        let arguments = json!({ "pattern": pattern, "in": place });
        bench.call("search_flows", arguments)["count"].clone()
    };
    let (right, wrong) = (&TOKEN[..8], "tok-zzzz");
    for (before, place) in [("authorization: bearer ", "head"), ("\"access_token\":\"", "body")] {
        let guess = |part: &str| count(&format!("{before}(\\*\\*\\*|{part})"), place);
        assert_eq!(guess(right), guess(wrong), "{place}");
        assert_ne!(guess(right), 0, "{place}");
        assert_eq!(count(&format!("{before}[^t]"), place), guess(wrong), "{place}");
    }
}

#[test]
fn masked_values_that_come_back_are_the_real_ones() {
    let bench = planted();
    let shown = bench.call("get_flow_request", json!({"flow_id": 1}));
    let (url, headers) = (shown["url"].as_str().unwrap(), &shown["headers"]);
    let body: Value = serde_json::from_str(shown["body"].as_str().unwrap()).unwrap();
    let arguments = json!({
        "flow_id": 1,
        "url": url.replace("page=1", "page=2"),
        "headers": {"Authorization": headers["Authorization"], "Cookie": headers["Cookie"]},
        "body": json!({"user": "bob", "password": body["password"]}).to_string(),
    });
    bench.call("modify_and_send", arguments);
    let sent = bench.control.sent.lock().unwrap().pop().unwrap();
    assert_eq!(sent.url, format!("https://a.example/login?api_key={API_KEY}&page=2"));
    let value = |name: &str| {
        let field = sent.headers.iter().find(|field| field.name == name);
        field.map(|field| field.value.as_str()).unwrap()
    };
    assert_eq!(value("Authorization"), format!("Bearer {TOKEN}"));
    assert_eq!(value("Cookie"), format!("theme=dark; session_id={SESSION}"));
    let sent_body: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(sent_body, json!({"user": "bob", "password": PASSWORD}));
    let arguments = json!({"flow_id": 1, "headers": {"Authorization": "Basic ***"}});
    let words = bench.refused("modify_and_send", arguments);
    assert!(words.contains("Authorization") && words.contains("leave it out"), "{words}");
    let words =
        bench.refused("modify_and_send", json!({"flow_id": 1, "url": "https://a.example/***"}));
    assert!(words.contains("the URL"), "{words}");
}

const LOGIN: &str = "POST /login HTTP/1.1\r\nHost: a.example\r\n";

/// A flow whose request has this body.
fn with_body(id: u64, fields: &str, body: &str) -> Exchange {
    let flow = exchange(id, "POST", "https://a.example/login", 200, "text/plain", "ok");
    with_request(flow, &format!("{LOGIN}{fields}\r\n"), body)
}

#[test]
fn a_body_that_is_not_seen_as_a_whole_goes_to_no_other_host() {
    let bench = Bench::masking();
    let body = format!("a={}&token={TOKEN}", "x".repeat(2 * 1024 * 1024));
    bench.hold(&with_body(1, "", &body), Side::Request);
    let elsewhere = "https://b.example/login";
    let words = bench.refused("resume_flow", json!({"flow_id": 1, "url": elsewhere}));
    assert!(words.contains("may hold secrets") && words.contains("give the body"), "{words}");
    assert_eq!(bench.call("get_intercepted_flows", json!({}))["count"], 1);
    assert!(bench.control.decided.lock().unwrap().is_empty());
    // Nobody sees what a coding hides.
    bench.end(with_body(2, "Content-Encoding: new\r\n", "coded"));
    let words = bench.refused("modify_and_send", json!({"flow_id": 2, "url": elsewhere}));
    assert!(words.contains("cannot be undone") && words.contains("give the body"), "{words}");
    assert!(bench.control.sent.lock().unwrap().is_empty());
    for (tool, id) in [("resume_flow", 1), ("modify_and_send", 2)] {
        bench.call(tool, json!({"flow_id": id, "url": elsewhere, "body": "a=1"}));
    }
}

#[test]
fn a_masked_value_is_put_back_in_its_own_place_alone() {
    const RESET: &str = "4f9d8c7b6a5e4d3c2b1a";
    let bench = Bench::masking();
    // Patterns that agents add tell nothing of whether a guess is right.
    let [reset, token, password] = [RESET, TOKEN, PASSWORD].map(|secret| &secret[..4]);
    let guesses = [
        format!("/x/({reset}.*)"),
        format!("^({token}.*)$"),
        format!("\"x\",\"value\":\"({password}.*)\""),
    ];
    bench.options.set("redact_patterns", &json!(guesses)).unwrap();
    let flow = |id: u64| {
        let url = format!("https://a.example/reset-password/{RESET}");
        let head = format!(
            "POST /reset-password/{RESET} HTTP/1.1\r\nHost: a.example\r\nUserPin: {TOKEN}\r\n\
             Content-Type: application/json\r\n\r\n"
        );
        let body = format!("{{\"name\":\"Authorization\",\"value\":\"{PASSWORD}\"}}");
        with_request(exchange(id, "POST", &url, 200, "text/plain", "ok"), &head, &body)
    };
    for (id, tool) in [(1, "modify_and_send"), (2, "resume_flow")] {
        match tool {
            "resume_flow" => bench.hold(&flow(id), Side::Request),
            _ => bench.end(flow(id)),
        }
        let tell = |mut arguments: Value, is_refused: bool| {
            arguments["flow_id"] = id.into();
            let reply = bench.call_raw(tool, &arguments);
            assert_eq!(reply.is_error, is_refused, "{tool} {arguments}: {:?}", reply.content);
            let reply = Value::from(reply.content).to_string();
            assert!(!reply.contains(RESET), "{reply}");
            check(tool, &reply);
        };
        tell(json!({"url": "https://a.example/x/***"}), true);
        tell(json!({"headers": {"X-Foo": "***"}}), true);
        tell(json!({"headers": {"userpin": "***"}}), true);
        // A refusal quotes what was given, and no more.
        tell(json!({"url": "wss://a.example/reset-password/***"}), true);
        tell(json!({"url": "https://a.example/reset-password/***?a b"}), true);
        let body = "{\"name\":\"x\",\"value\":\"***\"}";
        tell(json!({ "body": body }), false);
        let sent = match tool {
            "resume_flow" => match bench.control.decided.lock().unwrap().pop().unwrap().1 {
                Verdict::ResumeRequest(edit) => edit.body.unwrap(),
                other => panic!("{other:?}"),
            },
            _ => bench.control.sent.lock().unwrap().pop().unwrap().body,
        };
        assert_eq!(sent, body);
    }
}

#[test]
fn json_that_is_edited_keeps_the_spelling_of_all_else() {
    let bench = Bench::masking();
    let body = format!("[{{\"id\":1,\"token\":\"A\"}},{{\"id\":2,\"token\":\"{TOKEN}\"}}]");
    bench.end(with_body(1, "Content-Type: application/json\r\n", &body));
    let given = "[ {\"n\":12345678901234567890123,\"a\":1e5}, {\"id\":2,\"token\":\"***\"}]";
    bench.call("modify_and_send", json!({"flow_id": 1, "body": given}));
    let sent = bench.control.sent.lock().unwrap().pop().unwrap();
    assert_eq!(sent.body, given.replace("***", TOKEN));
    let given = "[{\"id\":2,\"token\":\"***\"}]";
    bench.call("modify_and_send", json!({"flow_id": 1, "body": given}));
    let sent = bench.control.sent.lock().unwrap().pop().unwrap();
    assert_eq!(sent.body, given.replace("***", TOKEN));
}
