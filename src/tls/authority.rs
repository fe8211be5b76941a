//! The certificate authority: found or made, and signing leaf certificates.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::SignatureScheme;
use rustls::pki_types::{AlgorithmIdentifier, CertificateDer, PrivateKeyDer, alg_id};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use time::{Duration, OffsetDateTime};

use crate::error::{Error, Result};
use crate::random;

use super::ca_file::{self, BACKDATED, CaFile};
use super::key_file::{self, Refused};
use super::leaf::{LeafNames, LeafParts, certificate};
use super::pem;
use super::pkcs12::{certificate_only, sha256};
use super::provider::provider;
use super::session::TlsError;

mod known;

pub use known::KnownCa;

/// Key and certificate; the only file that is read back.
const CA_FILE: &str = "flowtap-ca.pem";
const CERTIFICATE_PEM_FILE: &str = "flowtap-ca-cert.pem";
const CERTIFICATE_CER_FILE: &str = "flowtap-ca-cert.cer";
const CERTIFICATE_P12_FILE: &str = "flowtap-ca-cert.p12";
/// How long a leaf lives, backdating included: Chromium's limit is 200 days.
const LEAF_LIFE: Duration = Duration::days(199);
/// A leaf is renewed when it has less than this left, so that long connections and clients with
/// clocks ahead of ours do not see it run out.
const LEAF_RENEWAL: Duration = Duration::days(14);

/// Where to look for the CA.
#[derive(Clone, Copy, Debug)]
pub struct AuthoritySource<'a> {
    /// The configuration folder; it is made where it is missing and needed.
    pub confdir: &'a Path,
    /// Whether the user named the folder; only where not, mitmproxy's CA is looked for.
    pub confdir_given: bool,
    /// The CA file that the user named; then the folder does not matter.
    pub file: Option<&'a Path>,
    /// The user's home folder.
    pub home: Option<&'a Path>,
}

/// How the CA came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Made just now.
    Created,
    /// Read from its file.
    Loaded,
    /// mitmproxy's CA, which its owner has in the trust stores already.
    Mitmproxy,
    /// Read from a file that the user named.
    Named,
}

/// The CA with its key, and the key that all leaves of this process share.
pub struct Authority {
    path: PathBuf,
    origin: Origin,
    readable: Option<String>,
    ca: CaFile,
    signer: Box<dyn Signer>,
    algorithm: AlgorithmIdentifier,
    chain: Vec<CertificateDer<'static>>,
    leaf_key: Arc<dyn SigningKey>,
    leaf_public_key: Vec<u8>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("path", &self.path)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Loads the CA, or makes it where there is none yet.
    ///
    /// Where the CA lives in the folder, the files with its certificate alone are made too if
    /// they are missing or are of another CA.
    ///
    /// # Errors
    /// When a CA file is unreadable, truncated, mismatched, expired or no CA, or when others can
    /// read or replace it: the text names the file and the fix. An existing file is never replaced.
    /// A file that the user named may be readable to others, as mounted secrets are.
    pub fn open(source: &AuthoritySource<'_>) -> Result<Authority> {
        let now = OffsetDateTime::now_utc();
        if let Some(file) = source.file {
            let fix = "name another file with --ca, or leave --ca out";
            return Self::load(file.to_owned(), Origin::Named, fix, now);
        }
        let path = source.confdir.join(CA_FILE);
        if !is_there(&path) {
            if let Some(theirs) = mitmproxy_file(source) {
                let fix = "repair or remove it, or use a CA of flowtap's own with --confdir";
                return Self::load(theirs, Origin::Mitmproxy, fix, now);
            }
            if create(&path, now)? {
                let made = Self::load_own(path, Origin::Created, now)?;
                made.write_certificates(source.confdir)?;
                return Ok(made);
            }
        }
        let loaded = Self::load_own(path, Origin::Loaded, now)?;
        // The folder may be read-only on purpose; these files are a convenience.
        let _ = loaded.write_certificates(source.confdir);
        Ok(loaded)
    }

    fn load_own(path: PathBuf, origin: Origin, now: OffsetDateTime) -> Result<Authority> {
        let fix = "restore it from a copy, or move it away to have a new CA made, \
                   which clients must then trust";
        Self::load(path, origin, fix, now)
    }

    fn load(path: PathBuf, origin: Origin, fix: &str, now: OffsetDateTime) -> Result<Authority> {
        let refuse = |why: String| {
            Error::new(format!("the CA file {} is not usable: {why}; {fix}", path.display()))
        };
        let unreadable = |error: io::Error| format!("it cannot be read: {error}");
        let file = File::open(&path).map_err(|error| refuse(unreadable(error)))?;
        let ca = ca_file::read(&file, now).map_err(&refuse)?;
        let readable = match key_file::check(&path, &file) {
            Ok(()) => None,
            Err(Refused::Readable(why)) if origin == Origin::Named => Some(why),
            Err(Refused::Readable(why) | Refused::Exposed(why)) => {
                return Err(exposed(&path, &why));
            }
            Err(Refused::Unreadable(error)) => return Err(refuse(unreadable(error))),
        };
        let (signer, algorithm) = signer_of(&ca).map_err(&refuse)?;
        Ok(Authority { readable, ..Self::with(path, origin, ca, signer, algorithm)? })
    }

    /// An authority that stands in no file: key and certificates as PEM text.
    ///
    /// # Errors
    /// What would be wrong with a CA file of this text.
    pub fn from_pem(text: &[u8]) -> Result<Authority> {
        let ca = ca_file::parse(text, OffsetDateTime::now_utc()).map_err(Error::new)?;
        let (signer, algorithm) = signer_of(&ca).map_err(Error::new)?;
        Self::with(PathBuf::new(), Origin::Loaded, ca, signer, algorithm)
    }

    fn with(
        path: PathBuf,
        origin: Origin,
        ca: CaFile,
        signer: Box<dyn Signer>,
        algorithm: AlgorithmIdentifier,
    ) -> Result<Authority> {
        let (leaf_key, leaf_public_key) = leaf_key()?;
        // Clients have a self-issued CA in their store or will never trust it; what hangs below
        // another CA must be sent.
        let chain = ca.certificates.iter().skip(usize::from(ca.self_issued)).cloned().collect();
        Ok(Authority {
            path,
            origin,
            readable: None,
            ca,
            signer,
            algorithm,
            chain,
            leaf_key,
            leaf_public_key,
        })
    }

    /// Puts the certificate, without the key, in its forms beside the CA file.
    fn write_certificates(&self, folder: &Path) -> Result<()> {
        let text = self.certificate_pem();
        for (name, content) in [
            (CERTIFICATE_PEM_FILE, text.as_bytes()),
            (CERTIFICATE_CER_FILE, text.as_bytes()),
            (CERTIFICATE_P12_FILE, &self.pkcs12()),
        ] {
            let path = folder.join(name);
            ca_file::replace_whole(&path, content, 0o644).map_err(|e| cannot_write(&path, &e))?;
        }
        Ok(())
    }

    /// The file that the CA was read from or written to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file to give to clients that are to trust the CA: one with its certificate alone.
    pub fn certificate_path(&self) -> Option<PathBuf> {
        self.known().certificate_path()
    }

    /// The same CA without its key.
    pub fn known(&self) -> KnownCa {
        KnownCa {
            path: self.path.clone(),
            origin: self.origin,
            certificate: self.certificate_der().to_vec(),
        }
    }

    /// Who else can read the key, in words with the command that ends that. Only of a file that the
    /// user named; others are refused then.
    pub fn readable_by_others(&self) -> Option<&str> {
        self.readable.as_deref()
    }

    /// How the CA came to be.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The CA's certificate.
    pub fn certificate_der(&self) -> &[u8] {
        self.ca.certificates.first().map_or(&[], |certificate| certificate.as_ref())
    }

    /// The CA's certificate as PEM text.
    pub fn certificate_pem(&self) -> String {
        pem::encode("CERTIFICATE", self.certificate_der())
    }

    /// The CA's certificate as PKCS#12, without key and with the empty password.
    pub fn pkcs12(&self) -> Vec<u8> {
        certificate_only(self.certificate_der())
    }

    /// The certificates that are sent after the leaf.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// SHA-256 of the public key (SubjectPublicKeyInfo) that all leaves of this process have, in
    /// base64, as Chromium takes it for certificates that it is not to judge.
    pub fn leaf_key_hash(&self) -> String {
        let hash = sha256().map(|sha256| sha256.hash(&self.leaf_public_key));
        hash.map(|hash| STANDARD.encode(hash.as_ref())).unwrap_or_default()
    }

    /// The certificates that whoever is to trust this CA needs: its own, and those above it.
    pub fn trusted(&self) -> impl Iterator<Item = &[u8]> {
        let above = usize::from(!self.ca.self_issued);
        let above = self.chain.iter().skip(above).map(CertificateDer::as_ref);
        std::iter::once(self.certificate_der()).chain(above)
    }

    /// A leaf certificate for `names`, with the leaf key of this process: not before two days
    /// ago, 199 days in all.
    ///
    /// # Errors
    /// When `names` is empty or signing fails.
    pub fn mint(&self, names: &LeafNames) -> std::result::Result<Arc<CertifiedKey>, TlsError> {
        self.mint_at(names, OffsetDateTime::now_utc())
    }

    pub(crate) fn mint_at(
        &self,
        names: &LeafNames,
        now: OffsetDateTime,
    ) -> std::result::Result<Arc<CertifiedKey>, TlsError> {
        if names.names().is_empty() {
            return Err(TlsError::other("a certificate needs a name"));
        }
        let parts = LeafParts {
            serial: serial()?,
            algorithm: self.algorithm,
            issuer: &self.ca.subject,
            not_before: now - BACKDATED,
            not_after: now - BACKDATED + LEAF_LIFE,
            public_key: &self.leaf_public_key,
            authority_key: self.ca.key_identifier.as_deref(),
        };
        let signed = parts.to_be_signed(names);
        let signature = self
            .signer
            .sign(&signed)
            .map_err(|e| TlsError::other(format!("the CA cannot sign: {e}")))?;
        let leaf = certificate(&signed, self.algorithm, &signature);
        let chain = std::iter::once(CertificateDer::from(leaf)).chain(self.chain.iter().cloned());
        Ok(Arc::new(CertifiedKey::new(chain.collect(), Arc::clone(&self.leaf_key))))
    }
}

/// Where the certificate of a CA stands alone, beside the file with its key.
fn beside(path: &Path, origin: Origin) -> Option<PathBuf> {
    let name = match origin {
        Origin::Created | Origin::Loaded => CERTIFICATE_PEM_FILE,
        Origin::Mitmproxy => "mitmproxy-ca-cert.pem",
        Origin::Named => return None,
    };
    Some(path.with_file_name(name))
}

/// How long a leaf is used after it was minted.
pub(crate) const fn leaf_use() -> Duration {
    Duration::seconds(
        LEAF_LIFE.whole_seconds() - BACKDATED.whole_seconds() - LEAF_RENEWAL.whole_seconds(),
    )
}

/// Whether something of this name exists, or may exist: a file that cannot be looked at must not
/// be taken for a missing one.
fn is_there(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(e) if e.kind() == io::ErrorKind::NotFound)
}

/// mitmproxy's CA file, where it may be used and exists.
fn mitmproxy_file(source: &AuthoritySource<'_>) -> Option<PathBuf> {
    let home = source.home.filter(|_| !source.confdir_given)?;
    Some(home.join(".mitmproxy").join("mitmproxy-ca.pem")).filter(|path| is_there(path))
}

/// Makes a CA at `path` unless another process was faster; returns whether it was made here.
fn create(path: &Path, now: OffsetDateTime) -> Result<bool> {
    if let Some(folder) = path.parent() {
        ca_file::make_folder(folder).map_err(|e| cannot_write(folder, &e))?;
        key_file::check_folder(folder).map_err(|refused| match refused {
            Refused::Unreadable(error) => cannot_write(folder, &error),
            Refused::Readable(why) | Refused::Exposed(why) => exposed(path, &why),
        })?;
    }
    let text = ca_file::generate(now)
        .map_err(|e| Error::new(format!("cannot make a certificate authority: {e}")))?;
    let mut text = text.into_bytes();
    let made = ca_file::create_whole(path, &text, 0o600).map_err(|e| cannot_write(path, &e));
    ca_file::wipe(&mut text);
    made
}

fn exposed(path: &Path, why: &str) -> Error {
    Error::new(format!("the CA file {} is not safe to use: {why}", path.display()))
}

fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::new(format!(
        "cannot write {}: {error}; choose a writable folder with --confdir",
        path.display()
    ))
}

fn signer_of(ca: &CaFile) -> std::result::Result<(Box<dyn Signer>, AlgorithmIdentifier), String> {
    let found = signer(&*ca.key).ok_or("its key type is not supported")?;
    // A damaged RSA key may still match its certificate.
    let signed = found.0.sign(b"flowtap");
    signed.map_err(|error| format!("its private key is damaged: it cannot sign ({error})"))?;
    Ok(found)
}

/// How `key` signs certificates: the scheme that suits it, and its name in certificates.
fn signer(key: &dyn SigningKey) -> Option<(Box<dyn Signer>, AlgorithmIdentifier)> {
    [
        (SignatureScheme::ECDSA_NISTP256_SHA256, alg_id::ECDSA_SHA256),
        (SignatureScheme::ECDSA_NISTP384_SHA384, alg_id::ECDSA_SHA384),
        (SignatureScheme::ECDSA_NISTP521_SHA512, alg_id::ECDSA_SHA512),
        (SignatureScheme::RSA_PKCS1_SHA256, alg_id::RSA_PKCS1_SHA256),
        (SignatureScheme::ED25519, alg_id::ED25519),
    ]
    .into_iter()
    .find_map(|(scheme, name)| key.choose_scheme(&[scheme]).map(|signer| (signer, name)))
}

/// A new P-256 key for leaves, and its public half as SubjectPublicKeyInfo.
fn leaf_key() -> Result<(Arc<dyn SigningKey>, Vec<u8>)> {
    let failed = |e: &dyn fmt::Display| Error::new(format!("cannot make a key: {e}"));
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
    let key = PrivateKeyDer::from(pair.map_err(|e| failed(&e))?);
    let key = provider().key_provider.load_private_key(key).map_err(|e| failed(&e))?;
    let public = key.public_key().map(|public| public.as_ref().to_vec());
    Ok((Arc::clone(&key), public.ok_or_else(|| failed(&"it has no public half"))?))
}

/// A random positive serial of 159 bits, which always takes 20 octets.
fn serial() -> std::result::Result<[u8; 20], TlsError> {
    let mut serial = [0; 20];
    random::fill(&mut serial).map_err(|e| TlsError::other(e.to_string()))?;
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    Ok(serial)
}

#[cfg(test)]
mod tests;
