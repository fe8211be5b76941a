use std::time::Duration;

use super::*;
use crate::limits::MCP_BODIES_BYTES;

const HEAD: &str = "POST /mcp?a=b HTTP/1.1\r\nHost: localhost\r\n";

fn allow(_: &HttpRequest) -> Result<(), Answer> {
    Ok(())
}

/// What a connection makes of input that comes in pieces: the bodies of its requests, each
/// answered with its length, and all output.
fn converse<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, String, bool) {
    let now = Instant::now();
    let mut conn = Conn::new(now);
    let mut bodies = Vec::new();
    let mut output = String::new();
    for piece in pieces {
        conn.receive(piece, now);
        while let Some(request) = conn.next_request(&allow, MCP_BODIES_BYTES, now) {
            assert_eq!((request.path.as_str(), request.query.as_str()), ("/mcp", "a=b"));
            conn.answer(Answer::text(200, &request.body.len().to_string()), now);
            bodies.push(request.body);
        }
        output.push_str(std::str::from_utf8(conn.output()).unwrap());
        conn.wrote(conn.output_bytes(), now);
    }
    conn.end_input();
    assert!(conn.next_request(&allow, MCP_BODIES_BYTES, now).is_none());
    (bodies, output, conn.is_over())
}

#[test]
fn requests_come_out_the_same_however_their_bytes_are_split() {
    let all = format!(
        "{HEAD}Content-Length: 3\r\n\r\nabc\r\n{HEAD}\r\n\
         {HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1;x\r\nf\r\n0\r\n\r\n\
         {HEAD}Content-Length: 1\r\nConnection: close\r\n\r\nz{HEAD}\r\n"
    );
    let whole = converse(std::iter::once(all.as_bytes()));
    assert_eq!(whole.0, [&b"abc"[..], b"", b"def", b"z"]);
    assert!(whole.1.ends_with("flowtap: 1\n") && whole.2, "{whole:?}");
    for size in [1, 2, 7, 50] {
        assert_eq!(converse(all.as_bytes().chunks(size)), whole, "pieces of {size}");
    }
}

#[test]
fn what_is_expected_is_judged_the_same_with_and_without_the_body() {
    let now = Instant::now();
    for (expected, body, status) in [
        ("100-continue", "", "HTTP/1.1 100 "),
        ("100-continue", "abc", ""),
        ("something", "", "HTTP/1.1 417 "),
        ("something", "abc", "HTTP/1.1 417 "),
    ] {
        let mut conn = Conn::new(now);
        let request = format!("{HEAD}Expect: {expected}\r\nContent-Length: 3\r\n\r\n{body}");
        conn.receive(request.as_bytes(), now);
        let whole = conn.next_request(&allow, MCP_BODIES_BYTES, now).is_some();
        assert_eq!(whole, expected == "100-continue" && !body.is_empty());
        let output = String::from_utf8_lossy(conn.output()).into_owned();
        assert!(output.starts_with(status) && output.is_empty() == status.is_empty(), "{output}");
    }
}

#[test]
fn what_is_cut_short_ends_without_an_answer() {
    for cut in ["POST /mcp", HEAD, &format!("{HEAD}Content-Length: 3\r\n\r\nab")] {
        let (bodies, output, over) = converse(std::iter::once(cut.as_bytes()));
        assert_eq!((bodies.len(), output.as_str(), over), (0, "", true), "{cut}");
    }
}

#[test]
fn bodies_together_have_a_bound() {
    let now = Instant::now();
    let mut conn = Conn::new(now);
    conn.receive(format!("{HEAD}Content-Length: 100\r\n\r\n0123456789").as_bytes(), now);
    assert!(conn.next_request(&allow, 10, now).is_none());
    assert_eq!((conn.body_bytes(), conn.output_bytes()), (10, 0));
    conn.receive(b"x", now);
    assert!(conn.next_request(&allow, 10, now).is_none());
    assert!(conn.output().starts_with(b"HTTP/1.1 503 "));
    assert_eq!(conn.body_bytes(), 0);
}

#[test]
fn a_refused_head_is_answered_before_its_body_and_closes() {
    let now = Instant::now();
    let refuse = |_: &HttpRequest| Err(Answer::text(403, "no"));
    for (rest, closes) in [("Content-Length: 9\r\n\r\n", true), ("\r\n", false)] {
        let mut conn = Conn::new(now);
        conn.receive(format!("{HEAD}{rest}").as_bytes(), now);
        assert!(conn.next_request(&refuse, MCP_BODIES_BYTES, now).is_none());
        assert!(conn.output().starts_with(b"HTTP/1.1 403 "), "{rest:?}");
        conn.wrote(conn.output_bytes(), now);
        assert_eq!(conn.has_said_all(), closes, "{rest:?}");
        // What still comes is thrown away, for a while and however much it is.
        if closes {
            let (timing, block) = (Timing::default(), vec![0; 1 << 20]);
            (0..64).for_each(|_| conn.receive(&block, now));
            conn.tick(&timing, now + timing.linger - Duration::from_millis(1));
            assert!(!conn.is_over() && conn.wants_input());
            conn.tick(&timing, now + timing.linger);
            assert!(conn.is_over());
        }
    }
}

/// A connection whose request awaits its answer.
fn asking(now: Instant) -> Conn {
    let mut conn = Conn::new(now);
    conn.receive(format!("{HEAD}\r\n").as_bytes(), now);
    assert!(conn.next_request(&allow, MCP_BODIES_BYTES, now).is_some());
    conn
}

#[test]
fn time_ends_what_lasts_too_long() {
    let (timing, start) = (Timing::default(), Instant::now());
    let just_before = |limit: Duration| start + limit - Duration::from_millis(1);

    let mut idle = Conn::new(start);
    idle.tick(&timing, just_before(timing.keep_alive));
    assert!(!idle.is_over());
    idle.tick(&timing, start + timing.keep_alive);
    assert!(idle.is_over());

    for half in ["POST /mcp", &format!("{HEAD}Content-Length: 3\r\n\r\nab")] {
        let mut slow = Conn::new(start);
        slow.receive(half.as_bytes(), start);
        slow.next_request(&allow, MCP_BODIES_BYTES, start);
        slow.tick(&timing, just_before(timing.request));
        assert_eq!(slow.output_bytes(), 0);
        slow.tick(&timing, start + timing.request);
        assert!(slow.output().starts_with(b"HTTP/1.1 408 "), "{half}");
    }

    // The end of the head gives the body no time of its own.
    let mut halting = Conn::new(start);
    halting.receive(HEAD.as_bytes(), start);
    halting.next_request(&allow, MCP_BODIES_BYTES, start);
    halting.receive(b"Content-Length: 3\r\n\r\nab", just_before(timing.request));
    halting.next_request(&allow, MCP_BODIES_BYTES, just_before(timing.request));
    halting.tick(&timing, start + timing.request);
    assert!(halting.output().starts_with(b"HTTP/1.1 408 "));

    let mut deaf = asking(start);
    deaf.tick(&timing, start + 100 * timing.request);
    assert!(!deaf.is_over(), "an answer may take its time");
    deaf.answer(Answer::empty(202), start);
    deaf.tick(&timing, just_before(timing.write));
    assert!(!deaf.is_over());
    deaf.tick(&timing, start + timing.write);
    assert!(deaf.is_over());
}

#[test]
fn streams_speak_when_they_were_silent_and_are_cut_when_nobody_reads() {
    let (timing, start) = (Timing::default(), Instant::now());
    let mut conn = asking(start);
    conn.begin_stream(start);
    conn.event("message", "{}", start);
    let text = String::from_utf8(conn.output().to_vec()).unwrap();
    assert!(text.ends_with("\r\n\r\nevent: message\ndata: {}\n\n"), "{text}");
    conn.wrote(conn.output_bytes(), start);
    conn.tick(&timing, start + timing.ping - Duration::from_millis(1));
    assert_eq!(conn.output(), b"");
    conn.tick(&timing, start + timing.ping);
    assert_eq!(conn.output(), b": ping\n\n");
    conn.wrote(conn.output_bytes(), start);
    // Input behind a stream is of no use.
    conn.receive(&vec![0; INPUT_BYTES], start);
    assert!(conn.wants_input());
    let large = "x".repeat(MCP_STREAM_BYTES / 2);
    conn.event("message", &large, start);
    assert!(!conn.is_over());
    conn.event("message", &large, start);
    assert!(conn.is_over());
}
