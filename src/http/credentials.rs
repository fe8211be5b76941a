//! Credentials: those of the Basic scheme (RFC 7617), compared without telling by the time it
//! takes, and those that a server takes for all that follows on the connection.

use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::head::list_elements;
use crate::flow::redact::MASK;

/// Whether exactly one of the fields' values shows these credentials, `user:password`.
pub fn shows_credentials<'a>(mut values: impl Iterator<Item = &'a [u8]>, expected: &str) -> bool {
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Some((scheme, encoded)) = value.split_at_checked("Basic ".len()) else { return false };
    let decoded = STANDARD.decode(encoded.trim_ascii()).unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"Basic ") && equal(&decoded, expected.as_bytes())
}

/// Whether one of these values, of Authorization or WWW-Authenticate, is of a scheme that logs the
/// connection in instead of a request (RFC 4559 section 6): whatever comes on it afterwards is
/// taken for that user's.
pub fn logs_connection_in<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> bool {
    let is_such = |element: &[u8]| {
        let scheme = element.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        CONNECTION_SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known.as_bytes()))
    };
    values.any(|value| list_elements(value).any(is_such))
}

const CONNECTION_SCHEMES: [&str; 2] = ["NTLM", "Negotiate"];

/// A request's head with the values of its Proxy-Authorization fields masked. It need not be one
/// that can be parsed: whatever starts a line with that name counts.
pub fn without_credentials(head: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(head.len());
    let mut masking = false;
    // Heads that are refused may have bare line ends and folded lines (RFC 9112 section 5.2).
    for line in head.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')) {
        let text = line.trim_ascii_end();
        let end = line.get(text.len()..).unwrap_or_default();
        let is_folded = line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        if let Some((name, _)) = split_name(text) {
            kept.extend_from_slice(name);
            kept.extend_from_slice(b": ");
            kept.extend_from_slice(MASK.as_bytes());
            masking = true;
        } else if !(masking && is_folded) {
            kept.extend_from_slice(text);
            masking &= text.is_empty();
        }
        kept.extend_from_slice(end);
    }
    kept
}

/// A line that begins with Proxy-Authorization, parted behind that name.
fn split_name(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let parts = line.split_at_checked(PROXY_AUTHORIZATION.len())?;
    let goes_on = parts.1.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let is_it = parts.0.eq_ignore_ascii_case(PROXY_AUTHORIZATION.as_bytes());
    (is_it && !goes_on).then_some(parts)
}

/// The field that holds credentials for the proxy.
pub const PROXY_AUTHORIZATION: &str = "Proxy-Authorization";

/// Whether two secrets are the same. Takes a time that depends on their lengths alone.
pub fn equal(given: &[u8], expected: &[u8]) -> bool {
    let differing = given.iter().zip(expected).fold(0, |bits, (a, b)| black_box(bits | (a ^ b)));
    black_box(differing) == 0 && given.len() == expected.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_credentials_are_taken() {
        let shows = |values: &[&str]| {
            shows_credentials(values.iter().map(|value| value.as_bytes()), "user:pass:word")
        };
        assert!(shows(&["Basic dXNlcjpwYXNzOndvcmQ="]));
        assert!(shows(&["basic dXNlcjpwYXNzOndvcmQ= "]));
        for wrong in ["Basic dXNlcjpwYXNz", "Basic ", "Bearer dXNlcjpwYXNzOndvcmQ=", "", "Basic !"]
        {
            assert!(!shows(&[wrong]), "{wrong}");
        }
        assert!(!shows(&[]));
        assert!(!shows(&["Basic dXNlcjpwYXNzOndvcmQ=", "Basic dXNlcjpwYXNzOndvcmQ="]));
    }

    #[test]
    fn credentials_are_masked_in_whole_and_in_broken_heads() {
        for (head, kept) in [
            (
                "GET / HTTP/1.1\r\nA: 1\r\nproxy-authorization: Basic eDp5\r\nB: 2\r\n\r\n",
                "GET / HTTP/1.1\r\nA: 1\r\nproxy-authorization: ***\r\nB: 2\r\n\r\n",
            ),
            ("Proxy-Authorization : x\n", "Proxy-Authorization: ***\n"),
            ("A: 1\rProxy-Authorization:x", "A: 1\rProxy-Authorization: ***"),
            (
                "Proxy-Authorization: x\r\n y\r\n\tz\r\nB: 2\r\n",
                "Proxy-Authorization: ***\r\n\r\n\r\nB: 2\r\n",
            ),
            ("Proxy-Authorization", "Proxy-Authorization: ***"),
            ("Authorization: Basic eDp5\r\n a\r\n\r\n", "Authorization: Basic eDp5\r\n a\r\n\r\n"),
            ("Proxy-Authorizatio", "Proxy-Authorizatio"),
            ("Proxy-Authorization-Info: x", "Proxy-Authorization-Info: x"),
            ("", ""),
        ] {
            let masked = without_credentials(head.as_bytes());
            assert_eq!(String::from_utf8_lossy(&masked), kept, "{head:?}");
        }
    }

    #[test]
    fn schemes_that_log_a_connection_in_are_known() {
        let logs_in =
            |values: &[&str]| logs_connection_in(values.iter().map(|value| value.as_bytes()));
        assert!(logs_in(&["NTLM"]) && logs_in(&["negotiate YII=="]));
        assert!(logs_in(&["Basic realm=\"x\"", "Negotiate"]));
        assert!(logs_in(&["Basic realm=\"a, b\", charset=\"UTF-8\",ntlm"]));
        for other in ["Basic TlRMTQ==", "Bearer NTLM", "NTLMv2", "Negotiat", "Digest qop=ntlm", ""]
        {
            assert!(!logs_in(&[other]), "{other}");
        }
        assert!(!logs_in(&[]));
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(equal(b"abc", b"abc") && equal(b"", b""));
        assert!(!equal(b"ab", b"abc") && !equal(b"abd", b"abc") && !equal(b"abcd", b"abc"));
        assert!(!equal(b"", b"abc") && !equal(b"bbc", b"abc"));
    }
}
