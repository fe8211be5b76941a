//! Requests that an agent sends through the proxy's own upstream side.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::client::Client;
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::origin::Origin;
use crate::support::refusing::Refusing;
use crate::support::tls::test_ca;
use crate::support::{DEADLINE, ends_within, get, read_head};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A proxy through which one request with a secret went, an agent, and the flow's id. It has one
/// loop: each has a pool of its own, and the requests of agents go to one after the other.
fn with_flow(origin: &Origin) -> (Flowtap, Agent, Value) {
    let tap = Setup::with_mcp().args(["--loops", "1"]).start();
    let mut agent = Agent::of(&tap);
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    client.send(format!(
        "PUT http://{to}/a?b=1 HTTP/1.1\r\nHost: {to}\r\nAuthorization: Bearer secret-token-1\r\n\
         X-Kept: yes\r\nContent-Length: 4\r\n\r\nbody"
    ));
    client.response();
    let list = agent.wait("get_flows", &json!({}), |list| list["total"] == 1);
    let id = list["flows"][0]["id"].clone();
    (tap, agent, id)
}

#[test]
fn a_request_is_sent_again_as_it_was() {
    let origin = Origin::answers(OK);
    let (tap, mut agent, id) = with_flow(&origin);
    origin.wait_for(b"\r\n\r\nbody");
    let first = origin.seen();
    let answer = agent.call("replay_request", json!({"flow_id": id}));
    assert_eq!(answer["status"], "success", "{answer}");
    assert_eq!((&answer["status_code"], &answer["original_flow_id"]), (&json!(200), &id));
    origin.wait_for(first.repeat(2).as_bytes());
    // The pool's connection serves it.
    assert_eq!(origin.connections(), 1);
    let replayed = agent.call("get_flows", json!({"filter": "~replay"}));
    assert_eq!(replayed["flows"][0]["id"], answer["new_flow_id"]);
    assert!(!agent.transcript.contains("secret-token-1"));
    let traces = tap.stop().bundle.traces();
    assert_eq!(traces.len(), 2);
    assert_eq!(traces[1]["replayed"], true);
    assert_eq!(traces[1]["replay_of"], traces[0]["flow"]);
}

#[test]
fn what_is_not_ascii_is_sent_again_byte_by_byte() {
    let origin = Origin::answers(OK);
    let tap = Setup::with_mcp().start();
    let mut agent = Agent::of(&tap);
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    let request = |target: &str, added: &[u8]| {
        let line = [b"GET ", target.as_bytes(), b"/caf\xc3\xa9 HTTP/1.1\r\n"].concat();
        let host = format!("Host: {to}\r\n").into_bytes();
        // Two readings of one text, and a byte that is a control character in Latin-1.
        let fields = b"X-O: caf\xc3\xa9\r\nx-o: caf\xe9\r\nX-C: \x85\r\n";
        [&line, &host, &fields[..], added, b"\r\n"].concat()
    };
    client.send(request(&format!("http://{to}"), b""));
    client.response();
    let mut expected = request("", b"");
    origin.wait_for(&expected);
    let list = agent.wait("get_flows", &json!({}), |list| list["total"] == 1);
    let id = &list["flows"][0]["id"];
    agent.call("replay_request", json!({"flow_id": id}));
    expected.extend(request("", b""));
    origin.wait_for(&expected);
    agent.call("modify_and_send", json!({"flow_id": id, "headers": {"Y": "1"}}));
    expected.extend(request("", b"Y: 1\r\n"));
    origin.wait_for(&expected);
}

#[test]
fn options_of_a_server_as_a_whole_are_asked_for_again() {
    let origin = Origin::answers(OK);
    let tap = Setup::with_mcp().start();
    let mut agent = Agent::of(&tap);
    let to = origin.addr;
    let asked =
        |method: &str, target: &str| format!("{method} {target} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let mut client = Client::connect(tap.addr);
    client.send(asked("OPTIONS", &format!("http://{to}")));
    client.response();
    // RFC 9112 section 3.2.4.
    let mut expected = asked("OPTIONS", "*");
    origin.wait_for(expected.as_bytes());
    let list = agent.wait("get_flows", &json!({}), |list| list["total"] == 1);
    let id = &list["flows"][0]["id"];
    for (tool, mut arguments, target) in [
        ("replay_request", json!({}), "*"),
        ("modify_and_send", json!({"url": format!("http://{to}/")}), "/"),
        ("modify_and_send", json!({"url": format!("http://{to}?q")}), "/?q"),
    ] {
        arguments["flow_id"] = id.clone();
        agent.call(tool, arguments);
        expected += &asked("OPTIONS", target);
        origin.wait_for(expected.as_bytes());
    }
    agent.call("modify_and_send", json!({"flow_id": id, "method": "GET"}));
    expected += &asked("GET", "/");
    origin.wait_for(expected.as_bytes());
    // So it is where the request was recorded in the asterisk form.
    agent.call("set_intercept_filter", json!({"filter": "~q"}));
    let mut client = Client::connect(tap.addr);
    for (method, target) in [("OPTIONS", "*"), ("GET", "/")] {
        client.send(asked("OPTIONS", &format!("http://{to}")));
        let list = agent.wait("get_intercepted_flows", &json!({}), |list| list["count"] == 1);
        let id = &list["flows"][0]["id"];
        agent.call("resume_flow", json!({"flow_id": id, "method": method}));
        client.response();
        expected += &asked(method, target);
        origin.wait_for(expected.as_bytes());
    }
}

#[test]
fn a_changed_request_has_its_framing_worked_out_afresh() {
    let origin = Origin::answers(OK);
    let other = Origin::tls_answers(test_ca().server(&["localhost"]), OK);
    let (_tap, mut agent, id) = with_flow(&origin);
    let url = format!("https://localhost:{}/else", other.addr.port());
    let answer = agent.call(
        "modify_and_send",
        json!({
            "flow_id": id, "method": "POST", "url": url, "body": "other body",
            "headers": {"X-Added": "1"}, "remove_headers": ["x-kept"]
        }),
    );
    assert_eq!(answer["status"], "success", "{answer}");
    other.wait_for(b"\r\n\r\nother body");
    let seen = other.seen();
    assert!(seen.starts_with("POST /else HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains(&format!("Host: localhost:{}\r\n", other.addr.port())), "{seen}");
    assert!(seen.contains("X-Added: 1\r\n") && !seen.contains("X-Kept"), "{seen}");
    assert!(seen.contains("Content-Length: 10\r\n"), "{seen}");
    // Credentials do not follow to another host unless the agent gives them.
    assert!(!seen.contains("secret-token-1"), "{seen}");
    let told = answer["modifications"].to_string();
    assert!(told.contains("Authorization withheld"), "{told}");
    let lured = json!({"flow_id": id, "url": url, "headers": {"Authorization": "Bearer ***"}});
    agent.fails("modify_and_send", lured);
    let same = format!("http://{}/same", origin.addr);
    agent.call("modify_and_send", json!({"flow_id": id, "url": same}));
    origin.wait_for(b"\r\n\r\nbody");
    let kept = "PUT /same HTTP/1.1\r\nHost";
    let seen = origin.seen();
    let again = seen.rsplit(kept).next().unwrap();
    assert!(again.contains("Authorization: Bearer secret-token-1\r\n"), "{seen}");
}

#[test]
fn secrets_of_a_body_go_to_no_other_host_unless_the_agent_gives_them() {
    let origin = Origin::answers(OK);
    let other = Origin::tls_answers(test_ca().server(&["localhost"]), OK);
    let tap = Setup::with_mcp().start();
    let mut agent = Agent::of(&tap);
    let url = format!("https://localhost:{}/else", other.addr.port());
    let mut client = Client::connect(tap.addr);
    for (content_type, body, shown) in [
        ("application/json", r#"{"u":"a","password":"pw-1"}"#, r#"{"u":"a","password":"***"}"#),
        ("application/x-www-form-urlencoded", "u=a&password=pw-1", "u=a&password=***"),
        ("application/octet-stream", "\0password=pw-1", "\0password=***"),
    ] {
        let to = origin.addr;
        let sent = format!(
            "POST http://{to}/{content_type} HTTP/1.1\r\nHost: {to}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        client.send(sent.clone());
        client.response();
        let this = json!({"url_pattern": format!("/{content_type}$"), "filter": "~s"});
        let list = agent.wait("get_flows", &this, |list| list["total"] == 1);
        let id = list["flows"][0]["id"].clone();
        let said = agent.fails("modify_and_send", json!({"flow_id": id, "url": url}));
        assert!(said.contains("body") && said.contains("give"), "{said}");
        let lured = json!({"flow_id": id, "url": url, "body": shown});
        let answer = agent.call("modify_and_send", lured);
        assert!(answer["modifications"].to_string().contains("holds ***"), "{answer}");
        // A request that is held obeys the same.
        agent.call("set_intercept_filter", json!({"filter": "~q"}));
        client.send(sent);
        let list = agent.wait("get_intercepted_flows", &json!({}), |list| list["count"] == 1);
        let held = &list["flows"][0]["id"];
        let said = agent.fails("resume_flow", json!({"flow_id": held, "url": url}));
        assert!(said.contains("body") && said.contains("give"), "{said}");
        agent.call("resume_flow", json!({"flow_id": held, "url": url, "body": shown}));
        client.response();
        agent.call("set_intercept_filter", json!({}));
        // What holds no secret, and what the agent gives itself, goes.
        let given = json!({"flow_id": id, "url": url, "body": "u=a&password=own"});
        agent.call("modify_and_send", given);
        other.wait_for(b"own");
    }
    assert!(!other.seen().contains("pw-1"), "{}", other.seen());
}

#[test]
fn a_request_of_the_agents_own_is_sent_and_captured() {
    let origin = Origin::start(|_, stream| {
        read_head(stream);
        stream.say(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
    });
    let tap = Setup::with_mcp().start();
    let mut agent = Agent::of(&tap);
    let url = format!("http://{}/new", origin.addr);
    let answer = agent.call("send_request", json!({"url": url, "headers": {"X-A": "b"}}));
    // Redirects are not followed.
    assert_eq!((&answer["status_code"], origin.connections()), (&json!(302), 1));
    let flow = agent.call("get_flow_by_id", json!({"flow_id": answer["flow_id"]}));
    assert_eq!(flow["request"]["url"], url);
    assert!(origin.seen().contains("X-A: b\r\n"));
    let trace = tap.stop().bundle.only_trace();
    assert_eq!((&trace["replayed"], &trace["response"]["status"]), (&json!(true), &json!(302)));
}

#[test]
fn a_server_that_cannot_be_reached_is_told_as_an_error_of_the_flow() {
    let nobody = Refusing::new();
    let tap = Setup::with_mcp().start();
    let mut agent = Agent::of(&tap);
    let said = agent.fails("send_request", json!({"url": format!("http://{}/", nobody.addr)}));
    assert!(said.contains("refused"), "{said}");
    assert_eq!(agent.call("get_flows", json!({"filter": "~e & ~replay"}))["total"], 1);
    for (url, says) in [("/path", "absolute"), ("ftp://h/", "http"), ("http://h:0/", "port")] {
        let said = agent.fails("send_request", json!({"url": url}));
        assert!(said.contains(says), "{url}: {said}");
    }
}

#[test]
fn a_copy_is_a_flow_of_its_own_and_sends_nothing() {
    let origin = Origin::answers(OK);
    let (_tap, mut agent, id) = with_flow(&origin);
    origin.wait_for(b"\r\n\r\nbody");
    let seen = origin.seen();
    let copy = agent.call("duplicate_flow", json!({"flow_id": id}));
    assert_ne!(copy["new_flow_id"], id);
    assert_eq!(agent.call("get_flow_count", json!({}))["count"], 2);
    assert_eq!(origin.seen(), seen);
}

#[test]
fn a_call_that_is_cancelled_takes_its_request_back() {
    let (left, has_left) = channel();
    let left = Mutex::new(left);
    let origin = Origin::start(move |_, stream| {
        read_head(stream);
        stream.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
        // Nothing comes but the end.
        let _ = stream.unrecorded().read(&mut [0]);
        left.lock().unwrap().send(()).unwrap();
    });
    let tap = Setup::with_mcp().start();
    let mut agent = Agent::of(&tap);
    let request = json!({"method": "GET", "url": format!("http://{}/", origin.addr)});
    agent.cancels("send_request", &request, || origin.wait_for(b"\r\n\r\n"));
    has_left.recv_timeout(DEADLINE).unwrap();
    let listed = agent.wait("get_flows", &json!({}), |list| list["flows"][0]["error"].is_string());
    assert!(listed.to_string().contains("the call that sent it was cancelled"), "{listed}");
    let traces = tap.stop().bundle.traces();
    assert!(traces[0]["error"].to_string().contains("cancelled"), "{traces:?}");
}

#[test]
fn a_flow_shows_up_before_its_answer_and_is_there_at_once_when_it_ends() {
    let (go, origin) = Origin::answers_when_told(OK);
    let tap = Setup::with_mcp().start();
    let mut agent = Agent::of(&tap);
    let mut asked = 0;
    ends_within(Duration::from_secs(1), "a flow that has ended", || {
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, "/slow"));
        asked += 1;
        agent.wait("get_flows", &json!({"filter": "~q"}), |list| list["total"] == asked);
        go.send(()).unwrap();
        client.response();
        let begun = Instant::now();
        agent.wait("get_flows", &json!({"filter": "~s"}), |list| list["total"] == asked);
        begun.elapsed()
    });
}

#[test]
fn an_event_stream_is_seen_while_it_goes_on() {
    let release = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(release.1);
    let origin = Origin::start(move |_, stream| {
        read_head(stream);
        stream.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n");
        gate.lock().unwrap().recv().unwrap();
        stream.say(b"event: e\ndata: two\n\n");
    });
    let tap = Setup::with_mcp().start();
    let mut agent = Agent::of(&tap);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/events"));
    let list =
        agent.wait("get_flows", &json!({"filter": "~t event-stream"}), |list| list["total"] == 1);
    let id = list["flows"][0]["id"].clone();
    let events = json!({"flow_id": id});
    agent.wait("get_event_stream", &events, |it| it.to_string().contains("one"));
    release.0.send(()).unwrap();
    agent.wait("get_event_stream", &events, |it| it.to_string().contains("two"));
}

#[test]
fn agents_reach_the_tools_through_the_proxy_and_leave_no_flow() {
    let tap = Setup::with_mcp().start();
    let mut agent = Agent::of(&tap);
    let mcp = tap.mcp.unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}"#;
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "POST http://{mcp}/mcp HTTP/1.1\r\nHost: {mcp}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let (head, _) = client.response();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(agent.call("get_flow_count", json!({}))["count"], 0);
    assert!(tap.stop().bundle.traces().is_empty());
}
