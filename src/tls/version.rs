//! The versions of TLS, and how low a session may go.

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

/// The lowest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

static FROM_TLS12: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
static FROM_TLS13: [&SupportedProtocolVersion; 1] = [&TLS13];

impl TlsVersion {
    /// This version and those above it.
    pub(super) fn and_above(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            TlsVersion::Tls12 => &FROM_TLS12,
            TlsVersion::Tls13 => &FROM_TLS13,
        }
    }
}
