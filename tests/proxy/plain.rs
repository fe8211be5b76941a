//! Plain HTTP in absolute form.

use std::io::Read;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::support::bundle::fields;
use crate::support::client::{Client, End};
use crate::support::flowtap::Flowtap;
use crate::support::origin::Origin;
use crate::support::tls::test_ca;
use crate::support::{DEADLINE, get, read_head};

const HELLO: &str =
    "HTTP/1.1 200 OK\r\nX-b: 1\r\nx-A: 2\r\nX-b: 3\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn an_exchange_is_passed_on_and_captured() {
    let origin = Origin::answers(HELLO);
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    client.send(format!(
        "GET http://{to}/a?b HTTP/1.1\r\nHost: {to}\r\nX-z: 1\r\nProxy-Connection: x\r\n\r\n"
    ));
    assert!(client.head().contains("X-b: 1\r\nx-A: 2\r\nX-b: 3\r\n"));
    assert_eq!(client.take(5), b"hello");
    assert_eq!(origin.seen(), format!("GET /a?b HTTP/1.1\r\nHost: {to}\r\nX-z: 1\r\n\r\n"));
    let stopped = tap.stop();
    assert!(stopped.status.success(), "{}", stopped.stderr);
    let trace = stopped.bundle.only_trace();
    assert_eq!(trace["request"]["url"], format!("http://{to}/a?b"));
    assert_eq!(
        fields(&trace["request"]),
        [&format!("Host: {to}"), "X-z: 1", "Proxy-Connection: x"]
    );
    assert_eq!(fields(&trace["response"]), ["X-b: 1", "x-A: 2", "X-b: 3", "Content-Length: 5"]);
    assert_eq!(stopped.bundle.body(&trace, "response"), b"hello");
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_upstream_connection() {
    let origin = Origin::start(|_, stream| {
        loop {
            let head = read_head(stream);
            let Some(digit) = head.get(5).copied() else { break };
            stream.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n");
            stream.say(&[digit]);
        }
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(["/1", "/2", "/3"].map(|path| get(origin.addr, path)).concat());
    for digit in [b"1", b"2", b"3"] {
        client.head();
        assert_eq!(client.take(1), digit);
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(tap.stop().bundle.traces().len(), 3);
}

#[test]
fn one_client_connection_talks_to_several_origins() {
    let (one, two) = (Origin::answers(HELLO), Origin::answers(HELLO));
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    for origin in [&one, &two, &one] {
        client.send(get(origin.addr, "/"));
        assert_eq!(client.response().1, b"hello");
    }
    assert_eq!((one.connections(), two.connections()), (1, 1));
}

#[test]
fn hop_by_hop_fields_are_removed_and_the_rest_stays_in_order() {
    let origin = Origin::answers(
        "HTTP/1.1 200 Very  OK\r\nB: 1\r\nConnection: x-hop, Keep-Alive\r\nX-Hop: 1\r\n\
         Keep-Alive: timeout=5\r\na:  spaced \r\nProxy-Authenticate: Basic\r\n\
         Content-Length: 0\r\nb: 2\r\n\r\n",
    );
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    client.send(format!(
        "GET http://{to}/ HTTP/1.1\r\nZ: 1\r\nHost: {to}\r\nConnection: X-Private\r\n\
         x-private: 1\r\nKeep-Alive: 1\r\nProxy-Authorization: Basic eA==\r\nTE: trailers\r\n\
         z: 2\r\n\r\n"
    ));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200 Very  OK\r\nB: 1\r\n"), "{head}");
    for removed in ["X-Hop", "Keep-Alive: timeout"] {
        assert!(!head.contains(removed), "{removed} in {head}");
    }
    let order: Vec<_> = ["B: 1", "a:", "Content-Length: 0", "b: 2"]
        .iter()
        .map(|line| head.find(line).unwrap_or_else(|| panic!("no {line} in {head}")))
        .collect();
    assert!(order.is_sorted(), "{head}");
    let seen = origin.seen();
    for removed in ["x-private", "Keep-Alive: 1", "Proxy-Authorization", "X-Private"] {
        assert!(!seen.contains(removed), "{removed} in {seen}");
    }
    assert!(seen.starts_with("GET / HTTP/1.1\r\nZ: 1\r\nHost: "), "{seen}");
    // RFC 9110 section 10.1.4: what the proxy can take is its own to say.
    assert!(seen.ends_with("z: 2\r\nTE: trailers\r\nConnection: TE\r\n\r\n"), "{seen}");
    let trace = tap.stop().bundle.only_trace();
    assert!(fields(&trace["request"]).contains(&"Proxy-Authorization: Basic eA==".to_owned()));
}

// RFC 9112 section 3.2.2.
#[test]
fn the_target_wins_over_the_host_field() {
    let origin = Origin::answers(HELLO);
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let to = origin.addr;
    client.send(format!("GET http://{to}/ HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n"));
    client.response();
    assert_eq!(origin.seen(), format!("GET / HTTP/1.1\r\nHost: {to}\r\n\r\n"));
}

#[test]
fn an_absolute_https_target_is_asked_over_tls() {
    let origin = Origin::tls_answers(test_ca().server(&["localhost"]), HELLO);
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let to = format!("localhost:{}", origin.addr.port());
    client.send(format!("GET https://{to}/s HTTP/1.1\r\nHost: {to}\r\n\r\n"));
    assert_eq!(client.response().1, b"hello");
    let trace = tap.stop().bundle.only_trace();
    assert_eq!(trace["request"]["url"], format!("https://{to}/s"));
}

// RFC 9112 section 3.2.4.
#[test]
fn options_of_the_whole_server_is_asked_with_an_asterisk() {
    let origin = Origin::answers("HTTP/1.1 204 No Content\r\n\r\n");
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(format!("OPTIONS http://{0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.addr));
    assert!(client.head().starts_with("HTTP/1.1 204"));
    assert!(origin.seen().starts_with("OPTIONS * HTTP/1.1\r\n"), "{}", origin.seen());
    assert_eq!(tap.stop().bundle.traces().len(), 0, "OPTIONS requests are no traces");
}

#[test]
fn an_http_1_0_client_gets_no_chunks_and_a_close() {
    let origin = Origin::answers(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(format!("GET http://{}/ HTTP/1.0\r\n\r\n", origin.addr));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("chunked"), "{head}");
    assert_eq!(client.rest(), "abcde");
    assert!(origin.seen().contains(&format!("Host: {}\r\n", origin.addr)), "{}", origin.seen());
}

#[test]
fn an_http_1_0_client_keeps_its_connection_after_answers_of_the_proxy_itself() {
    let origin = Origin::start(|_, stream| {
        read_head(stream);
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    let hosts = [("mitm.it".to_owned(), "200"), (origin.addr.to_string(), "502")];
    for (host, status) in hosts.iter().chain(&hosts) {
        client.send(format!("GET http://{host}/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        let (head, _) = client.response();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains("\r\nConnection: keep-alive\r\n"), "{head}");
    }
    client.send(get("mitm.it", "/"));
    let (head, _) = client.response();
    assert!(!head.contains("Connection"), "{head}");
    client.send("GET http://mitm.it/ HTTP/1.0\r\n\r\n");
    let (head, _) = client.response();
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    assert_eq!(client.rest(), "");
}

#[test]
fn an_http_1_0_client_can_keep_its_connection() {
    let origin = Origin::answers(HELLO);
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    for _ in 0..2 {
        client.send(format!(
            "GET http://{}/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            origin.addr
        ));
        let (head, body) = client.response();
        assert!(head.to_lowercase().contains("connection: keep-alive\r\n"), "{head}");
        assert_eq!(body, b"hello");
    }
}

#[test]
fn an_http_1_0_origin_is_understood() {
    let origin = Origin::answers_and_closes("HTTP/1.0 200 OK\r\nX: 1\r\n\r\nto the end");
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\nConnection: close\r\n\r\n",
        origin.addr
    ));
    let rest = client.rest();
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.contains("to the end"), "{rest}");
    let bundle = tap.stop().bundle;
    let trace = bundle.only_trace();
    assert_eq!(trace["response"]["http_version"], "HTTP/1.0");
    assert!(trace["error"].is_null());
    assert_eq!(bundle.body(&trace, "response"), b"to the end");
}

#[test]
fn interim_responses_are_passed_on_one_by_one() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |_, stream| {
        read_head(stream);
        for _ in 0..2 {
            stream.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
            wait.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        }
        stream.say(HELLO.as_bytes());
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    for _ in 0..2 {
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a.css>"), "{head}");
        go.send(()).unwrap();
    }
    assert_eq!(client.response().1, b"hello");
    assert_eq!(tap.stop().bundle.only_trace()["response"]["status"], 200);
}

#[test]
fn expect_100_continue_is_the_origins_to_answer() {
    let origin = Origin::start(|_, stream| {
        let head = String::from_utf8(read_head(stream)).unwrap();
        if head.starts_with("POST /no ") {
            stream.say(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        stream.say(b"HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = [0; 4];
        std::io::Read::read_exact(stream, &mut body).unwrap();
        stream.say(HELLO.as_bytes());
    });
    let tap = Flowtap::start(&[]);
    let post = |path| {
        format!(
            "POST http://{0}{path} HTTP/1.1\r\nHost: {0}\r\nContent-Length: 4\r\n\
             Expect: 100-continue\r\n\r\n",
            origin.addr
        )
    };
    let mut client = Client::connect(tap.addr);
    client.send(post("/yes"));
    assert!(client.head().starts_with("HTTP/1.1 100 "));
    client.send("body");
    assert_eq!(client.response().1, b"hello");
    let mut client = Client::connect(tap.addr);
    client.send(post("/no"));
    assert!(client.head().starts_with("HTTP/1.1 417 "));
    let bundle = tap.stop().bundle;
    assert_eq!(bundle.body(&bundle.trace_of("/yes"), "request"), b"body");
    assert_eq!(bundle.trace_of("/no")["response"]["status"], 417);
}

#[test]
fn chunks_and_trailers_pass_both_ways_and_are_captured() {
    let request = "4\r\nques\r\n4\r\ntion\r\n0\r\nX-Sum: 1\r\n\r\n";
    let response = "6\r\nanswer\r\n0\r\nx-Check: 2\r\nX-Check: 3\r\n\r\n";
    let origin = Origin::start(move |_, stream| {
        read_head(stream);
        read_head(stream);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Check\r\n\r\n";
        stream.say(format!("{head}{response}").as_bytes());
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\
         Connection: TE\r\n\r\n{request}",
        origin.addr
    ));
    let head = client.head();
    assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
    let body = String::from_utf8(crate::support::read_head(&mut client.reader())).unwrap();
    assert!(body.contains("answer") && body.contains("x-Check: 2\r\nX-Check: 3\r\n"), "{body}");
    assert!(origin.seen().ends_with("0\r\nX-Sum: 1\r\n\r\n"), "{}", origin.seen());
    let bundle = tap.stop().bundle;
    let trace = bundle.only_trace();
    assert_eq!(bundle.body(&trace, "request"), b"question");
    assert_eq!(bundle.body(&trace, "response"), b"answer");
    assert_eq!(trace["request"]["trailers"][0]["name"], "X-Sum");
    assert_eq!(trace["response"]["trailers"][1]["value"], "3");
}

#[test]
fn responses_without_a_body_leave_the_connection_usable() {
    let origin = Origin::start(|_, stream| {
        loop {
            let head = String::from_utf8(read_head(stream)).unwrap();
            let reply = match head.split(' ').nth(1) {
                Some("/head") => "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
                Some("/204") => "HTTP/1.1 204 No Content\r\n\r\n",
                Some("/304") => "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
                Some(_) => HELLO,
                None => return,
            };
            stream.say(reply.as_bytes());
        }
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/head").replacen("GET", "HEAD", 1));
    assert!(client.head().contains("Content-Length: 99\r\n"));
    client.send(get(origin.addr, "/204"));
    assert!(client.head().starts_with("HTTP/1.1 204 "));
    client.send(get(origin.addr, "/304"));
    assert!(client.head().starts_with("HTTP/1.1 304 "));
    client.send(get(origin.addr, "/"));
    assert_eq!(client.response().1, b"hello");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_early_answer_arrives_although_the_request_is_not_over() {
    let origin = Origin::start(|_, stream| {
        read_head(stream);
        stream.say(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
    });
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(format!(
        "POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: 1000000\r\n\r\nstart",
        origin.addr
    ));
    let (head, body) = client.response();
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert_eq!(body, b"big");
    let trace = tap.stop().bundle.only_trace();
    assert_eq!(trace["response"]["status"], 413);
    assert_eq!(trace["error"], "the request's body was not sent on to its end");
}

#[test]
fn an_upload_goes_on_after_an_early_answer_whatever_becomes_of_the_connection() {
    const SIZE: usize = 300_000;
    for (version, connection) in [("1.1", "keep-alive"), ("1.1", "close"), ("1.0", "close")] {
        let (sender, taken) = channel();
        let sender = Mutex::new(sender);
        let origin = Origin::start(move |_, stream| {
            read_head(stream);
            stream.say(HELLO.as_bytes());
            let is_whole = stream.read_exact(&mut vec![0; SIZE]).is_ok();
            sender.lock().unwrap().send(is_whole).unwrap();
            stream.closed();
        });
        let tap = Flowtap::start(&[]);
        let mut client = Client::connect(tap.addr);
        client.send(format!(
            "POST http://{0}/ HTTP/{version}\r\nHost: {0}\r\nConnection: {connection}\r\n\
             Content-Length: {SIZE}\r\n\r\n",
            origin.addr
        ));
        assert_eq!(client.response().1, b"hello");
        client.send(vec![b'x'; SIZE]);
        assert_eq!(taken.recv_timeout(DEADLINE), Ok(true), "{version} {connection}");
        if connection == "close" {
            assert_eq!(client.ending(), (Vec::new(), End::Clean), "{version}");
        }
        let trace = tap.stop().bundle.only_trace();
        assert!(trace["error"].is_null(), "{trace}");
    }
}

#[test]
fn an_early_answer_of_a_server_that_leaves_announces_the_close() {
    let tap = Flowtap::start(&[]);
    for start in [
        "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n",
        "HTTP/1.0 413 Content Too Large\r\n",
    ] {
        let origin = Origin::answers_and_closes(format!("{start}Content-Length: 3\r\n\r\nbig"));
        let mut client = Client::connect(tap.addr);
        client.send(format!(
            "POST http://{0}/ HTTP/1.1\r\nHost: {0}\r\nContent-Length: 1000000\r\n\r\nstart",
            origin.addr
        ));
        let (head, body) = client.response();
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        assert_eq!(body, b"big");
        assert_eq!(client.rest(), "", "the connection ends");
    }
}

#[test]
fn an_empty_line_behind_a_request_is_not_the_beginning_of_another() {
    let origin = Origin::answers(HELLO);
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    for behind in ["\r\n", "\r\n\r\n", "\r\n\r"] {
        client.send(get(origin.addr, "/"));
        assert_eq!(client.response().1, b"hello");
        client.send(behind);
        if behind.ends_with('\r') {
            break;
        }
    }
    client.finish();
    assert_eq!(client.ending(), (Vec::new(), End::Clean));
    let traces = tap.stop().bundle.traces();
    assert_eq!(traces.len(), 3);
    assert!(traces.iter().all(|trace| trace["error"].is_null()), "{traces:?}");
}

#[test]
fn a_clients_half_close_after_a_whole_request_is_no_abort() {
    let origin = Origin::answers(HELLO);
    let tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    client.finish();
    assert!(client.rest().ends_with("hello"));
    assert!(tap.stop().bundle.only_trace()["error"].is_null());
}
