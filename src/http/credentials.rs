//! Credentials of the Basic scheme (RFC 7617), compared without telling by the time it takes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Whether exactly one of the fields' values shows these credentials, `user:password`.
pub fn shows_credentials<'a>(mut values: impl Iterator<Item = &'a [u8]>, expected: &str) -> bool {
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Some((scheme, encoded)) = value.split_at_checked("Basic ".len()) else { return false };
    let decoded = STANDARD.decode(encoded.trim_ascii()).unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"Basic ") && equal(&decoded, expected.as_bytes())
}

/// Whether two secrets are the same. Takes as long for a near miss as for any other of the same
/// length.
pub fn equal(given: &[u8], expected: &[u8]) -> bool {
    let differing = given.iter().zip(expected).fold(0, |bits, (a, b)| bits | (a ^ b));
    given.len() == expected.len() && std::hint::black_box(differing) == 0
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
    fn secrets_are_compared_whole() {
        assert!(equal(b"abc", b"abc") && equal(b"", b""));
        assert!(!equal(b"ab", b"abc") && !equal(b"abd", b"abc") && !equal(b"abcd", b"abc"));
    }
}
