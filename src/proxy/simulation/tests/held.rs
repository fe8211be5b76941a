//! Flows that are held: what goes on, what does not, and what is told of it.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::flow::control::{Answer, ControlError, RequestEdit, ResponseEdit, Verdict};
use crate::flow::head::Field;
use crate::flow::record::{Body, Side};
use crate::limits::INTERCEPT_TIMEOUT;
use crate::options::ConnectionStrategy;
use crate::proxy::hold::HeldTotals;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1;x\r\n!\r\n0\r\nT: 1\r\n\r\n";

/// A server that answers with what it got.
fn mirror() -> Script {
    Box::new(|got| {
        let whole = got.windows(4).any(|window| window == b"\r\n\r\n")
            && (!got.starts_with(b"POST") || got.ends_with(b"!") || got.ends_with(b"T: 1\r\n\r\n"));
        let body = String::from_utf8_lossy(got).into_owned();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let sent = if whole { (head + &body).into_bytes() } else { Vec::new() };
        Reply { sent, ends: None }
    })
}

fn post(body: &str) -> String {
    let length = body.len();
    format!("POST http://h/p HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn run(seed: u64, client: &str, server: Script, filter: &str, verdicts: Vec<Verdict>) -> World {
    let world = World::new(seed, client.as_bytes(), vec![server]).client_ends();
    world.holding(filter, verdicts).run()
}

fn text(world: &World) -> String {
    String::from_utf8(world.client_got.clone()).unwrap()
}

fn held(world: &World) -> Vec<(Side, String)> {
    let events = world.events.iter().filter_map(|event| match event {
        FlowEvent::Held(held) => {
            let body = String::from_utf8(held.message.body.tail.to_vec()).unwrap();
            Some((held.side, body))
        }
        _ => None,
    });
    events.collect()
}

#[test]
fn what_is_resumed_passes_as_it_came() {
    let chunked = "POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;a=b\r\nabc\r\n0\r\nT: 1\r\n\r\n";
    for seed in 0..SEEDS {
        let plain = run(seed, chunked, mirror(), "~q & ~m nothing", Vec::new());
        let through = run(seed, chunked, mirror(), "~q", vec![Verdict::Resume]);
        assert_eq!(text(&through), text(&plain), "seed {seed}");
        assert_eq!(held(&through), [(Side::Request, "abc".to_owned())]);
        assert!(held(&plain).is_empty());
        let exchange = &exchanges(&through)[0];
        assert_eq!(
            (&exchange.request.body.tail[..], &exchange.request.trailers[..]),
            (&b"abc"[..], &b"T: 1\r\n"[..])
        );
        assert!(!exchange.intervention.request_edited);

        let server = || answers(&[CHUNKED], None);
        let through = run(seed, &get("/"), server(), "~s", vec![Verdict::Resume]);
        assert_eq!(text(&through), CHUNKED, "seed {seed}");
        assert_eq!(held(&through), [(Side::Response, "ok!".to_owned())]);
        let exchange = &exchanges(&through)[0];
        assert_eq!(&exchange.response.as_ref().unwrap().body.tail[..], b"ok!");
    }
}

#[test]
fn a_filter_without_a_side_holds_both() {
    for seed in 0..SEEDS {
        let verdicts = vec![Verdict::Resume, Verdict::Resume];
        let world = run(seed, &get("/"), answers(&[OK], None), "~u h", verdicts);
        assert_eq!(text(&world), OK);
        let sides: Vec<_> = held(&world).into_iter().map(|(side, _)| side).collect();
        assert_eq!(sides, [Side::Request, Side::Response], "seed {seed}");
    }
}

#[test]
fn bodies_are_gathered_only_where_the_filter_asks_for_them() {
    for seed in 0..SEEDS {
        let world = run(seed, &post("secret!"), mirror(), "~bq secret & ~q", vec![Verdict::Resume]);
        assert_eq!(held(&world), [(Side::Request, "secret!".to_owned())]);
        let world = run(seed, &post("harmless!"), mirror(), "~bq secret & ~q", Vec::new());
        assert!(held(&world).is_empty() && text(&world).ends_with("harmless!"), "seed {seed}");
        let world = run(seed, &get("/"), answers(&[CHUNKED], None), "~bs nothing", Vec::new());
        assert_eq!(text(&world), CHUNKED, "seed {seed}");
    }
}

#[test]
fn an_edited_request_goes_out_instead() {
    let edit = || RequestEdit {
        method: None,
        url: Some("http://other.example/q".into()),
        headers: Some(vec![Field { name: "X-New".into(), value: "1".into() }]),
        body: Some("longer than before!".into()),
    };
    for seed in 0..SEEDS {
        let verdicts = vec![Verdict::ResumeRequest(edit())];
        let world = run(seed, &post("short!"), mirror(), "~q", verdicts);
        let expected = "POST /q HTTP/1.1\r\nHost: other.example\r\nX-New: 1\r\n\
                        Content-Length: 19\r\n\r\nlonger than before!";
        assert!(text(&world).ends_with(expected), "seed {seed}: {}", text(&world));
        let exchange = &exchanges(&world)[0];
        assert!(exchange.intervention.request_edited);
        assert_eq!(exchange.target.as_ref().unwrap().host, "other.example");
        assert_eq!(exchange.request.body.tail, "longer than before!");
    }
}

#[test]
fn an_edit_that_is_not_possible_leaves_the_flow_held() {
    let bad = RequestEdit { method: Some("NO WAY".into()), ..RequestEdit::default() };
    let late = ResponseEdit { status: Some(500), ..ResponseEdit::default() };
    for seed in 0..SEEDS {
        let verdicts = vec![
            Verdict::ResumeRequest(bad.clone()),
            Verdict::ResumeResponse(late.clone()),
            Verdict::Resume,
        ];
        let world = run(seed, &get("/"), answers(&[OK], None), "~q", verdicts);
        assert_eq!(text(&world), OK);
        assert!(matches!(
            world.answers[..],
            [Err(ControlError::Refused(_)), Err(ControlError::Refused(_)), Ok(())]
        ));
    }
}

#[test]
fn an_edited_response_comes_instead() {
    let edit =
        || ResponseEdit { status: Some(503), headers: None, body: Some("out of order".into()) };
    for seed in 0..SEEDS {
        for server in [OK, CHUNKED] {
            let replies: &'static [&'static str] = if server == OK { &[OK] } else { &[CHUNKED] };
            let verdicts = vec![Verdict::ResumeResponse(edit())];
            let world = run(seed, &get("/"), answers(replies, None), "~s", verdicts);
            let expected =
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 12\r\n\r\nout of order";
            assert_eq!(text(&world), expected, "seed {seed}");
            let exchange = &exchanges(&world)[0];
            assert!(exchange.intervention.response_edited);
            assert_eq!(exchange.response.as_ref().unwrap().body.tail, "out of order");
        }
    }
}

#[test]
fn an_answer_needs_no_server() {
    let answer = || Answer {
        status: 418,
        headers: vec![Field { name: "X-By".into(), value: "me".into() }],
        body: "tea".into(),
    };
    for seed in 0..SEEDS {
        let verdicts = vec![Verdict::Answer(answer()), Verdict::Answer(answer())];
        let requests = post("a!") + &get("/2");
        let world = World::new(seed, requests.as_bytes(), Vec::new()).client_ends();
        let world = world.holding("~q", verdicts).run();
        let one = "HTTP/1.1 418 \r\nX-By: me\r\nContent-Length: 3\r\n\r\ntea";
        assert_eq!(text(&world), one.repeat(2), "seed {seed}");
        assert_eq!((world.dials, exchanges(&world).len()), (0, 2));
        assert!(exchanges(&world)[0].error.is_none());

        let head = get("/").replace("GET", "HEAD");
        let bodiless = Answer { body: Vec::new().into(), ..answer() };
        let verdicts = vec![Verdict::Answer(answer()), Verdict::Answer(bodiless)];
        let world = run(seed, &head, answers(&[OK], None), "~s", verdicts);
        assert!(matches!(world.answers[..], [Err(ControlError::Refused(_)), Ok(())]));
        assert!(text(&world).ends_with("\r\n\r\n"), "{}", text(&world));
    }
}

#[test]
fn what_is_dropped_goes_nowhere() {
    for seed in 0..SEEDS {
        for filter in ["~q", "~s"] {
            let world = run(seed, &get("/"), answers(&[OK], None), filter, vec![Verdict::Drop]);
            assert_eq!(text(&world), "", "seed {seed}");
            assert_eq!(world.client_closed, Some(Command::CloseClient));
            assert!(world.held.is_none());
            assert!(exchanges(&world)[0].error.as_ref().unwrap().contains("dropped"));
            assert_eq!(world.dials, usize::from(filter == "~s"));
        }
    }
}

#[test]
fn nobody_is_held_for_ever() {
    for filter in ["~q", "~s"] {
        let world = World::new(1, get("/").as_bytes(), vec![answers(&[OK], None)]).client_ends();
        let world = world.patient(INTERCEPT_TIMEOUT).holding(filter, Vec::new()).run();
        assert_eq!(text(&world), OK);
        let released = world.events.iter().any(|event| match event {
            FlowEvent::Released(released) => released.timed_out,
            _ => false,
        });
        assert!(released && world.held.is_none());
    }
}

#[test]
fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    let request = "POST http://h/ HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\
                   Content-Length: 2\r\n\r\na!";
    let script =
        || answers(&["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"], None);
    for seed in 0..SEEDS {
        let world = run(seed, request, script(), "~q", vec![Verdict::Resume]);
        let got = text(&world);
        assert!(got.starts_with("HTTP/1.1 100 Continue\r\n\r\n"), "seed {seed}: {got}");
        assert_eq!(got.matches("100 Continue").count(), 1, "seed {seed}: {got}");
    }
}

/// A tunnel to `h`, and a request inside of it.
fn tunnelled(request: &str) -> String {
    format!("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n{request}")
}

/// A client in a tunnel whose server is connected before anything is asked.
fn eager(seed: u64, client: &str, servers: Vec<Script>) -> World {
    let mut world = World::new(seed, client.as_bytes(), servers);
    world.options.connection_strategy = ConnectionStrategy::Eager;
    world
}

#[test]
fn a_connection_that_was_made_ahead_gets_nothing_of_what_is_held() {
    for seed in 0..SEEDS {
        let client = tunnelled("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let world = eager(seed, &client, vec![mirror()]).holding("~q", Vec::new()).run();
        assert!(world.held.is_some(), "seed {seed}");
        let got = world.peer.as_ref().map(|peer| peer.got.as_slice());
        assert_eq!(got, Some(&b""[..]), "seed {seed}");
        // What cannot be had ahead is not asked for before it is needed.
        let world = eager(seed, &client, Vec::new()).holding("~q", Vec::new()).run();
        assert!(world.dials < 2, "seed {seed}");
    }
}

#[test]
fn a_connection_that_was_made_ahead_serves_no_other_host() {
    let edit = RequestEdit { url: Some("http://other/".into()), ..RequestEdit::default() };
    for seed in 0..SEEDS {
        let client = tunnelled("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let verdicts = vec![Verdict::ResumeRequest(edit.clone())];
        let world = eager(seed, &client, vec![mirror(), mirror()]).holding("~q", verdicts).run();
        assert!(text(&world).ends_with("Host: other\r\n\r\n"), "seed {seed}: {}", text(&world));
        assert_eq!(world.asked_for, "other", "seed {seed}");
    }
}

#[test]
fn the_end_of_a_connection_that_was_made_ahead_is_not_that_of_the_next() {
    let client = tunnelled("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let leaves: Script = Box::new(|_| Reply { sent: b"busy".to_vec(), ends: Some(End::Clean) });
    let mut world = eager(1, &client, vec![leaves, mirror()]).server_at_once();
    while world.client_sends() {}
    assert!(world.dial_ends());
    let world = world.client_ends().run();
    assert!(text(&world).contains("HTTP/1.1 200 OK"), "{}", text(&world));
    assert_eq!(world.dials, 2);
}

#[test]
fn a_silent_client_has_one_connection_made_ahead() {
    for seed in 0..SEEDS {
        let world = eager(seed, &tunnelled(""), vec![mirror(), mirror()]).run();
        assert_eq!(world.dials, 1, "seed {seed}");
    }
}

#[test]
fn a_server_that_cannot_be_reached_ahead_is_told_of_by_the_request() {
    for seed in 0..SEEDS {
        let client = tunnelled("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let world = eager(seed, &client, Vec::new()).client_ends().run();
        assert!(text(&world).contains("HTTP/1.1 502 "), "seed {seed}: {}", text(&world));
        assert_eq!(exchanges(&world).len(), 1, "seed {seed}");
        // Somebody who waits for the server to speak first waits in vain.
        let world = eager(seed, &tunnelled(""), Vec::new()).run();
        assert_eq!(world.client_closed, Some(Command::CloseClient), "seed {seed}");
    }
}

#[test]
fn a_long_decision_leaves_the_server_its_time() {
    let mut world = World::new(1, get("/").as_bytes(), Vec::new());
    world.options.intercept_timeout = 2 * BODY_TIMEOUT;
    let mut world = world.holding("~q", Vec::new()).run();
    let flow = world.held.unwrap();
    world.advance_clock(world.now.instant + BODY_TIMEOUT);
    world.with(|conn, cx| conn.decide(flow, Verdict::Resume, false, cx).unwrap());
    assert!(world.pending_dial.is_some());
    assert!(world.conn.deadline(&world.options) > world.now.instant);
}

#[test]
fn what_is_sent_again_is_sent_whole() {
    let body = "x".repeat(2_000);
    let put = format!("PUT http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\n\r\n{body}");
    // The first connection answers one request, and ends inside of the next.
    let server = |bytes: usize, ends: Option<End>| -> Script {
        Box::new(move |got| {
            let head = got.windows(4).position(|window| window == b"\r\n\r\n");
            let is_whole = head.is_some_and(|head| got.len() >= head + 4 + bytes);
            let sent = if is_whole { OK.into() } else { Vec::new() };
            Reply { sent, ends: ends.clone().filter(|_| got.len() > 1_500) }
        })
    };
    for seed in 0..SEEDS {
        let (stale, other) = (server(0, Some(End::Clean)), server(2_000, None));
        let requests = get("/") + &put;
        let mut world = World::new(seed, requests.as_bytes(), vec![stale, other]);
        world.shared.held = Arc::new(HeldTotals::with_room(0));
        let world = world.client_ends().holding("~q & ~m PUT", vec![Verdict::Resume]).run();
        assert_eq!(text(&world), OK.repeat(2), "seed {seed}");
        assert_eq!(exchanges(&world)[1].request.body.tail, body, "seed {seed}");
    }
}

#[test]
fn a_body_that_is_held_in_part_is_told_of_as_such() {
    let body = "x".repeat(2_000);
    let head = "POST http://h/p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = format!("{head}7d0\r\n{body}\r\n0\r\n\r\n");
    let mut parts = [0, 0];
    for seed in 0..SEEDS {
        for (part, request) in parts.iter_mut().zip([post(&body), chunked.clone()]) {
            let server = answers(&[OK], None);
            let mut world = World::new(seed, request.as_bytes(), vec![server]).client_ends();
            world.shared.held = Arc::new(HeldTotals::with_room(0));
            let world = world.holding("~q", vec![Verdict::Drop]).run();
            let held = world.events.iter().find_map(|event| match event {
                FlowEvent::Held(held) => Some(held),
                _ => None,
            });
            let held = held.unwrap();
            let Body { tail, size, .. } = &held.message.body;
            let is_told = request != chunked;
            assert_eq!(*size, if is_told { 2_000 } else { tail.len() as u64 }, "seed {seed}");
            // All of a chunked body may be there before its end is.
            assert!(tail.len() == 2_000 || !held.whole, "seed {seed}");
            *part += usize::from(tail.len() < 2_000 && !held.whole);
        }
    }
    assert!(parts.iter().all(|part| *part > 0), "{parts:?}");
}

#[test]
fn a_request_that_still_comes_when_its_response_is_held_is_told_of_as_such() {
    let (mut whole, mut parts) = (0, 0);
    for seed in 0..SEEDS {
        let early: Script = Box::new(|got| {
            let sent = if got.is_empty() { Vec::new() } else { OK.as_bytes().to_vec() };
            Reply { sent, ends: None }
        });
        let world = World::new(seed, post(&"x".repeat(9_000)).as_bytes(), vec![early]);
        let world = world.holding("~s", vec![Verdict::Drop]).run();
        for event in &world.events {
            let FlowEvent::Begun(begun) = event else { continue };
            assert_eq!(begun.whole, begun.request.body.size == 9_000, "seed {seed}");
            *(if begun.whole { &mut whole } else { &mut parts }) += 1;
        }
    }
    assert!(whole > 0 && parts > 0, "{whole} {parts}");
}

#[test]
fn what_the_client_takes_for_a_body_is_one() {
    let method = |method: &str| {
        let method = Some(method.to_owned());
        Verdict::ResumeRequest(RequestEdit { method, ..RequestEdit::default() })
    };
    let head = get("/").replace("GET", "HEAD");
    for seed in 0..SEEDS {
        // By its own method the client knows whether a body follows.
        for (request, to) in [(get("/"), "HEAD"), (head.clone(), "GET")] {
            let verdicts = vec![method(to), Verdict::Drop];
            let world = run(seed, &request, answers(&[OK], None), "~q", verdicts);
            assert!(matches!(world.answers[0], Err(ControlError::Refused(_))), "seed {seed}");
        }
        // The length in a 304 is that of another response.
        let edit = ResponseEdit { status: Some(200), ..ResponseEdit::default() };
        let replies: &[&str] = match seed % 2 {
            0 => &["HTTP/1.1 204 No Content\r\n\r\n"],
            _ => &["HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n"],
        };
        let server = answers(replies, None);
        let world = run(seed, &get("/"), server, "~s", vec![Verdict::ResumeResponse(edit)]);
        let expected = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(text(&world), expected, "seed {seed}");
    }
}

#[test]
fn an_answer_is_recorded_as_one() {
    let answer = Answer { status: 200, headers: Vec::new(), body: "made up".into() };
    let world = run(1, &get("/"), mirror(), "~q", vec![Verdict::Answer(answer)]);
    assert!(exchanges(&world)[0].intervention.response_edited);
}

#[test]
fn a_stream_of_events_is_not_gathered() {
    let stream: &[&str] =
        &["HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"];
    for seed in 0..SEEDS {
        let world = run(seed, &get("/"), answers(stream, None), "~bs nothing", Vec::new());
        assert!(text(&world).ends_with("data: 1\n\n"), "seed {seed}: {}", text(&world));
    }
}

#[test]
fn a_request_body_that_is_kept_no_more_is_not_taken_for_empty() {
    let body = "x".repeat(100_000) + "!";
    let world = run(1, &post(&body), mirror(), "~bq ^$ & ~s", Vec::new());
    assert!(held(&world).is_empty() && text(&world).ends_with("xx!"));
}

#[test]
fn what_is_gathered_keeps_to_body_size_limit() {
    let limited = |seed, client: &str, server, filter| {
        let mut world = World::new(seed, client.as_bytes(), vec![server]).client_ends();
        world.options.body_size_limit = Some(2);
        world.holding(filter, Vec::new()).run()
    };
    let request = "POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\n\r\n";
    for seed in 0..SEEDS {
        let world = limited(seed, request, mirror(), "~bq nothing");
        assert!(text(&world).starts_with("HTTP/1.1 413 "), "seed {seed}: {}", text(&world));
        assert_eq!(world.dials, 0, "seed {seed}");
        let world = limited(seed, &get("/"), answers(&[CHUNKED], None), "~bs nothing");
        assert!(text(&world).starts_with("HTTP/1.1 502 "), "seed {seed}: {}", text(&world));
        // Whose length is known needs no server to be refused.
        let world = limited(seed, &post("abc"), mirror(), "~m nothing");
        assert!(text(&world).starts_with("HTTP/1.1 413 "), "seed {seed}: {}", text(&world));
        assert_eq!((world.dials, exchanges(&world).len()), (0, 1), "seed {seed}");
    }
}

#[test]
fn a_body_that_is_gathered_has_the_time_of_a_body() {
    let server = answers(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"], None);
    let mut world = World::new(1, get("/").as_bytes(), vec![server]);
    world.options.response_timeout = Duration::from_secs(1);
    let world = world.holding("~bs nothing", Vec::new()).run();
    assert_eq!(text(&world), "");
}

#[test]
fn nothing_is_held_where_nobody_can_decide() {
    let mut world = World::new(1, get("/").as_bytes(), vec![answers(&[OK], None)]);
    world.shared.live = false;
    let world = world.holding("~all", Vec::new()).client_ends().run();
    assert_eq!(text(&world), OK);
    assert!(held(&world).is_empty());
}
