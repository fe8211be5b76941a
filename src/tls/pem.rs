//! Writing of PEM text (RFC 7468). Reading is done by rustls' own types.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `der` as PEM text under `label`, with lines of 64 characters.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            push_group(&mut out, group);
        }
        out.push('\n');
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

/// Up to three octets as four characters of base64.
fn push_group(out: &mut String, group: &[u8]) {
    let bits = (0..3)
        .fold(0_u32, |bits, i| (bits << 8) | u32::from(group.get(i).copied().unwrap_or_default()));
    for i in 0..4 {
        let index = (bits >> (18 - 6 * i)) & 0x3f;
        let symbol = ALPHABET.get(usize::try_from(index).unwrap_or_default());
        out.push(if i > group.len() { '=' } else { symbol.map_or('=', |s| char::from(*s)) });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(der in proptest::collection::vec(any::<u8>(), 1..200)) {
            let text = encode("CERTIFICATE", &der);
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            let read = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
            prop_assert_eq!(read.as_ref(), &der[..]);
        }
    }
}
