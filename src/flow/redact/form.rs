//! Parameters as forms and URLs have them (URL Standard section 5.1, RFC 3986).

use std::borrow::Cow;
use std::ops::Range;

use crate::flow::query::decoded;
use crate::flow::redact::credential::credential;
use crate::flow::redact::edits::Edits;
use crate::flow::redact::names::{Kind, judge, looks_random};
use crate::flow::redact::{Masking, pairs, shapes};

/// Masks the parameters `name=value&…` in a part of a text.
pub(super) fn parameters(masking: &Masking<'_>, edits: &mut Edits<'_>, part: Range<usize>) {
    let mut at = part.start;
    for parameter in edits.part(part).split('&') {
        let range = at..at + parameter.len();
        at = range.end + 1;
        let Some((name, value)) = parameter.split_once('=') else {
            inner(masking, edits, range);
            continue;
        };
        let value_range = range.end - value.len()..range.end;
        // What is no form has anything before its first `=`.
        pairs::find(masking, edits, range.start..range.start + name.len(), pairs::Style::Prose);
        if judge(&decoded(name)).hides(value) {
            credential(edits, value_range);
        } else {
            inner(masking, edits, value_range);
        }
    }
}

/// Masks what stands inside of a value, which may be another URL, or JSON, percent-encoded.
fn inner(masking: &Masking<'_>, edits: &mut Edits<'_>, range: Range<usize>) {
    let value = edits.part(range.clone());
    if !value.contains(['%', '+']) {
        pairs::find(masking, edits, range, pairs::Style::Prose);
        return;
    }
    if let Cow::Owned(masked) = masking.inner(&decoded(value)) {
        edits.loosen();
        edits.replace(range, encoded(&masked));
    }
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            _ if byte.is_ascii_alphanumeric() || b"*-._~".contains(&byte) => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A URL or a request target.
pub(super) fn url<'a>(masking: &Masking<'_>, url: &'a str) -> Cow<'a, str> {
    let mut edits = Edits::new(url);
    masking.find_extra(&mut edits, 0..url.len());
    if let Some(scheme) = url.find("://")
        && let Some(secret) = shapes::at(url, scheme)
    {
        edits.mask(secret);
    }
    let fragment = url.find('#').unwrap_or(url.len());
    let query = edits.part(0..fragment).find('?').unwrap_or(fragment);
    pairs::find(masking, &mut edits, 0..query, pairs::Style::Prose);
    segments(&mut edits, query);
    parameters(masking, &mut edits, (query + 1).min(fragment)..fragment);
    if fragment < url.len() {
        // A fragment may be a path of its own, with a query of its own.
        let route = edits.part(fragment..url.len()).find('?').unwrap_or(0);
        pairs::find(masking, &mut edits, fragment..fragment + route, pairs::Style::Prose);
        parameters(masking, &mut edits, fragment + route + 1..url.len());
    }
    edits.apply()
}

/// Masks the segments of a path that look like keys and stand behind the name of a secret, as in
/// `/reset-password/4f9d8c7b6a5e4d3c2b1a`. The path ends at `end`.
fn segments(edits: &mut Edits<'_>, end: usize) {
    let (mut at, mut name) = (0, "");
    for segment in edits.part(0..end).split('/') {
        if looks_random(segment) && matches!(judge(name), Kind::Secret | Kind::Code) {
            edits.mask(at..at + segment.len());
        }
        at += segment.len() + 1;
        name = segment;
    }
}

/// Whether a text reads as the parameters of a form.
pub(super) fn is_form(text: &str) -> bool {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.%[]+$".contains(&byte);
    let name = shapes::run(text, in_name);
    name > 0
        && text.as_bytes().get(name) == Some(&b'=')
        && !text.contains(|letter: char| letter.is_whitespace() || "\"'<>;{}".contains(letter))
}

#[cfg(test)]
mod tests {
    use crate::flow::redact::Redactor;

    fn url(text: &str) -> String {
        Redactor::default().url(text).into_owned()
    }

    fn form(text: &str) -> String {
        Redactor::default().text("application/x-www-form-urlencoded", text).into_owned()
    }

    #[test]
    fn every_part_of_a_url_is_masked() {
        assert_eq!(url("https://u:p@h:8443/a?b=c&token=t"), "https://u:***@h:8443/a?b=c&token=***");
        assert_eq!(url("/p;jsessionid=ABC?x=1"), "/p;jsessionid=***?x=1");
        assert_eq!(url("/p?%74oken=abc"), "/p?%74oken=***");
        assert_eq!(url("https://h/#access_token=a&b=c"), "https://h/#access_token=***&b=c");
        assert_eq!(url("https://h/#/r?token=a"), "https://h/#/r?token=***");
        assert_eq!(url("/a/ghp_abcdefghijklmnopqrstuvwxyz/b"), "/a/***/b");
        assert_eq!(url("/cb?code=4f9d8c7b6a5e4d3c2b1a&state=x"), "/cb?code=***&state=x");
        let reset = url("https://h/reset-password/4f9d8c7b6a5e4d3c2b1a/go?a=b");
        assert_eq!(reset, "https://h/reset-password/***/go?a=b");
        let ids = "/tokens/usage/4f9d8c7b6a5e4d3c2b1a/password/new-user-page-2024";
        assert_eq!(url(ids), ids);
        assert_eq!(url("/search?q=author&key=name"), "/search?q=author&key=name");
        assert_eq!(url("h.example:443"), "h.example:443");
        assert_eq!(url(""), "");
    }

    #[test]
    fn the_codes_of_authorizations_are_masked() {
        for code in [
            "4/0AY0e-g7abcDEF_ghiJKL",
            "4%2F0AY0e-g7abcDEF_ghiJKL",
            "0.AXoAzUN3-abcDEF12345.AgABAAIAAAD",
            "M.R3_BAY.c0ca36f9-0b1f-4d5e-8f4c-0a11b2c34d5e",
        ] {
            let expected = "https://h/cb?code=***&state=xyz";
            let callback = format!("https://h/cb?code={code}&state=xyz");
            assert_eq!(url(&callback), expected);
            assert_eq!(Redactor::default().header("Location", &callback), expected);
            let words = format!("went to {callback}.");
            assert_eq!(Redactor::default().words(&words), format!("went to {expected}."));
            assert_eq!(form(&format!("code={code}&a=b")), "code=***&a=b");
            let json = format!("{{\"code\":\"{code}\"}}");
            assert_eq!(Redactor::default().words(&json), "{\"code\":\"***\"}");
        }
        for code in ["404", "US", "EUR", "ERR_NOT_FOUND", "en-US/2024", "api.v2/errors.404"] {
            let callback = format!("/x?code={code}&state=open");
            assert_eq!(url(&callback), callback);
        }
        let path = "/bucket?key=uploads/2024/main.4f9d8c7b6a5e4d3c2b1a.js";
        assert_eq!(url(path), path);
    }

    #[test]
    fn signatures_of_urls_are_masked() {
        let signed = "https://d.cloudfront.example/a?Expires=1&Signature=";
        let signature = "nitfHRCrtziwO2HwPfWw~yYDhUF5EwRunQA-j19DzZrvDh6hQ73lDx~-ar3UocvvRQVw6EkC";
        let url = url(&format!("{signed}{signature}__&Key-Pair-Id=K2"));
        assert_eq!(url, format!("{signed}***&Key-Pair-Id=K2"));
        let twilio = Redactor::default();
        let masked = twilio.header("X-Twilio-Signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
        assert_eq!(masked, "***");
    }

    #[test]
    fn what_stands_in_a_value_is_masked_too() {
        let inside = "/go?to=https%3A%2F%2Fh%2F%3Ftoken%3Dabc%26x%3D1";
        assert_eq!(url(inside), "/go?to=https%3A%2F%2Fh%2F%3Ftoken%3D***%26x%3D1");
        let json = "payload=%7B%22password%22%3A%22x%22%7D&a=b";
        assert_eq!(form(json), "payload=%7B%22password%22%3A%22***%22%7D&a=b");
        let untouched = "q=a+b%2fc&page=2";
        assert_eq!(form(untouched), untouched);
    }

    #[test]
    fn form_values_are_masked_up_to_the_next_parameter() {
        assert_eq!(form("user=bob&password=a;b,c d&x=y"), "user=bob&password=***&x=y");
        assert_eq!(form("user%5Bpassword%5D=x&pin=1234"), "user%5Bpassword%5D=***&pin=***");
        assert_eq!(form("password="), "password=");
    }
}
