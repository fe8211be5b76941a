//! The end of the program: with everything that was under way in the bundle, and in time, whatever
//! the peers, the terminal and the agents do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use flowtap::limits::STOP_GRACE;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::apart::{Apart, Terminal, address, all_of};
use crate::support::client::Client;
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::origin::Origin;
use crate::support::{DEADLINE, ends_within, get, read_head};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// From the signal to the end of the process, where little waits to be packed.
const IN_TIME: Duration = Duration::from_secs(5);
/// How long a terminal has to show nothing to count as held.
const UNSHOWN: Duration = Duration::from_secs(1);

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\
    \x81\x05hello";

/// An origin with an answer to each path of which the end never comes, but for `/held`.
fn never_done() -> Origin {
    Origin::start(|_, stream| {
        let head = String::from_utf8_lossy(&read_head(stream)).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        match path.as_str() {
            "/ws" => stream.say(SWITCH),
            "/download" => stream.say(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf of it"),
            "/unread" => {
                stream.say(b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n");
                stream.fill();
            }
            "/held" => stream.say(OK.as_bytes()),
            _ => {}
        }
        stream.closed();
    })
}

/// Everything that can be under way at a client's side, and the connections that keep it so.
fn begin_all(tap: &Flowtap, agent: &mut Agent, origin: &Origin) -> Vec<Client> {
    agent.call("set_intercept_filter", json!({"filter": "~u /paused | ~s & ~u /held"}));
    let to = origin.addr;
    let begin = |bytes: String| {
        let mut client = Client::connect(tap.addr);
        client.send(bytes);
        client
    };
    let post = |path: &str, body: &str| {
        begin(format!(
            "POST http://{to}{path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: 90\r\n\r\n{body}"
        ))
    };
    let mut upload = post("/upload", "");
    origin.wait_for(b"\r\n\r\n");
    upload.send("half an upload");
    origin.wait_for(b"half an upload");
    let mut socket = begin(format!(
        "GET http://{to}/ws HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    assert!(socket.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(socket.take(7), b"\x81\x05hello");
    let mut download = begin(get(to, "/download"));
    assert!(download.head().starts_with("HTTP/1.1 200 "));
    assert_eq!(download.take(10), b"half of it");
    let mut unread = begin(get(to, "/unread"));
    unread.head();
    let paused = post("/paused", &"p".repeat(90));
    let held = begin(get(to, "/held"));
    agent.wait("get_intercepted_flows", &json!({}), |it| it["count"] == 2);
    let server_silent_in_tls = begin(format!(
        "GET https://localhost:{}/tls HTTP/1.1\r\nHost: localhost\r\n\r\n",
        to.port()
    ));
    let mut client_silent_in_tls = Client::tunnel(tap.addr, "localhost:1");
    // The beginning of a ClientHello.
    client_silent_in_tls.send(b"\x16\x03\x01\x02\x00\x01");
    let head = begin(format!("GET http://{to}/head HTTP/1.1\r\nHost: {to}\r\nX-Half: "));
    // The loop takes clients in order: when it has this one it has those before.
    let unanswered = begin(get(to, "/unanswered"));
    agent.wait("get_flows", &json!({"limit": 50}), |it| it.to_string().contains("/unanswered"));
    // All but the paused one have reached their server.
    let end = Instant::now() + DEADLINE;
    while origin.connections() < 7 {
        assert!(Instant::now() < end, "{} connections", origin.connections());
        std::thread::yield_now();
    }
    vec![
        upload,
        socket,
        download,
        unread,
        paused,
        held,
        server_silent_in_tls,
        client_silent_in_tls,
        unanswered,
        head,
    ]
}

/// MCP clients that hold what they can hold and read nothing.
fn begin_mcp(tap: &Flowtap) -> Vec<TcpStream> {
    let address = tap.mcp.unwrap();
    let begin = |bytes: String| {
        let mut client = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
        client.write_all(bytes.as_bytes()).unwrap();
        client
    };
    let mut stream = begin(format!("GET /sse HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // It is open once something comes.
    stream.read_exact(&mut [0]).unwrap();
    let half = begin(format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000\r\n\r\nhalf"
    ));
    vec![stream, half]
}

fn says_stopped(what: &Value) {
    assert!(what["error"].as_str().unwrap_or_default().contains("stopped"), "{what}");
}

fn ends_well(signal: Signal) -> Duration {
    let origin = never_done();
    let mut tap = Setup::with_mcp().args(["--loops", "1"]).hearing_hangups().start();
    let mut agent = Agent::of(&tap);
    let clients = begin_all(&tap, &mut agent, &origin);
    let agents = begin_mcp(&tap);
    let began = Instant::now();
    tap.signal(signal);
    tap.keep_until_its_end();
    let took = began.elapsed();
    let stopped = tap.finish();
    assert_eq!(stopped.status.code(), Some(0), "{signal:?}: {}", stopped.stderr);
    let bundle = stopped.bundle;
    let had = |path: &str, side: &str| {
        let trace = bundle.trace_of(path);
        says_stopped(&trace);
        String::from_utf8(bundle.body(&trace, side)).unwrap()
    };
    assert_eq!(had("/upload", "request"), "half an upload");
    assert_eq!(had("/download", "response"), "half of it");
    assert_eq!(had("/paused", "request"), "p".repeat(90));
    assert_eq!(had("/held", "response"), "ok");
    assert!(had("/unread", "response").len() > 100_000);
    for path in ["/tls", "/unanswered", "/head"] {
        had(path, "request");
    }
    assert_eq!(bundle.traces().len(), 8);
    says_stopped(&bundle.json("ws/ws_0001.json"));
    let hello = ("receive".to_owned(), "text".to_owned(), b"hello".to_vec());
    assert_eq!(bundle.messages("ws_0001"), [hello]);
    drop((clients, agents));
    took
}

#[test]
fn all_that_is_under_way_is_in_the_bundle_and_the_end_comes_in_time() {
    // Side by side, since each waits for most of its time.
    std::thread::scope(|scope| {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let end = move || ends_well(signal);
            scope.spawn(move || ends_within(IN_TIME, &format!("{signal:?}"), end));
        }
    });
}

#[test]
fn a_second_signal_does_not_wait_for_anything() {
    let ends = |signal: Signal| {
        let origin = never_done();
        let mut tap = Setup::with_mcp().args(["--loops", "1"]).start();
        let mut agent = Agent::of(&tap);
        let clients = begin_all(&tap, &mut agent, &origin);
        let began = Instant::now();
        tap.signal(Signal::INT);
        tap.err_line("stopping");
        tap.signal(signal);
        tap.keep_until_its_end();
        let took = began.elapsed();
        let stopped = tap.finish();
        assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
        assert_eq!(stopped.bundle.traces().len(), 8);
        stopped.bundle.traces().iter().for_each(says_stopped);
        drop(clients);
        took
    };
    for signal in [Signal::INT, Signal::TERM] {
        ends_within(STOP_GRACE, &format!("{signal:?}"), || ends(signal));
    }
}

#[test]
fn a_terminal_that_closes_twice_is_no_impatience() {
    let (go, origin) = Origin::answers_when_told(OK);
    let mut tap = Setup::proxy().hearing_hangups().start();
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    origin.wait_for(b"\r\n\r\n");
    tap.signal(Signal::HUP);
    tap.err_line("stopping");
    tap.signal(Signal::HUP);
    go.send(()).unwrap();
    assert_eq!(client.response().1, b"ok");
    assert!(tap.finish().bundle.only_trace()["error"].is_null());
}

#[test]
fn signals_while_the_bundle_is_packed_do_not_cut_it_short() {
    const BODIES: usize = 5;
    let size: usize = 16 * 1024 * 1024 - 1;
    let text: Vec<u8> = (0..size).map(|at| b'a' + (at / 7 * (at % 1_000) % 26) as u8).collect();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n");
    let origin = Origin::answers([head.into_bytes(), text].concat());
    let mut tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    for number in 0..BODIES {
        client.send(get(origin.addr, &format!("/{number}")));
        client.response();
    }
    let part = tap.folder().join("capture.zip.journal/part-0001.zip");
    tap.signal(Signal::INT);
    let end = Instant::now() + DEADLINE;
    while !part.exists() {
        assert!(Instant::now() < end, "packing does not begin");
        std::thread::yield_now();
    }
    tap.signal(Signal::INT);
    tap.err_line("packing: ");
    tap.signal(Signal::TERM);
    let stopped = tap.finish();
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
    assert_eq!(stopped.bundle.traces().len(), BODIES);
}

#[test]
fn a_closed_terminal_loses_nothing() {
    let origin = never_done();
    ends_within(IN_TIME, "a closed terminal", || {
        let mut terminal = Terminal::start(Setup::proxy(), false);
        let mut client = Client::connect(terminal.addr);
        client.send(get(origin.addr, "/download"));
        client.head();
        assert_eq!(client.take(10), b"half of it");
        terminal.close();
        let (status, took, bundle) = terminal.wait();
        assert!(status.ends_with("exit 0"), "{status}");
        let trace = bundle.only_trace();
        says_stopped(&trace);
        assert_eq!(bundle.body(&trace, "response"), b"half of it");
        took
    });
}

#[test]
fn a_program_that_ignores_hangups_outlives_its_terminal() {
    let origin = Origin::answers(OK);
    ends_within(IN_TIME, "without a terminal", || {
        let mut terminal = Terminal::start(Setup::proxy().args(["--set", "flow_detail=2"]), true);
        let mut client = Client::connect(terminal.addr);
        client.send(get(origin.addr, "/before"));
        client.response();
        terminal.line("/before");
        terminal.close();
        for number in 0..20 {
            client.send(get(origin.addr, &format!("/{number}")));
            assert_eq!(client.response().1, b"ok");
            // Words that nobody can read.
            let mut other = Client::connect(terminal.addr);
            let to = format!("127.0.0.1:{number}");
            other.send(format!("GET http://{to}/refused HTTP/1.1\r\nHost: a\r\n\r\n"));
            other.response();
        }
        terminal.signal(Signal::TERM);
        let (status, took, bundle) = terminal.wait();
        assert!(status.ends_with("exit 0"), "{status}");
        assert_eq!(bundle.traces().len(), 41);
        took
    });
}

#[test]
fn a_terminal_that_is_held_holds_up_neither_traffic_nor_the_end() {
    let origin = Origin::answers(OK);
    let ends = |hurry: bool| {
        let mut terminal = Terminal::start(Setup::proxy().args(["--set", "flow_detail=2"]), false);
        let mut client = Client::connect(terminal.addr);
        client.send(get(origin.addr, "/before"));
        client.response();
        terminal.line("/before");
        // Ctrl+S.
        terminal.type_in(0x13);
        let mut asked = 1;
        let mut ask = |path: &str| {
            client.send(get(origin.addr, path));
            assert_eq!(client.response().1, b"ok");
            asked += 1;
        };
        // It is held when what is asked for does not show.
        let end = Instant::now() + DEADLINE;
        loop {
            ask("/shown");
            if !terminal.shows_within(UNSHOWN, "/shown") {
                break;
            }
            assert!(Instant::now() < end, "the terminal is not held");
        }
        (0..50).for_each(|number| ask(&format!("/{number}")));
        terminal.signal(Signal::TERM);
        if hurry {
            terminal.signal(Signal::TERM);
        }
        let (status, took, bundle) = terminal.wait();
        assert!(status.ends_with("exit 0"), "{status}");
        assert_eq!(bundle.traces().len(), asked);
        took
    };
    for hurry in [false, true] {
        ends_within(IN_TIME, "a terminal that is held", || ends(hurry));
    }
}

#[test]
fn standard_error_that_nobody_reads_any_more_ends_nothing() {
    let origin = Origin::answers(OK);
    ends_within(IN_TIME, "without a reader", || {
        let mut tap = Apart::piped(Setup::proxy().args(["--set", "flow_detail=2"]));
        let stderr = tap.child().stderr.take().unwrap();
        let (proxy, reader) = address(stderr);
        // As `2>&1 | head -1` does.
        drop((reader, tap.child().stdout.take()));
        let mut client = Client::connect(proxy);
        for number in 0..30 {
            client.send(get(origin.addr, &format!("/{number}")));
            assert_eq!(client.response().1, b"ok");
        }
        tap.signal(Signal::INT);
        let (code, took, bundle) = tap.wait();
        assert_eq!(code, 0);
        assert_eq!(bundle.traces().len(), 30);
        took
    });
}

/// A body that fills what a pipe takes, shown in full.
fn shown_body() -> Origin {
    let body = "a line of text\n".repeat(250);
    let length = body.len();
    Origin::answers(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

#[test]
fn standard_error_that_is_full_holds_up_neither_traffic_nor_the_end() {
    let origin = shown_body();
    ends_within(IN_TIME, "a pipe that is full", || {
        let mut tap = Apart::piped(Setup::proxy().args(["--set", "flow_detail=4"]));
        let stderr = tap.child().stderr.take().unwrap();
        let (proxy, unread) = address(stderr);
        let mut client = Client::connect(proxy);
        let mut asked = 0;
        let end = Instant::now() + Duration::from_secs(2);
        // More than a pipe takes, over several looks at the flows.
        while Instant::now() < end {
            client.send(get(origin.addr, &format!("/{asked}")));
            client.response();
            asked += 1;
        }
        tap.signal(Signal::TERM);
        let (code, took, bundle) = tap.wait();
        assert_eq!(code, 0);
        assert_eq!(bundle.traces().len(), asked);
        let mut said = String::new();
        { unread }.read_to_string(&mut said).unwrap();
        assert!(said.len() > 32 * 1024, "the pipe was never full: {} bytes", said.len());
        took
    });
}

/// `flowtap mcp` with a proxy and a port of its own.
fn mcp() -> Setup {
    Setup::command("mcp").args(["--mcp-port", "0"])
}

fn tools_list(id: usize) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/list\",\"params\":{{}}}}\n")
}

/// `flowtap mcp` with a download under way.
fn mcp_under_way(origin: &Origin) -> (Apart, Client) {
    let mut tap = Apart::piped(mcp());
    let (proxy, rest) = address(tap.child().stderr.take().unwrap());
    all_of(rest);
    let mut client = Client::connect(proxy);
    client.send(get(origin.addr, "/download"));
    client.head();
    assert_eq!(client.take(10), b"half of it");
    (tap, client)
}

fn ended(tap: Apart) -> Duration {
    let (code, took, bundle) = tap.wait();
    assert_eq!(code, 0);
    says_stopped(&bundle.only_trace());
    took
}

#[test]
fn the_end_of_standard_input_ends_flowtap_mcp_in_time() {
    let origin = never_done();
    ends_within(IN_TIME, "without input", || {
        let (mut tap, _client) = mcp_under_way(&origin);
        let mut input = tap.child().stdin.take().unwrap();
        input.write_all(tools_list(1).as_bytes()).unwrap();
        let output = all_of(tap.child().stdout.take().unwrap());
        drop(input);
        let took = ended(tap);
        assert!(output.recv_timeout(DEADLINE).unwrap().contains("\"id\":1"));
        took
    });
}

#[test]
fn an_agent_that_does_not_read_holds_up_no_end() {
    let origin = never_done();
    let ends = |by_signal: bool| {
        let (mut tap, _client) = mcp_under_way(&origin);
        let mut input = tap.child().stdin.take().unwrap();
        // Replies that no pipe takes.
        let requests: String = (1..=4).map(tools_list).collect();
        input.write_all(requests.as_bytes()).unwrap();
        if by_signal {
            tap.signal(Signal::TERM);
        } else {
            drop(input);
        }
        ended(tap)
    };
    for by_signal in [false, true] {
        ends_within(IN_TIME, "an agent that does not read", || ends(by_signal));
    }
}
