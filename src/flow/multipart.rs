//! Multipart bodies taken apart (RFC 2046 section 5.1, RFC 7578), leniently.

use std::ops::Range;

use memchr::memmem::Finder;

use crate::flow::head::{Field, HeadText};

/// One part of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    /// Its fields.
    pub(crate) fields: Vec<Field>,
    /// What it holds.
    pub(crate) body: &'a [u8],
}

impl Part<'_> {
    /// The value of a field; empty where there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        let named = self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        named.map_or("", |field| field.value.as_str())
    }
}

/// What stands before each part: named by the media type, else the body's first line.
pub(crate) fn delimiter(media_type: &str, text: &str) -> Option<String> {
    let named = media_type.split_once(';').and_then(|(_, rest)| parameter(rest, "boundary"));
    if let Some(boundary) = named.filter(|boundary| !boundary.is_empty()) {
        return Some(format!("--{boundary}"));
    }
    let first = text.trim_start().lines().next()?.trim_end();
    (first.len() > 2 && first.starts_with("--")).then(|| first.to_owned())
}

/// The value of a parameter, without its quotes.
pub(crate) fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|parameter| {
        let (named, value) = parameter.split_once('=')?;
        named.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// The parts of a body, in order; one that its end cuts off is the last. Each is made when it is
/// asked for: a body may have millions.
pub(crate) fn parts<'a>(media_type: &str, body: &'a [u8]) -> Option<Parts<'a>> {
    let begin = String::from_utf8_lossy(body.get(..BOUNDARY_BYTES).unwrap_or(body));
    let delimiter = Finder::new(&delimiter(media_type, &begin)?).into_owned();
    let first = delimiter.find(body);
    let rest = first.and_then(|at| body.get(at + delimiter.needle().len()..));
    Some(Parts { rest, delimiter })
}

/// The parts that are left.
pub(crate) struct Parts<'a> {
    /// What follows a delimiter.
    rest: Option<&'a [u8]>,
    delimiter: Finder<'static>,
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        while let Some(rest) = self.rest {
            let end = self.delimiter.find(rest);
            self.rest = end.and_then(|end| rest.get(end + self.delimiter.needle().len()..));
            let piece = end.and_then(|end| rest.get(..end)).unwrap_or(rest);
            // The last delimiter has two more dashes.
            if !piece.starts_with(b"--") {
                return Some(part(piece));
            }
        }
        None
    }
}

/// The empty line behind fields: it ends them where it starts, and what they are of begins behind
/// it. Its end and that of the line before it are CRLF or LF.
pub(crate) fn blank_line(bytes: &[u8]) -> Option<Range<usize>> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match bytes.get(at + 1..) {
        Some([b'\n', ..]) => Some(at..at + 2),
        Some([b'\r', b'\n', ..]) => Some(at..at + 3),
        _ => None,
    })
}

fn part(piece: &[u8]) -> Part<'_> {
    // White space may follow the delimiter on its line.
    let line = memchr::memchr(b'\n', piece).map_or(piece.len(), |end| end + 1);
    let piece = piece.get(line..).unwrap_or_default();
    let no_fields = [b"\r\n".as_slice(), b"\n"].iter().find_map(|it| piece.strip_prefix(*it));
    let (head, body) = match (no_fields, blank_line(piece)) {
        (Some(body), _) => (None, Some(body)),
        (None, Some(blank)) => (piece.get(..blank.start), piece.get(blank.end..)),
        (None, None) => (Some(piece), None),
    };
    let body = body.unwrap_or_default();
    let body = body.strip_suffix(b"\n").map_or(body, |it| it.strip_suffix(b"\r").unwrap_or(it));
    Part { fields: HeadText::read_fields(head.unwrap_or_default()), body }
}

/// Bytes of a body in which its first line is looked for; a boundary has at most 70.
const BOUNDARY_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_fields_and_bytes() {
        let body = b"preamble\r\n--b\r\nContent-Disposition: form-data; name=\"a b\"\r\n\r\n\
            one\r\ntwo\r\n\r\n--b\r\nContent-Disposition: form-data; name=f; filename=\"x.bin\"\r\n\
            Content-Type: application/x\r\n\r\n\0\xff\r\n--b\r\n\r\n\r\n\
            --b \r\n\r\nx: y\r\n\r\nz\r\n--b--\r\n";
        for media_type in
            ["multipart/form-data; charset=x; Boundary=\"b\"", "multipart/x;boundary=b"]
        {
            let parts: Vec<_> = parts(media_type, body).unwrap().collect();
            let bodies: Vec<_> = parts.iter().map(|part| part.body).collect();
            assert_eq!(bodies, [b"one\r\ntwo\r\n".as_slice(), b"\0\xff", b"", b"x: y\r\n\r\nz"]);
            assert_eq!(parameter(parts[0].field("content-disposition"), "name"), Some("a b"));
            assert_eq!(parts[1].field("content-type"), "application/x");
        }
    }

    #[test]
    fn what_is_cut_or_without_a_name_is_read_too() {
        let parts = |media_type: &str, body: &'static [u8]| -> Option<Vec<Part<'_>>> {
            parts(media_type, body).map(Iterator::collect)
        };
        let cut = parts("", b"--x\nA: 1\n\nhalf of a p").unwrap();
        assert_eq!((cut[0].field("a"), cut[0].body), ("1", b"half of a p".as_slice()));
        assert_eq!(parts("multipart/mixed; boundary=b", b"--b--").unwrap(), []);
        assert_eq!(parts("multipart/mixed", b"text"), None);
        // The first empty line ends the fields, whatever its end is.
        for (body, expected) in [
            (b"--x\nA: 1\n\none\r\n\r\ntwo".as_slice(), b"one\r\n\r\ntwo".as_slice()),
            (b"--x\r\nA: 1\r\n\r\none\n\ntwo", b"one\n\ntwo"),
            (b"--x\r\nA: 1\n\r\none", b"one"),
        ] {
            let read = parts("multipart/mixed; boundary=x", body).unwrap();
            assert_eq!((read[0].field("a"), read[0].body), ("1", expected));
        }
        assert_eq!(parts("multipart/mixed; boundary=b", b"--b\r\nA: 1\r\n").unwrap()[0].body, b"");
    }
}
