//! What the recorder does when its journal cannot be read back whole.
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used)]

#[path = "support/capture.rs"]
mod capture;

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flowtap::capture::entry::{SegmentHeader, ended};
use flowtap::capture::journal::{JournalFolder, SegmentWriter};
use flowtap::flow::record::*;
use flowtap::limits::BODY_BLOCK_BYTES;
use flowtap::notice::Notice;

use capture::{Capture, base64, exchange, send, websocket};

fn small(id: u64) -> FlowEvent {
    ended(&exchange(id))
}

/// A file of the journal.
fn journal(folder: &Path, name: &str) -> PathBuf {
    folder.join("capture.zip.journal").join(name)
}

/// Waits until the recorder has written `bytes` to a file of the journal.
fn wait_for(path: &Path, bytes: &[u8]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let holds = |held: Vec<u8>| held.windows(bytes.len()).any(|part| part == bytes);
    while !fs::read(path).is_ok_and(holds) {
        assert!(Instant::now() < deadline);
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Damages the byte at `place`.
fn flip(path: &Path, place: u64) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(place)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(place)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}

#[test]
fn flows_behind_damage_are_counted_and_their_segment_stays() {
    let capture = Capture::start(1_000);
    let segment = journal(capture.folder.path(), "segment-0001.flj");
    send(&capture, (1..=50).map(small).collect());
    wait_for(&segment, b"POST /50 ");
    flip(&segment, fs::metadata(&segment).unwrap().len() / 2);
    send(&capture, (51..=60).map(small).collect());
    let (_folder, listings, summary) = capture.finish_with_error();
    let kept = listings[0]["traces"].as_array().unwrap().len() as u64;
    assert!((20..30).contains(&kept), "{kept}");
    assert_eq!((summary.traces, summary.lost), (kept, 60 - kept));
    let error = summary.error.unwrap();
    assert!(error.contains("recorded flows could not be read back"), "{error}");
    assert!(error.contains("kept in") && error.contains("capture.zip.journal"), "{error}");
    assert!(fs::read(&segment).unwrap().windows(9).any(|part| part == b"POST /60 "));
}

#[test]
fn a_body_that_cannot_be_read_back_is_marked_and_its_tail_is_not_taken_for_it() {
    let body: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    for left in [None, Some(0), Some(70_000)] {
        let capture = Capture::start(10);
        let mut large = exchange(1);
        capture.respond(&mut large, "HTTP/1.1 200 OK\r\n\r\n", &body);
        send(&capture, vec![ended(&large), small(2)]);
        let folder = capture.folder.path().to_owned();
        wait_for(&journal(&folder, "segment-0001.flj"), b"POST /2 ");
        let spilled = journal(&folder, "flow-1-response.body");
        match left {
            None => fs::remove_file(&spilled).unwrap(),
            Some(left) => {
                OpenOptions::new().write(true).open(&spilled).unwrap().set_len(left).unwrap();
            }
        }
        let (_folder, listings, summary) = capture.finish_with_error();
        let left = left.unwrap_or(0) as usize;
        let response = &listings[0]["traces"][0]["response"];
        assert_eq!(response["body"], base64(&body[..left]), "{left} bytes left");
        assert_eq!(response["body_file"].is_null(), left == 0);
        assert_eq!(response["body_wire_size"], 300_000);
        assert_eq!(response["body_damaged"], true);
        assert!(listings[0]["traces"][1]["response"]["body_damaged"].is_null());
        assert_eq!((summary.traces, summary.lost), (2, 0));
        let error = summary.error.unwrap();
        assert!(error.contains("1 flow could be read back in part only"), "{error}");
        assert!(journal(&folder, "segment-0001.flj").exists(), "{error}");
    }
}

#[test]
fn a_connection_whose_file_is_gone_is_counted_and_one_that_is_torn_is_marked() {
    let capture = Capture::start(10);
    let folder = capture.folder.path().to_owned();
    for id in 1..=3 {
        send(&capture, websocket(id, &["first", "second"]));
    }
    send(&capture, vec![small(4)]);
    wait_for(&journal(&folder, "segment-0001.flj"), b"POST /4 ");
    fs::remove_file(journal(&folder, "flow-1.ws")).unwrap();
    let torn = journal(&folder, "flow-2.ws");
    let place = fs::read(&torn).unwrap().windows(6).position(|part| part == b"second").unwrap();
    flip(&torn, place as u64);
    let (_folder, listings, summary) = capture.finish_with_error();
    let sockets = listings[0]["websockets"].as_array().unwrap();
    let messages = |socket: &serde_json::Value| socket["messages"].as_array().unwrap().len();
    assert_eq!(sockets.iter().map(messages).collect::<Vec<_>>(), [1, 2]);
    assert!(sockets[0]["error"].as_str().unwrap().contains("damaged"), "{}", sockets[0]);
    assert!(sockets[1]["error"].is_null());
    assert_eq!((summary.websockets, summary.lost), (2, 1));
    let error = summary.error.unwrap();
    assert!(error.contains("1 recorded flow could not be read back"), "{error}");
    assert!(error.contains("1 flow could be read back in part only"), "{error}");
    assert!(torn.exists());
}

#[test]
fn a_folder_that_vanished_is_made_again() {
    let capture = Capture::start(10);
    let folder = capture.folder.path().to_owned();
    send(&capture, vec![small(1), small(2)]);
    wait_for(&journal(&folder, "segment-0001.flj"), b"POST /2 ");
    fs::remove_dir_all(&folder).unwrap();
    send(&capture, vec![small(3)]);
    let (_folder, listings, summary) = capture.finish_with_error();
    assert_eq!((summary.traces, summary.lost), (1, 2));
    assert_eq!(listings[0]["traces"][0]["request"]["url"], "https://a.example/3");
    let error = summary.error.unwrap();
    assert!(error.contains("2 flows were lost") && error.contains("removed"), "{error}");
    assert!(!folder.join("capture.zip.journal").exists());
}

#[test]
fn a_folder_that_vanished_holds_nothing() {
    let capture = Capture::start(10);
    let folder = capture.folder.path().to_owned();
    send(&capture, vec![small(1), small(2)]);
    wait_for(&journal(&folder, "segment-0001.flj"), b"POST /2 ");
    fs::remove_dir_all(&folder).unwrap();
    // In its place is what keeps it from being made again.
    fs::write(&folder, "").unwrap();
    send(&capture, vec![small(3)]);
    let (_folder, _, summary) = capture.finish_with_error();
    assert_eq!((summary.traces, summary.lost), (0, 3));
    let error = summary.error.unwrap();
    assert!(error.contains("capture.zip.journal is gone"), "{error}");
    assert!(!error.contains("kept"), "{error}");
    fs::remove_file(&folder).unwrap();
}

/// Whoever removes the journal of a capture that runs and starts another to the same output has
/// two, of which the second has the place.
#[test]
fn what_another_capture_has_in_the_place_of_the_journal_stays() {
    for part_traces in [1, 9] {
        let capture = Capture::start(part_traces);
        let folder = capture.folder.path().to_owned();
        send(&capture, (1..=2).map(small).collect());
        let last = journal(&folder, if part_traces == 1 { "segment-0002.flj" } else { FIRST });
        wait_for(&last, b"POST /2 ");
        let deadline = Instant::now() + Duration::from_secs(30);
        while part_traces == 1 && journal(&folder, FIRST).exists() {
            assert!(Instant::now() < deadline);
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let body = vec![7; BODY_BLOCK_BYTES];
        let block = BodyBlock { flow: FlowId(3), side: Side::Response, data: body.into() };
        send(&capture, vec![FlowEvent::Body(block)]);
        wait_for(&journal(&folder, LARGE), &[7; 100]);
        let output = folder.join("capture.zip");
        // The first makes its journal again as soon as it can.
        let other = loop {
            let _ = fs::remove_dir_all(journal(&folder, ""));
            if let Ok((other, _)) = JournalFolder::create(&output) {
                break other;
            }
        };
        for part in 1..=2 {
            let header = SegmentHeader {
                series: "other".into(),
                part,
                created_us: 1,
                app: "other".into(),
                file_name: "capture.zip".into(),
            };
            SegmentWriter::create(&other.segment(part), &header).unwrap();
        }
        fs::write(journal(&folder, LARGE), "other").unwrap();
        let told = capture.notices.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(matches!(told, Notice::CaptureSuspended(_)), "{told:?}");
        let mut flow = exchange(3);
        let size = BODY_BLOCK_BYTES as u64;
        let body = Body { sent_ahead: size, size, ..Body::default() };
        flow.response = Some(Message { body, ..exchange(3).response.unwrap() });
        send(&capture, vec![ended(&flow)]);
        let (_folder, _, summary) = capture.finish_with_error();
        let error = summary.error.unwrap();
        assert_eq!(summary.traces, if part_traces == 1 { 1 } else { 0 });
        assert_eq!(summary.lost, 3 - summary.traces, "{error}");
        assert!(other.segment(1).exists() && other.segment(2).exists(), "{error}");
        assert_eq!(fs::read(journal(&folder, LARGE)).unwrap(), b"other");
    }
}

const FIRST: &str = "segment-0001.flj";
const LARGE: &str = "flow-3-response.body";
