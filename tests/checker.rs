//! The independent judge of bundles is judged: a good bundle passes, and each that is spoilt in
//! one place is refused for it.
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/capture.rs"]
mod capture;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use flowtap::capture::entry::ended;
use flowtap::flow::record::*;
use serde_json::{Value, json};
use zip::ZipArchive;
use zip::write::{SimpleFileOptions, ZipWriter};

use capture::{Capture, at, exchange, gzip, send, text_body};

/// The entries of a bundle by name.
type Entries = BTreeMap<String, Vec<u8>>;

const MANIFEST: &str = "manifest.json";
const TIMELINE: &str = "timeline.json";
/// A plain exchange.
const PLAIN: &str = "traces/t_0001.json";
/// A response whose gzip was undone.
const DECODED: &str = "traces/t_0002.json";
/// A response that says gzip and is not.
const KEPT: &str = "traces/t_0003.json";
/// An exchange that failed before a response came.
const FAILED: &str = "traces/t_0004.json";
/// A response whose copy was cut.
const CUT: &str = "traces/t_0005.json";
const SOCKET: &str = "ws/ws_0001.json";
const MESSAGE: &str = "ws/ws_0001_m001.json";

/// How a good bundle is spoilt.
enum Spoil {
    /// The value at a JSON pointer becomes another one, or is added.
    Set(&'static str, &'static str, Value),
    /// The first such text of an entry becomes another one.
    Text(&'static str, &'static str, &'static str),
    /// An entry gets these bytes, or is added.
    Bytes(&'static str, Vec<u8>),
    /// The response body of a trace becomes this one, and its size fits.
    Body(&'static str, Vec<u8>),
    /// An entry goes.
    Remove(&'static str),
}

use Spoil::{Body as SetBody, Bytes, Remove, Set, Text};

impl Spoil {
    fn apply(&self, entries: &mut Entries) {
        match self {
            Set(name, pointer, value) => set(entries, name, pointer, value.clone()),
            Text(name, from, to) => {
                let text = String::from_utf8(entries[*name].clone()).unwrap();
                assert!(text.contains(from), "{name}: {from} is not in {text}");
                entries.insert((*name).to_owned(), text.replacen(from, to, 1).into());
            }
            Bytes(name, bytes) => drop(entries.insert((*name).to_owned(), bytes.clone())),
            SetBody(name, body) => {
                set(entries, name, "/response/body_size", body.len().into());
                entries.insert(name.replace(".json", "_response.bin"), body.clone());
            }
            Remove(name) => assert!(entries.remove(*name).is_some(), "{name}"),
        }
    }
}

fn set(entries: &mut Entries, name: &str, pointer: &str, value: Value) {
    let mut tree: Value = serde_json::from_slice(&entries[name]).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match tree.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.insert(key.to_owned(), value)),
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        _ => panic!("{pointer} of {name} is in no object or array"),
    }
    entries.insert(name.to_owned(), serde_json::to_vec(&tree).unwrap());
}

/// A bundle that the recorder made of one flow of each kind.
fn good() -> Entries {
    let capture = Capture::start(10);
    let plain = exchange(1);
    let mut decoded = exchange(2);
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
    capture.respond(&mut decoded, head, &gzip(b"words and more words"));
    let mut kept = exchange(3);
    capture.respond(&mut kept, head, b"not gzip");
    let mut failed = exchange(4);
    failed.response = None;
    failed.error = Some("refused".into());
    let mut cut = exchange(5);
    capture.respond(&mut cut, "HTTP/1.1 200 OK\r\n\r\n", b"start");
    cut.response.as_mut().unwrap().body = Body { size: 5_000, ..text_body("start") };
    for flow in [plain, decoded, kept, failed, cut] {
        send(&capture, vec![ended(&flow)]);
    }
    send(&capture, websocket(6));
    let (_folder, _, summary) = capture.finish_in_place();
    let mut archive = ZipArchive::new(File::open(&summary.paths[0]).unwrap()).unwrap();
    let mut entries = Entries::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        entries.insert(entry.name().unwrap().into_owned(), bytes);
    }
    entries
}

fn websocket(id: u64) -> Vec<FlowEvent> {
    let open = WebSocketOpen {
        id: FlowId(id),
        scheme: Scheme::Https,
        target: Arc::new(Authority { host: "a.example".into(), port: 443 }),
        client: "127.0.0.1:9".parse().unwrap(),
        request_head: "GET /s HTTP/1.1\r\nHost: a.example\r\n\r\n".into(),
        response_head: "HTTP/1.1 101 Switching Protocols\r\n\r\n".into(),
        began_us: at(id),
        deflate: None,
    };
    let message = WebSocketMessage {
        flow: FlowId(id),
        direction: Direction::Send,
        opcode: Opcode::Text,
        compressed: false,
        time_us: at(id) + 5_000,
        payload: "hello".into(),
    };
    let close = WebSocketClose { flow: FlowId(id), time_us: at(id) + 9_000, error: None };
    vec![
        FlowEvent::WebSocketOpen(Arc::new(open)),
        FlowEvent::WebSocketMessage(message),
        FlowEvent::WebSocketClose(close),
    ]
}

fn write(path: &Path, entries: &Entries) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in entries {
        zip.start_file(name.as_str(), SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// Runs the judge in `folder` on bundles that are named by their numbers.
fn judge(folder: &Path, arguments: &[String]) -> Output {
    let checker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/check_bundle.py");
    let output = Command::new("python3").arg(checker).args(arguments).current_dir(folder).output();
    let output = output.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!told.contains("Traceback"), "{told}");
    output
}

/// The lines that the judge has on each bundle, `ok` or violations.
fn verdicts(bundles: &[Entries]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..bundles.len()).map(|number| format!("{number}.zip")).collect();
    for (name, bundle) in names.iter().zip(bundles) {
        write(&folder.path().join(name), bundle);
    }
    let output = judge(folder.path(), &names);
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8(told).unwrap();
    let mut verdicts = vec![String::new(); bundles.len()];
    for line in told.lines() {
        let (number, verdict) = line.split_once(".zip: ").unwrap_or_else(|| panic!("{line}"));
        verdicts[number.parse::<usize>().unwrap()] += &format!("{verdict}\n");
    }
    let all_good = verdicts.iter().all(|verdict| verdict == "ok\n");
    assert_eq!(output.status.code(), Some(i32::from(!all_good)));
    verdicts
}

/// Judges one bundle for each row; each must be refused with a violation that has the row's text.
fn refused(rows: Vec<(&str, Vec<Spoil>)>) {
    let good = good();
    let spoilt = rows.iter().map(|(_, spoils)| {
        let mut entries = good.clone();
        spoils.iter().for_each(|spoil| spoil.apply(&mut entries));
        entries
    });
    let verdicts = verdicts(&spoilt.collect::<Vec<_>>());
    let missed: Vec<_> = rows
        .iter()
        .zip(verdicts)
        .enumerate()
        .filter(|(_, ((wanted, _), verdict))| !verdict.contains(wanted))
        .map(|(row, ((wanted, _), verdict))| format!("row {row} wants {wanted:?}, not {verdict}"))
        .collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

fn header(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

#[test]
fn a_good_bundle_passes_and_so_do_fields_that_are_not_known() {
    let good = good();
    let mut more = good.clone();
    for (name, parent) in [
        (MANIFEST, ""),
        (MANIFEST, "/app"),
        (MANIFEST, "/stats"),
        (PLAIN, ""),
        (PLAIN, "/request"),
        (PLAIN, "/request/headers/0"),
        (PLAIN, "/initiator"),
        (PLAIN, "/timing"),
        (SOCKET, ""),
        (MESSAGE, ""),
        (TIMELINE, "/events/0"),
    ] {
        set(&mut more, name, &format!("{parent}/unknown"), json!(1.5));
    }
    assert_eq!(verdicts(&[good, more]), ["ok\n", "ok\n"]);
}

#[test]
fn what_a_proxy_may_see_passes() {
    let good = good();
    let archive = gzip(b"an archive");
    let with = |spoils: &[Spoil]| {
        let mut entries = good.clone();
        spoils.iter().for_each(|spoil| spoil.apply(&mut entries));
        entries
    };
    let headers = "/response/headers";
    let gzipped = header("Content-Encoding", "gzip");
    let passed = [
        // An archive that was compressed again on its way.
        with(&[
            Set(DECODED, headers, json!([gzipped, header("Content-Length", "77")])),
            SetBody(DECODED, archive.clone()),
        ]),
        with(&[
            Set(DECODED, headers, json!([gzipped, header("Content-Type", "application/gzip")])),
            SetBody(DECODED, archive),
        ]),
        // A malformed request, of which there is little.
        with(&[
            Set(FAILED, "/request/method", json!("")),
            Set(FAILED, "/request/url", json!("http:///a b\u{1}")),
        ]),
        with(&[Set(PLAIN, "/response/headers", json!([header("Content-Length", "6")]))]),
        with(&[Set(PLAIN, "/response/status", json!(101))]),
        with(&[Set(MANIFEST, "/created_at", json!("2026-01-02T03:04:05+01:00"))]),
        with(&[Set(MANIFEST, "/created_at", json!("2026-01-02T03:04:05.123456789Z"))]),
        // Both halves of a surrogate pair are one character.
        with(&[Text(PLAIN, "\"OK\"", r#""\ud83d\ude00""#)]),
    ];
    for (row, verdict) in verdicts(&passed).iter().enumerate() {
        assert_eq!(verdict, "ok\n", "row {row}");
    }
}

#[test]
fn the_archive_is_judged() {
    refused(vec![
        ("manifest.json is missing", vec![Remove(MANIFEST)]),
        ("timeline.json is missing", vec![Remove(TIMELINE)]),
        ("t_0002.json is missing", vec![Remove(DECODED)]),
        ("t_0001_request.bin is missing", vec![Remove("traces/t_0001_request.bin")]),
        ("nothing refers to", vec![Bytes("traces/t_0004_response.bin", b"x".to_vec())]),
        ("nothing refers to", vec![Bytes("contexts/c_0001.json", b"{}".to_vec())]),
        ("8 bytes stored, size says 7", vec![Set(PLAIN, "/request/body_size", json!(7))]),
        ("not JSON in UTF-8", vec![Bytes(PLAIN, b"{\"id\":\"\xff\"}".to_vec())]),
        ("not JSON in UTF-8", vec![Bytes(PLAIN, "[".repeat(100_000).into())]),
        ("not JSON in UTF-8", vec![Text(PLAIN, ":1.5", ":NaN")]),
        ("not JSON in UTF-8", vec![Text(PLAIN, ":1.5", ":Infinity")]),
        ("key 'id' stands 2 times", vec![Text(PLAIN, "{", r#"{"id":"t_0001","#)]),
        ("surrogate stands alone", vec![Text(PLAIN, "\"OK\"", r#""\ud800""#)]),
        ("surrogate stands alone", vec![Text(MANIFEST, "{", r#"{"\udfff":1,"#)]),
    ]);
}

#[test]
fn the_manifest_is_judged() {
    let created = |text: &str| vec![Set(MANIFEST, "/created_at", json!(text))];
    let base = |text: &str| vec![Set(MANIFEST, "/app/base_url", json!(text))];
    let version_1 = json!("f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
    refused(vec![
        ("format_version", vec![Set(MANIFEST, "/format_version", json!("1.0"))]),
        ("no random UUID", vec![Set(MANIFEST, "/capture_id", version_1)]),
        ("created_at", created("20260101T000000Z")),
        ("created_at", created("2026-01-01 00:00:00+00:00")),
        ("created_at", created("2026-01-01T00:00:00")),
        ("created_at", created("2026-02-30T00:00:00Z")),
        ("created_at", created("2026-01-01T00:00Z")),
        ("app's name: 7", vec![Set(MANIFEST, "/app/name", json!(7))]),
        ("title is not the name", vec![Set(MANIFEST, "/app/title", json!("other"))]),
        ("base_url is empty", base("")),
        ("is not https:// and a host", base("http://a.example")),
        ("is not https:// and a host", base("https://a.example/path")),
        ("is not https:// and a host", base("https://a b")),
        ("trace_count is 6 instead of 5", vec![Set(MANIFEST, "/stats/trace_count", json!(6))]),
        ("trace_count is 5.0", vec![Set(MANIFEST, "/stats/trace_count", json!(5.0))]),
        ("context_count is False", vec![Set(MANIFEST, "/stats/context_count", json!(false))]),
        ("duration_ms", vec![Set(MANIFEST, "/duration_ms", json!(1.5))]),
        ("lost", vec![Set(MANIFEST, "/lost", json!({"flow_count": 1}))]),
        ("lost", vec![Set(MANIFEST, "/lost", json!({"flow_count": 0, "ws_message_count": 0}))]),
    ]);
}

#[test]
fn an_empty_capture_has_no_base_url() {
    let mut entries = good();
    entries.retain(|name, _| [MANIFEST, TIMELINE].contains(&name.as_str()));
    set(&mut entries, TIMELINE, "/events", json!([]));
    for count in ["trace_count", "ws_connection_count", "ws_message_count"] {
        set(&mut entries, MANIFEST, &format!("/stats/{count}"), json!(0));
    }
    let mut named = entries.clone();
    set(&mut entries, MANIFEST, "/app/base_url", json!(""));
    set(&mut named, MANIFEST, "/app/base_url", json!("https://a.example"));
    let told = verdicts(&[entries, named]);
    assert_eq!(told, ["ok\n", "manifest: base_url of an empty capture\n"]);
}

#[test]
fn exchanges_are_judged() {
    let url = |text: &str| vec![Set(PLAIN, "/request/url", json!(text))];
    let status = |code: Value| vec![Set(PLAIN, "/response/status", code)];
    let upgrade = json!([header("upgrade", "h2c, WebSocket")]);
    refused(vec![
        ("no time", vec![Set(PLAIN, "/timestamp", json!(1_700_000_000_001_234_u64))]),
        ("no time", vec![Set(PLAIN, "/timestamp", json!(1_700_000_000))]),
        ("no time", vec![Set(PLAIN, "/timestamp", json!(1_700_000_000_001.5))]),
        ("'' is no method", vec![Set(PLAIN, "/request/method", json!(""))]),
        ("'A B' is no method", vec![Set(PLAIN, "/request/method", json!("A B"))]),
        ("OPTIONS", vec![Set(PLAIN, "/request/method", json!("OPTIONS"))]),
        ("is not absolute", url("/1")),
        ("is not absolute", url("https:///1")),
        ("has blanks", url("https://a.example/a b")),
        ("has blanks", url("https://a.example/\u{1b}[2J")),
        ("status 0 without an error", status(json!(0))),
        ("99999 is no status", status(json!(99_999))),
        ("99 is no status", status(json!(99))),
        ("-1 is no status", status(json!(-1))),
        ("'200' is no status", status(json!("200"))),
        (
            "but there is a response",
            vec![Set(FAILED, "/response/headers", json!([header("a", "")]))],
        ),
        ("without a reason", vec![Set(FAILED, "/error", json!(""))]),
        ("None is not a string", vec![Set(PLAIN, "/error", Value::Null)]),
        (
            "a WebSocket handshake",
            vec![
                Set(PLAIN, "/response/status", json!(101)),
                Set(PLAIN, "/response/headers", upgrade),
            ],
        ),
        ("past total_ms", vec![Set(PLAIN, "/timing/total_ms", json!(1))]),
        ("not written as an integer", vec![Set(PLAIN, "/timing/dns_ms", json!(1.0))]),
        ("no duration", vec![Set(PLAIN, "/timing/dns_ms", json!(-1))]),
        ("no duration", vec![Text(PLAIN, ":1.5", ":1e400")]),
        ("lacks ['value']", vec![Set(PLAIN, "/request/headers/0", json!({"name": "a"}))]),
        ("initiator: type", vec![Set(PLAIN, "/initiator/type", json!("script"))]),
    ]);
}

#[test]
fn bodies_are_compared_with_their_codings() {
    let encoding = |name, value: Value| Set(name, "/response/body_encoding", value);
    let headers = |fields: &[(&str, &str)]| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| header(name, value)).collect();
        Set(DECODED, "/response/headers", Value::Array(fields))
    };
    let coded = |coding| headers(&[("content-encoding", coding)]);
    let zipped = gzip(b"words and more words");
    let zlib = b"\x78\x9c\x4b\x04\x00\x00\x62\x00\x62".to_vec();
    let raw = b"\x4b\x04\x00".to_vec();
    let zstd = include_bytes!("data/fox.zst").to_vec();
    let br = include_bytes!("data/fox.br").to_vec();
    let br_size = br.len().to_string();
    let wire = |size: Value| vec![Set(CUT, "/response/body_wire_size", size)];
    refused(vec![
        ("still gzip", vec![SetBody(DECODED, zipped.clone())]),
        ("still gzip", vec![coded("br, x-gzip"), SetBody(DECODED, zipped.clone())]),
        ("still deflate", vec![coded("deflate"), SetBody(DECODED, zlib.clone())]),
        (
            "still deflate",
            vec![
                headers(&[("content-encoding", "deflate"), ("content-length", "3")]),
                SetBody(DECODED, raw.clone()),
            ],
        ),
        ("still zstd", vec![coded("zstd"), SetBody(DECODED, zstd)]),
        (
            "still br",
            vec![
                headers(&[("content-encoding", "br"), ("content-length", &br_size)]),
                SetBody(DECODED, br),
            ],
        ),
        ("is unknown", vec![encoding(KEPT, Value::Null), Text(KEPT, "gzip", "odd")]),
        ("body_encoding 'banana'", vec![encoding(DECODED, json!("banana"))]),
        ("body_encoding 'gzip', Content-Encoding []", vec![encoding(PLAIN, json!("gzip"))]),
        ("could have been decoded", vec![SetBody(KEPT, zipped.clone())]),
        ("could have been decoded", vec![SetBody(KEPT, [zipped.clone(), zipped].concat())]),
        (
            "could have been decoded",
            vec![coded("deflate"), encoding(DECODED, json!("deflate")), SetBody(DECODED, raw)],
        ),
        ("of no body", vec![Set(FAILED, "/response/body_encoding", json!("gzip"))]),
        ("5 are stored", wire(json!(5))),
        ("5 are stored", wire(json!(1))),
        ("is not an integer", wire(json!("5000"))),
        ("body_coded_size", vec![Set(DECODED, "/response/body_coded_size", json!(0))]),
        ("that was not decoded", vec![Set(PLAIN, "/response/body_coded_size", json!(9))]),
        ("that was not decoded", vec![Set(KEPT, "/response/body_coded_size", json!(9))]),
        (
            "a cut body cannot be decoded",
            vec![Set(CUT, "/response/headers", json!([header("Content-Encoding", "gzip")]))],
        ),
        (
            "Content-Length 7, but 6 are stored",
            vec![Set(PLAIN, "/response/headers", json!([header("Content-Length", "7")]))],
        ),
    ]);
}

#[test]
fn websockets_and_the_timeline_are_judged() {
    let event = |fields: Value| vec![Set(TIMELINE, "/events/0", fields)];
    let (time, again) = (at(1) / 1_000, at(2) / 1_000);
    refused(vec![
        ("no ws or wss URL", vec![Set(SOCKET, "/url", json!("https://a.example/s"))]),
        ("no ws or wss URL", vec![Set(SOCKET, "/url", json!("wss://a.example/a b"))]),
        ("1 messages, not 2", vec![Set(SOCKET, "/message_count", json!(2))]),
        ("handshake_trace_ref", vec![Set(SOCKET, "/handshake_trace_ref", json!("t_0001"))]),
        ("no time", vec![Set(SOCKET, "/closed_timestamp", json!(5))]),
        ("messages_left_out", vec![Set(SOCKET, "/messages_left_out", json!(0))]),
        ("direction", vec![Set(MESSAGE, "/direction", json!("sent"))]),
        ("opcode 'continuation'", vec![Set(MESSAGE, "/opcode", json!("continuation"))]),
        ("payload_encoding", vec![Set(MESSAGE, "/payload_encoding", json!("gzip"))]),
        ("connection_ref", vec![Set(MESSAGE, "/connection_ref", json!("ws_0002"))]),
        ("file 'x.bin'", vec![Set(MESSAGE, "/payload_file", json!("x.bin"))]),
        ("is no event", event(json!({"timestamp": again, "type": "trace", "ref": "t_0002"}))),
        ("is missing", event(json!({"timestamp": again, "type": "trace", "ref": "t_0002"}))),
        ("is no event", event(json!({"timestamp": time, "type": "ws_open", "ref": "t_0001"}))),
        ("not sorted", event(json!({"timestamp": time + 99, "type": "trace", "ref": "t_0001"}))),
        ("no array", vec![Set(TIMELINE, "/events", json!({}))]),
    ]);
}

#[test]
fn a_part_holds_as_many_traces_as_can_be_kept_in_order() {
    let mut entries = good();
    for number in 6..=10_000 {
        entries.insert(format!("traces/t_{number:04}.json"), b"{}".to_vec());
    }
    assert!(verdicts(&[entries])[0].starts_with("10000 traces in one part\n"));
}

#[test]
fn numbers_of_messages_have_one_width_or_as_many_digits_as_each_needs() {
    let good = good();
    let bundle = |digits: usize| {
        let mut entries = good.clone();
        let mut message: Value = serde_json::from_slice(&entries.remove(MESSAGE).unwrap()).unwrap();
        entries.remove(&MESSAGE.replace(".json", ".bin")).unwrap();
        message["payload_file"] = Value::Null;
        message["payload_size"] = json!(0);
        let mut timeline: Value = serde_json::from_slice(&entries[TIMELINE]).unwrap();
        let events = timeline["events"].as_array_mut().unwrap();
        // It is the latest.
        let mut event = events.pop().unwrap();
        for number in 1..=1_000 {
            let id = format!("ws_0001_m{number:0digits$}");
            message["id"] = json!(id);
            event["ref"] = json!(id);
            events.push(event.clone());
            entries.insert(format!("ws/{id}.json"), serde_json::to_vec(&message).unwrap());
        }
        entries.insert(TIMELINE.to_owned(), serde_json::to_vec(&timeline).unwrap());
        set(&mut entries, SOCKET, "/message_count", json!(1_000));
        set(&mut entries, MANIFEST, "/stats/ws_message_count", json!(1_000));
        entries
    };
    let mut mixed = bundle(4);
    let one = mixed.remove("ws/ws_0001_m0002.json").unwrap();
    mixed.insert("ws/ws_0001_m002.json".to_owned(), one);
    let told = verdicts(&[bundle(3), bundle(4), mixed]);
    assert_eq!(told[..2], ["ok\n", "ok\n"]);
    assert!(told[2].contains("ws_0001_m0002.json is missing"), "{}", told[2]);
}

/// The pointers of all values in a JSON tree, its root left out.
fn pointers(tree: &Value, at: &str, into: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match tree {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (format!("{at}/{key}"), value)).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().map(|(n, item)| (format!("{at}/{n}"), item)).collect()
        }
        _ => return,
    };
    for (pointer, value) in below {
        pointers(value, &pointer, into);
        into.push(pointer);
    }
}

#[test]
fn a_value_of_any_type_anywhere_gets_a_verdict() {
    let good = good();
    let huge: Value = serde_json::from_str("1e300").unwrap();
    let odd = [json!(null), json!(true), json!(-1), huge, json!("x"), json!([[]]), json!({"a": 1})];
    let mut bundles = Vec::new();
    for name in [MANIFEST, TIMELINE, PLAIN, KEPT, CUT, SOCKET, MESSAGE] {
        let mut places = Vec::new();
        pointers(&serde_json::from_slice(&good[name]).unwrap(), "", &mut places);
        for value in &odd {
            for place in &places {
                let mut entries = good.clone();
                set(&mut entries, name, place, value.clone());
                bundles.push(entries);
            }
            let mut entries = good.clone();
            entries.insert(name.to_owned(), value.to_string().into());
            bundles.push(entries);
        }
    }
    let silent = verdicts(&bundles).iter().filter(|verdict| verdict.is_empty()).count();
    assert_eq!(silent, 0);
}

#[test]
fn the_listing_is_json_for_files_that_are_no_bundles_too() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("0.zip"), &good());
    std::fs::write(folder.path().join("1.zip"), "no archive").unwrap();
    let arguments = ["--json", "0.zip", "1.zip", "2.zip"].map(str::to_owned);
    let output = judge(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(1));
    let lines = String::from_utf8(output.stdout).unwrap();
    let listings: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        listings[0]["traces"][1]["response"]["body"],
        capture::base64(b"words and more words")
    );
    assert_eq!(listings[0]["websockets"][0]["messages"][0]["payload"], capture::base64(b"hello"));
    assert_eq!(listings[1..], [Value::Null, Value::Null]);
}
