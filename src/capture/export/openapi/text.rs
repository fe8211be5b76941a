//! What texts have in common: the types that a parameter can have, and formats of JSON Schema.

use serde_json::{Value, json};

/// What all texts of one place are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Texts(u8);

const INTEGER: u8 = 1;
const NUMBER: u8 = 2;
const BOOLEAN: u8 = 4;
const DATE_TIME: u8 = 8;
const DATE: u8 = 16;
const UUID: u8 = 32;
const EMAIL: u8 = 64;
const URI: u8 = 128;

/// Whether a text is of a kind.
type Test = fn(&str) -> bool;

/// Longer texts have no format that is worth a look.
const LOOKED_AT_BYTES: usize = 2_048;
/// Digits of integers that every reader takes for one.
const INTEGER_DIGITS: usize = 15;

impl Texts {
    /// What one text is.
    pub(super) fn of(text: &str) -> Self {
        if text.is_empty() || text.len() > LOOKED_AT_BYTES {
            return Texts(0);
        }
        let tests: [(u8, Test); 8] = [
            (INTEGER, is_integer),
            (NUMBER, is_number),
            (BOOLEAN, |text| matches!(text, "true" | "false")),
            (DATE_TIME, is_date_time),
            (DATE, is_date),
            (UUID, is_uuid),
            (EMAIL, is_email),
            (URI, is_uri),
        ];
        Texts(tests.iter().filter(|(_, is)| is(text)).fold(0, |all, (one, _)| all | one))
    }

    /// What both are.
    pub(super) fn and(self, other: Texts) -> Texts {
        Texts(self.0 & other.0)
    }

    /// The format of JSON Schema 2020-12.
    pub(super) fn format(self) -> Option<&'static str> {
        let formats = [
            (DATE_TIME, "date-time"),
            (DATE, "date"),
            (UUID, "uuid"),
            (EMAIL, "email"),
            (URI, "uri"),
        ];
        formats.iter().find(|(bit, _)| self.0 & bit != 0).map(|(_, name)| *name)
    }

    /// The schema of a parameter with these texts.
    pub(super) fn schema(self) -> Value {
        let types = [(INTEGER, "integer"), (NUMBER, "number"), (BOOLEAN, "boolean")];
        if let Some((_, name)) = types.iter().find(|(bit, _)| self.0 & bit != 0) {
            return json!({ "type": name });
        }
        match self.format() {
            Some(format) => json!({ "type": "string", "format": format }),
            None => json!({ "type": "string" }),
        }
    }

    /// A text as a value of that schema.
    pub(super) fn value(self, text: &str) -> Value {
        let is_string = self.0 & (INTEGER | NUMBER | BOOLEAN) == 0;
        let typed = if is_string { None } else { serde_json::from_str(text).ok() };
        typed.unwrap_or_else(|| text.into())
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits == "0" || !digits.starts_with('0');
    all_digits(digits) && is_plain && digits.len() <= INTEGER_DIGITS
}

fn is_number(text: &str) -> bool {
    let Some((whole, fraction)) = text.split_once('.') else { return is_integer(text) };
    (whole == "-0" || is_integer(whole)) && all_digits(fraction) && text.len() <= INTEGER_DIGITS
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text has this shape, in which `0` is a digit and `x` a hexadecimal one.
fn has_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            b'x' => byte.is_ascii_hexdigit(),
            b'T' => matches!(byte, b'T' | b't'),
            shape => byte == shape,
        })
}

fn is_uuid(text: &str) -> bool {
    has_shape(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
}

/// A full-date of RFC 3339 section 5.6.
fn is_date(text: &str) -> bool {
    let (month, day) = (text.get(5..7).unwrap_or_default(), text.get(8..10).unwrap_or_default());
    has_shape(text, "0000-00-00") && ("01"..="12").contains(&month) && ("01"..="31").contains(&day)
}

/// A date-time of RFC 3339 section 5.6.
fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_at_checked(10) else { return false };
    let Some((time, rest)) = time.split_at_checked(9) else { return false };
    let at = |at: std::ops::Range<usize>| time.get(at).unwrap_or_default();
    let fraction =
        rest.strip_prefix('.').map(|it| it.trim_start_matches(|c: char| c.is_ascii_digit()));
    let offset = match fraction {
        Some(offset) if rest.len() > offset.len() + 1 => offset,
        Some(_) => return false,
        None => rest,
    };
    let is_offset =
        matches!(offset, "Z" | "z") || has_shape(offset, "+00:00") || has_shape(offset, "-00:00");
    is_date(date)
        && has_shape(time, "T00:00:00")
        && at(1..3) <= "23"
        && at(4..6) <= "59"
        && at(7..9) <= "59"
        && is_offset
}

/// An address in the form that everybody uses, of those that RFC 5321 allows.
pub(super) fn is_email(text: &str) -> bool {
    let Some((name, host)) = text.split_once('@') else { return false };
    let is_name =
        |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let dots = |name: &str| name.starts_with('.') || name.ends_with('.') || name.contains("..");
    !name.is_empty()
        && name.bytes().all(is_name)
        && !dots(name)
        && host.contains('.')
        && host.split('.').all(is_label)
}

/// A URI with an authority (RFC 3986).
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    let mut escapes = rest.split('%').skip(1);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.is_empty()
        && !rest.contains(['[', ']'])
        && rest.bytes().all(is_allowed)
        && rest.matches('#').count() <= 1
        && escapes.all(|it| it.get(..2).is_some_and(|hex| has_shape(hex, "xx")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told() {
        for (text, format) in [
            ("2026-10-21T07:28:00Z", Some("date-time")),
            ("2026-10-21t07:28:00.123456+02:00", Some("date-time")),
            ("2026-10-21 07:28:00Z", None),
            ("2026-10-21T24:00:00Z", None),
            ("2026-10-21T07:28:00.Z", None),
            ("2026-10-21T07:28:00", None),
            ("2026-10-21", Some("date")),
            ("2026-13-21", None),
            ("3f2a91bc-9d1e-4b7a-8c55-0242ac120002", Some("uuid")),
            ("3f2a91bc9d1e4b7a8c550242ac120002", None),
            ("a.b+c@x.example", Some("email")),
            ("a@localhost", None),
            ("a b@x.example", None),
            ("a@x..example", None),
            ("https://a.example/b?c=%20#d", Some("uri")),
            ("https://a.example/b c", None),
            ("https://a.example/%zz", None),
            ("/relative", None),
            ("", None),
            ("é2026-10-", None),
        ] {
            assert_eq!(Texts::of(text).format(), format, "{text}");
        }
    }

    #[test]
    fn types_are_told_by_all_texts() {
        let schema = |texts: &[&str]| {
            let all = texts.iter().map(|it| Texts::of(it)).reduce(Texts::and).unwrap();
            (all.schema()["type"].clone(), all.value(texts[0]))
        };
        assert_eq!(schema(&["1", "-20"]), (json!("integer"), json!(1)));
        assert_eq!(schema(&["1.5", "2"]), (json!("number"), json!(1.5)));
        assert_eq!(schema(&["true", "false"]), (json!("boolean"), json!(true)));
        for texts in [["1", "x"], ["1", ""], ["007", "1"], ["true", "1"], ["1e5", "1"]] {
            assert_eq!(schema(&texts), (json!("string"), json!(texts[0])));
        }
        assert_eq!(schema(&["12345678901234567890"]).0, json!("string"));
    }
}
