//! As many connections as there may be, and one more.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::client::Client;
use crate::support::flowtap::{Flowtap, Setup};
use crate::support::origin::Origin;
use crate::support::{DEADLINE, get};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// How long an answer has to fail to come for its connection to count as waiting.
const WAITS: Duration = Duration::from_millis(500);
/// How long to look for an answer that may not be there.
const SOON: Duration = Duration::from_millis(1);

/// A client that has asked for a page of the proxy's own.
fn asking(tap: &Flowtap) -> Client {
    let mut client = Client::connect(tap.addr);
    client.send(get("mitm.it", "/"));
    client
}

fn is_served(client: &mut Client) -> bool {
    client.response().0.starts_with("HTTP/1.1 200 ")
}

#[test]
fn one_connection_too_many_waits_until_there_is_room() {
    let mut tap = Setup::with_mcp().args(["--set", "connections=2"]).start();
    let mut agent = Agent::of(&tap);
    let mut clients = [asking(&tap), asking(&tap)];
    assert!(clients.iter_mut().all(is_served));
    let status = agent.call("get_status", json!({}));
    assert_eq!((&status["accept_pauses"], &status["connections"]), (&json!(0), &json!(2)));

    let before = tap.cpu_time();
    let mut third = asking(&tap);
    assert!(!third.answers_within(WAITS));
    assert!(tap.cpu_time() - before < WAITS / 2, "it spins while a client waits");
    let line = tap.err_line("warning: 2 client connections are open");
    assert!(line.contains("the option connections"), "{line}");
    let status = agent.call("get_status", json!({}));
    assert_eq!((&status["accept_pauses"], &status["connections"]), (&json!(1), &json!(2)));
    // Who is there is served.
    clients[0].send(get("mitm.it", "/"));
    assert!(is_served(&mut clients[0]));

    drop(clients);
    assert!(is_served(&mut third));
    // A larger number holds at once, and it was told of once.
    let mut fourth = asking(&tap);
    let mut fifth = asking(&tap);
    assert!(is_served(&mut fourth) && !fifth.answers_within(WAITS));
    agent.call("set_option", json!({"key": "connections", "value": 3}));
    assert!(is_served(&mut fifth));
    assert_eq!(tap.stop().stderr.matches("client connections are open").count(), 1);
}

#[test]
fn one_connection_too_many_of_a_client_is_told_why() {
    let mut tap = Setup::with_mcp().args(["--set", "connections_per_client=2"]).start();
    let mut agent = Agent::of(&tap);
    let mut clients = vec![asking(&tap), asking(&tap)];
    assert!(clients.iter_mut().all(is_served));
    for _ in 0..3 {
        let mut third = asking(&tap);
        let got = third.rest();
        assert!(got.starts_with("HTTP/1.1 503 ") && got.contains("Connection: close"), "{got}");
        assert!(got.contains("connections_per_client"), "{got}");
    }
    tap.err_line("warning: 127.0.0.1 has as many connections");
    assert_eq!(agent.call("get_status", json!({}))["connections_turned_away"], 3);
    // Another client has places of its own.
    let mut other = Client::of(connect_from([127, 0, 0, 2], tap.addr));
    other.send(get("mitm.it", "/"));
    assert!(is_served(&mut other));
    // A place that is left is free as soon as the proxy has seen that.
    clients.pop();
    let end = Instant::now() + DEADLINE;
    while !asking(&tap).head().starts_with("HTTP/1.1 200 ") {
        assert!(Instant::now() < end, "the place of a client that has gone stays taken");
    }
    let ended = tap.stop();
    assert_eq!(ended.stderr.matches("has as many connections").count(), 1, "{}", ended.stderr);
}

#[test]
fn a_client_that_is_turned_away_again_and_again_takes_nobody_elses_place() {
    let options = ["--set", "connections_per_client=2", "--set", "connections=8"];
    let tap = Setup::with_mcp().args(options).start();
    let mut agent = Agent::of(&tap);
    let mut clients: Vec<_> = (0..30).map(|_| asking(&tap)).collect();
    assert!(clients.iter_mut().take(2).all(is_served));
    let mut other = Client::of(connect_from([127, 0, 0, 2], tap.addr));
    other.send(get("mitm.it", "/"));
    assert!(is_served(&mut other));
    let status = agent.call("get_status", json!({}));
    let counts = (&status["connections_turned_away"], &status["accept_pauses"]);
    assert_eq!(counts, (&json!(28), &json!(0)));
}

/// A connection from this address.
fn connect_from(address: [u8; 4], to: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from((address, 0))).unwrap();
    connect(&socket, &to).unwrap();
    TcpStream::from(socket)
}

#[test]
fn clients_beyond_the_limit_of_open_files_wait() {
    let mut tap = Setup::proxy().args(["--loops", "2"]).with_open_files(64).start();
    let clients: Vec<_> = (0..60).map(|_| asking(&tap)).collect();
    let line = tap.err_line("warning: 28 sockets are open");
    assert!(line.contains("ulimit -n"), "{line}");
    // Of 64 descriptors half are kept, and an eighth of the rest.
    let (served, waiting) = clients.split_at(28);
    assert!(served.iter().all(|client| client.answers_within(DEADLINE)));
    let before = tap.cpu_time();
    assert!(!waiting[0].answers_within(WAITS));
    assert!(tap.cpu_time() - before < WAITS / 2, "it spins while clients wait");
    // Each that goes makes room for one that waits.
    for mut client in clients {
        assert!(is_served(&mut client));
    }
    assert!(is_served(&mut asking(&tap)));
    assert_eq!(tap.stop().stderr.matches("sockets are open").count(), 1);
}

#[test]
fn connections_to_the_mcp_port_leave_descriptors_to_all_else() {
    let tap = Setup::with_mcp().args(["--loops", "1"]).with_open_files(64).start();
    let _idle: Vec<_> = (0..60).map(|_| Client::connect(tap.mcp.unwrap())).collect();
    // Its place is that of one that is idle.
    let mut agent = Agent::of(&tap);
    let origin = Origin::answers(OK);
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect(tap.addr)).collect();
    for client in &mut clients {
        client.send(get(origin.addr, "/"));
    }
    for client in &mut clients {
        assert_eq!(client.response().1, b"ok");
    }
    assert_eq!(agent.call("get_status", json!({}))["accept_pauses"], 0);
    let stopped = tap.stop();
    assert_eq!(stopped.bundle.traces().len(), 10, "{}", stopped.stderr);
}

#[test]
fn a_server_for_which_no_descriptor_is_left_is_503() {
    let tap = Setup::proxy().args(["--loops", "1"]).with_open_files(48).start();
    let (go, origin) = Origin::answers_when_told(OK);
    let open_files = || fs::read_dir(format!("/proc/{}/fd", tap.pid())).unwrap().count();
    let before = open_files();
    let mut clients: Vec<_> = (0..21).map(|_| Client::connect(tap.addr)).collect();
    let request = get(origin.addr, "/~");
    let (begin, rest) = request.split_at(5);
    clients.iter_mut().for_each(|client| client.send(begin));
    // A client that comes when the servers of others have taken all would wait.
    let end = Instant::now() + DEADLINE;
    while open_files() < before + clients.len() {
        assert!(Instant::now() < end, "not all clients are taken");
    }
    clients.iter_mut().for_each(|client| client.send(rest));
    // Each has been refused, or has its server, which answers nobody before that.
    let is_refused = |client: &&mut Client| client.answers_within(SOON);
    // What several connections bring at once is seen in any order: a byte that each brings once.
    let asked = || origin.seen().matches('~').count();
    let end = Instant::now() + DEADLINE;
    while clients.iter_mut().filter(is_refused).count() + asked() < clients.len() {
        assert!(Instant::now() < end, "somebody is neither refused nor passed on");
    }
    let (refused, served): (Vec<_>, Vec<_>) = clients.iter_mut().partition(is_refused);
    // Of 48 descriptors half are kept: for the capture above all.
    assert_eq!((refused.len(), served.len()), (18, 3));
    for client in refused {
        let (head, body) = client.response();
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("open files"), "{body}");
    }
    (0..served.len()).for_each(|_| go.send(()).unwrap());
    for client in served {
        assert_eq!(client.response().1, b"ok");
    }
    // Those who were refused are served now: idle connections make room for others.
    for client in &mut clients {
        go.send(()).unwrap();
        client.send(get(origin.addr, "/"));
        assert_eq!(client.response().1, b"ok");
    }
    assert!(tap.stop().status.success());
}
