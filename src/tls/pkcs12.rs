//! PKCS#12 files (RFC 7292) with certificates and no key: one certificate as Windows and phones
//! take it, and stores of trusted certificates as Java takes them.

use rustls::SupportedCipherSuite;
use rustls::crypto::hash::{Hash, HashAlgorithm};

use super::der::{BMP_STRING, INTEGER, NULL, OCTET_STRING, SET, context, element, oid, sequence};
use super::provider::provider;

/// 1.2.840.113549.1.7.1
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// 1.2.840.113549.1.12.10.1.3
const CERT_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];
/// 1.2.840.113549.1.9.22.1
const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
/// 1.2.840.113549.1.9.20
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x14];
/// 2.16.840.1.113894.746875.1.1, Java's mark of a trusted certificate.
const TRUSTED_KEY_USAGE: &[u8] =
    &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 0x01, 0x01];
/// 2.5.29.37.0
const ANY_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
/// 2.16.840.1.101.3.4.2.1
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// The block size of SHA-256, in bytes.
const BLOCK: usize = 64;
/// Rounds of the key derivation. There is no secret to protect; readers expect some.
const ITERATIONS: u16 = 2048;

/// The file for this certificate: nothing is encrypted, and the integrity check, which readers
/// insist on, is made with the empty password. The same certificate gives the same file.
pub fn certificate_only(certificate_der: &[u8]) -> Vec<u8> {
    file_of(&[&certificate_bag(certificate_der, &[])], "")
}

/// A store in which Java trusts these certificates, each under its alias, for any use: without the
/// attribute of trustedKeyUsage it would leave them out. Aliases have to differ. Nothing is
/// encrypted; the password is that of the integrity check.
pub fn trust_store<'a>(
    certificates: impl IntoIterator<Item = (String, &'a [u8])>,
    password: &str,
) -> Vec<u8> {
    let trusted = attribute(TRUSTED_KEY_USAGE, &oid(ANY_EXTENDED_KEY_USAGE));
    let bag = |(alias, der): (String, &[u8])| {
        let name: Vec<u8> = alias.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let name = attribute(FRIENDLY_NAME, &element(BMP_STRING, &[&name]));
        // A set has its elements in the order of their bytes (X.690 section 11.6).
        let mut attributes = [name, trusted.clone()];
        attributes.sort();
        certificate_bag(der, &element(SET, &[&attributes.concat()]))
    };
    let bags: Vec<_> = certificates.into_iter().map(bag).collect();
    file_of(&bags.iter().map(Vec::as_slice).collect::<Vec<_>>(), password)
}

/// An attribute of a bag with one value.
fn attribute(name: &[u8], value: &[u8]) -> Vec<u8> {
    sequence(&[&oid(name), &element(SET, &[value])])
}

/// The SafeBag of a certificate, with its attributes.
fn certificate_bag(certificate_der: &[u8], attributes: &[u8]) -> Vec<u8> {
    let certificate = element(OCTET_STRING, &[certificate_der]);
    let bag = sequence(&[&oid(X509_CERTIFICATE), &element(context(0), &[&certificate])]);
    sequence(&[&oid(CERT_BAG), &element(context(0), &[&bag]), attributes])
}

/// The file of these SafeBags.
fn file_of(bags: &[&[u8]], password: &str) -> Vec<u8> {
    let authenticated = sequence(&[&data_content(&sequence(bags))]);
    let mac = sha256().map_or_else(Vec::new, |hash| mac_data(hash, password, &authenticated));
    sequence(&[&element(INTEGER, &[&[3]]), &data_content(&authenticated), &mac])
}

/// A ContentInfo of type data.
fn data_content(content: &[u8]) -> Vec<u8> {
    let octets = element(OCTET_STRING, &[content]);
    sequence(&[&oid(DATA), &element(context(0), &[&octets])])
}

/// MacData over `message`.
fn mac_data(hash: &dyn Hash, password: &str, message: &[u8]) -> Vec<u8> {
    let digest_of_message = hash.hash(message);
    let salt = digest_of_message.as_ref().get(..8).unwrap_or_default();
    let key = derive_mac_key(hash, password, salt);
    let tag = hmac(hash, &key, message);
    let algorithm = sequence(&[&oid(SHA256), &element(NULL, &[])]);
    let digest = sequence(&[&algorithm, &element(OCTET_STRING, &[&tag])]);
    let iterations = element(INTEGER, &[&ITERATIONS.to_be_bytes()]);
    sequence(&[&digest, &element(OCTET_STRING, &[salt]), &iterations])
}

/// RFC 7292 appendix B.2 for a key no longer than one digest: then the first round of its step 6
/// is the result.
fn derive_mac_key(hash: &dyn Hash, password: &str, salt: &[u8]) -> Vec<u8> {
    let mut input = vec![3_u8; BLOCK];
    input.extend(salt.iter().cycle().take(BLOCK));
    // A BMPString with its terminator (appendix B.1), repeated until it fills whole blocks.
    let units = password.encode_utf16().chain([0]);
    let password: Vec<u8> = units.flat_map(u16::to_be_bytes).collect();
    let filled = password.len().next_multiple_of(BLOCK);
    input.extend(password.iter().cycle().take(filled));
    let mut key = hash.hash(&input).as_ref().to_vec();
    for _ in 1..ITERATIONS {
        key = hash.hash(&key).as_ref().to_vec();
    }
    key
}

/// HMAC (RFC 2104) for keys no longer than a block.
fn hmac(hash: &dyn Hash, key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut padded = key.to_vec();
    padded.resize(BLOCK, 0);
    let mut inner: Vec<u8> = padded.iter().map(|b| b ^ 0x36).collect();
    inner.extend_from_slice(message);
    let mut outer: Vec<u8> = padded.iter().map(|b| b ^ 0x5c).collect();
    outer.extend_from_slice(hash.hash(&inner).as_ref());
    hash.hash(&outer).as_ref().to_vec()
}

/// SHA-256 of the TLS backend.
pub(crate) fn sha256() -> Option<&'static dyn Hash> {
    provider().cipher_suites.iter().find_map(|suite| {
        let hash = match suite {
            SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
            SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
        };
        (hash.algorithm() == HashAlgorithm::SHA256).then_some(hash)
    })
}
