//! `flowtap inspect` on bundles that the recorder made, and on files that are none.
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/capture.rs"]
mod capture;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use flowtap::capture::entry::ended;
use flowtap::cli::inspect::{self, Column, Sort, Streams};
use flowtap::cli::settings::{Inspect, InspectForm};
use flowtap::flow::filter::Filter;
use flowtap::flow::record::*;
use flowtap::limits::{INSPECTED_ENTRY_BYTES, INSPECTED_JSON_BYTES};

use capture::{Capture, exchange, gzip, send, text_body, websocket};

fn shown(path: &Path, id: Option<&str>) -> Result<String, String> {
    let trace = id.map(str::to_owned);
    shown_as(&Inspect { trace, ..Inspect::new(path.to_owned()) }).map(|(shown, _)| shown)
}

/// What is shown, and what is warned of.
fn shown_as(settings: &Inspect) -> Result<(String, String), String> {
    let (mut out, mut warnings) = (Vec::new(), Vec::new());
    let streams =
        Streams { out: &mut out, warnings: &mut warnings, colour: false, terminal: false };
    inspect::run(settings, streams).map_err(|error| error.to_string())?;
    Ok((String::from_utf8(out).unwrap(), String::from_utf8(warnings).unwrap()))
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
    let capture = Capture::start(10);
    send(&capture, vec![ended(&exchange(1))]);
    let (_folder, _, summary) = capture.finish_in_place();
    for form in [InspectForm::Table, InspectForm::Json, InspectForm::Curl] {
        let settings = Inspect { form, ..Inspect::new(summary.paths[0].clone()) };
        let (mut out, mut warnings) = (io::BufWriter::new(Gone), Gone);
        let streams =
            Streams { out: &mut out, warnings: &mut warnings, colour: false, terminal: false };
        assert!(inspect::run(&settings, streams).is_ok());
    }
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

/// A capture of three parts: two exchanges each in the first two, a WebSocket in the last.
fn of_three_parts() -> (tempfile::TempDir, std::path::PathBuf) {
    let capture = Capture::start(2);
    for id in 1..=4 {
        let mut flow = exchange(id);
        flow.timing.began_us += id * 1_000_000;
        flow.timing.total_us = 10_000 - id * 1_000;
        let body = format!("{{\"number\":{id}}}");
        capture.respond(
            &mut flow,
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\n\r\n",
            body.as_bytes(),
        );
        send(&capture, vec![ended(&flow)]);
    }
    send(&capture, vec![ended(&exchange(5))]);
    send(&capture, websocket(6, &["{\"hello\":1}"]));
    let (folder, listings, summary) = capture.finish_in_place();
    assert_eq!(listings.len(), 3);
    (folder, summary.paths[0].clone())
}

fn ids(table: &str) -> Vec<&str> {
    let words = table.lines().filter_map(|line| line.split_whitespace().next());
    words.filter(|word| word.contains("t_0") || word.contains("ws_0")).collect()
}

#[test]
fn all_parts_are_listed_with_ids_that_are_theirs_alone() {
    let (folder, path) = of_three_parts();
    let table = shown(&path, None).unwrap();
    let mut listed = ids(&table);
    listed.sort_unstable();
    assert_eq!(listed, ["2:t_0001", "2:t_0002", "3:t_0001", "3:ws_0001", "t_0001", "t_0002"]);
    assert!(table.contains("goes on in") && table.contains("capture-0003.zip, parts 2 to 3"));
    assert!(table.contains("5 traces, 1 WebSocket, 1 message"), "{table}");
    let second = folder.path().join("capture-0002.zip");
    for (path, id) in [(&path, "2:t_0001"), (&second, "t_0001"), (&second, "2:t_0001")] {
        let trace = shown(path, Some(id)).unwrap();
        assert!(trace.contains("https://a.example/3") && trace.contains("  \"number\": 3"));
        assert!(trace.contains("    a = b  (path /)"), "{trace}");
    }
    assert!(shown(&path, Some("1:t_0001")).unwrap().contains("https://a.example/1"));
    assert!(shown(&path, Some("3:ws_0001")).unwrap().contains("  \"hello\": 1"));
    for id in ["0:t_0001", "4:t_0001", "2:t_0003", "x:t_0001", ":t_0001", "-1:t_0001", "2:"] {
        let error = shown(&path, Some(id)).unwrap_err();
        assert!(error.contains(id) && error.contains("parts 2 to 3, as 2:t_0001"), "{error}");
    }
    assert!(shown(&second, Some("1:t_0001")).is_err());
    let form = InspectForm::Json;
    let (lines, _) = shown_as(&Inspect { form, ..Inspect::new(second.clone()) }).unwrap();
    assert_eq!(lines.matches("\"part\":2,").count(), 2, "{lines}");
    assert_eq!(ids(&shown(&second, None).unwrap()), ["t_0001", "t_0002"]);
}

#[test]
fn lists_are_filtered_sorted_and_cut() {
    let (_folder, path) = of_three_parts();
    let list = |filter: &str, sort, reverse, limit| {
        let filter = Filter::parse(filter).unwrap();
        let settings = Inspect { filter, sort, reverse, limit, ..Inspect::new(path.clone()) };
        shown_as(&settings).unwrap().0
    };
    let all = list("~b number & ~d a.example", Sort::Time, false, u64::MAX);
    assert_eq!(ids(&all), ["t_0001", "t_0002", "2:t_0001", "2:t_0002"]);
    assert!(all.contains("4 of 6 flows match"), "{all}");
    let one = list("~b hello & ~websocket", Sort::Time, false, u64::MAX);
    assert_eq!(ids(&one), ["3:ws_0001"]);
    let fast = list("~bs number", Sort::Duration, false, 3);
    assert_eq!(ids(&fast), ["2:t_0002", "2:t_0001", "t_0002"]);
    assert!(fast.contains("1 more is not shown") && fast.contains("4 traces"), "{fast}");
    for sort in [Sort::Time, Sort::Url] {
        let last = list("~bs number", sort, true, 1);
        assert_eq!(ids(&last), ["2:t_0002"]);
    }
    // What is the same in the key stays in order of time.
    assert_eq!(ids(&list("~bs number", Sort::Host, true, 9)), ids(&all));
    assert_eq!(ids(&list("~d nowhere", Sort::Size, false, 9)), [""; 0]);
}

#[test]
fn columns_are_those_that_were_asked_for() {
    let (_folder, path) = of_three_parts();
    let columns = vec![Column::Path, Column::Status, Column::Id];
    let filter = Filter::parse("~u /1").unwrap();
    let (table, _) = shown_as(&Inspect { columns, filter, ..Inspect::new(path) }).unwrap();
    let rows: Vec<Vec<_>> =
        table.lines().take(2).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [["PATH", "STATUS", "ID"], ["/1", "200", "t_0001"]]);
    let starts: Vec<_> =
        table.lines().take(2).map(|line| line.find(['I', 't']).is_some()).collect();
    assert_eq!(starts, [true, true]);
}

#[test]
fn each_flow_is_a_line_of_json_with_the_fields_of_the_document() {
    let (_folder, path) = of_three_parts();
    let json = |trace: Option<&str>| {
        let trace = trace.map(str::to_owned);
        let settings = Inspect { form: InspectForm::Json, trace, ..Inspect::new(path.clone()) };
        let (lines, warnings) = shown_as(&settings).unwrap();
        assert_eq!(warnings, "");
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<serde_json::Value>>()
    };
    let lines = json(None);
    assert_eq!(lines.len(), 6);
    let third = json(Some("2:t_0001")).remove(0);
    assert!(lines.contains(&third), "{third}");
    assert_eq!(third["part"], 2);
    assert_eq!((&third["status"], &third["url"]), (&200.into(), &"https://a.example/3".into()));
    assert_eq!((&third["response_bytes"], &third["duration_ms"]), (&12.into(), &7.0.into()));
    let document =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/inspect.md")).unwrap();
    let (_, section) = document.split_once("## JSON").unwrap();
    let rows =
        section.split("\n## ").next().unwrap().lines().filter_map(|it| it.strip_prefix("| `"));
    let mut documented: Vec<_> = rows
        .flat_map(|row| row.split(" | ").next().unwrap().split("`, `"))
        .map(|it| it.trim_end_matches('`'))
        .collect();
    documented.sort_unstable();
    for line in lines {
        let mut fields: Vec<_> = line.as_object().unwrap().keys().collect();
        fields.sort_unstable();
        assert_eq!(fields, documented);
    }
}

#[test]
fn commands_of_curl_are_shown_for_all_that_match() {
    let capture = Capture::start(10);
    let mut flow = exchange(1);
    flow.request.head = "PUT /up HTTP/1.1\r\nHost: a.example\r\nContent-Length: 9\r\n\r\n".into();
    flow.request.body = text_body("it's \x1b[2J");
    let mut long = exchange(2);
    long.request.body = text_body("x".repeat(200_000).leak());
    send(&capture, vec![ended(&flow), ended(&long)]);
    let (_folder, _, summary) = capture.finish_in_place();
    let path = &summary.paths[0];
    let form = InspectForm::Curl;
    let (commands, _) = shown_as(&Inspect { form, ..Inspect::new(path.clone()) }).unwrap();
    assert!(commands.contains("curl 'https://a.example/up' \\\n  -X 'PUT'"), "{commands}");
    assert!(commands.contains("printf 'it'\\''s \\033[2J' |"), "{commands}");
    let from =
        format!("flowtap inspect '{}' --trace t_0002 --body request |\ncurl", path.display());
    assert!(commands.contains(&from), "{commands}");
    assert!(!commands.contains('\x1b') && commands.len() < 3_000);
    let trace = Some("t_0001".to_owned());
    let (one, _) = shown_as(&Inspect { form, trace, ..Inspect::new(path.clone()) }).unwrap();
    assert!(commands.starts_with(&one) && one.ends_with("--data-binary @-\n"), "{one}");
    let trace = Some("t_0002".to_owned());
    let body = Some(Side::Request);
    let (body, _) = shown_as(&Inspect { body, trace, ..Inspect::new(path.clone()) }).unwrap();
    assert_eq!(body, "x".repeat(200_000));
}

#[test]
fn bytes_reach_a_file_as_they_are_and_a_terminal_as_they_are_shown() {
    let capture = Capture::start(10);
    let mut flow = exchange(1);
    capture.respond(&mut flow, "HTTP/1.1 200 OK\r\n\r\n", b"\x1b[2J\xff\0");
    send(&capture, vec![ended(&flow)]);
    let (_folder, _, summary) = capture.finish_in_place();
    let settings = Inspect {
        trace: Some("t_0001".to_owned()),
        body: Some(Side::Response),
        ..Inspect::new(summary.paths[0].clone())
    };
    for terminal in [false, true] {
        let (mut out, mut warnings) = (Vec::new(), Vec::new());
        let streams =
            Streams { out: &mut out, warnings: &mut warnings, colour: terminal, terminal };
        inspect::run(&settings, streams).unwrap();
        assert_eq!(out == b"\x1b[2J\xff\0", !terminal, "{out:?}");
        assert_eq!(out.starts_with(b"00000000  1b 5b"), terminal, "{out:?}");
    }
}

#[test]
fn a_body_that_is_too_long_to_be_shown_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.zip");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    let stored = options.compression_method(zip::CompressionMethod::Stored);
    let trace = r#"{"response":{"status":200,"body_file":"b"}}"#;
    for (name, text) in [("manifest.json", "{}"), ("traces/t_0001.json", trace)] {
        zip.start_file(name, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    let length = usize::try_from(INSPECTED_ENTRY_BYTES).unwrap() + 1;
    zip.start_file("traces/b", stored).unwrap();
    zip.write_all(&vec![b'x'; length]).unwrap();
    zip.finish().unwrap();
    let trace = shown(&path, Some("t_0001")).unwrap();
    assert!(trace.contains("larger than"), "{trace}");
    let settings = Inspect {
        trace: Some("t_0001".to_owned()),
        body: Some(Side::Response),
        ..Inspect::new(path)
    };
    let (body, _) = shown_as(&settings).unwrap();
    assert_eq!(body.len(), length);
}

#[test]
fn what_cannot_be_read_is_a_warning_unless_it_is_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.zip");
    let write = |traces: &[(&str, &str)]| {
        let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        for (name, text) in [("manifest.json", "{}")].iter().chain(traces) {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
    };
    let (good, bad) = (("traces/t_0001.json", "{}"), ("traces/t_0002.json", "no \x1b JSON"));
    write(&[good, bad]);
    for form in [InspectForm::Table, InspectForm::Json, InspectForm::Curl] {
        let (shown, warnings) = shown_as(&Inspect { form, ..Inspect::new(path.clone()) }).unwrap();
        assert!(!shown.is_empty() && !shown.contains("t_0002"), "{shown}");
        assert_eq!(warnings.lines().count(), 1, "{warnings}");
        assert!(warnings.contains("t_0002.json"), "{warnings}");
    }
    write(&[bad]);
    let error = shown(&path, None).unwrap_err();
    assert!(error.contains("nothing") && error.contains("odd.zip"), "{error}");
    write(&[]);
    assert!(shown(&path, None).unwrap().contains("0 traces"));
}
