//! A recorded head as text: lenient, for readers of flows, where [`crate::http`] is strict.
//!
//! Whatever came is shown as well as it can be, malformed heads too.

use crate::flow::record::{Authority, Scheme};

/// A field line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name as it was spelled.
    pub name: String,
    /// The value without the white space around it.
    pub value: String,
}

/// A head taken apart: its start line, and its fields in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadText {
    /// The first line.
    pub start: String,
    /// The fields.
    pub fields: Vec<Field>,
}

impl HeadText {
    /// Reads the bytes of a head. Lines end at CRLF or LF; empty lines before the start line are
    /// skipped (RFC 9112 section 2.2); a line that begins with white space continues the value
    /// before it (section 5.2); a line without a colon is a name without a value.
    pub fn read(head: &[u8]) -> Self {
        let mut lines = lines(head).skip_while(|line| line.is_empty());
        let start = lines.next().map(text).unwrap_or_default();
        HeadText { start, fields: fields(lines) }
    }

    /// Reads field lines that have no start line, as a trailer section.
    pub fn read_fields(section: &[u8]) -> Vec<Field> {
        fields(lines(section))
    }

    /// The values of all fields of this name, in any case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value.as_str())
    }

    /// The start line as method, request target and version; empty where one is missing.
    pub fn request_line(&self) -> (&str, &str, &str) {
        let (method, rest) = self.start.split_once(' ').unwrap_or((&self.start, ""));
        match rest.rsplit_once(' ') {
            Some((target, version)) if version.starts_with("HTTP/") => {
                (method, target.trim(), version)
            }
            _ => (method, rest.trim(), ""),
        }
    }

    /// The start line as version, status code and reason phrase; 0 where there is no code.
    pub fn status_line(&self) -> (&str, u16, &str) {
        let (version, rest) = self.start.split_once(' ').unwrap_or((&self.start, ""));
        let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        (version, code.parse().unwrap_or(0), reason.trim())
    }
}

fn lines(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = section.split(|byte| *byte == b'\n');
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let continues = line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        match fields.last_mut() {
            Some(before) if continues => {
                before.value.push(' ');
                before.value.push_str(&text(trim(line)));
            }
            _ => {
                let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
                let (name, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
                let value = value.strip_prefix(b":").unwrap_or(value);
                fields.push(Field { name: text(name), value: text(trim(value)) });
            }
        }
    }
    fields
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

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
pub fn target_uri(
    head: &HeadText,
    scheme: Scheme,
    target: Option<&Authority>,
    kind: UriKind,
) -> String {
    let (method, request_target, _) = head.request_line();
    let name = match (kind, scheme) {
        (UriKind::Http, Scheme::Http) => "http",
        (UriKind::Http, Scheme::Https) => "https",
        (UriKind::WebSocket, Scheme::Http) => "ws",
        (UriKind::WebSocket, Scheme::Https) => "wss",
    };
    if let Some((_, rest)) = absolute_form(request_target) {
        // The connection decides on the scheme, and an empty path is asked for as `/`.
        let path = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(path).unwrap_or((rest, ""));
        let slash = if path.starts_with('/') { "" } else { "/" };
        return format!("{name}://{authority}{slash}{path}");
    }
    let host = head.values("host").map(str::to_owned).find(|host| !host.is_empty());
    let authority = host.or_else(|| target.map(|target| authority_text(target, scheme)));
    let authority = authority.unwrap_or_default();
    match request_target {
        "*" => format!("{name}://{authority}"),
        path if path.starts_with('/') || path.is_empty() => format!("{name}://{authority}{path}"),
        asked if method.eq_ignore_ascii_case("CONNECT") => format!("{name}://{asked}"),
        odd => format!("{name}://{authority}/{odd}"),
    }
}

/// Splits a target in absolute form behind its scheme.
fn absolute_form(request_target: &str) -> Option<(&str, &str)> {
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
