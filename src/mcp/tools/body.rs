//! Bodies as agents see them: decoded, masked as a whole, and then cut to a window.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use serde_json::{Map, Value};

use crate::flow::charset::{is_marked, utf_16_text};
use crate::flow::decode::{Caps, DecodeError, codings, decode};
use crate::flow::head::{HeadText, text};
use crate::flow::redact::Redactor;
use crate::flow::stored::StoredBody;
use crate::limits::{
    BINARY_WINDOW_BYTES, BODY_WINDOW_BYTES, BODY_WINDOW_MOST_BYTES, READ_BODY_BYTES, REPLY_CHARS,
};
use crate::mcp::tools::arguments::Arguments;
use crate::mcp::tools::reply::Failure;

/// Characters that a body's text may take in a reply, escaped, where nothing else is asked for: a
/// whole reply has two bodies.
const JSON_WINDOW_CHARS: usize = REPLY_CHARS * 7 / 20;

/// A body with its content coding undone.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    /// Whether there is more than that: less was kept, or could be decoded.
    pub(super) is_cut: bool,
    /// Whether it is here as it came, with a content coding that could not be undone.
    pub(super) is_coded: bool,
    /// What the reader should know of it.
    pub(super) note: Option<String>,
}

/// A body that may be shown.
#[derive(Debug)]
pub(super) struct ShownBody {
    pub(super) content: Content,
    /// The media type, without parameters and in lower case; empty when it is not told.
    pub(super) media_type: String,
    pub(super) note: Option<String>,
}

/// What a body is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Text, already masked.
    Text(String),
    /// Anything else; the texts in it are masked.
    Binary(Vec<u8>),
}

/// The part of a body that is asked for, in bytes of the decoded and masked text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    offset: usize,
    limit: Option<usize>,
}

impl Window {
    pub(super) fn read(arguments: Arguments<'_>) -> Result<Self, Failure> {
        Ok(Window {
            offset: arguments.size("body_offset", 0..=usize::MAX)?.unwrap_or(0),
            limit: arguments.size("body_limit", 0..=BODY_WINDOW_MOST_BYTES)?,
        })
    }
}

/// The media type that a head names, with its parameters.
pub(super) fn content_type(head: &HeadText) -> &str {
    head.values("content-type").next().unwrap_or_default()
}

/// The media type that a head names.
pub(super) fn media_type(head: &HeadText) -> String {
    bare_type(content_type(head))
}

fn bare_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Undoes the content coding of a body as far as it can be undone.
pub(super) fn decoded(body: &StoredBody, head: &HeadText) -> Decoded {
    let (mut note, mut is_coded, mut is_cut) = (None, false, body.is_cut());
    let kept = || body.pieces.concat();
    let bytes = match codings(head.values("content-encoding")) {
        _ if body.pieces.is_empty() => Vec::new(),
        Some(codings) if codings.is_empty() => kept(),
        Some(codings) => {
            let mut source = Pieces(body.pieces.clone().into());
            let mut sink = Most(Vec::new());
            match decode(&codings, &mut source, &mut sink, Caps::default()) {
                Ok(_) => sink.0,
                Err(DecodeError::Sink(_)) => {
                    note = Some(format!("only the first {READ_BODY_BYTES} bytes are decoded"));
                    is_cut = true;
                    sink.0
                }
                Err(error) if sink.0.is_empty() => {
                    note = Some(format!("shown as it came: {error}"));
                    is_coded = true;
                    kept()
                }
                Err(_) if body.is_cut() => sink.0,
                Err(error) => {
                    note = Some(format!("decoded in part: {error}"));
                    is_cut = true;
                    sink.0
                }
            }
        }
        None => {
            note = Some("shown as it came: its content coding is not known".to_owned());
            is_coded = true;
            kept()
        }
    };
    if body.is_cut() {
        let (kept, size) = (body.kept(), body.size);
        let cut = match kept < size {
            true => format!("only the first {kept} of {size} bytes on the wire are kept here"),
            false => format!("only the first {kept} bytes are here, and the body goes on"),
        };
        note = Some(note.map_or(cut.clone(), |note| format!("{note}; {cut}")));
    }
    Decoded { bytes, is_cut, is_coded, note }
}

impl Decoded {
    /// The text that it is, if it is any, with this Content-Type.
    pub(super) fn text(&self, content_type: &str) -> Option<Cow<'_, str>> {
        // What the media type says is not true of bytes that are still coded.
        let content_type = if self.is_coded { "" } else { content_type };
        as_text(&self.bytes, content_type, self.is_cut)
    }
}

/// Reads pieces one after another.
struct Pieces(std::collections::VecDeque<Bytes>);

impl Read for Pieces {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        while self.0.front().is_some_and(Bytes::is_empty) {
            self.0.pop_front();
        }
        let Some(piece) = self.0.front_mut() else { return Ok(0) };
        let got = piece.as_ref().read(target)?;
        piece.advance(got);
        Ok(got)
    }
}

/// Takes so many bytes and no more.
struct Most(Vec<u8>);

impl Write for Most {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = READ_BODY_BYTES.saturating_sub(self.0.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.0.extend_from_slice(taken);
        if taken.is_empty() { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(taken.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes as text, if they are any: valid UTF-8 without odd controls, or whatever their media type
/// calls text, which may be UTF-16.
pub(super) fn as_text<'a>(
    bytes: &'a [u8],
    content_type: &str,
    is_cut: bool,
) -> Option<Cow<'a, str>> {
    if let Some(text) = wide_text(content_type, bytes) {
        return Some(text.into());
    }
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        // The last character may be cut.
        Err(error) if is_cut && error.error_len().is_none() => {
            bytes.get(..error.valid_up_to()).and_then(|whole| std::str::from_utf8(whole).ok())
        }
        Err(_) => None,
    };
    match valid.filter(|text| !text.contains(is_odd)) {
        Some(text) => Some(text.into()),
        None if is_called_text(content_type) => Some(text(bytes).into()),
        None => None,
    }
}

/// The text of bytes in UTF-16. Where nothing but their mark says so, they are believed if they
/// have letters of ASCII, as nearly all text has.
pub(super) fn wide_text(content_type: &str, bytes: &[u8]) -> Option<String> {
    utf_16_text(content_type, bytes).filter(|text| {
        let looks_so =
            is_marked(bytes) && text.bytes().any(|byte| byte.is_ascii()) && !text.contains(is_odd);
        is_called_text(content_type) || looks_so
    })
}

fn is_odd(c: char) -> bool {
    c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0c' | '\x1b')
}

/// Whether a Content-Type names text, or what holds texts as a form with files does.
pub(super) fn is_called_text(content_type: &str) -> bool {
    const TYPES: [&str; 6] = [
        "application/json",
        "application/javascript",
        "application/xml",
        "application/x-www-form-urlencoded",
        "application/graphql",
        "application/x-ndjson",
    ];
    let media_type = bare_type(content_type);
    media_type.starts_with("text/")
        || media_type.starts_with("multipart/")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
        || TYPES.contains(&media_type.as_str())
}

impl ShownBody {
    /// The body of a message with this head, whose secrets are masked.
    pub(super) fn new(body: &StoredBody, head: &HeadText, redactor: &Redactor) -> Self {
        let content_type = content_type(head);
        let decoded = decoded(body, head);
        let text = decoded.text(content_type);
        let text = text.map(|text| redactor.text(content_type, &text).into_owned());
        let Decoded { bytes, is_coded, mut note, .. } = decoded;
        let content = match text {
            Some(text) => Content::Text(text),
            None if is_coded && redactor.is_on() => {
                // Secrets in there can be read by whoever decodes as much as came.
                let left_out = "; what cannot be decoded cannot be masked and is left out";
                note = note.map(|note| note + left_out);
                Content::Binary(Vec::new())
            }
            None => Content::Binary(redactor.bytes(content_type, &bytes).into_owned()),
        };
        ShownBody { content, media_type: bare_type(content_type), note }
    }

    /// Bytes of what may be shown.
    pub(super) fn len(&self) -> usize {
        match &self.content {
            Content::Text(text) => text.len(),
            Content::Binary(bytes) => bytes.len(),
        }
    }

    /// Puts the window of the body into an object; gives where the next one begins, if there is
    /// more.
    pub(super) fn put(&self, window: Window, object: &mut Map<String, Value>) -> Option<usize> {
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        let length = self.len();
        let (shown, start, end) = match &self.content {
            Content::Text(text) => {
                let limit = window.limit.unwrap_or(BODY_WINDOW_BYTES);
                let (mut part, start, mut end) = text_window(text, window.offset, limit);
                if window.limit.is_none() {
                    part = within_json(part, JSON_WINDOW_CHARS);
                    end = start + part.len();
                }
                (part.to_owned(), start, end)
            }
            Content::Binary(bytes) => {
                let limit = window.limit.unwrap_or(BINARY_WINDOW_BYTES);
                let start = window.offset.min(length);
                let end = start.saturating_add(limit).min(length);
                put("body_encoding", "base64".into());
                (STANDARD.encode(bytes.get(start..end).unwrap_or_default()), start, end)
            }
        };
        let left = length - end;
        let is_text = matches!(self.content, Content::Text(_));
        let mark = match left {
            0 => String::new(),
            left if is_text => format!("\n[{left} bytes left out]"),
            left => {
                put("body_left_out", left.into());
                String::new()
            }
        };
        put("body", (shown + &mark).into());
        if start > 0 || left > 0 || !is_text {
            put("body_bytes", length.into());
        }
        if start > 0 {
            put("body_offset", start.into());
        }
        if let Some(note) = &self.note {
            put("body_note", note.as_str().into());
        }
        (left > 0).then_some(end)
    }
}

/// The beginning of a text that takes so many characters as a JSON string.
fn within_json(text: &str, most: usize) -> &str {
    let mut chars = 0;
    for (at, c) in text.char_indices() {
        chars += match c {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            c if c.is_ascii_control() => 6,
            _ => 1,
        };
        if chars > most {
            return text.get(..at).unwrap_or(text);
        }
    }
    text
}

/// A part of a text, moved and grown to whole characters; where it begins and ends.
pub(super) fn text_window(text: &str, offset: usize, limit: usize) -> (&str, usize, usize) {
    let boundary = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = boundary(offset);
    let mut end = boundary(start.saturating_add(limit));
    if end == start && limit > 0 {
        // One character is longer than the window.
        end = text.char_indices().map(|(at, _)| at).find(|at| *at > start).unwrap_or(text.len());
    }
    (text.get(start..end).unwrap_or_default(), start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn body(bytes: &'static [u8]) -> StoredBody {
        StoredBody::whole(Bytes::from_static(bytes))
    }

    fn shown(bytes: &'static [u8], head: &str) -> ShownBody {
        ShownBody::new(&body(bytes), &HeadText::read(head.as_bytes()), &Redactor::off())
    }

    fn put(body: &ShownBody, offset: usize, limit: Option<usize>) -> (Value, Option<usize>) {
        let mut object = Map::new();
        let next = body.put(Window { offset, limit }, &mut object);
        (object.into(), next)
    }

    #[test]
    fn a_window_ends_at_whole_characters_and_tells_what_is_left_out() {
        let body = shown("aéé".as_bytes(), "X\r\nContent-Type: text/plain\r\n\r\n");
        let (object, next) = put(&body, 0, Some(2));
        assert_eq!(object["body"], "a\n[4 bytes left out]");
        assert_eq!((object["body_bytes"].as_u64(), next), (Some(5), Some(1)));
        let (object, next) = put(&body, 1, Some(1));
        assert_eq!((object["body"].as_str(), next), (Some("é\n[2 bytes left out]"), Some(3)));
        let (object, next) = put(&body, 3, None);
        assert_eq!((object["body"].as_str(), next), (Some("é"), None));
        assert_eq!(object["body_offset"], 3);
        let (object, next) = put(&body, 99, None);
        assert_eq!((object["body"].as_str(), next), (Some(""), None));
        assert_eq!(put(&body, 0, None).0, serde_json::json!({"body": "aéé"}));
    }

    #[test]
    fn what_is_no_text_is_base64() {
        let (object, _) = put(&shown(b"\x89PNG\x00\xff", "X\r\n\r\n"), 0, None);
        assert_eq!(object["body"], "iVBORwD/");
        assert_eq!(object["body_encoding"], "base64");
        assert_eq!(object["body_bytes"], 6);
        let latin = shown(b"caf\xe9", "X\r\nContent-Type: text/plain; charset=latin1\r\n\r\n");
        assert_eq!(put(&latin, 0, None).0["body"], "café");
    }

    #[test]
    fn codings_that_cannot_be_undone_are_told() {
        let unknown = shown(b"abc", "X\r\nContent-Encoding: new\r\n\r\n");
        assert!(unknown.note.unwrap().contains("not known"));
        let bad = shown(b"abc", "X\r\nContent-Encoding: gzip\r\n\r\n");
        assert!(bad.note.unwrap().contains("shown as it came"));
        let none = shown(b"", "X\r\nContent-Encoding: gzip\r\n\r\n");
        assert_eq!((none.len(), none.note), (0, None));
    }

    #[test]
    fn so_much_of_a_body_is_decoded_and_no_more() {
        let text: String = (0..2_500_000_u32).map(|number| format!("{number:07}\n")).collect();
        assert!(text.len() > READ_BODY_BYTES);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        let body = StoredBody::whole(Bytes::from(encoder.finish().unwrap()));
        let read = decoded(&body, &HeadText::read(b"X\r\nContent-Encoding: gzip\r\n\r\n"));
        assert_eq!(read.bytes.len(), READ_BODY_BYTES);
        assert!(read.is_cut && read.note.unwrap().contains("only the first"));
    }

    #[test]
    fn a_cut_body_is_text_up_to_its_last_whole_character() {
        let pieces = vec![Bytes::from_static(b"ab\xc3")];
        let cut = StoredBody { pieces, size: 10, goes_on: false };
        let head = HeadText::read(b"X\r\n\r\n");
        let shown = ShownBody::new(&cut, &head, &Redactor::off());
        let (object, _) = put(&shown, 0, None);
        assert_eq!(object["body"], "ab");
        assert_eq!(object["body_note"], "only the first 3 of 10 bytes on the wire are kept here");
    }
}
