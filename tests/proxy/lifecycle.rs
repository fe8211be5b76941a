//! Start and end of the program.

use std::time::Instant;

use flowtap::limits::LINGER_TIMEOUT;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::bundle::Bundle;
use crate::support::client::Client;
use crate::support::flowtap::{Ended, Flowtap, Setup};
use crate::support::origin::Origin;
use crate::support::tls::test_ca;
use crate::support::{DEADLINE, ends_within, get};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn both_signals_end_with_a_whole_bundle_a_summary_and_status_0() {
    let origin = Origin::answers(OK);
    for signal in [Signal::INT, Signal::TERM] {
        let tap = Flowtap::start(&[]);
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, "/"));
        client.response();
        let stopped = tap.stop_with(signal);
        assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
        assert_eq!(stopped.bundle.traces().len(), 1);
        assert_eq!(stopped.bundle.json("manifest.json")["format_version"], "1.0.0");
        let summary = "1 trace, 0 WebSocket connections, 0 messages";
        assert!(stopped.stderr.contains(summary), "{}", stopped.stderr);
        assert!(stopped.stderr.lines().last().unwrap().ends_with("capture.zip"));
        assert_eq!(client.rest(), "", "idle connections are closed");
    }
}

#[test]
fn an_exchange_under_way_may_end_after_the_signal() {
    let (go, origin) = Origin::answers_when_told(OK);
    let mut tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    origin.wait_for(b"\r\n\r\n");
    tap.signal(Signal::INT);
    tap.err_line("stopping");
    go.send(()).unwrap();
    assert_eq!(client.response().1, b"ok");
    let trace = tap.finish().bundle.only_trace();
    assert!(trace["error"].is_null(), "{trace}");
    assert_eq!(trace["response"]["status"], 200);
}

#[test]
fn a_second_signal_stops_at_once_and_the_bundle_is_whole() {
    let (_go, origin) = Origin::answers_when_told(OK);
    let mut tap = Flowtap::start(&[]);
    let mut client = Client::connect(tap.addr);
    client.send(get(origin.addr, "/"));
    origin.wait_for(b"\r\n\r\n");
    tap.signal(Signal::INT);
    tap.err_line("stopping");
    tap.signal(Signal::INT);
    let trace = tap.finish().bundle.only_trace();
    assert!(trace["error"].is_string(), "{trace}");
}

#[test]
fn stopping_waits_for_no_client_to_close() {
    ends_within(LINGER_TIMEOUT, "an end beside a client that keeps its side open", || {
        let (go, origin) = Origin::answers_when_told(OK);
        let mut tap = Flowtap::start(&[]);
        let mut client = Client::connect(tap.addr);
        client.send(get(origin.addr, "/").repeat(2));
        origin.wait_for(b"\r\n\r\n");
        tap.signal(Signal::INT);
        tap.err_line("stopping");
        let answered = Instant::now();
        go.send(()).unwrap();
        assert_eq!(client.response().1, b"ok");
        assert!(tap.keep_until_its_end().status.success());
        answered.elapsed()
    });
}

#[test]
fn an_older_bundle_stays_until_the_new_one_is_whole() {
    let origin = Origin::answers(OK);
    let setup = Setup::proxy();
    let output = setup.dir().join("capture.zip");
    std::fs::write(&output, "older").unwrap();
    let mut tap = setup.start();
    let mut client = Client::connect(tap.addr);
    for number in 0..100 {
        client.send(get(origin.addr, &format!("/{number}")));
        client.response();
    }
    assert_eq!(std::fs::read(&output).unwrap(), b"older");
    tap.signal(Signal::INT);
    let end = Instant::now() + DEADLINE;
    let first_other = loop {
        let found = std::fs::read(&output).unwrap();
        if found != b"older" {
            break found;
        }
        assert!(Instant::now() < end, "the older bundle stays for ever");
    };
    tap.keep_until_its_end();
    assert!(std::fs::read(&output).unwrap() == first_other, "it was seen before it was whole");
    assert_eq!(Bundle::read(&output).traces().len(), 100);
}

/// Checks that a start failed with one clear line and this status.
fn refused(what: &str, ended: &Ended, status: i32, words: &[&str]) {
    assert_eq!(ended.status.code(), Some(status), "{what}: {}", ended.stderr);
    assert!(!ended.stderr.contains("proxy  http"), "{what}: it listened: {}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{what}: {}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{what}: no {word:?} in {}", ended.stderr);
    }
}

#[test]
fn a_taken_port_is_told() {
    let first = Flowtap::start(&[]);
    let port = first.addr.port().to_string();
    let ended = Setup::proxy().args(["-p", &port]).run();
    refused("port", &ended, 1, &[&port, "in use"]);
}

#[test]
fn an_output_that_cannot_be_written_is_told() {
    let setup = Setup::proxy();
    let output = setup.dir().join("missing/capture.zip");
    let ended = setup.args(["-o".as_ref(), output.as_os_str()]).run();
    refused("output", &ended, 1, &["missing"]);
    let setup = Setup::proxy();
    let folder = setup.dir().to_owned();
    let ended = setup.args(["-o".as_ref(), folder.as_os_str()]).run();
    refused("a folder", &ended, 1, &[folder.to_str().unwrap()]);
}

#[test]
fn a_ca_that_cannot_be_read_is_told_and_never_replaced() {
    let setup = Setup::proxy();
    let conf = setup.dir().join("conf");
    std::fs::create_dir(&conf).unwrap();
    std::fs::write(conf.join("flowtap-ca.pem"), "no PEM").unwrap();
    let ended = setup.run();
    refused("confdir", &ended, 1, &["flowtap-ca.pem"]);
    let missing = Setup::proxy().args(["--ca", "/nonexistent/ca.pem"]).run();
    refused("--ca", &missing, 1, &["/nonexistent/ca.pem"]);
    let no_key = Setup::proxy().args(["--ca".as_ref(), test_ca().file().as_os_str()]).run();
    refused("--ca without a key", &no_key, 1, &["key"]);
}

#[test]
fn wrong_usage_is_told_with_status_2() {
    for (args, word) in [
        (["-d", "https://a.example"].as_slice(), "https://a.example"),
        (&["-e", ""], "pattern"),
        (&["-d", "a.example:0"], "a.example:0"),
        (&["-p", "70000"], "70000"),
        (&["--listen", "somewhere"], "somewhere"),
        (&["--loops", "0"], "--loops"),
        (&["--capture-body-limit", "much"], "much"),
        (&["--bundle-traces", "10000"], "--bundle-traces"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["-o"], "-o"),
        (&["word"], "word"),
    ] {
        let ended = Setup::proxy().args(args).run();
        assert_eq!(ended.status.code(), Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(word), "{args:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("proxy  http"), "{args:?}: {}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{args:?}: {}", ended.stdout);
    }
}

#[test]
fn two_first_starts_end_with_one_ca() {
    for _ in 0..5 {
        let shared = TempDir::new().unwrap();
        let conf = shared.path().join("conf");
        let start = || {
            let conf = conf.clone();
            std::thread::spawn(move || {
                Setup::proxy().args(["--confdir".as_ref(), conf.as_os_str()]).start()
            })
        };
        let both = [start(), start()].map(|thread| thread.join().unwrap());
        let certified = both.map(|tap| {
            let mut client = Client::connect(tap.addr);
            client.send(get("mitm.it", "/cert/pem"));
            client.response().1
        });
        assert_eq!(certified[0], certified[1]);
        let file = std::fs::read(conf.join("flowtap-ca-cert.pem")).unwrap();
        assert_eq!(certified[0].trim_ascii(), file.trim_ascii());
    }
}

#[test]
fn the_word_capture_before_the_command_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().to_owned();
    let mut tap = Setup::bare(dir).args(["capture", "proxy", "-p", "0", "-o", "x.zip"]).start();
    tap.err_line("output x.zip");
    tap.signal(Signal::INT);
    assert!(tap.keep_until_its_end().status.success());
    let manifest = Bundle::read(&folder.join("x.zip")).json("manifest.json");
    assert_eq!(manifest["app"]["name"], "x");
    assert!(folder.join(".flowtap/flowtap-ca.pem").exists());
}
