//! Request targets (RFC 9112 section 3.2) and the Host field (RFC 9110 section 7.2).

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::field::{FieldKind, values_of};
use super::head::{RequestHead, Version};
use crate::flow::record::{Authority, Scheme};

/// Most bytes of a host; a DNS name has 253 (RFC 1035 section 2.3.4), and may end in a dot.
const HOST_BYTES: usize = 254;

/// A request target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'b> {
    /// The absolute form, as clients send it to a proxy.
    Absolute {
        /// `Https` for `https` and `wss`.
        scheme: Scheme,
        /// The host and port; the scheme's port where none was given.
        authority: Authority,
        /// Path and query in the origin form; `*` for OPTIONS without a path.
        path: Cow<'b, [u8]>,
    },
    /// The origin form: path and query.
    Origin(&'b [u8]),
    /// The authority form, of CONNECT only.
    Authority(Authority),
    /// The asterisk form, of OPTIONS only.
    Asterisk,
}

/// A host with an optional port, as in the Host field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// In lower case; IPv6 without brackets.
    pub host: String,
    /// The port, if one was given.
    pub port: Option<u16>,
}

impl HostPort {
    /// The authority that this is for a scheme.
    pub fn with_scheme(self, scheme: Scheme) -> Authority {
        let port = self.port.unwrap_or(default_port(scheme));
        Authority { host: self.host, port }
    }
}

/// Why a request target or a Host field is refused. All are answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// The target has none of the four forms.
    Form,
    /// A CONNECT target that is not `host:port`.
    Connect,
    /// `*` with a method other than OPTIONS.
    Asterisk,
    /// A scheme other than http, https, ws and wss.
    Scheme,
    /// User information in the target or Host field.
    UserInfo,
    /// An empty host, or a character that no host may hold.
    Host,
    /// A port that is not a number from 1 to 65535.
    Port,
    /// A fragment.
    Fragment,
    /// A blank or control character in the path.
    Path,
    /// No Host field in an HTTP/1.1 request.
    MissingHost,
    /// More than one Host field.
    RepeatedHost,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TargetError::Form => "the request target is neither a URL nor a path",
            TargetError::Connect => "the target of CONNECT is not host:port",
            TargetError::Asterisk => "the request target * is for OPTIONS only",
            TargetError::Scheme => "the scheme is none of http, https, ws and wss",
            TargetError::UserInfo => "user information in the request target is not allowed",
            TargetError::Host => "the host is empty or malformed",
            TargetError::Port => "the port is not a number from 1 to 65535",
            TargetError::Fragment => "the request target holds a fragment",
            TargetError::Path => "the path holds a blank or a control character",
            TargetError::MissingHost => "the Host field is missing",
            TargetError::RepeatedHost => "the Host field is given more than once",
        })
    }
}

impl std::error::Error for TargetError {}

/// The port of a scheme's URLs that name none.
pub fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// Takes a request target apart. Which form is allowed depends on the method alone.
pub fn parse_target<'b>(method: &[u8], target: &'b [u8]) -> Result<Target<'b>, TargetError> {
    if method == b"CONNECT" {
        return parse_connect(target).map(Target::Authority);
    }
    match target {
        b"*" if method == b"OPTIONS" => Ok(Target::Asterisk),
        b"*" => Err(TargetError::Asterisk),
        [b'/', ..] => check_path(target).map(|()| Target::Origin(target)),
        _ => parse_absolute(method, target),
    }
}

/// Takes a Host field's value apart.
pub fn parse_host(value: &[u8]) -> Result<HostPort, TargetError> {
    if value.contains(&b'@') {
        return Err(TargetError::UserInfo);
    }
    let (host, port) = match value {
        [b'[', inner @ ..] => {
            let close = inner.iter().position(|&byte| byte == b']').ok_or(TargetError::Host)?;
            let (address, rest) = inner.split_at_checked(close).ok_or(TargetError::Host)?;
            (parse_ipv6(address)?, rest.strip_prefix(b"]").unwrap_or_default())
        }
        _ => {
            let colon = value.iter().position(|&byte| byte == b':').unwrap_or(value.len());
            let (name, rest) = value.split_at_checked(colon).ok_or(TargetError::Host)?;
            (parse_name(name)?, rest)
        }
    };
    let port = match port {
        [] => None,
        [b':', digits @ ..] => Some(parse_port(digits)?),
        _ => return Err(TargetError::Host),
    };
    Ok(HostPort { host, port })
}

/// The request's Host field: exactly one in HTTP/1.1, at most one in HTTP/1.0. In the absolute
/// form it must be valid too, but the target counts (RFC 9112 section 3.2.2).
///
/// `known` is an authority that the host is likely to be: it need not be looked into again.
pub fn request_host<'b>(
    head: &'b RequestHead,
    buf: &'b [u8],
    known: Option<&Authority>,
) -> Result<Option<&'b [u8]>, TargetError> {
    let mut hosts = values_of(&head.fields, buf, FieldKind::Host);
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Err(TargetError::RepeatedHost),
        (Some(host), None) if known.is_some_and(|known| names(host, known)) => Ok(Some(host)),
        (Some(host), None) => parse_host(host).map(|_| Some(host)),
        (None, _) if head.version == Version::Http11 => Err(TargetError::MissingHost),
        (None, _) => Ok(None),
    }
}

/// Whether a Host field's value is this authority's name, letter by letter, with any valid port.
fn names(value: &[u8], authority: &Authority) -> bool {
    match value.strip_prefix(authority.host.as_bytes()) {
        Some([]) => !authority.host.contains(':'),
        Some([b':', digits @ ..]) => !authority.host.contains(':') && parse_port(digits).is_ok(),
        _ => false,
    }
}

/// The Host field's value for an authority: no default port, IPv6 in brackets.
pub fn host_value(scheme: Scheme, authority: &Authority) -> String {
    let Authority { host, port } = authority;
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    if *port == default_port(scheme) {
        format!("{open}{host}{close}")
    } else {
        format!("{open}{host}{close}:{port}")
    }
}

fn parse_connect(target: &[u8]) -> Result<Authority, TargetError> {
    if target.iter().any(|byte| matches!(byte, b'/' | b'?' | b'#')) {
        return Err(TargetError::Connect);
    }
    let HostPort { host, port } = parse_host(target)?;
    Ok(Authority { host, port: port.ok_or(TargetError::Connect)? })
}

fn parse_absolute<'b>(method: &[u8], target: &'b [u8]) -> Result<Target<'b>, TargetError> {
    let separator = b"://";
    let at = target.windows(separator.len()).position(|window| window == separator);
    let (name, rest) = at.and_then(|at| target.split_at_checked(at)).ok_or(TargetError::Form)?;
    let scheme = match () {
        () if is_any(name, ["http", "ws"]) => Scheme::Http,
        () if is_any(name, ["https", "wss"]) => Scheme::Https,
        () => return Err(TargetError::Scheme),
    };
    let rest = rest.get(separator.len()..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let (host, path) = rest.split_at_checked(end.unwrap_or(rest.len())).ok_or(TargetError::Form)?;
    check_path(path)?;
    let path = match path {
        [] if method == b"OPTIONS" => Cow::Borrowed(&b"*"[..]),
        [] => Cow::Borrowed(&b"/"[..]),
        [b'?', ..] => Cow::Owned([b"/", path].concat()),
        _ => Cow::Borrowed(path),
    };
    Ok(Target::Absolute { scheme, authority: parse_host(host)?.with_scheme(scheme), path })
}

fn is_any(name: &[u8], names: [&str; 2]) -> bool {
    names.iter().any(|candidate| name.eq_ignore_ascii_case(candidate.as_bytes()))
}

/// Bytes beyond ASCII are let through, as common clients send them and servers take them.
fn check_path(path: &[u8]) -> Result<(), TargetError> {
    match path.iter().find(|&&byte| byte <= b' ' || byte == 0x7f || byte == b'#') {
        Some(b'#') => Err(TargetError::Fragment),
        Some(_) => Err(TargetError::Path),
        None => Ok(()),
    }
}

fn parse_name(name: &[u8]) -> Result<String, TargetError> {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let text = std::str::from_utf8(name).map_err(|_| TargetError::Host)?;
    let has_empty_label = text.starts_with('.') || text.contains("..");
    if name.is_empty() || name.len() > HOST_BYTES || has_empty_label || !name.iter().all(is_allowed)
    {
        return Err(TargetError::Host);
    }
    if ends_in_number(text) && text.parse::<Ipv4Addr>().is_err() {
        return Err(TargetError::Host);
    }
    Ok(text.to_ascii_lowercase())
}

/// Whether systems take the name for an IPv4 address (WHATWG URL section 3.5): `127.1` and
/// `0x7f000001` are loopback to them, and would not be to the patterns of hosts.
fn ends_in_number(name: &str) -> bool {
    let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn parse_ipv6(address: &[u8]) -> Result<String, TargetError> {
    let text = std::str::from_utf8(address).map_err(|_| TargetError::Host)?;
    text.parse::<Ipv6Addr>().map(|address| address.to_string()).map_err(|_| TargetError::Host)
}

fn parse_port(digits: &[u8]) -> Result<u16, TargetError> {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(TargetError::Port);
    }
    let text = std::str::from_utf8(digits).map_err(|_| TargetError::Port)?;
    text.parse().ok().filter(|&port| port != 0).ok_or(TargetError::Port)
}

#[cfg(test)]
mod tests;
