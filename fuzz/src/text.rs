//! What is made of recorded bytes: codings undone, text, parameters, masking.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flowtap::flow::charset::{body_text, utf_16_text};
use flowtap::flow::decode::{Caps, Coding, decode};
use flowtap::flow::head::{Field, HeadText, UriKind, target_uri, text};
use flowtap::flow::query::{decoded, parameters, query};
use flowtap::flow::record::{Authority, Scheme};
use flowtap::flow::redact::{MASK, Redactor};

use super::pieces::Pieces;

const CAPS: Caps = Caps { bytes: 1 << 20, ratio: 200, free_bytes: 1 << 16 };

/// No body decodes to more than the caps allow, one that comes in pieces decodes as the whole, and
/// what is encoded comes back. The first byte chooses the codings, and the size of the pieces.
pub fn decode_body(data: &[u8]) {
    const CODINGS: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];
    let Some((choice, body)) = data.split_first() else { return };
    if choice & 32 != 0 {
        return encoded(*choice, body);
    }
    let stack = [CODINGS[usize::from(choice & 3)], CODINGS[usize::from(choice >> 2 & 3)]];
    let stack = if choice & 16 == 0 { &stack[..1] } else { &stack[..] };
    let mut out = Vec::new();
    let mut source = body;
    let whole = decode(stack, &mut source, &mut out, CAPS);
    assert!(out.len() <= 1 << 20);
    let mut slow_out = Vec::new();
    let mut pieces = Pieces { rest: body, size: usize::from(choice >> 6) + 1 };
    let slow = decode(stack, &mut pieces, &mut slow_out, CAPS);
    match (whole, slow) {
        (Ok(length), Ok(slow_length)) => assert_eq!((length, &out), (slow_length, &slow_out)),
        // The caps judge what came out by what was read, which may be more of the whole.
        (whole, slow) if format!("{whole:?}{slow:?}").contains("PastCaps") => {}
        (whole, slow) => assert!(whole.is_err() && slow.is_err(), "{whole:?} {slow:?}"),
    }
}

fn encoded(choice: u8, body: &[u8]) {
    let level = Compression::new(u32::from(choice >> 6) * 3);
    let (coding, made) = match choice & 3 {
        0 => {
            let mut to = GzEncoder::new(Vec::new(), level);
            (Coding::Gzip, to.write_all(body).and_then(|()| to.finish()))
        }
        1 => {
            let mut to = DeflateEncoder::new(Vec::new(), level);
            (Coding::Deflate, to.write_all(body).and_then(|()| to.finish()))
        }
        _ => {
            let mut to = ZlibEncoder::new(Vec::new(), level);
            (Coding::Deflate, to.write_all(body).and_then(|()| to.finish()))
        }
    };
    let Ok(made) = made else { return };
    for size in [usize::MAX, 1] {
        let mut out = Vec::new();
        let mut source = Pieces { rest: &made, size };
        let result = decode(&[coding], &mut source, &mut out, CAPS);
        assert_eq!(result.ok(), Some(body.len() as u64));
        assert_eq!(out, body);
    }
}

/// Recorded heads, parameters and bodies read as text whatever they are: views are what is copied,
/// and parameters are the same when they are written and read again.
pub fn recorded_text(data: &[u8]) {
    let read = HeadText::read(data);
    let view = HeadText::view(data);
    let owned = |it: &Field<std::borrow::Cow<'_, str>>| Field {
        name: it.name.to_string(),
        value: it.value.to_string(),
    };
    assert_eq!(view.start, read.start);
    assert!(view.fields.iter().map(owned).eq(read.fields.iter().cloned()));
    let fields = HeadText::view_fields(data);
    assert!(fields.iter().map(owned).eq(HeadText::read_fields(data)));
    let line = |field: &Field| format!("{}: {}\r\n", field.name, field.value);
    let is_plain = |field: &Field| !field.name.starts_with([' ', '\t']) && !field.name.is_empty();
    if read.fields.iter().all(is_plain) {
        let written: String = read.fields.iter().map(line).collect();
        let again = HeadText::read_fields(written.as_bytes());
        assert_eq!(again, read.fields);
    }
    let target = Authority { host: "h.example".into(), port: 81 };
    for kind in [UriKind::Http, UriKind::WebSocket] {
        let uri = target_uri(&read, Scheme::Https, Some(&target), kind);
        assert!(uri.starts_with(if kind == UriKind::Http { "https://" } else { "wss://" }));
    }
    let _ = (read.status_line(), read.request_line());

    let all = text(data);
    assert!(all.chars().count() <= data.len());
    let pairs: Vec<_> = parameters(query(&all)).collect();
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    let encoded = |part: &str| -> String {
        part.bytes().flat_map(|byte| ['%', digit(byte >> 4), digit(byte & 15)]).collect()
    };
    let pair = |name: &str, value: &str| format!("{}={}", encoded(name), encoded(value));
    let written: Vec<String> = pairs.iter().map(|(name, value)| pair(name, value)).collect();
    assert!(parameters(&written.join("&")).eq(pairs.iter().cloned()));
    assert_eq!(decoded(&encoded(&all)), all);

    let kinds = ["", "text/plain; charset=latin1", "text/html; charset=utf-16le", "image/png"];
    for content_type in kinds {
        let whole = body_text(content_type, data, false);
        // The end of what is cut may be half a letter of UTF-8, and whole in another charset.
        let is_latin = content_type.contains("latin") && std::str::from_utf8(data).is_err();
        assert!(whole.is_none() || is_latin || whole == body_text(content_type, data, true));
        if let Some(read) = utf_16_text(content_type, data) {
            assert_eq!(whole, Some(read));
        }
    }
    // No type makes anything else of it, in which no secret would be found.
    if let Some(text) = std::str::from_utf8(data).ok().filter(|text| !text.contains('\0')) {
        assert!(kinds.iter().all(|it| body_text(it, data, false).as_deref() == Some(text)));
    }
}

/// JSON stays JSON, and stays as it is when it is masked again; a secret that stands beside any
/// other text is masked.
pub fn redact(data: &[u8]) {
    const SECRET: &str = "Pl4ntedS3cret";
    thread_local!(static REDACTOR: Redactor = Redactor::default());
    let redactor = REDACTOR.with(Redactor::clone);
    let text = String::from_utf8_lossy(data);
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    for media_type in ["application/json", "text/html", "application/x-www-form-urlencoded", ""] {
        let masked = redactor.text(media_type, &text);
        if is_json(&text) && matches!(media_type, "application/json" | "") {
            assert!(is_json(&masked), "{text:?}");
            assert_eq!(redactor.text(media_type, &masked), masked, "{text:?}");
        }
    }
    let beside = serde_json::json!({ "a": text, "client_secret": SECRET, "b": [text] });
    let masked = redactor.text("application/json", &beside.to_string()).into_owned();
    let read: serde_json::Value = serde_json::from_str(&masked).unwrap_or_default();
    assert!(read["client_secret"] == MASK || text.contains(SECRET), "{masked:?}");
    let mut in_memory = beside;
    redactor.json(&mut in_memory);
    assert_eq!(in_memory["client_secret"], MASK);

    // Whatever its type says, JSON is JSON.
    const TYPES: [&str; 4] =
        ["text/css", "image/png", "text/plain; charset=utf-16", "multipart/form-data; boundary=b"];
    let pairs = serde_json::json!([{ "name": "X-Api-Key", "value": SECRET }, text]).to_string();
    let content_type = TYPES[data.len() % TYPES.len()];
    let read = body_text(content_type, pairs.as_bytes(), false).unwrap_or_default();
    let masked = redactor.text(content_type, &read);
    let is_masked = masked.contains(MASK) && !masked.contains(SECRET);
    assert!(is_masked || text.contains(SECRET), "{masked:?}");

    // What is encoded anew takes three times the place, and two more with each level.
    for masked in [redactor.url(&text), redactor.header("Cookie", &text), redactor.head(&text)] {
        assert!(masked.len() <= 16 * text.len() + MASK.len(), "{text:?}");
    }
    let _ = redactor.bytes("", data);
}
