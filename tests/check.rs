//! `flowtap check` on bundles that the recorder made.
// Clippy takes what stands beside the test functions for production code.
#![allow(clippy::unwrap_used)]

#[path = "support/capture.rs"]
mod capture;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use flowtap::capture::entry::ended;
use flowtap::flow::record::*;
use flowtap::limits::CHECK_LISTED;
use tempfile::TempDir;

use capture::{Capture, exchange, gzip, holds, send, text_body, wait, websocket};

struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn check(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtap"));
    command.current_dir(folder).arg("check").args(arguments);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    Ran { status: output.status.code(), stdout, stderr }
}

/// Two parts: an answer of 200 with a body in gzip, a WebSocket, and in the second part a failed
/// request whose URL holds a secret.
fn bundle() -> TempDir {
    let capture = Capture::start(1);
    let mut first = exchange(1);
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
    capture.respond(&mut first, head, &gzip(b"{\"state\":\"broken\"}"));
    send(&capture, vec![ended(&first)]);
    send(&capture, websocket(2, &["bad news"]));
    let mut failed = exchange(3);
    failed.request.head = "GET /3?token=S3CRET HTTP/1.1\r\nHost: b.example\r\n\r\n".into();
    failed.request.body = text_body("");
    failed.response = None;
    failed.error = Some("connection refused".into());
    send(&capture, vec![ended(&failed)]);
    let (folder, listings, _) = capture.finish_in_place();
    assert_eq!(listings.len(), 2);
    folder
}

#[test]
fn a_class_of_statuses_fails_a_check() {
    let folder = bundle();
    let ran = check(folder.path(), &["capture.zip", "--fail-on", "~c 2xx"]);
    assert_eq!(ran.status, Some(3), "{}", ran.stdout);
    assert!(ran.stdout.contains("t_0001  "), "{}", ran.stdout);
}

#[test]
fn a_rule_in_the_words_of_another_language_is_refused() {
    let folder = bundle();
    let ran = check(folder.path(), &["capture.zip", "--fail-on", "~c 500 or ~c 200"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("write & for and, | for or, ! for not"), "{}", ran.stderr);
}

#[test]
fn rules_are_judged_over_all_parts_and_the_status_tells() {
    let folder = bundle();
    let good = ["capture.zip", "--fail-on", "~c 5xx", "--require", "~d a.example & ~c 200"];
    let ran = check(folder.path(), &good);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    let lines = "ok    --fail-on '~c 5xx'\nok    --require '~d a.example & ~c 200'\n";
    assert_eq!(ran.stdout, lines);

    let bad =
        ["capture.zip", "--fail-on", "~e", "--fail-on", "~c 500", "--require", "~d c.example"];
    let ran = check(folder.path(), &bad);
    assert_eq!(ran.status, Some(3), "{}", ran.stderr);
    let lines = "FAIL  --fail-on '~e': 1 of 3 flows matches\n      \
                 capture-0002.zip t_0001  GET --- https://b.example/3?token=***  \
                 (connection refused)\n\
                 ok    --fail-on '~c 500'\n\
                 FAIL  --require '~d c.example': none of 3 flows matches\n";
    assert_eq!(ran.stdout, lines);
    assert_eq!(ran.stderr, "flowtap: 2 of 3 checks failed\n");

    let open = check(folder.path(), &["capture.zip", "--fail-on", "~e", "--no-redact"]);
    assert!(open.stdout.contains("?token=S3CRET"), "{}", open.stdout);
}

#[test]
fn decoded_bodies_and_messages_are_looked_at() {
    let folder = bundle();
    for (filter, place) in [("~b broken", "capture.zip t_0001"), ("~b 'bad news'", "ws_0001")] {
        let ran = check(folder.path(), &["capture.zip", "--fail-on", filter]);
        assert_eq!(ran.status, Some(3), "{filter}: {}", ran.stderr);
        assert!(ran.stdout.contains(place), "{filter}: {}", ran.stdout);
    }
}

#[test]
fn more_than_is_listed_is_counted() {
    let capture = Capture::start(1_000);
    let most = CHECK_LISTED as u64 + 2;
    send(&capture, (1..=most).map(|id| ended(&exchange(id))).collect());
    let (folder, _, _) = capture.finish_in_place();
    let ran = check(folder.path(), &["capture.zip", "--fail-on", "~d a.example"]);
    assert_eq!(ran.stdout.matches("capture.zip t_").count(), CHECK_LISTED);
    assert!(ran.stdout.contains(&format!(": {most} of {most} flows match\n")), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("\n      and 2 more\n"), "{}", ran.stdout);
}

#[test]
fn ci_systems_get_their_own_forms() {
    let folder = bundle();
    let words = ["capture.zip", "--fail-on", "~e", "--require", "~s", "--junit", "out.xml"];
    let ran = check(folder.path(), &[&words[..], &["--github"]].concat());
    assert_eq!(ran.status, Some(3), "{}", ran.stderr);
    let annotation = "::error title=flowtap --fail-on '~e'::1 of 3 flows matches%0A";
    assert!(ran.stdout.contains(annotation), "{}", ran.stdout);
    let read = "import sys, xml.etree.ElementTree as e\n\
                suite = e.parse(sys.argv[1]).getroot()[0]\n\
                cases = [(c.get('name'), [f.text for f in c]) for c in suite]\n\
                print(suite.get('tests'), suite.get('failures'), cases)";
    let xml = folder.path().join("out.xml");
    let python = Command::new("python3").args(["-c", read]).arg(&xml).output().unwrap();
    let expected = "2 1 [(\"--fail-on '~e'\", ['capture-0002.zip t_0001  GET --- \
                    https://b.example/3?token=***  (connection refused)']), \
                    (\"--require '~s'\", [])]\n";
    assert_eq!(String::from_utf8(python.stdout).unwrap(), expected);
}

#[test]
fn a_report_on_standard_output_is_alone_there() {
    let folder = bundle();
    for (bundle, status, errors, text) in [
        ("capture.zip", 3, "errors=\"0\"", "FAIL  --fail-on '~e': 1 of 3 flows matches\n"),
        ("no.zip", 1, "errors=\"1\"", "flowtap: cannot read no.zip: "),
    ] {
        let ran = check(folder.path(), &[bundle, "--fail-on", "~e", "--junit", "-"]);
        assert_eq!(ran.status, Some(status), "{}", ran.stderr);
        assert!(ran.stdout.starts_with("<?xml ") && ran.stdout.contains(errors), "{}", ran.stdout);
        assert!(ran.stdout.ends_with("</testsuites>\n"), "{}", ran.stdout);
        assert!(ran.stderr.starts_with(text), "{}", ran.stderr);
    }
    let both = ["capture.zip", "--fail-on", "~e", "--github", "--junit", "-"];
    let ran = check(folder.path(), &both);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("--junit - and --github"), "{}", ran.stderr);
    assert!(!folder.path().join("-").exists());
    let named = check(folder.path(), &["capture.zip", "--fail-on", "~s & ~e", "--junit", "./-"]);
    assert_eq!(named.status, Some(0), "{}", named.stderr);
    assert!(folder.path().join("-").exists());
}

#[test]
fn what_cannot_be_checked_is_no_success() {
    let folder = bundle();
    let missing = check(folder.path(), &["nothing.zip", "--fail-on", "~e"]);
    assert_eq!(missing.status, Some(1));
    assert!(missing.stderr.contains("cannot read nothing.zip"), "{}", missing.stderr);

    let path = folder.path().join("odd.zip");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    for (name, text) in [("manifest.json", "{}"), ("traces/t_0001.json", "{")] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let ran = check(folder.path(), &["odd.zip", "--fail-on", "~e"]);
    assert_eq!(ran.status, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("1 flow could not be checked"), "{}", ran.stderr);

    let words = ["odd.zip", "--fail-on", "~e", "--github", "--junit", "out.xml"];
    let ran = check(folder.path(), &words);
    assert_eq!(ran.status, Some(1), "{}", ran.stderr);
    assert!(ran.stdout.contains("::error title=flowtap check::not all"), "{}", ran.stdout);
    let xml = fs::read_to_string(folder.path().join("out.xml")).unwrap();
    assert!(xml.contains("errors=\"1\""), "{xml}");
}

#[test]
fn a_bundle_that_cannot_be_read_is_told_of_in_every_report() {
    let folder = bundle();
    let whole = fs::read(folder.path().join("capture.zip")).unwrap();
    fs::write(folder.path().join("broken##[x].zip"), &whole[..whole.len() / 2]).unwrap();
    let report = folder.path().join("st.xml");
    for (file, shown) in [("broken##[x].zip", "broken#\\x23[x].zip"), ("no&.zip", "no&amp;.zip")] {
        let good = ["capture.zip", "--fail-on", "~c 599", "--junit", "st.xml"];
        assert_eq!(check(folder.path(), &good).status, Some(0));
        assert!(fs::read_to_string(&report).unwrap().contains("errors=\"0\""));

        let bad = [&[file], &good[1..], &["--github"]].concat();
        let ran = check(folder.path(), &bad);
        assert_eq!(ran.status, Some(1), "{}", ran.stderr);
        assert!(
            ran.stderr.starts_with(&format!("flowtap: cannot read {file}: ")),
            "{}",
            ran.stderr
        );
        let annotation = "::error title=flowtap check::not all could be checked%0Acannot read ";
        assert!(ran.stdout.starts_with(annotation), "{}", ran.stdout);
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
        let xml = fs::read_to_string(&report).unwrap();
        assert!(xml.contains("tests=\"1\" failures=\"0\" errors=\"1\""), "{xml}");
        assert_eq!(xml.matches("<error ").count(), 1, "{xml}");
        assert!(xml.contains(&format!(">cannot read {shown}: ")), "{xml}");
    }
    let unwritten = ["no.zip", "--fail-on", "~e", "--junit", "nowhere/st.xml"];
    let ran = check(folder.path(), &unwritten);
    assert_eq!(ran.status, Some(1), "{}", ran.stderr);
    let both =
        ran.stderr.contains("read no.zip: ") && ran.stderr.contains("write nowhere/st.xml: ");
    assert!(both, "{}", ran.stderr);
}

#[test]
fn no_report_takes_the_place_of_a_part_of_what_cannot_be_read() {
    let folder = bundle();
    let first = folder.path().join("capture.zip");
    let cut = fs::read(&first).unwrap()[..9].to_vec();
    let second = fs::read(folder.path().join("capture-0002.zip")).unwrap();
    fs::write(&first, &cut).unwrap();
    std::os::unix::fs::symlink("capture-0002.zip", folder.path().join("link.xml")).unwrap();
    let here = folder.path().join("capture-0002.zip");
    for file in ["capture.zip", "./capture.zip", "link.xml", here.to_str().unwrap()] {
        let ran = check(folder.path(), &["capture.zip", "--fail-on", "~e", "--junit", file]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""), "{file}: {}", ran.stderr);
        assert!(ran.stderr.contains("would replace the bundle itself"), "{}", ran.stderr);
    }
    assert!(fs::read(&first).unwrap() == cut && fs::read(&here).unwrap() == second);
    let ran = check(folder.path(), &["no.zip", "--fail-on", "~e", "--junit", "no.zip"]);
    assert_eq!(ran.status, Some(2), "{}", ran.stderr);
    assert!(!folder.path().join("no.zip").exists());
}

#[test]
fn no_report_takes_the_place_of_a_part() {
    let folder = bundle();
    for part in ["capture.zip", "capture-0002.zip"] {
        let whole = fs::read(folder.path().join(part)).unwrap();
        let ran = check(folder.path(), &["capture.zip", "--fail-on", "~e", "--junit", part]);
        assert_eq!(ran.status, Some(2), "{}", ran.stderr);
        let mut export = Command::new(env!("CARGO_BIN_EXE_flowtap"));
        export.current_dir(folder.path()).args(["export", "capture.zip", "--har", part]);
        let output = export.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(fs::read(folder.path().join(part)).unwrap() == whole, "{part} was replaced");
    }
}

#[test]
fn parts_that_cannot_be_looked_at_are_no_success() {
    let folder = bundle();
    let second = folder.path().join("capture-0002.zip");
    let whole = fs::read(&second).unwrap();
    let rule = ["capture.zip", "--fail-on", "~c 500"];
    let refused = |why: &str| {
        let ran = check(folder.path(), &rule);
        assert_eq!(ran.status, Some(1), "{why}: {}", ran.stdout);
        assert!(ran.stderr.contains("not all of the capture could be checked"), "{}", ran.stderr);
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    };
    fs::write(&second, &whole[..whole.len() / 2]).unwrap();
    refused("cannot read capture-0002.zip");
    fs::remove_file(&second).unwrap();
    assert_eq!(check(folder.path(), &rule).status, Some(0), "what ends early ends so");

    let capture = Capture::start(1);
    send(&capture, (1..=4).map(|id| ended(&exchange(id))).collect());
    let (folder, listings, _) = capture.finish_in_place();
    assert_eq!(listings.len(), 4);
    for part in ["capture-0002.zip", "capture-0003.zip"] {
        fs::remove_file(folder.path().join(part)).unwrap();
    }
    let ran = check(folder.path(), &rule);
    assert_eq!(ran.status, Some(1), "{}", ran.stdout);
    let why = "parts 2 to 3 of the capture, not there though capture-0004.zip is";
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
}

#[test]
fn a_capture_that_has_lost_flows_is_no_success() {
    let capture = Capture::start(9);
    let journal = capture.folder.path().join("capture.zip.journal");
    let segment = journal.join("segment-0001.flj");
    send(&capture, vec![ended(&exchange(1))]);
    wait("the flow is written", || holds(&segment, b" /1 HTTP"));
    fs::remove_file(segment).unwrap();
    let (folder, _, summary) = capture.finish_with_error();
    assert_eq!(summary.lost, 1);
    let refused = |folder: &Path, part: &str| {
        let ran = check(folder, &["capture.zip", "--fail-on", "~e"]);
        assert_eq!(ran.status, Some(1), "{}", ran.stdout);
        let why = "not all of the capture could be checked";
        let why = format!("{why}: 1 flow lost while {part} was made");
        assert!(ran.stderr.contains(&why), "{}", ran.stderr);
    };
    refused(folder.path(), "capture.zip");

    let capture = Capture::start(1);
    let segment = capture.folder.path().join("capture.zip.journal/segment-0002.flj");
    send(&capture, (1..=2).map(|id| ended(&exchange(id))).collect());
    wait("the second part is begun", || holds(&segment, b" /2 HTTP"));
    fs::remove_file(segment).unwrap();
    let (folder, _, summary) = capture.finish_with_error();
    assert_eq!((summary.lost, summary.paths.len()), (1, 2), "{:?}", summary.error);
    assert!(!folder.path().join("capture.zip.journal").exists());
    refused(folder.path(), "capture-0002.zip");
}

#[test]
fn a_capture_that_has_not_ended_is_no_success() {
    let capture = Capture::start(1);
    send(&capture, (1..=2).map(|id| ended(&exchange(id))).collect());
    let live = capture.folder.path().to_owned();
    let packed = live.join("capture.zip.journal/segment-0001.flj");
    // Nothing goes while the journal is copied.
    wait("the first part is whole", || live.join("capture.zip").exists() && !packed.exists());
    let refused = |folder: &Path, why: &str| {
        let ran = check(folder, &["capture.zip", "--fail-on", "~c 500"]);
        assert_eq!(ran.status, Some(1), "{why}: {}", ran.stdout);
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    };
    refused(&live, "what comes after part 1: its capture is still running");

    // As a kill would leave it: with nobody who holds the lock.
    let copied = tempfile::tempdir().unwrap();
    let journal = copied.path().join("capture.zip.journal");
    fs::create_dir(&journal).unwrap();
    fs::copy(live.join("capture.zip"), copied.path().join("capture.zip")).unwrap();
    for entry in fs::read_dir(live.join("capture.zip.journal")).unwrap().flatten() {
        fs::copy(entry.path(), journal.join(entry.file_name())).unwrap();
    }
    refused(copied.path(), "flowtap recover capture.zip");
    let mut har = Command::new(env!("CARGO_BIN_EXE_flowtap"));
    har.current_dir(copied.path()).args(["export", "capture.zip", "--har", "x.har"]);
    let told = String::from_utf8(har.output().unwrap().stderr).unwrap();
    assert!(told.contains("left out: what comes after part 1"), "{told}");

    // The journal of another capture to the same file says nothing of this one.
    let (folder, _, _) = capture.finish_in_place();
    fs::rename(&journal, folder.path().join("capture.zip.journal-2")).unwrap();
    refused(folder.path(), "flowtap recover capture.zip");
    let other = bundle();
    fs::rename(
        folder.path().join("capture.zip.journal-2"),
        other.path().join("capture.zip.journal"),
    )
    .unwrap();
    let ran = check(other.path(), &["capture.zip", "--fail-on", "~c 599"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn bodies_that_were_cut_are_told_of_where_they_matter() {
    let capture = Capture::start(10);
    let mut cut = exchange(1);
    let response = cut.response.as_mut().unwrap();
    response.body = Body { size: 1_000, ..text_body("the beginning") };
    send(&capture, vec![ended(&cut)]);
    let (folder, _, _) = capture.finish_in_place();
    let ran = check(folder.path(), &["capture.zip", "--fail-on", "~b end"]);
    assert!(ran.stderr.contains("1 flow could be looked at in part only"), "{}", ran.stderr);
    let ran = check(folder.path(), &["capture.zip", "--fail-on", "~c 500"]);
    assert_eq!(ran.stderr, "");
}

/// A bundle of others, with these entries.
fn made(folder: &Path, entries: &[(&str, String)]) {
    let mut zip = zip::ZipWriter::new(fs::File::create(folder.join("made.zip")).unwrap());
    for (name, text) in [("manifest.json", "{}".to_owned())].iter().chain(entries) {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn messages_that_are_not_there_are_told_of_where_they_matter() {
    let socket = |more: &str| format!("{{\"url\":\"wss://h/\"{more}}}");
    let message = |more: &str| format!("{{\"opcode\":\"text\"{more}}}");
    let cases = [
        ([socket(",\"messages_left_out\":1"), message("")], true),
        ([socket(",\"message_count\":2"), message("")], true),
        ([socket(""), message(",\"payload_encoding\":\"permessage-deflate\"")], true),
        ([socket(""), message(",\"payload_damaged\":true")], true),
        ([socket(",\"message_count\":1"), message("")], false),
    ];
    let folder = tempfile::tempdir().unwrap();
    for ([socket, message], is_cut) in cases {
        let told = format!("{socket} {message}");
        made(folder.path(), &[("ws/ws_0001.json", socket), ("ws/ws_0001_m001.json", message)]);
        let ran = check(folder.path(), &["made.zip", "--fail-on", "~b x"]);
        assert_eq!(ran.status, Some(0), "{told}: {}", ran.stderr);
        let warns = ran.stderr.contains("1 flow could be looked at in part only");
        assert_eq!(warns, is_cut, "{told}: {}", ran.stderr);
        assert_eq!(check(folder.path(), &["made.zip", "--fail-on", "~e"]).stderr, "", "{told}");
    }
}

#[test]
fn a_result_that_nobody_can_read_is_a_failure() {
    let folder = bundle();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtap"));
    command.current_dir(folder.path()).args(["check", "capture.zip", "--require", "~s"]);
    command.args(["--github", "--junit", "st.xml"]);
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let xml = fs::read_to_string(folder.path().join("st.xml")).unwrap();
    assert!(xml.contains("tests=\"1\" failures=\"0\" errors=\"0\""), "{xml}");
}
