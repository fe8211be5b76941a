//! A HAR file as its readers take it: har-validator, and Playwright in the place of the origins.

use std::process::Command;

use crate::chromium::chromium_name;
use crate::process::run;
use crate::setting::{Setting, node};

#[test]
fn har_validator_accepts_it_and_a_browser_lives_on_it() {
    let setting = Setting::new();
    let origins = [setting.origin(false), setting.origin(true)];
    let urls = origins.each_ref().map(|origin| origin.url.clone());
    run(node("with_fetch.cjs").arg(&setting.proxy).arg(&setting.ca).args(&urls));
    let socket = format!("{}/ws", urls[0].replacen("http", "ws", 1));
    run(node("with_ws.cjs").arg(&setting.proxy).arg(&setting.ca).arg(&socket));
    // An origin that is gone makes a flow without a response.
    drop(origins);
    let refused = Command::new("curl")
        .args(["--silent", "--max-time", "30", "--output"])
        .arg(setting.path().join("refused"))
        .args(["--proxy", &setting.proxy])
        .arg(format!("{}/gone", urls[0]))
        .status();
    assert!(refused.unwrap().success());

    let folder = setting.stop();
    for redact in [None, Some("--redact")] {
        let har = folder.path().join("capture.har");
        run(Command::new(env!("CARGO_BIN_EXE_flowtap"))
            .arg("export")
            .arg(folder.path().join("capture.zip"))
            .arg("--har")
            .arg(&har)
            .args(redact));
        run(node("with_har.cjs").arg(&har).arg(chromium_name()).args(&urls));
    }
}
