//! Multipart bodies (RFC 2046 section 5.1, RFC 7578): each part is masked as what it is.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use crate::flow::head::HeadText;
use crate::flow::multipart::{self, blank_line, parameter};
use crate::flow::redact::edits::Edits;
use crate::flow::redact::names::judge;
use crate::flow::redact::pairs::Style;
use crate::flow::redact::{Masking, pairs};

/// Whether a text has parts.
pub(super) fn has_parts(media_type: &str, text: &str) -> bool {
    !Delimiters::of(media_type, text).is_empty()
}

/// What stands before parts: the boundary that the media type names, and the lines before parts,
/// which may tell another, or more where there are parts in a part.
#[derive(Debug, Default)]
struct Delimiters<'a> {
    named: Option<String>,
    lines: HashSet<&'a str>,
}

impl<'a> Delimiters<'a> {
    fn of(media_type: &str, text: &'a str) -> Self {
        let mut lines = text.lines().peekable();
        let first = text.trim_start().lines().next().map(str::trim_end).filter(|it| begins(it));
        let named = multipart::delimiter(media_type, "");
        let mut found = Delimiters::default();
        let (mut is_named, mut firsts) = (false, 0);
        while let Some(line) = lines.next().map(str::trim_end) {
            if !begins(line) {
                continue;
            }
            is_named |= named.as_ref().is_some_and(|named| line.starts_with(named.as_str()));
            firsts += usize::from(first.is_some_and(|first| line.starts_with(first)));
            let field = lines.peek().and_then(|next| next.get(..CONTENT.len()));
            if field.is_some_and(|field| field.eq_ignore_ascii_case(CONTENT)) {
                found.lines.insert(line);
            }
        }
        found.named = named.filter(|_| is_named);
        // One line alone that begins so is no sign.
        found.lines.extend(first.filter(|_| firsts > 1));
        found
    }

    fn is_empty(&self) -> bool {
        self.named.is_none() && self.lines.is_empty()
    }

    /// Whether this line, without its end, stands before a part or behind the last one.
    fn has(&self, line: &str) -> bool {
        let named = self.named.as_ref();
        begins(line)
            && (self.lines.contains(line)
                || line.strip_suffix("--").is_some_and(|line| self.lines.contains(line))
                || named.is_some_and(|named| line.starts_with(named.as_str())))
    }
}

fn begins(line: &str) -> bool {
    line.starts_with("--") && line.len() > 2
}

/// What the fields of a part begin with.
const CONTENT: &str = "content-";

/// Masks the parts of a body, and what stands before them.
pub(super) fn mask(masking: &Masking<'_>, edits: &mut Edits<'_>, media_type: &str) {
    let text = edits.text();
    let delimiters = Delimiters::of(media_type, text);
    let (mut at, mut begun) = (0, 0);
    for line in text.split_inclusive('\n') {
        let end = at + line.trim_end().len();
        if delimiters.has(line.trim_end()) {
            part(masking, edits, begun..at);
            // It may be a line of another text that looks so.
            pairs::find(masking, edits, at..end, Style::Prose);
            begun = end;
        }
        at += line.len();
    }
    part(masking, edits, begun..text.len());
}

fn part(masking: &Masking<'_>, edits: &mut Edits<'_>, range: Range<usize>) {
    let text = edits.part(range.clone());
    let blank = blank_line(text.as_bytes());
    let Some((head, body)) = blank.and_then(|blank| text.split_at_checked(blank.end)) else {
        pairs::find(masking, edits, range, Style::Prose);
        return;
    };
    let start = range.start + head.len();
    pairs::find(masking, edits, range.start..start, Style::Prose);
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

    /// Every line may stand before a part, or be what it looks like without parts.
    #[test]
    fn parts_in_parts_and_lines_that_only_look_so_hide_nothing() {
        let mail = "--outer\r\nX-Id: 1\r\nContent-Disposition: form-data; name=\"f\"; \
            filename=\"m.eml\"\r\n\r\nhi\r\n--inner\r\nContent-Type: text/plain\r\n\r\nx\r\n\
            --inner--\r\n--outer\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n\
            --outer\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhunter2\r\n\
            --outer--";
        let json = r#"{"args":"--header \"Content-Type: a/b\" --data \"password=hunter2\""}"#;
        let headless = "Content-Disposition: form-data; name=\"password\"\r\n\r\nhunter2\r\n";
        let fields = "--b\r\nContent-Type: text/plain\r\nX-Api-Key: hunter2\r\n\
            Authorization: Bearer hunter2\r\n\r\nhi\r\n--b--";
        for (media_type, text) in [
            ("multipart/form-data; boundary=outer", mail),
            ("multipart/mixed; boundary=inner", mail),
            ("application/x-www-form-urlencoded", "--x=Content-Type&password=hunter2&user=bob"),
            ("application/x-www-form-urlencoded", "event:%74oken=hunter2&x=Content-"),
            ("text/plain", "--\n-- password=hunter2\nContent-Type: x\n"),
            ("text/plain", "--- a/x\n+++ b/x\n-- password=hunter2\ncontent-length: 1\n"),
            ("application/json", json),
            ("text/plain", json),
            ("multipart/form-data; boundary=zz", headless),
            ("multipart/mixed; boundary=zz", "\"--b\r\nContent-Type: a\r\n\r\npassword=hunter2"),
            ("multipart/mixed; boundary=zz", "<!--password=hunter2"),
            ("multipart/mixed; boundary=b", fields),
            ("text/plain", fields),
        ] {
            let found = Redactor::default().text(media_type, text).into_owned();
            assert!(!found.contains("hunter2") && found.contains("***"), "{media_type}: {found}");
            assert_eq!(Redactor::default().text(media_type, &found), found, "{media_type}");
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
