//! curl.

use std::fs;
use std::process::Command;

use crate::process::run;
use crate::setting::Setting;

/// curl through the proxy of `setting`, trusting its CA.
fn curl(setting: &Setting) -> Command {
    let mut command = Command::new("curl");
    command
        .args(["--disable", "--silent", "--show-error", "--fail", "--noproxy", ""])
        .args(["--max-time", "60", "--proxy", &setting.proxy, "--cacert"])
        .arg(&setting.ca);
    command
}

#[test]
fn gets_over_http_and_https() {
    let setting = Setting::new();
    let (plain, secure) = (setting.origin(false), setting.origin(true));
    // Without a server name in the ClientHello, an address is what the certificate is for.
    let by_address = format!("https://127.0.0.1:{}", secure.port);
    let urls =
        [&plain.url, &secure.url, &by_address].map(|origin| format!("{origin}/text?a=b%20c"));
    for url in &urls {
        // Twice on one connection.
        let output = run(curl(&setting).arg("--compressed").args([url, url]));
        assert_eq!(output, b"a text\na text\n", "{url}");
    }

    let bundle = setting.finish();
    for url in &urls {
        let traces = bundle.traces("GET", url);
        assert_eq!(traces.len(), 2, "{url} of {:?}", bundle.urls());
        for trace in traces {
            assert_eq!(*trace.status(), 200, "{}", trace.json);
            assert_eq!(trace.response, b"a text\n", "{}", trace.json);
            assert_eq!(trace.response_fields("Set-Cookie"), ["first=1", "second=2"]);
            assert!(trace.request_fields("User-Agent")[0].starts_with("curl/"));
        }
    }
}

#[test]
fn gets_over_http_in_a_tunnel() {
    let setting = Setting::new();
    let origin = setting.origin(false);
    let url = format!("{}/text", origin.url);
    assert_eq!(run(curl(&setting).args(["--proxytunnel", &url])), b"a text\n");
    assert_eq!(setting.finish().trace("GET", &url).response, b"a text\n");
}

#[test]
fn uploads_with_a_length_and_chunked() {
    let setting = Setting::new();
    let file = setting.path().join("upload");
    let body: Vec<u8> = (0..1_500_000_u32).map(|number| (number / 7) as u8).collect();
    fs::write(&file, &body).unwrap();
    let origins = [setting.origin(false), setting.origin(true)];
    for origin in &origins {
        let url = format!("{}/length", origin.url);
        assert!(run(curl(&setting).arg("--upload-file").arg(&file).arg(&url)) == body, "{url}");
        let url = format!("{}/chunked", origin.url);
        let output = run(curl(&setting)
            .args(["--header", "Transfer-Encoding: chunked", "--upload-file"])
            .arg(&file)
            .arg(&url));
        assert!(output == body, "{url}");
    }

    let bundle = setting.finish();
    for origin in &origins {
        for path in ["length", "chunked"] {
            let trace = bundle.trace("PUT", &format!("{}/{path}", origin.url));
            assert!(trace.request == body && trace.response == body, "{}", trace.json);
        }
    }
}

#[test]
fn waits_for_100_continue() {
    let setting = Setting::new();
    let origins = [setting.origin(false), setting.origin(true)];
    for origin in &origins {
        // The body is held back for so long that without a 100 the deadline would pass.
        let output = run(curl(&setting)
            .args(["--header", "Expect: 100-continue", "--expect100-timeout", "600"])
            .args(["--data", "the body", &format!("{}/echo", origin.url)]));
        assert_eq!(output, b"the body");
    }

    let bundle = setting.finish();
    for origin in &origins {
        let trace = bundle.trace("POST", &format!("{}/echo", origin.url));
        assert_eq!(trace.request, b"the body");
        assert_eq!(*trace.status(), 200, "the final status, not the interim one");
    }
}

#[test]
fn reads_a_coded_response_that_the_bundle_has_decoded() {
    let setting = Setting::new();
    let origin = setting.origin(true);
    let url = format!("{}/gzip", origin.url);
    let expected = "a compressed text\n".repeat(100).into_bytes();
    assert_eq!(run(curl(&setting).args(["--compressed", &url])), expected);

    let trace = setting.finish().trace("GET", &url);
    assert_eq!(trace.response, expected);
    assert_eq!(trace.response_fields("Content-Encoding"), ["gzip"], "headers stay as they were");
    assert!(trace.json["response"]["body_encoding"].is_null(), "{}", trace.json);
}
