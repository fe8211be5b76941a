//! Edits of requests and responses, and secrets that come back masked.
//!
//! Agents see secrets as [`MASK`]. One who sends back what was shown means what was there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use crate::flow::head::{Field, HeadText};
use crate::flow::record::FlowId;
use crate::flow::redact::{MASK, Redactor};
use crate::flow::stored::StoredBody;
use crate::mcp::tools::arguments::{Arguments, wrong};
use crate::mcp::tools::body::{as_text, content_type, decoded};
use crate::mcp::tools::reply::Failure;

/// The body that the arguments give; `None` where they give none.
pub(super) fn body(arguments: Arguments<'_>) -> Result<Option<Bytes>, Failure> {
    match (arguments.get("body"), arguments.text("body_base64")?) {
        (Some(_), Some(_)) => Err(Failure::new("body and body_base64 exclude each other")),
        (Some(Value::String(text)), None) => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
        // A JSON body that was not written as a string is meant as its text.
        (Some(json @ (Value::Object(_) | Value::Array(_))), None) => {
            Ok(Some(Bytes::from(json.to_string())))
        }
        (Some(other), None) => Err(wrong("body", "a string", other)),
        (None, Some(base64)) => match STANDARD.decode(base64.trim()) {
            Ok(bytes) => Ok(Some(Bytes::from(bytes))),
            Err(error) => {
                Err(Failure::new(format!("the argument \"body_base64\" is no base64: {error}")))
            }
        },
        (None, None) => Ok(None),
    }
}

/// Changes to the fields of a message.
#[derive(Debug, Default)]
pub(super) struct FieldEdits<'a> {
    /// Fields that are added, or take the place of those of their name.
    pub(super) set: Vec<Field>,
    /// Names whose fields go.
    pub(super) remove: Vec<&'a str>,
}

impl<'a> FieldEdits<'a> {
    pub(super) fn read(arguments: Arguments<'a>) -> Result<Self, Failure> {
        Ok(FieldEdits {
            set: arguments.fields("headers")?.unwrap_or_default(),
            remove: arguments.texts("remove_headers")?.unwrap_or_default(),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    pub(super) fn sets(&self, name: &str) -> bool {
        self.set.iter().any(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// The fields with these changes; tells in `done` what was changed.
    pub(super) fn apply(
        &self,
        mut fields: Vec<Field>,
        redactor: &Redactor,
        done: &mut Vec<String>,
    ) -> Result<Vec<Field>, Failure> {
        for name in &self.remove {
            let before = fields.len();
            fields.retain(|field| !field.name.eq_ignore_ascii_case(name));
            let was_there = if fields.len() < before { "removed" } else { "was not there" };
            done.push(format!("header {name} {was_there}"));
        }
        let mut set: Vec<&Field> = self.set.iter().collect();
        while let Some(first) = set.first().map(|field| field.name.clone()) {
            let (same, others): (Vec<_>, Vec<_>) =
                set.into_iter().partition(|field| field.name.eq_ignore_ascii_case(&first));
            set = others;
            let is_same = |field: &Field| field.name.eq_ignore_ascii_case(&first);
            let place = fields.iter().position(is_same);
            let (old, mut rest): (Vec<_>, Vec<_>) = fields.into_iter().partition(is_same);
            let new = same.into_iter().map(|field| unmasked_field(field, &old, redactor));
            let new = new.collect::<Result<Vec<_>, _>>()?;
            let change = if place.is_some() { "replaced" } else { "added" };
            done.push(format!("header {first} {change}"));
            let at = place.unwrap_or(rest.len()).min(rest.len());
            rest.splice(at..at, new);
            fields = rest;
        }
        Ok(fields)
    }
}

/// Takes the credentials away from a request that an edit sends to another host, or in clear where
/// they came encrypted. Whoever edits it has not seen them, and captured text may have led it
/// there. Those that the edit itself gives are its own matter.
pub(super) fn withhold_credentials(
    fields: &mut Vec<Field>,
    hosts: (&str, &str),
    redactor: &Redactor,
    done: &mut Vec<String>,
) {
    if !redactor.is_on() || may_keep_secrets(hosts.0, hosts.1) {
        return;
    }
    fields.retain(|field| {
        let is_secret = redactor.header(&field.name, &field.value) != field.value;
        if is_secret {
            let name = &field.name;
            done.push(format!(
                "header {name} withheld from the other host or scheme; give it to send it"
            ));
        }
        !is_secret
    });
}

/// Refuses to send a captured body with secrets in it to another host, or in clear where it came
/// encrypted. Unlike a field, a part of a body cannot be left out.
pub(super) fn withhold_body(
    flow: FlowId,
    body: &StoredBody,
    head: &HeadText,
    hosts: (&str, &str),
    redactor: &Redactor,
) -> Result<(), Failure> {
    if may_keep_secrets(hosts.0, hosts.1) {
        return Ok(());
    }
    let content_type = content_type(head);
    let old = decoded(body, head);
    let has_secret = match as_text(&old.bytes, content_type, old.is_cut) {
        Some(text) => redactor.text(content_type, &text) != text,
        None => redactor.bytes(content_type, &old.bytes) != old.bytes,
    };
    if !has_secret {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the body of flow {} holds secrets, which do not follow to the other host or scheme: give \
         the body that is to be sent there",
        flow.0
    )))
}

/// Whether what was captured on the way to `from` may go to `to`: to the same host, whatever the
/// port, and not in clear where it was encrypted.
fn may_keep_secrets(from: &str, to: &str) -> bool {
    let is_encrypted = |url: &str| {
        let scheme = url.split(':').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss")
    };
    is_same_host(from, to) && (is_encrypted(to) || !is_encrypted(from))
}

/// Whether two absolute URLs lead to one host, whatever the port.
fn is_same_host(one: &str, other: &str) -> bool {
    host(one).eq_ignore_ascii_case(host(other))
}

fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.split_once(']') {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// A field as it was given, or as it was where it is given back masked.
fn unmasked_field(given: &Field, old: &[Field], redactor: &Redactor) -> Result<Field, Failure> {
    if !redactor.is_on() || !given.value.contains(MASK) {
        return Ok(given.clone());
    }
    let shown = |field: &&Field| redactor.header(&field.name, &field.value) == given.value;
    match old.iter().find(shown) {
        Some(field) => Ok(Field { name: given.name.clone(), value: field.value.clone() }),
        None => Err(masked(&format!("the header {}", given.name))),
    }
}

fn masked(what: &str) -> Failure {
    Failure::new(format!(
        "{what} holds {MASK}, which stands where a secret was masked, and is not what the flow \
         has: leave it out to keep what is there, or give the value itself"
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
    let parts = |url: &str| url.split(['/', '?', '&', '#']).count();
    if parts(&shown) != parts(original) {
        // A secret has such a letter in it, so that the parts do not stand at the same places.
        return Err(masked("the URL"));
    }
    let old = shown.split(['/', '?', '&', '#']).zip(original.split(['/', '?', '&', '#']));
    let old: Vec<_> = old.filter(|(shown, _)| shown.contains(MASK)).collect();
    let mut url = String::new();
    for part in given.split_inclusive(['/', '?', '&', '#']) {
        let text = part.trim_end_matches(['/', '?', '&', '#']);
        match old.iter().find(|(shown, _)| *shown == text) {
            Some((_, secret)) if text.contains(MASK) => {
                url.push_str(secret);
                url.push_str(part.get(text.len()..).unwrap_or_default());
            }
            _ if text.contains(MASK) => return Err(masked("the URL")),
            _ => url.push_str(part),
        }
    }
    Ok(url)
}

/// A body as it was given, with the values that are given back masked as they were, where both
/// are JSON; and whether it still holds masked values, as all do that go where the secrets of the
/// flow may not (`hosts`: where it went, and where it goes).
pub(super) fn unmasked_body(
    given: Bytes,
    original: &StoredBody,
    head: &HeadText,
    hosts: (&str, &str),
    redactor: &Redactor,
) -> (Bytes, bool) {
    let text = std::str::from_utf8(&given).ok().filter(|text| text.contains(MASK));
    let Some(text) = text.filter(|_| redactor.is_on()) else { return (given, false) };
    if !may_keep_secrets(hosts.0, hosts.1) {
        return (given, true);
    }
    let content_type = content_type(head);
    let old = decoded(original, head);
    let Some(old) = as_text(&old.bytes, content_type, false) else { return (given, true) };
    let shown = redactor.text(content_type, &old);
    if shown == text {
        return (Bytes::from(old.into_owned()), false);
    }
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    let (Some(mut json), Some(shown), Some(old)) = (parse(text), parse(&shown), parse(&old)) else {
        return (given, true);
    };
    unmask_json(&mut json, &shown, &old);
    let text = json.to_string();
    let is_masked = text.contains(MASK);
    (Bytes::from(text), is_masked)
}

/// Puts the values of `old` where `given` has what `shown` has in their place.
fn unmask_json(given: &mut Value, shown: &Value, old: &Value) {
    match (given, shown, old) {
        (Value::Object(given), Value::Object(shown), Value::Object(old)) => {
            for (name, value) in given {
                if let (Some(shown), Some(old)) = (shown.get(name), old.get(name)) {
                    unmask_json(value, shown, old);
                }
            }
        }
        (Value::Array(given), Value::Array(shown), Value::Array(old)) => {
            for (value, (shown, old)) in given.iter_mut().zip(shown.iter().zip(old)) {
                unmask_json(value, shown, old);
            }
        }
        (given, shown, old) => {
            if given == shown && given.as_str().is_some_and(|text| text.contains(MASK)) {
                *given = old.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hosts_are_compared_without_ports_and_paths() {
        let same = is_same_host;
        assert!(same("https://a.example/x", "http://A.example:8443?y"));
        assert!(
            same("http://[::1]:80/", "http://[::1]/a") && !same("http://[::1]/", "http://[::2]/")
        );
        assert!(!same("https://a.example/", "https://a.example.evil/"));
        assert!(!same("https://evil/?a.example", "https://a.example/"));
    }

    #[test]
    fn secrets_stay_with_their_host_and_never_go_in_clear() {
        let may = may_keep_secrets;
        assert!(may("https://a.example/x", "https://A.example:8443/y"));
        assert!(may("http://a.example/", "HTTPS://a.example/"));
        assert!(may("http://a.example/", "http://a.example:81/"));
        assert!(!may("https://a.example/", "http://a.example/"));
        assert!(!may("wss://a.example/", "ws://a.example/"));
        assert!(!may("https://a.example/", "https://b.example/"));
        let plain = "https://h/p?token=abc";
        let redactor = Redactor::default();
        assert!(unmasked_url("http://h/p?token=***", plain, &redactor).is_err());
        let mut fields = vec![field("Authorization", "Bearer abc"), field("Accept", "*/*")];
        let mut done = Vec::new();
        withhold_credentials(&mut fields, (plain, "http://h/p"), &redactor, &mut done);
        assert_eq!(fields, [field("Accept", "*/*")]);
        assert_eq!(done.len(), 1);
    }

    fn field(name: &str, value: &str) -> Field {
        Field { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn fields_are_added_replaced_in_place_and_removed() {
        let fields = vec![field("A", "1"), field("b", "2"), field("A", "3"), field("c", "4")];
        let edits = FieldEdits {
            set: vec![field("a", "new"), field("D", "5"), field("d", "6")],
            remove: vec!["B", "none"],
        };
        let mut done = Vec::new();
        let fields = edits.apply(fields, &Redactor::off(), &mut done).unwrap();
        assert_eq!(fields, [field("a", "new"), field("c", "4"), field("D", "5"), field("d", "6")]);
        let expected = [
            "header B removed",
            "header none was not there",
            "header a replaced",
            "header D added",
        ];
        assert_eq!(done, expected);
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
    }

    #[test]
    fn json_values_that_come_back_masked_are_what_they_were() {
        let mut given = json!({"user": "other", "password": "***", "list": ["***", 1], "x": "***"});
        let shown = json!({"user": "u", "password": "***", "list": ["***", 1]});
        let old = json!({"user": "u", "password": "p", "list": ["s", 1]});
        unmask_json(&mut given, &shown, &old);
        let expected = json!({"user": "other", "password": "p", "list": ["s", 1], "x": "***"});
        assert_eq!(given, expected);
    }
}
