//! Upstream connections are used again, and a stale one costs no idempotent request.

use std::sync::mpsc::channel;

use crate::support::client::Client;
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::tls::test_ca;
use crate::support::{DEADLINE, get, read_head};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn clients_share_upstream_connections() {
    let origin = Origin::answers(OK);
    let tap = Flowtap::start(&["--loops", "1"]);
    for _ in 0..3 {
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, "/"));
        assert_eq!(client.response().1, b"ok");
    }
    assert_eq!(origin.connections(), 1);
    let traces = tap.stop().bundle.traces();
    let reused: Vec<_> = traces.iter().map(|t| t["server"]["reused"].as_bool().unwrap()).collect();
    assert_eq!(reused, [false, true, true]);
    assert_eq!(traces[2]["timing"]["connect_ms"], 0);
}

#[test]
fn tls_connections_are_shared_by_clients_of_one_name_only() {
    let origin = Origin::tls_answers(test_ca().server(&["localhost", "127.0.0.1"]), OK);
    let tap = Flowtap::start(&["--loops", "1"]);
    for (name, connections) in [("localhost", 1), ("localhost", 1), ("127.0.0.1", 2)] {
        let mut client = Client::tls(&tap, name, origin.addr.port());
        client.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n"));
        assert_eq!(client.response().1, b"ok");
        assert_eq!(origin.connections(), connections, "{name}");
    }
}

#[test]
fn a_connection_that_the_server_ends_is_not_used_again() {
    for reply in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let origin = Origin::answers(reply);
        let tap = Flowtap::start(&["--loops", "1"]);
        let mut client = Client::connect(tap.addr);
        for _ in 0..2 {
            client.send(get(origin.addr, "/"));
            assert_eq!(client.response().1, b"ok");
        }
        assert_eq!(origin.connections(), 2, "{reply:?}");
    }
}

/// Answers one request, and leaves when the next one comes.
fn leaves_at_the_second_request(resets: bool) -> Origin {
    Origin::start(move |number, stream| {
        for served in 0.. {
            if !read_head(stream).ends_with(b"\r\n\r\n") {
                return;
            }
            if number == 0 && served == 1 {
                if resets {
                    stream.reset();
                }
                return;
            }
            stream.say(OK.as_bytes());
        }
    })
}

#[test]
fn an_idempotent_request_on_a_stale_connection_is_sent_again_once() {
    for (method, resets) in
        [("GET", false), ("GET", true), ("PUT", false), ("DELETE", false), ("OPTIONS", true)]
    {
        let origin = leaves_at_the_second_request(resets);
        let tap = Flowtap::start(&["--loops", "1"]);
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, "/1"));
        client.response();
        client.send(get(origin.addr, "/2").replacen("GET", method, 1));
        let (head, _) = client.response();
        assert!(head.starts_with("HTTP/1.1 200 "), "{method} {resets}: {head}");
        let seen = origin.seen().matches(&format!("{method} /2 ")).count();
        assert_eq!((seen, origin.connections()), (2, 2), "{method} {resets}");
    }
}

#[test]
fn a_post_on_a_stale_connection_is_not_sent_again() {
    let origin = leaves_at_the_second_request(false);
    let tap = Flowtap::start(&["--loops", "1"]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/1"));
    client.response();
    client.send(format!(
        "POST http://{0}/2 HTTP/1.1\r\nHost: {0}\r\nContent-Length: 1\r\n\r\nx",
        origin.addr
    ));
    let (head, _) = client.response();
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert_eq!(origin.seen().matches("POST /2 ").count(), 1);
}

/// A request that cannot be sent again must not meet the server's own end of the connection.
#[test]
fn a_connection_is_given_up_before_the_time_that_its_server_states() {
    let (sender, ends) = channel();
    let origin = Origin::start(move |number, stream| {
        for stated in ["timeout=30, max=9", "Timeout=1"] {
            if !read_head(stream).ends_with(b"\r\n\r\n") {
                break;
            }
            stream.say(
                format!("HTTP/1.1 200 OK\r\nKeep-Alive: {stated}\r\nContent-Length: 0\r\n\r\n")
                    .as_bytes(),
            );
        }
        // It never closes by itself.
        let after = read_head(stream);
        let _ = sender.send((number, after));
    });
    let tap = Flowtap::start(&["--loops", "1"]);
    let mut client = Client::connect(tap.addr);
    for path in ["/1", "/2"] {
        client.send(get(origin.addr, path));
        assert!(client.response().0.starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(ends.recv_timeout(DEADLINE).unwrap(), (0, Vec::new()));
    client.send(format!(
        "POST http://{0}/3 HTTP/1.1\r\nHost: {0}\r\nContent-Length: 1\r\n\r\nx",
        origin.addr
    ));
    assert!(client.response().0.starts_with("HTTP/1.1 200 "));
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_request_on_a_fresh_connection_is_not_sent_again() {
    let origin = Origin::start(|_, stream| {
        read_head(stream);
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    assert!(client.response().0.starts_with("HTTP/1.1 502 "));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_request_is_sent_again_only_once() {
    let origin = Origin::start(|number, stream| {
        read_head(stream);
        if number == 0 {
            stream.say(OK.as_bytes());
            read_head(stream);
        }
    });
    let tap = Flowtap::start(&["--loops", "1"]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/1"));
    client.response();
    client.send(get(origin.addr, "/2"));
    assert!(client.response().0.starts_with("HTTP/1.1 502 "));
    assert_eq!(origin.seen().matches("GET /2 ").count(), 2);
}

/// Takes whoever has logged a connection in for that user from then on, as NTLM does.
fn logs_connections_in() -> Origin {
    Origin::start(|_, stream| {
        let (mut challenged, mut user) = (false, None);
        loop {
            let head = String::from_utf8(read_head(stream)).unwrap();
            if !head.ends_with("\r\n\r\n") {
                return;
            }
            let shown = head.lines().find_map(|line| line.strip_prefix("Authorization: NTLM "));
            let challenge = match shown {
                Some("hello") => {
                    challenged = true;
                    "NTLM challenge"
                }
                Some(name) if challenged => {
                    user = Some(name.to_owned());
                    ""
                }
                _ => "Basic realm=\"a, b\", NTLM",
            };
            let (status, name) = match &user {
                Some(name) => ("200 OK", name.as_str()),
                None => ("401 Unauthorized", ""),
            };
            let fields = format!("WWW-Authenticate: {challenge}\r\nContent-Length: {}", name.len());
            stream.say(format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n{name}").as_bytes());
        }
    })
}

/// Sends a request, with these credentials if there are any; the status and the user's name.
fn asks(client: &mut Client, origin: &Origin, credentials: &str) -> (u16, String) {
    let field = match credentials {
        "" => String::new(),
        credentials => format!("\r\nAuthorization: {credentials}"),
    };
    let addr = origin.addr;
    client.send(format!("GET http://{addr}/ HTTP/1.1\r\nHost: {addr}{field}\r\n\r\n"));
    let (head, body) = client.response();
    (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
}

#[test]
fn a_login_that_is_bound_to_a_connection_is_its_clients_alone() {
    for options in [&["--loops", "1"][..], &["--loops", "1", "--set", "pooled_connections=0"]] {
        let (origin, other) = (logs_connections_in(), Origin::answers(OK));
        let tap = Flowtap::start(options);
        let (mut one, mut two) = (Client::connect(tap.addr), Client::connect(tap.addr));
        let nobody = (401, String::new());
        for credentials in ["", "NTLM hello"] {
            assert_eq!(asks(&mut one, &origin, credentials), nobody);
            // Nobody comes in between.
            assert_eq!(asks(&mut two, &origin, credentials), nobody);
        }
        assert_eq!(asks(&mut one, &origin, "NTLM one"), (200, "one".to_owned()));
        assert_eq!(asks(&mut two, &origin, ""), nobody);
        assert_eq!(asks(&mut Client::connect(tap.addr), &origin, ""), nobody);
        assert_eq!(asks(&mut two, &origin, "NTLM two"), (200, "two".to_owned()));
        // It stays logged in, whatever else it asks for meanwhile.
        one.send(get(other.addr, "/"));
        one.response();
        for _ in 0..2 {
            assert_eq!(asks(&mut one, &origin, ""), (200, "one".to_owned()));
            assert_eq!(asks(&mut two, &origin, ""), (200, "two".to_owned()));
        }
        assert_eq!(origin.connections(), 3, "{options:?}");
    }
}

#[test]
fn a_login_goes_with_the_client_that_it_belongs_to() {
    let (ended, end) = std::sync::mpsc::channel();
    let ended = std::sync::Mutex::new(ended);
    let origin = Origin::start(move |number, stream| {
        while read_head(stream).ends_with(b"\r\n\r\n") {
            stream.say(OK.as_bytes());
        }
        ended.lock().unwrap().send(number).unwrap();
    });
    let tap = Flowtap::start(&["--loops", "1"]);
    for (number, scheme) in ["NTLM", "negotiate"].into_iter().enumerate() {
        let mut client = Client::connect(tap.addr);
        assert_eq!(asks(&mut client, &origin, &format!("{scheme} YII=")).0, 200);
        assert_eq!(end.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty));
        drop(client);
        // Sooner than an idle connection is closed.
        assert_eq!(end.recv_timeout(DEADLINE), Ok(number));
    }
    for scheme in ["Basic", "Bearer", "Digest", "NTLMX"] {
        let mut client = Client::connect(tap.addr);
        assert_eq!(asks(&mut client, &origin, &format!("{scheme} YII=")).0, 200);
        assert_eq!(origin.connections(), 3, "others are shared: {scheme}");
    }
}
