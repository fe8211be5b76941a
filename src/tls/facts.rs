//! What people and trust stores know a certificate by: its subject, fingerprints, life and key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use time::{Date, OffsetDateTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::pkcs12::sha256;

/// Facts of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The subject, as `CN=flowtap, O=flowtap`.
    pub subject: String,
    /// SHA-256 of the certificate.
    pub sha256: Vec<u8>,
    /// SHA-1 of the certificate, by which some stores name it; nothing is judged by it.
    pub sha1: Vec<u8>,
    /// SHA-256 of the SubjectPublicKeyInfo in base64, as Chromium takes it.
    pub spki_sha256: String,
    /// The first moment of its life.
    pub not_before: OffsetDateTime,
    /// The last moment of its life.
    pub not_after: OffsetDateTime,
    /// The kind of its key, as `ECDSA P-256`.
    pub key: String,
}

impl CertificateFacts {
    /// Reads a certificate in DER; `None` where it is none.
    pub fn read(der: &[u8]) -> Option<CertificateFacts> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let hash = sha256()?;
        let validity = certificate.validity();
        Some(CertificateFacts {
            subject: certificate.subject().to_string(),
            sha256: hash.hash(der).as_ref().to_vec(),
            sha1: sha1_smol::Sha1::from(der).digest().bytes().to_vec(),
            spki_sha256: STANDARD.encode(hash.hash(certificate.public_key().raw).as_ref()),
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
            key: key_kind(&certificate),
        })
    }

    /// The first eight hexadecimal digits of the SHA-256, which tell CAs of one name apart.
    pub fn short(&self) -> String {
        hex(&self.sha256).chars().take(8).collect()
    }

    /// Whole days from `now` to the end of its life; negative after it.
    pub fn days_left(&self, now: OffsetDateTime) -> i64 {
        (self.not_after - now).whole_days()
    }
}

/// Bytes as hexadecimal digits, without anything between.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A fingerprint as it is shown elsewhere: upper case, with colons.
pub fn fingerprint(bytes: &[u8]) -> String {
    let pairs: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// A day, as `2036-11-24`.
pub fn day(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

fn key_kind(certificate: &X509Certificate<'_>) -> String {
    let key = certificate.public_key();
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => format!("RSA {}", rsa.key_size()),
        Ok(PublicKey::EC(point)) => match point.key_size() {
            // The octets of a coordinate of P-521 are 66.
            528 => "ECDSA P-521".to_owned(),
            size => format!("ECDSA P-{size}"),
        },
        // RFC 8410 section 3.
        _ if key.algorithm.algorithm.to_id_string() == "1.3.101.112" => "Ed25519".to_owned(),
        _ => "of a kind that is not known here".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use time::Duration;

    use super::*;
    use crate::tls::testing::open_in;

    /// What openssl says of a certificate file.
    fn openssl(file: &std::path::Path, arguments: &[&str]) -> String {
        let mut command = Command::new("openssl");
        command.args(["x509", "-noout", "-in"]).arg(file).args(arguments);
        let output = command.output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn facts_are_those_that_openssl_tells() {
        let folder = tempfile::tempdir().unwrap();
        let authority = open_in(folder.path()).unwrap();
        let file = folder.path().join("flowtap-ca-cert.pem");
        let facts = CertificateFacts::read(authority.certificate_der()).unwrap();
        let told = openssl(&file, &["-fingerprint", "-sha256"]);
        assert!(told.ends_with(&format!("={}", fingerprint(&facts.sha256))), "{told}");
        let told = openssl(&file, &["-fingerprint", "-sha1"]);
        assert!(told.ends_with(&format!("={}", fingerprint(&facts.sha1))), "{told}");
        assert!(facts.subject.contains("CN=flowtap"));
        assert_eq!((facts.key.as_str(), facts.short().len()), ("ECDSA P-256", 8));
        let now = facts.not_before;
        assert_eq!(facts.days_left(now), 3_650);
        assert_eq!(facts.days_left(facts.not_after + Duration::days(2)), -2);
        assert_eq!(day(now.date()).len(), 10);
        let script = "openssl x509 -pubkey -noout -in \"$0\" | openssl pkey -pubin -outform der \
                      | openssl dgst -sha256 -binary | openssl base64";
        let told = Command::new("sh").args(["-c", script]).arg(&file).output().unwrap();
        assert_eq!(String::from_utf8(told.stdout).unwrap().trim(), facts.spki_sha256);
    }

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        assert_eq!(CertificateFacts::read(b"0"), None);
    }
}
