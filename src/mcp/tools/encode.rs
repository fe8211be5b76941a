//! A text as bytes, in the charset of the message that it goes into.

use std::collections::HashMap;

use bytes::Bytes;

use crate::flow::charset::{body_text, names_utf_16, utf_16_text};
use crate::flow::head::text;
use crate::mcp::tools::body::{is_called_text, wide_text};
use crate::mcp::tools::reply::Failure;

/// How the text of a body is written.
#[derive(Debug)]
pub(super) enum Charset {
    Utf8,
    Utf16 {
        is_big_endian: bool,
        has_mark: bool,
    },
    /// A byte for each letter; those beyond ASCII.
    OneByte(HashMap<char, u8>),
}

impl Charset {
    /// The charset of a body with this Content-Type, in place of one that was `bytes`. Of one that
    /// flowtap does not know, what was there keeps its bytes; without any it is taken for UTF-8.
    pub(super) fn of(content_type: &str, bytes: &[u8]) -> Self {
        let is_wide = match bytes.is_empty() {
            true => is_called_text(content_type) && names_utf_16(content_type),
            false => wide_text(content_type, bytes).is_some(),
        };
        if is_wide {
            let mark = bytes.get(..2).filter(|it| matches!(it, [0xff, 0xfe] | [0xfe, 0xff]));
            let is_named_big = || utf_16_text(content_type, b"\0a").as_deref() == Some("a");
            let is_big_endian = mark.map_or_else(is_named_big, |mark| mark == [0xfe, 0xff]);
            return Charset::Utf16 { is_big_endian, has_mark: mark.is_some() };
        }
        // Many name another charset and send UTF-8; it is read so too.
        let is_utf_8 = std::str::from_utf8(bytes).is_ok();
        if !bytes.is_ascii() && is_utf_8 {
            return Charset::Utf8;
        }
        let letter = |byte: u8| body_text(content_type, &[byte], false)?.chars().next();
        let letters: HashMap<_, _> =
            (0x80..=0xff).filter_map(|byte| Some((letter(byte)?, byte))).collect();
        // Bytes of another charset were shown as a letter each.
        let is_byte_by_byte = || !is_utf_8 && text(bytes).chars().count() == bytes.len();
        match letters.is_empty() && !is_byte_by_byte() {
            true => Charset::Utf8,
            false => Charset::OneByte(letters),
        }
    }

    /// # Errors
    /// When a letter is not in the charset.
    pub(super) fn encode(&self, text: &str) -> Result<Bytes, Failure> {
        match self {
            Charset::Utf8 => Ok(Bytes::copy_from_slice(text.as_bytes())),
            Charset::Utf16 { is_big_endian, has_mark } => {
                let mark = has_mark.then_some(0xfeff);
                let units = mark.into_iter().chain(text.encode_utf16());
                let order = if *is_big_endian { u16::to_be_bytes } else { u16::to_le_bytes };
                Ok(units.flat_map(order).collect())
            }
            Charset::OneByte(letters) => {
                let byte = |letter: char| {
                    // Bytes that stand for no letter are read as the control characters that have
                    // their numbers.
                    let own = || u8::try_from(letter).ok();
                    let known = if letter.is_ascii() { None } else { letters.get(&letter) };
                    known.copied().or_else(own).ok_or_else(|| lacks(letter))
                };
                text.chars().map(byte).collect()
            }
        }
    }
}

fn lacks(letter: char) -> Failure {
    Failure::new(format!(
        "the charset that the body's Content-Type names has no {letter:?}: leave it out, or give \
         a Content-Type with charset=utf-8 in headers, or the bytes themselves in body_base64"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str, content_type: &str, bytes: &[u8]) -> Vec<u8> {
        Charset::of(content_type, bytes).encode(text).unwrap().to_vec()
    }

    #[test]
    fn a_text_goes_out_in_the_charset_of_its_message() {
        let latin = "text/html; charset=ISO-8859-1";
        assert_eq!(encoded("é\u{80}€", latin, b"caf\xe9"), b"\xe9\x80\x80");
        assert_eq!(encoded("é", latin, b""), b"\xe9");
        assert_eq!(encoded("é", "text/plain; charset=us-ascii", b"plain"), b"\xe9");
        // What it is called is not what it is.
        assert_eq!(encoded("é", latin, "è".as_bytes()), "é".as_bytes());
        for unknown in ["text/plain", "text/plain; charset=utf-8", "", "text/x; charset=koi8-r"] {
            assert_eq!(encoded("é", unknown, b"cafe"), "é".as_bytes(), "{unknown}");
            assert_eq!(encoded("caf\u{e9} b", unknown, b"caf\xe9 a"), b"caf\xe9 b", "{unknown}");
        }
        let wide = "application/json; charset=utf-16";
        assert_eq!(encoded("é", wide, b"a\0"), b"\xe9\0");
        assert_eq!(encoded("é", &format!("{wide}be"), b""), b"\0\xe9");
        assert_eq!(encoded("é", wide, b"\xfe\xff\0a"), b"\xfe\xff\0\xe9");
        assert_eq!(encoded("𝄞", "text/plain", b"\xff\xfea\0"), b"\xff\xfe\x34\xd8\x1e\xdd");
    }

    #[test]
    fn a_letter_that_a_charset_does_not_have_is_told() {
        let charset = Charset::of("text/plain; charset=windows-1252", b"");
        let words = charset.encode("a → b").unwrap_err().to_string();
        assert!(words.contains('→') && words.contains("charset=utf-8"), "{words}");
    }
}
