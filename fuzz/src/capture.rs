//! The journal, and bundles that others may have made.

use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::sync::LazyLock;

use flowtap::capture::entry::{self, SegmentHeader};
use flowtap::capture::export::{Kind, export};
use flowtap::capture::frame::{FileEnd, FrameReader, FrameType, append_frame};
use flowtap::capture::har::cookies::{Cookie, received, sent};
use flowtap::capture::read::Bundle;
use flowtap::flow::head::Field;
use flowtap::flow::record::{FlowEvent, FlowId, WebSocketClose, WebSocketMessage};
use flowtap::flow::redact::Redactor;

use super::pieces::Pieces;

/// A journal file of any bytes is read to its end or to its damage, the same however it is read,
/// and the frames that were read are the file up to there when they are written again.
pub fn journal_frames(data: &[u8]) {
    let mut whole = FrameReader::new(data);
    let size = usize::from(data.last().copied().unwrap_or_default()) + 1;
    let mut slow = FrameReader::new(Pieces { rest: data, size });
    let mut written = Vec::new();
    while let Ok(Some((kind, payload))) = whole.next_frame() {
        assert!(append_frame(&mut written, kind, |out| out.extend_from_slice(payload)));
        assert_eq!(slow.next_frame().ok().flatten(), Some((kind, payload)));
    }
    assert!(slow.next_frame().is_ok_and(|frame| frame.is_none()));
    assert_eq!((whole.end(), whole.position()), (slow.end(), slow.position()));
    assert_eq!(written, &data[..written.len()]);
    assert_eq!(whole.position(), written.len() as u64);
    assert_eq!(whole.end() == Some(FileEnd::Whole), written.len() == data.len());
}

/// What a frame's payload is read as is the same when it is written and read again. The first byte
/// chooses the kind.
pub fn journal_entries(data: &[u8]) {
    let Some((kind, payload)) = data.split_first() else { return };
    let mut out = Vec::new();
    match kind & 15 {
        0..=2 => exchange(payload),
        3 => {
            let Some(open) = entry::take_open(payload) else { return };
            entry::put_open(&mut out, &open);
            assert_eq!(out, payload);
        }
        4 => {
            let Some(message) = entry::take_message(payload) else { return };
            let whole = WebSocketMessage {
                flow: FlowId(1),
                direction: message.direction,
                opcode: message.opcode,
                compressed: message.compressed,
                time_us: message.time_us,
                payload: Default::default(),
            };
            entry::put_message(&mut out, &whole, message.payload);
            assert_eq!(out, payload);
        }
        5 => {
            let Some(close) = entry::take_close(payload) else { return };
            let (time_us, error) = (close.time_us, close.error);
            let whole = WebSocketClose { flow: FlowId(1), time_us, error };
            entry::put_close(&mut out, &whole, close.messages_left_out);
            assert_eq!(out, payload);
        }
        6 => {
            let Some(header) = SegmentHeader::take(payload) else { return };
            header.put(&mut out);
            assert_eq!(out, payload);
        }
        8 => {
            let Some(direction) = entry::take_gap(payload) else { return };
            entry::put_gap(&mut out, direction);
            assert_eq!(out, payload);
        }
        _ => {
            if let Some((direction, data)) = entry::take_data(payload) {
                entry::put_data(&mut out, direction, data);
                assert_eq!(out, payload);
            }
            if let Some(losses) = entry::take_losses(payload) {
                let mut written = Vec::new();
                entry::put_losses(&mut written, losses);
                assert_eq!(written, payload);
            }
            if let Some(number) = entry::take_number(payload) {
                assert_eq!(number.to_le_bytes(), payload);
            }
        }
    }
}

fn exchange(payload: &[u8]) {
    let Some(exchange) = entry::take_exchange(payload) else { return };
    let FlowEvent::Exchange(ended) = entry::ended(&exchange) else { panic!("no exchange") };
    let Some(again) = entry::take_ended(&ended) else { panic!("written, and not read") };
    // Only the version of TLS may be none that is known.
    assert_eq!(format!("{exchange:?}"), format!("{again:?}"));
    let mut frames = FrameReader::new(&ended.frame[..]);
    if ended.tails.is_none()
        && let Ok(Some((kind, written))) = frames.next_frame()
    {
        assert_eq!(kind, FrameType::Exchange);
        assert!(written == payload || format!("{exchange:?}").contains("version: \"unknown\""));
    }
}

/// Any bundle is read and exported, entry by entry; what comes out is JSON. The input is the file
/// itself, or what stands in it: names and contents that alternate, each ended by the byte 0xff.
pub fn bundle_read(data: &[u8]) {
    static PATH: LazyLock<PathBuf> = LazyLock::new(|| {
        std::env::temp_dir().join(format!("flowtap-fuzz-{}.zip", std::process::id()))
    });
    let made = if data.starts_with(b"PK") { data.to_vec() } else { archive(data) };
    if std::fs::write(&*PATH, made).is_err() {
        return;
    }
    let har = |out: &mut Vec<u8>| export(&PATH, Kind::Har, out, &Redactor::default(), None);
    let mut out = Vec::new();
    let Ok(mut bundle) = Bundle::open(&PATH) else {
        return assert!(har(&mut out).is_err());
    };
    read_all(&mut bundle);
    if let Ok(exported) = har(&mut out) {
        let har: serde_json::Value = serde_json::from_slice(&out).unwrap_or_default();
        let entries = har["log"]["entries"].as_array().map(Vec::len);
        assert_eq!(entries.map(|count| count as u64), Some(exported.entries));
    }
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Har) {
        let _ = export(&PATH, kind, &mut std::io::sink(), &Redactor::default(), None);
    }
}

fn read_all(bundle: &mut Bundle) {
    for id in bundle.trace_ids().to_vec() {
        let Ok(trace) = bundle.trace(&id) else { continue };
        for file in [trace.request.body_file, trace.response.body_file].into_iter().flatten() {
            let _ = bundle.trace_body(&file);
        }
    }
    for id in bundle.websocket_ids().to_vec() {
        let _ = bundle.websocket(&id);
        for number in 1..=3 {
            let Ok(Some(message)) = bundle.message(&id, number) else { break };
            if let Some(file) = message.payload_file {
                let _ = bundle.message_payload(&file);
            }
        }
    }
}

fn archive(data: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut parts = data.split(|&byte| byte == 0xff);
    while let (Some(name), Some(content)) = (parts.next(), parts.next()) {
        if zip.start_file(String::from_utf8_lossy(name), stored).is_ok() {
            let _ = zip.write_all(content);
        }
    }
    zip.finish().map(Cursor::into_inner).unwrap_or_default()
}

/// Cookies are the same when they are written and read again, and their ends are dates.
pub fn cookies(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let field = |name: &str, value: String| [Field { name: name.into(), value }];
    let found = sent(&field("Cookie", text.clone().into_owned()));
    let pair = |cookie: &Cookie| format!("{}={}", cookie.name, cookie.value);
    let written: Vec<String> = found.iter().map(pair).collect();
    assert_eq!(sent(&field("cookie", written.join("; "))), found);

    let began_us = data.len() as u64 * 1_000_000_000_000;
    for cookie in received(&field("Set-Cookie", text.into_owned()), began_us) {
        let mut written = pair(&cookie);
        let named = [("Path", &cookie.path), ("Domain", &cookie.domain)];
        for (name, value) in named.into_iter().chain([("SameSite", &cookie.same_site)]) {
            if let Some(value) = value {
                written.push_str(&format!("; {name}={value}"));
            }
        }
        written.push_str(if cookie.secure.is_some() { "; Secure" } else { "" });
        written.push_str(if cookie.http_only.is_some() { "; HttpOnly" } else { "" });
        let again = received(&field("Set-Cookie", written), began_us);
        let expected = Cookie { expires: None, ..cookie };
        assert_eq!(again, [expected]);
        if let Some(expires) = cookie.expires {
            assert_eq!((expires.len(), &expires[4..5], &expires[10..11]), (29, "-", "T"));
        }
    }
}
