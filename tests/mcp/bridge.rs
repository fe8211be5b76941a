//! Standard input and output bridged to a server that runs already.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write, pipe};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flowtap::error::Result;
use flowtap::limits::{MCP_BODY_BYTES, MCP_BRIDGED_REQUESTS};
use flowtap::mcp::bridge::{Neighbour, ask, run};
use flowtap::mcp::server::{McpBound, McpOptions, McpServer, Timing};
use serde_json::{Value, json};

use crate::support::{DEADLINE, Server, call, initialize, notification, request};
use crate::toolbox::{Held, Stub};

/// A bridge to a server, with its input and its output.
struct Bridge {
    input: Option<PipeWriter>,
    lines: Receiver<Value>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Bridge {
    fn new(address: std::net::SocketAddr, token: Option<&str>) -> Bridge {
        let (reader, input) = pipe().unwrap();
        let (output, mut writer) = pipe().unwrap();
        let token = token.map(str::to_owned);
        let (_keep, stop) = crossbeam_channel::bounded(1);
        let thread = thread::spawn(move || {
            let _keep = _keep;
            run(address, token, reader, &mut writer, &stop)
        });
        Bridge { input: Some(input), lines: read(output), thread: Some(thread) }
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    #[track_caller]
    fn hear(&self) -> Value {
        self.lines.recv_timeout(DEADLINE).expect("a line comes in time")
    }

    /// Ends the input; gives what came until the end.
    fn finish(mut self) -> Vec<Value> {
        drop(self.input.take());
        self.thread.take().unwrap().join().unwrap().unwrap();
        self.lines.iter().collect()
    }
}

fn read(output: PipeReader) -> Receiver<Value> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
            let _ = sender.send(serde_json::from_str(&line).expect("a line is JSON"));
        }
    });
    lines
}

fn stateless(id: Value, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    request(id, method, params)
}

#[test]
fn a_flowtap_is_known_from_others() {
    let server = Server::new();
    assert_eq!(ask(server.address(), None), Neighbour::Flowtap);
    let token = Some("secret".to_owned());
    let locked = Server::with(McpOptions { token, timing: Timing::default() });
    assert_eq!(ask(locked.address(), None), Neighbour::Locked);
    assert_eq!(ask(locked.address(), Some("secret")), Neighbour::Flowtap);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let answers = thread::spawn(move || {
        let (mut client, _) = other.accept().unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    });
    assert_eq!(ask(address, None), Neighbour::Nobody);
    answers.join().unwrap();
    assert_eq!(ask(address, None), Neighbour::Nobody, "nobody listens any more");
}

#[test]
fn what_answers_without_end_is_no_flowtap() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let (asked, outcome) = channel();
    thread::spawn(move || asked.send(ask(address, None)));
    let (mut client, _) = other.accept().unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").unwrap();
    let end = Instant::now() + DEADLINE;
    let outcome = loop {
        match outcome.recv_timeout(Duration::from_millis(100)) {
            Ok(outcome) => break outcome,
            // Less and later than any timeout of a single read.
            Err(_) => drop(client.write_all(b": here\n\n")),
        }
        assert!(Instant::now() < end, "it is still listened to");
    };
    assert_eq!(outcome, Neighbour::Nobody);
}

#[test]
fn a_server_that_takes_nothing_holds_up_nothing_for_long() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bridge = Bridge::new(other.local_addr().unwrap(), None);
    bridge.say(&call(1, "echo", json!({ "text": "x".repeat(MCP_BODY_BYTES - 1_000) })));
    assert_eq!(bridge.hear()["error"]["code"], -32000);
    assert_eq!(bridge.finish(), [] as [Value; 0]);
}

#[test]
fn a_session_goes_over_the_bridge() {
    let server = Server::new();
    let mut bridge = Bridge::new(server.address(), None);
    bridge.say(&initialize("2025-03-26"));
    assert_eq!(bridge.hear()["result"]["protocolVersion"], "2025-03-26");
    bridge.say(&notification("notifications/initialized", json!({})));
    bridge.say(&call("a", "echo", json!({ "text": "x" })));
    let reply = bridge.hear();
    assert_eq!((&reply["id"], reply["result"].get("isError")), (&json!("a"), None));
    let mut counted = call(1, "count", json!({ "to": 2 }));
    counted["params"]["_meta"] = json!({ "progressToken": 5 });
    bridge.say(&counted);
    assert_eq!(bridge.hear()["params"]["progress"], 1.0);
    assert_eq!(bridge.hear()["params"]["progress"], 2.0);
    assert_eq!(bridge.hear()["id"], 1);
    bridge.say(&json!([request(2, "ping", json!({}))]));
    assert_eq!(bridge.hear()[0]["id"], 2);
    bridge.say(&request(3, "no/such", json!({})));
    assert_eq!(bridge.hear()["error"]["code"], -32601);
    bridge.say(&json!("no message"));
    assert_eq!(bridge.hear()["error"]["code"], -32600);
    assert_eq!(bridge.finish(), [] as [Value; 0]);
}

#[test]
fn stateless_requests_go_over_the_bridge() {
    let server = Server::with(McpOptions { token: Some("s".into()), timing: Timing::default() });
    let mut bridge = Bridge::new(server.address(), Some("s"));
    bridge.say(&stateless(json!(1), "server/discover", json!({})));
    assert_eq!(bridge.hear()["result"]["supportedVersions"][0], "2026-07-28");
    bridge.say(&stateless(json!("b"), "tools/call", json!({ "name": "echo" })));
    assert_eq!(bridge.hear()["result"]["resultType"], "complete");
    bridge.say(&stateless(json!(2), "tools/call", json!({ "name": "\u{fc}nknown" })));
    assert_eq!(bridge.hear()["error"]["code"], -32602);
    bridge.say(&stateless(json!(3), "x/y", json!({})));
    assert_eq!(bridge.hear()["error"]["code"], -32601);
    let listen = json!({ "notifications": { "toolsListChanged": true } });
    bridge.say(&stateless(json!(4), "subscriptions/listen", listen));
    assert_eq!(bridge.hear()["method"], "notifications/subscriptions/acknowledged");
    // Nothing more comes of a stream that its client has left.
    bridge.say(&notification("notifications/cancelled", json!({ "requestId": 4 })));
    assert_eq!(bridge.finish(), [] as [Value; 0]);
}

#[test]
fn cancelling_goes_over_the_bridge_in_both_eras() {
    let server = Server::new();
    let mut bridge = Bridge::new(server.address(), None);
    bridge.say(&initialize("2025-11-25"));
    bridge.hear();
    for hold in
        [call(1, "hold", json!({})), stateless(json!(1), "tools/call", json!({ "name": "hold" }))]
    {
        bridge.say(&hold);
        assert_eq!(server.held(), Held::Started);
        bridge.say(&notification("notifications/cancelled", json!({ "requestId": 1 })));
        assert_eq!(server.held(), Held::Cancelled);
    }
    bridge.say(&request(2, "ping", json!({})));
    assert_eq!(bridge.hear()["id"], 2, "no reply came of what was cancelled");
    assert_eq!(bridge.finish(), [] as [Value; 0]);
}

#[test]
fn a_slow_call_blocks_no_other_and_the_end_of_input_waits_for_it() {
    let server = Server::new();
    let mut bridge = Bridge::new(server.address(), None);
    bridge.say(&initialize("2025-11-25"));
    bridge.hear();
    bridge.say(&call(1, "hold", json!({})));
    assert_eq!(server.held(), Held::Started);
    bridge.say(&request(2, "ping", json!({})));
    assert_eq!(bridge.hear()["id"], 2);
    server.stub.release();
    let rest = bridge.finish();
    assert_eq!((rest.len(), &rest[0]["id"]), (1, &json!(1)));
}

#[test]
fn too_many_requests_are_refused_in_order() {
    let server = Server::new();
    let mut bridge = Bridge::new(server.address(), None);
    bridge.say(&initialize("2025-11-25"));
    bridge.hear();
    for id in 0..=MCP_BRIDGED_REQUESTS {
        bridge.say(&call(id, "hold", json!({})));
    }
    let refused = bridge.hear();
    assert_eq!(
        (&refused["id"], &refused["error"]["code"]),
        (&json!(MCP_BRIDGED_REQUESTS), &json!(-32000))
    );
    server.stub.release();
    assert_eq!(bridge.finish().len(), MCP_BRIDGED_REQUESTS);
}

#[test]
fn another_start_of_flowtap_gets_another_session() {
    let server = Server::new();
    let address = server.address();
    let mut bridge = Bridge::new(address, None);
    bridge.say(&initialize("2025-11-25"));
    bridge.hear();
    server.stop();
    bridge.say(&request(1, "ping", json!({})));
    let lost = bridge.hear();
    assert_eq!((&lost["id"], &lost["error"]["code"]), (&json!(1), &json!(-32000)));
    // The port may be taken by somebody else in between, which is no fault of the bridge.
    let Ok(bound) = McpBound::new(Some(address.port())) else { return };
    let (stub, _held) = Stub::new();
    let handle = McpServer::start(bound, stub, McpOptions::default()).unwrap();
    bridge.say(&call(2, "echo", json!({})));
    let reply = bridge.hear();
    assert_eq!((&reply["id"], reply.get("error")), (&json!(2), None), "{reply}");
    assert_eq!(bridge.finish(), [] as [Value; 0]);
    handle.stop().unwrap();
}
