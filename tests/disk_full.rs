//! What the recorder does when it cannot write any more.
//!
//! A child process is given a limit on the size of files, which a test needs no rights for and
//! which ends writes as a full disk does.
#![cfg(unix)]
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used)]

#[path = "support/capture.rs"]
mod capture;

use std::process::Command;
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use flowtap::capture::entry::ended;
use flowtap::capture::losses::Losses;
use flowtap::capture::read::Bundle;
use flowtap::flow::record::*;
use flowtap::limits::JOURNAL_BUFFER_BYTES;
use flowtap::notice::Notice;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::Value;

use capture::{Capture, at, base64, exchange, send, small, text_body, websocket};

/// Set in the child process.
const LIMITED: &str = "FLOWTAP_TEST_LIMITED";

/// Runs the test `name` of this file in a process whose files end at 256 KiB (in some shells at
/// 512 KiB).
fn run_limited(name: &str) {
    let child = std::env::current_exe().unwrap();
    let script = "trap '' XFSZ; ulimit -S -f 512; exec \"$0\" --exact \"$1\" --nocapture";
    let output =
        Command::new("sh").args(["-c", script]).arg(child).arg(name).env(LIMITED, "1").output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{complaints}");
    // Lines for the user come from the command line alone.
    assert!(!complaints.contains("ZipWriter"), "{complaints}");
    assert!(text.contains("1 passed"), "{text}");
}

fn is_limited() -> bool {
    std::env::var_os(LIMITED).is_some()
}

fn block(flow: u64) -> FlowEvent {
    let data = vec![1; 64 * 1024].into();
    FlowEvent::Body(BodyBlock { flow: FlowId(flow), side: Side::Response, data })
}

/// What each part says to be lost, flows and messages.
fn said_lost(listings: &[Value]) -> Vec<(u64, u64)> {
    let count = |part: &Value, what| {
        let lost = part.pointer("/manifest/lost").and_then(|lost| lost.get(what));
        lost.and_then(Value::as_u64).unwrap_or(0)
    };
    listings.iter().map(|it| (count(it, "flow_count"), count(it, "ws_message_count"))).collect()
}

/// Ends the limit, as somebody does who makes room.
fn make_room() {
    setrlimit(Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
}

/// The next thing that the user is told.
fn told(capture: &Capture) -> Notice {
    capture.notices.recv_timeout(Duration::from_secs(60)).unwrap()
}

/// A flow of whose response `blocks` blocks went ahead.
fn large(id: u64, blocks: u64) -> FlowEvent {
    let mut whole = exchange(id);
    let body = &mut whole.response.as_mut().unwrap().body;
    body.sent_ahead = blocks * 64 * 1024;
    body.size += body.sent_ahead;
    ended(&whole)
}

fn compressed(id: u64, payload: Vec<u8>) -> FlowEvent {
    FlowEvent::WebSocketMessage(WebSocketMessage {
        flow: FlowId(id),
        direction: Direction::Receive,
        opcode: Opcode::Text,
        compressed: true,
        time_us: at(id),
        payload: payload.into(),
    })
}

#[test]
fn traffic_goes_on_and_what_was_written_stays_readable() {
    if !is_limited() {
        return run_limited("traffic_goes_on_and_what_was_written_stays_readable");
    }
    let capture = Capture::start(2);
    send(&capture, (1..=5).map(small).collect());
    for _ in 0..20 {
        send(&capture, vec![block(6)]);
    }
    send(&capture, (6..=9).map(small).collect());
    let notices = capture.notices.clone();
    let (_folder, listings, summary) = capture.finish_with_error();
    assert_eq!(summary.traces, 5);
    assert_eq!(summary.lost, 4);
    assert!(summary.error.unwrap().contains("4 flows were lost"));
    let counts: Vec<_> =
        listings.iter().map(|part| part["traces"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [2, 2, 1]);
    assert_eq!(said_lost(&listings), [(0, 0), (0, 0), (4, 0)]);
    let warnings: Vec<Notice> = notices.try_iter().collect();
    assert!(
        matches!(&warnings[..], [Notice::CaptureSuspended(text)] if text.contains("traffic goes on")),
        "{warnings:?}"
    );
}

#[test]
fn flows_that_span_the_gap_are_whole_or_lost() {
    if !is_limited() {
        return run_limited("flows_that_span_the_gap_are_whole_or_lost");
    }
    let capture = Capture::start(100);
    // The first two begin before, and the first has nothing meanwhile.
    send(&capture, vec![small(10), block(1), block(2)]);
    // This fills its file.
    send(&capture, (0..4).map(|_| block(3)).chain([block(3)]).collect());
    assert!(matches!(told(&capture), Notice::CaptureSuspended(_)));
    send(&capture, vec![block(2), block(4), small(11), block(5), large(5, 1)]);
    make_room();
    assert_eq!(told(&capture), Notice::CaptureResumed(2));
    let rest = [large(1, 1), block(2), large(2, 3), large(3, 5), block(4), large(4, 2), small(12)];
    send(&capture, rest.into());
    let (folder, listings, summary) = capture.finish_with_error();
    assert_eq!((summary.traces, summary.lost), (3, 5));
    assert_eq!(said_lost(&listings), [(2, 0), (3, 0)]);
    let bundle = Bundle::open(&folder.path().join("capture-0002.zip")).unwrap();
    assert_eq!(bundle.manifest().lost, Losses { flows: 3, messages: 0 });
    let error = summary.error.unwrap();
    assert!(error.starts_with("5 flows were lost: cannot write "), "{error}");
    let urls = |part: &Value| {
        let traces = part["traces"].as_array().unwrap().iter();
        traces.map(|trace| trace["request"]["url"].to_string()).collect::<Vec<_>>()
    };
    let url = |id| format!("\"https://a.example/{id}\"");
    let found: Vec<_> = listings.iter().map(urls).collect();
    assert_eq!(found, [vec![url(10)], vec![url(1), url(12)]]);
    let body = [vec![1; 64 * 1024], b"answer".to_vec()].concat();
    assert!(listings[1]["traces"][0]["response"]["body"] == base64(&body));
}

#[test]
fn messages_before_and_after_the_gap_do_not_run_together() {
    if !is_limited() {
        return run_limited("messages_before_and_after_the_gap_do_not_run_together");
    }
    let capture = Capture::start(100);
    let mut state = Compress::new(Compression::best(), false);
    let mut deflated = |text: &[u8]| {
        let mut out = Vec::with_capacity(1_024);
        state.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
        out.truncate(out.len() - 4);
        out
    };
    let [first, lost, last] =
        [&b"a history that repeats"[..], b"a history that is lost", b"a history that is lost"]
            .map(&mut deflated);
    let data = |byte: u8| {
        let data = vec![byte; 1_000].into();
        FlowEvent::WebSocketData(WebSocketData {
            flow: FlowId(1),
            direction: Direction::Send,
            data,
        })
    };
    let mut other = websocket(1, &["whole"]).into_iter();
    let (open, mut message, close) =
        (other.next().unwrap(), other.next().unwrap(), other.next().unwrap());
    if let FlowEvent::WebSocketMessage(message) = &mut message {
        message.payload = Default::default();
    }
    let open = match open {
        FlowEvent::WebSocketOpen(open) => {
            let open = std::sync::Arc::into_inner(open).unwrap();
            let deflate = Some(DeflateParameters::default());
            FlowEvent::WebSocketOpen(WebSocketOpen { deflate, ..open }.into())
        }
        other => other,
    };
    // The server's messages share their history; a message of the client is under way.
    send(&capture, vec![open, compressed(1, first), data(b'a')]);
    send(&capture, (0..5).map(|_| block(2)).collect());
    assert!(matches!(told(&capture), Notice::CaptureSuspended(_)));
    send(&capture, vec![data(b'b'), compressed(1, lost)]);
    make_room();
    assert!(matches!(told(&capture), Notice::CaptureResumed(0)));
    send(&capture, vec![data(b'c'), message.clone(), compressed(1, last.clone())]);
    send(&capture, vec![data(b'd'), message, close]);
    let (_folder, listings, summary) = capture.finish_with_error();
    assert_eq!((summary.websockets, summary.messages, summary.lost), (1, 3, 0));
    assert_eq!(summary.messages_lost, 2);
    assert_eq!(said_lost(&listings), [(0, 2)]);
    let error = summary.error.unwrap();
    assert!(error.contains("2 WebSocket messages were lost"), "{error}");
    // Nothing was lost of other flows, so all stands in the last part.
    let connection = &listings.last().unwrap()["websockets"][0];
    let messages = connection["messages"].as_array().unwrap();
    assert_eq!(messages[0]["payload"], base64(b"a history that repeats"));
    assert_eq!(messages[1]["payload"], base64(&last));
    assert_eq!(messages[1]["payload_encoding"], "permessage-deflate");
    assert_eq!(messages[2]["payload"], base64(&[b'd'; 1_000]));
    let error = connection["error"].to_string();
    assert!(error.contains("2 messages are missing"), "{error}");
}

#[test]
fn connections_opened_meanwhile_are_kept_as_far_as_there_is_memory() {
    if !is_limited() {
        return run_limited("connections_opened_meanwhile_are_kept_as_far_as_there_is_memory");
    }
    let capture = Capture::start(100);
    send(&capture, (0..5).map(|_| block(1)).collect());
    assert!(matches!(told(&capture), Notice::CaptureSuspended(_)));
    let head = |id: u64| format!("GET /{id} HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(64 * 1024));
    let ids = 2..42;
    for id in ids.clone() {
        let Some(FlowEvent::WebSocketOpen(open)) = websocket(id, &[]).into_iter().next() else {
            unreachable!()
        };
        let open = std::sync::Arc::into_inner(open).unwrap();
        let open = WebSocketOpen { request_head: head(id).into(), ..open };
        send(&capture, vec![FlowEvent::WebSocketOpen(open.into())]);
    }
    make_room();
    let kept = (JOURNAL_BUFFER_BYTES / (64 * 1024)) as u64;
    assert_eq!(told(&capture), Notice::CaptureResumed(40 - kept));
    for id in ids {
        send(&capture, websocket(id, &[]).into_iter().skip(1).collect());
    }
    let (_folder, listings, summary) = capture.finish_with_error();
    assert_eq!((summary.websockets, summary.lost), (kept, 40 - kept));
    assert_eq!(said_lost(&listings), [(40 - kept, 0)]);
}

#[test]
fn a_part_that_cannot_be_written_stays_in_the_journal() {
    if !is_limited() {
        return run_limited("a_part_that_cannot_be_written_stays_in_the_journal");
    }
    let capture = Capture::start(100);
    // Each body has room in a file of its own; the ZIP has no room for all.
    for flow in 1..=20 {
        let mut whole = exchange(flow);
        let response = whole.response.as_mut().unwrap();
        response.body.sent_ahead = 64 * 1024;
        response.body.size += 64 * 1024;
        send(&capture, vec![block(flow), ended(&whole)]);
    }
    let (folder, listings, summary) = capture.finish_with_error();
    assert!(listings.is_empty());
    let error = summary.error.unwrap();
    assert!(error.contains("kept in") && error.contains("capture.zip.journal"), "{error}");
    let journal = folder.path().join("capture.zip.journal");
    assert!(journal.join("segment-0001.flj").exists());
    assert!(journal.join("flow-20-response.body").exists());
    assert!(!journal.join("part-0001.zip").exists());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_older_bundle_is_kept_when_the_new_one_is_not_whole() {
    if !is_limited() {
        return run_limited("the_older_bundle_is_kept_when_the_new_one_is_not_whole");
    }
    let first = Capture::start(1);
    send(&first, (1..=2).map(small).collect());
    let (folder, ..) = first.finish_in_place();
    let old = std::fs::read(folder.path().join("capture.zip")).unwrap();

    let second = Capture::start_in(folder, 2);
    send(&second, (1..=3).map(small).collect());
    for _ in 0..20 {
        send(&second, vec![block(4)]);
    }
    send(&second, vec![small(4)]);
    let (folder, listings, summary) = second.finish_with_error();
    assert_eq!((listings.len(), summary.lost), (2, 1));
    let error = summary.error.unwrap();
    let kept = folder.path().join("capture.zip.journal/replaced-0001.zip");
    assert!(error.contains(&format!("the older bundle is kept as {}", kept.display())), "{error}");
    assert!(std::fs::read(kept).unwrap() == old);
    assert!(folder.path().join("capture.zip.journal/replaced-0002.zip").exists());
}

#[test]
fn nothing_but_the_command_line_writes_to_stderr() {
    if !is_limited() {
        return run_limited("nothing_but_the_command_line_writes_to_stderr");
    }
    // Wherever in an entry the disk becomes full.
    for size in [2_500, 3_000, 3_700, 5_000, 9_000] {
        let capture = Capture::start(1_000);
        for flow in 1..=250 {
            let (id, side, data) = (FlowId(flow), Side::Response, vec![1; size].into());
            let mut whole = exchange(flow);
            let response = whole.response.as_mut().unwrap();
            response.body = Body { sent_ahead: size as u64, size: size as u64, ..text_body("") };
            let block = FlowEvent::Body(BodyBlock { flow: id, side, data });
            send(&capture, vec![block, ended(&whole)]);
        }
        let (_folder, listings, summary) = capture.finish_with_error();
        assert!(listings.is_empty(), "{size}: {summary:?}");
        assert!(summary.error.is_some_and(|error| error.contains("cannot write")));
    }
}
