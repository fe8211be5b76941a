//! Peers that say one byte after the other, or take none: each wait has its end.

use std::time::Duration;

use super::{World, answers, exchanges, get};
use crate::limits::{LINGER_TIMEOUT, SILENT_CLIENT, UNDECIDED_CLIENT};
use crate::options::Options;
use crate::proxy::context::Command;
use crate::proxy::link::End;
use crate::proxy::simulation::{Reply, Script};

const SECOND: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_secs(10);
const CHUNKED: &str = "POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Who says one byte each second.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Client,
    Server,
    Nobody,
}

/// A world in which the wait of this option is ten seconds.
fn world(client: &str, server: Vec<Script>, option: &str) -> World {
    let mut world = World::new(1, client.as_bytes(), server);
    world.options.set(option, &WAIT.as_secs().into()).unwrap();
    world
}

impl World {
    /// Everything happens that can without time.
    fn settle(&mut self) {
        for _ in 0..400 {
            self.step();
            self.check();
        }
    }

    /// Lets one side say the bytes, one each second, for as long as a thousand seconds; the
    /// seconds after which the connection was closed.
    fn trickle(&mut self, who: Who, bytes: &[u8]) -> Option<u64> {
        self.settle();
        let began = self.now.instant;
        let mut bytes = bytes.iter().cycle();
        for second in 1..1_000 {
            let next = began + SECOND * second;
            for _ in 0..20 {
                let deadline = self.conn.deadline(&self.options);
                if self.client_closed.is_some() || deadline > next {
                    break;
                }
                self.advance_clock(deadline);
                self.with(|conn, cx| conn.time_out(cx));
                self.settle();
            }
            if self.client_closed.is_some() {
                return Some(self.now.instant.duration_since(began).as_secs());
            }
            self.advance_clock(next);
            let link = match who {
                Who::Client => &mut self.conn.client,
                Who::Server => &mut self.conn.upstream,
                Who::Nobody => continue,
            };
            if link.wants_input() {
                link.input.push(&[*bytes.next().unwrap()]);
                self.conn.heard(self.now);
                self.with(|_, _| ());
                self.settle();
            }
        }
        None
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.client_got).into_owned()
    }
}

/// A request behind which the connection ends.
fn last() -> String {
    get("/").replace("Host", "Connection: close\r\nHost")
}

/// A server that never says anything of its own.
fn silent() -> Vec<Script> {
    vec![Box::new(|_| Reply::default())]
}

/// A server that has said this.
fn begun(said: &'static str) -> Vec<Script> {
    vec![answers(Box::leak(Box::new([said])), None)]
}

#[test]
fn what_trickles_in_ends_with_the_wait_for_it() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let hello = "CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}";
    let (client, server) = (Who::Client, Who::Server);
    for (what, sent, servers, option, who, bytes, status) in [
        (
            "a head",
            "GET http://h/ HTTP/1.1\r\nX: ",
            silent(),
            "request_head_timeout",
            client,
            "a",
            "408",
        ),
        ("a request line", "G", silent(), "request_head_timeout", client, "a", "408"),
        ("a chunk's size", CHUNKED, silent(), "body_timeout", client, "0", "408"),
        ("an extension", &format!("{CHUNKED}1;"), silent(), "body_timeout", client, "a", "408"),
        ("trailers", &format!("{CHUNKED}0\r\nX: "), silent(), "body_timeout", client, "a", "408"),
        ("a ClientHello", hello, silent(), "handshake_timeout", client, "\0", "200"),
        (
            "a response's head",
            &last(),
            begun("HTTP/1.1 200 OK\r\nX: "),
            "response_timeout",
            server,
            "a",
            "504",
        ),
        ("a response's chunk", &last(), begun(head), "body_timeout", server, "0", "200"),
        // What comes meanwhile of the next request is no progress of this one.
        ("pipelined bytes", &last(), silent(), "response_timeout", client, "a", "504"),
        ("bytes behind an upload", &last(), begun(head), "body_timeout", client, "a", "200"),
    ] {
        let mut world = world(sent, servers, option);
        let seconds = world.trickle(who, bytes.as_bytes());
        assert!(matches!(seconds, Some(9..=14)), "{what}: {seconds:?} {}", world.text());
        let answered = world.text().starts_with(&format!("HTTP/1.1 {status} "));
        assert!(answered, "{what}: {}", world.text());
        if what != "a ClientHello" {
            let error = exchanges(&world).pop().and_then(|exchange| exchange.error);
            assert!(error.is_some_and(|error| error.contains(option)), "{what}");
        }
    }
}

#[test]
fn a_body_lives_as_long_as_it_goes_on() {
    let post = "POST http://h/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
                Content-Length: 100\r\n\r\n";
    let mut uploading = world(post, silent(), "body_timeout");
    uploading.options.set("response_timeout", &10.into()).unwrap();
    let seconds = uploading.trickle(Who::Client, b"x");
    assert!(matches!(seconds, Some(109..=114)), "{seconds:?}");
    assert!(uploading.text().starts_with("HTTP/1.1 504 "), "{}", uploading.text());
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n";
    let mut downloading = world(&last(), begun(head), "body_timeout");
    assert!(matches!(downloading.trickle(Who::Server, b"x"), Some(100..=104)));
    assert!(downloading.text().ends_with(&"x".repeat(100)));
}

#[test]
fn interim_responses_say_that_the_server_works() {
    let mut world = world(&last(), silent(), "response_timeout");
    let interim = b"HTTP/1.1 102 P\r\n\r\n";
    // One in 18 s is too few, two are not.
    assert!(matches!(world.trickle(Who::Server, interim), Some(9..=14)));
    let mut world = super::World::new(1, last().as_bytes(), silent());
    world.options.set("response_timeout", &19.into()).unwrap();
    let seconds = world.trickle(Who::Server, interim).unwrap();
    assert!(seconds > 16 * 18, "{seconds}");
    assert!(world.text().contains("HTTP/1.1 502 "), "and too many of them are no answer");
}

#[test]
fn a_client_that_takes_nothing_is_not_waited_for() {
    let large: &'static str = Box::leak(
        format!("HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n{}", "x".repeat(900_000)).into(),
    );
    for who in [Who::Nobody, Who::Client] {
        let mut world = world(&last(), begun(large), "body_timeout");
        world.client_reads = false;
        let seconds = world.trickle(who, b"a");
        assert!(matches!(seconds, Some(9..=11)), "{who:?}: {seconds:?}");
        assert!(matches!(world.client_closed, Some(Command::CutClient { .. })));
        let error = exchanges(&world).pop().and_then(|exchange| exchange.error).unwrap();
        assert!(error.contains("the client did not read"), "{error}");
    }
    // Nor is one that has its answers before it and reads none of them.
    let short: &[&str] = &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"; 3];
    let mut world = world(&get("/").repeat(3), vec![answers(short, None)], "idle_timeout");
    world.client_reads = false;
    assert!(matches!(world.trickle(Who::Nobody, b""), Some(9..=11)));
}

#[test]
fn a_server_that_takes_nothing_is_told_from_a_client_that_sends_nothing() {
    let post = "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n";
    let mut world = world(&(post.to_owned() + &"x".repeat(900_000)), silent(), "body_timeout");
    world.server_reads = false;
    assert!(matches!(world.trickle(Who::Nobody, b""), Some(9..=14)));
    let got = world.text();
    assert!(got.starts_with("HTTP/1.1 504 ") && got.contains("the server did not read"), "{got}");
}

#[test]
fn whoever_talks_on_after_its_refusal_is_heard_for_a_moment() {
    let mut world = world("bad\r\n\r\n", Vec::new(), "body_timeout");
    let seconds = world.trickle(Who::Client, b"a");
    assert!(seconds <= Some(LINGER_TIMEOUT.as_secs()), "{seconds:?}");
    assert!(world.text().starts_with("HTTP/1.1 400 "), "{}", world.text());
}

#[test]
fn a_tunnel_lives_as_long_as_somebody_speaks() {
    let connect = "CONNECT h:7 HTTP/1.1\r\nHost: h:7\r\n\r\n\0";
    for who in [Who::Client, Who::Server] {
        let mut world = world(connect, silent(), "tunnel_timeout");
        assert_eq!(world.trickle(who, b"x"), None, "{who:?}");
    }
    let mut world = world(connect, silent(), "tunnel_timeout");
    assert!(matches!(world.trickle(Who::Nobody, b""), Some(9..=11)));
    assert!(matches!(world.client_closed, Some(Command::CutClient { .. })));
}

#[test]
fn a_request_that_goes_out_again_has_as_long_to_get_its_connection_as_at_first() {
    let answer: &[&str] = &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"];
    let mut world = World::new(1, get("/").repeat(2).as_bytes(), vec![answers(answer, None)]);
    let (connect_timeout, handshake_timeout, body_timeout) = (WAIT, WAIT, WAIT);
    world.options = Options { connect_timeout, handshake_timeout, body_timeout, ..world.options };
    world.settle();
    assert!(world.peer.as_ref().is_some_and(|peer| peer.reused), "the second awaits its answer");
    world.advance_clock(world.now.instant + 10 * WAIT);
    world.with(|conn, _| conn.upstream_ended(End::Clean));
    assert!(world.pending_dial.is_some());
    assert!(world.conn.deadline(&world.options) >= world.now.instant + 2 * WAIT);
}

#[test]
fn the_net_below_a_dial_hangs_lower_than_its_own_limits() {
    let mut world = World::new(1, last().as_bytes(), Vec::new());
    world.options = Options { connect_timeout: SECOND * 1_000, ..world.options };
    let (client, now) = (last(), world.now);
    world.to_send.consume(client.len());
    world.conn.client.input.push(client.as_bytes());
    world.with(|_, _| ());
    assert!(world.pending_dial.is_some());
    assert!(world.conn.deadline(&world.options) > now.instant + SECOND * 1_000);
}

#[test]
fn a_client_that_is_slow_to_speak_is_told_that_its_server_cannot_be_reached() {
    let connect = "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n";
    let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    for (begun, leaves) in [(0, false), (8, false), (0, true), (8, true)] {
        let left: Script = Box::new(|_| Reply { sent: Vec::new(), ends: Some(End::Clean) });
        let servers = if leaves { vec![left] } else { Vec::new() };
        let (before, behind) = request.split_at(begun);
        let mut world = World::new(1, format!("{connect}{before}").as_bytes(), servers);
        world.settle();
        // It is silent for as long as one that waits for its server to speak.
        world.advance_clock(world.now.instant + SILENT_CLIENT);
        world.with(|conn, cx| conn.time_out(cx));
        world.settle();
        assert_eq!((world.dials, &world.client_closed), (1, &None), "{begun} {leaves}");
        world.conn.client.input.push(behind.as_bytes());
        world.with(|_, _| ());
        world.settle();
        assert_eq!(world.dials, 2, "{begun} {leaves}");
        let got = world.text();
        assert!(got.contains("HTTP/1.1 502 ") && got.contains("cannot connect"), "{got}");
    }
    // One that stays silent was waiting for it.
    let mut world = World::new(1, connect.as_bytes(), Vec::new());
    let seconds = world.trickle(Who::Nobody, b"");
    assert!(seconds <= Some(UNDECIDED_CLIENT.as_secs() + 1), "{seconds:?}");
    assert_eq!(world.client_closed, Some(Command::CloseClient));
}

#[test]
fn phases_are_those_of_the_final_response() {
    let post = "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n";
    let (expects, begun) = (format!("{post}Expect: 100-continue\r\n\r\n"), format!("{post}\r\n1"));
    let head = (Who::Server, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n");
    let (hints, welcome) = ("HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n");
    let (hints, welcome) = ((Who::Server, hints), (Who::Server, welcome));
    let (client, end) = (Who::Client, (Who::Server, "x"));
    for (what, sent, said, phases) in [
        ("no interim response", last(), vec![head, end], [0, 1, 1]),
        ("one before the answer", last(), vec![hints, head, end], [0, 2, 1]),
        ("two of them", last(), vec![hints, hints, head, end], [0, 3, 1]),
        (
            "one that asks for the body",
            expects,
            vec![welcome, (client, "12"), head, end],
            [2, 1, 1],
        ),
        ("an answer before the body's end", begun, vec![head, (client, "2"), end], [1, 0, 2]),
    ] {
        let mut world = world(&sent, silent(), "body_timeout");
        world.settle();
        for (who, said) in said {
            world.advance_clock(world.now.instant + SECOND);
            let conn = &mut world.conn;
            let link = if who == Who::Client { &mut conn.client } else { &mut conn.upstream };
            link.input.push(said.as_bytes());
            world.conn.heard(world.now);
            world.with(|_, _| ());
            world.settle();
        }
        let timing = exchanges(&world)[0].timing;
        let got = [timing.send_us, timing.wait_us, timing.receive_us];
        assert_eq!(got, phases.map(|seconds| seconds * 1_000_000), "{what}");
    }
}
