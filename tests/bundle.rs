//! The recorder from the queue to the bundle, judged by an independent reader.
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used)]

#[path = "support/capture.rs"]
mod capture;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use flate2::{Compress, Compression, FlushCompress};
use flowtap::capture::entry::ended;
use flowtap::flow::record::*;
use flowtap::notice::Notice;

use capture::{Capture, at, base64, exchange, gzip, holds, lines, names, send, small, wait};

#[test]
fn a_capture_of_nothing_is_a_valid_bundle() {
    let capture = Capture::start(10);
    let (listings, summary) = capture.finish();
    assert_eq!(listings.len(), 1);
    assert_eq!(listings[0]["traces"].as_array().unwrap().len(), 0);
    assert_eq!((summary.traces, summary.lost, summary.error), (0, 0, None));
    assert_eq!(listings[0]["manifest"]["app"]["base_url"], "");
}

#[test]
fn bodies_are_stored_decoded_or_as_they_came() {
    let capture = Capture::start(100);
    let fox = "The quick brown fox jumps over the lazy dog. ".repeat(40);
    let bomb = gzip(&vec![0; 80 * 1024 * 1024]);
    // Content-Encoding, the body on the wire, the body stored, body_encoding.
    type Case = (&'static str, Vec<u8>, Vec<u8>, Option<&'static str>);
    let cases: Vec<Case> = vec![
        ("", b"plain".to_vec(), b"plain".to_vec(), None),
        ("gzip", gzip(fox.as_bytes()), fox.clone().into(), None),
        ("br", include_bytes!("data/fox.br").to_vec(), fox.clone().into(), None),
        ("zstd", include_bytes!("data/fox.zst").to_vec(), fox.clone().into(), None),
        ("gzip, gzip", gzip(&gzip(b"twice")), b"twice".to_vec(), None),
        ("gzip", gzip(b""), b"".to_vec(), None),
        ("gzip", b"not gzip".to_vec(), b"not gzip".to_vec(), Some("gzip")),
        ("odd", b"odd".to_vec(), b"odd".to_vec(), Some("odd")),
        ("gzip", bomb.clone(), bomb, Some("gzip")),
    ];
    for (number, (coding, wire, _, _)) in cases.iter().enumerate() {
        let mut flow = exchange(number as u64 + 1);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n");
        capture.respond(&mut flow, &head, wire);
        send(&capture, vec![ended(&flow)]);
    }
    let (listings, summary) = capture.finish();
    assert_eq!(summary.traces, cases.len() as u64);
    for (number, (coding, wire, stored, encoding)) in cases.iter().enumerate() {
        let response = &listings[0]["traces"][number]["response"];
        assert_eq!(response["body"], base64(stored), "case {number}");
        assert_eq!(response["body_encoding"].as_str(), *encoding, "case {number}");
        assert_eq!(response["body_size"], stored.len());
        let coded = Some(wire.len() as u64).filter(|_| !coding.is_empty() && encoding.is_none());
        assert_eq!(response["body_coded_size"].as_u64(), coded, "case {number}");
    }
}

#[test]
fn large_bodies_of_many_flows_at_once_come_together() {
    let capture = Capture::start(1_000);
    let flows = 100_u64;
    let blocks = 4_u64;
    for block in 0..blocks {
        for flow in 1..=flows {
            let data = vec![(flow + block) as u8; 64 * 1024].into();
            let side = Side::Response;
            send(&capture, vec![FlowEvent::Body(BodyBlock { flow: FlowId(flow), side, data })]);
        }
    }
    for flow in 1..=flows {
        let mut whole = exchange(flow);
        let body = Body { tail: "end".into(), sent_ahead: blocks << 16, size: (blocks << 16) + 3 };
        whole.response = Some(Message {
            head: "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n".into(),
            body,
            ..Message::default()
        });
        send(&capture, vec![ended(&whole)]);
    }
    let (listings, summary) = capture.finish();
    assert_eq!(summary.bytes, flows * ((blocks << 16) + 3 + "question".len() as u64));
    for flow in 1..=flows {
        let mut expected: Vec<u8> =
            (0..blocks).flat_map(|block| vec![(flow + block) as u8; 64 * 1024]).collect();
        expected.extend_from_slice(b"end");
        let trace = &listings[0]["traces"][flow as usize - 1];
        assert!(trace["response"]["body"] == base64(&expected), "flow {flow}");
    }
}

#[test]
fn a_large_coded_body_is_decoded_on_its_way() {
    let capture = Capture::start(10);
    let text: Vec<u8> = (0..300_000_u32).flat_map(|n| format!("{n:x} ").into_bytes()).collect();
    let mut flow = exchange(1);
    capture.respond(
        &mut flow,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\r\n",
        &gzip(&text),
    );
    send(&capture, vec![ended(&flow)]);
    let (listings, _) = capture.finish();
    assert!(listings[0]["traces"][0]["response"]["body"] == base64(&text));
}

#[test]
fn a_body_that_was_cut_says_so() {
    let capture = Capture::start(10);
    let mut flow = exchange(1);
    capture.respond(&mut flow, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", b"start");
    flow.response.as_mut().unwrap().body.size = 5_000;
    send(&capture, vec![ended(&flow)]);
    let (listings, summary) = capture.finish();
    let response = &listings[0]["traces"][0]["response"];
    assert_eq!(response["body"], base64(b"start"));
    assert_eq!(response["body_encoding"], "gzip");
    assert_eq!(response["body_wire_size"], 5_000);
    assert_eq!(summary.bodies_cut, 1);
}

#[test]
fn odd_heads_cost_no_trace() {
    let capture = Capture::start(10);
    let heads: [&[u8]; 5] = [
        b"GET /caf\xe9 HTTP/1.1\r\nHost: a.example\r\nX: \xff\xfe\r\nx: 2\r\n\r\n",
        b"\x16\x03\x01\x02",
        b"",
        b"GET http://b.example/p HTTP/1.1\nHost: other\n\n",
        b"OPTIONS /preflight HTTP/1.1\r\nHost: a.example\r\n\r\n",
    ];
    for (number, head) in heads.iter().enumerate() {
        let mut flow = exchange(number as u64 + 1);
        flow.request.head = head.to_vec().into();
        flow.response = None;
        flow.error = Some("refused".into());
        send(&capture, vec![ended(&flow)]);
    }
    let (listings, _) = capture.finish();
    let traces = &listings[0]["traces"];
    assert_eq!(traces.as_array().unwrap().len(), 4);
    assert_eq!(traces[0]["request"]["url"], "https://a.example/caf\u{e9}");
    let headers = &traces[0]["request"]["headers"];
    assert_eq!(headers[1]["value"], "\u{ff}\u{fe}");
    assert_eq!((&headers[1]["name"], &headers[2]["name"]), (&"X".into(), &"x".into()));
    // The connection had TLS, whatever the target says.
    assert_eq!(traces[3]["request"]["url"], "https://b.example/p");
    assert_eq!(traces[2]["response"]["status"], 0);
    assert_eq!(traces[2]["error"], "refused");
}

#[test]
fn a_handshake_is_no_trace_and_its_refusal_is_one() {
    let capture = Capture::start(10);
    for (id, head) in [
        (1, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\r\n"),
        (2, "HTTP/1.1 403 Forbidden\r\n\r\n"),
    ] {
        let mut flow = exchange(id);
        flow.response.as_mut().unwrap().head = head.into();
        send(&capture, vec![ended(&flow)]);
    }
    let (listings, _) = capture.finish();
    assert_eq!(listings[0]["traces"].as_array().unwrap().len(), 1);
    assert_eq!(listings[0]["traces"][0]["response"]["status"], 403);
}

fn open(id: u64, deflate: Option<DeflateParameters>) -> FlowEvent {
    FlowEvent::WebSocketOpen(Arc::new(WebSocketOpen {
        id: FlowId(id),
        scheme: Scheme::Https,
        target: Arc::new(Authority { host: "ws.example".into(), port: 443 }),
        client: "127.0.0.1:9".parse().unwrap(),
        request_head: "GET /s HTTP/1.1\r\nHost: ws.example\r\nSec-WebSocket-Protocol: a, b\r\n\r\n"
            .into(),
        response_head: "HTTP/1.1 101 Switching Protocols\r\n\r\n".into(),
        began_us: at(id),
        deflate,
    }))
}

fn message(id: u64, direction: Direction, opcode: Opcode, payload: &[u8]) -> WebSocketMessage {
    WebSocketMessage {
        flow: FlowId(id),
        direction,
        opcode,
        compressed: false,
        time_us: at(id) + 5_000,
        payload: payload.to_vec().into(),
    }
}

fn close(id: u64) -> FlowEvent {
    let flow = FlowId(id);
    FlowEvent::WebSocketClose(WebSocketClose { flow, time_us: at(id) + 9_000, error: None })
}

/// A message of permessage-deflate: flushed, without the last four bytes (RFC 7692 7.2.1).
fn deflated(state: &mut Compress, payload: &[u8]) -> Vec<u8> {
    if payload.is_empty() {
        return vec![0];
    }
    let mut out = Vec::with_capacity(payload.len() + 1_024);
    state.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    assert_eq!(out.split_off(out.len() - 4), [0, 0, 0xff, 0xff]);
    out
}

#[test]
fn websocket_messages_are_whole_and_inflated() {
    let capture = Capture::start(10);
    let both =
        DeflateParameters { client_no_context_takeover: true, server_no_context_takeover: true };
    send(&capture, vec![open(1, Some(DeflateParameters::default())), open(2, Some(both))]);
    let words = [&b"hello hello hello"[..], b"hello again hello", b"", b"hello hello hello"];
    for id in [1, 2] {
        let mut state = Compress::new(Compression::fast(), false);
        for word in words {
            if id == 2 {
                state.reset();
            }
            let payload = deflated(&mut state, word);
            let mut sent = message(id, Direction::Send, Opcode::Text, &payload);
            sent.compressed = true;
            send(&capture, vec![FlowEvent::WebSocketMessage(sent)]);
        }
    }
    // A large message with a ping between its blocks, and one of the other direction.
    let data = |direction, byte: u8| {
        let data = vec![byte; 64 * 1024].into();
        FlowEvent::WebSocketData(WebSocketData { flow: FlowId(1), direction, data })
    };
    let whole = |direction, opcode, payload: &[u8]| {
        FlowEvent::WebSocketMessage(message(1, direction, opcode, payload))
    };
    use Direction::{Receive, Send};
    send(&capture, vec![data(Receive, 1), data(Send, 7), data(Receive, 2)]);
    send(&capture, vec![whole(Receive, Opcode::Ping, b"p"), whole(Send, Opcode::Pong, b"")]);
    send(&capture, vec![whole(Receive, Opcode::Binary, b"end")]);
    send(&capture, vec![whole(Send, Opcode::Binary, &[9; 200_000]), close(1)]);
    // The second connection is still open when the capture ends.
    let (listings, summary) = capture.finish();
    assert_eq!((summary.websockets, summary.messages), (2, 12));
    let sockets = &listings[0]["websockets"];
    for socket in [&sockets[0], &sockets[1]] {
        assert_eq!(socket["url"], "wss://ws.example/s");
        assert_eq!(socket["protocols"], lines(&["a", "b"]));
        for (number, word) in words.iter().enumerate() {
            assert_eq!(socket["messages"][number]["payload"], base64(word));
        }
    }
    let messages = &sockets[0]["messages"];
    assert_eq!((&messages[4]["opcode"], &messages[5]["opcode"]), (&"ping".into(), &"pong".into()));
    let expected = [vec![1; 64 * 1024], vec![2; 64 * 1024], b"end".to_vec()].concat();
    assert!(messages[6]["payload"] == base64(&expected));
    let expected = [vec![7; 64 * 1024], vec![9; 200_000]].concat();
    assert!(messages[7]["payload"] == base64(&expected));
    assert_eq!(messages[7]["direction"], "send");
    assert!(sockets[1]["error"].is_string());
}

#[test]
fn a_payload_that_cannot_be_inflated_is_stored_as_it_came() {
    let capture = Capture::start(10);
    send(&capture, vec![open(1, Some(DeflateParameters::default()))]);
    for payload in [&b"\xff\xff\xff\xff"[..], b"\x00"] {
        let mut sent = message(1, Direction::Send, Opcode::Text, payload);
        sent.compressed = true;
        send(&capture, vec![FlowEvent::WebSocketMessage(sent)]);
    }
    send(&capture, vec![close(1)]);
    let (listings, _) = capture.finish();
    let messages = &listings[0]["websockets"][0]["messages"];
    assert_eq!(messages[0]["payload"], base64(b"\xff\xff\xff\xff"));
    assert_eq!(messages[0]["payload_encoding"], "permessage-deflate");
    assert_eq!(messages[1]["payload"], base64(b"\x00"));
}

#[test]
fn messages_behind_one_that_is_past_the_caps_are_inflated() {
    let capture = Capture::start(10);
    send(&capture, vec![open(1, Some(DeflateParameters::default()))]);
    let mut state = Compress::new(Compression::best(), false);
    let large = vec![b'a'; 8 * 1024 * 1024];
    let mut wire = Vec::new();
    for payload in [&b"hello one"[..], &large, b"hello two, hello one", b"hello three"] {
        wire.push(deflated(&mut state, payload));
        let mut sent = message(1, Direction::Receive, Opcode::Text, wire.last().unwrap());
        sent.compressed = true;
        send(&capture, vec![FlowEvent::WebSocketMessage(sent)]);
    }
    send(&capture, vec![close(1)]);
    let (listings, _) = capture.finish();
    let messages = &listings[0]["websockets"][0]["messages"];
    assert_eq!(messages[0]["payload"], base64(b"hello one"));
    assert_eq!(messages[1]["payload_encoding"], "permessage-deflate");
    assert!(messages[1]["payload"] == base64(&wire[1]));
    assert_eq!(messages[2]["payload"], base64(b"hello two, hello one"));
    assert_eq!(messages[3]["payload"], base64(b"hello three"));
    assert!(messages[3]["payload_encoding"].is_null());
}

#[test]
fn the_next_part_begins_at_the_limit() {
    let capture = Capture::start(3);
    for id in 1..=7 {
        send(&capture, vec![small(id)]);
    }
    send(&capture, vec![open(8, None), close(8)]);
    let (listings, summary) = capture.finish();
    let counts: Vec<_> =
        listings.iter().map(|part| part["traces"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [3, 3, 1]);
    assert_eq!(listings[2]["websockets"].as_array().unwrap().len(), 1);
    let names: Vec<_> = summary.paths.iter().map(|path| path.file_name().unwrap()).collect();
    assert_eq!(names, ["capture.zip", "capture-0002.zip", "capture-0003.zip"]);
    assert_ne!(listings[0]["manifest"]["capture_id"], listings[1]["manifest"]["capture_id"]);
    assert_eq!(listings[1]["traces"][0]["id"], "t_0001");
}

#[test]
fn many_messages_begin_the_next_part() {
    let capture = Capture::start(10);
    let each = flowtap::limits::PART_MESSAGES / 2 + 1;
    for id in [1, 2] {
        send(&capture, vec![open(id, None)]);
        for _ in 0..each / 100 + 1 {
            let pong = || message(id, Direction::Send, Opcode::Pong, b"");
            send(&capture, (0..100).map(|_| FlowEvent::WebSocketMessage(pong())).collect());
        }
        send(&capture, vec![close(id)]);
    }
    let (listings, summary) = capture.finish();
    assert_eq!((listings.len(), summary.websockets), (2, 2));
    assert!(summary.messages > flowtap::limits::PART_MESSAGES);
    let messages = listings[1]["websockets"][0]["messages"].as_array().unwrap();
    let ids: Vec<_> = messages.iter().map(|message| message["id"].as_str().unwrap()).collect();
    assert_eq!((ids[0], ids[10_000]), ("ws_0001_m00001", "ws_0001_m10001"));
    assert!(ids.is_sorted(), "names are in order as text");
}

#[test]
fn more_entries_than_a_plain_zip_can_count_are_all_there() {
    let capture = Capture::start(10);
    send(&capture, vec![open(1, None)]);
    for _ in 0..330 {
        let pong = || message(1, Direction::Send, Opcode::Pong, b"x");
        send(&capture, (0..100).map(|_| FlowEvent::WebSocketMessage(pong())).collect());
    }
    send(&capture, vec![close(1)]);
    let (listings, _) = capture.finish();
    // Two entries a message: past 65,535 the archive is ZIP64.
    assert_eq!(listings[0]["websockets"][0]["message_count"], 33_000);
}

#[test]
fn the_real_limit_holds() {
    let capture = Capture::start(flowtap::limits::PART_TRACES);
    for batch in 0..200_u64 {
        let flow = |id| small(batch * 51 + id);
        send(&capture, (1..=51).map(flow).collect());
    }
    let (listings, summary) = capture.finish();
    assert_eq!(summary.traces, 10_200);
    assert_eq!(listings[0]["traces"].as_array().unwrap().len(), 9_999);
    assert_eq!(listings[0]["traces"][9_998]["id"], "t_9999");
    assert_eq!(listings[1]["traces"].as_array().unwrap().len(), 201);
}

#[test]
fn later_parts_of_the_capture_that_is_replaced_go() {
    let first = Capture::start(1);
    send(&first, (1..=4).map(small).collect());
    let (folder, listings, _) = first.finish_in_place();
    let series = |listing: &serde_json::Value| listing["manifest"]["series_id"].clone();
    assert!(listings.iter().all(|part| series(part) == series(&listings[0])));
    assert_eq!(listings[3]["manifest"]["part_number"], 4);
    let second = Capture::start_in(folder, 2);
    send(&second, (1..=3).map(small).collect());
    let (folder, second, _) = second.finish_in_place();
    assert_eq!(names(folder.path()), ["capture-0002.zip", "capture.zip"]);
    assert_ne!(series(&second[0]), series(&listings[0]));
    assert_eq!(series(&second[0]), series(&second[1]));
}

#[test]
fn parts_of_others_stay_or_are_moved_aside() {
    // A capture that has the name of a part, and a file that is no bundle at all.
    let other = Capture::start_as(tempfile::tempdir().unwrap(), "capture-0002.zip", 10);
    send(&other, (1..=3).map(small).collect());
    let (folder, ..) = other.finish_in_place();
    let other = fs::read(folder.path().join("capture-0002.zip")).unwrap();
    fs::write(folder.path().join("capture-0003.zip"), "mine").unwrap();
    fs::write(folder.path().join("capture-0003.zip.old"), "older").unwrap();

    let one = Capture::start_in(folder, 10);
    send(&one, (1..=1).map(small).collect());
    let (folder, ..) = one.finish_in_place();
    assert!(fs::read(folder.path().join("capture-0002.zip")).unwrap() == other);

    let three = Capture::start_in(folder, 1);
    let notices = three.notices.clone();
    send(&three, (1..=3).map(small).collect());
    let (folder, listings, _) = three.finish_in_place();
    assert_eq!(listings.len(), 3);
    assert!(fs::read(folder.path().join("capture-0002.zip.old")).unwrap() == other);
    let text = |name| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(text("capture-0003.zip.old"), "older");
    assert_eq!(text("capture-0003.zip.old-2"), "mine");
    let warnings: Vec<_> = notices.try_iter().collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let Notice::Warning(text) = &warnings[1] else { unreachable!("{warnings:?}") };
    assert!(text.contains("capture-0003.zip was there"), "{text}");
    assert!(text.contains("it is now") && text.ends_with("capture-0003.zip.old-2"), "{text}");
}

#[test]
fn while_a_capture_goes_on_no_part_of_the_former_stands_behind_its_own() {
    let first = Capture::start(1);
    send(&first, (1..=3).map(small).collect());
    let (folder, ..) = first.finish_in_place();
    let old: Vec<_> = ["capture.zip", "capture-0002.zip", "capture-0003.zip"]
        .map(|name| fs::read(folder.path().join(name)).unwrap())
        .into();
    let second = Capture::start_in(folder, 1);
    assert!(fs::read(second.folder.path().join("capture.zip")).unwrap() == old[0]);
    // The second flow ends the first part, which is packed while the capture goes on.
    send(&second, (1..=2).map(small).collect());
    let first_part = second.folder.path().join("capture.zip");
    wait("the first part is packed", || fs::read(&first_part).unwrap() != old[0]);
    assert_eq!(names(second.folder.path()), ["capture.zip", "capture.zip.journal"]);
    for (number, old) in old.iter().enumerate() {
        let kept = format!("capture.zip.journal/replaced-{:04}.zip", number + 1);
        assert!(&fs::read(second.folder.path().join(kept)).unwrap() == old, "part {number}");
    }
    let (folder, ..) = second.finish_in_place();
    assert_eq!(names(folder.path()), ["capture-0002.zip", "capture.zip"]);
}

#[test]
fn an_unfinished_journal_stays_and_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("capture.zip.journal");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("segment-0001.flj"), "evidence").unwrap();
    let capture = Capture::start_in(folder, 10);
    let notice = capture.notices.try_recv().unwrap();
    assert!(matches!(notice, Notice::Warning(text) if text.contains("unfinished")));
    let (_folder, ..) = capture.finish_in_place();
    assert_eq!(fs::read_to_string(left.join("segment-0001.flj")).unwrap(), "evidence");
}

#[test]
fn a_second_capture_to_the_same_output_is_refused() {
    let capture = Capture::start(10);
    send(&capture, vec![small(1)]);
    let error = capture::refused(&capture.folder.path().join("capture.zip"));
    assert!(error.contains("another flowtap is writing capture.zip"), "{error}");
    assert!(!error.contains('\n'));
    let (folder, listings, _) = capture.finish_in_place();
    assert_eq!(listings[0]["traces"].as_array().unwrap().len(), 1);
    assert_eq!(names(folder.path()), ["capture.zip"]);
}

#[test]
fn flows_are_in_the_journal_before_the_capture_ends() {
    let capture = Capture::start(10);
    send(&capture, vec![small(77)]);
    let segment = capture.folder.path().join("capture.zip.journal/segment-0001.flj");
    wait("the flow is written", || holds(&segment, b"POST /77"));
    capture.finish();
}

#[test]
fn an_output_that_cannot_be_written_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let device = PathBuf::from("/dev/null");
    for path in [folder.path().join("missing/capture.zip"), folder.path().to_owned(), device] {
        let error = capture::refused(&path);
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(!error.contains('\n'));
    }
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_the_bundle() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, _, summary) = Capture::start(10).finish_in_place();
    let mode = fs::metadata(&summary.paths[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(folder);
}
