//! How connections end: what was cut is seen to be cut by whoever was to get the rest.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::process::Signal;
use rustls::ServerConnection;
use rustls::version::TLS12;

use crate::support::client::{Client, End};
use crate::support::flowtap::Flowtap;
use crate::support::origin::{Accepted, Origin};
use crate::support::tls::test_ca;
use crate::support::{DEADLINE, get, read_head};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const UNTIL_CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: other\r\n\r\n";
const UPGRADE: &str =
    "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n";

/// A channel whose sender scripts can share.
fn shared<T>() -> (Mutex<Sender<T>>, Receiver<T>) {
    let (sender, receiver) = channel();
    (Mutex::new(sender), receiver)
}

/// Waits until the proxy, which has one loop, has seen all that was sent to it before.
fn pass_by(tap: &Flowtap, other: &Origin) {
    let mut client = Client::connect(tap.addr);
    for _ in 0..5 {
        client.send(get(other.addr, "/"));
        assert_eq!(client.response().1, b"ok");
    }
}

/// An origin that sends all that there is room for and then resets the connection.
fn resetting() -> (Origin, Receiver<usize>) {
    let (sender, was_reset) = shared();
    let origin = Origin::start(move |_, stream| {
        read_head(stream);
        stream.say(UNTIL_CLOSE);
        let sent = stream.fill();
        stream.reset();
        sender.lock().unwrap().send(sent).unwrap();
    });
    (origin, was_reset)
}

/// Has a write of the proxy meet the server's reset before a read does.
fn write_after_reset(
    mut client: Client,
    tap: &Flowtap,
    was_reset: &Receiver<usize>,
) -> (usize, usize, End) {
    let other = Origin::answers(OK);
    let sent = was_reset.recv_timeout(DEADLINE).unwrap();
    client.send("more");
    pass_by(tap, &other);
    let (got, end) = client.ending();
    (got.len(), sent, end)
}

#[test]
fn a_reset_that_a_write_meets_first_cuts_the_response() {
    let (origin, was_reset) = resetting();
    let tap = Flowtap::start(&["--loops", "1"]);
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "POST http://{0}/cut HTTP/1.1\r\nHost: {0}\r\nContent-Length: 100000\r\n\r\nabc",
        origin.addr
    ));
    let (got, sent, end) = write_after_reset(client, &tap, &was_reset);
    assert_eq!(end, End::Cut, "{got} bytes of {sent}");
    let trace = tap.stop().bundle.trace_of("/cut");
    assert!(trace["error"].is_string(), "{trace}");
}

#[test]
fn a_reset_that_a_write_meets_first_cuts_the_tunnel() {
    let (origin, was_reset) = resetting();
    let tap = Flowtap::start(&["--loops", "1"]);
    let mut client = Client::connect(tap.addr);
    client.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.addr));
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    client.send(b"\0not HTTP\r\n\r\n");
    let (got, sent, end) = write_after_reset(client, &tap, &was_reset);
    assert_eq!(end, End::Cut, "{got} bytes of {sent}");
}

#[test]
fn a_cut_chunked_response_is_cut_for_an_http_1_0_client_too() {
    let origin = Origin::answers_and_closes(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    );
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(format!("GET http://{0}/ HTTP/1.0\r\nHost: {0}\r\n\r\n", origin.addr));
    let (got, end) = client.ending();
    assert_eq!(end, End::Cut, "{}", String::from_utf8_lossy(&got));
    let trace = tap.stop().bundle.only_trace();
    assert!(trace["error"].is_string(), "{trace}");
}

/// An origin that begins a response which has no length, and tells how its connection ended.
fn endless() -> (Origin, Receiver<End>) {
    let (sender, ended) = shared();
    let origin = Origin::start(move |_, stream| {
        read_head(stream);
        stream.say(&[UNTIL_CLOSE, b"part"].concat());
        sender.lock().unwrap().send(stream.ending()).unwrap();
    });
    (origin, ended)
}

#[test]
fn stopping_completes_no_response_whose_end_is_that_of_the_connection() {
    for signals in 1..=2 {
        let (origin, _ended) = endless();
        let mut tap = Flowtap::start(&[]);
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, "/"));
        client.head();
        assert_eq!(client.take(4), b"part");
        tap.signal(Signal::INT);
        tap.err_line("stopping");
        if signals == 2 {
            tap.signal(Signal::INT);
        }
        assert_eq!(client.ending(), (Vec::new(), End::Cut), "{signals} signals");
        let trace = tap.finish().bundle.only_trace();
        assert!(trace["error"].is_string(), "{trace}");
    }
}

#[test]
fn stopping_cuts_tunnels_on_both_sides() {
    let (origin, ended) = endless();
    let tap = Flowtap::start(&[]);
    let mut client = Client::tunnel(tap.addr, origin.addr);
    client.send(b"\0not HTTP\r\n\r\n");
    client.head();
    assert_eq!(client.take(4), b"part");
    tap.signal(Signal::INT);
    assert_eq!(client.ending(), (Vec::new(), End::Cut));
    assert_eq!(ended.recv_timeout(DEADLINE).unwrap(), End::Cut);
}

#[test]
fn a_reset_by_the_client_of_a_tunnel_is_no_end_to_the_server() {
    let (sender, ended) = shared();
    let origin = Origin::start(move |_, stream| {
        sender.lock().unwrap().send(stream.ending()).unwrap();
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::tunnel(tap.addr, origin.addr);
    client.send(b"\0half an upload");
    origin.wait_for(b"half an upload");
    client.reset();
    assert_eq!(ended.recv_timeout(DEADLINE).unwrap(), End::Cut);
}

/// An origin that switches protocols inside TLS, says `after` and then does `what`.
fn switching<T: Send + 'static>(
    after: &'static [u8],
    what: impl Fn(&mut Accepted) -> T + Send + Sync + 'static,
) -> (Origin, Receiver<T>) {
    let (sender, done) = shared();
    let origin = Origin::tls(test_ca().server(&["localhost"]), move |_, stream| {
        read_head(stream);
        stream.say(&[SWITCH, after].concat());
        sender.lock().unwrap().send(what(stream)).unwrap();
    });
    (origin, done)
}

fn switched(tap: &Flowtap, origin: &Origin) -> Client {
    let mut client = Client::tls(tap, "localhost", origin.addr.port());
    client.send(UPGRADE);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client
}

#[test]
fn a_cut_by_the_client_is_not_sent_to_the_server_as_close_notify() {
    // In TCP alone `finish` is an end; inside TLS it lacks close_notify.
    for reset in [true, false] {
        let (origin, ended) = switching(b"", Accepted::ending);
        let tap = Flowtap::start(&[]);
        let mut client = switched(&tap, &origin);
        client.send("half an upload");
        origin.wait_for(b"half an upload");
        if reset {
            client.reset();
        } else {
            client.finish();
        }
        assert_eq!(ended.recv_timeout(DEADLINE).unwrap(), End::Cut, "reset: {reset}");
    }
}

#[test]
fn close_notify_of_either_side_is_passed_on() {
    let (origin, ended) = switching(b"all", Accepted::ending);
    let tap = Flowtap::start(&[]);
    let mut client = switched(&tap, &origin);
    client.end_tls();
    assert_eq!(ended.recv_timeout(DEADLINE).unwrap(), End::Clean);
    assert_eq!(client.ending(), (b"all".to_vec(), End::Clean));
}

#[test]
fn an_end_of_the_server_without_close_notify_is_none_to_the_client() {
    let (origin, _done) = switching(b"partial", |stream| stream.finish());
    let tap = Flowtap::start(&[]);
    let mut client = switched(&tap, &origin);
    assert_eq!(client.ending(), (b"partial".to_vec(), End::Cut));
}

/// Says close_notify in the segment that ends the server's handshake.
fn finish_and_leave(stream: &mut Accepted) {
    let config = test_ca().server_of(&[&TLS12], &["localhost"], |_| ());
    let mut tls = ServerConnection::new(config).unwrap();
    while tls.is_handshaking() {
        tls.read_tls(stream).unwrap();
        tls.process_new_packets().unwrap();
        if !tls.is_handshaking() {
            tls.send_close_notify();
        }
        let mut segment = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut segment).unwrap();
        }
        stream.write_all(&segment).unwrap();
    }
    stream.finish();
    stream.closed();
}

#[test]
fn a_server_that_leaves_with_the_end_of_its_handshake_is_seen_to_leave() {
    let origin = Origin::start(|_, stream| finish_and_leave(stream));
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let to = format!("localhost:{}", origin.addr.port());
    client.send(format!("GET https://{to}/ HTTP/1.1\r\nHost: {to}\r\n\r\n"));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    let trace = tap.stop().bundle.only_trace();
    assert!(trace["error"].is_string(), "{trace}");
}

// RFC 9112 section 9.6.
#[test]
fn a_request_after_the_last_answer_does_not_destroy_it() {
    const SIZE: usize = 200_000;
    let other = Origin::answers(OK);
    let origin = Origin::answers_and_closes([UNTIL_CLOSE.to_vec(), vec![b'a'; SIZE]].concat());
    let tap = Flowtap::start(&["--loops", "1"]);
    for _ in 0..5 {
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, "/"));
        client.head();
        pass_by(&tap, &other);
        client.try_send(get(origin.addr, "/late"));
        pass_by(&tap, &other);
        let mut body = Vec::new();
        let _ = client.reader().read_to_end(&mut body);
        assert_eq!(body.len(), SIZE);
    }
}
