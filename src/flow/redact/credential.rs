//! Credentials in header fields: schemes, cookies, and whole heads.

use std::borrow::Cow;
use std::ops::Range;

use crate::flow::redact::edits::Edits;
use crate::flow::redact::names::{Kind, judge, looks_random};
use crate::flow::redact::{MASK, Masking, form, pairs};

/// Schemes whose names stay in front of a masked credential (RFC 9110 section 11.4, and others
/// in use).
const SCHEMES: &[&str] = &[
    "basic",
    "bearer",
    "digest",
    "negotiate",
    "ntlm",
    "token",
    "aws4-hmac-sha256",
    "hawk",
    "hmac",
    "oauth",
    "apikey",
    "api-key",
    "jwt",
    "dpop",
    "mac",
    "gnap",
    "scram-sha-256",
    "mutual",
    "vapid",
    "sso-key",
    "key",
    "sharedkey",
    "sharedkeylite",
    "genie-key",
    "bot",
    "gcloud",
    "ssws",
    "app",
];

/// Attributes of cookies, which say nothing secret (RFC 6265 section 5.2 and its successor).
const COOKIE_ATTRIBUTES: &[&str] = &[
    "path",
    "domain",
    "expires",
    "max-age",
    "secure",
    "httponly",
    "samesite",
    "priority",
    "partitioned",
];

/// Masks a value that is a secret; the name of a scheme before it stays, and that of a user
/// before a mask.
pub(super) fn credential(edits: &mut Edits<'_>, range: Range<usize>) {
    let value = edits.part(range.clone());
    if value.strip_suffix(MASK).is_some_and(|user| is_word(user) && user.ends_with(':')) {
        return;
    }
    let scheme = value
        .split_once(' ')
        .filter(|(scheme, _)| SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)));
    let start = scheme.map_or(0, |(scheme, rest)| {
        scheme.len() + 1 + (rest.len() - rest.trim_start_matches(' ').len())
    });
    edits.mask(range.start + start..range.end);
}

/// Masks the values of cookies, of a Cookie field or a Set-Cookie field.
pub(super) fn cookies(edits: &mut Edits<'_>, range: Range<usize>, set: bool) {
    let mut at = range.start;
    for (number, part) in edits.part(range).split(';').enumerate() {
        let start = at + part.len() - part.trim_start().len();
        let end = start + part.trim().len();
        at += part.len() + 1;
        let equals = edits.part(start..end).find('=').map(|equals| start + equals);
        let name = edits.part(start..equals.unwrap_or(end)).trim_end();
        let value = equals.map_or(start, |equals| equals + 1);
        let is_attribute = set && number > 0 && !edits.part(value..end).contains('=');
        let known = |known: &&str| name.eq_ignore_ascii_case(known);
        if !(is_attribute && COOKIE_ATTRIBUTES.iter().any(known)) {
            let blanks = edits.part(value..end).len() - edits.part(value..end).trim_start().len();
            edits.mask(value + blanks..end);
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

/// Whether a field of this name holds cookies, and whether it sets them.
pub(super) fn holds_cookies(name: &str) -> Option<bool> {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    let sets = is("set-cookie") || is("set-cookie2");
    (sets || is("cookie") || is("cookie2")).then_some(sets)
}

/// Masks the tokens among the protocols that a WebSocket offers (RFC 6455 section 11.3.4). Pages
/// can set no other field, so that tokens are sent in it: alone, behind a word that announces
/// them, or as the end of a name.
fn subprotocols(edits: &mut Edits<'_>, range: Range<usize>) {
    /// Ends of names that have fewer bytes are versions.
    const TOKEN_BYTES: usize = 8;
    let mut at = range.start;
    let mut announced = false;
    for part in edits.part(range).split(',') {
        let start = at + part.len() - part.trim_start().len();
        let end = start + part.trim().len();
        at += part.len() + 1;
        let protocol = edits.part(start..end);
        let (name, token) = protocol.rsplit_once('.').unwrap_or((protocol, ""));
        let announces = matches!(judge(name), Kind::Secret | Kind::Code);
        if announced || looks_random(protocol) {
            edits.mask(start..end);
            announced = false;
        } else if announces && token.len() >= TOKEN_BYTES {
            edits.mask(end - token.len()..end);
        } else {
            announced = announces && token.is_empty();
        }
    }
}

/// Masks the value of a field that carries a credential by its name; `false` if it does not.
pub(super) fn by_name(edits: &mut Edits<'_>, name: &str, range: Range<usize>) -> bool {
    if let Some(sets) = holds_cookies(name) {
        cookies(edits, range, sets);
        return true;
    }
    let hides = judge(name).hides(edits.part(range.clone()));
    if hides {
        credential(edits, range);
    }
    hides
}

/// The value of a header field.
pub(super) fn header<'a>(masking: &Masking<'_>, name: &str, value: &'a str) -> Cow<'a, str> {
    let mut edits = Edits::new(value);
    if by_name(&mut edits, name, 0..value.len()) {
        return edits.apply();
    }
    let holds_url = ["location", "referer", "content-location", "origin", ":path"];
    if holds_url.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return form::url(masking, value);
    }
    if name.eq_ignore_ascii_case("sec-websocket-protocol") {
        subprotocols(&mut edits, 0..value.len());
        pairs::find(masking, &mut edits, 0..value.len(), pairs::Style::Prose);
        return edits.apply();
    }
    masking.plain(value)
}

/// A head: its start line, then its fields.
pub(super) fn head<'a>(masking: &Masking<'_>, head: &'a str) -> Cow<'a, str> {
    let mut edits = Edits::new(head);
    let mut at = 0;
    for (number, line) in head.split_inclusive('\n').enumerate() {
        let start = at;
        at += line.len();
        let line = line.trim_end_matches(['\r', '\n']);
        let (value, masked) = match (number, line.split_once(':')) {
            (0, _) if !line.starts_with("HTTP/") => {
                let Some((method, rest)) = line.split_once(' ') else { continue };
                let target = rest.rsplit_once(' ').map_or(rest, |(target, _)| target);
                (method.len() + 1..method.len() + 1 + target.len(), form::url(masking, target))
            }
            (_, Some((name, value))) => {
                let trimmed = value.trim();
                let value = name.len() + 1 + value.len() - value.trim_start().len();
                let masked = header(masking, name, trimmed);
                (value..value + trimmed.len(), masked)
            }
            _ => (0..line.len(), masking.plain(line)),
        };
        if let Cow::Owned(masked) = masked {
            edits.replace(start + value.start..start + value.end, masked);
        }
    }
    edits.apply()
}

/// The value of something with a name.
pub(super) fn named<'a>(masking: &Masking<'_>, name: &str, value: &'a str) -> Cow<'a, str> {
    if judge(name) == Kind::Plain {
        return masking.text("", value);
    }
    // `user:password`, as options have it.
    let user = value.split_once(':').filter(|(user, rest)| {
        is_word(user) && is_word(rest) && name.to_ascii_lowercase().ends_with("auth")
    });
    match user {
        Some((user, _)) => Cow::Owned(format!("{user}:{MASK}")),
        None => header(masking, name, value),
    }
}

#[cfg(test)]
mod tests {
    use crate::flow::redact::Redactor;

    fn header(name: &str, value: &str) -> String {
        Redactor::default().header(name, value).into_owned()
    }

    #[test]
    fn the_scheme_stays() {
        assert_eq!(header("Authorization", "Bearer abc.def"), "Bearer ***");
        assert_eq!(header("authorization", "Basic dTpw"), "Basic ***");
        assert_eq!(header("Authorization", "my own secret"), "***");
        assert_eq!(
            header("Proxy-Authorization", "Digest username=\"u\", response=\"r\""),
            "Digest ***"
        );
        assert_eq!(header("X-Api-Key", "k"), "***");
        assert_eq!(header("X-Api-Key", "***"), "***");
        assert_eq!(header("Authorization", "Bearer ***"), "Bearer ***");
        assert_eq!(header("Authorization", ""), "");
    }

    #[test]
    fn cookies_keep_names_and_attributes() {
        assert_eq!(header("Cookie", "sid=a; theme=dark;x=\"q;"), "sid=***; theme=***;x=***;");
        assert_eq!(
            header(
                "Set-Cookie",
                "sid=abc; Path=/; HttpOnly; Expires=Wed, 21 Oct 2026 07:28:00 GMT"
            ),
            "sid=***; Path=/; HttpOnly; Expires=Wed, 21 Oct 2026 07:28:00 GMT"
        );
        assert_eq!(header("Set-Cookie", "a=; Max-Age=0"), "a=; Max-Age=0");
        assert_eq!(header("Set-Cookie", "nameless"), "***");
        assert_eq!(header("Set-Cookie", "a=b; Path=/, c=d; x=y"), "a=***; Path=***; x=***");
    }

    #[test]
    fn other_fields_are_looked_through() {
        let location = header("Location", "https://h/cb?access_token=abc#id_token=d&state=e");
        assert_eq!(location, "https://h/cb?access_token=***#id_token=***&state=e");
        assert_eq!(header("X-Forwarded", "token=abc; for=1.2.3.4"), "token=***; for=1.2.3.4");
        assert_eq!(header("WWW-Authenticate", "Bearer realm=\"x\""), "Bearer realm=\"x\"");
        assert_eq!(header("Content-Type", "text/html"), "text/html");
    }

    #[test]
    fn tokens_among_subprotocols_are_masked() {
        for (value, masked) in [
            (
                "base64url.bearer.authorization.k8s.io.ZXlKaGJHY2k, v4.channel.k8s.io",
                "base64url.bearer.authorization.k8s.io.***, v4.channel.k8s.io",
            ),
            ("access_token, 8f4c0a", "access_token, ***"),
            ("soap,Bearer , a/b== ,mqtt", "soap,Bearer , *** ,mqtt"),
            ("jwt, abc, graphql-ws", "jwt, ***, graphql-ws"),
            ("authorization,token,abc", "authorization,***,abc"),
            ("4f9d8c7b6a5e4d3c2b1a, mqtt", "***, mqtt"),
        ] {
            assert_eq!(header("Sec-WebSocket-Protocol", value), masked);
            assert_eq!(header("sec-websocket-protocol", masked), masked);
        }
        let plain = "graphql-ws, graphql-transport-ws, mqtt, v4.channel.k8s.io, wamp.2.json, \
                     ocpp2.0.1, actioncable-v1-json, base64.binary.k8s.io, access_token";
        assert_eq!(header("Sec-WebSocket-Protocol", plain), plain);
        let anywhere = "{\"p\":[\"base64url.bearer.authorization.k8s.io.ZXlKaGJHY2k\"]}";
        let masked = Redactor::default().words(anywhere).into_owned();
        assert_eq!(masked, "{\"p\":[\"base64url.bearer.authorization.k8s.io.***\"]}");
    }

    #[test]
    fn a_proof_of_possession_is_masked() {
        let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIn19.\
                     eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIn0.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRM";
        assert_eq!(header("DPoP", proof), "***");
        // A server gives it to whoever asks, and it opens nothing (RFC 9449 section 8).
        assert_eq!(header("DPoP-Nonce", "eyJ7S_zG.eyJH0-Z.HX4w-7v"), "eyJ7S_zG.eyJH0-Z.HX4w-7v");
    }

    #[test]
    fn a_head_keeps_its_lines() {
        let head = "GET /p?token=abc HTTP/1.1\r\nHost: h\r\nCookie:  a=b \r\nX-Api-Key:k\r\n\r\n";
        let masked = Redactor::default().head(head).into_owned();
        let expected = "GET /p?token=*** HTTP/1.1\r\nHost: h\r\nCookie:  a=*** \r\n\
                        X-Api-Key:***\r\n\r\n";
        assert_eq!(masked, expected);
        let status = "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\n\r\n";
        assert_eq!(Redactor::default().head(status), status.replace("=b", "=***"));
    }

    #[test]
    fn options_that_hold_a_user_keep_it() {
        let redactor = Redactor::default();
        assert_eq!(redactor.named("proxyauth", "me:secret"), "me:***");
        assert_eq!(redactor.named("proxyauth", "whatever"), "***");
        assert_eq!(redactor.named("intercept", "~u token=abc"), "~u token=***");
    }
}
