//! Bodies that were held and are larger than what a connection queues: they go on whole, and
//! count until they have gone.

use std::sync::Arc;

use super::*;
use crate::flow::control::{Answer, RequestEdit, ResponseEdit, Verdict};
use crate::limits::BUFFER_HIGH_BYTES;
use crate::options::rule::BlockRule;
use crate::proxy::hold::HeldTotals;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const SIZE: usize = 300_000;
/// A part of a body that is larger than what is queued.
const PART: usize = 220_000;
const RUNS: u64 = 16;

fn body(size: usize) -> Vec<u8> {
    (0..size).map(|n| b'a' + (n * 31 % 25) as u8).collect()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for chunk in body.chunks(7_001) {
        all.extend_from_slice(format!("{:x};e=1\r\n", chunk.len()).as_bytes());
        all.extend_from_slice(chunk);
        all.extend_from_slice(b"\r\n");
    }
    all.extend_from_slice(b"0\r\n\r\n");
    all
}

fn length(body: &[u8]) -> String {
    format!("Content-Length: {}\r\n", body.len())
}

fn message(first: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    [format!("{first}\r\n{fields}\r\n").as_bytes(), body].concat()
}

fn response(fields: &str, body: &[u8]) -> Vec<u8> {
    message("HTTP/1.1 200 OK", fields, body)
}

fn request(method: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    message(&format!("{method} http://h/p HTTP/1.1"), &format!("Host: h\r\n{fields}"), body)
}

/// A server that answers request after request, each as soon as it has got so many bytes of them.
fn server(replies: Vec<(usize, Vec<u8>)>, ends: Option<End>) -> Script {
    Box::new(move |got| {
        let due = replies.iter().take_while(|(bytes, _)| got.len() >= *bytes);
        let sent: Vec<_> = due.map(|(_, reply)| &reply[..]).collect();
        let ends = ends.clone().filter(|_| sent.len() == replies.len());
        Reply { sent: sent.concat(), ends }
    })
}

/// Requests as they go on.
fn outgoing(requests: &[&[u8]]) -> Vec<u8> {
    let requests = requests.iter().map(|request| {
        let text = String::from_utf8(request.to_vec()).unwrap();
        text.replacen("http://h", "", 1)
    });
    requests.collect::<String>().into_bytes()
}

fn world(seed: u64, client: &[u8], server: Script, filter: &str, verdict: Verdict) -> World {
    World::new(seed, client, vec![server]).client_ends().holding(filter, vec![verdict])
}

fn with_room(mut world: World, bytes: usize) -> World {
    world.shared.held = Arc::new(HeldTotals::with_room(bytes));
    world
}

/// The size and the captured bytes of the bodies of an exchange.
fn recorded(world: &World, exchange: usize) -> [(u64, u64); 2] {
    let exchange = &exchanges(world)[exchange];
    let of = |body: &crate::flow::record::Body| (body.size, body.captured());
    [of(&exchange.request.body), of(&exchange.response.as_ref().unwrap().body)]
}

fn check_response(world: &World, expected: &[u8], size: usize, seed: u64) {
    assert!(world.client_got == expected, "seed {seed}: {} bytes", world.client_got.len());
    assert_eq!(recorded(world, 0)[1], (size as u64, size as u64), "seed {seed}");
    assert!(exchanges(world).iter().all(|exchange| exchange.error.is_none()), "seed {seed}");
    assert_eq!(world.client_closed, Some(Command::CloseClient), "seed {seed}");
    assert_eq!(world.shared.held.bytes(), 0, "seed {seed}");
}

/// What the server got that is there at the end.
fn server_got(world: &World) -> &[u8] {
    let peer = world.peer.as_ref().or(world.idle.as_ref());
    peer.map(|peer| &peer.got[..]).unwrap_or_default()
}

#[test]
fn a_response_goes_on_as_it_came_and_so_does_what_follows() {
    let body = body(SIZE);
    let requests = (get("/1") + &get("/2")).into_bytes();
    let one = outgoing(&[get("/1").as_bytes()]).len();
    for seed in 0..RUNS {
        for first in [response(&length(&body), &body), response(CHUNKED, &chunked(&body))] {
            let replies = vec![(one, first.clone()), (2 * one, OK.into())];
            let server = server(replies, None);
            let mut world = world(seed, &requests, server, "~s", Verdict::Resume);
            world.verdicts.push_back(Verdict::Resume);
            let world = world.run();
            check_response(&world, &[&first[..], OK.as_bytes()].concat(), SIZE, seed);
            assert_eq!((world.dials, world.idle.is_some()), (2, true), "seed {seed}");
        }
    }
}

#[test]
fn a_chunked_response_goes_to_an_http_1_0_client_without_the_chunks() {
    let body = body(SIZE);
    for seed in 0..RUNS {
        let replies = vec![(1, response(CHUNKED, &chunked(&body)))];
        let old = b"GET http://h/ HTTP/1.0\r\n\r\n";
        let world = world(seed, old, server(replies, None), "~s", Verdict::Resume).run();
        let expected = response("Connection: close\r\n", &body);
        check_response(&world, &expected, SIZE, seed);
    }
}

#[test]
fn what_is_still_to_come_of_a_response_follows_what_was_held() {
    let body = body(SIZE);
    let get = get("/");
    for seed in 0..RUNS {
        for (fields, framed) in [
            (length(&body), body.clone()),
            (CHUNKED.to_owned(), chunked(&body)),
            (String::new(), body.clone()),
        ] {
            let ends = fields.is_empty().then_some(End::Clean);
            let reply = response(&fields, &framed);
            let server = server(vec![(1, reply.clone())], ends);
            let world = world(seed, get.as_bytes(), server, "~s", Verdict::Resume);
            let base = HeldTotals::with_room(PART).bytes();
            let world = with_room(world, PART).run();
            assert_eq!(world.shared.held.bytes(), base, "seed {seed}");
            let expected = match fields.is_empty() {
                true => response("Connection: close\r\n", &framed),
                false => reply,
            };
            assert!(world.client_got == expected, "seed {seed}");
            assert_eq!(recorded(&world, 0)[1], (SIZE as u64, SIZE as u64));
        }
    }
}

#[test]
fn a_response_that_is_cut_behind_what_was_held_is_never_completed() {
    let body = body(SIZE);
    let get = get("/");
    for seed in 0..RUNS {
        let reply = response(&length(&body), &body[..SIZE - 1]);
        let server = server(vec![(1, reply.clone())], Some(End::Clean));
        let world = world(seed, get.as_bytes(), server, "~s", Verdict::Resume);
        let world = with_room(world, PART).run();
        assert!(world.client_got == reply, "seed {seed}");
        assert!(matches!(world.client_closed, Some(Command::CutClient { .. })), "seed {seed}");
        assert!(exchanges(&world)[0].error.is_some(), "seed {seed}");
    }
}

#[test]
fn an_edited_response_and_an_answer_go_out_whole() {
    let body = body(SIZE);
    let expected = response(&length(&body), &body);
    let requests = get("/1") + &get("/2");
    let one = outgoing(&[get("/1").as_bytes()]).len();
    for seed in 0..RUNS {
        let edit = ResponseEdit { body: Some(body.clone().into()), ..ResponseEdit::default() };
        let verdict = || Verdict::ResumeResponse(edit.clone());
        let server = server(vec![(one, OK.into()), (2 * one, OK.into())], None);
        let mut edited = world(seed, requests.as_bytes(), server, "~s", verdict());
        edited.verdicts.push_back(verdict());
        check_response(&edited.run(), &expected.repeat(2), SIZE, seed);

        let answer = Answer { status: 200, headers: Vec::new(), body: body.clone().into() };
        let verdicts = vec![Verdict::Answer(answer.clone()), Verdict::Answer(answer)];
        let world = World::new(seed, requests.as_bytes(), Vec::new()).client_ends();
        let world = world.holding("~q", verdicts).run();
        check_response(&world, &expected.repeat(2), SIZE, seed);
        assert_eq!(world.dials, 0, "seed {seed}");
    }
}

#[test]
fn an_answer_comes_whole_whatever_is_still_to_come_of_the_request() {
    let body = body(SIZE);
    for seed in 0..RUNS {
        // All of the request's body, a part of it, and one that is none.
        for (fields, sent) in [
            (length(&body), &body[..]),
            (length(&body), &body[..PART + 50_000]),
            (CHUNKED.to_owned(), &[&chunked(&body[..PART]), &b"none"[..]].concat()[..]),
        ] {
            let request = request("POST", &fields, sent);
            let answer = Answer { status: 200, headers: Vec::new(), body: body.clone().into() };
            let world = World::new(seed, &request, Vec::new()).client_ends();
            let world = world.holding("~q", vec![Verdict::Answer(answer)]);
            let world = with_room(world, PART - 50_000).run();
            let fields = length(&body) + "Connection: close\r\n";
            let expected = response(&fields, &body);
            assert!(world.client_got == expected, "seed {seed}: {}", world.client_got.len());
            assert_eq!(world.client_closed, Some(Command::CloseClient), "seed {seed}");
            assert!(exchanges(&world)[0].error.is_none(), "seed {seed}");
            // What is chunked is held twice: as it came, and without the chunks.
            assert!(recorded(&world, 0)[0].1 > 80_000, "seed {seed}");
        }
    }
}

#[test]
fn what_came_of_a_request_that_is_blocked_is_recorded() {
    let post = request("POST", "Content-Length: 9\r\n", b"too short");
    for seed in 0..SEEDS {
        let mut world = World::new(seed, &post, Vec::new()).client_ends();
        world.options.block_list = vec![BlockRule::parse("/~all/403").unwrap()];
        world.to_send.consume(post.len());
        world.conn.client.input.push(&post);
        let world = world.run();
        assert!(world.client_got.starts_with(b"HTTP/1.1 403 "), "seed {seed}");
        assert_eq!(exchanges(&world)[0].request.body.tail, "too short", "seed {seed}");
    }
}

#[test]
fn a_request_that_a_rule_cannot_look_at_goes_nowhere() {
    let body = body(200_000);
    let post = request("POST", &length(&body), &body);
    let blocking = |seed, rule: &str| {
        let mut world = with_room(World::new(seed, &post, Vec::new()).client_ends(), 1_000);
        world.options.block_list = vec![BlockRule::parse(rule).unwrap()];
        world.run()
    };
    for seed in 0..SEEDS / 4 {
        // Neither the rule nor its opposite can be told from a part.
        for rule in ["/~bq secret/403", "/! ~bq secret/403", "/~b secret | ~d other/403"] {
            let world = blocking(seed, rule);
            assert!(world.client_got.starts_with(b"HTTP/1.1 503 "), "{rule} seed {seed}");
            assert_eq!((world.dials, world.shared.stats.undecided.get()), (0, 1), "seed {seed}");
            let error = exchanges(&world)[0].error.clone().unwrap();
            assert!(error.contains("block_list"), "{error}");
        }
        for rule in ["/~m POST/403", "/~bq secret | ~m POST/403"] {
            let world = blocking(seed, rule);
            assert!(world.client_got.starts_with(b"HTTP/1.1 403 "), "{rule} seed {seed}");
            assert_eq!(world.shared.stats.undecided.get(), 0, "seed {seed}");
        }
        // What the head decides needs no room.
        let world = blocking(seed, "/~bq secret & ~m GET/403");
        assert!(world.client_got.starts_with(b"HTTP/1.1 502 "), "seed {seed}");
        assert_eq!(world.dials, 1, "seed {seed}");
    }
}

#[test]
fn a_request_whose_coding_hides_it_from_a_rule_goes_nowhere() {
    let body = b"what this says is not gzip";
    let post = |coding: &str| {
        request("POST", &format!("Content-Encoding: {coding}\r\n{}", length(body)), body)
    };
    for (coding, rule, status) in [
        ("gzip", "/~bq secret/403", "415"),
        ("unknown", "/~bq secret/403", "415"),
        ("unknown", "/~bq not.gzip/403", "403"),
        ("gzip", "/~bq secret & ~m GET/403", "502"),
        ("identity", "/~bq secret/403", "502"),
    ] {
        let mut world = World::new(1, &post(coding), Vec::new()).client_ends();
        world.options.block_list = vec![BlockRule::parse(rule).unwrap()];
        let world = world.run();
        let status = format!("HTTP/1.1 {status} ");
        assert!(world.client_got.starts_with(status.as_bytes()), "{coding} {rule}");
        assert_eq!(world.dials, usize::from(status.contains("502")), "{coding} {rule}");
    }
}

#[test]
fn a_request_goes_on_as_it_came_and_so_does_what_follows() {
    let body = body(SIZE);
    for seed in 0..RUNS {
        for first in
            [request("POST", &length(&body), &body), request("POST", CHUNKED, &chunked(&body))]
        {
            let second = get("/2").into_bytes();
            let expected = outgoing(&[&first, &second]);
            let sizes = (outgoing(&[&first]).len(), expected.len());
            let replies = vec![(sizes.0, OK.into()), (sizes.1, OK.into())];
            let server = server(replies, None);
            let client = [first, second].concat();
            let world = world(seed, &client, server, "~q & ~m POST", Verdict::Resume).run();
            check_response(&world, OK.repeat(2).as_bytes(), 2, seed);
            assert!(server_got(&world) == expected, "seed {seed}");
            assert_eq!(recorded(&world, 0)[0], (SIZE as u64, SIZE as u64));
        }
    }
}

#[test]
fn an_edited_request_and_a_replayed_one_go_out_whole() {
    let body = body(SIZE);
    let expected = outgoing(&[&request("POST", &length(&body), &body)]);
    for seed in 0..RUNS {
        let edit = RequestEdit { body: Some(body.clone().into()), ..RequestEdit::default() };
        let short = request("POST", "Content-Length: 5\r\n", b"short");
        let server = || server(vec![(expected.len(), OK.into())], None);
        let edited = world(seed, &short, server(), "~q", Verdict::ResumeRequest(edit)).run();
        check_response(&edited, OK.as_bytes(), 2, seed);
        assert!(server_got(&edited) == expected, "seed {seed}");

        let sent = crate::flow::control::NewRequest {
            origin: None,
            recorded_head: Vec::new().into(),
            method: "POST".into(),
            url: "http://h/p".into(),
            headers: Vec::new(),
            body: body.clone().into(),
        };
        let replayed = World::new(seed, b"", vec![server()]).replaying(sent).run();
        assert!(server_got(&replayed).ends_with(&body), "seed {seed}");
        assert_eq!(recorded(&replayed, 0)[0], (SIZE as u64, SIZE as u64));
        assert_eq!(replayed.shared.held.bytes(), 0, "seed {seed}");
    }
}

#[test]
fn what_is_still_to_come_of_a_request_follows_what_was_held() {
    let body = body(SIZE);
    for seed in 0..RUNS {
        let request = request("POST", &length(&body), &body);
        let expected = outgoing(&[&request]);
        let server = server(vec![(expected.len(), OK.into())], None);
        let world = world(seed, &request, server, "~q", Verdict::Resume);
        let base = HeldTotals::with_room(PART).bytes();
        let world = with_room(world, PART).run();
        assert!(world.client_got == OK.as_bytes() && server_got(&world) == expected, "seed {seed}");
        assert_eq!(recorded(&world, 0)[0], (SIZE as u64, SIZE as u64));
        assert_eq!(world.shared.held.bytes(), base, "seed {seed}");
    }
}

#[test]
fn what_was_fed_to_a_stale_connection_is_fed_again() {
    let body = body(SIZE);
    let put = request("PUT", &length(&body), &body);
    let first = get("/");
    let client = [first.as_bytes(), &put].concat();
    let (before, expected) = (outgoing(&[first.as_bytes()]).len(), outgoing(&[&put]));
    for seed in 0..RUNS {
        // The first connection ends at the head, inside of the body, or behind it.
        for taken in [1, 150_000, expected.len()] {
            let stale: Script = Box::new(move |got| Reply {
                sent: if got.len() >= before { OK.into() } else { Vec::new() },
                ends: (got.len() >= before + taken).then_some(End::Clean),
            });
            let other = server(vec![(expected.len(), OK.into())], None);
            let world = World::new(seed, &client, vec![stale, other]).client_ends();
            let world = world.holding("~q & ~m PUT", vec![Verdict::Resume]).run();
            check_response(&world, OK.repeat(2).as_bytes(), 2, seed);
            assert!(server_got(&world) == expected, "seed {seed}");
            assert_eq!(recorded(&world, 1)[0], (SIZE as u64, SIZE as u64));
        }
    }
}

#[test]
fn a_server_that_answers_before_it_has_the_request_costs_the_client_nothing() {
    let body = body(SIZE);
    let post = request("POST", &length(&body), &body);
    for seed in 0..RUNS {
        let client = [&post[..], get("/2").as_bytes()].concat();
        let sent = outgoing(&[&post[..], get("/2").as_bytes()]).len();
        let early = server(vec![(100_000, OK.into()), (sent, OK.into())], None);
        let world = World::new(seed, &client, vec![early]).client_ends();
        let world = world.holding("~q & ~m POST", vec![Verdict::Resume]).run();
        check_response(&world, OK.repeat(2).as_bytes(), 2, seed);
        let get = get("/2");
        assert!(server_got(&world) == outgoing(&[&post[..], get.as_bytes()]), "seed {seed}");
    }
}

#[test]
fn a_server_that_leaves_before_it_has_the_request_costs_the_client_nothing() {
    let body = body(SIZE);
    let post = request("POST", &length(&body), &body);
    let mut lost = 0;
    for seed in 0..RUNS {
        let early = server(vec![(100_000, OK.into())], Some(End::Clean));
        let next = server(vec![(1, OK.into())], None);
        let client = [&post[..], get("/2").as_bytes()].concat();
        let world = World::new(seed, &client, vec![early, next]).client_ends();
        let world = world.holding("~q & ~m POST", vec![Verdict::Resume]).run();
        assert_eq!(String::from_utf8_lossy(&world.client_got), OK.repeat(2), "seed {seed}");
        assert_eq!(world.client_closed, Some(Command::CloseClient), "seed {seed}");
        let exchanges = exchanges(&world);
        lost += usize::from(exchanges[0].error.as_ref().is_some_and(|it| it.contains("body")));
        assert_eq!((exchanges.len(), &exchanges[1].error), (2, &None), "seed {seed}");
    }
    assert!(lost > 0, "no server has left before it had the request");
}

#[test]
fn what_goes_out_counts_until_it_has_gone() {
    let body = body(SIZE);
    let reply = response(&length(&body), &body);
    for seed in 0..RUNS {
        for killed in [false, true] {
            let get = get("/");
            let server = server(vec![(1, reply.clone())], None);
            let mut world = world(seed, get.as_bytes(), server, "~s", Verdict::Resume);
            while world.client_closed.is_none() && !(killed && world.client_got.len() > 100_000) {
                world.step();
                world.check();
                let gone = world.client_got.len() + world.conn.client.output.len();
                if gone > 0 && gone < reply.len() {
                    assert_eq!(world.shared.held.bytes(), SIZE, "seed {seed}");
                    assert!(world.conn.client.output.len() <= BUFFER_HIGH_BYTES, "seed {seed}");
                }
            }
            if killed {
                world.with(|conn, cx| conn.kill("it was stopped", cx));
                let cut = Some(Command::CutClient { reset: false });
                assert_eq!(world.client_closed, cut, "seed {seed}");
                assert!(exchanges(&world)[0].error.is_some(), "seed {seed}");
            }
            assert_eq!(world.client_got == reply, !killed, "seed {seed}");
            assert_eq!(world.shared.held.bytes(), 0, "seed {seed}");
        }
    }
}
