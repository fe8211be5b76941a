//! Secrets that are told by their looks, wherever they stand.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::flow::redact::{MASK, command};
use crate::limits::MASKED_CONTEXT_BYTES;

/// A kind of key that begins in a way of its own.
struct Shape {
    prefix: &'static str,
    /// What may follow besides letters and digits.
    more: &'static str,
    /// Bytes that must follow at least.
    least: usize,
    /// Whether the prefix tells something and stays, as the address that a key belongs to.
    stays: bool,
}

const fn key(prefix: &'static str, more: &'static str, least: usize) -> Shape {
    Shape { prefix, more, least, stays: false }
}

const SHAPES: &[Shape] = &[
    // Amazon.
    key("AKIA", "", 16),
    key("ASIA", "", 16),
    // GitHub, GitLab.
    key("ghp_", "", 20),
    key("gho_", "", 20),
    key("ghu_", "", 20),
    key("ghs_", "", 20),
    key("ghr_", "", 20),
    key("github_pat_", "_", 20),
    key("glpat-", "_-", 16),
    // Slack.
    key("xoxa-", "-", 8),
    key("xoxb-", "-", 8),
    key("xoxc-", "-", 8),
    key("xoxd-", "-%", 8),
    key("xoxe-", "-", 8),
    key("xoxe.", "-.", 8),
    key("xoxo-", "-", 8),
    key("xoxp-", "-", 8),
    key("xoxr-", "-", 8),
    key("xoxs-", "-", 8),
    key("xapp-", "-", 8),
    Shape { prefix: "hooks.slack.com/services/", more: "/", least: 16, stays: true },
    Shape { prefix: "hooks.slack.com/commands/", more: "/", least: 16, stays: true },
    Shape { prefix: "hooks.slack.com/actions/", more: "/", least: 16, stays: true },
    Shape { prefix: "hooks.slack.com/workflows/", more: "/", least: 16, stays: true },
    Shape { prefix: "hooks.slack.com/triggers/", more: "/", least: 16, stays: true },
    // Stripe.
    key("sk_live_", "", 8),
    key("sk_test_", "", 8),
    key("rk_live_", "", 8),
    key("rk_test_", "", 8),
    key("whsec_", "+/=", 16),
    // Google.
    key("AIza", "_-", 30),
    key("ya29.", "_-.", 16),
    key("GOCSPX-", "_-", 16),
    // Model providers.
    key("sk-", "_-", 20),
    key("hf_", "", 24),
    // Package registries and others.
    key("npm_", "", 30),
    key("pypi-", "_-", 30),
    key("dop_v1_", "", 30),
    key("shpat_", "", 20),
    key("shpca_", "", 20),
    key("shppa_", "", 20),
    key("shpss_", "", 20),
    key("SG.", "_-.", 30),
    key("hvs.", "_-", 20),
    Shape { prefix: "/api/webhooks/", more: "/_-", least: 40, stays: true },
    Shape { prefix: ".webhook.office.com/webhookb2/", more: "/_-@", least: 40, stays: true },
];

/// How these and the other secrets of this module begin, as alternatives of a pattern.
pub(super) fn beginnings() -> String {
    let prefixes: Vec<_> = SHAPES.iter().map(|shape| regex::escape(shape.prefix)).collect();
    let others = "eyJ|eyAi|ewo|-----BEGIN|LS0tLS1CRUdJTi|://|/bot[0-9]";
    format!("{}|{others}|{}", prefixes.join("|"), command::BEGINNINGS)
}

/// The secret that begins at `at`, which one of the [`beginnings`] does.
pub(super) fn at(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    if rest.starts_with("ey") || rest.starts_with("ewo") {
        return web_token(text, at).map(|length| at..at + length);
    }
    if rest.starts_with("://") {
        return user_information(text, at + 3);
    }
    if rest.starts_with("-----BEGIN") {
        return private_key(rest).map(|key| at + key.start..at + key.end);
    }
    if let Some(bot) = rest.strip_prefix("/bot") {
        let digits = run(bot, |byte| byte.is_ascii_digit());
        let token = bot.get(digits..)?.strip_prefix(':')?;
        let length = run(token, |byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        let start = at + 4 + digits + 1;
        return (length >= 20).then_some(start..start + length);
    }
    if rest.starts_with("LS0tLS1CRUdJTi") {
        return encoded_key(rest).then(|| at..at + run(rest, is_base64));
    }
    if rest.starts_with([' ', '-']) {
        return command::at(text, at);
    }
    let shape = SHAPES.iter().find(|shape| rest.starts_with(shape.prefix))?;
    if shape.prefix == "sk-" && !begins_word(text, at) {
        return None;
    }
    let tail = rest.get(shape.prefix.len()..)?;
    let more = shape.more.as_bytes();
    let length = run(tail, |byte| byte.is_ascii_alphanumeric() || more.contains(&byte));
    let start = if shape.stays { at + shape.prefix.len() } else { at };
    (length >= shape.least).then_some(start..at + shape.prefix.len() + length)
}

/// How many bytes at the beginning of a text are allowed.
pub(super) fn run(text: &str, allowed: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(|byte| !allowed(byte)).unwrap_or(text.len())
}

/// The beginning of a text, in bytes at most.
pub(super) fn clip(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

/// Whether no letter stands before, or one that belongs to an escape (`\n`, `%3D`).
pub(super) fn begins_word(text: &str, at: usize) -> bool {
    let before = text.as_bytes().get(at.saturating_sub(3)..at).unwrap_or_default();
    match before {
        [.., b'\\', b'n' | b't' | b'r'] | [b'%', _, _] => true,
        [.., last] => !last.is_ascii_alphanumeric(),
        [] => true,
    }
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-".contains(&byte)
}

/// The length of a JSON Web Token (RFC 7519), or of what is left of one at the text's end. One
/// without a usual header must not begin in the middle of other base64.
fn web_token(text: &str, at: usize) -> Option<usize> {
    const HEADERS: [&str; 5] =
        ["eyJhbGciOi", "eyJ0eXAiOi", "eyJraWQiOi", "eyJlbmMiOi", "eyJ4NXQiOi"];
    let before = at.checked_sub(1).and_then(|before| text.as_bytes().get(before));
    let text = text.get(at..)?;
    let is_usual = HEADERS.iter().any(|header| text.starts_with(header));
    if !is_usual && before.is_some_and(|byte| is_base64url(*byte)) {
        return None;
    }
    let mut length = run(text, is_base64url);
    if length < 12 {
        return None;
    }
    let first = length;
    while let Some(part) = text.get(length..).and_then(|rest| rest.strip_prefix('.')) {
        let part = run(part, is_base64url);
        if part == 0 && length == first {
            break;
        }
        length += 1 + part;
    }
    (is_usual || length > first + 1).then_some(length)
}

/// The password of a URL's user information, which begins at `at` if there is any; the whole of
/// it where it has no colon (RFC 3986 section 3.2.1).
fn user_information(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.as_bytes().get(at..)?;
    let rest = rest.get(..MASKED_CONTEXT_BYTES).unwrap_or(rest);
    let ends = |byte: &u8| b"/?#\"'<>\\`|,;(){}[]".contains(byte) || byte.is_ascii_whitespace();
    let authority = rest.get(..rest.iter().position(ends).unwrap_or(rest.len()))?;
    let at_sign = authority.iter().rposition(|byte| *byte == b'@')?;
    let information = authority.get(..at_sign)?;
    let colon = information.iter().position(|byte| *byte == b':').map_or(0, |colon| colon + 1);
    let range = at + colon..at + at_sign;
    text.get(range.clone()).filter(|it| !matches!(*it, "" | MASK)).map(|_| range)
}

/// What stands between the lines that begin and end a private key (RFC 7468); at the end of the
/// text the last one may be missing.
fn private_key(text: &str) -> Option<Range<usize>> {
    const LABEL_BYTES: usize = 64;
    let label = text.get(10..).unwrap_or_default();
    let label = clip(label, LABEL_BYTES);
    let dashes = label.find("-----")?;
    label.get(..dashes).filter(|label| label.ends_with("PRIVATE KEY"))?;
    let start = 10 + dashes + 5;
    let rest = text.get(start..)?;
    let in_key = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=\\ \r\n\t:,-".contains(&byte);
    let key = rest.get(..run(rest, in_key))?;
    let end = key.find("-----END").unwrap_or(key.len());
    (!key.get(..end)?.trim().is_empty()).then_some(start..start + end)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)
}

/// Whether a text is base64 of a private key's lines, as in files for clients of Kubernetes.
fn encoded_key(text: &str) -> bool {
    /// Base64 of the longest first line in use.
    const LINE_BYTES: usize = 56;
    let line = clip(text, LINE_BYTES);
    let whole = line.get(..run(line, is_base64) / 4 * 4).unwrap_or_default();
    STANDARD
        .decode(whole)
        .is_ok_and(|line| line.windows(b"PRIVATE KEY".len()).any(|words| words == b"PRIVATE KEY"))
}

/// The credential that follows the name of a scheme (RFC 9110 section 11.4) in a running text:
/// none where a common word follows. `at` is behind the name.
pub(super) fn after_scheme(text: &str, at: usize, is_basic: bool) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let space = match rest.as_bytes() {
        [b' ', ..] => run(rest, |byte| byte == b' '),
        [b'+', ..] => 1,
        [b'%', b'2', b'0', ..] => 3,
        _ => return None,
    };
    let token = rest.get(space..)?;
    let token68 = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=%".contains(&byte);
    // A user and a password are short, and a longer run would be read again from within.
    let reach = if is_basic { clip(token, MASKED_CONTEXT_BYTES) } else { token };
    let length = run(reach, token68);
    let (token, after) = token.split_at_checked(length)?;
    let is_secret = match is_basic {
        true => is_basic_credential(token),
        // No word or parameter is that long.
        false => length > MASKED_CONTEXT_BYTES || is_bearer_token(token, after),
    };
    is_secret.then_some(at + space..at + space + length)
}

/// The token in the name of a protocol of Kubernetes that holds one; `at` is behind `bearer`:
/// `base64url.bearer.authorization.k8s.io.ZXlK…`.
pub(super) fn after_bearer(text: &str, at: usize) -> Option<Range<usize>> {
    let name = text.get(at..)?.strip_prefix(".authorization.")?;
    let domain = clip(name, MASKED_CONTEXT_BYTES).split_inclusive(".io.").next()?;
    let in_domain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let token = name.get(domain.len()..)?;
    let start = text.len() - token.len();
    let length = run(token, is_base64url);
    let is_domain = domain.ends_with(".io.") && domain.bytes().all(in_domain);
    (is_domain && length > 0).then_some(start..start + length)
}

/// Whether a text is base64 of `user:password` (RFC 7617 section 2).
fn is_basic_credential(token: &str) -> bool {
    let token = token.trim_end_matches("%3D").trim_end_matches(['=', '.']);
    let padded = format!("{token}{}", "=".repeat((4 - token.len() % 4) % 4));
    let decoded = STANDARD.decode(&padded).or_else(|_| STANDARD_NO_PAD.decode(token));
    token.len() >= 4 && decoded.is_ok_and(|bytes| bytes.contains(&b':'))
}

/// Whether a word after `Bearer` is a token, not the next word of a sentence or a parameter.
fn is_bearer_token(token: &str, after: &str) -> bool {
    const WORDS: [&str; 13] = [
        "token",
        "tokens",
        "authentication",
        "authorization",
        "auth",
        "scheme",
        "realm",
        "error",
        "format",
        "credentials",
        "header",
        "prefix",
        "security",
    ];
    let word = token.trim_end_matches(['.', '=']);
    let is_parameter = token.len() > word.len() && (after.starts_with('"') || word.len() < 8);
    if word.is_empty() || is_parameter || WORDS.contains(&word.to_ascii_lowercase().as_str()) {
        return false;
    }
    let all_letters = word.bytes().all(|byte| byte.is_ascii_alphabetic());
    if all_letters && after.starts_with(' ') {
        // A word, unless its case is mixed as no word's is.
        let rest = word.get(1..).unwrap_or_default();
        return word.len() >= 16 || rest.bytes().any(|byte| byte.is_ascii_uppercase());
    }
    word.len() >= 6 || !all_letters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let starts = 0..text.len();
        starts.filter_map(|start| at(text, start)).filter_map(|range| text.get(range)).collect()
    }

    #[test]
    fn keys_are_told_by_their_beginnings() {
        let alone = |text: &str| found(text) == [text];
        assert!(alone("AKIAIOSFODNN7EXAMPLE") && alone("sk_live_4eC39HqLyjWDarjtT1zdp7dc"));
        assert!(alone("ghp_abcdefghijklmnopqrstuvwxyz0123456789"));
        assert!(alone("xoxb-123456789012-abcdefABCDEF"));
        assert!(alone("sk-proj-abcdefghijklmnop1234") && !alone("risk-abcdefghijklmnopqrstuvwxyz"));
        assert_eq!(found("ghp_short"), [""; 0]);
        assert_eq!(
            found("https://hooks.slack.com/services/T000/B000/abcdefghijk"),
            ["T000/B000/abcdefghijk"]
        );
        assert_eq!(
            found("https://hooks.slack.com/commands/T000/1234/abcdefghijk"),
            ["T000/1234/abcdefghijk"]
        );
        let teams = "8f4c0a11-b2c3@8f4c/IncomingWebhook/8f4c0a11b2c34d5e/6a7b";
        assert_eq!(found(&format!("x.webhook.office.com/webhookb2/{teams}")), [teams]);
        assert_eq!(
            found("/bot123456:AAabcdefghijklmnopqrstuvwxyz/getMe"),
            ["AAabcdefghijklmnopqrstuvwxyz"]
        );
    }

    #[test]
    fn web_tokens_have_dots_or_a_known_header() {
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
        assert_eq!(found(token).first(), Some(&token));
        let cut = "eyJhbGciOiJIUzI1NiIsInR5";
        assert_eq!(found(cut), [cut]);
        // A cursor is base64 of JSON as well.
        assert_eq!(found("eyJpZCI6MTIzNDU2Nzg5fQ"), [""; 0]);
    }

    #[test]
    fn the_password_of_a_url() {
        assert_eq!(found("https://user:pa:ss@h.example/"), ["pa:ss"]);
        assert_eq!(found("https://t0ken@h.example/"), ["t0ken"]);
        assert_eq!(found("https://h.example/a@b https://h?x=a@b"), [""; 0]);
    }

    #[test]
    fn private_keys_lose_what_stands_between_their_lines() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\nAA==\n-----END RSA PRIVATE KEY-----";
        assert_eq!(found(key), ["\nMIIB\nAA==\n"]);
        assert_eq!(found("-----BEGIN PRIVATE KEY-----\nMIIB"), ["\nMIIB"]);
        assert_eq!(found("-----BEGIN CERTIFICATE-----\nMIIB"), [""; 0]);
        for key in [
            "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpNSUlFcEFJQkFBS0NBUUVB",
            "LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVEUgS0VZLS0tLS0KYjNCbGJuTnphQw==",
        ] {
            assert_eq!(found(key).first(), Some(&key));
        }
        let certificate = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSURKekNDQWcrZ0F3SUJBZ0lD";
        assert_eq!(found(certificate), [""; 0]);
    }

    #[test]
    fn credentials_behind_their_scheme() {
        let bearer = |text| after_scheme(text, 6, false).and_then(|range| text.get(range));
        assert_eq!(bearer("Bearer abc123"), Some("abc123"));
        assert_eq!(bearer("Bearer plantedsecret"), Some("plantedsecret"));
        assert_eq!(bearer("Bearer%20abc123"), Some("abc123"));
        assert_eq!(bearer("bearer token expected"), None);
        assert_eq!(bearer("Bearer realm=\"x\""), None);
        assert_eq!(bearer("bearer certificates are odd"), None);
        let basic = |text| after_scheme(text, 5, true).and_then(|range| text.get(range));
        assert_eq!(basic("Basic dXNlcjpwYXNz"), Some("dXNlcjpwYXNz"));
        assert_eq!(basic("Basic authentication"), None);
    }
}
