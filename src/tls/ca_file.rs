//! The CA's files: read with care, made whole, never replaced.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use time::{Duration, OffsetDateTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use crate::limits::CA_FILE_BYTES;
use crate::random;

use super::pem;
use super::provider::provider;

/// How long a CA that is made here lives.
const CA_LIFE: Duration = Duration::days(3_650);
/// Clocks of other machines may be behind ours by so much.
pub(crate) const BACKDATED: Duration = Duration::days(2);

/// What a CA file says, checked.
#[derive(Debug)]
pub(crate) struct CaFile {
    pub(crate) key: Arc<dyn SigningKey>,
    /// The CA first, then what is to be sent as chain.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// The CA's subject, as DER.
    pub(crate) subject: Vec<u8>,
    /// The content of the CA's subject key identifier.
    pub(crate) key_identifier: Option<Vec<u8>>,
    /// Whether the CA names itself as its issuer.
    pub(crate) self_issued: bool,
}

/// Reads and checks a CA file that was opened. The error says what is wrong, without the path.
pub(crate) fn read(file: &File, now: OffsetDateTime) -> Result<CaFile, String> {
    with_text(file, |text| parse(text, now))
}

/// Reads the first certificate of a file that was opened, which has to be a CA's, and nothing else
/// of it.
pub(crate) fn read_certificate(file: &File) -> Result<CertificateDer<'static>, String> {
    with_text(file, |text| {
        let mut certificates = CertificateDer::pem_slice_iter(text).filter_map(Result::ok);
        let first = certificates.next().ok_or("it holds no certificate")?;
        let (_, certificate) = X509Certificate::from_der(&first)
            .map_err(|e| format!("its certificate cannot be parsed: {e}"))?;
        check_authority(&certificate)?;
        Ok(first)
    })
}

/// What is made of the text of a CA file.
fn with_text<T>(file: &File, make: impl FnOnce(&[u8]) -> Result<T, String>) -> Result<T, String> {
    // With room for all of it, so that no copy stays behind where a buffer was outgrown.
    let mut text = Vec::with_capacity(usize::try_from(CA_FILE_BYTES + 2).unwrap_or_default());
    file.take(CA_FILE_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|e| format!("it cannot be read: {e}"))?;
    if text.len() as u64 > CA_FILE_BYTES {
        return Err(format!("it is longer than {CA_FILE_BYTES} bytes"));
    }
    let made = make(&text);
    wipe(&mut text);
    made
}

/// Overwrites what held a key, before its memory is used for something else.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // Without a reader the writing could be left out.
    std::hint::black_box(bytes);
}

/// Checks the text of a CA file.
pub(crate) fn parse(text: &[u8], now: OffsetDateTime) -> Result<CaFile, String> {
    let (key, certificates) = sections(text)?;
    let key = key.ok_or("it holds no private key")?;
    let first = certificates.first().ok_or("it holds no certificate")?;
    let key = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|e| format!("its private key cannot be used: {e}"))?;
    let (rest, certificate) = X509Certificate::from_der(first)
        .map_err(|e| format!("its certificate cannot be parsed: {e}"))?;
    if !rest.is_empty() {
        return Err("its certificate has trailing bytes".to_owned());
    }
    check_authority(&certificate)?;
    check_validity(&certificate, now)?;
    let own = key.public_key().ok_or("its private key cannot be compared")?;
    if own.as_ref() != certificate.public_key().raw {
        return Err("its private key does not belong to its first certificate".to_owned());
    }
    let subject = certificate.subject().as_raw().to_vec();
    let self_issued = certificate.subject().as_raw() == certificate.issuer().as_raw();
    let key_identifier = certificate.iter_extensions().find_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    Ok(CaFile { key, certificates, subject, key_identifier, self_issued })
}

type Sections = (Option<PrivateKeyDer<'static>>, Vec<CertificateDer<'static>>);

/// The first key and all certificates, in any order.
fn sections(text: &[u8]) -> Result<Sections, String> {
    let mut key = None;
    let mut certificates = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        let (kind, der) = section.map_err(|e| match contains(text, b"ENCRYPTED") {
            true => ENCRYPTED.to_owned(),
            false => format!("it is damaged or cut off: {e}"),
        })?;
        match kind {
            SectionKind::Certificate => certificates.push(CertificateDer::from(der)),
            _ => key = key.or_else(|| PrivateKeyDer::from_pem(kind, der)),
        }
    }
    if key.is_none() && contains(text, b"ENCRYPTED") {
        return Err(ENCRYPTED.to_owned());
    }
    Ok((key, certificates))
}

const ENCRYPTED: &str = "its private key is encrypted, which cannot be used here";

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

fn check_authority(certificate: &X509Certificate<'_>) -> Result<(), String> {
    let is_ca = matches!(certificate.basic_constraints(), Ok(Some(c)) if c.value.ca);
    if !is_ca {
        return Err("its first certificate is not a CA's (no CA:TRUE)".to_owned());
    }
    match certificate.key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.key_cert_sign() => Ok(()),
        _ => Err("its first certificate may not sign others (key usage)".to_owned()),
    }
}

fn check_validity(certificate: &X509Certificate<'_>, now: OffsetDateTime) -> Result<(), String> {
    let validity = certificate.validity();
    let day = |time: &x509_parser::time::ASN1Time| time.to_datetime().date().to_string();
    if validity.not_after.timestamp() < now.unix_timestamp() {
        return Err(format!("its certificate expired on {}", day(&validity.not_after)));
    }
    if validity.not_before.timestamp() > now.unix_timestamp() {
        return Err(format!(
            "its certificate is not valid before {} (is the clock right?)",
            day(&validity.not_before)
        ));
    }
    Ok(())
}

/// A new CA: its key and its certificate as PEM text, in this order.
pub(crate) fn generate(now: OffsetDateTime) -> Result<String, rcgen::Error> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut name = rcgen::DistinguishedName::new();
    name.push(rcgen::DnType::CommonName, "flowtap");
    name.push(rcgen::DnType::OrganizationName, "flowtap");
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = name;
    params.not_before = now - BACKDATED;
    params.not_after = now - BACKDATED + CA_LIFE;
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    let mut text = pem::encode("PRIVATE KEY", key.serialized_der());
    text.push_str(&pem::encode("CERTIFICATE", certificate.der()));
    Ok(text)
}

/// Makes `folder` and what is missing above it, for its owner alone.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes a file that appears whole or not at all, and only if there is none of this name;
/// returns whether it was this call that made it.
pub(crate) fn create_whole(path: &Path, content: &[u8], mode: u32) -> io::Result<bool> {
    let aside = write_aside(path, content, mode)?;
    // A link fails where the name exists, which a rename would not.
    let linked = fs::hard_link(&aside, path);
    let made = match linked {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // File systems without hard links: two first starts in the same instant could both pass.
        Err(_) if path.symlink_metadata().is_err() => fs::rename(&aside, path).map(|()| true),
        Err(_) => Ok(false),
    };
    // After a rename it is gone already.
    let _ = fs::remove_file(&aside);
    made
}

/// Writes a file that appears whole, in place of one whose content differs.
pub(crate) fn replace_whole(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let aside = write_aside(path, content, mode)?;
    fs::rename(&aside, path).inspect_err(|_| {
        let _ = fs::remove_file(&aside);
    })
}

/// Writes `content` to a new file beside `path`, to the disk.
fn write_aside(path: &Path, content: &[u8], mode: u32) -> io::Result<PathBuf> {
    let mut name_bytes = [0; 8];
    random::fill(&mut name_bytes)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:016x}", u64::from_be_bytes(name_bytes)));
    let aside = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside)?;
    let written = file
        .set_permissions(Permissions::from_mode(mode))
        .and_then(|()| file.write_all(content))
        .and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written.map(|()| aside)
}
