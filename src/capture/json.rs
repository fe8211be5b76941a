//! JSON text written piece by piece into one buffer, that of the traces above all: a part of the
//! bundle has thousands of them, all of the same form.

use std::io::Write as _;
use std::net::SocketAddr;

use serde::{Serialize, Serializer};

/// A buffer of JSON. The caller sees to the form; text is escaped here.
#[derive(Debug, Default)]
pub(super) struct Json {
    text: Vec<u8>,
}

impl Json {
    /// Empties it for the next value.
    pub(super) fn clear(&mut self) {
        self.text.clear();
    }

    /// What was written.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Syntax, keys, and text that needs no escapes.
    #[inline]
    pub(super) fn raw(&mut self, piece: &str) {
        self.text.extend_from_slice(piece.as_bytes());
    }

    /// What `put` appends, which needs no escapes.
    pub(super) fn put(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        put(&mut self.text);
    }

    /// A string, or null.
    pub(super) fn string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => {
                self.text.push(b'"');
                self.escaped(text);
                self.text.push(b'"');
            }
            None => self.raw("null"),
        }
    }

    /// A piece of a string, without the quotes around it.
    #[inline]
    pub(super) fn escaped(&mut self, text: &str) {
        let odd = text.bytes().fold(false, |odd, byte| odd | needs_escape(byte));
        if odd { self.escape(text) } else { self.raw(text) }
    }

    /// Escapes what RFC 8259 section 7 demands, and no more.
    fn escape(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                0x08 => self.raw("\\b"),
                0x0c => self.raw("\\f"),
                b'\n' => self.raw("\\n"),
                b'\r' => self.raw("\\r"),
                b'\t' => self.raw("\\t"),
                // Writing to a Vec does not fail.
                ..0x20 => _ = write!(self.text, "\\u{byte:04x}"),
                _ => self.text.push(byte),
            }
        }
    }

    /// A whole number.
    pub(super) fn number(&mut self, number: u64) {
        self.padded(number, 1);
    }

    /// A whole number with zeros in front of it up to so many digits.
    pub(super) fn padded(&mut self, number: u64, digits: usize) {
        put_padded(&mut self.text, number, digits);
    }

    /// True or false.
    pub(super) fn boolean(&mut self, value: bool) {
        self.raw(if value { "true" } else { "false" });
    }

    /// Microseconds as milliseconds; whole ones as integers.
    pub(super) fn milliseconds(&mut self, us: u64) {
        self.number(us / 1_000);
        let mut fraction = us % 1_000;
        let mut digits = 3;
        if fraction == 0 {
            return;
        }
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            digits -= 1;
        }
        self.text.push(b'.');
        self.padded(fraction, digits);
    }

    /// An address and port, as a string.
    pub(super) fn address(&mut self, address: SocketAddr) {
        self.text.push(b'"');
        match address {
            SocketAddr::V4(address) => {
                for (at, octet) in address.ip().octets().into_iter().enumerate() {
                    if at > 0 {
                        self.text.push(b'.');
                    }
                    self.number(octet.into());
                }
                self.text.push(b':');
                self.number(address.port().into());
            }
            // Writing to a Vec does not fail.
            SocketAddr::V6(address) => _ = write!(self.text, "{address}"),
        }
        self.text.push(b'"');
    }
}

/// Microseconds, written as milliseconds; whole ones as integers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Milliseconds(pub(super) u64);

impl Serialize for Milliseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1_000) {
            serializer.serialize_u64(self.0 / 1_000)
        } else {
            serializer.serialize_f64(self.0 as f64 / 1_000.0)
        }
    }
}

fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Appends a number with zeros in front of it up to so many digits.
pub(super) fn put_padded(out: &mut Vec<u8>, mut number: u64, digits: usize) {
    let mut text = [0; DIGITS_MOST];
    let mut written = 0;
    for place in text.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        written += 1;
        if number == 0 && written >= digits {
            break;
        }
    }
    out.extend_from_slice(text.get(DIGITS_MOST - written..).unwrap_or_default());
}

/// Digits of the largest number.
const DIGITS_MOST: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::default();
        write(&mut json);
        String::from_utf8(json.text().to_vec()).unwrap()
    }

    #[test]
    fn durations_are_integers_where_they_can_be() {
        let text = |us| written(|json| json.milliseconds(us));
        assert_eq!(text(0), "0");
        assert_eq!(text(2_000), "2");
        assert_eq!(text(1_234), "1.234");
        assert_eq!(text(1), "0.001");
        assert_eq!(text(50), "0.05");
        assert_eq!(text(7_100), "7.1");
        assert_eq!(text(u64::MAX), "18446744073709551.615");
    }

    #[test]
    fn numbers_have_as_many_digits_as_they_need() {
        assert_eq!(written(|json| json.number(0)), "0");
        assert_eq!(written(|json| json.number(u64::MAX)), u64::MAX.to_string());
        assert_eq!(written(|json| json.padded(7, 4)), "0007");
        assert_eq!(written(|json| json.padded(12_345, 4)), "12345");
    }

    #[test]
    fn addresses_are_those_of_the_standard_library() {
        for text in ["127.0.0.1:80", "255.0.10.1:65535", "[::1]:443", "[2001:db8::1%7]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(written(|json| json.address(address)), format!("\"{address}\""));
        }
    }

    proptest! {
        #[test]
        fn strings_are_those_of_serde(text in r#"[ -~\x00-\x1f"\\é漢🦊\x7f]{0,40}"#) {
            let written = written(|json| json.string(Some(&text)));
            prop_assert_eq!(written, serde_json::to_string(&text).unwrap());
        }
    }
}
