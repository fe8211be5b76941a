//! A headless Chromium on a page with `fetch`, `EventSource` and `WebSocket`.

use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::process::Process;
use crate::setting::Setting;

/// The first of the browser's names under which it is installed.
pub(crate) fn chromium_name() -> &'static str {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let installed = |name: &&str| {
        let mut command = Command::new(name);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    names.into_iter().find(installed).expect("Chromium; tests/run.sh --setup-only installs it")
}

#[test]
fn loads_a_page_with_fetch_events_and_a_websocket() {
    let setting = Setting::new();
    let mut origin = setting.origin(true);
    let proxy = setting.proxy.strip_prefix("http://").unwrap();
    let browser = Process::start(
        Command::new(chromium_name())
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--disable-quic", "--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--ignore-certificate-errors"])
            .arg(format!("--user-data-dir={}", setting.path().join("profile").display()))
            .arg(format!("--proxy-server={proxy}"))
            // What the browser asks of its maker goes nowhere.
            .arg("--proxy-bypass-list=<-loopback>;*.google.com;*.googleapis.com;*.gstatic.com")
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .arg(format!("{}/page", origin.url))
            .env("HOME", setting.path())
            .stderr(Stdio::null()),
        false,
    );
    let result = origin.process.line_after("done ");
    browser.signal(Signal::TERM);
    browser.wait();
    assert_eq!(result, "ok");

    let host = origin.url.strip_prefix("https://").unwrap();
    let bundle = setting.finish();
    let page = bundle.trace("GET", &format!("https://{host}/page"));
    assert!(page.response.starts_with(b"<!doctype html>"));
    let fetch = bundle.trace("POST", &format!("https://{host}/echo"));
    assert_eq!(fetch.request, b"from the page");
    assert_eq!(fetch.response, b"from the page");
    // The page closes the stream before its end, so this exchange may have an error.
    let events = bundle.traces("GET", &format!("https://{host}/events"));
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].response, b"data: one\n\ndata: two\n\ndata: three\n\n");
    let connections = bundle.websockets(&format!("wss://{host}/ws"));
    assert_eq!(connections.len(), 1);
    for direction in ["send", "receive"] {
        let text = (direction.to_owned(), "text".to_owned(), b"message from the page".to_vec());
        assert!(connections[0].contains(&text), "{direction}: {:?}", connections[0]);
    }
}
