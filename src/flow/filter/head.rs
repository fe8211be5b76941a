//! What filters ask of a head, without taking all of it apart.

use std::borrow::Cow;

/// A head from its start line on; empty lines before that are skipped (RFC 9112 section 2.2).
fn from_start(mut head: &[u8]) -> &[u8] {
    while let [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] = head {
        head = rest;
    }
    head
}

/// The first line and what follows it; line ends are CRLF or LF.
fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'\n', text).map_or(text.len(), |end| end + 1);
    let (line, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

/// The start line, at its first blank, as the method or version and what follows.
pub(super) fn start_line(head: &[u8]) -> (&[u8], &[u8]) {
    let (line, _) = split_line(from_start(head));
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(end).unwrap_or((line, &[]));
    (word, rest.trim_ascii())
}

/// The request target.
pub(super) fn request_target(head: &[u8]) -> &[u8] {
    let (_, rest) = start_line(head);
    match memchr::memrchr(b' ', rest).and_then(|blank| rest.split_at_checked(blank)) {
        Some((target, version)) if version.starts_with(b" HTTP/") => target.trim_ascii(),
        _ => rest,
    }
}

/// The status code.
pub(super) fn status(head: &[u8]) -> Option<u32> {
    let (_, rest) = start_line(head);
    let code = rest.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(code).ok()?.parse().ok()
}

/// A field line as it stands, its continuation lines included (RFC 9112 section 5.2).
struct Line<'a> {
    whole: &'a [u8],
    name: &'a [u8],
    value: &'a [u8],
}

impl Line<'_> {
    /// Whether the line is written as [`block`] writes lines.
    fn is_plain(&self) -> bool {
        self.whole.len() == self.name.len() + self.value.len() + 4
            && self.whole.get(self.name.len()..).is_some_and(|rest| rest.starts_with(b": "))
            && self.whole.ends_with(b"\r\n")
    }
}

/// The field lines of a head.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    fn of(head: &'a [u8]) -> Self {
        Lines { rest: split_line(from_start(head)).1 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let (line, mut rest) = split_line(self.rest);
        if line.is_empty() {
            return None;
        }
        while let [b' ' | b'\t', ..] = rest {
            rest = split_line(rest).1;
        }
        let whole = self.rest.get(..self.rest.len() - rest.len())?;
        self.rest = rest;
        let colon = memchr::memchr(b':', whole).unwrap_or(whole.len());
        let (name, value) = whole.split_at_checked(colon)?;
        let value = value.strip_prefix(b":").unwrap_or(value);
        Some(Line { whole, name: name.trim_ascii_end(), value: value.trim_ascii() })
    }
}

/// The values of the fields of this name, in any case, in order.
pub(super) fn values<'a>(head: &'a [u8], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    let named = move |line: &Line<'_>| line.name.eq_ignore_ascii_case(name.as_bytes());
    Lines::of(head).filter(named).map(|line| line.value)
}

/// The fields as `Name: value` lines that end in CRLF: almost always as they stand in the head.
pub(super) fn block(head: &[u8]) -> Cow<'_, [u8]> {
    let start = Lines::of(head).rest;
    let mut length = 0;
    for line in Lines::of(head) {
        if !line.is_plain() {
            return Cow::Owned(written(head));
        }
        length += line.whole.len();
    }
    Cow::Borrowed(start.get(..length).unwrap_or_default())
}

fn written(head: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(head.len() + 16);
    for line in Lines::of(head) {
        block.extend_from_slice(line.name);
        block.extend_from_slice(b": ");
        block.extend_from_slice(line.value);
        block.extend_from_slice(b"\r\n");
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_fields_are_borrowed_and_others_written_plainly() {
        let plain = b"GET / HTTP/1.1\r\nHost: a\r\nx-B: c d\r\n\r\nbody";
        assert!(matches!(block(plain), Cow::Borrowed(b"Host: a\r\nx-B: c d\r\n")));
        let odd = b"\r\nGET / HTTP/1.1\nHost:a\nB : \t c \r\n folded\r\nD:\r\nE";
        let block = block(odd);
        assert_eq!(block.escape_ascii().to_string(), {
            let lines = b"Host: a\r\nB: c \r\n folded\r\nD: \r\nE: \r\n";
            lines.escape_ascii().to_string()
        });
        assert_eq!(super::block(b"GET / HTTP/1.1\r\n\r\n"), Cow::Borrowed(b""));
        assert_eq!(super::block(b""), Cow::Borrowed(b""));
    }

    #[test]
    fn start_lines_give_what_they_have() {
        assert_eq!(start_line(b"\r\nPOST /a b HTTP/1.1\r\n").0, b"POST");
        assert_eq!(request_target(b"POST /a b HTTP/1.1\r\n"), b"/a b");
        assert_eq!(request_target(b"GET /old"), b"/old");
        assert_eq!(request_target(b""), b"");
        assert_eq!(status(b"HTTP/1.1 404 Not Found\r\n\r\n"), Some(404));
        assert_eq!(status(b"HTTP/1.1 204"), Some(204));
        assert_eq!(status(b"HTTP/1.1 x"), None);
    }

    #[test]
    fn values_are_found_in_any_case_and_order() {
        let head = b"HTTP/1.1 200 OK\r\nA: 1\r\nb: 2\r\na:3 \r\n\r\na: 4\r\n";
        assert_eq!(values(head, "a").collect::<Vec<_>>(), [b"1", b"3"]);
    }
}
