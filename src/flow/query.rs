//! Parameters of a query or a form (URL Standard section 5.1), read leniently.

use std::borrow::Cow;

use crate::flow::head;

/// Undoes percent-encoding, and `+` for a space. Bytes that are not UTF-8 are read as Latin-1.
pub fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            _ => bytes.push(*byte),
        }
    }
    Cow::Owned(head::text(&bytes))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The query of a URL, without the question mark; empty where there is none.
pub fn query(url: &str) -> &str {
    let without_fragment = url.split('#').next().unwrap_or_default();
    without_fragment.split_once('?').map(|(_, query)| query).unwrap_or_default()
}

/// Names and values, decoded, in order. One without `=` has an empty value.
pub fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|parameter| !parameter.is_empty()).map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (decoded(name), decoded(value))
    })
}

/// Whether a text that is called a form is one. Clients call what they send so that do not know
/// better, as curl does with JSON; whoever writes a form leaves no white space, quotes and tags in
/// it (URL Standard section 5.2).
pub fn is_form(text: &str) -> bool {
    let text = text.trim_end();
    let is_foreign = |it: char| it.is_whitespace() || it.is_control() || matches!(it, '"' | '<');
    text.contains('=') && !text.contains(is_foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_from_what_is_called_so() {
        for form in ["a=1", "=", "a&b=x+y%22&c[]=\u{e9}'\r\n", "[a]={1}"] {
            assert!(is_form(form), "{form}");
        }
        for other in ["", "a", "{}", "{\"a\":\"b=c\"}", "a=1 2", "a=1\nb=2", "<a b=''/>", "a=\x1b"]
        {
            assert!(!is_form(other), "{other}");
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let url = "https://h/p?a=1&b%5B%5D=x+y%26z&flag&&=v&bad=%zz%4&l=caf%e9#?no=1";
        let found: Vec<_> = parameters(query(url))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let expected = [
            ("a", "1"),
            ("b[]", "x y&z"),
            ("flag", ""),
            ("", "v"),
            ("bad", "%zz%4"),
            ("l", "caf\u{e9}"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(parameters(query("/p#?a=b")).count(), 0);
    }
}
