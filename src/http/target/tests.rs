use super::*;
use crate::http::head::{HeadReader, Parsed};

use TargetError as E;

fn absolute(scheme: Scheme, host: &str, port: u16, path: &'static str) -> Target<'static> {
    let authority = Authority { host: host.into(), port };
    Target::Absolute { scheme, authority, path: Cow::Borrowed(path.as_bytes()) }
}

const REFUSED: [(&str, &str, TargetError); 50] = [
    ("CONNECT", "a", E::Connect),
    ("CONNECT", "a:", E::Port),
    ("CONNECT", "a:0", E::Port),
    ("CONNECT", "a:65536", E::Port),
    ("CONNECT", "a:4294967739", E::Port),
    ("CONNECT", "a:+443", E::Port),
    ("CONNECT", "a:443x", E::Port),
    ("CONNECT", "a:44:3", E::Port),
    ("CONNECT", ":443", E::Host),
    ("CONNECT", "u@a:443", E::UserInfo),
    ("CONNECT", "a:443/", E::Connect),
    ("CONNECT", "a:443?b", E::Connect),
    ("CONNECT", "http://a:443", E::Connect),
    ("CONNECT", "/", E::Connect),
    ("CONNECT", "*", E::Host),
    ("CONNECT", "::1:443", E::Host),
    ("CONNECT", "[::1]", E::Connect),
    ("CONNECT", "[::1]443", E::Host),
    ("CONNECT", "[::1:443", E::Host),
    ("CONNECT", "[::1%25eth0]:443", E::Host),
    ("CONNECT", "[a]:443", E::Host),
    ("CONNECT", "[]:443", E::Host),
    ("connect", "a:443", E::Form),
    ("GET", "a:443", E::Form),
    ("GET", "*", E::Asterisk),
    ("OPTIONS", "**", E::Form),
    ("GET", "", E::Form),
    ("GET", "path", E::Form),
    ("GET", "?query", E::Form),
    ("GET", "http:/a/", E::Form),
    ("GET", "http:a", E::Form),
    ("GET", "ftp://a/", E::Scheme),
    ("GET", "://a/", E::Scheme),
    ("GET", "http://", E::Host),
    ("GET", "http://127.1/", E::Host),
    ("GET", "http://2130706433/", E::Host),
    ("GET", "http://0x7f000001/", E::Host),
    ("GET", "http://1.2.3.4.5/", E::Host),
    ("GET", "http:///path", E::Host),
    ("GET", "http://?q", E::Host),
    ("GET", "http://u:p@a/", E::UserInfo),
    ("GET", "http://a\\b/", E::Host),
    ("GET", "http://a%2fb/", E::Host),
    ("GET", "http://ä/", E::Host),
    ("GET", "http://a..b/", E::Host),
    ("GET", "http://a:80:80/", E::Port),
    ("GET", "http://a/#f", E::Fragment),
    ("GET", "/a#f", E::Fragment),
    ("GET", "/a b", E::Path),
    ("GET", "http://a/\u{7f}", E::Path),
];

#[test]
fn ambiguous_targets_are_refused() {
    for (method, target, expected) in REFUSED {
        let result = parse_target(method.as_bytes(), target.as_bytes());
        assert_eq!(result, Err(expected), "{method} {target}");
    }
}

#[test]
fn absolute_form_is_taken_apart() {
    use Scheme::{Http, Https};
    for (method, target, expected) in [
        ("GET", "http://a", absolute(Http, "a", 80, "/")),
        ("GET", "HTTP://EXAMPLE.com/A", absolute(Http, "example.com", 80, "/A")),
        ("GET", "https://a:8443/b?c=d//e", absolute(Https, "a", 8443, "/b?c=d//e")),
        ("GET", "http://a?b", absolute(Http, "a", 80, "/?b")),
        ("GET", "ws://a/chat", absolute(Http, "a", 80, "/chat")),
        ("GET", "WSS://a/chat", absolute(Https, "a", 443, "/chat")),
        ("GET", "http://[2001:DB8::0:1]:81/", absolute(Http, "2001:db8::1", 81, "/")),
        ("GET", "http://a.//b", absolute(Http, "a.", 80, "//b")),
        ("GET", "http://a_b/ä", absolute(Http, "a_b", 80, "/ä")),
        ("GET", "http://a/http://b@c/", absolute(Http, "a", 80, "/http://b@c/")),
        ("OPTIONS", "http://a", absolute(Http, "a", 80, "*")),
        ("OPTIONS", "http://a/", absolute(Http, "a", 80, "/")),
    ] {
        let result = parse_target(method.as_bytes(), target.as_bytes());
        assert_eq!(result, Ok(expected), "{method} {target}");
    }
}

#[test]
fn other_forms_are_told_apart() {
    let authority = |host: &str, port| Target::Authority(Authority { host: host.into(), port });
    for (method, target, expected) in [
        ("GET", "/", Target::Origin(b"/")),
        ("POST", "//evil/x?y", Target::Origin(b"//evil/x?y")),
        ("OPTIONS", "*", Target::Asterisk),
        ("CONNECT", "Example.COM:443", authority("example.com", 443)),
        ("CONNECT", "[::1]:65535", authority("::1", 65535)),
        ("CONNECT", "127.0.0.1:1", authority("127.0.0.1", 1)),
    ] {
        let result = parse_target(method.as_bytes(), target.as_bytes());
        assert_eq!(result, Ok(expected), "{method} {target}");
    }
}

#[test]
fn host_field_is_required_once() {
    let known = Authority { host: "a".into(), port: 443 };
    for (text, expected) in [
        ("GET / HTTP/1.1\r\nhOST: A:81\r\n\r\n", Ok(Some(&b"A:81"[..]))),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(Some(b"a"))),
        ("GET / HTTP/1.1\r\nHost: ab\r\n\r\n", Ok(Some(b"ab"))),
        ("GET / HTTP/1.1\r\nHost: a:0\r\n\r\n", Err(E::Port)),
        ("GET / HTTP/1.0\r\n\r\n", Ok(None)),
        ("GET / HTTP/1.1\r\n\r\n", Err(E::MissingHost)),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Err(E::RepeatedHost)),
        ("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", Err(E::RepeatedHost)),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Err(E::Host)),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Err(E::Host)),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Err(E::Host)),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Err(E::Host)),
        ("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", Err(E::Port)),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Err(E::UserInfo)),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", Err(E::Port)),
    ] {
        let mut head = RequestHead::default();
        let parsed = HeadReader::new().request(text.as_bytes(), &mut head);
        assert_eq!(parsed, Ok(Parsed::Complete), "{text:?}");
        for known in [None, Some(&known)] {
            assert_eq!(request_host(&head, text.as_bytes(), known), expected, "{text:?}");
        }
    }
}

#[test]
fn host_length_is_limited() {
    assert!(parse_host("a".repeat(HOST_BYTES).as_bytes()).is_ok());
    assert_eq!(parse_host("a".repeat(HOST_BYTES + 1).as_bytes()), Err(E::Host));
}

#[test]
fn host_value_is_what_was_parsed() {
    for (scheme, host, port, expected) in [
        (Scheme::Http, "a", 80, "a"),
        (Scheme::Http, "a", 443, "a:443"),
        (Scheme::Https, "a", 443, "a"),
        (Scheme::Https, "::1", 443, "[::1]"),
        (Scheme::Https, "::1", 8443, "[::1]:8443"),
    ] {
        let authority = Authority { host: host.into(), port };
        let value = host_value(scheme, &authority);
        assert_eq!(value, expected);
        assert_eq!(parse_host(value.as_bytes()).unwrap().with_scheme(scheme), authority);
    }
}
