//! Node's clients: `fetch` through undici's proxy agent, and `ws`.

use crate::process::run;
use crate::setting::{Setting, node};

#[test]
fn fetch() {
    let setting = Setting::new();
    let origins = [setting.origin(false), setting.origin(true)];
    run(node("with_fetch.cjs")
        .arg(&setting.proxy)
        .arg(&setting.ca)
        .args(origins.each_ref().map(|origin| &origin.url)));

    let bundle = setting.finish();
    for origin in &origins {
        let trace = bundle.trace("GET", &format!("{}/text?by=fetch", origin.url));
        assert_eq!(trace.response, b"a text\n");
        let trace = bundle.trace("POST", &format!("{}/echo", origin.url));
        assert_eq!(trace.request, b"from fetch");
        assert_eq!(trace.response, b"from fetch");
        let trace = bundle.trace("GET", &format!("{}/gzip", origin.url));
        assert_eq!(trace.response, "a compressed text\n".repeat(100).as_bytes());
    }
}

#[test]
fn ws() {
    let setting = Setting::new();
    let origins = [setting.origin(false), setting.origin(true)];
    let urls = origins.each_ref().map(|it| format!("{}/ws", it.url.replacen("http", "ws", 1)));
    for url in &urls {
        run(node("with_ws.cjs").arg(&setting.proxy).arg(&setting.ca).arg(url));
    }

    let bundle = setting.finish();
    for url in &urls {
        let connections = bundle.websockets(url);
        // With and without context takeover.
        assert_eq!(connections.len(), 2, "{url}");
        for messages in connections {
            for direction in ["send", "receive"] {
                let sent: Vec<_> = messages
                    .iter()
                    .filter(|it| it.0 == direction)
                    .map(|(_, opcode, payload)| (opcode.as_str(), payload.clone()))
                    .collect();
                let text = "a text ".repeat(1_000).into_bytes();
                let expected = [
                    ("text", text.clone()),
                    ("text", text),
                    ("binary", vec![7; 70_000]),
                    ("close", b"\x03\xe8bye".to_vec()),
                ];
                assert_eq!(sent, expected, "{direction}");
            }
        }
    }
}
