//! Whether a body is text, and how it reads.

use std::str;

/// Letters of windows-1252 from 0x80 to 0x9f; browsers read `iso-8859-1` as that (Encoding
/// Standard section 9.1).
const WINDOWS_1252: [char; 32] = [
    '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}',
    '\u{2c6}', '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}',
    '\u{90}', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}',
    '\u{2dc}', '\u{2122}', '\u{161}', '\u{203a}', '\u{153}', '\u{9d}', '\u{17e}', '\u{178}',
];

/// The text of a body with content coding undone, by the charset that its Content-Type names and
/// by its bytes; `None` when it is no text. What is cut may end within a character, which is left
/// out then.
pub fn body_text(content_type: &str, bytes: &[u8], is_cut: bool) -> Option<String> {
    // That is text whatever the type says, which may be wrong, and so may be masked as text.
    if let Some(text) = utf_8_text(bytes, is_cut) {
        return Some(text.to_owned());
    }
    let is_pictured = is_pictured(content_type);
    if let Some(text) =
        utf_16_text(content_type, bytes).filter(|_| !is_pictured || is_marked(bytes))
    {
        return Some(text);
    }
    if is_pictured {
        return None;
    }
    let charset = charset(content_type);
    let one_byte = ["iso-8859-1", "latin1", "windows-1252", "cp1252", "us-ascii", "ascii"];
    let is_one_byte = one_byte.contains(&charset.as_str());
    (is_one_byte && !bytes.contains(&0)).then(|| bytes.iter().copied().map(letter).collect())
}

/// Whether bytes of this type are pictures, sounds, films or fonts that are no text.
pub(crate) fn is_pictured(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let media_type = media_type.to_ascii_lowercase();
    let pictured = ["image/", "audio/", "video/", "font/"];
    pictured.iter().any(|kind| media_type.starts_with(kind)) && !media_type.contains("xml")
}

/// Whether bytes begin with the mark of UTF-16.
pub(crate) fn is_marked(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
}

/// Bytes as UTF-8 without NUL; what is cut may end within a character.
fn utf_8_text(bytes: &[u8], is_cut: bool) -> Option<&str> {
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if is_cut && error.error_len().is_none() => {
            bytes.get(..error.valid_up_to()).and_then(|bytes| str::from_utf8(bytes).ok())?
        }
        Err(_) => return None,
    };
    (!text.contains('\0')).then_some(text)
}

fn letter(byte: u8) -> char {
    let high = byte.checked_sub(0x80).and_then(|at| WINDOWS_1252.get(usize::from(at)));
    high.copied().unwrap_or(char::from(byte))
}

/// The charset parameter in lower case; empty where there is none.
fn charset(content_type: &str) -> String {
    let named = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']))
    });
    named.unwrap_or_default().to_ascii_lowercase()
}

/// Whether UTF-16 is the charset that is named.
pub(crate) fn names_utf_16(content_type: &str) -> bool {
    ["utf-16", "utf-16le", "utf-16be"].contains(&charset(content_type).as_str())
}

/// The text of a body in UTF-16, told by the charset that its Content-Type names or by its mark;
/// `None` when it is none. Where the charset is named, what is malformed reads as U+FFFD.
///
/// The name alone is not believed of what is UTF-8 without NUL: UTF-16 has one in each letter of
/// ASCII, and whoever reads other text so finds no secret in it.
pub fn utf_16_text(content_type: &str, bytes: &[u8]) -> Option<String> {
    let is_named = names_utf_16(content_type);
    let (big, bytes) = match bytes {
        [0xff, 0xfe, rest @ ..] => (false, rest),
        [0xfe, 0xff, rest @ ..] => (true, rest),
        _ if is_named && utf_8_text(bytes, true).is_none() => {
            (charset(content_type) == "utf-16be", bytes)
        }
        _ => return None,
    };
    let units = bytes.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok());
    let units = units.map(if big { u16::from_be_bytes } else { u16::from_le_bytes });
    let letters = char::decode_utf16(units);
    if is_named {
        return Some(letters.map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect());
    }
    letters.collect::<Result<String, _>>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content_type: &str, bytes: &[u8]) -> Option<String> {
        body_text(content_type, bytes, false)
    }

    #[test]
    fn text_is_read_by_its_charset() {
        assert_eq!(text("", "caf\u{e9}".as_bytes()).as_deref(), Some("caf\u{e9}"));
        let latin = "text/plain; Charset=\"ISO-8859-1\"";
        assert_eq!(text(latin, b"caf\xe9 \x80").as_deref(), Some("caf\u{e9} \u{20ac}"));
        assert_eq!(text(latin, "\u{e9}".as_bytes()).as_deref(), Some("\u{e9}"));
        assert_eq!(text("text/plain; charset=utf-16le", b"a\0b\0").as_deref(), Some("ab"));
        assert_eq!(text("text/plain", b"\xfe\xff\0a").as_deref(), Some("a"));
        assert_eq!(text("a/b; charset=utf-16le", b"a\0\0\xd8b").as_deref(), Some("a\u{fffd}"));
    }

    #[test]
    fn what_is_no_text() {
        assert_eq!(text("", b"caf\xe9"), None);
        assert_eq!(text("text/plain", b"a\0b"), None);
        assert_eq!(text("image/png; charset=latin1", b"\x89PNG"), None);
        assert_eq!(text("image/png; charset=utf-16le", b"a\0b\0"), None);
        assert_eq!(text("image/png", b"\xff\xfea\0").as_deref(), Some("a"));
        assert_eq!(text("image/svg+xml", b"<svg/>").as_deref(), Some("<svg/>"));
    }

    #[test]
    fn no_type_makes_anything_else_of_utf_8() {
        let json = "{\"password\":\"hunter2\"}";
        for content_type in [
            "application/json; charset=utf-16",
            "text/plain; charset=UTF-16LE",
            "text/plain; charset=\"utf-16be\"",
            "image/png",
            "video/mp4; charset=utf-16",
        ] {
            assert_eq!(text(content_type, json.as_bytes()).as_deref(), Some(json));
            assert_eq!(utf_16_text(content_type, json.as_bytes()), None);
            let cut = "{\"name\":\"Ren\u{e9}".as_bytes();
            let cut = &cut[..cut.len() - 1];
            assert_eq!(body_text(content_type, cut, true).as_deref(), Some("{\"name\":\"Ren"));
            assert_eq!(utf_16_text(content_type, cut), None);
        }
    }

    #[test]
    fn a_cut_text_may_end_within_a_character() {
        assert_eq!(body_text("", b"caf\xc3", true).as_deref(), Some("caf"));
        assert_eq!(body_text("", b"caf\xc3", false), None);
        assert_eq!(body_text("", b"caf\xc3x", true), None);
    }
}
