//! Secrets that come back masked.
//!
//! Agents see secrets as [`MASK`]. One who sends back what was shown means what was there. A secret
//! is put back only where it would be masked again: in another place it would be shown. Patterns
//! that agents have added do not count for that: by them guesses at the secret could be tried.

use bytes::Bytes;

use crate::flow::head::{Field, HeadText};
use crate::flow::redact::{MASK, Redactor};
use crate::flow::stored::StoredBody;
use crate::limits::STORED_BODY_BYTES;
use crate::mcp::tools::body::{Content, Decoded, ShownBody, content_type, decoded};
use crate::mcp::tools::edit::GivenBody;
use crate::mcp::tools::encode::Charset;
use crate::mcp::tools::json_places;
use crate::mcp::tools::reply::Failure;
use crate::mcp::tools::withhold::may_keep_secrets;

/// A field as it was given, or as one of `known` was where it is given back masked; that one is
/// taken out, so that of equal ones each comes back once.
pub(super) fn unmasked_field(
    given: &Field,
    known: &mut Vec<&Field>,
    redactor: &Redactor,
) -> Result<Field, Failure> {
    if !redactor.is_on() || !given.value.contains(MASK) {
        return Ok(given.clone());
    }
    let is_shown = |field: &&Field| redactor.header(&field.name, &field.value) == given.value;
    let at = known.iter().position(is_shown);
    let value = at.map(|at| known.remove(at).value.clone());
    // A name that is spelled otherwise may tell nothing of a secret.
    let judge = redactor.without_added();
    match value.filter(|value| judge.header(&given.name, value) == given.value) {
        Some(value) => Ok(Field { name: given.name.clone(), value }),
        None => Err(masked(&format!("the header {}", given.name))),
    }
}

fn masked(what: &str) -> Failure {
    Failure::new(format!(
        "{what} holds {MASK}, which stands where a secret was masked, and is not what the flow \
         has in that place: leave it out to keep what is there, or give the value itself"
    ))
}

/// A URL as it was given, with the parts that are given back masked as they were.
pub(super) fn unmasked_url(
    given: &str,
    original: &str,
    redactor: &Redactor,
) -> Result<String, Failure> {
    if !redactor.is_on() || !given.contains(MASK) {
        return Ok(given.to_owned());
    }
    if !may_keep_secrets(original, given) {
        return Err(masked("the URL, which leads to another host or is not encrypted,"));
    }
    let shown = redactor.url(original);
    if shown == given {
        return Ok(original.to_owned());
    }
    let url = with_parts(given, &shown, original).ok_or_else(|| masked("the URL"))?;
    // What is given in clear may be a secret too, and is masked on both sides.
    let judge = redactor.without_added();
    match judge.url(&url) == judge.url(given) {
        true => Ok(url),
        false => Err(masked("the URL")),
    }
}

/// A URL whose masked parts are those of `original`, which is shown as `shown`; of equal ones each
/// comes back once, in order. `None` where there is no such part.
fn with_parts(given: &str, shown: &str, original: &str) -> Option<String> {
    const ENDS: [char; 4] = ['/', '?', '&', '#'];
    if shown.split(ENDS).count() != original.split(ENDS).count() {
        // A secret has such a letter in it, so that the parts do not stand at the same places.
        return None;
    }
    let known = shown.split(ENDS).zip(original.split(ENDS));
    let mut known: Vec<_> = known.filter(|(shown, _)| shown.contains(MASK)).collect();
    let mut url = String::new();
    for part in given.split_inclusive(ENDS) {
        let text = part.trim_end_matches(ENDS);
        if !text.contains(MASK) {
            url.push_str(part);
            continue;
        }
        let at = known.iter().position(|(shown, _)| *shown == text)?;
        url.push_str(known.remove(at).1);
        url.push_str(part.get(text.len()..).unwrap_or_default());
    }
    Some(url)
}

/// The message whose body is given anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Original<'a> {
    pub(super) body: &'a StoredBody,
    pub(super) head: &'a HeadText,
    /// Where it went and where it goes, as absolute URLs.
    pub(super) hosts: (&'a str, &'a str),
}

/// The bytes of a body that was given, and whether it still holds masked values, as all do that go
/// where the secrets of the flow may not. `head` has the fields that tell what it is now.
///
/// What is given back as it was shown is what it was, byte for byte. In JSON the values that are
/// given back masked are what they were. A text goes out in the charset of its message.
///
/// # Errors
/// When that charset does not have a letter of the text.
pub(super) fn unmasked_body(
    given: GivenBody,
    original: &Original<'_>,
    head: &HeadText,
    redactor: &Redactor,
) -> Result<(Bytes, bool), Failure> {
    let old = decoded(original.body, original.head);
    let is_same_type = content_type(head) == content_type(original.head);
    let charset = match &given {
        GivenBody::Text(_) if is_same_type => Charset::of(content_type(head), &old.bytes),
        // What the bytes were tells nothing of another type.
        GivenBody::Text(_) => Charset::of(content_type(head), &[]),
        GivenBody::Bytes(_) => Charset::Utf8,
    };
    let bytes = match &given {
        GivenBody::Text(text) => charset.encode(text)?,
        GivenBody::Bytes(bytes) => bytes.clone(),
    };
    let has_mask = |text: &str| redactor.is_on() && text.contains(MASK);
    let text = match &given {
        GivenBody::Text(text) => Some(text.as_str()),
        // Bytes without a mask are meant as they are.
        GivenBody::Bytes(bytes) => std::str::from_utf8(bytes).ok().filter(|text| has_mask(text)),
    };
    let is_masked = match &given {
        GivenBody::Text(text) => has_mask(text),
        GivenBody::Bytes(bytes) => {
            redactor.is_on() && memchr::memmem::find(bytes, MASK.as_bytes()).is_some()
        }
    };
    let (meant, stays_masked) = match meant(text, &bytes, &old, original, redactor) {
        Meant::AsShown(Some(plain)) if !is_same_type || old.is_cut => {
            (charset.encode(&plain)?, false)
        }
        Meant::AsShown(_) => (Bytes::from(old.bytes), false),
        Meant::Text(text) => (charset.encode(&text)?, text.contains(MASK)),
        Meant::AsGiven => return Ok((bytes, is_masked)),
    };
    // Where no mask was given nothing is put back.
    let is_harmless = meant == bytes || text.is_some() && !is_masked;
    if is_harmless || is_shown_alike(&meant, text, &bytes, head, redactor) {
        return Ok((meant, stays_masked));
    }
    Ok((bytes, is_masked))
}

/// What is meant by a body that is given.
enum Meant {
    /// What was shown so; its text, where it is any.
    AsShown(Option<String>),
    /// Another text, with the secrets that were given back masked.
    Text(String),
    AsGiven,
}

/// What is meant by `bytes`, which say `text` where they are any.
fn meant(
    text: Option<&str>,
    bytes: &[u8],
    old: &Decoded,
    original: &Original<'_>,
    redactor: &Redactor,
) -> Meant {
    let media_type = content_type(original.head);
    let may_keep = may_keep_secrets(original.hosts.0, original.hosts.1);
    match (text, old.text(media_type)) {
        (Some(text), Some(plain)) => {
            let shown = redactor.text(media_type, &plain);
            if !may_keep && shown != plain {
                Meant::AsGiven
            } else if shown == text {
                Meant::AsShown(Some(plain.into_owned()))
            } else if redactor.is_on() && text.contains(MASK) {
                json_places::unmasked(text, &shown, &plain).map_or(Meant::AsGiven, Meant::Text)
            } else {
                Meant::AsGiven
            }
        }
        (_, None) if may_keep && !old.is_coded && !old.is_cut => {
            match redactor.bytes(media_type, &old.bytes) == bytes {
                true => Meant::AsShown(None),
                false => Meant::AsGiven,
            }
        }
        _ => Meant::AsGiven,
    }
}

/// Whether agents see no more of a body than of the one that was given, so that every secret in it
/// is masked where it now stands.
fn is_shown_alike(
    body: &Bytes,
    given_text: Option<&str>,
    given: &Bytes,
    head: &HeadText,
    redactor: &Redactor,
) -> bool {
    // Of a longer one the beginning alone is kept, which may not say what in it is a secret.
    if body.len() > STORED_BODY_BYTES {
        return false;
    }
    let judge = redactor.without_added();
    let shown =
        |bytes: &Bytes| ShownBody::new(&StoredBody::whole(bytes.clone()), head, &judge).content;
    match (shown(body), shown(given)) {
        (Content::Text(body), Content::Text(given)) => {
            given_text == Some(&*body) || body == given || json_places::are_equal(&body, &given)
        }
        // Nothing is shown of what cannot be decoded, which is no sign.
        (Content::Binary(body), Content::Binary(given)) => !body.is_empty() && body == given,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://h/";

    fn field(name: &str, value: &str) -> Field {
        Field { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn a_url_gets_back_its_own_secrets_or_none() {
        let redactor = Redactor::default();
        let given = |given: &str, original: &str| unmasked_url(given, original, &redactor).ok();
        let plain = "http://h/p?token=abc&password=x&page=1";
        let changed = given("http://h/p?token=***&password=***&page=2", plain);
        assert_eq!(changed.as_deref(), Some("http://h/p?token=abc&password=x&page=2"));
        let slash = "http://h/p?token=a/b&password=x&page=1";
        let same = given("http://h/p?token=***&password=***&page=1", slash);
        assert_eq!(same.as_deref(), Some(slash));
        assert_eq!(given("http://h/p?token=***&password=***&page=2", slash), None);
        let twice = "http://h/p?token=a&token=b&page=1";
        let changed = given("http://h/p?token=***&token=***&page=2", twice);
        assert_eq!(changed.as_deref(), Some("http://h/p?token=a&token=b&page=2"));
        assert_eq!(given("http://h/p?token=***&token=***&token=***", twice), None);
        // One's own secrets are masked on both sides.
        let own = given("http://h/p?token=***&password=y", plain);
        assert_eq!(own.as_deref(), Some("http://h/p?token=abc&password=y"));
    }

    #[test]
    fn a_url_gets_no_secret_back_where_it_would_be_shown() {
        let redactor = Redactor::default();
        let original = "https://h/reset-password/4f9d8c7b6a5e4d3c2b1a";
        for given in ["https://h/x/***", "https://h/?x=1&***", "https://h/#***", "https://h/***/x"]
        {
            assert!(unmasked_url(given, original, &redactor).is_err(), "{given}");
        }
        let longer = unmasked_url("https://h/reset-password/***/go", original, &redactor);
        assert_eq!(longer.unwrap(), format!("{original}/go"));
    }

    #[test]
    fn a_field_gets_back_its_own_secrets_in_order() {
        let redactor = Redactor::default();
        let old = [field("Set-Cookie", "a=1; Path=/"), field("Set-Cookie", "a=2; Path=/")];
        let mut known: Vec<&Field> = old.iter().collect();
        let mut back = |value: &str| {
            let given = field("set-cookie", value);
            unmasked_field(&given, &mut known, &redactor).map(|field| field.value).ok()
        };
        assert_eq!(back("a=***; Path=/").as_deref(), Some("a=1; Path=/"));
        assert_eq!(back("a=***; Path=/x"), None);
        assert_eq!(back("a=***; Path=/").as_deref(), Some("a=2; Path=/"));
        assert_eq!(back("a=***; Path=/"), None);
    }

    #[test]
    fn a_field_gets_no_secret_back_under_a_name_that_does_not_tell_of_it() {
        let redactor = Redactor::default();
        let old = field("UserPin", "1234");
        assert_eq!(redactor.header(&old.name, &old.value), MASK);
        for (name, is_put_back) in [("UserPin", true), ("user-pin", true), ("userpin", false)] {
            let mut known = vec![&old];
            let found = unmasked_field(&field(name, MASK), &mut known, &redactor);
            assert_eq!(found.is_ok(), is_put_back, "{name}");
        }
    }

    fn text(given: &str) -> GivenBody {
        GivenBody::Text(given.to_owned())
    }

    /// What becomes of a body in place of `old`, by their Content-Types.
    fn body(given: GivenBody, old: &'static [u8], types: (&str, &str)) -> (Vec<u8>, bool) {
        let head = |media_type: &str| HeadText {
            start: String::new(),
            fields: vec![field("Content-Type", media_type)],
        };
        let stored = StoredBody::whole(Bytes::from_static(old));
        let (old_head, new_head) = (head(types.0), head(types.1));
        let original = Original { body: &stored, head: &old_head, hosts: (URL, URL) };
        let redactor = Redactor::default();
        let (bytes, is_masked) = unmasked_body(given, &original, &new_head, &redactor).unwrap();
        (bytes.to_vec(), is_masked)
    }

    fn json(given: &str, old: &'static str) -> (String, bool) {
        let types = ("application/json", "application/json");
        let (bytes, is_masked) = body(text(given), old.as_bytes(), types);
        (String::from_utf8(bytes).unwrap(), is_masked)
    }

    #[test]
    fn json_values_that_come_back_masked_are_what_they_were() {
        let old = r#"{"user":"u","password":"p","tokens":["s",1],"x":"y"}"#;
        let given = r#"{"x":"***","user":"other","tokens":["***",1],"password":"***"}"#;
        let expected = r#"{"x":"***","user":"other","tokens":["s",1],"password":"p"}"#;
        assert_eq!(json(given, old), (expected.to_owned(), true));
        let given = r#"{"id":12345678901234567890123,"z":1e5,"token":"***"}"#;
        let old = r#"{"token":"abc"}"#;
        assert_eq!(json(given, old), (given.replace("***", "abc"), false));
        // One's own secrets are masked on both sides.
        let own = r#"{"token":"***","password":"new"}"#;
        assert_eq!(json(own, old), (own.replace("***", "abc"), false));
    }

    #[test]
    fn json_gets_no_secret_back_where_it_would_be_shown() {
        let old = r#"{"name":"Authorization","value":"opaque"}"#;
        for given in [
            r#"{"name":"x","value":"***"}"#,
            r#"{"value":"***"}"#,
            r#"{"name":"x","value":"***","value":"other"}"#,
        ] {
            assert_eq!(json(given, old), (given.to_owned(), true));
        }
        let moved = r#"{"value":"***","more":1,"name":"Authorization"}"#;
        assert_eq!(json(moved, old), (moved.replace("***", "opaque"), false));
        // The name is in the part that is not kept.
        let cut = moved.replace('1', &"1".repeat(STORED_BODY_BYTES));
        assert!(json(&cut, old) == (cut, true));
    }

    #[test]
    fn a_body_gets_no_secret_back_under_a_type_that_shows_it() {
        let form = "application/x-www-form-urlencoded";
        let old = b"token=abcd&x=1";
        let given = b"token=***&x=1";
        let as_shown = || GivenBody::Bytes(Bytes::from_static(given));
        assert_eq!(body(as_shown(), old, (form, form)), (old.to_vec(), false));
        // What stands behind a name in code is mostly no secret.
        let (prose, given) = (b"login password: hunter2", b"login password: ***");
        let types = ("text/plain", "text/css");
        let code = GivenBody::Bytes(Bytes::from_static(given));
        assert_eq!(body(code, prose, types), (given.to_vec(), true));
        let bytes = b"\0\xfftoken=abcd";
        let given = GivenBody::Bytes(Bytes::from_static(b"\0\xfftoken=***"));
        assert_eq!(body(given, bytes, ("", "")), (bytes.to_vec(), false));
        let given = b"\0\xfftoken=***";
        let picture = GivenBody::Bytes(Bytes::from_static(given));
        assert_eq!(body(picture, bytes, ("", "image/png")), (bytes.to_vec(), false));
    }

    #[test]
    fn a_body_keeps_its_charset() {
        let latin = "text/plain; charset=iso-8859-1";
        let old = b"caf\xe9 token=abcd";
        let as_shown = "caf\u{e9} token=***";
        assert_eq!(body(text(as_shown), old, (latin, latin)), (old.to_vec(), false));
        let unnamed = body(text(as_shown), old, ("text/plain", "text/plain"));
        assert_eq!(unnamed, (old.to_vec(), false));
        let edited = body(text("th\u{e9}"), old, (latin, latin));
        assert_eq!(edited, (b"th\xe9".to_vec(), false));
        let other = body(text("th\u{e9}"), old, (latin, "text/plain; charset=utf-8"));
        assert_eq!(other, ("th\u{e9}".as_bytes().to_vec(), false));
        let exact = GivenBody::Bytes("th\u{e9}".into());
        assert_eq!(body(exact, old, (latin, latin)).0, "th\u{e9}".as_bytes());
        let json = "application/json; charset=utf-16le";
        let old = b"{\0\"\0t\0o\0k\0e\0n\0\"\0:\0\"\0a\0\"\0}\0";
        let given = text(r#"{"new":1,"token":"***"}"#);
        let wide: Vec<u8> =
            r#"{"new":1,"token":"a"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(body(given, old, (json, json)), (wide, false));
    }

    #[test]
    fn what_goes_elsewhere_stays_masked() {
        let head = HeadText::default();
        let stored = StoredBody::whole(Bytes::from_static(b"{\"token\":\"abc\"}"));
        let hosts = (URL, "https://other/");
        let original = Original { body: &stored, head: &head, hosts };
        let given = r#"{"token":"***"}"#;
        let found = unmasked_body(text(given), &original, &head, &Redactor::default()).unwrap();
        assert_eq!(found, (Bytes::from_static(given.as_bytes()), true));
    }
}
