//! Clients that are slow, silent, deaf or many: they cost a bounded buffer and nobody's time.

use std::time::{Duration, Instant};

use flowtap::limits::{MCP_CONNECTIONS, MCP_OUTPUT_BYTES, MCP_STREAM_BYTES};
use flowtap::mcp::server::Timing;
use serde_json::{Value, json};

use crate::open_files;
use crate::support::client::Client;
use crate::support::{DEADLINE, Server, call, initialize, request};
use crate::toolbox::Held;

const SHORT: Duration = Duration::from_millis(300);

fn open_sse(server: &Server) -> (Client, String) {
    let mut stream = server.connect();
    stream.request("GET /sse", "");
    stream.stream_head();
    let (_, endpoint) = stream.event().unwrap();
    (stream, format!("POST {endpoint}\r\nContent-Type: application/json\r\n"))
}

#[test]
fn silent_clients_take_nobodys_place() {
    open_files::raise_limit();
    let server = Server::new();
    let silent: Vec<Client> = (0..MCP_CONNECTIONS + 20)
        .map(|number| {
            let mut client = server.connect();
            if number % 2 == 0 {
                client.try_send("POST /mcp HTTP/1.1\r\nHost: local");
            }
            client
        })
        .collect();
    let session = server.session("2025-11-25");
    assert_eq!(server.post(&session, &request(1, "ping", json!({}))).status, 200);
    drop(silent);
}

#[test]
fn half_bodies_and_answered_clients_take_nobodys_place() {
    open_files::raise_limit();
    let server = Server::new();
    let post = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let half = format!("{post}Expect: 100-continue\r\nContent-Length: 9\r\n\r\n");
    let closing = "GET /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for head in [half.as_str(), closing] {
        let silent: Vec<Client> = (0..MCP_CONNECTIONS)
            .map(|_| {
                let mut client = server.connect();
                client.send(head);
                client.head();
                client
            })
            .collect();
        let session = server.session("2025-11-25");
        assert_eq!(server.post(&session, &request(1, "ping", json!({}))).status, 200);
        drop(silent);
    }
}

#[test]
fn half_a_request_is_not_waited_for_long() {
    let server = Server::timed(Timing { request: SHORT, ..Timing::default() });
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let halves =
        ["GET /mcp HT".to_owned(), head.to_owned(), format!("{head}Content-Length: 9\r\n\r\n{{")];
    for half in halves {
        let mut client = server.connect();
        client.send(&half);
        assert!(client.rest().starts_with("HTTP/1.1 408 "), "{half}");
    }
}

#[test]
fn a_slow_trickle_does_not_extend_the_wait() {
    let server = Server::timed(Timing { request: SHORT, ..Timing::default() });
    let mut client = server.connect();
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
    let end = Instant::now() + DEADLINE;
    while client.try_send("1\r\n \r\n") {
        assert!(Instant::now() < end, "the server goes on reading");
        std::thread::yield_now();
    }
}

#[test]
fn idle_connections_close() {
    let server = Server::timed(Timing { keep_alive: SHORT, ..Timing::default() });
    assert_eq!(server.connect().rest(), "");
    let message = initialize("2025-11-25").to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{message}",
        message.len()
    );
    // One that is kept from sending for so long finds its connection closed.
    let asked =
        |mut client: Client| (client.try_send(&request) && client.is_answered()).then_some(client);
    let mut client = (0..100).find_map(|_| asked(server.connect())).expect("an answer");
    assert_eq!(client.response(false).status, 200);
    assert_eq!(client.rest(), "");
}

#[test]
fn idle_sessions_end_and_streaming_ones_go_on() {
    let server = Server::timed(Timing { session_idle: Duration::ZERO, ..Timing::default() });
    // The server may look at the time between a session's beginning and its stream's.
    let (streaming, _stream) = (0..100)
        .find_map(|_| {
            let session = server.session("2025-11-25");
            let mut stream = server.connect();
            stream.request(&format!("GET /mcp\r\n{session}"), "");
            stream.head().starts_with("HTTP/1.1 200 ").then_some((session, stream))
        })
        .expect("a session with a stream");
    let idle = server.session("2025-11-25");
    let ping = request(1, "ping", json!({}));
    let end = Instant::now() + DEADLINE;
    while server.post(&idle, &ping).status != 404 {
        assert!(Instant::now() < end, "the session goes on");
    }
    assert_eq!(server.post(&streaming, &ping).status, 200);
}

#[test]
fn streams_carry_comments() {
    let server = Server::timed(Timing { ping: SHORT, ..Timing::default() });
    let (mut sse, _) = open_sse(&server);
    for _ in 0..2 {
        assert_eq!(sse.line().as_deref(), Some(": ping"));
        assert_eq!(sse.line().as_deref(), Some(""));
    }
}

#[test]
fn a_client_that_never_reads_is_cut_off_and_others_go_on() {
    let server = Server::new();
    let (deaf, post) = open_sse(&server);
    let held = call("held", "hold", json!({})).to_string();
    assert_eq!(server.send(&post, &held).status, 202);
    assert_eq!(server.held(), Held::Started);
    let large = call("x", "large", json!({ "bytes": 400_000 })).to_string();
    let (mut other, other_post) = open_sse(&server);
    let most = 64 * MCP_STREAM_BYTES / 400_000;
    let cut = (0..most).find(|number| {
        let ping = request(*number as u64, "ping", json!({})).to_string();
        assert_eq!(server.send(&other_post, &ping).status, 202);
        assert_eq!(other.message()["id"], *number);
        let large = large.replace("\"x\"", &number.to_string());
        server.send(&post, &large).status == 404
    });
    assert!(cut.is_some(), "the stream of a client that never reads is closed");
    assert_eq!(server.held(), Held::Cancelled);
    drop(deaf);
}

#[test]
fn a_client_that_takes_no_answer_is_given_up() {
    let server = Server::timed(Timing { write: SHORT, ..Timing::default() });
    let session = server.session("2025-11-25");
    let mut deaf = server.connect();
    let large = call(1, "large", json!({ "bytes": 7_000_000 }));
    deaf.start_post(&session, &large);
    // What the socket took comes, and then the end instead of the rest.
    let end = Instant::now() + DEADLINE;
    let probe = request(2, "ping", json!({}));
    while deaf.try_send("x") {
        assert_eq!(server.post(&session, &probe).status, 200);
        assert!(Instant::now() < end, "the connection goes on");
    }
}

#[test]
fn answers_that_nobody_takes_have_a_bound_together() {
    let server = Server::new();
    let session = server.session("2025-11-25");
    // Sockets take a part of each answer, and how much is for the system to say.
    let most = 4 * MCP_OUTPUT_BYTES / 14_000_000;
    let mut deaf: Vec<Client> = Vec::new();
    let cut = (0..most).any(|id| {
        let mut client = server.connect();
        client.start_post(&session, &call(id as u64, "large", json!({ "bytes": 7_000_000 })));
        // The first bytes of the answer are there when it was queued, or the end if it was not.
        let ended = !client.is_answered();
        deaf.push(client);
        ended
    });
    assert!(cut, "all wait with their answers");
    let ping = request("p", "ping", json!({}));
    assert_eq!(server.post(&session, &ping).status, 200);
}

#[test]
fn small_events_that_nobody_takes_have_the_same_bound_together() {
    let server = Server::new();
    let deaf: Vec<_> = (0..8).map(|_| open_sse(&server)).collect();
    let say = |message: &Value| {
        deaf.iter().all(|(_, post)| server.send(post, &message.to_string()).status == 202)
    };
    assert!(say(&initialize("2025-03-26")));
    // Errors quote what they are about.
    let unknown = request(1, &"x".repeat(7_000), json!({}));
    let batch = Value::from(vec![unknown; 8]);
    // No stream has more than may wait on one.
    let most = MCP_STREAM_BYTES / (8 * 7_200);
    assert!(!(0..most).all(|_| say(&batch)), "all wait with their events");
}
