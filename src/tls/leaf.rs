//! Leaf certificates: their names, and their DER.
//!
//! The DER is written here and not by rcgen, because the issuer of a leaf must be byte-equal to
//! the subject of the CA, and rcgen writes a parsed name anew: it loses what it cannot express
//! (repeated attributes) and refuses what it does not know (T61 text, several attributes in one
//! RDN).

use std::net::IpAddr;

use rustls::pki_types::{AlgorithmIdentifier, DnsName};
use time::OffsetDateTime;

use crate::limits::LEAF_NAMES;

use super::der::{
    BOOLEAN, INTEGER, OCTET_STRING, SET, UTF8_STRING, bit_string, context, context_primitive,
    element, oid, sequence, time as der_time,
};
use super::session::TlsError;

/// id-at-commonName, 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// id-ce-subjectAltName, 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// id-ce-authorityKeyIdentifier, 2.5.29.35
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
/// id-ce-extKeyUsage, 2.5.29.37
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// id-kp-serverAuth, 1.3.6.1.5.5.7.3.1
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
/// A common name must be shorter (RFC 5280, ub-common-name).
const COMMON_NAME_CHARS: usize = 64;

/// The subject alternative names of a leaf certificate, without duplicates, the first leading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeafNames {
    names: Vec<LeafName>,
}

/// One subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LeafName {
    /// A DNS name in ASCII and lower case, possibly with a leading wildcard label.
    Dns(String),
    /// An address, never written as a DNS name.
    Ip(IpAddr),
}

impl LeafName {
    /// Reads a DNS name or an IP address, brackets allowed. Names are brought to lower case and
    /// to their IDNA form (UTS 46), without a final dot.
    ///
    /// # Errors
    /// When `host` is neither.
    pub fn parse(host: &str) -> Result<Self, TlsError> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(LeafName::Ip(address));
        }
        let unusable = || TlsError::other(format!("{host:?} is no host name for a certificate"));
        let name = host.strip_suffix('.').unwrap_or(host);
        let ascii = if name.is_ascii() {
            name.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(name).map_err(|_| unusable())?
        };
        // IDNA maps full-width digits and dots, so an address may have appeared.
        if let Ok(address) = ascii.parse::<IpAddr>() {
            return Ok(LeafName::Ip(address));
        }
        DnsName::try_from(ascii.strip_prefix("*.").unwrap_or(&ascii)).map_err(|_| unusable())?;
        Ok(LeafName::Dns(ascii))
    }

    /// The name as text; addresses without brackets.
    pub fn to_text(&self) -> String {
        match self {
            LeafName::Dns(name) => name.clone(),
            LeafName::Ip(address) => address.to_string(),
        }
    }

    /// The name as GeneralName (RFC 5280 section 4.2.1.6).
    fn to_der(&self) -> Vec<u8> {
        match self {
            LeafName::Dns(name) => element(context_primitive(2), &[name.as_bytes()]),
            LeafName::Ip(IpAddr::V4(ip)) => element(context_primitive(7), &[&ip.octets()]),
            LeafName::Ip(IpAddr::V6(ip)) => element(context_primitive(7), &[&ip.octets()]),
        }
    }
}

impl LeafNames {
    /// The names for one host: a DNS name (IDNA is applied) or an IP address, brackets allowed.
    ///
    /// # Errors
    /// When `host` is neither.
    pub fn for_host(host: &str) -> Result<Self, TlsError> {
        Ok(LeafNames { names: vec![LeafName::parse(host)?] })
    }

    /// Adds one more name; duplicates, and names beyond [`LEAF_NAMES`], are ignored.
    ///
    /// # Errors
    /// When `host` is neither a DNS name nor an IP address.
    pub fn add(&mut self, host: &str) -> Result<(), TlsError> {
        let name = LeafName::parse(host)?;
        if self.names.len() < LEAF_NAMES && !self.names.contains(&name) {
            self.names.push(name);
        }
        Ok(())
    }

    /// The names, the first leading.
    pub fn names(&self) -> &[LeafName] {
        &self.names
    }
}

impl From<LeafName> for LeafNames {
    fn from(name: LeafName) -> Self {
        LeafNames { names: vec![name] }
    }
}

/// What goes into a leaf besides its names.
#[derive(Debug)]
pub(crate) struct LeafParts<'a> {
    /// 20 bytes, the first between 0x40 and 0x7f.
    pub(crate) serial: [u8; 20],
    /// The algorithm of the CA's signature.
    pub(crate) algorithm: AlgorithmIdentifier,
    /// The CA's subject, as DER.
    pub(crate) issuer: &'a [u8],
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    /// The leaf's SubjectPublicKeyInfo, as DER.
    pub(crate) public_key: &'a [u8],
    /// The CA's subject key identifier, where it has one.
    pub(crate) authority_key: Option<&'a [u8]>,
}

impl LeafParts<'_> {
    /// The TBSCertificate (RFC 5280 section 4.1.2), which is to be signed.
    pub(crate) fn to_be_signed(&self, names: &LeafNames) -> Vec<u8> {
        let common_name = names
            .names()
            .first()
            .map(LeafName::to_text)
            .filter(|name| name.chars().count() < COMMON_NAME_CHARS);
        let subject = common_name.as_deref().map_or_else(|| sequence(&[]), distinguished_name);
        let version = element(INTEGER, &[&[2]]);
        let validity = sequence(&[&der_time(self.not_before), &der_time(self.not_after)]);
        let extensions = self.extensions(names, common_name.is_none());
        sequence(&[
            &element(context(0), &[&version]),
            &element(INTEGER, &[&self.serial]),
            &sequence(&[self.algorithm.as_ref()]),
            self.issuer,
            &validity,
            &subject,
            self.public_key,
            &element(context(3), &[&extensions]),
        ])
    }

    fn extensions(&self, names: &LeafNames, subject_is_empty: bool) -> Vec<u8> {
        let alternatives: Vec<Vec<u8>> = names.names().iter().map(LeafName::to_der).collect();
        let alternatives: Vec<&[u8]> = alternatives.iter().map(Vec::as_slice).collect();
        // RFC 5280 section 4.2.1.6: critical where the subject is empty.
        let names = extension(SUBJECT_ALT_NAME, subject_is_empty, &sequence(&alternatives));
        let usage = extension(EXTENDED_KEY_USAGE, false, &sequence(&[&oid(SERVER_AUTH)]));
        let authority = self.authority_key.map_or_else(Vec::new, |key| {
            let identifier = element(context_primitive(0), &[key]);
            extension(AUTHORITY_KEY_IDENTIFIER, false, &sequence(&[&identifier]))
        });
        sequence(&[&names, &usage, &authority])
    }
}

/// The certificate from its signed part and the signature.
pub(crate) fn certificate(signed: &[u8], algorithm: AlgorithmIdentifier, mark: &[u8]) -> Vec<u8> {
    sequence(&[signed, &sequence(&[algorithm.as_ref()]), &bit_string(mark)])
}

/// A name that is one common name.
fn distinguished_name(common_name: &str) -> Vec<u8> {
    let text = element(UTF8_STRING, &[common_name.as_bytes()]);
    let attribute = sequence(&[&oid(COMMON_NAME), &text]);
    sequence(&[&element(SET, &[&attribute])])
}

fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { element(BOOLEAN, &[&[0xff]]) } else { Vec::new() };
    sequence(&[&oid(id), &critical, &element(OCTET_STRING, &[value])])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(host: &str) -> Option<String> {
        LeafName::parse(host).ok().map(|name| name.to_text())
    }

    #[test]
    fn names_are_brought_to_the_form_of_certificates() {
        assert_eq!(text("Example.COM.").as_deref(), Some("example.com"));
        assert_eq!(text("bücher.example").as_deref(), Some("xn--bcher-kva.example"));
        assert_eq!(text("my_service.local").as_deref(), Some("my_service.local"));
        assert_eq!(text("r3---sn-abc.example").as_deref(), Some("r3---sn-abc.example"));
        assert_eq!(text("*.example.com").as_deref(), Some("*.example.com"));
    }

    #[test]
    fn addresses_are_no_dns_names() {
        for (host, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("１２７.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(LeafName::parse(host), Ok(LeafName::Ip(address.parse().unwrap())));
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in ["", ".", "a b", "a\0b", "a..b", "*", "-a.example", &"a".repeat(300), "[::1"] {
            assert_eq!(text(host), None, "{host:?}");
        }
    }

    #[test]
    fn names_are_bounded_and_single() {
        let mut names = LeafNames::for_host("a.example").unwrap();
        names.add("A.example").unwrap();
        assert_eq!(names.names().len(), 1);
        for i in 0..2 * LEAF_NAMES {
            names.add(&format!("h{i}.example")).unwrap();
        }
        assert_eq!(names.names().len(), LEAF_NAMES);
    }
}
