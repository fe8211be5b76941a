//! A recorder in a temporary folder, and flows to give to it.
//!
//! Clippy takes support of tests for production code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
#![expect(dead_code, reason = "each test binary uses a part of it")]

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::Receiver;
use flate2::Compression;
use flate2::write::GzEncoder;
use flowtap::capture::entry::ended;
use flowtap::capture::queue::{FlowSender, SendError, queue};
use flowtap::capture::recorder::{Recorder, RecorderConfig, RecorderHandle, Summary};
use flowtap::flow::record::*;
use flowtap::limits::BODY_BLOCK_BYTES;
use flowtap::notice::{Notice, Notices};
use flowtap::stats::Stats;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Capture {
    pub(crate) folder: TempDir,
    sender: FlowSender,
    handle: RecorderHandle,
    pub(crate) notices: Receiver<Notice>,
    pub(crate) room: Receiver<()>,
}

impl Capture {
    pub(crate) fn start(part_traces: u64) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), part_traces)
    }

    pub(crate) fn start_in(folder: TempDir, part_traces: u64) -> Self {
        Self::start_as(folder, "capture.zip", part_traces)
    }

    pub(crate) fn start_as(folder: TempDir, name: &str, part_traces: u64) -> Self {
        let stats = Arc::new(Stats::default());
        let (notices, given) = Notices::channel(stats.clone());
        let (sender, receiver) = queue();
        let output = folder.path().join(name);
        let config = RecorderConfig { output, app: "test".into(), part_traces };
        let handle = Recorder::start(config, receiver, stats, notices).unwrap();
        let (woken, room) = crossbeam_channel::unbounded();
        let sender = sender.for_loop(move || {
            let _ = woken.send(());
        });
        Capture { folder, sender, handle, notices: given, room }
    }

    /// Gives a flow a response, its body in blocks if it is large.
    pub(crate) fn respond(&self, flow: &mut Exchange, head: &str, body: &[u8]) {
        let mut blocks = body.chunks(BODY_BLOCK_BYTES).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let tail = blocks.pop().unwrap_or_default();
        let (id, side) = (flow.id, Side::Response);
        for data in blocks {
            send(self, vec![FlowEvent::Body(BodyBlock { flow: id, side, data: data.into() })]);
        }
        let size = body.len() as u64;
        let body = Body { sent_ahead: size - tail.len() as u64, tail: tail.into(), size };
        flow.response = Some(Message { head: head.to_owned().into(), body, ..Message::default() });
    }

    /// Ends the capture; what the independent reader found in each part, once it is content.
    pub(crate) fn finish(self) -> (Vec<Value>, Summary) {
        let (_folder, listings, summary) = self.finish_in_place();
        (listings, summary)
    }

    pub(crate) fn finish_in_place(self) -> (TempDir, Vec<Value>, Summary) {
        let (folder, listings, summary) = self.finish_with_error();
        assert_eq!(summary.error, None);
        (folder, listings, summary)
    }

    /// Ends a capture that may have failed.
    pub(crate) fn finish_with_error(self) -> (TempDir, Vec<Value>, Summary) {
        let Capture { folder, sender, handle, .. } = self;
        drop(sender);
        let summary = handle.finish(&mut |_| ());
        let listings = summary.paths.iter().map(|path| check(path)).collect();
        (folder, listings, summary)
    }
}

/// Sends a batch, waiting for room as a loop would.
pub(crate) fn send(capture: &Capture, mut batch: Vec<FlowEvent>) {
    loop {
        match capture.sender.try_send(batch) {
            Ok(()) => return,
            Err(SendError::Full(back)) => batch = back,
            Err(SendError::Closed(_)) => panic!("the recorder is gone"),
        }
        capture.room.recv().unwrap();
    }
}

/// Waits until a condition holds.
pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Whether a file is there and has these bytes.
pub(crate) fn holds(path: &Path, bytes: &[u8]) -> bool {
    std::fs::read(path).is_ok_and(|held| held.windows(bytes.len()).any(|part| part == bytes))
}

/// What a folder has, in order.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs the independent reader on a bundle.
pub(crate) fn check(path: &Path) -> Value {
    let checker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/check_bundle.py");
    let output = Command::new("python3").arg(checker).arg("--json").arg(path).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Why a recorder for this output is refused.
pub(crate) fn refused(output: &Path) -> String {
    let stats = Arc::new(Stats::default());
    let (notices, _given) = Notices::channel(stats.clone());
    let (_sender, receiver) = queue();
    let config = RecorderConfig { output: output.into(), app: "test".into(), part_traces: 1 };
    Recorder::start(config, receiver, stats, notices).unwrap_err().to_string()
}

/// When flow `id` began, in microseconds since the Unix epoch.
pub(crate) fn at(id: u64) -> u64 {
    1_700_000_000_000_000 + id * 1_234
}

/// A small exchange that went well.
pub(crate) fn exchange(id: u64) -> Exchange {
    let tls = Some(Arc::new(TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS13_AES_128_GCM_SHA256".into(),
        server_name: Some("a.example".into()),
        alpn: None,
        resumed: false,
    }));
    Exchange {
        id: FlowId(id),
        scheme: Scheme::Https,
        target: Some(Arc::new(Authority { host: "a.example".into(), port: 443 })),
        client: "127.0.0.1:40000".parse().unwrap(),
        client_tls: tls.clone(),
        upstream: Some(Upstream {
            address: "192.0.2.1:443".parse().unwrap(),
            connection: 1,
            reused: id > 1,
            tls,
        }),
        request: Message {
            head: format!("POST /{id} HTTP/1.1\r\nHost: a.example\r\n\r\n").into(),
            body: text_body("question"),
            ..Message::default()
        },
        response: Some(Message {
            head: "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n".into(),
            body: text_body("answer"),
            trailers: "Checksum: 1\r\n".into(),
        }),
        timing: Timing { began_us: at(id), wait_us: 1_500, total_us: 2_000, ..Timing::default() },
        error: None,
        intervention: Intervention::default(),
    }
}

/// The end of a small exchange.
pub(crate) fn small(id: u64) -> FlowEvent {
    ended(&exchange(id))
}

/// A body that travels in its flow.
pub(crate) fn text_body(text: &'static str) -> Body {
    Body { tail: text.into(), sent_ahead: 0, size: text.len() as u64 }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Standard base64, as the reader prints bodies.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().chain([0, 0].iter()).take(3).fold(0, |w, b| w << 8 | *b as usize);
        for digit in 0..4 {
            let known = digit <= chunk.len();
            text.push(if known { DIGITS[word >> (18 - 6 * digit) & 63] as char } else { '=' });
        }
    }
    text
}

pub(crate) fn lines(items: &[&str]) -> Value {
    items.iter().copied().collect()
}

/// A binary message that the server of the WebSocket `id` sent, of one byte that is no text.
pub(crate) fn binary_message(id: u64) -> FlowEvent {
    FlowEvent::WebSocketMessage(WebSocketMessage {
        flow: FlowId(id),
        direction: Direction::Receive,
        opcode: Opcode::Binary,
        compressed: false,
        time_us: at(id),
        payload: b"\xff"[..].into(),
    })
}

/// An exchange whose server could not be reached.
pub(crate) fn failed(id: u64) -> FlowEvent {
    let mut failed = exchange(id);
    failed.request.body = text_body("");
    failed.response = None;
    failed.error = Some("connection refused".into());
    ended(&failed)
}

/// A WebSocket connection in which the client sent these texts.
pub(crate) fn websocket(id: u64, texts: &[&str]) -> Vec<FlowEvent> {
    let flow = FlowId(id);
    let open = FlowEvent::WebSocketOpen(Arc::new(WebSocketOpen {
        id: flow,
        scheme: Scheme::Http,
        target: Arc::new(Authority { host: "ws.example".into(), port: 80 }),
        client: "127.0.0.1:9".parse().unwrap(),
        request_head: "GET /s HTTP/1.1\r\nHost: ws.example\r\n\r\n".into(),
        response_head: "HTTP/1.1 101 Switching Protocols\r\n\r\n".into(),
        began_us: at(id),
        deflate: None,
    }));
    let messages = texts.iter().map(|text| {
        FlowEvent::WebSocketMessage(WebSocketMessage {
            flow,
            direction: Direction::Send,
            opcode: Opcode::Text,
            compressed: false,
            time_us: at(id),
            payload: Bytes::copy_from_slice(text.as_bytes()),
        })
    });
    let close = FlowEvent::WebSocketClose(WebSocketClose { flow, time_us: at(id), error: None });
    [open].into_iter().chain(messages).chain([close]).collect()
}
