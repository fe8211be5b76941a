//! How certificates of servers are judged, and the judgement in words.

use rustls::CertificateError;

/// Why a server's certificate was refused, for users.
pub(crate) fn refusal_text(reason: &CertificateError) -> String {
    format!("{reason}")
}
