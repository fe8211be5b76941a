//! `flowtap inspect` on bundles that the recorder made, and on files that are none.
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used)]

#[path = "support/capture.rs"]
mod capture;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use flowtap::capture::entry::ended;
use flowtap::cli::inspect;
use flowtap::flow::record::*;
use flowtap::limits::INSPECTED_JSON_BYTES;

use capture::{Capture, exchange, gzip, send, text_body, websocket};

fn shown(path: &Path, id: Option<&str>) -> Result<String, String> {
    let mut out = Vec::new();
    inspect::run(path, id, &mut out, false).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn a_bundle_is_shown_as_a_table_and_each_flow_in_full() {
    let capture = Capture::start(2);
    let mut odd = exchange(1);
    odd.response = Some(Message {
        head: "HTTP/1.1 404 Not\x1b[31m Found\r\nX: \x1b]0;x\x07\r\n\r\n".into(),
        body: text_body("text \x1b[2J and more"),
        ..Message::default()
    });
    let mut binary = exchange(2);
    let bytes: Vec<u8> = (0..=255).cycle().take(300).collect();
    capture.respond(
        &mut binary,
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
        &gzip(&bytes),
    );
    send(&capture, vec![ended(&odd), ended(&binary)]);
    send(&capture, websocket(3, &["hello"]));
    send(&capture, vec![ended(&exchange(4))]);
    let (_folder, listings, summary) = capture.finish_in_place();
    assert_eq!(listings.len(), 2);
    let path = &summary.paths[0];

    let table = shown(path, None).unwrap();
    assert!(table.contains("https://a.example/1"), "{table}");
    assert!(
        table.contains("404") && table.contains("300 B") && table.contains("2.0 ms"),
        "{table}"
    );
    assert!(table.contains("ws_0001") && table.contains("1 message "), "{table}");
    assert!(table.contains("capture-0002.zip"), "{table}");

    let trace = shown(path, Some("t_0001")).unwrap();
    assert!(!trace.contains('\x1b') && !trace.contains('\x07'), "{trace}");
    assert!(trace.contains("text \\x1b[2J and more") && trace.contains("question"), "{trace}");
    assert!(trace.contains("wait") && trace.contains("1.5 ms"), "{trace}");

    let trace = shown(path, Some("t_0002")).unwrap();
    assert!(trace.contains("(300 bytes, binary"), "{trace}");
    assert!(trace.contains("000000f0") && !trace.contains("00000100"), "{trace}");

    let socket = shown(path, Some("ws_0001")).unwrap();
    assert!(socket.contains("-> ws_0001_m001 text, 5 B") && socket.contains("hello"), "{socket}");

    let error = shown(path, Some("t_0009")).unwrap_err();
    assert!(error.contains("t_0009") && error.contains("t_0001 to t_0002"), "{error}");
}

#[test]
fn only_a_part_of_the_same_capture_goes_on_with_it() {
    let flow = |id| vec![ended(&exchange(id))];
    let other = Capture::start_as(tempfile::tempdir().unwrap(), "capture-0002.zip", 1);
    send(&other, flow(1));
    send(&other, flow(2));
    let (folder, ..) = other.finish_in_place();
    let capture = Capture::start_in(folder, 1);
    send(&capture, flow(1));
    let (folder, ..) = capture.finish_in_place();
    let table = shown(&folder.path().join("capture.zip"), None).unwrap();
    assert!(!table.contains("goes on"), "{table}");
    let table = shown(&folder.path().join("capture-0002.zip"), None).unwrap();
    assert!(table.contains("goes on in") && table.contains("capture-0002-0002.zip"), "{table}");
}

#[test]
fn what_is_not_whole_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.zip");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    let entries = [
        ("manifest.json", r#"{"series_id":7,"part_number":"x"}"#),
        ("traces/t_0001.json", r#"{"id":"t_0001","response":{"status":200,"body_damaged":true}}"#),
        ("ws/ws_0001.json", r#"{"id":"ws_0001","messages_left_out":12}"#),
        ("ws/ws_0001_m001.json", r#"{"payload_encoding":"permessage-deflate"}"#),
        ("ws/ws_0001_m002.json", r#"{"payload_damaged":true}"#),
    ];
    for (name, text) in entries {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    assert!(shown(&path, None).is_ok());
    let trace = shown(&path, Some("t_0001")).unwrap();
    assert!(trace.contains("(damaged:"), "{trace}");
    let socket = shown(&path, Some("ws_0001")).unwrap();
    assert!(socket.contains("(not decoded: permessage-deflate)"), "{socket}");
    assert!(socket.contains("(damaged:"), "{socket}");
    assert!(socket.contains("12 more messages were not kept"), "{socket}");
}

#[test]
fn what_is_no_bundle_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.zip");
    let error = shown(&missing, None).unwrap_err();
    assert!(error.contains("missing.zip") && error.contains("No such file"), "{error}");
    let text = folder.path().join("text.zip");
    fs::write(&text, "hello").unwrap();
    let error = shown(&text, None).unwrap_err();
    assert!(error.contains("not a capture bundle"), "{error}");
}

#[test]
fn a_damaged_bundle_never_panics() {
    let capture = Capture::start(10);
    send(&capture, vec![ended(&exchange(1))]);
    let (folder, _, summary) = capture.finish_in_place();
    let whole = fs::read(&summary.paths[0]).unwrap();
    let damaged = folder.path().join("damaged.zip");
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&damaged, &bytes).unwrap();
        let _ = shown(&damaged, None);
        let _ = shown(&damaged, Some("t_0001"));
        fs::write(&damaged, &whole[..at]).unwrap();
        let _ = shown(&damaged, None);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (_folder, _, summary) = Capture::start(10).finish_in_place();
    assert!(inspect::run(&summary.paths[0], None, &mut Gone, false).is_ok());
}

#[test]
fn an_entry_that_unpacks_to_far_too_much_is_not_read() {
    let capture = Capture::start(10);
    send(&capture, vec![ended(&exchange(1))]);
    let (folder, _, summary) = capture.finish_in_place();
    let mut good = zip::ZipArchive::new(fs::File::open(&summary.paths[0]).unwrap()).unwrap();
    let path = folder.path().join("hostile.zip");
    let mut hostile = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for at in 0..good.len() {
        let mut entry = good.by_index(at).unwrap();
        let name = entry.name().unwrap().into_owned();
        hostile.start_file(&name, options).unwrap();
        if name == "traces/t_0001.json" {
            let blanks = vec![b' '; usize::try_from(INSPECTED_JSON_BYTES).unwrap()];
            hostile.write_all(&blanks).unwrap();
        }
        io::copy(&mut entry, &mut hostile).unwrap();
    }
    hostile.finish().unwrap();
    let told = shown(&path, Some("t_0001")).unwrap_err();
    assert!(told.contains("t_0001") && told.contains("larger than"), "{told}");
}
