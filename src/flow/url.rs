//! A URL taken apart as it stands, leniently.

/// The parts of a URL. Nothing is decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Url<'a> {
    /// In front of `://`; empty where there is none.
    pub scheme: &'a str,
    /// Host and port as they are written, without user information.
    pub authority: &'a str,
    /// Without brackets.
    pub host: &'a str,
    /// The one that is written, else that of the scheme.
    pub port: Option<u16>,
    /// With the slash that it begins with.
    pub path: &'a str,
    /// Without the question mark.
    pub query: &'a str,
}

impl<'a> Url<'a> {
    /// Takes a URL apart.
    pub fn read(url: &'a str) -> Self {
        let without_fragment = url.split('#').next().unwrap_or_default();
        let (before, query) = without_fragment.split_once('?').unwrap_or((without_fragment, ""));
        let (scheme, rest) = before.split_once("://").unwrap_or(("", before));
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at_checked(at).unwrap_or((rest, "")),
            None => (rest, ""),
        };
        let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (host, port.parse().ok())
            }
            _ => (authority, None),
        };
        let port = port.or(match scheme {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        });
        let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
        Url { scheme, authority, host, port, path, query }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        for (url, scheme, host, port, path, query) in [
            ("https://h.example/a?b=1#c", "https", "h.example", Some(443), "/a", "b=1"),
            ("http://u:p@h:8080", "http", "h", Some(8080), "", ""),
            ("ws://[::1]:9/x?y?z", "ws", "::1", Some(9), "/x", "y?z"),
            ("wss://[::1]/", "wss", "::1", Some(443), "/", ""),
            ("h.example:443", "", "h.example", Some(443), "", ""),
            ("/a/b", "", "", None, "/a/b", ""),
            ("*", "", "*", None, "", ""),
            ("http://h:99999/", "http", "h", Some(80), "/", ""),
            ("", "", "", None, "", ""),
        ] {
            let found = Url::read(url);
            assert_eq!((found.scheme, found.host, found.port), (scheme, host, port), "{url}");
            assert_eq!((found.path, found.query), (path, query), "{url}");
        }
        assert_eq!(Url::read("http://u:p@h:8080/x").authority, "h:8080");
    }
}
