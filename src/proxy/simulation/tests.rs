//! The cases that are simulated, each under many seeds.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Reply, Script, World};
use crate::capture::entry::take_ended;
use crate::flow::record::{Exchange, FlowEvent};
use crate::limits::{BODY_TIMEOUT, EMPTY_LINES, KEEP_ALIVE_TIMEOUT, RESPONSE_TIMEOUT};
use crate::proxy::context::Command;
use crate::proxy::link::End;

mod held;
mod released;
mod replay;
mod waits;

const SEEDS: u64 = 256;

fn exchanges(world: &World) -> Vec<Exchange> {
    let exchange = |event: &'_ FlowEvent| match event {
        FlowEvent::Exchange(ended) => Some(take_ended(ended).unwrap()),
        _ => None,
    };
    world.events.iter().filter_map(exchange).collect()
}

/// A server that answers each request head, `\r\n\r\n` at its end, with the next of `answers`.
fn answers(answers: &'static [&'static str], ends: Option<End>) -> Script {
    Box::new(move |got| {
        let requests = got.windows(4).filter(|window| *window == b"\r\n\r\n").count();
        let sent: String = answers.iter().take(requests).copied().collect();
        let ends = ends.clone().filter(|_| requests >= answers.len());
        Reply { sent: sent.into_bytes(), ends }
    })
}

fn get(path: &str) -> String {
    format!("GET http://h{path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_upstream_connection() {
    let requests = get("/1") + &get("/2") + &get("/3");
    let replies: &[&str] = &[
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ];
    for seed in 0..SEEDS {
        let script = answers(replies, None);
        let world = World::new(seed, requests.as_bytes(), vec![script]).client_ends().run();
        let got = String::from_utf8(world.client_got.clone()).unwrap();
        assert_eq!(got, replies.concat(), "seed {seed}");
        assert_eq!(world.client_closed, Some(Command::CloseClient));
        let exchanges = exchanges(&world);
        assert_eq!(exchanges.len(), 3);
        assert!(exchanges.iter().all(|it| it.error.is_none()));
        let bodies: Vec<_> =
            exchanges.iter().map(|it| it.response.as_ref().unwrap().body.tail.clone()).collect();
        assert_eq!(bodies, ["one", "two", ""]);
    }
}

#[test]
fn bodies_of_any_size_pass_both_ways_whole() {
    for seed in 0..48 {
        let size = usize::try_from(seed).unwrap() * 9_001;
        let body: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
        let mut request =
            format!("PUT http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n")
                .into_bytes();
        request.extend_from_slice(&body);
        let script: Script = Box::new(move |got| {
            let head = got.windows(4).position(|window| window == b"\r\n\r\n");
            let body = head.map(|end| &got[end + 4..]).unwrap_or_default();
            let mut sent =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").into_bytes();
            sent.extend_from_slice(body);
            if head.is_none() {
                sent.clear();
            }
            Reply { sent, ends: None }
        });
        let world = World::new(seed, &request, vec![script]).client_ends().run();
        assert!(world.client_got.ends_with(&body), "seed {seed}");
        let exchange = &exchanges(&world)[0];
        let sizes = (exchange.request.body.size, exchange.response.as_ref().unwrap().body.size);
        assert_eq!(sizes, (size as u64, size as u64));
        assert_eq!(exchange.request.body.captured(), size as u64);
    }
}

#[test]
fn a_response_that_is_cut_is_never_completed() {
    let cases: [(&'static [&'static str], End); 4] = [
        (&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"], End::Clean),
        (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"], End::Clean),
        (&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"], End::Cut("reset".to_owned())),
        (&["HTTP/1.1 200 OK\r\n\r\nshort"], End::Cut("reset".to_owned())),
    ];
    for seed in 0..SEEDS {
        for (replies, end) in &cases {
            let script = answers(replies, Some(end.clone()));
            let world = World::new(seed, get("/").as_bytes(), vec![script]).run();
            let got = String::from_utf8(world.client_got.clone()).unwrap();
            assert!(got.ends_with("short") || got.ends_with("short\r\n"), "{got}");
            assert!(matches!(world.client_closed, Some(Command::CutClient { .. })), "seed {seed}");
            let exchange = &exchanges(&world)[0];
            assert!(exchange.error.is_some());
            assert_eq!(exchange.response.as_ref().unwrap().body.tail, "short");
        }
    }
}

#[test]
fn a_response_beyond_body_size_limit_is_never_completed() {
    const LIMIT: usize = 10;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nyyyyy\r\n6\r\nyyyyyy\r\n0\r\n\r\n";
    let until_close = "HTTP/1.1 200 OK\r\n\r\nyyyyyyyyyyy";
    let old = "GET http://h/ HTTP/1.0\r\n\r\n".to_owned();
    let cases = [(get("/"), chunked, false), (get("/"), until_close, true), (old, chunked, true)];
    for seed in 0..SEEDS {
        for (request, reply, reset) in &cases {
            let server: Script = Box::new(|got| Reply {
                sent: if got.is_empty() { Vec::new() } else { reply.as_bytes().to_vec() },
                ends: Some(End::Clean).filter(|_| !got.is_empty()),
            });
            let mut world = World::new(seed, request.as_bytes(), vec![server]);
            world.options.body_size_limit = Some(LIMIT as u64);
            world.server_splits = seed % 2 == 0;
            let world = world.run();
            let got = String::from_utf8(world.client_got.clone()).unwrap();
            let (head, body) = got.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "seed {seed}: {got}");
            assert!(body.matches('y').count() <= LIMIT, "seed {seed}: {got}");
            assert!(!body.contains("0\r\n"), "seed {seed}: {got}");
            let cut = Command::CutClient { reset: *reset };
            assert_eq!(world.client_closed, Some(cut), "seed {seed}: {got}");
            let error = exchanges(&world)[0].error.clone().unwrap();
            assert!(error.contains("body_size_limit"), "{error}");
        }
    }
}

#[test]
fn a_request_beyond_body_size_limit_is_never_completed() {
    let upload = "POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                  5\r\nyyyyy\r\n6\r\nyyyyyy\r\n0\r\n\r\n";
    for seed in 0..SEEDS {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let record = seen.clone();
        let server: Script = Box::new(move |got| {
            *record.borrow_mut() = got.to_vec();
            Reply::default()
        });
        let mut world = World::new(seed, upload.as_bytes(), vec![server]);
        world.options.body_size_limit = Some(10);
        let world = world.run();
        let got = String::from_utf8(world.client_got.clone()).unwrap();
        assert!(got.starts_with("HTTP/1.1 413 "), "seed {seed}: {got}");
        let seen = String::from_utf8(seen.take()).unwrap();
        let body = seen.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let whole = body.matches('y').count() > 10 || body.contains("0\r\n");
        assert!(!whole, "seed {seed}: {seen}");
    }
}

#[test]
fn nothing_of_a_second_message_is_taken_for_the_first() {
    let replies: &[&str] =
        &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nEVIL"];
    let second: &[&str] = &["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"];
    for seed in 0..SEEDS {
        let scripts = vec![answers(replies, None), answers(second, None)];
        let requests = get("/1") + &get("/2");
        let world = World::new(seed, requests.as_bytes(), scripts).client_ends();
        let world = world.server_at_once().run();
        let got = String::from_utf8(world.client_got.clone()).unwrap();
        assert!(!got.contains("EVIL") && got.ends_with("good"), "seed {seed}: {got}");
        assert_eq!(world.dials, 2);
    }
}

#[test]
fn a_request_on_a_stale_connection_is_sent_again_only_when_that_is_safe() {
    let first: &[&str] = &["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"];
    let second: &[&str] = &["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"];
    // The server ends the connection as soon as it sees a second request on it.
    let stale = || -> Script {
        Box::new(move |got| {
            let requests = got.windows(4).filter(|window| *window == b"\r\n\r\n").count();
            let sent = if requests > 0 { first[0].as_bytes().to_vec() } else { Vec::new() };
            Reply { sent, ends: (requests > 1).then_some(End::Clean) }
        })
    };
    let post = "POST http://h/2 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
    for seed in 0..SEEDS {
        let requests = get("/1") + &get("/2");
        let scripts = vec![stale(), answers(second, None)];
        let world = World::new(seed, requests.as_bytes(), scripts).client_ends().run();
        let got = String::from_utf8(world.client_got.clone()).unwrap();
        assert_eq!(got, [first[0], second[0]].concat(), "seed {seed}");
        assert_eq!((world.dials, exchanges(&world).len()), (3, 2));

        let requests = get("/1") + post;
        let scripts = vec![stale(), answers(second, None)];
        let world = World::new(seed, requests.as_bytes(), scripts).client_ends().run();
        let got = String::from_utf8(world.client_got.clone()).unwrap();
        assert!(got.starts_with(first[0]) && got.contains("502 Bad Gateway"), "{got}");
        assert_eq!(world.dials, 2);
    }
}

#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    let bad = [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length : 3\r\n",
        "X: a\r\n folded\r\n",
        "X: a\nY: b\r\n",
        "X: a\0b\r\n",
    ];
    for seed in 0..32 {
        for fields in bad {
            let request = format!("POST http://h/ HTTP/1.1\r\nHost: h\r\n{fields}\r\nabcd");
            let world = World::new(seed, request.as_bytes(), Vec::new()).client_ends().run();
            let got = String::from_utf8(world.client_got.clone()).unwrap();
            assert!(got.starts_with("HTTP/1.1 400 "), "{fields:?}: {got}");
            assert_eq!((world.dials, got.matches("HTTP/1.1").count()), (0, 1));
            assert!(exchanges(&world)[0].error.is_some());

            let response = format!("HTTP/1.1 200 OK\r\n{fields}\r\nabcd");
            let script: Script = Box::new(move |got| Reply {
                sent: if got.is_empty() { Vec::new() } else { response.clone().into_bytes() },
                ends: None,
            });
            let world = World::new(seed, get("/").as_bytes(), vec![script]).client_ends().run();
            let got = String::from_utf8(world.client_got.clone()).unwrap();
            assert!(got.starts_with("HTTP/1.1 502 "), "{fields:?}: {got}");
        }
    }
}

#[test]
fn interim_responses_pass_and_do_not_answer() {
    let replies: &[&str] = &["HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\
                              \r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"];
    for seed in 0..SEEDS {
        let world = World::new(seed, get("/").as_bytes(), vec![answers(replies, None)]);
        let world = world.client_ends().run();
        assert_eq!(String::from_utf8(world.client_got.clone()).unwrap(), replies[0]);

        let old = "GET http://h/ HTTP/1.0\r\n\r\n";
        let world = World::new(seed, old.as_bytes(), vec![answers(replies, None)]).run();
        let got = String::from_utf8(world.client_got.clone()).unwrap();
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("ok"), "{got}");
        assert!(got.contains("Connection: close\r\n"));
    }
}

#[test]
fn an_http_1_0_client_gets_a_chunked_body_without_the_chunks() {
    let replies: &[&str] = &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n\
                              3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"];
    for seed in 0..SEEDS {
        let old = "GET http://h/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        let world = World::new(seed, old.as_bytes(), vec![answers(replies, None)]).run();
        let got = String::from_utf8(world.client_got.clone()).unwrap();
        assert!(got.ends_with("\r\n\r\nabcde"), "{got}");
        assert!(!got.contains("chunked") && got.contains("Connection: close"));
        assert_eq!(world.client_closed, Some(Command::CloseClient));
    }
}

#[test]
fn a_tunnel_relays_what_the_server_says_first() {
    let client = "CONNECT h:25 HTTP/1.1\r\nHost: h:25\r\n\r\n";
    for seed in 0..SEEDS {
        let banner: Script =
            Box::new(|_| Reply { sent: b"220 hello\r\n".to_vec(), ends: Some(End::Clean) });
        let world = World::new(seed, client.as_bytes(), vec![banner]).run();
        let got = String::from_utf8(world.client_got.clone()).unwrap();
        assert_eq!(got, "HTTP/1.1 200 Connection established\r\n\r\n220 hello\r\n", "seed {seed}");
        assert!(world.events.is_empty());
    }
}

#[test]
fn other_protocols_in_a_tunnel_pass_byte_for_byte() {
    let client = "CONNECT h:7 HTTP/1.1\r\nHost: h:7\r\n\r\nEHLO me\r\nDATA \0\u{1}\r\n";
    for seed in 0..SEEDS {
        let echo: Script = Box::new(|got| Reply { sent: got.to_vec(), ends: None });
        let world = World::new(seed, client.as_bytes(), vec![echo]).run();
        let got = String::from_utf8(world.client_got.clone()).unwrap();
        assert!(got.ends_with("\r\n\r\nEHLO me\r\nDATA \0\u{1}\r\n"), "seed {seed}: {got:?}");
    }
}

#[test]
fn plain_http_in_a_tunnel_is_captured() {
    let client = "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n";
    let replies: &[&str] = &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"];
    for seed in 0..SEEDS {
        let script = answers(replies, None);
        let world = World::new(seed, client.as_bytes(), vec![script]).client_ends().run();
        let got = String::from_utf8(world.client_got.clone()).unwrap();
        assert!(got.ends_with(replies[0]), "seed {seed}: {got}");
        let exchange = &exchanges(&world)[0];
        assert_eq!(exchange.target.as_ref().unwrap().port, 80);
    }
}

#[test]
fn whoever_keeps_the_proxy_waiting_is_not_waited_for() {
    let silent = || -> Vec<Script> { vec![Box::new(|_| Reply::default())] };
    let stalled = || -> Vec<Script> {
        let sent = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort".to_vec();
        vec![Box::new(move |_| Reply { sent: sent.clone(), ends: None })]
    };
    let post = "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nshort";
    let close = get("/").replace("Host", "Connection: close\r\nHost");
    let cases: [(&str, Vec<Script>, &str, Command); 4] = [
        ("GET http://h/ HT", Vec::new(), "HTTP/1.1 408 ", Command::CloseClient),
        (post, silent(), "HTTP/1.1 408 ", Command::CloseClient),
        (&close, silent(), "HTTP/1.1 504 ", Command::CloseClient),
        (&close, stalled(), "HTTP/1.1 200 ", Command::CutClient { reset: false }),
    ];
    let patience = BODY_TIMEOUT.max(RESPONSE_TIMEOUT).max(KEEP_ALIVE_TIMEOUT);
    for (client, servers, answer, closed) in cases {
        let world = World::new(1, client.as_bytes(), servers).patient(patience).run();
        let got = String::from_utf8(world.client_got.clone()).unwrap();
        assert!(got.starts_with(answer), "{client}: {got}");
        assert_eq!(world.client_closed, Some(closed), "{client}");
        assert!(exchanges(&world)[0].error.is_some(), "{client}");
    }
    let world = World::new(1, b"", Vec::new()).patient(patience).run();
    assert_eq!((world.client_closed, world.client_got.len()), (Some(Command::CloseClient), 0));
}

#[test]
fn what_was_cut_stays_so_when_the_proxy_stops() {
    let cut = Some(Command::CutClient { reset: true });
    for seed in 0..SEEDS {
        let script = answers(&["HTTP/1.1 200 OK\r\n\r\nshort"], Some(End::Cut("reset".to_owned())));
        let mut world = World::new(seed, get("/").as_bytes(), vec![script]).run();
        assert_eq!(world.client_closed, cut, "seed {seed}");
        // The client has not read all when the time is over for everybody.
        world.with(|conn, cx| conn.stop(cx));
        world.with(|conn, cx| conn.kill("the proxy was stopped", cx));
        assert_eq!((&world.client_closed, exchanges(&world).len()), (&cut, 1), "seed {seed}");
    }
}

#[test]
fn empty_lines_between_requests_are_nobodys_request() {
    let replies: &[&str] = &["HTTP/1.1 204 No Content\r\n\r\n"; 2];
    for seed in 0..SEEDS {
        for (lines, rest) in [(1, ""), (EMPTY_LINES, ""), (EMPTY_LINES - 1, "\r")] {
            let lines = "\r\n".repeat(lines);
            let client = [&lines, &get("/1"), &lines, &get("/2"), &lines, rest].concat();
            let world = || World::new(seed, client.as_bytes(), vec![answers(replies, None)]);
            // It waits for the next request, and not for the rest of one.
            let waiting = world().patient(KEEP_ALIVE_TIMEOUT - Duration::from_secs(1)).run();
            assert_eq!(waiting.client_closed, None, "seed {seed}");
            for world in [waiting, world().client_ends().run()] {
                let got = String::from_utf8(world.client_got.clone()).unwrap();
                assert_eq!(got, replies.concat(), "seed {seed}");
                assert_eq!(exchanges(&world).len(), 2, "seed {seed}");
            }
        }
        let lines = "\r\n".repeat(EMPTY_LINES + 1);
        let client = [&get("/1"), &lines, &get("/2")].map(String::as_str).concat();
        let world = World::new(seed, client.as_bytes(), vec![answers(replies, None)]).run();
        let got = String::from_utf8(world.client_got.clone()).unwrap();
        assert!(got.starts_with(replies[0]) && got.contains("HTTP/1.1 400 "), "seed {seed}: {got}");
        assert!(exchanges(&world)[1].error.as_ref().unwrap().contains("empty lines"));
    }
}

#[test]
fn what_waits_in_tls_is_sent_before_the_connection_is_given_up() {
    let ok: &[&str] = &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"];
    let last: &[&str] = &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"];
    let post = "POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nthe upload";
    let tunnel = "CONNECT h:7 HTTP/1.1\r\nHost: h:7\r\n\r\n\0the upload";
    for seed in 0..SEEDS {
        for (client, server) in [
            (post, answers(ok, None)),
            (post, answers(last, None)),
            (tunnel, Box::new(|_: &[u8]| Reply { sent: Vec::new(), ends: Some(End::Clean) })),
        ] {
            let world = World::new(seed, client.as_bytes(), vec![server]).client_ends();
            let world = world.sealing().run();
            let got = String::from_utf8_lossy(&world.servers_got);
            assert!(got.ends_with("the upload"), "seed {seed}: {got:?}");
        }
    }
}
