//! URLs of proxies, as users and their environment give them.

use std::fmt;
use std::sync::Arc;

use crate::flow::record::Authority;
use crate::http::target::{TargetError, parse_host};

use super::{Credentials, Kind, UpstreamProxy};

/// Most bytes of a user name and of a password in SOCKS5 (RFC 1929).
const SOCKS5_SECRET_BYTES: usize = 255;

/// Why a URL names no proxy. The words hold nothing of the URL, which may have a password in it
/// in any place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlError(&'static str);

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for UrlError {}

impl UpstreamProxy {
    /// Reads a URL such as `http://user:password@proxy.example:3128`. Without a scheme it is
    /// `http`; without a port it is 80, 443 or 1080. A path says nothing.
    ///
    /// # Errors
    /// Why it names no proxy that can be used.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.trim().split_once("://").unwrap_or(("http", url.trim()));
        let kind = kind(scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        // What stands before it would be taken for the host, and be shown.
        if path.contains('@') {
            return Err(UrlError(BAD_HOST));
        }
        let (user_info, host) = match authority.rsplit_once('@') {
            Some((user_info, host)) => (Some(user_info), host),
            None => (None, authority),
        };
        let host = parse_host(host.as_bytes()).map_err(|error| match error {
            TargetError::Port => UrlError(BAD_PORT),
            _ => UrlError(BAD_HOST),
        })?;
        let usual = match kind {
            Kind::Http => 80,
            Kind::Https => 443,
            Kind::Socks5 | Kind::Socks5h => 1080,
        };
        let port = host.port.unwrap_or(usual);
        Ok(UpstreamProxy {
            kind,
            authority: Arc::new(Authority { host: host.host, port }),
            credentials: user_info.map(|text| credentials(text, kind)).transpose()?,
        })
    }
}

const BAD_PORT: &str = "its port is not a number from 1 to 65535 (in a user name or password, / is \
                        written %2F, ? is %3F, # is %23, : is %3A and @ is %40)";
const BAD_HOST: &str = "its host is missing or malformed (in a user name or password, / is written \
                        %2F, ? is %3F, # is %23, : is %3A and @ is %40)";

fn kind(scheme: &str) -> Result<Kind, UrlError> {
    Ok(match scheme.to_ascii_lowercase().as_str() {
        "http" => Kind::Http,
        "https" => Kind::Https,
        "socks5" => Kind::Socks5,
        "socks5h" => Kind::Socks5h,
        "socks" | "socks4" | "socks4a" => {
            return Err(UrlError("SOCKS is spoken in version 5 alone: socks5:// or socks5h://"));
        }
        _ => return Err(UrlError("its scheme is none of http, https, socks5 and socks5h")),
    })
}

fn credentials(text: &str, kind: Kind) -> Result<Credentials, UrlError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let (user, password) = (decoded(user)?, decoded(password)?);
    let is_http = matches!(kind, Kind::Http | Kind::Https);
    // RFC 7617 section 2.
    if is_http && user.contains(&b':') {
        return Err(UrlError("its user name holds a colon, which HTTP's Basic scheme cannot say"));
    }
    if user.iter().chain(&password).any(u8::is_ascii_control) {
        return Err(UrlError("its user name or password holds a control character"));
    }
    if !is_http && (user.is_empty() || user.len().max(password.len()) > SOCKS5_SECRET_BYTES) {
        return Err(UrlError(
            "SOCKS5 takes a user name of 1 to 255 bytes, a password of up to 255",
        ));
    }
    Ok(Credentials { user, password })
}

/// Undoes percent-encoding (RFC 3986 section 2.1).
fn decoded(text: &str) -> Result<Vec<u8>, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let value = after.get(..2).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            are_digits.then(|| u8::from_str_radix(digits, 16).ok())?
        });
        bytes.push(value.ok_or(UrlError(
            "a % in its user name or password begins no escape: a % itself is written %25",
        ))?);
        rest = after.get(2..).unwrap_or_default();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn credentials_of(url: &str) -> Option<(String, String)> {
        let Credentials { user, password } = UpstreamProxy::parse(url).unwrap().credentials?;
        Some((String::from_utf8(user).unwrap(), String::from_utf8(password).unwrap()))
    }

    #[test]
    fn urls_are_read() {
        for (url, shown) in [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("HTTP://Proxy.Example:3128/", "http://proxy.example:3128"),
            ("proxy.example:3128", "http://proxy.example:3128"),
            ("proxy.example", "http://proxy.example:80"),
            (" https://proxy.example ", "https://proxy.example:443"),
            ("socks5://127.0.0.1", "socks5://127.0.0.1:1080"),
            ("socks5h://[::1]:9050", "socks5h://[::1]:9050"),
            ("http://user:pass@proxy:1/path?query", "http://proxy:1"),
            ("user:pass@proxy:1", "http://proxy:1"),
        ] {
            assert_eq!(UpstreamProxy::parse(url).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn credentials_are_decoded() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(credentials_of("http://p:1"), None);
        assert_eq!(credentials_of("http://u@p:1"), pair("u", ""));
        assert_eq!(credentials_of("http://u:p:q@p:1"), pair("u", "p:q"));
        assert_eq!(credentials_of("http://u:a@b@p:1"), pair("u", "a@b"));
        assert_eq!(credentials_of("http://D%5Cu:%40%2f%25+@p:1"), pair("D\\u", "@/%+"));
        assert_eq!(credentials_of("socks5://a%3Ab:c@p"), pair("a:b", "c"));
    }

    #[test]
    fn what_names_no_proxy_is_refused_without_a_word_of_it() {
        let long = format!("socks5://u:{}@p", "s3cret".repeat(50));
        for (url, words) in [
            ("", "host"),
            ("http://", "host"),
            ("http://a b", "host"),
            ("http://u:s3cret@", "host"),
            ("http://u:s3cret/x@proxy:1", "%2F"),
            ("http://u:1234/s3cret@proxy:1", "%2F"),
            ("u:1234?s3cret@proxy:1", "%3F"),
            ("http://u:1234#s3cret@proxy:1", "%23"),
            ("http://proxy:0", "port"),
            ("http://proxy:65536", "port"),
            ("socks4://proxy", "socks5://"),
            ("ftp://u:s3cret@proxy", "scheme"),
            ("http://u:s3cret%zz@proxy", "%25"),
            ("http://u:s3cret%4@proxy", "%25"),
            ("http://u:s3cret%0A@proxy", "control character"),
            ("http://a%3Ab:s3cret@proxy", "colon"),
            ("socks5://:s3cret@proxy", "SOCKS5"),
            (long.as_str(), "SOCKS5"),
        ] {
            let error = UpstreamProxy::parse(url).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("s3cret"), "{url}: {error}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_what_is_read_is_shown_as_it_reads_again(url in ".{0,60}") {
            if let Ok(proxy) = UpstreamProxy::parse(&url) {
                let again = UpstreamProxy::parse(&proxy.to_string()).unwrap();
                prop_assert_eq!(again.authority, proxy.authority);
                prop_assert_eq!(again.kind, proxy.kind);
            }
        }
    }
}
