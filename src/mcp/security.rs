//! Who may talk to the server: programs on this machine that know the token, and no web page
//! from elsewhere.

use std::fmt;
use std::net::IpAddr;

use crate::http::credentials::equal;
use crate::http::head::trim_blanks;
use crate::http::target::parse_host;
use crate::mcp::http::{Answer, HttpRequest};

/// Judges requests by their heads.
pub(super) struct Gate {
    token: Option<String>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("wants_token", &self.token.is_some()).finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate that wants this token, if any.
    pub(super) fn new(token: Option<String>) -> Self {
        Gate { token }
    }

    /// Refuses requests that a page from elsewhere can cause: DNS rebinding changes what its
    /// host's name stands for, but not the name that browsers send.
    pub(super) fn check_source(&self, request: &HttpRequest) -> Result<(), Answer> {
        let mut hosts = request.values("host");
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => is_loopback(host),
            _ => false,
        };
        let target = request.authority.as_ref().is_none_or(|it| is_loopback_name(&it.host));
        if !host || !target {
            let reason = "the Host field must name this machine: localhost or 127.0.0.1";
            return Err(Answer::text(421, reason));
        }
        let mut origins = request.values("origin");
        match (origins.next(), origins.next()) {
            // Images and scripts of any page are asked for without an Origin, and each could hold a
            // stream; browsers say where from (Fetch Metadata, Sec-Fetch-Site).
            (None, _) if request.values("sec-fetch-site").any(|site| site == b"cross-site") => {
                Err(elsewhere())
            }
            (None, _) => Ok(()),
            (Some(origin), None) if is_loopback_origin(origin) => Ok(()),
            _ => Err(elsewhere()),
        }
    }

    /// Refuses requests that do not know the token.
    pub(super) fn check_token(&self, request: &HttpRequest) -> Result<(), Answer> {
        let Some(token) = &self.token else { return Ok(()) };
        let given = request.only("authorization").ok().flatten().and_then(|value| {
            let (scheme, given) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("Bearer").then(|| trim_blanks(given.as_bytes()))
        });
        if given.is_some_and(|given| equal(given, token.as_bytes())) {
            return Ok(());
        }
        let answer = Answer::text(401, "the token of --mcp-token is wanted as a bearer token");
        Err(answer.with("WWW-Authenticate", "Bearer"))
    }
}

fn elsewhere() -> Answer {
    Answer::text(403, "pages from other machines have no access")
}

fn is_loopback(host: &[u8]) -> bool {
    parse_host(host).is_ok_and(|host| is_loopback_name(&host.host))
}

fn is_loopback_name(host: &str) -> bool {
    host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn is_loopback_origin(origin: &[u8]) -> bool {
    let rest = |scheme: &str| {
        let (own, rest) = origin.split_at_checked(scheme.len())?;
        own.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    };
    rest("http://").or_else(|| rest("https://")).is_some_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_are_ours() {
        for host in ["localhost", "LOCALHOST:9011", "127.0.0.1", "127.9.9.9:1", "[::1]:9011"] {
            assert!(is_loopback(host.as_bytes()), "{host}");
        }
        let others = [
            "127.0.0.1.evil.com",
            "localhost.evil.com",
            "evil.com",
            "evil.com:127.0.0.1",
            "user@127.0.0.1",
            "127.0.0.1/x",
            "0.0.0.0",
            "10.0.0.1",
            "[::]",
            "",
        ];
        for host in others {
            assert!(!is_loopback(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn only_loopback_origins_are_ours() {
        for origin in ["http://localhost", "https://127.0.0.1:6274", "HTTP://[::1]:80"] {
            assert!(is_loopback_origin(origin.as_bytes()), "{origin}");
        }
        let others = [
            "null",
            "http://127.0.0.1.evil.com",
            "http://evil.com",
            "https://localhost@evil.com",
            "file://localhost",
            "chrome-extension://localhost",
            "localhost",
            "http://localhost/",
            "http://",
            "",
        ];
        for origin in others {
            assert!(!is_loopback_origin(origin.as_bytes()), "{origin}");
        }
    }
}
