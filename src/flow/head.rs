//! A recorded head as text: lenient, for readers of flows, where [`crate::http`] is strict.
//!
//! Whatever came is shown as well as it can be, malformed heads too.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

use crate::flow::record::{Authority, Scheme};

/// A field line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<S = String> {
    /// The name as it was spelled.
    pub name: S,
    /// The value without the white space around it.
    pub value: S,
}

/// A head taken apart: its start line, and its fields in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadText<S = String> {
    /// The first line.
    pub start: S,
    /// The fields.
    pub fields: Vec<Field<S>>,
}

/// Text that stands in a recorded head, copied only where it is not valid UTF-8.
pub type HeadPiece<'a> = Cow<'a, str>;

impl HeadText {
    /// Reads the bytes of a head. Lines end at CRLF or LF; empty lines before the start line are
    /// skipped (RFC 9112 section 2.2); a line that begins with white space continues the value
    /// before it (section 5.2); a line without a colon is a name without a value.
    pub fn read(head: &[u8]) -> Self {
        HeadText::of(&text(head)).into_owned()
    }

    /// Reads field lines that have no start line, as a trailer section.
    pub fn read_fields(section: &[u8]) -> Vec<Field> {
        fields(lines(&text(section))).into_iter().map(Field::into_owned).collect()
    }
}

impl<'a> HeadText<HeadPiece<'a>> {
    /// The same as [`HeadText::read`], for as long as the bytes stand.
    pub fn view(head: &'a [u8]) -> Self {
        match std::str::from_utf8(head) {
            Ok(text) => HeadText::of(text),
            Err(_) => {
                let HeadText { start, fields } = HeadText::read(head);
                HeadText {
                    start: start.into(),
                    fields: fields.into_iter().map(Field::into).collect(),
                }
            }
        }
    }

    /// The same as [`HeadText::read_fields`], for as long as the bytes stand.
    pub fn view_fields(section: &'a [u8]) -> Vec<Field<HeadPiece<'a>>> {
        match std::str::from_utf8(section) {
            Ok(text) => fields(lines(text)),
            Err(_) => HeadText::read_fields(section).into_iter().map(Field::into).collect(),
        }
    }

    fn of(head: &'a str) -> Self {
        let mut lines = lines(head).skip_while(|line| line.is_empty());
        let start = lines.next().unwrap_or_default().into();
        HeadText { start, fields: fields(lines) }
    }

    fn into_owned(self) -> HeadText {
        let fields = self.fields.into_iter().map(Field::into_owned).collect();
        HeadText { start: self.start.into_owned(), fields }
    }
}

impl Field<HeadPiece<'_>> {
    fn into_owned(self) -> Field {
        Field { name: self.name.into_owned(), value: self.value.into_owned() }
    }
}

impl From<Field> for Field<HeadPiece<'_>> {
    fn from(Field { name, value }: Field) -> Self {
        Field { name: name.into(), value: value.into() }
    }
}

impl<S: AsRef<str>> HeadText<S> {
    /// The values of all fields of this name, in any case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str>
    where
        S: 'a,
    {
        let is_named = |field: &&'a Field<S>| field.name.as_ref().eq_ignore_ascii_case(name);
        self.fields.iter().filter(is_named).map(|field| field.value.as_ref())
    }

    /// The start line as method, request target and version; empty where one is missing.
    pub fn request_line(&self) -> (&str, &str, &str) {
        let (method, rest) = self.start().split_once(' ').unwrap_or((self.start(), ""));
        match rest.rsplit_once(' ') {
            Some((target, version)) if version.starts_with("HTTP/") => {
                (method, target.trim(), version)
            }
            _ => (method, rest.trim(), ""),
        }
    }

    /// The start line as version, status code and reason phrase; 0 where there is no code.
    pub fn status_line(&self) -> (&str, u16, &str) {
        let (version, rest) = self.start().split_once(' ').unwrap_or((self.start(), ""));
        let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        (version, code.parse().unwrap_or(0), reason.trim())
    }

    fn start(&self) -> &str {
        self.start.as_ref()
    }
}

fn lines(section: &str) -> impl Iterator<Item = &str> {
    let mut start = 0;
    let ends = memchr_iter(b'\n', section.as_bytes()).chain([section.len()]);
    ends.map(move |end| {
        let line = section.get(start..end).unwrap_or_default();
        start = end + 1;
        line.strip_suffix('\r').unwrap_or(line)
    })
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Field<HeadPiece<'a>>> {
    let mut fields: Vec<Field<HeadPiece<'a>>> = Vec::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let continues = line.starts_with(BLANKS);
        match fields.last_mut() {
            Some(before) if continues => {
                let value = before.value.to_mut();
                let more = line.trim_matches(BLANKS);
                let between = if value.is_empty() || more.is_empty() { "" } else { " " };
                value.push_str(between);
                value.push_str(more);
            }
            _ => {
                let colon = memchr(b':', line.as_bytes()).unwrap_or(line.len());
                let (name, value) = line.split_at_checked(colon).unwrap_or((line, ""));
                let value = value.strip_prefix(':').unwrap_or(value).trim_matches(BLANKS);
                if fields.is_empty() {
                    fields.reserve(FIELDS_EXPECTED);
                }
                fields.push(Field { name: name.into(), value: value.into() });
            }
        }
    }
    fields
}

/// White space inside of a line (RFC 9110 section 5.6.3).
const BLANKS: [char; 2] = [' ', '\t'];

/// Fields for which there is room from the start; more than most heads have.
const FIELDS_EXPECTED: usize = 16;

/// Bytes as text: UTF-8, and each byte that is not valid UTF-8 as Latin-1.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().copied().map(char::from));
    }
    text
}

/// The scheme names of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriKind {
    /// `http` or `https`.
    Http,
    /// `ws` or `wss`.
    WebSocket,
}

/// The target URI of a request (RFC 9110 section 7.1, RFC 9112 section 3.3), as much of it as is
/// known: the authority comes from the Host field, else from `target` without the default port.
pub fn target_uri<S: AsRef<str>>(
    head: &HeadText<S>,
    scheme: Scheme,
    target: Option<&Authority>,
    kind: UriKind,
) -> String {
    target_uri_pieces(head, scheme, target, kind).concat()
}

/// The same in pieces that follow each other: scheme, `://`, authority, slash, path.
pub fn target_uri_pieces<'a, S: AsRef<str>>(
    head: &'a HeadText<S>,
    scheme: Scheme,
    target: Option<&Authority>,
    kind: UriKind,
) -> [HeadPiece<'a>; 5] {
    let (method, request_target, _) = head.request_line();
    let name = match (kind, scheme) {
        (UriKind::Http, Scheme::Http) => "http",
        (UriKind::Http, Scheme::Https) => "https",
        (UriKind::WebSocket, Scheme::Http) => "ws",
        (UriKind::WebSocket, Scheme::Https) => "wss",
    };
    let pieces = |authority: HeadPiece<'a>, slash: &'static str, path: &'a str| {
        [name.into(), "://".into(), authority, slash.into(), path.into()]
    };
    if let Some((_, rest)) = absolute_form(request_target) {
        // The connection decides on the scheme, and an empty path is asked for as `/`.
        let path = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(path).unwrap_or((rest, ""));
        // But OPTIONS without a path is about the server as a whole (RFC 9112 section 3.2.4).
        let is_whole = path.starts_with('/') || path.is_empty() && method == "OPTIONS";
        let slash = if is_whole { "" } else { "/" };
        return pieces(authority.into(), slash, path);
    }
    let host = head.values("host").find(|host| !host.is_empty()).map(Cow::from);
    let authority = host.or_else(|| target.map(|target| authority_text(target, scheme).into()));
    let authority = authority.unwrap_or_default();
    match request_target {
        "*" => pieces(authority, "", ""),
        path if path.starts_with('/') || path.is_empty() => pieces(authority, "", path),
        asked if method.eq_ignore_ascii_case("CONNECT") => pieces("".into(), "", asked),
        odd => pieces(authority, "/", odd),
    }
}

/// Splits a target in absolute form behind its scheme.
fn absolute_form(request_target: &str) -> Option<(&str, &str)> {
    if request_target.starts_with('/') {
        return None;
    }
    let (scheme, rest) = request_target.split_once("://")?;
    let mut letters = scheme.bytes();
    let named = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    named.then_some((scheme, rest))
}

fn authority_text(target: &Authority, scheme: Scheme) -> String {
    let host = host_text(&target.host);
    let default = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    if target.port == default { host } else { format!("{host}:{}", target.port) }
}

/// A host as it stands in a URI: IPv6 addresses in brackets.
pub fn host_text(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(head: &str, scheme: Scheme, kind: UriKind) -> String {
        let target = Authority { host: "t.example".into(), port: 8443 };
        target_uri(&HeadText::read(head.as_bytes()), scheme, Some(&target), kind)
    }

    #[test]
    fn fields_keep_order_duplicates_and_spelling() {
        let head = HeadText::read(b"GET / HTTP/1.1\r\nA:  1 \r\nb: x\nA: 2\r\n folded\r\n\r\n");
        let pairs: Vec<_> =
            head.fields.iter().map(|f| (f.name.as_str(), f.value.as_str())).collect();
        assert_eq!(pairs, [("A", "1"), ("b", "x"), ("A", "2 folded")]);
        assert_eq!(head.values("a").collect::<Vec<_>>(), ["1", "2 folded"]);
        assert_eq!(head.request_line(), ("GET", "/", "HTTP/1.1"));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_latin_1() {
        assert_eq!(text(b"caf\xe9 \xc3\xa9 \xff"), "caf\u{e9} \u{e9} \u{ff}");
    }

    #[test]
    fn a_view_is_what_is_read_and_copies_only_what_it_must() {
        let heads: [&[u8]; 6] = [
            b"",
            b"\r\nGET / HTTP/1.1\r\nA:  1 \r\n\tfolded \r\nb\r\n\r\nnot: read",
            b" folds: nothing\nX: 1",
            b"GET /caf\xe9 HTTP/1.1\r\nx\xff: \xc3\xa9\xc3\r\n more\xc3",
            b"start\n\xc2\xa0: \xc2\xa0",
            b"\n\n",
        ];
        for head in heads {
            let (read, view) = (HeadText::read(head), HeadText::view(head));
            assert_eq!(view.clone().into_owned(), read);
            let fields = HeadText::view_fields(head).into_iter().map(Field::into_owned);
            assert_eq!(fields.collect::<Vec<_>>(), HeadText::read_fields(head));
            let is_valid = std::str::from_utf8(head).is_ok();
            assert_eq!(matches!(view.start, Cow::Borrowed(_)), is_valid);
        }
        assert_eq!(HeadText::read(heads[1]).fields[0].value, "1 folded");
        assert_eq!(HeadText::read(heads[2]).fields[0].value, "1");
        assert_eq!(HeadText::read(heads[4]).fields[0].value, "\u{a0}");
    }

    #[test]
    fn malformed_heads_give_what_they_have() {
        assert_eq!(HeadText::read(b""), HeadText::default());
        let head = HeadText::read(b"\x16\x03 garbage");
        assert_eq!(head.request_line(), ("\x16\x03", "garbage", ""));
        assert_eq!(HeadText::read(b"GET /a b HTTP/1.1").request_line().1, "/a b");
        assert_eq!(HeadText::read(b"HTTP/1.1 abc").status_line(), ("HTTP/1.1", 0, ""));
        assert_eq!(HeadText::read(b"HTTP/1.1 204").status_line(), ("HTTP/1.1", 204, ""));
        assert_eq!(
            HeadText::read(b"HTTP/1.1 404 Not Found").status_line(),
            ("HTTP/1.1", 404, "Not Found")
        );
        let fields = HeadText::read_fields(b"no colon\r\n: empty\r\n");
        assert_eq!(fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["no colon", ""]);
    }

    #[test]
    fn a_value_that_goes_on_has_no_blanks_around_it() {
        let head = HeadText::read(b"start\r\nA:\r\n 1\r\n \t\r\nB: 2 \r\n \r\n 3\r\n");
        assert_eq!(head.values("a").collect::<Vec<_>>(), ["1"]);
        assert_eq!(head.values("b").collect::<Vec<_>>(), ["2 3"]);
    }

    #[test]
    fn the_target_uri_of_each_form() {
        let http = |head| uri(head, Scheme::Https, UriKind::Http);
        assert_eq!(http("GET /p?q HTTP/1.1\r\nHost: h.example\r\n\r\n"), "https://h.example/p?q");
        assert_eq!(http("GET /p HTTP/1.0\r\n\r\n"), "https://t.example:8443/p");
        assert_eq!(
            http("GET http://A.example/x HTTP/1.1\r\nHost: b\r\n\r\n"),
            "https://A.example/x"
        );
        assert_eq!(http("GET http://a?q HTTP/1.1\r\n\r\n"), "https://a/?q");
        assert_eq!(http("GET http://a HTTP/1.1\r\n\r\n"), "https://a/");
        assert_eq!(http("OPTIONS * HTTP/1.1\r\nHost: h:1\r\n\r\n"), "https://h:1");
        assert_eq!(http("OPTIONS http://a HTTP/1.1\r\n\r\n"), "https://a");
        assert_eq!(http("OPTIONS http://a?q HTTP/1.1\r\n\r\n"), "https://a/?q");
        let socket = |head| uri(head, Scheme::Http, UriKind::WebSocket);
        assert_eq!(socket("GET /s HTTP/1.1\r\nHost: h\r\n\r\n"), "ws://h/s");
        assert_eq!(socket("GET ws://h/s HTTP/1.1\r\n\r\n"), "ws://h/s");
        assert_eq!(socket("GET http://h/s HTTP/1.1\r\n\r\n"), "ws://h/s");
        assert_eq!(
            http("GET /r?u=http://x/ HTTP/1.1\r\nHost: h\r\n\r\n"),
            "https://h/r?u=http://x/"
        );
    }

    #[test]
    fn default_ports_are_left_out_and_ipv6_is_bracketed() {
        let at = |host: &str, port| Authority { host: host.into(), port };
        assert_eq!(authority_text(&at("::1", 443), Scheme::Https), "[::1]");
        assert_eq!(authority_text(&at("::1", 443), Scheme::Http), "[::1]:443");
        assert_eq!(authority_text(&at("h", 80), Scheme::Http), "h");
    }
}
