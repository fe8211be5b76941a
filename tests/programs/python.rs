//! Python's clients: `requests`, `httpx`, `websockets`.

use crate::bundle::Bundle;
use crate::process::run;
use crate::setting::{Setting, python};

/// Runs a script with both origins and gives the bundle and the origins' URLs.
fn through_both_origins(script: &str) -> (Bundle, [String; 2]) {
    let setting = Setting::new();
    let (plain, secure) = (setting.origin(false), setting.origin(true));
    run(python(script).arg(&setting.proxy).arg(&setting.ca).args([&plain.url, &secure.url]));
    (setting.finish(), [plain.url.clone(), secure.url.clone()])
}

#[test]
fn requests() {
    let (bundle, origins) = through_both_origins("with_requests.py");
    for origin in origins {
        let trace = bundle.trace("GET", &format!("{origin}/text?by=requests"));
        assert_eq!(trace.response, b"a text\n");
        let trace = bundle.trace("POST", &format!("{origin}/echo"));
        assert_eq!(trace.request, br#"{"by": "requests"}"#);
        let trace = bundle.trace("PUT", &format!("{origin}/echo"));
        assert_eq!(trace.request, b"two chunks");
        assert_eq!(trace.response, b"two chunks");
        let trace = bundle.trace("GET", &format!("{origin}/gzip"));
        assert_eq!(trace.response, "a compressed text\n".repeat(100).as_bytes());
    }
}

#[test]
fn httpx() {
    let (bundle, origins) = through_both_origins("with_httpx.py");
    for origin in origins {
        let trace = bundle.trace("GET", &format!("{origin}/text?by=httpx"));
        assert_eq!(trace.response, b"a text\n");
        let trace = bundle.trace("PUT", &format!("{origin}/echo"));
        assert_eq!(trace.request, b"two chunks");
        let mut bodies: Vec<_> = bundle
            .traces("POST", &format!("{origin}/echo"))
            .into_iter()
            .inspect(|trace| assert_eq!(trace.request, trace.response))
            .map(|trace| String::from_utf8(trace.request).unwrap())
            .collect();
        bodies.sort();
        assert_eq!(bodies, (0..10).map(|number| format!("body {number}")).collect::<Vec<_>>());
    }
}

fn data_opcode(opcode: &str) -> bool {
    matches!(opcode, "text" | "binary")
}

#[test]
fn websockets() {
    let setting = Setting::new();
    let origins = [setting.origin(false), setting.origin(true)];
    let urls = origins.each_ref().map(|it| format!("{}/ws", it.url.replacen("http", "ws", 1)));
    for url in &urls {
        run(python("with_websockets.py").arg(&setting.proxy).arg(&setting.ca).arg(url));
    }

    let bundle = setting.finish();
    for url in &urls {
        let connections = bundle.websockets(url);
        assert_eq!(connections.len(), 1, "{url}");
        for direction in ["send", "receive"] {
            let data: Vec<_> = connections[0]
                .iter()
                .filter(|it| it.0 == direction && data_opcode(&it.1))
                .map(|(_, opcode, payload)| (opcode.as_str(), payload.clone()))
                .collect();
            let long = "a text ".repeat(1_000).into_bytes();
            let expected = [
                ("text", long.clone()),
                ("text", long),
                ("binary", (0..=255).collect()),
                ("text", Vec::new()),
                ("text", b"in three fragments".to_vec()),
            ];
            assert_eq!(data, expected, "{direction}");
        }
        let message = |direction: &str, opcode: &str, payload: &[u8]| {
            (direction.to_owned(), opcode.to_owned(), payload.to_vec())
        };
        let controls: Vec<_> = connections[0].iter().filter(|it| !data_opcode(&it.1)).collect();
        for expected in [
            message("send", "ping", b"are you there"),
            message("receive", "pong", b"are you there"),
            message("send", "close", b"\x03\xe8"),
            message("receive", "close", b"\x03\xe8"),
        ] {
            assert!(controls.contains(&&expected), "{expected:?} is not in {controls:?} of {url}");
        }
    }
}
