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

use flowtap::capture::entry::ended;
use flowtap::flow::record::*;
use flowtap::notice::Notice;

use capture::{Capture, exchange, send, text_body};

/// Set in the child process.
const LIMITED: &str = "FLOWTAP_TEST_LIMITED";

/// Runs the test `name` of this file in a process whose files end at 256 KiB (in some shells at
/// 512 KiB).
fn run_limited(name: &str) {
    let child = std::env::current_exe().unwrap();
    let script = "trap '' XFSZ; ulimit -f 512; exec \"$0\" --exact \"$1\" --nocapture";
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

fn small(id: u64) -> FlowEvent {
    ended(&exchange(id))
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
    let warnings: Vec<Notice> = notices.try_iter().collect();
    assert!(
        matches!(&warnings[..], [Notice::Warning(text)] if text.contains("traffic goes on")),
        "{warnings:?}"
    );
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
