//! Secrets that stay with the host that they were sent to.

use crate::flow::head::{Field, HeadText};
use crate::flow::record::FlowId;
use crate::flow::redact::Redactor;
use crate::flow::stored::{StoredBody, StoredMessage};
use crate::mcp::tools::body::{Decoded, ShownBody, content_type, decoded};
use crate::mcp::tools::reply::Failure;

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
/// encrypted; and one that cannot be looked at as a whole. Unlike a field, a part of a body cannot
/// be left out.
pub(super) fn withhold_body(
    flow: FlowId,
    message: &StoredMessage,
    head: &HeadText,
    hosts: (&str, &str),
    redactor: &Redactor,
) -> Result<(), Failure> {
    if !redactor.is_on() || may_keep_secrets(hosts.0, hosts.1) {
        return Ok(());
    }
    let body = decoded(&message.body, head);
    let what = if body.is_coded {
        "may hold secrets (its content coding cannot be undone)"
    } else if body.is_cut {
        "may hold secrets (not all of it can be looked at here)"
    } else if has_secret(&body, content_type(head), redactor)
        || has_secret_trailer(message, redactor)
    {
        "holds secrets"
    } else {
        return Ok(());
    };
    Err(Failure::new(format!(
        "the body of flow {} {what}, which do not follow to the other host or scheme: give the \
         body that is to be sent there",
        flow.0
    )))
}

/// Refuses to send a captured body with secrets in it under another type or coding, by which it
/// would be shown otherwise: masking goes by what a body is said to be. `heads` are those before
/// and after.
pub(super) fn keep_masked(
    flow: FlowId,
    body: &StoredBody,
    heads: (&HeadText, &HeadText),
    redactor: &Redactor,
) -> Result<(), Failure> {
    let is_same = |name| heads.0.values(name).eq(heads.1.values(name));
    if !redactor.is_on() || is_same("content-type") && is_same("content-encoding") {
        return Ok(());
    }
    // As when secrets are put back.
    let judge = redactor.without_added();
    let old = decoded(body, heads.0);
    let is_known = !old.is_coded && !old.is_cut;
    let shown = |head| ShownBody::new(body, head, &judge).content;
    // Of a part that is shown alike the rest may be shown otherwise.
    if is_known && !has_secret(&old, content_type(heads.0), &judge)
        || !body.is_cut() && shown(heads.0) == shown(heads.1)
    {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the body of flow {} may hold secrets, which another Content-Type or Content-Encoding \
         would show: give the body that is to be sent so",
        flow.0
    )))
}

fn has_secret(body: &Decoded, content_type: &str, redactor: &Redactor) -> bool {
    match body.text(content_type) {
        Some(text) => redactor.text(content_type, &text) != text,
        None => redactor.bytes(content_type, &body.bytes) != body.bytes,
    }
}

/// Whether the fields behind a body have a secret; they go where it goes.
fn has_secret_trailer(message: &StoredMessage, redactor: &Redactor) -> bool {
    let fields = HeadText::read_fields(&message.trailers);
    redactor.fields(&fields) != fields
}

/// Whether what was captured on the way to `from` may go to `to`: to the same host, whatever the
/// port, and not in clear where it was encrypted.
pub(super) fn may_keep_secrets(from: &str, to: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::tools::unmask::unmasked_url;

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

    fn message(head: &HeadText, bytes: &'static [u8], size: u64) -> Result<(), Failure> {
        let pieces = vec![bytes::Bytes::from_static(bytes)];
        let body = StoredBody { pieces, size, goes_on: false };
        let message = StoredMessage { body, ..StoredMessage::default() };
        let hosts = ("https://a.example/", "https://b.example/");
        withhold_body(FlowId(1), &message, head, hosts, &Redactor::default())
    }

    #[test]
    fn a_body_that_cannot_be_looked_at_as_a_whole_counts_as_secret() {
        let coded = |coding: &str| HeadText {
            start: String::new(),
            fields: vec![field("Content-Encoding", coding)],
        };
        let plain = HeadText::default();
        assert!(message(&plain, b"harmless", 8).is_ok());
        let words = |head: &HeadText, bytes: &'static [u8], size: u64| {
            message(head, bytes, size).unwrap_err().to_string()
        };
        assert!(words(&plain, b"token=abcd", 10).contains(" holds secrets"));
        assert!(words(&plain, b"harmless", 9).contains("not all of it"));
        for coding in ["new", "gzip"] {
            assert!(words(&coded(coding), b"harmless", 8).contains("cannot be undone"), "{coding}");
        }
        // What comes behind a broken place is not known.
        let broken = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x00\x08\0\xf7\xffharmless\xff\xff";
        assert!(words(&coded("gzip"), broken, broken.len() as u64).contains("may hold secrets"));
        let trailers =
            StoredMessage { trailers: "X-Api-Key: abcd\r\n".into(), ..Default::default() };
        let hosts = ("https://a.example/", "https://b.example/");
        let redactor = Redactor::default();
        assert!(withhold_body(FlowId(1), &trailers, &plain, hosts, &redactor).is_err());
        let hosts = ("https://a.example/", "https://a.example/x");
        assert!(withhold_body(FlowId(1), &trailers, &plain, hosts, &redactor).is_ok());
    }

    #[test]
    fn a_body_with_secrets_keeps_the_type_by_which_it_is_masked() {
        let head = |name: &str, value: &str| HeadText {
            start: String::new(),
            fields: vec![field(name, value)],
        };
        let kept = |bytes: &'static [u8], before: &HeadText, after: &HeadText| {
            let body = StoredBody::whole(bytes::Bytes::from_static(bytes));
            keep_masked(FlowId(1), &body, (before, after), &Redactor::default()).is_ok()
        };
        let form = head("Content-Type", "application/x-www-form-urlencoded");
        let plain = head("Content-Type", "text/plain");
        let code = head("Content-Type", "text/css");
        assert!(kept(b"login: harmless", &plain, &code));
        assert!(kept(b"token=abcd", &form, &plain) && kept(b"token=abcd", &form, &form));
        assert!(!kept(b"login password: hunter2", &plain, &code));
        // Nothing of it is here so far, and all of it may come.
        let body = StoredBody { goes_on: true, ..StoredBody::default() };
        let held = |after| keep_masked(FlowId(1), &body, (&plain, after), &Redactor::default());
        assert!(held(&code).is_err() && held(&plain).is_ok());
        let coded = head("Content-Encoding", "new");
        assert!(
            !kept(b"\xffcoded", &coded, &HeadText::default()) && kept(b"\xffcoded", &coded, &coded)
        );
    }
}
