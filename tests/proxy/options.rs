//! Every option has its effect on the traffic, while the proxy runs.

use flowtap::limits::{HELD_BODY_BYTES, INPUT_BYTES};
use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::client::{Client, End};
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::origin::Origin;
use crate::support::tls::{certificate_in, client_config_of, test_ca};
use crate::support::{get, read_head};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A proxy and an agent that has set one option.
fn with(key: &str, value: Value) -> (Flowtap, Agent) {
    let tap = Setup::with_mcp().start();
    let mut agent = Agent::of(&tap);
    set(&mut agent, key, value);
    (tap, agent)
}

fn set(agent: &mut Agent, key: &str, value: Value) {
    let answer = agent.call("set_option", json!({"key": key, "value": value}));
    assert_eq!(answer["status"], "success", "{answer}");
}

/// Asks the origin through the proxy, with more fields; the head and the body of the answer.
fn ask(tap: &Flowtap, origin: &Origin, fields: &str) -> (String, String) {
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    client.send(format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\n{fields}\r\n"));
    let (head, body) = client.response();
    (head, String::from_utf8(body).unwrap())
}

/// All flows, once there are so many.
fn flows(agent: &mut Agent, count: u64) -> Vec<Value> {
    let list = agent.wait("get_flows", &json!({}), |list| list["total"] == count);
    list["flows"].as_array().unwrap().clone()
}

/// The one flow with this status, when it has ended.
fn flow_of_status(agent: &mut Agent, status: u16) -> Value {
    let found = |list: &Value| list["flows"].as_array().is_some_and(|flows| !flows.is_empty());
    let list = agent.wait("get_flows", &json!({"status_code": status}), found);
    let id = list["flows"][0]["id"].clone();
    agent.call("get_flow_by_id", json!({"flow_id": id}))
}

#[test]
fn anticache_removes_the_conditions_of_requests() {
    let origin = Origin::answers(OK);
    let (tap, mut agent) = with("anticache", json!(true));
    let fields = "If-None-Match: \"x\"\r\nif-modified-since: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
                  X-Stays: 1\r\n";
    ask(&tap, &origin, fields);
    let seen = origin.seen();
    assert!(!seen.to_lowercase().contains("if-") && seen.contains("X-Stays: 1\r\n"), "{seen}");
    set(&mut agent, "anticache", json!(false));
    ask(&tap, &origin, fields);
    assert!(origin.seen().contains("If-None-Match: \"x\"\r\n"));
}

#[test]
fn anticomp_asks_for_plain_bodies() {
    let origin = Origin::answers(OK);
    let (tap, _agent) = with("anticomp", json!(true));
    ask(&tap, &origin, "Accept-Encoding: gzip, br\r\n");
    let seen = origin.seen();
    assert!(seen.contains("Accept-Encoding: identity\r\n") && !seen.contains("gzip"), "{seen}");
}

#[test]
fn showhost_shows_the_name_that_was_asked_for() {
    let origin = Origin::answers(OK);
    let (tap, mut agent) = with("showhost", json!(false));
    let to = origin.addr;
    let mut client = Client::tunnel(tap.addr, to);
    client.send("GET /x HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    client.response();
    let url = |agent: &mut Agent| flows(agent, 1)[0]["url"].as_str().unwrap().to_owned();
    assert_eq!(url(&mut agent), format!("http://{to}/x"));
    set(&mut agent, "showhost", json!(true));
    assert_eq!(url(&mut agent), "http://shop.example/x");
}

#[test]
fn larger_bodies_than_body_size_limit_are_refused() {
    let (tap, mut agent) = with("body_size_limit", json!("1k"));
    let origin = Origin::answers(OK);
    let to = origin.addr;
    for (framing, body) in [
        ("Content-Length: 1025", "x".repeat(1_025)),
        ("Transfer-Encoding: chunked", format!("401\r\n{}\r\n0\r\n\r\n", "x".repeat(1_025))),
    ] {
        let mut client = Client::connect(tap.addr);
        client.send(format!("POST http://{to}/ HTTP/1.1\r\nHost: {to}\r\n{framing}\r\n\r\n{body}"));
        assert!(client.head().starts_with("HTTP/1.1 413 "));
    }
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: 1025\r\n\r\n{}", "x".repeat(1_025));
    let (head, body) = ask(&tap, &Origin::answers(large), "");
    assert!(head.starts_with("HTTP/1.1 502 ") && body.contains("body_size_limit"), "{head}{body}");
    agent.wait("get_flows", &json!({"filter": "~e"}), |list| list["total"] == 3);
    let exact = format!("HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n{}", "x".repeat(1_024));
    assert!(ask(&tap, &Origin::answers(exact), "").0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn capture_body_limit_cuts_the_copy_and_nothing_else() {
    let (tap, _agent) = with("capture_body_limit", json!("1k"));
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{}", "x".repeat(5_000));
    assert_eq!(ask(&tap, &Origin::answers(large), "").1.len(), 5_000);
    let bundle = tap.stop().bundle;
    let trace = bundle.only_trace();
    assert_eq!(trace["response"]["body_wire_size"], 5_000);
    assert_eq!(bundle.body(&trace, "response").len(), 1_024);
}

#[test]
fn hosts_are_left_out_by_ignore_hosts_and_allow_hosts() {
    let (tap, mut agent) = with("ignore_hosts", json!(["127\\.0\\.0\\.1"]));
    let origin = Origin::answers(OK);
    ask(&tap, &origin, "");
    set(&mut agent, "ignore_hosts", json!([]));
    set(&mut agent, "allow_hosts", json!(["^example\\.com:"]));
    ask(&tap, &origin, "");
    set(&mut agent, "allow_hosts", json!(["^127\\.0\\.0\\.1:"]));
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/allowed"));
    client.response();
    let shown = flows(&mut agent, 1);
    assert!(shown[0]["url"].as_str().unwrap().ends_with("/allowed"), "{shown:?}");
    set(&mut agent, "allow_hosts", json!(["^localhost:"]));
    // Inside TLS the server's own certificate comes through.
    let secure = Origin::tls_answers(test_ca().server(&["127.0.0.1"]), OK);
    let client = Client::tunnel(tap.addr, secure.addr);
    let config = client_config_of(test_ca().certificate(), rustls::ALL_VERSIONS, |_| ());
    let (mut client, _) = client.upgrade(config, "127.0.0.1").unwrap();
    client.send(get(secure.addr, "/"));
    client.response();
    assert_eq!(tap.stop().bundle.traces().len(), 1);
}

#[test]
fn the_block_list_answers_in_place_of_servers() {
    let (tap, mut agent) = with("block_list", json!(["/~m POST/403", ":~bq secret:444"]));
    let origin = Origin::answers(OK);
    let to = origin.addr;
    let post = |body: &str| {
        let mut client = Client::connect(tap.addr);
        let length = body.len();
        client.send(format!(
            "PUT http://{to}/ HTTP/1.1\r\nHost: {to}\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        client
    };
    let mut client = Client::connect(tap.addr);
    client.send(format!("POST http://{to}/ HTTP/1.1\r\nHost: {to}\r\nContent-Length: 0\r\n\r\n"));
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n") && body.is_empty(), "{head}");
    // The connection goes on.
    client.send(get(to, "/"));
    assert!(client.response().0.starts_with("HTTP/1.1 200 "));
    assert_eq!(post("a secret").ending(), (Vec::new(), End::Clean));
    assert!(post("harmless").response().0.starts_with("HTTP/1.1 200 "));
    assert!(!origin.seen().contains("secret") && !origin.seen().contains("POST"));
    assert_eq!(flow_of_status(&mut agent, 403)["error"], Value::Null);
}

#[test]
fn the_block_list_tells_no_length_where_there_is_no_body() {
    let rules = json!(["/~m PUT/304", "/~m POST/204", "/~m HEAD/403"]);
    let (tap, _agent) = with("block_list", rules);
    let origin = Origin::answers(OK);
    let to = origin.addr;
    let mut client = Client::connect(tap.addr);
    for (method, status) in [("PUT", 304), ("POST", 204), ("HEAD", 403)] {
        let fields = "Content-Length: 0\r\n\r\n";
        client.send(format!("{method} http://{to}/ HTTP/1.1\r\nHost: {to}\r\n{fields}"));
        let head = client.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(!head.to_lowercase().contains("content-length"), "{head}");
    }
    client.send(get(to, "/"));
    assert!(client.response().0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_request_that_the_block_list_cannot_look_at_is_refused() {
    let rules = json!([":~bq secret:403", ":~m DELETE:405"]);
    let (tap, mut agent) = with("block_list", rules);
    let origin = Origin::answers(OK);
    let to = origin.addr;
    let send = |method: &str, size: usize| {
        let mut client = Client::connect(tap.addr);
        let body = "x".repeat(size - 6) + "secret";
        client.try_send(format!(
            "{method} http://{to}/ HTTP/1.1\r\nHost: {to}\r\nContent-Length: {size}\r\n\r\n{body}"
        ));
        client
    };
    assert!(send("POST", HELD_BODY_BYTES).head().starts_with("HTTP/1.1 403 "));
    // One read more may be looked at.
    let got = send("POST", HELD_BODY_BYTES + INPUT_BYTES + 1).rest();
    assert!(got.starts_with("HTTP/1.1 413 ") && got.contains("block_list"), "{got}");
    // What the head decides needs no body.
    assert!(send("DELETE", HELD_BODY_BYTES + INPUT_BYTES + 1).head().starts_with("HTTP/1.1 405 "));

    // As many as may be are held by somebody else.
    set(&mut agent, "held_flows", json!(1));
    set(&mut agent, "intercept", json!("~u /held & ~q"));
    let mut held = Client::connect(tap.addr);
    held.send(get(to, "/held"));
    agent.wait("get_intercepted_flows", &json!({}), |list| list["count"] == 1);
    let got = send("POST", 10).rest();
    assert!(got.starts_with("HTTP/1.1 503 ") && got.contains("block_list"), "{got}");
    assert_eq!(origin.seen(), "", "nothing that was not looked at has left");
    assert_eq!(agent.call("get_status", json!({}))["requests_undecided"], 2);
    // Others that the intercept filter is about go on unheld.
    let mut unheld = Client::connect(tap.addr);
    unheld.send(get(to, "/held"));
    assert_eq!(unheld.response().1, b"ok");
    agent.call("resume_all", json!({}));
    assert_eq!(held.response().1, b"ok");
    assert!(send("POST", 10).head().starts_with("HTTP/1.1 403 "));
}

#[test]
fn the_block_list_needs_nobody_who_looks_at_flows() {
    let rule = "block_list=/~m GET/403";
    let tap = Setup::no_output().args(["--set", rule, "-e", "localhost"]).start();
    let origin = Origin::answers(OK);
    assert!(ask(&tap, &origin, "").0.starts_with("HTTP/1.1 403 "));
    let mut client = Client::connect(tap.addr);
    client.send(get(format!("localhost:{}", origin.addr.port()), "/left-out"));
    assert!(client.response().0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn an_eager_proxy_connects_before_the_first_request() {
    let connected = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(connected.0);
    let origin = Origin::start(move |_, stream| {
        sender.lock().unwrap().send(()).unwrap();
        read_head(stream);
        stream.say(OK.as_bytes());
    });
    let (tap, _agent) = with("connection_strategy", json!("eager"));
    let mut client = Client::tunnel(tap.addr, origin.addr);
    connected.1.recv_timeout(crate::support::DEADLINE).unwrap();
    client.send(get(origin.addr, "/"));
    assert_eq!(client.response().1, b"ok");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn without_websocket_messages_are_relayed_unread() {
    let (tap, mut agent) = with("websocket", json!(false));
    let origin = Origin::start(|_, stream| {
        read_head(stream);
        stream.say(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              \r\n\x81\x02hi",
        );
    });
    let to = origin.addr;
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.take(4), b"\x81\x02hi");
    flow_of_status(&mut agent, 101);
    assert_eq!(agent.call("get_flows", json!({"filter": "~websocket"}))["total"], 0);
    assert_eq!(tap.stop().bundle.json("manifest.json")["stats"]["ws_connection_count"], 0);
}

#[test]
fn without_rawtcp_only_tls_and_http_pass_through_tunnels() {
    let (tap, mut agent) = with("rawtcp", json!(false));
    let origin = Origin::answers(OK);
    let mut client = Client::tunnel(tap.addr, origin.addr);
    client.send(b"\0\x01\x02 neither of them\r\n\r\n");
    assert_eq!(client.ending().0, b"");
    assert_eq!(origin.connections(), 0);
    // What a host that is left out speaks is its own matter.
    set(&mut agent, "ignore_hosts", json!(["127\\.0\\.0\\.1"]));
    let mut client = Client::tunnel(tap.addr, origin.addr);
    client.send(b"\0\x01\x02 neither of them\r\n\r\n");
    assert_eq!(client.response().1, b"ok");
    set(&mut agent, "ignore_hosts", json!([]));
    set(&mut agent, "rawtcp", json!(true));
    let mut client = Client::tunnel(tap.addr, origin.addr);
    client.send(b"\0\x01\x02 neither of them\r\n\r\n");
    assert_eq!(client.response().1, b"ok");
}

#[test]
fn proxyauth_asks_for_credentials() {
    let (tap, mut agent) = with("proxyauth", json!("user:pass"));
    let origin = Origin::answers(OK);
    let (head, _) = ask(&tap, &origin, "");
    assert!(head.starts_with("HTTP/1.1 407 "), "{head}");
    assert!(head.contains("Proxy-Authenticate: Basic "), "{head}");
    let (head, _) = ask(&tap, &origin, "Proxy-Authorization: Basic dXNlcjp3cm9uZw==\r\n");
    assert!(head.starts_with("HTTP/1.1 407 "), "{head}");
    let (head, _) = ask(&tap, &origin, "Proxy-Authorization: Basic dXNlcjpwYXNz\r\n");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(!origin.seen().contains("dXNlcjpwYXNz"));
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    client.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
    assert!(client.head().starts_with("HTTP/1.1 407 "));
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n"
    ));
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    // Inside of a tunnel nobody is asked again.
    client.send(get(to, "/"));
    assert!(client.response().0.starts_with("HTTP/1.1 200 "));
    let shown = agent.call("get_options", json!({"keys": ["proxyauth"]}));
    assert!(!shown.to_string().contains("pass\""), "{shown}");
}

#[test]
fn the_lowest_versions_of_tls_hold_on_both_sides() {
    let old = &[&rustls::version::TLS12];
    // In one loop, whose pool all clients have.
    let tap = Setup::with_mcp().args(["--loops", "1"]).start();
    let mut agent = Agent::of(&tap);
    set(&mut agent, "tls_version_client_min", json!("TLS1_3"));
    let origin = Origin::tls_answers(test_ca().server_of(old, &["localhost"], |_| ()), OK);
    let port = origin.addr.port();
    let client = client_config_of(certificate_in(&tap.ca_file()), old, |_| ());
    let refused = Client::tls_with(&tap, "localhost", port, client.clone()).map(|_| ());
    assert!(refused.is_err());
    let mut modern = Client::tls(&tap, "localhost", port);
    modern.send(get(format!("localhost:{port}"), "/").replace("http://", "https://"));
    assert!(modern.response().0.starts_with("HTTP/1.1 200 "));

    set(&mut agent, "tls_version_client_min", json!("TLS1_2"));
    set(&mut agent, "tls_version_server_min", json!("TLS1_3"));
    assert!(Client::tls_with(&tap, "localhost", port, client).is_ok());
    // The idle connection that was made before is of the old version, and not used any more.
    let mut client = Client::tls(&tap, "localhost", port);
    client.send(format!("GET / HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"));
    assert!(client.response().0.starts_with("HTTP/1.1 502 "));
}

#[test]
fn connect_timeout_ends_the_wait_for_a_connection() {
    use rustix::net::{AddressFamily, SocketType, bind, connect, getsockname, listen, socket};
    // A listener whose queue is full answers no further connection.
    let new = || socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let listener = new();
    bind(&listener, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&listener, 0).unwrap();
    let address = std::net::SocketAddr::try_from(getsockname(&listener).unwrap()).unwrap();
    let first = new();
    connect(&first, &address).unwrap();
    let (tap, _agent) = with("connect_timeout", json!(1));
    let mut client = Client::connect(tap.addr);
    client.send(get(address, "/"));
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("within 1 s"));
}

#[test]
fn idle_timeout_ends_connections_that_say_nothing() {
    // Longer than a client may be kept from its first request.
    let (tap, _agent) = with("idle_timeout", json!(3));
    let origin = Origin::answers(OK);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    client.response();
    assert_eq!(client.ending(), (Vec::new(), End::Clean));
}

#[test]
fn response_timeout_ends_the_wait_for_an_answer() {
    let (tap, mut agent) = with("response_timeout", json!(1));
    let origin = Origin::start(|_, stream| {
        read_head(stream);
        read_head(stream);
    });
    assert!(ask(&tap, &origin, "").0.starts_with("HTTP/1.1 504 "));
    agent.wait("get_flows", &json!({"filter": "~e"}), |list| list["total"] == 1);
}

#[test]
fn pooled_connections_are_the_newest() {
    let tap = Setup::with_mcp().args(["--loops", "1", "--set", "pooled_connections=2"]).start();
    let mut agent = Agent::of(&tap);
    let origins = [(); 3].map(|()| Origin::answers(OK));
    let connections = || origins.each_ref().map(Origin::connections);
    for origin in &origins {
        ask(&tap, origin, "");
    }
    // The first had been idle the longest when the third came.
    for origin in [&origins[2], &origins[1]] {
        ask(&tap, origin, "");
    }
    assert_eq!(connections(), [1, 1, 1]);
    ask(&tap, &origins[0], "");
    assert_eq!(connections(), [2, 1, 1]);
    set(&mut agent, "pooled_connections", json!(0));
    for origin in [&origins[0], &origins[0]] {
        ask(&tap, origin, "");
    }
    assert_eq!(connections(), [3, 1, 1], "the one that was kept, then a new one");
}

#[test]
fn store_bytes_bounds_the_flows_that_agents_see() {
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n{}", "x".repeat(400_000));
    let origin = Origin::answers(large);
    let tap = Setup::with_mcp().args(["--set", "store_bytes=1m"]).start();
    let mut agent = Agent::of(&tap);
    for _ in 0..3 {
        ask(&tap, &origin, "");
    }
    agent.wait("get_flows", &json!({}), |list| list["flows"][0]["id"] == "3");
    assert_eq!(agent.call("get_flow_count", json!({}))["count"], 2);
    let said = agent.fails("set_option", json!({"key": "store_bytes", "value": "2m"}));
    assert!(said.contains("--set store_bytes=SIZE"), "{said}");
}

#[test]
fn flow_detail_shows_each_flow_on_the_terminal() {
    let mut tap = Setup::with_mcp().args(["--set", "flow_detail=2"]).start();
    let origin = Origin::answers(OK);
    ask(&tap, &origin, "X-Shown: yes\r\n");
    let line = tap.err_line("GET http://");
    assert!(line.contains(&origin.addr.to_string()) && line.contains("200"), "{line}");
    tap.err_line("    X-Shown: yes");
    let mut agent = Agent::of(&tap);
    set(&mut agent, "flow_detail", json!(0));
    ask(&tap, &origin, "");
    let ended = tap.stop();
    assert_eq!(ended.stderr.matches("GET http://").count(), 1, "{}", ended.stderr);
}

#[test]
fn options_are_set_at_the_start_too() {
    let tap = Setup::with_mcp()
        .args(["--set", "anticache=true", "--set", "block_list=/~m PUT/405"])
        .args(["--set", "block_list=/~m POST/403", "--set", "capture_body_limit=2k"])
        .start();
    let shown = Agent::of(&tap)
        .call("get_options", json!({"keys": ["anticache", "block_list", "capture_body_limit"]}));
    assert_eq!(shown["anticache"], true);
    assert_eq!(shown["block_list"], json!(["/~m PUT/405", "/~m POST/403"]));
    let ended = Setup::with_mcp().args(["--set", "antycache=true"]).run();
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("anticache"), "{}", ended.stderr);
}

#[test]
fn what_is_refused_changes_nothing_and_says_why() {
    let tap = Setup::with_mcp().start();
    let mut agent = Agent::of(&tap);
    let mut fails = |key: &str, value: Value, says: &str| {
        let said = agent.fails("set_option", json!({"key": key, "value": value}));
        assert!(said.contains(says), "{key}: {said}");
    };
    fails("anticache", json!("yes"), "anticache");
    fails("flow_detail", json!(9), "4");
    fails("block_list", json!(["~m POST"]), "block_list");
    fails("connection_strategy", json!("quick"), "eager");
    fails("anticach", json!(true), "anticache");
    fails("intercept", json!("~bogus"), "~bogus");
    for key in ["listen_host", "listen_port", "mode", "server", "ssl_insecure", "confdir"] {
        fails(key, json!("x"), key);
    }
    let options = agent.call("get_options", json!({}));
    assert_eq!(options["anticache"], false, "{options}");
}
