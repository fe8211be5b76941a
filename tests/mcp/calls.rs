//! Calls that take their time: progress, cancellation, and many at once.

use flowtap::limits::{
    MCP_BODIES_BYTES, MCP_BODY_BYTES, MCP_ID_BYTES, MCP_THREADS, MCP_WAITING_CALLS,
};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::{Server, call, notification, request};
use crate::toolbox::Held;

/// A held call, on its way in a session.
fn hold(server: &Server, session: &str, id: impl Into<Value>) -> Client {
    let mut client = server.connect();
    client.start_post(session, &call(id, "hold", json!({})));
    assert_eq!(server.held(), Held::Started);
    client
}

fn count(id: u64, to: u64, token: Value) -> Value {
    let meta = json!({ "progressToken": token });
    let params = json!({ "name": "count", "arguments": { "to": to }, "_meta": meta });
    request(id, "tools/call", params)
}

#[test]
fn progress_rises_strictly_on_the_stream_of_its_request() {
    let server = Server::new();
    for (version, has_words) in [("2024-11-05", false), ("2025-11-25", true)] {
        let session = server.session(version);
        for token in [json!("t"), json!(0)] {
            let mut client = server.connect();
            client.start_post(&session, &count(1, 3, token.clone()));
            client.stream_head();
            let mut last = 0.0;
            for _ in 0..3 {
                let message = client.message();
                let params = message["params"].as_object().unwrap();
                assert_eq!(params["progressToken"], token);
                assert!(params["progress"].as_f64().unwrap() > last);
                assert_eq!(params["total"], json!(3.0));
                assert_eq!(params.contains_key("message"), has_words);
                last = params["progress"].as_f64().unwrap();
            }
            assert_eq!(client.message()["id"], 1);
            assert_eq!(client.event(), None);
        }
        let without = server.post(&session, &call(2, "count", json!({ "to": 3 })));
        assert_eq!(without.json()["id"], 2);
    }
}

#[test]
fn a_flood_of_progress_holds_up_nobody() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let mut floods: Vec<_> = (0..MCP_THREADS as u64 - 1).map(|_| server.connect()).collect();
    for (id, client) in floods.iter_mut().enumerate() {
        client.start_post(&session, &count(id as u64, u64::MAX, json!("t")));
    }
    for client in &mut floods {
        client.stream_head();
        assert_eq!(client.message()["method"], "notifications/progress");
    }
    assert_eq!(server.post(&session, &request("p", "ping", json!({}))).status, 200);
}

#[test]
fn a_token_that_is_too_large_counts_for_none() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let large = server.post(&session, &count(1, 3, json!("x".repeat(MCP_ID_BYTES + 1))));
    assert_eq!(large.json()["id"], 1);
    let mut client = server.connect();
    client.start_post(&session, &count(2, 1, json!("x".repeat(MCP_ID_BYTES))));
    client.stream_head();
    assert_eq!(client.message()["method"], "notifications/progress");
}

#[test]
fn a_cancelled_request_has_no_reply() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let mut held = hold(&server, &session, "a");
    let cancel = |id: Value| {
        let params = json!({ "requestId": id, "reason": "enough" });
        assert_eq!(
            server.post(&session, &notification("notifications/cancelled", params)).status,
            202
        );
    };
    // Others' ids, and those of another type, are not this one.
    cancel(json!("b"));
    cancel(json!(1));
    cancel(Value::Null);
    cancel(json!("a"));
    assert_eq!(server.held(), Held::Cancelled);
    let response = held.response(false);
    assert_eq!((response.status, response.body.as_str()), (202, ""));
    // The connection goes on, and the id is free.
    assert_eq!(held.post(&session, &request("a", "ping", json!({}))).json()["id"], "a");
}

#[test]
fn a_batch_whose_requests_are_all_cancelled_is_answered() {
    let server = Server::new();
    let start = |session: &str| {
        let mut held = server.connect();
        held.start_post(session, &json!([call(1, "hold", json!({}))]));
        assert_eq!(server.held(), Held::Started);
        held
    };
    let ended = server.session("2025-03-26");
    let mut held = start(&ended);
    assert_eq!(server.send(&format!("DELETE /mcp\r\n{ended}"), "").status, 200);
    assert_eq!(server.held(), Held::Cancelled);
    assert_eq!(held.response(false).status, 202);

    let session = server.session("2025-03-26");
    let mut held = start(&session);
    let cancel = notification("notifications/cancelled", json!({ "requestId": 1 }));
    assert_eq!(server.post(&session, &cancel).status, 202);
    assert_eq!(server.held(), Held::Cancelled);
    let response = held.response(false);
    assert_eq!((response.status, response.body.as_str()), (202, ""));
    // A batch can cancel its own.
    let own = held.post(&session, &json!([call(1, "hold", json!({})), cancel]));
    assert_eq!((own.status, own.body.as_str()), (202, ""));
}

#[test]
fn another_session_cancels_nothing() {
    let server = Server::new();
    let (own, other) = (server.session("2025-11-25"), server.session("2025-11-25"));
    let mut held = hold(&server, &own, 1);
    let cancel = notification("notifications/cancelled", json!({ "requestId": 1 }));
    assert_eq!(server.post(&other, &cancel).status, 202);
    server.stub.release();
    assert_eq!(server.held(), Held::Released);
    assert_eq!(held.response(false).json()["id"], 1);
}

#[test]
fn an_id_is_in_use_once() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let mut held = hold(&server, &session, 1);
    assert_eq!(server.post(&session, &request(1, "ping", json!({}))).error().0, -32600);
    assert_eq!(server.post(&session, &request("1", "ping", json!({}))).json()["id"], "1");
    assert_eq!(
        server.post(&server.session("2025-11-25"), &request(1, "ping", json!({}))).json()["id"],
        1
    );
    server.stub.release();
    assert_eq!(held.response(false).json()["id"], 1);
}

#[test]
fn an_ended_session_cancels_its_calls() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let mut held = hold(&server, &session, 1);
    assert_eq!(server.send(&format!("DELETE /mcp\r\n{session}"), "").status, 200);
    assert_eq!(server.held(), Held::Cancelled);
    assert_eq!(held.response(false).status, 202);
}

#[test]
fn a_client_that_ends_its_side_still_has_its_answer() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let mut held = hold(&server, &session, 1);
    held.finish();
    // Gives the end of input the time of another exchange to be seen.
    assert_eq!(server.post(&session, &request(2, "ping", json!({}))).status, 200);
    server.stub.release();
    assert_eq!(server.held(), Held::Released);
    assert_eq!(held.response(false).json()["id"], 1);
    assert_eq!(held.rest(), "");
}

#[test]
fn slow_calls_block_no_quick_ones_and_too_many_are_refused_in_order() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let mut held: Vec<_> =
        (0..MCP_THREADS - 1).map(|id| hold(&server, &session, id as u64)).collect();
    let quick = server.post(&session, &call("quick", "echo", json!({})));
    assert_eq!(quick.json()["id"], "quick");
    held.push(hold(&server, &session, "last"));
    let mut waiting = Vec::new();
    for id in 1_000..1_000 + MCP_WAITING_CALLS as u64 {
        let mut client = server.connect();
        client.start_post(&session, &call(id, "echo", json!({})));
        waiting.push((id, client));
    }
    // The last of them has been queued when another is refused.
    let refused = loop {
        let response = server.post(&session, &call("more", "echo", json!({})));
        if response.json().get("error").is_some() {
            break response;
        }
    };
    assert_eq!((refused.status, refused.error()), (200, (-32000, json!("more"))));
    assert_eq!(server.post(&session, &request("p", "ping", json!({}))).status, 200);
    server.stub.release();
    for client in &mut held {
        assert!(client.response(false).json()["result"].is_object());
    }
    for (id, mut client) in waiting {
        assert_eq!(client.response(false).json()["id"], id);
    }
}

#[test]
fn the_arguments_of_all_calls_have_a_bound() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let text = "x".repeat(MCP_BODY_BYTES - 1_000);
    let most = MCP_BODIES_BYTES / MCP_BODY_BYTES;
    let held: Vec<_> = (0..most)
        .map(|id| {
            let mut client = server.connect();
            client.start_post(&session, &call(id as u64, "hold", json!({ "text": text })));
            assert_eq!(server.held(), Held::Started);
            client
        })
        .collect();
    let refused = server.post(&session, &call("more", "echo", json!({ "text": text })));
    assert_eq!((refused.status, refused.error()), (200, (-32000, json!("more"))));
    assert_eq!(server.post(&session, &call("small", "echo", json!({}))).json()["id"], "small");
    server.stub.release();
    for mut client in held {
        assert!(client.response(false).json()["result"].is_object());
    }
}

#[test]
fn stopping_cancels_what_is_under_way() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    let mut held = hold(&server, &session, 1);
    let mut stream = server.connect();
    stream.request("GET /sse", "");
    stream.stream_head();
    stream.event();
    let address = server.address();
    server.stop();
    assert_eq!(stream.event(), None);
    assert_eq!(held.rest(), "");
    assert!(std::net::TcpStream::connect(address).is_err(), "the port is closed");
}
