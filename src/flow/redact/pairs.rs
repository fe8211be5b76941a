//! Names with values in text of any kind: `token=abc`, `"token": "abc"`, `<token>abc</token>`.
//!
//! No grammar is asked for. What could belong to the name of a secret, or begin a secret that is
//! told by its looks, is searched for; then its surroundings say what the value is.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use crate::flow::redact::edits::Edits;
use crate::flow::redact::names::{Kind, judge};
use crate::flow::redact::value::{Around, Place};
use crate::flow::redact::{MASK, Masking, command, credential, json, shapes};

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Words, logs, settings: values need no quotes.
    Prose,
    /// Scripts and markup: what stands without quotes behind a name is an expression.
    Code,
}

/// What any name of a secret has in it.
const STEMS: &[&str] = &[
    "pass",
    "pwd",
    "psw",
    "secret",
    "token",
    "auth",
    "key",
    "cred",
    "sess",
    "sid",
    "jwt",
    "otp",
    "pin",
    "cvv",
    "cvc",
    "csc",
    "cookie",
    "csrf",
    "xsrf",
    "code",
    "sig",
    "saml",
    "assertion",
    "bearer",
    "basic",
    "ticket",
    "hmac",
    "mnemonic",
    "phrase",
];

static BEGINNINGS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!("(?-u)(?i:{})|{}", STEMS.join("|"), shapes::beginnings())).ok()
});

/// Masks the secrets in a part of a text.
pub(super) fn find(masking: &Masking<'_>, edits: &mut Edits<'_>, part: Range<usize>, style: Style) {
    masking.find_extra(edits, part.clone());
    if !masking.built_in {
        return;
    }
    let text = edits.part(part.clone());
    let Some(beginnings) = BEGINNINGS.as_ref() else {
        edits.mask(part);
        return;
    };
    let mut search = Search { masking, text, offset: part.start, style, judged: 0 };
    let mut at = 0;
    while let Some(found) = beginnings.find_at(text, at) {
        let stem = STEMS.iter().find(|stem| found.as_str().eq_ignore_ascii_case(stem));
        let done = match stem {
            Some(stem) => search.stem(edits, found.range(), stem),
            None => search.shape(edits, found.start()),
        };
        if done.is_some() {
            edits.loosen();
        }
        at = done.unwrap_or(0).max(found.end());
    }
}

/// Where the next name or secret may begin; behind the text's end if nowhere.
pub(super) fn next_beginning(text: &str, at: usize) -> usize {
    let Some(beginnings) = BEGINNINGS.as_ref() else { return at };
    beginnings.find_at(text, at).map_or(usize::MAX, |found| found.start())
}

/// Masks only what is a secret by its looks.
pub(super) fn find_shapes(edits: &mut Edits<'_>, part: Range<usize>) {
    let text = edits.part(part.clone());
    let Some(beginnings) = BEGINNINGS.as_ref() else { return };
    let mut at = 0;
    while let Some(found) = beginnings.find_at(text, at) {
        at = found.end();
        if let Some(secret) = shapes::at(text, found.start()) {
            at = at.max(secret.end);
            edits.loosen();
            edits.mask(part.start + secret.start..part.start + secret.end);
        }
    }
}

struct Search<'m, 't> {
    masking: &'m Masking<'m>,
    text: &'t str,
    /// Where the text begins in the one that is edited.
    offset: usize,
    style: Style,
    /// Up to here names have been judged.
    judged: usize,
}

impl Search<'_, '_> {
    fn shape(&self, edits: &mut Edits<'_>, at: usize) -> Option<usize> {
        let secret = shapes::at(self.text, at)?;
        let end = secret.end;
        edits.mask(self.outer(secret));
        Some(end)
    }

    /// Looks at what stands around the stem of a name; gives the end of what was masked.
    fn stem(&mut self, edits: &mut Edits<'_>, stem: Range<usize>, word: &str) -> Option<usize> {
        let is_basic = word == "basic";
        if is_basic || word == "bearer" {
            let secret = shapes::after_scheme(self.text, stem.end, is_basic)
                .or_else(|| shapes::after_bearer(self.text, stem.end));
            if let Some(secret) = secret {
                let end = secret.end;
                edits.mask(self.outer(secret));
                return Some(end);
            }
            // What follows is masked already, and the scheme is no name of anything else.
            let rest = self.text.get(stem.end..)?;
            let rest = rest.strip_prefix("%20").unwrap_or(rest.trim_start_matches([' ', '+']));
            if rest.starts_with(MASK) {
                return None;
            }
        }
        if stem.start < self.judged {
            return None;
        }
        let name = name_around(self.text, stem);
        self.judged = name.end;
        if self.text.get(name.clone())?.starts_with("--")
            && let Some(secret) = command::option(self.text, name.clone())
        {
            let end = secret.end;
            edits.mask(self.outer(secret));
            return Some(end);
        }
        let mut around = Around::new(self.text, name.clone(), self.style)?;
        let name = self.text.get(name)?;
        let kind = judge(name);
        // A name that is none must cost no search for its value, which may be far.
        if kind == Kind::Plain {
            return None;
        }
        match around.place(kind)? {
            Place::Value(value) => {
                let end = value.end;
                if !kind.hides(self.text.get(value.clone())?) {
                    return None;
                }
                credential::credential(edits, self.outer(value));
                Some(end)
            }
            Place::Line(line) => {
                let end = line.end;
                credential::by_name(edits, name, self.outer(line)).then_some(end)
            }
            Place::Nested(start) => {
                if kind.is_doubtful() {
                    return None;
                }
                let part = self.offset + start..self.offset + self.text.len();
                Some(json::island(self.masking, edits, part) - self.offset)
            }
        }
    }

    fn outer(&self, range: Range<usize>) -> Range<usize> {
        self.offset + range.start..self.offset + range.end
    }
}

/// The longest name around a stem, within bounds.
fn name_around(text: &str, stem: Range<usize>) -> Range<usize> {
    const AROUND_BYTES: usize = 64;
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.$[]%".contains(byte);
    let bytes = text.as_bytes();
    let before = bytes.get(..stem.start).unwrap_or_default().iter().rev();
    let mut start = stem.start - before.take(AROUND_BYTES).take_while(|it| in_name(it)).count();
    // What follows a percent-encoded separator begins there.
    let taken = text.get(start..stem.start).unwrap_or_default();
    if let Some(escape) = taken.rfind('%') {
        start = (start + escape + 3).min(stem.start);
    }
    let after = bytes.get(stem.end..).unwrap_or_default();
    let after = after.get(..AROUND_BYTES).unwrap_or(after);
    let mut length = after.iter().take_while(|byte| in_name(byte)).count();
    // Percent-encoded separators and quotes are no part of the name.
    let ends = ["%3D", "%3d", "%5D", "%5d", "%3A", "%3a", "%22", "%26", "%20"];
    let taken = text.get(stem.end..stem.end + length).unwrap_or_default();
    if taken.contains('%')
        && let Some(end) = ends.iter().filter_map(|end| taken.find(end)).min()
    {
        length = end;
    }
    start..stem.end + length
}

#[cfg(test)]
mod tests {
    use crate::flow::redact::Redactor;

    fn words(text: &str) -> String {
        Redactor::default().words(text).into_owned()
    }

    #[test]
    fn values_behind_names_in_running_text() {
        for (text, masked) in [
            ("login failed: token=abc for bob", "login failed: token=*** for bob"),
            ("password: hunter2", "password: ***"),
            ("db:\n  password: hunter\n- token: abc", "db:\n  password: ***\n- token: ***"),
            ("2024 INFO password: hunter2 used", "2024 INFO password: *** used"),
            ("DB_PASSWORD = 'a b c' # x", "DB_PASSWORD = '***' # x"),
            ("Cookie: a=b; c=d\nHost: h", "Cookie: a=***; c=***\nHost: h"),
            ("curl -H 'Authorization: Bearer abc123' u", "curl -H 'Authorization: Bearer ***' u"),
            ("Authorization: Digest a=\"b\"", "Authorization: Digest ***"),
            ("AccountKey=abc/+==;Endpoint=x", "AccountKey=***;Endpoint=x"),
            ("{password:\"x\",user:'y'}", "{password:\"***\",user:'y'}"),
            ("see https://u:p@h/?token=abc&x=1.", "see https://u:***@h/?token=***&x=1."),
            ("<Bearer +> x", "<Bearer ***> x"),
            ("Bearer abc123 was refused", "Bearer *** was refused"),
            (
                "x %7B%22token%22%3A%22abc%22%2C%22x%22%3A1",
                "x %7B%22token%22%3A%22***%22%2C%22x%22%3A1",
            ),
            ("%7B%22pin%22%3a%20%22a%20b%22%7D", "%7B%22pin%22%3a%20%22***%22%7D"),
            ("to=%3Ftoken%3Dabc%26x%3D1", "to=%3Ftoken%3D***%26x%3D1"),
        ] {
            assert_eq!(words(text), masked, "{text}");
            assert_eq!(words(masked), masked, "{masked}");
        }
    }

    #[test]
    fn prose_stays() {
        for text in [
            "the password: must be at least eight letters long",
            "Invalid token: expected a name",
            "basic authentication is required",
            "the bearer token scheme",
            "author = me, max_tokens=100, token_count=5",
            "a secret is a secret; tokens are tokens",
            "if (token == null) return",
            "https://h.example/authors?page=2",
            "password: required",
            "error: missing field `api_key` at line 1",
            "mutation Login($password: String!) { login(password: $password) { ok } }",
        ] {
            assert_eq!(words(text), text);
        }
    }

    #[test]
    fn inputs_whose_attributes_have_any_order_and_no_quotes() {
        let html = |text: &str| Redactor::default().text("text/html", text).into_owned();
        for (text, masked) in [
            ("<input value=\"x\" type=\"password\">", "<input value=\"***\" type=\"password\">"),
            ("<input value=\"x y\" type=password>", "<input value=\"***\" type=password>"),
            ("<input type=password value=x/y>", "<input type=password value=***>"),
            ("<input type=password value=x/>", "<input type=password value=***/>"),
            (
                "<input type=hidden name=csrf_token value=x>",
                "<input type=hidden name=csrf_token value=***>",
            ),
            (
                "<INPUT\nVALUE='x'\n\tNAME=csrf_token TYPE=hidden>",
                "<INPUT\nVALUE='***'\n\tNAME=csrf_token TYPE=hidden>",
            ),
            ("<meta name=csrf-token content=x=>", "<meta name=csrf-token content=***>"),
            ("<input name=token_count value=x>", "<input name=token_count value=x>"),
            ("<input name=password><b value=x>", "<input name=password><b value=x>"),
            ("type=password value=x", "type=password value=x"),
        ] {
            assert_eq!(html(text), masked, "{text}");
            assert_eq!(html(masked), masked, "{masked}");
        }
    }

    #[test]
    fn elements_that_name_their_neighbours() {
        let xml = |text: &str| Redactor::default().text("application/xml", text).into_owned();
        for (text, masked) in [
            (
                "<name>password</name>\n <value><string>a b</string></value><name>n</name>",
                "<name>password</name>\n <value><string>***</string></value><name>n</name>",
            ),
            (
                "<dict><key>apiToken</key><string>abc</string><key>id</key><string>d</string>",
                "<dict><key>apiToken</key><string>***</string><key>id</key><string>d</string>",
            ),
            ("<key>password</key><true/><key>a</key>", "<key>password</key><true/><key>a</key>"),
            ("<key>token</key></dict><p>text</p>", "<key>token</key></dict><p>text</p>"),
            ("<h1>Password</h1><p>text</p>", "<h1>Password</h1><p>text</p>"),
        ] {
            assert_eq!(xml(text), masked, "{text}");
            assert_eq!(xml(masked), masked, "{masked}");
        }
    }

    #[test]
    fn markup_and_scripts() {
        let html = |text: &str| Redactor::default().text("text/html", text).into_owned();
        for (text, masked) in [
            ("<input name=\"password\" value=\"x\">", "<input name=\"password\" value=\"***\">"),
            (
                "<input type=hidden value='v' name='csrf_token'/>",
                "<input type=hidden value='***' name='csrf_token'/>",
            ),
            (
                "<meta name=\"csrf-token\" content=\"abc\">",
                "<meta name=\"csrf-token\" content=\"***\">",
            ),
            ("<a href=\"/x?token=a&amp;b=c\">", "<a href=\"/x?token=***&amp;b=c\">"),
            ("<div data-token=\"abc\">token</div>", "<div data-token=\"***\">token</div>"),
            (
                "<wsse:Password Type=\"T\">x</wsse:Password>",
                "<wsse:Password Type=\"T\">***</wsse:Password>",
            ),
            ("<secret><![CDATA[x<y]]></secret>", "<secret><![CDATA[***]]></secret>"),
            (
                "<script>var s={\"props\":{\"sessionToken\":\"abc\",\"n\":1}}</script>",
                "<script>var s={\"props\":{\"sessionToken\":\"***\",\"n\":1}}</script>",
            ),
            (
                "x={\"credentials\":{\"k\":\"a\",\"n\":1},\"b\":\"c\"}",
                "x={\"credentials\":{\"k\":\"***\",\"n\":1},\"b\":\"c\"}",
            ),
            ("s=\"{\\\"token\\\":\\\"abc\\\"}\"", "s=\"{\\\"token\\\":\\\"***\\\"}\""),
            (
                "<b data-p=\"{&quot;token&quot;:&quot;a\\&quot;b&quot;,&quot;n&quot;:1}\">",
                "<b data-p=\"{&quot;token&quot;:&quot;***&quot;,&quot;n&quot;:1}\">",
            ),
            (
                "<b p='{&#34;apiKey&#34;: &#34;abc&#34;,&#x22;password&#x22; :&#x22;x y&#x22;}'>",
                "<b p='{&#34;apiKey&#34;: &#34;***&#34;,&#x22;password&#x22; :&#x22;***&#x22;}'>",
            ),
            ("<b p='{&quot;token&quot;:null}'>", "<b p='{&quot;token&quot;:null}'>"),
            ("<p>the &quot;token&quot; is x</p>", "<p>the &quot;token&quot; is x</p>"),
            ("<b p=\"&quot;token&quot;:&quot;a'b\">c", "<b p=\"&quot;token&quot;:&quot;***\">c"),
            ("e.token=t.token;f(\"Password:\", x)", "e.token=t.token;f(\"Password:\", x)"),
            (
                "localStorage.setItem(\"auth_token\",\"x\")",
                "localStorage.setItem(\"auth_token\",\"***\")",
            ),
            (
                "sessionStorage.setItem( 'token' , 'x y' );",
                "sessionStorage.setItem( 'token' , '***' );",
            ),
            (
                "r.setRequestHeader('X-Auth-Token', `a\nb`)",
                "r.setRequestHeader('X-Auth-Token', `***`)",
            ),
            ("h.append('Authorization', 'Bearer x')", "h.append('Authorization', 'Bearer ***')"),
            ("s.setItem('token', t.token)", "s.setItem('token', t.token)"),
            ("s.setItem('theme', 'dark')", "s.setItem('theme', 'dark')"),
            ("i18n.t('password', 'Kennwort')", "i18n.t('password', 'Kennwort')"),
        ] {
            assert_eq!(html(text), masked, "{text}");
            assert_eq!(html(masked), masked, "{masked}");
        }
    }
}
