//! Multipart bodies (RFC 2046 section 5.1, RFC 7578): each part is masked as what it is.

use std::borrow::Cow;
use std::ops::Range;

use crate::flow::head::HeadText;
use crate::flow::multipart::{self, blank_line, parameter};
use crate::flow::redact::edits::Edits;
use crate::flow::redact::names::judge;
use crate::flow::redact::pairs::Style;
use crate::flow::redact::{Masking, pairs};

/// What stands before each part. Its lines tell it: a media type may name another boundary.
pub(super) fn delimiter(media_type: &str, text: &str) -> Option<String> {
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let begins = line.starts_with("--") && line.len() > 2;
        let field = lines.peek().filter(|_| begins).and_then(|next| next.get(.."content-".len()));
        if field.is_some_and(|field| field.eq_ignore_ascii_case("content-")) {
            return Some(line.trim_end().to_owned());
        }
    }
    let named = multipart::delimiter(media_type, text).filter(|it| text.contains(it));
    named.or_else(|| multipart::delimiter("", text))
}

/// Masks the parts of a body.
pub(super) fn mask(masking: &Masking<'_>, edits: &mut Edits<'_>, media_type: &str) {
    let text = edits.text();
    let Some(delimiter) = delimiter(media_type, text) else {
        pairs::find(masking, edits, 0..text.len(), Style::Prose);
        return;
    };
    let mut at = 0;
    for piece in text.split(delimiter.as_str()) {
        let end = at + piece.len();
        part(masking, edits, at..end);
        at = end + delimiter.len();
    }
}

fn part(masking: &Masking<'_>, edits: &mut Edits<'_>, range: Range<usize>) {
    let text = edits.part(range.clone());
    let blank = blank_line(text.as_bytes());
    let Some((head, body)) = blank.and_then(|blank| text.split_at_checked(blank.end)) else {
        pairs::find(masking, edits, range, Style::Prose);
        return;
    };
    let start = range.start + head.len();
    let end = start + body.trim_end_matches(['\r', '\n']).len();
    let fields = HeadText {
        fields: HeadText::read_fields(head.trim_start().as_bytes()),
        ..HeadText::default()
    };
    let name = fields.values("content-disposition").find_map(|it| parameter(it, "name"));
    if name.is_some_and(|name| judge(name).hides(edits.part(start..end))) {
        edits.mask(start..end);
        return;
    }
    let media_type = fields.values("content-type").next().unwrap_or_default();
    let inner = Masking { level: masking.level + 1, ..*masking };
    let body = edits.part(start..end);
    let masked = match inner.level < crate::limits::MASKED_LEVELS {
        true => inner.text(media_type, body),
        false => inner.plain(body),
    };
    if let Cow::Owned(masked) = masked {
        edits.loosen();
        edits.replace(start..end, masked);
    }
}

#[cfg(test)]
mod tests {
    use crate::flow::redact::Redactor;

    #[test]
    fn each_part_is_masked_by_its_name_or_its_type() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\na\r\nb\r\n\
            --b\r\nContent-Disposition: form-data; name=\"x\"\r\nContent-Type: application/json\
            \r\n\r\n{\"token\":\"t\",\"n\":1}\r\n\
            --b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--b--\r\n";
        let masked = Redactor::default().text("multipart/form-data; boundary=b", body);
        let expected = body.replace("a\r\nb\r\n", "***\r\n").replace("\"t\"", "\"***\"");
        assert_eq!(masked, expected);
        assert_eq!(Redactor::default().text("", body), expected);
        assert_eq!(Redactor::default().text("multipart/form-data", &expected), expected);
        let cut = "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nsecr";
        assert!(!Redactor::default().text("multipart/form-data; boundary=b", cut).contains("secr"));
    }

    #[test]
    fn the_first_empty_line_ends_the_fields_of_a_part() {
        for blank in ["\n\n", "\n\r\n", "\r\n\r\n"] {
            let part = format!("--b\nContent-Disposition: form-data; name=\"password\"{blank}");
            let body = format!("{part}S3CRET\r\n\r\nmore\n\nrest\n--b--\n");
            let masked = Redactor::default().text("multipart/form-data; boundary=b", &body);
            assert_eq!(masked, format!("{part}***\n--b--\n"));
        }
    }

    #[test]
    fn the_lines_of_a_body_tell_its_boundary() {
        let part = |name: &str, value: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = part("note", "hello") + &part("password", "x") + "--b--\r\n";
        let masked = body.replace("\r\nx\r\n", "\r\n***\r\n");
        for boundary in ["b", "b--", "other", "hello"] {
            for preamble in ["", "preamble\r\n"] {
                let text = format!("{preamble}{body}");
                let media_type = format!("multipart/form-data; boundary={boundary}");
                let found = Redactor::default().text(&media_type, &text).into_owned();
                assert_eq!(found, format!("{preamble}{masked}"), "{boundary}");
            }
        }
    }

    #[test]
    fn binary_parts_keep_their_bytes() {
        let mut body = b"--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n".to_vec();
        body.extend(0..=255);
        body.extend(b"\r\n--b\r\nContent-Disposition: form-data; name=token\r\n\r\nabc\r\n--b--");
        let masked = Redactor::default().bytes("multipart/form-data; boundary=b", &body);
        let end = body.len() - "abc\r\n--b--".len();
        assert_eq!(masked.get(..end), body.get(..end));
        assert!(masked.ends_with(b"\r\n\r\n***\r\n--b--"));
    }
}
