//! Live traffic that is held: on real connections, decided about by an agent.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::bundle::fields;
use crate::support::client::{Client, End};
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::get;
use crate::support::origin::Origin;
use crate::support::tls::test_ca;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-From: origin\r\n\r\nok";

/// A proxy and an agent that holds what matches.
fn holding(filter: &str) -> (Flowtap, Agent) {
    let tap = Setup::with_mcp().start();
    let mut agent = Agent::of(&tap);
    let answer = agent.call("set_intercept_filter", json!({"filter": filter}));
    assert_eq!((&answer["status"], &answer["filter"]), (&json!("success"), &json!(filter)));
    (tap, agent)
}

/// The flows that are held, once there are so many.
fn held(agent: &mut Agent, count: u64) -> Vec<Value> {
    let list = agent.wait("get_intercepted_flows", &json!({}), |it| it["count"] == count);
    list["flows"].as_array().unwrap().clone()
}

fn only_held(agent: &mut Agent) -> Value {
    held(agent, 1)[0]["id"].clone()
}

/// Waits until the only flow that is held has its response held; gives its id.
fn response_held(agent: &mut Agent) -> Value {
    let is_there = |it: &Value| it["flows"][0]["state"] == "response held";
    agent.wait("get_intercepted_flows", &json!({}), is_there)["flows"][0]["id"].clone()
}

fn post(to: impl std::fmt::Display, body: &str) -> String {
    let length = body.len();
    format!("POST http://{to}/p HTTP/1.1\r\nHost: {to}\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[test]
fn a_request_is_held_before_it_leaves_and_resumed_as_it_was() {
    let origin = Origin::answers(OK);
    let (tap, mut agent) = holding("~q & ~m POST");
    let mut client = Client::connect(tap.addr);
    client.send(post(origin.addr, "hello"));
    let id = only_held(&mut agent);
    assert_eq!(origin.connections(), 0);
    let flow = agent.call("get_flow_request", json!({"flow_id": id}));
    assert!(flow.to_string().contains("hello"), "{flow}");
    // What cannot match flows on.
    let mut other = Client::connect(tap.addr);
    other.send(get(origin.addr, "/other"));
    assert!(other.response().0.starts_with("HTTP/1.1 200 "));
    agent.call("resume_flow", json!({"flow_id": id}));
    assert_eq!(client.response().1, b"ok");
    origin.wait_for(b"Content-Length: 5\r\n\r\nhello");
    assert!(held(&mut agent, 0).is_empty());
}

#[test]
fn a_request_is_edited_inside_tls() {
    let origin = Origin::tls_answers(test_ca().server(&["localhost"]), OK);
    let (tap, mut agent) = holding("~q & ~u /p");
    let port = origin.addr.port();
    let mut client = Client::tls(&tap, "localhost", port);
    client.send(format!(
        "POST /p HTTP/1.1\r\nHost: localhost:{port}\r\nX-Old: 1\r\nContent-Type: text/plain\r\n\
         Content-Length: 3\r\n\r\nabc"
    ));
    let id = only_held(&mut agent);
    agent.call(
        "resume_flow",
        json!({
            "flow_id": id, "method": "PUT", "url": format!("https://localhost:{port}/changed?a=b"),
            "headers": {"X-New": "2"}, "remove_headers": ["X-Old"], "body": "a longer body"
        }),
    );
    assert_eq!(client.response().1, b"ok");
    origin.wait_for(b"Content-Length: 13\r\n\r\na longer body");
    let seen = origin.seen();
    assert!(seen.starts_with("PUT /changed?a=b HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("X-New: 2\r\n") && !seen.contains("X-Old"), "{seen}");
    // What was sent is what is recorded.
    let bundle = tap.stop().bundle;
    let trace = bundle.only_trace();
    assert_eq!(trace["request"]["method"], "PUT");
    assert_eq!(trace["request_edited"], true);
    assert_eq!(bundle.body(&trace, "request"), b"a longer body");
}

#[test]
fn a_response_is_held_before_it_reaches_the_client_and_edited() {
    let origin = Origin::answers(OK);
    let (tap, mut agent) = holding("~s");
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    let id = only_held(&mut agent);
    agent.call(
        "resume_flow",
        json!({"flow_id": id, "status": 503, "headers": {"Retry-After": "7"}, "body": "down"}),
    );
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
    assert!(head.contains("Retry-After: 7\r\n") && head.contains("X-From: origin\r\n"), "{head}");
    assert_eq!(body, b"down");
    let shown = json!({"flow_id": id});
    agent.wait("get_flow_response", &shown, |it| it["status_code"] == 503);
    // The connection goes on.
    agent.call("set_intercept_filter", json!({"filter": ""}));
    client.send(get(origin.addr, "/2"));
    assert!(client.response().0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn an_edit_keeps_the_bytes_of_the_fields_that_it_does_not_name() {
    let response = [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-O: caf\xe9\r\nX-C: \x85\r\n"[..],
        b"Connection: close\r\n\r\nok",
    ];
    let origin = Origin::answers(response.concat());
    let (tap, mut agent) = holding("~all");
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    let request = format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    client.send([request.as_bytes(), b"X-O: caf\xe9\r\nX-C: \x85\r\n\r\n"].concat());
    let id = only_held(&mut agent);
    agent.call("resume_flow", json!({"flow_id": id, "headers": {"Y": "caf\u{e9}"}}));
    origin.wait_for(b"\r\nX-O: caf\xe9\r\nX-C: \x85\r\nY: caf\xc3\xa9\r\n\r\n");
    response_held(&mut agent);
    agent.call("resume_flow", json!({"flow_id": id, "headers": {"Y": "1"}}));
    let (answer, _) = client.ending();
    let lines: Vec<_> = answer.split(|&byte| byte == b'\n').collect();
    assert!(lines.contains(&&b"X-O: caf\xe9\r"[..]), "{}", answer.escape_ascii());
    assert!(lines.contains(&&b"X-C: \x85\r"[..]), "{}", answer.escape_ascii());
    assert!(lines.contains(&&b"Y: 1\r"[..]), "{}", answer.escape_ascii());
}

#[test]
fn an_edited_message_is_recorded_as_it_was_sent() {
    let origin = Origin::answers(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
         Keep-Alive: timeout=9\r\nProxy-Authenticate: Basic\r\nX-From: origin\r\n\r\nok",
    );
    let (tap, mut agent) = holding("~all");
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    let ask = |path: &str| {
        format!(
            "GET http://{to}{path} HTTP/1.1\r\nHost: {to}\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\
             Proxy-Connection: keep-alive\r\nAccept: */*\r\n\r\n"
        )
    };
    let edits = [("/0", json!({"headers": {"X-New": "1"}})), ("/1", json!({"status": 204}))];
    let mut heads = Vec::new();
    for (path, mut edit) in edits {
        client.send(ask(path));
        let id = only_held(&mut agent);
        agent.call("resume_flow", json!({"flow_id": id, "headers": {"X-Sent": "1"}}));
        edit["flow_id"] = response_held(&mut agent);
        agent.call("resume_flow", edit);
        heads.push(client.head());
        if path == "/0" {
            assert_eq!(client.take(2), b"ok");
        }
    }
    assert!(heads[0].contains("X-From: origin\r\nX-New: 1\r\n"), "{}", heads[0]);
    assert!(!heads[1].contains("Content-Length"), "{}", heads[1]);
    let bundle = tap.stop().bundle;
    for (path, head) in ["/0", "/1"].iter().zip(&heads) {
        let trace = bundle.trace_of(path);
        let sent: Vec<_> = head.lines().skip(1).filter(|line| !line.is_empty()).collect();
        assert_eq!(fields(&trace["response"]), sent);
        let host = format!("Host: {to}");
        assert_eq!(fields(&trace["request"]), [host.as_str(), "Accept: */*", "X-Sent: 1"]);
    }
    assert_eq!(bundle.trace_of("/1")["response"]["body_size"], 0);
}

#[test]
fn a_large_body_comes_whole_when_it_is_released_or_made_up() {
    let body: String = (0..200_000).map(|n| format!("{n:06}\n")).collect();
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let origin = Origin::answers(response);
    let (tap, mut agent) = holding("~s | ~m POST");
    let mut client = Client::connect(tap.addr);
    for _ in 0..2 {
        client.send(get(origin.addr, "/"));
        let id = only_held(&mut agent);
        agent.call("resume_flow", json!({"flow_id": id}));
        assert!(client.response().1 == body.as_bytes());
    }
    client.send(post(origin.addr, "asked"));
    let id = only_held(&mut agent);
    let made_up = &body[..500_000];
    agent.call("resume_flow", json!({"flow_id": id, "answer": true, "body": made_up}));
    assert!(client.response().1 == made_up.as_bytes());
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_answer_is_given_in_place_of_the_server() {
    let origin = Origin::answers(OK);
    let (tap, mut agent) = holding("~q");
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    let id = only_held(&mut agent);
    agent.call(
        "resume_flow",
        json!({
            "flow_id": id, "answer": true, "status": 201, "body": "{\"made\": \"up\"}",
            "headers": {"Content-Type": "application/json"}
        }),
    );
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 201 Created\r\n"), "{head}");
    assert_eq!(body, b"{\"made\": \"up\"}");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_body_is_refused_where_the_client_takes_none() {
    let origin = Origin::answers("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n");
    let (tap, mut agent) = holding("~all");
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    let id = only_held(&mut agent);
    let answer = json!({"flow_id": id, "answer": true, "status": 204, "body": "teapot"});
    let said = agent.fails("resume_flow", answer);
    assert!(said.contains("stays held") && said.contains("204 has no body"), "{said}");
    agent.call("resume_flow", json!({"flow_id": id}));
    let id = response_held(&mut agent);
    for edit in [
        json!({"flow_id": id, "body": "hello"}),
        json!({"flow_id": id, "status": 204, "body": "hello"}),
        json!({"flow_id": id, "answer": true, "status": 304, "body": "hello"}),
    ] {
        let said = agent.fails("resume_flow", edit);
        assert!(said.contains("has no body: leave the body out"), "{said}");
    }
    // With a status that has one it goes.
    agent.call("resume_flow", json!({"flow_id": id, "status": 200, "body": "hello"}));
    assert_eq!(client.response().1, b"hello");

    client.send(get(origin.addr, "/").replace("GET", "HEAD"));
    let id = only_held(&mut agent);
    let answer = |body: &str| json!({"flow_id": id, "answer": true, "body": body});
    let said = agent.fails("resume_flow", answer("teapot"));
    assert!(said.contains("HEAD"), "{said}");
    // The length in an answer to HEAD is that of another response.
    let mut described = answer("");
    described["headers"] = json!({"Content-Length": 1234});
    agent.call("resume_flow", described);
    let head = client.head();
    assert!(head.contains("\r\nContent-Length: 1234\r\n"), "{head}");
}

#[test]
fn a_dropped_flow_is_forwarded_nowhere() {
    let origin = Origin::answers(OK);
    let (tap, mut agent) = holding("~q");
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    let id = only_held(&mut agent);
    agent.call("drop_flow", json!({"flow_id": id}));
    assert_eq!(client.ending(), (Vec::new(), End::Clean));
    assert_eq!(origin.connections(), 0);
    agent.wait("get_flow_by_id", &json!({"flow_id": id}), |flow| {
        flow["error"].as_str().is_some_and(|error| error.contains("dropped"))
    });
    let again = agent.fails("resume_flow", json!({"flow_id": id}));
    assert!(again.contains("held"), "{again}");
    assert!(tap.stop().bundle.only_trace()["error"].as_str().unwrap().contains("dropped"));
}

#[test]
fn all_are_resumed_at_once_and_nothing_is_held_any_more() {
    let origin = Origin::answers(OK);
    let (tap, mut agent) = holding("~q");
    let mut clients: Vec<_> = (0..8)
        .map(|number| {
            let mut client = Client::connect(tap.addr);
            client.send(get(origin.addr, &format!("/{number}")));
            client
        })
        .collect();
    assert_eq!(held(&mut agent, 8).len(), 8);
    agent.call("set_intercept_filter", json!({"filter": ""}));
    let resumed = agent.call("resume_all", json!({}));
    assert_eq!(resumed["resumed_count"], 8, "{resumed}");
    for client in &mut clients {
        assert_eq!(client.response().1, b"ok");
    }
}

#[test]
fn a_held_flow_goes_on_by_itself_in_the_end() {
    let origin = Origin::answers(OK);
    let (tap, mut agent) = holding("~q");
    agent.call("set_option", json!({"key": "intercept_timeout", "value": 1}));
    let mut client = Client::connect(tap.addr);
    let asked = Instant::now();
    client.send(get(origin.addr, "/"));
    assert_eq!(client.response().1, b"ok");
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(1), "it was held for no more than {took:?}");
}

#[test]
fn a_wait_that_is_changed_is_the_one_that_is_told_of() {
    let origin = Origin::answers(OK);
    let (tap, mut agent) = holding("~q");
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    only_held(&mut agent);
    let option = json!({"key": "intercept_timeout", "value": 5_000});
    let message = agent.call("set_option", option)["message"].to_string();
    assert!(message.contains("for what waits already"), "{message}");
    let held = agent.call("get_intercepted_flows", json!({}))["flows"][0].clone();
    let left_s = held["resumes_by_itself_in_s"].as_u64().unwrap();
    assert!((4_000..=5_000).contains(&left_s), "{held}");
    let shown = agent.call("get_flow_by_id", json!({"flow_id": held["id"]}));
    let wait_s = shown["held_until"].as_f64().unwrap() - shown["timestamp_start"].as_f64().unwrap();
    assert!((5_000.0..5_100.0).contains(&wait_s), "{shown}");
    agent.call("set_option", json!({"key": "intercept_timeout", "value": 0.1}));
    assert_eq!(client.response().1, b"ok");
}

#[test]
fn a_body_that_decides_is_gathered_and_others_are_not() {
    let origin = Origin::start(|_, stream| {
        crate::support::read_head(stream);
        stream.say(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfirst");
        crate::support::read_head(stream);
    });
    // The response cannot match, so its first bytes come at once.
    let (tap, mut agent) = holding("~bq secret | ~bs secret & ~t json");
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    client.head();
    assert_eq!(client.take(5), b"first");
    let mut second = Client::connect(tap.addr);
    second.send(post(origin.addr, "a secret"));
    let id = only_held(&mut agent);
    assert_eq!(origin.connections(), 1);
    agent.call("drop_flow", json!({"flow_id": id}));
}

#[test]
fn a_client_that_leaves_takes_its_flow_with_it() {
    let origin = Origin::answers(OK);
    let (tap, mut agent) = holding("~q");
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    let id = only_held(&mut agent);
    client.reset();
    held(&mut agent, 0);
    agent.wait("get_flow_by_id", &json!({"flow_id": id}), |flow| {
        flow["error"].as_str().is_some_and(|error| error.contains("client"))
    });
}

#[test]
fn a_filter_that_does_not_parse_leaves_the_one_in_force() {
    let (_tap, mut agent) = holding("~m PUT");
    for bad in ["~x", "~u (", "(~q", "~c", "~u", "~q &"] {
        let said = agent.fails("set_intercept_filter", json!({"filter": bad}));
        assert!(said.contains("~m PUT"), "{bad}: {said}");
    }
    assert_eq!(agent.call("get_intercepted_flows", json!({}))["current_filter"], "~m PUT");
}

#[test]
fn what_is_held_when_the_proxy_stops_is_in_the_bundle() {
    let origin = Origin::answers(OK);
    let (tap, mut agent) = holding("~q");
    let mut client = Client::connect(tap.addr);
    client.send(post(origin.addr, "unsent"));
    only_held(&mut agent);
    let bundle = tap.stop().bundle;
    let trace = bundle.only_trace();
    assert!(trace["error"].as_str().unwrap().contains("stopped"), "{trace}");
    assert_eq!(bundle.body(&trace, "request"), b"unsent");
    assert_eq!(origin.connections(), 0);
}
