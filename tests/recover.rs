//! What `recover` makes of the journals of killed captures.
//!
//! A copy of a running capture's folder is what a kill at that moment would have left behind:
//! nobody has locked it. `tests/crash` kills real processes.
//!
//! `FLOWTAP_DAMAGES` sets how many journals are damaged at random.
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/capture.rs"]
mod capture;
#[path = "crash/random.rs"]
#[expect(dead_code, reason = "the crash test takes chances too")]
mod random;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flowtap::capture::entry::ended;
use flowtap::capture::frame::FRAME_HEADER_BYTES;
use flowtap::capture::recover::{Recovered, find, recover};
use flowtap::flow::record::*;
use flowtap::limits::BODY_BLOCK_BYTES;
use flowtap::notice::Notice;
use serde_json::Value;
use tempfile::TempDir;

use random::{Random, bytes};

use capture::{Capture, at, base64, check, exchange, holds, names, send, small, wait, websocket};

fn journal(folder: &Path) -> PathBuf {
    folder.join("capture.zip.journal")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => _ = fs::copy(entry.path(), target).unwrap(),
        }
    }
}

/// What a kill would leave behind as soon as flow `last` is in the journal.
fn killed(capture: Capture, last: u64) -> TempDir {
    let folder = capture.folder.path().to_owned();
    let mark = format!("POST /{last} HTTP");
    wait("the flow is written", || {
        let entries = fs::read_dir(journal(&folder)).unwrap().flatten();
        let mut segments = entries.filter(|it| it.path().extension().is_some_and(|e| e == "flj"));
        segments.any(|it| holds(&it.path(), mark.as_bytes()))
    });
    let copied = tempfile::tempdir().unwrap();
    copy(&folder, copied.path());
    drop(capture);
    copied
}

fn try_to_recover(folder: &Path) -> Result<Recovered, String> {
    let output = folder.join("capture.zip");
    recover(&journal(folder), &output, &output).map_err(|error| error.to_string())
}

/// Recovers what no living capture has. A program that another test starts at the same time has
/// this process's descriptors, locks among them, until it is in its place.
fn recover_in(folder: &Path) -> Result<Recovered, String> {
    unlocked(|| try_to_recover(folder))
}

/// What a recovery comes to when nobody holds the lock any more.
fn unlocked(recover: impl Fn() -> Result<Recovered, String>) -> Result<Recovered, String> {
    let mut recovered = recover();
    let is_locked = |it: &Result<_, String>| {
        it.as_ref().is_err_and(|error| error.contains("its capture is still running"))
    };
    wait("nobody holds the lock of a capture that has ended", || {
        if is_locked(&recovered) {
            recovered = recover();
        }
        !is_locked(&recovered)
    });
    recovered
}

/// The requests' paths in all parts, each of which is a whole bundle.
fn requests(recovered: &Recovered) -> Vec<String> {
    let listings = recovered.paths.iter().map(|path| check(path));
    let traces = listings.flat_map(|listing| listing["traces"].as_array().unwrap().clone());
    let url = |trace: Value| trace["request"]["url"].as_str().unwrap().to_owned();
    traces.map(|trace| url(trace).replace("https://a.example/", "")).collect()
}

fn series(path: &Path) -> (Value, Value) {
    let manifest = check(path)["manifest"].clone();
    (manifest["series_id"].clone(), manifest["part_number"].clone())
}

/// The file of the last segment.
fn segment(folder: &Path, part: u32) -> PathBuf {
    journal(folder).join(format!("segment-{part:04}.flj"))
}

fn truncate(path: &Path, by: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - by).unwrap();
}

/// Where the frames of a file begin.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let (mut starts, mut at) = (Vec::new(), 0);
    while at + FRAME_HEADER_BYTES <= bytes.len() {
        starts.push(at);
        let length = u32::from_le_bytes(bytes[at + 1..at + 5].try_into().unwrap());
        at += FRAME_HEADER_BYTES + length as usize;
    }
    starts
}

#[test]
fn all_that_was_written_is_in_the_bundle() {
    let capture = Capture::start(100);
    let body: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    let mut large = exchange(1);
    capture.respond(&mut large, "HTTP/1.1 200 OK\r\n\r\n", &body);
    send(&capture, vec![ended(&large)]);
    send(&capture, websocket(2, &["whole"]));
    let mut open = websocket(3, &["first", "second"]);
    open.pop();
    send(&capture, open);
    let data = vec![1; BODY_BLOCK_BYTES].into();
    let block = BodyBlock { flow: FlowId(4), side: Side::Request, data };
    send(&capture, vec![FlowEvent::Body(block), small(5)]);
    let folder = killed(capture, 5);

    let recovered = recover_in(folder.path()).unwrap();
    assert_eq!(recovered.paths, [folder.path().join("capture.zip")]);
    assert_eq!(names(folder.path()), ["capture.zip"], "{recovered:?}");
    let counts = (recovered.traces, recovered.websockets, recovered.messages);
    assert_eq!(counts, (2, 2, 3));
    assert_eq!((recovered.open_websockets, recovered.under_way), (1, 1));
    assert_eq!(requests(&recovered), ["1", "5"]);
    let listing = check(&recovered.paths[0]);
    assert!(listing["traces"][0]["response"]["body"] == base64(&body));
    let sockets = &listing["websockets"];
    assert_eq!(sockets[0]["error"], Value::Null);
    assert_eq!(sockets[1]["error"], "the capture was killed first");
    assert_eq!(sockets[1]["closed_timestamp"], Value::Null);
    assert_eq!(sockets[1]["messages"][1]["payload"], base64(b"second"));
    assert_eq!(listing["manifest"]["app"]["name"], "test");
    // From the start of the capture, which is now, to flows of long ago.
    assert_eq!(listing["manifest"]["duration_ms"], 0);
}

#[test]
fn parts_in_their_places_stay_and_the_others_follow() {
    let capture = Capture::start(2);
    send(&capture, (1..=5).map(small).collect());
    let folder = capture.folder.path().to_owned();
    let second = folder.join("capture-0002.zip");
    wait("two parts are in their places", || second.exists() && !segment(&folder, 2).exists());
    let folder = killed(capture, 5);
    let before = fs::read(folder.path().join("capture.zip")).unwrap();
    let recovered = recover_in(folder.path()).unwrap();
    let parts = ["capture-0002.zip", "capture-0003.zip", "capture.zip"];
    assert_eq!(names(folder.path()), parts, "{recovered:?}");
    assert_eq!(requests(&recovered), ["1", "2", "3", "4", "5"]);
    assert!(fs::read(folder.path().join("capture.zip")).unwrap() == before);
    let found: Vec<_> = recovered.paths.iter().map(|path| series(path)).collect();
    assert!(found.iter().all(|(series, _)| *series == found[0].0));
    assert_eq!(found[2].1, 3);
}

#[test]
fn a_bundle_of_another_capture_keeps_its_place() {
    let capture = Capture::start(2);
    send(&capture, (1..=3).map(small).collect());
    let folder = capture.folder.path().to_owned();
    let first = folder.join("capture.zip");
    wait("a part is in its place", || first.exists() && !segment(&folder, 1).exists());
    let folder = killed(capture, 3);
    // Neither a later part nor the first is written over.
    fs::write(folder.path().join("capture-0002.zip"), "mine").unwrap();
    let recovered = recover_in(folder.path()).unwrap();
    assert_eq!(requests(&recovered), ["1", "2", "3"]);
    let paths: Vec<_> = recovered.paths.iter().map(|path| path.file_name().unwrap()).collect();
    assert_eq!(paths, ["capture-recovered.zip", "capture-recovered-0002.zip"]);
    assert_eq!(fs::read(folder.path().join("capture-0002.zip")).unwrap(), b"mine");
    assert!(folder.path().join("capture.zip").exists());

    let capture = Capture::start(9);
    send(&capture, vec![small(1)]);
    let folder = killed(capture, 1);
    fs::write(folder.path().join("capture.zip"), "older").unwrap();
    fs::write(folder.path().join("capture-recovered.zip"), "another").unwrap();
    let recovered = recover_in(folder.path()).unwrap();
    assert_eq!(recovered.paths, [folder.path().join("capture-recovered-2.zip")]);
    assert_eq!(fs::read(folder.path().join("capture.zip")).unwrap(), b"older");
    assert_eq!(fs::read(folder.path().join("capture-recovered.zip")).unwrap(), b"another");
}

#[test]
fn a_new_capture_to_the_same_output_destroys_nothing_of_a_killed_one() {
    let capture = Capture::start(2);
    send(&capture, (1..=5).map(small).collect());
    let folder = capture.folder.path().to_owned();
    let second = folder.join("capture-0002.zip");
    wait("two parts are in their places", || second.exists() && !segment(&folder, 2).exists());
    let folder = killed(capture, 5);

    let newer = Capture::start_in(folder, 1);
    let Notice::Warning(text) = newer.notices.try_recv().unwrap() else { panic!() };
    let output = newer.folder.path().join("capture.zip");
    assert!(text.contains("an unfinished capture is in"), "{text}");
    assert!(text.ends_with(&format!("flowtap recover {}", output.display())), "{text}");
    send(&newer, vec![small(8), small(9)]);
    let (folder, newest, summary) = newer.finish_in_place();
    assert_eq!((newest.len(), summary.traces), (2, 2));
    let kept = names(&journal(folder.path()));
    assert!(kept.contains(&"placed-0001.zip".to_owned()), "{kept:?}");
    assert!(kept.contains(&"placed-0002.zip".to_owned()), "{kept:?}");

    let recovered = recover_in(folder.path()).unwrap();
    assert_eq!(requests(&recovered), ["1", "2", "3", "4", "5"]);
    assert!(recovered.paths[2].ends_with("capture-recovered-0003.zip"), "{recovered:?}");
    assert!(!journal(folder.path()).exists());
    assert_eq!(check(&output)["manifest"], newest[0]["manifest"]);
}

#[test]
fn while_another_capture_runs_its_output_is_left_to_it() {
    let capture = Capture::start(9);
    send(&capture, vec![small(1)]);
    let folder = killed(capture, 1);
    let running = Capture::start_in(folder, 9);
    let path = running.folder.path().to_owned();
    let recovered = recover_in(&path).unwrap();
    assert_eq!(recovered.paths, [path.join("capture-recovered.zip")]);
    assert!(recovered.notes[0].contains("another capture is writing"), "{recovered:?}");
    send(&running, vec![small(2)]);
    let (folder, listings, _) = running.finish_in_place();
    assert_eq!(listings[0]["traces"].as_array().unwrap().len(), 1);
    assert_eq!(names(folder.path()), ["capture-recovered.zip", "capture.zip"]);
}

#[test]
fn the_older_bundle_that_was_replaced_is_kept() {
    let older = Capture::start(1);
    send(&older, vec![small(1), small(2)]);
    let (folder, ..) = older.finish_in_place();
    let old =
        ["capture.zip", "capture-0002.zip"].map(|name| fs::read(folder.path().join(name)).unwrap());

    let newer = Capture::start_in(folder, 1);
    send(&newer, (11..=13).map(small).collect());
    let folder = newer.folder.path().to_owned();
    // The last segment is begun when the second is done.
    let is_replaced = || segment(&folder, 3).exists() && !segment(&folder, 2).exists();
    wait("the older one is replaced", is_replaced);
    let folder = killed(newer, 13);
    let recovered = recover_in(folder.path()).unwrap();
    assert_eq!(requests(&recovered), ["11", "12", "13"]);
    let names = names(folder.path());
    let kept = ["capture-older-0002.zip", "capture-older.zip"];
    assert!(kept.iter().all(|name| names.contains(&(*name).to_owned())), "{names:?}");
    assert!(fs::read(folder.path().join("capture-older.zip")).unwrap() == old[0]);
    assert!(fs::read(folder.path().join("capture-older-0002.zip")).unwrap() == old[1]);
    assert!(recovered.notes[0].contains("capture-older.zip"), "{recovered:?}");
    assert!(!journal(folder.path()).exists());
}

#[test]
fn an_older_bundle_whose_place_nobody_took_goes_back() {
    let older = Capture::start(1);
    send(&older, vec![small(1), small(2)]);
    let (folder, ..) = older.finish_in_place();
    let old = fs::read(folder.path().join("capture-0002.zip")).unwrap();
    let newer = Capture::start_in(folder, 9);
    send(&newer, vec![small(11)]);
    let folder = killed(newer, 11);
    // Killed between the steps of taking the place.
    let path = folder.path();
    fs::rename(path.join("capture-0002.zip"), journal(path).join("replaced-0002.zip")).unwrap();
    fs::hard_link(path.join("capture.zip"), journal(path).join("replaced-0001.zip")).unwrap();
    let recovered = recover_in(path).unwrap();
    assert_eq!(requests(&recovered), ["11"]);
    let expected = ["capture-0002.zip", "capture-recovered.zip", "capture.zip"];
    assert_eq!(names(path), expected, "{recovered:?}");
    assert!(fs::read(path.join("capture-0002.zip")).unwrap() == old);
}

#[test]
fn a_frame_that_was_cut_short_is_no_failure() {
    for cut in [1, 40] {
        let capture = Capture::start(9);
        send(&capture, (1..=3).map(small).collect());
        let folder = killed(capture, 3);
        truncate(&segment(folder.path(), 1), cut);
        let recovered = recover_in(folder.path()).unwrap();
        assert_eq!(requests(&recovered), ["1", "2"]);
        assert_eq!(names(folder.path()), ["capture.zip"], "{recovered:?}");
    }
}

#[test]
fn what_a_segment_lost_of_its_end_is_told() {
    let cut = |part: u32, to: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let capture = Capture::start(9);
        send(&capture, (1..=6).map(small).collect());
        let folder = killed(capture, 6);
        divide(folder.path());
        for before in 1..3 {
            finish(&segment(folder.path(), before));
        }
        let path = segment(folder.path(), part);
        let bytes = to(fs::read(&path).unwrap());
        fs::write(&path, bytes).unwrap();
        let recovered = recover_in(folder.path()).unwrap();
        assert!(recovered.failures.is_empty() && recovered.paths.len() == 3, "{recovered:?}");
        assert!(!journal(folder.path()).exists());
        (folder, recovered)
    };
    let note = "segment-0002.flj ends early, as where the disk was full or the machine crashed";
    let zeros = |bytes: Vec<u8>| vec![0_u8; bytes.len()];
    let nothing = |_| Vec::new();
    let some = |bytes: Vec<u8>| bytes[..frames(&bytes)[2] + 20].to_vec();
    let ways: [&dyn Fn(Vec<u8>) -> Vec<u8>; 3] = [&zeros, &nothing, &some];
    for (to, rest) in ways.into_iter().zip(["1 2 5 6", "1 2 5 6", "1 2 3 5 6"]) {
        let (_folder, recovered) = cut(2, to);
        assert_eq!(requests(&recovered).join(" "), rest);
        let [told] = &recovered.notes[..] else { panic!("{recovered:?}") };
        assert!(told.starts_with(note), "{told}");
        // A part without flows is of its capture's time.
        let created = check(&recovered.paths[1])["manifest"]["created_at"].clone();
        assert!(!created.as_str().unwrap().starts_with("1970"), "{created}");
    }
    // The last one ends where the capture was killed.
    let (_folder, recovered) = cut(3, &some);
    assert_eq!(requests(&recovered).join(" "), "1 2 3 4 5");
    assert_eq!((recovered.notes.len(), recovered.under_way), (0, 1));
    let (_folder, recovered) = cut(3, &|bytes| bytes);
    assert_eq!((recovered.notes.len(), recovered.under_way), (0, 0));
}

/// The next segment is made before the last frame of the one before is written.
#[test]
fn a_kill_between_two_segments_is_nothing_to_tell_of() {
    let capture = Capture::start(9);
    send(&capture, (1..=4).map(small).collect());
    let folder = killed(capture, 4);
    divide(folder.path());
    let path = segment(folder.path(), 2);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..frames(&bytes)[1]]).unwrap();
    let recovered = recover_in(folder.path()).unwrap();
    assert_eq!(requests(&recovered), ["1", "2"]);
    assert!(recovered.notes.is_empty() && recovered.failures.is_empty(), "{recovered:?}");
}

/// Appends the last frame of a segment.
fn finish(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let kind = flowtap::capture::frame::FrameType::SegmentEnd;
    let number = |out: &mut Vec<u8>| flowtap::capture::entry::put_number(out, 1 << 50);
    flowtap::capture::frame::append_frame(&mut bytes, kind, number);
    fs::write(path, bytes).unwrap();
}

#[test]
fn segments_of_another_capture_are_left_alone() {
    let [mine, theirs] = [1, 21].map(|first| {
        let capture = Capture::start(9);
        send(&capture, (first..first + 8).map(small).collect());
        let folder = killed(capture, first + 7);
        divide(folder.path());
        folder
    });
    let path = mine.path();
    for part in [1, 5] {
        fs::copy(segment(theirs.path(), 1), segment(path, part)).unwrap();
    }
    for _ in 0..2 {
        let recovered = recover_in(path).unwrap();
        assert_eq!(requests(&recovered), ["3", "4", "5", "6", "7", "8"]);
        let told = "segment-0001.flj and 1 more are of another capture";
        assert_eq!(recovered.failures, [told]);
        let parts = [2, 3, 4].map(|part| format!("capture-{part:04}.zip"));
        assert_eq!(names(path)[..3], parts);
        assert_eq!(names(path)[3..], ["capture.zip.journal"]);
        assert!(segment(path, 1).exists() && segment(path, 5).exists());
    }
}

#[test]
fn damage_costs_what_it_hits_and_keeps_the_journal() {
    let capture = Capture::start(9);
    send(&capture, (1..=4).map(small).collect());
    let folder = killed(capture, 4);
    let path = segment(folder.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let second = frames(&bytes)[2];
    bytes[second + 60] ^= 1;
    fs::write(&path, &bytes).unwrap();
    for _ in 0..2 {
        let recovered = recover_in(folder.path()).unwrap();
        assert_eq!(requests(&recovered), ["1", "3", "4"]);
        assert_eq!(recovered.failures, ["1 flow of segment-0001.flj could not be read back"]);
        assert_eq!(names(folder.path()), ["capture.zip", "capture.zip.journal"]);
        assert!(fs::read(&path).unwrap() == bytes);
    }
}

#[test]
fn a_body_that_was_cut_short_is_marked_and_keeps_the_journal() {
    let capture = Capture::start(9);
    let mut large = exchange(1);
    capture.respond(&mut large, "HTTP/1.1 200 OK\r\n\r\n", &[7; 300_000]);
    send(&capture, vec![ended(&large), small(2)]);
    let folder = killed(capture, 2);
    let body = journal(folder.path()).join("flow-1-response.body");
    truncate(&body, 1_000);
    // A second try finds the part in its place, and says the same.
    for _ in 0..2 {
        let recovered = recover_in(folder.path()).unwrap();
        assert_eq!(requests(&recovered), ["1", "2"]);
        let failures = ["1 flow of segment-0001.flj could be read back in part only"];
        assert_eq!(recovered.failures, failures);
        let response = &check(&recovered.paths[0])["traces"][0]["response"];
        assert_eq!(response["body_damaged"], true);
        assert!(body.exists());
    }
}

#[test]
fn an_open_connection_whose_file_is_damaged_keeps_the_journal() {
    let capture = Capture::start(9);
    let mut open = websocket(30, &["one", "two", "three"]);
    open.pop();
    send(&capture, open);
    send(&capture, vec![small(1)]);
    let path = journal(capture.folder.path()).join("flow-30.ws");
    wait("the messages are written", || holds(&path, b"three"));
    let folder = killed(capture, 1);
    let path = journal(folder.path()).join("flow-30.ws");
    let bytes = fs::read(&path).unwrap();
    let starts = frames(&bytes);
    // A bit in the handshake, in the second message, in a length, and one file cut in a message.
    let cases = [
        (starts[0] + 20, 0, "may hold messages"),
        (starts[2] + 12, 1, "may hold more messages"),
        (starts[2] + 4, 1, "may hold more messages"),
        (bytes.len(), 2, ""),
    ];
    for (place, messages, failure) in cases {
        let whole = tempfile::tempdir().unwrap();
        copy(folder.path(), whole.path());
        let path = journal(whole.path()).join("flow-30.ws");
        let mut damaged = bytes.clone();
        match damaged.get_mut(place) {
            Some(byte) => *byte ^= 1,
            None => damaged.truncate(place - 2),
        }
        fs::write(&path, &damaged).unwrap();
        // A second try finds the part in its place, and says the same.
        for _ in 0..2 {
            let recovered = recover_in(whole.path()).unwrap();
            assert_eq!(recovered.messages, messages, "{place}: {recovered:?}");
            let failures = recovered.failures.join("; ");
            if failure.is_empty() {
                assert_eq!((&*failures, path.exists()), ("", false));
                break;
            }
            assert!(failures.contains("flow-30.ws is damaged"), "{place}: {recovered:?}");
            assert!(failures.contains(failure), "{place}: {failures}");
            assert!(fs::read(&path).unwrap() == damaged);
            if messages > 0 {
                let socket = &check(&recovered.paths[0])["websockets"][0];
                let error = socket["error"].as_str().unwrap();
                assert!(error.contains("is damaged; messages are missing"), "{error}");
            }
        }
    }
}

#[test]
fn empty_and_strange_files_do_not_keep_the_rest_from_being_recovered() {
    let capture = Capture::start(2);
    send(&capture, (1..=3).map(small).collect());
    let folder = capture.folder.path().to_owned();
    wait("a part is in its place", || !segment(&folder, 1).exists());
    let folder = killed(capture, 3);
    let path = folder.path();
    // Killed when the next segment had just been made.
    fs::write(segment(path, 3), "").unwrap();
    fs::write(journal(path).join("flow-90.ws"), "").unwrap();
    fs::write(journal(path).join("part-0002.zip"), "half").unwrap();
    let copied = tempfile::tempdir().unwrap();
    copy(path, copied.path());
    let recovered = recover_in(path).unwrap();
    assert_eq!((requests(&recovered).len(), recovered.under_way), (3, 1));
    assert_eq!(names(path), ["capture-0002.zip", "capture.zip"], "{recovered:?}");

    let path = copied.path();
    fs::write(segment(path, 3), [255; 5_000]).unwrap();
    fs::write(journal(path).join("note.txt"), "mine").unwrap();
    let recovered = recover_in(path).unwrap();
    assert_eq!(requests(&recovered), ["1", "2", "3"]);
    let failures = recovered.failures.join("; ");
    assert!(failures.contains("segment-0003.flj is damaged"), "{failures}");
    assert!(failures.contains("note.txt is no file of a capture"), "{failures}");
    assert_eq!(fs::read(journal(path).join("note.txt")).unwrap(), b"mine");
    assert!(segment(path, 3).exists());
}

#[test]
fn a_segment_whose_header_is_damaged_gives_its_flows() {
    let capture = Capture::start(9);
    send(&capture, (1..=3).map(small).collect());
    let folder = killed(capture, 3);
    let path = segment(folder.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[FRAME_HEADER_BYTES + 8] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut paths = Vec::new();
    for _ in 0..2 {
        let recovered = recover_in(folder.path()).unwrap();
        assert_eq!(requests(&recovered), ["1", "2", "3"]);
        assert_eq!(recovered.failures.len(), 1, "{recovered:?}");
        paths.push(recovered.paths);
    }
    assert_eq!(paths[0], paths[1], "the second try finds what the first has made");
    let manifest = &check(&paths[0][0])["manifest"];
    assert_eq!(manifest["app"]["name"], "capture");
    assert!(manifest["created_at"].as_str().unwrap().starts_with("2023-"), "{manifest}");
}

#[test]
fn a_journal_of_another_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(journal(folder.path())).unwrap();
    let mut bytes = Vec::new();
    flowtap::capture::frame::append_frame(
        &mut bytes,
        flowtap::capture::frame::FrameType::Segment,
        |out| out.extend_from_slice(&[4, 0, 0, 0, 9, 9]),
    );
    fs::write(segment(folder.path(), 1), &bytes).unwrap();
    let error = recover_in(folder.path()).unwrap_err();
    assert!(error.contains("of version 4 of the journal, and this flowtap reads 5"), "{error}");
    assert!(fs::read(segment(folder.path(), 1)).unwrap() == bytes);
}

#[test]
fn what_was_lost_before_the_kill_is_told() {
    let capture = Capture::start(9);
    send(&capture, vec![small(1)]);
    let first = segment(capture.folder.path(), 1);
    wait("the flow is written", || holds(&first, b"POST /1 HTTP"));
    fs::remove_file(first).unwrap();
    let told = || capture.notices.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(matches!(told(), Notice::CaptureSuspended(_)));
    assert_eq!(told(), Notice::CaptureResumed(1));
    send(&capture, vec![small(2)]);
    let folder = killed(capture, 2);
    let recovered = recover_in(folder.path()).unwrap();
    assert_eq!(requests(&recovered), ["2"]);
    let told = recovered.notes.iter().any(|it| it == "1 flow lost while part 1 was captured");
    assert!(told && recovered.failures.is_empty(), "{recovered:?}");
    let lost = &check(&recovered.paths[0])["manifest"]["lost"];
    assert_eq!((&lost["flow_count"], &lost["ws_message_count"]), (&1.into(), &0.into()));
}

/// Divides the only segment of a journal into segments of two flows each, as a kill leaves them
/// that comes before any was packed.
fn divide(folder: &Path) {
    let path = segment(folder, 1);
    let bytes = fs::read(&path).unwrap();
    let starts = frames(&bytes);
    for (at, flows) in starts[1..].chunks(2).enumerate() {
        let next = starts.get(1 + 2 * (at + 1)).copied().unwrap_or(bytes.len());
        let divided = [&bytes[..starts[1]], &bytes[flows[0]..next]].concat();
        fs::write(segment(folder, at as u32 + 1), divided).unwrap();
    }
}

#[test]
fn a_recovery_that_was_cut_short_goes_on_and_repeats_nothing() {
    let capture = Capture::start(9);
    let mut open = websocket(50, &["first"]);
    open.pop();
    send(&capture, open);
    send(&capture, (1..=5).map(small).collect());
    let folder = killed(capture, 5);
    divide(folder.path());
    let before = tempfile::tempdir().unwrap();
    copy(&journal(folder.path()), before.path());
    let whole = recover_in(folder.path()).unwrap();
    let listings: Vec<_> = whole.paths.iter().map(|path| check(path)).collect();
    assert_eq!((whole.traces, whole.websockets, whole.paths.len()), (5, 1, 3));
    // As if it had been killed at any step, and more.
    for there in [0b000_u32, 0b001, 0b011, 0b111, 0b101, 0b100] {
        copy(before.path(), &journal(folder.path()));
        for (at, path) in whole.paths.iter().enumerate() {
            if there & 1 << at == 0 {
                fs::remove_file(path).unwrap();
            }
        }
        let again = recover_in(folder.path()).unwrap();
        assert_eq!(again, whole, "{there:03b}");
        for (path, before) in again.paths.iter().zip(&listings) {
            let now = check(path);
            assert_eq!(now["traces"], before["traces"], "{there:03b}");
            assert_eq!(now["websockets"], before["websockets"], "{there:03b}");
        }
        assert!(!journal(folder.path()).exists());
    }
}

#[test]
fn what_was_removed_before_a_cut_is_not_missed() {
    let capture = Capture::start(9);
    let mut large = exchange(1);
    capture.respond(&mut large, "HTTP/1.1 200 OK\r\n\r\n", &[7; 300_000]);
    let mut open = websocket(50, &["first"]);
    open.pop();
    send(&capture, open);
    send(&capture, websocket(51, &["second"]));
    send(&capture, vec![ended(&large), small(2)]);
    let folder = killed(capture, 2);
    let before = tempfile::tempdir().unwrap();
    copy(&journal(folder.path()), before.path());
    let whole = recover_in(folder.path()).unwrap();
    // The segment goes last.
    let mut gone = Vec::new();
    for name in ["flow-1-response.body", "flow-51.ws", "flow-50.ws"] {
        gone.push(name);
        copy(before.path(), &journal(folder.path()));
        for name in &gone {
            fs::remove_file(journal(folder.path()).join(name)).unwrap();
        }
        let again = recover_in(folder.path()).unwrap();
        assert_eq!((&again.paths, again.traces), (&whole.paths, 2));
        assert_eq!((again.websockets, again.messages), (2, 2), "{name}");
        assert_eq!(again.failures, Vec::<String>::new(), "{name}");
        assert_eq!(names(folder.path()), ["capture.zip"]);
    }
}

#[test]
fn each_of_several_journals_gets_its_own_bundle() {
    let capture = Capture::start(9);
    send(&capture, vec![small(1)]);
    let folder = killed(capture, 1);
    let capture = Capture::start(9);
    send(&capture, vec![small(2)]);
    let other = killed(capture, 2);
    let second = folder.path().join("capture.zip.journal-2");
    fs::rename(journal(other.path()), &second).unwrap();
    let output = folder.path().join("capture.zip");
    let mut found = find(&output).unwrap();
    wait("nobody holds a lock", || {
        found = find(&output).unwrap();
        found.live.is_empty()
    });
    assert_eq!(found.journals, [journal(folder.path()), second.clone()]);
    assert_eq!(found.output, Some(output.canonicalize().unwrap_or(output.clone())));
    assert_eq!(find(&second).unwrap().output, Some(output.clone()));
    let try_one = |path| recover(path, &output, &output).map_err(|error| error.to_string());
    let bundles = found.journals.iter().map(|path| unlocked(|| try_one(path)).unwrap());
    let bundles: Vec<_> = bundles.collect();
    assert_eq!(bundles[0].paths, [output]);
    assert_eq!(bundles[1].paths, [folder.path().join("capture-recovered.zip")]);
    assert_eq!(requests(&bundles[1]), ["2"]);
    assert_eq!(names(folder.path()), ["capture-recovered.zip", "capture.zip"]);
}

#[test]
fn another_output_can_be_chosen() {
    let capture = Capture::start(2);
    send(&capture, (1..=3).map(small).collect());
    let folder = capture.folder.path().to_owned();
    wait("a part is in its place", || !segment(&folder, 1).exists());
    let folder = killed(capture, 3);
    let origin = folder.path().join("capture.zip");
    let elsewhere = tempfile::tempdir().unwrap();
    let output = elsewhere.path().join("mine.zip");
    let recovered = recover(&journal(folder.path()), &origin, &output).unwrap();
    assert_eq!(recovered.paths, [output, elsewhere.path().join("mine-0002.zip")]);
    assert_eq!(requests(&recovered), ["1", "2", "3"]);
    assert_eq!(names(folder.path()), ["capture.zip"]);
}

#[test]
fn an_output_in_no_folder_is_named_and_costs_nothing() {
    let capture = Capture::start(9);
    send(&capture, vec![small(1)]);
    let folder = killed(capture, 1);
    let output = folder.path().join("none/mine.zip");
    let origin = folder.path().join("capture.zip");
    let error = recover(&journal(folder.path()), &origin, &output).unwrap_err().to_string();
    assert!(error.contains("mine.zip: there is no folder"), "{error}");
    assert_eq!(recover_in(folder.path()).unwrap().traces, 1);
}

#[test]
fn pipes_and_folders_among_the_segments_are_passed_over() {
    let capture = Capture::start(9);
    send(&capture, vec![small(1)]);
    let folder = killed(capture, 1);
    fs::create_dir(segment(folder.path(), 2)).unwrap();
    let pipe = segment(folder.path(), 3);
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (tell, told) = std::sync::mpsc::channel();
    let path = folder.path().to_owned();
    std::thread::spawn(move || tell.send(recover_in(&path)));
    let recovered = told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
    assert_eq!((recovered.traces, recovered.failures.len()), (1, 2), "{recovered:?}");
    assert!(pipe.exists());
}

#[test]
fn neither_pipes_nor_links_are_taken_for_bodies_messages_or_locks() {
    let capture = Capture::start(9);
    for id in [1, 2] {
        let mut large = exchange(id);
        capture.respond(&mut large, "HTTP/1.1 200 OK\r\n\r\n", &[7; 300_000]);
        send(&capture, vec![ended(&large)]);
    }
    send(&capture, websocket(3, &["whole"]));
    send(&capture, websocket(4, &["whole"]));
    send(&capture, vec![small(5)]);
    let folder = killed(capture, 5);
    let kept = |name: &str| journal(folder.path()).join(name);
    let secret = folder.path().join("secret");
    fs::write(&secret, b"a secret of another user".repeat(20_000)).unwrap();
    let link = |name: &str, to: &Path| {
        fs::remove_file(kept(name)).unwrap();
        std::os::unix::fs::symlink(to, kept(name)).unwrap();
    };
    let pipe = |name: &str| {
        fs::remove_file(kept(name)).unwrap();
        assert!(Command::new("mkfifo").arg(kept(name)).status().unwrap().success());
    };
    fs::rename(kept("flow-4.ws"), folder.path().join("messages")).unwrap();
    fs::write(kept("flow-4.ws"), "").unwrap();
    pipe("flow-1-response.body");
    link("flow-2-response.body", &secret);
    pipe("flow-3.ws");
    link("flow-4.ws", &folder.path().join("messages"));
    let (tell, told) = std::sync::mpsc::channel();
    let path = folder.path().to_owned();
    std::thread::spawn(move || tell.send(recover_in(&path)));
    let recovered = told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
    assert_eq!((recovered.traces, recovered.websockets), (3, 0), "{recovered:?}");
    assert!(recovered.failures.iter().any(|why| why.starts_with("2 flows")), "{recovered:?}");
    for trace in [0, 1] {
        let response = &check(&recovered.paths[0])["traces"][trace]["response"];
        assert_eq!((&response["body_damaged"], &response["body_size"]), (&true.into(), &0.into()));
    }

    for lock in ["pipe", "link"] {
        match lock {
            "pipe" => pipe("lock"),
            _ => link("lock", &folder.path().join("made by a link")),
        }
        let (tell, told) = std::sync::mpsc::channel();
        let path = folder.path().to_owned();
        std::thread::spawn(move || {
            let output = path.join("capture.zip");
            tell.send((find(&output).is_ok(), try_to_recover(&path)))
        });
        let (_, tried) = told.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(tried.is_err(), "{tried:?}");
    }
    assert!(!folder.path().join("made by a link").exists());
}

#[test]
fn parts_that_were_moved_are_told_of_in_one_sentence() {
    let capture = Capture::start(9);
    send(&capture, vec![small(1)]);
    let folder = killed(capture, 1);
    fs::rename(segment(folder.path(), 1), segment(folder.path(), 2_000)).unwrap();
    let recovered = recover_in(folder.path()).unwrap();
    let [note] = &recovered.notes[..] else { panic!("{} notes", recovered.notes.len()) };
    assert!(note.starts_with("1999 parts from 1 to 1999 are not there; "), "{note}");
    assert!(note.ends_with("capture.zip"), "{note}");
}

#[test]
fn a_capture_that_lives_is_refused_and_two_at_once_do_no_harm() {
    let capture = Capture::start(9);
    send(&capture, vec![small(1)]);
    let error = try_to_recover(capture.folder.path()).unwrap_err();
    assert!(error.contains("its capture is still running"), "{error}");
    let found = find(&capture.folder.path().join("capture.zip")).unwrap();
    assert_eq!((found.journals.len(), found.live.len()), (0, 1));
    let folder = killed(capture, 1);
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| try_to_recover(folder.path()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let whole = results.iter().flatten().filter(|recovered| recovered.traces == 1).count();
    assert_eq!(whole, 1, "{results:?}");
    assert_eq!(names(folder.path()), ["capture.zip"], "{results:?}");
}

#[test]
fn without_a_journal_there_is_nothing_to_recover() {
    let folder = tempfile::tempdir().unwrap();
    let error = find(&folder.path().join("capture.zip")).unwrap_err().to_string();
    assert!(error.contains("nothing to recover"), "{error}");
    let error = find(folder.path()).unwrap_err().to_string();
    assert!(error.contains("it is no journal of a capture"), "{error}");
    // Killed before a byte was written.
    fs::create_dir(journal(folder.path())).unwrap();
    fs::write(journal(folder.path()).join("lock"), "").unwrap();
    let recovered = recover_in(folder.path()).unwrap();
    assert_eq!(recovered, Recovered::default());
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

#[test]
fn connections_that_find_no_room_in_the_last_part_come_behind_it() {
    let capture = Capture::start(9);
    for (id, hundreds) in [(1, flowtap::limits::PART_MESSAGES / 100), (2, 1)] {
        let mut open = websocket(id, &[]);
        open.pop();
        send(&capture, open);
        for _ in 0..hundreds {
            let ping = |_| {
                FlowEvent::WebSocketMessage(WebSocketMessage {
                    flow: FlowId(id),
                    direction: Direction::Send,
                    opcode: Opcode::Ping,
                    compressed: false,
                    time_us: at(id),
                    payload: "".into(),
                })
            };
            send(&capture, (0..100).map(ping).collect());
        }
    }
    send(&capture, vec![small(3)]);
    let folder = killed(capture, 3);
    let before = tempfile::tempdir().unwrap();
    copy(&journal(folder.path()), before.path());
    for _ in 0..2 {
        let recovered = recover_in(folder.path()).unwrap();
        assert_eq!((recovered.paths.len(), recovered.websockets), (2, 2), "{recovered:?}");
        assert_eq!(recovered.messages, flowtap::limits::PART_MESSAGES + 100);
        copy(before.path(), &journal(folder.path()));
    }
}

/// Damages a file in one of the ways in which files are damaged, and some others.
fn damage(path: &Path, random: &mut Random) {
    let mut held = fs::read(path).unwrap();
    let place = random.below(held.len() as u64 + 1) as usize;
    let length = (random.below(200) as usize).min(held.len() - place);
    match random.below(7) {
        0 => held.truncate(place),
        1 => held[place..place + length].fill(0),
        2 => held[place..].fill(0),
        3 => held.splice(place..place + length, []).for_each(drop),
        4 => held.splice(place..place, bytes(random.next(), length)).for_each(drop),
        5 if !held.is_empty() => {
            let place = place.min(held.len() - 1);
            held[place] ^= 1 << random.below(8);
        }
        5 => {}
        _ => return fs::remove_file(path).unwrap(),
    }
    fs::write(path, held).unwrap();
}

/// A folder with a journal of three segments, large bodies and connections.
fn full_journal() -> TempDir {
    let capture = Capture::start(9);
    for id in [1, 4] {
        let mut large = exchange(id);
        capture.respond(&mut large, "HTTP/1.1 200 OK\r\n\r\n", &[id as u8; 200_000]);
        send(&capture, vec![ended(&large), small(id + 10)]);
        send(&capture, websocket(id + 20, &["one", "two"]));
        let mut open = websocket(id + 30, &["three"]);
        open.pop();
        send(&capture, open);
    }
    send(&capture, vec![small(5)]);
    let folder = killed(capture, 5);
    divide(folder.path());
    folder
}

#[test]
fn a_journal_that_is_damaged_anywhere_gives_all_else() {
    let damages = std::env::var("FLOWTAP_DAMAGES").map_or(60, |text| text.parse().unwrap());
    let whole = full_journal();
    let undamaged: Vec<BTreeSet<String>> = (1..=4)
        .map(|part| {
            let held = fs::read(segment(whole.path(), part)).unwrap();
            let named = |id: &u64| {
                let request = format!("POST /{id} HTTP");
                held.windows(request.len()).any(|bytes| bytes == request.as_bytes())
            };
            [1, 4, 5, 11, 14].iter().filter(|id| named(id)).map(u64::to_string).collect()
        })
        .collect();
    let folders: Vec<_> = (0..damages)
        .map(|seed| {
            let folder = tempfile::tempdir().unwrap();
            copy(whole.path(), folder.path());
            let mut random = Random::new(seed);
            let mut expected: BTreeSet<_> = undamaged.iter().flatten().collect();
            for _ in 0..1 + random.below(3) {
                let files = names(&journal(folder.path()));
                let name = &files[random.below(files.len() as u64) as usize];
                if let Some(part) = name.strip_prefix("segment-") {
                    let part: usize = part[..4].parse().unwrap();
                    expected.retain(|id| !undamaged[part - 1].contains(*id));
                }
                damage(&journal(folder.path()).join(name), &mut random);
            }
            let recovered = recover_in(folder.path());
            let recovered = recovered.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            if journal(folder.path()).exists() {
                assert!(!recovered.failures.is_empty(), "seed {seed}: {recovered:?}");
                let again = recover_in(folder.path()).unwrap();
                assert_eq!(again.paths, recovered.paths, "seed {seed}");
            }
            (folder, expected, recovered)
        })
        .collect();
    let paths = folders.iter().flat_map(|(_, _, recovered)| &recovered.paths);
    let checker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/check_bundle.py");
    let output = Command::new("python3").arg(checker).args(paths).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    for (seed, (_, expected, recovered)) in folders.iter().enumerate() {
        let mut found = BTreeSet::new();
        for path in &recovered.paths {
            let mut bundle = flowtap::capture::read::Bundle::open(path).unwrap();
            for id in bundle.trace_ids().to_vec() {
                let url = bundle.trace(&id).unwrap().request.url;
                let name = url.replace("https://a.example/", "");
                assert!(undamaged.iter().any(|ids| ids.contains(&name)), "seed {seed}: {url}");
                assert!(found.insert(name), "seed {seed}: {url} is there twice");
            }
        }
        let is_there = |id: &&String| found.contains(*id);
        assert!(expected.iter().all(is_there), "seed {seed}: {found:?} of {expected:?}");
    }
}
